//! A file on its way, in whichever order its parts are written: what its workers share, what of it is complete, how it ends.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use super::{
    block::{BlockInFlight, WrittenBlock},
    columns::write_by_columns,
    outer::{Going, OuterSums},
    progress::ProgressLog,
    reservation::Reservation,
    shards::write_by_shards,
};
use crate::{
    archive::{observer::Observer, order::Order, shared::Shared},
    catalog::BlockRecord,
    codec::ColumnEncoder,
    error::CommitError,
    geometry::FileGeometry,
    host::SourceFile,
    merkle::{FolderState, RootFolder, RootHash},
    units::{BlockIndex, to_u64},
};

/// What of a file is stored already when a leg begins.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) blocks: Vec<BlockRecord>,
    pub(super) folder: RootFolder,
    /// What the blocks of the open group have added to its outer parity, where some are stored; `None` where none are.
    pub(super) outer: Option<OuterSums>,
}

impl Done {
    /// Nothing is.
    pub(super) fn nothing(geometry: &FileGeometry) -> Self {
        Self {
            blocks: Vec::new(),
            folder: RootFolder::new(geometry.leaf()),
            outer: None,
        }
    }
}

/// All blocks of a file, written but not synced.
#[derive(Debug)]
pub(super) struct WrittenFile {
    pub(super) blocks: Vec<BlockRecord>,
    pub(super) root: RootHash,
}

/// What the workers of a file share.
pub(super) struct Writing<'a> {
    pub(super) shared: &'a Shared,
    pub(super) file: &'a SourceFile,
    pub(super) outer: Option<OuterSums>,
    pub(super) observer: &'a dyn Observer,
    pub(super) geometry: FileGeometry,
    log: Option<&'a ProgressLog<'a>>,
    completed: Mutex<Completed>,
}

/// Writes every block of the file that is not done yet. With a `log`, notes how far it has come, also when it is cancelled.
pub(super) fn write_file(
    shared: &Shared,
    (reservation, mut done): (&Reservation, Done),
    file: &SourceFile,
    log: Option<&ProgressLog<'_>>,
    observer: &dyn Observer,
) -> Result<WrittenFile, CommitError> {
    let geometry = reservation.files()[0].record.geometry;
    let outer = match done.outer.take() {
        Some(outer) => Some(outer),
        None => OuterSums::new(&geometry, reservation.leg.first_block)?,
    };
    let writing = Writing {
        shared,
        file,
        outer,
        observer,
        geometry,
        log,
        completed: Mutex::new(Completed::after(&geometry, done)),
    };
    let results = match shared.order_of_commit(file.medium()) {
        Order::Columns => write_by_columns(&writing, reservation),
        Order::Shards => write_by_shards(&writing, reservation),
    };
    // The first error that a worker met is the cause; the others stopped because of it.
    let written = results.into_iter().collect::<Result<(), CommitError>>();
    if let (Err(CommitError::Cancelled), Some(log)) = (&written, log) {
        log.note_now(&writing.completed)?;
    }
    written?;
    let completed = writing.completed.into_inner();
    Ok(completed.unwrap_or_else(PoisonError::into_inner).finish())
}

impl Writing<'_> {
    /// Completes a block whose payloads are written, and passes its leaf tables on to outer parity.
    pub(super) fn complete(
        &self,
        block: &BlockInFlight,
        encoder: &mut ColumnEncoder,
    ) -> Result<Going, CommitError> {
        let written = block.complete(self.shared, encoder)?;
        if let Some(outer) = &self.outer
            && !block.geometry.is_outer_parity()
            && outer.add_tables(block.identity.index, &written.leaves) == Going::Stopped
        {
            return Ok(Going::Stopped);
        }
        let mut completed = self.completed.lock().unwrap_or_else(PoisonError::into_inner);
        completed.add(written);
        drop(completed);
        if let Some(log) = self.log {
            log.note_when_due(&self.completed)?;
        }
        Ok(Going::On)
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
