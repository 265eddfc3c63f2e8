//! Volumes that are replaced, drained and removed.

use std::{
    fs,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use bfdb::{
    archive::{Event, MoveOptions, Observer, VolumeCondition},
    catalog::VolumeState,
    error::{CommitError, OpenError, RepairError},
    units::VolumeId,
};

use super::{OnVolumes, counts, lose, store_of_each_tier};
use crate::support::{LEAF, SEGMENTED_BELOW, TINY_BELOW, get};

fn id_of(store: &OnVolumes, number: u16) -> VolumeId {
    let volumes = store.archive.snapshot().unwrap().volumes().unwrap();
    volumes.iter().find(|volume| volume.number == number).unwrap().id
}

fn has_all(store: &OnVolumes) {
    store.has("tiny", TINY_BELOW - 7, 1);
    store.has("segmented", SEGMENTED_BELOW - 7, 2);
    store.has("blocked", SEGMENTED_BELOW + 50 * LEAF + 7, 3);
}

/// Everything is right, and nothing of it needs anything else.
fn is_whole(store: &OnVolumes) {
    let report = store.archive.scrub(&()).unwrap();
    assert_eq!(
        (report.damaged_shards, report.journal.len()),
        (0, 0),
        "{report:?}"
    );
    assert!(report.offline.is_empty(), "{report:?}");
}

#[test]
fn a_lost_volume_is_replaced_and_any_other_may_be_lost_then() {
    for lost in 0..3 {
        let store = store_of_each_tier(3).after(|dir| lose(dir, &[lost]));
        let old = id_of(&store, lost as u16);
        let scrub = store.archive.scrub(&()).unwrap();
        assert_eq!(scrub.damaged_shards, 0, "a volume that is away is no damage");
        assert_eq!(scrub.offline.iter().collect::<Vec<_>>(), [&old]);
        let place = store.dir.path().join("new");
        let replaced = store
            .archive
            .replace_volume(old, &place, MoveOptions::default(), &());
        let (new, report) = replaced.unwrap();
        assert!(report.shards_moved > 0 && report.shards_left == 0, "{report:?}");
        for file in ["tiny", "segmented", "blocked"] {
            for block in counts(&store, file) {
                assert!(!block.contains_key(&old), "{file}");
                assert!(block.contains_key(&new), "{file}");
            }
        }
        is_whole(&store);
        // Now another one.
        let other = (lost + 1) % 3;
        let store = store.after(|dir| lose(dir, &[other]));
        has_all(&store);
    }
}

#[test]
fn a_volume_that_is_there_is_drained_and_removed() {
    let store = store_of_each_tier(4);
    let old = id_of(&store, 2);
    let refused = store.archive.remove_volume(old).unwrap_err();
    assert!(
        matches!(
            refused,
            RepairError::Store {
                source: CommitError::VolumeNotDrained { .. }
            }
        ),
        "{refused:?}"
    );
    let report = store
        .archive
        .drain_volume(old, MoveOptions::default(), &())
        .unwrap();
    assert!(report.shards_moved > 0 && report.shards_left == 0, "{report:?}");
    store.put("after", TINY_BELOW - 9, 4);
    assert!(
        !counts(&store, "after")[0].contains_key(&old),
        "nothing new goes there"
    );
    store.archive.remove_volume(old).unwrap();
    let volumes = store.archive.snapshot().unwrap().volumes().unwrap();
    assert_eq!(volumes[2].state, VolumeState::Removed);
    let store = store.after(|dir| lose(dir, &[2]));
    has_all(&store);
    is_whole(&store);
    let volumes = store.archive.snapshot().unwrap().volumes().unwrap();
    assert!(
        volumes.iter().all(
            |volume| volume.condition == VolumeCondition::Present || volume.state == VolumeState::Removed
        )
    );
}

#[test]
fn the_last_volume_stays() {
    let store = store_of_each_tier(1);
    let only = id_of(&store, 0);
    let refused = store
        .archive
        .drain_volume(only, MoveOptions::default(), &())
        .unwrap_err();
    let is_last = |error: &RepairError| {
        matches!(
            error,
            RepairError::Store {
                source: CommitError::LastVolume { .. }
            }
        )
    };
    assert!(is_last(&refused), "{refused:?}");
    assert!(is_last(&store.archive.remove_volume(only).unwrap_err()));
    store.put("still", TINY_BELOW - 9, 4);
}

#[test]
fn a_file_that_stays_whole_moves_to_one_volume() {
    let store = store_of_each_tier(3);
    // RS(6,3) over two volumes would lose five of nine with one of them.
    let old = id_of(&store, 0);
    let drained = store.archive.drain_volume(old, MoveOptions::default(), &());
    assert_eq!(drained.unwrap().shards_left, 0);
    let two = store_of_each_tier(2);
    let on: Vec<VolumeId> = counts(&two, "blocked")
        .iter()
        .map(|block| *block.keys().next().unwrap())
        .collect();
    let place = two.dir.path().join("third");
    two.archive.add_volume(&place).unwrap();
    let drained = two.archive.drain_volume(on[0], MoveOptions::default(), &());
    assert_eq!(drained.unwrap().shards_left, 0);
    let after = counts(&two, "blocked");
    assert!(
        after
            .iter()
            .all(|block| block.len() == 1 && block.keys().eq(after[0].keys())),
        "{after:?}"
    );
    has_all(&two);
}

/// Ends after so many shards.
struct EndsAfter(AtomicU64, Mutex<u64>);

impl Observer for EndsAfter {
    fn event(&self, event: Event<'_>) {
        if let Event::Repaired { .. } = event {
            *self.1.lock().unwrap() += 1;
        }
    }

    fn is_cancelled(&self) -> bool {
        self.0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
            .is_err()
    }
}

#[test]
fn a_replacement_that_is_ended_at_any_moment_goes_on_with_the_same_call() {
    for allowed in [0, 1, 2, 3, 5, 8, 13] {
        let store = store_of_each_tier(3).after(|dir| lose(dir, &[1]));
        let old = id_of(&store, 1);
        let place = store.dir.path().join("new");
        let observer = EndsAfter(AtomicU64::new(allowed), Mutex::new(0));
        let ended = store
            .archive
            .replace_volume(old, &place, MoveOptions::default(), &observer);
        let store = if let Err(error) = ended {
            assert!(matches!(error, RepairError::Cancelled), "{error:?}");
            let store = store.after(|_| ());
            let again = store
                .archive
                .replace_volume(old, &place, MoveOptions::default(), &());
            assert_eq!(again.unwrap().1.shards_left, 0);
            store
        } else {
            store
        };
        is_whole(&store);
        has_all(&store.after(|dir| lose(dir, &[0])));
    }
}

#[test]
fn a_volume_that_was_replaced_and_comes_back_is_left_alone() {
    let store = store_of_each_tier(3).after(|dir| {
        fs::rename(dir.join("v1"), dir.join("a.bfdb").join("away")).unwrap();
    });
    let old = id_of(&store, 1);
    let place = store.dir.path().join("new");
    let replaced = store
        .archive
        .replace_volume(old, &place, MoveOptions::default(), &());
    assert_eq!(replaced.unwrap().1.shards_left, 0);
    let store = store.after(|dir| {
        fs::rename(dir.join("a.bfdb").join("away"), dir.join("v1")).unwrap();
    });
    is_whole(&store);
    let back = store.volume(1);
    let before = fs::read(back.join("volume.bfv")).unwrap();
    store.put("later", TINY_BELOW - 9, 4);
    assert_eq!(
        fs::read(back.join("volume.bfv")).unwrap(),
        before,
        "nobody writes there"
    );
    let refused = store.archive.add_volume(&back).unwrap_err();
    assert!(
        matches!(&refused, CommitError::Volumes { source } if matches!(**source, OpenError::VolumeTaken { .. })),
        "{refused:?}"
    );
    assert!(get(&store.archive, "tiny").is_ok());
}

/// Everything went to the other volume, with more of a block on it than its code survives.
#[test]
fn a_volume_that_holds_something_takes_the_place_of_no_other() {
    let store = store_of_each_tier(3);
    let (old, other) = (id_of(&store, 0), store.volume(1));
    let refused = store
        .archive
        .replace_volume(old, &other, MoveOptions::default(), &())
        .unwrap_err();
    let RepairError::Store {
        source: CommitError::Volumes { source },
    } = &refused
    else {
        panic!("{refused:?}");
    };
    assert!(matches!(**source, OpenError::VolumeNested { .. }), "{refused:?}");
    let volumes = store.archive.snapshot().unwrap().volumes().unwrap();
    assert!(volumes.iter().all(|volume| volume.state == VolumeState::Active));
    is_whole(&store);
}
