//! Catalogs that were put back.

use std::fs;

use bfdb::{archive::CommitOptions, catalog::Access};

use crate::support::{SEGMENTED_BELOW, Store, TINY_BELOW, get, name, open, painted};

/// Tiny, segmented and blocked.
const LENGTHS: [u64; 3] = [TINY_BELOW - 1, SEGMENTED_BELOW - 1, SEGMENTED_BELOW * 3];

/// Puts back a catalog that was saved before the last commit, stores something else with it, and then asks the newest
/// catalog for what the old one never heard of.
fn old_catalog_by_one(len: u64, before: &[&str]) {
    let store = Store::new();
    for file in before {
        store.put(file, &painted(len, 1));
    }
    let catalog = store.root().join("catalog.redb");
    let store = store.reopen();
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    let old = fs::read(&catalog).unwrap();

    let archive = open(&root, Access::Write);
    let content = painted(len, 2);
    archive
        .commit(
            &name("newest"),
            content.as_slice(),
            len,
            &CommitOptions::default(),
        )
        .unwrap();
    archive.close().unwrap();
    let new = fs::read(&catalog).unwrap();

    fs::write(&catalog, old).unwrap();
    // One slot alone does not tell whether its epoch was published.
    let slots = root.join("volumes/v0/volume.bfv");
    let mut bytes = fs::read(&slots).unwrap();
    bytes[4096..].fill(0xEE);
    fs::write(&slots, bytes).unwrap();
    let archive = open(&root, Access::Write);
    for _ in 0..3 {
        drop(archive.commit(
            &name("other"),
            painted(len, 3).as_slice(),
            len,
            &CommitOptions::default(),
        ));
    }
    assert!(get(&archive, "other").unwrap() == painted(len, 3));
    archive.close().unwrap();

    fs::write(&catalog, new).unwrap();
    let archive = open(&root, Access::Read);
    let report = archive.scrub(&()).unwrap();
    assert_eq!(report.damage, [], "{len} bytes after {before:?}");
    assert!(get(&archive, "newest").unwrap() == content);
    drop(dir);
}

/// Beside a single slot, a catalog that is one epoch behind looks like one whose publication was cut short. Extents were
/// once taken over, and new ones removed again, on the word of such a catalog.
#[test]
fn a_catalog_put_back_that_misses_one_commit_costs_that_commit_no_byte() {
    for len in LENGTHS {
        old_catalog_by_one(len, &["before"]);
        old_catalog_by_one(len, &[]);
    }
}
