//! Damage of grouped files: what blocks can do for each other is done, and no more is promised.

use std::{collections::BTreeMap, ops::Range};

use bfdb::{archive::RepairOptions, geometry::GroupGeometry};
use bfdb_fault_injection::Seeded;

use super::{
    hurt::{flip_in, hurt},
    oracle::{Bench, Frame, ShardState},
    repair::repaired,
};
use crate::support::{DATA, LEAF, OUTER_PARITY, PARITY, SEGMENTED_BELOW, grouped_policy};

/// Bytes of the file in a block.
const BLOCK: u64 = DATA as u64 * 2 * LEAF;

/// Three groups of three blocks, the last of which is short.
const THREE_GROUPS: u64 = 9 * BLOCK - 3 * LEAF - 77;

/// What is known of the leaves of one group: what the codes are, applied until nothing new comes of it.
struct Closure<'a> {
    group: GroupGeometry,
    /// Frames and their states, by block in the order of the code.
    blocks: Vec<Vec<(&'a Frame, ShardState)>>,
    tables: Vec<Vec<bool>>,
    good: Vec<Vec<Vec<bool>>>,
}

impl Closure<'_> {
    fn settle(&mut self) {
        loop {
            let before = self.count();
            for position in 0..self.blocks.len() {
                self.look(position);
                self.inside(position);
            }
            for shard in 0..usize::from(DATA) {
                self.across(shard);
            }
            if self.count() == before {
                return;
            }
        }
    }

    fn count(&self) -> usize {
        let tables = self.tables.iter().flatten().filter(|known| **known).count();
        tables + self.good.iter().flatten().flatten().filter(|good| **good).count()
    }

    /// What stands there is good where a table says so.
    fn look(&mut self, position: usize) {
        for (index, (_, state)) in self.blocks[position].iter().enumerate() {
            self.tables[position][index] |= state.knows_its_table();
            for (column, is_whole) in state.leaves.iter().enumerate() {
                self.good[position][index][column] |= *is_whole && self.tables[position][index];
            }
        }
    }

    /// The index of a shard in its block, where it is stored.
    fn index(&self, position: usize, shard: usize) -> Option<usize> {
        self.blocks[position]
            .iter()
            .position(|(frame, _)| usize::from(frame.shard) == shard)
    }

    fn inside(&mut self, position: usize) {
        let frames: Vec<&Frame> = self.blocks[position].iter().map(|(frame, _)| *frame).collect();
        let geometry = frames[0].geometry;
        if let Some(table) = geometry.table_column().map(|column| column.get() as usize) {
            let has_slice = |index: usize| {
                if frames[index].shard < DATA {
                    self.tables[position][index]
                } else {
                    self.good[position][index][table]
                }
            };
            let gone = (0..frames.len()).filter(|index| !has_slice(*index)).count();
            if gone <= usize::from(PARITY) {
                for (index, frame) in frames.iter().enumerate() {
                    if frame.shard < DATA {
                        self.tables[position][index] = true;
                    } else {
                        self.good[position][index][table] |= self.tables[position][index];
                    }
                }
            }
        }
        for column in 0..geometry.column_count() as usize {
            let has_leaf = |index: &usize| column < self.good[position][*index].len();
            let bad: Vec<usize> = (0..frames.len())
                .filter(has_leaf)
                .filter(|index| !self.good[position][*index][column])
                .collect();
            if bad.len() <= usize::from(PARITY) {
                for index in bad {
                    self.good[position][index][column] = self.tables[position][index];
                }
            }
        }
    }

    fn across(&mut self, shard: usize) {
        let width = usize::from(self.group.code().data());
        let all = 0..self.blocks.len();
        for column in 0..self.group.columns() as usize {
            let bad: Vec<(usize, usize)> = (all.clone())
                .filter_map(|position| Some((position, self.index(position, shard)?)))
                .filter(|(position, index)| self.good[*position][*index].get(column) == Some(&false))
                .collect();
            if bad.len() <= usize::from(OUTER_PARITY) {
                for (position, index) in bad {
                    self.good[position][index][column] = self.tables[position][index];
                }
            }
        }
        let lacking: Vec<(usize, usize)> = (0..width)
            .filter_map(|position| Some((position, self.index(position, shard)?)))
            .filter(|(position, index)| !self.tables[*position][*index])
            .collect();
        let mut all_decode = true;
        let last = self.blocks[width][0].0.geometry.column_count() as usize;
        for column in self.group.columns() as usize..last {
            let bad: Vec<(usize, usize)> = (width..self.blocks.len())
                .filter_map(|position| Some((position, self.index(position, shard)?)))
                .filter(|(position, index)| !self.good[*position][*index][column])
                .collect();
            if lacking.len() + bad.len() > usize::from(OUTER_PARITY) {
                all_decode = false;
                continue;
            }
            for (position, index) in bad {
                self.good[position][index][column] = self.tables[position][index];
            }
        }
        if all_decode {
            for (position, index) in lacking {
                self.tables[position][index] = true;
            }
        }
        let is_had = |position: usize| {
            self.index(position, shard).is_none_or(|index| {
                self.tables[position][index] && self.good[position][index].iter().all(|good| *good)
            })
        };
        if (0..width).all(is_had) {
            for position in width..self.blocks.len() {
                let index = self.index(position, shard).unwrap();
                self.tables[position][index] = true;
                self.good[position][index].fill(true);
            }
        }
    }
}

impl Bench {
    /// The bytes that are lost of each block of a grouped file.
    pub fn lost_across_groups(
        &self,
        is_whole: impl Fn(&Frame, Range<u64>) -> bool,
    ) -> BTreeMap<(String, u64), Vec<Range<u64>>> {
        let mut lost = BTreeMap::new();
        let policy = self.store.archive.policy();
        for (file, content) in &self.contents {
            let geometry = bfdb::geometry::FileGeometry::new(content.len() as u64, policy);
            for group in geometry.groups() {
                let of_block = |block: bfdb::units::BlockIndex| -> Vec<(&Frame, ShardState)> {
                    let frames = self.frames.iter();
                    let frames = frames.filter(|frame| frame.file == *file && frame.block == block.get());
                    let state = |frame| ShardState::of(frame, |range| is_whole(frame, range));
                    frames.map(|frame| (frame, state(frame))).collect()
                };
                let blocks: Vec<_> = group.blocks().map(of_block).collect();
                let leaves = |(_, state): &(&Frame, ShardState)| vec![false; state.leaves.len()];
                let mut closure = Closure {
                    group,
                    tables: blocks.iter().map(|block| vec![false; block.len()]).collect(),
                    good: blocks
                        .iter()
                        .map(|block| block.iter().map(leaves).collect())
                        .collect(),
                    blocks,
                };
                closure.settle();
                for (position, index) in group.blocks().enumerate() {
                    let mut ranges = Vec::new();
                    for ((frame, _), good) in closure.blocks[position].iter().zip(&closure.good[position]) {
                        let bad = (0..frame.leaf_count()).filter(|column| !good[*column as usize]);
                        ranges.extend(bad.filter_map(|column| frame.in_file(column)));
                    }
                    ranges.sort_by_key(|range| range.start);
                    lost.insert((file.clone(), index.get()), ranges);
                }
            }
        }
        lost
    }

    /// Spoils whole blocks.
    pub fn spoil_blocks(&self, blocks: &[u64]) {
        let frames = self.frames.iter();
        frames
            .filter(|frame| blocks.contains(&frame.block))
            .for_each(spoil);
    }
}

/// Spoils a whole frame: nothing of it is as it was.
fn spoil(frame: &Frame) {
    if frame.leaf_count() > 1 {
        flip_in(frame, |_| Frame::header());
        flip_in(frame, Frame::footer);
    }
    flip_in(frame, |frame| frame.tables_or_header()[0].clone());
    flip_in(frame, |frame| frame.tables_or_header()[1].clone());
    (0..frame.leaf_count()).for_each(|column| flip_in(frame, |frame| frame.leaf(column)));
}

fn three_groups() -> Bench {
    let bench = Bench::with_policy(grouped_policy(), &[THREE_GROUPS]);
    let geometry = bfdb::geometry::FileGeometry::new(THREE_GROUPS, bench.store.archive.policy());
    assert_eq!((geometry.group_count(), geometry.data_block_count()), (3, 9));
    bench
}

#[test]
fn random_damage_of_grouped_files_is_served_around_or_named_exactly() {
    let bench = Bench::with_policy(
        grouped_policy(),
        &[SEGMENTED_BELOW, SEGMENTED_BELOW + 5 * LEAF + 1, THREE_GROUPS],
    );
    let (mut lost, mut degraded) = (0, 0);
    for seed in 7000..7060 {
        let mut seeded = Seeded::new(seed);
        (0..=seeded.below(6)).for_each(|_| hurt(&bench, &mut seeded));
        if seed % 2 == 0 {
            let frames = &bench.frames;
            let frame = &frames[seeded.index(frames.len())];
            let blocks = (0..=seeded.below(3)).map(|_| frame.block + seeded.below(5));
            let blocks: Vec<u64> = blocks.collect();
            let of_file = bench.frames.iter().filter(|other| other.file == frame.file);
            of_file
                .filter(|other| blocks.contains(&other.block))
                .for_each(spoil);
        }
        let story = format!("seed {seed}");
        let expected = bench.check(&story);
        match seed % 4 {
            0 => bench.check_restore(&expected, &story),
            1 => bench.check_partial_restore(&expected, &story),
            _ => {}
        }
        lost += usize::from(expected.files.values().any(|file| !file.1.is_empty()));
        degraded += usize::from(expected.files.values().any(|file| file.1.is_empty()));
        bench.mend();
    }
    assert!(lost > 0 && degraded > 0, "{lost} lost, {degraded} degraded");
    bench.check("after mending everything");
}

#[test]
fn random_losses_of_segments_are_served_around_or_named_exactly() {
    let bench = Bench::with_policy(grouped_policy(), &[SEGMENTED_BELOW + 7 * BLOCK, THREE_GROUPS]);
    let mut lost: BTreeMap<u64, u64> = BTreeMap::new();
    for percent in [2, 5, 7, 30, 60] {
        for seed in 0..4 {
            let mut seeded = Seeded::new(9500 + 100 * percent + seed);
            bench
                .frames
                .iter()
                .filter(|_| seeded.below(100) < percent)
                .for_each(spoil);
            let story = format!("{percent} % of all segments, seed {seed}");
            let expected = bench.check(&story);
            let lost_bytes =
                |file: &(_, Vec<Range<u64>>)| file.1.iter().map(|range| range.end - range.start).sum::<u64>();
            *lost.entry(percent).or_default() += expected.files.values().map(lost_bytes).sum::<u64>();
            match seed {
                0 => bench.check_restore(&expected, &story),
                1 => bench.check_partial_restore(&expected, &story),
                _ => {}
            }
            bench.mend();
        }
    }
    assert!(lost[&2] == 0 && lost[&60] > 0, "{lost:?}");
}

#[test]
fn as_many_whole_blocks_as_a_group_has_parity_are_read_restored_and_repaired() {
    for blocks in [[0, 1], [1, 3], [2, 4], [3, 4]] {
        let bench = three_groups();
        bench.spoil_blocks(&blocks);
        let story = format!("blocks {blocks:?}");
        let expected = bench.check(&story);
        assert!(expected.files["f0"].1.is_empty(), "{story}");
        bench.check_restore(&expected, &story);
        let (_, report, _) = repaired(bench, &story);
        let frames = 2 * u64::from(DATA + PARITY);
        assert_eq!(
            (report.shards_repaired, report.files_repaired),
            (frames, 1),
            "{story}"
        );
    }
}

#[test]
fn one_block_more_than_a_group_has_parity_is_lost_exactly_and_the_rest_is_read() {
    let bench = three_groups();
    bench.spoil_blocks(&[0, 1, 2]);
    let expected = bench.check("three blocks");
    let lost = &expected.files["f0"].1;
    assert!(lost.len() == 1 && lost[0] == (0..3 * BLOCK), "{lost:?}");
    bench.check_partial_restore(&expected, "three blocks");
    let (bench, report, _) = repaired(bench, "three blocks");
    assert_eq!(report.shards_repaired, 0);
    assert_eq!(bench.store.archive.snapshot().unwrap().totals().unwrap().files, 1);
}

#[test]
fn whole_blocks_and_all_that_the_others_survive_besides_are_repaired() {
    let bench = three_groups();
    bench.spoil_blocks(&[1, 4]);
    for frame in &bench.frames {
        let is_other = ![1, 4].contains(&frame.block);
        if is_other && (u64::from(frame.shard) + frame.block) % u64::from(DATA + PARITY) < u64::from(PARITY) {
            spoil(frame);
        }
    }
    let expected = bench.check("everything that can be borne");
    assert!(expected.files["f0"].1.is_empty());
    bench.check_restore(&expected, "everything that can be borne");
    drop(repaired(bench, "everything that can be borne"));
}

#[test]
fn any_eleven_lost_segments_of_a_group_are_survived_wherever_they_are() {
    // (PARITY + 1) * (OUTER_PARITY + 1) - 1, crowded as an enemy would: into few blocks and few shards.
    let bench = three_groups();
    for seed in 0..40 {
        let mut seeded = Seeded::new(9000 + seed);
        let (blocks, shards) = (2 + seeded.below(4), 4 + seeded.below(2));
        let mut crowd: Vec<(u64, u64)> = (0..blocks.min(5))
            .flat_map(|block| (0..shards).map(move |shard| (block, shard)))
            .collect();
        seeded.shuffle(&mut crowd);
        crowd.truncate(11);
        for frame in &bench.frames {
            if crowd.contains(&(frame.block, u64::from(frame.shard))) {
                spoil(frame);
            }
        }
        let expected = bench.check(&format!("seed {seed}: {crowd:?}"));
        assert!(expected.files.values().all(|file| file.1.is_empty()), "{crowd:?}");
        bench.mend();
    }
}

/// What was missing at one place is no hint of what is at the next: outer parity that no decoding needs was not looked at, and stayed damaged.
#[test]
fn outer_parity_that_is_not_needed_for_a_lost_block_is_repaired_beside_it() {
    for outer in [3, 4] {
        let bench = three_groups();
        bench.spoil_blocks(&[0]);
        let too_many = 2..3 + PARITY;
        for frame in &bench.frames {
            if frame.block == outer && too_many.contains(&frame.shard) {
                spoil(frame);
            }
        }
        let story = format!("outer parity block {outer}");
        let (_, report, _) = repaired(bench, &story);
        let frames = u64::from(DATA + PARITY + PARITY + 1);
        assert_eq!(
            (report.shards_repaired, report.files_repaired),
            (frames, 1),
            "{story}"
        );
    }
}

#[test]
fn random_damage_of_grouped_files_is_repaired_as_far_as_can_be() {
    for seed in 8000..8012 {
        let bench = Bench::with_policy(grouped_policy(), &[SEGMENTED_BELOW + 1, THREE_GROUPS]);
        let mut seeded = Seeded::new(seed);
        (0..=seeded.below(4)).for_each(|_| hurt(&bench, &mut seeded));
        let block = seeded.below(12);
        bench.spoil_blocks(&[block, block + seeded.below(3)]);
        drop(repaired(bench, &format!("seed {seed}")));
    }
}

#[test]
fn a_look_at_a_repair_says_what_it_would_do_across_blocks() {
    let bench = three_groups();
    bench.spoil_blocks(&[0, 2]);
    drop(bench.store.archive.scrub(&()).unwrap());
    let options = RepairOptions {
        mode: bfdb::archive::RepairMode::Look,
        ..RepairOptions::default()
    };
    let report = bench.store.archive.repair(&options, &()).unwrap();
    assert_eq!(report.shards_repaired, 2 * u64::from(DATA + PARITY));
    assert_eq!(report.damage, []);
    let health = bench
        .store
        .archive
        .snapshot()
        .unwrap()
        .health_totals()
        .unwrap()
        .known;
    assert_eq!((health.degraded_files, health.lost_files), (1, 0));
}
