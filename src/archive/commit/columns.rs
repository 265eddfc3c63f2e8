//! The pipeline in column order: strips of all shards at once, by several workers.
//!
//! Each worker takes the next strip, reads its slice of every segment, hashes the leaves, encodes the columns and hands
//! the slices to the extents, while the bytes are in cache. For replicated blocks the strips are contiguous pieces of the
//! file, so a stream can be stored this way too; for codes with more data shards the source must be a file.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    block::{BlockInFlight, WrittenBlock, strip_range},
    input::Input,
    reservation::{BlockDealer, Reservation},
};
use crate::{
    archive::{
        observer::{Event, Observer},
        shared::{Shared, strip_len_bytes},
    },
    catalog::BlockRecord,
    codec::ColumnEncoder,
    error::CommitError,
    geometry::{BlockGeometry, FileGeometry},
    host::SourceFile,
    merkle::{RootFolder, RootHash},
    plan::{Strip, strips_of_block},
    units::{BlockIndex, ColumnIndex, ShardIndex, to_u64, to_usize},
};

/// All blocks of a file, written but not synced.
#[derive(Debug)]
pub(super) struct WrittenFile {
    pub(super) blocks: Vec<BlockRecord>,
    pub(super) root: RootHash,
}

/// Writes every block of the file.
pub(super) fn write_file(
    shared: &Shared,
    reservation: &Reservation,
    input: &Input<'_>,
    observer: &dyn Observer,
) -> Result<WrittenFile, CommitError> {
    let pipeline = Pipeline {
        shared,
        input,
        observer,
        cursor: Mutex::new(Cursor::new(reservation)),
        completed: Mutex::new(Completed::new(reservation.geometry())),
    };
    let results = shared.workers.broadcast(|_| pipeline.work());
    // The first error that a worker met is the cause; the others stopped because of it.
    results.into_iter().collect::<Result<(), CommitError>>()?;
    let completed = pipeline
        .completed
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(completed.finish())
}

struct Pipeline<'a, 'i> {
    shared: &'a Shared,
    input: &'a Input<'i>,
    observer: &'a dyn Observer,
    cursor: Mutex<Cursor<'a>>,
    completed: Mutex<Completed>,
}

impl<'a> Pipeline<'a, '_> {
    /// Works strip after strip until none is left or one has failed, here or elsewhere.
    fn work(&self) -> Result<(), CommitError> {
        let geometry = *self.cursor().dealer.geometry();
        let shape = geometry.shape();
        let strip_len = to_usize(strip_len_bytes(shape).max(geometry.leaf().bytes()));
        let rows = if shape.is_replication() {
            1
        } else {
            usize::from(shape.total())
        };
        let mut encoder = ColumnEncoder::new(shape);
        let mut buffer = self.shared.pool.take(strip_len * rows)?;
        while let Some((block, strip)) = self.fetch(&mut buffer, strip_len)? {
            let result = if shape.is_replication() {
                write_replicas(&block, &strip, &buffer)
            } else {
                write_columns(&block, &strip, &mut buffer, strip_len, &mut encoder)
            };
            let result = result.and_then(|()| self.finish_strip(&block, &strip, &mut encoder));
            if result.is_err() {
                self.cursor().stop();
            }
            result?;
        }
        Ok(())
    }

    /// Takes the next strip and reads its data into the first rows of the buffer.
    fn fetch(
        &self,
        buffer: &mut [u8],
        row_len: usize,
    ) -> Result<Option<(Arc<BlockInFlight>, Strip)>, CommitError> {
        let fetched = match self.input {
            Input::Stream(stream) => {
                let claim = || {
                    let next = self.cursor().next();
                    next.map(|work| {
                        let len = data_range(&work.0.geometry, ShardIndex::new(0), &work.1)
                            .map_or(0, |range| range.1);
                        (work, len)
                    })
                };
                stream
                    .claim_and_read(buffer, claim)
                    .map(|claimed| claimed.map(|(work, _)| work))
            }
            Input::File(file) => {
                let next = self.cursor().next();
                next.map(|(block, strip)| {
                    read_rows(file, &block, &strip, buffer.chunks_mut(row_len)).map(|()| (block, strip))
                })
                .transpose()
            }
        };
        if fetched.is_err() {
            self.cursor().stop();
        }
        fetched
    }

    fn finish_strip(
        &self,
        block: &BlockInFlight,
        strip: &Strip,
        encoder: &mut ColumnEncoder,
    ) -> Result<(), CommitError> {
        let data = (0..block.geometry.shape().data()).map(ShardIndex::new);
        let bytes = data
            .filter_map(|shard| data_range(&block.geometry, shard, strip))
            .map(|range| to_u64(range.1))
            .sum();
        if block.finish_strip() {
            let written = block.complete(self.shared, encoder)?;
            self.completed
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .add(written);
        }
        self.observer.event(Event::Progress { bytes });
        Ok(())
    }

    fn cursor(&self) -> MutexGuard<'_, Cursor<'a>> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a strip of every data shard, each into a row of its own.
fn read_rows<'b>(
    file: &SourceFile,
    block: &BlockInFlight,
    strip: &Strip,
    rows: impl Iterator<Item = &'b mut [u8]>,
) -> Result<(), CommitError> {
    let shards = (0..block.geometry.shape().data()).map(ShardIndex::new);
    for (row, shard) in rows.zip(shards) {
        if let Some((offset, len)) = data_range(&block.geometry, shard, strip) {
            file.read_at(offset, &mut row[..len])
                .map_err(|source| CommitError::Source { source })?;
        }
    }
    Ok(())
}

/// Hashes a strip of a replicated block and writes it to every replica.
fn write_replicas(block: &BlockInFlight, strip: &Strip, buffer: &[u8]) -> Result<(), CommitError> {
    let range = strip_range(&block.geometry, ShardIndex::new(0), strip).expect("every strip has data");
    let bytes = &buffer[..to_usize(range.len())];
    block.hash_leaves(ShardIndex::new(0), ColumnIndex::new(strip.columns.start), bytes);
    block
        .geometry
        .shards()
        .try_for_each(|shard| block.write(shard, range.start(), bytes))
}

/// Hashes, encodes and writes a strip of a coded block; data stands in the first k rows of the buffer, parity gets the
/// others.
fn write_columns(
    block: &BlockInFlight,
    strip: &Strip,
    buffer: &mut [u8],
    row_len: usize,
    encoder: &mut ColumnEncoder,
) -> Result<(), CommitError> {
    let geometry = &block.geometry;
    let data_shards = usize::from(geometry.shape().data());
    let (data, parity) = buffer.split_at_mut(row_len * data_shards);
    let lens: Vec<usize> = (0..geometry.shape().data())
        .map(|shard| data_range(geometry, ShardIndex::new(shard), strip).map_or(0, |range| range.1))
        .collect();
    let mut start = 0;
    for column in strip.columns() {
        let slice_len = to_usize(geometry.slice_len_bytes(column));
        let slices: Vec<&[u8]> = data
            .chunks(row_len)
            .zip(&lens)
            .map(|(row, &len)| &row[start.min(len)..(start + slice_len).min(len)])
            .collect();
        let mut outputs: Vec<&mut [u8]> = parity
            .chunks_mut(row_len)
            .map(|row| &mut row[start..start + slice_len])
            .collect();
        encoder.encode(slice_len, &slices, &mut outputs);
        start += slice_len;
    }
    let first = ColumnIndex::new(strip.columns.start);
    let offset = u64::from(strip.columns.start) * geometry.leaf().bytes();
    let data_rows = data.chunks(row_len).zip(lens);
    let parity_rows = parity.chunks(row_len).map(|row| (row, start));
    for (shard, (row, len)) in geometry.shards().zip(data_rows.chain(parity_rows)) {
        if len > 0 {
            block.hash_leaves(shard, first, &row[..len]);
            block.write(shard, offset, &row[..len])?;
        }
    }
    Ok(())
}

/// Returns which bytes of the file a strip of a data shard holds: offset and length.
fn data_range(geometry: &BlockGeometry, shard: ShardIndex, strip: &Strip) -> Option<(u64, usize)> {
    let first = geometry.leaf_range_in_file(shard, ColumnIndex::new(strip.columns.start))?;
    let len = strip_range(geometry, shard, strip)?.len();
    Some((first.start(), to_usize(len)))
}

/// Deals strips in order; a block begins with its first strip.
struct Cursor<'a> {
    dealer: BlockDealer<'a>,
    block: Option<(Arc<BlockInFlight>, std::vec::IntoIter<Strip>)>,
    is_stopped: bool,
}

impl<'a> Cursor<'a> {
    fn new(reservation: &'a Reservation) -> Self {
        Self {
            dealer: reservation.deal_blocks(),
            block: None,
            is_stopped: false,
        }
    }

    fn next(&mut self) -> Option<(Arc<BlockInFlight>, Strip)> {
        loop {
            if self.is_stopped {
                return None;
            }
            if let Some((block, strips)) = &mut self.block
                && let Some(strip) = strips.next()
            {
                return Some((Arc::clone(block), strip));
            }
            let strip_len = strip_len_bytes(self.dealer.geometry().shape());
            let strips = |index: BlockIndex, geometry: &BlockGeometry| -> Vec<Strip> {
                strips_of_block(index, geometry, strip_len).collect()
            };
            let Some((block, strips)) = self.dealer.next_block(strips) else {
                return None;
            };
            self.block = Some((Arc::new(block), strips.into_iter()));
        }
    }

    /// Ends the work of all workers: one of them has failed.
    fn stop(&mut self) {
        self.is_stopped = true;
    }
}

/// Collects blocks as they complete, in any order, and folds their leaves in file order.
#[derive(Debug)]
pub(super) struct Completed {
    geometry: FileGeometry,
    folder: RootFolder,
    blocks: Vec<BlockRecord>,
    early: BTreeMap<BlockIndex, WrittenBlock>,
}

impl Completed {
    pub(super) fn new(geometry: &FileGeometry) -> Self {
        Self {
            geometry: *geometry,
            folder: RootFolder::new(geometry.leaf()),
            blocks: Vec::new(),
            early: BTreeMap::new(),
        }
    }

    pub(super) fn add(&mut self, written: WrittenBlock) {
        self.early.insert(written.record.index, written);
        while let Some(next) = self.early.remove(&BlockIndex::new(to_u64(self.blocks.len()))) {
            next.leaves.into_iter().for_each(|leaf| self.folder.push(leaf));
            self.blocks.push(next.record);
        }
    }

    pub(super) fn finish(self) -> WrittenFile {
        assert_eq!(
            to_u64(self.blocks.len()),
            self.geometry.block_count(),
            "every block was written"
        );
        WrittenFile {
            blocks: self.blocks,
            root: self.folder.finish(),
        }
    }
}
