//! Storing one large file with its own room, sync and transaction.

use super::{
    CommitOutcome, CommitReceipt, NameConflict, Source,
    batch::{Metadata, What},
    decide::{Content, Verdict},
    find_file, name_taken,
    prepare::of_source,
    publish::{Action, Change, Published, publish, store, store_again},
    reservation::{Draft, Reservation, Resumable},
    resumable::{resumable_source, store_resumably},
    room::check_len,
    writing::{Done, WrittenFile, write_file},
};
use crate::{
    archive::{
        observer::{Event, Observer},
        shared::{STAGING_LEN_BYTES, Shared},
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
    match resumable_source(shared, file) {
        Some(source) => store_resumably(shared, &subject, (file, source), observer),
        // What can be read again is written again when an extent fails.
        None => only(store_again(shared, || {
            let reservation = reserve(shared, &subject, None)?;
            store(shared, reservation, conflict, |reservation| {
                let done = Done::nothing(&reservation.files()[0].record.geometry);
                let written = write_file(shared, (reservation, done), file, None, observer)?;
                file.check_unchanged().map_err(of_source)?;
                Ok(changes(reservation, written))
            })
        })?),
    }
}

/// Writes, syncs and publishes one stream, which passes only once; on any failure gives everything back.
pub(super) fn store_alone(
    shared: &Shared,
    subject: &Subject<'_>,
    write: impl FnOnce(&Reservation) -> Result<WrittenFile, CommitError>,
) -> Result<CommitOutcome, CommitError> {
    let reservation = reserve(shared, subject, None)?;
    only(store(shared, reservation, subject.conflict, |reservation| {
        Ok(changes(reservation, write(reservation)?))
    })?)
}

/// Takes room for one file.
pub(super) fn reserve(
    shared: &Shared,
    subject: &Subject<'_>,
    resumable: Option<&Resumable>,
) -> Result<Reservation, CommitError> {
    check_len(shared, subject.name, subject.len_bytes)?;
    let draft = Draft {
        name: subject.name.clone(),
        kind: EntryKind::File,
        metadata: subject.metadata,
        geometry: FileGeometry::new(subject.len_bytes, shared.policy()),
    };
    Reservation::take(shared, &[draft], resumable)
}

/// Returns what to publish of the only file of a reservation.
pub(super) fn changes(reservation: &Reservation, written: WrittenFile) -> Vec<Change> {
    let shards = written
        .blocks
        .iter()
        .flat_map(|block| block.shards.iter().flatten());
    let mut record = reservation.files()[0].record.clone();
    record.root = written.root;
    record.stored_bytes = shards.map(|shard| shard.frame_len_bytes).sum();
    vec![Change {
        record,
        blocks: written.blocks,
        action: Action::Store,
    }]
}

/// Returns the outcome of a commit of one source.
pub(super) fn only(mut outcomes: Vec<Published>) -> Published {
    outcomes.pop().expect("one source has one outcome")
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
    let mut buffer = shared.staging_buffer(to_usize(STAGING_LEN_BYTES))?;
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
