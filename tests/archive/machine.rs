//! An archive lies on whatever storage its machine has, and asks nothing else for its own files, for time and for chance.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use bfdb::{
    archive::{
        Archive, ArchiveOptions, CommitAllOptions, CommitObserver, CommitOptions, CommitOutcome, Event,
        FileInfo, Observer, OpenOptions, Resources, RestoreObserver, RestoreOptions, RestoreReceipt, Source,
    },
    catalog::Access,
    error::{CommitError, HostError, RestoreError},
    host::{Clock, Machine, Place, Randomness, RestoreTarget},
    storage::{EntryInfo, FileAccess, HostStorage, Lock, Replace, Storage, StorageFile},
    units::Timestamp,
};
use bfdb_fault_injection::Seeded;

use crate::support::{Store, copy_dir, get, name, names, open, painted, small_policy};

/// Where the archive believes to be. There is no such directory.
pub const NOWHERE: &str = "/nowhere-on-this-host";

/// A storage whose root is somewhere else, and that remembers what was changed on it.
#[derive(Debug, Clone)]
struct Elsewhere {
    root: PathBuf,
    log: Arc<Log>,
    /// Whether nothing may be opened for writing.
    is_read_only: bool,
    /// What paths have in them to which there is no way past the page cache.
    cached: Option<&'static str>,
}

#[derive(Debug, Default)]
struct Log {
    changes: Mutex<Vec<String>>,
    under_way: AtomicUsize,
    /// Reads past the page cache.
    direct_reads: AtomicUsize,
}

impl Log {
    /// Does something that changes the storage; no two such things are done at once.
    fn change<T>(&self, what: String, work: impl FnOnce() -> T) -> T {
        self.changes.lock().unwrap().push(what);
        assert_eq!(self.under_way.fetch_add(1, Ordering::SeqCst), 0, "two at once");
        let result = work();
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        result
    }
}

impl Elsewhere {
    fn at(&self, path: &Path) -> PathBuf {
        self.root.join(path.strip_prefix(NOWHERE).unwrap())
    }

    fn wrap(&self, path: &Path, inner: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        Arc::new(self.file(path, inner))
    }

    fn file(&self, path: &Path, inner: Arc<dyn StorageFile>) -> ElsewhereFile {
        ElsewhereFile {
            path: path.to_path_buf(),
            inner,
            log: Arc::clone(&self.log),
            is_direct: false,
        }
    }

    fn change<T>(&self, what: &str, path: &Path, work: impl FnOnce() -> T) -> T {
        self.log.change(format!("{what} {}", path.display()), work)
    }
}

impl Storage for Elsewhere {
    fn open(&self, path: &Path, access: FileAccess) -> io::Result<Arc<dyn StorageFile>> {
        if self.is_read_only && access == FileAccess::ReadWrite {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(self.wrap(path, HostStorage.open(&self.at(path), access)?))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let made = self.change("create", path, || HostStorage.create_new(&self.at(path)))?;
        Ok(self.wrap(path, made))
    }

    fn open_direct(&self, path: &Path, access: FileAccess) -> io::Result<Option<Arc<dyn StorageFile>>> {
        if self
            .cached
            .is_some_and(|cached| path.to_string_lossy().contains(cached))
        {
            return Ok(None);
        }
        let opened = HostStorage.open_direct(&self.at(path), access)?;
        Ok(opened.map(|inner| -> Arc<dyn StorageFile> {
            Arc::new(ElsewhereFile {
                is_direct: true,
                ..self.file(path, inner)
            })
        }))
    }

    fn inspect(&self, path: &Path) -> io::Result<EntryInfo> {
        HostStorage.inspect(&self.at(path))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        HostStorage.list(&self.at(directory))
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        self.change("directory", path, || HostStorage.create_directory(&self.at(path)))
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        self.change("sync of", path, || HostStorage.sync_directory(&self.at(path)))
    }

    fn rename(&self, from: &Path, to: &Path, replace: Replace) -> io::Result<()> {
        self.change("rename to", to, || {
            HostStorage.rename(&self.at(from), &self.at(to), replace)
        })
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.change("remove", path, || HostStorage.remove_file(&self.at(path)))
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        // The same whatever else happens on the disk.
        HostStorage.free_bytes(&self.at(path)).map(|_| 1 << 34)
    }
}

#[derive(Debug)]
struct ElsewhereFile {
    path: PathBuf,
    inner: Arc<dyn StorageFile>,
    log: Arc<Log>,
    is_direct: bool,
}

impl ElsewhereFile {
    fn change<T>(&self, what: &str, (at, len): (u64, usize), work: impl FnOnce() -> T) -> T {
        let path = self.path.display();
        self.log.change(format!("{what} {path} {at} {len}"), work)
    }
}

impl StorageFile for ElsewhereFile {
    fn info(&self) -> io::Result<EntryInfo> {
        self.inner.info()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        if self.is_direct {
            self.log.direct_reads.fetch_add(1, Ordering::SeqCst);
        }
        self.inner.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.change("write", (offset, bytes.len()), || {
            self.inner.write_at(offset, bytes)
        })
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.change("length", (len_bytes, 0), || self.inner.set_len(len_bytes))
    }

    fn allocate(&self, end_bytes: u64) -> io::Result<()> {
        self.change("allocate", (end_bytes, 0), || self.inner.allocate(end_bytes))
    }

    fn allocate_from(&self, start_bytes: u64, end_bytes: u64) -> io::Result<()> {
        self.change("allocate", (end_bytes, 0), || {
            self.inner.allocate_from(start_bytes, end_bytes)
        })
    }

    fn punch(&self, offset: u64, len_bytes: u64) -> io::Result<()> {
        self.change("punch", (offset, 0), || self.inner.punch(offset, len_bytes))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.change("sync", (0, 0), || self.inner.sync_data())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.change("sync", (0, 0), || self.inner.sync_all())
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        self.inner.try_lock(lock)
    }

    fn unlock(&self) -> io::Result<()> {
        self.inner.unlock()
    }

    fn host_file(&self) -> Option<&fs::File> {
        self.inner.host_file()
    }
}

#[derive(Debug)]
struct Noon;

impl Clock for Noon {
    fn now(&self) -> Timestamp {
        Timestamp::new(1_700_000_000, 0).unwrap()
    }
}

#[derive(Debug)]
struct Chance(Mutex<Seeded>);

impl Randomness for Chance {
    fn fill(&self, into: &mut [u8]) -> Result<(), HostError> {
        let mut seeded = self.0.lock().unwrap();
        into.fill_with(|| seeded.index(256) as u8);
        Ok(())
    }
}

/// Nothing that is committed or restored fails.
#[derive(Debug)]
struct Must;

impl Observer for Must {
    fn event(&self, _: Event<'_>) {}
}

impl CommitObserver for Must {
    fn source_done(&self, source: &Source, result: Result<CommitOutcome, CommitError>) {
        assert!(result.is_ok(), "{}: {result:?}", source.name);
    }
}

impl RestoreObserver for Must {
    fn entry_done(&self, entry: &FileInfo, result: Result<RestoreReceipt, RestoreError>) {
        assert!(result.is_ok(), "{}: {result:?}", entry.name);
    }
}

/// A machine whose storage lies in a directory, at noon, whose chance is the same each time.
fn machine_in(root: &Path, log: &Arc<Log>) -> Machine {
    let storage = Elsewhere {
        root: root.to_path_buf(),
        log: Arc::clone(log),
        is_read_only: false,
        cached: None,
    };
    Machine {
        storage: Arc::new(storage),
        clock: Arc::new(Noon),
        randomness: Arc::new(Chance(Mutex::new(Seeded::new(5)))),
    }
}

/// A machine whose storage lies in a directory; to paths with `cached` in them there is no way past the page cache.
pub fn caching_machine(root: &Path, cached: Option<&'static str>) -> Machine {
    counting_machine(root, cached).0
}

/// The same, and what says how often was read past the page cache.
pub fn counting_machine(root: &Path, cached: Option<&'static str>) -> (Machine, impl Fn() -> usize) {
    let log = Arc::new(Log::default());
    let machine = Machine {
        storage: Arc::new(Elsewhere {
            root: root.to_path_buf(),
            log: Arc::clone(&log),
            is_read_only: false,
            cached,
        }),
        ..Machine::default()
    };
    (machine, move || log.direct_reads.load(Ordering::SeqCst))
}

/// Lives the life of an archive whose operations have one thread each; returns what was changed on the storage, in order.
fn live(sources: &Path) -> Vec<String> {
    let dir = tempfile::tempdir().unwrap();
    let log = Arc::new(Log::default());
    let machine = machine_in(dir.path(), &log);
    let root = Path::new(NOWHERE).join("a.bfdb");
    let resources = Resources {
        threads: 1,
        ..Resources::default()
    };
    let options = ArchiveOptions {
        policy: small_policy(),
        resources,
        volumes: Vec::new(),
    };
    let archive = Archive::create_on(&machine, &root, &options).unwrap();
    let lengths = [0, 1, 3000, 20_000, 200_000];
    for len in lengths {
        let content = painted(len, len);
        let options = CommitOptions::default();
        drop(
            archive
                .commit(&name(&format!("stream/{len}")), &content[..], len, &options)
                .unwrap(),
        );
    }
    let mut found: Vec<PathBuf> = fs::read_dir(sources)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    found.sort();
    let mut found = found.iter().map(|path| Source {
        name: name(&format!("tree/{}", path.file_name().unwrap().to_str().unwrap())),
        place: Place::of_path(path),
    });
    archive
        .commit_all(&mut found, &CommitAllOptions::default(), &Must)
        .unwrap();
    drop(archive.remove(&name("stream/1")).unwrap());
    archive.close().unwrap();

    for access in [Access::Read, Access::Write] {
        let options = OpenOptions {
            access,
            resources,
            volumes: Vec::new(),
        };
        let (archive, report) = Archive::open_on(&machine, &root, &options).unwrap();
        assert_eq!(report.dead_sessions, 0);
        for len in lengths.into_iter().filter(|len| *len != 1) {
            assert!(get(&archive, &format!("stream/{len}")).unwrap() == painted(len, len));
        }
        assert_eq!(names(&archive).len(), 4 + 40);
        assert_eq!(archive.scrub(&()).unwrap().damage, []);
        let restored = tempfile::tempdir().unwrap();
        let target = RestoreTarget::open(restored.path()).unwrap();
        archive
            .snapshot()
            .unwrap()
            .restore_all(None, &target, &RestoreOptions::default(), &Must)
            .unwrap();
        archive.close().unwrap();
    }
    std::mem::take(&mut *log.changes.lock().unwrap())
}

#[test]
fn an_archive_on_another_machine_lives_there_alone_and_does_the_same_each_time() {
    let sources = tempfile::tempdir().unwrap();
    for file in 0..40_u64 {
        let content = painted(file * 700, file);
        fs::write(sources.path().join(format!("{file:02}")), content).unwrap();
    }
    let first = live(sources.path());
    assert!(first.len() > 100, "{} changes", first.len());
    assert!(!Path::new(NOWHERE).exists());
    let second = live(sources.path());
    let differs = first.iter().zip(&second).position(|(a, b)| a != b);
    assert_eq!(
        differs.map(|at| (&first[at], &second[at])),
        None,
        "the same machine does the same"
    );
    assert_eq!(first.len(), second.len());
}

#[test]
fn what_a_dead_writer_left_on_a_file_system_that_takes_no_writes_is_listed_and_read() {
    let (dir, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let log = Arc::new(Log::default());
    let root = Path::new(NOWHERE).join("a.bfdb");
    let options = ArchiveOptions {
        policy: small_policy(),
        resources: Resources {
            threads: 1,
            ..Resources::default()
        },
        volumes: Vec::new(),
    };
    let archive = Archive::create_on(&machine_in(dir.path(), &log), &root, &options).unwrap();
    let content = painted(30_000, 1);
    let put = |file: &str| archive.commit(&name(file), &content[..], 30_000, &CommitOptions::default());
    drop((put("a").unwrap(), put("b").unwrap()));
    // A copy of an archive that is open is what a killed writer leaves.
    copy_dir(&dir.path().join("a.bfdb"), &killed.path().join("a.bfdb"));
    archive.close().unwrap();

    let log = Arc::new(Log::default());
    let storage = Elsewhere {
        root: killed.path().to_path_buf(),
        log: Arc::clone(&log),
        is_read_only: true,
        cached: None,
    };
    let machine = Machine {
        storage: Arc::new(storage),
        ..Machine::default()
    };
    let (archive, _) = Archive::open_on(&machine, &root, &OpenOptions::default()).unwrap();
    assert_eq!(names(&archive), ["a", "b"]);
    assert!(get(&archive, "b").unwrap() == content);
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    archive.close().unwrap();
    assert_eq!(*log.changes.lock().unwrap(), [""; 0], "nothing was written");
}

#[test]
fn a_catalog_may_lie_on_another_disk_behind_a_link() {
    let store = Store::new();
    store.put("a", b"1");
    let root = store.root();
    store.archive.close().unwrap();
    let elsewhere = store.dir.path().join("elsewhere.redb");
    fs::rename(root.join("catalog.redb"), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, root.join("catalog.redb")).unwrap();
    let archive = open(&root, Access::Write);
    let content = b"2";
    drop(
        archive
            .commit(&name("b"), &content[..], 1, &CommitOptions::default())
            .unwrap(),
    );
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    archive.close().unwrap();
    let archive = open(&root, Access::Read);
    assert_eq!(names(&archive), ["a", "b"]);
    assert!(
        fs::symlink_metadata(root.join("catalog.redb"))
            .unwrap()
            .is_symlink()
    );
}
