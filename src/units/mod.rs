//! Newtypes for every index, count, length and id.
//!
//! The lowest floor of the house: it uses `core`, `alloc` and nothing else, and every other module uses it. Numbers that
//! mean different things have different types, so that a block index never ends up where a column index belongs;
//! arithmetic that makes sense is a method, everything else goes through `get()`.

mod ids;
mod lengths;
mod name;
mod shape;
mod time;

pub use ids::{ArchiveId, BlockId, CommitId, Epoch, ExtentId, FileId, SessionId, VolumeId};
pub use ids::{BlockIndex, ColumnIndex, LaneIndex, LeafIndex, ShardIndex};
pub use lengths::{ByteRange, LeafLen};
pub use name::{FileName, FileNameError, MAX_NAME_LEN_BYTES};
pub use shape::{CodeShape, CodeShapeError, MAX_BLOCK_SHARDS, MAX_SHARDS};
pub use time::Timestamp;

/// Converts a length or offset to an index into memory.
///
/// # Panics
/// When the value does not fit the address space: lengths that reach memory are bounded by buffer sizes long before.
pub(crate) fn to_usize(value: u64) -> usize {
    usize::try_from(value).expect("a length in memory fits the address space")
}

/// Converts a length in memory to a byte count.
pub(crate) fn to_u64(value: usize) -> u64 {
    u64::try_from(value).expect("an address fits 64 bits")
}
