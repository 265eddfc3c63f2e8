//! How stored files are, as far as the catalog knows: what scrubs and reads have found, and when bytes were read back.
//!
//! No byte of a file is read for any of it.

use super::{FileInfo, Snapshot, name_pages::Entry};
use crate::{
    catalog::{CatalogReader, DamagedFile, EntryKind, FileState, HealthTotals, Totals, Verified},
    error::CatalogError,
    units::{FileId, FileName, Timestamp},
};

/// What is known about whether a file can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthState {
    /// No damage is known.
    Healthy,
    /// Shards are damaged, and every byte can be decoded.
    Degraded,
    /// Bytes cannot be decoded.
    Lost,
}

impl From<FileState> for HealthState {
    fn from(state: FileState) -> Self {
        match state {
            FileState::Degraded => Self::Degraded,
            FileState::Lost => Self::Lost,
        }
    }
}

/// What a file may be asked for as. Being unverified is no state: a file of any state may be that, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HealthClass {
    /// It is in that state.
    State(HealthState),
    /// Some byte was not read back since it was committed.
    Unverified,
}

/// Sums over the archive, all of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ArchiveHealth {
    /// What is stored.
    pub stored: Totals,
    /// What is known to be damaged or not verified.
    pub known: HealthTotals,
}

impl ArchiveHealth {
    /// Returns the number of files, kept versions among them, of which no damage is known, those among them that were never read
    /// back.
    pub const fn healthy_files(&self) -> u64 {
        let damaged = self.known.degraded_files + self.known.lost_files;
        let files = self.stored.files.saturating_add(self.stored.kept.files);
        files.saturating_sub(damaged)
    }

    /// Returns the state of the archive: that of its worst file. Damage of what commits have written about their files
    /// degrades it at most, since no file loses a byte by that.
    pub const fn state(&self) -> HealthState {
        if self.known.lost_files > 0 {
            HealthState::Lost
        } else if self.known.damaged_shards > 0 {
            HealthState::Degraded
        } else {
            HealthState::Healthy
        }
    }
}

/// How a file is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileHealth {
    /// The file.
    pub file: FileInfo,
    /// Its state.
    pub state: HealthState,
    /// Whether some byte was not read back since the file was committed; changes no state.
    pub is_unverified: bool,
    /// Damaged shards.
    pub damaged_shards: u64,
    /// How many more shards the worst column may lose: all parity shards of a healthy file, 0 when bytes are lost, and 0 too when
    /// a block of tier 4 can be decoded with its group alone.
    pub margin: u16,
    /// Bytes that cannot be decoded.
    pub lost_bytes: u64,
    /// When the first of the damage was found.
    pub since: Option<Timestamp>,
    /// When the byte was verified that was verified longest ago. `None` when some byte never was where it lies now, when there
    /// is none, and when nobody asked.
    pub last_verified: Option<Timestamp>,
}

impl FileHealth {
    /// Returns the one word for it: the state, where that is not healthy, else whether it is unverified.
    pub const fn class(&self) -> HealthClass {
        match self.state {
            HealthState::Healthy if self.is_unverified => HealthClass::Unverified,
            HealthState::Healthy | HealthState::Degraded | HealthState::Lost => {
                HealthClass::State(self.state)
            }
        }
    }

    /// Says whether the file is to be listed when those of a class are asked for.
    pub fn is_in(&self, class: HealthClass) -> bool {
        match class {
            HealthClass::State(state) => self.state == state,
            HealthClass::Unverified => self.is_unverified,
        }
    }

    /// How a file is whose bytes were read back.
    fn new(entry: &Entry, damage: Option<&DamagedFile>) -> Self {
        let file = FileInfo::from(entry.0.clone());
        Self {
            state: damage.map_or(HealthState::Healthy, |damage| damage.state.into()),
            is_unverified: false,
            damaged_shards: damage.map_or(0, |damage| damage.shards),
            margin: damage.map_or(file.shape.parity(), |damage| damage.margin),
            lost_bytes: damage.map_or(0, |damage| damage.lost_bytes),
            since: damage.map(|damage| damage.since),
            last_verified: None,
            file,
        }
    }
}

impl Snapshot {
    /// Returns the sums over everything that is stored and known to be damaged, at a cost that does not grow with it.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be read.
    pub fn health_totals(&self) -> Result<ArchiveHealth, CatalogError> {
        let reader = self.shared.catalog.read()?;
        Ok(ArchiveHealth {
            stored: reader.totals()?,
            known: reader.health()?,
        })
    }

    /// Returns how a file is, or `None` when there is no file of that name; directories and links have no health.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be read.
    pub fn file_health(&self, name: &FileName) -> Result<Option<FileHealth>, CatalogError> {
        let reader = self.shared.catalog.read()?;
        let Some(file) = self.find(&reader, name)? else {
            return Ok(None);
        };
        let Some(entry) = reader.files_by_ids(&[file.id])?.pop().flatten() else {
            return Ok(None);
        };
        let Some(mut health) = healths(&reader, std::slice::from_ref(&entry))?.pop().flatten() else {
            return Ok(None);
        };
        health.last_verified = last_verified(&reader, &mut Verified::default(), &entry, &health)?;
        Ok(Some(health))
    }
}

/// Returns how entries are, in their order, but for when they were verified last; `None` for those that are no files.
pub(super) fn healths(
    reader: &CatalogReader,
    entries: &[Entry],
) -> Result<Vec<Option<FileHealth>>, CatalogError> {
    let damage = reader.damaged_files(&ids_of(entries))?;
    healths_of_damage(reader, entries, &damage)
}

/// Returns the same for entries of which is known what is wrong with them.
pub(super) fn healths_of_damage(
    reader: &CatalogReader,
    entries: &[Entry],
    damage: &[Option<DamagedFile>],
) -> Result<Vec<Option<FileHealth>>, CatalogError> {
    let known = damage.iter().zip(reader.are_unverified(&ids_of(entries))?);
    let healths = entries.iter().zip(known).map(|(entry, (damage, is_unverified))| {
        let is_file = entry.0.kind == EntryKind::File;
        is_file.then(|| FileHealth {
            is_unverified,
            ..FileHealth::new(entry, damage.as_ref())
        })
    });
    Ok(healths.collect())
}

fn ids_of(entries: &[Entry]) -> Vec<FileId> {
    entries.iter().map(|(record, _block)| record.id).collect()
}

/// Looks up when a file was verified. One that is known to have bytes that never were costs nothing; any other a look at each of
/// its blocks.
pub(super) fn last_verified(
    reader: &CatalogReader,
    verified: &mut Verified,
    entry: &Entry,
    health: &FileHealth,
) -> Result<Option<Timestamp>, CatalogError> {
    if health.is_unverified {
        return Ok(None);
    }
    verified.oldest_of_entry(reader, (&entry.0, entry.1.as_ref()))
}
