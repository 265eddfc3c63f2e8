//! The file of a catalog as the database asks for it.
//!
//! Promises that every read, write and sync goes through the storage of the archive, and that locks of one opening
//! conflict with those of any other. Knows nothing of what the bytes mean.

use core::ops::Bound;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

use crate::storage::{FileAccess, Lock, Storage, StorageFile};

/// How much of a growth gets blocks whatever is free: a disk that is full shows before anything is committed, and a
/// removal finds room for it in the ballast.
const ALWAYS_ALLOCATED_BYTES: u64 = 512 * 1024;

/// The part of the free space that a growth may take as a whole.
const PLENTY: u64 = 4;

/// The longest growth that gets all its blocks: an archive takes no more room ahead of its needs than that.
const MAX_ALLOCATED_BYTES: u64 = 8 * 1024 * 1024;

/// A range of bytes; most lie far behind the end of the file.
type Range = (Bound<u64>, Bound<u64>);

/// A catalog file, opened.
#[derive(Debug)]
pub(super) struct CatalogFile {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    file: Arc<dyn StorageFile>,
    locks: Locks,
    empty: Empty,
}

/// What an empty file is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Empty {
    /// A catalog that is to be made.
    New,
    /// One that has lost everything.
    Damaged,
}

/// Who keeps the locks of the database.
#[derive(Debug)]
enum Locks {
    /// The host, in the way of all other processes that use the same database.
    Host(FileBackend),
    /// The storage. The database wants them back when it closes, which may be before the file is closed.
    Storage(Mutex<Vec<Range>>),
}

/// Opens what stands at a path, through links too: a catalog may be put on another disk.
pub(super) fn open_file(
    storage: &dyn Storage,
    path: &Path,
    access: FileAccess,
) -> io::Result<Arc<dyn StorageFile>> {
    storage.open(&storage.canonical(path)?, access)
}

impl CatalogFile {
    pub(super) fn new(
        storage: &Arc<dyn Storage>,
        path: &Path,
        file: Arc<dyn StorageFile>,
        empty: Empty,
    ) -> Result<Self, DatabaseError> {
        let locks = match file.host_file() {
            Some(host) => Locks::Host(FileBackend::new(host.try_clone()?)?),
            None => Locks::Storage(Mutex::default()),
        };
        Ok(Self {
            storage: Arc::clone(storage),
            path: path.to_path_buf(),
            file,
            locks,
            empty,
        })
    }

    fn try_lock(&self, range: Range, lock: Lock) -> Result<bool, BackendError> {
        match (&self.locks, lock) {
            (Locks::Host(host), Lock::Exclusive) => host.try_lock_range(range.0, range.1),
            (Locks::Host(host), Lock::Shared) => host.try_lock_shared_range(range.0, range.1),
            (Locks::Storage(held), lock) => {
                let is_taken = self.file.try_lock_range(range, lock)?;
                if is_taken {
                    locked(held).push(range);
                }
                Ok(is_taken)
            }
        }
    }

    fn lock(&self, range: Range, lock: Lock) -> Result<(), BackendError> {
        match (&self.locks, lock) {
            (Locks::Host(host), Lock::Exclusive) => host.lock_range(range.0, range.1),
            (Locks::Host(host), Lock::Shared) => host.lock_shared_range(range.0, range.1),
            (Locks::Storage(held), lock) => {
                self.file.lock_range(range, lock)?;
                locked(held).push(range);
                Ok(())
            }
        }
    }

    /// Lengthens the file. The database does that, and syncs it, before the commit that needs it writes anything: so a full
    /// disk shows while nothing has happened yet.
    ///
    /// It doubles the file, though, up to some gigabytes at once. Where that is much, blocks are taken for
    /// the beginning only, and the rest when it is written, as [`room_bytes`](super::TransactionSize::room_bytes) counts
    /// it: nobody may lose the room for a removal to pages that the catalog does not need yet.
    fn grow(&self, len_bytes: u64, wanted_bytes: u64) -> io::Result<()> {
        let growth = wanted_bytes - len_bytes;
        let free = self.storage.free_bytes(&self.path).unwrap_or(0);
        let allocated = if growth <= (free / PLENTY).min(MAX_ALLOCATED_BYTES) {
            growth
        } else {
            growth.min(ALWAYS_ALLOCATED_BYTES)
        };
        let grown = self.file.allocate(len_bytes + allocated).and_then(|()| {
            if allocated == growth {
                Ok(())
            } else {
                self.file.set_len(wanted_bytes)
            }
        });
        grown.inspect_err(|_| {
            // What was taken before the failure goes back. A file that stays too long is no damage.
            match self.file.set_len(len_bytes) {
                Ok(()) | Err(_) => {}
            }
        })
    }
}

impl StorageBackend for CatalogFile {
    fn len(&self) -> io::Result<u64> {
        match self.file.info()?.len_bytes {
            0 if self.empty == Empty::Damaged => Err(io::ErrorKind::InvalidData.into()),
            len_bytes => Ok(len_bytes),
        }
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len_bytes = self.file.info()?.len_bytes;
        if len > len_bytes {
            self.grow(len_bytes, len)
        } else {
            self.file.set_len(len)
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file.write_all_at(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        match &self.locks {
            Locks::Host(host) => host.close(),
            Locks::Storage(held) => {
                let held = std::mem::take(&mut *locked(held));
                // All of them, whatever becomes of one.
                held.into_iter()
                    .map(|range| self.file.unlock_range(range))
                    .fold(Ok(()), Result::and)
            }
        }
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.try_lock((start, end), Lock::Exclusive)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.try_lock((start, end), Lock::Shared)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.lock((start, end), Lock::Exclusive)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.lock((start, end), Lock::Shared)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        match &self.locks {
            Locks::Host(host) => host.unlock_range(start, end),
            Locks::Storage(held) => {
                self.file.unlock_range((start, end))?;
                locked(held).retain(|range| *range != (start, end));
                Ok(())
            }
        }
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        match &self.locks {
            Locks::Host(host) => host.query_lock_range(start, end),
            Locks::Storage(_) => Ok(self.file.is_range_locked((start, end))?),
        }
    }
}

fn locked(held: &Mutex<Vec<Range>>) -> std::sync::MutexGuard<'_, Vec<Range>> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
