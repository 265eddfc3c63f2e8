//! One worker's bench: a strip is read, hashed, encoded and written while its bytes are in cache.

use core::ops::Range;

use super::{
    block::{BlockInFlight, strip_range},
    input::SeekableInput,
    outer::{Going, OuterSums},
};
use crate::{
    archive::shared::{blocks_together, strip_len_bytes, strip_len_bytes_of},
    codec::ColumnEncoder,
    error::CommitError,
    geometry::{BlockGeometry, FileGeometry},
    plan::Strip,
    seeded_bugs::{SeededBug, is_on},
    units::{CodeShape, ColumnIndex, LeafLen, ShardIndex, to_u64, to_usize},
};

/// Bytes of a replicated block that are read and hashed at a time: they stay in the cache of a core in between.
const REPLICA_RUN_LEN_BYTES: usize = 256 * 1024;

/// Where the data of blocks comes from: of those of the file from the file, of outer parity from the sums that the others are added
/// to.
pub(super) struct Origin<'a> {
    pub(super) file: &'a dyn SeekableInput,
    pub(super) outer: Option<&'a OuterSums>,
}

/// How one strip is worked on, in memory that is lent for it: a row for each shard that differs.
pub(super) struct StripBench {
    /// Blocks that are worked on at once.
    together: usize,
    rows: usize,
    row_len: usize,
    encoder: ColumnEncoder,
}

impl StripBench {
    pub(super) fn new(geometry: &FileGeometry) -> Self {
        let row_len = strip_len_bytes_of(geometry);
        Self::of_shape(
            geometry.shape(),
            (geometry.leaf(), row_len),
            blocks_together(geometry),
        )
    }

    /// Makes one for a single block.
    pub(super) fn of_block(geometry: &BlockGeometry) -> Self {
        Self::of_block_with(geometry, strip_len_bytes(geometry.shape()))
    }

    /// Makes one for a single block, with so many bytes of each shard.
    pub(super) fn of_block_with(geometry: &BlockGeometry, row_len: u64) -> Self {
        Self::of_shape(geometry.shape(), (geometry.leaf(), row_len), 1)
    }

    fn of_shape(shape: CodeShape, (leaf, row_len): (LeafLen, u64), together: usize) -> Self {
        let row_len = to_usize(row_len.max(leaf.bytes()));
        // Replicas are written from one row.
        let rows = if shape.is_replication() {
            1
        } else {
            usize::from(shape.total())
        };
        Self {
            together,
            rows,
            row_len,
            encoder: ColumnEncoder::new(shape),
        }
    }

    /// Returns how many bytes of memory a strip takes, of as many blocks as are worked on at once.
    pub(super) const fn buffer_len(&self) -> usize {
        self.together * self.rows * self.row_len
    }

    /// Returns the encoder, for what completes a block.
    pub(super) fn encoder(&mut self) -> &mut ColumnEncoder {
        &mut self.encoder
    }

    /// Stores a strip of one block; what it leaves in `buffer` is of no use to anybody.
    pub(super) fn write(
        &mut self,
        buffer: &mut [u8],
        block: &BlockInFlight,
        strip: &Strip,
        origin: &Origin<'_>,
    ) -> Result<Going, CommitError> {
        if block.geometry.shape().is_replication() {
            write_replicas(buffer, block, strip, origin.file)?;
            Ok(Going::On)
        } else {
            self.write_columns(buffer, &[block], strip.columns.clone(), origin)
        }
    }

    /// Stores the same columns of blocks that follow each other, as many as the bench is made for at most; one that has none of them has
    /// nothing to store.
    ///
    /// Column by column they are read, hashed and encoded, then each row is written.
    pub(super) fn write_columns(
        &mut self,
        buffer: &mut [u8],
        blocks: &[&BlockInFlight],
        columns: Range<u32>,
        origin: &Origin<'_>,
    ) -> Result<Going, CommitError> {
        assert!(
            blocks.len() <= self.together,
            "the bench has room for {}",
            self.together
        );
        let mut areas: Vec<&mut [u8]> = buffer.chunks_mut(self.rows * self.row_len).collect();
        for column in columns.clone().map(ColumnIndex::new) {
            for (block, area) in blocks.iter().zip(&mut areas) {
                if column.get() < block.geometry.column_count()
                    && self.fill_column(area, block, (column, columns.start), origin)? == Going::Stopped
                {
                    return Ok(Going::Stopped);
                }
            }
            let areas = areas.iter().map(|area| &**area);
            if self.pass_on(blocks.iter().copied().zip(areas), (column, columns.start), origin)
                == Going::Stopped
            {
                return Ok(Going::Stopped);
            }
        }
        for (block, area) in blocks.iter().zip(&areas) {
            self.write_rows(area, block, &columns)?;
        }
        Ok(Going::On)
    }

    /// Reads, hashes and encodes one column of a block.
    fn fill_column(
        &mut self,
        area: &mut [u8],
        block: &BlockInFlight,
        (column, first): (ColumnIndex, u32),
        origin: &Origin<'_>,
    ) -> Result<Going, CommitError> {
        let geometry = &block.geometry;
        let data_shards = usize::from(geometry.shape().data());
        let slice_len = to_usize(geometry.slice_len_bytes(column));
        let start = start_in_row(geometry, column, first);
        let (data, parity) = area.split_at_mut(self.row_len * data_shards);
        let mut leaves: Vec<&mut [u8]> = data
            .chunks_mut(self.row_len)
            .zip(geometry.shards())
            .map(|(row, shard)| &mut row[start..start + leaf_len(geometry, shard, column)])
            .collect();
        if origin.fill(block, column, &mut leaves)? == Going::Stopped {
            return Ok(Going::Stopped);
        }
        let leaves: Vec<&[u8]> = leaves.into_iter().map(|leaf| &*leaf).collect();
        for (leaf, shard) in leaves.iter().zip(geometry.shards()) {
            if !leaf.is_empty() {
                block.hash_leaves(shard, column, leaf);
            }
        }
        let mut outputs: Vec<&mut [u8]> = parity
            .chunks_mut(self.row_len)
            .map(|row| &mut row[start..start + slice_len])
            .collect();
        self.encoder.encode(slice_len, &leaves, &mut outputs);
        spoil_parity(column, &mut outputs);
        for (slice, shard) in outputs.iter().zip(geometry.shards().skip(data_shards)) {
            block.hash_leaves(shard, column, slice);
        }
        Ok(Going::On)
    }

    /// Hands the leaves of a column on to outer parity, where the blocks have any.
    fn pass_on<'a>(
        &self,
        blocks: impl Iterator<Item = (&'a BlockInFlight, &'a [u8])>,
        (column, first): (ColumnIndex, u32),
        origin: &Origin<'_>,
    ) -> Going {
        let Some(sums) = origin.outer else {
            return Going::On;
        };
        // Long blocks come first, so those that have the column follow each other.
        let mut blocks = blocks
            .filter(|(block, _)| {
                !block.geometry.is_outer_parity() && column.get() < block.geometry.column_count()
            })
            .peekable();
        let Some(index) = blocks.peek().map(|(block, _)| block.identity.index) else {
            return Going::On;
        };
        let leaves_of = |(block, area): (&BlockInFlight, &'a [u8])| -> Vec<&'a [u8]> {
            let geometry = block.geometry;
            let start = start_in_row(&geometry, column, first);
            let data = usize::from(geometry.shape().data());
            let rows = area.chunks(self.row_len).zip(geometry.shards()).take(data);
            rows.map(|(row, shard)| &row[start..start + leaf_len(&geometry, shard, column)])
                .collect()
        };
        let leaves: Vec<Vec<&[u8]>> = blocks.map(leaves_of).collect();
        sums.add_column(index, column, &leaves)
    }

    fn write_rows(
        &self,
        area: &[u8],
        block: &BlockInFlight,
        columns: &Range<u32>,
    ) -> Result<(), CommitError> {
        let geometry = &block.geometry;
        let strip = Strip {
            block: block.identity.index,
            columns: columns.start..columns.end.min(geometry.column_count()),
        };
        let offset = u64::from(columns.start) * geometry.leaf().bytes();
        for (row, shard) in area.chunks(self.row_len).zip(geometry.shards()) {
            if let Some(range) = strip_range(geometry, shard, &strip) {
                block.write(shard, offset, &row[..to_usize(range.len())])?;
            }
        }
        Ok(())
    }
}

/// Returns where the leaves of a column stand in the rows of a strip that begins with column `first`.
fn start_in_row(geometry: &BlockGeometry, column: ColumnIndex, first: u32) -> usize {
    to_usize(u64::from(column.get() - first) * geometry.leaf().bytes())
}

fn leaf_len(geometry: &BlockGeometry, shard: ShardIndex, column: ColumnIndex) -> usize {
    let range = geometry.leaf_range(shard, column);
    range.map_or(0, |range| to_usize(range.len()))
}

impl Origin<'_> {
    /// Fills the leaves of one column of a block, in shard order; an empty one is absent.
    fn fill(
        &self,
        block: &BlockInFlight,
        column: ColumnIndex,
        leaves: &mut [&mut [u8]],
    ) -> Result<Going, CommitError> {
        let geometry = &block.geometry;
        if geometry.is_outer_parity() {
            let sums = self.outer.expect("only groups have outer parity");
            let copy = |shard: ShardIndex, sum: &[u8]| leaves[shard.as_usize()].copy_from_slice(sum);
            return Ok(sums.read_column(block.identity.index, column, copy));
        }
        for (leaf, shard) in leaves.iter_mut().zip(geometry.shards()) {
            if let Some(range) = geometry.leaf_range_in_file(shard, column) {
                self.file.read_at(range.start(), leaf)?;
            }
        }
        Ok(Going::On)
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
