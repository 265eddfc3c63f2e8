//! The policy of an archive: which lengths get which protection.

use core::fmt;

use super::LaneSpace;

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
}

impl Tier {
    /// Returns the number that users and the disk know the tier by.
    pub const fn number(self) -> u8 {
        match self {
            Self::Tiny => 1,
            Self::Segmented => 2,
            Self::Blocked => 3,
        }
    }

    /// Returns the tier of that number, or `None`; 4 is reserved for grouped files.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Tiny),
            2 => Some(Self::Segmented),
            3 => Some(Self::Blocked),
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
    #[error("tier 2 cannot end at {segmented_below_bytes} bytes when tier 1 ends at {tiny_below_bytes}")]
    TiersOutOfOrder {
        /// End of tier 1.
        tiny_below_bytes: u64,
        /// End of tier 2.
        segmented_below_bytes: u64,
    },
}

/// Most columns a block may have: bounds the leaf tables that a reader holds (2 MiB each).
pub(super) const MAX_COLUMNS: u64 = 65_536;

impl Policy {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`PolicyError`] names the rule that they break.
    pub fn new(parts: PolicyParts) -> Result<Self, PolicyError> {
        let shapes = [parts.tiny_shape, parts.segmented_shape, parts.blocked_shape];
        if let Some(shape) = shapes.into_iter().find(|shape| !shape.fits_block()) {
            return Err(PolicyError::TooManyShards { shape });
        }
        let leaf_len_bytes = parts.leaf.bytes();
        for segment_len_bytes in [
            parts.segmented_segment_len_bytes,
            parts.blocked_segment_max_len_bytes,
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
            .max(parts.blocked_segment_max_len_bytes);
        if shard_len_bytes.div_ceil(leaf_len_bytes) > MAX_COLUMNS {
            return Err(PolicyError::TooManyColumns {
                shard_len_bytes,
                leaf_len_bytes,
            });
        }
        if parts.segmented_below_bytes < parts.tiny_below_bytes {
            return Err(PolicyError::TiersOutOfOrder {
                tiny_below_bytes: parts.tiny_below_bytes,
                segmented_below_bytes: parts.segmented_below_bytes,
            });
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
        } else {
            Tier::Blocked
        }
    }

    /// Returns the code of a tier.
    pub const fn shape(&self, tier: Tier) -> CodeShape {
        match tier {
            Tier::Tiny => self.0.tiny_shape,
            Tier::Segmented => self.0.segmented_shape,
            Tier::Blocked => self.0.blocked_shape,
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

    /// Returns how many lanes a volume has: one for each shard of the widest code.
    pub fn lane_count(&self) -> u16 {
        let shapes = [self.0.tiny_shape, self.0.segmented_shape, self.0.blocked_shape];
        shapes
            .map(CodeShape::total)
            .into_iter()
            .max()
            .expect("there are three shapes")
    }
}

impl Default for Policy {
    /// The policy of the table in docs/architecture.md.
    fn default() -> Self {
        Self::new(PolicyParts::default()).expect("the default policy keeps its own rules")
    }
}
