//! Disks that are not as a catalog wishes.

use core::ops::Bound;
use std::ffi::OsString;
use std::io;
use std::sync::Arc;

use redb::StorageBackend as _;
use redb::backends::FileBackend;

use super::reopening::Faults;
use super::*;
use crate::storage::{EntryInfo, FileAccess, HostStorage, Lock, Replace, Storage, StorageFile};

/// What a disk does when it is asked to sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Syncs {
    #[default]
    Done,
    /// For tests without crashes, which have better things to do than to wait.
    Skipped,
}

/// The disk of the machine, with one or more of these traits.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    /// Writes and syncs that fail.
    pub(super) faults: Faults,
    /// Whether nothing may be opened for writing.
    pub(super) is_read_only: bool,
    /// Whether it calls itself nearly full.
    pub(super) is_scarce: bool,
    /// Whether it keeps the locks itself.
    pub(super) has_own_locks: bool,
    /// What it does when it is asked to sync.
    pub(super) syncs: Syncs,
}

impl Disk {
    pub(super) fn shared(self) -> Arc<dyn Storage> {
        Arc::new(self)
    }

    fn wrap(&self, inner: Arc<dyn StorageFile>) -> Arc<dyn StorageFile> {
        let own_locks = self.has_own_locks.then(|| {
            let file = inner.host_file().and_then(|file| file.try_clone().ok());
            FileBackend::new(file.expect("a file of the host")).expect("a backend")
        });
        Arc::new(DiskFile {
            inner,
            faults: self.faults.clone(),
            syncs: self.syncs,
            own_locks,
        })
    }
}

impl Storage for Disk {
    fn open(&self, path: &Path, access: FileAccess) -> io::Result<Arc<dyn StorageFile>> {
        if self.is_read_only && access == FileAccess::ReadWrite {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        Ok(self.wrap(HostStorage.open(path, access)?))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        Ok(self.wrap(HostStorage.create_new(path)?))
    }

    fn inspect(&self, path: &Path) -> io::Result<EntryInfo> {
        HostStorage.inspect(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        HostStorage.list(directory)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        HostStorage.create_directory(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        HostStorage.sync_directory(path)
    }

    fn rename(&self, from: &Path, to: &Path, replace: Replace) -> io::Result<()> {
        HostStorage.rename(from, to, replace)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        HostStorage.remove_file(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        if self.is_scarce {
            return Ok(1 << 20);
        }
        HostStorage.free_bytes(path)
    }
}

#[derive(Debug)]
struct DiskFile {
    inner: Arc<dyn StorageFile>,
    faults: Faults,
    syncs: Syncs,
    own_locks: Option<FileBackend>,
}

impl DiskFile {
    fn own_locks(&self) -> &FileBackend {
        self.own_locks
            .as_ref()
            .expect("the host keeps the locks of other disks")
    }
}

impl StorageFile for DiskFile {
    fn info(&self) -> io::Result<EntryInfo> {
        self.inner.info()
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.faults.check()?;
        self.inner.write_at(offset, bytes)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        self.inner.set_len(len_bytes)
    }

    fn allocate(&self, end_bytes: u64) -> io::Result<()> {
        self.faults.check()?;
        self.inner.allocate(end_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.faults.check()?;
        match self.syncs {
            Syncs::Done => self.inner.sync_data(),
            Syncs::Skipped => Ok(()),
        }
    }

    fn sync_all(&self) -> io::Result<()> {
        self.faults.check()?;
        match self.syncs {
            Syncs::Done => self.inner.sync_all(),
            Syncs::Skipped => Ok(()),
        }
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        self.inner.try_lock(lock)
    }

    fn unlock(&self) -> io::Result<()> {
        self.inner.unlock()
    }

    fn try_lock_range(&self, (start, end): (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<bool> {
        Ok(match lock {
            Lock::Shared => self.own_locks().try_lock_shared_range(start, end)?,
            Lock::Exclusive => self.own_locks().try_lock_range(start, end)?,
        })
    }

    fn lock_range(&self, (start, end): (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<()> {
        match lock {
            Lock::Shared => self.own_locks().lock_shared_range(start, end)?,
            Lock::Exclusive => self.own_locks().lock_range(start, end)?,
        }
        Ok(())
    }

    fn unlock_range(&self, (start, end): (Bound<u64>, Bound<u64>)) -> io::Result<()> {
        Ok(self.own_locks().unlock_range(start, end)?)
    }

    fn is_range_locked(&self, (start, end): (Bound<u64>, Bound<u64>)) -> io::Result<bool> {
        Ok(self.own_locks().query_lock_range(start, end)?)
    }

    fn host_file(&self) -> Option<&std::fs::File> {
        match self.own_locks {
            Some(_) => None,
            None => self.inner.host_file(),
        }
    }
}

/// Makes `copy` what a process that died would have left: a copy of a file that is open has not been closed.
fn leave_unclean(world: &World, copy: &Path) {
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    writer
        .remove_file(&name("a/1"))
        .expect("sound")
        .expect("it is there");
    std::fs::copy(world.path(), copy).expect("copied");
    drop(writer);
    catalog.close().expect("closed");
}

#[test]
fn a_file_that_a_dead_process_left_on_a_disk_that_takes_no_writes_is_read_and_left_as_it_is() {
    let world = furnished();
    let copy = world.directory.path().join("copy");
    leave_unclean(&world, &copy);
    let before = std::fs::read(&copy).expect("read");
    let disk = Disk {
        is_read_only: true,
        ..Disk::default()
    };
    let open = |access| {
        let options = CatalogOptions::default();
        Catalog::open(&disk.clone().shared(), &copy, access, Check::Always, options)
    };
    // Two beside each other: neither locks the other out.
    let (first, second) = (open(Access::Read), open(Access::Read));
    for catalog in [first, second] {
        let catalog = catalog.expect("mended in memory");
        let seen = Dump::of(&catalog.read().expect("reader")).expect("sound");
        assert_eq!(seen, world.expected(3));
        assert!(matches!(catalog.write(), Err(CatalogError::ReadOnly)));
        catalog.close().expect("closed");
    }
    let refused = open(Access::Write).expect_err("it takes no writes");
    assert!(matches!(refused, CatalogError::Io { .. }), "{refused:?}");
    assert!(std::fs::read(&copy).expect("read") == before, "it was written");
}

#[test]
fn damage_of_an_unclean_file_is_noticed_where_it_cannot_be_written_too() {
    let world = furnished();
    let copy = world.directory.path().join("copy");
    leave_unclean(&world, &copy);
    let mut bytes = std::fs::read(&copy).expect("read");
    // Names stand in leaves only; a page that is free by now may hold some too.
    let mut noticed = 0;
    let places: Vec<usize> = (0..bytes.len() - 4)
        .filter(|&at| &bytes[at..at + 4] == b"link")
        .collect();
    for at in &places {
        bytes[*at] ^= 1;
        std::fs::write(&copy, &bytes).expect("written");
        bytes[*at] ^= 1;
        let disk = Disk {
            is_read_only: true,
            ..Disk::default()
        };
        let opened = Catalog::open(
            &disk.shared(),
            &copy,
            Access::Read,
            Check::Always,
            CatalogOptions::default(),
        );
        match opened {
            Err(error) => {
                assert!(error.is_damaged(), "{error:?}");
                noticed += 1;
            }
            Ok(catalog) => {
                let seen = Dump::of(&catalog.read().expect("reader")).expect("sound");
                assert_eq!(seen, world.expected(3));
            }
        }
    }
    assert!(noticed > 0, "none of {} places counts", places.len());
}

#[test]
fn a_disk_that_keeps_the_locks_itself_lets_two_handles_take_turns() {
    let mut world = World::new();
    let disk = Disk {
        has_own_locks: true,
        ..Disk::default()
    };
    let disk = disk.shared();
    let open = |access| {
        let options = CatalogOptions::default();
        Catalog::open(&disk, &world.path(), access, Check::Always, options).expect("opened")
    };
    let (left, right, reading) = (open(Access::Write), open(Access::Write), open(Access::Read));
    for round in 0..4 {
        let (catalog, other) = if round % 2 == 0 {
            (&left, &right)
        } else {
            (&right, &left)
        };
        let mut writer = catalog.write().expect("writer");
        world.insert(&mut writer, &name(&format!("f{round}")), 5000);
        writer.advance_epoch();
        writer.commit().expect("committed");
        for catalog in [other, &reading] {
            let seen = Dump::of(&catalog.read().expect("reader")).expect("sound");
            assert_eq!(seen, world.expected(round + 1), "round {round}");
        }
    }
    let builder = redb::Database::builder();
    let exclusive = || builder.open(world.path());
    assert!(
        matches!(exclusive(), Err(redb::DatabaseError::DatabaseAlreadyOpen)),
        "the locks are real"
    );
    for catalog in [left, right, reading] {
        catalog.close().expect("closed");
    }
    drop(builder.open(world.path()).expect("all locks were given back"));
}

#[test]
fn a_catalog_that_grows_has_its_blocks_before_it_is_written_where_there_is_plenty_of_room() {
    use std::os::unix::fs::MetadataExt as _;
    for is_scarce in [false, true] {
        let world = World::new();
        let disk = Disk {
            is_scarce,
            ..Disk::default()
        };
        let disk = disk.shared();
        let path = world.directory.path().join("new");
        let options = CatalogOptions::default();
        Catalog::create(&disk, &path, &archive(), &volumes(), options).expect("created");
        let found = std::fs::metadata(&path).expect("it is there");
        let has_holes = found.blocks() * 512 < found.len();
        assert_eq!(
            has_holes,
            is_scarce,
            "{} of {}",
            found.blocks() * 512,
            found.len()
        );
    }
}
