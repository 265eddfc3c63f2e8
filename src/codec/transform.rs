//! The transforms of the high-rate code, a piece of a few shards at a time.
//!
//! The code cuts the data shards into chunks of `next_pow2(m)`; its parity is a transform of the sum of the inverse
//! transforms of all chunks. Both are linear, so some shards' share is what comes out with zeros in place of all others. And both
//! work on groups of 64 bytes, each on its own: so it is done in pieces that the nearest cache holds, from the shards as they lie to
//! parity, and nothing is copied that is not worked on at once.

use super::{GROUP_LEN_BYTES, add, copy_padded, matrix::PIECE_LEN_BYTES};
use crate::units::CodeShape;
use core::{iter::zip, ops::Range};
use reed_solomon_simd::engine::{DefaultEngine, Engine as _, ShardsRefMut};

/// How many multiplications of the transforms are worth one with an element of the matrix: where there are twice as many,
/// the transforms make up for it with the sums that they touch once for all shards.
const TRANSFORMS_PER_PRODUCT: usize = 2;

/// Bytes of a chunk and of a sum that are worked on at a time: both fit into the nearest cache.
const WORK_LEN_BYTES: usize = 16 * 1024;

/// Transforms of one code.
pub(super) struct Transform {
    engine: DefaultEngine,
    /// Shards in a chunk.
    chunk: usize,
    /// Parity shards.
    parity: usize,
    /// Bytes of each shard that are worked on at a time.
    piece_len: usize,
    /// Sum of the inverse transforms, a piece of each shard.
    sum: Vec<[u8; GROUP_LEN_BYTES]>,
    /// The chunk that is transformed.
    work: Vec<[u8; GROUP_LEN_BYTES]>,
}

impl Transform {
    /// Returns the transforms of `shape`, which is no replication.
    pub(super) fn new(shape: CodeShape) -> Self {
        let parity = usize::from(shape.parity());
        let chunk = parity.next_power_of_two();
        let piece_len = (WORK_LEN_BYTES / chunk).clamp(GROUP_LEN_BYTES, PIECE_LEN_BYTES);
        Self {
            engine: DefaultEngine::new(),
            chunk,
            parity,
            piece_len,
            sum: Vec::new(),
            work: Vec::new(),
        }
    }

    /// Returns the beginnings of the chunks that `positions` lie in.
    fn chunks(&self, positions: &Range<usize>) -> impl Iterator<Item = usize> + use<> {
        let chunk = self.chunk;
        (positions.start / chunk * chunk..positions.end).step_by(chunk)
    }

    /// Says whether transforming `positions`, of which there is one, takes less time than multiplying each for all parity.
    pub(super) fn is_faster(&self, positions: &Range<usize>) -> bool {
        let each = self.chunk / 2 * usize::try_from(self.chunk.ilog2()).expect("32 bits");
        let transforms = (self.chunks(positions).count() + 1) * each;
        transforms <= TRANSFORMS_PER_PRODUCT * positions.len() * self.parity
    }

    /// Hands out the share in each parity shard of the shards at `positions`, of which there is one: row, start and bytes of one piece
    /// after another, of `len` bytes in all. What is shorter counts as filled up with zeros.
    pub(super) fn each_piece<'data>(
        &mut self,
        positions: Range<usize>,
        shard: impl Fn(usize) -> &'data [u8],
        len: usize,
        mut share: impl FnMut(usize, usize, &[u8]),
    ) {
        let whole = self.chunk * self.piece_len / GROUP_LEN_BYTES;
        self.sum.resize(whole, [0; GROUP_LEN_BYTES]);
        self.work.resize(whole, [0; GROUP_LEN_BYTES]);
        for start in (0..len).step_by(self.piece_len) {
            let piece = start..len.min(start + self.piece_len);
            let groups = piece.len().div_ceil(GROUP_LEN_BYTES);
            self.sum_up(&positions, &shard, &piece);
            let shards = &mut self.sum[..self.chunk * groups];
            self.engine.fft(
                &mut ShardsRefMut::new(self.chunk, groups, shards),
                0,
                self.chunk,
                self.parity,
                0,
            );
            for (row, parity) in shards.chunks_exact(groups).take(self.parity).enumerate() {
                share(row, start, parity.as_flattened());
            }
        }
    }

    /// Fills `sum`: the inverse transforms of all chunks, of a piece of every shard.
    fn sum_up<'data>(
        &mut self,
        positions: &Range<usize>,
        shard: &impl Fn(usize) -> &'data [u8],
        piece: &Range<usize>,
    ) {
        let groups = piece.len().div_ceil(GROUP_LEN_BYTES);
        for (nth, chunk_start) in self.chunks(positions).enumerate() {
            let shards = if nth == 0 { &mut self.sum } else { &mut self.work };
            let shards = &mut shards[..self.chunk * groups];
            for (position, target) in zip(chunk_start.., shards.chunks_exact_mut(groups)) {
                let bytes = if positions.contains(&position) {
                    shard(position)
                } else {
                    &[]
                };
                let bytes = &bytes[piece.start.min(bytes.len())..piece.end.min(bytes.len())];
                copy_padded(target.as_flattened_mut(), bytes);
            }
            let used = self.chunk.min(positions.end - chunk_start);
            self.engine.ifft(
                &mut ShardsRefMut::new(self.chunk, groups, shards),
                0,
                self.chunk,
                used,
                chunk_start + self.chunk,
            );
            if nth > 0 {
                add(
                    self.sum.as_flattened_mut(),
                    self.work[..self.chunk * groups].as_flattened(),
                );
            }
        }
    }
}
