//! Many entries in one call, and changes of what is said about one.

use super::*;

type Entries = Vec<(FileRecord, Option<BlockRecord>)>;

/// Makes up entries with at most one block, of every kind; they are expected from now on.
fn entries(world: &mut World, writer: &mut CatalogWriter, names: &[FileName]) -> Entries {
    let entries = names.iter().zip(0..).map(|(name, number)| {
        let (file, blocks) = match number % 5 {
            3 => (world.entry(writer, name, EntryKind::Directory), Vec::new()),
            4 => (world.entry(writer, name, link_to(b"a")), Vec::new()),
            rest => world.file(writer, name, rest * 500),
        };
        world.files.insert(name.clone(), (file.clone(), blocks.clone()));
        (file, blocks.into_iter().next())
    });
    entries.collect()
}

fn names(numbers: impl Iterator<Item = u32>) -> Vec<FileName> {
    numbers
        .map(|number| name(&format!("d{}/{number:x}", number % 7)))
        .collect()
}

#[test]
fn entries_of_one_call_are_those_of_single_ones_in_any_order_and_between_others() {
    let mut world = furnished();
    let catalog = world.open(Access::Write);
    for round in 0..3 {
        let mut writer = catalog.write().expect("writer");
        let mut entries = entries(
            &mut world,
            &mut writer,
            &names((0..300).map(|number| number * 3 + round)),
        );
        entries.sort_by_key(|(file, _)| file.id.get() * 7919 % 256);
        world.put_extents(&mut writer);
        writer.insert_files(&entries).expect("inserted");
        writer.advance_epoch();
        assert_eq!(
            Dump::of(&writer).expect("sound"),
            world.expected(u64::from(round) + 4)
        );
        writer.commit().expect("committed");
    }
    catalog.close().expect("closed");
    assert_eq!(
        Dump::at(&world.path(), Access::Write).expect("sound"),
        world.expected(6)
    );
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let newest = world.files.values().map(|(file, _)| file.id).max().expect("some");
    assert_eq!(
        writer.allocate_file_id(),
        FileId::new(newest.get() + 1),
        "ids go on behind them"
    );
    writer.insert_files(&[]).expect("nothing is no mistake");
}

#[test]
fn entries_that_cannot_be_or_have_the_wrong_block_spoil_nothing() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let (file, blocks) = world.file(&mut writer, &name("f"), 10);
    let (large, many) = world.file(&mut writer, &name("large"), 9000);
    let (empty, _) = world.file(&mut writer, &name("empty"), 0);
    world.put_extents(&mut writer);
    let block = &blocks[0];
    let wrong = [
        (file.clone(), None),
        (file.clone(), Some(many[1].clone())),
        (large.clone(), None),
        (large, Some(many[0].clone())),
        (empty.clone(), Some(block.clone())),
    ];
    for entry in wrong {
        let error = writer
            .insert_files(&[(empty.clone(), None), entry])
            .expect_err("wrong");
        assert!(matches!(error, CatalogError::BlockMismatch { .. }), "{error:?}");
    }
    let link = FileRecord {
        kind: link_to(b""),
        ..empty.clone()
    };
    let error = writer.insert_files(&[(link, None)]).expect_err("leads nowhere");
    assert!(matches!(error, CatalogError::ImpossibleEntry { .. }), "{error:?}");
    writer
        .insert_files(&[(empty, None), (file, Some(block.clone()))])
        .expect("nothing was spoilt");
    writer.commit().expect("whole");
}

#[test]
fn what_is_taken_is_told_and_spoils_the_transaction() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    world.insert(&mut writer, &name("taken"), 10);
    writer.commit().expect("committed");
    let (taken, taken_blocks) = world.files[&name("taken")].clone();
    let before = Dump::of(&catalog.read().expect("reader")).expect("sound");
    let check = |change: &dyn Fn(&mut Entries), is_right: fn(&CatalogError) -> bool| {
        let mut world = World::new();
        world.ends = [1 << 20; LANES as usize];
        let mut writer = catalog.write().expect("writer");
        let mut entries = entries(&mut world, &mut writer, &names(0..40));
        change(&mut entries);
        world.put_extents(&mut writer);
        let error = writer.insert_files(&entries).expect_err("taken");
        assert!(is_right(&error), "{error:?}");
        assert!(matches!(writer.commit(), Err(CatalogError::Incomplete)), "spoilt");
    };
    check(
        &|entries| entries[20].0.name = name("taken"),
        |error| matches!(error, CatalogError::NameTaken { name } if name.as_bytes() == b"taken"),
    );
    check(
        &|entries| entries[30].0.name = entries[10].0.name.clone(),
        |error| matches!(error, CatalogError::NameTaken { name } if name.as_bytes() == b"d3/a"),
    );
    check(
        &|entries| entries[0].0.id = taken.id,
        |error| matches!(error, CatalogError::FileIdTaken { file } if file.get() == 1),
    );
    check(&|entries| entries[5].0.id = entries[0].0.id, |error| {
        matches!(error, CatalogError::FileIdTaken { .. })
    });
    let place = taken_blocks[0].shards[1].expect("stored");
    check(
        &|entries| {
            let block = entries[1].1.as_mut().expect("a file of 500 bytes");
            block.shards[1].as_mut().expect("stored").offset = place.offset;
        },
        |error| matches!(error, CatalogError::AddressTaken { extent, .. } if extent.get() == 2),
    );
    assert_eq!(Dump::of(&catalog.read().expect("reader")).expect("sound"), before);
}

#[test]
fn many_names_are_found_in_their_order_with_gaps_where_there_is_none() {
    let world = furnished();
    let catalog = world.open(Access::Write);
    let (one, none, other) = (name("c/1"), name("b"), name("a/b"));
    let names = [&other, &none, &one, &other];
    let stored = |name: &FileName| world.files.get(name).map(|(file, _)| file.clone());
    let expected: Vec<Option<FileRecord>> = names.iter().map(|name| stored(name)).collect();
    assert!(expected[1].is_none() && expected[0].is_some(), "{expected:?}");
    assert_eq!(
        catalog.read().expect("reader").find_files(&names).expect("sound"),
        expected
    );
    let mut writer = catalog.write().expect("writer");
    writer.remove_file(&one).expect("sound").expect("it is there");
    let found = writer.find_files(&names).expect("sound");
    assert_eq!(found[2], None, "a writer sees its own changes");
}

#[test]
fn metadata_changes_and_nothing_else() {
    let mut world = furnished();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let modified_at = time(12_345);
    for text in ["a/0", "a/1", "a/9000", "a/b", "c/link"] {
        let name = name(text);
        assert!(
            writer.set_metadata(&name, 0o40_700, modified_at).expect("sound"),
            "{text}"
        );
        let (file, _) = world.files.get_mut(&name).expect("stored");
        (file.mode, file.modified_at) = (0o40_700, modified_at);
    }
    assert!(
        !writer.set_metadata(&name("b"), 0, modified_at).expect("sound"),
        "no such name"
    );
    writer.commit().expect("committed");
    catalog.close().expect("closed");
    assert_eq!(
        Dump::at(&world.path(), Access::Write).expect("sound"),
        world.expected(3)
    );
}
