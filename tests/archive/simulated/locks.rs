//! File systems whose locks are worth nothing: one process at a time, and the others are told who that is.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use bfdb::{
    archive::{Archive, ArchiveOptions, CommitOptions, OpenOptions, RecoveryReport},
    catalog::Access,
    error::{CatalogError, CommitError, HostError, LockEvidence, OpenError},
    host::{Clock, Machine},
    units::Timestamp,
};
use bfdb_fault_injection::{
    Seeded, SimulatedStorage,
    simulation::{Condition, Fault, FaultRule, LockSupport, Operation, OperationKind},
};

use super::{Bench, ROOT, put, resources};
use crate::support::{get, name, names, painted, small_policy};

fn open(machine: &Machine, access: Access) -> Result<(Archive, RecoveryReport), OpenError> {
    let options = OpenOptions {
        access,
        resources: resources(),
        volumes: Vec::new(),
    };
    Archive::open_on(machine, Path::new(ROOT), &options)
}

const WORTHLESS: [(LockSupport, LockEvidence); 3] = [
    (LockSupport::WholeFiles, LockEvidence::Lock),
    (LockSupport::None, LockEvidence::Existence),
    (LockSupport::Pretended, LockEvidence::Existence),
];

fn assert_in_use(error: OpenError, expected: LockEvidence) {
    let text = format!("{error}: {}", std::error::Error::source(&error).unwrap());
    let OpenError::Host {
        source: HostError::InUse {
            holder,
            evidence,
            path,
        },
    } = error
    else {
        panic!("{error:?}");
    };
    assert_eq!(evidence, expected);
    let holder = holder.expect("the file says it");
    assert_eq!(holder.pid, std::process::id(), "both are this process here");
    assert!(
        text.contains(&format!("process {} on {}", holder.pid, holder.host_name)),
        "{text}"
    );
    if expected == LockEvidence::Existence {
        assert!(
            text.contains(path.to_str().unwrap()),
            "what to remove is named: {text}"
        );
    }
}

#[test]
fn where_locks_do_not_work_one_process_at_a_time_uses_the_archive_and_others_are_told_who() {
    for (support, evidence) in WORTHLESS {
        let bench = Bench::new();
        bench.disk.set_lock_support(support);
        for (first, second) in [
            (Access::Write, Access::Write),
            (Access::Write, Access::Read),
            (Access::Read, Access::Write),
            (Access::Read, Access::Read),
        ] {
            let (archive, report) = open(&bench.machine, first).unwrap();
            assert_eq!(report, RecoveryReport::default(), "{support:?}");
            assert_in_use(open(&bench.machine, second).unwrap_err(), evidence);
            assert!(get(&archive, "before").unwrap() == painted(30_000, 1));
            archive.close().unwrap();
        }
        let (archive, _) = open(&bench.machine, Access::Write).unwrap();
        assert_eq!(names(&archive), ["before"], "{support:?}");
    }
}

#[test]
fn one_process_alone_does_everything_there_with_as_many_threads_as_it_likes() {
    for (support, _) in WORTHLESS {
        let disk = SimulatedStorage::new();
        disk.set_lock_support(support);
        let machine = disk.machine(5);
        let options = ArchiveOptions {
            policy: small_policy(),
            resources: resources(),
            volumes: Vec::new(),
        };
        let archive = Archive::create_on(&machine, Path::new(ROOT), &options).unwrap();
        std::thread::scope(|scope| {
            for worker in 0..4_u64 {
                let archive = &archive;
                scope.spawn(move || {
                    for round in 0..4 {
                        let file = format!("{worker}/{round}");
                        let content = painted(3000 * (round + 1), worker);
                        put(archive, &file, &content);
                        assert!(get(archive, &file).unwrap() == content);
                        if round % 2 == 0 {
                            drop(archive.remove(&name(&file)).unwrap());
                        }
                    }
                    assert_eq!(archive.scrub(&()).unwrap().damage, []);
                });
            }
        });
        assert_eq!(names(&archive).len(), 8, "{support:?}");
        assert_eq!(archive.mend_journal().unwrap(), 0);
        archive.close().unwrap();
        let alone = |operation: &Operation| {
            operation.path().ends_with("alone.lock") && operation.kind() == OperationKind::Remove
        };
        assert_eq!(
            disk.operations_since(0).iter().filter(|one| alone(one)).count(),
            1,
            "it was used alone from the beginning to the end"
        );
        disk.set_lock_support(LockSupport::Full);
        let (archive, report) = open(&machine, Access::Write).unwrap();
        assert_eq!(report, RecoveryReport::default());
        assert_eq!(names(&archive).len(), 8);
    }
}

#[test]
fn a_dead_process_keeps_nobody_out_where_locks_on_whole_files_work() {
    let bench = Bench::new();
    bench.disk.set_lock_support(LockSupport::WholeFiles);
    let (archive, _) = open(&bench.machine, Access::Write).unwrap();
    put(&archive, "more", &painted(9000, 2));
    // All that a death leaves is on a copy of the disk, where no lock is held.
    let left = bench.disk.settled();
    left.set_lock_support(LockSupport::WholeFiles);
    let (again, _) = open(&left.machine(8), Access::Write).unwrap();
    assert_eq!(names(&again), ["before", "more"]);
    assert_eq!(again.scrub(&()).unwrap().damage, []);
    drop(archive);
}

#[test]
fn where_there_are_no_locks_at_all_a_dead_process_is_named_until_its_file_is_removed() {
    for support in [LockSupport::None, LockSupport::Pretended] {
        let bench = Bench::new();
        bench.disk.set_lock_support(support);
        let (archive, _) = open(&bench.machine, Access::Write).unwrap();
        put(&archive, "more", &painted(9000, 2));
        let left = bench.disk.settled();
        left.set_lock_support(support);
        let machine = left.machine(8);
        assert_in_use(
            open(&machine, Access::Write).unwrap_err(),
            LockEvidence::Existence,
        );
        machine
            .storage
            .remove_file(&Path::new(ROOT).join("alone.lock"))
            .unwrap();
        let (again, _) = open(&machine, Access::Write).unwrap();
        assert_eq!(names(&again), ["before", "more"]);
        assert_eq!(again.scrub(&()).unwrap().damage, []);
        drop(archive);
    }
}

#[test]
fn without_locks_an_archive_on_a_disk_that_takes_no_writes_is_read_by_many() {
    for (support, _) in WORTHLESS {
        let bench = Bench::new();
        bench.disk.set_lock_support(support);
        bench.disk.set_condition(Condition::ReadOnly);
        let (first, _) = open(&bench.machine, Access::Read).unwrap();
        let (second, _) = open(&bench.machine, Access::Read).unwrap();
        for archive in [&first, &second] {
            assert!(get(archive, "before").unwrap() == painted(30_000, 1));
        }
    }
}

#[test]
fn who_sees_locks_that_work_does_not_share_with_one_who_does_not() {
    for (support, evidence) in WORTHLESS {
        let bench = Bench::new();
        bench.disk.set_lock_support(support);
        let (archive, _) = open(&bench.machine, Access::Write).unwrap();
        bench.disk.set_lock_support(LockSupport::Full);
        for access in [Access::Read, Access::Write] {
            assert_in_use(open(&bench.machine, access).unwrap_err(), evidence);
        }
        put(&archive, "more", b"more");
        // The death of the first: what a lock stood for is over.
        let left = bench.disk.settled();
        let again = open(&left.machine(8), Access::Write);
        match evidence {
            LockEvidence::Lock => assert_eq!(names(&again.unwrap().0), ["before", "more"]),
            LockEvidence::Existence => assert_in_use(again.unwrap_err(), evidence),
        }
        left.set_lock_support(LockSupport::WholeFiles);
        let again = open(&left.machine(8), Access::Write);
        match evidence {
            LockEvidence::Lock => assert_eq!(names(&again.unwrap().0), ["before", "more"]),
            LockEvidence::Existence => assert_in_use(again.unwrap_err(), evidence),
        }
    }
}

#[test]
fn locks_that_are_refused_are_no_reason_to_go_on_without() {
    let bench = Bench::new();
    let (archive, _) = open(&bench.machine, Access::Write).unwrap();
    put(&archive, "one", b"1");
    bench.disk.set_lock_support(LockSupport::Refused);
    for access in [Access::Read, Access::Write] {
        let refused = open(&bench.machine, access).unwrap_err();
        assert!(
            matches!(
                refused,
                OpenError::Catalog {
                    source: CatalogError::Io { .. }
                }
            ),
            "{refused:?}"
        );
    }
    bench.disk.set_lock_support(LockSupport::Full);
    put(&archive, "two", b"2");
    archive.close().unwrap();
    let (archive, report) = open(&bench.machine, Access::Write).unwrap();
    assert_eq!(
        report,
        RecoveryReport::default(),
        "nobody took the first for dead"
    );
    assert_eq!(names(&archive), ["before", "one", "two"]);
}

#[test]
fn what_a_dead_process_left_keeps_nobody_from_reading_where_nothing_can_be_written() {
    for (support, _) in WORTHLESS {
        let bench = Bench::new();
        bench.disk.set_lock_support(support);
        let (archive, _) = open(&bench.machine, Access::Write).unwrap();
        let left = bench.disk.settled();
        left.set_lock_support(support);
        left.set_condition(Condition::ReadOnly);
        let (reader, _) = open(&left.machine(8), Access::Read).unwrap();
        assert_eq!(names(&reader), ["before"], "{support:?}");
        drop(archive);
    }
}

#[test]
fn where_locks_work_nobody_makes_a_lock_of_its_own() {
    let bench = Bench::new();
    let (first, _) = open(&bench.machine, Access::Write).unwrap();
    let (second, _) = open(&bench.machine, Access::Write).unwrap();
    put(&first, "one", b"1");
    put(&second, "two", b"2");
    assert_eq!(names(&first), ["before", "one", "two"]);
    let operations = bench.disk.operations_since(0);
    assert!(
        operations
            .iter()
            .all(|operation| !operation.path().ends_with("alone.lock"))
    );
}

/// Jumps about by years at every question.
#[derive(Debug)]
struct Jumping(Mutex<Seeded>);

impl Clock for Jumping {
    fn now(&self) -> Timestamp {
        let mut seeded = self.0.lock().unwrap();
        let seconds = i64::try_from(seeded.below(1 << 40)).unwrap() - (1 << 39);
        Timestamp::new(seconds, 999_999_999).unwrap_or(Timestamp::new(0, 0).unwrap())
    }
}

#[test]
fn clocks_that_jump_change_nothing_but_the_times_that_are_told() {
    let bench = Bench::new();
    let machine = Machine {
        clock: Arc::new(Jumping(Mutex::new(Seeded::new(3)))),
        ..bench.machine.clone()
    };
    for round in 0..20_u64 {
        let (archive, report) = open(&machine, Access::Write).unwrap();
        assert_eq!(report, RecoveryReport::default(), "round {round}");
        let (beside, report) = open(&machine, Access::Write).unwrap();
        assert_eq!(
            report,
            RecoveryReport::default(),
            "a living writer is no dead one"
        );
        put(&archive, &format!("a/{round}"), &painted(700 * round, round));
        put(&beside, &format!("b/{round}"), &painted(40_000, round));
        assert!(archive.unfinished().unwrap().is_empty());
        archive.close().unwrap();
        beside.close().unwrap();
    }
    let (archive, _) = open(&machine, Access::Write).unwrap();
    assert_eq!(names(&archive).len(), 41);
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
}

#[test]
fn sessions_that_cannot_be_made_keep_writers_out_and_readers_in() {
    let bench = Bench::new();
    let (archive, _) = open(&bench.machine, Access::Write).unwrap();
    let is_session = |path: &Path| path.parent().is_some_and(|parent| parent.ends_with("sessions"));
    bench.disk.add_rule(FaultRule::from_fn(move |asked| {
        (is_session(asked.path) && asked.kind.is_mutating()).then_some(Fault::Io)
    }));
    let refused = archive.commit(&name("new"), &b"1"[..], 1, &CommitOptions::default());
    assert!(
        matches!(
            refused,
            Err(CommitError::Host {
                source: HostError::Io { .. }
            })
        ),
        "{refused:?}"
    );
    assert!(get(&archive, "before").unwrap() == painted(30_000, 1));
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    let (reader, _) = open(&bench.machine, Access::Read).unwrap();
    assert_eq!(names(&reader), ["before"]);
    bench.disk.clear_rules();
    put(&archive, "new", b"1");
    assert_eq!(names(&reader), ["before", "new"]);
}
