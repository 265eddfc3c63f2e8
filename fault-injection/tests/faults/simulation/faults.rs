//! What rules do to calls.

use std::{io, path::Path};

use bfdb::storage::{FileAccess, Replace, Storage as _, StorageFile};
use bfdb_fault_injection::{
    SimulatedStorage,
    simulation::{
        AfterDrop, Condition, CrashPoint, CrashVariant, Fault, FaultRule, Operation, OperationKind,
    },
};

use super::{bytes_of, dump, line};

const F: &str = "/f";

fn path(path: &str) -> &Path {
    Path::new(path)
}

fn read(file: &dyn StorageFile, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    file.read_exact_at(0, &mut bytes).unwrap();
    bytes
}

/// Every mutating call once; returns how many failed.
fn script(disk: &SimulatedStorage) -> usize {
    let mut failed = 0;
    let mut try_it = |done: io::Result<()>| failed += usize::from(done.is_err());
    try_it(disk.create_directory(path("/d")));
    try_it(disk.create_new(path("/d/f")).map(drop));
    if let Ok(file) = disk.open(path("/d/f"), FileAccess::ReadWrite) {
        try_it(file.write_at(0, b"some bytes").map(|_| ()));
        try_it(file.set_len(5));
        try_it(file.allocate(9000));
        try_it(file.sync_all());
    }
    try_it(disk.rename(path("/d/f"), path("/d/g"), Replace::Never));
    try_it(disk.sync_directory(path("/d")));
    try_it(disk.remove_file(path("/d/g")));
    failed
}

#[test]
fn every_operation_is_counted_and_can_be_failed_by_its_number() {
    let counted = SimulatedStorage::new();
    assert_eq!(script(&counted), 0);
    assert_eq!(counted.counts().mutating(), 9);
    assert_eq!(counted.counts().of(OperationKind::Write), 1);
    for number in 1..=9 {
        let disk = SimulatedStorage::new();
        disk.add_rule(FaultRule::nth(number, Fault::Io));
        assert!(script(&disk) > 0, "operation {number} was not failed");
        assert_eq!(disk.counts().injected(), 1, "operation {number}");
        let timeline = disk.timeline();
        let spoiled: Vec<u64> = timeline
            .operations()
            .iter()
            .filter(|operation| operation.injected() == Some(Fault::Io))
            .map(Operation::number)
            .collect();
        assert_eq!(spoiled, [number]);
        // What failed did nothing: the recording knows the same as the readers.
        let last = timeline.boundaries().last().unwrap();
        let image = timeline.image(last, &CrashVariant::Everything);
        assert_eq!(dump(&image), dump(&disk), "operation {number}");
        assert_eq!(image.fingerprint(), disk.fingerprint(), "operation {number}");
    }
}

#[test]
fn a_sticky_fault_goes_on_for_what_it_applies_to_on_its_paths() {
    let disk = SimulatedStorage::new();
    let [first, second] = ["/one", "/two"].map(|name| disk.create_new(path(name)).unwrap());
    let rule = FaultRule::first_of(OperationKind::Write, Fault::Full);
    disk.add_rule(rule.for_good().on_paths(|path| path.ends_with("two")));
    first.write_all_at(0, b"x").unwrap();
    for _ in 0..3 {
        let error = second.write_all_at(0, b"x").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    }
    assert_eq!(second.allocate(5).unwrap_err().kind(), io::ErrorKind::StorageFull);
    second.sync_all().unwrap();
    disk.clear_rules();
    second.write_all_at(0, b"x").unwrap();
}

#[test]
fn an_interrupted_or_short_call_is_taken_up_again() {
    let disk = SimulatedStorage::new();
    let file = disk.create_new(path(F)).unwrap();
    disk.add_rule(FaultRule::nth_of(OperationKind::Write, 0, Fault::Interrupted));
    disk.add_rule(FaultRule::nth_of(
        OperationKind::Write,
        1,
        Fault::Short { len_bytes: 3 },
    ));
    disk.add_rule(FaultRule::nth_of(
        OperationKind::Read,
        0,
        Fault::Short { len_bytes: 0 },
    ));
    file.write_all_at(0, b"seven bytes").unwrap();
    assert_eq!(disk.counts().of(OperationKind::Write), 3);
    assert_eq!(read(&*file, 11), b"seven bytes");
    assert_eq!(
        disk.counts().of(OperationKind::Read),
        2,
        "one byte, then the rest"
    );
}

#[test]
fn a_partial_write_fails_and_leaves_its_beginning() {
    let disk = SimulatedStorage::new();
    let file = disk.create_new(path(F)).unwrap();
    disk.add_rule(FaultRule::nth(2, Fault::Partial { len_bytes: 2 }));
    file.write_at(0, b"abcd").unwrap_err();
    assert_eq!(line(&disk), "/f=a+b");
    assert_eq!(disk.timeline().operations()[1].written().unwrap(), b"ab");
}

#[test]
fn a_bad_sector_fails_every_read_that_touches_it() {
    let disk = SimulatedStorage::new();
    let file = disk.create_new(path(F)).unwrap();
    file.write_all_at(0, &[1; 3000]).unwrap();
    disk.add_rule(FaultRule::bad_range(512..1024).on_paths(|path| path == Path::new(F)));
    let mut byte = [0];
    for (offset, is_bad) in [(511, false), (512, true), (1023, true), (1024, false)] {
        for _ in 0..2 {
            assert_eq!(file.read_at(offset, &mut byte).is_err(), is_bad, "byte {offset}");
        }
    }
    file.read_at(0, &mut [0; 513]).unwrap_err();
}

#[test]
fn a_flipped_bit_is_an_answer_like_any_other() {
    let disk = SimulatedStorage::new();
    let file = disk.create_new(path(F)).unwrap();
    file.write_all_at(0, &[0; 8]).unwrap();
    disk.add_rule(FaultRule::first_of(
        OperationKind::Read,
        Fault::FlipBit { offset: 5, bit: 1 },
    ));
    assert_eq!(read(&*file, 8), [0, 0, 0, 0, 0, 2, 0, 0]);
    assert_eq!(read(&*file, 8), [0; 8]);
}

#[test]
fn a_random_rule_follows_its_seed() {
    let pattern = |seed| {
        let disk = SimulatedStorage::new();
        let file = disk.create_new(path(F)).unwrap();
        disk.add_rule(FaultRule::random(seed, 300_000, Fault::Io));
        (0..200)
            .map(|_| file.write_at(0, b"x").is_err())
            .collect::<Vec<_>>()
    };
    assert_eq!(pattern(1), pattern(1));
    assert_ne!(pattern(1), pattern(2));
    let failed = pattern(1).iter().filter(|failed| **failed).count();
    assert!((30..90).contains(&failed), "{failed} of 200 failed");
}

/// A failed sync drops what was written; the next one succeeds, and proves nothing.
fn dropped(view: AfterDrop) -> (SimulatedStorage, std::sync::Arc<dyn StorageFile>) {
    let disk = SimulatedStorage::new();
    let file = disk.create_new(path(F)).unwrap();
    file.write_all_at(0, b"old.").unwrap();
    file.sync_all().unwrap();
    disk.sync_directory(path("/")).unwrap();
    file.write_all_at(2, b"NEW").unwrap();
    disk.add_rule(FaultRule::first_of(
        OperationKind::SyncFile,
        Fault::SyncDropsBytes { view },
    ));
    file.sync_all().unwrap_err();
    file.sync_all().unwrap();
    (disk, file)
}

#[test]
fn a_sync_that_drops_bytes_hides_it_until_the_system_forgets_them() {
    let truth = b"old.\0";
    let (disk, file) = dropped(AfterDrop::UntilForgotten);
    assert_eq!(read(&*file, 5), b"olNEW", "readers still see what was written");
    let timeline = disk.timeline();
    let last = timeline.boundaries().last().unwrap();
    for variant in [CrashVariant::Nothing, CrashVariant::Everything] {
        assert_eq!(bytes_of(&timeline.image(last, &variant), F), truth, "{variant:?}");
    }
    file.write_all_at(0, b"!").unwrap();
    file.forget_cached(0, 1);
    assert_eq!(read(&*file, 5), b"!ld.\0", "what was written since stays");
    let (disk, file) = dropped(AfterDrop::UntilForgotten);
    drop(disk.open(path(F), FileAccess::Read).unwrap());
    assert_eq!(
        read(&*file, 5),
        b"olNEW",
        "another handle keeps the bytes in memory"
    );
    drop(file);
    assert_eq!(bytes_of(&disk, F), truth, "opened anew");
    let (_, file) = dropped(AfterDrop::AtOnce);
    assert_eq!(read(&*file, 5), truth);
}

#[test]
fn a_sync_that_merely_fails_leaves_everything_to_the_next_one() {
    let disk = SimulatedStorage::new();
    let file = disk.create_new(path(F)).unwrap();
    file.write_all_at(0, b"x").unwrap();
    disk.sync_directory(path("/")).unwrap();
    disk.add_rule(FaultRule::first_of(OperationKind::SyncFile, Fault::Io));
    file.sync_all().unwrap_err();
    file.sync_all().unwrap();
    let timeline = disk.timeline();
    let nothing_at =
        |after_operation| line(&timeline.image(CrashPoint { after_operation }, &CrashVariant::Nothing));
    assert_eq!([4, 5].map(nothing_at), ["/f=", "/f=x"]);
}

#[test]
fn a_disk_that_vanishes_fails_everything_until_it_is_back() {
    let disk = SimulatedStorage::new();
    let file = disk.create_new(path(F)).unwrap();
    disk.add_rule(FaultRule::nth_of(OperationKind::Write, 0, Fault::Vanish));
    file.write_at(0, b"x").unwrap_err();
    file.info().unwrap_err();
    file.sync_all().unwrap_err();
    disk.list(path("/")).unwrap_err();
    disk.free_bytes(path("/")).unwrap_err();
    disk.set_condition(Condition::Well);
    file.write_at(0, b"x").unwrap();
    assert_eq!(line(&disk), "/f=x");
}

#[test]
fn a_read_only_disk_can_be_read_and_nothing_else() {
    let disk = SimulatedStorage::new();
    let file = disk.create_new(path(F)).unwrap();
    file.write_all_at(0, b"x").unwrap();
    disk.set_condition(Condition::ReadOnly);
    let refused = [
        disk.create_new(path("/g")).map(drop),
        disk.open(path(F), FileAccess::ReadWrite).map(drop),
        disk.create_directory(path("/d")),
        disk.rename(path(F), path("/g"), Replace::File),
        disk.remove_file(path(F)),
        disk.sync_directory(path("/")),
        file.write_at(0, b"y").map(drop),
        file.set_len(0),
        file.allocate(1),
        file.sync_data(),
    ];
    for error in refused.map(Result::unwrap_err) {
        assert_eq!(error.kind(), io::ErrorKind::ReadOnlyFilesystem);
    }
    assert_eq!(line(&disk), "/f=x");
}

/// Writes two files, and syncs the first before the second.
fn two_synced(disk: &SimulatedStorage) {
    for (name, byte) in [("/a", b"a"), ("/b", b"b")] {
        let file = disk.create_new(path(name)).unwrap();
        file.write_at(0, byte).unwrap();
        file.sync_all().unwrap();
    }
    disk.sync_directory(path("/")).unwrap();
}

fn after(disk: &SimulatedStorage, after_operation: u64) -> String {
    let timeline = disk.timeline();
    line(&timeline.image(CrashPoint { after_operation }, &CrashVariant::Nothing))
}

#[test]
fn a_forgotten_sync_is_acknowledged_and_makes_nothing_durable() {
    let disk = SimulatedStorage::new();
    disk.add_rule(FaultRule::nth_of(
        OperationKind::SyncFile,
        0,
        Fault::SyncForgotten,
    ));
    two_synced(&disk);
    assert_eq!(line(&disk), "/a=a /b=b");
    assert_eq!(after(&disk, disk.counts().mutating()), "/a= /b=b");
    let names = SimulatedStorage::new();
    names.add_rule(FaultRule::nth_of(
        OperationKind::SyncDirectory,
        0,
        Fault::SyncForgotten,
    ));
    two_synced(&names);
    assert_eq!(after(&names, names.counts().mutating()), "");
}

#[test]
fn a_late_sync_is_done_behind_the_next_one_as_an_operation_of_its_own() {
    let disk = SimulatedStorage::new();
    disk.add_rule(FaultRule::nth_of(OperationKind::SyncFile, 0, Fault::SyncLate));
    let file = disk.create_new(path("/a")).unwrap();
    let other = disk.create_new(path("/b")).unwrap();
    disk.sync_directory(path("/")).unwrap();
    file.write_at(0, b"a").unwrap();
    other.write_at(0, b"b").unwrap();
    file.sync_all().unwrap();
    assert_eq!(after(&disk, 6), "/a= /b=");
    other.sync_all().unwrap();
    assert_eq!(disk.counts().mutating(), 8, "the late one has a number");
    assert_eq!(after(&disk, 7), "/a= /b=b", "it comes behind the other");
    assert_eq!(after(&disk, 8), "/a=a /b=b");
}
