//! The policy of an archive: which lengths get which protection.

use core::fmt;

use super::{GroupingError, LaneSpace, grouping::Grouping};
use crate::units::{CodeShape, LeafLen, MAX_BLOCK_SHARDS};

/// How a file is protected, by its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Tier {
    /// The whole file is one block.
    Tiny,
    /// Segments of fixed length, each row of them a block.
    Segmented,
    /// Wide blocks, balanced so that all are alike.
    Blocked,
    /// Wide blocks in groups, with parity across the blocks of each group.
    Grouped,
}

impl Tier {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Tiny, Self::Segmented, Self::Blocked, Self::Grouped];

    /// Returns the number that users and the disk know the tier by.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tiny => 1,
            Self::Segmented => 2,
            Self::Blocked => 3,
            Self::Grouped => 4,
        }
    }

    /// Returns the tier of that number, or `None`.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Tiny),
            2 => Some(Self::Segmented),
            3 => Some(Self::Blocked),
            4 => Some(Self::Grouped),
            _ => None,
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.number())
    }
}

/// The numbers of a policy, before they are checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each field is explained by its name and the table in docs/architecture.md"
)]
pub struct PolicyParts {
    pub leaf: LeafLen,
    /// Files shorter than this are tiny, in bytes.
    pub tiny_below_bytes: u64,
    pub tiny_shape: CodeShape,
    /// Files shorter than this, and not tiny, are segmented, in bytes.
    pub segmented_below_bytes: u64,
    pub segmented_shape: CodeShape,
    pub segmented_segment_len_bytes: u64,
    pub blocked_shape: CodeShape,
    /// Longest segment of a balanced block, in bytes.
    pub blocked_segment_max_len_bytes: u64,
    /// Files shorter than this, and neither tiny nor segmented, are blocked, in bytes, and all others are grouped; `u64::MAX` for
    /// none that is grouped.
    pub blocked_below_bytes: u64,
    /// How blocks are made and grouped; what [`Grouping::choose`] chooses, or anything else.
    pub grouped: Grouping,
    /// How many volumes may be lost, whichever they are, without a byte being lost: what was asked for when the archive was
    /// made. The shapes are to give that on as many volumes as it was made with.
    pub survive_volumes: u16,
}

impl Default for PolicyParts {
    fn default() -> Self {
        const MIB: u64 = 1024 * 1024;
        let replicas = CodeShape::new(1, 3).expect("1 + 3 is a shape");
        Self {
            leaf: LeafLen::DEFAULT,
            tiny_below_bytes: 10_000_000,
            tiny_shape: replicas,
            segmented_below_bytes: 1_000_000_000,
            segmented_shape: replicas,
            segmented_segment_len_bytes: 4 * MIB,
            blocked_shape: CodeShape::new(30, 3).expect("30 + 3 is a shape"),
            blocked_segment_max_len_bytes: 8 * MIB,
            blocked_below_bytes: 10_000_000_000,
            grouped: Grouping::DEFAULT,
            survive_volumes: 0,
        }
    }
}

/// A checked policy, recorded in an archive when it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy(PolicyParts);

/// A policy that cannot be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError {
    /// A segment must be whole leaves, so that a leaf never crosses a shard.
    #[error(
        "a segment of {segment_len_bytes} bytes is not a positive multiple of the leaf of {leaf_len_bytes} bytes"
    )]
    SegmentNotWholeLeaves {
        /// Segment length asked for.
        segment_len_bytes: u64,
        /// Leaf length asked for.
        leaf_len_bytes: u64,
    },
    /// Every shard of a block wants a lane of its own.
    #[error("a block of {shape} has more than {MAX_BLOCK_SHARDS} shards")]
    TooManyShards {
        /// Shape asked for.
        shape: CodeShape,
    },
    /// Leaf tables are held in memory, two thirds of a million leaves a shard are the most.
    #[error(
        "a shard of {shard_len_bytes} bytes has more than {MAX_COLUMNS} leaves of {leaf_len_bytes} bytes"
    )]
    TooManyColumns {
        /// Longest shard that the policy makes.
        shard_len_bytes: u64,
        /// Leaf length asked for.
        leaf_len_bytes: u64,
    },
    /// The tiers must follow each other.
    #[error(
        "tier {tier} cannot end at {ends_at_bytes} bytes when the tier before it ends at {begins_at_bytes}"
    )]
    TiersOutOfOrder {
        /// The tier.
        tier: Tier,
        /// End of the tier before it.
        begins_at_bytes: u64,
        /// Its own end.
        ends_at_bytes: u64,
    },
    /// Tier 4 cannot be what it is to be.
    #[error(transparent)]
    Grouping(#[from] GroupingError),
}

/// Most columns a block may have: bounds the leaf tables that a reader holds (2 MiB each).
pub(super) const MAX_COLUMNS: u64 = 65_536;

impl Policy {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`PolicyError`] names the rule that they break.
    pub fn new(parts: PolicyParts) -> Result<Self, PolicyError> {
        let shapes = [
            parts.tiny_shape,
            parts.segmented_shape,
            parts.blocked_shape,
            parts.grouped.shape,
        ];
        if let Some(shape) = shapes.into_iter().find(|shape| !shape.fits_block()) {
            return Err(PolicyError::TooManyShards { shape });
        }
        let leaf_len_bytes = parts.leaf.bytes();
        for segment_len_bytes in [
            parts.segmented_segment_len_bytes,
            parts.blocked_segment_max_len_bytes,
            parts.grouped.segment_max_len_bytes,
        ] {
            if segment_len_bytes == 0 || !segment_len_bytes.is_multiple_of(leaf_len_bytes) {
                return Err(PolicyError::SegmentNotWholeLeaves {
                    segment_len_bytes,
                    leaf_len_bytes,
                });
            }
        }
        let longest_tiny = parts
            .tiny_below_bytes
            .div_ceil(u64::from(parts.tiny_shape.data()));
        let shard_len_bytes = longest_tiny
            .max(parts.segmented_segment_len_bytes)
            .max(parts.blocked_segment_max_len_bytes)
            .max(parts.grouped.outer_segment_max_len_bytes(parts.leaf));
        if shard_len_bytes.div_ceil(leaf_len_bytes) > MAX_COLUMNS {
            return Err(PolicyError::TooManyColumns {
                shard_len_bytes,
                leaf_len_bytes,
            });
        }
        let ends = [
            (
                Tier::Segmented,
                parts.tiny_below_bytes,
                parts.segmented_below_bytes,
            ),
            (
                Tier::Blocked,
                parts.segmented_below_bytes,
                parts.blocked_below_bytes,
            ),
        ];
        for (tier, begins_at_bytes, ends_at_bytes) in ends {
            if ends_at_bytes < begins_at_bytes {
                return Err(PolicyError::TiersOutOfOrder {
                    tier,
                    begins_at_bytes,
                    ends_at_bytes,
                });
            }
        }
        if parts.blocked_below_bytes < u64::MAX {
            parts.grouped.check(parts.leaf)?;
        }
        Ok(Self(parts))
    }

    /// Returns the numbers.
    pub const fn parts(&self) -> &PolicyParts {
        &self.0
    }

    /// Returns the length of a leaf.
    pub const fn leaf(&self) -> LeafLen {
        self.0.leaf
    }

    /// Returns the tier of a file of `len_bytes` bytes.
    pub const fn tier(&self, len_bytes: u64) -> Tier {
        if len_bytes < self.0.tiny_below_bytes {
            Tier::Tiny
        } else if len_bytes < self.0.segmented_below_bytes {
            Tier::Segmented
        } else if len_bytes < self.0.blocked_below_bytes {
            Tier::Blocked
        } else {
            Tier::Grouped
        }
    }

    /// Returns the code of a tier.
    pub const fn shape(&self, tier: Tier) -> CodeShape {
        match tier {
            Tier::Tiny => self.0.tiny_shape,
            Tier::Segmented => self.0.segmented_shape,
            Tier::Blocked => self.0.blocked_shape,
            Tier::Grouped => self.0.grouped.shape,
        }
    }

    /// Returns how many volumes may be lost by what was asked for when the archive was made.
    pub const fn survive_volumes(&self) -> u16 {
        self.0.survive_volumes
    }

    /// Returns which lanes lie on which volume.
    pub fn lanes(&self) -> LaneSpace {
        LaneSpace::new(self.lane_count())
    }

    /// Returns the tiers that files may have; a policy without an end of tier 3 has no tier 4.
    pub fn tiers(&self) -> impl Iterator<Item = Tier> {
        let is_last = self.0.blocked_below_bytes == u64::MAX;
        Tier::ALL
            .into_iter()
            .filter(move |tier| *tier != Tier::Grouped || !is_last)
    }

    /// Returns how many lanes a volume has: one for each shard of the widest code that files may have.
    pub fn lane_count(&self) -> u16 {
        let shapes = self.tiers().map(|tier| self.shape(tier).total());
        shapes.max().expect("there are tiers")
    }
}

impl Default for Policy {
    /// The policy of the table in docs/architecture.md.
    fn default() -> Self {
        Self::new(PolicyParts::default()).expect("the default policy keeps its own rules")
    }
}
