//! The pipeline in shard order, for files between disks that rotate.
//!
//! Each worker takes the next segment, reads it in one go, hashes it and adds it to the parity of its block, puts its frame together
//! around it and writes that in one go. Who brings the last segment of a block writes the parity. Memory is a frame for each worker and m
//! segments for each block that is under way, seldom more than two.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use super::{
    block::BlockInFlight,
    deal::BlockDealer,
    input::SeekableInput,
    outer::{Going, OuterSums},
    reservation::Reservation,
    sliced_parity::SlicedParity,
    strip::{Origin, StripBench},
    writing::Writing,
};
use crate::{
    archive::{observer::Event, order::MAX_SHARD_THREADS, shared::Shared, team::Member},
    codec::ColumnEncoder,
    error::CommitError,
    format::FrameLayout,
    geometry::{BlockGeometry, FileGeometry},
    plan::strips_of_block,
    units::{BlockIndex, ColumnIndex, ShardIndex, to_usize},
};

/// Bytes of each shard of outer parity that are written at a time.
const OUTER_STRIP_LEN_BYTES: u64 = 1 << 20;

/// Works on all shards that are not done yet; returns what has become of each worker.
pub(super) fn write_by_shards(
    writing: &Writing<'_>,
    reservation: &Reservation,
) -> Vec<Result<(), CommitError>> {
    let pipeline = Pipeline {
        writing,
        buffer_len: buffer_len(&writing.geometry),
        cursor: Mutex::new(Cursor {
            dealer: BlockDealer::new(reservation),
            block: None,
        }),
        is_stopped: AtomicBool::new(false),
        idle: Mutex::default(),
    };
    let threads = MAX_SHARD_THREADS;
    writing
        .shared
        .work_together(threads, |member| pipeline.work(member))
}

struct Pipeline<'a> {
    writing: &'a Writing<'a>,
    buffer_len: usize,
    cursor: Mutex<Cursor<'a>>,
    is_stopped: AtomicBool,
    /// Parity of blocks that are done, to be used again.
    idle: Mutex<Vec<SlicedParity>>,
}

/// A block whose shards are being written.
struct OpenBlock {
    in_flight: BlockInFlight,
    parity: SlicedParity,
}

/// What is done at a time.
enum Job {
    /// A data shard; of copies the first, which stands for all.
    Shard(Arc<OpenBlock>, ShardIndex),
    /// A block of outer parity, all of it.
    Outer(BlockInFlight),
}

struct Cursor<'a> {
    dealer: BlockDealer<'a>,
    block: Option<(Arc<OpenBlock>, std::vec::IntoIter<ShardIndex>)>,
}

impl<'a> Pipeline<'a> {
    /// Works job after job until none is left or one has failed, here or elsewhere.
    fn work(&self, member: &Member<'_>) -> Result<(), CommitError> {
        let mut stop = StopsOthers {
            is_stopped: &self.is_stopped,
            outer: self.writing.outer.as_ref(),
            is_due: true,
        };
        let result = self.work_until_stopped(member);
        stop.is_due = result.is_err();
        result
    }

    fn work_until_stopped(&self, member: &Member<'_>) -> Result<(), CommitError> {
        let mut encoder = ColumnEncoder::new(self.writing.geometry.shape());
        loop {
            if self.writing.observer.is_cancelled() {
                return Err(CommitError::Cancelled);
            }
            let Some(mut buffer) = member.buffer(self.buffer_len)? else {
                return Ok(());
            };
            let Some(job) = self.claim() else {
                return Ok(());
            };
            let (going, bytes) = match job {
                Job::Shard(block, shard) => self.write_shard(block, shard, (&mut buffer, &mut encoder))?,
                Job::Outer(block) => (self.write_outer(&block, &mut buffer)?, 0),
            };
            if going == Going::Stopped {
                return Ok(());
            }
            // Others may need it while the observer takes its time.
            drop(buffer);
            self.writing.observer.event(Event::Progress { bytes });
        }
    }

    /// Takes the next job.
    fn claim(&self) -> Option<Job> {
        let mut cursor = self.cursor();
        loop {
            if self.is_stopped.load(Ordering::SeqCst) {
                return None;
            }
            if let Some((block, shards)) = &mut cursor.block
                && let Some(shard) = shards.next()
            {
                return Some(Job::Shard(Arc::clone(block), shard));
            }
            cursor.block = None;
            let (block, shards) = cursor.dealer.next_block(|_, geometry| data_shards(geometry))?;
            if block.geometry.is_outer_parity() {
                return Some(Job::Outer(block));
            }
            let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut parity = idle.unwrap_or_default();
            parity.clear(&block.geometry);
            let open = OpenBlock {
                in_flight: block,
                parity,
            };
            cursor.block = Some((Arc::new(open), shards.into_iter()));
        }
    }

    /// Stores a data shard, and with the last one of its block the parity; returns how many bytes of the file that were.
    fn write_shard(
        &self,
        open: Arc<OpenBlock>,
        shard: ShardIndex,
        (buffer, encoder): (&mut [u8], &mut ColumnEncoder),
    ) -> Result<(Going, u64), CommitError> {
        let (block, geometry) = (&open.in_flight, open.in_flight.geometry);
        let first = ColumnIndex::new(0);
        let start = geometry.leaf_range_in_file(shard, first);
        let start = start.expect("the shard has data").start();
        let payload = block.layout(shard).payload();
        let bytes = &mut buffer[to_usize(payload.start())..to_usize(payload.end())];
        SeekableInput::read_at(self.writing.file, start, bytes)?;
        block.hash_leaves(shard, first, bytes);
        open.parity.add_shard(shard, bytes);
        if let Some(outer) = &self.writing.outer
            && outer.add_leaves(block.identity.index, (shard, first), bytes) == Going::Stopped
        {
            return Ok((Going::Stopped, 0));
        }
        let copies = geometry.shape().is_replication();
        let frames = geometry.shards().filter(|frame| copies || *frame == shard);
        for frame in frames {
            block.write_whole(self.writing.shared, frame, buffer)?;
        }
        let going = if block.finish_strip() {
            self.finish_block(&open, (buffer, encoder))?
        } else {
            Going::On
        };
        if let Some(open) = Arc::into_inner(open) {
            let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
            idle.push(open.parity);
        }
        Ok((going, payload.len()))
    }

    /// Writes the parity of a block whose data shards are all written.
    fn finish_block(
        &self,
        open: &OpenBlock,
        (buffer, encoder): (&mut [u8], &mut ColumnEncoder),
    ) -> Result<Going, CommitError> {
        let block = &open.in_flight;
        let table_column = block.table_column(encoder);
        if open.parity.count() > 0 {
            for shard in parity_shards(&block.geometry) {
                write_parity_shard(self.writing.shared, open, (shard, &table_column), buffer)?;
            }
        }
        if let Some(outer) = &self.writing.outer {
            outer.finish_block(block.identity.index);
        }
        self.writing.complete(block, encoder)
    }

    /// Writes a block of outer parity, once all blocks of its group have passed.
    fn write_outer(&self, block: &BlockInFlight, buffer: &mut [u8]) -> Result<Going, CommitError> {
        let mut bench = StripBench::of_block_with(&block.geometry, OUTER_STRIP_LEN_BYTES);
        let origin = Origin {
            file: self.writing.file,
            outer: self.writing.outer.as_ref(),
        };
        let buffer = &mut buffer[..bench.buffer_len()];
        for strip in strips_of_block(block.identity.index, &block.geometry, OUTER_STRIP_LEN_BYTES) {
            if bench.write(buffer, block, &strip, &origin)? == Going::Stopped {
                return Ok(Going::Stopped);
            }
        }
        self.writing.complete(block, bench.encoder())
    }

    fn cursor(&self) -> MutexGuard<'_, Cursor<'a>> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops the other workers when one is done for, also by a panic of the observer.
struct StopsOthers<'a> {
    is_stopped: &'a AtomicBool,
    outer: Option<&'a OuterSums>,
    is_due: bool,
}

impl Drop for StopsOthers<'_> {
    fn drop(&mut self) {
        if self.is_due {
            self.is_stopped.store(true, Ordering::SeqCst);
            if let Some(outer) = self.outer {
                outer.stop();
            }
        }
    }
}

/// Puts a parity shard together, and writes its frame.
fn write_parity_shard(
    shared: &Shared,
    open: &OpenBlock,
    (shard, table_column): (ShardIndex, &[(ShardIndex, Vec<u8>)]),
    buffer: &mut [u8],
) -> Result<(), CommitError> {
    let block = &open.in_flight;
    let payload = block.layout(shard).payload();
    let bytes = &mut buffer[to_usize(payload.start())..to_usize(payload.end())];
    let tables = table_column.iter().find(|(row, _)| *row == shard);
    let tables = tables.map_or(&[][..], |(_, tables)| tables);
    let (sums, rest) = bytes.split_at_mut(bytes.len() - tables.len());
    open.parity.copy_shard(shard, sums);
    rest.copy_from_slice(tables);
    block.hash_leaves(shard, ColumnIndex::new(0), sums);
    block.write_whole(shared, shard, buffer)
}

/// Returns the shards that are read of a block: those that hold data, or of copies the first.
fn data_shards(geometry: &BlockGeometry) -> Vec<ShardIndex> {
    let data = (0..geometry.shape().data()).map(ShardIndex::new);
    data.filter(|shard| geometry.leaf_count(*shard) > 0).collect()
}

fn parity_shards(geometry: &BlockGeometry) -> impl Iterator<Item = ShardIndex> + use<> {
    (geometry.shape().data()..geometry.shape().total()).map(ShardIndex::new)
}

/// Returns how many bytes the longest frame has, or a strip of outer parity where blocks are grouped.
fn buffer_len(geometry: &FileGeometry) -> usize {
    if geometry.block_count() == 0 {
        return 0;
    }
    // No block is longer than the first.
    let longest = geometry.block(BlockIndex::new(0));
    let frames = longest
        .shards()
        .filter_map(|shard| FrameLayout::of_shard(&longest, shard));
    let frame = frames.map(|layout| layout.total_len_bytes()).max();
    let frame = to_usize(frame.expect("a block has frames"));
    let last = geometry.block(BlockIndex::new(geometry.block_count() - 1));
    if !last.is_outer_parity() {
        return frame;
    }
    frame.max(StripBench::of_block_with(&last, OUTER_STRIP_LEN_BYTES).buffer_len())
}
