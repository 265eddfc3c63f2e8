//! What a scrub or a repair meets on its way: others who find damage, memory that hides it, places that do not keep what is written.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use bfdb::{
    archive::{
        Archive, Event, HealthState, Observer, RepairOptions, RepairReport, ScrubDepth, ScrubOptions,
        ScrubReport,
    },
    catalog::ShardOwner,
    error::RepairError,
    storage::{FileAccess, Replace, Storage as _},
};
use bfdb_fault_injection::{
    crashes::books::{Books, Frame},
    simulation::{AfterDrop, Fault, FaultRule, OperationKind},
};

use super::{Bench, ROOT, check_sound, content, failing_disk::bytes_of, put};
use crate::support::{name, painted};

const FILE: &str = "before";

fn extent_path(frame: &Frame) -> PathBuf {
    Path::new(ROOT).join(format!("volumes/v0/extents/{:08}.bfx", frame.extent.get()))
}

fn frames(bench: &Bench) -> Vec<Frame> {
    Books::read(&bench.disk, Path::new(ROOT)).unwrap().frames
}

fn is_descriptor(frame: &Frame) -> bool {
    matches!(frame.owner, ShardOwner::Descriptor(_))
}

/// Flips a bit in the middle of a frame.
fn flip(bench: &Bench, frame: &Frame) {
    flip_at(bench, frame, frame.len_bytes / 2);
}

fn flip_at(bench: &Bench, frame: &Frame, at: u64) {
    let file = bench
        .disk
        .open(&extent_path(frame), FileAccess::ReadWrite)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(frame.offset + at, &mut byte).unwrap();
    file.write_all_at(frame.offset + at, &[byte[0] ^ 1]).unwrap();
    file.sync_data().unwrap();
}

fn state(archive: &Archive) -> HealthState {
    let snapshot = archive.snapshot().unwrap();
    snapshot.file_health(&name(FILE)).unwrap().unwrap().state
}

fn scrub(archive: &Archive, depth: ScrubDepth) -> ScrubReport {
    let options = ScrubOptions {
        depth,
        ..ScrubOptions::default()
    };
    archive.scrub_with(&options, &()).unwrap()
}

fn repair(archive: &Archive) -> RepairReport {
    archive.repair(&RepairOptions::default(), &()).unwrap()
}

/// Does something at the first progress that it hears of.
struct AtFirst<'a>(&'a (dyn Fn() + Sync), AtomicBool);

impl Observer for AtFirst<'_> {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Progress { .. }) && !self.1.swap(true, Ordering::SeqCst) {
            (self.0)();
        }
    }
}

/// A frame rots when the scrub has passed it, and somebody reads it before the scrub has noted what it has seen.
#[test]
fn damage_that_a_read_meets_behind_a_scrub_under_way_is_still_known_when_that_is_done() {
    let bench = Bench::new();
    let (archive, _) = bench.open();
    let first = frames(&bench)[0];
    assert!(!is_descriptor(&first));
    let rot = || {
        flip(&bench, &first);
        assert!(content(&archive, FILE).unwrap() == painted(30_000, 1));
        assert_eq!(state(&archive), HealthState::Degraded);
    };
    let observer = AtFirst(&rot, AtomicBool::new(false));
    let report = archive.scrub(&observer).unwrap();
    assert!(observer.1.load(Ordering::SeqCst));
    assert_eq!(report.damage, [], "the scrub has passed it");
    assert_eq!(state(&archive), HealthState::Degraded);
    assert_eq!(repair(&archive).shards_repaired, 1);
    check_sound(&archive);
}

/// The system has the right bytes in memory, the disk has not.
#[test]
fn a_scrub_sees_the_disk_and_not_what_the_system_has_in_memory() {
    let bench = Bench::new();
    let (archive, _) = bench.open();
    let frame = frames(&bench)[0];
    flip(&bench, &frame);
    let rule = FaultRule::first_of(
        OperationKind::SyncFile,
        Fault::SyncDropsBytes {
            view: AfterDrop::UntilForgotten,
        },
    );
    let file = bench
        .disk
        .open(&extent_path(&frame), FileAccess::ReadWrite)
        .unwrap();
    let at = frame.offset + frame.len_bytes / 2;
    let mut byte = [0];
    file.read_exact_at(at, &mut byte).unwrap();
    file.write_all_at(at, &[byte[0] ^ 1]).unwrap();
    bench.disk.add_rule(rule);
    file.sync_data().unwrap_err();
    bench.disk.clear_rules();
    assert!(content(&archive, FILE).unwrap() == painted(30_000, 1));
    assert_eq!(state(&archive), HealthState::Healthy, "memory hides it");
    let report = archive.scrub(&()).unwrap();
    assert_eq!(report.damaged_shards, 1);
    assert_eq!(state(&archive), HealthState::Degraded);
}

/// Each copy of a descriptor rots once, and is repaired each time; then an old catalog is put back.
#[test]
fn an_old_catalog_finds_descriptors_where_repairs_have_written_them() {
    let bench = Bench::new();
    let catalog = Path::new(ROOT).join("catalog.redb");
    let old = bytes_of(&bench, &catalog);
    let (archive, _) = bench.open();
    put(&archive, "newer", &painted(5000, 2));
    archive.close().unwrap();
    let descriptors = || {
        frames(&bench)
            .into_iter()
            .filter(is_descriptor)
            .collect::<Vec<_>>()
    };
    let newest = descriptors().iter().map(|frame| frame.owner).max().unwrap();
    let original: Vec<Frame> = (descriptors().into_iter())
        .filter(|frame| frame.owner == newest)
        .collect();
    assert_eq!(original.len(), 4);
    for frame in &original {
        flip(&bench, frame);
        let (archive, _) = bench.open();
        assert_eq!(archive.scrub(&()).unwrap().damaged_shards, 1);
        assert_eq!(repair(&archive).shards_repaired, 1);
        archive.close().unwrap();
    }
    let now: BTreeSet<_> = descriptors()
        .iter()
        .map(|frame| (frame.extent, frame.offset))
        .collect();
    assert!(
        original
            .iter()
            .all(|frame| !now.contains(&(frame.extent, frame.offset)))
    );
    let aside = Path::new("/kept.redb");
    let file = bench.disk.create_new(aside).unwrap();
    file.write_all_at(0, &old).unwrap();
    file.sync_all().unwrap();
    bench.disk.rename(aside, &catalog, Replace::File).unwrap();
    let (archive, report) = bench.open();
    assert_eq!(report.records_rolled_forward, 5, "a commit and four repairs");
    assert!(content(&archive, "newer").unwrap() == painted(5000, 2));
    check_sound(&archive);
}

#[test]
fn frames_that_were_read_back_after_a_repair_count_as_verified() {
    let bench = Bench::new();
    let (archive, _) = bench.open();
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    let frame = frames(&bench)[0];
    flip(&bench, &frame);
    assert_eq!(archive.scrub(&()).unwrap().damaged_shards, 1);
    assert_eq!(repair(&archive).shards_repaired, 1);
    let snapshot = archive.snapshot().unwrap();
    let health = snapshot.file_health(&name(FILE)).unwrap().unwrap();
    assert!(health.last_verified.is_some(), "{health:?}");
}

/// Spoils what is read from extents that did not exist before, the first `count` of them.
fn spoil_new_extents(bench: &Bench, count: usize) {
    let known: BTreeSet<PathBuf> = frames(bench).iter().map(extent_path).collect();
    let spoilt: Mutex<BTreeSet<PathBuf>> = Mutex::default();
    bench.disk.add_rule(FaultRule::from_fn(move |asked| {
        let is_extent = asked.path.extension().is_some_and(|found| found == "bfx");
        if asked.kind != OperationKind::Read || !is_extent || known.contains(asked.path) {
            return None;
        }
        let mut spoilt = spoilt.lock().unwrap();
        if spoilt.len() < count {
            spoilt.insert(asked.path.to_path_buf());
        }
        // In whichever read it is: one bit of the payload.
        spoilt.contains(asked.path).then_some(Fault::FlipBit {
            offset: asked.range.start + (asked.range.end - asked.range.start) / 2,
            bit: 3,
        })
    }));
}

#[test]
fn what_reads_back_wrong_is_written_to_another_place() {
    for count in [1, 2] {
        let bench = Bench::new();
        let (archive, _) = bench.open();
        let frame = frames(&bench)[0];
        flip(&bench, &frame);
        assert_eq!(archive.scrub(&()).unwrap().damaged_shards, 1);
        spoil_new_extents(&bench, count);
        assert_eq!(repair(&archive).shards_repaired, 1, "{count}");
        bench.disk.clear_rules();
        check_sound(&archive);
        archive.close().unwrap();
        let (archive, _) = bench.open();
        check_sound(&archive);
    }
}

#[test]
fn a_disk_that_keeps_nothing_that_is_written_costs_nothing_but_the_repair() {
    let bench = Bench::new();
    let (archive, _) = bench.open();
    let before = frames(&bench);
    flip(&bench, &before[0]);
    assert_eq!(archive.scrub(&()).unwrap().damaged_shards, 1);
    spoil_new_extents(&bench, usize::MAX);
    let failed = archive.repair(&RepairOptions::default(), &()).unwrap_err();
    assert!(matches!(failed, RepairError::ReadBack { .. }), "{failed:?}");
    bench.disk.clear_rules();
    assert_eq!(frames(&bench), before, "nothing lies elsewhere");
    assert_eq!(state(&archive), HealthState::Degraded);
    assert!(content(&archive, FILE).unwrap() == painted(30_000, 1));
    assert_eq!(archive.unfinished().unwrap(), []);
    assert_eq!(repair(&archive).shards_repaired, 1);
    check_sound(&archive);
    archive.close().unwrap();
    let (archive, _) = bench.open();
    check_sound(&archive);
}

/// What is known of a shard was forgotten as soon as anything was found of it.
#[test]
fn a_quick_scrub_does_not_call_recoverable_what_is_known_to_be_lost() {
    let bench = Bench::new();
    let (archive, _) = bench.open();
    put(&archive, "small", &painted(900, 3));
    let all = frames(&bench);
    let owners: BTreeSet<ShardOwner> = all.iter().map(|frame| frame.owner).collect();
    let is_small = |owner: &&ShardOwner| matches!(owner, ShardOwner::InlineBlockOf(_));
    let small = *owners.iter().rev().find(is_small).unwrap();
    let copies: Vec<Frame> = all.iter().copied().filter(|frame| frame.owner == small).collect();
    assert_eq!(copies.len(), 4);
    copies.iter().for_each(|copy| flip(&bench, copy));
    assert_eq!(archive.scrub(&()).unwrap().files_lost(), 1);
    flip_at(&bench, &copies[0], 20);
    let quick = scrub(&archive, ScrubDepth::Quick);
    assert_eq!((quick.damaged_shards, quick.files_lost()), (1, 1), "{quick:?}");
}

/// There is no room for notes, so nobody but the report knows.
#[test]
fn damage_that_cannot_be_noted_is_said_to_be() {
    let bench = Bench::new();
    let (archive, _) = bench.open();
    flip(&bench, &frames(&bench)[0]);
    bench.disk.set_capacity(Some(bench.disk.allocated_bytes()));
    let report = archive.scrub(&()).unwrap();
    assert_eq!((report.damaged_shards, report.news, report.unnoted), (1, 0, 1));
    assert!(report.is_forgetful);
    assert!(content(&archive, FILE).unwrap() == painted(30_000, 1));
    assert_eq!(state(&archive), HealthState::Healthy, "nobody knows");
    // What could not be noted once is noted when there is room, by whoever meets it.
    bench.disk.set_capacity(None);
    assert!(content(&archive, FILE).unwrap() == painted(30_000, 1));
    assert_eq!(state(&archive), HealthState::Degraded);
    let report = archive.scrub(&()).unwrap();
    assert_eq!((report.damaged_shards, report.unnoted), (1, 0));
    assert!(!report.is_forgetful);
}
