//! A file as a row of blocks.

use super::{BlockGeometry, BlockGeometryParts, FileLeaves, Policy, Tier, policy::MAX_COLUMNS};
use crate::units::{BlockIndex, ByteRange, CodeShape, LeafLen};

/// How a file of a given length is cut into blocks.
///
/// Blocks are counted in columns of k leaves. The first `long_blocks` blocks have `long_columns` columns, the others
/// `short_columns`; for a balanced tier the two differ by one, so no tail ever costs a whole extra block of parity.
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
    pub block_count: u64,
    pub long_blocks: u64,
    pub long_columns: u32,
    pub short_columns: u32,
}

/// Recorded numbers that do not describe any file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{block_count} blocks of {columns} columns do not hold {len_bytes} bytes")]
pub struct FileGeometryError {
    /// File length recorded.
    pub len_bytes: u64,
    /// Block count recorded.
    pub block_count: u64,
    /// Columns of the longest block recorded.
    pub columns: u32,
}

impl FileGeometry {
    /// Cuts a file of `len_bytes` bytes as `policy` says.
    pub fn new(len_bytes: u64, policy: &Policy) -> Self {
        let tier = policy.tier(len_bytes);
        let shape = policy.shape(tier);
        let leaf = policy.leaf();
        let columns = leaf.count_for(len_bytes).div_ceil(u64::from(shape.data()));
        let whole_leaves = |segment_len_bytes: u64| segment_len_bytes / leaf.bytes();
        let (block_count, long_blocks, long_columns, short_columns) = match tier {
            _ if columns == 0 => (0, 0, 0, 0),
            Tier::Tiny => (1, 0, columns, columns),
            Tier::Segmented => {
                let each = whole_leaves(policy.parts().segmented_segment_len_bytes);
                let block_count = columns.div_ceil(each);
                (
                    block_count,
                    block_count - 1,
                    each,
                    columns - (block_count - 1) * each,
                )
            }
            Tier::Blocked => {
                let most = whole_leaves(policy.parts().blocked_segment_max_len_bytes);
                let block_count = columns.div_ceil(most);
                (
                    block_count,
                    columns % block_count,
                    columns.div_ceil(block_count),
                    columns / block_count,
                )
            }
        };
        let narrow = |columns: u64| u32::try_from(columns).expect("a policy bounds the columns of a block");
        let (long_columns, short_columns) = (narrow(long_columns), narrow(short_columns));
        let parts = FileGeometryParts {
            len_bytes,
            tier,
            shape,
            leaf,
            block_count,
            long_blocks,
            long_columns,
            short_columns,
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
            block_count: parts.block_count,
            columns: longest,
        };
        let wanted = parts
            .leaf
            .count_for(parts.len_bytes)
            .div_ceil(u64::from(parts.shape.data()));
        let held = parts
            .block_count
            .checked_sub(parts.long_blocks)
            .and_then(|short_blocks| {
                let long = parts.long_blocks.checked_mul(u64::from(parts.long_columns))?;
                long.checked_add(short_blocks.checked_mul(u64::from(parts.short_columns))?)
            });
        let has_empty_block = (parts.long_blocks > 0 && parts.long_columns == 0)
            || (parts.block_count > parts.long_blocks && parts.short_columns == 0);
        // The leaf count times k must not wrap where blocks are placed.
        let fits = wanted
            .checked_mul(u64::from(parts.shape.data()) * parts.leaf.bytes())
            .is_some();
        if held != Some(wanted)
            || has_empty_block
            || u64::from(longest) > MAX_COLUMNS
            || !fits
            || !parts.shape.fits_block()
        {
            return Err(error);
        }
        Ok(Self { parts })
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

    /// Returns the number of blocks; an empty file has none.
    pub const fn block_count(&self) -> u64 {
        self.parts.block_count
    }

    /// Returns the blocks in file order.
    pub fn blocks(&self) -> impl Iterator<Item = BlockGeometry> {
        let geometry = *self;
        (0..self.block_count()).map(move |index| geometry.block(BlockIndex::new(index)))
    }

    /// Returns one block.
    ///
    /// # Panics
    /// When `index` is not below [`Self::block_count`].
    pub fn block(&self, index: BlockIndex) -> BlockGeometry {
        assert!(
            index.get() < self.block_count(),
            "block {index} of a file with {}",
            self.block_count()
        );
        let base_offset = self.first_column(index.get()) * self.column_span_bytes();
        let end = (self.first_column(index.get() + 1) * self.column_span_bytes()).min(self.len_bytes());
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
        let index = if column < long_columns {
            column / u64::from(self.parts.long_columns)
        } else {
            self.parts.long_blocks + (column - long_columns) / u64::from(self.parts.short_columns)
        };
        BlockIndex::new(index)
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
