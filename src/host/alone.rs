//! One process at a time, where files have no locks that processes could share an archive by.
//!
//! Locks are tried, not believed: some file systems refuse them, and some grant each of them to everybody. Where they do not
//! work, `alone.lock` in the directory of the archive names the one process that uses it, and its handles keep their locks in
//! memory ([`AloneStorage`]). Where at least locks on whole files work, the file is locked, and free again once its process
//! has died; where none do, it is the mere existence of the file that counts, and a person has to say that its process is dead.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Machine,
    directory::directory_of,
    files::sync_directory,
    lock::{Claim, LockedFile, contents_of, open_if_there},
    session::SessionInfo,
};
use crate::{
    error::{HostError, HostOperation, LockEvidence, LockHolder},
    storage::{AloneStorage, FileAccess, Lock, Storage, StorageFile, means_no_locks},
};

/// The file that names the process.
pub(super) const ALONE: &str = "alone.lock";

/// Says whether locks on whole files work: whether the file system has them, and one handle sees those of another. `path`
/// names any file there.
///
/// # Errors
/// [`HostError::Io`] when it cannot be opened, or when the locks fail otherwise.
pub fn file_locks_work(storage: &dyn Storage, path: &Path) -> Result<bool, HostError> {
    let open = || {
        open_if_there(storage, path)?.ok_or_else(|| {
            let missing = io::Error::from(io::ErrorKind::NotFound);
            HostError::io(HostOperation::Open, path)(missing)
        })
    };
    let (first, second) = (open()?, open()?);
    is_seen(first.as_ref(), second.as_ref()).or_else(|error| {
        if means_no_locks(&error) {
            Ok(false)
        } else {
            Err(HostError::io(HostOperation::Lock, path)(error))
        }
    })
}

fn is_seen(first: &dyn StorageFile, second: &dyn StorageFile) -> io::Result<bool> {
    // Who is refused sees the lock of a third.
    Ok(!first.try_lock(Lock::Shared)? || !second.try_lock(Lock::Exclusive)?)
}

/// Returns the same machine with files for this process alone: no other one uses the archive at `root` as long as any of its
/// files or the storage is there.
///
/// Where nobody can write, no file is made: nobody can change the archive from here.
///
/// # Errors
/// [`HostError::InUse`] names the process that uses it; others when the file cannot be made.
pub fn alone(machine: &Machine, root: &Path, have_file_locks: FileLocks) -> Result<Machine, HostError> {
    let path = root.join(ALONE);
    let about = SessionInfo::of_this_process("use", machine.clock.as_ref());
    let alone = match have_file_locks {
        FileLocks::Work => by_lock(machine, &path, &about),
        FileLocks::DoNotWork => by_existence(machine, &path, &about),
    };
    let alone = match alone {
        Ok(alone) => Some(alone),
        Err(HostError::Io { source, .. }) if source.kind() == io::ErrorKind::ReadOnlyFilesystem => None,
        Err(error) => return Err(error),
    };
    Ok(Machine {
        storage: Arc::new(AloneStorage::new(&machine.storage, alone)),
        ..machine.clone()
    })
}

/// What locks on whole files are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileLocks {
    /// Others see them.
    Work,
    /// There are none, or each is granted to everybody.
    DoNotWork,
}

/// The right of this process; its file goes with it.
#[derive(Debug)]
enum Alone {
    Locked(LockedFile),
    Named {
        storage: Arc<dyn Storage>,
        path: PathBuf,
    },
}

impl Drop for Alone {
    fn drop(&mut self) {
        match self {
            // What stays is free for the next one.
            Self::Locked(locked) => locked.remove().unwrap_or_default(),
            // What stays has to be removed by hand; nobody is left to tell.
            Self::Named { storage, path } => storage.remove_file(path).unwrap_or_default(),
        }
    }
}

fn by_lock(machine: &Machine, path: &Path, about: &SessionInfo) -> Result<Alone, HostError> {
    match LockedFile::claim(&machine.storage, path)? {
        Claim::Taken(locked) => {
            locked.rewrite(&about.to_bytes())?;
            Ok(Alone::Locked(locked))
        }
        Claim::Held(file) => Err(in_use(file.as_ref(), path, LockEvidence::Lock)),
        Claim::Gone => match LockedFile::create(machine, path, &about.to_bytes()) {
            Ok(locked) => Ok(Alone::Locked(locked)),
            Err(HostError::Exists { .. }) => Err(HostError::Locked {
                path: path.to_owned(),
            }),
            Err(error) => Err(error),
        },
    }
}

fn by_existence(machine: &Machine, path: &Path, about: &SessionInfo) -> Result<Alone, HostError> {
    let storage = &machine.storage;
    match storage.create_new(path) {
        Ok(file) => {
            // From here on the file goes again when something fails.
            let alone = Alone::Named {
                storage: Arc::clone(storage),
                path: path.to_owned(),
            };
            file.write_all_at(0, &about.to_bytes())
                .map_err(HostError::io(HostOperation::Write, path))?;
            file.sync_all()
                .map_err(HostError::io(HostOperation::Sync, path))?;
            sync_directory(storage.as_ref(), directory_of(path))?;
            Ok(alone)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match storage.open(path, FileAccess::Read) {
                Ok(file) => Err(in_use(file.as_ref(), path, LockEvidence::Existence)),
                // It went this moment.
                Err(_) => Err(HostError::Locked {
                    path: path.to_owned(),
                }),
            }
        }
        Err(error) => Err(HostError::io(HostOperation::Create, path)(error)),
    }
}

fn in_use(file: &dyn StorageFile, path: &Path, evidence: LockEvidence) -> HostError {
    let contents = contents_of(file, path).unwrap_or_default();
    HostError::InUse {
        path: path.to_owned(),
        holder: SessionInfo::parse(&contents).map(|info| LockHolder {
            pid: info.pid,
            host_name: info.host_name,
        }),
        evidence,
    }
}
