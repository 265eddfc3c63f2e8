//! Restores in part to which something happens on the way: they are stopped, the name is taken, the disk gets worse.

use std::{
    collections::BTreeSet,
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

use bfdb::{
    archive::{Event, Observer, Resources},
    error::{HostError, RestoreError},
    host::RestoreTarget,
};

use super::{
    chart::{Frame, frames_of},
    one_file,
    oracle::BLOCKED,
    partial::{PARTIAL, check, lose_column, names_in},
};
use crate::{
    stop_after::StopAfter,
    support::{BLOCKED_SEGMENT, DATA, LEAF, SEGMENTED_BELOW, Store, TINY_BELOW, name, painted, small_policy},
};

#[test]
fn a_partial_restore_that_is_stopped_anywhere_leaves_no_part() {
    for len in [TINY_BELOW - 1, SEGMENTED_BELOW - 5, BLOCKED] {
        let bench = one_file(len);
        for block in 0..=bench.frames.last().unwrap().block {
            lose_column(&bench.frames_of("f0", block), 0);
        }
        let dir = bench.store.dir.path().join("out");
        let target = RestoreTarget::open(&dir).unwrap();
        let snapshot = bench.store.archive.snapshot().unwrap();
        for events in 0.. {
            let observer = StopAfter::new(events);
            match snapshot.restore(&name("f0"), &target, &PARTIAL, &observer) {
                Err(RestoreError::Cancelled) => {
                    assert_eq!(
                        names_in(&dir),
                        BTreeSet::new(),
                        "after {events} events of {len} bytes"
                    );
                }
                Err(error) => panic!("{error:?} after {events} events"),
                Ok(receipt) => {
                    assert!(events > 0);
                    assert_eq!(names_in(&dir), ["f0.partial".to_owned()].into());
                    assert!(!receipt.lost.is_empty());
                    assert_eq!(
                        observer.bytes(),
                        len,
                        "progress comes to its end, whatever is lost"
                    );
                    break;
                }
            }
        }
    }
}

/// A file of several blocks whose pieces one worker restores in order; its content, and the frames of its first block.
fn blocks_in_turn() -> (Store, Vec<u8>, Vec<Frame>) {
    let resources = Resources {
        threads: 1,
        ..Resources::default()
    };
    let store = Store::with(small_policy(), resources);
    let content = painted(40 * u64::from(DATA) * LEAF, 1);
    store.put("f0", &content);
    let contents = [("f0".to_owned(), content.clone())].into();
    let frames = frames_of(&store, &contents);
    let first: Vec<Frame> = frames.into_iter().filter(|frame| frame.block == 0).collect();
    (store, content, first)
}

/// Does something once it was told of so much progress.
struct After<F> {
    events_left: AtomicU64,
    what: F,
}

impl<F: Fn() + Send + Sync> Observer for After<F> {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Progress { .. }) && self.events_left.fetch_sub(1, Ordering::SeqCst) == 1 {
            (self.what)();
        }
    }
}

#[test]
fn what_was_restored_before_its_disk_got_worse_is_not_lost() {
    let (store, content, first) = blocks_in_turn();
    // Not the byte that is flipped later, which would be right again then.
    first[0].flip(first[0].leaf(0).start + 1..first[0].leaf(0).start + 2);
    let dir = store.dir.path().join("out");
    let target = RestoreTarget::open(&dir).unwrap();
    let gets_worse = After {
        events_left: AtomicU64::new(DATA.into()),
        what: || drop(lose_column(&first, 0)),
    };
    let snapshot = store.archive.snapshot().unwrap();
    let receipt = snapshot.restore(&name("f0"), &target, &PARTIAL, &gets_worse);
    let lost = first[0].in_file(0).unwrap();
    check(&dir, &content, &receipt.unwrap(), &[lost], "all shards were read");
}

#[test]
fn a_name_that_is_taken_ends_the_restore_at_the_first_loss() {
    let (store, _, first) = blocks_in_turn();
    lose_column(&first, 0);
    let dir = store.dir.path().join("out");
    let target = RestoreTarget::open(&dir).unwrap();
    fs::write(dir.join("f0.partial"), "precious").unwrap();
    let observer = StopAfter::new(u64::MAX);
    let snapshot = store.archive.snapshot().unwrap();
    let refused = snapshot.restore(&name("f0"), &target, &PARTIAL, &observer);
    assert!(
        matches!(
            refused,
            Err(RestoreError::Host {
                source: HostError::Exists { .. }
            })
        ),
        "{refused:?}"
    );
    let of_block = u64::from(DATA) * BLOCKED_SEGMENT;
    assert_eq!(observer.bytes(), of_block, "the rest was read for nothing");
    assert_eq!(names_in(&dir), ["f0.partial".to_owned()].into());
}
