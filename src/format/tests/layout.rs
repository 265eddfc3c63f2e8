//! Frame layouts at every length that could matter.

use super::*;
use crate::format::{
    EXTENT_HEADER_LEN_BYTES, FRAME_FOOTER_LEN_BYTES, FRAME_HEADER_LEN_BYTES, FrameLayout,
    LARGE_PAYLOAD_LEN_BYTES, MAX_FRAME_LEAVES,
};
use crate::units::{ByteRange, to_u64};
use proptest::prelude::{any, prop_assert_eq, proptest};

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;

/// Checks one layout against section 4 of the document.
fn check_layout(payload_len_bytes: u64, leaf_count: u32) {
    let layout = FrameLayout::new(payload_len_bytes, leaf_count).expect("within the bounds");
    let what = format!("{payload_len_bytes} bytes in {leaf_count} leaves: {layout:?}");
    let alignment = if payload_len_bytes >= LARGE_PAYLOAD_LEN_BYTES {
        4096
    } else {
        64
    };
    assert_eq!(layout.alignment_bytes(), alignment, "{what}");

    let table_len = if leaf_count > 1 {
        u64::from(leaf_count) * 32
    } else {
        0
    };
    for table in [layout.table_a(), layout.table_b()] {
        assert_eq!(
            table.map(ByteRange::len),
            (leaf_count > 1).then_some(table_len),
            "{what}"
        );
    }
    let head_end = to_u64(FRAME_HEADER_LEN_BYTES) + table_len;
    if let Some(table) = layout.table_a() {
        assert_eq!(table.start(), to_u64(FRAME_HEADER_LEN_BYTES), "{what}");
    }
    let payload = layout.payload();
    assert_eq!(payload.len(), payload_len_bytes, "{what}");
    assert!(
        payload.start() >= head_end,
        "table A and payload do not overlap: {what}"
    );
    assert!(
        payload.start() - head_end < alignment,
        "no more padding than needed: {what}"
    );
    assert!(
        payload.start().is_multiple_of(alignment),
        "the payload is aligned: {what}"
    );
    if let Some(table) = layout.table_b() {
        assert_eq!(table.start(), payload.end(), "{what}");
    }
    assert_eq!(layout.footer().start(), payload.end() + table_len, "{what}");
    assert_eq!(layout.footer().len(), to_u64(FRAME_FOOTER_LEN_BYTES), "{what}");
    assert_eq!(layout.content_len_bytes(), layout.footer().end(), "{what}");
    let padding = layout.total_len_bytes() - layout.footer().end();
    assert!(padding < alignment, "no more padding than needed: {what}");
    assert!(
        layout.total_len_bytes().is_multiple_of(alignment),
        "the frame is whole units: {what}"
    );
}

#[test]
fn every_short_payload_in_every_leaf_length_is_laid_out_in_order_and_aligned() {
    for payload_len_bytes in 1..=9000_u64 {
        for leaf_len in [1, 7, KIB, 64 * KIB] {
            let leaves = u32::try_from(payload_len_bytes.div_ceil(leaf_len)).expect("small");
            check_layout(payload_len_bytes, leaves);
        }
    }
}

#[test]
fn payloads_at_every_edge_are_laid_out_in_order_and_aligned() {
    let edges = [4 * KIB, 64 * KIB, MIB, 4 * MIB, 8 * MIB];
    for edge in edges {
        for payload_len_bytes in edge - 130..=edge + 130 {
            for leaf_log2 in [10, 16, 20] {
                let leaf = LeafLen::from_log2(leaf_log2).expect("leaf length");
                let leaves = u32::try_from(leaf.count_for(payload_len_bytes)).expect("small");
                check_layout(payload_len_bytes, leaves);
                // A parity shard has its slice of the table column as one leaf more.
                check_layout(payload_len_bytes, leaves + 1);
            }
        }
    }
    // The table fills its padding to the last byte, and spills into the next 4 KiB.
    for leaves in 120..=125 {
        check_layout(64 * KIB + 5, leaves);
    }
}

#[test]
fn lengths_outside_the_bounds_are_refused_and_the_bounds_themselves_are_not() {
    let most = u64::from(MAX_FRAME_LEAVES) * MIB + 2 * MIB;
    check_layout(most, MAX_FRAME_LEAVES);
    check_layout(3 * MIB, 1);
    check_layout(5, 5);
    for (payload_len_bytes, leaf_count) in [
        (0, 0),
        (0, 1),
        (1, 0),
        (4, 5),
        (3 * MIB + 1, 1),
        (most + 1, MAX_FRAME_LEAVES),
        (most, MAX_FRAME_LEAVES + 1),
        (u64::MAX, u32::MAX),
        (u64::MAX, 1),
        (0, u32::MAX),
    ] {
        assert_eq!(
            FrameLayout::new(payload_len_bytes, leaf_count),
            Err(FormatError::FrameLen {
                payload_len_bytes,
                leaf_count
            })
        );
    }
}

#[test]
fn the_longest_shards_that_geometry_allows_have_a_layout() {
    for (data, parity) in [(1, 255), (255, 1), (30, 3)] {
        let leaf = LeafLen::from_log2(20).expect("1 MiB");
        let block = BlockGeometry::from_parts(BlockGeometryParts {
            shape: CodeShape::new(data, parity).expect("shape"),
            leaf,
            file_leaves: FileLeaves::Many,
            base_offset: 0,
            data_len_bytes: u64::from(data) * 65_536 * leaf.bytes(),
        })
        .expect("the longest block");
        for shard in block.shards() {
            let layout = FrameLayout::of_shard(&block, shard).expect("every shard is stored");
            assert_eq!(
                layout.payload().len(),
                block.shard_len_bytes(shard),
                "shard {shard}"
            );
            check_layout(layout.payload().len(), layout.leaf_count());
        }
    }
}

#[test]
fn absent_shards_and_shards_beyond_the_code_have_no_frame() {
    let block = BlockGeometry::from_parts(BlockGeometryParts {
        data_len_bytes: 1,
        ..*example_block().parts()
    })
    .expect("a block of one byte");
    let stored: Vec<bool> = (0..5)
        .map(|shard| FrameLayout::of_shard(&block, ShardIndex::new(shard)).is_some())
        .collect();
    assert_eq!(
        stored,
        [true, false, true, false, false],
        "data, absent, parity, none"
    );
    assert_eq!(FrameLayout::of_shard(&block, ShardIndex::new(u16::MAX)), None);
}

#[test]
fn frames_begin_aligned_behind_the_extent_header_and_end_before_the_last_offset() {
    let header = to_u64(EXTENT_HEADER_LEN_BYTES);
    let (small, large) = (FrameLayout::new(1, 1), FrameLayout::new(64 * KIB, 1));
    let (small, large) = (small.expect("layout"), large.expect("layout"));
    let begins = |layout: &FrameLayout, offsets: &[u64]| -> Vec<bool> {
        offsets
            .iter()
            .map(|&offset| layout.may_begin_at(offset))
            .collect()
    };
    let offsets = [0, header - 64, header, header + 1, header + 64, 2 * header];
    assert_eq!(begins(&small, &offsets), [false, false, true, false, true, true]);
    assert_eq!(begins(&large, &offsets), [false, false, true, false, false, true]);
    let last = u64::MAX - 63;
    assert_eq!(
        begins(&small, &[last, last - 256, last - 320]),
        [false, false, true]
    );
}

proptest! {
    #[test]
    fn any_two_numbers_are_laid_out_or_refused(payload_len_bytes in any::<u64>(), shift in 0..64_u32, leaf_count in any::<u32>()) {
        let payload_len_bytes = payload_len_bytes >> shift;
        let leaf_count = leaf_count >> (shift / 2);
        let leaves = u64::from(leaf_count);
        let fits = (1..=65_537).contains(&leaves) && payload_len_bytes >= leaves && payload_len_bytes <= leaves * MIB + 2 * MIB;
        prop_assert_eq!(FrameLayout::new(payload_len_bytes, leaf_count).is_ok(), fits);
        if fits {
            check_layout(payload_len_bytes, leaf_count);
        }
    }
}
