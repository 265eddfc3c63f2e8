//! A catalog that somebody has put back, and what is in no record: a sync that failed, ids of a commit that came to nothing,
//! and whether the name of the catalog is durable.

use std::path::{Path, PathBuf};

use bfdb::{
    Access, Archive, CommitOptions, OpenOptions,
    catalog::{ExtentRecord, ExtentState},
    storage::{Replace, Storage as _},
};
use bfdb_fault_injection::{
    SimulatedStorage,
    crashes::books::Books,
    simulation::{AfterDrop, Condition, CrashVariant, Fault, FaultRule, OperationKind},
};

use super::{Bench, ROOT, check_sound, content, failing_disk::bytes_of, put, resources};
use crate::support::{name, painted};

/// How the last process before the catalog was put back has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Killed,
}

fn catalog_path() -> PathBuf {
    Path::new(ROOT).join("catalog.redb")
}

/// Puts a catalog in the place of the one that is there, and does not sync its name.
fn put_back(disk: &SimulatedStorage, bytes: &[u8]) {
    let aside = Path::new("/kept.redb");
    let file = disk.create_new(aside).unwrap();
    file.write_all_at(0, bytes).unwrap();
    file.sync_all().unwrap();
    disk.rename(aside, &catalog_path(), Replace::File).unwrap();
}

/// Fails a commit of a stream by the first sync of an extent behind its frames.
fn fail_a_commit(bench: &Bench, archive: &Archive) {
    let mut is_written = false;
    let rule = FaultRule::from_fn(move |asked| {
        is_written |= asked.kind == OperationKind::Write && asked.range.start >= 4096;
        let is_meant = is_written && asked.kind == OperationKind::SyncFile;
        is_written &= !is_meant;
        let view = AfterDrop::AtOnce;
        is_meant.then_some(Fault::SyncDropsBytes { view })
    });
    let is_extent = |path: &Path| path.extension().is_some_and(|found| found == "bfx");
    bench.disk.add_rule(rule.on_paths(is_extent));
    let bytes = painted(50_000, 3);
    let failed = archive.commit(&name("failed"), &bytes[..], 50_000, &CommitOptions::default());
    assert!(failed.is_err());
    bench.disk.clear_rules();
}

fn len_of(disk: &SimulatedStorage, extent: &ExtentRecord) -> u64 {
    let file = format!("volumes/v0/extents/{:08}.bfx", extent.id.get());
    disk.inspect(&Path::new(ROOT).join(file)).unwrap().len_bytes
}

/// Opens an archive for writing by a process that dies at an operation of the disk, or behind the opening; says which.
fn die_while_opening(bench: &Bench, operation: u64) -> bool {
    let before = bench.disk.counts();
    let rule = FaultRule::nth(before.mutating() + operation, Fault::Vanish);
    bench.disk.add_rule(rule);
    let options = OpenOptions {
        access: Access::Write,
        resources: resources(),
        volumes: Vec::new(),
    };
    let opened = Archive::open_on(&bench.machine, Path::new(ROOT), &options);
    let has_died = bench.disk.counts().injected() > before.injected();
    bench.disk.set_condition(Condition::Gone);
    drop(opened);
    bench.disk.clear_rules();
    bench.disk.set_condition(Condition::Well);
    has_died
}

/// Opens a copy of a disk for writing, by a process that dies at each of the operations that this takes, and then by one that
/// lives; hands every one of them on that has come to its end.
fn opened_at_last(disk: &SimulatedStorage, check: impl Fn(&Bench, Archive)) {
    for operation in 1.. {
        let copy = disk.settled();
        let bench = Bench {
            machine: copy.machine(9),
            disk: copy,
            host: tempfile::tempdir().unwrap(),
        };
        let has_died = die_while_opening(&bench, operation);
        let (archive, _) = bench.open();
        check(&bench, archive);
        if !has_died {
            assert!(operation > 20, "it has something to do");
            return;
        }
    }
}

/// Keeps the catalog, fails a commit, stores `later` files, and puts the catalog back.
fn behind_a_failed_sync(later: u64, end: End) -> SimulatedStorage {
    let bench = Bench::new();
    let (archive, _) = bench.open();
    // Now every lane has an extent that later commits go on in.
    put(&archive, "more", &painted(150_000, 2));
    archive.close().unwrap();
    let old = bytes_of(&bench, &catalog_path());
    let (archive, _) = bench.open();
    fail_a_commit(&bench, &archive);
    for index in 0..later {
        put(&archive, &format!("later/{index}"), &painted(300, index));
    }
    match end {
        End::Closed => archive.close().unwrap(),
        End::Killed => bench.kill(archive),
    }
    let books = Books::read(&bench.disk, Path::new(ROOT)).unwrap();
    let is_failed = |extent: &ExtentRecord| {
        extent.state == ExtentState::Abandoned && len_of(&bench.disk, extent) > extent.end_bytes
    };
    assert!(books.extents.iter().any(is_failed), "{:?}", books.extents);
    put_back(&bench.disk, &old);
    bench.disk
}

/// Such an extent stayed open until a commit came to its lane, with bytes behind its end that nobody has asked for.
#[test]
fn an_extent_with_bytes_that_no_record_knows_is_sealed_when_an_old_catalog_is_brought_forward() {
    for (later, end) in [
        (1, End::Closed),
        (3, End::Closed),
        (1, End::Killed),
        (2, End::Killed),
    ] {
        let disk = behind_a_failed_sync(later, end);
        opened_at_last(&disk, |bench, archive| {
            for index in 0..later {
                let file = format!("later/{index}");
                assert!(content(&archive, &file).unwrap() == painted(300, index), "{file}");
            }
            let extents = || Books::read(&bench.disk, Path::new(ROOT)).unwrap().extents;
            let is_longer = |extent: &ExtentRecord| len_of(&bench.disk, extent) > extent.end_bytes;
            let found = extents();
            assert!(found.iter().any(is_longer), "nothing is cut off");
            let is_wrong = |extent: &&ExtentRecord| extent.state == ExtentState::Open && is_longer(extent);
            let wrong = found.iter().find(is_wrong);
            assert_eq!(wrong, None, "{later} later, {end:?}");
            check_sound(&archive);
            archive.close().unwrap();
        });
    }
}

/// An old catalog that was one publication behind was not taken for one, and passed over no id.
#[test]
fn an_old_catalog_gives_no_id_twice_however_old_it_is() {
    for later in [1, 2, 3] {
        let bench = Bench::new();
        let old = bytes_of(&bench, &catalog_path());
        let (archive, _) = bench.open();
        let mut newest = 0;
        for index in 0..later {
            let bytes = painted(300, index);
            let file = format!("later/{index}");
            let stored = archive.commit(&name(&file), &bytes[..], 300, &CommitOptions::default());
            newest = stored.unwrap().file.get();
        }
        // It takes an id, and no record says so.
        fail_a_commit(&bench, &archive);
        archive.close().unwrap();
        put_back(&bench.disk, &old);
        opened_at_last(&bench.disk, |_, archive| {
            let bytes = painted(300, 9);
            let stored = archive.commit(&name("next"), &bytes[..], 300, &CommitOptions::default());
            let next = stored.unwrap().file.get();
            assert!(next > newest + 1, "{later} later: {next} behind {newest}");
            archive.close().unwrap();
        });
    }
}

/// A crash brought the catalog back that somebody had replaced without a sync, beside the session of a process that had ended: a
/// reader saw it without what had been acknowledged, and was not told.
#[test]
fn what_is_acknowledged_with_a_catalog_that_was_put_back_is_seen_behind_a_crash() {
    for later in [1, 2] {
        for operation in 1.. {
            let bench = Bench::new();
            let old = bytes_of(&bench, &catalog_path());
            let (archive, _) = bench.open();
            for index in 0..later {
                put(&archive, &format!("later/{index}"), &painted(300, index));
            }
            archive.close().unwrap();
            put_back(&bench.disk, &old);
            let has_died = die_while_opening(&bench, operation);
            let (archive, _) = bench.open();
            put(&archive, "acknowledged", &painted(900, 4));
            archive.close().unwrap();
            let timeline = bench.disk.timeline();
            let last = timeline.boundaries().next_back().unwrap();
            let crashed = timeline.image(last, &CrashVariant::Nothing);
            let options = OpenOptions {
                access: Access::Read,
                resources: resources(),
                volumes: Vec::new(),
            };
            let (reader, report) = Archive::open_on(&crashed.machine(3), Path::new(ROOT), &options).unwrap();
            let found = content(&reader, "acknowledged");
            let story = format!("{later} later, dead at {operation}: {report:?}");
            assert!(found.is_some_and(|found| found == painted(900, 4)), "{story}");
            if !has_died {
                break;
            }
        }
    }
}
