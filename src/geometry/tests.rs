//! Geometry at every edge: exhaustive with a small policy, exact lengths with the default one.

use super::*;
use crate::units::{BlockIndex, ByteRange, CodeShape, ColumnIndex, LeafLen, ShardIndex};
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

const LEAF: u64 = 1024;

fn shape(data: u16, parity: u16) -> CodeShape {
    CodeShape::new(data, parity).expect("valid shape")
}

/// Leaf 1 KiB, tier 2 from 5 leaves in segments of 2, tier 3 from 17 leaves with at most 3 leaves a segment.
fn small_policy(blocked: CodeShape, replicas: CodeShape) -> Policy {
    Policy::new(PolicyParts {
        leaf: LeafLen::from_log2(10).expect("1 KiB"),
        tiny_below_bytes: 5 * LEAF,
        tiny_shape: replicas,
        segmented_below_bytes: 17 * LEAF,
        segmented_shape: replicas,
        segmented_segment_len_bytes: 2 * LEAF,
        blocked_shape: blocked,
        blocked_segment_max_len_bytes: 3 * LEAF,
        ..PolicyParts::default()
    })
    .expect("valid policy")
}

/// Checks one file against the definition: every byte in exactly one leaf, blocks in order, columns consistent.
fn check_file(len_bytes: u64, policy: &Policy) {
    let file = FileGeometry::new(len_bytes, policy);
    assert_eq!(
        FileGeometry::from_parts(*file.parts()),
        Ok(file),
        "what is recorded reads back"
    );
    let mut next_byte = 0;
    for (index, block) in file.blocks().enumerate() {
        check_block(&block);
        if block.is_outer_parity() {
            continue;
        }
        assert_eq!(block.base_offset(), next_byte, "blocks follow each other");
        let index = BlockIndex::new(u64::try_from(index).expect("small"));
        for offset in [block.range().start(), block.range().end() - 1] {
            assert_eq!(file.block_at(offset), index, "offset {offset} of {len_bytes}");
        }
        next_byte = block.range().end();
    }
    assert_eq!(
        next_byte, len_bytes,
        "the blocks hold the whole file and nothing else"
    );
    assert_eq!(
        file.block_count() == 0,
        len_bytes == 0,
        "only an empty file has no block"
    );
}

fn check_block(block: &BlockGeometry) {
    let mut covered = Vec::new();
    for shard in block.shards() {
        let mut end_of_last = 0;
        for column in (0..block.leaf_count(shard)).map(ColumnIndex::new) {
            let range = block.leaf_range(shard, column).expect("below the leaf count");
            assert_eq!(
                range.start(),
                end_of_last,
                "leaves of a shard touch: {block:?} {shard} {column}"
            );
            assert!(
                !range.is_empty() && range.len() <= block.leaf().bytes().max(64),
                "{range}"
            );
            assert!(
                range.len() <= block.slice_len_bytes(column),
                "a leaf fits its column's slice"
            );
            end_of_last = range.end();
            if let Some(in_file) = block.leaf_range_in_file(shard, column) {
                assert_eq!(in_file.len(), range.len(), "a data leaf stores what it holds");
                let place = block.locate(in_file.end() - 1);
                assert_eq!(
                    (place.shard, place.column),
                    (shard, column),
                    "locate finds the leaf"
                );
                covered.push(in_file);
            }
        }
        assert_eq!(block.shard_len_bytes(shard), end_of_last);
        assert_eq!(
            block.leaf_range(shard, ColumnIndex::new(block.leaf_count(shard))),
            None
        );
        if !block.is_data(shard) {
            assert!(block.is_present(shard), "parity is always stored");
        }
    }
    ByteRange::merge(&mut covered);
    if block.is_outer_parity() {
        assert!(
            covered.is_empty() && block.range().is_empty(),
            "it holds no bytes of the file"
        );
    } else {
        assert_eq!(covered, [block.range()], "the data leaves hold each byte once");
    }
}

#[test]
fn every_length_of_a_small_policy_is_cut_exactly() {
    for blocked in [shape(3, 2), shape(5, 1), shape(30, 3), shape(1, 2)] {
        for replicas in [shape(1, 3), shape(2, 1)] {
            let policy = small_policy(blocked, replicas);
            for leaves in 0..200 {
                for around in [0, 1, 63, 64, 65, LEAF - 1] {
                    check_file(leaves * LEAF + around, &policy);
                }
            }
        }
    }
}

#[test]
fn the_tier_changes_exactly_at_its_edge() {
    let policy = Policy::default();
    let tiers = [
        (0, Tier::Tiny),
        (9_999_999, Tier::Tiny),
        (10_000_000, Tier::Segmented),
        (10_000_001, Tier::Segmented),
        (999_999_999, Tier::Segmented),
        (1_000_000_000, Tier::Blocked),
        (1_000_000_001, Tier::Blocked),
        (9_999_999_999, Tier::Blocked),
        (10_000_000_000, Tier::Grouped),
        (u64::MAX, Tier::Grouped),
    ];
    for (len_bytes, tier) in tiers {
        assert_eq!(policy.tier(len_bytes), tier, "{len_bytes}");
    }
}

#[test]
fn lengths_around_every_default_edge_are_cut_exactly() {
    let policy = Policy::default();
    let leaf = policy.leaf().bytes();
    let segment = policy.parts().segmented_segment_len_bytes;
    let block = 30 * policy.parts().blocked_segment_max_len_bytes;
    let edges = [
        0,
        leaf,
        segment,
        3 * segment,
        10_000_000,
        1_000_000_000,
        4 * block,
        5 * block,
        10_000_000_000,
    ];
    for edge in edges {
        for len_bytes in edge.saturating_sub(2)..=edge + 2 {
            check_file(len_bytes, &policy);
        }
        check_file(edge + leaf - 1, &policy);
        check_file(edge + leaf, &policy);
    }
}

#[test]
fn balanced_blocks_differ_by_at_most_one_column_and_cost_no_extra_parity() {
    let policy = Policy::default();
    let block = 30 * policy.parts().blocked_segment_max_len_bytes;
    for len_bytes in [
        1_000_000_000,
        4 * block + 1,
        5 * block - 1,
        5 * block + 64 * 1024,
        9_999_999_999,
    ] {
        let file = FileGeometry::new(len_bytes, &policy);
        let columns: Vec<u32> = file.blocks().map(|block| block.column_count()).collect();
        let (least, most) = (
            columns.iter().min().expect("blocks"),
            columns.iter().max().expect("blocks"),
        );
        assert!(most - least <= 1, "{len_bytes}: {columns:?}");
        assert!(*most <= 128, "no segment above 8 MiB");
        let parity: u64 = file
            .blocks()
            .flat_map(|block| (30..33).map(move |shard| block.shard_len_bytes(ShardIndex::new(shard))))
            .sum();
        // 10 % of the data, one column for the rounding, and the table column of each block.
        let bound = len_bytes / 10 + 3 * 65_536 + file.block_count() * 3 * 4096;
        assert!(parity <= bound, "{len_bytes}: parity {parity} above {bound}");
    }
}

#[test]
fn a_file_of_one_leaf_is_marked_and_a_longer_one_is_not() {
    let policy = small_policy(shape(3, 2), shape(1, 3));
    let first = |len_bytes| FileGeometry::new(len_bytes, &policy).block(BlockIndex::new(0));
    assert_eq!(first(1).file_leaves(), FileLeaves::One);
    assert_eq!(first(LEAF).file_leaves(), FileLeaves::One);
    assert_eq!(first(LEAF + 1).file_leaves(), FileLeaves::Many);
}

#[test]
fn claimed_geometry_that_holds_less_or_more_than_the_file_is_refused() {
    let good = *FileGeometry::new(100 * LEAF, &small_policy(shape(3, 2), shape(1, 3))).parts();
    let claims = [
        FileGeometryParts {
            data_blocks: good.data_blocks + 1,
            ..good
        },
        FileGeometryParts {
            data_blocks: 0,
            ..good
        },
        FileGeometryParts {
            long_blocks: good.data_blocks + 1,
            ..good
        },
        FileGeometryParts {
            long_columns: 0,
            short_columns: 0,
            ..good
        },
        FileGeometryParts {
            short_columns: u32::MAX,
            ..good
        },
        FileGeometryParts {
            len_bytes: u64::MAX,
            data_blocks: u64::MAX,
            ..good
        },
        FileGeometryParts { len_bytes: 0, ..good },
        FileGeometryParts {
            shape: shape(good.shape.data(), 257 - good.shape.data()),
            ..good
        },
    ];
    for claim in claims {
        assert!(FileGeometry::from_parts(claim).is_err(), "{claim:?}");
    }
}

#[test]
fn policies_that_cannot_be_kept_are_refused() {
    let good = PolicyParts::default();
    let bad = [
        PolicyParts {
            blocked_shape: shape(254, 3),
            ..good
        },
        PolicyParts {
            tiny_shape: shape(1, 256),
            ..good
        },
        PolicyParts {
            segmented_segment_len_bytes: 0,
            ..good
        },
        PolicyParts {
            segmented_segment_len_bytes: 65_537,
            ..good
        },
        PolicyParts {
            blocked_segment_max_len_bytes: 1,
            ..good
        },
        PolicyParts {
            tiny_below_bytes: u64::MAX,
            segmented_below_bytes: u64::MAX,
            blocked_below_bytes: u64::MAX,
            ..good
        },
        PolicyParts {
            tiny_below_bytes: 2_000_000_000,
            ..good
        },
        PolicyParts {
            blocked_below_bytes: 999_999_999,
            ..good
        },
    ];
    for parts in bad {
        assert!(Policy::new(parts).is_err(), "{parts:?}");
    }
    assert_eq!(Policy::default().lane_count(), 33);
}

#[test]
fn a_block_of_more_than_256_shards_is_refused() {
    let of = |shape| {
        BlockGeometry::from_parts(BlockGeometryParts {
            shape,
            leaf: LeafLen::DEFAULT,
            file_leaves: FileLeaves::Many,
            base_offset: 0,
            data_len_bytes: 1 << 20,
        })
    };
    assert!(of(shape(253, 3)).is_ok(), "256 shards");
    assert!(of(shape(254, 3)).is_err(), "257 shards");
}

proptest! {
    #[test]
    fn claimed_blocks_never_panic_and_hold_what_they_claim(
        data in 1_u16..40, parity in 1_u16..5, log2 in 10_u8..=20, base in any::<u64>(), len in any::<u64>(), only in any::<bool>()
    ) {
        let leaf = LeafLen::from_log2(log2).expect("in range");
        if let Ok(block) = BlockGeometry::from_parts(BlockGeometryParts {
            shape: shape(data, parity), leaf, base_offset: base, data_len_bytes: len,
            file_leaves: if only { FileLeaves::One } else { FileLeaves::Many },
        }) {
            prop_assert_eq!(block.range().len(), len);
            prop_assert!(block.shards().all(|shard| block.shard_len_bytes(shard) <= len.next_multiple_of(64) + 32 * 65_536));
        }
    }

    #[test]
    fn random_lengths_of_the_default_policy_are_cut_exactly(len_bytes in 0_u64..12_000_000_000) {
        let file = FileGeometry::new(len_bytes, &Policy::default());
        let total: u64 = file.blocks().map(|block| block.range().len()).sum();
        prop_assert_eq!(total, len_bytes);
        if let Some(last) = file.block_count().checked_sub(1) {
            check_block(&file.block(BlockIndex::new(last)));
        }
    }
}
