//! The file that keeps room for removing files from a full disk: it comes and goes, and nothing depends on it.

use std::{fs, os::unix::fs::MetadataExt as _};

use bfdb::{
    archive::{Archive, ArchiveOptions},
    catalog::Access,
    error::OpenError,
    host::BALLAST_LEN_BYTES,
};

use crate::support::{Store, open, painted, small_policy};

fn kept_bytes(store: &Store) -> u64 {
    fs::metadata(store.root().join("ballast")).map_or(0, |found| found.blocks() * 512)
}

#[test]
fn an_archive_is_made_with_a_ballast_of_real_blocks_that_only_its_owner_reads() {
    let store = Store::new();
    let found = fs::metadata(store.root().join("ballast")).unwrap();
    assert_eq!((found.len(), found.mode() & 0o777), (BALLAST_LEN_BYTES, 0o600));
    assert!(kept_bytes(&store) >= BALLAST_LEN_BYTES);
}

#[test]
fn a_ballast_that_is_gone_is_missed_by_nobody_and_made_again_by_the_next_writer() {
    let store = Store::new();
    store.put("a", &painted(50_000, 1));
    fs::remove_file(store.root().join("ballast")).unwrap();
    drop(open(&store.root(), Access::Read));
    assert_eq!(kept_bytes(&store), 0, "a reader changes nothing");
    let store = store.reopen();
    assert!(kept_bytes(&store) >= BALLAST_LEN_BYTES);
    // Released by a process that died before it made it again.
    fs::File::create(store.root().join("ballast")).unwrap();
    let store = store.reopen();
    assert!(kept_bytes(&store) >= BALLAST_LEN_BYTES);
    fs::remove_file(store.root().join("ballast")).unwrap();
    drop(store.archive.remove(&"a".parse().unwrap()).unwrap());
    assert!(kept_bytes(&store) >= BALLAST_LEN_BYTES, "so does a removal");
}

#[test]
fn a_ballast_that_was_released_is_made_again_by_the_next_commit_of_the_same_process() {
    let store = Store::new();
    fs::File::create(store.root().join("ballast")).unwrap();
    store.put("a", &painted(50_000, 1));
    assert!(kept_bytes(&store) >= BALLAST_LEN_BYTES);
}

#[test]
fn what_somebody_else_has_named_ballast_is_left_alone_and_stops_nothing() {
    let store = Store::new();
    let path = store.root().join("ballast");
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"a letter").unwrap();
    store.put("a", &painted(50_000, 1));
    drop(store.archive.remove(&"a".parse().unwrap()).unwrap());
    let store = store.reopen();
    assert_eq!(fs::read(&path).unwrap(), b"a letter");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    let store = store.reopen();
    store.put("b", &painted(50_000, 1));
    drop(store.archive.remove(&"b".parse().unwrap()).unwrap());
    assert!(fs::metadata(&path).unwrap().is_dir());
}

#[test]
fn a_ballast_is_neither_an_archive_nor_in_the_way_of_one() {
    let store = Store::new();
    fs::remove_file(store.root().join("catalog.redb")).unwrap();
    let options = ArchiveOptions {
        policy: small_policy(),
        ..ArchiveOptions::default()
    };
    assert!(
        matches!(
            Archive::create(&store.root(), &options),
            Err(OpenError::Exists { .. })
        ),
        "what has lost its catalog is no place for another archive"
    );
    let elsewhere = store.dir.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::rename(store.root().join("ballast"), elsewhere.join("ballast")).unwrap();
    drop(Archive::create(&elsewhere, &options).unwrap());
}
