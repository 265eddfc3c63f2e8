//! What is where in a frame: the arithmetic of docs/format.md, sections 4 and 5, done again in the slowest way there is. From
//! the engine come the constants of the format.

use std::ops::Range;

use bfdb::{
    format::{
        FRAME_FOOTER_LEN_BYTES, FRAME_HEADER_LEN_BYTES, HASH_LEN_BYTES, LARGE_FRAME_ALIGNMENT_BYTES,
        LARGE_PAYLOAD_LEN_BYTES, SMALL_FRAME_ALIGNMENT_BYTES,
    },
    geometry::BlockGeometry,
};

/// Slices of the code are groups of so many bytes.
const GROUP_BYTES: u64 = 64;

/// The numbers of a block, as they are recorded; lengths in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Code {
    pub(super) data: u64,
    pub(super) parity: u64,
    leaf: u64,
    base: u64,
    len: u64,
}

/// The frame of one shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) shard: u64,
    pub(super) extent: u64,
    pub(super) offset: u64,
    pub(super) code: Code,
}

impl Code {
    pub(super) fn of(recorded: &BlockGeometry) -> Self {
        let parts = recorded.parts();
        Self {
            data: parts.shape.data().into(),
            parity: parts.shape.parity().into(),
            leaf: parts.leaf.bytes(),
            base: parts.base_offset,
            len: parts.data_len_bytes,
        }
    }

    pub(super) const fn columns(&self) -> u64 {
        self.len.div_ceil(self.leaf).div_ceil(self.data)
    }

    /// Says whether there is a column more, of the leaf tables.
    pub(super) const fn has_table_column(&self) -> bool {
        self.data > 1 && self.columns() > 1
    }

    pub(super) const fn is_replication(&self) -> bool {
        self.data == 1
    }

    pub(super) const fn is_data(&self, shard: u64) -> bool {
        shard < self.data
    }

    pub(super) fn leaf_count(&self, shard: u64) -> u64 {
        if self.is_replication() {
            self.columns()
        } else if self.is_data(shard) {
            let leaves = self.len.div_ceil(self.leaf);
            leaves.saturating_sub(shard * self.columns()).min(self.columns())
        } else {
            self.columns() + u64::from(self.has_table_column())
        }
    }

    /// Returns the bytes of the file that a leaf holds; every replica holds the same.
    pub(super) fn in_file(&self, shard: u64, column: u64) -> Option<Range<u64>> {
        let holder = if self.is_replication() { 0 } else { shard };
        if !self.is_data(holder) || column >= self.leaf_count(holder) {
            return None;
        }
        let start = (holder * self.columns() + column) * self.leaf;
        let end = (start + self.leaf).min(self.len);
        Some(self.base + start..self.base + end)
    }

    fn leaf_len(&self, shard: u64, column: u64) -> u64 {
        if let Some(range) = self.in_file(shard, column) {
            return range.end - range.start;
        }
        let longest = match self.in_file(0, column) {
            Some(range) => range.end - range.start,
            None => self.columns() * HASH_LEN_BYTES,
        };
        longest.next_multiple_of(GROUP_BYTES)
    }
}

impl Frame {
    pub(super) fn leaf_count(&self) -> u64 {
        self.code.leaf_count(self.shard)
    }

    pub(super) fn header(&self) -> Range<u64> {
        self.offset..self.offset + bytes(FRAME_HEADER_LEN_BYTES)
    }

    /// Returns both tables; none where the frame has one leaf.
    pub(super) fn tables(&self) -> Vec<Range<u64>> {
        let (header, payload) = (self.header(), self.payload());
        match self.table_len() {
            0 => Vec::new(),
            len => vec![header.end..header.end + len, payload.end..payload.end + len],
        }
    }

    fn table_len(&self) -> u64 {
        match self.leaf_count() {
            1 => 0,
            count => count * HASH_LEN_BYTES,
        }
    }

    fn payload_len(&self) -> u64 {
        (0..self.leaf_count())
            .map(|column| self.code.leaf_len(self.shard, column))
            .sum()
    }

    fn alignment(&self) -> u64 {
        if self.payload_len() < LARGE_PAYLOAD_LEN_BYTES {
            SMALL_FRAME_ALIGNMENT_BYTES
        } else {
            LARGE_FRAME_ALIGNMENT_BYTES
        }
    }

    pub(super) fn payload(&self) -> Range<u64> {
        let before = bytes(FRAME_HEADER_LEN_BYTES) + self.table_len();
        let start = self.offset + before.next_multiple_of(self.alignment());
        start..start + self.payload_len()
    }

    pub(super) fn leaf(&self, column: u64) -> Range<u64> {
        let before: u64 = (0..column)
            .map(|column| self.code.leaf_len(self.shard, column))
            .sum();
        let start = self.payload().start + before;
        start..start + self.code.leaf_len(self.shard, column)
    }

    pub(super) fn footer(&self) -> Range<u64> {
        let start = self.payload().end + self.table_len();
        start..start + bytes(FRAME_FOOTER_LEN_BYTES)
    }

    /// Returns what is written as zeros and never read.
    pub(super) fn padding(&self) -> [Range<u64>; 2] {
        let before = self.header().end + self.table_len();
        [before..self.payload().start, self.footer().end..self.whole().end]
    }

    pub(super) fn whole(&self) -> Range<u64> {
        let content = self.footer().end - self.offset;
        self.offset..self.offset + content.next_multiple_of(self.alignment())
    }
}

pub(super) fn span(range: &Range<u64>) -> Range<usize> {
    let index = |at: u64| usize::try_from(at).expect("an archive in memory");
    index(range.start)..index(range.end)
}

pub(super) fn bytes(len: usize) -> u64 {
    u64::try_from(len).expect("a length fits 64 bits")
}
