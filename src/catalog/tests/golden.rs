//! The bytes of every row, which no change of code or dependency may change. The rows are drawn in docs/catalog.md.

use serde::{Serialize, de::DeserializeOwned};

use super::*;
use crate::catalog::rows::*;
use crate::catalog::tables::*;
use crate::error::CatalogTable;
use crate::units::{ByteRange, ShardIndex};

/// Compares a row with its golden bytes, and reads it back from them.
#[track_caller]
pub(super) fn golden<B: Serialize + DeserializeOwned>(
    table: CatalogTable,
    key: &[u8],
    body: &B,
    expected: &str,
) -> B {
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
    };
    let row = seal(table, key, body);
    let expected: String = expected.split_whitespace().collect();
    assert_eq!(format!("{}:{}", hex(key), hex(&row)), expected, "{table}");
    unseal(table, key, &row).expect("sound")
}

fn file() -> (FileRecord, BlockRecord) {
    let geometry = FileGeometry::new(1000, &policy());
    let file = FileRecord {
        kind: EntryKind::File,
        id: FileId::new(0x1_02),
        name: FileName::from_bytes(b"a/\xff").expect("valid"),
        mode: 0o100_644,
        modified_at: Timestamp::new(-2, 999_999_999).expect("valid"),
        committed_at: Timestamp::new(1_700_000_000, 0).expect("valid"),
        version: 3,
        is_kept: false,
        commit: CommitId::new(9),
        geometry,
        root: RootHash::from_bytes([0x11; 32]),
        stored_bytes: 2400,
    };
    let shard = |extent, digest| {
        Some(ShardRecord {
            extent: ExtentId::new(extent),
            offset: 4096,
            frame_len_bytes: 1200,
            digest: ShardDigest::from_bytes([digest; 32]),
        })
    };
    let block = BlockRecord {
        id: BlockId::new(300),
        file: file.id,
        index: BlockIndex::new(0),
        reference_count: 1,
        geometry: geometry.block(BlockIndex::new(0)),
        shards: vec![shard(1, 0x22), shard(2, 0x22)],
    };
    (file, block)
}

#[test]
fn rows_of_meta_have_their_golden_bytes() {
    let row = golden(
        CatalogTable::Meta,
        META_ARCHIVE,
        &ArchiveRow::new(&archive()),
        "61726368697665:
             01a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5010080c49fd50c050a80200101808001010280100302801080c8afa025030280808002034a002c071c3a",
    );
    assert_eq!(row.parse(), Ok(archive()));
    let counters = CountersRow {
        epoch: 1,
        next_file: 2,
        next_block: 300,
        next_extent: 4,
        next_commit: u64::MAX,
    };
    assert_eq!(
        golden(
            CatalogTable::Meta,
            META_COUNTERS,
            &counters,
            "636f756e74657273:010102ac0204ffffffffffffffffff0149ebbfc3"
        ),
        counters
    );
    let mut counts = RowCountsRow::default();
    for (number, table) in (1..).zip(COUNTED_TABLES) {
        *counts.get_mut(table) = number;
    }
    assert_eq!(
        golden(
            CatalogTable::Meta,
            META_ROW_COUNTS,
            &counts,
            "726f775f636f756e7473:010102030405060708090a0b0c0d0e0f1011223c9c02"
        ),
        counts
    );
    let journal = JournalRow {
        bytes: b"\x00journal".to_vec(),
    };
    let row = golden(
        CatalogTable::Meta,
        META_JOURNAL,
        &journal,
        "6a6f75726e616c:0108006a6f75726e616c4a95efcf",
    );
    assert_eq!(row.bytes, b"\x00journal");
}

#[test]
fn rows_of_totals_have_their_golden_bytes() {
    let tier = |files, bytes| TierTotals { files, bytes };
    let tiers = [tier(1, 1000), tier(2, 2000), tier(3, 3000), tier(4, 4000)];
    let totals = Totals {
        files: 10,
        bytes: 10_000,
        stored_bytes: 12_000,
        blocks: 9,
        directories: 4,
        symbolic_links: 5,
        tiers,
        kept: KeptTotals {
            files: 300,
            symbolic_links: 6,
            bytes: 7,
            stored_bytes: 8,
        },
    };
    assert_eq!(
        golden(
            CatalogTable::Totals,
            TOTALS_ALL,
            &TotalsRow::new(&totals),
            "616c6c:010a904ee05d09040501e80702d00f03b81704a01fac020607080ee07bbb"
        )
        .parse(),
        totals
    );
    let health = HealthTotals {
        degraded_files: 3,
        lost_files: 300,
        unverified_files: 0,
        damaged_shards: 5000,
        damaged_descriptors: 2,
        lost_descriptors: 1,
    };
    let row = golden(
        CatalogTable::Totals,
        TOTALS_HEALTH,
        &HealthRow::new(&health),
        "6865616c7468:0103ac0288270201de4f4ef7",
    );
    assert_eq!(row.parse(), health);
}

#[test]
fn rows_of_files_and_blocks_have_their_golden_bytes() {
    let (file, block) = file();
    let row = FileRow::new(&file, Some(&block));
    let row = golden(
        CatalogTable::Files,
        &file_key(file.id),
        &row,
        "0000000000000102:
             0103612fff0100a4830203ff93ebdc0380c49fd50c00030009e8070101010a01000101000011111111111111111111111111
             11111111111111111111111111111111111111e01201ac020201802002802001b0092222222222222222222222222222
             2222222222222222222222222222222222228937ec19",
    );
    assert_eq!(row.parse(file.id), Ok((file.clone(), Some(block.clone()))));

    let large = FileRecord {
        geometry: FileGeometry::new(40_000, &policy()),
        ..file.clone()
    };
    let row = golden(
        CatalogTable::Files,
        &file_key(file.id),
        &FileRow::new(&large, None),
        "0000000000000102:
             0103612fff0100a4830203ff93ebdc0380c49fd50c00030009c0b8020303020a070002020000111111111111111111111111
             1111111111111111111111111111111111111111e01200f8a7f198",
    );
    assert_eq!(row.parse(file.id), Ok((large.clone(), None)));

    let row = NameRow { file: file.id.get() };
    let row = golden(
        CatalogTable::Names,
        file.name.as_bytes(),
        &row,
        "612fff:0182024343e026",
    );
    assert_eq!(row.file, file.id.get());

    let key = file_block_key(file.id, BlockIndex::new(7));
    assert_eq!(
        golden(
            CatalogTable::FileBlocks,
            &key,
            &FileBlockRow { block: 300 },
            "00000000000001020000000000000007:01ac021958042a"
        )
        .block,
        300
    );

    let index = BlockIndex::new(large.geometry.block_count() - 1);
    let geometry = large.geometry.block(index);
    let shards = geometry
        .shards()
        .map(|shard| geometry.is_present(shard).then_some(block.shards[0]).flatten());
    let shards = shards.collect();
    let last = BlockRecord {
        index,
        reference_count: 2,
        geometry,
        shards,
        ..block
    };
    let row = golden(
        CatalogTable::Blocks,
        &block_key(last.id),
        &BlockRow::new(&last),
        "000000000000012c:
             018202060203020a0280a002c0180401802001802001802001802004b009222222222222222222222222222222222222
             2222222222222222222222222222b0092222222222222222222222222222222222222222222222222222222222222222
             b0092222222222222222222222222222222222222222222222222222222222222222b009222222222222222222222222
             222222222222222222222222222222222222222275865e81",
    );
    assert_eq!(row.parse(last.id), Ok(last));
}

#[test]
fn rows_of_kept_versions_have_their_golden_bytes() {
    let (file, block) = file();
    let kept = FileRecord {
        is_kept: true,
        ..file.clone()
    };
    let row = golden(
        CatalogTable::Files,
        &file_key(file.id),
        &FileRow::new(&kept, Some(&block)),
        "0000000000000102:
             0103612fff0100a4830203ff93ebdc0380c49fd50c00030109e8070101010a01000101000011111111111111111111111111
             11111111111111111111111111111111111111e01201ac020201802002802001b0092222222222222222222222222222
             222222222222222222222222222222222222902d2248",
    );
    assert_eq!(row.parse(file.id), Ok((kept, Some(block))));

    let key = version_key(&file.name, file.version);
    let row = VersionRow { file: file.id.get() };
    let row = golden(
        CatalogTable::Versions,
        &key,
        &row,
        "612fff000000000000000003:018202bd74592f",
    );
    assert_eq!(row.file, file.id.get());
    assert_eq!(
        parse_version_key(&key).expect("a key"),
        (file.name.clone(), file.version)
    );
}

#[test]
fn rows_of_directories_and_links_have_their_golden_bytes() {
    let empty = |kind: EntryKind| FileRecord {
        kind,
        geometry: FileGeometry::new(0, &policy()),
        root: RootHash::from_bytes(EMPTY_ROOT),
        stored_bytes: 0,
        ..file().0
    };
    for (kind, expected) in [
        (
            EntryKind::Directory,
            "0000000000000102:
             0103612fff0200a4830203ff93ebdc0380c49fd50c00030009000101010a000000000000af1349b9f5f9a1a6a0404dea36dc
             c9499bcb25c9adc112b7cc9a93cae41f326200008652677b",
        ),
        (
            link_to(b"../x"),
            "0000000000000102:
             0103612fff03042e2e2f78a4830203ff93ebdc0380c49fd50c00030009000101010a000000000000af1349b9f5f9a1a6a040
             4dea36dcc9499bcb25c9adc112b7cc9a93cae41f32620000974372ab",
        ),
    ] {
        let entry = empty(kind);
        let row = golden(
            CatalogTable::Files,
            &file_key(entry.id),
            &FileRow::new(&entry, None),
            expected,
        );
        assert_eq!(row.parse(entry.id), Ok((entry, None)));
    }
}

#[test]
fn rows_of_volumes_and_extents_have_their_golden_bytes() {
    let volume = volumes().pop().expect("two");
    let key = volume_key(volume.number);
    let row = golden(
        CatalogTable::Volumes,
        &key,
        &VolumeRow::new(&volume),
        "0000000000000002:
             01020202020202020202020202020202020a2f6d6e742fff2f74776f01009994206d",
    );
    assert_eq!(row.parse(2), Ok(volume.clone()));

    let extent = ExtentRecord {
        id: ExtentId::new(0x0102_0304),
        volume: volume.id,
        lane: LaneIndex::new(32),
        state: ExtentState::Open,
        owner: Some(CommitId::new(77)),
        end_bytes: 1 << 30,
        live_bytes: 5000,
        live_shards: 2,
        live_files: 300,
    };
    let key = extent_key(extent.id);
    let row = golden(
        CatalogTable::Extents,
        &key,
        &ExtentRow::new(&extent, 2),
        "0000000001020304:01022001014d8080808004882702ac021ebbd65e",
    );
    assert_eq!(row.parse(extent.id, volume.id), Ok(extent.clone()));
    let abandoned = ExtentRecord {
        state: ExtentState::Abandoned,
        ..extent.clone()
    };
    let row = golden(
        CatalogTable::Extents,
        &key,
        &ExtentRow::new(&abandoned, 2),
        "0000000001020304:01022003014d8080808004882702ac02550e8a3e",
    );
    assert_eq!(row.parse(extent.id, volume.id), Ok(abandoned));
    let sealed = ExtentRecord {
        state: ExtentState::Sealed,
        owner: None,
        ..extent
    };
    let row = golden(
        CatalogTable::Extents,
        &key,
        &ExtentRow::new(&sealed, 2),
        "0000000001020304:01022002008080808004882702ac02f0712ae7",
    );
    assert_eq!(row.parse(sealed.id, volume.id), Ok(sealed));
}

#[test]
fn a_dropped_extent_has_its_golden_bytes_no_end_and_no_owner() {
    let mut world = World::new();
    world.ends = [0; LANES as usize];
    let volume = volumes()[1].clone();
    let dropped = ExtentRecord {
        id: ExtentId::new(0x0102_0304),
        lane: LaneIndex::new(32),
        state: ExtentState::Dropped,
        ..world.extent(1)
    };
    let key = extent_key(dropped.id);
    let row = golden(
        CatalogTable::Extents,
        &key,
        &ExtentRow::new(&dropped, 2),
        "0000000001020304:01022004000000000000de8d02",
    );
    assert_eq!(row.parse(dropped.id, volume.id), Ok(dropped.clone()));
    for impossible in [
        ExtentRow {
            end_bytes: 1,
            ..ExtentRow::new(&dropped, 2)
        },
        ExtentRow {
            owner: Some(7),
            ..ExtentRow::new(&dropped, 2)
        },
    ] {
        let parsed = impossible.parse(dropped.id, volume.id);
        parsed.expect_err("a dropped extent has no end and no owner");
    }
}

#[test]
fn rows_of_freed_have_their_golden_bytes() {
    let key = freed_key(ExtentId::new(0x0102_0304), 4096);
    let range = ByteRange::new(4096, 1 << 20).expect("in order");
    let row = golden(
        CatalogTable::Freed,
        &key,
        &FreedRow::new(&range),
        "00000000010203040000000000001000:01808040b2712a6e",
    );
    assert_eq!(row.parse(4096), Ok(range));
    row.parse(1 << 20).expect_err("no bytes");
}

#[test]
fn rows_of_extent_shards_have_their_golden_bytes() {
    let key = extent_shard_key(ExtentId::new(0x0102_0304), 4096);
    for (owner, expected) in [
        (
            ShardOwner::Block(BlockId::new(300)),
            "00000000010203040000000000001000:0101ac02ff016e6ec7cf",
        ),
        (
            ShardOwner::InlineBlockOf(FileId::new(258)),
            "00000000010203040000000000001000:01028202ff01b3cc8ac8",
        ),
        (
            ShardOwner::Descriptor(CommitId::new(258)),
            "00000000010203040000000000001000:01038202ff0103e5eaf5",
        ),
    ] {
        let shard = ShardIndex::new(255);
        let row = golden(
            CatalogTable::ExtentShards,
            &key,
            &ExtentShardRow::new(owner, shard),
            expected,
        );
        assert_eq!(row.parse(), Ok((owner, shard)));
    }
}

#[test]
fn rows_of_intents_have_their_golden_bytes() {
    let commit = CommitId::new(9);
    let key = commit_key(commit);
    for (intent, expected) in [
        (
            intents::intent(commit),
            "0000000000000009:01014d84c49fd50c0503612f62ff1f001f1ebca3",
        ),
        (
            IntentRecord {
                session: None,
                resumable: Some(intents::resumable(FileId::new(300))),
                ..intents::intent(commit)
            },
            "0000000000000009:
             010084c49fd50c0503612f62ff1f010d2f686f6d652fff2f6c61726765c0b802050580c0f0f50b05828604808080808
             020ac02f403c0b8020303020a07000202000080830202ac0202000500010203040101028020020809808080800403050403
             0201000101028020020a0b808080800402020c045ab9e2e17388d5947d20f1de54346d0cc01b39f43ba85e848817b70
             e4f3882276daf4295d577909c518fcc3c25d44a022d2e6117b658582ab4b0b4a5206d8d7d0a0a0a0a0a0a0a0a0a0a0a
             0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0
             b0b0b0b0b0b031203c3557435a60a00f199f6b7fb4fa254664cc5a4864f3056621aadf5c5a9e0df1910101010101010
             10101010101010101010101010101010101010101010101010111111111111111111111111111111111111111111111
             111111111111111111174443adb",
        ),
    ] {
        let row = golden(CatalogTable::Intents, &key, &IntentRow::new(&intent), expected);
        assert_eq!(row.parse(commit), Ok(intent));
    }
}

#[test]
fn rows_of_descriptors_have_their_golden_bytes() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let commit = CommitId::new(300);
    for (len_bytes, expected) in [
        (
            700,
            "000000000000012c:
             0180200101010abc050201802002802001fc06dddddddddddddddddddddddddddddddddddddddddddddddddddddddddd
             ddddddd803562b",
        ),
        (
            5000,
            "000000000000012c:
             0180200201010a88270201fc2602fc2601c828dddddddddddddddddddddddddddddddddddddddddddddddddddddddddd
             dddddd81b69cfb",
        ),
    ] {
        let mut descriptor = world.descriptor(&mut writer, commit, len_bytes);
        descriptor.described = Described::Entries(4096);
        let row = golden(
            CatalogTable::Descriptors,
            &commit_key(commit),
            &DescriptorRow::new(&descriptor),
            expected,
        );
        assert_eq!(row.parse(commit), Ok(descriptor));
    }
}
