//! Commits of grouped files that are interrupted: outer parity of the group that was open is right all the same.

use std::collections::BTreeMap;

use bfdb::{Resources, geometry::FileGeometry, storage::Medium, units::ByteRange};
use bfdb_fault_injection::damage;

use super::{Bench, check_finished, interrupted, resources};
use crate::stop_after::StopAfter;
use crate::{
    damage::chart::frames_of,
    support::{DATA, LEAF, OUTER_PARITY, Store, get, grouped_policy, name},
};

/// Bytes of the file in a block.
const BLOCK: u64 = DATA as u64 * 2 * LEAF;

/// Eight groups of three and four blocks, the last of which is short.
const LEN: u64 = 26 * BLOCK - 777;

fn bench() -> Bench {
    bench_on(Medium::Solid)
}

fn bench_on(medium: Medium) -> Bench {
    let resources = Resources {
        medium: Some(medium),
        ..resources()
    };
    let bench = Bench::of(Store::in_memory(grouped_policy(), resources), LEN);
    let geometry = FileGeometry::new(LEN, bench.archive().policy());
    assert_eq!((geometry.group_count(), geometry.data_block_count()), (8, 26));
    bench
}

/// Loses as many blocks of each group as it has outer parity, the first ones or others, and reads the file.
fn check_outer_parity(bench: &Bench, first: u64, story: &str) {
    let geometry = FileGeometry::new(LEN, bench.archive().policy());
    let contents = BTreeMap::from([("file".to_owned(), bench.content.clone())]);
    let frames = frames_of(&bench.store, &contents);
    for group in geometry.groups() {
        let lost = group.data_blocks().start + first..;
        let lost: Vec<u64> = lost.take(usize::from(OUTER_PARITY)).collect();
        for frame in frames.iter().filter(|frame| lost.contains(&frame.block)) {
            let range = ByteRange::at(frame.offset, frame.layout.total_len_bytes());
            damage::zero_range(&frame.extent, range.unwrap()).unwrap();
        }
    }
    let read = get(bench.archive(), "file");
    assert!(read.unwrap() == bench.content, "O1: {story}");
}

/// Interrupts a commit after so many events, and goes on with it in another process.
fn check_interrupted(bench: Bench, events: u64, story: &str) {
    let (commit, _) = bench.interrupt(events);
    let (bench, _) = bench.reopen();
    let outcome = bench.archive().resume(commit, &StopAfter::never());
    drop(outcome.unwrap());
    check_finished(bench.archive(), &bench.content, story);
    check_outer_parity(&bench, events % 2, story);
}

#[test]
fn a_grouped_file_that_is_interrupted_anywhere_is_finished_with_the_right_outer_parity() {
    for events in (0..42).step_by(3) {
        check_interrupted(bench(), events, &format!("after {events} events"));
    }
}

#[test]
fn a_grouped_file_that_is_interrupted_shard_by_shard_is_finished_with_the_right_outer_parity() {
    // A shard is an event here, and what is gone on with goes on column by column.
    for events in (1..130).step_by(9) {
        let bench = bench_on(Medium::Rotating);
        check_interrupted(bench, events, &format!("after {events} shards"));
    }
}

#[test]
fn a_grouped_file_that_is_interrupted_again_and_again_is_finished_in_the_end() {
    let bench = bench();
    let (commit, mut done) = bench.interrupt(5);
    loop {
        match bench.archive().resume(commit, &StopAfter::new(7)) {
            Ok(_) => break,
            stopped => {
                let (_, now) = interrupted(stopped);
                assert!(now >= done, "{now} after {done}");
                done = now;
            }
        }
    }
    check_finished(bench.archive(), &bench.content, "in the end");
    check_outer_parity(&bench, 0, "in the end");
}

#[test]
fn a_group_that_was_damaged_while_it_was_open_is_gone_on_with_or_stored_again() {
    for lost in [1, 3, 4, 9] {
        let bench = bench();
        let (commit, done) = bench.interrupt(18);
        assert!(done > 0);
        let (bench, _) = bench.reopen();
        // Of the last extents, so that the open group is among what is hit.
        for path in bench.store.extents().iter().rev().take(lost) {
            let len = std::fs::metadata(path).unwrap().len();
            let start = len.saturating_sub(30_000).max(4096);
            damage::zero_range(path, ByteRange::new(start, len).unwrap()).unwrap();
        }
        let story = format!("{lost} extents hit");
        drop(bench.archive().resume(commit, &StopAfter::never()).unwrap());
        let info = bench.archive().snapshot().unwrap().file(&name("file")).unwrap();
        assert_eq!(
            info.unwrap().root.to_bytes(),
            *blake3::hash(&bench.content).as_bytes(),
            "{story}"
        );
        assert!(
            get(bench.archive(), "file").unwrap() == bench.content,
            "O1: {story}"
        );
        check_outer_parity(&bench, 0, &story);
    }
}
