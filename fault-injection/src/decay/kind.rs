//! Which kinds of damage there are, and how far each may go.

use super::chart::Holds;

/// A kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A bit in a leaf of several shards of a column.
    Bits,
    /// Noise in a leaf of several shards of a column.
    Noise,
    /// Both copies of the leaf tables of several shards, and a leaf of each.
    Tables,
    /// The table column: its slices in parity shards, and the tables of a data shard.
    Slices,
    /// Whole frames are zeros.
    Zeros,
    /// Frames stand where others belong.
    Misplaced,
    /// A leaf of several shards of a column is what stood in a frame that is dead.
    Stale,
    /// Extents are cut inside a frame.
    Cut,
    /// Extents are gone.
    Gone,
    /// All extents of lanes are gone.
    Lanes,
    /// Sectors and pages cannot be read.
    Unreadable,
    /// Every shard is hit, each in one column.
    Spread,
    /// The last data shard of the block, and others.
    Highest,
    /// All parity.
    Parity,
    /// All of a block.
    Block,
    /// Headers of all frames: a bit, or the header of another frame.
    Header,
    /// Footers of all frames, in the same ways.
    Footer,
    /// Both copies of every leaf table; whole payloads prove them.
    AllTables,
    /// One copy of every leaf table.
    Copy,
    /// Padding of all frames.
    Padding,
    /// What no live frame lies in.
    Dead,
    /// Something stands behind the ends of extents.
    Behind,
    /// Headers of extents.
    ExtentHeader,
}

/// How much a code has to make up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// As much as it can.
    Inside,
    /// One more.
    Beyond,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 23] = [
        Self::Bits,
        Self::Noise,
        Self::Tables,
        Self::Slices,
        Self::Zeros,
        Self::Misplaced,
        Self::Stale,
        Self::Cut,
        Self::Gone,
        Self::Lanes,
        Self::Unreadable,
        Self::Spread,
        Self::Highest,
        Self::Parity,
        Self::Block,
        Self::Header,
        Self::Footer,
        Self::AllTables,
        Self::Copy,
        Self::Padding,
        Self::Dead,
        Self::Behind,
        Self::ExtentHeader,
    ];

    /// Says whether a kind of damage can go so far.
    pub const fn reaches(self, reach: Reach) -> bool {
        match self {
            Self::Block => matches!(reach, Reach::Beyond),
            Self::Header
            | Self::Footer
            | Self::AllTables
            | Self::Copy
            | Self::Padding
            | Self::Dead
            | Self::Behind
            | Self::ExtentHeader => matches!(reach, Reach::Inside),
            Self::Bits
            | Self::Noise
            | Self::Tables
            | Self::Slices
            | Self::Zeros
            | Self::Misplaced
            | Self::Stale
            | Self::Cut
            | Self::Gone
            | Self::Lanes
            | Self::Unreadable
            | Self::Spread
            | Self::Highest
            | Self::Parity => true,
        }
    }

    /// Says whether it is damage to a block; else it falls on what nobody reads.
    pub const fn is_of_a_block(self) -> bool {
        !matches!(self, Self::Dead | Self::Behind | Self::ExtentHeader)
    }

    /// Says whether there are blocks of this content that it can be done to: those with a table column, where it is about
    /// that.
    pub const fn is_possible(self, holds: Holds) -> bool {
        !matches!(self, Self::Slices) || matches!(holds, Holds::Blocked)
    }
}
