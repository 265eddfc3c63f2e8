//! A file on its way: being written, complete, published.

use std::{
    fs::File,
    io,
    num::NonZeroU64,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{Advice, FallocateFlags, Mode, OFlags, fadvise, fallocate, fchmod, futimens, openat},
    io::{Errno, retry_on_intr},
};

use super::{
    super::{directory::Existing, space::free_bytes_of},
    Durability, Restored,
    file_system::{FileSystem, Mark},
    kept_mode, modified_at,
    temporary::{Spot, Temporary, TemporaryNames},
};
use crate::{
    error::{HostError, HostOperation},
    storage::Medium,
    units::{Timestamp, to_u64},
};

/// Writes of this many bytes and more begin to go to the disk at once.
const PACED_LEN_BYTES: u64 = 1024 * 1024;

/// No space is reserved for a file up to this length: its one write says as early whether there is room.
const UNRESERVED_LEN_BYTES: u64 = 64 * 1024;

/// A file being restored, under a temporary name; dropped without [`RestoreFile::finish`] or [`RestoreFile::complete`] it
/// is removed.
#[derive(Debug)]
pub struct RestoreFile {
    pub(super) file: File,
    pub(super) temporary: Temporary,
    pub(super) existing: Existing,
    pub(super) len_bytes: u64,
    pub(super) written: AtomicU64,
    /// Bytes that nobody is going to write.
    pub(super) left_out: u64,
}

/// A file that has everything but its final name; dropped without [`CompleteFile::publish`] it is removed.
///
/// The file is closed, and its directory too where many are open, so that thousands can wait for one sync. Such a
/// directory is entered anew by its path: if somebody has moved it meanwhile, the file gets no name, and keeps its
/// temporary one.
#[derive(Debug)]
#[must_use]
pub struct CompleteFile {
    temporary: Temporary,
    existing: Existing,
    owed: Owed,
    restored: Restored,
}

/// What is to be synced for a complete file.
#[derive(Debug)]
enum Owed {
    Nothing,
    /// The file system, before the name is given, unless it has been synced since.
    FileSystem(Arc<FileSystem>, Mark),
    /// The directories, after the name is given.
    Directories,
}

impl RestoreFile {
    /// Makes the temporary file, and reserves its space.
    pub(super) fn create(
        spot: Spot,
        names: &TemporaryNames,
        len_bytes: u64,
        existing: Existing,
    ) -> Result<Self, HostError> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let (file, temporary) = names.make(spot, |directory, name| {
            openat(directory, name, flags, Mode::RUSR | Mode::WUSR)
        })?;
        let file = Self {
            file: File::from(file),
            temporary,
            existing,
            len_bytes,
            written: AtomicU64::new(0),
            left_out: 0,
        };
        file.reserve()?;
        Ok(file)
    }

    /// Returns what kind of disk it is on, as far as that is known.
    pub fn medium(&self) -> Medium {
        let found = self.file.metadata();
        found.map_or(Medium::Solid, |found| Medium::of_device(found.dev()))
    }

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
        self.file
            .write_all_at(bytes, offset)
            .map_err(|error| self.write_error(HostOperation::Write, error))?;
        self.written.fetch_add(len, Ordering::Relaxed);
        if len >= PACED_LEN_BYTES
            && let Some(len) = NonZeroU64::new(len)
        {
            // What was written just now is not dropped for that: its way to the disk begins, so that the sync at the end has little
            // left to wait for. Whether the advice is taken changes no byte.
            fadvise(&self.file, offset, Some(len), Advice::DontNeed).unwrap_or_default();
        }
        Ok(())
    }

    /// Gives the file its time, its permissions (`mode & 0o1777`: never set-user-id or set-group-id) and its final name.
    ///
    /// With [`Durability::Batched`] the file system is synced for this one file; to share that, use
    /// [`RestoreFile::complete`].
    ///
    /// # Errors
    /// [`HostError::Incomplete`] when fewer bytes were written than the file was begun with, less those that were left out;
    /// [`HostError::Exists`] and [`HostError::DirectoryInPlace`] when the name was taken meanwhile; [`HostError::Full`] when only the sync says that
    /// there is no room; [`HostError::Io`] otherwise. The file is removed then, unless what failed is the sync of a
    /// directory: it has its name by that time, and may lose it in a crash.
    pub fn finish(self, mtime: Timestamp, mode: u32, durability: Durability) -> Result<Restored, HostError> {
        self.close(mtime, mode, durability)?.publish()
    }

    /// Gives the file its time and its permissions as [`RestoreFile::finish`] does, and closes it; it still has its
    /// temporary name.
    ///
    /// With [`Durability::Batched`] its bytes wait for [`RestoreTarget::sync_all`](super::RestoreTarget::sync_all), where
    /// the file system can be synced as a whole; elsewhere, and with [`Durability::Synced`], they are durable when this
    /// returns.
    ///
    /// # Errors
    /// Those of [`RestoreFile::finish`] that do not concern names. The file is removed then.
    pub fn complete(
        self,
        mtime: Timestamp,
        mode: u32,
        durability: Durability,
    ) -> Result<CompleteFile, HostError> {
        let mut complete = self.close(mtime, mode, durability)?;
        complete.temporary.loosen();
        Ok(complete)
    }

    fn close(
        mut self,
        mtime: Timestamp,
        mode: u32,
        durability: Durability,
    ) -> Result<CompleteFile, HostError> {
        self.expect_all_bytes()?;
        let kept = [
            fchmod(&self.file, kept_mode(mode)).map_err(HostError::io(HostOperation::SetMode, &self.path())),
            futimens(&self.file, &modified_at(mtime))
                .map_err(HostError::io(HostOperation::SetTime, &self.path())),
        ];
        let owed = self.sync(durability)?;
        Ok(CompleteFile {
            temporary: self.temporary,
            existing: self.existing,
            owed,
            restored: Restored {
                not_kept: kept.into_iter().filter_map(Result::err).collect(),
            },
        })
    }

    /// A gap that nobody knows of would be zeros that nobody has verified.
    fn expect_all_bytes(&mut self) -> Result<(), HostError> {
        let written = *self.written.get_mut();
        let metadata = self.file.metadata();
        let found_len = metadata
            .map_err(HostError::io(HostOperation::Inspect, &self.path()))?
            .len();
        if written < self.len_bytes - self.left_out || found_len != self.len_bytes {
            return Err(HostError::Incomplete {
                path: self.path(),
                written: written.min(found_len),
                len_bytes: self.len_bytes,
            });
        }
        Ok(())
    }

    /// Makes the bytes durable, unless that can wait.
    fn sync(&self, durability: Durability) -> Result<Owed, HostError> {
        if durability == Durability::Buffered {
            return Ok(Owed::Nothing);
        }
        if durability == Durability::Batched {
            let directory = self.temporary.directory()?;
            let file_system = directory.file_system();
            if let Some(mark) = file_system.mark() {
                return Ok(Owed::FileSystem(Arc::clone(file_system), mark));
            }
        }
        self.file
            .sync_all()
            .map_err(|error| self.write_error(HostOperation::Sync, error))?;
        Ok(Owed::Directories)
    }

    /// Allocates real blocks, so that a full disk shows before the first byte.
    fn reserve(&self) -> Result<(), HostError> {
        if self.len_bytes <= UNRESERVED_LEN_BYTES {
            return Ok(());
        }
        // Asked first: an allocation that fails in the end fills the disk under everybody else on the way.
        if free_bytes_of(&self.file, &self.path())? < self.len_bytes {
            return Err(self.full());
        }
        match retry_on_intr(|| fallocate(&self.file, FallocateFlags::empty(), 0, self.len_bytes)) {
            // What cannot allocate ahead will say so when it is written.
            Ok(()) | Err(Errno::NOTSUP | Errno::NOSYS) => Ok(()),
            Err(errno) => Err(self.write_error(HostOperation::Reserve, errno.into())),
        }
    }

    fn write_error(&self, operation: HostOperation, error: io::Error) -> HostError {
        if error.kind() == io::ErrorKind::StorageFull {
            self.full()
        } else {
            HostError::io(operation, &self.path())(error)
        }
    }

    fn full(&self) -> HostError {
        let path = self.path();
        match free_bytes_of(&self.file, &path) {
            Ok(free) => HostError::Full {
                path,
                needed: self.len_bytes,
                free,
            },
            Err(error) => error,
        }
    }

    fn path(&self) -> PathBuf {
        self.temporary.path()
    }
}

impl CompleteFile {
    /// Gives the file its final name.
    ///
    /// The name never leads to bytes that were to be durable and are not: a file that was completed with
    /// [`Durability::Batched`], and not followed by a [`RestoreTarget::sync_all`](super::RestoreTarget::sync_all), has its
    /// file system synced first. The *name* of such a file is durable after the next `sync_all`; where the file system
    /// cannot be synced as a whole, and with [`Durability::Synced`], when this returns.
    ///
    /// # Errors
    /// [`HostError::Exists`] and [`HostError::DirectoryInPlace`] when the name was taken meanwhile; [`HostError::Io`]
    /// otherwise, also when a sync of the file system has failed since the target was opened: what it lost is not known.
    /// The file is removed then, unless what failed is the sync of a directory: it has its name by that time, and may lose
    /// it in a crash.
    pub fn publish(self) -> Result<Restored, HostError> {
        let path = self.temporary.path();
        if let Owed::FileSystem(file_system, mark) = &self.owed {
            file_system
                .sync_since(*mark)
                .map_err(HostError::io(HostOperation::Sync, &path))?;
        }
        let directory = self.temporary.rename(self.existing)?;
        if matches!(self.owed, Owed::Directories) {
            directory.sync_upwards(&path)?;
        }
        Ok(self.restored)
    }
}

#[cfg(test)]
impl CompleteFile {
    /// Says whether its bytes are durable already, and its name will be as soon as it is given.
    pub(super) fn is_synced_by_itself(&self) -> bool {
        matches!(self.owed, Owed::Directories)
    }
}
