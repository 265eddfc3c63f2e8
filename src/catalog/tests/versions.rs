//! Kept versions of names, and names that become others.

use super::*;

/// Asks for all kept versions, in more than one way where there is more than one.
pub(super) fn all_kept(reader: &CatalogReader) -> Result<Vec<(FileRecord, Vec<BlockRecord>)>, CatalogError> {
    let mut kept: Vec<(FileRecord, Vec<BlockRecord>)> = Vec::new();
    loop {
        let after = kept.last().map(|(file, _)| (&file.name, file.version));
        let page = reader.kept_versions_page(None, after, 3)?;
        let is_last = page.len() < 3;
        assert!(kept.len() < 1000, "a listing ends");
        for (file, inline_block) in page {
            let indexes = (0..file.geometry.block_count()).map(BlockIndex::new);
            let blocks = indexes.map(|index| reader.block(&file, index));
            let blocks: Vec<BlockRecord> = blocks.collect::<Result<_, _>>()?;
            let only = if let [block] = blocks.as_slice() {
                Some(block)
            } else {
                None
            };
            assert_eq!(inline_block.as_ref(), only, "the block of {}", file.name);
            assert_eq!(reader.file(file.id)?.as_ref(), Some(&file));
            assert_eq!(reader.version(&file.name, file.version)?.as_ref(), Some(&file));
            kept.push((file, blocks));
        }
        if is_last {
            break;
        }
    }
    for (file, _) in &kept {
        let of_name = kept.iter().filter(|(other, _)| other.name == file.name);
        let of_name: Vec<FileRecord> = of_name.map(|(file, _)| file.clone()).collect();
        assert_eq!(reader.kept_versions_of(&file.name)?, of_name, "{}", file.name);
    }
    assert_eq!(reader.has_kept_versions()?, !kept.is_empty());
    Ok(kept)
}

/// Renames what a world knows; returns how many entries and kept versions that were.
pub(super) fn rename(world: &mut World, renaming: &Renaming) -> (u64, u64) {
    let renamed = |file: &mut FileRecord| {
        let name = renaming.renamed(&file.name).expect("short");
        let is_other = name != file.name;
        file.name = name;
        u64::from(is_other)
    };
    let (mut entries, mut versions) = (0, 0);
    for (mut file, blocks) in std::mem::take(&mut world.files).into_values() {
        entries += renamed(&mut file);
        world.files.insert(file.name.clone(), (file, blocks));
    }
    for (mut file, blocks) in std::mem::take(&mut world.kept).into_values() {
        versions += renamed(&mut file);
        world
            .kept
            .insert((file.name.clone(), file.version), (file, blocks));
    }
    (entries, versions)
}

fn renaming(from: &str, to: &str) -> Renaming {
    Renaming {
        from: name(from),
        to: name(to),
    }
}

/// A catalog with a file in two kept versions and one that has the name, and a directory of things, some with versions too.
fn with_versions() -> (World, Catalog) {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    world.insert_entry(&mut writer, &name("d"), EntryKind::Directory);
    world.insert_entry(&mut writer, &name("d/link"), link_to(b"../x"));
    for (text, len_bytes) in [("d!", 10), ("d/f", 9000), ("d/e/g", 0), ("d0", 1), ("e", 40_000)] {
        world.insert(&mut writer, &name(text), len_bytes);
    }
    for (text, len_bytes) in [("e", 1), ("e", 9000), ("d/f", 10), ("d!", 3), ("d/e/g", 1)] {
        world.replace_and_keep(&mut writer, &name(text), len_bytes);
    }
    writer.commit().expect("committed");
    (world, catalog)
}

#[test]
fn kept_versions_are_listed_by_name_and_version_and_counted_apart() {
    let (world, catalog) = with_versions();
    let reader = catalog.read().expect("reader");
    assert_eq!(Dump::of(&reader).expect("sound"), world.expected(0));
    let listed = |prefix: Option<&str>| {
        let prefix = prefix.map(name);
        let page = reader
            .kept_versions_page(prefix.as_ref(), None, 100)
            .expect("sound");
        let listed = page
            .iter()
            .map(|(file, _)| format!("{} {}", file.name, file.version));
        listed.collect::<Vec<String>>()
    };
    assert_eq!(listed(None), ["d! 1", "d/e/g 1", "d/f 1", "e 1", "e 2"]);
    assert_eq!(
        listed(Some("d")),
        ["d/e/g 1", "d/f 1"],
        "whole parts are compared"
    );
    assert_eq!(listed(Some("e")), ["e 1", "e 2"]);
    assert_eq!(listed(Some("d0")), [""; 0]);
    let kept = reader.totals().expect("sound").kept;
    assert_eq!((kept.versions(), kept.bytes), (5, 10 + 9000 + 40_000 + 1));
    let version = |text: &str, version| {
        let found = reader.version(&name(text), version).expect("sound");
        found.map(|file| (file.geometry.len_bytes(), file.is_kept))
    };
    assert_eq!(version("e", 1), Some((40_000, true)));
    assert_eq!(version("e", 3), Some((9000, false)));
    assert_eq!(version("e", 4), None);
    assert_eq!(version("d", 2), None);
}

#[test]
fn pages_of_kept_versions_begin_anywhere_below_any_prefix() {
    let (world, catalog) = with_versions();
    let reader = catalog.read().expect("reader");
    let keys: Vec<(FileName, u32)> = world.kept.keys().cloned().collect();
    for prefix in [
        None,
        Some("d"),
        Some("d/e"),
        Some("e"),
        Some("d!"),
        Some("c"),
        Some("f"),
    ] {
        let prefix = prefix.map(name);
        let is_below = |name: &FileName| prefix.as_ref().is_none_or(|prefix| name.is_within(prefix));
        for after in core::iter::once(None).chain(keys.iter().map(Some)) {
            let behind = keys.iter().filter(|key| after.is_none_or(|after| *key > after));
            let expected: Vec<&(FileName, u32)> = behind.filter(|(name, _)| is_below(name)).collect();
            for limit in 1..7 {
                let after = after.map(|(name, version)| (name, *version));
                let page = reader
                    .kept_versions_page(prefix.as_ref(), after, limit)
                    .expect("sound");
                let found: Vec<(FileName, u32)> = page
                    .into_iter()
                    .map(|(file, _)| (file.name, file.version))
                    .collect();
                let expected: Vec<(FileName, u32)> = expected.iter().take(limit).copied().cloned().collect();
                assert_eq!(found, expected, "{limit} below {prefix:?} behind {after:?}");
            }
        }
    }
}

#[test]
fn what_is_renamed_keeps_everything_but_its_name() {
    for (from, to, entries, versions) in [
        ("d", "z/deep/x", 4, 2),
        ("d", "a", 4, 2),
        ("e", "d/f/below", 1, 2),
        ("d/e", "e!", 1, 1),
        ("d!", "d-", 1, 1),
    ] {
        let (mut world, catalog) = with_versions();
        let renaming = renaming(from, to);
        let mut writer = catalog.write().expect("writer");
        let size = writer.size_of_renaming(&renaming).expect("sound");
        assert_eq!(
            (size.entries, size.kept_versions),
            (entries, versions),
            "{from} to {to}"
        );
        writer.rename(&renaming).expect("renamed");
        assert_eq!(rename(&mut world, &renaming), (entries, versions));
        assert_eq!(
            Dump::of(&writer).expect("sound"),
            world.expected(0),
            "{from} to {to}"
        );
        writer.commit().expect("committed");
        catalog.close().expect("closed");
        let dump = Dump::at(&world.path(), Access::Write).expect("sound");
        assert_eq!(dump, world.expected(0), "{from} to {to}, opened again");
    }
}

#[test]
fn a_directory_of_more_entries_than_a_page_is_renamed_whole() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    for number in 0..2100 {
        world.insert_entry(&mut writer, &name(&format!("d/{number}")), link_to(b"x"));
    }
    for number in 0..1100 {
        world.replace_and_keep(&mut writer, &name(&format!("d/{number}")), 0);
    }
    let renaming = renaming("d", "c/d");
    writer.rename(&renaming).expect("renamed");
    assert_eq!(rename(&mut world, &renaming), (2100, 1100));
    let names: Vec<FileName> = writer
        .files_page(None, None, 3000)
        .expect("sound")
        .into_iter()
        .map(|(file, _)| file.name)
        .collect();
    assert_eq!(names, world.files.keys().cloned().collect::<Vec<_>>());
    let kept = writer.kept_versions_page(None, None, 3000).expect("sound");
    let kept: Vec<(FileName, u32)> = kept
        .into_iter()
        .map(|(file, _)| (file.name, file.version))
        .collect();
    assert_eq!(kept, world.kept.keys().cloned().collect::<Vec<_>>());
}

#[test]
fn names_that_would_be_too_long_are_told_before_and_refused() {
    let (_world, catalog) = with_versions();
    let mut writer = catalog.write().expect("writer");
    let renaming = Renaming {
        from: name("d"),
        to: FileName::from_bytes(&[b'x'; 4093]).expect("just short enough"),
    };
    let size = writer.size_of_renaming(&renaming).expect("sound");
    assert_eq!(size.too_long, Some(name("d/e/g")));
    let error = writer.rename(&renaming).expect_err("too long");
    assert!(
        matches!(error, CatalogError::ImpossiblePublication { .. }),
        "{error:?}"
    );
    assert!(matches!(writer.commit(), Err(CatalogError::Incomplete)));
}

#[test]
fn directories_and_kept_versions_are_not_retired() {
    let (world, catalog) = with_versions();
    let mut writer = catalog.write().expect("writer");
    let directory = world.files[&name("d")].0.id;
    let error = writer.retire(directory).expect_err("a directory");
    assert!(
        matches!(error, CatalogError::ImpossiblePublication { .. }),
        "{error:?}"
    );
    let kept = world.kept[&(name("e"), 1)].0.id;
    let error = writer.retire(kept).expect_err("kept already");
    assert!(matches!(error, CatalogError::UnknownFile { .. }), "{error:?}");
    assert_eq!(Dump::of(&writer).expect("nothing was spoilt"), world.expected(0));
}

#[test]
fn a_publication_leaves_no_kept_version_without_an_entry_of_its_name() {
    let (world, catalog) = with_versions();
    let file = |text: &str| world.files[&name(text)].0.id;
    let kept = |text: &str, version| world.kept[&(name(text), version)].0.id;
    for (removed, retired, is_possible) in [
        (vec![file("e")], vec![], false),
        (vec![file("e"), kept("e", 2)], vec![], false),
        (vec![], vec![file("d0")], false),
        (vec![file("e"), kept("e", 2), kept("e", 1)], vec![], true),
        (vec![kept("e", 1)], vec![], true),
    ] {
        let mut writer = catalog.write().expect("writer");
        let publication = Publication {
            founding: None,
            commit: None,
            descriptor: None,
            skipped: Vec::new(),
            removed,
            retired,
            touched: Vec::new(),
            renamed: Vec::new(),
            relocated: Vec::new(),
            volumes: Vec::new(),
            announced: Vec::new(),
            extents: Vec::new(),
            next_ids: writer.next_ids().expect("sound"),
            forgotten: Vec::new(),
            versions: Vec::new(),
            checkpoint: None,
        };
        let applied = writer.apply(&publication, Vec::new());
        assert_eq!(applied.is_ok(), is_possible, "{publication:?}: {applied:?}");
    }
}

#[test]
fn kept_versions_come_in_as_such() {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    for (version, len_bytes) in [(7, 10), (9, 40_000), (10, 3)] {
        let (mut file, blocks) = world.file(&mut writer, &name("a"), len_bytes);
        (file.version, file.is_kept) = (version, version < 10);
        world.put_extents(&mut writer);
        writer.insert_file(&file, blocks.clone()).expect("inserted");
        if file.is_kept {
            world.kept.insert((file.name.clone(), version), (file, blocks));
        } else {
            world.files.insert(file.name.clone(), (file, blocks));
        }
    }
    assert_eq!(Dump::of(&writer).expect("sound"), world.expected(0));
}
