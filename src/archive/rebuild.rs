//! Making the catalog again from the journal, when it is lost.
//!
//! The journal has every publication since the archive began, and the first one says what archive that was. A catalog as it was
//! before the first publication is an old copy like any other, and opening an archive for writing brings old copies forward:
//! what was given out and never published is passed over, extents that end elsewhere are sealed.
//!
//! ```text
//! find     volumes by their slots, copies of the journal by the headers of their segments
//! read     the chain from its beginning; what is missing, or went two ways, ends it here, and nothing was touched
//! make     a catalog of the beginning, under a temporary name, synced
//! keep     the one that is there under a longer name                     a crash from here: begin again
//! publish  the new one under its name                                    a crash from here: an old catalog
//! open     which applies every record
//! ```

use core::cmp::Reverse;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    sync::Arc,
};

use super::{
    Archive, OpenOptions, RecoveryReport,
    create::{NewCatalog, open_shared},
    locks::machine_for_creation,
    old_catalog::beyond,
    volumes::Search,
};
use crate::{
    catalog::{Founding, Publication, VolumeChange, VolumeRecord},
    error::{CatalogBytesError, HostError, HostOperation, JournalError, OpenError, PublicationError},
    format::{JournalState, MAX_JOURNAL_COPIES, VolumeSlot},
    host::{ArchiveLayout, ArchiveState, Building, Machine, SessionLife, glance_at_sessions},
    journal::{CopyPlace, Journal, copies_below},
    merkle::ChainHash,
    storage::Replace,
    units::{ArchiveId, Epoch},
    volume::IoMode,
};

/// What making a catalog again has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RebuildReport {
    /// Where the catalog is now that was there before, if one was.
    pub kept: Option<PathBuf>,
    /// What opening the new one has settled; [`RecoveryReport::records_rolled_forward`] counts what was applied.
    pub recovery: RecoveryReport,
}

/// Makes the catalog of an archive again; see [`Archive::rebuild_catalog`].
pub(super) fn rebuild(
    machine: &Machine,
    root: &std::path::Path,
    options: &OpenOptions,
) -> Result<(Archive, RebuildReport), OpenError> {
    let path = || root.to_path_buf();
    match ArchiveLayout::on(machine, root).state()? {
        ArchiveState::Archive | ArchiveState::Remains => {}
        // Volumes elsewhere may belong to an archive whose whole directory is lost.
        ArchiveState::Absent | ArchiveState::Empty if !options.volumes.is_empty() => {}
        ArchiveState::Absent | ArchiveState::Empty | ArchiveState::Interrupted => {
            return Err(OpenError::NotFound { path: path() });
        }
        ArchiveState::Foreign => return Err(OpenError::NotAnArchive { path: path() }),
    }
    let past = Past::find(&ArchiveLayout::on(machine, root), options)?;
    let (machine, sharing) = machine_for_creation(machine, root)?;
    let layout = ArchiveLayout::on(&machine, root);
    let build = layout.lock_for_building(Building::Rebuild)?;
    expect_no_session(&layout)?;
    layout.remove_stale_temporaries(&build)?;
    layout.create_directories()?;
    let cache = options.resources.catalog_cache();
    let catalog = NewCatalog::make(&layout, &build, (&past.founding.archive, &past.volumes()), cache)?;
    // No copy has a place in it: opening reads all of every copy, and finds everything ahead of it.
    let beginning = JournalState {
        epoch: Epoch::ZERO,
        hash: ChainHash::NONE,
        copies: Vec::new(),
    };
    catalog.change(|writer| {
        // Whatever was given out behind the last record is given to nobody again.
        writer.raise_next_ids(&beyond(past.last.next_ids));
        writer.set_journal(&beginning.encode())
    })?;
    let kept = keep_aside(&layout)?;
    catalog.publish()?;
    build.end()?;
    let open = OpenOptions {
        access: crate::catalog::Access::Write,
        ..options.clone()
    };
    let (archive, recovery) = open_shared(layout, sharing, &open)?;
    Ok((archive, RebuildReport { kept, recovery }))
}

/// Refuses while a writer lives: it would go on with the catalog that is put aside.
fn expect_no_session(layout: &ArchiveLayout) -> Result<(), OpenError> {
    let seen = glance_at_sessions(layout.machine(), &layout.sessions())?;
    if seen.iter().any(|seen| seen.life == SessionLife::Live) {
        let path = layout.sessions();
        return Err(HostError::Locked { path }.into());
    }
    Ok(())
}

/// Gives the catalog that is there a longer name, durably.
fn keep_aside(layout: &ArchiveLayout) -> Result<Option<PathBuf>, OpenError> {
    if layout.state()? != ArchiveState::Archive {
        return Ok(None);
    }
    let storage = layout.machine().storage.as_ref();
    let catalog = layout.catalog();
    for number in 1_u32.. {
        let mut name = catalog.clone().into_os_string();
        name.push(format!(".old-{number}"));
        let kept = PathBuf::from(name);
        match storage.rename(&catalog, &kept, Replace::Never) {
            Ok(()) => {
                layout.sync_names()?;
                return Ok(Some(kept));
            }
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(HostError::io(HostOperation::Rename, &catalog)(error).into()),
        }
    }
    unreachable!("a directory does not hold as many files")
}

/// What the journal knows of an archive.
struct Past {
    founding: Founding,
    /// All volumes that there were, as they are now.
    volumes: BTreeMap<u16, VolumeChange>,
    last: Publication,
}

impl Past {
    /// Looks for the journal on the volumes that the archive holds itself, on those that the caller has named, and on all that
    /// the journal names, until no more come to light.
    fn find(layout: &ArchiveLayout, options: &OpenOptions) -> Result<Self, OpenError> {
        let mut places: Vec<PathBuf> = options.volumes.clone();
        loop {
            let found = volumes_at(layout, &places);
            let past = Self::read(layout, &found)?;
            let known: BTreeSet<PathBuf> = places.iter().cloned().collect();
            let recorded = past
                .volumes
                .values()
                .map(|volume| layout.root().join(OsStr::from_bytes(&volume.path)));
            let new: BTreeSet<PathBuf> = recorded.filter(|path| !known.contains(path)).collect();
            if new.is_empty() {
                return Ok(past);
            }
            places.extend(new);
        }
    }

    fn read(layout: &ArchiveLayout, found: &[(PathBuf, VolumeSlot)]) -> Result<Self, OpenError> {
        let missing = || OpenError::JournalMissing {
            path: layout.root().to_path_buf(),
        };
        let archive = the_archive(found)?.ok_or_else(missing)?;
        let places = copies(layout, (archive, found));
        if places.is_empty() {
            return Err(missing());
        }
        let journal = Journal::new(Arc::clone(&layout.machine().storage), archive, places);
        let scan = journal.scan().map_err(PublicationError::from)?;
        if let Some(fork) = scan.forks.first() {
            return Err(PublicationError::from(JournalError::from(*fork)).into());
        }
        let first_epoch = scan.first_epoch.ok_or_else(missing)?;
        if first_epoch != Epoch::ZERO.next() {
            let (catalog, journal) = (Epoch::ZERO, first_epoch);
            return Err(PublicationError::Gap { catalog, journal }.into());
        }
        let (mut founding, mut volumes, mut last) = (None, BTreeMap::new(), None);
        for entry in scan.chain() {
            let epoch = entry.head.epoch;
            let record = journal.load(entry).map_err(PublicationError::from)?;
            let parsed = Publication::parse(&record.body);
            let publication = parsed.map_err(|source| PublicationError::Record { epoch, source })?;
            if epoch == first_epoch {
                founding.clone_from(&publication.founding);
                let first = publication.founding.iter().flat_map(|founding| &founding.volumes);
                volumes.extend(first.map(|volume| (volume.number, volume.clone())));
            }
            let changes = publication.volumes.iter();
            volumes.extend(changes.map(|volume| (volume.number, volume.clone())));
            last = Some(publication);
        }
        let without_beginning = || {
            let source = CatalogBytesError::Impossible {
                field: "beginning of an archive",
            };
            PublicationError::Record {
                epoch: first_epoch,
                source,
            }
        };
        let founding: Founding = founding
            .filter(|founding: &Founding| founding.archive.id == archive)
            .ok_or_else(without_beginning)?;
        Ok(Self {
            founding,
            volumes,
            last: last.ok_or_else(missing)?,
        })
    }

    /// Returns the rows of the volumes: with all that came later, since what the journal has lies on those that are there now.
    fn volumes(&self) -> Vec<VolumeRecord> {
        let record = |volume: &VolumeChange| VolumeRecord {
            number: volume.number,
            id: volume.id,
            path: volume.path.clone(),
            state: volume.state,
            epoch: Epoch::ZERO,
        };
        self.volumes.values().map(record).collect()
    }
}

/// Returns the volumes below the archive and at some places that say which they are.
fn volumes_at(layout: &ArchiveLayout, places: &[PathBuf]) -> Vec<(PathBuf, VolumeSlot)> {
    let search = Search {
        layout,
        archive: ArchiveId::from_bytes([0; 16]),
        io: IoMode::Auto,
        places,
    };
    let mut paths = search.below_archive();
    paths.extend(places.iter().cloned());
    search.named_in(paths)
}

/// Returns the archive that volumes belong to.
fn the_archive(found: &[(PathBuf, VolumeSlot)]) -> Result<Option<ArchiveId>, OpenError> {
    let Some((_, first)) = found.first() else {
        return Ok(None);
    };
    // A volume of another archive is one too many: which of them is meant is not for us to say.
    if let Some((path, other)) = found.iter().find(|(_, slot)| slot.archive != first.archive) {
        return Err(OpenError::VolumeTaken {
            path: path.clone(),
            archive: other.archive,
            volume: other.volume,
        });
    }
    Ok(Some(first.archive))
}

/// Returns where copies of the journal lie, the first ones of all volumes before the second ones.
fn copies(layout: &ArchiveLayout, (archive, found): (ArchiveId, &[(PathBuf, VolumeSlot)])) -> Vec<CopyPlace> {
    let storage = layout.machine().storage.as_ref();
    let mut copies: Vec<CopyPlace> = Vec::new();
    let mut found: Vec<&(PathBuf, VolumeSlot)> = found.iter().collect();
    // Of a volume that is there twice the newest is used.
    found.sort_by_key(|(_, slot)| Reverse((slot.epoch, slot.sequence)));
    for (path, slot) in found {
        // One that cannot be listed has nothing to say.
        let below = copies_below(storage, &path.join("journal"), (archive, slot.volume));
        copies.extend(below.unwrap_or_default());
    }
    copies.sort_by_key(|place| (place.copy, place.volume));
    copies.dedup_by_key(|place| (place.copy, place.volume));
    copies.truncate(MAX_JOURNAL_COPIES);
    copies
}
