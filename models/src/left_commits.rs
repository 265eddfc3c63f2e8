//! Commits that are left behind: each is ended by one.

use std::sync::atomic::{AtomicUsize, Ordering};

use loom::{sync::Arc, thread};

use crate::{explore, units::CommitId};
use left_behind::{LeftBehind, UnderWay};

#[path = "../../src/archive/left_behind.rs"]
mod left_behind;

/// One drops a commit that it works on while two look for such.
pub fn what_is_left_behind_is_taken_out_once() {
    explore(|| {
        let left = Arc::new(LeftBehind::default());
        let taken = std::sync::Arc::new(AtomicUsize::new(0));
        let commit = CommitId(4);
        let looks = || {
            let (left, taken) = (Arc::clone(&left), std::sync::Arc::clone(&taken));
            thread::spawn(move || {
                for found in left.all() {
                    taken.fetch_add(usize::from(left.take(found)), Ordering::Relaxed);
                }
            })
        };
        let lookers = [looks(), looks()];
        drop(UnderWay::new(&left, commit));
        for looker in lookers {
            looker.join().expect("a panic ends the model");
        }
        let rest = usize::from(left.has(commit));
        assert_eq!(taken.load(Ordering::Relaxed) + rest, 1, "it is somewhere, once");
        let ended = UnderWay::new(&left, CommitId(5));
        ended.end();
        assert!(!left.has(CommitId(5)), "who has ended leaves nothing behind");
    });
}
