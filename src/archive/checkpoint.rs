//! Taking a checkpoint: the catalog, stored in the archive.
//!
//! ```text
//! turn       the journal goes on in new segments                             nothing has changed
//! see        one state of the catalog, for as long as it takes                others go on
//! store      its slices, each as a commit of its own                          an error gives them up, a crash leaves them to the next
//! complete   one publication that names all of them                           from here it counts
//! read back  every slice, from the medium
//! forget     what the older checkpoint has, in the catalog, and then          nobody mends what is about to go
//!            the segments of the journal that have nothing else
//! ```
//!
//! Two checkpoints are kept, with all records behind the older one: where the newer one is lost, the older one serves. So
//! records go only when two are there, and when the newer of them was read back.
//!
//! A checkpoint that cannot be taken harms nothing: the journal gets longer.

use std::sync::atomic::Ordering;

use super::{
    Archive,
    commit::store_slice,
    describe::read_text,
    publication::{self, archive_as_it_is},
    shared::Shared,
};
use crate::{
    catalog::{
        BlockRecord, CatalogReader, Checkpoint, CheckpointStep, Checkpoints, Described, Slice, Slices,
    },
    error::CommitError,
    format::JournalState,
    units::{CommitId, Epoch, FileName, to_u64},
};

/// Length of a slice, about: large enough that few are needed, and small enough that several fit into memory.
const SLICE_LEN_BYTES: u64 = 8 << 20;

/// What taking a checkpoint has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct CheckpointReport {
    /// The last publication that it has.
    pub epoch: Epoch,
    /// How many slices it has.
    pub slices: u64,
    /// Their bytes, without parity.
    pub len_bytes: u64,
    /// Segments of the journal that nobody needs any more, and that are gone.
    pub segments_removed: u64,
}

impl Archive {
    /// Stores what the catalog says in the archive, so that a lost catalog is made again from there and from the records of the
    /// journal behind; the records before it go once the next checkpoint has been read back. Others go on meanwhile.
    ///
    /// Operations take one by themselves when it is due ([`Resources::checkpoint_bytes`](super::Resources::checkpoint_bytes)). `None` where nothing was ever
    /// published. It is durable when this returns.
    ///
    /// # Errors
    /// [`CommitError`]: [`CommitError::CheckpointOvertaken`], [`CommitError::CheckpointLost`], a full disk. The archive is as
    /// good as before then, and its journal longer.
    pub fn checkpoint(&self) -> Result<Option<CheckpointReport>, CommitError> {
        take(&self.shared)
    }
}

/// Takes a checkpoint where the journal has grown by enough since the last one, and by more than that one is long.
///
/// What goes wrong is no matter of whoever has just stored something: it is tried again when the journal has grown by as much once
/// more. Where the disk is so full that it would be filled none is taken.
pub(super) fn take_if_due(shared: &Shared) {
    // Everything that publishes notes it here; so nothing is read where nothing can be due.
    let written_bytes = shared.journal_bytes.load(Ordering::Relaxed);
    if written_bytes < shared.checkpoint_from_bytes.load(Ordering::Relaxed) {
        return;
    }
    let taken = is_due(shared).and_then(|due| {
        if due && has_room(shared)? {
            take(shared).map(drop)?;
        }
        Ok(())
    });
    if taken.is_err() {
        let next_bytes = written_bytes.saturating_add(shared.checkpoint_bytes);
        (shared.checkpoint_from_bytes).store(next_bytes, Ordering::Relaxed);
    }
}

/// Says whether every volume has room for all of a checkpoint, which is no longer than the catalog.
fn has_room(shared: &Shared) -> Result<bool, CommitError> {
    let copies = u64::from(shared.policy().parts().tiny_shape.total());
    let wanted_bytes = shared.layout.catalog_len_bytes()?.saturating_mul(copies);
    for member in shared.volumes().for_files() {
        if member.volume.free_bytes()? < wanted_bytes {
            return Ok(false);
        }
    }
    Ok(true)
}

fn is_due(shared: &Shared) -> Result<bool, CommitError> {
    let reader = shared.catalog.read()?;
    let written_bytes = publication::journal_state(&reader)?.written_bytes;
    let checkpoints = reader.checkpoints()?;
    let newest = checkpoints.newest();
    let (before, len_bytes) = newest.map_or((0, 0), |newest| (newest.journal_bytes, newest.len_bytes));
    let due_bytes = before.saturating_add(len_bytes.max(shared.checkpoint_bytes));
    (shared.checkpoint_from_bytes).store(due_bytes, Ordering::Relaxed);
    Ok(written_bytes >= due_bytes)
}

/// Takes a checkpoint; `None` where nothing was ever published.
pub(super) fn take(shared: &Shared) -> Result<Option<CheckpointReport>, CommitError> {
    if begin_segments(shared)? == Epoch::ZERO {
        return Ok(None);
    }
    let reader = shared.catalog.read()?;
    let journal = publication::journal_state(&reader)?;
    let mut checkpoint = Checkpoint {
        founding: archive_as_it_is(shared, &reader)?,
        epoch: journal.epoch,
        hash: journal.hash,
        next_ids: reader.next_ids()?,
        journal_bytes: journal.written_bytes,
        known: reader.checkpoints()?,
        slices: Vec::new(),
    };
    let mut commits = Vec::new();
    let stored = store_slices(shared, &reader, &mut commits);
    drop(reader);
    let completed = stored.and_then(|()| complete(shared, &mut checkpoint, &commits));
    if let Err(error) = completed {
        // The first error is the one to tell; slices that cannot be given up now go with the next checkpoint.
        return match give_up(shared, &error, commits) {
            Ok(()) | Err(_) => Err(error),
        };
    }
    read_back(shared, &checkpoint)?;
    let segments_removed = forget(shared)?;
    let lengths = checkpoint
        .slices
        .iter()
        .map(|(_, block)| block.geometry.data_len_bytes());
    Ok(Some(CheckpointReport {
        epoch: checkpoint.epoch,
        slices: to_u64(commits.len()),
        len_bytes: lengths.sum(),
        segments_removed,
    }))
}

/// Lets the journal go on in new segments, so that those before it go as a whole once nobody needs this checkpoint either;
/// returns how far it is.
fn begin_segments(shared: &Shared) -> Result<Epoch, CommitError> {
    // A session, so that whoever sees the segments without a record sees that somebody lives.
    shared.session()?;
    // What the journal has and the catalog has not comes first, so that the checkpoint has it.
    let mut publishing = publication::begin(shared)?;
    let epoch = publishing.journal.epoch;
    if epoch > Epoch::ZERO {
        let journal = publishing.copies.begin_segments(&publishing.journal);
        publishing.writer.set_journal(&journal.encode())?;
        publishing.writer.commit()?;
    }
    Ok(epoch)
}

/// Stores the slices of what a reader sees; `commits` are those that have stored one, also after an error.
fn store_slices(
    shared: &Shared,
    reader: &CatalogReader,
    commits: &mut Vec<CommitId>,
) -> Result<(), CommitError> {
    let name = text_name();
    let mut slices = Slices::of(reader, SLICE_LEN_BYTES);
    while let Some(slice) = slices.next_slice()? {
        let bytes = slice.encode();
        drop(slice);
        commits.push(store_slice(shared, &name, &bytes)?);
    }
    Ok(())
}

/// Lets go of slices whose checkpoint has come to nothing: on a full disk each attempt would else leave some.
fn give_up(shared: &Shared, error: &CommitError, mut commits: Vec<CommitId>) -> Result<(), CommitError> {
    if error.may_be_published() {
        return Ok(());
    }
    let publishing = publication::begin(shared)?;
    let pending = publishing.writer.checkpoints()?.pending;
    commits.retain(|commit| pending.contains(commit));
    if commits.is_empty() {
        return Ok(());
    }
    let mut publication = publication::empty(&publishing.writer)?;
    publication.checkpoint = Some(CheckpointStep::GiveUp(commits));
    publication::publish(shared, publishing, publication, Vec::new())
}

/// Returns what messages call the bytes of a checkpoint; no file is meant.
fn text_name() -> FileName {
    "checkpoint of the catalog"
        .parse()
        .expect("a plain text is a name")
}

/// Publishes that the slices are a checkpoint.
fn complete(shared: &Shared, checkpoint: &mut Checkpoint, commits: &[CommitId]) -> Result<(), CommitError> {
    let publishing = publication::begin(shared)?;
    let writer = &publishing.writer;
    checkpoint.slices = (commits.iter())
        .map(|&commit| Ok((commit, slice_of(writer, commit)?)))
        .collect::<Result<_, CommitError>>()?;
    let mut publication = publication::empty(writer)?;
    publication.checkpoint = Some(CheckpointStep::Complete(Box::new(checkpoint.clone())));
    publication::publish(shared, publishing, publication, Vec::new())
}

/// Returns where a slice lies now. Somebody else may have completed a checkpoint meanwhile, and dropped it.
fn slice_of(reader: &CatalogReader, commit: CommitId) -> Result<BlockRecord, CommitError> {
    match reader.descriptor(commit)? {
        Some(found) if found.described == Described::Slice => Ok(found.block),
        Some(_) | None => Err(CommitError::CheckpointOvertaken),
    }
}

/// Reads every slice from the medium.
fn read_back(shared: &Shared, checkpoint: &Checkpoint) -> Result<(), CommitError> {
    for (commit, _) in &checkpoint.slices {
        // It may lie elsewhere by now.
        let block = slice_of(&shared.catalog.read()?, *commit)?;
        let volumes = shared.volumes();
        volumes.forget_cached(block.shards.iter().flatten());
        let bytes = read_text(volumes, (*commit, &block));
        let is_slice = bytes.is_some_and(|bytes| Slice::parse(&bytes).is_ok());
        if !is_slice {
            return Err(CommitError::CheckpointLost { commit: *commit });
        }
    }
    Ok(())
}

/// Lets go of the records that the older checkpoint has, once there are two.
fn forget(shared: &Shared) -> Result<u64, CommitError> {
    let mut publishing = publication::begin(shared)?;
    let Checkpoints { generations, .. } = publishing.writer.checkpoints()?;
    let [older, _newer] = generations.as_slice() else {
        return Ok(0);
    };
    let journal = JournalState {
        forgotten: older.epoch,
        ..publishing.journal
    };
    publishing.writer.set_journal(&journal.encode())?;
    // Before anything is removed: a copy that has lost what others still have would be mended.
    publishing.writer.commit()?;
    let scan = publishing.copies.scan_behind(journal.forgotten)?;
    Ok(publishing.copies.remove_forgotten(&scan, &journal))
}
