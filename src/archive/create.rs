//! Making an archive and opening one.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Archive, ArchiveOptions, OpenOptions, RecoveryReport, ballast,
    locks::{Sharing, expect_nobody_alone, machine_for_creation, machine_for_use},
    media::{Media, places_on},
    new_volume::{NewPlaces, make_volume_at},
    recovery,
    shared::{Shared, SharedParts},
    volume_changes::note_moves,
    volumes::{announce_epoch, expect_direct, write_slot},
};
use crate::{
    catalog::{
        Access, ArchiveRecord, Catalog, CatalogOptions, CatalogWriter, Check, VolumeRecord, VolumeState,
    },
    error::{CatalogError, HostError, OpenError, PublicationError},
    format::{FormatVersion, VolumeSlot},
    host::{ArchiveLayout, ArchiveState, BuildLock, Building, Existing, Machine, publish},
    journal::Journal,
    merkle::ChainHash,
    units::{ArchiveId, Epoch, VolumeId},
    volume::{LocalVolume, Volume as _},
};

/// Number of the volume inside the archive directory.
const EMBEDDED_VOLUME: u16 = 0;

/// Its path, relative to the archive.
const EMBEDDED_VOLUME_PATH: &[u8] = b"volumes/v0";

/// Name of a catalog that is being made.
const TEMPORARY_CATALOG: &str = "catalog.redb.tmp";

/// Makes an archive in a directory that is absent or empty.
///
/// The catalog appears last, under its own name and complete: a crash before leaves a directory that holds no archive and
/// that the next attempt takes over, since nothing was ever stored there.
pub(super) fn create(machine: &Machine, root: &Path, options: &ArchiveOptions) -> Result<Archive, OpenError> {
    let state = check(machine, root, options)?;
    let (machine, sharing) = &machine_for_creation(machine, root)?;
    let layout = ArchiveLayout::on(machine, root);
    // Of two processes that find no archive one makes it, the other fails here.
    let build = layout.lock_for_building(Building::Creation)?;
    layout.remove_stale_temporaries(&build)?;
    layout.create_directories()?;
    let (archive_id, records) = make_volumes(&layout, state, options)?;
    let places = places_on(records.iter().map(|record| {
        let path = layout.root().join(OsStr::from_bytes(&record.path));
        (record.number, record.id, path)
    }));
    let journal = Journal::new(Arc::clone(&machine.storage), archive_id, places);
    let journal = journal.create().map_err(PublicationError::from)?;
    let archive = ArchiveRecord {
        id: archive_id,
        format_version: FormatVersion::CURRENT.get(),
        required_features: 0,
        created_at: machine.now(),
        policy: options.policy,
    };
    let cache = options.resources.catalog_cache();
    let catalog = NewCatalog::make(&layout, &build, (&archive, &records), cache)?;
    catalog.change(|writer| writer.set_journal(&journal.encode()))?;
    catalog.publish()?;
    build.end()?;
    let open = OpenOptions {
        access: Access::Write,
        volumes: Vec::new(),
        resources: options.resources,
    };
    Ok(open_shared(ArchiveLayout::on(machine, root), *sharing, &open)?.0)
}

/// Refuses what [`create`] refuses before it makes anything; returns what is there.
pub(super) fn check(
    machine: &Machine,
    root: &Path,
    options: &ArchiveOptions,
) -> Result<ArchiveState, OpenError> {
    let layout = ArchiveLayout::on(machine, root);
    let state = layout.state()?;
    let path = || root.to_path_buf();
    match state {
        ArchiveState::Absent | ArchiveState::Empty | ArchiveState::Interrupted => {}
        ArchiveState::Archive | ArchiveState::Remains => return Err(OpenError::Exists { path: path() }),
        ArchiveState::Foreign => return Err(OpenError::NotEmpty { path: path() }),
    }
    // Without any that are named it gets one of its own.
    let volumes = u16::try_from(options.volumes.len().max(1)).unwrap_or(u16::MAX);
    for tier in options.policy.tiers() {
        let (survive, survived) = (
            options.policy.survive_volumes(),
            options.policy.volumes_survived(tier, volumes),
        );
        if survived < survive {
            return Err(OpenError::VolumesNotSurvived {
                tier: tier.number(),
                shape: options.policy.shape(tier),
                volumes,
                survive,
                survived,
            });
        }
    }
    if !options.volumes.is_empty() {
        // One that cannot be made must not leave those before it behind.
        NewPlaces::check(&layout, &options.volumes, &[])?.refuse_what_is_there(machine.storage.as_ref())?;
    }
    Ok(state)
}

/// A catalog that has no name yet.
pub(super) struct NewCatalog<'a> {
    layout: &'a ArchiveLayout,
    temporary: PathBuf,
    cache: CatalogOptions,
}

impl<'a> NewCatalog<'a> {
    /// Makes one for an archive with volumes; whoever builds is the only one who does.
    pub(super) fn make(
        layout: &'a ArchiveLayout,
        _build: &BuildLock,
        (archive, volumes): (&ArchiveRecord, &[VolumeRecord]),
        cache: CatalogOptions,
    ) -> Result<Self, OpenError> {
        let temporary = layout.root().join(TEMPORARY_CATALOG);
        Catalog::create(&layout.machine().storage, &temporary, archive, volumes, cache)?;
        Ok(Self {
            layout,
            temporary,
            cache,
        })
    }

    /// Opens it, for whoever changes it in many transactions and closes it before it gets its name.
    pub(super) fn open(&self) -> Result<Catalog, OpenError> {
        let storage = &self.layout.machine().storage;
        let opened = Catalog::open(storage, &self.temporary, Access::Write, Check::Always, self.cache);
        Ok(opened?)
    }

    /// Changes it in one transaction.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&mut CatalogWriter) -> Result<(), CatalogError>,
    ) -> Result<(), OpenError> {
        let catalog = self.open()?;
        let mut writer = catalog.write()?;
        change(&mut writer)?;
        writer.commit()?;
        catalog.close()?;
        Ok(())
    }

    /// Gives it its name.
    pub(super) fn publish(self) -> Result<(), OpenError> {
        // The catalog is complete and synced before it gets its name, and the name is synced before anyone relies on it.
        publish(
            self.layout.machine().storage.as_ref(),
            &self.temporary,
            &self.layout.catalog(),
            Existing::Refuse,
        )?;
        Ok(())
    }
}

/// Makes the volumes of a new archive: those that are named, or one inside the archive.
fn make_volumes(
    layout: &ArchiveLayout,
    state: ArchiveState,
    options: &ArchiveOptions,
) -> Result<(ArchiveId, Vec<VolumeRecord>), OpenError> {
    let io = options.resources.io;
    let record = |number, id, path| VolumeRecord {
        number,
        id,
        path,
        state: VolumeState::Active,
        epoch: Epoch::ZERO,
    };
    if options.volumes.is_empty() {
        let (archive, local) = make_embedded_volume(layout, state)?;
        // The next attempt takes it up.
        let storage = layout.machine().storage.as_ref();
        expect_direct(io, storage, &layout.embedded_volume())?;
        let path = EMBEDDED_VOLUME_PATH.to_vec();
        return Ok((archive, vec![record(EMBEDDED_VOLUME, local.id(), path)]));
    }
    let archive = ArchiveId::from_bytes(layout.machine().random_bytes()?);
    let places = NewPlaces::check(layout, &options.volumes, &[])?;
    let made = places.paths().map(|place| make_volume_at(layout, io, place));
    // None is told of the archive before all are made.
    let made: Vec<LocalVolume> = made.collect::<Result<_, _>>()?;
    let mut records = Vec::new();
    for (number, (place, local)) in (0..).zip(places.paths().zip(made)) {
        announce_epoch(&local, archive, (Epoch::ZERO, ChainHash::NONE))?;
        records.push(record(number, local.id(), place.as_os_str().as_bytes().to_vec()));
    }
    Ok((archive, records))
}

/// Makes the volume inside the archive, or takes up the one that an interrupted creation has made: its slots name the
/// archive that was to be, and nothing was ever stored in it.
fn make_embedded_volume(
    layout: &ArchiveLayout,
    state: ArchiveState,
) -> Result<(ArchiveId, LocalVolume), OpenError> {
    let dir = layout.embedded_volume();
    let machine = layout.machine();
    let storage = || Arc::clone(&machine.storage);
    if let [Ok(first), Ok(second)] = LocalVolume::read_slots_on(machine.storage.as_ref(), &dir)
        && let Ok(slot) = VolumeSlot::newest(&first[..], &second[..])
        && slot.epoch == Epoch::ZERO
    {
        let local = LocalVolume::open_on(storage(), &dir, slot.volume)?;
        if local.extents()?.is_empty() {
            // Whoever wrote it may have died before it was synced.
            write_slot(&local, &slot)?;
            return Ok((slot.archive, local));
        }
    }
    if state == ArchiveState::Interrupted {
        // Slots that were torn when they were filled are no slots of anybody.
        LocalVolume::discard_torn_slots_on(machine.storage.as_ref(), &dir)?;
    }
    let archive = ArchiveId::from_bytes(machine.random_bytes()?);
    let local = LocalVolume::create_on(storage(), &dir, VolumeId::from_bytes(machine.random_bytes()?))?;
    announce_epoch(&local, archive, (Epoch::ZERO, ChainHash::NONE))?;
    Ok((archive, local))
}

/// Opens an archive.
pub(super) fn open(
    machine: &Machine,
    root: &Path,
    options: &OpenOptions,
) -> Result<(Archive, RecoveryReport), OpenError> {
    let path = || root.to_path_buf();
    match ArchiveLayout::on(machine, root).state()? {
        ArchiveState::Archive => {}
        ArchiveState::Absent | ArchiveState::Empty | ArchiveState::Interrupted => {
            return Err(OpenError::NotFound { path: path() });
        }
        ArchiveState::Remains => return Err(OpenError::CatalogMissing { path: path() }),
        ArchiveState::Foreign => return Err(OpenError::NotAnArchive { path: path() }),
    }
    let (machine, sharing) = machine_for_use(machine, root)?;
    open_shared(ArchiveLayout::on(&machine, root), sharing, options)
}

/// Opens an archive that is there, in the way that processes share it.
pub(super) fn open_shared(
    layout: ArchiveLayout,
    sharing: Sharing,
    options: &OpenOptions,
) -> Result<(Archive, RecoveryReport), OpenError> {
    // Before anything of it is touched, and once more behind the lock on the catalog, for which such a process looks.
    expect_nobody_alone(&layout, sharing)?;
    let has_dead_session = options.access == Access::Write && recovery::has_dead_session(&layout)?;
    if has_dead_session {
        // A database that was not closed is settled by opening it.
        ballast::give_way(&layout, 0);
    }
    let file_len_bytes = layout.catalog_len_bytes()?;
    let check = if has_dead_session {
        Check::Always
    } else {
        Check::WhenSmall { file_len_bytes }
    };
    let cache = options.resources.catalog_cache();
    let storage = Arc::clone(&layout.machine().storage);
    let open = || Catalog::open(&storage, &layout.catalog(), options.access, check, cache);
    let catalog = match options.access {
        Access::Write => ballast::again_with_room(&layout, open)?,
        Access::Read => open()?,
    };
    expect_nobody_alone(&layout, sharing)?;
    let catalog = Arc::new(catalog);
    let use_of = (options.access, options.resources.io);
    let media = Media::find(&layout, &catalog, use_of, options.volumes.clone())?;
    let shared = Shared::new(SharedParts {
        layout,
        catalog,
        access: options.access,
        media,
        resources: options.resources,
    })?;
    let report = match options.access {
        Access::Write => {
            shared.layout.remove_leftovers()?;
            let report = recovery::recover(&shared)?;
            ballast::settle(&shared.layout);
            note_moves(&shared);
            report
        }
        Access::Read => recovery::look(&shared),
    };
    Ok((
        Archive {
            shared: Arc::new(shared),
        },
        report,
    ))
}

impl From<HostError> for crate::error::CommitError {
    fn from(source: HostError) -> Self {
        Self::Host { source }
    }
}
