//! One worker's bench: a strip is read, hashed, encoded and written while its bytes are in cache.

use super::{
    block::{BlockInFlight, strip_range},
    input::SeekableInput,
};
use crate::{
    archive::shared::strip_len_bytes,
    codec::ColumnEncoder,
    error::CommitError,
    geometry::{BlockGeometry, FileGeometry},
    plan::Strip,
    seeded_bugs::{SeededBug, is_on},
    units::{CodeShape, ColumnIndex, LeafLen, ShardIndex, to_u64, to_usize},
};

/// Bytes of a replicated block that are read and hashed at a time: they stay in the cache of a core in between.
const REPLICA_RUN_LEN_BYTES: usize = 256 * 1024;

/// How one strip is worked on, in memory that is lent for it: a row for each shard that differs.
pub(super) struct StripBench {
    rows: usize,
    row_len: usize,
    encoder: ColumnEncoder,
}

impl StripBench {
    pub(super) fn new(geometry: &FileGeometry) -> Self {
        Self::of_shape(geometry.shape(), geometry.leaf())
    }

    /// Makes one for a single block.
    pub(super) fn of_block(geometry: &BlockGeometry) -> Self {
        Self::of_shape(geometry.shape(), geometry.leaf())
    }

    fn of_shape(shape: CodeShape, leaf: LeafLen) -> Self {
        let row_len = to_usize(strip_len_bytes(shape).max(leaf.bytes()));
        // Replicas are written from one row.
        let rows = if shape.is_replication() {
            1
        } else {
            usize::from(shape.total())
        };
        Self {
            rows,
            row_len,
            encoder: ColumnEncoder::new(shape),
        }
    }

    /// Returns how many bytes of memory a strip takes.
    pub(super) const fn buffer_len(&self) -> usize {
        self.rows * self.row_len
    }

    /// Returns the encoder, for what completes a block.
    pub(super) fn encoder(&mut self) -> &mut ColumnEncoder {
        &mut self.encoder
    }

    /// Stores a strip of a file; what it leaves in `buffer` is of no use to anybody.
    pub(super) fn write(
        &mut self,
        buffer: &mut [u8],
        block: &BlockInFlight,
        strip: &Strip,
        file: &dyn SeekableInput,
    ) -> Result<(), CommitError> {
        if block.geometry.shape().is_replication() {
            write_replicas(buffer, block, strip, file)
        } else {
            self.write_columns(buffer, block, strip, file)
        }
    }

    /// Reads, hashes and encodes a strip column by column, then writes each row.
    fn write_columns(
        &mut self,
        buffer: &mut [u8],
        block: &BlockInFlight,
        strip: &Strip,
        file: &dyn SeekableInput,
    ) -> Result<(), CommitError> {
        let geometry = &block.geometry;
        let data_shards = usize::from(geometry.shape().data());
        let (data, parity) = buffer.split_at_mut(self.row_len * data_shards);
        let mut start = 0;
        for column in strip.columns() {
            let slice_len = to_usize(geometry.slice_len_bytes(column));
            let mut slices: Vec<&[u8]> = Vec::with_capacity(data_shards);
            for (row, shard) in data.chunks_mut(self.row_len).zip(geometry.shards()) {
                let Some(range) = geometry.leaf_range_in_file(shard, column) else {
                    slices.push(&[]);
                    continue;
                };
                let leaf = &mut row[start..start + to_usize(range.len())];
                file.read_at(range.start(), leaf)?;
                block.hash_leaves(shard, column, leaf);
                slices.push(leaf);
            }
            let mut outputs: Vec<&mut [u8]> = parity
                .chunks_mut(self.row_len)
                .map(|row| &mut row[start..start + slice_len])
                .collect();
            self.encoder.encode(slice_len, &slices, &mut outputs);
            spoil_parity(column, &mut outputs);
            for (slice, shard) in outputs.iter().zip(geometry.shards().skip(data_shards)) {
                block.hash_leaves(shard, column, slice);
            }
            start += slice_len;
        }
        let offset = u64::from(strip.columns.start) * geometry.leaf().bytes();
        for (row, shard) in buffer.chunks(self.row_len).zip(geometry.shards()) {
            let len = if geometry.is_data(shard) {
                data_range(geometry, shard, strip).map_or(0, |range| range.1)
            } else {
                start
            };
            if len > 0 {
                block.write(shard, offset, &row[..len])?;
            }
        }
        Ok(())
    }
}

/// Encodes wrongly: for seeded bugs alone.
fn spoil_parity(column: ColumnIndex, parity: &mut [&mut [u8]]) {
    let count = match () {
        () if is_on(SeededBug::OneParityWrong) => 1,
        () if is_on(SeededBug::AllParityWrong) => parity.len(),
        () => 0,
    };
    if column == ColumnIndex::new(0) {
        parity[..count].iter_mut().for_each(|slice| slice[0] ^= 1);
    }
}

/// Reads and hashes a strip and writes it to every replica.
fn write_replicas(
    buffer: &mut [u8],
    block: &BlockInFlight,
    strip: &Strip,
    file: &dyn SeekableInput,
) -> Result<(), CommitError> {
    let geometry = &block.geometry;
    let first = ShardIndex::new(0);
    let (offset, len) = data_range(geometry, first, strip).expect("every strip has data");
    let leaf_len = to_usize(geometry.leaf().bytes());
    let run_len = REPLICA_RUN_LEN_BYTES.max(leaf_len);
    let mut offset = offset;
    let mut column = strip.columns.start;
    for run in buffer[..len].chunks_mut(run_len) {
        file.read_at(offset, run)?;
        block.hash_leaves(first, ColumnIndex::new(column), run);
        offset += to_u64(run.len());
        column += u32::try_from(run.len().div_ceil(leaf_len)).expect("a run is short");
    }
    let start = strip_range(geometry, first, strip)
        .expect("every strip has data")
        .start();
    geometry
        .shards()
        .try_for_each(|shard| block.write(shard, start, &buffer[..len]))
}

/// Returns which bytes of the file a strip of a data shard holds: offset and length.
pub(super) fn data_range(geometry: &BlockGeometry, shard: ShardIndex, strip: &Strip) -> Option<(u64, usize)> {
    let first = geometry.leaf_range_in_file(shard, ColumnIndex::new(strip.columns.start))?;
    let len = strip_range(geometry, shard, strip)?.len();
    Some((first.start(), to_usize(len)))
}
