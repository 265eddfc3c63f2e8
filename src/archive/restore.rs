//! Getting a stored file back onto the host, verified.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    commit::strip_range,
    observer::{Event, Observer},
    read::{BlockReader, LostLeaf, check_root},
    shared::{Shared, strip_count, strip_len_bytes},
    team::Member,
};
use crate::{
    catalog::{BlockRecord, EntryKind, FileRecord},
    error::{HostError, ReadError, RestoreError},
    host::{CompleteFile, Durability, Existing, RestoreFile, RestoreTarget, Restored},
    merkle::RootHash,
    plan::{ColumnSet, Strip, strips_of_block},
    units::{BlockIndex, ByteRange, ColumnIndex, FileName, ShardIndex, to_u64, to_usize},
};

/// How a file is restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RestoreOptions {
    /// What happens to a file that stands in the way.
    pub existing: Existing,
    /// Whether the restored file is on disk when the call returns.
    pub durability: Durability,
}

impl Default for RestoreOptions {
    fn default() -> Self {
        Self {
            existing: Existing::Refuse,
            durability: Durability::Synced,
        }
    }
}

/// What was restored.
#[derive(Debug)]
#[must_use]
pub struct RestoreReceipt {
    /// The file.
    pub name: FileName,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// Its root, which the restored bytes were verified against.
    pub root: RootHash,
    /// What the target file system would not take of permissions and times; the bytes are all there.
    pub not_kept: Vec<HostError>,
}

/// Restores an entry beneath a directory; a file stands under a temporary name until every byte of it is right.
pub(super) fn restore(
    shared: &Arc<Shared>,
    file: &FileRecord,
    blocks: &[BlockRecord],
    (target, options): (&RestoreTarget, &RestoreOptions),
    observer: &dyn Observer,
) -> Result<RestoreReceipt, RestoreError> {
    let (existing, durability) = (options.existing, options.durability);
    let restored = match &file.kind {
        EntryKind::File => {
            let output = target.create(&file.name, file.geometry.len_bytes(), existing)?;
            let work = Work::new(shared, file, blocks, &output, observer);
            let results = shared.work_together(strip_count(&file.geometry), |member| work.run(member));
            drop(work);
            results.into_iter().collect::<Result<(), RestoreError>>()?;
            prove(shared, file, blocks, observer)?;
            output.finish(file.modified_at, file.mode, durability)?
        }
        EntryKind::SymbolicLink { target: leads_to } => {
            target.create_symbolic_link(&file.name, leads_to, file.modified_at, (existing, durability))?
        }
        EntryKind::Directory => restore_directory(file, (target, options))?,
    };
    Ok(RestoreReceipt::of(file, restored))
}

/// Restores a directory, or gives one that is there what was stored of it.
pub(super) fn restore_directory(
    file: &FileRecord,
    (target, options): (&RestoreTarget, &RestoreOptions),
) -> Result<Restored, RestoreError> {
    let durability = options.durability;
    target.create_directory(&file.name, durability)?;
    Ok(target.set_directory_metadata(&file.name, file.modified_at, file.mode, durability)?)
}

/// Restores a small file on this thread, all but its final name. `buffer` has the length of [`buffer_len`] at least.
pub(super) fn complete(
    shared: &Arc<Shared>,
    (file, blocks): (&FileRecord, &[BlockRecord]),
    (target, options): (&RestoreTarget, &RestoreOptions),
    (buffer, observer): (&mut [u8], &dyn Observer),
) -> Result<CompleteFile, RestoreError> {
    let output = target.create(&file.name, file.geometry.len_bytes(), options.existing)?;
    let work = Work::new(shared, file, blocks, &output, observer);
    while let Some(bytes) = work.copy_next(buffer)? {
        observer.event(Event::Progress { bytes });
    }
    drop(work);
    prove(shared, file, blocks, observer)?;
    Ok(output.complete(file.modified_at, file.mode, options.durability)?)
}

/// Returns how many bytes of memory a strip of a file takes.
pub(super) fn buffer_len(file: &FileRecord) -> usize {
    let shape = file.geometry.shape();
    let rows = if shape.is_replication() {
        1
    } else {
        usize::from(shape.total())
    };
    row_len(file) * rows
}

fn row_len(file: &FileRecord) -> usize {
    to_usize(strip_len_bytes(file.geometry.shape()).max(file.geometry.leaf().bytes()))
}

/// Each leaf matched its table; now the tables must be those of the file that was committed.
fn prove(
    shared: &Arc<Shared>,
    file: &FileRecord,
    blocks: &[BlockRecord],
    observer: &dyn Observer,
) -> Result<(), RestoreError> {
    let name = file.name.clone();
    match check_root(shared, file, blocks.iter().cloned().map(Ok), observer) {
        Ok(true) => Ok(()),
        Ok(false) => Err(ReadError::RootMismatch { name }.into()),
        Err(ReadError::Cancelled) => Err(RestoreError::Cancelled),
        Err(error) => Err(error.into()),
    }
}

impl RestoreReceipt {
    pub(super) fn of(file: &FileRecord, restored: Restored) -> Self {
        Self {
            name: file.name.clone(),
            len_bytes: file.geometry.len_bytes(),
            root: file.root,
            not_kept: restored.not_kept,
        }
    }
}

struct Work<'a> {
    file: &'a FileRecord,
    output: &'a RestoreFile,
    observer: &'a dyn Observer,
    cursor: Mutex<Cursor<'a>>,
}

impl<'a> Work<'a> {
    fn new(
        shared: &'a Arc<Shared>,
        file: &'a FileRecord,
        blocks: &'a [BlockRecord],
        output: &'a RestoreFile,
        observer: &'a dyn Observer,
    ) -> Self {
        let cursor = Mutex::new(Cursor {
            shared,
            file,
            blocks: blocks.iter(),
            current: None,
            is_stopped: false,
        });
        Self {
            file,
            output,
            observer,
            cursor,
        }
    }

    /// Copies strips beside other members until none is left or one has failed, here or elsewhere.
    fn run(&self, member: &Member<'_>) -> Result<(), RestoreError> {
        let result = self.run_until_stopped(member);
        if result.is_err() {
            self.cursor
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_stopped = true;
        }
        result
    }

    fn run_until_stopped(&self, member: &Member<'_>) -> Result<(), RestoreError> {
        let len = buffer_len(self.file);
        while let Some(mut buffer) = member.buffer(len).map_err(ReadError::from)? {
            let Some(bytes) = self.copy_next(&mut buffer)? else {
                return Ok(());
            };
            // Others may need it while the observer takes its time.
            drop(buffer);
            self.observer.event(Event::Progress { bytes });
        }
        Ok(())
    }

    /// Copies the next strip; returns how many bytes of the file that were, `None` when none is left.
    fn copy_next(&self, buffer: &mut [u8]) -> Result<Option<u64>, RestoreError> {
        if self.observer.is_cancelled() {
            return Err(RestoreError::Cancelled);
        }
        let next = self.cursor.lock().unwrap_or_else(PoisonError::into_inner).next();
        let Some((block, strip)) = next else {
            return Ok(None);
        };
        let bytes = if self.file.geometry.shape().is_replication() {
            self.copy_replica(&block, &strip, buffer)?
        } else {
            self.copy_columns(&block, &strip, buffer, row_len(self.file))?
        };
        Ok(Some(bytes))
    }

    fn copy_replica(
        &self,
        block: &BlockReader,
        strip: &Strip,
        buffer: &mut [u8],
    ) -> Result<u64, RestoreError> {
        let first = ShardIndex::new(0);
        let len = block.run_len(first, strip.columns.clone());
        block
            .read_run(first, strip.columns.clone(), &mut buffer[..len], self.observer)
            .map_err(|lost| self.lost(block, lost))?;
        self.output
            .write_at(file_offset(block, first, strip), &buffer[..len])?;
        Ok(to_u64(len))
    }

    fn copy_columns(
        &self,
        block: &BlockReader,
        strip: &Strip,
        buffer: &mut [u8],
        row_len: usize,
    ) -> Result<u64, RestoreError> {
        let geometry = block.geometry();
        let data: Vec<ShardIndex> = (0..geometry.shape().data()).map(ShardIndex::new).collect();
        let mut rows: Vec<&mut [u8]> = buffer
            .chunks_mut(row_len)
            .take(usize::from(geometry.shape().total()))
            .collect();
        let mut bad = vec![ColumnSet::default(); rows.len()];
        for (shard, row) in data.iter().zip(rows.iter_mut()) {
            let len = block.run_len(*shard, strip.columns.clone());
            if len > 0 {
                let end = strip.columns.end.min(geometry.leaf_count(*shard));
                bad[shard.as_usize()] =
                    block.read_verified(*shard, strip.columns.start..end, &mut row[..len], self.observer);
            }
        }
        if bad.iter().any(|columns| !columns.is_empty()) {
            let lost = block.repair_rows(strip.columns.clone(), &mut rows, &mut bad, self.observer);
            // In file order, so that the first lost byte of the strip is the one that is named.
            if let Some(first) = lost.iter().min_by_key(|lost| (lost.shard, lost.column)) {
                return Err(self.lost(block, *first));
            }
        }
        let mut bytes = 0;
        for (shard, row) in data.iter().zip(&rows) {
            if let Some(range) = strip_range(geometry, *shard, strip) {
                self.output
                    .write_at(file_offset(block, *shard, strip), &row[..to_usize(range.len())])?;
                bytes += range.len();
            }
        }
        Ok(bytes)
    }

    fn lost(&self, block: &BlockReader, lost: LostLeaf) -> RestoreError {
        let range: ByteRange = block
            .geometry()
            .leaf_range_in_file(lost.shard, lost.column)
            .expect("a data leaf is lost");
        let error = ReadError::Lost {
            name: self.file.name.clone(),
            range,
            block: block.record().index,
            bad: lost.bad,
            tolerated: block.geometry().shape().parity(),
        };
        error.into()
    }
}

fn file_offset(block: &BlockReader, shard: ShardIndex, strip: &Strip) -> u64 {
    let first = block
        .geometry()
        .leaf_range_in_file(shard, ColumnIndex::new(strip.columns.start));
    first.expect("the shard has a leaf in the strip").start()
}

/// Deals the strips of a file in order.
struct Cursor<'a> {
    shared: &'a Arc<Shared>,
    file: &'a FileRecord,
    blocks: std::slice::Iter<'a, BlockRecord>,
    current: Option<(Arc<BlockReader>, std::vec::IntoIter<Strip>)>,
    is_stopped: bool,
}

impl Cursor<'_> {
    fn next(&mut self) -> Option<(Arc<BlockReader>, Strip)> {
        loop {
            if self.is_stopped {
                return None;
            }
            if let Some((block, strips)) = &mut self.current
                && let Some(strip) = strips.next()
            {
                return Some((Arc::clone(block), strip));
            }
            let record = self.blocks.next()?.clone();
            let index: BlockIndex = record.index;
            let strip_len = strip_len_bytes(record.geometry.shape());
            let strips: Vec<Strip> = strips_of_block(index, &record.geometry, strip_len).collect();
            let block = BlockReader::new(Arc::clone(&self.shared.volumes), self.file.name.clone(), record);
            self.current = Some((Arc::new(block), strips.into_iter()));
        }
    }
}
