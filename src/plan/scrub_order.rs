//! What a scrub reads, in which order.
//!
//! Never verified first, then the oldest, so that a scrub that is stopped by its budget has read what needed it most, and
//! the next one goes on where it ended without being told. Knows ranges only: which frames live there is asked elsewhere.

use super::VerifiedSet;
use crate::units::{ByteRange, ExtentId, Timestamp};

/// What a scrub is to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScrubPlan {
    /// Everything.
    All,
    /// What was never verified.
    New,
    /// What was never verified, or last before this moment.
    OlderThan(Timestamp),
}

/// An extent, as a scrub knows it before reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubExtent<'a> {
    /// The extent.
    pub extent: ExtentId,
    /// The bytes that count: they end at the committed end.
    pub committed: ByteRange,
    /// What was verified when; bytes outside `committed` mean nothing.
    pub verified: &'a VerifiedSet,
}

/// Bytes to read in one go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScrubRange {
    /// The extent.
    pub extent: ExtentId,
    /// Bytes from its start; never empty.
    pub range: ByteRange,
    /// When all of it was verified last, `None` for never.
    pub verified: Option<Timestamp>,
}

impl ScrubPlan {
    /// Says whether bytes that were verified at a time, or never, are to be read.
    pub fn wants(self, verified: Option<Timestamp>) -> bool {
        match self {
            Self::All => true,
            Self::New => verified.is_none(),
            Self::OlderThan(moment) => verified.is_none_or(|when| when < moment),
        }
    }
}

/// Returns what to read, in the order in which to read it: what was never verified, then the oldest; what has the same
/// time in the order of extents and offsets.
///
/// Each byte that the plan wants lies in exactly one range, and no two ranges that touch have the same time.
pub fn scrub_order<'a>(
    extents: impl IntoIterator<Item = ScrubExtent<'a>>,
    plan: ScrubPlan,
) -> Vec<ScrubRange> {
    let pieces = extents.into_iter().flat_map(|known| {
        let pieces = known.verified.pieces(known.committed);
        pieces.map(move |(range, verified)| ScrubRange {
            extent: known.extent,
            range,
            verified,
        })
    });
    let mut order: Vec<ScrubRange> = pieces.filter(|piece| plan.wants(piece.verified)).collect();
    // `None`, never, is less than any time.
    order.sort_unstable_by_key(|piece| (piece.verified, piece.extent, piece.range));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::VerifiedInterval;
    use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
    use std::collections::BTreeMap;

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::new(start, end).expect("start before end")
    }

    fn time(seconds: i64) -> Timestamp {
        Timestamp::new(seconds, 0).expect("no nanoseconds")
    }

    fn set(intervals: &[(u64, u64, i64)]) -> VerifiedSet {
        VerifiedSet::from_intervals(intervals.iter().map(|&(start, end, seconds)| VerifiedInterval {
            range: range(start, end),
            when: time(seconds),
        }))
    }

    fn order(extents: &[(u64, VerifiedSet)], plan: ScrubPlan) -> Vec<(u64, u64, u64, Option<i64>)> {
        let known = extents.iter().map(|(id, verified)| ScrubExtent {
            extent: ExtentId::new(*id),
            committed: range(10, 100),
            verified,
        });
        let order = scrub_order(known, plan).into_iter().map(|piece| {
            let verified = piece.verified.map(Timestamp::seconds);
            (
                piece.extent.get(),
                piece.range.start(),
                piece.range.end(),
                verified,
            )
        });
        order.collect()
    }

    #[test]
    fn what_was_never_verified_comes_first_and_then_the_oldest_in_disk_order() {
        let extents = [
            (9, set(&[(0, 40, 5), (40, 60, 3)])),
            (2, set(&[(20, 30, 3), (30, 200, 5)])),
        ];
        let never = [(2, 10, 20, None), (9, 60, 100, None)];
        let oldest = [(2, 20, 30, Some(3)), (9, 40, 60, Some(3))];
        let newest = [(2, 30, 100, Some(5)), (9, 10, 40, Some(5))];
        assert_eq!(order(&extents, ScrubPlan::New), never);
        assert_eq!(
            order(&extents, ScrubPlan::OlderThan(time(5))),
            [never, oldest].concat()
        );
        assert_eq!(order(&extents, ScrubPlan::All), [never, oldest, newest].concat());
    }

    #[test]
    fn an_archive_that_one_scrub_has_read_wholly_is_read_extent_by_extent() {
        let mut whole = VerifiedSet::default();
        (0..100).for_each(|frame| whole.insert(range(frame, frame + 1), time(1)));
        let extents: Vec<_> = [3, 1, 2].map(|id| (id, whole.clone())).into();
        let expected = [1, 2, 3].map(|id| (id, 10, 100, Some(1)));
        assert_eq!(order(&extents, ScrubPlan::All), expected);
        assert_eq!(order(&extents, ScrubPlan::New), []);
    }

    #[test]
    fn scrubs_that_stop_early_have_read_everything_in_the_end_and_nothing_twice() {
        let mut sets: BTreeMap<u64, VerifiedSet> =
            [(1, set(&[(0, 50, 2)])), (2, set(&[])), (3, set(&[(30, 70, 1)]))].into();
        let mut read = Vec::new();
        for scrub in 10.. {
            let known: Vec<_> = sets.iter().map(|(id, set)| (*id, set.clone())).collect();
            let left = order(&known, ScrubPlan::OlderThan(time(10)));
            let Some(&(id, start, end, _)) = left.first() else {
                break;
            };
            let stop = end.min(start + 17);
            read.push((id, range(start, stop)));
            sets.get_mut(&id)
                .expect("known")
                .insert(range(start, stop), time(scrub));
        }
        let bytes: u64 = read.iter().map(|(_, range)| range.len()).sum();
        assert_eq!(bytes, 3 * 90, "{read:?}");
        assert!(
            sets.values().all(|set| set.when(range(10, 100)).is_some()),
            "{sets:?}"
        );
    }

    proptest! {
        #[test]
        fn every_wanted_byte_is_read_once_and_no_other(
            stored in proptest::collection::vec(proptest::collection::vec((0_u64..110, 0_u64..40, 0_i64..5), 0..8), 0..4),
            moment in 0_i64..6,
        ) {
            let sets: Vec<VerifiedSet> = stored
                .iter()
                .map(|stored| set(&stored.iter().map(|(start, len, when)| (*start, start + len, *when)).collect::<Vec<_>>()))
                .collect();
            let extents: Vec<_> = (0..).zip(sets).collect();
            for plan in [ScrubPlan::All, ScrubPlan::New, ScrubPlan::OlderThan(time(moment))] {
                let order = order(&extents, plan);
                let mut bytes: Vec<_> = order
                    .iter()
                    .flat_map(|&(id, start, end, when)| (start..end).map(move |byte| (id, byte, when)))
                    .collect();
                bytes.sort_unstable();
                let mut wanted = Vec::new();
                for (id, set) in &extents {
                    for byte in 10..100 {
                        let when = set.when(range(byte, byte + 1)).map(Timestamp::seconds);
                        let is_wanted = match plan {
                            ScrubPlan::All => true,
                            ScrubPlan::New => when.is_none(),
                            ScrubPlan::OlderThan(_) => when.is_none_or(|when| when < moment),
                        };
                        if is_wanted {
                            wanted.push((*id, byte, when));
                        }
                    }
                }
                prop_assert_eq!(&bytes, &wanted);
                for two in order.windows(2) {
                    let ((id, _, end, when), (next_id, next_start, _, next_when)) = (two[0], two[1]);
                    let in_order = (when, id, end) < (next_when, next_id, next_start);
                    prop_assert!(in_order, "{two:?} are not in order, or are one range");
                }
            }
        }
    }
}
