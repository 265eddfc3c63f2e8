//! Volumes that are lost, every set of them.

use bfdb::{archive::RestoreOptions, catalog::Access, error::RestoreError, host::RestoreTarget};

use super::{counts, lose, store_of_each_tier};
use crate::support::{LEAF, SEGMENTED_BELOW, TINY_BELOW, name, open};

#[test]
fn of_four_volumes_any_three_may_be_lost_and_replicated_files_are_read() {
    for kept in 0..4 {
        let store = store_of_each_tier(4);
        let lost: Vec<usize> = (0..4).filter(|volume| *volume != kept).collect();
        let store = store.after(|dir| lose(dir, &lost));
        store.has("tiny", TINY_BELOW - 7, 1);
        store.has("segmented", SEGMENTED_BELOW - 7, 2);
        let reader = open(&store.dir.path().join("a.bfdb"), Access::Read);
        assert_eq!(super::get(&reader, "tiny").unwrap().len() as u64, TINY_BELOW - 7);
    }
}

#[test]
fn replicas_lie_on_a_volume_each_and_a_code_that_cannot_survive_stays_whole() {
    let store = store_of_each_tier(4);
    for file in ["tiny", "segmented"] {
        for block in counts(&store, file) {
            assert_eq!(block.len(), 4, "{file}");
        }
    }
    // RS(6,3) over four volumes would be three of nine on one of them: that it survives.
    for block in counts(&store, "blocked") {
        assert_eq!(block.values().copied().max(), Some(3));
    }
    let two = store_of_each_tier(2);
    for block in counts(&two, "blocked") {
        assert_eq!(block.len(), 1, "five of nine would be lost with a volume");
    }
}

#[test]
fn what_is_stored_while_volumes_are_away_is_read_when_they_are_back() {
    let store = store_of_each_tier(4).after(|dir| {
        std::fs::rename(dir.join("v1"), dir.join("a.bfdb").join("hidden")).unwrap();
    });
    store.put("later", TINY_BELOW - 9, 4);
    store.put("later/long", SEGMENTED_BELOW + 9, 5);
    let store = store.after(|dir| {
        std::fs::rename(dir.join("a.bfdb").join("hidden"), dir.join("v1")).unwrap();
    });
    for (file, len, seed) in [
        ("tiny", TINY_BELOW - 7, 1),
        ("segmented", SEGMENTED_BELOW - 7, 2),
        ("blocked", SEGMENTED_BELOW + 50 * LEAF + 7, 3),
        ("later", TINY_BELOW - 9, 4),
        ("later/long", SEGMENTED_BELOW + 9, 5),
    ] {
        store.has(file, len, seed);
    }
    let report = store.archive.scrub(&()).unwrap();
    assert_eq!(
        (report.damaged_shards, report.journal.len()),
        (0, 0),
        "{report:?}"
    );
}

#[test]
fn a_volume_that_is_added_takes_its_part_of_what_comes() {
    let store = store_of_each_tier(1);
    let added = store.archive.add_volume(&store.volume(1)).unwrap();
    store.put("new", TINY_BELOW - 7, 9);
    assert_eq!(counts(&store, "new")[0].get(&added), Some(&2));
    let store = store.after(|dir| lose(dir, &[0]));
    store.has("new", TINY_BELOW - 7, 9);
    assert!(super::get(&store.archive, "tiny").is_err(), "it was never there");
}

/// Only the directory of the archive itself was refused.
#[test]
fn nothing_is_restored_into_a_volume_wherever_it_lies() {
    let store = store_of_each_tier(2).after(|dir| lose(dir, &[0]));
    let snapshot = store.archive.snapshot().unwrap();
    for target in [store.volume(1), store.volume(1).join("extents/deep")] {
        let target = RestoreTarget::open(&target).unwrap();
        let refused = snapshot.restore(&name("tiny"), &target, &RestoreOptions::default(), &());
        assert!(
            matches!(refused, Err(RestoreError::TargetInsideArchive { .. })),
            "{refused:?}"
        );
    }
    let beside = RestoreTarget::open(&store.dir.path().join("beside")).unwrap();
    let restored = snapshot.restore(&name("tiny"), &beside, &RestoreOptions::default(), &());
    assert!(restored.is_ok(), "{restored:?}");
}
