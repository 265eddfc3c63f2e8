//! Files whose lock says that somebody is at work.
//!
//! The lock is of the kind that belongs to an opened file (`flock`): the kernel frees it when the process dies, it follows
//! the file through a renaming, and it excludes a second opening in the same process too. It is only ever tried, never
//! waited for. Who works, or clears up after the dead, locks exclusively; who only looks takes a shared lock for a moment,
//! so that looking is never mistaken for working.

#![expect(
    clippy::disallowed_methods,
    reason = "host is one of the two places that touch the file system"
)]

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::CWD;

use super::{
    directory::{Existing, directory_of, rename_into_place, sync_directory},
    open::{Access, is_same_file, open_regular},
    random::random_bytes,
};
use crate::error::{HostError, HostOperation};

/// The most that is read of a lock file.
const MAX_CONTENTS_LEN_BYTES: u64 = 16 * 1024;
/// How often the creation of a lock file is tried while others clear its temporary name away.
const MAX_CREATE_TRIES: u32 = 16;
/// How often a lock is tried that only lookers hold; each holds it for a few microseconds.
const MAX_LOCK_TRIES: u32 = 10_000;

/// A file that this process has locked exclusively, until it is dropped; dropping leaves the file.
#[derive(Debug)]
pub(super) struct LockedFile {
    file: File,
    path: PathBuf,
}

/// What became of an attempt to lock a file.
#[derive(Debug)]
pub(super) enum Claim {
    /// There is no such file (any more).
    Gone,
    /// Somebody else holds it; the file is for reading.
    Held(File),
    /// Nobody held it: whoever made it is dead, or has let go.
    Taken(LockedFile),
}

impl LockedFile {
    /// Makes a file that nobody ever finds unlocked: it gets its name after its lock and its contents. When this returns,
    /// both are durable.
    ///
    /// # Errors
    /// [`HostError::Exists`] when the name is taken, [`HostError::Io`] otherwise.
    pub(super) fn create(path: &Path, contents: &[u8]) -> Result<Self, HostError> {
        for _ in 0..MAX_CREATE_TRIES {
            let mut temporary = path.as_os_str().to_owned();
            temporary.push(format!("-{:016x}.tmp", u64::from_le_bytes(random_bytes()?)));
            let temporary = PathBuf::from(temporary);
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&temporary)
                .map_err(HostError::io(HostOperation::Create, path))?;
            let mut locked = Self {
                file,
                path: temporary,
            };
            match locked.name(path, contents) {
                Ok(true) => {
                    path.clone_into(&mut locked.path);
                    sync_directory(directory_of(path))?;
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
        match self.file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Error(source)) => return Err(HostError::io(HostOperation::Lock, path)(source)),
        }
        self.write(contents)?;
        match rename_into_place(CWD, &self.path, path, Existing::Refuse, path) {
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
    pub(super) fn claim(path: &Path) -> Result<Claim, HostError> {
        let Some(file) = open_if_there(path)? else {
            return Ok(Claim::Gone);
        };
        let failed = |source| HostError::io(HostOperation::Lock, path)(source);
        for _ in 0..MAX_LOCK_TRIES {
            match file.try_lock() {
                Ok(()) => {
                    // It may have been removed, and another one made, between the opening and the lock.
                    let locked = Self {
                        file,
                        path: path.to_owned(),
                    };
                    return Ok(if locked.has_its_name()? {
                        Claim::Taken(locked)
                    } else {
                        Claim::Gone
                    });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            match file.try_lock_shared() {
                Ok(()) => file.unlock().map_err(failed)?,
                Err(TryLockError::WouldBlock) => return Ok(Claim::Held(file)),
                Err(TryLockError::Error(source)) => return Err(failed(source)),
            }
            std::thread::yield_now();
        }
        Err(HostError::Locked {
            path: path.to_owned(),
        })
    }

    /// Replaces the contents, durably but not in one step: a crash may leave an empty file, unless it says that already.
    pub(super) fn rewrite(&self, contents: &[u8]) -> Result<(), HostError> {
        if self.contents()? == contents {
            return Ok(());
        }
        rustix::fs::ftruncate(&self.file, 0).map_err(HostError::io(HostOperation::Write, &self.path))?;
        self.write(contents)
    }

    fn write(&self, contents: &[u8]) -> Result<(), HostError> {
        self.file
            .write_all_at(contents, 0)
            .map_err(HostError::io(HostOperation::Write, &self.path))?;
        self.file
            .sync_all()
            .map_err(HostError::io(HostOperation::Sync, &self.path))
    }

    /// Returns what the file says.
    pub(super) fn contents(&self) -> Result<Vec<u8>, HostError> {
        contents_of(&self.file, &self.path)
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
        fs::remove_file(&self.path).map_err(HostError::io(HostOperation::Remove, &self.path))
    }

    /// Says whether the file is still the one at its name.
    pub(super) fn has_its_name(&self) -> Result<bool, HostError> {
        let own = self
            .file
            .metadata()
            .map_err(HostError::io(HostOperation::Inspect, &self.path))?;
        match fs::symlink_metadata(&self.path) {
            Ok(named) => Ok(is_same_file(&own, &named)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(HostError::io(HostOperation::Inspect, &self.path)(error)),
        }
    }
}

/// Says whether somebody works under the lock of the file at `path`, without disturbing anyone, and returns the file;
/// `None` when there is none.
pub(super) fn glance(path: &Path) -> Result<Option<(File, bool)>, HostError> {
    let Some(file) = open_if_there(path)? else {
        return Ok(None);
    };
    let is_held = match file.try_lock_shared() {
        Ok(()) => {
            file.unlock().map_err(HostError::io(HostOperation::Lock, path))?;
            false
        }
        Err(TryLockError::WouldBlock) => true,
        Err(TryLockError::Error(source)) => return Err(HostError::io(HostOperation::Lock, path)(source)),
    };
    Ok(Some((file, is_held)))
}

/// Returns what a lock file says, up to a length that no true one has.
pub(super) fn contents_of(file: &File, path: &Path) -> Result<Vec<u8>, HostError> {
    let failed = |source| HostError::io(HostOperation::Read, path)(source);
    let (mut file, mut contents) = (file, Vec::new());
    file.rewind().map_err(failed)?;
    file.take(MAX_CONTENTS_LEN_BYTES)
        .read_to_end(&mut contents)
        .map_err(failed)?;
    Ok(contents)
}

fn open_if_there(path: &Path) -> Result<Option<File>, HostError> {
    let opened = match open_regular(path, Access::ReadWrite) {
        // A lock over NFS takes the right to write; elsewhere reading is enough, as where the archive is read-only.
        Err(HostError::Io { source, .. })
            if matches!(
                source.kind(),
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            open_regular(path, Access::Read)
        }
        other => other,
    };
    match opened {
        Ok((file, _)) => Ok(Some(file)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}
