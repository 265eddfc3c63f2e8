//! Files whose lock says that somebody is at work.
//!
//! The lock is of the kind that belongs to an opened file (`flock`): the kernel frees it when the process dies, it follows
//! the file through a renaming, and it excludes a second opening in the same process too. It is only ever tried, never
//! waited for. Who works, or clears up after the dead, locks exclusively; who only looks takes a shared lock for a moment,
//! so that looking is never mistaken for working.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Machine,
    directory::{Existing, directory_of},
    files::{open_file, rename_into_place, sync_directory},
};
use crate::{
    error::{HostError, HostOperation},
    storage::{FileAccess, Lock, Storage, StorageFile},
    units::to_u64,
};

/// The most that is read of a lock file.
const MAX_CONTENTS_LEN_BYTES: usize = 16 * 1024;
/// What a disk writes at once at most.
const SECTOR_LEN_BYTES: usize = 4096;
/// How often the creation of a lock file is tried while others clear its temporary name away.
const MAX_CREATE_TRIES: u32 = 16;
/// How often a lock is tried that only lookers hold; each holds it for a few microseconds.
const MAX_LOCK_TRIES: u32 = 10_000;

/// A file that this process has locked exclusively, until it is dropped; dropping leaves the file.
#[derive(Debug)]
pub(super) struct LockedFile {
    storage: Arc<dyn Storage>,
    file: Arc<dyn StorageFile>,
    path: PathBuf,
}

/// What became of an attempt to lock a file.
#[derive(Debug)]
pub(super) enum Claim {
    /// There is no such file (any more).
    Gone,
    /// Somebody else holds it; the file is for reading.
    Held(Arc<dyn StorageFile>),
    /// Nobody held it: whoever made it is dead, or has let go.
    Taken(LockedFile),
}

/// What looking at a lock file has shown.
#[derive(Debug)]
pub(super) struct Glance {
    pub(super) file: Arc<dyn StorageFile>,
    /// Whether somebody works under its lock.
    pub(super) is_held: bool,
}

impl LockedFile {
    /// Makes a file that nobody ever finds unlocked: it gets its name after its lock and its contents. When this returns,
    /// both are durable.
    ///
    /// # Errors
    /// [`HostError::Exists`] when the name is taken, [`HostError::Io`] otherwise.
    pub(super) fn create(machine: &Machine, path: &Path, contents: &[u8]) -> Result<Self, HostError> {
        for _ in 0..MAX_CREATE_TRIES {
            let mut temporary = path.as_os_str().to_owned();
            temporary.push(format!(
                "-{:016x}.tmp",
                u64::from_le_bytes(machine.random_bytes()?)
            ));
            let temporary = PathBuf::from(temporary);
            let file = machine
                .storage
                .create_new(&temporary)
                .map_err(HostError::io(HostOperation::Create, path))?;
            let mut locked = Self {
                storage: Arc::clone(&machine.storage),
                file,
                path: temporary,
            };
            match locked.name(path, contents) {
                Ok(true) => {
                    path.clone_into(&mut locked.path);
                    sync_directory(machine.storage.as_ref(), directory_of(path))?;
                    return Ok(locked);
                }
                Ok(false) => {}
                Err(error) => {
                    // The error that counts is the first; the name says that it is a leftover.
                    locked.remove().ok();
                    return Err(error);
                }
            }
        }
        Err(HostError::Locked {
            path: path.to_owned(),
        })
    }

    /// Locks and fills a new file and gives it its name; says whether it still had the temporary one, which somebody who
    /// clears up may have taken before it was locked.
    fn name(&self, path: &Path, contents: &[u8]) -> Result<bool, HostError> {
        let failed = HostError::io(HostOperation::Lock, path);
        if !self.file.try_lock(Lock::Exclusive).map_err(failed)? {
            return Ok(false);
        }
        self.write(0, contents)?;
        match rename_into_place(self.storage.as_ref(), &self.path, path, Existing::Refuse) {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Tries to lock what stands at `path`.
    ///
    /// # Errors
    /// [`HostError::NotRegular`] when it is no file, [`HostError::Locked`] when lookers never let go of it,
    /// [`HostError::Io`] otherwise.
    pub(super) fn claim(storage: &Arc<dyn Storage>, path: &Path) -> Result<Claim, HostError> {
        let Some(file) = open_if_there(storage.as_ref(), path)? else {
            return Ok(Claim::Gone);
        };
        let failed = |source| HostError::io(HostOperation::Lock, path)(source);
        for _ in 0..MAX_LOCK_TRIES {
            if file.try_lock(Lock::Exclusive).map_err(failed)? {
                // It may have been removed, and another one made, between the opening and the lock.
                let locked = Self {
                    storage: Arc::clone(storage),
                    file,
                    path: path.to_owned(),
                };
                return Ok(if locked.has_its_name()? {
                    Claim::Taken(locked)
                } else {
                    Claim::Gone
                });
            }
            if !file.try_lock(Lock::Shared).map_err(failed)? {
                return Ok(Claim::Held(file));
            }
            file.unlock().map_err(failed)?;
            std::thread::yield_now();
        }
        Err(HostError::Locked {
            path: path.to_owned(),
        })
    }

    /// Makes the file say something, durably but not in one step: a crash may leave an empty file, unless it says that already.
    ///
    /// Then it says so once more, in a sector of its own: its writer may have failed to sync the first, so that the disk does
    /// not have it, and if it does, nothing may spoil it.
    pub(super) fn rewrite(&self, contents: &[u8]) -> Result<(), HostError> {
        let found = self.contents()?;
        if says(&found, contents) {
            let next = found.len().next_multiple_of(SECTOR_LEN_BYTES);
            return self.write(next % MAX_CONTENTS_LEN_BYTES, contents);
        }
        self.file
            .set_len(0)
            .map_err(HostError::io(HostOperation::Write, &self.path))?;
        self.write(0, contents)
    }

    fn write(&self, offset: usize, contents: &[u8]) -> Result<(), HostError> {
        self.file
            .write_all_at(to_u64(offset), contents)
            .map_err(HostError::io(HostOperation::Write, &self.path))?;
        self.file
            .sync_all()
            .map_err(HostError::io(HostOperation::Sync, &self.path))
    }

    /// Returns what the file says.
    pub(super) fn contents(&self) -> Result<Vec<u8>, HostError> {
        contents_of(self.file.as_ref(), &self.path)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the file if it is still the one at its name; the lock lasts until `self` is dropped, so that nobody finds
    /// the file unlocked.
    pub(super) fn remove(&self) -> Result<(), HostError> {
        if !self.has_its_name()? {
            return Ok(());
        }
        self.storage
            .remove_file(&self.path)
            .map_err(HostError::io(HostOperation::Remove, &self.path))
    }

    /// Says whether the file is still the one at its name.
    pub(super) fn has_its_name(&self) -> Result<bool, HostError> {
        let own = self
            .file
            .info()
            .map_err(HostError::io(HostOperation::Inspect, &self.path))?;
        match self.storage.inspect(&self.path) {
            Ok(named) => Ok(own.id == named.id),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(HostError::io(HostOperation::Inspect, &self.path)(error)),
        }
    }
}

/// Says whether the contents of a lock file are these, in any of its sectors.
pub(super) fn says(found: &[u8], contents: &[u8]) -> bool {
    let is_said = |sector: &[u8]| {
        let (said, rest) = sector.split_at(contents.len().min(sector.len()));
        said == contents && rest.iter().all(|byte| *byte == 0)
    };
    found.chunks(SECTOR_LEN_BYTES).any(is_said)
}

/// Says whether somebody works under the lock of the file at `path`, without disturbing anyone, and returns the file;
/// `None` when there is none.
pub(super) fn glance(storage: &dyn Storage, path: &Path) -> Result<Option<Glance>, HostError> {
    let Some(file) = open_if_there(storage, path)? else {
        return Ok(None);
    };
    let failed = |source| HostError::io(HostOperation::Lock, path)(source);
    let is_free = file.try_lock(Lock::Shared).map_err(failed)?;
    if is_free {
        file.unlock().map_err(failed)?;
    }
    Ok(Some(Glance {
        file,
        is_held: !is_free,
    }))
}

/// Returns what a lock file says, up to a length that no true one has.
pub(super) fn contents_of(file: &dyn StorageFile, path: &Path) -> Result<Vec<u8>, HostError> {
    let mut contents = vec![0; MAX_CONTENTS_LEN_BYTES];
    let mut filled = 0;
    while filled < contents.len() {
        match file.read_at(to_u64(filled), &mut contents[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(HostError::io(HostOperation::Read, path)(error)),
        }
    }
    contents.truncate(filled);
    Ok(contents)
}

/// Opens the file at `path` for locking; `None` when there is none.
pub(super) fn open_if_there(
    storage: &dyn Storage,
    path: &Path,
) -> Result<Option<Arc<dyn StorageFile>>, HostError> {
    let opened = match open_file(storage, path, FileAccess::ReadWrite) {
        // A lock over NFS takes the right to write; elsewhere reading is enough, as where the archive is read-only.
        Err(HostError::Io { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            open_file(storage, path, FileAccess::Read)
        }
        other => other,
    };
    match opened {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
