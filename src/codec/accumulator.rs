//! Parity of shards that pass one after another.

use super::{
    GROUP_LEN_BYTES, add,
    matrix::{Multiplier, PIECE_LEN_BYTES, ParityMatrix},
};
use crate::units::{CodeShape, ShardIndex};
use core::fmt;

/// Sums up the parity of a block whose data shards come one after another, in any order and any slicing.
///
/// The bytes are those of [`super::ColumnEncoder`]. Each slice is multiplied by the shard's element of every parity shard
/// and added to it, so the parity is complete whenever all data was added, and a shard that was not added is a zero
/// shard. Holds `m` slices of `len_bytes` (one for replication) and no data: memory does not depend on `k`.
///
/// The transforms of the code would do as well (a chunk of `next_pow2(m)` shards with zeros beside the one), but want
/// `next_pow2(m)` sums instead of `m` and more multiplications: less than half of the speed at three
/// parity shards, measured with sums that no cache holds.
pub struct ParityAccumulator {
    shape: CodeShape,
    len_bytes: usize,
    /// None for replication.
    code: Option<(ParityMatrix, Multiplier)>,
    sums: Vec<u8>,
}

impl ParityAccumulator {
    /// Returns an accumulator of `shape` in which nothing was added, for shards of `len_bytes` bytes.
    ///
    /// # Panics
    /// When `len_bytes` is not a multiple of 64.
    pub fn new(shape: CodeShape, len_bytes: usize) -> Self {
        let code = (!shape.is_replication()).then(|| (ParityMatrix::of(shape), Multiplier::new()));
        let mut accumulator = Self {
            shape,
            len_bytes: 0,
            code,
            sums: Vec::new(),
        };
        accumulator.clear(len_bytes);
        accumulator
    }

    /// Returns the shape of the code.
    pub fn shape(&self) -> CodeShape {
        self.shape
    }

    /// Returns the length of every parity shard in bytes.
    pub fn len_bytes(&self) -> usize {
        self.len_bytes
    }

    /// Forgets everything that was added and goes on with shards of `len_bytes` bytes, the next block.
    ///
    /// # Panics
    /// When `len_bytes` is not a multiple of 64.
    pub fn clear(&mut self, len_bytes: usize) {
        assert!(
            len_bytes.is_multiple_of(GROUP_LEN_BYTES),
            "a shard of {len_bytes} bytes is not whole groups"
        );
        self.len_bytes = len_bytes;
        self.sums.clear();
        self.sums.resize(self.sum_count() * len_bytes, 0);
    }

    /// Adds `bytes` that stand at `offset`, a multiple of 64, in data shard `shard`.
    ///
    /// `bytes` may have any length and counts as filled up with zeros to a multiple of 64. Every byte of every shard is to
    /// be added at most once: adding is a sum, and what is added twice is gone.
    ///
    /// # Panics
    /// When `shard` is no data shard, or the bytes do not lie within `len_bytes`.
    pub fn add(&mut self, shard: ShardIndex, offset: usize, bytes: &[u8]) {
        assert!(
            shard.get() < self.shape.data(),
            "shard {shard} of {} is no data shard",
            self.shape
        );
        assert!(
            offset.is_multiple_of(GROUP_LEN_BYTES),
            "offset {offset} is not at a group"
        );
        let room = self
            .len_bytes
            .checked_sub(offset)
            .expect("an offset lies within its shard");
        assert!(
            bytes.len() <= room,
            "{} bytes at {offset} reach beyond {} bytes",
            bytes.len(),
            self.len_bytes
        );
        if bytes.is_empty() {
            return;
        }
        let Some((matrix, multiplier)) = &mut self.code else {
            add(&mut self.sums[offset..], bytes);
            return;
        };
        // Pieces outside, parity shards inside: a piece is read from memory once, not once for each of them.
        for (piece, source) in bytes.chunks(PIECE_LEN_BYTES).enumerate() {
            let start = offset + piece * PIECE_LEN_BYTES;
            for (row, sum) in self.sums.chunks_exact_mut(self.len_bytes).enumerate() {
                multiplier.add_product(&mut sum[start..], source, matrix.element(row, shard.as_usize()));
            }
        }
    }

    /// Returns the `m` parity shards in shard order, each of `len_bytes` bytes, as the sum of what was added so far.
    pub fn parity(&self) -> impl Iterator<Item = (ShardIndex, &[u8])> {
        (0..self.shape.parity()).map(|row| {
            let sum = usize::from(row) % self.sum_count();
            let bytes = &self.sums[sum * self.len_bytes..][..self.len_bytes];
            (ShardIndex::new(self.shape.data() + row), bytes)
        })
    }

    /// Copies are all alike: replication keeps one sum for them all.
    fn sum_count(&self) -> usize {
        if self.shape.is_replication() {
            1
        } else {
            usize::from(self.shape.parity())
        }
    }
}

impl fmt::Debug for ParityAccumulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParityAccumulator")
            .field("shape", &self.shape)
            .field("len_bytes", &self.len_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
