//! Two records of one epoch: abandoned, or an archive that went two ways.

use super::*;
use crate::error::JournalError;

#[test]
fn copies_of_two_archives_with_a_common_past_are_a_fork_with_both_heads() {
    for lengths in [(1, 1), (1, 3), (3, 1)] {
        let (bench, common) = Bench::with_records(2);
        let before: Vec<Vec<u8>> = (0..4).map(|copy| read_file(&bench.path(copy, 1))).collect();
        let extend = |count: u8, mark: u8| {
            let journal = open(&bench.storage, bench.root.path());
            let mut state = common.clone();
            for step in 0..count {
                state = journal.append(&state, &[mark, step]).expect("an append");
            }
            state
        };
        let one = extend(lengths.0, 1);
        let of_one: Vec<Vec<u8>> = (0..4).map(|copy| read_file(&bench.path(copy, 1))).collect();
        (0..4)
            .zip(&before)
            .for_each(|(copy, bytes)| write_file(&bench.path(copy, 1), bytes));
        let two = extend(lengths.1, 2);
        // Two copies of each.
        (0..2)
            .zip(&of_one)
            .for_each(|(copy, bytes)| write_file(&bench.path(copy, 1), bytes));

        let journal = open(&bench.storage, bench.root.path());
        let scan = journal.scan().expect("a scan");
        let [fork] = scan.forks[..] else {
            panic!("{lengths:?}: {scan:?}");
        };
        let mut heads = [fork.first, fork.second];
        heads.sort_unstable();
        let mut expected = [Head::of(&one), Head::of(&two)];
        expected.sort_unstable();
        assert_eq!(heads, expected, "{lengths:?}");
        assert!(matches!(
            journal.heal(&scan, &one),
            Err(JournalError::Forked { .. })
        ));
        assert!(
            matches!(journal.tail(&common), Err(JournalError::Forked { .. })),
            "{lengths:?}"
        );
    }
}

/// A copy cannot be read while the archive goes on without it; it has a record that nobody else has.
#[test]
fn a_record_in_a_copy_that_was_abandoned_is_not_a_fork() {
    for later in 0..3 {
        let (mut bench, old) = Bench::with_records(2);
        let alone = Journal::new(
            Arc::<FailingStorage>::clone(&bench.storage),
            ARCHIVE,
            places(bench.root.path(), 1),
        );
        let only = JournalState {
            copies: old.copies[..1].to_vec(),
            ..old.clone()
        };
        let stub = alone.append(&only, b"stub").expect("an append");
        let rest = JournalState {
            copies: old.copies[1..].to_vec(),
            ..old.clone()
        };
        let mut state = bench.journal.append(&rest, &body(3)).expect("an append");
        for epoch in 4..4 + later {
            state = bench.journal.append(&state, &body(epoch)).expect("an append");
        }
        bench.reopen();
        let scan = bench.journal.scan().expect("a scan");
        assert_chain(&bench.journal, &scan, 3 + later);
        assert_eq!(scan.abandoned, [Head::of(&stub)]);
        // The catalog has not heard of either: the same choice.
        let tail = bench.journal.tail(&old).expect("a tail");
        assert_eq!(tail.next.expect("ahead").body, body(3));
        let healed = bench.journal.heal(&scan, &state).expect("healed");
        assert_eq!(healed.copies.len(), 4);
        let state = bench
            .journal
            .append(&healed, &body(4 + later))
            .expect("an append");
        assert_eq!(state.copies.len(), 4);
        assert_chain(&bench.journal, &bench.journal.scan().expect("a scan"), 4 + later);
    }
}

#[test]
fn a_catalog_of_another_past_is_not_healed_into_this_one() {
    let (bench, common) = Bench::with_records(2);
    let other = Bench::new();
    other.journal.create().expect("a new journal");
    let ours = bench.journal.append(&common, &body(3)).expect("an append");
    for copy in 0..4 {
        write_file(&other.path(copy, 1), &read_file(&bench.path(copy, 1)));
    }
    let foreign = JournalState {
        hash: crate::merkle::ChainHash::from_bytes([3; 32]),
        ..ours
    };
    let scan = other.journal.scan().expect("a scan");
    assert!(matches!(
        other.journal.heal(&scan, &foreign),
        Err(JournalError::Forked { .. })
    ));
}
