//! Where frames go: the append position of every lane, and the extents that a commit fills.

use crate::units::{ExtentId, LaneIndex};

/// Bytes of one disk sector as storage writes it: a commit never writes into one that holds bytes of an earlier commit.
const SECTOR_LEN_BYTES: u64 = 4096;

/// The number of new extents in a walk that only counts them.
pub const UNNUMBERED: ExtentId = ExtentId::new(u64::MAX);

/// Where the next frame of a lane goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LanePosition {
    /// The open extent of the lane.
    pub extent: ExtentId,
    /// Bytes of the extent that are taken.
    pub end_bytes: u64,
}

/// The place of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// The extent.
    pub extent: ExtentId,
    /// Bytes from the start of the extent.
    pub offset: u64,
}

/// What a commit does with one extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentUse {
    /// The extent.
    pub extent: ExtentId,
    /// The lane it belongs to.
    pub lane: LaneIndex,
    /// Whether the commit makes the extent.
    pub is_new: bool,
    /// Bytes that were committed before, 0 in a new extent.
    pub committed_bytes: u64,
    /// Where the commit begins: behind the header of a new extent, on a fresh sector of an old one.
    pub start_bytes: u64,
    /// Bytes taken after it.
    pub end_bytes: u64,
    /// Whether the extent is full, so that the lane went on in another.
    pub is_full: bool,
}

impl ExtentUse {
    /// Returns the committed end once the commit is published: unchanged where no frame was placed.
    pub const fn published_end_bytes(&self) -> u64 {
        if self.end_bytes > self.start_bytes {
            self.end_bytes
        } else {
            self.committed_bytes
        }
    }
}

/// Deals frames to lanes, moving on to new extents where one is full.
///
/// Deterministic: the same frames in the same order get the same places, so a plan can be walked twice instead of kept.
#[derive(Debug, Clone)]
pub struct LaneLayout {
    lanes: Vec<Option<usize>>,
    uses: Vec<ExtentUse>,
    /// Numbers for new extents; when they run out, extents are only counted.
    new_extents: Vec<ExtentId>,
    new_count: usize,
    extent_limit_bytes: u64,
    extent_header_len_bytes: u64,
}

impl LaneLayout {
    /// Begins at the given positions, one entry per lane, `None` for a lane without an open extent, as is every lane behind
    /// the last of them.
    ///
    /// New extents are numbered as `new_extents` says; they begin with a header of `extent_header_len_bytes` bytes and
    /// take frames until one would end behind `extent_limit_bytes`. How many are needed is found by a first walk without
    /// numbers, which gives every new extent the number [`UNNUMBERED`].
    pub fn new(
        positions: &[Option<LanePosition>],
        new_extents: Vec<ExtentId>,
        extent_limit_bytes: u64,
        extent_header_len_bytes: u64,
    ) -> Self {
        let mut uses = Vec::new();
        let lanes = positions
            .iter()
            .enumerate()
            .map(|(lane, position)| {
                position.map(|position| {
                    // I6: the first frame of a commit starts on a sector that no earlier commit has written.
                    let start_bytes = position.end_bytes.next_multiple_of(SECTOR_LEN_BYTES);
                    uses.push(ExtentUse {
                        extent: position.extent,
                        lane: lane_index(lane),
                        is_new: false,
                        committed_bytes: position.end_bytes,
                        start_bytes,
                        end_bytes: start_bytes,
                        is_full: false,
                    });
                    uses.len() - 1
                })
            })
            .collect();
        Self {
            lanes,
            uses,
            new_extents,
            new_count: 0,
            extent_limit_bytes,
            extent_header_len_bytes,
        }
    }

    /// Places a frame of `len_bytes` bytes at the end of a lane, at a multiple of `alignment`.
    ///
    /// A frame longer than the limit gets an extent of its own.
    pub fn place(&mut self, lane: LaneIndex, len_bytes: u64, alignment: u64) -> Placement {
        assert!(
            alignment.is_power_of_two(),
            "alignment {alignment} is not a power of two"
        );
        let slot = usize::from(lane.get());
        if self.lanes.len() <= slot {
            self.lanes.resize(slot + 1, None);
        }
        if let Some(current) = self.lanes[slot] {
            let taken = &mut self.uses[current];
            let offset = taken.end_bytes.next_multiple_of(alignment);
            let is_untouched = taken.is_new && taken.end_bytes == self.extent_header_len_bytes;
            if offset + len_bytes <= self.extent_limit_bytes || is_untouched {
                taken.end_bytes = offset + len_bytes;
                return Placement {
                    extent: taken.extent,
                    offset,
                };
            }
            taken.is_full = true;
        }
        let header = self.extent_header_len_bytes;
        let offset = header.next_multiple_of(alignment);
        let extent = self
            .new_extents
            .get(self.new_count)
            .copied()
            .unwrap_or(UNNUMBERED);
        self.new_count += 1;
        self.uses.push(ExtentUse {
            extent,
            lane,
            is_new: true,
            committed_bytes: 0,
            start_bytes: header,
            end_bytes: offset + len_bytes,
            is_full: false,
        });
        self.lanes[slot] = Some(self.uses.len() - 1);
        Placement { extent, offset }
    }

    /// Returns the extents that frames were placed in, or that turned out full, in the order of first use.
    pub fn extents_used(&self) -> impl Iterator<Item = &ExtentUse> {
        self.uses
            .iter()
            .filter(|taken| taken.is_full || taken.end_bytes > taken.start_bytes)
    }
}

fn lane_index(lane: usize) -> LaneIndex {
    LaneIndex::new(u16::try_from(lane).expect("lanes are counted in 16 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, proptest};

    const HEADER: u64 = 4096;

    fn lane(index: u16) -> LaneIndex {
        LaneIndex::new(index)
    }

    #[test]
    fn a_commit_never_touches_a_sector_of_an_earlier_one() {
        let open = LanePosition {
            extent: ExtentId::new(7),
            end_bytes: HEADER + 100,
        };
        let mut layout = LaneLayout::new(&[Some(open)], Vec::new(), 1 << 20, HEADER);
        let place = layout.place(lane(0), 640, 64);
        assert_eq!(
            place,
            Placement {
                extent: ExtentId::new(7),
                offset: 2 * 4096
            }
        );
        assert_eq!(
            layout.place(lane(0), 64, 64).offset,
            2 * 4096 + 640,
            "small frames of one commit are packed"
        );
    }

    #[test]
    fn a_full_extent_is_left_for_a_new_one_and_marked() {
        let open = LanePosition {
            extent: ExtentId::new(1),
            end_bytes: 10_000,
        };
        let mut layout = LaneLayout::new(&[Some(open)], vec![ExtentId::new(5)], 16_384, HEADER);
        assert_eq!(
            layout.place(lane(0), 8192, 4096),
            Placement {
                extent: ExtentId::new(5),
                offset: HEADER
            }
        );
        let used: Vec<_> = layout.extents_used().copied().collect();
        assert_eq!(used.len(), 2);
        assert!(
            used[0].is_full && used[0].start_bytes == used[0].end_bytes,
            "nothing was put into the full one"
        );
        assert!(used[1].is_new && used[1].start_bytes == HEADER && used[1].end_bytes == HEADER + 8192);
    }

    #[test]
    fn a_frame_longer_than_the_limit_gets_an_extent_of_its_own() {
        let mut layout = LaneLayout::new(&[None], vec![ExtentId::new(1), ExtentId::new(2)], 10_000, HEADER);
        let long = layout.place(lane(0), 1_000_000, 4096);
        let next = layout.place(lane(0), 64, 64);
        assert_ne!(long.extent, next.extent);
    }

    proptest! {
        #[test]
        fn frames_never_overlap_and_walking_twice_gives_the_same_places(
            frames in proptest::collection::vec((0_u16..4, 1_u64..50_000, any::<bool>()), 1..60),
            ends in proptest::collection::vec(proptest::option::of(HEADER..200_000), 4),
        ) {
            let positions: Vec<_> = ends.iter().zip(1..).map(|(end, id)| {
                end.map(|end_bytes| LanePosition { extent: ExtentId::new(id), end_bytes })
            }).collect();
            let begin = LaneLayout::new(&positions, (100..1000).map(ExtentId::new).collect(), 150_000, HEADER);
            let walk = |mut layout: LaneLayout| -> Vec<(Placement, u64)> {
                frames.iter().map(|&(index, len, is_large)| {
                    let alignment = if is_large { 4096 } else { 64 };
                    (layout.place(lane(index), len, alignment), len)
                }).collect()
            };
            let places = walk(begin.clone());
            prop_assert!(places == walk(begin));
            let mut spans: Vec<_> = places.iter().map(|(place, len)| (place.extent, place.offset, place.offset + len)).collect();
            spans.sort_unstable();
            prop_assert!(spans.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1));
            for (extent, start, _) in spans {
                let before = positions.iter().flatten().find(|position| position.extent == extent);
                prop_assert!(before.is_none_or(|position| start >= position.end_bytes.next_multiple_of(4096)));
                prop_assert!(start >= HEADER);
            }
        }
    }
}
