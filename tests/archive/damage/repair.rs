//! Repair: what the codes survive is whole again, what they do not is named and otherwise left alone.

use std::collections::BTreeMap;

use bfdb::archive::{RepairOptions, RepairReport};
use bfdb_fault_injection::Seeded;

use super::{
    hurt::{flip_in, hurt},
    lost_of, one_file,
    oracle::{BLOCKED, Bench, Expected, Frame},
};
use crate::support::{DATA, LEAF, PARITY, SEGMENT, SEGMENTED_BELOW, TINY_BELOW};

/// The lost bytes of each file that has lost any.
fn losses(expected: &Expected) -> BTreeMap<String, Vec<std::ops::Range<u64>>> {
    let lost = expected.files.iter().filter(|(_, (_, lost))| !lost.is_empty());
    lost.map(|(file, (_, lost))| (file.clone(), lost.clone()))
        .collect()
}

/// Scrubs, repairs and looks again: at what is there now, as an archive that was never anything else.
pub fn repaired(bench: Bench, story: &str) -> (Bench, RepairReport, Expected) {
    let before = bench.expected();
    drop(bench.store.archive.scrub(&()).unwrap());
    let report = bench
        .store
        .archive
        .repair(&RepairOptions::default(), &())
        .unwrap();
    let lost_now: BTreeMap<String, Vec<std::ops::Range<u64>>> = (report.damage.iter())
        .filter(|file| !file.lost.is_empty())
        .map(|file| {
            let lost = file.lost.iter().map(|range| range.start()..range.end());
            (file.name.to_string(), lost.collect())
        })
        .collect();
    assert_eq!(lost_now, losses(&before), "what stays lost, {story}");
    if losses(&before).is_empty() {
        assert_eq!(report.damage, [], "what stays damaged, {story}");
        let scrubbed = bench.store.archive.scrub(&()).unwrap();
        assert_eq!(scrubbed.damage, [], "a second scrub, {story}");
    }
    let nothing = bench
        .store
        .archive
        .repair(&RepairOptions::default(), &())
        .unwrap();
    assert_eq!(
        (nothing.shards_repaired, nothing.bytes_written),
        (0, 0),
        "a second repair, {story}"
    );
    assert_eq!(nothing.damage, report.damage, "{story}");
    for file in bench.contents.keys() {
        let lost = losses(&before).remove(file).unwrap_or_default();
        bench.check_positional_reads(file, &lost, story);
        bench.check_sequential_read(file, &lost, story);
    }
    (bench, report, before)
}

fn random_damage(lengths: &[u64], seeds: std::ops::Range<u64>) {
    let (mut whole, mut lost, mut shards) = (0, 0, 0);
    for seed in seeds {
        let bench = Bench::new(lengths);
        let mut seeded = Seeded::new(seed);
        (0..=seeded.below(6)).for_each(|_| hurt(&bench, &mut seeded));
        let story = format!("seed {seed}, lengths {lengths:?}");
        let (bench, report, before) = repaired(bench, &story);
        shards += report.shards_repaired;
        if losses(&before).is_empty() {
            whole += 1;
            tolerates_all_losses_again(bench, &mut seeded, &story);
        } else {
            lost += 1;
        }
    }
    assert!(whole > 0 && lost > 0 && shards > 0, "{whole} {lost} {shards}");
}

/// Deletes as many shards of each block as its code survives, from what was repaired.
fn tolerates_all_losses_again(bench: Bench, seeded: &mut Seeded, story: &str) {
    let bench = bench.looked_at_again();
    let mut frames: BTreeMap<(String, u64), Vec<&Frame>> = BTreeMap::new();
    for frame in bench.all_frames() {
        frames
            .entry((frame.file.clone(), frame.block))
            .or_default()
            .push(frame);
    }
    for block in frames.values() {
        let mut order: Vec<usize> = (0..block.len()).collect();
        seeded.shuffle(&mut order);
        let parity = usize::from(block[0].geometry.shape().parity());
        for &index in order.iter().take(parity) {
            let frame = block[index];
            (0..frame.leaf_count()).for_each(|column| flip_in(frame, |frame| frame.leaf(column)));
        }
    }
    let expected = bench.check(&format!("all losses again, {story}"));
    assert_eq!(losses(&expected), BTreeMap::new(), "{story}");
}

#[test]
fn random_damage_of_tiny_files_is_repaired_or_stays_named() {
    random_damage(&[1, LEAF, LEAF + 1, 3 * LEAF + 77, TINY_BELOW - 1], 1000..1040);
}

#[test]
fn random_damage_of_segmented_files_is_repaired_or_stays_named() {
    random_damage(
        &[TINY_BELOW, 2 * SEGMENT + 1, 5 * SEGMENT - 7, SEGMENTED_BELOW - 1],
        2000..2040,
    );
}

#[test]
fn random_damage_of_blocked_files_is_repaired_or_stays_named() {
    random_damage(&[SEGMENTED_BELOW, BLOCKED, 200_000], 3000..3040);
}

#[test]
fn every_shard_may_be_damaged_somewhere_while_no_column_has_too_much() {
    let bench = one_file(BLOCKED);
    let block = bench.frames_of("f0", 1);
    for (frame, index) in block.iter().zip(0_u32..) {
        let column = index / u32::from(PARITY) % frame.leaf_count();
        flip_in(frame, |frame| frame.leaf(column));
    }
    let (_, report, before) = repaired(bench, "every shard");
    assert_eq!(lost_of(&before), []);
    assert_eq!(report.shards_repaired, u64::from(DATA + PARITY));
    assert_eq!(report.files_repaired, 1);
}
