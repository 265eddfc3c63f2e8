//! A commit that is cancelled waits, harms nobody, and is finished with what is left to do.

use std::{fs, path::Path, sync::Arc};

use bfdb::{
    archive::CommitOutcome,
    catalog::{Access, Catalog, CatalogOptions, Check},
    error::CommitError,
    geometry::{Policy, PolicyParts},
    storage::{HostStorage, Storage},
    units::CodeShape,
};

use crate::stop_after::StopAfter;
use crate::support::{LEAF, SEGMENTED_BELOW, Store, get, name, names, open, painted, small_policy};

use super::{
    BLOCK, Bench, INTERVAL, LEN, check_finished, extent_bytes, interrupted, resources, taken_bytes, waiting,
};

/// How many events a commit without interruption has.
fn event_count() -> u64 {
    LEN.div_ceil(BLOCK)
}

#[test]
fn a_commit_that_is_cancelled_anywhere_waits_and_is_finished_with_what_is_left() {
    for events in (0..event_count()).step_by(3) {
        let story = format!("after {events} events");
        let bench = Bench::new();
        let (commit, done) = bench.interrupt(events);
        assert!(done > 0 || events == 0, "{story}");
        let unfinished = waiting(bench.archive());
        assert_eq!(
            (unfinished.commit, unfinished.is_running),
            (commit, false),
            "{story}"
        );
        assert_eq!((unfinished.name, unfinished.others), (name("file"), 0), "{story}");
        let file = unfinished.resumable.unwrap();
        assert_eq!((file.len_bytes, file.done_bytes), (LEN, done), "{story}");
        assert_eq!(file.path, bench.source, "{story}");
        // Nobody sees it, and everybody goes on.
        assert_eq!(bench.store.names(), ["before"], "{story}");
        bench.store.put("beside", &painted(200_000, 3));
        assert_eq!(bench.archive().scrub(&()).unwrap().damage, [], "{story}");

        let (bench, report) = bench.reopen();
        assert_eq!(report.commits_waiting, 1, "{story}");
        assert_eq!(
            (report.commits_rolled_back, report.extents_released),
            (0, 0),
            "{story}"
        );
        assert_eq!(
            waiting(bench.archive()).resumable.unwrap().done_bytes,
            done,
            "{story}"
        );
        let observer = StopAfter::never();
        let outcome = bench.archive().resume(commit, &observer).unwrap();
        assert!(
            matches!(outcome, CommitOutcome::Committed(_)),
            "{outcome:?}, {story}"
        );
        assert!(
            observer.bytes() <= LEN - done + 2 * INTERVAL,
            "{} bytes were written, {done} of {LEN} were done, {story}",
            observer.bytes()
        );
        bench.check_finished(&story);
        assert!(
            bench.store.get("beside").unwrap() == painted(200_000, 3),
            "{story}"
        );
        let again = bench.archive().resume(commit, &());
        assert!(
            matches!(again, Err(CommitError::NoSuchCommit { .. })),
            "{again:?}, {story}"
        );
        let (bench, report) = bench.reopen();
        assert_eq!(report, bfdb::archive::RecoveryReport::default(), "{story}");
        bench.check_finished(&story);
    }
}

#[test]
fn a_commit_goes_on_over_any_number_of_interruptions_with_others_in_between() {
    for (step, reopens) in [(1, false), (2, true), (5, true), (7, false)] {
        let mut bench = Bench::new();
        let (commit, mut done) = bench.interrupt(step);
        let (mut written, mut legs) = (done, 1_u64);
        loop {
            let story = format!("leg {legs} of {step} events");
            if reopens {
                let (again, report) = bench.reopen();
                assert_eq!(report.commits_waiting, 1, "{story}");
                bench = again;
            }
            bench
                .store
                .put(&format!("beside/{legs}"), &painted(5000 + legs, legs));
            let observer = StopAfter::new(step);
            match bench.archive().resume(commit, &observer) {
                Ok(_) => {
                    written += observer.bytes();
                    break;
                }
                Err(CommitError::Interrupted {
                    commit: same,
                    done_bytes,
                    ..
                }) => {
                    assert_eq!(same, commit, "{story}");
                    assert!(done_bytes > done, "{done_bytes} after {done}, {story}");
                    done = done_bytes;
                    written += observer.bytes();
                }
                Err(error) => panic!("{error:?}, {story}"),
            }
            legs += 1;
        }
        assert!(legs >= event_count() / step - 1, "{legs} legs of {step}");
        assert!(
            written <= LEN + legs * 2 * INTERVAL,
            "{written} bytes were written in {legs} legs"
        );
        bench.check_finished(&format!("{legs} legs"));
        for leg in 1..=legs {
            let beside = bench.store.get(&format!("beside/{leg}")).unwrap();
            assert!(beside == painted(5000 + leg, leg), "beside/{leg}");
        }
    }
}

/// Each leg takes room in the row of the intent, the more the wider the code is: however many there are, the commit comes to
/// its end.
#[test]
fn a_commit_that_is_interrupted_more_often_than_its_intent_has_room_for_can_still_be_finished() {
    let policy = Policy::new(PolicyParts {
        blocked_shape: CodeShape::new(100, 20).unwrap(),
        blocked_segment_max_len_bytes: LEAF,
        ..*small_policy().parts()
    });
    let block = 100 * LEAF;
    let bench = Bench::of(Store::in_memory(policy.unwrap(), resources()), 100 * block);
    let (commit, _) = bench.interrupt(1);
    let mut starts_again = 0;
    let mut done = 0;
    for leg in 0..95 {
        let story = format!("leg {leg}");
        let again = interrupted(bench.archive().resume(commit, &StopAfter::new(1)));
        assert_eq!(again.0, commit, "{story}");
        starts_again += usize::from(again.1 < done);
        done = again.1;
    }
    assert!(starts_again > 0, "the row of the intent never was too short");
    drop(bench.archive().resume(commit, &()).unwrap());
    bench.check_finished("95 legs");
}

#[test]
fn an_interrupted_commit_takes_hardly_more_room_than_one_that_was_not() {
    let len = 130 * BLOCK;
    let uninterrupted = Bench::with_len(len);
    let archive = uninterrupted.archive();
    drop(
        archive
            .commit_path(&name("file"), &uninterrupted.source, &())
            .unwrap(),
    );
    let expected = extent_bytes(&uninterrupted.store.root());
    let expected_taken = taken_bytes(&uninterrupted.store.root());
    let extents = uninterrupted.store.extents().len();
    for events in [1, 20, 64, 100, 129] {
        let bench = Bench::with_len(len);
        let (commit, _) = bench.interrupt(events);
        let (bench, _) = bench.reopen();
        drop(bench.archive().resume(commit, &()).unwrap());
        bench.check_finished(&format!("after {events} events"));
        let extra = bench.store.extents().len().saturating_sub(extents) as u64;
        let root = bench.store.root();
        // The new leg begins in a sector of its own on each lane.
        let most = expected / 100 + extra * 4096;
        assert!(
            extent_bytes(&root) <= expected + most,
            "{} instead of {expected} after {events} events, {extra} extents more",
            extent_bytes(&root)
        );
        assert!(
            taken_bytes(&root) <= expected_taken + most + 9 * 4096,
            "{} on disk instead of {expected_taken} after {events} events",
            taken_bytes(&root)
        );
    }
}

/// Streams and short files cannot go on, so nothing of them waits.
#[test]
fn what_cannot_go_on_leaves_nothing_to_wait() {
    let store = Store::in_memory(small_policy(), resources());
    let before = store.extent_bytes();
    let short = store.source("short", &painted(INTERVAL - 1, 1));
    let stopped = store
        .archive
        .commit_path(&name("short"), &short, &StopAfter::new(1));
    assert!(
        matches!(stopped, Err(CommitError::Cancelled) | Ok(_)),
        "{stopped:?}: it may have been done already"
    );
    let content = painted(LEN, 2);
    let options = bfdb::archive::CommitOptions::default();
    let stopped =
        store
            .archive
            .commit_reader(&name("stream"), &mut &content[..], &options, &StopAfter::new(9));
    assert!(matches!(stopped, Err(CommitError::Cancelled)), "{stopped:?}");
    assert_eq!(store.archive.unfinished().unwrap(), []);
    if stopped.is_err() && store.names().is_empty() {
        assert!(store.extent_bytes() == before, "nothing is left");
    }
}

/// Whoever opens for reading sees it waiting, and can do nothing about it.
#[test]
fn a_reader_lists_what_waits_and_changes_nothing() {
    let bench = Bench::new();
    let (commit, done) = bench.interrupt(20);
    let reader = open(&bench.store.root(), Access::Read);
    assert_eq!(waiting(&reader).resumable.unwrap().done_bytes, done);
    assert_eq!(names(&reader), ["before"]);
    assert!(matches!(reader.resume(commit, &()), Err(CommitError::ReadOnly)));
    assert!(matches!(reader.roll_back(commit), Err(CommitError::ReadOnly)));
    drop(bench.archive().resume(commit, &()).unwrap());
    assert!(get(&reader, "file").unwrap() == bench.content);
    check_finished(&reader, &bench.content, "seen by a reader");
}

/// An interruption while the rest is written keeps what was done before, even when it comes at once.
#[test]
fn an_interruption_before_anything_was_written_costs_nothing() {
    let bench = Bench::new();
    let (commit, done) = bench.interrupt(30);
    for _ in 0..3 {
        let again = interrupted(bench.archive().resume(commit, &StopAfter::new(0)));
        assert_eq!(again, (commit, done));
    }
    let observer = StopAfter::never();
    drop(bench.archive().resume(commit, &observer).unwrap());
    assert_eq!(observer.bytes(), LEN - done);
    bench.check_finished("interrupted at once, three times");
}

/// Returns which extents are longer or shorter than the catalog says.
fn wrong_lengths(root: &Path) -> Vec<String> {
    let storage: Arc<dyn Storage> = Arc::new(HostStorage);
    let options = CatalogOptions { cache_bytes: 1 << 20 };
    let check = Check::WhenSmall { file_len_bytes: 0 };
    let catalog = Catalog::open(&storage, &root.join("catalog.redb"), Access::Read, check, options).unwrap();
    let extents = catalog.read().unwrap().extents().unwrap();
    let wrong = extents.iter().filter_map(|extent| {
        let path = root.join(format!("volumes/v0/extents/{:08}.bfx", extent.id.get()));
        let len = fs::metadata(path).unwrap().len();
        (len != extent.end_bytes).then(|| format!("{len} bytes: {extent:?}"))
    });
    wrong.collect()
}

/// The descriptor of a commit lies on the lanes that are the shortest when its last leg begins. What an earlier leg had taken
/// for it on other lanes stayed behind the end of their extents: the campaign of concurrent processes found it.
#[test]
fn a_commit_that_goes_on_leaves_nothing_behind_the_ends_of_extents_that_it_has_done_with() {
    for events in [1, event_count() / 2, event_count() - 1, event_count()] {
        let bench = Bench::new();
        let (commit, _) = bench.interrupt(events);
        // Other lanes are the shortest now.
        for beside in 0..3 {
            bench
                .store
                .put(&format!("beside-{beside}"), &painted(SEGMENTED_BELOW / 2, 3));
        }
        let (bench, _) = bench.reopen();
        drop(bench.archive().resume(commit, &()).unwrap());
        bench.check_finished(&format!("after {events} events"));
        assert_eq!(
            wrong_lengths(&bench.store.root()),
            [""; 0],
            "after {events} events"
        );
    }
}
