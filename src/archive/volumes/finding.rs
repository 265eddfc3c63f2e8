//! Finding volumes by their identity: where they were seen last, below the archive, where the caller says, and beside the
//! places where they were, since disks are mounted elsewhere at times.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Member, SlotState, Volumes, read_slots};
use crate::{
    catalog::{VolumeRecord, VolumeState},
    error::OpenError,
    format::VolumeSlot,
    host::ArchiveLayout,
    storage::Storage,
    units::{ArchiveId, Epoch, VolumeId},
    volume::{AbsentVolume, IoMode, LocalVolume, LocalVolumeOptions, Volume},
};

/// Directories that are looked into beside a place where a volume was.
const MOST_SIBLINGS: usize = 256;

/// How a volume of the archive was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VolumeCondition {
    /// It is there.
    Present,
    /// It is there and takes no writes.
    ReadOnly,
    /// It is older than what the catalog knows: an old copy was put back. It is read, since every leaf is verified, and
    /// nothing is written to it.
    Stale {
        /// How far it has come.
        seen: Epoch,
        /// How far it had come before.
        catalog: Epoch,
    },
    /// Nothing says which volume it is, since both of its slots are damaged. It is read, since every leaf is verified, and
    /// nothing is written to it.
    Unreadable,
    /// It is not there.
    Missing,
    /// Another volume is in its place.
    Foreign {
        /// Which.
        found: VolumeId,
    },
}

/// Where volumes are looked for.
pub(in crate::archive) struct Search<'a> {
    pub(in crate::archive) layout: &'a ArchiveLayout,
    pub(in crate::archive) archive: ArchiveId,
    pub(in crate::archive) io: IoMode,
    /// Directories that the caller has named.
    pub(in crate::archive) places: &'a [PathBuf],
}

/// Looks for every volume that was not removed; `known` are those that are in use, which stay what they are.
///
/// The records were read before anything that is looked at here: what they know was announced in slots before.
///
/// # Errors
/// [`OpenError::VolumeSlots`] when a newer version has written to one. Whatever else is wrong is a condition, and a reason
/// beside it.
pub(in crate::archive) fn find_volumes(
    search: &Search<'_>,
    records: &[VolumeRecord],
    known: Option<&Volumes>,
) -> Result<Vec<(Member, Option<OpenError>)>, OpenError> {
    let records = records
        .iter()
        .filter(|record| record.state != VolumeState::Removed);
    let mut places = Vec::new();
    for record in records {
        let path = search.layout.root().join(OsStr::from_bytes(&record.path));
        let found = search.look_at(&path)?;
        places.push((record, path, found));
    }
    let is_recorded = |path: &Path| {
        places
            .iter()
            .any(|(_, recorded, _)| is_same(search.storage(), recorded, path))
    };
    let mut others: Vec<PathBuf> = search.below_archive();
    others.extend(search.places.iter().cloned());
    others.retain(|path| !is_recorded(path));
    let mut elsewhere = search.named_in(others);
    // What lies where another one was.
    for (record, path, found) in &places {
        if let Found::Named(slots) = found
            && slots.newest.volume != record.id
        {
            elsewhere.push((path.clone(), slots.newest));
        }
    }
    let mut members = Vec::new();
    for (record, path, found) in places {
        let mut copies = search.copies_of(record, &elsewhere);
        let is_here = matches!(&found, Found::Named(slots) if search.is(record, &slots.newest));
        if let (true, Found::Named(slots)) = (is_here, &found) {
            copies.insert(0, (path.clone(), slots.newest));
        }
        if copies.is_empty() && !matches!(found, Found::Nameless(_)) {
            let beside = search.named_in(siblings(search.storage(), &path));
            copies = search.copies_of(record, &beside);
        }
        let (member, problem) = search.member(record, (path, found), copies)?;
        members.push((keep_known(member, known), problem));
    }
    Ok(members)
}

/// What lies at a place.
enum Found {
    /// A volume that says which it is.
    Named(SlotState),
    /// A volume that does not, and why.
    Nameless(OpenError),
    /// None, and why.
    Nothing(OpenError),
}

impl Search<'_> {
    fn storage(&self) -> &dyn Storage {
        self.layout.machine().storage.as_ref()
    }

    fn look_at(&self, path: &Path) -> Result<Found, OpenError> {
        let storage = Arc::clone(&self.layout.machine().storage);
        let nobody = VolumeId::from_bytes([0; 16]);
        let local = match LocalVolume::open_without_slots_on(storage, path, nobody) {
            Ok(local) => local,
            Err(source) => return Ok(Found::Nothing(source.into())),
        };
        match read_slots(&local) {
            Ok(Ok(slots)) => Ok(Found::Named(slots)),
            Ok(Err(source)) => {
                let is_newer = source.needs_newer_version();
                let path = path.to_path_buf();
                let error = OpenError::VolumeSlots { path, source };
                // What a newer version wrote may mean something else to a reader too.
                if is_newer {
                    return Err(error);
                }
                Ok(Found::Nameless(error))
            }
            // A disk that does not even list what it has, or has nothing at all, is not there.
            Err(source) if local.extents().is_ok_and(|extents| !extents.is_empty()) => {
                Ok(Found::Nameless(source.into()))
            }
            Err(source) => Ok(Found::Nothing(source.into())),
        }
    }

    /// Returns which of these directories hold a volume that says which it is.
    pub(in crate::archive) fn named_in(&self, paths: Vec<PathBuf>) -> Vec<(PathBuf, VolumeSlot)> {
        let mut named: Vec<(PathBuf, VolumeSlot)> = Vec::new();
        for path in paths {
            if let [Ok(first), Ok(second)] = LocalVolume::read_slots_on(self.storage(), &path)
                && let Ok(slot) = VolumeSlot::newest(&first[..], &second[..])
                && !named
                    .iter()
                    .any(|(other, _)| is_same(self.storage(), other, &path))
            {
                named.push((path, slot));
            }
        }
        named
    }

    pub(in crate::archive) fn below_archive(&self) -> Vec<PathBuf> {
        let volumes = self.layout.volumes();
        let names = self.storage().list(&volumes).unwrap_or_default();
        names.into_iter().map(|name| volumes.join(name)).collect()
    }

    /// Says whether two paths lead to the same place.
    pub(in crate::archive) fn is_same(&self, a: &Path, b: &Path) -> bool {
        is_same(self.storage(), a, b)
    }

    fn is(&self, record: &VolumeRecord, slot: &VolumeSlot) -> bool {
        (slot.archive, slot.volume) == (self.archive, record.id)
    }

    fn copies_of(
        &self,
        record: &VolumeRecord,
        named: &[(PathBuf, VolumeSlot)],
    ) -> Vec<(PathBuf, VolumeSlot)> {
        let copies = named.iter().filter(|(_, slot)| self.is(record, slot));
        copies.cloned().collect()
    }

    /// Decides which of the copies of a volume is the one, and how it is. The newest is; of two that are as new the one that
    /// stands first.
    fn member(
        &self,
        record: &VolumeRecord,
        (path, found): (PathBuf, Found),
        mut copies: Vec<(PathBuf, VolumeSlot)>,
    ) -> Result<(Member, Option<OpenError>), OpenError> {
        let age = |slot: &VolumeSlot| (slot.epoch, slot.sequence);
        let newest = copies.iter().map(|(_, slot)| age(slot)).max();
        let chosen = copies.iter().position(|(_, slot)| Some(age(slot)) == newest);
        let Some(chosen) = chosen else {
            return Ok(self.without_copy(record, path, found));
        };
        let (path, _) = copies.remove(chosen);
        let slots = match found {
            Found::Named(slots) if self.is(record, &slots.newest) && copies.is_empty() => slots,
            Found::Named(_) | Found::Nameless(_) | Found::Nothing(_) => match self.look_at(&path)? {
                Found::Named(slots) => slots,
                found @ (Found::Nameless(_) | Found::Nothing(_)) => {
                    return Ok(self.without_copy(record, path, found));
                }
            },
        };
        let (condition, problem) = if slots.is_behind(record.epoch) {
            let (seen, catalog) = (slots.newest.epoch, record.epoch);
            let volume = record.id;
            (
                VolumeCondition::Stale { seen, catalog },
                Some(OpenError::VolumeStale {
                    catalog,
                    seen,
                    volume,
                }),
            )
        } else if LocalVolume::is_read_only_on(self.storage(), &path) {
            let path = path.clone();
            (
                VolumeCondition::ReadOnly,
                Some(OpenError::VolumeReadOnly { path }),
            )
        } else {
            (VolumeCondition::Present, None)
        };
        let volume = match self.open(record, &path) {
            Ok(volume) => volume,
            Err(error) => return Ok(self.without_copy(record, path, Found::Nothing(error))),
        };
        let doubles = copies.into_iter().map(|(path, _)| path).collect();
        let member = Member {
            record: record.clone(),
            path,
            volume,
            condition,
            doubles,
        };
        Ok((member, problem))
    }

    /// Says how a volume is of which no copy says that it is one.
    fn without_copy(
        &self,
        record: &VolumeRecord,
        path: PathBuf,
        found: Found,
    ) -> (Member, Option<OpenError>) {
        let absent = || -> Arc<dyn Volume> { Arc::new(AbsentVolume::new(record.id)) };
        let (condition, volume, problem) = match found {
            Found::Named(slots) => {
                let found = slots.newest.volume;
                let problem = OpenError::VolumeForeign {
                    path: path.clone(),
                    expected: record.id,
                    found,
                };
                (VolumeCondition::Foreign { found }, absent(), problem)
            }
            Found::Nameless(problem) => match self.open(record, &path) {
                Ok(volume) => (VolumeCondition::Unreadable, volume, problem),
                Err(problem) => (VolumeCondition::Missing, absent(), problem),
            },
            Found::Nothing(problem) => (VolumeCondition::Missing, absent(), problem),
        };
        let member = Member {
            record: record.clone(),
            path,
            volume,
            condition,
            doubles: Vec::new(),
        };
        (member, Some(problem))
    }

    fn open(&self, record: &VolumeRecord, path: &Path) -> Result<Arc<dyn Volume>, OpenError> {
        let storage = Arc::clone(&self.layout.machine().storage);
        let local = LocalVolume::open_without_slots_on(storage, path, record.id)?;
        Ok(Arc::new(local.with_options(&LocalVolumeOptions {
            io_mode: self.io,
            ..LocalVolumeOptions::default()
        })))
    }
}

/// Keeps the volume that is in use, where it is the same: it remembers which extents have failed.
fn keep_known(member: Member, known: Option<&Volumes>) -> Member {
    let same = known.and_then(|known| known.member(member.record.id));
    let same = same.filter(|same| same.path == member.path && same.is_readable() && member.is_readable());
    match same {
        Some(same) => Member {
            volume: Arc::clone(&same.volume),
            ..member
        },
        None => member,
    }
}

/// Returns what stands beside a place where a volume was, and the places below what stands beside the directory above it: a
/// disk that is mounted under another name holds the volume at its root, or one level below.
fn siblings(storage: &dyn Storage, path: &Path) -> Vec<PathBuf> {
    let beside = |path: &Path| -> Vec<PathBuf> {
        let Some(above) = path.parent() else {
            return Vec::new();
        };
        let names = storage.list(above).unwrap_or_default();
        let others = names.into_iter().map(|name| above.join(name));
        others.filter(|other| other != path).take(MOST_SIBLINGS).collect()
    };
    let mut found = beside(path);
    if let (Some(above), Some(name)) = (path.parent(), path.file_name()) {
        found.extend(beside(above).into_iter().map(|other| other.join(name)));
    }
    found
}

fn is_same(storage: &dyn Storage, a: &Path, b: &Path) -> bool {
    if a == b {
        return true;
    }
    match (storage.canonical(a), storage.canonical(b)) {
        (Ok(a), Ok(b)) => a == b,
        (Ok(_) | Err(_), Ok(_) | Err(_)) => false,
    }
}
