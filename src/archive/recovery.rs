//! Settling what writers that died have left behind: the journal first, then the intents.

use std::collections::BTreeSet;

use super::{
    ballast::{again_with_room, with_room},
    intents::{Afterwards, release, retry_release, roll_back},
    old_catalog::{count_unknown_extents, has_no_session},
    publication::{self, Publishing},
    shared::Shared,
    volumes::{SlotState, read_slots},
};
use crate::{
    catalog::{CatalogReader, CatalogWriter, ExtentRecord, ExtentState, IntentRecord, TransactionSize},
    error::{ChainHead, CommitError, HostError, JournalError, OpenError, PublicationError},
    format::JournalState,
    host::{ArchiveLayout, DeadSession, SessionLife, SessionState, glance_at_sessions, sessions},
    journal::Head,
    seeded_bugs::{SeededBug, is_on},
    units::{Epoch, SessionId, VolumeId, to_u64},
};

/// What opening an archive for writing has settled.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct RecoveryReport {
    /// Writers that had died.
    pub dead_sessions: u64,
    /// Extents that were taken back from them; their committed files are untouched.
    pub extents_released: u64,
    /// Commits that cannot go on and were undone.
    pub commits_rolled_back: u64,
    /// Commits that wait for somebody to resume them, give them back, or commit their name again.
    pub commits_waiting: u64,
    /// Publications that the journal had and the catalog had not; they are in it now.
    pub records_rolled_forward: u64,
    /// What was wrong with copies of the journal; they were made whole from the others.
    pub journal_findings: u64,
    /// All copies of the journal were faulty, and a volume has heard of a publication behind the last one that they have,
    /// although no writer has died: if it was made, it is lost, and this is its epoch.
    pub lost_epoch: Option<Epoch>,
    /// Extents on the volumes that the catalog does not know, looked for when it was an old one: what was reserved since, and
    /// never published. They are left alone.
    pub unknown_extents: u64,
    /// The catalog is older than the journal: an old copy was put back, and newer files are not in it. Only opening for
    /// reading gets this far; opening for writing brings it forward.
    pub is_catalog_old: bool,
    /// The journal and the catalog have gone different ways since some epoch: two archives were mixed. Only opening for
    /// reading gets this far.
    pub is_forked: bool,
    /// Pages of the catalog are not those that were written, a write that the disk has lost say: what is shown may be older
    /// than what was stored, or lack something. Only opening for reading gets this far, and looks at all pages only where
    /// the catalog has at most 16 MiB.
    pub is_catalog_damaged: bool,
}

/// Says whether a writer has died without ending its session.
pub(super) fn has_dead_session(layout: &ArchiveLayout) -> Result<bool, HostError> {
    // Only a glance: a lock that is held for a moment would look like a life to a writer that recovers.
    Ok(glance_at_sessions(layout.machine(), &layout.sessions())?
        .iter()
        .any(|seen| seen.life == SessionLife::Dead))
}

/// Brings the catalog up to the journal, and settles what dead writers have reserved: nothing leaks, and nothing is thrown
/// away that can go on.
pub(super) fn recover(shared: &Shared) -> Result<RecoveryReport, OpenError> {
    // Where nothing is free even that needs the ballast.
    let mut report = again_with_room(&shared.layout, || bring_forward(shared))?;
    let reader = shared.catalog.read()?;
    let (extents, intents) = (reader.extents()?, reader.intents()?);
    drop(reader);
    let volumes = shared.volumes();
    // What lies where nothing may be written now waits until that changes.
    let is_unsettled = |extent: &ExtentRecord| {
        let is_abandoned = extent.state == ExtentState::Abandoned;
        extent.owner.is_some() || (is_abandoned && volumes.writable(extent.volume).is_some())
    };
    let is_waiting = |intent: &IntentRecord| intent.session.is_none();
    report.commits_waiting = to_u64(intents.iter().filter(|intent| is_waiting(intent)).count());
    let owned_by_waiting = |extent: &ExtentRecord| {
        let waits = |intent: &&IntentRecord| is_waiting(intent) && Some(intent.commit) == extent.owner;
        intents.iter().any(|intent| waits(&intent))
    };
    let is_settled = intents.iter().all(is_waiting)
        && extents
            .iter()
            .all(|extent| !is_unsettled(extent) || owned_by_waiting(extent));
    if is_settled && !has_dead_session(&shared.layout)? {
        return Ok(report);
    }
    // The dead may have died of a full disk.
    let size = TransactionSize {
        extents: to_u64(extents.len()),
        ..TransactionSize::default()
    };
    with_room(shared, size.room_bytes(), || settle(shared, report))
}

/// Looks how the catalog stands to the journal, for a reader: changes nothing, and whatever is wrong with the journal is no
/// reason not to read.
pub(super) fn look(shared: &Shared) -> RecoveryReport {
    let mut report = RecoveryReport {
        is_catalog_damaged: shared.catalog.has_damaged_pages(),
        ..RecoveryReport::default()
    };
    if is_on(SeededBug::OldCatalogNotTold) {
        return report;
    }
    let behind = || -> Result<(u64, bool), OpenError> {
        // The slots first, the catalog once more at the end: a writer may publish all the while. Without slots the journal tells.
        let slots = slots_of(shared).unwrap_or_default();
        let reader = shared.catalog.read()?;
        let state = publication::journal_state(&reader)?;
        let tail = shared.journal().tail(&state).map_err(PublicationError::from)?;
        if !tail.findings.is_empty() {
            // Something is wrong; whether that is damage or another archive shows in all of it.
            publication::refuse_fork(shared, &state)?;
        }
        publication::expect_no_gap(&reader, &tail)?;
        // A volume has seen what the journal brings an old catalog forward to.
        let head = tail.ahead.last().map_or(Head::of(&state), |entry| entry.head);
        check_slots(&slots, (head, &announced_in(&reader, head.epoch)?))?;
        // Before the catalog is read again: whoever ends between has brought it there.
        let is_quiet = has_no_session(shared);
        let catalog = shared.catalog.read()?.epoch()?;
        Ok((head.epoch.get().saturating_sub(catalog.get()), is_quiet))
    };
    // Beside a writer copies, slots and catalog are read at different moments: what contradicts itself is looked at again.
    match behind().or_else(|_| behind()) {
        Ok((0, _)) => {}
        // One ahead is a publication that ends just now, or was cut short, and the next writer applies it. Where no writer is
        // and none has died, it is an old catalog.
        Ok((1, is_quiet)) => report.is_catalog_old = is_quiet,
        Ok(_) => report.is_catalog_old = true,
        Err(OpenError::Forked { .. }) => report.is_forked = true,
        Err(OpenError::Journal { source }) => {
            report.is_catalog_old = matches!(*source, PublicationError::Gap { .. });
        }
        Err(_) => {}
    }
    report
}

/// Times that the journal is looked at again because more of it could be read than before.
const LOOKS: u32 = 3;

/// Reads the whole journal and makes its copies whole; returns how many faults were mended. Opening looks at the ends of the
/// copies only, so what is damaged further back shows here.
pub(super) fn mend_journal(shared: &Shared) -> Result<u64, CommitError> {
    let Publishing {
        mut writer, journal, ..
    } = publication::begin(shared)?;
    let scan = shared.journal().scan_behind(journal.forgotten)?;
    let without_place = shared.journal().copy_count() - journal.copies.len();
    let faults = to_u64(scan.lacking().count().max(without_place));
    if faults == 0 {
        return Ok(0);
    }
    let healed = match shared.journal().heal(&scan, &journal) {
        // What all copies have lost cuts off what they still have; opening has made them go on behind it, and they do.
        Err(JournalError::Behind { .. }) if without_place == 0 => return Ok(0),
        Err(JournalError::Behind { .. }) => shared.journal().restart(&journal)?,
        healed => healed?,
    };
    if healed.epoch == journal.epoch {
        writer.set_journal(&healed.encode())?;
        writer.commit()?;
    }
    Ok(faults)
}

/// Applies what the journal has and the catalog has not, and makes the copies of the journal whole.
fn bring_forward(shared: &Shared) -> Result<RecoveryReport, OpenError> {
    let mut report = RecoveryReport::default();
    let mut was_old = false;
    for _ in 0..LOOKS {
        let Publishing {
            mut writer,
            copies: _,
            journal,
            findings,
            faulty,
            applied,
            was_old: was_old_now,
        } = publication::begin(shared)?;
        report.records_rolled_forward += applied;
        was_old |= was_old_now;
        // Nobody publishes meanwhile: this is the write lock.
        let slots = slots_of(shared)?;
        let head = Head::of(&journal);
        check_slots(&slots, (head, &announced_in(&writer, head.epoch)?))?;
        report.lost_epoch = lost_epoch(shared, (&slots, &faulty), journal.epoch)?;
        if was_old {
            report.unknown_extents = count_unknown_extents(shared, &writer)?;
        }
        if !findings.is_empty() {
            report.journal_findings = to_u64(findings.len());
            let healed = heal(shared, &journal)?;
            if healed.epoch != journal.epoch {
                // A record came to light that could not be read before: it is applied first.
                continue;
            }
            writer.set_journal(&healed.encode())?;
            writer.commit()?;
        }
        return Ok(report);
    }
    let catalog = shared.catalog.read()?.epoch()?;
    let journal = catalog.next();
    Err(PublicationError::Gap { catalog, journal }.into())
}

/// Returns the publication that a volume has heard of and that a journal does not have which is faulty on every copy, unless a
/// writer has died before it was made.
fn lost_epoch(
    shared: &Shared,
    (seen, faulty): (&[Seen], &BTreeSet<(u16, u8)>),
    epoch: Epoch,
) -> Result<Option<Epoch>, OpenError> {
    if faulty.len() < shared.journal().copy_count() || has_dead_session(&shared.layout)? {
        return Ok(None);
    }
    let announced = seen.iter().map(|seen| seen.slots.newest.epoch);
    Ok(announced.filter(|announced| *announced > epoch).max())
}

/// What a volume has seen.
#[derive(Clone, Copy)]
struct Seen {
    volume: VolumeId,
    slots: SlotState,
}

/// Reads what volumes have seen; one without a valid slot says nothing.
fn slots_of(shared: &Shared) -> Result<Vec<Seen>, OpenError> {
    let mut seen = Vec::new();
    for member in shared.volumes().readable() {
        let volume = member.record.id;
        match read_slots(member.volume.as_ref()) {
            Ok(slots) => seen.extend(slots.ok().map(|slots| Seen { volume, slots })),
            // Of one that fails the others say enough.
            Err(_) if shared.volumes().members().len() > 1 => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(seen)
}

/// Returns the volumes that have heard of a publication for certain, as far as a catalog knows.
fn announced_in(reader: &CatalogReader, epoch: Epoch) -> Result<BTreeSet<VolumeId>, OpenError> {
    let volumes = reader.volumes()?.into_iter();
    Ok(volumes
        .filter(|volume| volume.epoch == epoch)
        .map(|volume| volume.id)
        .collect())
}

/// Refuses a catalog that is older than what its volumes have seen, and that no journal brings forward: it does not know the
/// newest files, and would cut them off (P8). Refuses volumes that have seen another record of the same epoch, too: those
/// to which that one was announced. Others may have heard of an attempt that came to nothing.
fn check_slots(seen: &[Seen], (head, announced): (Head, &BTreeSet<VolumeId>)) -> Result<(), OpenError> {
    for Seen { volume, slots } in seen {
        if slots.is_ahead(head.epoch) {
            let (catalog, journal) = (head.epoch, slots.newest.epoch);
            return Err(PublicationError::Gap { catalog, journal }.into());
        }
        if announced.contains(volume) && slots.contradicts((head.epoch, head.hash)) {
            return Err(OpenError::Forked {
                first: head.into(),
                second: ChainHead {
                    epoch: head.epoch,
                    hash: slots.newest.chain_hash,
                },
            });
        }
    }
    Ok(())
}

/// Makes the copies of the journal whole. Where all of them have lost their end, they go on from what the catalog knows.
fn heal(shared: &Shared, state: &JournalState) -> Result<JournalState, PublicationError> {
    let scan = shared.journal().scan()?;
    match shared.journal().heal(&scan, state) {
        Err(JournalError::Behind { .. }) => Ok(shared.journal().restart(state)?),
        healed => Ok(healed?),
    }
}

/// Settles intents and extents in one transaction; the sessions of the dead go last.
fn settle(shared: &Shared, mut report: RecoveryReport) -> Result<RecoveryReport, OpenError> {
    // P6: whoever died since the last look may have had its record appended. What that publishes is no intent any more, and
    // nothing of it may be taken back.
    let Publishing {
        mut writer, applied, ..
    } = publication::begin(shared)?;
    report.records_rolled_forward += applied;
    // A session exists before its first transaction, and ours excludes theirs: whoever has an intent now is listed here
    // while it lives.
    let seen = sessions(shared.machine(), &shared.layout.sessions())?;
    let (mut live, mut dead) = (BTreeSet::new(), Vec::new());
    for session in seen {
        match session.state {
            SessionState::Live(_) => drop(live.insert(session.id)),
            SessionState::Dead(session) => dead.push(session),
        }
    }
    let is_dead = |id: SessionId| dead.iter().any(|session: &DeadSession| session.id() == id);
    report.commits_waiting = 0;
    for intent in writer.intents()? {
        match intent.session {
            None => report.commits_waiting += 1,
            Some(session) if live.contains(&session) => {}
            Some(session) if intent.resumable.is_some() && is_dead(session) => {
                report.commits_waiting += 1;
                writer.put_intent(&IntentRecord {
                    session: None,
                    ..intent
                })?;
            }
            Some(session) => {
                // Without a file nothing proves that its process is dead: it may go on to write, but not where others do.
                let afterwards = if is_dead(session) {
                    Afterwards::GoOn
                } else {
                    Afterwards::Seal
                };
                report.extents_released += roll_back(shared, &mut writer, intent.commit, afterwards)?;
                report.commits_rolled_back += 1;
            }
        }
    }
    report.extents_released += settle_extents(shared, &mut writer)?;
    report.dead_sessions = to_u64(dead.len());
    if is_on(SeededBug::SessionsEndBeforeSettling) {
        dead.drain(..).try_for_each(DeadSession::remove)?;
    }
    writer.commit()?;
    dead.into_iter().try_for_each(DeadSession::remove)?;
    Ok(report)
}

/// Takes back extents of commits that have no intent, and cuts off what a failure has left behind the end of others.
fn settle_extents(shared: &Shared, writer: &mut CatalogWriter) -> Result<u64, OpenError> {
    let mut released = 0;
    for extent in writer.extents()? {
        match extent.owner {
            Some(commit) if writer.intent(commit)?.is_none() => {
                release(shared, writer, &extent, Afterwards::Seal)?;
                released += 1;
            }
            None if extent.state == ExtentState::Abandoned => retry_release(shared, writer, &extent)?,
            Some(_) | None => {}
        }
    }
    Ok(released)
}
