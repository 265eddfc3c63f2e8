//! Files of a system whose locks are worth nothing, for the one process that uses them.
//!
//! Everything is the other storage's, but for the locks: they are kept in memory, as the system would, between all handles that
//! were opened here. Invariant: whoever makes one has made sure that no other process uses the files, for as long as it lives.

use std::{
    ffi::OsString,
    fmt::Debug,
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    EntryInfo, FileAccess, FileIdentity, Lock, LockHandle, LockRange, LockTable, Medium, Replace, Storage,
    StorageFile,
};

/// Another storage, with locks of its own. `G` is what keeps other processes away; it goes when this does.
#[derive(Debug)]
pub struct AloneStorage<G> {
    inner: Arc<dyn Storage>,
    locks: Arc<Locks<G>>,
}

/// The locks of all handles.
#[derive(Debug)]
struct Locks<G> {
    table: Mutex<LockTable<FileIdentity>>,
    /// Something was given back, or exchanged for less.
    changed: Condvar,
    last_handle: AtomicU64,
    /// Here, so that it outlives every file.
    _alone: G,
}

impl<G> Locks<G> {
    fn table(&self) -> MutexGuard<'_, LockTable<FileIdentity>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes something, and lets those who wait try again.
    fn change<T>(&self, what: impl FnOnce(&mut LockTable<FileIdentity>) -> T) -> T {
        let changed = what(&mut self.table());
        self.changed.notify_all();
        changed
    }
}

impl<G> AloneStorage<G> {
    /// Wraps a storage; `alone` keeps other processes away.
    pub fn new(inner: &Arc<dyn Storage>, alone: G) -> Self {
        Self {
            inner: Arc::clone(inner),
            locks: Arc::new(Locks {
                table: Mutex::default(),
                changed: Condvar::new(),
                last_handle: AtomicU64::new(0),
                _alone: alone,
            }),
        }
    }
}

impl<G: Debug + Send + Sync + 'static> AloneStorage<G> {
    fn wrapped(&self, inner: Arc<dyn StorageFile>) -> io::Result<Arc<dyn StorageFile>> {
        Ok(Arc::new(AloneFile {
            id: inner.info()?.id,
            inner,
            locks: Arc::clone(&self.locks),
            handle: self.locks.last_handle.fetch_add(1, Ordering::Relaxed),
        }))
    }
}

impl<G: Debug + Send + Sync + 'static> Storage for AloneStorage<G> {
    fn open(&self, path: &Path, access: FileAccess) -> io::Result<Arc<dyn StorageFile>> {
        self.wrapped(self.inner.open(path, access)?)
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        self.wrapped(self.inner.create_new(path)?)
    }

    fn open_direct(&self, path: &Path, access: FileAccess) -> io::Result<Option<Arc<dyn StorageFile>>> {
        // Bytes go through it, never locks.
        self.inner.open_direct(path, access)
    }

    fn inspect(&self, path: &Path) -> io::Result<EntryInfo> {
        self.inner.inspect(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.inner.list(directory)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.inner.create_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.inner.sync_directory(path)
    }

    fn rename(&self, from: &Path, to: &Path, replace: Replace) -> io::Result<()> {
        self.inner.rename(from, to, replace)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.inner.remove_file(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.inner.free_bytes(path)
    }

    fn reserved_bytes(&self, path: &Path) -> io::Result<u64> {
        self.inner.reserved_bytes(path)
    }

    fn medium(&self, path: &Path) -> Medium {
        self.inner.medium(path)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.canonical(path)
    }
}

/// An open file whose locks are kept here.
#[derive(Debug)]
struct AloneFile<G> {
    inner: Arc<dyn StorageFile>,
    locks: Arc<Locks<G>>,
    id: FileIdentity,
    handle: LockHandle,
}

impl<G> Drop for AloneFile<G> {
    fn drop(&mut self) {
        self.locks.change(|table| table.release(self.id, self.handle));
    }
}

impl<G: Debug + Send + Sync> StorageFile for AloneFile<G> {
    fn info(&self) -> io::Result<EntryInfo> {
        self.inner.info()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.inner.write_at(offset, bytes)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.inner.set_len(len_bytes)
    }

    fn allocate(&self, end_bytes: u64) -> io::Result<()> {
        self.inner.allocate(end_bytes)
    }

    fn allocate_from(&self, start_bytes: u64, end_bytes: u64) -> io::Result<()> {
        self.inner.allocate_from(start_bytes, end_bytes)
    }

    fn punch(&self, offset: u64, len_bytes: u64) -> io::Result<()> {
        self.inner.punch(offset, len_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.inner.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.inner.sync_all()
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        Ok(self
            .locks
            .change(|table| table.try_lock(self.id, self.handle, lock)))
    }

    fn unlock(&self) -> io::Result<()> {
        self.locks.change(|table| table.unlock(self.id, self.handle));
        Ok(())
    }

    fn try_lock_range(&self, range: (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<bool> {
        let range = LockRange::new(range)?;
        // An exchange for less may free what others wait for.
        Ok(self
            .locks
            .change(|table| table.try_lock_range(self.id, self.handle, range, lock)))
    }

    fn lock_range(&self, range: (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<()> {
        let range = LockRange::new(range)?;
        let mut table = self.locks.table();
        while !table.try_lock_range(self.id, self.handle, range, lock) {
            table = self
                .locks
                .changed
                .wait(table)
                .unwrap_or_else(PoisonError::into_inner);
        }
        drop(table);
        self.locks.changed.notify_all();
        Ok(())
    }

    fn unlock_range(&self, range: (Bound<u64>, Bound<u64>)) -> io::Result<()> {
        let range = LockRange::new(range)?;
        self.locks
            .change(|table| table.unlock_range(self.id, self.handle, range));
        Ok(())
    }

    fn is_range_locked(&self, range: (Bound<u64>, Bound<u64>)) -> io::Result<bool> {
        let range = LockRange::new(range)?;
        Ok(self.locks.table().is_range_locked(self.id, self.handle, range))
    }

    fn forget_cached(&self, offset: u64, len_bytes: u64) {
        self.inner.forget_cached(offset, len_bytes);
    }
}
