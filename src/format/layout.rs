//! Where the parts of a frame lie (docs/format.md, section 4).
//!
//! Pure arithmetic over untrusted numbers: bounded first, checked all the same.
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used
)]

use super::{FRAME_FOOTER_LEN_BYTES, FRAME_HEADER_LEN_BYTES};
use crate::{
    error::FormatError,
    geometry::BlockGeometry,
    units::{ByteRange, ShardIndex},
};

/// Bytes of one hash in a leaf table.
pub const HASH_LEN_BYTES: u64 = 32;

/// Payloads of this many bytes and more make a frame large: it can be read and written with direct I/O.
pub const LARGE_PAYLOAD_LEN_BYTES: u64 = 64 * 1024;

/// Alignment in bytes of large frames and of their payloads: the sector of today's disks and the page of memory.
pub const LARGE_FRAME_ALIGNMENT_BYTES: u64 = 4096;

/// Alignment in bytes of small frames and of their payloads, so that headers are found at few places by a scan.
pub const SMALL_FRAME_ALIGNMENT_BYTES: u64 = 64;

/// Most leaves of a frame: the most columns of a block and the parity slice of its table column.
pub const MAX_FRAME_LEAVES: u32 = 65_537;

/// The longest leaf, from which the longest payload follows.
const MAX_LEAF_LEN_BYTES: u64 = 1024 * 1024;

/// The longest parity slice of a table column: 65 536 hashes.
const MAX_TABLE_SLICE_LEN_BYTES: u64 = 2 * 1024 * 1024;

const _: () = assert!(
    LARGE_FRAME_ALIGNMENT_BYTES.is_multiple_of(SMALL_FRAME_ALIGNMENT_BYTES),
    "a large frame begins where a small one could"
);
const _: () = assert!(
    LARGE_PAYLOAD_LEN_BYTES.is_multiple_of(LARGE_FRAME_ALIGNMENT_BYTES),
    "the smallest large payload is whole sectors"
);

/// Where the parts of one frame lie, counted from its start.
///
/// ```text
/// header | leaf table A | zeros | payload | leaf table B | footer | zeros
/// ```
///
/// The tables are there when the frame has more than one leaf. Zeros are written and never read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameLayout {
    leaf_count: u32,
    payload: ByteRange,
    footer: ByteRange,
    table_a: Option<ByteRange>,
    table_b: Option<ByteRange>,
    total_len_bytes: u64,
    alignment_bytes: u64,
}

impl FrameLayout {
    /// Lays out a payload of `payload_len_bytes` bytes in `leaf_count` leaves.
    ///
    /// # Errors
    /// [`FormatError::FrameLen`] when a leaf would be empty, there are more than [`MAX_FRAME_LEAVES`], or the payload
    /// exceeds 1 MiB for each leaf and 2 MiB for the slice of the table column.
    pub fn new(payload_len_bytes: u64, leaf_count: u32) -> Result<Self, FormatError> {
        Self::compute(payload_len_bytes, leaf_count).ok_or(FormatError::FrameLen {
            payload_len_bytes,
            leaf_count,
        })
    }

    /// Lays out a shard of a block, or returns `None` where the block stores no such shard.
    pub fn of_shard(block: &BlockGeometry, shard: ShardIndex) -> Option<Self> {
        if shard.get() >= block.shape().total() {
            return None;
        }
        Self::compute(block.shard_len_bytes(shard), block.leaf_count(shard))
    }

    fn compute(payload_len_bytes: u64, leaf_count: u32) -> Option<Self> {
        let leaves = u64::from(leaf_count);
        let longest = leaves
            .checked_mul(MAX_LEAF_LEN_BYTES)?
            .checked_add(MAX_TABLE_SLICE_LEN_BYTES)?;
        let in_bounds = leaf_count > 0
            && leaf_count <= MAX_FRAME_LEAVES
            && payload_len_bytes >= leaves
            && payload_len_bytes <= longest;
        if !in_bounds {
            return None;
        }
        let alignment_bytes = if payload_len_bytes < LARGE_PAYLOAD_LEN_BYTES {
            SMALL_FRAME_ALIGNMENT_BYTES
        } else {
            LARGE_FRAME_ALIGNMENT_BYTES
        };
        let table_len_bytes = if leaf_count > 1 {
            leaves.checked_mul(HASH_LEN_BYTES)?
        } else {
            0
        };
        let table_a = ByteRange::at(u64::try_from(FRAME_HEADER_LEN_BYTES).ok()?, table_len_bytes)?;
        let payload_start = table_a.end().checked_next_multiple_of(alignment_bytes)?;
        let payload = ByteRange::at(payload_start, payload_len_bytes)?;
        let table_b = ByteRange::at(payload.end(), table_len_bytes)?;
        let footer = ByteRange::at(table_b.end(), u64::try_from(FRAME_FOOTER_LEN_BYTES).ok()?)?;
        Some(Self {
            leaf_count,
            payload,
            footer,
            table_a: (leaf_count > 1).then_some(table_a),
            table_b: (leaf_count > 1).then_some(table_b),
            total_len_bytes: footer.end().checked_next_multiple_of(alignment_bytes)?,
            alignment_bytes,
        })
    }

    /// Returns how many leaves the payload has.
    pub const fn leaf_count(&self) -> u32 {
        self.leaf_count
    }

    /// Returns where the first leaf table lies, where there is one.
    pub const fn table_a(&self) -> Option<ByteRange> {
        self.table_a
    }

    /// Returns where the payload lies: behind the padding of header and first table, aligned.
    pub const fn payload(&self) -> ByteRange {
        self.payload
    }

    /// Returns where the second leaf table lies, where there is one: right behind the payload.
    pub const fn table_b(&self) -> Option<ByteRange> {
        self.table_b
    }

    /// Returns where the footer lies: right behind the second table, or behind the payload.
    pub const fn footer(&self) -> ByteRange {
        self.footer
    }

    /// Returns the bytes up to the end of the footer.
    pub const fn content_len_bytes(&self) -> u64 {
        self.footer.end()
    }

    /// Returns the bytes that the frame takes in its extent, padding included: a multiple of the alignment.
    pub const fn total_len_bytes(&self) -> u64 {
        self.total_len_bytes
    }

    /// Returns what the offset of the frame in its extent is a multiple of, in bytes.
    pub const fn alignment_bytes(&self) -> u64 {
        self.alignment_bytes
    }

    /// Says whether a frame of this layout may begin at `offset` of an extent: aligned, behind the extent header, and
    /// with an end that fits 64 bits.
    pub fn may_begin_at(&self, offset: u64) -> bool {
        u64::try_from(super::EXTENT_HEADER_LEN_BYTES).is_ok_and(|header| offset >= header)
            && offset.is_multiple_of(self.alignment_bytes)
            && offset.checked_add(self.total_len_bytes).is_some()
    }
}
