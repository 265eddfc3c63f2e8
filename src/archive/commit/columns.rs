//! The pipeline in column order, for files: strips of all shards at once, by several workers.
//!
//! Each worker takes the next strip, reads its slice of every segment, hashes the leaves, encodes the columns and hands
//! the slices to the extents, while the bytes are in cache.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    block::{BlockInFlight, WrittenBlock},
    deal::BlockDealer,
    progress::ProgressLog,
    reservation::Reservation,
    strip::{StripBench, data_range},
};
use crate::{
    archive::{
        observer::{Event, Observer},
        shared::{Shared, strip_count, strip_len_bytes},
        team::Member,
    },
    catalog::BlockRecord,
    codec::ColumnEncoder,
    error::CommitError,
    geometry::{BlockGeometry, FileGeometry},
    host::SourceFile,
    merkle::{FolderState, RootFolder, RootHash},
    plan::{Strip, strips_of_block},
    units::{BlockIndex, ShardIndex, to_u64},
};

/// What of a file is stored already when a leg begins.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) blocks: Vec<BlockRecord>,
    pub(super) folder: RootFolder,
}

impl Done {
    /// Nothing is.
    pub(super) fn nothing(geometry: &FileGeometry) -> Self {
        Self {
            blocks: Vec::new(),
            folder: RootFolder::new(geometry.leaf()),
        }
    }
}

/// All blocks of a file, written but not synced.
#[derive(Debug)]
pub(super) struct WrittenFile {
    pub(super) blocks: Vec<BlockRecord>,
    pub(super) root: RootHash,
}

/// Writes every block of the file that is not done yet. With a `log`, notes how far it has come, also when it is cancelled.
pub(super) fn write_file(
    shared: &Shared,
    (reservation, done): (&Reservation, Done),
    file: &SourceFile,
    log: Option<&ProgressLog<'_>>,
    observer: &dyn Observer,
) -> Result<WrittenFile, CommitError> {
    let geometry = reservation.files()[0].record.geometry;
    let pipeline = Pipeline {
        shared,
        file,
        log,
        observer,
        geometry,
        cursor: Mutex::new(Cursor::new(reservation)),
        completed: Mutex::new(Completed::after(&geometry, done)),
    };
    let results = shared.work_together(strip_count(&geometry), |member| pipeline.work(member));
    // The first error that a worker met is the cause; the others stopped because of it.
    let written = results.into_iter().collect::<Result<(), CommitError>>();
    if let (Err(CommitError::Cancelled), Some(log)) = (&written, log) {
        log.note_now(&pipeline.completed)?;
    }
    written?;
    let completed = pipeline
        .completed
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    Ok(completed.finish())
}

struct Pipeline<'a> {
    shared: &'a Shared,
    file: &'a SourceFile,
    log: Option<&'a ProgressLog<'a>>,
    observer: &'a dyn Observer,
    geometry: FileGeometry,
    cursor: Mutex<Cursor<'a>>,
    completed: Mutex<Completed>,
}

impl<'a> Pipeline<'a> {
    /// Works strip after strip until none is left or one has failed, here or elsewhere.
    fn work(&self, member: &Member<'_>) -> Result<(), CommitError> {
        let mut stop = StopsOthers {
            cursor: &self.cursor,
            is_due: true,
        };
        let result = self.work_until_stopped(member);
        stop.is_due = result.is_err();
        result
    }

    fn work_until_stopped(&self, member: &Member<'_>) -> Result<(), CommitError> {
        let mut bench = StripBench::new(&self.geometry);
        loop {
            if self.observer.is_cancelled() {
                return Err(CommitError::Cancelled);
            }
            let Some(mut buffer) = member.buffer(bench.buffer_len())? else {
                return Ok(());
            };
            let Some((block, strip)) = self.claim() else {
                return Ok(());
            };
            bench.write(&mut buffer, &block, &strip, self.file)?;
            // Others may need it while the observer takes its time.
            drop(buffer);
            self.finish_strip(&block, &strip, bench.encoder())?;
        }
    }

    /// Takes the next strip.
    fn claim(&self) -> Option<(Arc<BlockInFlight>, Strip)> {
        self.cursor().next()
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
            if let Some(log) = self.log {
                log.note_when_due(&self.completed)?;
            }
        }
        self.observer.event(Event::Progress { bytes });
        Ok(())
    }

    fn cursor(&self) -> MutexGuard<'_, Cursor<'a>> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Stops the other workers when one is done for, also by a panic of the observer: none writes 100 GB for nobody.
struct StopsOthers<'a, 'b> {
    cursor: &'b Mutex<Cursor<'a>>,
    is_due: bool,
}

impl Drop for StopsOthers<'_, '_> {
    fn drop(&mut self) {
        if self.is_due {
            self.cursor
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_stopped = true;
        }
    }
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
            dealer: BlockDealer::new(reservation),
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
            let (block, strips) = self.dealer.next_block(strips)?;
            self.block = Some((Arc::new(block), strips.into_iter()));
        }
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
    pub(super) fn after(geometry: &FileGeometry, done: Done) -> Self {
        Self {
            geometry: *geometry,
            folder: done.folder,
            blocks: done.blocks,
            early: BTreeMap::new(),
        }
    }

    /// Returns how many blocks are complete, without a gap.
    pub(super) fn count(&self) -> u64 {
        to_u64(self.blocks.len())
    }

    /// Returns where the folding of their leaves stands.
    pub(super) fn folder_state(&self) -> FolderState {
        self.folder.state()
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
