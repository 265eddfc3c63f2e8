//! Groups at every edge: exhaustive with small policies, the cost of every length with the default one.

use crate::{
    geometry::{FileGeometry, FileGeometryParts, Grouping, GroupingError, Policy, PolicyParts, Tier},
    units::{BlockIndex, CodeShape, ColumnIndex, LeafLen, ShardIndex},
};
use proptest::prelude::{prop_assert, proptest};

const LEAF: u64 = 1024;

fn shape(data: u16, parity: u16) -> CodeShape {
    CodeShape::new(data, parity).expect("valid shape")
}

/// Every file is grouped; segments of at most 3 leaves.
fn small_policy(shape: CodeShape, parity: u16, blocks_min: u16) -> Policy {
    Policy::new(PolicyParts {
        leaf: LeafLen::from_log2(10).expect("1 KiB"),
        tiny_below_bytes: 0,
        segmented_below_bytes: 0,
        blocked_below_bytes: 0,
        grouped: Grouping {
            shape,
            segment_max_len_bytes: 3 * LEAF,
            parity,
            blocks_min,
        },
        ..PolicyParts::default()
    })
    .expect("valid policy")
}

fn small_policies() -> impl Iterator<Item = Policy> {
    let shapes = [shape(2, 1), shape(4, 2)];
    let groupings = [(1, 1), (1, 3), (2, 4), (3, 2)];
    shapes.into_iter().flat_map(move |shape| {
        groupings
            .into_iter()
            .map(move |(parity, blocks_min)| small_policy(shape, parity, blocks_min))
    })
}

fn small_files() -> impl Iterator<Item = (FileGeometry, Policy)> {
    small_policies().flat_map(|policy| {
        let lengths = (1..200_u64).flat_map(|leaves| [leaves * LEAF - 1023, leaves * LEAF]);
        lengths.map(move |len_bytes| (FileGeometry::new(len_bytes, &policy), policy))
    })
}

#[test]
fn blocks_are_numbered_group_by_group_with_outer_parity_behind_each() {
    for (file, policy) in small_files() {
        let mut next = 0;
        for (group, index) in file.groups().zip(0..) {
            assert_eq!(group.index(), index);
            assert_eq!(group.data_blocks().start, next, "{file:?}");
            assert_eq!(group.parity_blocks().start, group.data_blocks().end);
            assert_eq!(group.code().parity(), policy.parts().grouped.parity);
            for (block, position) in group.blocks().zip(0..) {
                let position = ShardIndex::new(position);
                assert_eq!(block, BlockIndex::new(next));
                assert_eq!(
                    (group.position(block), group.block_at(position)),
                    (position, block)
                );
                assert_eq!(file.group_of(block), Some(group));
                let is_outer = position.get() >= group.code().data();
                assert_eq!(file.block(block).is_outer_parity(), is_outer, "{file:?} {block}");
                next += 1;
            }
        }
        assert_eq!(file.block_count(), next, "every block is of a group: {file:?}");
        let of_file = file.blocks().filter(|block| !block.is_outer_parity()).count();
        assert_eq!(u64::try_from(of_file), Ok(file.data_block_count()));
    }
}

#[test]
fn bytes_before_a_block_are_those_of_the_blocks_before_it() {
    for (file, _) in small_files() {
        let mut before = 0;
        for (block, index) in file.blocks().zip(0..) {
            assert_eq!(
                file.bytes_before(BlockIndex::new(index)),
                before,
                "{file:?} {index}"
            );
            before += block.range().len();
        }
        let end = BlockIndex::new(file.block_count());
        assert_eq!(
            (file.bytes_before(end), before),
            (file.len_bytes(), file.len_bytes())
        );
    }
}

#[test]
fn groups_are_balanced_and_as_wide_as_they_are_to_be() {
    for (file, policy) in small_files() {
        let widths: Vec<u16> = file.groups().map(|group| group.code().data()).collect();
        let (least, most) = (widths.iter().min(), widths.iter().max());
        let (least, most) = (*least.expect("groups"), *most.expect("groups"));
        assert!(most - least <= 1, "{widths:?}");
        let blocks_min = policy.parts().grouped.blocks_min;
        let columns: u64 = file
            .blocks()
            .filter(|block| !block.is_outer_parity())
            .map(|block| u64::from(block.column_count()))
            .sum();
        assert!(
            least >= blocks_min || u64::from(least) == columns,
            "only a file without enough columns has fewer blocks: {file:?}"
        );
        assert!(most < 2 * blocks_min, "{widths:?}");
    }
}

#[test]
fn outer_parity_has_a_leaf_for_each_leaf_of_the_group_and_room_for_tables() {
    for (file, _) in small_files() {
        let leaf = file.leaf();
        for group in file.groups() {
            let outer = file.block(BlockIndex::new(group.parity_blocks().start));
            for index in group.data_blocks().map(BlockIndex::new) {
                let block = file.block(index);
                assert!(block.column_count() <= group.columns(), "{file:?}");
                for shard in block.shards().filter(|shard| block.is_data(*shard)) {
                    for column in (0..block.leaf_count(shard)).map(ColumnIndex::new) {
                        let (of_file, of_outer) =
                            (block.leaf_range(shard, column), outer.leaf_range(shard, column));
                        let (of_file, of_outer) = (of_file.expect("a leaf"), of_outer.expect("a leaf"));
                        assert_eq!(of_file.start(), of_outer.start());
                        assert!(of_file.len() <= of_outer.len(), "{file:?}");
                    }
                    let table_len_bytes = u64::from(block.leaf_count(shard)) * 32;
                    assert!(
                        table_len_bytes <= group.table_len_bytes() || group.columns() == 1,
                        "{file:?}"
                    );
                }
            }
            let table_bytes: u64 = group
                .table_columns(leaf)
                .map(|column| outer.leaf_range(ShardIndex::new(0), ColumnIndex::new(column)))
                .map(|range| range.expect("it holds tables").len())
                .sum();
            assert_eq!(table_bytes, group.table_len_bytes());
            assert_eq!(outer.column_count(), group.table_columns(leaf).end);
            assert_eq!(
                outer.shard_len_bytes(ShardIndex::new(0)),
                group.outer_segment_len_bytes(leaf)
            );
        }
    }
}

#[test]
fn claimed_groups_that_cannot_be_are_refused() {
    let good = *FileGeometry::new(100 * LEAF, &small_policy(shape(4, 2), 2, 4)).parts();
    assert!(FileGeometry::from_parts(good).is_ok());
    let claims = [
        FileGeometryParts {
            group_count: 0,
            ..good
        },
        FileGeometryParts {
            outer_parity: 0,
            ..good
        },
        FileGeometryParts {
            group_count: good.data_blocks + 1,
            ..good
        },
        FileGeometryParts {
            group_count: u64::MAX,
            ..good
        },
        FileGeometryParts {
            outer_parity: 1024,
            ..good
        },
        FileGeometryParts {
            tier: Tier::Blocked,
            ..good
        },
    ];
    for claim in claims {
        assert!(FileGeometry::from_parts(claim).is_err(), "{claim:?}");
    }
}

fn choose(parity: u16) -> Result<Grouping, GroupingError> {
    Grouping::choose(shape(30, 3), parity, (LeafLen::DEFAULT, 10_000_000_000))
}

#[test]
fn the_default_grouping_is_the_one_that_is_chosen() {
    assert_eq!(choose(3), Ok(Grouping::DEFAULT));
}

#[test]
fn segments_are_as_long_as_the_memory_for_sums_allows() {
    const MIB: u64 = 1024 * 1024;
    for parity in 1..=10 {
        let grouping = choose(parity).expect("there is one");
        let expected = match parity {
            1..=4 => 4 * MIB,
            5..=8 => 2 * MIB,
            _ => MIB,
        };
        assert_eq!(grouping.segment_max_len_bytes, expected, "P = {parity}");
        let sums = grouping.sums_len_bytes(LeafLen::DEFAULT);
        assert!(sums <= 481 * MIB, "P = {parity}: {sums}");
    }
}

#[test]
fn a_grouping_that_cannot_be_is_refused_with_the_numbers() {
    assert_eq!(choose(0), Err(GroupingError::Parity { parity: 0 }));
    assert_eq!(
        choose(11).expect_err("11").to_string(),
        "a group has 1 to 10 outer parity blocks, not 11"
    );
    let wide = Grouping::choose(shape(200, 8), 10, (LeafLen::DEFAULT, 10_000_000_000));
    assert_eq!(
        wide.expect_err("too much memory").to_string(),
        "10 outer parity blocks over RS(200,8) in segments of 1048576 bytes take 2097152000 bytes of memory while a file is stored; at most 503316480 are allowed"
    );
    // Ten of few blocks are many, and many blocks are short.
    let short = Grouping::choose(shape(30, 3), 10, (LeafLen::DEFAULT, 1_000_000_000));
    assert!(
        matches!(short, Err(GroupingError::Overhead { parity: 10, .. })),
        "{short:?}"
    );
}

/// Bytes of a file that are stored for each of its own, by the lengths of its shards.
fn overhead(file: &FileGeometry) -> f64 {
    let count = |block: BlockIndex| -> u64 {
        let block = file.block(block);
        block.shards().map(|shard| block.shard_len_bytes(shard)).sum()
    };
    let stored: u64 = (0..file.block_count()).map(BlockIndex::new).map(count).sum();
    #[expect(clippy::cast_precision_loss, reason = "a ratio of lengths far below 2^53")]
    let ratio = stored as f64 / file.len_bytes() as f64;
    ratio - 1.0
}

proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    #[test]
    fn every_length_costs_between_11_and_15_percent(
        parity in 2_u16..=10,
        // Of every order of magnitude up to 3 TB.
        len_log2 in 0.0_f64..8.0,
    ) {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a positive number below 2^63")]
        let len_bytes = (1e10 * len_log2.exp2()) as u64;
        let grouped = choose(parity).expect("there is one");
        let policy = Policy::new(PolicyParts { grouped, ..PolicyParts::default() }).expect("valid");
        let file = FileGeometry::new(len_bytes, &policy);
        let overhead = overhead(&file);
        prop_assert!((0.11..0.15).contains(&overhead), "P = {}, {} bytes: {}", parity, len_bytes, overhead);
    }
}
