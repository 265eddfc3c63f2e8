//! A block: k data segments and m parity shards, cut into columns.

use crate::units::{ByteRange, CodeShape, ColumnIndex, LeafLen, ShardIndex};

use super::policy::MAX_COLUMNS;

/// Reed-Solomon works on groups of this many bytes, so every slice it sees is a multiple.
pub(super) const CODEC_GROUP_LEN_BYTES: u64 = 64;

/// Bytes of one hash in a leaf table.
pub(super) const HASH_LEN_BYTES: u64 = 32;

/// Where every byte of one block lies; follows from shape, leaf length, base offset and length alone.
///
/// The leaves of the file are dealt to the data shards in order: shard 0 gets the first `columns` leaves of the block,
/// shard 1 the next, and so on. Only the last shards can be short or absent. An absent segment is a known zero shard:
/// never stored, never an erasure.
///
/// A block of more than one column with k > 1 has one column more, the **table column**: its data slices are the leaf
/// tables of the data shards, and its parity slices are stored behind the parity leaves. So the tables themselves
/// survive the loss of any m shards, and a decoded leaf can always be checked against its hash
/// (docs/decisions/0003-table-column.md).
///
/// An outer parity block holds no bytes of the file. Its data shards are all alike and as long as the longest segments of the group
/// and a leaf table behind them, so their last leaf may be short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockGeometry {
    parts: BlockGeometryParts,
    columns: u32,
}

/// The numbers that describe a [`BlockGeometry`], as they are recorded with the block and in its frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockGeometryParts {
    /// The code.
    pub shape: CodeShape,
    /// The leaf length.
    pub leaf: LeafLen,
    /// Which leaves of its file the block holds.
    pub file_leaves: FileLeaves,
    /// Offset in the file of the first byte, or of the group's where it is outer parity; a multiple of the leaf length.
    pub base_offset: u64,
    /// Bytes in the data shards: of the file, but for outer parity.
    pub data_len_bytes: u64,
}

/// Which leaves of a file a block holds: the only one or some of many, since the root of a file cannot be folded from a single chaining value, so the only
/// leaf of a file is hashed as the root itself; or none, which is outer parity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileLeaves {
    /// The file is one leaf, whose hash is the root.
    One,
    /// The file has more leaves, hashed as subtrees at their offsets.
    Many,
    /// The block holds none of them: it is outer parity of a group, and its leaves are hashed as parity.
    OuterParity,
}

/// Claimed numbers that do not describe any block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no block of {shape} holds {data_len_bytes} bytes from offset {base_offset}")]
pub struct BlockGeometryError {
    /// Shape claimed.
    pub shape: CodeShape,
    /// Offset in the file claimed.
    pub base_offset: u64,
    /// Length claimed.
    pub data_len_bytes: u64,
}

/// Where a byte of a file lies in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeafPlace {
    /// The data shard.
    pub shard: ShardIndex,
    /// The column.
    pub column: ColumnIndex,
    /// Bytes from the start of the leaf.
    pub offset_in_leaf: u64,
}

impl BlockGeometry {
    pub(super) fn new(parts: BlockGeometryParts) -> Self {
        Self::from_parts(parts).expect("a file is cut into blocks that exist")
    }

    /// Checks claimed numbers, from a frame or a catalog row.
    ///
    /// # Errors
    /// [`BlockGeometryError`] when no file is cut into such a block.
    pub fn from_parts(parts: BlockGeometryParts) -> Result<Self, BlockGeometryError> {
        let BlockGeometryParts {
            shape,
            leaf,
            file_leaves,
            base_offset,
            data_len_bytes,
        } = parts;
        let error = BlockGeometryError {
            shape,
            base_offset,
            data_len_bytes,
        };
        let data = u64::from(shape.data());
        let (columns, leaves_fit) = match file_leaves {
            FileLeaves::One | FileLeaves::Many => {
                let is_only = base_offset == 0 && data_len_bytes <= leaf.bytes();
                (
                    leaf.count_for(data_len_bytes).div_ceil(data),
                    is_only || file_leaves == FileLeaves::Many,
                )
            }
            FileLeaves::OuterParity => {
                let segment_len_bytes = data_len_bytes / data;
                let is_whole = data_len_bytes.is_multiple_of(data)
                    && segment_len_bytes.is_multiple_of(CODEC_GROUP_LEN_BYTES);
                (leaf.count_for(segment_len_bytes), is_whole)
            }
        };
        let end_fits = base_offset.checked_add(data_len_bytes).is_some();
        if data_len_bytes == 0
            || !shape.fits_block()
            || columns > MAX_COLUMNS
            || !base_offset.is_multiple_of(leaf.bytes())
            || !leaves_fit
            || !end_fits
        {
            return Err(error);
        }
        let Ok(columns) = u32::try_from(columns) else {
            return Err(error);
        };
        Ok(Self { parts, columns })
    }

    /// Returns the numbers, as they are recorded.
    pub const fn parts(&self) -> &BlockGeometryParts {
        &self.parts
    }

    /// Returns the code.
    pub const fn shape(&self) -> CodeShape {
        self.parts.shape
    }

    /// Returns the leaf length.
    pub const fn leaf(&self) -> LeafLen {
        self.parts.leaf
    }

    /// Returns the offset in the file of the first byte, a multiple of the leaf length.
    pub const fn base_offset(&self) -> u64 {
        self.parts.base_offset
    }

    /// Returns how many bytes the data shards hold, of the file but for outer parity; never 0.
    pub const fn data_len_bytes(&self) -> u64 {
        self.parts.data_len_bytes
    }

    /// Says which leaves of its file the block holds.
    pub const fn file_leaves(&self) -> FileLeaves {
        self.parts.file_leaves
    }

    /// Says whether the block is outer parity, which holds no bytes of the file.
    pub const fn is_outer_parity(&self) -> bool {
        matches!(self.parts.file_leaves, FileLeaves::OuterParity)
    }

    /// Returns the bytes of the file that the block holds; outer parity holds none.
    pub fn range(&self) -> ByteRange {
        let len_bytes = if self.is_outer_parity() {
            0
        } else {
            self.parts.data_len_bytes
        };
        ByteRange::at(self.parts.base_offset, len_bytes).expect("checked when the block was made")
    }

    /// Returns the number of data columns, 1 or more.
    pub const fn column_count(&self) -> u32 {
        self.columns
    }

    /// Returns the data columns in order.
    pub fn columns(&self) -> impl Iterator<Item = ColumnIndex> {
        (0..self.columns).map(ColumnIndex::new)
    }

    /// Returns the index of the table column, where the block has one.
    pub fn table_column(&self) -> Option<ColumnIndex> {
        (!self.parts.shape.is_replication() && self.columns > 1).then(|| ColumnIndex::new(self.columns))
    }

    /// Returns all shard positions, data first; absent ones too.
    pub fn shards(&self) -> impl Iterator<Item = ShardIndex> {
        (0..self.parts.shape.total()).map(ShardIndex::new)
    }

    /// Says whether a shard holds data of the file (else parity).
    pub const fn is_data(&self, shard: ShardIndex) -> bool {
        shard.get() < self.parts.shape.data()
    }

    /// Says whether a shard is stored; data shards behind the end of the file are not.
    pub fn is_present(&self, shard: ShardIndex) -> bool {
        self.leaf_count(shard) > 0
    }

    /// Returns how many leaves a shard has, its slice of the table column included.
    pub fn leaf_count(&self, shard: ShardIndex) -> u32 {
        self.assert_shard(shard);
        if self.parts.shape.is_replication() {
            self.columns
        } else if self.is_data(shard) && !self.is_outer_parity() {
            let before = u64::from(shard.get()) * u64::from(self.columns);
            let left = self
                .parts
                .leaf
                .count_for(self.parts.data_len_bytes)
                .saturating_sub(before);
            u32::try_from(left).unwrap_or(u32::MAX).min(self.columns)
        } else if self.is_data(shard) {
            self.columns
        } else {
            self.columns + u32::from(self.table_column().is_some())
        }
    }

    /// Returns the length of a shard in bytes, 0 for an absent one.
    pub fn shard_len_bytes(&self, shard: ShardIndex) -> u64 {
        match self.leaf_count(shard) {
            0 => 0,
            count => {
                let last = ColumnIndex::new(count - 1);
                self.leaf_range(shard, last)
                    .expect("the last leaf of a present shard")
                    .end()
            }
        }
    }

    /// Returns where the leaf of `column` lies in the shard, or `None` where the shard has no such leaf.
    ///
    /// Bytes of a data leaf are counted as they exist; parity leaves and the table column are multiples of 64.
    pub fn leaf_range(&self, shard: ShardIndex, column: ColumnIndex) -> Option<ByteRange> {
        if column.get() >= self.leaf_count(shard) {
            return None;
        }
        if self.is_data(shard) || self.parts.shape.is_replication() {
            let start = u64::from(column.get()) * self.parts.leaf.bytes();
            let holder = if self.parts.shape.is_replication() {
                ShardIndex::new(0)
            } else {
                shard
            };
            return ByteRange::at(start, self.data_leaf_range(holder, column)?.len());
        }
        if Some(column) == self.table_column() {
            let last = ColumnIndex::new(self.columns - 1);
            let start = u64::from(last.get()) * self.parts.leaf.bytes() + self.slice_len_bytes(last);
            return ByteRange::at(start, self.slice_len_bytes(column));
        }
        ByteRange::at(
            u64::from(column.get()) * self.parts.leaf.bytes(),
            self.slice_len_bytes(column),
        )
    }

    /// Returns the bytes of the file that a leaf holds; `None` for parity, outer parity, absent leaves and the table column.
    pub fn leaf_range_in_file(&self, shard: ShardIndex, column: ColumnIndex) -> Option<ByteRange> {
        if self.is_outer_parity() {
            return None;
        }
        let range = self.data_leaf_range(shard, column)?;
        ByteRange::new(
            self.parts.base_offset + range.start(),
            self.parts.base_offset + range.end(),
        )
    }

    /// Returns where a leaf of a data shard lies in the data of all of them, one after another.
    fn data_leaf_range(&self, shard: ShardIndex, column: ColumnIndex) -> Option<ByteRange> {
        if !self.is_data(shard) || column.get() >= self.leaf_count(shard) {
            return None;
        }
        let segment_start = u64::from(shard.get()) * self.segment_len_bytes();
        let segment_end = (segment_start + self.segment_len_bytes()).min(self.parts.data_len_bytes);
        let start = segment_start + u64::from(column.get()) * self.parts.leaf.bytes();
        ByteRange::new(start, (start + self.parts.leaf.bytes()).min(segment_end))
    }

    /// Length of a data shard that is not cut short by the end of the file, in bytes.
    fn segment_len_bytes(&self) -> u64 {
        if self.is_outer_parity() {
            self.parts.data_len_bytes / u64::from(self.parts.shape.data())
        } else {
            u64::from(self.columns) * self.parts.leaf.bytes()
        }
    }

    /// Returns the length of the slices that the codec sees for a column, a positive multiple of 64.
    pub fn slice_len_bytes(&self, column: ColumnIndex) -> u64 {
        let longest = if Some(column) == self.table_column() {
            u64::from(self.columns) * HASH_LEN_BYTES
        } else {
            // No data shard has a longer leaf in any column than shard 0.
            let first = self.data_leaf_range(ShardIndex::new(0), column);
            first.expect("shard 0 has a leaf in every column").len()
        };
        longest.next_multiple_of(CODEC_GROUP_LEN_BYTES)
    }

    /// Returns which leaf holds the byte at `offset_in_file`.
    ///
    /// # Panics
    /// When the block does not hold that byte.
    pub fn locate(&self, offset_in_file: u64) -> LeafPlace {
        let offset = offset_in_file
            .checked_sub(self.parts.base_offset)
            .filter(|&offset| offset < self.range().len());
        let offset = offset.expect("the byte lies in the block");
        let leaf = offset / self.parts.leaf.bytes();
        let shard = leaf / u64::from(self.columns);
        let column = leaf % u64::from(self.columns);
        LeafPlace {
            shard: ShardIndex::new(u16::try_from(shard).expect("fewer data shards than 65536")),
            column: ColumnIndex::new(u32::try_from(column).expect("columns are 32 bits")),
            offset_in_leaf: offset % self.parts.leaf.bytes(),
        }
    }

    fn assert_shard(&self, shard: ShardIndex) {
        assert!(
            shard.get() < self.parts.shape.total(),
            "shard {shard} of {}",
            self.parts.shape
        );
    }
}
