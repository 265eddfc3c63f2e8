//! A file as a row of blocks.

use super::{
    BlockGeometry, BlockGeometryParts, FileLeaves, GroupGeometry, Policy, Tier, group::Groups,
    policy::MAX_COLUMNS,
};
use crate::units::{BlockIndex, ByteRange, CodeShape, ColumnIndex, LeafLen};

/// How a file of a given length is cut into blocks.
///
/// Blocks are counted in columns of k leaves. The first `long_blocks` blocks have `long_columns` columns, the others
/// `short_columns`; for a balanced tier the two differ by one, so no tail ever costs a whole extra block of parity.
///
/// Of a grouped file the blocks of the file are dealt to groups in order, and outer parity blocks follow each group. Blocks are
/// numbered as they are stored, outer ones among them; those of the file alone are counted as data blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileGeometry {
    parts: FileGeometryParts,
}

/// The numbers that describe a [`FileGeometry`], as they are recorded with the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each field is explained by its name and the text of FileGeometry"
)]
pub struct FileGeometryParts {
    pub len_bytes: u64,
    pub tier: Tier,
    pub shape: CodeShape,
    pub leaf: LeafLen,
    /// Blocks of the file, without outer parity.
    pub data_blocks: u64,
    pub long_blocks: u64,
    pub long_columns: u32,
    pub short_columns: u32,
    /// Groups, 0 where blocks are not grouped.
    pub group_count: u64,
    /// Outer parity blocks of each group.
    pub outer_parity: u16,
}

/// Recorded numbers that do not describe any file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{data_blocks} blocks of {columns} columns in {group_count} groups do not hold {len_bytes} bytes")]
pub struct FileGeometryError {
    /// File length recorded.
    pub len_bytes: u64,
    /// Count of data blocks recorded.
    pub data_blocks: u64,
    /// Columns of the longest block recorded.
    pub columns: u32,
    /// Group count recorded.
    pub group_count: u64,
}

impl FileGeometry {
    /// Cuts a file of `len_bytes` bytes as `policy` says.
    pub fn new(len_bytes: u64, policy: &Policy) -> Self {
        let tier = policy.tier(len_bytes);
        let shape = policy.shape(tier);
        let leaf = policy.leaf();
        let columns = leaf.count_for(len_bytes).div_ceil(u64::from(shape.data()));
        let grouped = policy.parts().grouped;
        let whole_leaves = |segment_len_bytes: u64| segment_len_bytes / leaf.bytes();
        let balanced = |data_blocks: u64| {
            (
                data_blocks,
                columns % data_blocks,
                columns.div_ceil(data_blocks),
                columns / data_blocks,
            )
        };
        let (data_blocks, long_blocks, long_columns, short_columns) = match tier {
            _ if columns == 0 => (0, 0, 0, 0),
            Tier::Tiny => (1, 0, columns, columns),
            Tier::Segmented => {
                let each = whole_leaves(policy.parts().segmented_segment_len_bytes);
                let data_blocks = columns.div_ceil(each);
                (
                    data_blocks,
                    data_blocks - 1,
                    each,
                    columns - (data_blocks - 1) * each,
                )
            }
            Tier::Blocked => {
                let most = whole_leaves(policy.parts().blocked_segment_max_len_bytes);
                balanced(columns.div_ceil(most))
            }
            Tier::Grouped => {
                let most = whole_leaves(grouped.segment_max_len_bytes);
                // A file of few blocks gets shorter ones, so that its group is wide enough for what it may cost.
                let enough = u64::from(grouped.blocks_min).min(columns);
                balanced(columns.div_ceil(most).max(enough))
            }
        };
        let (group_count, outer_parity) = if tier == Tier::Grouped && columns > 0 {
            let group_count = (data_blocks / u64::from(grouped.blocks_min)).max(1);
            (group_count, grouped.parity)
        } else {
            (0, 0)
        };
        let narrow = |columns: u64| u32::try_from(columns).expect("a policy bounds the columns of a block");
        let (long_columns, short_columns) = (narrow(long_columns), narrow(short_columns));
        let parts = FileGeometryParts {
            len_bytes,
            tier,
            shape,
            leaf,
            data_blocks,
            long_blocks,
            long_columns,
            short_columns,
            group_count,
            outer_parity,
        };
        let geometry = Self { parts };
        debug_assert_eq!(
            Self::from_parts(parts),
            Ok(geometry),
            "what is cut must parse again"
        );
        geometry
    }

    /// Checks recorded numbers.
    ///
    /// # Errors
    /// [`FileGeometryError`] when the blocks do not hold exactly the file.
    pub fn from_parts(parts: FileGeometryParts) -> Result<Self, FileGeometryError> {
        let longest = parts.long_columns.max(parts.short_columns);
        let error = FileGeometryError {
            len_bytes: parts.len_bytes,
            data_blocks: parts.data_blocks,
            columns: longest,
            group_count: parts.group_count,
        };
        let wanted = parts
            .leaf
            .count_for(parts.len_bytes)
            .div_ceil(u64::from(parts.shape.data()));
        let held = parts
            .data_blocks
            .checked_sub(parts.long_blocks)
            .and_then(|short_blocks| {
                let long = parts.long_blocks.checked_mul(u64::from(parts.long_columns))?;
                long.checked_add(short_blocks.checked_mul(u64::from(parts.short_columns))?)
            });
        let has_empty_block = (parts.long_blocks > 0 && parts.long_columns == 0)
            || (parts.data_blocks > parts.long_blocks && parts.short_columns == 0);
        // The leaf count times k must not wrap where blocks are placed.
        let fits = wanted
            .checked_mul(u64::from(parts.shape.data()) * parts.leaf.bytes())
            .is_some();
        let is_held = held == Some(wanted)
            && !has_empty_block
            && u64::from(longest) <= MAX_COLUMNS
            && fits
            && parts.shape.fits_block();
        if is_held && Groups::are_possible(&parts) {
            Ok(Self { parts })
        } else {
            Err(error)
        }
    }

    /// Returns the numbers, as they are recorded.
    pub const fn parts(&self) -> &FileGeometryParts {
        &self.parts
    }

    /// Returns the file length in bytes.
    pub const fn len_bytes(&self) -> u64 {
        self.parts.len_bytes
    }

    /// Returns the tier.
    pub const fn tier(&self) -> Tier {
        self.parts.tier
    }

    /// Returns the code of every block.
    pub const fn shape(&self) -> CodeShape {
        self.parts.shape
    }

    /// Returns the leaf length.
    pub const fn leaf(&self) -> LeafLen {
        self.parts.leaf
    }

    /// Returns the number of blocks, outer parity among them; an empty file has none.
    pub fn block_count(&self) -> u64 {
        self.numbering().block_count()
    }

    /// Returns the number of blocks that hold bytes of the file.
    pub const fn data_block_count(&self) -> u64 {
        self.parts.data_blocks
    }

    /// Returns the number of a block of the file, which is its place among those where nothing is grouped.
    ///
    /// # Panics
    /// When the file has no more than `ordinal` such blocks.
    pub fn data_block(&self, ordinal: u64) -> BlockIndex {
        assert!(
            ordinal < self.data_block_count(),
            "block {ordinal} of {}",
            self.data_block_count()
        );
        self.numbering().data_block(ordinal)
    }

    /// Returns the number of groups, 0 where blocks are not grouped.
    pub const fn group_count(&self) -> u64 {
        self.parts.group_count
    }

    /// Returns the groups in order.
    pub fn groups(&self) -> impl Iterator<Item = GroupGeometry> {
        let geometry = *self;
        (0..self.group_count()).map(move |index| geometry.group(index))
    }

    /// Returns one group.
    ///
    /// # Panics
    /// When `index` is not below [`Self::group_count`].
    pub fn group(&self, index: u64) -> GroupGeometry {
        let first = self.numbering().first_data_block(index);
        let columns = u64::from(self.columns_of(first));
        let columns = u32::try_from(columns).expect("columns are 32 bits");
        let start = self.first_column(first) * self.column_span_bytes();
        self.numbering().group(index, columns, start)
    }

    /// Returns the group of a block, or `None` where blocks are not grouped.
    ///
    /// # Panics
    /// When `index` is not below [`Self::block_count`].
    pub fn group_of(&self, index: BlockIndex) -> Option<GroupGeometry> {
        self.assert_block(index);
        (self.group_count() > 0).then(|| self.group(self.numbering().group_of(index)))
    }

    /// Returns how many blocks of the file in a group have a column.
    pub fn blocks_with_column(&self, group: &GroupGeometry, column: ColumnIndex) -> u64 {
        let width = u64::from(group.code().data());
        if column.get() < self.parts.short_columns {
            return width;
        }
        // Long blocks come first.
        let first = self.numbering().first_data_block(group.index());
        let long = self.parts.long_blocks.clamp(first, first + width) - first;
        if column.get() < self.parts.long_columns {
            long
        } else {
            0
        }
    }

    /// Returns the blocks as they are stored: in file order, outer parity behind each group.
    pub fn blocks(&self) -> impl Iterator<Item = BlockGeometry> {
        let geometry = *self;
        (0..self.block_count()).map(move |index| geometry.block(BlockIndex::new(index)))
    }

    /// Returns one block.
    ///
    /// # Panics
    /// When `index` is not below [`Self::block_count`].
    pub fn block(&self, index: BlockIndex) -> BlockGeometry {
        self.assert_block(index);
        let Some(ordinal) = self.numbering().data_ordinal(index) else {
            let group = self.group(self.numbering().group_of(index));
            return BlockGeometry::new(BlockGeometryParts {
                shape: self.shape(),
                leaf: self.leaf(),
                file_leaves: FileLeaves::OuterParity,
                base_offset: group.start_bytes(),
                data_len_bytes: group.outer_segment_len_bytes(self.leaf()) * u64::from(self.shape().data()),
            });
        };
        let base_offset = self.first_column(ordinal) * self.column_span_bytes();
        let end = (self.first_column(ordinal + 1) * self.column_span_bytes()).min(self.len_bytes());
        BlockGeometry::new(BlockGeometryParts {
            shape: self.shape(),
            leaf: self.leaf(),
            file_leaves: self.leaves(),
            base_offset,
            data_len_bytes: end - base_offset,
        })
    }

    /// Returns the block that holds the byte at `offset`.
    ///
    /// # Panics
    /// When `offset` is not below the file length.
    pub fn block_at(&self, offset: u64) -> BlockIndex {
        assert!(
            offset < self.len_bytes(),
            "offset {offset} of a file of {} bytes",
            self.len_bytes()
        );
        let column = offset / self.column_span_bytes();
        let long_columns = self.parts.long_blocks * u64::from(self.parts.long_columns);
        let ordinal = if column < long_columns {
            column / u64::from(self.parts.long_columns)
        } else {
            self.parts.long_blocks + (column - long_columns) / u64::from(self.parts.short_columns)
        };
        self.numbering().data_block(ordinal)
    }

    /// Returns how many bytes of the file the blocks before one hold; all of them, where there is no such block.
    pub fn bytes_before(&self, index: BlockIndex) -> u64 {
        if index.get() >= self.block_count() {
            return self.len_bytes();
        }
        let ordinal = self.numbering().data_ordinal(index).unwrap_or_else(|| {
            let group = self.numbering().group_of(index) + 1;
            if group < self.group_count() {
                self.numbering().first_data_block(group)
            } else {
                self.data_block_count()
            }
        });
        (self.first_column(ordinal) * self.column_span_bytes()).min(self.len_bytes())
    }

    /// Returns the bytes of the file as a range.
    pub fn range(&self) -> ByteRange {
        ByteRange::at(0, self.len_bytes()).expect("a range from 0 does not overflow")
    }

    fn first_column(&self, block: u64) -> u64 {
        let long = block.min(self.parts.long_blocks);
        let short = block - long;
        long * u64::from(self.parts.long_columns) + short * u64::from(self.parts.short_columns)
    }

    const fn columns_of(&self, ordinal: u64) -> u32 {
        if ordinal < self.parts.long_blocks {
            self.parts.long_columns
        } else {
            self.parts.short_columns
        }
    }

    const fn numbering(&self) -> Groups {
        Groups::of(&self.parts)
    }

    fn assert_block(&self, index: BlockIndex) {
        assert!(
            index.get() < self.block_count(),
            "block {index} of a file with {}",
            self.block_count()
        );
    }

    /// Bytes of the file in one full column: a leaf from each data shard.
    fn column_span_bytes(&self) -> u64 {
        u64::from(self.shape().data()) * self.leaf().bytes()
    }

    /// Says whether the file has one leaf or more; an empty file has one, the empty leaf.
    pub const fn leaves(&self) -> FileLeaves {
        if self.parts.len_bytes <= self.parts.leaf.bytes() {
            FileLeaves::One
        } else {
            FileLeaves::Many
        }
    }
}
