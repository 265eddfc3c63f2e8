//! What may be done with a commit that waits: resume it, roll it back, or commit its name again.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    sync::{Mutex, mpsc},
    thread,
};

use bfdb::{
    archive::{
        CommitAllOptions, CommitObserver, CommitOptions, CommitOutcome, Event, NameConflict, Observer,
        RenameConflict, Source,
    },
    error::{CommitError, HostError},
    host::Place,
    units::CommitId,
};

use crate::stop_after::StopAfter;
use crate::support::{name, painted};

use super::{Bench, INTERVAL, LEN, extent_bytes, interrupted, open, taken_bytes, waiting};

#[test]
fn rolling_back_gives_everything_back() {
    for events in [0, 1, 7, 30, 49] {
        for reopens in [false, true] {
            let mut bench = Bench::new();
            let before = bench.store.extent_bytes();
            let taken = taken_bytes(&bench.store.root());
            let (commit, _) = bench.interrupt(events);
            let story = format!("after {events} events");
            if events > 10 {
                let again = interrupted(bench.archive().resume(commit, &StopAfter::new(0)));
                assert_eq!(again.0, commit, "{story}");
            }
            if reopens {
                bench = bench.reopen().0;
            }
            bench.archive().roll_back(commit).unwrap();
            assert!(bench.store.extent_bytes() == before, "{story}");
            assert!(taken_bytes(&bench.store.root()) <= taken + 4096, "{story}");
            assert_eq!(bench.archive().unfinished().unwrap(), [], "{story}");
            for again in [
                bench.archive().roll_back(commit),
                bench.archive().resume(commit, &()).map(drop),
            ] {
                assert!(
                    matches!(again, Err(CommitError::NoSuchCommit { commit: named }) if named == commit),
                    "{again:?}, {story}"
                );
            }
            drop(
                bench
                    .archive()
                    .commit_path(&name("file"), &bench.source, &())
                    .unwrap(),
            );
            bench.check_finished(&story);
        }
    }
}

#[test]
fn committing_the_same_source_again_goes_on_with_what_waits() {
    let bench = Bench::new();
    let (commit, done) = bench.interrupt(30);
    let observer = StopAfter::new(5);
    let again = bench
        .archive()
        .commit_path(&name("file"), &bench.source, &observer);
    let (same, further) = interrupted(again);
    assert_eq!(same, commit);
    assert!(further > done && observer.bytes() <= further - done + 2 * INTERVAL);
    let (bench, _) = bench.reopen();
    let observer = StopAfter::never();
    let outcome = bench
        .archive()
        .commit_path(&name("file"), &bench.source, &observer);
    assert!(matches!(outcome, Ok(CommitOutcome::Committed(_))), "{outcome:?}");
    assert!(observer.bytes() <= LEN - further + 2 * INTERVAL);
    bench.check_finished("committed three times");
}

/// Changes the content, and keeps the length.
fn rewrite(path: &Path, content: &[u8]) {
    let mut file = File::options().write(true).open(path).unwrap();
    file.write_all(content).unwrap();
}

#[test]
fn committing_a_changed_source_rolls_back_what_waits_and_stores_the_new_content() {
    for change in ["content", "time", "longer", "another file"] {
        let bench = Bench::new();
        let (commit, _) = bench.interrupt(30);
        let mut content = bench.content.clone();
        match change {
            "content" => {
                content[5] ^= 1;
                rewrite(&bench.source, &content);
            }
            "time" => {
                let file = File::options().write(true).open(&bench.source).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            }
            "longer" => {
                content.extend(painted(100_000, 9));
                fs::write(&bench.source, &content).unwrap();
            }
            _ => {
                let other = bench.store.source("other", &content);
                fs::rename(other, &bench.source).unwrap();
            }
        }
        let observer = StopAfter::never();
        let outcome = bench
            .archive()
            .commit_path(&name("file"), &bench.source, &observer);
        assert!(
            matches!(outcome, Ok(CommitOutcome::Committed(_))),
            "{change}: {outcome:?}"
        );
        assert_eq!(
            observer.bytes(),
            content.len() as u64,
            "{change}: all of it is written"
        );
        super::check_finished(bench.archive(), &content, change);
        let gone = bench.archive().resume(commit, &());
        assert!(
            matches!(gone, Err(CommitError::NoSuchCommit { .. })),
            "{change}: {gone:?}"
        );
        let uninterrupted = Bench::with_len(0);
        let source = uninterrupted.store.source("same", &content);
        drop(
            uninterrupted
                .archive()
                .commit_path(&name("file"), &source, &())
                .unwrap(),
        );
        assert_eq!(
            extent_bytes(&bench.store.root()),
            extent_bytes(&uninterrupted.store.root()),
            "{change}: nothing of the old one stays"
        );
    }
}

#[test]
fn a_source_that_is_not_what_it_was_is_not_resumed_and_the_commit_waits_on() {
    for change in ["content", "missing", "shorter", "another kind"] {
        let bench = Bench::new();
        let (commit, done) = bench.interrupt(30);
        let aside = bench.store.dir.path().join("aside");
        match change {
            "content" => rewrite(&bench.source, &painted(LEN, 77)),
            "missing" => fs::rename(&bench.source, &aside).unwrap(),
            "shorter" => File::options()
                .write(true)
                .open(&bench.source)
                .unwrap()
                .set_len(LEN / 2)
                .unwrap(),
            _ => {
                fs::rename(&bench.source, &aside).unwrap();
                fs::create_dir(&bench.source).unwrap();
            }
        }
        for _ in 0..2 {
            let refused = bench.archive().resume(commit, &());
            assert!(
                matches!(refused, Err(CommitError::Source { .. })),
                "{change}: {refused:?}"
            );
            if matches!(change, "content" | "shorter") {
                assert!(
                    matches!(
                        refused,
                        Err(CommitError::Source {
                            source: HostError::SourceChanged { .. }
                        })
                    ),
                    "{change}: {refused:?}"
                );
            }
        }
        let (bench, report) = bench.reopen();
        assert_eq!(report.commits_waiting, 1, "{change}");
        let unfinished = waiting(bench.archive());
        assert_eq!(
            (unfinished.commit, unfinished.is_running),
            (commit, false),
            "{change}"
        );
        assert_eq!(unfinished.resumable.unwrap().done_bytes, done, "{change}");
        if matches!(change, "missing") {
            // Back where it was. Its inode is the same, and the change of its name is no change of it.
            fs::rename(&aside, &bench.source).unwrap();
            match bench.archive().resume(commit, &()) {
                Ok(_) => bench.check_finished(change),
                // The file system counts a new name as a change.
                Err(CommitError::Source { .. }) => bench.archive().roll_back(commit).unwrap(),
                Err(other) => panic!("{other:?}"),
            }
        } else {
            bench.archive().roll_back(commit).unwrap();
        }
        assert_eq!(bench.archive().unfinished().unwrap(), []);
    }
}

/// The source changes while the rest of it is written.
#[test]
fn a_source_that_changes_during_the_resumption_is_never_stored() {
    struct Changes<'a>(&'a Path);
    impl Observer for Changes<'_> {
        fn event(&self, _: Event<'_>) {
            let file = File::options().write(true).open(self.0).unwrap();
            file.set_modified(std::time::UNIX_EPOCH).unwrap();
        }
    }
    let bench = Bench::new();
    let (commit, _) = bench.interrupt(30);
    let refused = bench.archive().resume(commit, &Changes(&bench.source));
    assert!(matches!(refused, Err(CommitError::Source { .. })), "{refused:?}");
    assert_eq!(bench.store.names(), ["before"]);
    for unfinished in bench.archive().unfinished().unwrap() {
        assert!(!unfinished.is_running);
        bench.archive().roll_back(unfinished.commit).unwrap();
    }
    drop(
        bench
            .archive()
            .commit_path(&name("file"), &bench.source, &())
            .unwrap(),
    );
    bench.check_finished("after a change");
}

/// Stops at its second event until it is told to go on.
struct Stalls {
    stalled: Mutex<Option<mpsc::Sender<()>>>,
    go_on: Mutex<mpsc::Receiver<()>>,
}

impl Observer for Stalls {
    fn event(&self, _: Event<'_>) {
        if let Some(stalled) = self.stalled.lock().unwrap().take() {
            stalled.send(()).unwrap();
            self.go_on.lock().unwrap().recv().unwrap();
        }
    }
}

#[test]
fn what_another_writer_works_on_is_neither_resumed_nor_rolled_back() {
    for is_resumed in [false, true] {
        let bench = Bench::new();
        let resumed = is_resumed.then(|| bench.interrupt(9).0);
        let (stalled, is_stalled) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        let observer = Stalls {
            stalled: Mutex::new(Some(stalled)),
            go_on: Mutex::new(goes_on),
        };
        let (other, report) = open(&bench.store.root());
        assert_eq!(report.dead_sessions, 0);
        thread::scope(|scope| {
            let working = scope.spawn(|| match resumed {
                Some(commit) => other.resume(commit, &observer),
                None => other.commit_path(&name("file"), &bench.source, &observer),
            });
            is_stalled.recv().unwrap();
            let unfinished = waiting(bench.archive());
            assert!(unfinished.is_running);
            let commit = unfinished.commit;
            let (third, report) = open(&bench.store.root());
            assert_eq!((report.commits_waiting, report.commits_rolled_back), (0, 0));
            for archive in [bench.archive(), &third, &other] {
                let refused = archive.resume(commit, &());
                assert!(
                    matches!(&refused, Err(CommitError::InProgress { commit: found, name: file })
                        if *found == commit && *file == name("file")),
                    "{refused:?}"
                );
                let refused = archive.roll_back(commit);
                assert!(
                    matches!(refused, Err(CommitError::InProgress { .. })),
                    "{refused:?}"
                );
            }
            // The same name by somebody else is a commit of its own, and the first to end has it.
            let outcome = third.commit_path(&name("file"), &bench.source, &());
            assert!(matches!(outcome, Ok(CommitOutcome::Committed(_))), "{outcome:?}");
            go_on.send(()).unwrap();
            let outcome = working.join().unwrap();
            assert!(matches!(outcome, Ok(CommitOutcome::Unchanged(_))), "{outcome:?}");
        });
        bench.check_finished("two writers");
        drop(other);
        let alone = Bench::new();
        drop(
            alone
                .archive()
                .commit_path(&name("file"), &alone.source, &())
                .unwrap(),
        );
        // Nothing of the second stays but headers of the extents that were open while it was written.
        let most = extent_bytes(&alone.store.root()) + 40 * 4096;
        assert!(extent_bytes(&bench.store.root()) <= most);
    }
}

/// Commits until so many blocks are written, through the call that may replace; returns the commit that waits.
fn interrupt_on_terms(bench: &Bench, name_conflict: NameConflict) -> CommitId {
    struct Stops(StopAfter);
    impl Observer for Stops {
        fn event(&self, event: Event<'_>) {
            self.0.event(event);
        }
        fn is_cancelled(&self) -> bool {
            self.0.is_cancelled()
        }
    }
    impl CommitObserver for Stops {
        fn source_done(&self, _: &Source, _: Result<CommitOutcome, CommitError>) {}
    }
    let options = CommitAllOptions { name_conflict };
    let source = Source {
        name: name("file"),
        place: Place::of_path(&bench.source),
    };
    let observer = Stops(StopAfter::new(20));
    let stopped = bench
        .archive()
        .commit_all(&mut std::iter::once(source), &options, &observer);
    assert!(stopped.is_err());
    waiting(bench.archive()).commit
}

/// What waits would otherwise be found months later, and take the place of what was stored since.
#[test]
fn a_new_commit_of_its_name_ends_one_that_waits_and_gives_its_room_back() {
    for name_conflict in [NameConflict::Refuse, NameConflict::Replace] {
        let bench = Bench::new();
        let commit = interrupt_on_terms(&bench, name_conflict);
        bench.store.put("file", &painted(3000, 5));
        assert_eq!(bench.archive().unfinished().unwrap(), [], "{name_conflict:?}");
        let gone = bench.archive().resume(commit, &());
        assert!(
            matches!(gone, Err(CommitError::NoSuchCommit { .. })),
            "{name_conflict:?}: {gone:?}"
        );
        assert!(bench.store.get("file").unwrap() == painted(3000, 5));
        assert_eq!(bench.archive().scrub(&()).unwrap().damage, []);
        let uninterrupted = Bench::new();
        uninterrupted.store.put("file", &painted(3000, 5));
        assert_eq!(
            extent_bytes(&bench.store.root()),
            extent_bytes(&uninterrupted.store.root()),
            "{name_conflict:?}"
        );
    }
}

/// How many versions are kept is one of the terms on which a commit goes on, also in another process.
#[test]
fn a_resumed_commit_keeps_as_many_versions_as_it_began_with() {
    let bench = Bench::new();
    let conflict = NameConflict::ReplaceAndKeep { versions: 2 };
    let options = CommitOptions {
        name_conflict: conflict,
        ..CommitOptions::default()
    };
    for len in 1..=3_u64 {
        let content = painted(len, 9);
        let stored = bench
            .archive()
            .commit(&name("file"), content.as_slice(), len, &options);
        stored.unwrap();
    }
    let commit = interrupt_on_terms(&bench, conflict);
    let (bench, _) = bench.reopen();
    let outcome = bench.archive().resume(commit, &()).unwrap();
    assert!(matches!(outcome, CommitOutcome::Replaced(_)), "{outcome:?}");
    let kept = bench
        .archive()
        .snapshot()
        .unwrap()
        .kept_versions(&name("file"))
        .unwrap();
    let kept: Vec<(u32, u64)> = kept.iter().map(|file| (file.version, file.len_bytes)).collect();
    assert_eq!(kept, [(2, 2), (3, 3)]);
    bench.check_finished("resumed");
}

/// A resumption keeps the terms of its commit: what takes the name meanwhile is replaced only when that was asked for.
#[test]
fn a_name_that_is_taken_while_a_commit_goes_on_is_decided_on_as_that_began() {
    for name_conflict in [NameConflict::Refuse, NameConflict::Replace] {
        let bench = Bench::new();
        let commit = interrupt_on_terms(&bench, name_conflict);
        let (stalled, is_stalled) = mpsc::channel();
        let (go_on, goes_on) = mpsc::channel();
        let observer = Stalls {
            stalled: Mutex::new(Some(stalled)),
            go_on: Mutex::new(goes_on),
        };
        let (other, _) = open(&bench.store.root());
        let outcome = thread::scope(|scope| {
            let resuming = scope.spawn(|| other.resume(commit, &observer));
            is_stalled.recv().unwrap();
            bench.store.put("file", &painted(3000, 5));
            go_on.send(()).unwrap();
            resuming.join().unwrap()
        });
        match (name_conflict, outcome) {
            (NameConflict::Refuse, Err(CommitError::NameTaken { .. })) => {
                assert!(bench.store.get("file").unwrap() == painted(3000, 5));
                for unfinished in bench.archive().unfinished().unwrap() {
                    bench.archive().roll_back(unfinished.commit).unwrap();
                }
                assert_eq!(bench.archive().scrub(&()).unwrap().damage, []);
            }
            (NameConflict::Replace, Ok(CommitOutcome::Replaced(_))) => bench.check_finished("replaced"),
            (_, other) => panic!("{name_conflict:?}: {other:?}"),
        }
    }
}

/// What waits was to replace something else than what was given its name since.
#[test]
fn a_renaming_to_its_name_ends_one_that_waits_and_what_was_renamed_stays() {
    let bench = Bench::new();
    let commit = interrupt_on_terms(&bench, NameConflict::Replace);
    let precious = painted(3000, 5);
    bench.store.put("precious", &precious);
    let renamed = bench
        .archive()
        .rename(&name("precious"), &name("file"), RenameConflict::Refuse);
    assert_eq!(renamed.unwrap().entries, 1);
    assert_eq!(bench.archive().unfinished().unwrap(), []);
    let gone = bench.archive().resume(commit, &());
    assert!(matches!(gone, Err(CommitError::NoSuchCommit { .. })), "{gone:?}");
    assert!(bench.store.get("file").unwrap() == precious);
}
