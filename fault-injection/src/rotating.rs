//! Storage that takes as long as a rotating disk would: for measuring what an order of reads and writes costs there, without one.
//!
//! One arm serves all files. An access that goes on where the last one ended takes its bytes at the rate of the disk; any other one
//! waits for the arm first. Extents are charged call by call. What is written to other files, the catalog and the journal among them, is
//! charged when it is synced, in the order in which it lies there, as a page cache would write it; reading them again costs nothing. Each
//! sync that has something to do moves the arm, to where the file system keeps its own books. Real disks do better: they sort what waits.

#![expect(clippy::disallowed_methods, reason = "it takes as long as a disk would")]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    ops::Bound,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use bfdb::storage::{EntryInfo, FileAccess, Lock, Medium, Replace, Storage, StorageFile};

/// What a disk takes for its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpeed {
    /// Until the arm is at another place, and the place has come by.
    pub seek: Duration,
    /// Bytes in a second, one behind another.
    pub bytes_per_second: u64,
}

impl Default for DiskSpeed {
    /// 8 ms and 150 MB/s: a disk of 7200 turns a minute, near its middle.
    fn default() -> Self {
        Self {
            seek: Duration::from_millis(8),
            bytes_per_second: 150_000_000,
        }
    }
}

/// What a disk has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DiskWork {
    /// Accesses that did not go on where the last one ended.
    pub seeks: u64,
    /// Bytes that were read and written.
    pub bytes: u64,
    /// How long all of it took.
    pub busy: Duration,
}

/// Another storage, as slow as a rotating disk. A clone is the same disk.
#[derive(Debug, Clone)]
pub struct RotatingStorage {
    inner: Arc<dyn Storage>,
    disk: Arc<TurningDisk>,
}

#[derive(Debug)]
struct TurningDisk {
    speed: DiskSpeed,
    arm: Mutex<Arm>,
}

#[derive(Debug)]
struct Arm {
    free_at: Instant,
    /// Behind what was accessed last.
    place: Option<(Arc<Path>, u64)>,
    work: DiskWork,
}

impl RotatingStorage {
    /// Makes a disk of a storage.
    pub fn new(inner: Arc<dyn Storage>, speed: DiskSpeed) -> Self {
        let arm = Arm {
            free_at: Instant::now(),
            place: None,
            work: DiskWork::default(),
        };
        Self {
            inner,
            disk: Arc::new(TurningDisk {
                speed,
                arm: Mutex::new(arm),
            }),
        }
    }

    /// Returns what the disk has done since it was made.
    pub fn work(&self) -> DiskWork {
        self.disk.arm().work
    }

    fn wrap(&self, path: &Path, inner: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        let is_extent = path.extension().is_some_and(|extension| extension == "bfx");
        Arc::new(RotatingFile {
            inner,
            path: Arc::from(path),
            disk: Arc::clone(&self.disk),
            unwritten: (!is_extent).then(Mutex::default),
        })
    }
}

impl TurningDisk {
    fn arm(&self) -> MutexGuard<'_, Arm> {
        self.arm.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for as long as the disk takes, behind everybody who came before.
    fn access(&self, path: &Arc<Path>, offset: u64, len: usize, work: impl FnOnce()) {
        let done_at = self.arm().charge(self.speed, path, offset, as_u64(len));
        work();
        thread::sleep(done_at.saturating_duration_since(Instant::now()));
    }
}

impl Arm {
    /// Notes an access and returns when it is done.
    fn charge(&mut self, speed: DiskSpeed, path: &Arc<Path>, offset: u64, len: u64) -> Instant {
        let nanoseconds = u128::from(len) * 1_000_000_000 / u128::from(speed.bytes_per_second);
        let mut takes = Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX));
        let goes_on = matches!(&self.place, Some((at, end)) if at == path && *end == offset);
        if !goes_on {
            takes += speed.seek;
            self.work.seeks += 1;
        }
        self.place = Some((Arc::clone(path), offset + len));
        self.work.bytes += len;
        self.work.busy += takes;
        self.free_at = self.free_at.max(Instant::now()) + takes;
        self.free_at
    }
}

fn as_u64(len: usize) -> u64 {
    u64::try_from(len).expect("lengths are at most 64 bits")
}

impl Storage for RotatingStorage {
    fn open(&self, path: &Path, access: FileAccess) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.wrap(path, self.inner.open(path, access)?))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.wrap(path, self.inner.create_new(path)?))
    }

    fn open_direct(&self, path: &Path, access: FileAccess) -> io::Result<Option<Arc<dyn StorageFile>>> {
        let opened = self.inner.open_direct(path, access)?;
        Ok(opened.map(|file| self.wrap(path, file)))
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
        let mut result = Ok(());
        let books = Arc::from(path);
        self.disk
            .access(&books, 0, 0, || result = self.inner.sync_directory(path));
        result
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

    fn medium(&self, _: &Path) -> Medium {
        Medium::Rotating
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.inner.canonical(path)
    }
}

#[derive(Debug)]
struct RotatingFile {
    inner: Arc<dyn StorageFile>,
    path: Arc<Path>,
    disk: Arc<TurningDisk>,
    /// What a page cache would hold: where it begins, and where it ends. Extents have none.
    unwritten: Option<Mutex<BTreeMap<u64, u64>>>,
}

impl RotatingFile {
    /// Lets the disk write what was written, and its books.
    fn sync(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        if let Some(unwritten) = &self.unwritten {
            let runs = std::mem::take(&mut *unwritten.lock().unwrap_or_else(PoisonError::into_inner));
            if runs.is_empty() {
                return sync();
            }
            for (start, end) in merged(runs) {
                let len = usize::try_from(end - start).expect("it was in memory");
                self.disk.access(&self.path, start, len, || ());
            }
        }
        let mut result = Ok(());
        let books = Arc::from(self.path.with_extension("books"));
        self.disk.access(&books, 0, 0, || result = sync());
        result
    }
}

/// Joins runs that overlap or touch.
fn merged(runs: BTreeMap<u64, u64>) -> Vec<(u64, u64)> {
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (start, end) in runs {
        match merged.last_mut() {
            Some((_, last)) if start <= *last => *last = end.max(*last),
            _ => merged.push((start, end)),
        }
    }
    merged
}

impl StorageFile for RotatingFile {
    fn info(&self) -> io::Result<EntryInfo> {
        self.inner.info()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        if self.unwritten.is_some() {
            return self.inner.read_at(offset, into);
        }
        let mut result = Ok(0);
        self.disk.access(&self.path, offset, into.len(), || {
            result = self.inner.read_at(offset, into);
        });
        result
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        if let Some(unwritten) = &self.unwritten {
            let written = self.inner.write_at(offset, bytes)?;
            let mut unwritten = unwritten.lock().unwrap_or_else(PoisonError::into_inner);
            let end = unwritten.entry(offset).or_default();
            *end = (offset + as_u64(written)).max(*end);
            return Ok(written);
        }
        let mut result = Ok(0);
        self.disk.access(&self.path, offset, bytes.len(), || {
            result = self.inner.write_at(offset, bytes);
        });
        result
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
        self.sync(|| self.inner.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync(|| self.inner.sync_all())
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        self.inner.try_lock(lock)
    }

    fn unlock(&self) -> io::Result<()> {
        self.inner.unlock()
    }

    fn try_lock_range(&self, range: (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<bool> {
        self.inner.try_lock_range(range, lock)
    }

    fn lock_range(&self, range: (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<()> {
        self.inner.lock_range(range, lock)
    }

    fn unlock_range(&self, range: (Bound<u64>, Bound<u64>)) -> io::Result<()> {
        self.inner.unlock_range(range)
    }

    fn is_range_locked(&self, range: (Bound<u64>, Bound<u64>)) -> io::Result<bool> {
        self.inner.is_range_locked(range)
    }

    fn forget_cached(&self, offset: u64, len_bytes: u64) {
        self.inner.forget_cached(offset, len_bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimulatedStorage;

    /// A disk of which a thousand bytes take a millisecond, and a seek ten.
    fn disk() -> RotatingStorage {
        let speed = DiskSpeed {
            seek: Duration::from_millis(10),
            bytes_per_second: 1_000_000,
        };
        RotatingStorage::new(Arc::new(SimulatedStorage::new()), speed)
    }

    fn work(seeks: u64, bytes: u64, milliseconds: u64) -> DiskWork {
        let busy = Duration::from_millis(milliseconds);
        DiskWork { seeks, bytes, busy }
    }

    #[test]
    fn an_access_that_goes_on_costs_its_bytes_and_any_other_a_seek_too() {
        let disk = disk();
        let one = disk.create_new(Path::new("/1.bfx")).expect("made");
        let other = disk.create_new(Path::new("/2.bfx")).expect("made");
        one.write_all_at(0, &[1; 1000]).expect("written");
        one.write_all_at(1000, &[1; 1000]).expect("written");
        assert_eq!(disk.work(), work(1, 2000, 12), "it goes on where it ended");
        other.write_all_at(2000, &[1; 1000]).expect("written");
        assert_eq!(disk.work(), work(2, 3000, 23), "another file");
        one.read_exact_at(500, &mut [0; 500]).expect("read");
        one.read_exact_at(0, &mut [0; 500]).expect("read");
        assert_eq!(disk.work(), work(4, 4000, 44), "back");
    }

    #[test]
    fn other_files_cost_what_a_page_cache_would_write_at_a_sync() {
        let disk = disk();
        let file = disk.create_new(Path::new("/catalog")).expect("made");
        for offset in [3000, 0, 1000, 9000] {
            file.write_all_at(offset, &[1; 1000]).expect("written");
        }
        file.read_exact_at(0, &mut [0; 1000]).expect("read");
        assert_eq!(disk.work(), work(0, 0, 0), "all of it is in memory");
        file.sync_data().expect("synced");
        assert_eq!(disk.work(), work(4, 4000, 44), "three runs, and the books");
        file.sync_data().expect("synced");
        assert_eq!(disk.work(), work(4, 4000, 44), "nothing to do");
    }

    #[test]
    fn whoever_uses_the_disk_waits_for_it() {
        let disk = disk();
        let file = disk.create_new(Path::new("/1.bfx")).expect("made");
        let begun = Instant::now();
        thread::scope(|scope| {
            for offset in [0, 5000] {
                let file = &file;
                scope.spawn(move || file.write_all_at(offset, &[1; 1000]).expect("written"));
            }
        });
        assert!(
            begun.elapsed() >= Duration::from_millis(22),
            "one after the other"
        );
    }
}
