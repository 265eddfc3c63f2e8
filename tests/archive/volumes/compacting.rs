//! Room that is given back where there are several volumes, and catalogs that are made again behind that.

use std::fs;

use bfdb::{
    archive::{Archive, CompactOptions, MoveOptions, OpenOptions, RenameConflict, VolumeCondition},
    catalog::Access,
    error::{OpenError, PublicationError},
};

use super::{OnVolumes, store_of_each_tier};
use crate::{
    rebuilding::rebuild_with,
    support::{SEGMENTED_BELOW, TINY_BELOW, get, name, names},
};

/// Everything that is dead goes, and everything that lives beside it moves.
fn compact(store: &OnVolumes) {
    let options = CompactOptions {
        min_dead_percent: 0,
        min_dead_bytes: 1,
        ..CompactOptions::default()
    };
    let report = store.archive.compact(&options, &()).unwrap();
    assert!(report.rewritten_shards + report.dropped_extents > 0, "{report:?}");
}

/// Stores files in the same extents, and removes every other one.
fn put_and_remove(store: &OnVolumes) {
    for file in 0..12 {
        store.put(&format!("many/{file}"), TINY_BELOW - 9, file);
    }
    for file in (0..12).step_by(2) {
        remove(store, &format!("many/{file}"));
    }
}

fn has_every_other(store: &OnVolumes) {
    for file in (1..12).step_by(2) {
        store.has(&format!("many/{file}"), TINY_BELOW - 9, file);
    }
}

fn remove(store: &OnVolumes, file: &str) {
    drop(store.archive.remove(&name(file)).unwrap());
}

/// What has moved a descriptor says where it lies now, in an extent that no catalog from before knows.
#[test]
fn descriptors_that_have_moved_on_several_volumes_are_found_again() {
    let store = store_of_each_tier(3);
    let root = store.dir.path().join("a.bfdb");
    let store = store.after(|_| {
        fs::copy(root.join("catalog.redb"), root.join("kept")).unwrap();
    });
    put_and_remove(&store);
    compact(&store);
    let holds = |store: &OnVolumes| {
        assert_eq!(names(&store.archive).len(), 9);
        has_every_other(store);
        store.has("segmented", SEGMENTED_BELOW - 7, 2);
        let report = store.archive.scrub(&()).unwrap();
        assert_eq!(report.damage, []);
    };
    let store = store.after(|_| {
        fs::rename(root.join("kept"), root.join("catalog.redb")).unwrap();
    });
    holds(&store);
    let volumes = vec![store.volume(0)];
    let OnVolumes { dir, archive } = store;
    archive.close().unwrap();
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let (archive, report) = rebuild_with(&root, volumes).unwrap();
    assert_eq!(report.recovery.lost_epoch, None);
    holds(&OnVolumes { dir, archive });
}

#[test]
fn a_catalog_from_before_the_journal_moved_to_another_volume_is_refused_and_made_again() {
    let store = store_of_each_tier(1);
    let root = store.dir.path().join("a.bfdb");
    let store = store.after(|_| {
        fs::copy(root.join("catalog.redb"), root.join("kept")).unwrap();
    });
    store.put("late", TINY_BELOW - 9, 4);
    let new = store.dir.path().join("new");
    let first = store.archive.snapshot().unwrap().volumes().unwrap()[0].id;
    store.archive.add_volume(&new).unwrap();
    let moved = store.archive.drain_volume(first, MoveOptions::default(), &());
    assert_eq!(moved.unwrap().shards_left, 0);
    compact(&store);
    let OnVolumes { dir, archive } = store;
    archive.close().unwrap();
    fs::rename(root.join("kept"), root.join("catalog.redb")).unwrap();
    let options = OpenOptions {
        access: Access::Write,
        volumes: vec![new.clone()],
        ..OpenOptions::default()
    };
    let refused = Archive::open(&root, &options);
    let is_gap = |error: &OpenError| matches!(error, OpenError::Journal { source } if matches!(**source, PublicationError::Gap { .. }));
    assert!(refused.as_ref().is_err_and(is_gap), "{refused:?}");
    let (archive, _) = rebuild_with(&root, vec![new]).unwrap();
    let store = OnVolumes { dir, archive };
    store.has("late", TINY_BELOW - 9, 4);
    store.has("blocked", SEGMENTED_BELOW + 50 * crate::support::LEAF + 7, 3);
}

#[test]
fn a_volume_that_is_away_is_compacted_when_it_is_back() {
    let store = store_of_each_tier(3);
    put_and_remove(&store);
    remove(&store, "blocked");
    let (here, there) = (store.volume(1), store.dir.path().join("a.bfdb").join("unplugged"));
    fs::rename(&here, &there).unwrap();
    compact(&store);
    store.has("tiny", TINY_BELOW - 7, 1);
    let dead = |store: &OnVolumes| -> Vec<u64> {
        let space = store.archive.snapshot().unwrap().space().unwrap();
        space.iter().map(|space| space.dead_bytes).collect()
    };
    let before = dead(&store);
    assert!(before[1] > 0 && before[0] == 0 && before[2] == 0, "{before:?}");
    fs::rename(&there, &here).unwrap();
    let store = store.after(|_| ());
    let volumes = store.archive.snapshot().unwrap().volumes().unwrap();
    assert!(
        volumes
            .iter()
            .all(|volume| volume.condition == VolumeCondition::Present)
    );
    compact(&store);
    assert_eq!(dead(&store), [0, 0, 0]);
    store.has("tiny", TINY_BELOW - 7, 1);
    store.has("segmented", SEGMENTED_BELOW - 7, 2);
    assert_eq!(store.archive.scrub(&()).unwrap().damage, []);
}

#[test]
fn a_volume_that_goes_away_stops_no_renaming() {
    let store = store_of_each_tier(4);
    let (here, there) = (store.volume(1), store.dir.path().join("a.bfdb").join("unplugged"));
    fs::rename(&here, &there).unwrap();
    let renamed = store
        .archive
        .rename(&name("tiny"), &name("small"), RenameConflict::Refuse);
    assert_eq!(renamed.unwrap().entries, 1);
    fs::rename(&there, &here).unwrap();
    let store = store.after(|_| ());
    store.has("small", TINY_BELOW - 7, 1);
    assert!(get(&store.archive, "tiny").is_err());
}
