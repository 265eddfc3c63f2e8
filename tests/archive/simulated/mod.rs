//! Two processes on a disk in memory that fails at the very call that a story is about.

mod behind_the_record;
mod checkpoints;
mod compacting;
mod failing_disk;
mod left_behind;
mod locks;
mod old_catalogs;
mod scrubs_and_repairs;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bfdb::{
    archive::{Archive, ArchiveOptions, CommitOptions, OpenOptions, RecoveryReport, Resources},
    catalog::Access,
    host::Machine,
    volume::IoMode,
};
use bfdb_fault_injection::{
    SimulatedStorage,
    simulation::{Asked, Condition, Fault, FaultRule, OperationKind},
};
use tempfile::TempDir;

use crate::support::{name, painted, small_policy};

const ROOT: &str = "/a.bfdb";

fn resources() -> Resources {
    Resources {
        threads: 1,
        io: IoMode::Buffered,
        progress_bytes: 64 << 10,
        ..Resources::default()
    }
}

/// A disk with an archive on it, and a directory of the host for sources.
struct Bench {
    disk: SimulatedStorage,
    machine: Machine,
    host: TempDir,
}

impl Bench {
    /// Makes the archive, stores one file and closes it.
    fn new() -> Self {
        let disk = SimulatedStorage::new();
        let machine = disk.machine(7);
        let options = ArchiveOptions {
            policy: small_policy(),
            resources: resources(),
            volumes: Vec::new(),
        };
        let archive = Archive::create_on(&machine, Path::new(ROOT), &options).unwrap();
        put(&archive, "before", &painted(30_000, 1));
        archive.close().unwrap();
        let host = tempfile::tempdir().unwrap();
        Self { disk, machine, host }
    }

    fn open(&self) -> (Archive, RecoveryReport) {
        self.open_with(1)
    }

    fn open_with(&self, threads: usize) -> (Archive, RecoveryReport) {
        let options = OpenOptions {
            access: Access::Write,
            resources: Resources {
                threads,
                ..resources()
            },
            volumes: Vec::new(),
        };
        Archive::open_on(&self.machine, Path::new(ROOT), &options).unwrap()
    }

    fn source(&self, content: &[u8]) -> PathBuf {
        let path = self.host.path().join("source");
        std::fs::write(&path, content).unwrap();
        path
    }

    /// Kills the process of an archive: its locks are free, and what it wrote is there.
    fn kill(&self, archive: Archive) {
        self.disk.set_condition(Condition::Gone);
        drop(archive);
        self.disk.clear_rules();
        self.disk.set_condition(Condition::Well);
    }

    /// Lets the disk vanish at the first change of the catalog behind a record in the last copy of the journal.
    fn vanish_behind_the_record(&self) {
        let mut is_appended = false;
        self.disk.add_rule(FaultRule::from_fn(move |asked| {
            if asked.kind == OperationKind::SyncFile && is_last_copy(asked) {
                is_appended = true;
                return None;
            }
            let is_catalog = asked.path.ends_with("catalog.redb");
            (is_appended && is_catalog && asked.kind.is_mutating()).then_some(Fault::Vanish)
        }));
    }
}

fn is_last_copy(asked: &Asked<'_>) -> bool {
    asked
        .path
        .starts_with(Path::new(ROOT).join("volumes/v0/journal/c3"))
}

fn put(archive: &Archive, file: &str, content: &[u8]) {
    let len = content.len() as u64;
    let receipt = archive.commit(&name(file), content, len, &CommitOptions::default());
    drop(receipt.unwrap());
}

/// Reads a file; `None` when there is none.
fn content(archive: &Archive, file: &str) -> Option<Vec<u8>> {
    let snapshot = archive.snapshot().unwrap();
    snapshot.file(&name(file)).unwrap()?;
    let mut bytes = Vec::new();
    let mut reader = snapshot.open_file(&name(file), Arc::new(())).unwrap();
    std::io::Read::read_to_end(&mut reader, &mut bytes).unwrap();
    Some(bytes)
}

/// Everything is whole, nothing waits, and the archive takes new files.
fn check_sound(archive: &Archive) {
    assert_eq!(archive.unfinished().unwrap(), []);
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    assert!(content(archive, "before").unwrap() == painted(30_000, 1));
    if content(archive, "probe").is_some() {
        drop(archive.remove(&name("probe")).unwrap());
    }
    put(archive, "probe", &painted(700, 9));
    assert!(content(archive, "probe").unwrap() == painted(700, 9));
}
