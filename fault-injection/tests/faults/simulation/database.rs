//! The database of the catalog on the simulated disk: shared by two writers, and crashed everywhere.

use std::{
    collections::BTreeSet,
    io,
    ops::Bound,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use bfdb::storage::{FileAccess, Lock, Storage as _, StorageFile};
use bfdb_fault_injection::{
    Seeded, SimulatedStorage,
    simulation::{CrashClass, CrashPoint, Limits},
};
use redb::{
    BackendError, Builder, ConcurrencyMode, Database, ReadableDatabase as _, ReadableTable as _,
    StorageBackend, TableDefinition,
};

const TABLE: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("rows");
const PATH: &str = "/catalog.redb";

/// A file of the simulated disk as the database asks for it.
#[derive(Debug)]
struct Backend {
    file: Mutex<Option<Arc<dyn StorageFile>>>,
}

impl Backend {
    fn file(&self) -> io::Result<Arc<dyn StorageFile>> {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.as_ref()
            .map(Arc::clone)
            .ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

type Answer<T> = Result<T, BackendError>;

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file()?.info()?.len_bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file()?.read_exact_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file()?.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file()?.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file()?.write_all_at(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        // With the handle go its locks.
        drop(self.file.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(())
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Answer<bool> {
        Ok(self.file()?.try_lock_range((start, end), Lock::Exclusive)?)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Answer<bool> {
        Ok(self.file()?.try_lock_range((start, end), Lock::Shared)?)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Answer<()> {
        Ok(self.file()?.lock_range((start, end), Lock::Exclusive)?)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Answer<()> {
        Ok(self.file()?.lock_range((start, end), Lock::Shared)?)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Answer<()> {
        Ok(self.file()?.unlock_range((start, end))?)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Answer<bool> {
        Ok(self.file()?.is_range_locked((start, end))?)
    }
}

fn open(disk: &SimulatedStorage) -> Result<Database, redb::DatabaseError> {
    let file = disk.open(Path::new(PATH), FileAccess::ReadWrite).unwrap();
    Builder::new()
        .set_cache_size(1024 * 1024)
        .set_concurrency_mode(ConcurrencyMode::MultiWriter)
        .create_with_backend(Backend {
            file: Mutex::new(Some(file)),
        })
}

/// Stores a row, the way the catalog commits.
fn put(database: &Database, key: u64) {
    let mut transaction = database.begin_write().unwrap();
    transaction.set_two_phase_commit(true);
    transaction.set_quick_repair(true);
    let value = vec![key.to_le_bytes()[0]; 3000];
    transaction
        .open_table(TABLE)
        .unwrap()
        .insert(key, value.as_slice())
        .unwrap();
    transaction.commit().unwrap();
}

/// Returns the keys that are there; each row is whole.
fn keys(database: &Database) -> BTreeSet<u64> {
    let transaction = database.begin_read().unwrap();
    let table = match transaction.open_table(TABLE) {
        Ok(table) => table,
        Err(redb::TableError::TableDoesNotExist(_)) => return BTreeSet::new(),
        Err(error) => panic!("{error}"),
    };
    let rows = table.iter().unwrap().map(|row| {
        let (key, value) = row.unwrap();
        assert_eq!(
            value.value(),
            vec![key.value().to_le_bytes()[0]; 3000],
            "row {}",
            key.value()
        );
        key.value()
    });
    rows.collect()
}

/// A disk with a closed database that has row 0.
fn disk_with_database() -> SimulatedStorage {
    let disk = SimulatedStorage::new();
    drop(disk.create_new(Path::new(PATH)).unwrap());
    let database = open(&disk).unwrap();
    put(&database, 0);
    database.close().unwrap();
    disk.settled()
}

#[test]
fn two_writers_share_a_database_through_range_locks() {
    let disk = disk_with_database();
    let [first, second] = [open(&disk).unwrap(), open(&disk).unwrap()];
    std::thread::scope(|scope| {
        for (database, base) in [(&first, 100), (&second, 200)] {
            scope.spawn(move || (base..base + 20).for_each(|key| put(database, key)));
        }
    });
    let expected: BTreeSet<u64> = (0..1).chain(100..120).chain(200..220).collect();
    assert_eq!(keys(&first), expected);
    assert_eq!(keys(&second), expected);
}

#[test]
fn a_database_keeps_every_acknowledged_commit_through_every_crash() {
    let disk = disk_with_database();
    let database = open(&disk).unwrap();
    for key in 1..6 {
        put(&database, key);
        disk.marker(key.to_string());
    }
    database.close().unwrap();
    let timeline = disk.timeline();
    let mut seeded = Seeded::new(7);
    // A torn sector of the header takes both of its commit slots along: that is what the catalog has a journal for.
    let limits = Limits::new(3).without(CrashClass::GarbageInTornSector);
    let mut seen = BTreeSet::new();
    let mut nested = 0;
    for point in timeline.boundaries() {
        let acknowledged = u64::try_from(timeline.markers_before(point).len()).unwrap();
        for variant in timeline.variants_at(point, &mut seeded, &limits) {
            let image = timeline.image(point, &variant);
            if !seen.insert((image.fingerprint(), acknowledged)) {
                continue;
            }
            let found = keys(&open(&image).unwrap_or_else(|error| panic!("{point:?} {variant:?}: {error}")));
            let expected: BTreeSet<u64> = (0..=acknowledged).collect();
            let is_next_too = found.len() == expected.len() + 1;
            assert!(found.is_superset(&expected), "{point:?} {variant:?}: {found:?}");
            assert!(
                is_next_too || found == expected,
                "{point:?} {variant:?}: {found:?}"
            );
            nested += usize::from(seen.len() % 40 == 0 && crashed_again(&image, &found));
        }
    }
    assert!(seen.len() > 300, "only {} images", seen.len());
    assert!(nested > 3, "only {nested} recoveries were crashed");
}

/// Crashes what the opening did to an image. Says whether it did anything.
fn crashed_again(image: &SimulatedStorage, found: &BTreeSet<u64>) -> bool {
    let recovery = image.timeline();
    let mut seeded = Seeded::new(8);
    for point in recovery.boundaries().step_by(3) {
        for variant in recovery.variants_at(point, &mut seeded, &Limits::new(1)) {
            if variant.class() != CrashClass::GarbageInTornSector {
                assert_eq!(
                    &keys(&open(&recovery.image(point, &variant)).unwrap()),
                    found,
                    "{variant:?}"
                );
            }
        }
    }
    recovery.boundaries().last() > Some(CrashPoint { after_operation: 0 })
}
