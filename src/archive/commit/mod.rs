//! Storing one file: wholly there, or not at all.

mod block;
mod columns;
mod input;
mod many;
mod reservation;
mod stream;
mod strip;

use std::{io::Read, path::Path};

pub use many::{CommitAllOptions, NameConflict, Source};
pub(super) use many::{commit_all, commit_reader};

pub(super) use block::{leaf_kind, strip_range};

use self::{
    columns::WrittenFile,
    input::{Input, StreamInput},
    reservation::Reservation,
};
use super::{CommitOptions, Event, Observer, shared::Shared};
use crate::{
    catalog::{EntryKind, FileRecord},
    error::{CatalogError, CommitError},
    geometry::{FileGeometry, Tier},
    host::{SourceFile, path_is_inside},
    merkle::{DataLeaves, RootFolder, RootHash, hash_data_leaf},
    units::{FileId, FileName, LeafLen, to_u64, to_usize},
};

/// What a commit of a file came to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum CommitOutcome {
    /// The file was stored.
    Committed(CommitReceipt),
    /// The same content is stored under that name already; nothing was written.
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
    /// Bytes that it takes on the volumes, parity, hashes and padding included.
    pub stored_bytes: u64,
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
        }
    }
}

/// Stores a file of the host under a name.
pub(super) fn commit_file(
    shared: &Shared,
    name: &FileName,
    path: &Path,
    observer: &dyn Observer,
) -> Result<CommitOutcome, CommitError> {
    let source = open_source(shared, path)?;
    let identity = source.identity();
    if let Some(stored) = shared.catalog.read()?.file_by_name(name)? {
        return compare(shared, &source, &stored, observer);
    }
    let options = CommitOptions {
        mode: identity.mode,
        modified_at: Some(identity.mtime),
    };
    let check = || {
        source
            .check_unchanged()
            .map_err(|source| CommitError::Source { source })
    };
    let input = Input::File(&source);
    store(
        shared,
        (name, identity.len_bytes, &options),
        &input,
        &check,
        observer,
    )
    .map(CommitOutcome::Committed)
}

/// Stores a stream of known length under a name.
pub(super) fn commit_stream(
    shared: &Shared,
    name: &FileName,
    (reader, len_bytes): (&mut (dyn Read + Send), u64),
    options: &CommitOptions,
    observer: &dyn Observer,
) -> Result<CommitReceipt, CommitError> {
    if let Some(stored) = shared.catalog.read()?.file_by_name(name)? {
        return Err(name_taken(&stored, len_bytes));
    }
    let input = Input::Stream(StreamInput::new(name.clone(), len_bytes, reader));
    let check = || match &input {
        Input::Stream(stream) => stream.check_end(),
        Input::File(_) => Ok(()),
    };
    store(shared, (name, len_bytes, options), &input, &check, observer)
}

/// Opens a source and makes sure that it is not the archive itself.
pub(super) fn open_source(shared: &Shared, path: &Path) -> Result<SourceFile, CommitError> {
    let source = SourceFile::open(path).map_err(|source| CommitError::Source { source })?;
    if path_is_inside(path, shared.layout.root())? {
        return Err(CommitError::SourceInsideArchive {
            path: path.to_path_buf(),
        });
    }
    Ok(source)
}

/// Writes, syncs and publishes; on any failure gives everything back.
fn store(
    shared: &Shared,
    (name, len_bytes, options): (&FileName, u64, &CommitOptions),
    input: &Input<'_>,
    check_source: &dyn Fn() -> Result<(), CommitError>,
    observer: &dyn Observer,
) -> Result<CommitReceipt, CommitError> {
    reservation::check_len(shared, name, len_bytes)?;
    let geometry = FileGeometry::new(len_bytes, shared.policy());
    let reservation = Reservation::take(shared, name, geometry)?;
    let stored = (|| {
        let written = write(shared, &reservation, input, observer)?;
        check_source()?;
        // I1: every byte is durable before the catalog names any of them.
        reservation.sync(shared)?;
        let now = shared.now();
        let record = FileRecord {
            kind: EntryKind::File,
            id: reservation.file(),
            name: name.clone(),
            mode: options.mode,
            modified_at: options.modified_at.unwrap_or(now),
            committed_at: now,
            version: 1,
            commit: reservation.commit(),
            geometry,
            root: written.root,
            stored_bytes: reservation.stored_bytes(),
        };
        reservation.publish(shared, &record, written.blocks)?;
        Ok(record)
    })();
    match stored {
        Ok(record) => Ok(CommitReceipt::of(&record)),
        Err(error) => settle_failure(shared, reservation, name, error),
    }
}

/// Gives the room back after a failure, unless the publication may have happened after all.
fn settle_failure(
    shared: &Shared,
    reservation: Reservation,
    name: &FileName,
    error: CommitError,
) -> Result<CommitReceipt, CommitError> {
    if let CommitError::Catalog {
        source: CatalogError::CommitOutcomeUnknown { .. },
    } = &error
    {
        // Only the catalog itself can tell. Where it cannot be read either, nothing is given back: the next writing
        // open finds the extents owned by a dead session, or finds the file.
        let found = shared.catalog.read().and_then(|reader| reader.file_by_name(name));
        return match found {
            Ok(Some(record)) if record.id == reservation.file() => Ok(CommitReceipt::of(&record)),
            Ok(_) | Err(_) => Err(error),
        };
    }
    // What cannot be given back stays owned by this session, and the next writing open after its end takes it back.
    match reservation.give_back(shared) {
        Ok(()) | Err(_) => Err(error),
    }
}

fn write(
    shared: &Shared,
    reservation: &Reservation,
    input: &Input<'_>,
    observer: &dyn Observer,
) -> Result<WrittenFile, CommitError> {
    match input {
        Input::Stream(stream) => stream::write_stream(shared, reservation, stream, observer),
        Input::File(file) => columns::write_file(shared, reservation, file, observer),
    }
}

/// A name that is taken: the same content is nothing to do, other content is refused.
fn compare(
    shared: &Shared,
    source: &SourceFile,
    stored: &FileRecord,
    observer: &dyn Observer,
) -> Result<CommitOutcome, CommitError> {
    let len_bytes = source.identity().len_bytes;
    if stored.geometry.len_bytes() != len_bytes || hash_source(shared, source, observer)? != stored.root {
        return Err(name_taken(stored, len_bytes));
    }
    Ok(CommitOutcome::Unchanged(CommitReceipt::of(stored)))
}

/// Returns the root of a source without storing it.
fn hash_source(
    shared: &Shared,
    source: &SourceFile,
    observer: &dyn Observer,
) -> Result<RootHash, CommitError> {
    use rayon::prelude::{IndexedParallelIterator as _, ParallelIterator as _, ParallelSlice as _};
    let leaf = LeafLen::DEFAULT;
    let len_bytes = source.identity().len_bytes;
    let kind = DataLeaves::of_file(len_bytes, leaf);
    let mut folder = RootFolder::new(leaf);
    let mut buffer = shared.staging_buffer()?;
    let mut offset = 0;
    while offset < len_bytes {
        let len = to_u64(buffer.len()).min(len_bytes - offset);
        let bytes = &mut buffer[..to_usize(len)];
        source
            .read_at(offset, bytes)
            .map_err(|source| CommitError::Source { source })?;
        let hashes: Vec<_> = shared.workers.install(|| {
            let leaves = bytes.par_chunks(to_usize(leaf.bytes())).enumerate();
            let hash = |(index, bytes)| hash_data_leaf(kind, offset + to_u64(index) * leaf.bytes(), bytes);
            leaves.map(hash).collect()
        });
        for hash in hashes {
            folder.push(hash);
        }
        offset += len;
        observer.event(Event::Progress { bytes: len });
    }
    source
        .check_unchanged()
        .map_err(|source| CommitError::Source { source })?;
    Ok(folder.finish())
}

fn name_taken(stored: &FileRecord, source_len_bytes: u64) -> CommitError {
    CommitError::NameTaken {
        name: stored.name.clone(),
        stored_len_bytes: stored.geometry.len_bytes(),
        source_len_bytes,
    }
}
