//! How tier 4 cuts its files: segments short enough for the sums of outer parity, groups wide enough for what they may cost.

use super::{FileGeometry, Policy, PolicyError, PolicyParts, Tier, block::HASH_LEN_BYTES};
use crate::units::{BlockIndex, CodeShape, LeafLen, MAX_SHARDS};

/// Most outer parity blocks of a group.
pub const MAX_OUTER_PARITY: u16 = 10;

/// Most blocks that a group is made of at least: with up to twice as many, and parity, it is still a code.
const MAX_GROUP_BLOCKS_MIN: u16 = 500;

const MIB: u64 = 1024 * 1024;

/// The most memory that the sums of one open group may take, in bytes.
const OUTER_SUMS_MAX_LEN_BYTES: u64 = 512 * MIB;

/// What segments may take of it, in bytes; the rest is for the leaf tables behind them.
const SEGMENT_SUMS_MAX_LEN_BYTES: u64 = 480 * MIB;

/// Segments are chosen no longer than this, in bytes: a group of few gigabytes has enough blocks to be cheap.
const LONGEST_SEGMENT_LEN_BYTES: u64 = 4 * MIB;

/// Segments are not chosen shorter than this, in bytes: frames would cost too much.
const SHORTEST_SEGMENT_LEN_BYTES: u64 = MIB;

/// What groups and frames may add to what the inner code takes, in thousandths: 15 % in all with RS(30,3).
const OUTER_COST_LIMIT_PERMILLE: u64 = 45;

/// What a frame takes beside its payload and its two leaf tables, in bytes, at most: header and footer, each filled up to a
/// sector.
pub const FRAME_MAX_EXTRA_LEN_BYTES: u64 = 2 * 4096 + 512;

/// How files of tier 4 are cut into blocks and groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouping {
    /// The code of each block.
    pub shape: CodeShape,
    /// Longest segment of a block, in bytes.
    pub segment_max_len_bytes: u64,
    /// Outer parity blocks of each group: so many blocks of it may be lost whole.
    pub parity: u16,
    /// Fewest blocks of the file in a group, and less than half of the most: a file that would have fewer gets shorter segments.
    pub blocks_min: u16,
}

/// A tier 4 that cannot be what it is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum GroupingError {
    /// Outer parity is for what the inner code loses; copies that are all lost need more than that.
    #[error("the blocks of tier 4 are coded, not copied: {shape} has one data shard")]
    Replication {
        /// What was asked for.
        shape: CodeShape,
    },
    /// Parity of groups is counted from 1 to 10.
    #[error("a group has 1 to {MAX_OUTER_PARITY} outer parity blocks, not {parity}")]
    Parity {
        /// What was asked for.
        parity: u16,
    },
    /// A group has blocks, and is a code.
    #[error("a group is made of at least 1 to {MAX_GROUP_BLOCKS_MIN} blocks, not {blocks_min}")]
    Width {
        /// What was asked for.
        blocks_min: u16,
    },
    /// The sums of an open group are held in memory.
    #[error(
        "{parity} outer parity blocks over {shape} in segments of {segment_len_bytes} bytes take {needed_bytes} bytes of memory while a file is stored; at most {limit_bytes} are allowed"
    )]
    Memory {
        /// The code of each block.
        shape: CodeShape,
        /// Outer parity blocks.
        parity: u16,
        /// The shortest segment that would do, or the one that was asked for.
        segment_len_bytes: u64,
        /// What the sums would take.
        needed_bytes: u64,
        /// What they may take.
        limit_bytes: u64,
    },
    /// Groups as wide as they can be cost more than they may.
    #[error(
        "{parity} outer parity blocks over {shape} would store {stored_permille} bytes for every 1000 of a file of {len_bytes} bytes; at most {limit_permille} are allowed"
    )]
    Overhead {
        /// The code of each block.
        shape: CodeShape,
        /// Outer parity blocks.
        parity: u16,
        /// The length of a file for which that is so.
        len_bytes: u64,
        /// What it takes on the volumes, in thousandths of its length.
        stored_permille: u64,
        /// What it may take.
        limit_permille: u64,
    },
}

impl Grouping {
    /// What [`Self::choose`] chooses by default: RS(30,3), three outer parity blocks.
    pub const DEFAULT: Self = Self {
        shape: match CodeShape::new(30, 3) {
            Ok(shape) => shape,
            Err(_) => unreachable!(),
        },
        segment_max_len_bytes: LONGEST_SEGMENT_LEN_BYTES,
        parity: 3,
        blocks_min: DEFAULT_BLOCKS_MIN,
    };

    /// Chooses segments and width for files from `from_bytes` on: the longest segments whose sums fit the memory that they may
    /// take, and the narrowest groups that cost no more than they may, whatever the length of the file.
    ///
    /// # Errors
    /// [`GroupingError`] with the numbers, where there is no such choice.
    pub fn choose(
        shape: CodeShape,
        parity: u16,
        (leaf, from_bytes): (LeafLen, u64),
    ) -> Result<Self, GroupingError> {
        if shape.is_replication() {
            return Err(GroupingError::Replication { shape });
        }
        if parity == 0 || parity > MAX_OUTER_PARITY {
            return Err(GroupingError::Parity { parity });
        }
        let positions = u64::from(shape.data()) * u64::from(parity);
        let mut segment_max_len_bytes = LONGEST_SEGMENT_LEN_BYTES;
        while positions * segment_max_len_bytes > SEGMENT_SUMS_MAX_LEN_BYTES {
            if segment_max_len_bytes == SHORTEST_SEGMENT_LEN_BYTES {
                return Err(GroupingError::Memory {
                    shape,
                    parity,
                    segment_len_bytes: segment_max_len_bytes,
                    needed_bytes: positions * segment_max_len_bytes,
                    limit_bytes: SEGMENT_SUMS_MAX_LEN_BYTES,
                });
            }
            segment_max_len_bytes /= 2;
        }
        let with = |blocks_min| Self {
            shape,
            segment_max_len_bytes,
            parity,
            blocks_min,
        };
        let mut cheapest: Option<(u64, GroupingError)> = None;
        for grouping in (1..=MAX_GROUP_BLOCKS_MIN).map(with) {
            let (len_bytes, stored_permille) = grouping.worst_cost(leaf, from_bytes);
            let limit_permille = grouping.cost_limit_permille();
            if stored_permille <= limit_permille {
                return Ok(grouping);
            }
            // Narrow groups have too many parity blocks, and the shortest files of wide ones too short segments.
            if cheapest.is_none_or(|(cost, _)| stored_permille < cost) {
                let error = GroupingError::Overhead {
                    shape,
                    parity,
                    len_bytes,
                    stored_permille,
                    limit_permille,
                };
                cheapest = Some((stored_permille, error));
            }
        }
        Err(cheapest.expect("one is cheaper than others").1)
    }

    /// Returns the memory that the sums of one open group take, in bytes.
    pub const fn sums_len_bytes(&self, leaf: LeafLen) -> u64 {
        let positions = self.shape.data() as u64 * self.parity as u64;
        positions.saturating_mul(self.outer_segment_max_len_bytes(leaf))
    }

    /// Returns the length of the longest segment of an outer parity block: that of the blocks, and a leaf table.
    pub(super) const fn outer_segment_max_len_bytes(&self, leaf: LeafLen) -> u64 {
        let columns = self.segment_max_len_bytes / leaf.bytes();
        self.segment_max_len_bytes
            .saturating_add(columns.saturating_mul(HASH_LEN_BYTES))
    }

    /// Checks what no grouping may be.
    pub(super) fn check(&self, leaf: LeafLen) -> Result<(), GroupingError> {
        let Self {
            shape,
            parity,
            blocks_min,
            ..
        } = *self;
        if shape.is_replication() {
            return Err(GroupingError::Replication { shape });
        }
        if parity == 0 || parity > MAX_OUTER_PARITY {
            return Err(GroupingError::Parity { parity });
        }
        if blocks_min == 0 || blocks_min > MAX_GROUP_BLOCKS_MIN {
            return Err(GroupingError::Width { blocks_min });
        }
        let needed_bytes = self.sums_len_bytes(leaf);
        if needed_bytes > OUTER_SUMS_MAX_LEN_BYTES {
            return Err(GroupingError::Memory {
                shape: self.shape,
                parity,
                segment_len_bytes: self.segment_max_len_bytes,
                needed_bytes,
                limit_bytes: OUTER_SUMS_MAX_LEN_BYTES,
            });
        }
        Ok(())
    }

    /// Returns the same with another code of each block, and segments short enough for what sums of it may take.
    #[must_use]
    pub(super) const fn with_shape(mut self, shape: CodeShape, leaf: LeafLen) -> Self {
        self.shape = shape;
        let mut shorter = self;
        loop {
            if shorter.sums_len_bytes(leaf) <= OUTER_SUMS_MAX_LEN_BYTES {
                return shorter;
            }
            shorter.segment_max_len_bytes /= 2;
            if shorter.segment_max_len_bytes == 0
                || !shorter.segment_max_len_bytes.is_multiple_of(leaf.bytes())
            {
                return self;
            }
        }
    }

    /// Returns what a file may take on the volumes, in thousandths of its length.
    fn cost_limit_permille(&self) -> u64 {
        let inner = u64::from(self.shape.total()) * 1000 / u64::from(self.shape.data());
        inner * (1000 + OUTER_COST_LIMIT_PERMILLE) / 1000
    }

    /// Returns the length from `from_bytes` on of a file that costs most, and what it takes in thousandths: it is the shortest, or
    /// one that has just become a group more.
    fn worst_cost(&self, leaf: LeafLen, from_bytes: u64) -> (u64, u64) {
        let block = self.segment_max_len_bytes * u64::from(self.shape.data());
        let full_groups = (1..=4).map(|groups| groups * u64::from(self.blocks_min) * block);
        let lengths = full_groups.flat_map(|full| [full - block + 1, full, full + 1]);
        let costs = lengths
            .map(|len| len.max(from_bytes))
            .chain([from_bytes.max(1)])
            .map(|len_bytes| {
                // One that no policy allows costs more than any.
                let stored_bytes = self.stored_bytes_at_most(leaf, len_bytes).unwrap_or(u64::MAX);
                (len_bytes, stored_bytes.saturating_mul(1000).div_ceil(len_bytes))
            });
        costs.max_by_key(|(_, cost)| *cost).expect("there are lengths")
    }

    /// Returns what a file of this grouping takes on the volumes at most, in bytes, frames included.
    fn stored_bytes_at_most(&self, leaf: LeafLen, len_bytes: u64) -> Result<u64, PolicyError> {
        let policy = Policy::new(PolicyParts {
            leaf,
            blocked_below_bytes: 0,
            segmented_below_bytes: 0,
            tiny_below_bytes: 0,
            grouped: *self,
            ..PolicyParts::default()
        })?;
        let file = FileGeometry::new(len_bytes, &policy);
        debug_assert_eq!(file.tier(), Tier::Grouped, "no other tier has a length");
        let frame = |shard_len_bytes: u64, leaves: u32| {
            shard_len_bytes + 2 * HASH_LEN_BYTES * u64::from(leaves) + FRAME_MAX_EXTRA_LEN_BYTES
        };
        let of_block = |block: super::BlockGeometry| -> u64 {
            let present = block.shards().filter(|shard| block.is_present(*shard));
            let frames = present.map(|shard| frame(block.shard_len_bytes(shard), block.leaf_count(shard)));
            frames.sum()
        };
        let Some(group) = file.groups().next() else {
            return Ok(0);
        };
        // Long blocks come first; the first outer block is as long as any.
        let (blocks, long) = (file.data_block_count(), file.parts().long_blocks);
        let outer = file.group_count() * u64::from(self.parity);
        let counts = [
            (file.data_block(0), long),
            (file.data_block(long.min(blocks - 1)), blocks - long),
            (BlockIndex::new(group.parity_blocks().start), outer),
        ];
        let costs = counts
            .into_iter()
            .map(|(first, count)| of_block(file.block(first)).saturating_mul(count));
        Ok(costs.fold(0, u64::saturating_add))
    }
}

/// What [`Grouping::choose`] finds for [`Grouping::DEFAULT`]; a test compares them.
const DEFAULT_BLOCKS_MIN: u16 = 74;

const _: () = assert!(
    MAX_GROUP_BLOCKS_MIN * 2 + MAX_OUTER_PARITY - 1 <= MAX_SHARDS,
    "the widest group is a code"
);
