//! Room is given back while others store, replace, rename, remove, read, scrub, repair and take checkpoints.

use std::thread::{self, ScopedJoinHandle};

use bfdb::{
    archive::{Archive, RenameConflict, RepairOptions, Resources},
    catalog::Access,
};

use super::{assert_whole, eager, recounted, remove, replace};
use crate::support::{SEGMENTED_BELOW, Store, get, name, names, open, painted, small_policy};
const ROUNDS: u64 = 12;
/// Files that stay while everything around them comes and goes.
const STAYING: u64 = 6;

fn len(seed: u64) -> u64 {
    [900, SEGMENTED_BELOW - 40, SEGMENTED_BELOW * 2][usize::try_from(seed % 3).unwrap()]
}

fn stays(archive: &Archive) {
    for seed in 0..STAYING {
        assert!(get(archive, &format!("stays/{seed}")).unwrap() == painted(len(seed), seed));
    }
}

/// Files of one worker come, are replaced and renamed, and go but for the last.
fn come_and_go(archive: &Archive, worker: u64) {
    for round in 0..ROUNDS {
        let (file, other) = (format!("w{worker}/{round}"), format!("w{worker}/again-{round}"));
        let seed = worker * 1000 + round;
        replace(archive, &file, &painted(len(seed), seed));
        replace(archive, &file, &painted(len(seed + 1), seed + 1));
        let renamed = archive.rename(&name(&file), &name(&other), RenameConflict::Refuse);
        assert_eq!(renamed.unwrap().entries, 1);
        assert!(get(archive, &other).unwrap() == painted(len(seed + 1), seed + 1));
        if round + 1 < ROUNDS {
            remove(archive, &other);
        }
    }
}

#[test]
fn room_is_given_back_beside_others_who_never_meet_damage() {
    let store = Store::in_memory(small_policy(), Resources::default());
    for seed in 0..STAYING {
        store.put(&format!("stays/{seed}"), &painted(len(seed), seed));
    }
    let other = open(&store.root(), Access::Write);
    let (archive, other) = (&store.archive, &other);
    let given_back: u64 = thread::scope(|scope| {
        let workers = [
            scope.spawn(|| come_and_go(archive, 1)),
            scope.spawn(|| come_and_go(other, 2)),
        ];
        scope.spawn(|| {
            for _ in 0..ROUNDS {
                assert_eq!(other.scrub(&()).unwrap().damage, []);
                assert_eq!(
                    other
                        .repair(&RepairOptions::default(), &())
                        .unwrap()
                        .shards_repaired,
                    0
                );
                stays(archive);
            }
        });
        scope.spawn(|| {
            for _ in 0..3 {
                let _taken = archive.checkpoint().unwrap();
                stays(other);
            }
        });
        let compact = |archive: &Archive| {
            let report = archive.compact(&eager(), &()).unwrap();
            report.hole_bytes + report.dropped_bytes
        };
        let mut given_back = 0;
        while !workers.iter().all(ScopedJoinHandle::is_finished) {
            given_back += compact(archive) + compact(other);
        }
        given_back + compact(archive)
    });
    assert!(given_back > 0);
    let staying = usize::try_from(STAYING).unwrap();
    assert_eq!(names(archive).len(), staying + 2);
    stays(archive);
    let _report = archive.compact(&eager(), &()).unwrap();
    recounted(&store);
    assert_whole(archive);
}
