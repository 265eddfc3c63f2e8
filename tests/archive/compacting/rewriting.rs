//! Extents that are dead for the most part are emptied.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicU64, Ordering},
};

use bfdb::{
    archive::{Event, Observer},
    error::RepairError,
};

use super::{CompactOptions, accounting::recounted, compact, eager, remove, space};
use crate::support::{SEGMENTED_BELOW, Store, name, painted};

const FILES: u64 = 40;

/// An archive in which small dead ranges lie between what lives, less than a page each.
pub fn scattered() -> Store {
    let store = Store::new();
    for index in 0..FILES {
        store.put(&format!("file/{index}"), &painted(1_000 + index, index));
    }
    store.put("large", &painted(SEGMENTED_BELOW * 3, 77));
    for index in (0..FILES).filter(|index| index % 4 > 0) {
        remove(&store.archive, &format!("file/{index}"));
    }
    store
}

pub fn has_all(store: &Store) {
    for index in (0..FILES).step_by(4) {
        assert!(store.get(&format!("file/{index}")).unwrap() == painted(1_000 + index, index));
    }
    assert!(store.get("large").unwrap() == painted(SEGMENTED_BELOW * 3, 77));
    super::assert_whole(&store.archive);
}

#[test]
fn what_lives_in_mostly_dead_extents_is_written_anew_and_they_go() {
    let store = scattered();
    let (before, files): (_, BTreeSet<_>) = (space(&store.archive), store.extents().into_iter().collect());
    let report = compact(&store.archive, &eager());
    assert!(
        report.rewritten_bytes > 0 && report.dropped_extents > 0,
        "{report:?}"
    );
    let after = space(&store.archive);
    assert_eq!(after.live_bytes, before.live_bytes);
    assert!(
        after.dead_bytes * 4 < before.dead_bytes,
        "{before:?} became {after:?}"
    );
    let left: BTreeSet<_> = store.extents().into_iter().collect();
    assert!(left.is_disjoint(&files), "each of them had a dead byte");
    has_all(&store);
    // Two shards of a block never share an extent.
    for file in store.names() {
        for block in store.archive.snapshot().unwrap().places(&name(&file)).unwrap() {
            let extents: Vec<_> = block.shards.iter().flatten().map(|place| place.1).collect();
            let distinct: BTreeSet<_> = extents.iter().collect();
            assert_eq!(distinct.len(), extents.len(), "{file} {block:?}");
        }
    }
    recounted(&store);
    let store = store.reopen();
    has_all(&store);
}

#[test]
fn without_holes_extents_are_rewritten_from_the_share_on_that_was_asked_for() {
    let store = Store::new();
    for index in 0..8 {
        store.put(&format!("file/{index}"), &painted(SEGMENTED_BELOW - 1, index));
    }
    for index in 1..4 {
        remove(&store.archive, &format!("file/{index}"));
    }
    let share = |percent| CompactOptions {
        min_dead_percent: percent,
        min_dead_bytes: 1,
        is_dry_run: true,
        ..CompactOptions::default()
    };
    assert_eq!(compact(&store.archive, &share(100)).rewritten_bytes, 0);
    let all = compact(&store.archive, &share(0));
    assert!(all.rewritten_bytes > 0 && all.dropped_extents > 0);
}

/// Asks for an end once so many bytes were written.
struct Impatient {
    left: AtomicU64,
}

impl Observer for Impatient {
    fn event(&self, event: Event<'_>) {
        if let Event::Progress { .. } = event {
            let less = |left: u64| Some(left.saturating_sub(1));
            let updated = self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less);
            updated.unwrap();
        }
    }

    fn is_cancelled(&self) -> bool {
        self.left.load(Ordering::SeqCst) == 0
    }
}

#[test]
fn ended_early_it_goes_on_with_the_same_call() {
    let store = scattered();
    for events in [0, 1, 3] {
        let impatient = Impatient {
            left: AtomicU64::new(events),
        };
        let ended = store.archive.compact(&eager(), &impatient);
        assert!(matches!(ended, Err(RepairError::Cancelled)), "{ended:?}");
        has_all(&store);
        recounted(&store);
    }
    let report = compact(&store.archive, &eager());
    assert!(report.rewritten_bytes > 0);
    has_all(&store);
    recounted(&store);
}
