//! Journals that nothing happens to, and what is found behind a state.

use super::{failing::Call, *};
use crate::error::{AppendError, JournalError};

#[test]
fn records_come_back_in_order_and_every_copy_has_them() {
    let (bench, state) = Bench::with_records(5);
    assert_eq!(state.epoch, Epoch::new(5));
    assert_eq!(state.copies.len(), 4);
    let scan = bench.journal.scan().expect("a scan");
    assert_chain(&bench.journal, &scan, 5);
    assert_eq!(scan.findings, []);
    assert_eq!(Head::of(&state), scan.head.expect("a head"));
    let first = read_file(&bench.path(0, 1));
    for copy in 1..4 {
        assert_eq!(
            first[4096..],
            read_file(&bench.path(copy, 1))[4096..],
            "copy {copy}"
        );
    }
}

#[test]
fn a_new_journal_has_segments_of_nothing_and_its_creation_can_be_done_again() {
    let bench = Bench::new();
    let state = bench.journal.create().expect("a new journal");
    assert_eq!(
        (state.epoch, state.hash),
        (Epoch::ZERO, crate::merkle::ChainHash::NONE)
    );
    assert!(
        state
            .copies
            .iter()
            .all(|copy| (copy.segment, copy.end_bytes) == (1, 4096))
    );
    assert_eq!(JournalState::parse(&state.encode()), Ok(state.clone()));
    // An interrupted creation: a header torn, a file empty, a directory gone.
    write_file(&bench.path(0, 1), &[0; 100]);
    write_file(&bench.path(1, 1), &[]);
    let other = Journal::new(
        Arc::<FailingStorage>::clone(&bench.storage),
        ArchiveId::from_bytes([1; 16]),
        places(bench.root.path(), 4),
    );
    assert_eq!(other.create().expect("taken up"), state, "by another archive");
    assert_eq!(bench.journal.create().expect("taken up"), state);
    let tail = bench.journal.tail(&state).expect("a tail");
    assert_eq!(
        (tail.next, tail.findings, tail.state),
        (None, vec![], state.clone())
    );

    let state = bench.journal.append(&state, b"first").expect("an append");
    assert_eq!(state.epoch.get(), 1);
    assert!(matches!(bench.journal.create(), Err(JournalError::InUse { .. })));
    assert!(matches!(other.create(), Err(JournalError::InUse { .. })));
}

#[test]
fn every_interrupted_creation_is_taken_up() {
    for fails_at in 0.. {
        let mut bench = Bench::new();
        let mut left = fails_at;
        bench.storage.fail(move |_, _| {
            left -= 1;
            (left < 0).then_some(std::io::ErrorKind::Other)
        });
        let is_made = bench.journal.create().is_ok();
        bench.reopen();
        if is_made {
            return assert!(fails_at > 20, "calls were made to fail");
        }
        let state = bench.journal.create().expect("taken up");
        let state = bench.journal.append(&state, &body(1)).expect("an append");
        assert_eq!(state.copies.len(), 4);
        assert_chain(&bench.journal, &bench.journal.scan().expect("a scan"), 1);
    }
}

#[test]
fn all_copies_are_written_before_the_first_is_synced_and_names_before_records() {
    let (bench, state) = Bench::with_records(1);
    bench.storage.take_log();
    bench.journal.append(&state, b"x").expect("an append");
    let calls: Vec<Call> = bench
        .storage
        .take_log()
        .into_iter()
        .map(|(call, _)| call)
        .collect();
    assert_eq!(calls, [[Call::Write; 4], [Call::Sync; 4]].concat());

    let bench = Bench::new();
    bench.journal.create().expect("a new journal");
    let log = bench.storage.take_log();
    for copy in 0..4 {
        let directory = bench.journal.places[copy].directory.clone();
        let at = |wanted: Call, path: &Path| {
            log.iter()
                .rposition(|(call, of)| *call == wanted && of == path)
                .expect("it was done")
        };
        let file = bench.path(u8::try_from(copy).expect("small"), 1);
        assert!(
            at(Call::Write, &file) < at(Call::Sync, &file),
            "the header is synced"
        );
        assert!(
            at(Call::Create, &file) < at(Call::SyncDirectory, &directory),
            "the name is synced"
        );
        let above = directory.parent().expect("journal").to_path_buf();
        assert!(at(Call::Create, &directory) < at(Call::SyncDirectory, &above));
        assert!(log.contains(&(Call::SyncDirectory, bench.root.path().to_path_buf())));
    }
}

#[test]
fn a_clean_tail_costs_one_read_and_one_listing_for_each_copy() {
    let (bench, state) = Bench::with_records(3);
    bench.storage.take_log();
    let tail = bench.journal.tail(&state).expect("a tail");
    assert_eq!((tail.next, tail.findings), (None, vec![]));
    let calls: Vec<Call> = bench
        .storage
        .take_log()
        .into_iter()
        .map(|(call, _)| call)
        .collect();
    assert!(calls.len() <= 8, "{calls:?}");
}

#[test]
fn room_is_made_before_a_record_and_a_full_disk_shows_there() {
    let (bench, state) = Bench::with_records(1);
    let len = |copy| HostStorage.inspect(&bench.path(copy, 1)).expect("a segment");
    let prepared = bench.journal.prepare(&state, 1_000_000).expect("room");
    assert_eq!(prepared, state);
    for copy in 0..4 {
        assert!(len(copy).allocated_bytes >= 1_000_256, "real blocks");
    }
    bench.storage.fail(|call, path| {
        let is_it = call == Call::Allocate && path.ends_with("c2/00000001.bfj");
        is_it.then_some(std::io::ErrorKind::StorageFull)
    });
    let error = bench.journal.prepare(&state, 5_000_000).expect_err("full");
    assert!(
        matches!(error, JournalError::Full { needed_bytes, free_bytes: 1234, ref path }
            if needed_bytes > 3_900_000 && path.ends_with("c2/00000001.bfj")),
        "{error:?}"
    );
    let tail = bench.journal.tail(&state).expect("a tail");
    assert_eq!(
        (tail.next, tail.findings, tail.state),
        (None, vec![], state.clone())
    );
    bench.storage.fail_nothing();
    assert!(matches!(
        bench.journal.prepare(&state, 64 * 1024 * 1024 + 1),
        Err(JournalError::TooLong { .. })
    ));
}

#[test]
fn long_segments_are_left_and_those_that_cannot_grow_too() {
    let (bench, state) = Bench::with_records(1);
    let long = vec![5; 9 * 1024 * 1024];
    let mut state = state;
    for _ in 0..2 {
        state = bench.journal.prepare(&state, long.len()).expect("room");
        state = bench.journal.append(&state, &long).expect("an append");
    }
    assert!(state.copies.iter().all(|copy| copy.segment == 2), "{state:?}");
    bench.storage.fail(|call, path| {
        let is_it = call == Call::Allocate && path.ends_with("c1/00000002.bfj");
        is_it.then_some(std::io::ErrorKind::Other)
    });
    let prepared = bench.journal.prepare(&state, long.len() / 2).expect("room");
    let segments: Vec<u32> = prepared.copies.iter().map(|copy| copy.segment).collect();
    assert_eq!(segments, [2, 3, 2, 2]);
    let state = bench.journal.append(&prepared, b"last").expect("an append");
    let scan = bench.journal.scan().expect("a scan");
    assert_eq!((scan.head, scan.findings), (Some(Head::of(&state)), vec![]));
}

#[test]
fn records_ahead_of_the_catalog_are_found_and_restated() {
    let (mut bench, old) = Bench::with_records(2);
    let newer = bench.journal.append(&old, &body(3)).expect("an append");
    bench.journal.append(&newer, &body(4)).expect("an append");
    bench.reopen();
    let tail = bench.journal.tail(&old).expect("a tail");
    assert_eq!(tail.next.as_ref().expect("ahead").body, body(3));
    assert_eq!(tail.ahead.len(), 2, "both");
    let mut states = vec![tail.state];
    for entry in &tail.ahead {
        let record = bench.journal.load(entry).expect("a record");
        let state = bench
            .journal
            .prepare(states.last().expect("one"), record.body.len())
            .expect("room");
        states.push(bench.journal.restate(&state, &record).expect("restated"));
    }
    // A crash between the two catalog transactions: the second record is still ahead of the first one's state.
    bench.reopen();
    let tail = bench.journal.tail(&states[1]).expect("a tail");
    assert_eq!(tail.next.expect("ahead").body, body(4));
    let tail = bench.journal.tail(&states[2]).expect("a tail");
    assert_eq!(tail.next, None);
    let state = bench.journal.append(&tail.state, &body(5)).expect("an append");
    assert_eq!(state.epoch.get(), 5);
    assert_chain(&bench.journal, &bench.journal.scan().expect("a scan"), 5);

    let record = bench
        .journal
        .load(&bench.journal.scan().expect("a scan").chain()[0])
        .expect("a record");
    assert!(matches!(
        bench.journal.restate(&state, &record),
        Err(AppendError::NothingWritten {
            source: JournalError::NotNext { .. }
        })
    ));
}

#[test]
fn a_record_in_a_newer_segment_than_the_state_knows_is_found() {
    let (mut bench, old) = Bench::with_records(2);
    let mut rolled = old.clone();
    for position in &mut rolled.copies {
        let index = bench.journal.index_of(0, position.copy).expect("a place");
        position.segment = bench.journal.new_segment(index, 1, 4096).expect("a segment").0;
        position.end_bytes = 4096;
    }
    bench.journal.append(&rolled, &body(3)).expect("an append");
    bench.reopen();
    let tail = bench.journal.tail(&old).expect("a tail");
    let record = tail.next.expect("ahead");
    assert_eq!(record.body, body(3));
    assert!(
        tail.state.copies.iter().all(|copy| copy.segment == 2),
        "it goes on there"
    );
    let state = bench.journal.restate(&tail.state, &record).expect("restated");
    assert_eq!(bench.journal.tail(&state).expect("a tail").next, None);
}
