//! Storing: each file wholly there, or not at all.
//!
//! ```text
//! prepare    look at sources, read small ones                      many at once
//! decide     compare with what has the name
//! reserve    T0: ids and room, owned from now on                    reservation, room
//! write      frames into what is owned                              batch and run, or columns, or stream
//! publish    sync, then one transaction                             publish
//! ```
//!
//! Small files go through a batch, thousands at a time; a large one has its own room, sync and transaction.

mod batch;
mod block;
mod columns;
mod deal;
mod decide;
mod describe;
#[cfg(test)]
mod failing_catalog;
mod frame;
mod giving_way;
mod input;
mod large;
mod leg_plan;
mod legs;
mod many;
mod outer;
mod prepare;
mod progress;
mod publish;
mod reservation;
mod resumable;
mod resume;
mod room;
mod run;
mod shards;
mod slice;
mod sliced_parity;
mod stream;
mod stream_in;
mod strip;
mod writing;

use std::path::Path;

pub(super) use block::{leaf_kind, strip_range};
pub(super) use frame::{BlockIdentity, FrameSink, FrameTarget};
pub(super) use legs::Filled;
pub(super) use many::commit_all;
pub use many::{CommitAllOptions, NameConflict, Source};
pub(super) use publish::is_lost_extent;
pub(super) use resumable::{open_source, resume};
pub(super) use room::{RoomNeed, RoomWanted, check_room, extent_limit, lane_positions, unused_extent_id};
pub(super) use slice::store_slice;
pub(super) use stream_in::{commit_reader, commit_stream};

use self::{
    batch::{Batch, Entry},
    decide::{Decision, decide},
    large::commit_large,
    prepare::Preparation,
};
use super::{Observer, shared::Shared};
use crate::{
    catalog::{EntryKind, FileRecord},
    error::{CommitError, FileKind},
    geometry::{Tier, Tolerance},
    host::Place,
    merkle::RootHash,
    units::{FileId, FileName},
};

/// What a commit of one source came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum CommitOutcome {
    /// It was stored under a name that was free.
    Committed(CommitReceipt),
    /// It took the place of what had the name; where only permissions or the time were new, only those.
    Replaced(CommitReceipt),
    /// The same content is stored under that name already, or was until somebody changed it this moment; nothing was written.
    Unchanged(CommitReceipt),
}

/// What is stored, durably, when a commit returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitReceipt {
    /// The name.
    pub name: FileName,
    /// The version that was stored.
    pub file: FileId,
    /// What it is.
    pub kind: EntryKind,
    /// Length in bytes.
    pub len_bytes: u64,
    /// How it is protected.
    pub tier: Tier,
    /// BLAKE3 of the content, what `b3sum` prints.
    pub root: RootHash,
    /// Bytes that its frames take on the volumes, parity, hashes and padding included.
    pub stored_bytes: u64,
    /// What may be lost of it without a byte being lost; `None` for what has no bytes, and for what was stored before.
    pub tolerance: Option<Tolerance>,
}

impl CommitOutcome {
    /// Returns what is stored now.
    pub const fn receipt(&self) -> &CommitReceipt {
        match self {
            Self::Committed(receipt) | Self::Replaced(receipt) | Self::Unchanged(receipt) => receipt,
        }
    }
}

impl CommitOutcome {
    /// Says what may be lost of what was stored just now.
    fn with_tolerance(mut self, tolerance: Option<Tolerance>) -> Self {
        match &mut self {
            Self::Committed(receipt) | Self::Replaced(receipt) => receipt.tolerance = tolerance,
            Self::Unchanged(_) => {}
        }
        self
    }
}

impl CommitReceipt {
    fn of(record: &FileRecord) -> Self {
        Self {
            name: record.name.clone(),
            file: record.id,
            kind: record.kind.clone(),
            len_bytes: record.geometry.len_bytes(),
            tier: record.geometry.tier(),
            root: record.root,
            stored_bytes: record.stored_bytes,
            tolerance: None,
        }
    }
}

/// Stores what is at a path of the host.
pub(super) fn commit_path(
    shared: &Shared,
    name: &FileName,
    path: &Path,
    observer: &dyn Observer,
) -> Result<CommitOutcome, CommitError> {
    let source = Source {
        name: name.clone(),
        place: Place::of_path(path),
    };
    let own = shared.own_directories()?;
    let mut prepared = Preparation::new(shared, &own, usize::MAX).prepare_run(std::slice::from_ref(&source));
    let prepared = prepared.pop().expect("one source has one result")?;
    let stored = find_file(shared, name)?;
    let conflict = NameConflict::Refuse;
    match decide(prepared, stored.as_ref(), conflict)? {
        Decision::Unchanged(receipt) => Ok(CommitOutcome::Unchanged(receipt)),
        Decision::Alone => commit_large(shared, &source, conflict, observer),
        Decision::Batch(what) => {
            let mut batch = Batch::default();
            batch.push(Entry { source, what });
            batch.store_only(shared, conflict, observer)
        }
    }
}

/// Returns what is stored under a name.
fn find_file(shared: &Shared, name: &FileName) -> Result<Option<FileRecord>, CommitError> {
    Ok(shared.catalog.read()?.find_files(&[name])?.pop().flatten())
}

/// Makes the error of a name that is taken by something else.
fn name_taken(stored: &FileRecord, source_kind: &EntryKind, source_len_bytes: u64) -> CommitError {
    let name = stored.name.clone();
    match (host_kind(&stored.kind), host_kind(source_kind)) {
        (FileKind::Regular, FileKind::Regular) => CommitError::NameTaken {
            name,
            stored_len_bytes: stored.geometry.len_bytes(),
            source_len_bytes,
        },
        (FileKind::SymbolicLink, FileKind::SymbolicLink) => CommitError::LinkTaken { name },
        (stored, source_kind) => CommitError::KindTaken {
            name,
            stored,
            source_kind,
        },
    }
}

pub(super) const fn host_kind(kind: &EntryKind) -> FileKind {
    match kind {
        EntryKind::File => FileKind::Regular,
        EntryKind::Directory => FileKind::Directory,
        EntryKind::SymbolicLink { .. } => FileKind::SymbolicLink,
    }
}
