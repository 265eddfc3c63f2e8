//! What the journal knows of an archive whose catalog is lost.

use core::cmp::Reverse;
use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    sync::Arc,
};

use crate::{
    archive::{OpenOptions, publication::parse, volumes::Search},
    catalog::{
        ArchiveRecord, BlockRecord, Checkpoint, CheckpointStep, Publication, Relocation, ShardOwner,
        VolumeChange, VolumeRecord,
    },
    error::{CatalogBytesError, JournalError, OpenError, PublicationError},
    format::{MAX_JOURNAL_COPIES, VolumeSlot},
    host::ArchiveLayout,
    journal::{CopyPlace, Journal, copies_below},
    units::{ArchiveId, CommitId, Epoch, ExtentId},
    volume::IoMode,
};

/// What the journal knows of an archive.
pub(super) struct Past {
    pub(super) archive: ArchiveRecord,
    /// All volumes that there were, as they are now.
    volumes: BTreeMap<u16, VolumeChange>,
    pub(super) last: Publication,
    /// The first publication whose record is there.
    pub(super) first_epoch: Epoch,
    /// The checkpoints behind which all records are there, the newest first.
    pub(super) checkpoints: Vec<Checkpoint>,
    slices: SlicePlaces,
}

/// Where slices of checkpoints went.
#[derive(Default)]
struct SlicePlaces {
    known: BTreeSet<CommitId>,
    /// Numbers of the volumes of extents in which they lie.
    volumes: BTreeMap<ExtentId, u16>,
    moved: Vec<Relocation>,
}

impl Past {
    /// Looks for the journal on the volumes that the archive holds itself, on those that the caller has named, and on all that
    /// the journal names, until no more come to light.
    pub(super) fn find(layout: &ArchiveLayout, options: &OpenOptions) -> Result<Self, OpenError> {
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
        let mut gathered = Gathered::default();
        for entry in scan.chain() {
            let record = journal.load(entry).map_err(PublicationError::from)?;
            gathered.add(parse(&record)?, first_epoch);
        }
        let Gathered {
            founded,
            volumes,
            last,
            mut checkpoints,
            slices,
        } = gathered;
        let founded = match founded {
            Some(founded) if founded.id == archive => founded,
            // Records that go on behind the last checkpoint, without it.
            None if first_epoch != Epoch::ZERO.next() => {
                let (catalog, journal) = (Epoch::ZERO, first_epoch);
                return Err(PublicationError::Gap { catalog, journal }.into());
            }
            Some(_) | None => return Err(without_beginning(first_epoch).into()),
        };
        checkpoints.reverse();
        Ok(Self {
            archive: founded,
            volumes,
            last: last.ok_or_else(missing)?,
            first_epoch,
            checkpoints,
            slices,
        })
    }

    /// Returns the rows of the volumes: with all that came later, since what the journal has lies on those that are there now.
    pub(super) fn volumes(&self) -> Vec<VolumeRecord> {
        let record = |volume: &VolumeChange| VolumeRecord {
            number: volume.number,
            id: volume.id,
            path: volume.path.clone(),
            state: volume.state,
            epoch: Epoch::ZERO,
        };
        self.volumes.values().map(record).collect()
    }

    /// Returns the numbers of the volumes of extents that hold slices.
    pub(super) fn volumes_of_slices(&self) -> impl Iterator<Item = (ExtentId, u16)> {
        self.slices
            .volumes
            .iter()
            .map(|(&extent, &volume)| (extent, volume))
    }

    /// Returns where a slice lies now that lay there when its checkpoint was completed.
    pub(super) fn moved(&self, commit: CommitId, block: &BlockRecord) -> BlockRecord {
        let mut block = block.clone();
        let of_it = |moved: &&Relocation| moved.owner == ShardOwner::Descriptor(commit);
        for moved in self.slices.moved.iter().filter(of_it) {
            let shard = (block.shards.get_mut(moved.shard.as_usize())).and_then(Option::as_mut);
            if let Some(shard) = shard.filter(|shard| shard.address() == moved.from) {
                (shard.extent, shard.offset) = (moved.to.extent, moved.to.offset);
            }
        }
        block
    }
}

/// What is gathered from record to record.
#[derive(Default)]
struct Gathered {
    founded: Option<ArchiveRecord>,
    volumes: BTreeMap<u16, VolumeChange>,
    last: Option<Publication>,
    checkpoints: Vec<Checkpoint>,
    slices: SlicePlaces,
}

impl Gathered {
    fn add(&mut self, mut publication: Publication, first_epoch: Epoch) {
        self.slices.add(&publication);
        let checkpoint = match publication.checkpoint.take() {
            Some(CheckpointStep::Complete(checkpoint)) => Some(*checkpoint),
            Some(CheckpointStep::Slice | CheckpointStep::GiveUp(_)) | None => None,
        };
        let founding =
            (publication.founding.iter()).chain(checkpoint.iter().map(|checkpoint| &checkpoint.founding));
        for founding in founding {
            self.founded.get_or_insert_with(|| founding.archive.clone());
            for volume in &founding.volumes {
                // What records say of it may be later.
                self.volumes
                    .entry(volume.number)
                    .or_insert_with(|| volume.clone());
            }
        }
        let changes = publication.volumes.iter();
        self.volumes
            .extend(changes.map(|volume| (volume.number, volume.clone())));
        self.last = Some(publication);
        // With all records behind it, and no more than are kept: an older one has slices that are gone.
        if let Some(checkpoint) = checkpoint.filter(|checkpoint| checkpoint.epoch.next() >= first_epoch) {
            self.checkpoints.push(checkpoint);
            let surplus = self.checkpoints.len().saturating_sub(2);
            self.checkpoints.drain(..surplus);
        }
    }
}

impl SlicePlaces {
    fn add(&mut self, publication: &Publication) {
        let is_slice = publication.checkpoint == Some(CheckpointStep::Slice);
        if is_slice {
            self.known.extend(publication.commit);
        }
        let is_of_slice = |moved: &&Relocation| match moved.owner {
            ShardOwner::Descriptor(commit) => self.known.contains(&commit),
            ShardOwner::Block(_) | ShardOwner::InlineBlockOf(_) => false,
        };
        let before = self.moved.len();
        self.moved
            .extend(publication.relocated.iter().filter(is_of_slice).copied());
        if is_slice || self.moved.len() > before {
            let extents = publication.extents.iter();
            self.volumes
                .extend(extents.map(|extent| (extent.id, extent.volume)));
        }
    }
}

fn without_beginning(epoch: Epoch) -> PublicationError {
    let source = CatalogBytesError::Impossible {
        field: "beginning of an archive",
    };
    PublicationError::Record { epoch, source }
}

/// Returns the volumes below the archive and at some places that say which they are.
pub(in crate::archive) fn volumes_at(
    layout: &ArchiveLayout,
    places: &[PathBuf],
) -> Vec<(PathBuf, VolumeSlot)> {
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
pub(in crate::archive) fn the_archive(
    found: &[(PathBuf, VolumeSlot)],
) -> Result<Option<ArchiveId>, OpenError> {
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
