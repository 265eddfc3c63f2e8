//! Damaged, torn, cut and missing copies.

use super::*;
use crate::error::JournalError;

/// Two records of one sector each; three other copies are whole. Room that was made ahead is cut off: it makes no
/// difference, and reading it some ten thousand times takes long.
#[test]
fn every_cut_and_every_flipped_byte_of_one_copy_leaves_the_chain_whole() {
    let (bench, state) = Bench::with_records(2);
    let path = bench.path(1, 1);
    let end = usize::try_from(state.position(0, 1).expect("a copy").end_bytes).expect("small");
    for copy in 0..4 {
        let file = HostStorage
            .open(&bench.path(copy, 1), FileAccess::ReadWrite)
            .expect("a segment");
        file.set_len(end as u64).expect("cut");
    }
    let whole = read_file(&path);
    let check = |what: &str, at: usize| {
        let journal = open(&bench.storage, bench.root.path());
        let scan = journal.scan().expect("a scan");
        assert_eq!(scan.head, Some(Head::of(&state)), "{what} at {at}");
        assert_eq!(
            (scan.chain().len(), &scan.forks[..]),
            (2, &[][..]),
            "{what} at {at}"
        );
        let tail = journal.tail(&state).expect("a tail");
        assert_eq!(tail.next, None, "{what} at {at}");
        assert!(tail.state.copies.len() >= 3, "{what} at {at}");
        for epoch in [1, 2] {
            let record = journal.read(&scan, Epoch::new(epoch)).expect("a record");
            assert_eq!(record.body, body(epoch), "{what} at {at}");
        }
    };
    for (at, byte) in whole.iter().enumerate() {
        let file = HostStorage.open(&path, FileAccess::ReadWrite).expect("a segment");
        file.write_all_at(at as u64, &[byte ^ 0x40]).expect("written");
        check("a flipped byte", at);
        file.write_all_at(at as u64, &[*byte]).expect("written");
    }
    for at in (0..end).rev() {
        let file = HostStorage.open(&path, FileAccess::ReadWrite).expect("a segment");
        file.set_len(at as u64).expect("cut");
        check("a cut", at);
    }
}

#[test]
fn a_record_torn_on_all_copies_is_passed_over_and_never_written_over() {
    // Torn in every way: which of its three sectors have arrived.
    let long = vec![0xaa; 9000];
    for arrived in 0..7_u8 {
        let (mut bench, old) = Bench::with_records(2);
        let new = bench.journal.append(&old, &long).expect("an append");
        for copy in 0..4 {
            let position = old.position(0, copy).expect("a copy");
            let file = HostStorage
                .open(&bench.path(copy, 1), FileAccess::ReadWrite)
                .expect("a segment");
            for sector in (0..3).filter(|sector| arrived & (1 << sector) == 0) {
                file.write_all_at(position.end_bytes + sector * 4096, &[0; 4096])
                    .expect("zeros");
            }
        }
        bench.reopen();
        let before = read_file(&bench.path(0, 1));
        let tail = bench.journal.tail(&old).expect("a tail");
        assert_eq!(tail.next, None, "{arrived:03b}");
        assert_eq!(tail.state.copies.len(), 4);
        let last = u64::from(8 - arrived.leading_zeros());
        for (copy, was) in tail.state.copies.iter().zip(&old.copies) {
            assert_eq!(copy.end_bytes, was.end_bytes + last * 4096, "{arrived:03b}");
        }
        assert_eq!(tail.findings.is_empty(), arrived == 0, "torn bytes are told");
        let state = bench.journal.append(&tail.state, &body(3)).expect("an append");
        let after = read_file(&bench.path(0, 1));
        let kept = usize::try_from(tail.state.copies[0].end_bytes).expect("small");
        assert_eq!(before[..kept], after[..kept], "nothing is written over");
        assert_ne!(state.hash, new.hash);
        assert_chain(&bench.journal, &bench.journal.scan().expect("a scan"), 3);
    }
}

#[test]
fn missing_short_foreign_and_misplaced_segments_get_no_position_and_are_healed() {
    let (mut bench, state) = Bench::with_records(4);
    HostStorage.remove_file(&bench.path(0, 1)).expect("removed");
    let other = read_file(&bench.path(3, 1));
    write_file(&bench.path(1, 1), &other);
    let file = HostStorage
        .open(&bench.path(2, 1), FileAccess::ReadWrite)
        .expect("a segment");
    file.set_len(5000).expect("cut");
    bench.reopen();
    let tail = bench.journal.tail(&state).expect("a tail");
    assert_eq!(tail.next, None);
    assert_eq!(tail.state.copies, [state.copies[3]]);
    let faults: Vec<&JournalFault> = tail.findings.iter().map(|finding| &finding.fault).collect();
    assert!(
        matches!(
            faults[..],
            [
                JournalFault::SegmentMissing,
                JournalFault::SegmentForeign { .. },
                JournalFault::SegmentShort { len_bytes: 5000, .. }
            ]
        ),
        "{faults:?}"
    );
    let scan = bench.journal.scan().expect("a scan");
    assert_chain(&bench.journal, &scan, 4);
    let healed = bench.journal.heal(&scan, &tail.state).expect("healed");
    let segments: Vec<u32> = healed.copies.iter().map(|copy| copy.segment).collect();
    // The number of the lost one is not given again, although it is free: the catalog names it until it is told otherwise.
    assert_eq!(segments, [2, 2, 2, 1]);
    let state = bench.journal.append(&healed, &body(5)).expect("an append");

    // The last whole copy may go now.
    HostStorage.remove_file(&bench.path(3, 1)).expect("removed");
    bench.reopen();
    assert_chain(&bench.journal, &bench.journal.scan().expect("a scan"), 5);
    assert_eq!(bench.journal.tail(&state).expect("a tail").state.copies.len(), 3);
}

#[test]
fn healing_makes_a_lost_directory_but_not_a_lost_volume() {
    let (mut bench, state) = Bench::with_records(3);
    HostStorage.remove_file(&bench.path(0, 1)).expect("removed");
    let gone = bench.root.path().join("journal/gone");
    HostStorage
        .rename(
            &bench.root.path().join("journal/c0"),
            &gone,
            crate::storage::Replace::Never,
        )
        .expect("renamed");
    bench.reopen();
    let scan = bench.journal.scan().expect("a scan");
    assert!(
        scan.findings
            .iter()
            .any(|finding| finding.fault == JournalFault::NoDirectory)
    );
    let healed = bench.journal.heal(&scan, &state).expect("healed");
    assert_eq!(healed.copies.len(), 4);
    assert_eq!(healed.copies[0].segment, 2, "above the number that the state has");

    let mut places = places(bench.root.path(), 4);
    places[0].directory = bench.root.path().join("not/mounted/journal/c0");
    let journal = Journal::new(Arc::<FailingStorage>::clone(&bench.storage), ARCHIVE, places);
    let scan = journal.scan().expect("a scan");
    let healed = journal.heal(&scan, &state).expect("three copies");
    assert_eq!(healed.copies.len(), 3);
    assert!(HostStorage.inspect(&bench.root.path().join("not")).is_err());
}

#[test]
fn a_journal_that_ends_before_the_catalog_is_not_healed() {
    let (bench, old) = Bench::with_records(2);
    let copies: Vec<Vec<u8>> = (0..4).map(|copy| read_file(&bench.path(copy, 1))).collect();
    let new = bench.journal.append(&old, &body(3)).expect("an append");
    for (copy, bytes) in (0..4).zip(&copies) {
        write_file(&bench.path(copy, 1), bytes);
    }
    let scan = bench.journal.scan().expect("a scan");
    let error = bench.journal.heal(&scan, &new).expect_err("behind");
    assert!(
        matches!(error, JournalError::Behind { journal, catalog }
            if (journal.epoch.get(), catalog.epoch.get()) == (2, 3)),
        "{error:?}"
    );
}

#[test]
fn a_record_lost_on_all_copies_cuts_the_chain_and_is_told() {
    let (mut bench, _) = Bench::with_records(5);
    let scan = bench.journal.scan().expect("a scan");
    for spot in &scan.entry(Epoch::new(3)).expect("a record").spots {
        let file = HostStorage.open(&bench.path(spot.place.copy, 1), FileAccess::ReadWrite);
        let file = file.expect("a segment");
        file.write_all_at(spot.offset + 20, &[0xff; 4]).expect("written");
    }
    bench.reopen();
    let scan = bench.journal.scan().expect("a scan");
    assert_eq!(scan.head.map(|head| head.epoch.get()), Some(5));
    assert_eq!(scan.first_epoch, Some(Epoch::new(4)));
    assert_eq!(scan.forks, []);
    let older: Vec<(u64, u64)> = scan
        .older
        .iter()
        .map(|part| (part.first.get(), part.head.epoch.get()))
        .collect();
    assert_eq!(older, [(1, 2)]);
    assert!(matches!(
        bench.journal.read(&scan, Epoch::new(2)),
        Err(JournalError::NotInChain { .. })
    ));
}

#[test]
fn newer_records_that_do_not_follow_the_state_are_told() {
    let (mut bench, old) = Bench::with_records(2);
    let state = bench.journal.append(&old, &body(3)).expect("an append");
    bench.journal.append(&state, &body(4)).expect("an append");
    for position in &old.copies {
        let file = HostStorage.open(&bench.path(position.copy, 1), FileAccess::ReadWrite);
        let file = file.expect("a segment");
        file.write_all_at(position.end_bytes + 20, &[0xff; 4])
            .expect("written");
    }
    bench.reopen();
    let tail = bench.journal.tail(&old).expect("a tail");
    assert_eq!(tail.next, None);
    let told = tail.findings.iter().filter(
        |finding| matches!(finding.fault, JournalFault::Unconnected { head, .. } if head.epoch.get() == 4),
    );
    assert_eq!(told.count(), 4);
}

#[test]
fn copies_that_cannot_be_read_get_no_position() {
    let (mut bench, state) = Bench::with_records(2);
    bench.reopen();
    bench.storage.fail(|call, path| {
        let is_it = call == failing::Call::Read && path.ends_with("c1/00000001.bfj");
        is_it.then_some(std::io::ErrorKind::Other)
    });
    let tail = bench.journal.tail(&state).expect("a tail");
    assert_eq!(tail.state.copies.len(), 3);
    assert!(matches!(tail.findings[0].fault, JournalFault::Unreadable { .. }));
    let scan = bench.journal.scan().expect("a scan");
    assert_chain(&bench.journal, &scan, 2);
    let healed = bench.journal.heal(&scan, &tail.state).expect("healed");
    assert_eq!(healed.copies[1].segment, 2);
}
