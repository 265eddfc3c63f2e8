//! Making an archive and opening one.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::Path, sync::Arc};

use super::{
    Archive, ArchiveOptions, OpenOptions, RecoveryReport, recovery,
    shared::{Shared, SharedParts},
    volumes::{Volumes, announce_epoch, read_slots},
};
use crate::{
    catalog::{Access, ArchiveRecord, Catalog, CatalogOptions, Check, VolumeRecord},
    error::{HostError, OpenError},
    format::FormatVersion,
    host::{
        ArchiveLayout, ArchiveState, Building, Clock, Existing, SystemClock, file_len_bytes, publish,
        random_bytes, set_private,
    },
    units::{ArchiveId, Epoch, VolumeId},
    volume::{LocalVolume, LocalVolumeOptions, Volume},
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
pub(super) fn create(root: &Path, options: &ArchiveOptions) -> Result<Archive, OpenError> {
    let layout = ArchiveLayout::new(root);
    let exists = || OpenError::Exists {
        path: root.to_path_buf(),
    };
    match layout.state()? {
        ArchiveState::Absent | ArchiveState::Empty | ArchiveState::Interrupted => {}
        ArchiveState::Archive | ArchiveState::Remains | ArchiveState::Foreign => return Err(exists()),
    }
    // Of two processes that find no archive one makes it, the other fails here.
    let build = layout.lock_for_building(Building::Creation)?;
    layout.remove_stale_temporaries(&build)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let archive = ArchiveRecord {
        id: ArchiveId::from_bytes(random_bytes()?),
        format_version: FormatVersion::CURRENT.get(),
        required_features: 0,
        created_at: clock.now(),
        policy: options.policy,
    };
    let volume = VolumeId::from_bytes(random_bytes()?);
    layout.create_directories()?;
    let local = LocalVolume::create(&layout.embedded_volume(), volume)?;
    announce_epoch(&local, archive.id, Epoch::ZERO)?;
    let record = VolumeRecord {
        number: EMBEDDED_VOLUME,
        id: volume,
        path: EMBEDDED_VOLUME_PATH.to_vec(),
    };
    let temporary = layout.root().join(TEMPORARY_CATALOG);
    let cache = CatalogOptions {
        cache_bytes: options.resources.catalog_cache_bytes,
    };
    Catalog::create(&temporary, &archive, &[record], cache)?;
    set_private(&temporary)?;
    // The catalog is complete and synced before it gets its name, and the name is synced before anyone relies on it.
    publish(&temporary, &layout.catalog(), Existing::Refuse)?;
    build.end()?;
    let open = OpenOptions {
        access: Access::Write,
        resources: options.resources,
    };
    Ok(super::create::open(root, &open)?.0)
}

/// Opens an archive.
pub(super) fn open(root: &Path, options: &OpenOptions) -> Result<(Archive, RecoveryReport), OpenError> {
    let layout = ArchiveLayout::new(root);
    let path = || root.to_path_buf();
    match layout.state()? {
        ArchiveState::Archive => {}
        ArchiveState::Absent | ArchiveState::Empty | ArchiveState::Interrupted => {
            return Err(OpenError::NotFound { path: path() });
        }
        ArchiveState::Remains => return Err(OpenError::CatalogMissing { path: path() }),
        ArchiveState::Foreign => return Err(OpenError::NotAnArchive { path: path() }),
    }
    let has_dead_session = options.access == Access::Write && recovery::has_dead_session(&layout)?;
    let file_len_bytes = file_len_bytes(&layout.catalog())?;
    let check = if has_dead_session {
        Check::Always
    } else {
        Check::WhenSmall { file_len_bytes }
    };
    let cache = CatalogOptions {
        cache_bytes: options.resources.catalog_cache_bytes,
    };
    let catalog = Catalog::open(&layout.catalog(), options.access, check, cache)?;
    let volumes = open_volumes(&layout, &catalog, options)?;
    if options.access == Access::Write {
        refuse_stale_catalog(&catalog, &volumes)?;
    }
    let shared = Shared::new(SharedParts {
        layout,
        catalog,
        access: options.access,
        volumes,
        resources: options.resources,
        clock: Arc::new(SystemClock),
    })?;
    let report = match options.access {
        Access::Write => recovery::recover(&shared)?,
        Access::Read => RecoveryReport::default(),
    };
    Ok((
        Archive {
            shared: Arc::new(shared),
        },
        report,
    ))
}

fn open_volumes(
    layout: &ArchiveLayout,
    catalog: &Catalog,
    options: &OpenOptions,
) -> Result<Volumes, OpenError> {
    let mut volumes: Vec<Arc<dyn Volume>> = Vec::new();
    for record in catalog.read()?.volumes()? {
        let path = layout.root().join(OsStr::from_bytes(&record.path));
        let opened = match options.access {
            Access::Write => LocalVolume::open(&path, record.id)?,
            Access::Read => LocalVolume::open_without_slots(&path, record.id)?,
        };
        let local = opened.with_options(&LocalVolumeOptions {
            io_mode: options.resources.io,
            ..LocalVolumeOptions::default()
        });
        match (
            read_slots(&local).map(|slots| slots.map(|slots| slots.newest)),
            options.access,
        ) {
            (Ok(Ok(slot)), _) if slot.volume == record.id && slot.archive == catalog.archive().id => {}
            (Ok(Ok(slot)), _) => {
                return Err(OpenError::VolumeForeign {
                    path,
                    expected: record.id,
                    found: slot.volume,
                });
            }
            // What a newer version wrote may mean something else to a reader too.
            (Ok(Err(source)), access) if access == Access::Write || source.needs_newer_version() => {
                return Err(OpenError::VolumeSlots { path, source });
            }
            (Err(source), Access::Write) => return Err(source.into()),
            // A reader needs no slot: every leaf is verified anyway.
            (Ok(Err(_)) | Err(_), _) => {}
        }
        volumes.push(Arc::new(local));
    }
    Ok(Volumes::new(volumes))
}

/// Refuses to write beside a catalog that is older than what its volumes have seen.
///
/// Such a catalog does not know the newest files; taking over extents with it would cut them off (P8).
fn refuse_stale_catalog(catalog: &Catalog, volumes: &Volumes) -> Result<(), OpenError> {
    for volume in volumes.iter() {
        let Ok(slots) = read_slots(volume.as_ref())? else {
            continue;
        };
        // Read after the slots: what they call settled was in the catalog before.
        let epoch = catalog.read()?.epoch()?;
        if slots.settled > epoch {
            return Err(OpenError::CatalogStale {
                catalog: epoch,
                seen: slots.settled,
                volume: volume.id(),
            });
        }
    }
    Ok(())
}

impl From<HostError> for crate::error::CommitError {
    fn from(source: HostError) -> Self {
        Self::Host { source }
    }
}
