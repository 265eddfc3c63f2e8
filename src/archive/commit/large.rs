//! Storing one large file with its own room, sync and transaction.

use super::{
    CommitOutcome, CommitReceipt, NameConflict, Source,
    batch::{Metadata, What},
    columns::{WrittenFile, write_file},
    decide::{Content, Verdict},
    find_file, name_taken,
    prepare::of_source,
    publish::{Action, Change, publish, store},
    reservation::{Contents, Reservation},
    room::check_len,
};
use crate::{
    archive::{
        observer::{Event, Observer},
        shared::Shared,
    },
    catalog::{EntryKind, FileRecord},
    error::CommitError,
    geometry::FileGeometry,
    host::SourceFile,
    merkle::{DataLeaves, RootFolder, RootHash, hash_data_leaf},
    units::{FileName, LeafLen, to_u64, to_usize},
};

/// A file of known length that is about to be stored.
pub(super) struct Subject<'a> {
    pub(super) name: &'a FileName,
    pub(super) len_bytes: u64,
    pub(super) metadata: Metadata,
    pub(super) conflict: NameConflict,
}

/// Stores the file at a place.
pub(super) fn commit_large(
    shared: &Shared,
    source: &Source,
    conflict: NameConflict,
    observer: &dyn Observer,
) -> Result<CommitOutcome, CommitError> {
    let file = SourceFile::open_at(&source.place).map_err(of_source)?;
    let metadata = Metadata::of(&file.identity());
    commit_opened(shared, (&source.name, metadata), &file, conflict, observer)
}

/// Stores an opened file, unless the same content is stored under its name.
pub(super) fn commit_opened(
    shared: &Shared,
    (name, metadata): (&FileName, Metadata),
    file: &SourceFile,
    conflict: NameConflict,
    observer: &dyn Observer,
) -> Result<CommitOutcome, CommitError> {
    let len_bytes = file.identity().len_bytes;
    if let Some(stored) = find_file(shared, name)? {
        let found = Content::compare(&stored, &EntryKind::File, len_bytes, || {
            Ok(hash_source(shared, file, observer)? == stored.root)
        })?;
        match Verdict::of(&stored, metadata, found, conflict) {
            Verdict::Unchanged => return Ok(CommitOutcome::Unchanged(CommitReceipt::of(&stored))),
            Verdict::Refuse => return Err(name_taken(&stored, &EntryKind::File, len_bytes)),
            Verdict::Touch => return touch(shared, What::touched(&stored, metadata), conflict),
            Verdict::Store => {}
        }
    }
    let subject = Subject {
        name,
        len_bytes,
        metadata,
        conflict,
    };
    store_alone(shared, &subject, |reservation| {
        let written = write_file(shared, reservation, file, observer)?;
        file.check_unchanged().map_err(of_source)?;
        Ok(written)
    })
}

/// Writes, syncs and publishes one file; on any failure gives everything back.
pub(super) fn store_alone(
    shared: &Shared,
    subject: &Subject<'_>,
    write: impl FnOnce(&Reservation) -> Result<WrittenFile, CommitError>,
) -> Result<CommitOutcome, CommitError> {
    let Subject {
        name,
        len_bytes,
        metadata,
        conflict,
    } = *subject;
    check_len(shared, name, len_bytes)?;
    let geometry = FileGeometry::new(len_bytes, shared.policy());
    let contents = Contents {
        name,
        geometries: &[geometry],
        text_len_bytes: to_u64(name.as_bytes().len()),
    };
    let reservation = Reservation::take(shared, contents)?;
    let mut published = store(shared, reservation, conflict, |reservation| {
        let written = write(reservation)?;
        let record = FileRecord {
            kind: EntryKind::File,
            id: reservation.files()[0].id,
            name: name.clone(),
            mode: metadata.mode,
            modified_at: metadata.modified_at,
            committed_at: shared.now(),
            version: 1,
            commit: reservation.commit(),
            geometry,
            root: written.root,
            stored_bytes: reservation.stored_bytes(),
        };
        Ok(vec![Change {
            record,
            blocks: written.blocks,
            action: Action::Store,
        }])
    })?;
    published.pop().expect("one change has one outcome")
}

/// Brings permissions and time of what is stored up to date.
pub(super) fn touch(
    shared: &Shared,
    record: FileRecord,
    conflict: NameConflict,
) -> Result<CommitOutcome, CommitError> {
    let change = Change {
        record,
        blocks: Vec::new(),
        action: Action::Touch,
    };
    let mut published = publish(shared, None, vec![change], conflict)?;
    published.outcomes.pop().expect("one change has one outcome")
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
        if observer.is_cancelled() {
            return Err(CommitError::Cancelled);
        }
        let len = to_u64(buffer.len()).min(len_bytes - offset);
        let bytes = &mut buffer[..to_usize(len)];
        source.read_at(offset, bytes).map_err(of_source)?;
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
    source.check_unchanged().map_err(of_source)?;
    Ok(folder.finish())
}
