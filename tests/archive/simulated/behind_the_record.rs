//! A process that dies behind its journal record and before its catalog: what it did is done, and another process that was
//! open all the while must neither take it back nor begin it again.

use std::path::Path;

use bfdb::{error::CommitError, storage::Storage as _};
use bfdb_fault_injection::simulation::{Fault, FaultRule, OperationKind};

use super::{Bench, ROOT, check_sound, content, put};
use crate::support::{name, painted};

#[test]
fn a_stream_whose_process_died_behind_its_record_is_not_rolled_back_by_another() {
    let bench = Bench::new();
    let (stays, _) = bench.open();
    let (dies, _) = bench.open();
    bench.vanish_behind_the_record();
    let bytes = painted(50_000, 2);
    let died = dies.commit(&name("file"), &bytes[..], 50_000, &bfdb::CommitOptions::default());
    assert!(died.is_err());
    bench.kill(dies);
    let unfinished = stays.unfinished().unwrap();
    assert_eq!(unfinished.len(), 1, "the catalog does not know of the record yet");
    let refused = stays.roll_back(unfinished[0].commit);
    assert!(
        matches!(refused, Err(CommitError::NoSuchCommit { .. })),
        "{refused:?}"
    );
    assert!(content(&stays, "file").unwrap() == bytes);
    check_sound(&stays);
}

#[test]
fn a_long_commit_whose_process_died_behind_its_record_is_neither_rolled_back_nor_resumed_by_another() {
    for resumes in [false, true] {
        let bench = Bench::new();
        let bytes = painted(300_000, 2);
        let source = bench.source(&bytes);
        let (stays, _) = bench.open();
        let (dies, _) = bench.open();
        bench.vanish_behind_the_record();
        assert!(dies.commit_path(&name("file"), &source, &()).is_err());
        bench.kill(dies);
        let commit = stays.unfinished().unwrap()[0].commit;
        let refused = if resumes {
            stays.resume(commit, &()).map(drop)
        } else {
            stays.roll_back(commit)
        };
        assert!(
            matches!(refused, Err(CommitError::NoSuchCommit { .. })),
            "{refused:?}"
        );
        assert!(content(&stays, "file").unwrap() == bytes);
        check_sound(&stays);
        drop(stays);
        let (again, _) = bench.open();
        assert!(content(&again, "file").unwrap() == bytes);
        check_sound(&again);
    }
}

/// The same file again is the same content by then: nothing is written and nothing refused.
#[test]
fn committing_again_what_is_published_behind_a_death_is_nothing_to_do() {
    let bench = Bench::new();
    let bytes = painted(300_000, 2);
    let source = bench.source(&bytes);
    let (stays, _) = bench.open();
    let (dies, _) = bench.open();
    bench.vanish_behind_the_record();
    assert!(dies.commit_path(&name("file"), &source, &()).is_err());
    bench.kill(dies);
    let outcome = stays.commit_path(&name("file"), &source, &());
    assert!(
        matches!(outcome, Ok(bfdb::CommitOutcome::Unchanged(_))),
        "{outcome:?}"
    );
    check_sound(&stays);
}

/// It used to be opened without the ballast, so a removal could not help either.
#[test]
fn an_archive_that_is_behind_its_journal_opens_on_a_full_disk() {
    let bench = Bench::new();
    let (dies, _) = bench.open();
    bench.vanish_behind_the_record();
    let bytes = painted(50_000, 2);
    let died = dies.commit(&name("file"), &bytes[..], 50_000, &bfdb::CommitOptions::default());
    assert!(died.is_err());
    bench.kill(dies);
    // Somebody has cleared up: nothing says that a process has died.
    let sessions = Path::new(ROOT).join("sessions");
    for session in bench.disk.list(&sessions).unwrap() {
        bench.disk.remove_file(&sessions.join(session)).unwrap();
    }
    bench.disk.set_capacity(Some(1 << 40));
    let taken_bytes = (1 << 40) - bench.disk.free_bytes(Path::new("/")).unwrap();
    bench.disk.set_capacity(Some(taken_bytes));
    // Whatever room the catalog still has within itself, it takes no byte before the ballast has given way.
    let mut has_given_way = false;
    bench.disk.add_rule(FaultRule::from_fn(move |asked| {
        has_given_way |= asked.path.ends_with("ballast") && asked.kind == OperationKind::SetLen;
        let is_refused = !has_given_way && asked.path.ends_with("catalog.redb");
        (is_refused && Fault::Full.applies_to(asked.kind)).then_some(Fault::Full)
    }));
    let (archive, report) = bench.open();
    assert_eq!(report.records_rolled_forward, 1);
    assert!(content(&archive, "file").unwrap() == bytes);
    drop(archive.remove(&name("file")).unwrap());
    bench.disk.set_capacity(None);
    check_sound(&archive);
    put(&archive, "file", &bytes);
}
