//! Checkpoints: what is made again from them, and what goes once they are there.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bfdb::{
    archive::{Archive, MoveOptions, RecoveryReport, Removal, Resources},
    catalog::Access,
    error::{OpenError, PublicationError},
};

use crate::{
    rebuilding::{has_all, known, lived_in, rebuild, rebuild_with},
    support::{SEGMENTED_BELOW, Store, TINY_BELOW, get, name, names, open, painted, small_policy},
    volumes::store_of_each_tier,
};

/// The segments of a copy of the journal, by their names.
fn segments(copy: &Path) -> Vec<String> {
    let entries = fs::read_dir(copy).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    names
}

fn copy_of(root: &Path, copy: u8) -> PathBuf {
    root.join(format!("volumes/v0/journal/c{copy}"))
}

fn checkpoint(archive: &Archive) -> u64 {
    archive.checkpoint().unwrap().unwrap().segments_removed
}

/// Loses the catalog and makes it again; what it knew has to be the same.
fn lose_and_rebuild(archive: Archive, root: &Path) -> Archive {
    let before = known(&archive);
    archive.close().unwrap();
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let (archive, _) = rebuild(root);
    assert_eq!(known(&archive), before);
    archive
}

#[test]
fn a_lost_catalog_is_made_again_from_a_checkpoint_and_the_records_behind_it() {
    let store = lived_in();
    let (root, dir) = (store.root(), store.dir);
    let report = store.archive.checkpoint().unwrap().unwrap();
    assert_eq!((report.epoch.get(), report.slices), (16, 1));
    let _removed: Removal = store.archive.remove(&name("empty")).unwrap();
    let archive = lose_and_rebuild(store.archive, &root);
    has_all(&archive);
    assert!(!names(&archive).contains(&"empty".to_owned()));
    archive.close().unwrap();
    let archive = open(&root, Access::Write);
    assert_eq!(archive.mend_journal().unwrap(), 0);
    drop(dir);
}

#[test]
fn records_go_once_two_checkpoints_have_them_and_a_lost_catalog_is_made_again_all_the_same() {
    let store = lived_in();
    let root = store.root();
    assert_eq!(checkpoint(&store.archive), 0, "the only one");
    store.put_file("between", &painted(100, 1));
    assert_eq!(checkpoint(&store.archive), 4, "the first segment of each copy");
    store.put_file("later", &painted(100, 2));
    for copy in 0..4 {
        assert_eq!(segments(&copy_of(&root, copy)), ["00000002.bfj", "00000003.bfj"]);
    }
    // Nothing is missing, and nothing is mended.
    assert_eq!(store.archive.scrub(&()).unwrap().journal, []);
    assert_eq!(store.archive.mend_journal().unwrap(), 0);
    let mut archive = lose_and_rebuild(store.archive, &root);
    for round in 0..4 {
        has_all(&archive);
        assert!(get(&archive, "later").unwrap() == painted(100, 2));
        // Slices of those before do not pile up.
        let before = live_bytes(&archive);
        assert!(checkpoint(&archive) > 0);
        let grown = live_bytes(&archive).abs_diff(before);
        assert!(round == 0 || grown < 4096, "by {grown} bytes");
        archive = lose_and_rebuild(archive, &root);
    }
    drop(store.dir);
}

fn live_bytes(archive: &Archive) -> u64 {
    let volumes = archive.snapshot().unwrap().volumes().unwrap();
    volumes.iter().map(|volume| volume.live_bytes).sum()
}

#[test]
fn where_the_newest_checkpoint_is_lost_the_one_before_serves() {
    let store = Store::new();
    let (root, dir) = (store.root(), store.dir);
    let in_extents = || {
        let extents = fs::read_dir(root.join("volumes/v0/extents")).unwrap();
        let paths = extents.map(|entry| entry.unwrap().path());
        let mut lengths: Vec<(PathBuf, u64)> = paths
            .map(|path| (path.clone(), fs::metadata(&path).unwrap().len()))
            .collect();
        lengths.sort();
        lengths
    };
    let options = bfdb::archive::CommitOptions::default();
    let put = |file: &str, seed: u64| {
        let content = painted(TINY_BELOW - 1, seed);
        let put = (store.archive).commit(&name(file), content.as_slice(), TINY_BELOW - 1, &options);
        put.unwrap();
    };
    put("first", 1);
    assert_eq!(checkpoint(&store.archive), 0);
    put("second", 2);
    let before = in_extents();
    assert_eq!(checkpoint(&store.archive), 4);
    let behind = in_extents();
    put("third", 3);
    let now = known(&store.archive);
    store.archive.close().unwrap();
    // What the second checkpoint has written, in every extent.
    let mut damaged = 0;
    for (path, end) in behind {
        let start = before
            .iter()
            .find(|(known, _)| *known == path)
            .map_or(0, |(_, end)| *end);
        if start < end {
            let mut bytes = fs::read(&path).unwrap();
            let (start, end) = (usize::try_from(start).unwrap(), usize::try_from(end).unwrap());
            bytes[start..end].fill(0xEE);
            fs::write(&path, bytes).unwrap();
            damaged += 1;
        }
    }
    assert_eq!(damaged, 4);
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let (archive, _) = rebuild(&root);
    assert_eq!(known(&archive), now);
    for (file, seed) in [("first", 1), ("second", 2), ("third", 3)] {
        assert!(get(&archive, file).unwrap() == painted(TINY_BELOW - 1, seed));
    }
    // The lost one is damage like any other, until another takes its place.
    assert!(!archive.scrub(&()).unwrap().damage.is_empty());
    assert!(checkpoint(&archive) > 0);
    assert!(checkpoint(&archive) > 0);
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    drop(dir);
}

#[test]
fn a_checkpoint_whose_slices_have_moved_since_is_found() {
    let store = store_of_each_tier(4);
    assert_eq!(store.archive.checkpoint().unwrap().unwrap().slices, 1);
    store.put("between", TINY_BELOW - 1, 5);
    let _taken = store.archive.checkpoint().unwrap().unwrap();
    let volumes = store.archive.snapshot().unwrap().volumes().unwrap();
    let moved = (store.archive)
        .drain_volume(volumes[0].id, MoveOptions::default(), &())
        .unwrap();
    assert_eq!(moved.shards_left, 0);
    store.put("later", SEGMENTED_BELOW - 7, 9);
    let (root, dir) = (store.dir.path().join("a.bfdb"), store.dir);
    let before = known(&store.archive);
    store.archive.close().unwrap();
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let (archive, _) = rebuild_with(&root, vec![dir.path().join("v1")]).unwrap();
    assert_eq!(known(&archive), before);
    assert!(get(&archive, "later").unwrap() == painted(SEGMENTED_BELOW - 7, 9));
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
}

#[test]
fn an_archive_takes_a_checkpoint_by_itself_when_its_journal_has_become_long() {
    let resources = Resources {
        checkpoint_bytes: 10 * 4096,
        ..Resources::default()
    };
    let store = Store::with(small_policy(), resources);
    let root = store.root();
    for number in 0..200 {
        store.put_file(&format!("f/{number}"), &painted(100, number));
    }
    let left = segments(&copy_of(&root, 0));
    assert!(left.len() <= 3, "{left:?}");
    assert!(left[0].as_str() > "00000004.bfj", "{left:?}");
    let dir = store.dir;
    let archive = lose_and_rebuild(store.archive, &root);
    for number in 0..200 {
        assert!(get(&archive, &format!("f/{number}")).unwrap() == painted(100, number));
    }
    drop(dir);
}

#[test]
fn nothing_is_taken_of_an_archive_in_which_nothing_was_ever_published() {
    let store = Store::new();
    assert_eq!(store.archive.checkpoint().unwrap(), None);
    let store = store.reopen();
    store.put_file("first", &painted(100, 1));
    assert!(store.archive.checkpoint().unwrap().is_some());
}

#[test]
fn an_old_catalog_from_before_the_records_that_are_left_is_refused_and_made_again() {
    let store = lived_in();
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    let old = fs::read(root.join("catalog.redb")).unwrap();
    let archive = open(&root, Access::Write);
    for seed in 0..3 {
        let content = painted(10, seed);
        let options = bfdb::archive::CommitOptions::default();
        let put = archive.commit(&name(&format!("n/{seed}")), content.as_slice(), 10, &options);
        put.unwrap();
        let _taken = archive.checkpoint().unwrap();
    }
    let before = known(&archive);
    archive.close().unwrap();
    fs::write(root.join("catalog.redb"), old).unwrap();
    let error = crate::support::try_open(&root, Access::Write).unwrap_err();
    let OpenError::Journal { source } = &error else {
        panic!("{error:?}");
    };
    assert!(matches!(**source, PublicationError::Gap { .. }), "{error:?}");
    let (archive, report) = rebuild(&root);
    assert_eq!(report.kept, Some(root.join("catalog.redb.old-1")));
    assert_eq!(known(&archive), before);
    has_all(&archive);
    archive.close().unwrap();
    let (archive, report) = crate::support::try_open(&root, Access::Write).unwrap();
    assert_eq!(report, RecoveryReport::default());
    drop((archive, dir));
}

/// What a check of the catalog finds.
fn problems(archive: &Archive) -> Vec<String> {
    let check = archive.check_catalog().unwrap();
    check
        .problems
        .iter()
        .map(|problem| format!("{problem:?}"))
        .collect()
}

#[test]
fn a_check_of_the_catalog_finds_nothing_where_nothing_is_wrong() {
    let store = lived_in();
    assert_eq!(problems(&store.archive), Vec::<String>::new());
    for _ in 0..3 {
        let _taken = store.archive.checkpoint().unwrap().unwrap();
        store.put_file("again", &painted(50, 3));
        let check = store.archive.check_catalog().unwrap();
        assert!(check.problems.is_empty(), "{:?}", check.problems);
        assert!(check.slices > 0 && check.records > 0 && check.extents > 0);
        let _removed: Removal = store.archive.remove(&name("again")).unwrap();
    }
    let root = store.root();
    let archive = lose_and_rebuild(store.archive, &root);
    assert_eq!(problems(&archive), Vec::<String>::new());
    drop(store.dir);
}

#[test]
fn a_check_of_the_catalog_names_what_the_journal_the_checkpoints_and_the_extents_lack() {
    let store = lived_in();
    let _first = store.archive.checkpoint().unwrap().unwrap();
    let root = store.root();
    // A record that is lost on all copies: the last but one.
    store.put_file("one", &painted(50, 3));
    store.put_file("two", &painted(50, 4));
    for copy in 0..4 {
        let segment = copy_of(&root, copy).join("00000002.bfj");
        let mut bytes = fs::read(&segment).unwrap();
        let records = bytes
            .chunks(4096)
            .filter(|sector| sector.iter().any(|byte| *byte != 0));
        let end = records.count() * 4096;
        bytes[end - 8192..end - 4096].fill(0xEE);
        fs::write(&segment, bytes).unwrap();
    }
    let found = problems(&store.archive);
    assert!(
        found.iter().any(|problem| problem.starts_with("RecordsLost")),
        "{found:?}"
    );
    let extents = store.extents();
    let short = fs::File::options().write(true).open(&extents[0]).unwrap();
    short.set_len(4096).unwrap();
    fs::remove_file(&extents[1]).unwrap();
    let found = problems(&store.archive);
    for kind in ["RecordsLost", "ExtentShort", "ExtentMissing"] {
        assert!(
            found.iter().any(|problem| problem.starts_with(kind)),
            "{kind}: {found:?}"
        );
    }
    for extent in &extents[2..] {
        fs::remove_file(extent).unwrap();
    }
    let found = problems(&store.archive);
    assert!(
        found.iter().any(|problem| problem.starts_with("SliceLost")),
        "{found:?}"
    );
}
