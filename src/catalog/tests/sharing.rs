//! Several handles, aborted transactions, and what opening says.

use super::*;

#[test]
fn two_handles_of_one_file_take_turns_and_see_each_other() {
    let mut world = World::new();
    let (left, right) = (world.open(Access::Write), world.open(Access::Write));
    let reading = world.open(Access::Read);
    for (round, len_bytes) in (0..6).zip(LENGTHS) {
        let (catalog, other) = if round % 2 == 0 {
            (&left, &right)
        } else {
            (&right, &left)
        };
        let mut writer = catalog.write().expect("writer");
        world.insert(&mut writer, &name(&format!("f{round}")), len_bytes);
        if round >= 2 {
            let old = name(&format!("f{}", round - 2));
            let removed = writer.remove_file(&old).expect("sound");
            assert_eq!(removed, world.files.remove(&old).map(|(file, _)| file));
        }
        writer.advance_epoch();
        writer.commit().expect("committed");
        for catalog in [other, &reading] {
            let seen = Dump::of(&catalog.read().expect("reader")).expect("sound");
            assert_eq!(seen, world.expected(round + 1), "round {round}");
        }
    }
    for catalog in [left, right, reading] {
        catalog.close().expect("closed");
    }
    assert_eq!(
        Dump::at(&world.path(), Access::Write).expect("sound"),
        world.expected(6)
    );
}

#[test]
fn a_reader_keeps_its_moment_while_others_commit() {
    let mut world = furnished();
    let catalog = world.open(Access::Write);
    let before = world.expected(3);
    let reader = catalog.read().expect("reader");
    let mut writer = catalog.write().expect("writer");
    world.insert(&mut writer, &name("new"), 5000);
    writer
        .remove_file(&name("a/1"))
        .expect("sound")
        .expect("it is there");
    writer.commit().expect("committed");
    assert_eq!(Dump::of(&reader).expect("sound"), before);
}

#[test]
fn a_writer_that_is_dropped_leaves_nothing() {
    let mut world = furnished();
    let before = world.expected(3);
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let kept_ends = world.ends;
    world.insert(&mut writer, &name("new"), 5000);
    let removed = writer.remove_file(&name("a/1")).expect("sound");
    let file_id = writer.allocate_file_id();
    writer.advance_epoch();
    assert!(removed.is_some(), "it was there");
    drop(writer);
    world.ends = kept_ends;
    assert_eq!(Dump::of(&catalog.read().expect("reader")).expect("sound"), before);
    catalog.close().expect("closed");
    assert_eq!(Dump::at(&world.path(), Access::Read).expect("sound"), before);
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    assert!(
        writer.allocate_file_id() < file_id,
        "ids that were never committed were never given"
    );
}

#[test]
fn opening_tells_missing_foreign_newer_and_existing_files_apart() {
    let world = World::new();
    for access in [Access::Read, Access::Write] {
        let nowhere = world.directory.path().join("nowhere");
        let error = open(&nowhere, access).expect_err("nothing there");
        assert!(matches!(error, CatalogError::Missing), "{error:?}");
        assert!(!nowhere.exists(), "opening makes no file");
        let garbage = world.directory.path().join("garbage");
        for bytes in [vec![], vec![7; 100], vec![7; 100_000]] {
            std::fs::write(&garbage, &bytes).expect("written");
            let error = open(&garbage, access).expect_err("no catalog");
            assert!(error.is_damaged(), "{} bytes, {access:?}: {error:?}", bytes.len());
            assert_eq!(std::fs::read(&garbage).expect("read"), bytes, "untouched");
        }
        let newer = world.directory.path().join(format!("newer {access:?}"));
        for (format_version, required_features) in [(FORMAT_VERSION + 1, 0), (FORMAT_VERSION, 1 << 63)] {
            std::fs::write(&newer, b"").expect("an empty file is made a catalog");
            let record = ArchiveRecord {
                format_version,
                required_features,
                ..archive()
            };
            Catalog::create(&host(), &newer, &record, &[], CatalogOptions::default()).expect("created");
            let error = open(&newer, access).expect_err("newer");
            assert!(error.is_newer_format(), "{error:?}");
        }
    }
    let again = Catalog::create(&host(), &world.path(), &archive(), &[], CatalogOptions::default());
    assert!(matches!(again, Err(CatalogError::Exists)), "{again:?}");
    assert_eq!(
        Dump::at(&world.path(), Access::Write).expect("sound"),
        world.expected(0)
    );
    let reading = world.open(Access::Read);
    assert!(
        matches!(reading.write(), Err(CatalogError::ReadOnly)),
        "for reading"
    );
}

#[test]
fn a_file_that_a_dead_process_left_is_repaired_by_a_reader_and_by_a_writer() {
    let world = furnished();
    let expected = world.expected(3);
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    writer
        .remove_file(&name("a/1"))
        .expect("sound")
        .expect("it is there");
    // A copy of an open file is what a crash leaves: nobody has closed it.
    let copy = world.directory.path().join("copy");
    for access in [Access::Read, Access::Write] {
        std::fs::copy(world.path(), &copy).expect("copied");
        let mut builder = redb::Database::builder();
        let refused = builder
            .set_concurrency_mode(redb::ConcurrencyMode::MultiWriter)
            .open_read_only(&copy);
        assert!(
            matches!(refused, Err(redb::DatabaseError::RepairAborted)),
            "the file is unclean"
        );
        assert_eq!(Dump::at(&copy, access).expect("repaired"), expected, "{access:?}");
    }
}

#[test]
fn closing_while_a_transaction_writes_is_refused_and_readers_fail_afterwards() {
    let world = furnished();
    let catalog = world.open(Access::Write);
    let writer = catalog.write().expect("writer");
    assert!(
        matches!(catalog.close(), Err(CatalogError::WriterOpen)),
        "a writer lives"
    );
    writer.commit().expect("it still works");
    let catalog = world.open(Access::Write);
    let reader = catalog.read().expect("reader");
    catalog.close().expect("closed");
    let error = reader.extents().expect_err("closed");
    assert!(matches!(error, CatalogError::MustReopen), "{error:?}");
}
