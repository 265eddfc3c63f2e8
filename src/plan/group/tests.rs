//! Groups of every small shape exhaustively, of real shapes at random, against somebody who knows code words alone.

use std::collections::BTreeSet;

use super::*;
use crate::{
    geometry::{BlockGeometry, FileGeometry, Grouping, Policy, PolicyParts},
    plan::BlockVerdict,
    units::{BlockIndex, CodeShape},
};
use proptest::prelude::{any, prop_assert_eq, proptest};

const LEAF: u64 = 1024;

/// A file of one group: its group and its blocks in the order of the code.
struct Shape {
    group: GroupGeometry,
    leaf: LeafLen,
    blocks: Vec<BlockGeometry>,
}

impl Shape {
    /// `blocks` blocks of `data` segments of `columns` leaves, the last of which is cut short by `cut` leaves.
    fn new((data, parity): (u16, u16), (blocks, outer): (u16, u16), (columns, cut): (u64, u64)) -> Self {
        let leaf = LeafLen::from_log2(10).expect("1 KiB");
        let policy = Policy::new(PolicyParts {
            leaf,
            tiny_below_bytes: 0,
            segmented_below_bytes: 0,
            blocked_below_bytes: 0,
            grouped: Grouping {
                shape: CodeShape::new(data, parity).expect("a shape"),
                segment_max_len_bytes: columns * LEAF,
                parity: outer,
                blocks_min: blocks,
            },
            ..PolicyParts::default()
        });
        let len_bytes = (u64::from(blocks) * u64::from(data) * columns - cut) * LEAF;
        let file = FileGeometry::new(len_bytes, &policy.expect("valid"));
        assert_eq!(
            (file.group_count(), file.data_block_count()),
            (1, u64::from(blocks))
        );
        let group = file.group(0);
        let blocks = group
            .blocks()
            .map(|index: BlockIndex| file.block(index))
            .collect();
        Self { group, leaf, blocks }
    }

    /// All that can be bad: tables included.
    fn leaves(&self) -> Vec<(usize, ShardIndex, ColumnIndex)> {
        let of_block = |(position, block): (usize, &BlockGeometry)| {
            let leaves = crate::plan::every_map::leaves(block).into_iter();
            leaves
                .map(move |(shard, column)| (position, shard, column))
                .collect::<Vec<_>>()
        };
        self.blocks.iter().enumerate().flat_map(of_block).collect()
    }

    /// All frames.
    fn frames(&self) -> Vec<(usize, ShardIndex)> {
        let of_block = |(position, block): (usize, &BlockGeometry)| {
            let present = block.shards().filter(|shard| block.is_present(*shard));
            present.map(move |shard| (position, shard)).collect::<Vec<_>>()
        };
        self.blocks.iter().enumerate().flat_map(of_block).collect()
    }

    fn with_leaves(&self, bad: impl Iterator<Item = (usize, ShardIndex, ColumnIndex)>) -> Vec<DamageMap> {
        let mut maps: Vec<DamageMap> = self.blocks.iter().copied().map(DamageMap::new).collect();
        bad.for_each(|(position, shard, column)| maps[position].mark_leaf(shard, column));
        maps
    }

    fn with_frames(&self, bad: impl Iterator<Item = (usize, ShardIndex)>) -> Vec<DamageMap> {
        let mut maps: Vec<DamageMap> = self.blocks.iter().copied().map(DamageMap::new).collect();
        bad.for_each(|(position, shard)| maps[position].mark_shard(shard));
        maps
    }

    fn verdict(&self, maps: &[DamageMap]) -> GroupVerdict {
        let mut damage = GroupDamage::new(self.group, self.leaf);
        for (map, position) in maps.iter().zip(0..) {
            if map.damaged_shards().next().is_some() {
                damage.set(ShardIndex::new(position), map.clone());
            }
        }
        damage.verdict()
    }

    /// Checks the verdict against what code words alone give.
    fn check(&self, maps: &[DamageMap]) -> GroupVerdict {
        let verdict = self.verdict(maps);
        let known = Knowledge::of(self, maps);
        for (position, map) in maps.iter().enumerate() {
            let left = verdict.left[position]
                .clone()
                .unwrap_or_else(|| DamageMap::new(self.blocks[position]));
            for (shard, column) in crate::plan::every_map::leaves(&self.blocks[position]) {
                let is_had = known.has(self, position, shard, column);
                let is_gone = left.bad_columns(shard).contains(column) || left.is_of_no_use(shard, column);
                assert_eq!(
                    is_had, !is_gone,
                    "block {position} shard {shard} column {column}: {map:?}"
                );
            }
        }
        verdict
    }
}

/// What follows from the definition of the codes: of enough right leaves of a code word all follow, and a leaf is right when its
/// table says so. Knows no counts of what may be lost, and no order.
struct Knowledge {
    tables: BTreeSet<(usize, ShardIndex)>,
    leaves: BTreeSet<(usize, ShardIndex, ColumnIndex)>,
}

impl Knowledge {
    fn of(shape: &Shape, maps: &[DamageMap]) -> Self {
        let mut known = Self {
            tables: BTreeSet::new(),
            leaves: BTreeSet::new(),
        };
        loop {
            let before = (known.tables.len(), known.leaves.len());
            for (position, map) in maps.iter().enumerate() {
                known.look(position, map);
                known.decode_inside(position, map.geometry());
            }
            known.decode_across(shape);
            if before == (known.tables.len(), known.leaves.len()) {
                return known;
            }
        }
    }

    fn has(&self, shape: &Shape, position: usize, shard: ShardIndex, column: ColumnIndex) -> bool {
        let block = &shape.blocks[position];
        if block.is_data(shard) && Some(column) == block.table_column() {
            self.tables.contains(&(position, shard))
        } else {
            self.leaves.contains(&(position, shard, column))
        }
    }

    /// Reads what stands there.
    fn look(&mut self, position: usize, map: &DamageMap) {
        let block = map.geometry();
        for (shard, column) in crate::plan::every_map::leaves(block) {
            if map.bad_columns(shard).contains(column) {
                continue;
            }
            if block.is_data(shard) && Some(column) == block.table_column() {
                self.tables.insert((position, shard));
            }
        }
        for (shard, column) in crate::plan::every_map::leaves(block) {
            let is_table = block.is_data(shard) && Some(column) == block.table_column();
            if !is_table && !map.bad_columns(shard).contains(column) {
                self.learn(position, block, (shard, column));
            }
        }
    }

    /// Learns a leaf, when its table is there. Parity is marked wholly where it has no table.
    fn learn(&mut self, position: usize, block: &BlockGeometry, (shard, column): (ShardIndex, ColumnIndex)) {
        let needs_table = block.is_data(shard) && block.table_column().is_some();
        if !needs_table || self.tables.contains(&(position, shard)) {
            self.leaves.insert((position, shard, column));
        }
    }

    fn decode_inside(&mut self, position: usize, block: &BlockGeometry) {
        let data = usize::from(block.shape().data());
        for column in block.columns().chain(block.table_column()) {
            let is_table = Some(column) == block.table_column();
            let is_known = |shard: &ShardIndex| match (is_table, block.is_data(*shard)) {
                (true, true) => !block.is_present(*shard) || self.tables.contains(&(position, *shard)),
                _ => {
                    column.get() >= block.leaf_count(*shard)
                        || self.leaves.contains(&(position, *shard, column))
                }
            };
            if block.shards().filter(is_known).count() < data {
                continue;
            }
            for shard in block.shards().filter(|shard| block.is_present(*shard)) {
                if is_table && block.is_data(shard) {
                    self.tables.insert((position, shard));
                } else if column.get() < block.leaf_count(shard) {
                    self.learn(position, block, (shard, column));
                }
            }
        }
    }

    /// Data shards are covered by outer parity, inner parity is not.
    fn decode_across(&mut self, shape: &Shape) {
        let width = usize::from(shape.group.code().data());
        let shards = shape.blocks[0]
            .shards()
            .filter(|shard| shape.blocks[0].is_data(*shard));
        for shard in shards {
            for column in (0..shape.group.columns()).map(ColumnIndex::new) {
                let is_known = |(position, block): &(usize, &BlockGeometry)| {
                    column.get() >= block.leaf_count(shard)
                        || self.leaves.contains(&(*position, shard, column))
                };
                if shape.blocks.iter().enumerate().filter(is_known).count() >= width {
                    for (position, block) in shape.blocks.iter().enumerate() {
                        if column.get() < block.leaf_count(shard) {
                            self.learn(position, block, (shard, column));
                        }
                    }
                }
            }
            self.decode_tables(shape, shard);
            self.encode_across(shape, shard);
        }
    }

    /// Of everything that is in the file at one shard all outer parity there follows.
    fn encode_across(&mut self, shape: &Shape, shard: ShardIndex) {
        let width = usize::from(shape.group.code().data());
        let all_known = shape.blocks[..width].iter().enumerate().all(|(position, block)| {
            let mut leaves = (0..block.leaf_count(shard)).map(ColumnIndex::new);
            let has_leaves = leaves.all(|column| self.leaves.contains(&(position, shard, column)));
            has_leaves && (block.table_column().is_none() || is_known_table(self, shape, position, shard))
        });
        if !all_known {
            return;
        }
        for (position, block) in shape.blocks.iter().enumerate().skip(width) {
            self.tables.insert((position, shard));
            for column in (0..block.leaf_count(shard)).map(ColumnIndex::new) {
                self.leaves.insert((position, shard, column));
            }
        }
    }

    /// A table is had when every part of it is.
    fn decode_tables(&mut self, shape: &Shape, shard: ShardIndex) {
        let width = usize::from(shape.group.code().data());
        let columns: Vec<ColumnIndex> = shape
            .group
            .table_columns(shape.leaf)
            .map(ColumnIndex::new)
            .collect();
        let is_known = |position: usize, column: ColumnIndex| {
            if position < width {
                !shape.blocks[position].is_present(shard) || self.tables.contains(&(position, shard))
            } else {
                self.leaves.contains(&(position, shard, column))
            }
        };
        let decodes = |column: &ColumnIndex| {
            (0..shape.blocks.len())
                .filter(|position| is_known(*position, *column))
                .count()
                >= width
        };
        let decoded: Vec<ColumnIndex> = columns.iter().copied().filter(decodes).collect();
        // Parts of tables prove nothing, but parity of them has tables of its own.
        let is_whole = !columns.is_empty() && decoded.len() == columns.len();
        for column in decoded {
            for position in width..shape.blocks.len() {
                let block = shape.blocks[position];
                self.learn(position, &block, (shard, column));
            }
        }
        if !is_whole {
            return;
        }
        for position in 0..width {
            if shape.blocks[position].is_present(shard) {
                self.tables.insert((position, shard));
            }
        }
        for column in columns {
            for position in width..shape.blocks.len() {
                let block = shape.blocks[position];
                self.learn(position, &block, (shard, column));
            }
        }
    }
}

fn is_known_table(known: &Knowledge, shape: &Shape, position: usize, shard: ShardIndex) -> bool {
    !shape.blocks[position].is_present(shard) || known.tables.contains(&(position, shard))
}

fn every_set<T: Copy>(of: &[T]) -> impl Iterator<Item = Vec<T>> + '_ {
    assert!(of.len() <= 18, "{} are too many to enumerate", of.len());
    (0_u32..1 << of.len()).map(|bits| {
        let chosen = of.iter().enumerate().filter(|(index, _)| bits >> index & 1 == 1);
        chosen.map(|(_, leaf)| *leaf).collect()
    })
}

#[test]
fn every_damage_of_small_groups_of_single_leaves_is_judged_as_code_words_say() {
    let shapes = [
        Shape::new((2, 1), (1, 1), (1, 0)),
        Shape::new((2, 1), (2, 1), (1, 0)),
        Shape::new((2, 1), (3, 2), (1, 1)),
        Shape::new((3, 1), (2, 1), (1, 2)),
        Shape::new((2, 2), (2, 2), (1, 0)),
    ];
    for shape in shapes {
        for bad in every_set(&shape.leaves()) {
            let _verdict = shape.check(&shape.with_leaves(bad.into_iter()));
        }
    }
}

#[test]
fn every_loss_of_frames_of_small_groups_is_judged_as_code_words_say() {
    let shapes = [
        Shape::new((2, 1), (3, 2), (2, 0)),
        Shape::new((3, 1), (2, 1), (3, 4)),
        Shape::new((2, 2), (2, 2), (2, 1)),
    ];
    for shape in shapes {
        for bad in every_set(&shape.frames()) {
            let _verdict = shape.check(&shape.with_frames(bad.into_iter()));
        }
    }
}

/// Calls with every choice of `count` of `of`.
fn every_choice<T: Copy>(of: &[T], count: usize, chosen: &mut Vec<T>, call: &mut dyn FnMut(&[T])) {
    if count == 0 {
        call(chosen);
        return;
    }
    for (index, one) in of.iter().enumerate() {
        chosen.push(*one);
        every_choice(&of[index + 1..], count - 1, chosen, call);
        chosen.pop();
    }
}

#[test]
fn whatever_is_fewer_than_the_distance_can_be_decoded_and_some_of_as_many_cannot() {
    // (m + 1)(P + 1), and no less.
    for (shape, distance) in [
        (Shape::new((2, 1), (3, 1), (1, 0)), 4),
        (Shape::new((3, 1), (2, 2), (2, 0)), 6),
        (Shape::new((2, 2), (2, 1), (1, 0)), 6),
    ] {
        let frames = shape.frames();
        let mut fatal = 0_u32;
        for count in 1..=distance {
            every_choice(&frames, count, &mut Vec::new(), &mut |lost| {
                let verdict = shape.verdict(&shape.with_frames(lost.iter().copied()));
                let is_fatal = verdict.left.iter().any(Option::is_some);
                assert!(!is_fatal || count == distance, "{lost:?}");
                fatal += u32::from(is_fatal);
            });
        }
        assert!(fatal > 0, "none of {distance}");
    }
}

#[test]
fn what_is_left_names_the_bytes_that_are_lost_and_steps_come_in_order() {
    let shape = Shape::new((3, 1), (4, 1), (2, 0));
    // Blocks 0 and 1 lack the same two shards: four frames, one too many for both codes.
    let frames =
        [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2)].map(|(position, shard)| (position, ShardIndex::new(shard)));
    let verdict = shape.check(&shape.with_frames(frames.into_iter()));
    let left = |position: usize| verdict.left[position].as_ref().map(DamageMap::verdict);
    let BlockVerdict::Lost { ranges, .. } = left(0).expect("block 0") else {
        panic!("{:?}", left(0))
    };
    assert_eq!(
        ranges,
        [crate::units::ByteRange::new(0, 4 * LEAF).expect("a range")]
    );
    assert!(left(1).is_some() && left(2).is_none(), "{verdict:?}");
    let tables = verdict
        .steps
        .iter()
        .position(|step| matches!(step, GroupStep::InnerTables { .. }));
    let leaves = verdict
        .steps
        .iter()
        .position(|step| matches!(step, GroupStep::Inner { .. }));
    assert!(tables < leaves && leaves.is_some(), "{:?}", verdict.steps);
}

/// The real code: RS(30,3) in blocks of one column, so that a shard is a leaf, and groups as wide as those of a 12 GB file.
fn real(outer: u16) -> Shape {
    Shape::new((30, 3), (96, outer), (1, 0))
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(96))]

    #[test]
    fn any_damage_of_small_groups_is_judged_as_code_words_say(
        (data, parity) in (2_u16..5, 1_u16..3),
        (blocks, outer) in (1_u16..6, 1_u16..4),
        (columns, cut) in (1_u64..36, 0_u64..30),
        percent in 1_u32..60,
        seed in any::<u64>(),
    ) {
        let cut = cut % (u64::from(data) * columns / 2).max(1);
        let shape = Shape::new((data, parity), (blocks, outer), (columns, cut));
        let mut next = numbers(seed);
        let leaves = shape.leaves();
        let bad: Vec<_> = leaves.into_iter().filter(|_| next() % 100 < percent).collect();
        let _verdict = shape.check(&shape.with_leaves(bad.into_iter()));
    }

    #[test]
    fn fifteen_lost_segments_of_a_real_group_never_lose_a_byte(
        outer in 1_u16..=10,
        rows in 1_usize..12,
        seeds in proptest::collection::vec(any::<(u16, u16)>(), 44),
    ) {
        // Crowded into few blocks and few places, as an enemy would.
        let shape = real(outer);
        let most = 4 * (usize::from(outer) + 1) - 1;
        let lost: BTreeSet<(usize, u16)> = seeds
            .iter()
            .take(most)
            .map(|(block, shard)| (usize::from(*block) % rows * 7, shard % 5))
            .collect();
        let lost = lost.into_iter().map(|(block, shard)| (block, ShardIndex::new(shard)));
        let verdict = shape.verdict(&shape.with_frames(lost));
        prop_assert_eq!(verdict.left.iter().flatten().count(), 0);
    }
}

#[test]
fn whole_blocks_and_as_many_segments_of_all_others_as_a_block_survives_can_be_decoded() {
    for outer in [1, 3, 10] {
        let shape = real(outer);
        let frames = shape.frames().into_iter();
        let is_lost = |(position, shard): &(usize, ShardIndex)| {
            *position < usize::from(outer) || (usize::from(shard.get()) + *position) % 33 < 3
        };
        let verdict = shape.verdict(&shape.with_frames(frames.filter(is_lost)));
        assert!(verdict.left.iter().all(Option::is_none), "P = {outer}");
        let one_more = shape.frames().into_iter();
        let is_lost = |(position, _): &(usize, ShardIndex)| *position <= usize::from(outer);
        let verdict = shape.verdict(&shape.with_frames(one_more.filter(is_lost)));
        let lost = verdict.left.iter().flatten().count();
        assert_eq!(lost, usize::from(outer) + 1, "P = {outer}");
    }
}

/// Losses that nobody has chosen: most of what no block alone survives the group does, until it suddenly does not.
#[test]
fn random_losses_of_segments_of_a_real_group_are_judged_as_code_words_say() {
    let shape = real(3);
    let mut beyond_blocks = 0;
    let mut beyond_groups = 0;
    for percent in [2, 5, 7, 10, 13, 16] {
        for seed in 0..4 {
            let mut next = numbers(seed << 8 | u64::from(percent));
            let frames = shape.frames().into_iter();
            let lost: Vec<_> = frames.filter(|_| next() % 100 < percent).collect();
            let maps = shape.with_frames(lost.into_iter());
            let alone = maps.iter().map(DamageMap::verdict);
            let verdict = shape.check(&maps);
            beyond_blocks += alone
                .filter(|verdict| matches!(verdict, BlockVerdict::Lost { .. }))
                .count();
            beyond_groups += verdict.left.iter().flatten().count();
        }
    }
    assert!(
        beyond_groups > 0 && beyond_blocks > beyond_groups,
        "{beyond_blocks} blocks, of which {beyond_groups} their groups could not help"
    );
}

/// Numbers of 31 bits that follow from a seed.
fn numbers(seed: u64) -> impl FnMut() -> u32 {
    let mut random = seed;
    move || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from(random >> 33).expect("31 bits")
    }
}
