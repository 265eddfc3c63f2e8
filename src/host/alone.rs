//! One process at a time, where files have no locks that processes could share an archive by.
//!
//! Locks are tried, not believed: some file systems refuse them, and some grant each of them to everybody. Where they do not
//! work, `alone.lock` in the directory of the archive names the one process that uses it, and its handles keep their locks in
//! memory ([`AloneStorage`]). Where at least locks on whole files work, that file is locked, and free again once its process
//! has died; where none do, it is the mere existence of the file that counts, and a person has to say that its process is dead.
//!
//! Who finds that locks work looks for the file too ([`refuse_beside_alone`]): another process may have come to another result,
//! in a sandbox for example.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Machine,
    directory::directory_of,
    files::sync_directory,
    lock::{Claim, LockedFile, contents_of, glance, open_if_there},
    session::SessionInfo,
};
use crate::{
    error::{HostError, HostOperation, LockEvidence, LockHolder},
    storage::{AloneStorage, FileAccess, Lock, Storage, StorageFile, means_no_locks},
};

/// The file that names the process.
pub(super) const ALONE: &str = "alone.lock";

/// What locks on whole files are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileLocks {
    /// Others see them.
    Work,
    /// There are none, or each is granted to everybody.
    DoNotWork,
}

/// Tries locks on whole files: whether the file system has them, and one handle sees those of another. `path` names any file
/// there that is no link; whoever uses its locks is not disturbed.
///
/// # Errors
/// [`HostError::Io`] when it cannot be opened, or when the locks fail otherwise.
pub fn try_file_locks(storage: &dyn Storage, path: &Path) -> Result<FileLocks, HostError> {
    let open = || {
        open_if_there(storage, path)?.ok_or_else(|| {
            let missing = io::Error::from(io::ErrorKind::NotFound);
            HostError::io(HostOperation::Open, path)(missing)
        })
    };
    let (first, second) = (open()?, open()?);
    match is_seen(first.as_ref(), second.as_ref()) {
        Ok(true) => Ok(FileLocks::Work),
        Ok(false) => Ok(FileLocks::DoNotWork),
        Err(error) if means_no_locks(&error) => Ok(FileLocks::DoNotWork),
        Err(error) => Err(HostError::io(HostOperation::Lock, path)(error)),
    }
}

fn is_seen(first: &dyn StorageFile, second: &dyn StorageFile) -> io::Result<bool> {
    // Who is refused sees the lock of a third.
    if !first.try_lock(Lock::Shared)? {
        return Ok(true);
    }
    match second.try_lock(Lock::Exclusive) {
        // Over NFS that takes the right to write: then it cannot be told, and somebody who only reads harms nobody.
        Err(error) if error.raw_os_error() == Some(EBADF) => Ok(true),
        taken => taken.map(|is_taken| !is_taken),
    }
}

const EBADF: i32 = 9;

/// Returns the same machine with files for this process alone: no other one uses the archive at `root` as long as any of its
/// files or the storage is there. `catalog` is what those who share it lock, where it is there already.
///
/// Where nobody can write, no file is made: nobody can change the archive from here.
///
/// # Errors
/// [`HostError::InUse`] names the process that uses it; others when the file cannot be made.
pub fn alone(
    machine: &Machine,
    root: &Path,
    (catalog, file_locks): (&Path, FileLocks),
) -> Result<Machine, HostError> {
    let path = root.join(ALONE);
    let about = SessionInfo::of_this_process("use", machine.clock.as_ref());
    let alone = match (takes_writes(machine.storage.as_ref(), catalog), file_locks) {
        (false, _) => None,
        (true, FileLocks::Work) => Some(by_lock(machine, &path, (catalog, &about))?),
        (true, FileLocks::DoNotWork) => Some(by_existence(machine, &path, &about)?),
    };
    Ok(Machine {
        storage: Arc::new(AloneStorage::new(&machine.storage, alone)),
        ..machine.clone()
    })
}

fn takes_writes(storage: &dyn Storage, catalog: &Path) -> bool {
    match storage.open(catalog, FileAccess::ReadWrite) {
        Err(error) => error.kind() != io::ErrorKind::ReadOnlyFilesystem,
        Ok(_) => true,
    }
}

/// Refuses to share an archive with a process that uses it alone. To be asked while the locks of those who share it are held:
/// such a process looks for them behind its own.
///
/// # Errors
/// [`HostError::InUse`] names it.
pub fn refuse_beside_alone(machine: &Machine, root: &Path) -> Result<(), HostError> {
    let path = root.join(ALONE);
    let Some(seen) = glance(machine.storage.as_ref(), &path)? else {
        return Ok(());
    };
    let file = seen.file.as_ref();
    if seen.is_held {
        return Err(in_use(file, &path, LockEvidence::Lock));
    }
    // One that is free was left by a dead process, if it was ever locked.
    let contents = contents_of(file, &path)?;
    if contents.ends_with(BY_EXISTENCE) {
        return Err(in_use(file, &path, LockEvidence::Existence));
    }
    Ok(())
}

/// The right of this process; its file goes with it.
#[derive(Debug)]
enum Alone {
    Locked {
        locked: LockedFile,
        /// The catalog, locked so that nobody begins to share it; `None` where there was none yet.
        _catalog: Option<Arc<dyn StorageFile>>,
    },
    Named {
        storage: Arc<dyn Storage>,
        path: PathBuf,
    },
}

impl Drop for Alone {
    fn drop(&mut self) {
        match self {
            // What stays is free for the next one.
            Self::Locked { locked, .. } => locked.remove().unwrap_or_default(),
            // What stays has to be removed by hand; nobody is left to tell.
            Self::Named { storage, path } => storage.remove_file(path).unwrap_or_default(),
        }
    }
}

/// What a file says at its end that no lock stands for.
const BY_EXISTENCE: &[u8] = b"by=existence\n";

fn by_lock(
    machine: &Machine,
    path: &Path,
    (catalog, about): (&Path, &SessionInfo),
) -> Result<Alone, HostError> {
    let locked = match LockedFile::claim(&machine.storage, path)? {
        Claim::Taken(locked) => {
            if locked.contents()?.ends_with(BY_EXISTENCE) {
                let file = machine
                    .storage
                    .open(path, FileAccess::Read)
                    .map_err(HostError::io(HostOperation::Open, path))?;
                return Err(in_use(file.as_ref(), path, LockEvidence::Existence));
            }
            locked.rewrite(&about.to_bytes())?;
            locked
        }
        Claim::Held(file) => return Err(in_use(file.as_ref(), path, LockEvidence::Lock)),
        Claim::Gone => match LockedFile::create(machine, path, &about.to_bytes()) {
            Err(HostError::Exists { path }) => return Err(HostError::Locked { path }),
            created => created?,
        },
    };
    Ok(Alone::Locked {
        // Behind the lock on our own file: whoever shares the catalog looks for that behind theirs.
        _catalog: lock_catalog(machine.storage.as_ref(), catalog)?,
        locked,
    })
}

/// Locks the catalog as a whole, as the database does in every process that shares it, unless one of those is there.
fn lock_catalog(storage: &dyn Storage, catalog: &Path) -> Result<Option<Arc<dyn StorageFile>>, HostError> {
    let Some(file) = open_if_there(storage, catalog)? else {
        return Ok(None);
    };
    match file.try_lock(Lock::Exclusive) {
        Ok(true) => Ok(Some(file)),
        Ok(false) => Err(HostError::InUse {
            path: catalog.to_owned(),
            holder: None,
            evidence: LockEvidence::Lock,
        }),
        Err(error) if error.raw_os_error() == Some(EBADF) => Ok(None),
        Err(error) => Err(HostError::io(HostOperation::Lock, catalog)(error)),
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
            let text = [&about.to_bytes()[..], BY_EXISTENCE].concat();
            file.write_all_at(0, &text)
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
