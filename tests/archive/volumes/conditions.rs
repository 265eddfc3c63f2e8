//! Volumes that are not as they were: old, elsewhere, twice, in each other's place, gone in the middle.

use std::{collections::BTreeSet, fs};

use bfdb::{
    archive::{Archive, CommitOptions, RepairOptions, VolumeCondition, VolumeInfo},
    geometry::Tolerance,
};

use super::{OnVolumes, counts, lose, store_of_each_tier};
use crate::support::{LEAF, SEGMENTED_BELOW, TINY_BELOW, copy_dir, get, name, painted};

fn volumes(archive: &Archive) -> Vec<VolumeInfo> {
    archive.snapshot().unwrap().volumes().unwrap()
}

fn conditions(archive: &Archive) -> Vec<VolumeCondition> {
    volumes(archive)
        .into_iter()
        .map(|volume| volume.condition)
        .collect()
}

fn has_all(store: &OnVolumes) {
    store.has("tiny", TINY_BELOW - 7, 1);
    store.has("segmented", SEGMENTED_BELOW - 7, 2);
    store.has("blocked", SEGMENTED_BELOW + 50 * LEAF + 7, 3);
}

#[test]
fn an_old_copy_of_a_volume_is_noticed_read_and_written_to_again_once_a_scrub_has_seen_it() {
    let store = store_of_each_tier(4).after(|dir| copy_dir(&dir.join("v1"), &dir.join("an-hour-ago")));
    store.put("later", TINY_BELOW - 9, 4);
    store.put("later/long", SEGMENTED_BELOW - 9, 5);
    let store = store.after(|dir| {
        lose(dir, &[1]);
        fs::rename(dir.join("an-hour-ago"), dir.join("v1")).unwrap();
    });
    assert!(
        matches!(conditions(&store.archive)[1], VolumeCondition::Stale { .. }),
        "{:?}",
        conditions(&store.archive)
    );
    has_all(&store);
    store.has("later/long", SEGMENTED_BELOW - 9, 5);
    let old = volumes(&store.archive)[1].id;
    store.put("meanwhile", TINY_BELOW - 9, 6);
    assert!(
        !counts(&store, "meanwhile")[0].contains_key(&old),
        "nothing is written there"
    );
    let report = store.archive.scrub(&()).unwrap();
    assert!(report.damaged_shards > 0, "it lacks what came later");
    assert_eq!(report.reconciled, BTreeSet::from([old]));
    assert_eq!(conditions(&store.archive)[1], VolumeCondition::Present);
    let repaired = store.archive.repair(&RepairOptions::default(), &()).unwrap();
    assert_eq!(
        (repaired.shards_repaired, repaired.damage.len()),
        (report.damaged_shards, 0)
    );
    store.put("after", TINY_BELOW - 9, 7);
    assert!(
        counts(&store, "after")[0].contains_key(&old),
        "it takes part again"
    );
    let again = store.archive.scrub(&()).unwrap();
    assert_eq!((again.damaged_shards, again.journal.len()), (0, 0), "{again:?}");
    let store = store.after(|dir| lose(dir, &[0, 2, 3]));
    for (file, len, seed) in [
        ("tiny", TINY_BELOW - 7, 1),
        ("later", TINY_BELOW - 9, 4),
        ("after", TINY_BELOW - 9, 7),
    ] {
        store.has(file, len, seed);
    }
}

#[test]
fn a_volume_is_found_where_it_is_named_and_there_from_then_on() {
    let store = store_of_each_tier(3);
    let far = store.dir.path().join("far/away/from/here");
    let named = far.clone();
    let store = store.after_with(vec![far.clone()], move |dir| {
        fs::create_dir_all(named.parent().unwrap()).unwrap();
        fs::rename(dir.join("v2"), &named).unwrap();
    });
    assert_eq!(conditions(&store.archive), [VolumeCondition::Present; 3]);
    let store = store.after(|_| ());
    assert_eq!(conditions(&store.archive), [VolumeCondition::Present; 3]);
    assert!(volumes(&store.archive)[2].path.ends_with(b"far/away/from/here"));
    has_all(&store);
}

#[test]
fn volumes_in_each_others_place_are_told_apart_by_their_ids() {
    let store = store_of_each_tier(3).after(|dir| {
        fs::rename(dir.join("v1"), dir.join("x")).unwrap();
        fs::rename(dir.join("v2"), dir.join("v1")).unwrap();
        fs::rename(dir.join("x"), dir.join("v2")).unwrap();
    });
    assert_eq!(conditions(&store.archive), [VolumeCondition::Present; 3]);
    has_all(&store);
    store.put("more", TINY_BELOW - 9, 4);
    let store = store.after(|_| ());
    let report = store.archive.scrub(&()).unwrap();
    assert_eq!(
        (report.damaged_shards, report.journal.len()),
        (0, 0),
        "{report:?}"
    );
    assert!(
        volumes(&store.archive)
            .iter()
            .all(|volume| volume.found_at.is_none()),
        "they are known there now"
    );
}

#[test]
fn of_two_copies_the_newer_is_used_and_the_other_is_named() {
    let store =
        store_of_each_tier(3).after(|dir| copy_dir(&dir.join("v1"), &dir.join("a.bfdb/volumes/copy")));
    let copy = store.dir.path().join("a.bfdb/volumes/copy");
    assert_eq!(volumes(&store.archive)[1].doubles, std::slice::from_ref(&copy));
    let before = fs::read(copy.join("volume.bfv")).unwrap();
    store.put("more", TINY_BELOW - 9, 4);
    assert_eq!(fs::read(copy.join("volume.bfv")).unwrap(), before);
    let store = store.after(|_| ());
    let found = &volumes(&store.archive)[1];
    assert_eq!(
        (found.condition, &found.doubles),
        (VolumeCondition::Present, &vec![copy])
    );
    has_all(&store);
}

#[test]
fn a_volume_that_goes_away_while_the_archive_is_open_is_no_damage_and_stops_nobody() {
    let store = store_of_each_tier(4);
    let (here, there) = (store.volume(1), store.dir.path().join("a.bfdb").join("unplugged"));
    fs::rename(&here, &there).unwrap();
    has_all(&store);
    let content = painted(TINY_BELOW - 9, 4);
    let len = content.len() as u64;
    let receipt = store
        .archive
        .commit(&name("more"), content.as_slice(), len, &CommitOptions::default());
    let tolerance = receipt.unwrap().tolerance.unwrap();
    assert_eq!(
        tolerance,
        Tolerance {
            segments: 3,
            extents: 3,
            volumes: 2
        }
    );
    let reduced = store.archive.snapshot().unwrap().tolerances().unwrap();
    assert!(reduced[0].is_reduced() && (reduced[0].now.volumes, reduced[0].full.volumes) == (2, 3));
    store.put("more/long", SEGMENTED_BELOW + 9, 5);
    drop(store.archive.remove(&name("tiny")).unwrap());
    let report = store.archive.scrub(&()).unwrap();
    assert_eq!(report.damaged_shards, 0, "{report:?}");
    assert_eq!(report.offline.len(), 1);
    fs::rename(&there, &here).unwrap();
    let report = store.archive.scrub(&()).unwrap();
    assert_eq!(
        (report.damaged_shards, report.offline.len()),
        (0, 0),
        "{report:?}"
    );
    store.put("back", TINY_BELOW - 9, 6);
    let store = store.after(|_| ());
    store.has("more", TINY_BELOW - 9, 4);
    store.has("more/long", SEGMENTED_BELOW + 9, 5);
    store.has("back", TINY_BELOW - 9, 6);
    assert!(get(&store.archive, "tiny").is_err(), "it stays removed");
    let report = store.archive.scrub(&()).unwrap();
    assert_eq!(
        (report.damaged_shards, report.journal.len()),
        (0, 0),
        "{report:?}"
    );
}
