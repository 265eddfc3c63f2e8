//! Writers side by side, and writers that die: every file is wholly there or not at all, and no byte leaks.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::{Arc, Barrier, Mutex},
    thread,
};

use bfdb::{
    archive::{
        Archive, ArchiveOptions, CommitOptions, CommitOutcome, Event, Observer, RecoveryReport, Resources,
    },
    catalog::Access,
    error::{CommitError, ReadError},
};
use tempfile::TempDir;

use crate::support::{
    LEAF, SEGMENT, SEGMENTED_BELOW, Store, TINY_BELOW, get, name, names, open, painted, small_policy,
    try_open,
};

/// Lengths of every tier.
const LENGTHS: [u64; 4] = [
    0,
    TINY_BELOW - 5,
    3 * SEGMENT + 7,
    SEGMENTED_BELOW + 40 * LEAF + 9,
];

pub fn put(archive: &Archive, file: &str, content: &[u8]) -> Result<u64, CommitError> {
    let len = content.len() as u64;
    let receipt = archive.commit(&name(file), content, len, &CommitOptions::default())?;
    Ok(receipt.stored_bytes)
}

/// The lengths of all extent files.
pub fn extent_lens(root: &Path) -> BTreeMap<PathBuf, u64> {
    let one = |path: PathBuf| {
        let len = fs::metadata(&path).unwrap().len();
        (path.strip_prefix(root).unwrap().to_path_buf(), len)
    };
    bfdb_fault_injection::damage::extent_files(root)
        .unwrap()
        .into_iter()
        .map(one)
        .collect()
}

/// Asserts that extents hold headers, what receipts say, and at most the rest of a sector for every commit and lane.
pub fn assert_nothing_leaked(root: &Path, stored: u64, commits: u64) {
    let extents = extent_lens(root);
    let on_disk: u64 = extents.values().sum();
    let most = stored + extents.len() as u64 * 4096 + commits * 9 * 4096;
    assert!(
        (stored..=most).contains(&on_disk),
        "{on_disk} bytes on disk, {stored} in receipts of {commits} commits"
    );
}

pub fn assert_whole(archive: &Archive) {
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    assert_eq!(archive.snapshot().unwrap().verify(None, &()).unwrap().damage, []);
}

/// The files that a worker has kept, and the bytes that it has stored.
type Worked = (Vec<(String, Vec<u8>)>, u64);

/// Commits, reads and removes names of its own; returns what should be there at the end.
pub fn work(archive: &Archive, worker: u64) -> Worked {
    let (mut kept, mut stored) = (Vec::new(), 0);
    for round in 0..6 {
        let file = format!("w{worker}/{round}");
        let content = painted(
            LENGTHS[((worker + round) % 4) as usize] + worker,
            worker * 31 + round,
        );
        stored += put(archive, &file, &content).unwrap();
        assert!(get(archive, &file).unwrap() == content, "{file}");
        assert!(matches!(
            put(archive, &file, b"other"),
            Err(CommitError::NameTaken { .. })
        ));
        if round % 3 == 0 {
            drop(archive.remove(&name(&file)).unwrap());
            assert!(matches!(get(archive, &file), Err(ReadError::NotFound { .. })));
        } else {
            kept.push((file, content));
        }
    }
    (kept, stored)
}

pub fn check_all(archive: &Archive, root: &Path, results: Vec<Worked>, commits: u64) {
    let stored = results.iter().map(|result| result.1).sum();
    let kept: BTreeMap<String, Vec<u8>> = results.into_iter().flat_map(|result| result.0).collect();
    assert_eq!(names(archive), kept.keys().cloned().collect::<Vec<_>>());
    for (file, content) in &kept {
        assert!(get(archive, file).unwrap() == *content, "{file}");
    }
    let totals = archive.snapshot().unwrap().totals().unwrap();
    let bytes: usize = kept.values().map(Vec::len).sum();
    assert_eq!(
        (totals.files, totals.bytes),
        (kept.len() as u64, bytes as u64),
        "O8"
    );
    assert_nothing_leaked(root, stored, commits);
    assert_whole(archive);
}

#[test]
fn eight_threads_commit_read_and_remove_in_one_archive() {
    let store = Store::new();
    let archive = &store.archive;
    let results = thread::scope(|scope| {
        let workers: Vec<_> = (0..8)
            .map(|worker| scope.spawn(move || work(archive, worker)))
            .collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    check_all(archive, &store.root(), results, 48);
}

#[test]
fn several_handles_of_one_archive_commit_at_once() {
    let store = Store::new();
    let root = store.root();
    let results = thread::scope(|scope| {
        let worker = |worker| {
            let root = &root;
            scope.spawn(move || {
                // Opening and closing while others write, too.
                let archive = open(root, Access::Write);
                let result = work(&archive, worker);
                archive.close().unwrap();
                result
            })
        };
        let workers: Vec<_> = (0..4).map(worker).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).collect()
    });
    check_all(&store.archive, &root, results, 24);
    store.archive.close().unwrap();
    let (again, report) = try_open(&root, Access::Write).unwrap();
    assert_eq!(report, RecoveryReport::default(), "nobody died");
    assert_whole(&again);
}

#[test]
fn of_writers_that_store_one_name_at_once_exactly_one_wins_and_the_others_leave_nothing() {
    let store = Store::new();
    let other_handle = open(&store.root(), Access::Write);
    let (mut stored, mut commits) = (0, 0);
    for round in 0..8 {
        let len = LENGTHS[round % 4] + 1;
        let file = format!("name{round}");
        let barrier = Barrier::new(4);
        let outcomes: Vec<_> = thread::scope(|scope| {
            let contender = |index: u64| {
                let archive = if index.is_multiple_of(2) {
                    &store.archive
                } else {
                    &other_handle
                };
                let (barrier, file) = (&barrier, &file);
                scope.spawn(move || {
                    barrier.wait();
                    (index, put(archive, file, &painted(len, index)))
                })
            };
            let contenders: Vec<_> = (0..4).map(contender).collect();
            contenders
                .into_iter()
                .map(|contender| contender.join().unwrap())
                .collect()
        });
        let mut winners = Vec::new();
        for (index, outcome) in outcomes {
            match outcome {
                Ok(bytes) => {
                    winners.push(index);
                    stored += bytes;
                }
                Err(CommitError::NameTaken { .. }) => {}
                Err(other) => panic!("{other:?}"),
            }
        }
        let [winner] = winners[..] else {
            panic!("winners {winners:?}")
        };
        assert!(store.get(&file).unwrap() == painted(len, winner));
        commits += 4;
    }
    assert_nothing_leaked(&store.root(), stored, commits);
    assert_eq!(store.names().len(), 8);
    assert_whole(&store.archive);
}

#[test]
fn a_reader_that_was_opened_before_a_removal_goes_on_reading() {
    let store = Store::new();
    for (index, len) in LENGTHS.into_iter().enumerate() {
        let file = index.to_string();
        let content = painted(len, 1);
        store.put(&file, &content);
        let snapshot = store.archive.snapshot().unwrap();
        let mut reader = snapshot.open_file(&name(&file), Arc::new(())).unwrap();
        let mut read = vec![0; content.len() / 3];
        reader.read_exact(&mut read).unwrap();
        drop(store.archive.remove(&name(&file)).unwrap());
        store.put(&file, &painted(len, 2));
        reader.read_to_end(&mut read).unwrap();
        assert!(read == content, "{len} bytes");
        assert!(store.get(&file).unwrap() == painted(len, 2));
    }
}

/// A file that is removed while all are verified is no damage of the catalog; verify once said so.
#[test]
fn files_may_be_removed_while_they_are_verified_and_scrubbed() {
    struct Removes<'a>(&'a Store, Mutex<Vec<&'static str>>);
    impl Observer for Removes<'_> {
        fn event(&self, _: Event<'_>) {
            let next = self.1.lock().unwrap().pop();
            if let Some(file) = next {
                drop(self.0.archive.remove(&name(file)).unwrap());
            }
        }
    }
    for verifies in [true, false] {
        let store = Store::new();
        for file in ["a", "b", "c", "d"] {
            store.put(file, &painted(LENGTHS[3], 1));
        }
        let removes = Removes(&store, Mutex::new(vec!["b", "c", "d"]));
        let report = if verifies {
            store.archive.snapshot().unwrap().verify(None, &removes).unwrap()
        } else {
            store.archive.scrub(&removes).unwrap()
        };
        assert_eq!(report.damage, []);
        assert_eq!(store.names(), ["a"]);
    }
}

fn with_little_memory() -> (TempDir, Archive) {
    let dir = tempfile::tempdir().unwrap();
    let options = ArchiveOptions {
        policy: small_policy(),
        resources: Resources {
            memory_bytes: 0,
            ..Resources::default()
        },
        volumes: Vec::new(),
    };
    let archive = Archive::create(&dir.path().join("a.bfdb"), &options).unwrap();
    (dir, archive)
}

/// The budget is for work in flight. Readers once took their windows from it: a long read asked for more than there is,
/// and readers that nobody read from kept commits waiting for ever.
#[test]
fn with_the_least_memory_long_files_are_read_and_idle_readers_stop_nobody() {
    let (_dir, archive) = with_little_memory();
    let content = painted(6 << 20, 1);
    put(&archive, "long", &content).unwrap();
    let snapshot = archive.snapshot().unwrap();
    let mut readers: Vec<_> = (0..6)
        .map(|_| snapshot.open_file(&name("long"), Arc::new(())).unwrap())
        .collect();
    for reader in &mut readers {
        let mut half = vec![0; content.len() / 2];
        reader.read_exact(&mut half).unwrap();
        assert!(half == content[..half.len()]);
    }
    for (index, len) in LENGTHS.into_iter().enumerate() {
        put(&archive, &index.to_string(), &painted(len, 2)).unwrap();
    }
    for mut reader in readers {
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest).unwrap();
        assert!(rest == content[content.len() / 2..]);
    }
}

/// Comparing with what is stored once wanted 4 MiB at a time, whatever the budget.
#[test]
fn with_the_least_memory_an_existing_name_is_compared() {
    let (dir, archive) = with_little_memory();
    let source = dir.path().join("source");
    fs::write(&source, painted(3 << 20, 1)).unwrap();
    let first = archive.commit_path(&name("file"), &source, &()).unwrap();
    assert!(matches!(first, CommitOutcome::Committed(_)));
    let second = archive.commit_path(&name("file"), &source, &()).unwrap();
    assert!(matches!(second, CommitOutcome::Unchanged(_)));
}

/// A source that reads from the archive is called by a worker that holds the source: waiting for other workers there,
/// it once could take up their work, and two such commits wait for each other.
#[test]
fn stored_files_are_copied_within_the_archive_by_many_threads_at_once() {
    let store = Store::new();
    let content = painted(3 << 20, 1);
    store.put("long", &content);
    let short = painted(SEGMENTED_BELOW - 1, 2);
    store.put("short", &short);
    thread::scope(|scope| {
        for copy in 0..6 {
            let archive = &store.archive;
            let (from, content) = if copy % 2 == 0 {
                ("long", &content)
            } else {
                ("short", &short)
            };
            scope.spawn(move || {
                let snapshot = archive.snapshot().unwrap();
                for round in 0..3 {
                    let reader = snapshot.open_file(&name(from), Arc::new(())).unwrap();
                    let to = format!("copy/{copy}/{round}");
                    let len = reader.len();
                    drop(
                        archive
                            .commit(&name(&to), reader, len, &CommitOptions::default())
                            .unwrap(),
                    );
                    assert!(get(archive, &to).unwrap() == *content);
                }
            });
        }
    });
    assert_whole(&store.archive);
}

/// A source that panics harms nobody else, and what it had reserved comes back with the next opening.
#[test]
fn a_source_that_panics_leaves_an_archive_that_works() {
    struct Panics;
    impl Read for Panics {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            assert!(into.len() > 1_000_000_000, "this source always panics");
            Ok(0)
        }
    }
    let store = Store::new();
    store.put("before", &painted(LENGTHS[3], 1));
    let before = extent_lens(&store.root());
    for len in &LENGTHS[1..] {
        let commit = || {
            store
                .archive
                .commit(&name("file"), Panics, *len, &CommitOptions::default())
        };
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(commit));
        assert!(outcome.is_err(), "it panicked");
    }
    assert_eq!(store.names(), ["before"]);
    let root = store.root();
    store.archive.close().unwrap();
    let (archive, report) = try_open(&root, Access::Write).unwrap();
    assert!(report.extents_released > 0);
    assert_eq!(extent_lens(&root), before, "every byte came back");
    put(&archive, "file", &painted(LENGTHS[2], 2)).unwrap();
    assert!(get(&archive, "before").unwrap() == painted(LENGTHS[3], 1));
    assert_whole(&archive);
}
