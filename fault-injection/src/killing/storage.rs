//! The file system of the machine, for a process that dies at a chosen call.

use std::{
    ffi::OsString,
    fmt,
    fs::File,
    io,
    ops::Bound,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use bfdb::storage::{EntryInfo, FileAccess, HostStorage, Lock, Replace, Storage, StorageFile};
use rustix::process::{Signal, getpid, kill_process};

/// When a process dies: at which of its calls that change something, and on which side of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Death {
    /// The number of the call; the first is 1.
    pub call: u64,
    /// Before, within or behind it.
    pub moment: Moment,
}

/// On which side of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of it was done.
    Before,
    /// The first half of a write was done; of anything else nothing.
    Within,
    /// All of it was done, and nobody was told.
    Behind,
}

impl fmt::Display for Death {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = match self.moment {
            Moment::Before => "before",
            Moment::Within => "within",
            Moment::Behind => "behind",
        };
        write!(out, "{}.{moment}", self.call)
    }
}

impl FromStr for Death {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (call, moment) = text.split_once('.').ok_or(())?;
        let moment = match moment {
            "before" => Moment::Before,
            "within" => Moment::Within,
            "behind" => Moment::Behind,
            _ => return Err(()),
        };
        Ok(Self {
            call: call.parse().map_err(drop)?,
            moment,
        })
    }
}

/// Counts calls, and ends the process at the chosen one: SIGKILL, so that nothing of it runs on.
#[derive(Debug)]
struct Fuse {
    calls: AtomicU64,
    death: Option<Death>,
}

impl Fuse {
    /// Does a call that changes something, unless this is the end.
    fn burn<T>(&self, call: impl FnOnce() -> io::Result<T>, half: impl FnOnce()) -> io::Result<T> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let Some(death) = self.death.filter(|death| death.call == number) else {
            return call();
        };
        match death.moment {
            Moment::Before => die(),
            Moment::Within => {
                half();
                die()
            }
            Moment::Behind => match call() {
                Ok(_) | Err(_) => die(),
            },
        }
    }
}

/// Ends this process as a loss of power to it would: no destructor, no handler, no flush.
fn die() -> ! {
    loop {
        // It can always be sent to oneself; should it ever not arrive at once, nothing more is done all the same.
        kill_process(getpid(), Signal::KILL).expect("a process may kill itself");
        std::thread::yield_now();
    }
}

/// [`HostStorage`] with a fuse.
#[derive(Debug, Clone)]
pub struct DyingStorage {
    fuse: Arc<Fuse>,
}

impl DyingStorage {
    /// Returns one whose process dies as said, or never.
    pub fn new(death: Option<Death>) -> Self {
        Self {
            fuse: Arc::new(Fuse {
                calls: AtomicU64::new(0),
                death,
            }),
        }
    }

    /// Returns how many calls changed something so far.
    pub fn calls(&self) -> u64 {
        self.fuse.calls.load(Ordering::SeqCst)
    }

    fn wrap(&self, file: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(DyingFile {
            fuse: Arc::clone(&self.fuse),
            file,
        })
    }

    fn burn<T>(&self, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.fuse.burn(call, || ())
    }
}

impl Storage for DyingStorage {
    fn open(&self, path: &Path, access: FileAccess) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.wrap(HostStorage.open(path, access)?))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.burn(|| HostStorage.create_new(path))?;
        Ok(self.wrap(file))
    }

    fn open_direct(&self, path: &Path, access: FileAccess) -> io::Result<Option<Arc<dyn StorageFile>>> {
        Ok(HostStorage.open_direct(path, access)?.map(|file| self.wrap(file)))
    }

    fn inspect(&self, path: &Path) -> io::Result<EntryInfo> {
        HostStorage.inspect(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        HostStorage.list(directory)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.burn(|| HostStorage.create_directory(path))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.burn(|| HostStorage.sync_directory(path))
    }

    fn rename(&self, from: &Path, to: &Path, replace: Replace) -> io::Result<()> {
        self.burn(|| HostStorage.rename(from, to, replace))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.burn(|| HostStorage.remove_file(path))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        HostStorage.free_bytes(path)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        HostStorage.canonical(path)
    }
}

#[derive(Debug)]
struct DyingFile {
    fuse: Arc<Fuse>,
    file: Arc<dyn StorageFile>,
}

impl StorageFile for DyingFile {
    fn info(&self) -> io::Result<EntryInfo> {
        self.file.info()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let half = || match self.file.write_at(offset, &bytes[..bytes.len() / 2]) {
            Ok(_) | Err(_) => {}
        };
        self.fuse.burn(|| self.file.write_at(offset, bytes), half)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.fuse.burn(|| self.file.set_len(len_bytes), || ())
    }

    fn allocate(&self, end_bytes: u64) -> io::Result<()> {
        self.fuse.burn(|| self.file.allocate(end_bytes), || ())
    }

    fn allocate_from(&self, start_bytes: u64, end_bytes: u64) -> io::Result<()> {
        self.fuse
            .burn(|| self.file.allocate_from(start_bytes, end_bytes), || ())
    }

    fn punch(&self, offset: u64, len_bytes: u64) -> io::Result<()> {
        let half = || match self.file.punch(offset, (len_bytes / 2).max(1)) {
            Ok(()) | Err(_) => {}
        };
        self.fuse.burn(|| self.file.punch(offset, len_bytes), half)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fuse.burn(|| self.file.sync_data(), || ())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.fuse.burn(|| self.file.sync_all(), || ())
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        self.file.try_lock(lock)
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    fn try_lock_range(&self, range: (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<bool> {
        self.file.try_lock_range(range, lock)
    }

    fn lock_range(&self, range: (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<()> {
        self.file.lock_range(range, lock)
    }

    fn unlock_range(&self, range: (Bound<u64>, Bound<u64>)) -> io::Result<()> {
        self.file.unlock_range(range)
    }

    fn is_range_locked(&self, range: (Bound<u64>, Bound<u64>)) -> io::Result<bool> {
        self.file.is_range_locked(range)
    }

    fn forget_cached(&self, offset: u64, len_bytes: u64) {
        self.file.forget_cached(offset, len_bytes);
    }

    fn host_file(&self) -> Option<&File> {
        self.file.host_file()
    }
}
