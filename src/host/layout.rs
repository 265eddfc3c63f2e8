//! The directory of an archive: what is where, what state it is in, and who may build in it.
//!
//! ```text
//! <root>/                0700, everything that bfdb makes in it for its owner alone
//!   catalog.redb
//!   sessions/<id>
//!   volumes/v0/          the embedded volume
//!   alone.lock           where locks do not work: the one process that uses the archive
//!   ballast              space to give away when the disk is full; anybody may remove it
//!   building.tmp         while a catalog is created or rebuilt
//!   *.tmp                leftovers of something interrupted
//! ```
//!
//! It knows names only; what is in a catalog or a volume is the business of others.

use std::{
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Machine,
    alone::ALONE,
    ballast::Ballast,
    directory::directory_of,
    files::{create_directory, list_directory, open_file, sync_directory},
    lock::{Claim, LockedFile, contents_of, open_if_there, says},
};
use crate::{
    error::{FileKind, HostError, HostOperation},
    storage::{FileAccess, Storage},
};

const CATALOG: &str = "catalog.redb";
const SESSIONS: &str = "sessions";
const VOLUMES: &str = "volumes";
const EMBEDDED_VOLUME: &str = "v0";
const SLOTS: &str = "volume.bfv";
const BALLAST: &str = "ballast";
const BUILDING: &str = "building.tmp";
const TEMPORARY_SUFFIX: &[u8] = b".tmp";

/// Where the parts of an archive are, and on which machine.
#[derive(Debug, Clone)]
pub struct ArchiveLayout {
    machine: Machine,
    root: PathBuf,
}

/// What a directory holds that is or may become an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveState {
    /// There is nothing at the path.
    Absent,
    /// A directory with nothing in it but temporary names (and a ballast, and the `lost+found` of a file system's root).
    Empty,
    /// A creation began here and never ended, or runs now: what is there was never an archive. Even so, nothing of it may
    /// be replaced unseen: somebody may have put a volume back since.
    Interrupted,
    /// There is a catalog.
    Archive,
    /// No catalog, but sessions, volumes or an old catalog: an archive that lost its catalog. It is rebuilt, never made anew.
    Remains,
    /// Something else is in there.
    Foreign,
}

/// Why somebody builds in the directory of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Building {
    /// A new archive.
    Creation,
    /// A new catalog for an archive that has volumes.
    Rebuild,
}

/// The right to make a catalog, held by one process at a time.
///
/// Dropped, it leaves `building.tmp` behind, unlocked: the mark of an interruption, by which [`ArchiveState::Interrupted`]
/// is told from [`ArchiveState::Remains`].
#[derive(Debug)]
#[must_use]
pub struct BuildLock {
    locked: LockedFile,
}

impl ArchiveLayout {
    /// Names the parts of the archive at `root` on the machine that the process runs on; touches nothing.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self::on(&Machine::default(), root)
    }

    /// Names the parts of the archive at `root` on a machine; touches nothing.
    pub fn on(machine: &Machine, root: impl Into<PathBuf>) -> Self {
        Self {
            machine: machine.clone(),
            root: root.into(),
        }
    }

    /// Returns the machine that the archive is on.
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Returns the directory of the archive.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the path of the catalog.
    pub fn catalog(&self) -> PathBuf {
        self.root.join(CATALOG)
    }

    /// Returns the directory of the session files.
    pub fn sessions(&self) -> PathBuf {
        self.root.join(SESSIONS)
    }

    /// Returns the directory of the volumes that the archive holds itself.
    pub fn volumes(&self) -> PathBuf {
        self.root.join(VOLUMES)
    }

    /// Returns the directory of the volume that an archive has when no other is named.
    pub fn embedded_volume(&self) -> PathBuf {
        self.volumes().join(EMBEDDED_VOLUME)
    }

    /// Returns the space that is kept for a full disk, whether it is there or not.
    pub fn ballast(&self) -> Ballast {
        Ballast::new(Arc::clone(&self.machine.storage), self.root.join(BALLAST))
    }

    /// Returns how many bytes an ordinary user may still write to the file system that the archive is on; `u64::MAX` where
    /// it does not count. Somebody else may take them the moment after: reserve space, do not count on it.
    ///
    /// # Errors
    /// [`HostError::Io`] when there is no archive or it cannot be asked.
    pub fn free_bytes(&self) -> Result<u64, HostError> {
        let free = self.storage().free_bytes(&self.root);
        free.map_err(HostError::io(HostOperation::MeasureSpace, &self.root))
    }

    /// Returns how many bytes more this process may write there than are free for an ordinary user; none where that cannot be
    /// told.
    pub fn reserved_bytes(&self) -> u64 {
        self.storage().reserved_bytes(&self.root).unwrap_or(0)
    }

    /// Returns a file on the file system that the sessions are on, to try its locks on: none that a link leads to. The catalog
    /// may be such a one; the slots of the embedded volume are not.
    ///
    /// # Errors
    /// [`HostError::Io`] when it cannot be told what stands there.
    pub fn file_to_try_locks_on(&self) -> Result<Option<PathBuf>, HostError> {
        for path in [self.catalog(), self.embedded_volume().join(SLOTS)] {
            match self.storage().inspect(&path) {
                Ok(found) if found.kind == FileKind::Regular => return Ok(Some(path)),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(HostError::io(HostOperation::Inspect, &path)(error)),
            }
        }
        Ok(None)
    }

    /// Returns the length of the catalog in bytes.
    ///
    /// # Errors
    /// [`HostError::Io`] when it is not there.
    pub fn catalog_len_bytes(&self) -> Result<u64, HostError> {
        let path = self.catalog();
        let failed = |source| HostError::io(HostOperation::Inspect, &path)(source);
        let found = self.storage().canonical(&path).map_err(failed)?;
        Ok(self.storage().inspect(&found).map_err(failed)?.len_bytes)
    }

    /// Lets the system forget what it has read or written of the catalog, as far as that is on disk or was given up, so that
    /// the next read shows what the disk has. After a sync that failed the pages still hold what never arrived.
    ///
    /// # Errors
    /// [`HostError::Io`] when the catalog cannot be opened. Whether the system takes the advice is its business.
    pub fn forget_cached_catalog(&self) -> Result<(), HostError> {
        let path = self.catalog();
        let found = self.storage().canonical(&path);
        let found = found.map_err(HostError::io(HostOperation::Resolve, &path))?;
        let file = open_file(self.storage(), &found, FileAccess::Read)?;
        let info = file
            .info()
            .map_err(HostError::io(HostOperation::Inspect, &path))?;
        file.forget_cached(0, info.len_bytes);
        Ok(())
    }

    /// Says what is there.
    ///
    /// # Errors
    /// [`HostError::Io`] when the directory cannot be listed or is none.
    pub fn state(&self) -> Result<ArchiveState, HostError> {
        let Some(names) = list_directory(self.storage(), &self.root)? else {
            return Ok(ArchiveState::Absent);
        };
        let (mut remains, mut foreign) = (false, false);
        for name in names {
            let name = name.as_os_str();
            match name.as_bytes() {
                _ if name == CATALOG => return Ok(ArchiveState::Archive),
                temporary if temporary.ends_with(TEMPORARY_SUFFIX) => {}
                b"lost+found" => {}
                // It says nothing about what else is or was there: it holds no byte of anybody's.
                _ if name == BALLAST || name == ALONE => {}
                // An old catalog is kept beside its successor under a longer name.
                other if name == SESSIONS || name == VOLUMES || other.starts_with(CATALOG.as_bytes()) => {
                    remains = true;
                }
                _ => foreign = true,
            }
        }
        if self.marked()? == Some(Building::Creation) {
            return Ok(ArchiveState::Interrupted);
        }
        Ok(match (remains, foreign) {
            (true, _) => ArchiveState::Remains,
            (false, true) => ArchiveState::Foreign,
            (false, false) => ArchiveState::Empty,
        })
    }

    /// Makes the root, `sessions/` and `volumes/` for the owner alone; what is there stays as it is. When this returns, their
    /// names are durable.
    ///
    /// # Errors
    /// [`HostError::NotDirectory`] when something else has one of the names, [`HostError::Io`] otherwise.
    pub fn create_directories(&self) -> Result<(), HostError> {
        [self.root.clone(), self.sessions(), self.volumes()]
            .iter()
            .try_for_each(|path| create_directory(self.storage(), path))
    }

    /// Makes the root, for the owner alone, and its name durable.
    ///
    /// # Errors
    /// As for [`Self::create_directories`].
    pub fn create_root(&self) -> Result<(), HostError> {
        create_directory(self.storage(), &self.root)?;
        // An attempt before may have made the root and failed to make its name durable.
        sync_directory(self.storage(), directory_of(&self.root))
    }

    /// Makes the names in the root durable, that of the catalog among them.
    ///
    /// # Errors
    /// [`HostError::Io`].
    pub fn sync_names(&self) -> Result<(), HostError> {
        sync_directory(self.storage(), &self.root)
    }

    /// Takes the right to make a catalog, so that of two processes that find no archive one makes it and the other fails.
    /// The root is made when it is missing. A creation leaves its mark before it makes anything else.
    ///
    /// # Errors
    /// [`HostError::Locked`] when another process is building, [`HostError::Exists`] when an archive is to be created where
    /// the state is neither [`ArchiveState::Empty`] nor [`ArchiveState::Interrupted`], [`HostError::Io`] otherwise.
    pub fn lock_for_building(&self, building: Building) -> Result<BuildLock, HostError> {
        self.create_root()?;
        let path = self.root.join(BUILDING);
        let locked = match LockedFile::claim(&self.machine.storage, &path)? {
            Claim::Taken(locked) => locked,
            Claim::Held(_) => return Err(HostError::Locked { path }),
            // The mark is empty until the state is known: a crash before must not make remains look like a creation.
            Claim::Gone => match LockedFile::create(&self.machine, &path, b"") {
                Err(HostError::Exists { path }) => return Err(HostError::Locked { path }),
                other => other?,
            },
        };
        let state = self.state()?;
        match (building, state) {
            (Building::Rebuild, _)
            | (Building::Creation, ArchiveState::Empty | ArchiveState::Interrupted) => {
                locked.rewrite(building.mark())?;
                Ok(BuildLock { locked })
            }
            (Building::Creation, _) => {
                locked.remove()?;
                Err(HostError::Exists {
                    path: self.root.clone(),
                })
            }
        }
    }

    /// Removes what interrupted work left under temporary names in the root and in `sessions/`, and says what it was.
    ///
    /// Only whoever may build knows that no catalog is being built, hence the lock. Sessions that are just being made are
    /// locked and stay.
    ///
    /// # Errors
    /// [`HostError::Io`] when a directory cannot be listed or a name not removed, [`HostError::NotRegular`] when it is not
    /// a file: bfdb made no such thing.
    ///
    /// # Panics
    /// With the lock of another archive.
    pub fn remove_stale_temporaries(&self, lock: &BuildLock) -> Result<Vec<PathBuf>, HostError> {
        assert_eq!(
            lock.locked.path().parent(),
            Some(self.root()),
            "the lock of another archive"
        );
        let mut removed = Vec::new();
        for directory in [self.root.clone(), self.sessions()] {
            for path in temporaries_in(self.storage(), &directory)? {
                if path == lock.locked.path() {
                    continue;
                }
                if let Claim::Taken(stale) = LockedFile::claim(&self.machine.storage, &path)? {
                    stale.remove()?;
                    removed.push(path);
                }
            }
        }
        Ok(removed)
    }

    /// Removes what interrupted work left under temporary names beside a catalog that is there, unless somebody builds just
    /// now. What a creation that failed at its very end has named is made durable first.
    ///
    /// # Errors
    /// As for [`Self::remove_stale_temporaries`]; [`HostError::Io`] also when the root cannot be synced.
    pub fn remove_leftovers(&self) -> Result<(), HostError> {
        let mut found = temporaries_in(self.storage(), &self.root)?;
        found.extend(temporaries_in(self.storage(), &self.sessions())?);
        if found.is_empty() {
            return Ok(());
        }
        let mark = self.root.join(BUILDING);
        let lock = match LockedFile::claim(&self.machine.storage, &mark)? {
            Claim::Held(_) => return Ok(()),
            Claim::Taken(lock) => Some(lock),
            Claim::Gone => None,
        };
        // The mark stays until the name of the catalog is durable: a creation may have failed to make it so.
        self.sync_names()?;
        for path in found.into_iter().filter(|path| *path != mark) {
            if let Claim::Taken(stale) = LockedFile::claim(&self.machine.storage, &path)? {
                stale.remove()?;
            }
        }
        lock.map_or(Ok(()), |lock| lock.remove())
    }

    /// Returns what the mark in the directory says is or was being built.
    fn marked(&self) -> Result<Option<Building>, HostError> {
        let path = self.root.join(BUILDING);
        let Some(file) = open_if_there(self.storage(), &path)? else {
            return Ok(None);
        };
        let contents = contents_of(file.as_ref(), &path)?;
        Ok([Building::Creation, Building::Rebuild]
            .into_iter()
            .find(|building| says(&contents, building.mark())))
    }

    fn storage(&self) -> &dyn Storage {
        self.machine.storage.as_ref()
    }
}

impl Building {
    const fn mark(self) -> &'static [u8] {
        match self {
            Self::Creation => b"building=creation\n",
            Self::Rebuild => b"building=rebuild\n",
        }
    }
}

impl BuildLock {
    /// Ends the building, when the catalog has its name: removes the mark, then lets go of the lock.
    ///
    /// # Errors
    /// [`HostError::Io`] when the mark cannot be removed; it means nothing beside a catalog.
    pub fn end(self) -> Result<(), HostError> {
        self.locked.remove()
    }
}

/// Lists the temporary names in a directory, sorted; none where there is no directory.
fn temporaries_in(storage: &dyn Storage, directory: &Path) -> Result<Vec<PathBuf>, HostError> {
    let mut names = list_directory(storage, directory)?.unwrap_or_default();
    names.retain(|name| name.as_os_str().as_bytes().ends_with(TEMPORARY_SUFFIX));
    Ok(names.into_iter().map(|name| directory.join(name)).collect())
}

#[cfg(test)]
mod tests;
