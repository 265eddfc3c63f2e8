//! Reading stored files: every byte verified before a caller sees it, damage decoded around.

mod block;
mod columns;
mod decoding;
mod group;
mod group_tables;
mod groups;
mod root;
mod sums;
mod tables;

use core::ops::Range;
use std::{
    io::{self, Read, Seek, SeekFrom},
    sync::{Arc, Mutex, PoisonError},
};

use rayon::prelude::{IntoParallelIterator as _, ParallelIterator as _};

pub(super) use block::{BlockReader, Met, hash_leaf_of, kind_of};
pub(super) use columns::LostLeaf;
pub(super) use decoding::DecodedLeaf;
pub(super) use group::{GroupReader, Proof};
pub(super) use groups::Groups;
pub(super) use root::check_root;
pub(super) use sums::SumsCheck;

use super::{
    called::Called,
    met::{look_again, removed_meanwhile},
    observer::Observer,
    shared::Shared,
    volumes::Volumes,
};
use crate::{
    catalog::{BlockRecord, FileRecord},
    error::ReadError,
    units::{BlockIndex, ByteRange, ColumnIndex, FileName, ShardIndex, to_u64, to_usize},
};

/// First bytes that a sequential read fetches ahead.
const WINDOW_MIN_LEN_BYTES: u64 = 64 * 1024;

/// Most bytes that a sequential read fetches ahead.
const WINDOW_MAX_LEN_BYTES: u64 = 8 << 20;

/// Bytes that one worker reads and verifies at a time.
const RUN_LEN_BYTES: u64 = 512 * 1024;

/// Reads one stored file: `Read`, `Seek` and positional reads.
///
/// Every leaf is verified before a byte of it is returned. Bad leaves are decoded from the rest of their column; what
/// cannot be decoded is an error that names the lost bytes, never a wrong byte. A reader holds the block list of its file
/// and at most 8 MiB that were read ahead, and pins no database transaction.
pub struct FileReader {
    inner: Arc<ReaderCore>,
    position: u64,
    window: Window,
}

/// The part of a reader that positional reads share.
struct ReaderCore {
    shared: Arc<Shared>,
    file: FileRecord,
    blocks: Vec<BlockRecord>,
    groups: Groups,
    observer: Arc<dyn Observer>,
    /// The block that was read last, with its leaf tables.
    current: Mutex<Option<Arc<BlockReader>>>,
}

/// Bytes that were read ahead and verified.
#[derive(Default)]
struct Window {
    start: u64,
    len: u64,
    buffer: Vec<u8>,
    /// How much to fetch next; doubles while reads are sequential.
    next_len: u64,
}

impl FileReader {
    pub(super) fn new(
        shared: Arc<Shared>,
        file: FileRecord,
        blocks: Vec<BlockRecord>,
        observer: Arc<dyn Observer>,
    ) -> Self {
        assert_eq!(
            to_u64(blocks.len()),
            file.geometry.block_count(),
            "a reader has every block"
        );
        let inner = ReaderCore {
            groups: Groups::of(&shared, &file),
            shared,
            file,
            blocks,
            observer,
            current: Mutex::new(None),
        };
        Self {
            inner: Arc::new(inner),
            position: 0,
            window: Window::default(),
        }
    }

    /// Returns the length of the file in bytes.
    pub fn len(&self) -> u64 {
        self.inner.file.geometry.len_bytes()
    }

    /// Says whether the file is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the name of the file.
    pub fn name(&self) -> &FileName {
        &self.inner.file.name
    }

    /// Reads bytes from `offset` on and returns how many: fewer than asked for only at the end of the file.
    ///
    /// Touches the leaves that hold the bytes and their tables, nothing else.
    ///
    /// # Errors
    /// [`ReadError::Lost`] names the first bytes asked for that cannot be decoded; `into` holds nothing to be used then, nor
    /// after [`ReadError::Cancelled`], with which the observer ends a read.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, ReadError> {
        self.inner.read_at(offset, into)
    }

    /// Reads like [`Read::read`], with the error as it is.
    ///
    /// # Errors
    /// [`ReadError::Lost`] names the bytes at the position of the reader that cannot be decoded; everything before was
    /// returned. [`ReadError::Cancelled`] once the observer says so; the position stays, and a read that is tried again when
    /// it no longer does goes on there.
    pub fn read_next(&mut self, into: &mut [u8]) -> Result<usize, ReadError> {
        let end = self.len();
        if self.position >= end || into.is_empty() {
            return Ok(0);
        }
        if self.inner.observer.is_cancelled() {
            return Err(ReadError::Cancelled);
        }
        if !self.window.holds(self.position) {
            self.fill_window()?;
        }
        let buffer = &self.window.buffer;
        let start = to_usize(self.position - self.window.start);
        let bytes = &buffer[start..to_usize(self.window.len)];
        let count = bytes.len().min(into.len());
        into[..count].copy_from_slice(&bytes[..count]);
        self.position += to_u64(count);
        Ok(count)
    }

    /// Fetches the window from the current position on. Where something in it is lost, only the bytes before are kept.
    fn fill_window(&mut self) -> Result<(), ReadError> {
        let is_sequential = self.window.len > 0 && self.position == self.window.start + self.window.len;
        let wanted = if is_sequential {
            self.window.next_len * 2
        } else {
            WINDOW_MIN_LEN_BYTES
        };
        let wanted = wanted.clamp(WINDOW_MIN_LEN_BYTES, WINDOW_MAX_LEN_BYTES);
        self.window.next_len = wanted;
        let geometry = &self.inner.file.geometry;
        let block = geometry.block(geometry.block_at(self.position));
        // Whole leaves within one block: a leaf that is cut would be read and hashed twice.
        let leaf = geometry.leaf().bytes();
        let end = (self.position / leaf * leaf + wanted.next_multiple_of(leaf)).min(block.range().end());
        let len = end - self.position;
        let capacity = to_usize(wanted.next_multiple_of(leaf));
        // Not from the budget: idle readers would keep others waiting for ever.
        self.window
            .buffer
            .resize(capacity.max(self.window.buffer.len()), 0);
        let buffer = &mut self.window.buffer;
        self.window.start = self.position;
        self.window.len = 0;
        match self.inner.read_range(self.position, &mut buffer[..to_usize(len)]) {
            Ok(()) => self.window.len = len,
            Err(ReadError::Lost { range, .. }) if range.start() > self.position => {
                let good = range.start() - self.position;
                self.inner
                    .read_range(self.position, &mut buffer[..to_usize(good)])?;
                self.window.len = good;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl ReaderCore {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, ReadError> {
        let left = self.file.geometry.len_bytes().saturating_sub(offset);
        let count = to_usize(left.min(to_u64(into.len())));
        self.read_range(offset, &mut into[..count])?;
        Ok(count)
    }

    /// Reads bytes that are all in the file.
    fn read_range(&self, offset: u64, into: &mut [u8]) -> Result<(), ReadError> {
        let mut offset = offset;
        let mut rest = into;
        while !rest.is_empty() {
            let index = self.file.geometry.block_at(offset);
            let block = self.block(index);
            let here = (block.geometry().range().end() - offset).min(to_u64(rest.len()));
            let (now, later) = rest.split_at_mut(to_usize(here));
            let read = self.read_in_block(&block, offset, now);
            match self.look_again(&block) {
                // What was read around, or not at all, lies elsewhere by now.
                Some(moved) if read.is_err() => self.read_in_block(&moved, offset, now)?,
                Some(_) | None => read.map_err(|error| self.explained(error))?,
            }
            rest = later;
            offset += here;
        }
        Ok(())
    }

    /// Reads bytes of one block, cut into runs of leaves for the workers.
    fn read_in_block(&self, block: &BlockReader, offset: u64, into: &mut [u8]) -> Result<(), ReadError> {
        let mut runs = Vec::new();
        let mut rest = into;
        let mut offset = offset;
        while !rest.is_empty() {
            let (shard, columns, range) = run_at(block, offset);
            let len = to_usize((range.end() - offset).min(to_u64(rest.len())));
            let (now, later) = rest.split_at_mut(len);
            runs.push(Run {
                shard,
                columns,
                range,
                offset,
                into: now,
            });
            rest = later;
            offset += to_u64(len);
        }
        let read = |run: Run<'_>| self.read_run(block, run);
        // A source or an observer that reads a stored file may be called by a worker, which may hold what others wait for:
        // it must not take up their work while it waits for its own.
        let is_worker = self.shared.workers.current_thread_index().is_some();
        if is_worker || runs.len() == 1 {
            return runs.into_iter().try_for_each(read);
        }
        let results: Vec<Result<(), ReadError>> = self
            .shared
            .workers
            .install(|| runs.into_par_iter().map(read).collect());
        // In file order, so that the first lost byte is the one that is named.
        results.into_iter().collect()
    }

    fn read_run(&self, block: &BlockReader, run: Run<'_>) -> Result<(), ReadError> {
        if self.observer.is_cancelled() {
            return Err(ReadError::Cancelled);
        }
        let Run {
            shard,
            columns,
            range,
            offset,
            into,
        } = run;
        // Damage that is met is told of when it is known to be there still.
        let observer = &();
        let wanted = ByteRange::at(offset, to_u64(into.len())).expect("within the file");
        let result = if wanted == range {
            self.groups.read_run(block, (shard, columns), into, observer)
        } else {
            // Only the leaves that are touched, and of those only the part that is asked for.
            let leaf = block.geometry().leaf().bytes();
            let column_of = |byte: u64| {
                columns.start + u32::try_from((byte - range.start()) / leaf).expect("columns are 32 bits")
            };
            let touched = column_of(offset)..column_of(wanted.end() - 1) + 1;
            let mut leaves = vec![0; block.run_len(shard, touched.clone())];
            let read = self
                .groups
                .read_run(block, (shard, touched), &mut leaves, observer);
            read.map(|()| {
                let start = to_usize((offset - range.start()) % leaf);
                into.copy_from_slice(&leaves[start..start + into.len()]);
            })
        };
        result.map_err(|lost| {
            if let Some(source) = block.refusal() {
                return ReadError::Refused { source };
            }
            let leaf = block.geometry().leaf_range_in_file(shard, lost.column);
            let leaf = leaf.expect("only data leaves are read");
            self.lost(block, leaf.intersection(wanted).unwrap_or(leaf), lost.bad)
        })
    }

    /// Where damage was met, looks whether it is still there, and tells of what is; returns the block as it is now, where it
    /// lies elsewhere.
    fn look_again(&self, block: &BlockReader) -> Option<Arc<BlockReader>> {
        let moved = look_again(&self.shared, &self.file, block, self.observer.as_ref())?;
        let volumes = self.shared.volumes();
        let moved = Arc::new(self.reader_of(volumes, moved));
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        *current = Some(Arc::clone(&moved));
        Some(moved)
    }

    /// Says of bytes that are lost whether anybody should still have them.
    fn explained(&self, error: ReadError) -> ReadError {
        if matches!(error, ReadError::Lost { .. }) {
            return removed_meanwhile(&self.shared, &self.file).unwrap_or(error);
        }
        error
    }

    fn lost(&self, block: &BlockReader, range: ByteRange, bad: u16) -> ReadError {
        ReadError::Lost {
            name: self.file.name.clone(),
            range,
            block: block.record().index,
            bad,
            tolerated: block.geometry().shape().parity(),
        }
    }

    fn block(&self, index: BlockIndex) -> Arc<BlockReader> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(block) = current.as_ref()
            && block.record().index == index
        {
            return Arc::clone(block);
        }
        let record = self.blocks[to_usize(index.get())].clone();
        let block = Arc::new(self.reader_of(self.shared.volumes(), record));
        *current = Some(Arc::clone(&block));
        block
    }

    fn reader_of(&self, volumes: Arc<Volumes>, record: BlockRecord) -> BlockReader {
        let reader = BlockReader::new(volumes, Called::of(&self.file), record);
        if self.file.geometry.group_count() == 0 {
            reader
        } else {
            reader.asking_its_group()
        }
    }
}

/// A piece of work: leaves of one shard that follow each other, and what of their bytes is wanted.
struct Run<'a> {
    shard: ShardIndex,
    columns: Range<u32>,
    /// The bytes of the file that the leaves hold.
    range: ByteRange,
    /// First byte wanted, in the file.
    offset: u64,
    into: &'a mut [u8],
}

/// Returns the leaves of one shard around the byte at `offset`: shard, columns and the bytes of the file that they hold.
fn run_at(block: &BlockReader, offset: u64) -> (ShardIndex, Range<u32>, ByteRange) {
    let geometry = block.geometry();
    let place = geometry.locate(offset);
    let each = u32::try_from((RUN_LEN_BYTES / geometry.leaf().bytes()).max(1)).expect("at most 512");
    let first = place.column.get() / each * each;
    let end = (first + each).min(geometry.leaf_count(place.shard));
    let file_range = |column| {
        geometry
            .leaf_range_in_file(place.shard, ColumnIndex::new(column))
            .expect("below the leaf count")
    };
    let range =
        ByteRange::new(file_range(first).start(), file_range(end - 1).end()).expect("leaves are in order");
    (place.shard, first..end, range)
}

impl Window {
    fn holds(&self, position: u64) -> bool {
        position >= self.start && position - self.start < self.len
    }
}

impl Read for FileReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.read_next(into).map_err(io::Error::other)
    }
}

impl Seek for FileReader {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::End(delta) => self.len().checked_add_signed(delta),
            SeekFrom::Current(delta) => self.position.checked_add_signed(delta),
        };
        let outside = || io::Error::new(io::ErrorKind::InvalidInput, "seek to a position before the file");
        self.position = target.ok_or_else(outside)?;
        Ok(self.position)
    }
}

impl core::fmt::Debug for FileReader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("FileReader")
            .field("name", &self.inner.file.name)
            .field("len", &self.len())
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}
