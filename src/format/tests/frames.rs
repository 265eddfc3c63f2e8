//! Frame headers and footers, extent headers: claims, contradictions, identities.

use super::*;
use crate::{
    error::{FooterField, IdentityMismatch},
    format::{FrameLayout, FramePlace},
};
use proptest::prelude::{Just, Strategy, any, prop_assert, prop_assert_eq, prop_oneof, proptest};

/// Any block that geometry allows, of one to three columns more often than of many.
fn any_block() -> impl Strategy<Value = BlockGeometry> {
    let shape = (1..=255_u16).prop_flat_map(|data| (Just(data), 1..=256 - data));
    (
        shape,
        10..=20_u8,
        any::<u64>(),
        0..60_u32,
        any::<u64>(),
        any::<bool>(),
    )
        .prop_map(|((data, parity), log2, len, shift, base, single)| {
            let leaf = LeafLen::from_log2(log2).expect("leaf length");
            let longest = u64::from(data) * leaf.bytes() * 65_536;
            let longest = if single { leaf.bytes() } else { longest };
            let data_len_bytes = (len >> shift) % longest + 1;
            let base = (base >> shift) % (u64::MAX - data_len_bytes);
            let base_offset = if single {
                0
            } else {
                base / leaf.bytes() * leaf.bytes()
            };
            let file_leaves = if single { FileLeaves::One } else { FileLeaves::Many };
            BlockGeometry::from_parts(BlockGeometryParts {
                shape: CodeShape::new(data, parity).expect("shape"),
                leaf,
                file_leaves,
                base_offset,
                data_len_bytes,
            })
            .expect("a block")
        })
}

fn any_header() -> impl Strategy<Value = FrameHeader> {
    let ids = (
        any::<[u8; 16]>(),
        any::<[u8; 16]>(),
        any::<[u64; 3]>(),
        any::<[u8; 32]>(),
    );
    let kinds = prop_oneof![Just(FrameKind::File), Just(FrameKind::Descriptor)];
    (kinds, any_block(), any::<u16>(), any::<u32>(), ids).prop_map(
        |(kind, block, shard, place, (archive, volume, [extent, commit, block_id], digest))| {
            let stored: Vec<ShardIndex> = block.shards().filter(|&shard| block.is_present(shard)).collect();
            let shard = stored[usize::from(shard) % stored.len()];
            let alignment = FrameLayout::of_shard(&block, shard)
                .expect("stored")
                .alignment_bytes();
            let identity = FrameIdentity {
                archive: ArchiveId::from_bytes(archive),
                volume: VolumeId::from_bytes(volume),
                extent: ExtentId::new(extent),
                offset: 4096 + u64::from(place) * alignment,
                block: BlockId::new(block_id),
                shard,
            };
            FrameHeader::of_shard(
                kind,
                identity,
                CommitId::new(commit),
                block,
                ShardDigest::from_bytes(digest),
            )
        },
    )
}

proptest! {
    #[test]
    fn every_header_and_footer_reads_back(header in any_header()) {
        let claimed = ClaimedFrame::parse(&header.encode());
        let frame = claimed.expect("intact").check(header.identity()).expect("in its place");
        prop_assert_eq!(frame.header(), &header);
        prop_assert_eq!(frame.block(), header.block());
        prop_assert_eq!(Some(*frame.layout()), FrameLayout::of_shard(header.block(), header.identity().shard));
        let footer = FrameFooter::of(&header).encode();
        prop_assert_eq!(FrameFooter::check(&footer, &header), Ok(()));
        let footer = FrameFooter::parse(&footer).expect("intact");
        prop_assert_eq!(footer.content_len_bytes(), header.layout().content_len_bytes());
    }

    #[test]
    fn the_footer_of_one_frame_does_not_pass_for_that_of_another(one in any_header(), other in any_header()) {
        let footer = FrameFooter::of(&one).encode();
        let refused = matches!(FrameFooter::check(&footer, &other), Err(FormatError::Footer { .. }));
        prop_assert!(refused);
    }
}

/// What the parser says about the example with one field changed and a right checksum.
fn claim(offset: usize, field: &[u8]) -> FormatError {
    ClaimedFrame::parse(&forge(&example_header().encode(), offset, field)).expect_err("a contradiction")
}

#[test]
fn kinds_and_transforms_of_later_versions_are_named_and_not_damage() {
    for kind in [0, 3, 255] {
        let error = claim(10, &[kind]);
        assert_eq!(error, FormatError::UnknownKind { kind });
        assert!(error.needs_newer_version(), "kind {kind}");
    }
    let error = claim(120, &7_u32.to_le_bytes());
    assert_eq!(error, FormatError::UnknownTransform { transform: 7 });
    assert!(error.needs_newer_version(), "transform");
}

#[test]
fn claims_that_contradict_each_other_are_named() {
    let block = *example_block().parts();
    let shape = |data, parity| CodeShape::new(data, parity);
    let cases = [
        (11, vec![9], FormatError::LeafLen { log2: 9 }),
        (14, vec![0], FormatError::FileLeaves { number: 0 }),
        (
            80,
            vec![0, 0],
            FormatError::Shape {
                source: shape(0, 1).expect_err("no data"),
            },
        ),
        (
            88,
            1_u64.to_le_bytes().to_vec(),
            FormatError::Geometry {
                shape: block.shape,
                leaf: block.leaf,
                base_offset: 1,
                data_len_bytes: 3048,
            },
        ),
        (
            12,
            vec![3, 0],
            FormatError::NoSuchShard {
                shard: ShardIndex::new(3),
                shape: block.shape,
                data_len_bytes: 3048,
            },
        ),
        (
            104,
            2111_u64.to_le_bytes().to_vec(),
            FormatError::PayloadLen {
                expected_bytes: 2112,
                found_bytes: 2111,
            },
        ),
        (
            112,
            2113_u64.to_le_bytes().to_vec(),
            FormatError::StoredLen {
                expected_bytes: 2112,
                found_bytes: 2113,
            },
        ),
        (
            84,
            vec![2],
            FormatError::LeafCount {
                expected: 3,
                found: 2,
            },
        ),
        (
            56,
            4095_u64.to_le_bytes().to_vec(),
            FormatError::FrameOffset {
                offset: 4095,
                len_bytes: 2624,
                alignment_bytes: 64,
            },
        ),
    ];
    for (offset, field, expected) in cases {
        let error = claim(offset, &field);
        assert!(!error.needs_newer_version(), "{error}");
        assert_eq!(error, expected, "byte {offset}");
    }
}

#[test]
fn a_shard_that_the_block_does_not_store_is_refused() {
    let mut bytes = example_header().encode().to_vec();
    bytes = forge(&bytes, 96, &1_u64.to_le_bytes());
    bytes = forge(&bytes, 12, &[1, 0]);
    let error = ClaimedFrame::parse(&bytes).expect_err("shard 1 of a block of one byte is absent");
    assert!(matches!(error, FormatError::NoSuchShard { .. }), "{error:?}");
}

#[test]
fn the_first_identity_that_differs_is_named_with_both_values() {
    let here = example_identity();
    let archive = ArchiveId::from_bytes([1; 16]);
    let volume = VolumeId::from_bytes([2; 16]);
    let (extent, block) = (ExtentId::new(70), BlockId::new(110));
    let (offset, shard) = (4096, ShardIndex::new(0));
    let cases = [
        (
            FrameIdentity { archive, ..here },
            IdentityMismatch::Archive {
                expected: archive,
                found: here.archive,
            },
        ),
        (
            FrameIdentity { volume, ..here },
            IdentityMismatch::Volume {
                expected: volume,
                found: here.volume,
            },
        ),
        (
            FrameIdentity { extent, ..here },
            IdentityMismatch::Extent {
                expected: extent,
                found: here.extent,
            },
        ),
        (
            FrameIdentity { offset, ..here },
            IdentityMismatch::Offset {
                expected: offset,
                found: here.offset,
            },
        ),
        (
            FrameIdentity { block, ..here },
            IdentityMismatch::Block {
                expected: block,
                found: here.block,
            },
        ),
        (
            FrameIdentity { shard, ..here },
            IdentityMismatch::Shard {
                expected: shard,
                found: here.shard,
            },
        ),
    ];
    let bytes = example_header().encode();
    for (expected, mismatch) in cases {
        let claimed = ClaimedFrame::parse(&bytes).expect("intact");
        assert_eq!(claimed.check(&expected), Err(mismatch), "{mismatch}");
        let place_differs = expected.place() != here.place();
        assert_eq!(
            claimed.check_place(&expected.place()).is_err(),
            place_differs,
            "{mismatch}"
        );
        assert_eq!(claimed.identity(), &here, "a report can say what stands there");
    }
    let both = FrameIdentity {
        extent,
        shard,
        ..here
    };
    let first = ClaimedFrame::parse(&bytes).expect("intact").check(&both);
    assert!(matches!(first, Err(IdentityMismatch::Extent { .. })), "{first:?}");
}

#[test]
fn a_scan_believes_a_frame_in_its_place_without_knowing_the_block() {
    let FrameIdentity {
        archive,
        volume,
        extent,
        offset,
        ..
    } = example_identity();
    let place = FramePlace {
        archive,
        volume,
        extent,
        offset,
    };
    let claimed = ClaimedFrame::parse(&example_header().encode()).expect("intact");
    let frame = claimed.check_place(&place).expect("in its place");
    assert_eq!(frame.header().identity().block, BlockId::new(11));
    assert_eq!(frame.header().commit(), CommitId::new(9));
    assert_eq!(frame.header().digest(), ShardDigest::from_bytes(counting(0xc0)));
}

#[test]
fn every_field_that_a_footer_repeats_is_compared() {
    let header = example_header();
    let footer = FrameFooter::of(&header).encode();
    for (offset, expected) in [
        (16, FooterField::Block),
        (10, FooterField::Shard),
        (24, FooterField::ContentLen),
        (12, FooterField::HeaderCrc),
    ] {
        let error = FrameFooter::check(&forge(&footer, offset, &[0x5a]), &header).expect_err("another frame");
        assert!(
            matches!(error, FormatError::Footer { field, found, .. } if field == expected && found & 0xff == 0x5a),
            "{expected}: {error:?}"
        );
    }
}

#[test]
fn every_flipped_bit_of_a_footer_is_noticed_by_its_check() {
    let header = example_header();
    let mut footer = FrameFooter::of(&header).encode();
    for bit in 0..footer.len() * 8 {
        footer[bit / 8] ^= 1 << (bit % 8);
        assert!(FrameFooter::check(&footer, &header).is_err(), "bit {bit}");
        footer[bit / 8] ^= 1 << (bit % 8);
    }
    assert_eq!(FrameFooter::check(&footer, &header), Ok(()));
}

#[test]
fn an_extent_of_another_archive_or_volume_or_with_another_id_is_named() {
    let header = example_extent();
    let here = header.identity;
    let archive = ArchiveId::from_bytes([1; 16]);
    let volume = VolumeId::from_bytes([2; 16]);
    let extent = ExtentId::new(70);
    let claimed = ClaimedExtent::parse(&header.encode()).expect("intact");
    assert_eq!(claimed.check(&here), Ok(header));
    assert_eq!(claimed.identity(), &here);
    for (expected, mismatch) in [
        (
            ExtentIdentity { archive, ..here },
            IdentityMismatch::Archive {
                expected: archive,
                found: here.archive,
            },
        ),
        (
            ExtentIdentity { volume, ..here },
            IdentityMismatch::Volume {
                expected: volume,
                found: here.volume,
            },
        ),
        (
            ExtentIdentity { extent, ..here },
            IdentityMismatch::Extent {
                expected: extent,
                found: here.extent,
            },
        ),
    ] {
        assert_eq!(claimed.check(&expected), Err(mismatch));
    }
}

proptest! {
    #[test]
    fn every_extent_header_reads_back(archive in any::<[u8; 16]>(), volume in any::<[u8; 16]>(), numbers in any::<[u64; 2]>(), lane in any::<u16>()) {
        let identity = ExtentIdentity {
            archive: ArchiveId::from_bytes(archive),
            volume: VolumeId::from_bytes(volume),
            extent: ExtentId::new(numbers[0]),
        };
        let header = ExtentHeader { identity, lane: LaneIndex::new(lane), commit: CommitId::new(numbers[1]) };
        prop_assert_eq!(ClaimedExtent::parse(&header.encode()).expect("intact").check(&identity), Ok(header));
    }
}

#[test]
#[should_panic(expected = "shard 1 is stored")]
fn writing_a_frame_of_an_absent_shard_is_a_bug() {
    let block = BlockGeometry::from_parts(BlockGeometryParts {
        data_len_bytes: 1,
        ..*example_block().parts()
    })
    .expect("a block");
    let identity = FrameIdentity {
        shard: ShardIndex::new(1),
        ..example_identity()
    };
    FrameHeader::of_shard(
        FrameKind::File,
        identity,
        CommitId::new(9),
        block,
        ShardDigest::from_bytes([0; 32]),
    );
}

#[test]
#[should_panic(expected = "may begin at offset 4097")]
fn writing_a_frame_to_an_unaligned_offset_is_a_bug() {
    let identity = FrameIdentity {
        offset: 4097,
        ..example_identity()
    };
    FrameHeader::of_shard(
        FrameKind::File,
        identity,
        CommitId::new(9),
        example_block(),
        ShardDigest::from_bytes([0; 32]),
    );
}
