//! Damage at rest: what the oracle says is what reads, restores, `verify` and `scrub` must say.

pub mod chart;
mod frames;
mod groups;
pub mod hurt;
pub mod oracle;
mod partial;
mod repair;
mod under_way;

use std::{ops::Range, path::PathBuf};

use bfdb::{
    archive::{DamagePart, RestoreOptions},
    error::ReadError,
    host::RestoreTarget,
};
use bfdb_fault_injection::{Seeded, damage};

use crate::support::{DATA, LEAF, PARITY, SEGMENT, SEGMENTED_BELOW, TINY_BELOW, edge_lengths, name};

use hurt::hurt;
use oracle::{BLOCKED, Bench, Expected, Frame};

fn random_damage(lengths: &[u64], seeds: Range<u64>) {
    let bench = Bench::new(lengths);
    let (mut lost, mut degraded) = (0, 0);
    for seed in seeds {
        let mut seeded = Seeded::new(seed);
        (0..=seeded.below(6)).for_each(|_| hurt(&bench, &mut seeded));
        let story = format!("seed {seed}, lengths {lengths:?}");
        let expected = bench.check(&story);
        if seed % 4 == 0 {
            bench.check_restore(&expected, &story);
        }
        if seed % 4 == 1 {
            bench.check_partial_restore(&expected, &story);
        }
        lost += usize::from(expected.files.values().any(|file| !file.1.is_empty()));
        degraded += usize::from(expected.files.values().any(|file| file.1.is_empty()));
        bench.mend();
    }
    assert!(
        lost > 0 && degraded > 0,
        "{lost} lost, {degraded} degraded: the damage is too much or too little"
    );
    bench.check("after mending everything");
}

#[test]
fn random_damage_of_tiny_files_is_served_around_or_named_exactly() {
    random_damage(&[1, LEAF, LEAF + 1, 3 * LEAF + 77, TINY_BELOW - 1], 1000..1120);
}

#[test]
fn random_damage_of_segmented_files_is_served_around_or_named_exactly() {
    random_damage(
        &[TINY_BELOW, 2 * SEGMENT + 1, 5 * SEGMENT - 7, SEGMENTED_BELOW - 1],
        2000..2120,
    );
}

#[test]
fn random_damage_of_blocked_files_is_served_around_or_named_exactly() {
    random_damage(&[SEGMENTED_BELOW, BLOCKED, 200_000], 3000..3130);
}

#[test]
fn random_damage_of_all_tiers_side_by_side_is_served_around_or_named_exactly() {
    random_damage(
        &[0, 63, 5000, TINY_BELOW + 1, SEGMENTED_BELOW + 1, 6 * 24 * LEAF],
        4000..4080,
    );
}

/// Frames that are read together, more of them than at once.
#[test]
fn random_damage_of_many_short_files_is_served_around_or_named_exactly() {
    let lengths: Vec<u64> = (0..90).map(|index| 1 + 13 * index).collect();
    random_damage(&lengths, 6000..6040);
}

#[test]
fn random_damage_of_every_edge_length_is_served_around_or_named_exactly() {
    random_damage(&edge_lengths(), 5000..5012);
}

fn one_file(len: u64) -> Bench {
    Bench::new(&[len])
}

fn lost_of(expected: &Expected) -> Vec<Range<u64>> {
    expected
        .files
        .get("f0")
        .map_or_else(Vec::new, |file| file.1.clone())
}

#[test]
fn a_byte_flipped_at_a_random_place_of_every_extent_in_turn_is_served_right() {
    let bench = Bench::new(&[63, TINY_BELOW - 1, 5 * SEGMENT - 7, BLOCKED]);
    for (seed, path) in (0..).zip(bench.extents.keys().cycle().take(4 * bench.extents.len())) {
        let at = damage::flip_random_byte(path, &mut Seeded::new(seed)).unwrap();
        let expected = bench.check(&format!("{} at {at}", path.display()));
        assert!(expected.files.values().all(|file| file.1.is_empty()));
        bench.mend();
    }
}

#[test]
fn any_extents_up_to_the_parity_count_may_be_deleted() {
    let bench = Bench::new(&[LEAF, TINY_BELOW, BLOCKED, 200_000]);
    let paths: Vec<&PathBuf> = bench.extents.keys().collect();
    assert_eq!(
        paths.len(),
        usize::from(DATA + PARITY),
        "one extent for each lane"
    );
    for first in 0..paths.len() {
        for step in [1, 2, 4] {
            for index in 0..usize::from(PARITY) {
                drop(damage::delete(paths[(first + index * step) % paths.len()]));
            }
            let expected = bench.check(&format!("from {first} in steps of {step}"));
            assert!(expected.files.values().all(|file| file.1.is_empty()));
            bench.mend();
        }
    }
}

#[test]
fn one_leaf_more_than_the_parity_count_is_exactly_the_lost_range() {
    let bench = one_file(BLOCKED);
    let block = bench.frames_of("f0", 2);
    for shard in [0, 7, 8] {
        damage::delete(&block[shard].extent).unwrap();
    }
    assert_eq!(lost_of(&bench.check("as many as the code survives")), []);
    block[3].flip(block[3].leaf(1).start..block[3].leaf(1).start + 1);
    let mut lost = [block[0].in_file(1), block[3].in_file(1)].map(|range| range.unwrap());
    lost.sort_by_key(|range| range.start);
    assert_eq!(lost_of(&bench.check("and one leaf")), lost);
    let read = bench.store.get("f0");
    let Err(ReadError::Lost {
        range,
        block,
        bad,
        tolerated,
        ..
    }) = read
    else {
        panic!("{read:?}");
    };
    assert_eq!(
        (range.start()..range.end(), block.get(), bad, tolerated),
        (lost[0].clone(), 2, 4, 3)
    );
}

#[test]
fn the_highest_segment_a_whole_block_of_parity_and_all_parity_may_be_gone() {
    let bench = one_file(BLOCKED);
    for block in 0..=bench.frames.iter().map(|frame| frame.block).max().unwrap() {
        let frames = bench.frames_of("f0", block);
        let highest = frames.iter().rfind(|frame| frame.shard < DATA).unwrap();
        highest.flip(0..highest.layout.content_len_bytes());
    }
    assert_eq!(lost_of(&bench.check("the highest segment of every block")), []);
    bench.mend();
    for frame in bench.frames.iter().filter(|frame| frame.shard >= DATA) {
        frame.flip(0..frame.layout.content_len_bytes());
    }
    let expected = bench.check("all parity");
    assert_eq!(
        lost_of(&expected),
        [],
        "the predecessor called this unrecoverable, or healthy"
    );
    assert_eq!(
        expected.files["f0"].0,
        u64::from(PARITY) * (bench.frames.last().unwrap().block + 1)
    );
}

/// The tables of m shards are decoded from the table column.
#[test]
fn leaf_tables_of_as_many_shards_as_the_code_survives_may_be_destroyed() {
    let bench = one_file(BLOCKED);
    let block = bench.frames_of("f0", 1);
    for shards in [[0, 1, 2], [3, 4, 5], [0, 5, 6], [6, 7, 8], [2, 4, 8]] {
        for frame in shards.map(|shard: usize| &block[shard]) {
            frame.flip_tables();
            frame.flip(frame.leaf(0).start..frame.leaf(0).start + 1);
        }
        assert_eq!(
            lost_of(&bench.check(&format!("tables and a leaf of {shards:?}"))),
            []
        );
        bench.mend();
    }
}

/// Scrub once called every byte of such shards lost, although hashing them proves each.
#[test]
fn tables_of_more_shards_than_parity_cost_nothing_while_payloads_are_whole() {
    let bench = one_file(BLOCKED);
    let block = bench.frames_of("f0", 1);
    for count in [4, 6, 9] {
        block[..count].iter().for_each(Frame::flip_tables);
        let expected = bench.check(&format!("{count} tables"));
        assert_eq!(lost_of(&expected), []);
        assert!(
            expected
                .findings
                .iter()
                .all(|finding| finding.4 == DamagePart::Table)
        );
        bench.mend();
    }
}

/// The table of a shard with a bad leaf was once not decoded when another had to be found by hashing its shard.
#[test]
fn a_shard_that_lost_its_tables_but_no_leaf_still_helps_to_decode_the_tables_of_others() {
    let bench = one_file(BLOCKED);
    let block = bench.frames_of("f0", 1);
    block[..6].iter().for_each(Frame::flip_tables);
    for frame in &block[..3] {
        frame.flip(frame.leaf(2).start..frame.leaf(2).start + 1);
    }
    assert_eq!(lost_of(&bench.check("six tables, three of them by hashing")), []);
}

/// Leaves that nothing can prove were once counted as decodable by scrub, and verify failed with a wrong root.
#[test]
fn a_shard_whose_table_is_beyond_decoding_is_lost_as_a_whole_and_no_other_is() {
    let bench = one_file(BLOCKED);
    let block = bench.frames_of("f0", 1);
    for parity in &block[usize::from(DATA)..] {
        let table_slice = parity.leaf(parity.leaf_count() - 1);
        parity.flip(table_slice.start..table_slice.start + 1);
    }
    for frame in &block[1..3] {
        frame.flip(frame.leaf(1).start..frame.leaf(1).start + 1);
    }
    block[1].flip_tables();
    let expected = bench.check("three table slices, one table, one leaf of its shard");
    let (first, last) = (block[1].in_file(0).unwrap(), block[1].in_file(3).unwrap());
    assert_eq!(
        lost_of(&expected),
        vec![Range {
            start: first.start,
            end: last.end
        }]
    );
}

/// A data shard of one leaf needs no table: the catalog has its hash. It once counted as a lost table when its extent was
/// gone, and so cost bytes in the report.
#[test]
fn a_shard_of_one_leaf_never_loses_its_table() {
    let bench = one_file(SEGMENTED_BELOW);
    let block: Vec<Frame> = bench.frames.clone();
    let short: Vec<&Frame> = block.iter().filter(|frame| frame.leaf_count() == 1).collect();
    assert!(
        !short.is_empty(),
        "100 leaves in 17 columns of 6 leave a short shard"
    );
    for frame in short {
        damage::delete(&frame.extent).unwrap();
        let others = bench.frames_of("f0", frame.block);
        for other in others.iter().filter(|other| other.leaf_count() > 1).take(3) {
            other.flip_tables();
            other.flip(other.leaf(1).start..other.leaf(1).start + 1);
        }
        assert_eq!(lost_of(&bench.check("a short shard and three tables")), []);
        bench.mend();
    }
}

#[test]
fn every_shard_of_a_block_may_be_damaged_in_another_column() {
    let bench = one_file(BLOCKED);
    for frame in bench.frames_of("f0", 3) {
        let column = u32::from(frame.shard) % frame.leaf_count().min(4);
        frame.flip(frame.leaf(column).start..frame.leaf(column).end);
    }
    assert_eq!(lost_of(&bench.check("nine shards, four columns")), []);
}

#[test]
fn all_four_replicas_may_be_damaged_in_different_leaves() {
    for len in [TINY_BELOW - 1, 2 * SEGMENT] {
        let bench = one_file(len);
        for frame in bench.frames_of("f0", 0) {
            frame.flip(frame.leaf(u32::from(frame.shard) * 2));
        }
        assert_eq!(lost_of(&bench.check("four replicas")), []);
    }
}

/// One whole replica proves the table for all. Restoring once failed with a wrong root here, and verify with an error.
#[test]
fn a_replica_that_is_whole_makes_up_for_all_leaf_tables() {
    let bench = one_file(TINY_BELOW - 1);
    for frame in bench.frames_of("f0", 0) {
        frame.flip_tables();
        if frame.shard != 2 {
            let leaf = frame.leaf(u32::from(frame.shard));
            frame.flip(leaf.start..leaf.start + 1);
        }
    }
    let expected = bench.check("no table, one whole payload");
    assert_eq!(lost_of(&expected), []);
    let columns: Vec<&[u32]> = expected.findings.iter().map(|finding| &finding.3[..]).collect();
    assert_eq!(
        columns,
        [&[0][..], &[1], &[], &[3]],
        "each finding names the leaf that is bad, no more"
    );
    let target = RestoreTarget::open(&bench.store.dir.path().join("out")).unwrap();
    let snapshot = bench.store.archive.snapshot().unwrap();
    drop(
        snapshot
            .restore(&name("f0"), &target, &RestoreOptions::default(), &())
            .unwrap(),
    );
}
