//! Every call of an append fails once, for one copy and for all.

use std::io::ErrorKind;

use super::{failing::Call, *};
use crate::error::AppendError;

/// The k-th call of a kind that an append makes.
fn fail_nth(storage: &FailingStorage, wanted: Call, nth: usize) {
    let mut seen = 0;
    storage.fail(move |call, _| {
        seen += usize::from(call == wanted);
        (call == wanted && seen == nth + 1).then_some(ErrorKind::Other)
    });
}

#[test]
fn a_copy_whose_write_or_sync_fails_goes_on_in_a_new_segment_with_the_same_record() {
    for wanted in [Call::Write, Call::Sync] {
        for failing in 0..4 {
            let (mut bench, state) = Bench::with_records(2);
            fail_nth(&bench.storage, wanted, failing);
            let state = bench.journal.append(&state, &body(3)).expect("an append");
            let segments: Vec<u32> = state.copies.iter().map(|copy| copy.segment).collect();
            let mut expected = [1; 4];
            expected[failing] = 2;
            assert_eq!(segments, expected, "{wanted:?} {failing}");

            // Never touched again by this process.
            bench.storage.take_log();
            let state = bench.journal.append(&state, &body(4)).expect("an append");
            let closed = bench.path(u8::try_from(failing).expect("small"), 1);
            let log = bench.storage.take_log();
            assert!(log.iter().all(|(_, path)| *path != closed), "{log:?}");

            bench.reopen();
            let tail = bench.journal.tail(&state).expect("a tail");
            assert_eq!((tail.next, tail.findings), (None, vec![]), "{wanted:?} {failing}");
            assert_chain(&bench.journal, &bench.journal.scan().expect("a scan"), 4);
        }
    }
}

#[test]
fn a_closed_segment_gets_no_position_from_an_old_state() {
    let (bench, old) = Bench::with_records(2);
    fail_nth(&bench.storage, Call::Sync, 1);
    bench.journal.append(&old, &body(3)).expect("an append");
    // The catalog did not commit.
    let tail = bench.journal.tail(&old).expect("a tail");
    assert_eq!(tail.next.expect("ahead").epoch.get(), 3);
    let copies: Vec<u8> = tail.state.copies.iter().map(|copy| copy.copy).collect();
    assert_eq!(copies, [0, 2, 3]);
    assert!(tail.findings.iter().any(|finding| {
        (finding.copy, finding.segment, &finding.fault) == (1, Some(1), &JournalFault::SegmentClosed)
    }));
}

#[test]
fn a_copy_that_fails_for_good_is_left_out_and_healed_later() {
    let (mut bench, state) = Bench::with_records(2);
    bench.storage.fail(|call, path| {
        let is_it = call != Call::Read && path.components().any(|part| part.as_os_str() == "c2");
        is_it.then_some(ErrorKind::Other)
    });
    let state = bench.journal.append(&state, &body(3)).expect("three copies");
    let state = bench.journal.append(&state, &body(4)).expect("three copies");
    assert_eq!(
        state.copies.iter().map(|copy| copy.copy).collect::<Vec<_>>(),
        [0, 1, 3]
    );
    bench.reopen();
    let tail = bench.journal.tail(&state).expect("a tail");
    assert_eq!(tail.next, None);
    assert!(
        tail.findings
            .iter()
            .any(|finding| finding.fault == JournalFault::NoPosition)
    );
    let scan = bench.journal.scan().expect("a scan");
    assert_chain(&bench.journal, &scan, 4);
    assert!(scan.findings.iter().any(|finding| {
        finding.copy == 2
            && finding.fault
                == JournalFault::Lacks {
                    first: Epoch::new(3),
                    count: 2,
                }
    }));
    let healed = bench.journal.heal(&scan, &state).expect("healed");
    assert_eq!(healed.copies.len(), 4);
    assert_eq!(Head::of(&healed), Head::of(&state));
    let state = bench.journal.append(&healed, &body(5)).expect("four copies");
    assert_eq!(state.copies.len(), 4);
    let scan = bench.journal.scan().expect("a scan");
    assert_chain(&bench.journal, &scan, 5);
    assert!(
        !scan
            .findings
            .iter()
            .any(|finding| matches!(finding.fault, JournalFault::Lacks { .. }))
    );
}

#[test]
fn when_no_copy_can_be_synced_the_outcome_is_unknown_and_the_journal_is_poisoned() {
    for wanted in [Call::Write, Call::Sync] {
        let (mut bench, old) = Bench::with_records(2);
        bench
            .storage
            .fail(move |call, _| (call == wanted).then_some(ErrorKind::Other));
        let error = bench.journal.append(&old, &body(3)).expect_err("no copy");
        assert!(
            matches!(error, AppendError::OutcomeUnknown { epoch, .. } if epoch.get() == 3),
            "{error:?}"
        );
        bench.storage.fail_nothing();
        let error = bench.journal.append(&old, &body(3)).expect_err("poisoned");
        assert!(matches!(error, AppendError::Poisoned), "{error:?}");

        // Anew: what is there decides. A whole record is restated, a torn one is passed over.
        bench.reopen();
        let tail = bench.journal.tail(&old).expect("a tail");
        let state = match tail.next {
            Some(record) => {
                assert_eq!(wanted, Call::Sync, "only whole writes make a record");
                bench.journal.restate(&tail.state, &record).expect("restated")
            }
            None => bench.journal.append(&tail.state, &body(3)).expect("an append"),
        };
        assert_eq!(state.copies.len(), 4);
        assert_chain(&bench.journal, &bench.journal.scan().expect("a scan"), 3);
    }
}

#[test]
fn nothing_was_written_when_no_segment_could_be_opened_nor_made() {
    let (mut bench, old) = Bench::with_records(2);
    bench.reopen();
    bench
        .storage
        .fail(|call, _| matches!(call, Call::Open | Call::Create).then_some(ErrorKind::PermissionDenied));
    let error = bench.journal.append(&old, &body(3)).expect_err("no segment");
    assert!(matches!(error, AppendError::NothingWritten { .. }), "{error:?}");
    bench.storage.fail_nothing();
    let state = bench.journal.append(&old, &body(3)).expect("not poisoned");
    assert_eq!(state.copies.len(), 4);
    assert_chain(&bench.journal, &bench.journal.scan().expect("a scan"), 3);
}

#[test]
fn an_append_that_fails_at_any_call_from_then_on_leaves_the_old_head_or_the_new_one() {
    for fails_at in 0.. {
        let (mut bench, old) = Bench::with_records(2);
        bench.reopen();
        let mut left = fails_at;
        bench.storage.fail(move |_, _| {
            left -= 1;
            (left < 0).then_some(ErrorKind::Other)
        });
        let outcome = bench.journal.append(&old, &body(3));
        bench.reopen();
        let tail = bench.journal.tail(&old).expect("a tail");
        match (&outcome, &tail.next) {
            (Ok(_) | Err(AppendError::OutcomeUnknown { .. }), Some(record)) => {
                assert_eq!(record.body, body(3));
            }
            (Ok(_), None) => panic!("an acknowledged record is gone, call {fails_at}"),
            (Err(_), Some(_)) => panic!("it was written, call {fails_at}"),
            (Err(_), None) => {}
        }
        let state = match &tail.next {
            Some(record) => bench.journal.restate(&tail.state, record).expect("restated"),
            None => bench.journal.append(&tail.state, &body(3)).expect("an append"),
        };
        assert_eq!(state.epoch.get(), 3);
        assert_chain(&bench.journal, &bench.journal.scan().expect("a scan"), 3);
        if outcome.is_ok_and(|state| state.copies.iter().all(|copy| copy.segment == 1)) && fails_at > 15 {
            return;
        }
    }
}

/// Each publication read all segments of such a copy again: the longer the journal, the slower.
#[test]
fn a_copy_without_a_position_is_read_through_once_while_another_has_its_own() {
    let (mut bench, state) = Bench::with_records(3);
    bench.reopen();
    let without = |lost: &[u8]| JournalState {
        copies: (state.copies.iter().copied())
            .filter(|position| !lost.contains(&position.copy))
            .collect(),
        ..state.clone()
    };
    let reads = |bench: &Bench, lost: &[u8]| {
        bench.storage.take_log();
        drop(bench.journal.tail(&without(lost)).expect("a tail"));
        let log = bench.storage.take_log();
        let is_read = |copy: u8| log.contains(&(Call::Read, bench.path(copy, 1)));
        lost.iter().all(|&copy| is_read(copy))
    };
    assert!(reads(&bench, &[2]), "the first time");
    assert!(!reads(&bench, &[2]), "the second time");
    assert!(reads(&bench, &[0, 1, 2, 3]), "no copy knows better");
    assert!(reads(&bench, &[0, 1, 2, 3]), "still none does");
    // What somebody has appended in a new segment is found all the same.
    let scan = bench.journal.scan().expect("a scan");
    assert!(!reads(&bench, &[2]), "nothing is new");
    let healed = bench.journal.restart(&without(&[2])).expect("new segments");
    drop(scan);
    drop(bench.journal.append(&healed, &body(4)).expect("an append"));
    let tail = bench.journal.tail(&without(&[2])).expect("a tail");
    assert_eq!(tail.next.map(|record| record.body), Some(body(4)));
}

/// On a full disk each attempt left some, and took the last room for it.
#[test]
fn a_preparation_that_meets_a_full_disk_leaves_no_segments() {
    let (bench, state) = Bench::with_records(2);
    let (first, last) = (bench.path(0, 1), bench.path(3, 1));
    bench.storage.fail(move |call, path| {
        let fails = [(&first, ErrorKind::Other), (&last, ErrorKind::StorageFull)];
        let fails = fails.into_iter().filter(|(meant, _)| *meant == path);
        fails
            .map(|(_, kind)| kind)
            .next()
            .filter(|_| call == Call::Allocate)
    });
    for _ in 0..3 {
        let refused = bench.journal.prepare(&state, 300_000).expect_err("no room");
        assert!(refused.is_full(), "{refused:?}");
        let segments = bench.journal.list(0).expect("a list");
        assert_eq!(segments, [1], "the second one is gone again");
    }
    bench.storage.fail_nothing();
    let prepared = bench.journal.prepare(&state, 300_000).expect("room");
    let state = bench.journal.append(&prepared, &body(3)).expect("an append");
    assert_eq!(state.copies.len(), 4);
    assert_chain(&bench.journal, &bench.journal.scan().expect("a scan"), 3);
}
