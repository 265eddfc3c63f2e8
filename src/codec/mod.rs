//! Reed-Solomon, one column slice at a time.
//!
//! [`ColumnEncoder`] makes the parity of a slice of all data shards, [`ColumnDecoder`] restores what is missing of it, and
//! [`ParityAccumulator`] makes the same parity when the shards pass one after another. [`OuterEncoder`] and
//! [`OuterDecoder`] do so for a code across many blocks, of which never more than a few are at hand. All give the bytes of
//! reed-solomon-simd's **high-rate** code, whatever the shape, and copies where the code is replication (one data shard).
//!
//! The code works on groups of 64 bytes at the same offset in all shards, each on its own. So a slice is a multiple of 64
//! bytes, slices of one column can be encoded and decoded apart and in any order, and a shard that ends early counts as
//! zeros from there on.
//!
//! Every value here holds its working space and is meant to be reused: after the first call with a given slice length
//! nothing is allocated. Parallelism stays outside, with one value per thread.
//!
//! Knows no files, no hashes and no geometry: what it is given as present must have been verified.

mod accumulator;
mod decoder;
mod encoder;
mod matrix;
mod outer;
mod transform;

#[cfg(test)]
mod tests;

pub use accumulator::ParityAccumulator;
pub use decoder::ColumnDecoder;
pub use encoder::ColumnEncoder;
pub use outer::{OuterDecoder, OuterEncoder};

/// Length in bytes of the groups that the code works on: a slice is a multiple of it.
pub const GROUP_LEN_BYTES: usize = 64;

/// Checks a slice length given by a caller.
fn assert_slice_len(slice_len: usize) {
    assert!(slice_len > 0, "a column slice holds at least one group");
    assert!(
        slice_len.is_multiple_of(GROUP_LEN_BYTES),
        "a column slice of {slice_len} bytes is not whole groups"
    );
}

/// Copies `bytes` to the start of `target` and fills the rest with zeros.
fn copy_padded(target: &mut [u8], bytes: &[u8]) {
    let (head, tail) = target.split_at_mut(bytes.len());
    head.copy_from_slice(bytes);
    tail.fill(0);
}

/// Adds in the field: `target ^= source`, as far as `source` goes.
fn add(target: &mut [u8], source: &[u8]) {
    debug_assert!(
        source.len() <= target.len(),
        "the sum of two slices is as long as the longer"
    );
    for (target, source) in target.iter_mut().zip(source) {
        *target ^= source;
    }
}
