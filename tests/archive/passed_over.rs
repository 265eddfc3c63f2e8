//! Commits of which nothing is left are passed over where a catalog is made again, whatever had to do with them.

use std::fs;

use bfdb::{
    archive::{
        Archive, CommitAllOptions, CommitObserver, CommitOptions, CommitOutcome, CompactOptions, Event,
        FileInfo, NameConflict, Observer, Source,
    },
    catalog::Totals,
    error::CommitError,
    host::Place,
};

use crate::{
    rebuilding::rebuild,
    support::{Store, get, name, names, painted},
};

/// Whatever becomes of each.
struct Any;

impl Observer for Any {
    fn event(&self, _: Event<'_>) {}
}

impl CommitObserver for Any {
    fn source_done(&self, _: &Source, _: Result<CommitOutcome, CommitError>) {}
}

fn replace(archive: &Archive, file: &str, seed: u64, versions: u32) {
    let content = painted(600 + seed, seed);
    let options = CommitOptions {
        name_conflict: NameConflict::ReplaceAndKeep { versions },
        ..CommitOptions::default()
    };
    archive
        .commit(&name(file), content.as_slice(), 600 + seed, &options)
        .unwrap();
}

fn commit_tree(store: &Store, named: &[&str], versions: u32) {
    let sources = named.iter().map(|text| Source {
        name: name(text),
        place: Place::of_path(store.dir.path().join("sources").join(text)),
    });
    let options = CommitAllOptions {
        name_conflict: NameConflict::ReplaceAndKeep { versions },
    };
    store
        .archive
        .commit_all(&mut sources.into_iter(), &options, &Any)
        .unwrap();
}

fn remove(store: &Store, file: &str) {
    drop(store.archive.remove(&name(file)).unwrap());
}

/// All entries and kept versions, and their sums.
fn stored(archive: &Archive) -> (Vec<FileInfo>, Totals) {
    let snapshot = archive.snapshot().unwrap();
    let files = snapshot.files_and_versions(None);
    (files.map(Result::unwrap).collect(), snapshot.totals().unwrap())
}

/// Gives back all room, the descriptors of what is gone with it, loses the catalog, makes it again and compares.
fn is_made_again(store: Store) {
    let options = CompactOptions {
        min_dead_percent: 0,
        min_dead_bytes: 1,
        ..CompactOptions::default()
    };
    let report = store.archive.compact(&options, &()).unwrap();
    assert!(report.dropped_extents > 0, "{report:?}");
    let before = stored(&store.archive);
    let root = store.root();
    let Store { dir, archive } = store;
    archive.close().unwrap();
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let (archive, _) = rebuild(&root);
    assert_eq!(stored(&archive), before);
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    assert!(archive.check_catalog().unwrap().problems.is_empty());
    for file in names(&archive) {
        drop(get(&archive, &file));
    }
    archive.close().unwrap();
    drop(dir);
}

/// Stores versions, each in one commit with another file that stays.
fn store_beside_others(store: &Store, versions: core::ops::RangeInclusive<u64>) {
    let sources = store.dir.path().join("sources");
    fs::create_dir_all(&sources).unwrap();
    for seed in versions {
        let beside = format!("beside-{seed}");
        fs::write(sources.join("a"), painted(600 + seed, seed)).unwrap();
        fs::write(sources.join(&beside), painted(300, seed)).unwrap();
        commit_tree(store, &["a", &beside], 5);
    }
}

/// A file was refused in the place of a directory, in one commit with another one that was stored.
#[test]
fn an_entry_that_was_skipped_takes_no_name_from_what_has_it() {
    let store = Store::new();
    let sources = store.dir.path().join("sources");
    fs::create_dir_all(&sources).unwrap();
    for text in ["good", "d"] {
        fs::write(sources.join(text), painted(300, 3)).unwrap();
    }
    fs::create_dir(sources.join("directory")).unwrap();
    store.put("d/x", &painted(500, 1));
    fs::rename(sources.join("d"), sources.join("file")).unwrap();
    fs::create_dir(sources.join("d")).unwrap();
    commit_tree(&store, &["d"], 0);
    fs::remove_dir(sources.join("d")).unwrap();
    fs::rename(sources.join("file"), sources.join("d")).unwrap();
    commit_tree(&store, &["good", "d"], 0);
    assert_eq!(names(&store.archive), ["d", "d/x", "good"]);
    store.put("gone", &painted(700, 4));
    remove(&store, "gone");
    is_made_again(store);
}

/// The version that had the name when another one went is of a commit of which nothing is left.
#[test]
fn kept_versions_whose_name_a_passed_over_commit_had_are_no_reason_to_refuse() {
    let store = Store::new();
    store_beside_others(&store, 1..=2);
    replace(&store.archive, "a", 3, 5);
    drop(store.archive.remove_version(&name("a"), 2).unwrap());
    remove(&store, "a");
    is_made_again(store);
}

#[test]
fn what_is_stored_behind_a_passed_over_commit_has_the_versions_that_it_had() {
    let store = Store::new();
    store_beside_others(&store, 1..=2);
    replace(&store.archive, "a", 3, 5);
    drop(store.archive.remove_version(&name("a"), 2).unwrap());
    // The third one goes, and the first one stays.
    replace(&store.archive, "a", 4, 5);
    drop(store.archive.remove_version(&name("a"), 3).unwrap());
    is_made_again(store);
}

/// A directory had the name in between, which is never a kept version.
#[test]
fn kept_versions_that_a_directory_had_the_name_of_are_no_reason_to_refuse() {
    let store = Store::new();
    store_beside_others(&store, 1..=1);
    let sources = store.dir.path().join("sources");
    fs::remove_file(sources.join("a")).unwrap();
    fs::create_dir(sources.join("a")).unwrap();
    fs::write(sources.join("beside the directory"), painted(400, 8)).unwrap();
    commit_tree(&store, &["a", "beside the directory"], 5);
    replace(&store.archive, "a", 3, 5);
    remove(&store, "a");
    is_made_again(store);
}
