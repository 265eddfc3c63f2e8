//! Letting an archive go on behind everything that its volumes have heard of, with a journal that begins anew.

use std::{path::PathBuf, sync::Arc};

use crate::{
    archive::{
        media::{places_on, volumes_with_journal},
        volumes::announce_epoch,
    },
    catalog::{ArchiveRecord, VolumeRecord},
    error::{OpenError, PublicationError, VolumeError},
    format::JournalState,
    host::{ArchiveLayout, Machine},
    journal::Journal,
    merkle::ChainHash,
    units::{Epoch, VolumeId},
    volume::LocalVolume,
};

/// Where an archive goes on.
pub(super) struct Restart<'a> {
    pub(super) archive: &'a ArchiveRecord,
    /// Where its volumes are, and their rows.
    pub(super) volumes: Vec<(PathBuf, VolumeRecord)>,
    pub(super) epoch: Epoch,
    /// Stands for the records before: two catalogs that were made in this way from one archive have gone two ways.
    pub(super) hash: ChainHash,
}

impl Restart<'_> {
    /// Makes a new segment in each copy of the journal, behind which the next record goes. Old segments stay as they are.
    pub(super) fn journal(&self, layout: &ArchiveLayout) -> Result<JournalState, OpenError> {
        let storage = &layout.machine().storage;
        let is_writable = |path: &PathBuf| !LocalVolume::is_read_only_on(storage.as_ref(), path);
        let mut chosen: Vec<(u16, VolumeId, PathBuf)> = (self.volumes.iter())
            .filter(|(path, _)| is_writable(path))
            .map(|(path, record)| (record.number, record.id, path.clone()))
            .collect();
        chosen.sort();
        chosen.truncate(volumes_with_journal(&self.archive.policy));
        let journal = Journal::new(
            Arc::clone(storage),
            self.archive.id,
            places_on(chosen.into_iter()),
        );
        let state = JournalState {
            epoch: self.epoch,
            hash: self.hash,
            // Of the records before nothing is known but that they are gone.
            forgotten: self.epoch,
            written_bytes: 0,
            copies: Vec::new(),
        };
        Ok(journal.restart(&state).map_err(PublicationError::from)?)
    }

    /// Announces the epoch to the volumes, and returns their rows as they are then: one that takes no writes has not heard of it, and
    /// is read all the same.
    pub(super) fn announce(self, layout: &ArchiveLayout) -> Vec<VolumeRecord> {
        let storage = &layout.machine().storage;
        let announce = |path: &PathBuf, id| -> Result<(), VolumeError> {
            LocalVolume::restore_slots_on(storage.as_ref(), path)?;
            let volume = LocalVolume::open_on(Arc::clone(storage), path, id)?;
            announce_epoch(&volume, self.archive.id, (self.epoch, self.hash))
        };
        let announced = self.volumes.into_iter().map(|(path, record)| VolumeRecord {
            epoch: announce(&path, record.id).map_or(Epoch::ZERO, |()| self.epoch),
            ..record
        });
        announced.collect()
    }
}

/// Returns a hash that no other archive goes on with.
pub(super) fn some_hash(machine: &Machine) -> Result<ChainHash, OpenError> {
    loop {
        let hash = ChainHash::from_bytes(machine.random_bytes()?);
        if hash != ChainHash::NONE {
            return Ok(hash);
        }
    }
}
