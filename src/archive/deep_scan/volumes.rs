//! The volumes of an archive whose catalog and journal are lost: those that say themselves that they are of it.

use std::{
    collections::BTreeMap,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::extent::ScannedExtent;
use crate::{
    archive::{
        rebuild::{the_archive, volumes_at},
        volumes::{Member, Search, VolumeCondition, Volumes},
    },
    catalog::{VolumeRecord, VolumeState},
    error::OpenError,
    format::{ClaimedExtent, EXTENT_HEADER_LEN_BYTES, ExtentIdentity, VolumeSlot},
    geometry::LaneSpace,
    host::ArchiveLayout,
    units::{ArchiveId, Epoch, VolumeId},
    volume::{IoMode, LocalVolume, LocalVolumeOptions, Volume},
};

/// A volume that is there.
#[derive(Debug)]
pub(super) struct FoundVolume {
    pub(super) id: VolumeId,
    pub(super) path: PathBuf,
    pub(super) volume: Arc<dyn Volume>,
    /// How far it has come, if one of its slots says so.
    pub(super) epoch: Epoch,
    /// What was found in it.
    pub(super) extents: Vec<ScannedExtent>,
}

/// The volumes of one archive.
#[derive(Debug)]
pub(super) struct FoundVolumes {
    pub(super) archive: ArchiveId,
    pub(super) volumes: Vec<FoundVolume>,
}

impl FoundVolumes {
    /// Looks below the archive and at the places that the caller has named. A volume whose slots are both damaged is known by the
    /// headers of its extents.
    pub(super) fn find(
        layout: &ArchiveLayout,
        places: &[PathBuf],
        io: IoMode,
    ) -> Result<Option<Self>, OpenError> {
        let mut named = volumes_at(layout, places);
        let nameless = nameless_at(layout, places, &named)?;
        named.extend(nameless);
        let Some(archive) = the_archive(&named)? else {
            return Ok(None);
        };
        // Of a volume that is there twice the newest is used.
        named.sort_by_key(|(_, slot)| (slot.volume, core::cmp::Reverse((slot.epoch, slot.sequence))));
        named.dedup_by_key(|(_, slot)| slot.volume);
        let mut volumes = Vec::new();
        for (path, slot) in named {
            let storage = Arc::clone(&layout.machine().storage);
            let local = LocalVolume::open_without_slots_on(storage, &path, slot.volume)?;
            let volume = local.with_options(&LocalVolumeOptions {
                io_mode: io,
                ..LocalVolumeOptions::default()
            });
            volumes.push(FoundVolume {
                id: slot.volume,
                path,
                volume: Arc::new(volume),
                epoch: slot.epoch,
                extents: Vec::new(),
            });
        }
        Ok(Some(Self { archive, volumes }))
    }

    /// Returns the volumes to read from while no catalog says what lies where.
    pub(super) fn to_read(&self) -> Arc<Volumes> {
        let members = self.volumes.iter().zip(0..).map(|(found, number)| Member {
            record: found.record(number, Vec::new()),
            path: found.path.clone(),
            volume: Arc::clone(&found.volume),
            condition: VolumeCondition::ReadOnly,
            doubles: Vec::new(),
        });
        let volumes = Volumes::of_scan(members.collect());
        for (found, number) in self.volumes.iter().zip(0..) {
            for extent in &found.extents {
                volumes.note(extent.id, number);
            }
        }
        Arc::new(volumes)
    }

    /// Returns the numbers of the volumes, in their order, and those below the highest that no volume has: they are missing, or
    /// were removed. The lane of an extent says which number its volume has.
    pub(super) fn numbers(&self, lanes: LaneSpace) -> Result<(Vec<u16>, Vec<u16>), OpenError> {
        let mut claimed: BTreeMap<u16, usize> = BTreeMap::new();
        let claims: Vec<Option<u16>> = self.volumes.iter().map(|found| found.claim(lanes)).collect();
        for (index, claim) in claims.iter().enumerate() {
            if let Some(number) = claim {
                claimed.entry(*number).or_insert(index);
            }
        }
        let highest = claimed.keys().next_back().copied();
        let missing = (0..highest.unwrap_or(0)).filter(|number| !claimed.contains_key(number));
        let missing = missing.collect();
        // Behind all that are known to have been given.
        let mut next = highest.map_or(0, |highest| highest + 1);
        let mut numbers = Vec::new();
        for (index, claim) in claims.into_iter().enumerate() {
            let number = match claim {
                Some(number) if claimed.get(&number) == Some(&index) => number,
                Some(_) | None => {
                    next += 1;
                    next - 1
                }
            };
            if !lanes.has_volume(number) {
                return Err(OpenError::TooManyVolumes { count: number });
            }
            numbers.push(number);
        }
        Ok((numbers, missing))
    }

    /// Returns the highest epoch that a volume has heard of.
    pub(super) fn epoch(&self) -> Epoch {
        let epochs = self.volumes.iter().map(|found| found.epoch);
        epochs.max().unwrap_or(Epoch::ZERO)
    }
}

impl FoundVolume {
    pub(super) fn record(&self, number: u16, path: Vec<u8>) -> VolumeRecord {
        VolumeRecord {
            number,
            id: self.id,
            path,
            state: VolumeState::Active,
            epoch: Epoch::ZERO,
        }
    }

    /// Returns the path that the catalog keeps: relative to the archive where it lies in it, absolute otherwise.
    pub(super) fn path_to_keep(&self, layout: &ArchiveLayout) -> Vec<u8> {
        if let Ok(below) = self.path.strip_prefix(layout.root()) {
            return below.as_os_str().as_bytes().to_vec();
        }
        let found = layout.machine().storage.canonical(&self.path);
        let path = found.unwrap_or_else(|_| self.path.clone());
        path.into_os_string().into_encoded_bytes()
    }

    /// Returns the number that most of its extents were made under.
    fn claim(&self, lanes: LaneSpace) -> Option<u16> {
        let mut counts: BTreeMap<u16, usize> = BTreeMap::new();
        for header in self.extents.iter().filter_map(|extent| extent.header) {
            *counts.entry(lanes.volume_of(header.lane)).or_default() += 1;
        }
        let claims = counts.into_iter();
        let most = claims.max_by_key(|(number, count)| (*count, core::cmp::Reverse(*number)));
        most.map(|(number, _)| number)
    }
}

/// Returns the volumes whose slots say nothing, as if their slots said what the headers of their extents say.
fn nameless_at(
    layout: &ArchiveLayout,
    places: &[PathBuf],
    named: &[(PathBuf, VolumeSlot)],
) -> Result<Vec<(PathBuf, VolumeSlot)>, OpenError> {
    let search = Search {
        layout,
        archive: ArchiveId::from_bytes([0; 16]),
        io: IoMode::Auto,
        places,
    };
    let mut paths = search.below_archive();
    paths.extend(places.iter().cloned());
    paths.retain(|path| !named.iter().any(|(other, _)| search.is_same(other, path)));
    let mut nameless: Vec<(PathBuf, VolumeSlot)> = Vec::new();
    for path in paths {
        refuse_newer(layout, &path)?;
        let Some(identity) = identity_at(layout, &path) else {
            continue;
        };
        let slot = VolumeSlot {
            archive: identity.archive,
            volume: identity.volume,
            sequence: 0,
            epoch: Epoch::ZERO,
            chain_hash: [0; 32],
            features: crate::format::Features::NONE,
        };
        if !nameless.iter().any(|(other, _)| search.is_same(other, &path)) {
            nameless.push((path, slot));
        }
    }
    Ok(nameless)
}

/// Refuses a volume that a newer version has written to: its bytes may mean something else.
fn refuse_newer(layout: &ArchiveLayout, path: &Path) -> Result<(), OpenError> {
    let slots = LocalVolume::read_slots_on(layout.machine().storage.as_ref(), path);
    for source in slots
        .into_iter()
        .flatten()
        .filter_map(|slot| VolumeSlot::parse(&slot[..]).err())
    {
        if source.needs_newer_version() {
            let path = path.to_path_buf();
            return Err(OpenError::VolumeSlots { path, source });
        }
    }
    Ok(())
}

/// Returns what the first extent header says that can be read in a directory.
fn identity_at(layout: &ArchiveLayout, path: &Path) -> Option<ExtentIdentity> {
    let nobody = VolumeId::from_bytes([0; 16]);
    let storage = Arc::clone(&layout.machine().storage);
    let local = LocalVolume::open_without_slots_on(storage, path, nobody).ok()?;
    let mut header = [0; EXTENT_HEADER_LEN_BYTES];
    local.extents().ok()?.into_iter().find_map(|stat| {
        local.read_at(stat.extent, 0, &mut header).ok()?;
        let claimed = ClaimedExtent::parse(&header).ok()?;
        (claimed.identity().extent == stat.extent).then_some(*claimed.identity())
    })
}
