//! What a scrub remembers, and what it goes on from; what reads remember of damage.

use std::{
    collections::BTreeMap,
    fs,
    io::Read as _,
    sync::{Arc, Mutex},
};

use bfdb::{
    Access, Archive, OpenOptions,
    archive::{
        Event, Observer, RepairOptions, Resources, RestoreOptions, ScrubDepth, ScrubOptions, ScrubSelection,
    },
    host::RestoreTarget,
    plan::Budget,
    units::{FileName, ShardIndex},
};
use bfdb_fault_injection::damage;

use crate::{
    damage::{
        chart::{Frame, frames_of},
        hurt::flip_in,
        oracle::BLOCKED,
    },
    support::{LEAF, PARITY, Store, name, painted},
};

fn store() -> Store {
    let store = Store::new();
    for (file, len) in [("a", 700), ("b", BLOCKED), ("c/d", 3 * LEAF + 77)] {
        store.put(file, &painted(len, len));
    }
    store
}

/// The frame of a shard of the first block of a file.
fn shard(store: &Store, file: &str, number: u16) -> Frame {
    let contents = BTreeMap::from([(file.to_owned(), painted(BLOCKED, BLOCKED))]);
    let mut frames = frames_of(store, &contents).into_iter();
    frames
        .find(|frame| (frame.block, frame.shard) == (0, number))
        .unwrap()
}

/// Flips the first byte of a shard of `b`.
fn hurt(store: &Store, number: u16) {
    flip_in(&shard(store, "b", number), |frame| frame.leaf(0));
}

fn scrub(store: &Store, options: &ScrubOptions) -> bfdb::archive::ScrubReport {
    store.archive.scrub_with(options, &()).unwrap()
}

fn new_only() -> ScrubOptions {
    ScrubOptions {
        selection: ScrubSelection::New,
        ..ScrubOptions::default()
    }
}

#[test]
fn what_was_verified_once_is_not_new_and_what_comes_later_is() {
    let store = store();
    let all = scrub(&store, &ScrubOptions::default());
    assert!(all.bytes_read > 0 && all.damage.is_empty() && !all.is_cut_short);
    assert_eq!(scrub(&store, &new_only()).bytes_read, 0);
    store.put("e", &painted(5000, 9));
    let later = scrub(&store, &new_only());
    assert!(
        0 < later.bytes_read && later.bytes_read < all.bytes_read,
        "{later:?}"
    );
    assert_eq!(scrub(&store, &new_only()).bytes_read, 0);
}

#[test]
fn scrubs_with_small_budgets_go_on_from_each_other_and_read_everything_once() {
    let store = store();
    let small = ScrubOptions {
        budget: Budget {
            bytes: Some(3000),
            ..Budget::UNLIMITED
        },
        ..new_only()
    };
    let (mut bytes, mut rounds) = (0, 0);
    loop {
        let report = scrub(&store, &small);
        bytes += report.bytes_read;
        rounds += 1;
        assert!(rounds < 1000, "it comes to an end");
        if !report.is_cut_short {
            break;
        }
    }
    assert!(rounds > 5, "{rounds} rounds");
    let all = scrub(&store, &ScrubOptions::default());
    assert_eq!(bytes, all.bytes_read, "nothing twice, nothing left out");
}

#[test]
fn a_budget_of_time_that_is_over_reads_nothing() {
    let store = store();
    let report = scrub(
        &store,
        &ScrubOptions {
            budget: Budget {
                time: Some(core::time::Duration::ZERO),
                ..Budget::UNLIMITED
            },
            ..ScrubOptions::default()
        },
    );
    assert!(report.is_cut_short && report.bytes_read == 0);
}

#[test]
fn damage_is_known_until_it_is_gone_or_repaired() {
    let store = store();
    hurt(&store, 1);
    let quiet = || store.archive.repair(&RepairOptions::default(), &()).unwrap();
    assert_eq!(quiet().shards_repaired, 0, "nobody has met it");
    assert_eq!(scrub(&store, &ScrubOptions::default()).news, 1);
    assert_eq!(scrub(&store, &ScrubOptions::default()).news, 0, "it is known");
    // As a bad cable that is replaced.
    hurt(&store, 1);
    let bad = ScrubOptions {
        selection: ScrubSelection::Damaged,
        ..ScrubOptions::default()
    };
    assert_eq!(scrub(&store, &bad).damage, []);
    assert_eq!(quiet().damage, []);
    hurt(&store, 1);
    assert_eq!(scrub(&store, &bad).bytes_read, 0, "nothing is known to be bad");
    assert_eq!(scrub(&store, &ScrubOptions::default()).news, 1);
    assert_eq!((quiet().shards_repaired, quiet().shards_repaired), (1, 0));
}

#[test]
fn a_quick_scrub_finds_what_is_missing_and_does_not_count_as_verified() {
    let store = store();
    damage::truncate(&shard(&store, "b", 2).extent, 4096).unwrap();
    let quick = ScrubOptions {
        depth: ScrubDepth::Quick,
        ..ScrubOptions::default()
    };
    let report = scrub(&store, &quick);
    assert!(
        report.damaged_shards > 0 && report.files_lost() == 0,
        "{report:?}"
    );
    assert!(scrub(&store, &new_only()).bytes_read > 0, "nothing was verified");
    assert!(
        store
            .archive
            .repair(&RepairOptions::default(), &())
            .unwrap()
            .damage
            .is_empty()
    );
    assert_eq!(scrub(&store, &quick).damage, []);
    assert_eq!(scrub(&store, &ScrubOptions::default()).damage, []);
}

/// Counts what it is told.
#[derive(Default)]
struct Told(Mutex<Vec<(FileName, ShardIndex)>>);

impl Observer for Told {
    fn event(&self, event: Event<'_>) {
        if let Event::Damage(finding) = event {
            self.0.lock().unwrap().push((finding.name.clone(), finding.shard));
        }
    }
}

fn read(archive: &Archive, file: &str, told: &Arc<Told>) -> Vec<u8> {
    let snapshot = archive.snapshot().unwrap();
    let observer: Arc<dyn Observer> = Arc::clone(told) as Arc<dyn Observer>;
    let mut reader = snapshot.open_file(&name(file), observer).unwrap();
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_read_remembers_the_damage_that_it_met_and_a_repair_needs_no_scrub() {
    let store = store();
    hurt(&store, 0);
    let told = Arc::new(Told::default());
    assert_eq!(read(&store.archive, "b", &told), painted(BLOCKED, BLOCKED));
    assert_eq!(*told.0.lock().unwrap(), [(name("b"), ShardIndex::new(0))]);
    let report = store.archive.repair(&RepairOptions::default(), &()).unwrap();
    assert_eq!((report.shards_repaired, report.files_repaired), (1, 1));
    assert_eq!(scrub(&store, &ScrubOptions::default()).damage, []);
}

#[test]
fn damage_that_comes_back_after_a_scrub_found_it_gone_is_noted_again() {
    let store = store();
    let told = Arc::new(Told::default());
    for _ in 0..2 {
        hurt(&store, 0);
        drop(read(&store.archive, "b", &told));
        assert_eq!(
            store
                .archive
                .snapshot()
                .unwrap()
                .health_totals()
                .unwrap()
                .known
                .damaged_shards,
            1
        );
        // As it was: the same byte is flipped back.
        hurt(&store, 0);
        assert_eq!(scrub(&store, &ScrubOptions::default()).damage, []);
    }
}

#[test]
fn a_restore_remembers_the_damage_that_it_met() {
    let store = store();
    hurt(&store, 1);
    let target = RestoreTarget::open(&store.dir.path().join("out")).unwrap();
    let snapshot = store.archive.snapshot().unwrap();
    drop(
        snapshot
            .restore(&name("b"), &target, &RestoreOptions::default(), &())
            .unwrap(),
    );
    assert_eq!(snapshot.health_totals().unwrap().known.damaged_shards, 1);
    let report = store.archive.repair(&RepairOptions::default(), &()).unwrap();
    assert_eq!(report.shards_repaired, 1);
}

#[test]
fn damage_that_was_met_while_only_reading_can_be_noted_by_who_writes() {
    let store = store();
    hurt(&store, 0);
    let options = OpenOptions {
        access: Access::Read,
        resources: Resources::default(),
        volumes: Vec::new(),
    };
    let (reader, _) = Archive::open(&store.root(), &options).unwrap();
    let told = Arc::new(Told::default());
    assert_eq!(read(&reader, "b", &told), painted(BLOCKED, BLOCKED));
    let met = reader.take_met_damage();
    assert!(!met.is_empty() && reader.take_met_damage().is_empty());
    assert_eq!(store.archive.note_damage(&met).unwrap(), 1);
    assert_eq!(store.archive.note_damage(&met).unwrap(), 0, "it is known");
    let report = store.archive.repair(&RepairOptions::default(), &()).unwrap();
    assert_eq!(report.shards_repaired, 1);
    assert_eq!(
        store.archive.note_damage(&met).unwrap(),
        0,
        "it lies elsewhere now"
    );
}

#[test]
fn a_reader_of_before_a_repair_reads_what_was_repaired_and_tells_of_no_damage() {
    let store = store();
    for number in 0..=PARITY {
        hurt(&store, number);
    }
    let content = painted(BLOCKED, BLOCKED);
    let donor = store.dir.path().join("originals");
    fs::create_dir(&donor).unwrap();
    fs::write(donor.join("b"), &content).unwrap();
    let snapshot = store.archive.snapshot().unwrap();
    let told = Arc::new(Told::default());
    let observer: Arc<dyn Observer> = Arc::clone(&told) as Arc<dyn Observer>;
    let mut reader = snapshot.open_file(&name("b"), observer).unwrap();
    drop(scrub(&store, &ScrubOptions::default()));
    let options = RepairOptions {
        donor: Some(donor),
        ..RepairOptions::default()
    };
    let report = store.archive.repair(&options, &()).unwrap();
    assert_eq!((report.damage.len(), report.files_repaired), (0, 1), "{report:?}");
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    assert!(bytes == content);
    assert_eq!(*told.0.lock().unwrap(), [], "what it met is there no more");
}
