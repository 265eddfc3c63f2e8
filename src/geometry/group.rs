//! Groups: blocks that share outer parity, and how their blocks are numbered.

use core::ops::Range;

use super::{
    FileGeometryParts, Tier,
    block::{CODEC_GROUP_LEN_BYTES, HASH_LEN_BYTES},
};
use crate::units::{BlockIndex, CodeShape, LeafLen, ShardIndex};

/// One group: blocks of the file that follow each other, and the outer parity blocks behind them.
///
/// Shard s of outer parity block j is the j-th parity of a code across the group: of the segments at position s of its blocks,
/// each filled up with zeros to `columns` leaves, with its leaf table behind. So a lost leaf can be decoded from one leaf of each
/// other block, and compared with its hash, without anything else of its own block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupGeometry {
    index: u64,
    first_block: u64,
    code: CodeShape,
    columns: u32,
    start_bytes: u64,
}

impl GroupGeometry {
    /// Returns which group of its file it is.
    pub const fn index(&self) -> u64 {
        self.index
    }

    /// Returns the code across its blocks: as many data shards as it has blocks of the file, as many parity shards as outer ones.
    pub const fn code(&self) -> CodeShape {
        self.code
    }

    /// Returns the numbers of its blocks of the file.
    pub fn data_blocks(&self) -> Range<u64> {
        self.first_block..self.first_block + u64::from(self.code.data())
    }

    /// Returns the numbers of its outer parity blocks.
    pub fn parity_blocks(&self) -> Range<u64> {
        let first = self.first_block + u64::from(self.code.data());
        first..first + u64::from(self.code.parity())
    }

    /// Returns all of its blocks in the order of the code, outer parity last.
    pub fn blocks(&self) -> impl Iterator<Item = BlockIndex> {
        (self.first_block..self.parity_blocks().end).map(BlockIndex::new)
    }

    /// Returns which shard of the code across the group a block is.
    ///
    /// # Panics
    /// When it is not of this group.
    pub fn position(&self, block: BlockIndex) -> ShardIndex {
        let position = block.get().checked_sub(self.first_block);
        let position = position.and_then(|position| u16::try_from(position).ok());
        let position = position.filter(|position| *position < self.code.total());
        ShardIndex::new(position.expect("the block is of this group"))
    }

    /// Returns the block that is a shard of the code across the group.
    ///
    /// # Panics
    /// When the code has no such shard.
    pub fn block_at(&self, position: ShardIndex) -> BlockIndex {
        assert!(position.get() < self.code.total(), "a shard of {}", self.code);
        BlockIndex::new(self.first_block + u64::from(position.get()))
    }

    /// Returns the offset in the file of its first byte.
    pub const fn start_bytes(&self) -> u64 {
        self.start_bytes
    }

    /// Returns the columns of its longest block; in outer parity blocks leaf tables stand behind so many.
    pub const fn columns(&self) -> u32 {
        self.columns
    }

    /// Says whether outer parity covers leaf tables too: a shard of one leaf has none.
    pub const fn has_tables(&self) -> bool {
        self.columns > 1
    }

    /// Returns the columns of outer parity blocks that hold parity of leaf tables.
    pub fn table_columns(&self, leaf: LeafLen) -> Range<u32> {
        let count = self.table_len_bytes().div_ceil(leaf.bytes());
        let count = u32::try_from(count).expect("a table is shorter than the leaves that it is of");
        self.columns..self.columns + count
    }

    /// Returns how long parity of leaf tables is in each shard of an outer parity block, in bytes; 0 where there are none.
    pub fn table_len_bytes(&self) -> u64 {
        if self.has_tables() {
            (u64::from(self.columns) * HASH_LEN_BYTES).next_multiple_of(CODEC_GROUP_LEN_BYTES)
        } else {
            0
        }
    }

    /// Returns the length of a data shard of an outer parity block, in bytes.
    pub fn outer_segment_len_bytes(&self, leaf: LeafLen) -> u64 {
        u64::from(self.columns) * leaf.bytes() + self.table_len_bytes()
    }
}

/// How blocks are numbered: those of a group one after another, then its outer parity. The first groups have one block more than
/// the others.
#[derive(Debug, Clone, Copy)]
pub(super) struct Groups {
    data_blocks: u64,
    group_count: u64,
    parity: u16,
}

impl Groups {
    pub(super) const fn of(parts: &FileGeometryParts) -> Self {
        Self {
            data_blocks: parts.data_blocks,
            group_count: parts.group_count,
            parity: parts.outer_parity,
        }
    }

    /// Says whether recorded numbers can be groups; that the blocks hold the file has been checked.
    pub(super) fn are_possible(parts: &FileGeometryParts) -> bool {
        let is_grouped = parts.tier == Tier::Grouped && parts.data_blocks > 0;
        let Self {
            data_blocks,
            group_count,
            parity,
        } = Self::of(parts);
        if !is_grouped {
            return group_count == 0 && parity == 0;
        }
        let most = data_blocks.div_ceil(group_count.max(1));
        let code = u16::try_from(most)
            .ok()
            .and_then(|most| CodeShape::new(most, parity).ok());
        let all = group_count
            .checked_mul(u64::from(parity))
            .and_then(|outer| outer.checked_add(data_blocks));
        group_count > 0 && group_count <= data_blocks && code.is_some() && all.is_some()
    }

    pub(super) fn block_count(self) -> u64 {
        self.data_blocks + self.group_count * u64::from(self.parity)
    }

    /// Returns which block of the file a block is, or `None` for outer parity.
    pub(super) fn data_ordinal(self, block: BlockIndex) -> Option<u64> {
        if self.group_count == 0 {
            return Some(block.get());
        }
        let group = self.group_of(block);
        let offset = block.get() - self.first_block(group);
        (offset < self.width(group)).then(|| self.first_data_block(group) + offset)
    }

    /// Returns the number of a block of the file.
    pub(super) fn data_block(self, ordinal: u64) -> BlockIndex {
        if self.group_count == 0 {
            return BlockIndex::new(ordinal);
        }
        let wide_blocks = self.wide_groups() * (self.narrow() + 1);
        let group = if ordinal < wide_blocks {
            ordinal / (self.narrow() + 1)
        } else {
            self.wide_groups() + (ordinal - wide_blocks) / self.narrow()
        };
        BlockIndex::new(self.first_block(group) + (ordinal - self.first_data_block(group)))
    }

    /// Returns which group a block is of.
    pub(super) fn group_of(self, block: BlockIndex) -> u64 {
        let (wide, narrow) = (self.narrow() + 1 + self.outer(), self.narrow() + self.outer());
        let of_wide = self.wide_groups() * wide;
        if block.get() < of_wide {
            block.get() / wide
        } else {
            self.wide_groups() + (block.get() - of_wide) / narrow
        }
    }

    /// Returns which block of the file the first of a group is.
    pub(super) fn first_data_block(self, group: u64) -> u64 {
        assert!(group < self.group_count, "group {group} of {}", self.group_count);
        group * self.narrow() + group.min(self.wide_groups())
    }

    pub(super) fn group(self, group: u64, columns: u32, start_bytes: u64) -> GroupGeometry {
        let width = u16::try_from(self.width(group)).expect("a group is a code");
        GroupGeometry {
            index: group,
            first_block: self.first_block(group),
            code: CodeShape::new(width, self.parity).expect("a group is a code"),
            columns,
            start_bytes,
        }
    }

    /// Returns the number of the first block of a group.
    fn first_block(self, group: u64) -> u64 {
        self.first_data_block(group) + group * self.outer()
    }

    /// Returns how many blocks of the file a group has.
    fn width(self, group: u64) -> u64 {
        self.narrow() + u64::from(group < self.wide_groups())
    }

    const fn narrow(self) -> u64 {
        self.data_blocks / self.group_count
    }

    const fn wide_groups(self) -> u64 {
        self.data_blocks % self.group_count
    }

    fn outer(self) -> u64 {
        u64::from(self.parity)
    }
}

#[cfg(test)]
mod tests;
