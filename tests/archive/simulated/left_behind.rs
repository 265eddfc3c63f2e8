//! Commits that nobody could end: panics of observers, and disks that took no transaction any more.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{Mutex, mpsc},
};

use bfdb::{
    CommitAllOptions, CommitObserver, CommitOutcome, Event, Observer, Place, Source, error::CommitError,
};
use bfdb_fault_injection::simulation::{Fault, FaultRule, OperationKind};

use super::{Bench, check_sound, content, is_last_copy, put};
use crate::support::{name, painted};

/// Panics at its event of this number.
struct Panics(Mutex<u64>);

impl Panics {
    fn at(event: u64) -> Self {
        Self(Mutex::new(event))
    }
}

impl Observer for Panics {
    fn event(&self, _: Event<'_>) {
        let mut left = self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        *left = left.saturating_sub(1);
        let is_over = *left == 0;
        drop(left);
        assert!(!is_over, "on purpose");
    }
}

impl CommitObserver for Panics {
    fn source_done(&self, _: &Source, _: Result<CommitOutcome, CommitError>) {}
}

#[test]
fn a_long_commit_whose_observer_panicked_goes_on_in_the_same_process() {
    for does_reopen in [false, true] {
        let bench = Bench::new();
        let bytes = painted(600_000, 2);
        let source = bench.source(&bytes);
        let (mut archive, _) = bench.open();
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            archive.commit_path(&name("file"), &source, &Panics::at(15))
        }));
        assert!(panicked.is_err());
        if does_reopen {
            drop(archive);
            archive = bench.open().0;
        }
        let unfinished = archive.unfinished().unwrap();
        assert_eq!(unfinished.len(), 1, "reopened: {does_reopen}");
        assert!(!unfinished[0].is_running, "{unfinished:?}");
        let done = unfinished[0].resumable.as_ref().unwrap().done_bytes;
        assert!(done >= 64 << 10, "{done} bytes are done");
        drop(archive.resume(unfinished[0].commit, &()).unwrap());
        assert!(content(&archive, "file").unwrap() == bytes);
        check_sound(&archive);
    }
}

#[test]
fn what_a_batch_took_whose_observer_panicked_comes_back_with_the_next_commit() {
    let bench = Bench::new();
    let source = bench.source(&painted(3000, 2));
    let (archive, _) = bench.open();
    let source = Source {
        name: name("file"),
        place: Place::of_path(&source),
    };
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let options = CommitAllOptions::default();
        archive.commit_all(&mut std::iter::once(source), &options, &Panics::at(1))
    }));
    assert!(panicked.is_err());
    assert_eq!(archive.unfinished().unwrap().len(), 1);
    put(&archive, "next", &painted(500, 3));
    check_sound(&archive);
}

/// The note of its progress, the rollback and the note that it waits all fail of a catalog that takes no bytes.
#[test]
fn a_long_commit_that_could_not_be_told_to_wait_waits_behind_the_end_of_its_process() {
    for does_close in [false, true] {
        let bench = Bench::new();
        let bytes = painted(900_000, 2);
        let source = bench.source(&bytes);
        let (archive, _) = bench.open();
        let is_catalog = |path: &Path| path.ends_with("catalog.redb");
        let mut writes = 0;
        bench.disk.add_rule(FaultRule::from_fn(move |asked| {
            // The first point of progress is noted, later ones are not.
            let is_extent = asked.path.extension().is_some_and(|found| found == "bfx");
            writes += u64::from(is_extent && asked.kind == OperationKind::Write);
            let is_refused = writes > 300 && is_catalog(asked.path) && Fault::Full.applies_to(asked.kind);
            is_refused.then_some(Fault::Full)
        }));
        let failed = archive.commit_path(&name("file"), &source, &());
        assert!(matches!(failed, Err(CommitError::Catalog { .. })), "{failed:?}");
        if does_close {
            match archive.close() {
                Ok(()) | Err(_) => {}
            }
        } else {
            drop(archive);
        }
        bench.disk.clear_rules();
        let (archive, report) = bench.open();
        assert_eq!(
            (report.commits_waiting, report.commits_rolled_back),
            (1, 0),
            "{report:?}, closed: {does_close}"
        );
        let unfinished = archive.unfinished().unwrap();
        assert!(unfinished[0].resumable.as_ref().unwrap().done_bytes > 0);
        drop(archive.resume(unfinished[0].commit, &()).unwrap());
        assert!(content(&archive, "file").unwrap() == bytes);
        check_sound(&archive);
    }
}

/// It was found by the next opening, and `recover --resume` put the old content over the new.
#[test]
fn a_dead_commit_that_nobody_has_settled_yet_ends_with_a_new_commit_of_its_name() {
    let bench = Bench::new();
    let source = bench.source(&painted(600_000, 2));
    let (stays, _) = bench.open();
    let (dies, _) = bench.open();
    let killed = bench.disk.counts().mutating() + 90;
    bench.disk.add_rule(FaultRule::nth(killed, Fault::Vanish));
    assert!(dies.commit_path(&name("file"), &source, &()).is_err());
    bench.kill(dies);
    assert_eq!(stays.unfinished().unwrap().len(), 1);
    put(&stays, "file", &painted(800, 3));
    assert_eq!(stays.unfinished().unwrap(), []);
    drop(stays);
    let (again, report) = bench.open();
    assert_eq!(report.commits_waiting, 0);
    assert!(content(&again, "file").unwrap() == painted(800, 3));
    check_sound(&again);
}

/// It ended what waits behind its publication: who died between left an old version that a resumption put over the new.
#[test]
fn what_a_later_commit_of_its_name_has_outdated_is_not_resumed() {
    let bench = Bench::new();
    let source = bench.source(&painted(600_000, 2));
    let (dies, _) = bench.open();
    let killed = bench.disk.counts().mutating() + 90;
    bench.disk.add_rule(FaultRule::nth(killed, Fault::Vanish));
    assert!(dies.commit_path(&name("file"), &source, &()).is_err());
    bench.kill(dies);
    let (dies, report) = bench.open();
    assert_eq!(report.commits_waiting, 1);
    // Published, and then it is about to take the room of what waits back.
    let mut is_appended = false;
    bench.disk.add_rule(FaultRule::from_fn(move |asked| {
        is_appended |= asked.kind == OperationKind::SyncFile && is_last_copy(asked);
        let is_extent = asked.path.extension().is_some_and(|found| found == "bfx");
        (is_appended && is_extent && asked.kind.is_mutating()).then_some(Fault::Vanish)
    }));
    let content_now = painted(800, 3);
    let options = bfdb::CommitOptions::default();
    drop(dies.commit(&name("file"), &content_now[..], 800, &options));
    bench.kill(dies);
    let (archive, report) = bench.open();
    assert_eq!(report.commits_waiting, 1, "{report:?}");
    let commit = archive.unfinished().unwrap()[0].commit;
    let refused = archive.resume(commit, &());
    assert!(
        matches!(refused, Err(CommitError::NoSuchCommit { .. })),
        "{refused:?}"
    );
    assert!(content(&archive, "file").unwrap() == content_now);
    check_sound(&archive);
}

/// Waits at its first event behind the failure of the disk until it is told to go on.
struct StallsBehindFailure<'a> {
    bench: &'a Bench,
    stalled: Mutex<Option<mpsc::Sender<()>>>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Observer for StallsBehindFailure<'_> {
    fn event(&self, _: Event<'_>) {
        if self.bench.disk.counts().injected() == 0 {
            return;
        }
        // The other worker is not to wait for this one.
        let first = self.stalled.lock().unwrap().take();
        if let Some(stalled) = first {
            stalled.send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
    }
}

/// A commit that went on behind a failed sync stood among those that nobody works on, and the next commit of another thread gave its
/// room back while it wrote.
#[test]
fn a_commit_that_goes_on_behind_a_failed_sync_is_nobody_elses() {
    let bench = Bench::new();
    let bytes = painted(900_000, 2);
    let source = bench.source(&bytes);
    // One worker waits on purpose.
    let (archive, _) = bench.open_with(2);
    let mut writes = 0;
    bench.disk.add_rule(FaultRule::from_fn(move |asked| {
        let is_extent = asked.path.extension().is_some_and(|found| found == "bfx");
        writes += u64::from(is_extent && asked.kind == OperationKind::Write);
        let is_due = is_extent && asked.kind == OperationKind::SyncFile && (100..1_000_000).contains(&writes);
        is_due.then(|| {
            writes = 1_000_000;
            Fault::Io
        })
    }));
    let (stalled, is_stalled) = mpsc::channel();
    let (go_on, goes_on) = mpsc::channel();
    let observer = StallsBehindFailure {
        bench: &bench,
        stalled: Mutex::new(Some(stalled)),
        go_on: Mutex::new(goes_on),
    };
    let outcome = std::thread::scope(|scope| {
        let long = scope.spawn(|| archive.commit_path(&name("file"), &source, &observer));
        is_stalled.recv().unwrap();
        put(&archive, "beside", &painted(50_000, 5));
        let running = archive.unfinished().unwrap();
        assert_eq!(running.len(), 1);
        assert!(running[0].is_running, "{running:?}");
        let refused = archive.roll_back(running[0].commit);
        assert!(
            matches!(refused, Err(CommitError::InProgress { .. })),
            "{refused:?}"
        );
        go_on.send(()).unwrap();
        long.join().unwrap()
    });
    assert!(matches!(outcome, Ok(CommitOutcome::Committed(_))), "{outcome:?}");
    assert!(content(&archive, "file").unwrap() == bytes);
    assert!(content(&archive, "beside").unwrap() == painted(50_000, 5));
    check_sound(&archive);
}
