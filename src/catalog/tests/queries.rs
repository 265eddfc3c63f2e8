//! What is put comes back, in order, by every way of asking.

use super::*;

#[test]
fn everything_that_is_stored_is_read_back_by_readers_writers_and_later_openers() {
    let world = furnished();
    let expected = world.expected(3);
    let catalog = world.open(Access::Write);
    assert_eq!(
        Dump::of(&catalog.write().expect("writer")).expect("sound"),
        expected
    );
    assert_eq!(
        Dump::of(&catalog.read().expect("reader")).expect("sound"),
        expected
    );
    catalog.close().expect("closed");
    for access in [Access::Read, Access::Write] {
        assert_eq!(
            Dump::at(&world.path(), access).expect("sound"),
            expected,
            "{access:?}"
        );
    }
}

#[test]
fn what_is_not_there_is_none_after_the_table_was_found_whole() {
    let world = furnished();
    let unchecked = Check::WhenSmall {
        file_len_bytes: u64::MAX,
    };
    for access in [Access::Read, Access::Write] {
        let catalog = Catalog::open(
            &host(),
            &world.path(),
            access,
            unchecked,
            CatalogOptions::default(),
        )
        .expect("opened");
        let reader = catalog.read().expect("reader");
        assert_eq!(reader.file_by_name(&name("a/2")).expect("sound"), None);
        assert_eq!(reader.file(FileId::new(999)).expect("sound"), None);
        assert_eq!(reader.extent(ExtentId::new(999)).expect("sound"), None);
        assert_eq!(reader.block_by_id(BlockId::new(999)).expect("sound"), None);
        assert_eq!(reader.files_with_blocks(&[FileId::new(999)]).expect("sound"), []);
        let gone = ShardOwner::InlineBlockOf(FileId::new(999));
        assert_eq!(reader.block_by_owner(gone).expect("sound"), None);
        drop(reader);
        catalog.close().expect("closed");
    }
}

#[test]
fn blocks_and_extents_are_found_by_their_ids_and_owners() {
    let world = furnished();
    let catalog = world.open(Access::Read);
    let reader = catalog.read().expect("reader");
    for (_, blocks) in world.files.values() {
        for block in blocks {
            let inline = blocks.len() == 1;
            let stored = reader.block_by_id(block.id).expect("sound");
            assert_eq!(stored.as_ref(), (!inline).then_some(block));
            let owner = if inline {
                ShardOwner::InlineBlockOf(block.file)
            } else {
                ShardOwner::Block(block.id)
            };
            assert_eq!(reader.block_by_owner(owner).expect("sound").as_ref(), Some(block));
        }
    }
    let stored = world.files.values().map(|(file, blocks)| {
        let inline = (blocks.len() == 1).then(|| blocks[0].clone());
        (file.clone(), inline)
    });
    let stored: Vec<(FileRecord, Option<BlockRecord>)> = stored.collect();
    // One that is gone in between, and one behind.
    let mut ids: Vec<FileId> = stored.iter().map(|(file, _block)| file.id).collect();
    ids.insert(1, FileId::new(999));
    ids.push(FileId::new(998));
    assert_eq!(reader.files_with_blocks(&ids).expect("sound"), stored);
    for extent in world.expected(0).extents {
        assert_eq!(reader.extent(extent.id).expect("sound"), Some(extent));
    }
}

#[test]
fn names_of_4096_bytes_and_blocks_of_256_shards_fit() {
    let mut world = World::new();
    let wide = CodeShape::new(200, 56).expect("256 shards");
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let long = FileName::from_bytes(&[0xff; 4096]).expect("valid");
    let (mut file, _) = world.file(&mut writer, &long, 1024);
    let parts = PolicyParts {
        tiny_shape: wide,
        ..*policy().parts()
    };
    file.geometry = FileGeometry::new(4095, &Policy::new(parts).expect("valid policy"));
    let geometry = file.geometry.block(BlockIndex::new(0));
    let shards = geometry.shards().map(|shard| {
        geometry.is_present(shard).then(|| ShardRecord {
            extent: ExtentId::new(6),
            offset: (u64::MAX / 512) * u64::from(shard.get()),
            frame_len_bytes: u64::MAX / 512,
            digest: ShardDigest::from_bytes([0xff; 32]),
        })
    });
    let id = writer.allocate_block_ids(1).next().expect("one");
    let index = BlockIndex::new(0);
    let block = BlockRecord {
        id,
        file: file.id,
        index,
        reference_count: 1,
        geometry,
        shards: shards.collect(),
    };
    let extent = ExtentRecord {
        id: ExtentId::new(6),
        end_bytes: u64::MAX,
        ..world.extent(0)
    };
    writer.put_extent(&extent).expect("known volume");
    writer.insert_file(&file, [block.clone()]).expect("inserted");
    assert_eq!(writer.file_by_name(&long).expect("sound"), Some(file.clone()));
    assert_eq!(writer.block(&file, index).expect("sound"), block);
}

#[test]
fn a_block_that_another_file_lists_too_outlives_the_first_removal() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let (file, mut blocks) = world.file(&mut writer, &name("f"), 9000);
    blocks[2].reference_count = 2;
    world.put_extents(&mut writer);
    writer.insert_file(&file, blocks.clone()).expect("inserted");
    assert_eq!(writer.remove_file(&file.name).expect("sound"), Some(file));
    assert_eq!(writer.totals().expect("sound").blocks, 1);
    blocks[2].reference_count = 1;
    assert_eq!(
        writer.block_by_id(blocks[2].id).expect("sound"),
        Some(blocks[2].clone())
    );
    assert_eq!(writer.block_by_id(blocks[1].id).expect("sound"), None);
    let left = writer.shards_page(None, 100).expect("sound");
    assert_eq!(left.len(), 3, "one for each shard of RS(1,2)");
    assert!(
        left.iter()
            .all(|place| place.owner == ShardOwner::Block(blocks[2].id)),
        "{left:?}"
    );
    let live: u64 = writer
        .extents()
        .expect("sound")
        .iter()
        .map(|extent| extent.live_shards)
        .sum();
    assert_eq!(live, 3);
}

#[test]
fn changes_that_cannot_begin_are_refused_and_spoil_nothing() {
    let mut world = furnished();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let (mut file, blocks) = world.file(&mut writer, &name("a/1"), 9000);
    let error = writer.insert_file(&file, blocks.clone()).expect_err("the name");
    assert!(matches!(error, CatalogError::NameTaken { .. }), "{error:?}");
    file.name = name("new");
    let taken = FileRecord {
        kind: EntryKind::File,
        id: FileId::new(1),
        ..file.clone()
    };
    let error = writer.insert_file(&taken, blocks.clone()).expect_err("the id");
    assert!(matches!(error, CatalogError::FileIdTaken { .. }), "{error:?}");
    let error = writer.remove_extent(ExtentId::new(1)).expect_err("in use");
    assert!(matches!(error, CatalogError::ExtentInUse { .. }), "{error:?}");
    let foreign = ExtentRecord {
        volume: VolumeId::from_bytes([9; 16]),
        ..world.extent(0)
    };
    assert!(
        matches!(
            writer.put_extent(&foreign),
            Err(CatalogError::UnknownVolume { .. })
        ),
        "foreign"
    );
    let shortened = ExtentRecord {
        end_bytes: 1,
        ..world.extent(0)
    };
    assert!(
        matches!(
            writer.put_extent(&shortened),
            Err(CatalogError::BehindExtentEnd { .. })
        ),
        "short"
    );
    let renumbered = VolumeRecord {
        number: 3,
        ..volumes()[0].clone()
    };
    assert!(
        matches!(
            writer.put_volume(&renumbered),
            Err(CatalogError::VolumeNumberTaken { .. })
        ),
        "number"
    );
    writer.commit().expect("nothing was spoilt");
}

#[test]
fn changes_that_fail_half_way_spoil_the_transaction_and_leave_nothing() {
    let mut world = furnished();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let (file, blocks) = world.file(&mut writer, &name("new"), 9000);
    drop(writer);
    let elsewhere = |block: &BlockRecord, extent: u64, offset: u64| {
        let mut block = block.clone();
        let shard = block.shards[0].as_mut().expect("present");
        (shard.extent, shard.offset) = (ExtentId::new(extent), offset);
        block
    };
    let spoilers: [(&str, Vec<BlockRecord>); 6] = [
        ("a block too few", blocks[..blocks.len() - 1].to_vec()),
        (
            "a block too many",
            blocks.iter().chain(&blocks[..1]).cloned().collect(),
        ),
        ("swapped", blocks.iter().rev().cloned().collect()),
        (
            "unknown extent",
            blocks.iter().map(|block| elsewhere(block, 99, 0)).collect(),
        ),
        (
            "behind the end",
            blocks.iter().map(|block| elsewhere(block, 1, 1 << 40)).collect(),
        ),
        (
            "occupied",
            blocks.iter().map(|block| elsewhere(block, 1, 4096)).collect(),
        ),
    ];
    for (what, blocks) in spoilers {
        let before = Dump::of(&catalog.read().expect("reader")).expect("sound");
        let mut writer = catalog.write().expect("writer");
        world.put_extents(&mut writer);
        writer.insert_file(&file, blocks).expect_err(what);
        assert!(matches!(writer.commit(), Err(CatalogError::Incomplete)), "{what}");
        assert_eq!(
            Dump::of(&catalog.read().expect("reader")).expect("sound"),
            before,
            "{what}"
        );
    }
}

#[test]
fn ids_are_never_given_twice_even_when_what_had_them_is_gone_or_came_from_elsewhere() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let (mut file, mut blocks) = world.file(&mut writer, &name("f"), 5000);
    file.id = FileId::new(50);
    file.commit = CommitId::new(60);
    for (block, id) in blocks.iter_mut().zip(70..) {
        (block.file, block.id) = (file.id, BlockId::new(id));
    }
    world.put_extents(&mut writer);
    writer
        .put_extent(&ExtentRecord {
            id: ExtentId::new(80),
            ..world.extent(1)
        })
        .expect("known volume");
    writer.insert_file(&file, blocks).expect("inserted");
    writer
        .remove_file(&file.name)
        .expect("sound")
        .expect("it was there");
    writer.remove_extent(ExtentId::new(80)).expect("empty");
    writer.commit().expect("committed");
    catalog.close().expect("closed");
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    assert_eq!(writer.allocate_file_id(), FileId::new(51));
    assert_eq!(writer.allocate_commit_id(), CommitId::new(61));
    assert_eq!(
        writer.allocate_block_ids(2).collect::<Vec<_>>(),
        [73, 74].map(BlockId::new)
    );
    assert_eq!(writer.allocate_extent_id(), ExtentId::new(81));
}

#[test]
fn ids_are_raised_and_never_lowered() {
    let world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let ids = |number: u64| NextIds {
        file: FileId::new(number),
        block: BlockId::new(number + 1),
        extent: ExtentId::new(number + 2),
        commit: CommitId::new(number + 3),
    };
    writer.raise_next_ids(&ids(500));
    assert_eq!(writer.next_ids().expect("sound"), ids(500));
    writer.raise_next_ids(&ids(7));
    writer.commit().expect("committed");
    let reader = catalog.read().expect("reader");
    assert_eq!(reader.next_ids().expect("sound"), ids(500));
}

#[test]
fn what_the_journal_leaves_comes_back_up_to_its_limit() {
    let world = World::new();
    let catalog = world.open(Access::Write);
    assert_eq!(
        catalog.read().and_then(|reader| reader.journal()).expect("sound"),
        b""
    );
    let mut writer = catalog.write().expect("writer");
    let longest = vec![0xfe; 4096];
    writer.set_journal(&longest).expect("it just fits");
    assert_eq!(writer.journal().expect("sound"), longest);
    let error = writer.set_journal(&[0; 4097]).expect_err("one byte more");
    assert!(
        matches!(
            error,
            CatalogError::RowTooLong {
                len_bytes: 4097,
                limit_bytes: 4096,
                ..
            }
        ),
        "{error:?}"
    );
    writer.commit().expect("nothing was spoilt");
    assert_eq!(
        catalog.read().and_then(|reader| reader.journal()).expect("sound"),
        longest
    );
}
