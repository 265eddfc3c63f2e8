//! Publishing: the one critical section that makes changes of the archive visible, for good.
//!
//! ```text
//! begin      the catalog's write transaction; what the journal is ahead by is done first          P4
//! apply      all rows                                                                              in memory still
//! prepare    room in every copy of the journal: a full disk shows here                             no trace so far
//! announce   the epoch, in a slot of the volume                                                    so that an old volume is noticed
//! append     one record, synced on every copy                                                      P2, P3: the commit point
//! commit     the catalog
//! ```
//!
//! An error before the append leaves nothing. After it the change is made, whatever becomes of this process: the next one
//! that begins finds the record and applies it (`bring_forward`), by the same function that would have applied it here.

use std::{
    collections::BTreeSet,
    sync::{Arc, atomic::Ordering},
};

use rayon::prelude::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::{
    ballast::again_with_room,
    compact::punch_too_early,
    describe::read_entries,
    later::Later,
    old_catalog,
    shared::Shared,
    volumes::{Member, announce_epoch, read_slots},
};
use crate::{
    catalog::{
        BlockRecord, CatalogReader, CatalogWriter, CheckpointStep, FileRecord, Founding, Publication,
        VolumeChange, VolumeRecord,
    },
    error::{AppendError, CatalogError, CommitError, JournalError, PublicationError, VolumeError},
    format::JournalState,
    journal::{Journal, JournalFault, JournalFinding, JournalRecord, Tail},
    merkle::ChainHash,
    seeded_bugs::{SeededBug, is_on},
    units::Epoch,
};

/// The right to publish: the write transaction, and where the journal stands.
pub(super) struct Publishing {
    pub(super) writer: CatalogWriter,
    /// The journal that was looked at.
    pub(super) copies: Arc<Journal>,
    pub(super) journal: JournalState,
    /// What is wrong with copies of the journal.
    pub(super) findings: Vec<JournalFinding>,
    /// Volume and copy of those with which anything was wrong at any look, also before records were applied.
    pub(super) faulty: BTreeSet<(u16, u8)>,
    /// How many records the catalog was brought forward by.
    pub(super) applied: u64,
    /// Whether it was an old one that somebody has put back.
    pub(super) was_old: bool,
}

/// Files and their blocks, in the order of their descriptor.
pub(super) type Entries = Vec<(FileRecord, Vec<BlockRecord>)>;

/// Begins: waits for the catalog, and applies what the journal is ahead by.
pub(super) fn begin(shared: &Shared) -> Result<Publishing, PublicationError> {
    let mut applied = 0;
    let mut was_old = false;
    let mut faulty = BTreeSet::new();
    loop {
        let mut writer = shared.catalog.write()?;
        // Nothing is published to volumes that are no part of the archive any more.
        shared.keep_up_with(&writer)?;
        let copies = shared.journal();
        let known = journal_state(&writer)?;
        let catalog = writer.epoch()?;
        if known.epoch != catalog {
            // No transaction leaves that; applying records to it could not come to an end.
            let journal = known.epoch;
            return Err(PublicationError::Gap { catalog, journal });
        }
        let tail = copies.tail(&known)?;
        // Before anything is applied: a catalog that went half of the way would look for the rest behind what is lost, also
        // when that is put back.
        let is_whole =
            expect_no_gap(&writer, &tail).and_then(|()| expect_what_was_announced(shared, &writer, &tail));
        if let Err(gap) = is_whole {
            refuse_fork(shared, &known)?;
            return Err(gap);
        }
        let places = tail.findings.iter().map(|finding| (finding.volume, finding.copy));
        faulty.extend(places);
        // With the bug a catalog that is made again is brought forward all the same: else none of them would be.
        let is_passed_over = is_on(SeededBug::JournalNotApplied) && known.epoch > Epoch::ZERO;
        if tail.ahead.is_empty() || is_passed_over {
            return Ok(Publishing {
                writer,
                copies,
                journal: tail.state,
                findings: tail.findings,
                faulty,
                applied,
                was_old,
            });
        }
        if old_catalog::is_old(shared, &tail) {
            old_catalog::prepare(shared, &mut writer, &tail)?;
            was_old = true;
        }
        applied += bring_forward(shared, (&copies, writer), &known, &tail)?;
    }
}

/// Begins what is to find everything that was published done: what the journal has is applied first, as by [`begin`] (P6).
pub(super) fn begin_settled(shared: &Shared) -> Result<CatalogWriter, PublicationError> {
    if is_on(SeededBug::ClaimWithoutJournal) {
        return Ok(shared.catalog.write()?);
    }
    Ok(begin(shared)?.writer)
}

/// Gives copies that have lost their place a new one, so that a process that runs for years does not end with the last of
/// them. Where that does not work the others serve, and it is not tried for ever: it reads the whole journal.
fn mend(shared: &Shared, copies: &Journal, state: JournalState) -> JournalState {
    if state.copies.len() == copies.copy_count() || !shared.takes_a_mend() {
        return state;
    }
    let healed = copies.scan().and_then(|scan| copies.heal(&scan, &state));
    match healed {
        Ok(healed)
            if (healed.epoch, healed.hash) == (state.epoch, state.hash)
                && healed.copies.len() > state.copies.len() =>
        {
            healed
        }
        // What else is wrong is told where it stops somebody.
        Ok(_) | Err(_) => state,
    }
}

/// Returns a publication that changes nothing yet.
pub(super) fn empty(writer: &CatalogWriter) -> Result<Publication, CatalogError> {
    Ok(Publication::of_nothing(writer.next_ids()?))
}

/// Publishes: when this returns, the changes are durable and visible.
pub(super) fn publish(
    shared: &Shared,
    publishing: Publishing,
    publication: Publication,
    entries: Entries,
) -> Result<(), CommitError> {
    publish_noting(shared, publishing, (publication, entries), |_| Ok(()))
}

/// Publishes, and does it once more when that has shown that a volume is gone which others can do without.
pub(super) fn again_without_lost_volume<T>(
    shared: &Shared,
    publish: impl Fn() -> Result<T, CommitError>,
) -> Result<T, CommitError> {
    match publish() {
        Err(CommitError::Volume { source }) if shared.has_lost_volume(&source) => publish(),
        published => published,
    }
}

/// Publishes, and in the same transaction notes what this catalog alone knows: no other one that gets the publication does.
pub(super) fn publish_noting(
    shared: &Shared,
    publishing: Publishing,
    (mut publication, entries): (Publication, Entries),
    note: impl FnOnce(&mut CatalogWriter) -> Result<(), CatalogError>,
) -> Result<(), CommitError> {
    let Publishing {
        mut writer,
        copies,
        journal,
        ..
    } = publishing;
    // Whoever sees the record before the catalog has it is to see that somebody lives who brings it there.
    shared.session()?;
    let journal = mend(shared, &copies, journal);
    publication.founding = founding(shared, &writer)?;
    publication.announced = volumes_that_hear(shared, &copies, &publication);
    let epoch = writer.apply(&publication, entries)?;
    (publication.forgotten, publication.versions) = writer.consequences();
    note(&mut writer)?;
    if is_on(SeededBug::RoomGivenBackTooEarly) && !publication.removed.is_empty() {
        punch_too_early(shared, &writer);
    }
    let body = publication.encode();
    let journal = copies.prepare(&journal, body.len())?;
    let hash = copies.next_hash(&journal, &body)?;
    announce(shared, &publication.announced, (epoch, hash))?;
    if is_on(SeededBug::RemovalWithoutRecord)
        && !publication.removed.is_empty()
        && publication.commit.is_none()
    {
        return Ok(writer.commit().map(drop)?);
    }
    let journal = match copies.append(&journal, &body) {
        Ok(journal) => journal,
        Err(AppendError::NothingWritten { source }) => return Err(source.into()),
        Err(error) => {
            shared.keep_session();
            return Err(error.into());
        }
    };
    (shared.journal_bytes).store(journal.written_bytes, Ordering::Relaxed);
    // From here on the change is made; what follows can only be late.
    if is_on(SeededBug::AcknowledgedBeforeVisible) {
        return Ok(());
    }
    let committed = writer
        .set_journal(&journal.encode())
        .and_then(|()| writer.commit().map(drop));
    let Err(cause) = committed else { return Ok(()) };
    // A new handle looks at what is on disk, and applies the record where it is missing.
    if catch_up(shared, epoch).is_err() {
        shared.keep_session();
        return Err(CommitError::NotVisibleYet { epoch, source: cause });
    }
    Ok(())
}

/// Returns what the first publication of an archive says of it.
fn founding(shared: &Shared, writer: &CatalogWriter) -> Result<Option<Founding>, CatalogError> {
    if writer.epoch()? > Epoch::ZERO {
        return Ok(None);
    }
    archive_as_it_is(shared, writer).map(Some)
}

/// Returns the archive and its volumes.
pub(super) fn archive_as_it_is(shared: &Shared, reader: &CatalogReader) -> Result<Founding, CatalogError> {
    let change = |volume: VolumeRecord| VolumeChange {
        number: volume.number,
        id: volume.id,
        state: volume.state,
        path: volume.path,
    };
    Ok(Founding {
        archive: shared.catalog.archive().clone(),
        volumes: reader.volumes()?.into_iter().map(change).collect(),
    })
}

/// Makes sure that the catalog has come to an epoch that the journal has.
fn catch_up(shared: &Shared, epoch: Epoch) -> Result<(), PublicationError> {
    // After a failed sync the system may show pages that the disk does not have.
    shared.layout.forget_cached_catalog()?;
    let publishing = again_with_room(&shared.layout, || begin(shared))?;
    let catalog = publishing.writer.epoch()?;
    if catalog >= epoch {
        Ok(())
    } else {
        let journal = epoch;
        Err(PublicationError::Gap { catalog, journal })
    }
}

/// Applies the records that the catalog lacks, a transaction for each; returns how many those were.
///
/// Whoever appended the last one may have died before its sync, and a sync of pages that somebody else has written proves
/// nothing after a failed one: so that one is written again before the catalog may name it (P3). Those before it were synced,
/// or the last would not be there. Until then the catalog keeps its old place in the journal, so that a crash on the way
/// finds the rest.
fn bring_forward(
    shared: &Shared,
    (copies, writer): (&Journal, CatalogWriter),
    known: &JournalState,
    tail: &Tail,
) -> Result<u64, PublicationError> {
    let mut applied = 0;
    let mut first = Some(writer);
    let (mut behind, mut before) = (tail.state.clone(), known.clone());
    if behind.copies.is_empty() {
        // What is ahead is written again behind it, so there has to be a place.
        let scan = copies.scan()?;
        behind.copies = copies.heal(&scan, known)?.copies;
    }
    let later = Later::new(shared, &tail.ahead);
    for (index, entry) in tail.ahead.iter().enumerate() {
        let record = copies.load(entry)?;
        let mut writer = match first.take() {
            Some(writer) => writer,
            None => shared.catalog.write()?,
        };
        if writer.epoch()?.next() != record.epoch {
            // Somebody else was faster; the next look begins where they have come to.
            return Ok(applied);
        }
        let is_last = index + 1 == tail.ahead.len();
        let publication = apply(shared, &mut writer, &record, &later)?;
        let len_bytes = record.len_bytes();
        (before.epoch, before.hash) = (record.epoch, record.hash);
        before.written_bytes += len_bytes;
        if is_last {
            old_catalog::seal_what_ends_elsewhere(shared, &mut writer)?;
        }
        if is_last && !is_on(SeededBug::RecordNotRestated) {
            announce(shared, &publication.announced, (record.epoch, record.hash))?;
            behind = copies.prepare(&behind, record.body.len())?;
            behind = copies.restate(&behind, &record)?;
            writer.set_journal(&behind.encode())?;
        } else {
            (behind.epoch, behind.hash) = (record.epoch, record.hash);
            behind.written_bytes += len_bytes;
            writer.set_journal(&before.encode())?;
        }
        writer.commit()?;
        applied += 1;
        if !publication.volumes.is_empty() {
            // The next record may name them.
            shared.look_at_volumes()?;
        }
    }
    Ok(applied)
}

/// Applies a record that the catalog lacks; `later` knows of those that follow it.
fn apply(
    shared: &Shared,
    writer: &mut CatalogWriter,
    record: &JournalRecord,
    later: &Later<'_>,
) -> Result<Publication, PublicationError> {
    let epoch = record.epoch;
    let mut publication = parse(record)?;
    // An old catalog does not know the extents in which the descriptor lies.
    let volumes = shared.volumes();
    for extent in &publication.extents {
        volumes.note(extent.id, extent.volume);
    }
    let entries = match (publication.commit, &publication.descriptor) {
        // It says what others have stored.
        (Some(_), Some(_)) if publication.checkpoint == Some(CheckpointStep::Slice) => Vec::new(),
        (Some(commit), Some(block)) => match read_entries(shared, (commit, block), epoch) {
            // Nothing of that commit is left behind the last record, and its room may have been given back.
            Err(PublicationError::DescriptorLost { .. }) if later.forgets(commit)? => {
                publication.descriptor = None;
                publication.skipped.clear();
                publication.versions.clear();
                // What it would have taken the name of keeps it until another one does.
                publication.retired.clear();
                Vec::new()
            }
            // It may have been repaired since: where it is then only the records of the repairs say.
            Err(PublicationError::DescriptorLost { .. }) => {
                let block = later.place_of(commit, block)?;
                read_entries(shared, (commit, &block), epoch)?
            }
            read => read?,
        },
        (_, None) | (None, _) => Vec::new(),
    };
    // What it says of entries that were passed over is passed over too; of any others it is a contradiction.
    let applied = if later.forgets_any()? {
        if let Some(part) = writer.known_part(&publication, &entries)? {
            publication = part;
        }
        writer.apply_behind_passed_over(&publication, entries)?
    } else {
        writer.apply(&publication, entries)?
    };
    assert_eq!(applied, epoch, "the record is the one that follows the catalog");
    Ok(publication)
}

/// Returns what a record publishes.
pub(super) fn parse(record: &JournalRecord) -> Result<Publication, PublicationError> {
    let epoch = record.epoch;
    Publication::parse(&record.body).map_err(|source| PublicationError::Record { epoch, source })
}

/// Refuses to publish beside records that are newer and do not follow: what is between them is lost.
pub(super) fn expect_no_gap(reader: &CatalogReader, tail: &Tail) -> Result<(), PublicationError> {
    let newer = tail.findings.iter().find_map(|finding| {
        if let JournalFault::Unconnected { head, .. } = &finding.fault {
            Some(head.epoch)
        } else {
            None
        }
    });
    match newer {
        Some(journal) => Err(PublicationError::Gap {
            catalog: reader.epoch()?,
            journal,
        }),
        None => Ok(()),
    }
}

/// Refuses to apply records that end before what a volume has heard of: the next one may have been announced and cut short, what
/// lies behind that was published, and is lost.
fn expect_what_was_announced(
    shared: &Shared,
    reader: &CatalogReader,
    tail: &Tail,
) -> Result<(), PublicationError> {
    let Some(last) = tail.ahead.last() else {
        return Ok(());
    };
    for member in shared.volumes().readable() {
        // Slots that cannot be read are told of where an archive is opened.
        if let Ok(Ok(slots)) = read_slots(member.volume.as_ref())
            && slots.is_ahead(last.head.epoch)
        {
            let (catalog, journal) = (reader.epoch()?, slots.newest.epoch);
            return Err(PublicationError::Gap { catalog, journal });
        }
    }
    Ok(())
}

/// Reads all of the journal and refuses one that went another way than the catalog; other things that are wrong with it are no
/// matter here.
pub(super) fn refuse_fork(shared: &Shared, state: &JournalState) -> Result<(), PublicationError> {
    match shared.journal().scan()?.check(state) {
        _ if is_on(SeededBug::ForkNotRefused) => Ok(()),
        Err(fork @ JournalError::Forked { .. }) => Err(fork.into()),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns what the catalog remembers of the journal.
pub(super) fn journal_state(reader: &CatalogReader) -> Result<JournalState, PublicationError> {
    Ok(JournalState::parse(&reader.journal()?)?)
}

/// Does the same, without those that have gone away since they were looked at.
fn volumes_that_hear(shared: &Shared, copies: &Journal, publication: &Publication) -> Vec<u16> {
    let told = volumes_to_announce_to(shared, copies, publication);
    let volumes = shared.volumes();
    let is_gone =
        |member: &Member| told.contains(&member.record.number) && read_slots(member.volume.as_ref()).is_err();
    if volumes.members().len() == 1 || !volumes.members().iter().any(is_gone) {
        return told;
    }
    match shared.look_at_volumes() {
        Ok(()) => volumes_to_announce_to(shared, copies, publication),
        // What is wrong shows when they are written to.
        Err(_) => told,
    }
}

/// Returns the volumes that are to hear of a publication before its record is written: those that it has written to, and those
/// that take the record.
fn volumes_to_announce_to(shared: &Shared, copies: &Journal, publication: &Publication) -> Vec<u16> {
    let written = publication.extents.iter().map(|extent| extent.volume);
    let numbers: BTreeSet<u16> = written.chain(copies.volumes()).collect();
    // One that was behind has caught up where it is named.
    let named: BTreeSet<u16> = publication.volumes.iter().map(|volume| volume.number).collect();
    let volumes = shared.volumes();
    let is_told = |member: &&Member| {
        let number = member.record.number;
        let has_caught_up = member.is_stale() && named.contains(&number);
        has_caught_up || (member.is_writable() && numbers.contains(&number))
    };
    let told = volumes.members().iter().filter(is_told);
    told.map(|member| member.record.number).collect()
}

/// Announces a publication to volumes, durably on return.
fn announce(shared: &Shared, numbers: &[u16], head: (Epoch, ChainHash)) -> Result<(), VolumeError> {
    if is_on(SeededBug::EpochNotAnnounced) {
        return Ok(());
    }
    let volumes = shared.volumes();
    let is_told = |member: &&Member| {
        numbers.contains(&member.record.number) && (member.is_writable() || member.is_stale())
    };
    let told: Vec<&Member> = volumes.members().iter().filter(is_told).collect();
    let announce = |member: &&Member| announce_epoch(member.volume.as_ref(), shared.archive_id(), head);
    match told.as_slice() {
        [only] => announce(only),
        // Each waits for its own disk.
        several => (shared.workers).install(|| several.par_iter().try_for_each(announce)),
    }
}
