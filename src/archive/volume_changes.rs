//! Volumes that come and go, while the archive is in use.
//!
//! Each step is a publication, and each can be done again: what has come half of the way goes on where it was.

use std::{collections::BTreeSet, ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path, sync::Arc};

use super::{
    MoveOptions, MoveReport,
    new_volume::{NewPlaces, make_volume_at, slot_at},
    observer::Observer,
    publication,
    recovery::mend_journal,
    repair::{move_off, shards_on, spread},
    shared::Shared,
    volumes::{Member, announce_epoch},
};
use crate::{
    catalog::{Access, VolumeChange, VolumeRecord, VolumeState},
    error::{CatalogError, CommitError, OpenError, RepairError},
    journal::Head,
    units::VolumeId,
    volume::{LocalVolume, Volume as _},
};

/// Makes a volume in a directory that is absent or empty, and adds it to the archive: durable and in use when this returns.
///
/// One that an interrupted attempt has made there is taken up.
pub(super) fn add_volume(shared: &Shared, path: &Path) -> Result<VolumeId, CommitError> {
    refuse_reading(shared)?;
    let publishing = publication::begin(shared)?;
    let records = publishing.writer.volumes()?;
    let (places, number) = place_for_new(shared, path, &records)?;
    let place = places.paths().next().expect("one was checked");
    let id = if let Some(id) = left_there(shared, place, &records) {
        id
    } else {
        let head = Head::of(&publishing.journal);
        let head = (head.epoch, head.hash);
        let made = make_volume_at(&shared.layout, shared.io(), place)?;
        announce_epoch(&made, shared.archive_id(), head)?;
        made.id()
    };
    let mut publication = publication::empty(&publishing.writer)?;
    publication.volumes.push(VolumeChange {
        number,
        id,
        state: VolumeState::Active,
        path: place.as_os_str().as_bytes().to_vec(),
    });
    publication::publish(shared, publishing, publication, Vec::new())?;
    settle(shared)?;
    Ok(id)
}

/// Refuses what [`add_volume`] refuses before it makes anything.
pub(super) fn check_new_volume(shared: &Shared, path: &Path) -> Result<(), CommitError> {
    let records = shared.catalog.read()?.volumes()?;
    let (places, _) = place_for_new(shared, path, &records)?;
    let place = places.paths().next().expect("one was checked");
    if left_there(shared, place, &records).is_none() {
        places.refuse_what_is_there(shared.machine().storage.as_ref())?;
    }
    Ok(())
}

/// Returns where a volume is to be made, apart from those that there are, and its number.
fn place_for_new(
    shared: &Shared,
    path: &Path,
    records: &[VolumeRecord],
) -> Result<(NewPlaces, u16), OpenError> {
    let root = shared.layout.root();
    let taken: Vec<_> = (records.iter())
        .filter(|record| record.state != VolumeState::Removed)
        .map(|record| root.join(OsStr::from_bytes(&record.path)))
        .collect();
    let places = NewPlaces::check(&shared.layout, &[path.to_path_buf()], &taken)?;
    let number = records.last().map_or(0, |last| last.number.saturating_add(1));
    if !shared.policy().lanes().has_volume(number) {
        return Err(OpenError::TooManyVolumes { count: number });
    }
    Ok((places, number))
}

/// Makes a volume in a directory, or goes on with the one that an earlier attempt has made there, and moves to it everything that
/// is on another one, which then belongs to the archive no more. The old one need not be there.
pub(super) fn replace_volume(
    shared: &Arc<Shared>,
    (old, path): (VolumeId, &Path),
    options: MoveOptions,
    observer: &dyn Observer,
) -> Result<(VolumeId, MoveReport), RepairError> {
    refuse_reading(shared)?;
    let records = shared.catalog.read()?.volumes()?;
    let is_leaving = known(&records, old)?.state == VolumeState::Draining;
    let storage = &shared.machine().storage;
    let slot = slot_at(storage.as_ref(), path);
    // An earlier attempt has come so far.
    let begun = records.iter().find(|record| {
        let is_there =
            slot.is_some_and(|slot| slot.archive == shared.archive_id() && slot.volume == record.id);
        is_there && record.id != old && record.state == VolumeState::Active
    });
    let new = match begun {
        // Any other volume of the archive would hold more of a block than it may afterwards.
        Some(record) if is_leaving || shards_on(shared, record.id)? == 0 => record.id,
        Some(_) | None => add_volume(shared, path)?,
    };
    set_state(shared, old, VolumeState::Draining)?;
    let number = shared.volumes().member(new).map(|member| member.record.number);
    let number = number.ok_or(CommitError::NoVolume)?;
    let mut report = move_off(shared, (old, Some(number)), options, observer)?;
    if report.shards_left == 0 {
        set_state(shared, old, VolumeState::Removed)?;
    }
    // What was stored while the old one was away lies on fewer volumes than it could.
    let spread = spread(shared, options, observer)?;
    report.shards_moved += spread.shards_moved;
    report.bytes_written += spread.bytes_written;
    Ok((new, report))
}

/// Spreads what lies on fewer volumes than it could.
pub(super) fn spread_all(
    shared: &Arc<Shared>,
    options: MoveOptions,
    observer: &dyn Observer,
) -> Result<MoveReport, RepairError> {
    refuse_reading(shared)?;
    spread(shared, options, observer)
}

/// Moves everything that is on a volume to the others; nothing new goes there from now on. It need not be there.
pub(super) fn drain_volume(
    shared: &Arc<Shared>,
    volume: VolumeId,
    options: MoveOptions,
    observer: &dyn Observer,
) -> Result<MoveReport, RepairError> {
    refuse_reading(shared)?;
    let records = shared.catalog.read()?.volumes()?;
    known(&records, volume)?;
    let volumes = shared.volumes();
    let mut others = volumes
        .for_files()
        .filter(|member| member.record.id != volume)
        .peekable();
    if others.peek().is_none() {
        return Err(CommitError::LastVolume { volume }.into());
    }
    let mut free_bytes = 0_u64;
    for other in others {
        free_bytes = free_bytes.saturating_add(other.volume.free_bytes().map_err(CommitError::from)?);
    }
    let needed_bytes = live_bytes_on(shared, volume)?;
    if needed_bytes > free_bytes {
        return Err(CommitError::NoRoomToDrain {
            volume,
            needed_bytes,
            free_bytes,
        }
        .into());
    }
    set_state(shared, volume, VolumeState::Draining)?;
    move_off(shared, (volume, None), options, observer)
}

/// Lets a volume that holds nothing any more be a part of the archive no longer.
pub(super) fn remove_volume(shared: &Shared, volume: VolumeId) -> Result<(), RepairError> {
    refuse_reading(shared)?;
    let records = shared.catalog.read()?.volumes()?;
    known(&records, volume)?;
    let volumes = shared.volumes();
    if !volumes.for_files().any(|member| member.record.id != volume) {
        return Err(CommitError::LastVolume { volume }.into());
    }
    let shards = shards_on(shared, volume)?;
    if shards > 0 {
        return Err(CommitError::VolumeNotDrained { volume, shards }.into());
    }
    set_state(shared, volume, VolumeState::Removed)?;
    Ok(())
}

/// Remembers where volumes were found that are elsewhere than they were. That this cannot be published is no failure of
/// whoever opens the archive.
pub(super) fn note_moves(shared: &Shared) {
    let root = shared.layout.root();
    let volumes = shared.volumes();
    let has_moved = |member: &&Member| {
        let recorded = root.join(OsStr::from_bytes(&member.record.path));
        member.is_writable() && member.path != recorded
    };
    let moved: Vec<VolumeChange> = (volumes.members().iter().filter(has_moved))
        .map(|member| VolumeChange {
            path: path_from(root, &member.path),
            ..change_of(&member.record)
        })
        .collect();
    if !moved.is_empty() {
        match publish_changes(shared, moved) {
            Ok(()) | Err(_) => {}
        }
    }
}

/// Lets old copies of volumes take part again, of which everything was looked at: what they lack is known now, and what ends
/// elsewhere than the catalog says takes nothing more.
pub(super) fn reconcile(shared: &Shared, read: &BTreeSet<VolumeId>) -> Result<Vec<VolumeId>, CommitError> {
    let volumes = shared.volumes();
    let stale = |member: &&Member| member.is_stale() && read.contains(&member.record.id);
    let changes: Vec<VolumeChange> = (volumes.members().iter().filter(stale))
        .map(|member| change_of(&member.record))
        .collect();
    if changes.is_empty() {
        return Ok(Vec::new());
    }
    let ids = changes.iter().map(|change| change.id).collect();
    publish_changes(shared, changes)?;
    Ok(ids)
}

fn publish_changes(shared: &Shared, changes: Vec<VolumeChange>) -> Result<(), CommitError> {
    let publishing = publication::begin(shared)?;
    let mut publication = publication::empty(&publishing.writer)?;
    publication.volumes = changes;
    publication::publish(shared, publishing, publication, Vec::new())?;
    settle(shared)
}

fn change_of(record: &VolumeRecord) -> VolumeChange {
    VolumeChange {
        number: record.number,
        id: record.id,
        state: record.state,
        path: record.path.clone(),
    }
}

/// Returns how a path is recorded: below the archive without that, so that it may move with it.
fn path_from(root: &Path, path: &Path) -> Vec<u8> {
    let recorded = path.strip_prefix(root).unwrap_or(path);
    recorded.as_os_str().as_bytes().to_vec()
}

/// Publishes what a volume is used for from now on, unless that is so already.
fn set_state(shared: &Shared, volume: VolumeId, state: VolumeState) -> Result<(), CommitError> {
    let publishing = publication::begin(shared)?;
    let records = publishing.writer.volumes()?;
    let record = known(&records, volume)?;
    if record.state == state {
        return Ok(());
    }
    let mut publication = publication::empty(&publishing.writer)?;
    publication.volumes.push(VolumeChange {
        state,
        ..change_of(record)
    });
    publication::publish(shared, publishing, publication, Vec::new())?;
    settle(shared)
}

fn known(records: &[VolumeRecord], volume: VolumeId) -> Result<&VolumeRecord, CommitError> {
    let record = records.iter().find(|record| record.id == volume);
    let record = record.filter(|record| record.state != VolumeState::Removed);
    record.ok_or_else(|| CatalogError::UnknownVolume { volume }.into())
}

fn live_bytes_on(shared: &Shared, volume: VolumeId) -> Result<u64, CommitError> {
    let extents = shared.catalog.read()?.extents()?;
    let there = extents.iter().filter(|extent| extent.volume == volume);
    Ok(there.map(|extent| extent.live_bytes).sum())
}

const fn refuse_reading(shared: &Shared) -> Result<(), CommitError> {
    match shared.access {
        Access::Read => Err(CommitError::ReadOnly),
        Access::Write => Ok(()),
    }
}

/// Takes volumes into use that the catalog has by now, and gives the journal its copies on them.
fn settle(shared: &Shared) -> Result<(), CommitError> {
    shared.look_at_volumes()?;
    mend_journal(shared).map(drop)
}

/// Returns the volume that an interrupted attempt has made in a directory: the catalog never heard of it, and nothing is in it.
fn left_there(shared: &Shared, place: &Path, records: &[VolumeRecord]) -> Option<VolumeId> {
    let storage = &shared.machine().storage;
    let slot = slot_at(storage.as_ref(), place)?;
    let is_ours = slot.archive == shared.archive_id();
    let is_new = records.iter().all(|record| record.id != slot.volume);
    let is_empty = || {
        let volume = LocalVolume::open_on(Arc::clone(storage), place, slot.volume).ok();
        let extents = volume.map(|volume| volume.extents());
        extents.is_some_and(|extents| extents.is_ok_and(|extents| extents.is_empty()))
    };
    (is_ours && is_new && is_empty()).then_some(slot.volume)
}
