//! Files that are restored: below one directory, wholly or not at all.
//!
//! Every directory on the way is entered from the one before by its open descriptor, and symbolic links are never followed,
//! so that nothing is written outside the target, also while another process swaps directories for links. A file is written
//! under a temporary name (`.bfdb-<16 hex digits>.part`) and gets its final name when it is finished. A crash may leave the
//! temporary name, and only that.
//!
//! It knows neither archives nor hashes: whoever writes says when the bytes are right, by calling [`RestoreFile::finish`].
//! One thing it cannot see: someone who *moves* a directory out of the target while a file is restored into it takes the
//! file along.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    os::{
        fd::{AsFd as _, OwnedFd},
        unix::{ffi::OsStrExt as _, fs::FileExt as _},
    },
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{
        AtFlags, FallocateFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fallocate, fchmod, fstat,
        futimens, mkdirat, open, openat, stat, statat, unlinkat,
    },
    io::{Errno, retry_on_intr},
};

use super::{
    directory::{
        Existing, create_directories, kind_at, name_is_taken, rename_into_place, sync_opened_directory,
    },
    random::random_bytes,
    space::free_bytes_of,
};
use crate::{
    error::{HostError, HostOperation},
    units::{FileName, Timestamp, to_u64},
};

/// What a restored directory may be at most; the process's mask takes away from it.
const DIRECTORY_MODE: u32 = 0o777;
/// Permissions that a restored file can get: set-user-id and set-group-id would give whoever restores a file away.
const KEPT_MODE_BITS: u32 = 0o1777;
/// How often something is tried that another process can spoil each time.
const MAX_TRIES: u32 = 64;

/// A directory that files are restored into.
#[derive(Debug)]
pub struct RestoreTarget {
    directory: Arc<OwnedFd>,
    path: PathBuf,
}

/// A file being restored, under a temporary name; dropped without [`RestoreFile::finish`] it is removed.
#[derive(Debug)]
pub struct RestoreFile {
    file: File,
    /// The directory that holds both names, and how many steps it is below the target.
    directory: Arc<OwnedFd>,
    depth: usize,
    temporary: PathBuf,
    stands_under: StandsUnder,
    name: PathBuf,
    /// For messages only: what it leads to may have changed.
    path: PathBuf,
    existing: Existing,
    len_bytes: u64,
    written: AtomicU64,
}

/// Which of its names a file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum StandsUnder {
    TemporaryName,
    FinalName,
}

/// How safe a restored file is when [`RestoreFile::finish`] returns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The system writes it when it likes: after a crash the name may be missing, or lead to a file without its bytes.
    Buffered,
    /// The bytes and every name from the target down to the file survive a crash.
    Synced,
}

/// A file that has its final name.
#[derive(Debug)]
#[must_use]
pub struct Restored {
    /// What the file system would not take: the permissions or the time of modification (FAT, some network file systems).
    /// The bytes are all there.
    pub not_kept: Vec<HostError>,
}

impl RestoreTarget {
    /// Opens a directory, which may be a symbolic link; makes it, and those above it, when they are missing.
    ///
    /// # Errors
    /// [`HostError::NotDirectory`] when something else has the name, [`HostError::Io`] otherwise.
    pub fn open(path: &Path) -> Result<Self, HostError> {
        create_directories(path, DIRECTORY_MODE)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = open(path, flags, Mode::empty()).map_err(HostError::io(HostOperation::Open, path))?;
        Ok(Self {
            directory: Arc::new(directory),
            path: path.to_owned(),
        })
    }

    /// Returns the path that the target was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says whether the target is `directory` or lies below it, whatever symbolic links led there: it asks from where it
    /// is upwards.
    ///
    /// # Errors
    /// [`HostError::Io`] when `directory` or one of those above the target cannot be inspected.
    pub fn is_within(&self, directory: &Path) -> Result<bool, HostError> {
        let wanted = stat(directory).map_err(HostError::io(HostOperation::Inspect, directory))?;
        let inspect =
            |opened: &OwnedFd| fstat(opened).map_err(HostError::io(HostOperation::Inspect, &self.path));
        let mut current = Arc::clone(&self.directory);
        let mut found = inspect(&current)?;
        loop {
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino) {
                return Ok(true);
            }
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let parent = openat(&*current, "..", flags, Mode::empty());
            current = Arc::new(parent.map_err(HostError::io(HostOperation::Open, &self.path))?);
            let above = inspect(&current)?;
            // The root of all is its own parent.
            if (above.st_dev, above.st_ino) == (found.st_dev, found.st_ino) {
                return Ok(false);
            }
            found = above;
        }
    }

    /// Begins a file of `len_bytes` bytes, makes the directories on its way and reserves its space.
    ///
    /// # Errors
    /// [`HostError::Exists`] and [`HostError::DirectoryInPlace`] when the name is taken, [`HostError::NotDirectory`] when a
    /// part of it is a symbolic link or a file, [`HostError::Full`] when there is no room, [`HostError::Io`] otherwise. No
    /// file is left then; directories that were made are.
    pub fn create(
        &self,
        name: &FileName,
        len_bytes: u64,
        existing: Existing,
    ) -> Result<RestoreFile, HostError> {
        let Walked {
            directory,
            depth,
            last,
            path,
        } = self.walk(name)?;
        refuse_what_stands(&directory, &last, existing, &path)?;
        let (file, temporary) = create_temporary(&directory, &path)?;
        let file = RestoreFile {
            file,
            directory,
            depth,
            temporary,
            stands_under: StandsUnder::TemporaryName,
            name: last,
            path,
            existing,
            len_bytes,
            written: AtomicU64::new(0),
        };
        file.reserve()?;
        Ok(file)
    }

    /// Enters, and makes, every directory on the way to a name.
    fn walk(&self, name: &FileName) -> Result<Walked, HostError> {
        let mut parts = name.parts().map(|part| Path::new(OsStr::from_bytes(part)));
        let mut last = parts.next().expect("a name has a part");
        let mut directory = Arc::clone(&self.directory);
        let mut path = self.path.clone();
        let mut depth = 0;
        for part in parts {
            path.push(last);
            directory = Arc::new(enter(&directory, last, &path)?);
            depth += 1;
            last = part;
        }
        path.push(last);
        Ok(Walked {
            directory,
            depth,
            last: last.to_owned(),
            path,
        })
    }
}

/// Where a name leads.
struct Walked {
    directory: Arc<OwnedFd>,
    depth: usize,
    last: PathBuf,
    path: PathBuf,
}

impl RestoreFile {
    /// Writes all of `bytes` at `offset`; several threads may write at once.
    ///
    /// # Errors
    /// [`HostError::Full`] or [`HostError::Io`]; some of the bytes may be written then.
    ///
    /// # Panics
    /// When the range goes beyond the length that the file was begun with.
    pub fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), HostError> {
        let len = to_u64(bytes.len());
        let end = offset.checked_add(len);
        assert!(
            end.is_some_and(|end| end <= self.len_bytes),
            "a write beyond the length of a restored file"
        );
        match self.file.write_all_at(bytes, offset) {
            Ok(()) => {
                self.written.fetch_add(len, Ordering::Relaxed);
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(self.full()?),
            Err(error) => Err(HostError::io(HostOperation::Write, &self.path)(error)),
        }
    }

    /// Gives the file its time, its permissions (`mode & 0o1777`: never set-user-id or set-group-id) and its final name.
    ///
    /// # Errors
    /// [`HostError::Incomplete`] when fewer bytes were written than the file was begun with; [`HostError::Exists`] and
    /// [`HostError::DirectoryInPlace`] when the name was taken meanwhile; [`HostError::Io`] otherwise. The file is removed
    /// then, unless what failed is the sync of a directory: it has its name by that time, and may lose it in a crash.
    pub fn finish(
        mut self,
        mtime: Timestamp,
        mode: u32,
        durability: Durability,
    ) -> Result<Restored, HostError> {
        // A gap would be zeros that nobody has verified.
        let written = *self.written.get_mut();
        let found_len = self
            .file
            .metadata()
            .map_err(HostError::io(HostOperation::Inspect, &self.path))?
            .len();
        if written < self.len_bytes || found_len != self.len_bytes {
            let written = written.min(found_len);
            return Err(HostError::Incomplete {
                path: self.path.clone(),
                written,
                len_bytes: self.len_bytes,
            });
        }
        let kept = [self.set_mode(mode), self.set_mtime(mtime)];
        if durability == Durability::Synced {
            self.file
                .sync_all()
                .map_err(HostError::io(HostOperation::Sync, &self.path))?;
        }
        rename_into_place(
            self.directory.as_fd(),
            &self.temporary,
            &self.name,
            self.existing,
            &self.path,
        )?;
        self.stands_under = StandsUnder::FinalName;
        if durability == Durability::Synced {
            self.sync_directories()?;
        }
        Ok(Restored {
            not_kept: kept.into_iter().filter_map(Result::err).collect(),
        })
    }

    /// Allocates real blocks, so that a full disk shows before the first byte.
    fn reserve(&self) -> Result<(), HostError> {
        if self.len_bytes == 0 {
            return Ok(());
        }
        // Asked first: an allocation that fails in the end fills the disk under everybody else on the way.
        if free_bytes_of(&self.file, &self.path)? < self.len_bytes {
            return Err(self.full()?);
        }
        match retry_on_intr(|| fallocate(&self.file, FallocateFlags::empty(), 0, self.len_bytes)) {
            // What cannot allocate ahead will say so when it is written.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS) => Ok(()),
            Err(Errno::NOSPC) => Err(self.full()?),
            Err(errno) => Err(HostError::io(HostOperation::Reserve, &self.path)(errno)),
        }
    }

    fn full(&self) -> Result<HostError, HostError> {
        let free = free_bytes_of(&self.file, &self.path)?;
        Ok(HostError::Full {
            path: self.path.clone(),
            needed: self.len_bytes,
            free,
        })
    }

    fn set_mode(&self, mode: u32) -> Result<(), HostError> {
        fchmod(&self.file, Mode::from_raw_mode(mode & KEPT_MODE_BITS))
            .map_err(HostError::io(HostOperation::SetMode, &self.path))
    }

    fn set_mtime(&self, mtime: Timestamp) -> Result<(), HostError> {
        // Above a second lie the codes for "now" and "leave it".
        let nanoseconds = mtime.nanoseconds();
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: mtime.seconds(),
                tv_nsec: nanoseconds.into(),
            },
        };
        futimens(&self.file, &times).map_err(HostError::io(HostOperation::SetTime, &self.path))
    }

    /// Makes durable every name from the file up to the first part below the target. Others may have made the directories
    /// without asking for that, so none is left out.
    fn sync_directories(&self) -> Result<(), HostError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let step = |from: &OwnedFd, to: &str| {
            openat(from, to, flags, Mode::empty()).map_err(HostError::io(HostOperation::Sync, &self.path))
        };
        let mut directory = File::from(step(&self.directory, ".")?);
        sync_opened_directory(&directory, &self.path)?;
        for _ in 0..self.depth {
            directory = File::from(step(&OwnedFd::from(directory), "..")?);
            sync_opened_directory(&directory, &self.path)?;
        }
        Ok(())
    }
}

impl Drop for RestoreFile {
    fn drop(&mut self) {
        if self.stands_under == StandsUnder::TemporaryName {
            // Nobody is left to tell: the name says what it is, and the next restore does not mind it.
            unlinkat(&self.directory, &self.temporary, AtFlags::empty()).ok();
        }
    }
}

/// Opens the directory `part` of `directory`, and makes it when it is missing.
fn enter(directory: &OwnedFd, part: &Path, path: &Path) -> Result<OwnedFd, HostError> {
    // PATH: entering takes no permission to list.
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..MAX_TRIES {
        match openat(directory, part, flags, Mode::empty()) {
            Ok(entered) => return Ok(entered),
            Err(Errno::NOENT) => match mkdirat(directory, part, Mode::from_raw_mode(DIRECTORY_MODE)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(HostError::io(HostOperation::CreateDirectory, path)(errno)),
            },
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let kind = kind_at(directory.as_fd(), part);
                return Err(HostError::NotDirectory {
                    path: path.to_owned(),
                    kind,
                });
            }
            Err(errno) => return Err(HostError::io(HostOperation::Open, path)(errno)),
        }
    }
    Err(HostError::io(HostOperation::CreateDirectory, path)(Errno::NOENT))
}

/// Fails early where the final name cannot be given anyway. What counts is the renaming in the end.
fn refuse_what_stands(
    directory: &OwnedFd,
    name: &Path,
    existing: Existing,
    path: &Path,
) -> Result<(), HostError> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(HostError::io(HostOperation::Inspect, path)(errno)),
        Ok(_) => match (name_is_taken(directory.as_fd(), name, path), existing) {
            (HostError::Exists { .. }, Existing::Overwrite) => Ok(()),
            (taken, _) => Err(taken),
        },
    }
}

fn create_temporary(directory: &OwnedFd, path: &Path) -> Result<(File, PathBuf), HostError> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..MAX_TRIES {
        let name = format!(".bfdb-{:016x}.part", u64::from_le_bytes(random_bytes()?));
        match openat(directory, name.as_str(), flags, Mode::RUSR | Mode::WUSR) {
            Ok(file) => return Ok((File::from(file), name.into())),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(HostError::io(HostOperation::Create, path)(errno)),
        }
    }
    Err(HostError::io(HostOperation::Create, path)(Errno::EXIST))
}

#[cfg(test)]
mod tests;
