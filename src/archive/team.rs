//! The threads of one operation, and its share of the memory.
//!
//! What moves much has threads of its own for as long as it takes, the caller's among them, so that no operation stands in
//! line behind another one. The threads that all operations share ([`Shared::workers`](super::shared::Shared)) get short
//! pieces of work alone: none there waits for memory, for a stream or for another piece.
//!
//! Memory comes from one budget, piece by piece, first come first served. The first thread of a team waits for nobody: what
//! the budget lacks it gets beside it. So an operation goes on at once however many others there are, and what all of them
//! hold together is the budget and one buffer for each.
//!
//! Invariants: no member waits while it holds memory, but for work that others of its team have taken up before it and hold the memory for
//! (outer parity waits for the blocks that it is of); a member that waits is sent home when the first of its team comes home,
//! since nothing is left to be taken up then.

mod member;

use std::{
    panic::resume_unwind,
    thread::{self, ScopedJoinHandle},
};

pub(super) use member::Member;

use crate::{buffer::BufferPool, sync::AtomicBool};

/// Does the same work on up to `threads` threads; returns once all have come home, with the result of each.
///
/// `work` takes up piece after piece until none is left or one has failed; it has to bring the others to an end then. Where
/// the system has no more threads, it is done by those that there are.
pub(super) fn work_together<R: Send>(
    (pool, threads): (&BufferPool, usize),
    work: impl Fn(&Member<'_>) -> R + Sync,
) -> Vec<R> {
    let is_over = &AtomicBool::new(false);
    let work = &work;
    thread::scope(|scope| {
        let start = |number: usize| {
            let one = move || Member::helper(pool, is_over).work(work);
            thread::Builder::new()
                .name(format!("bfdb-{number}"))
                .spawn_scoped(scope, one)
                .ok()
        };
        let helpers: Vec<ScopedJoinHandle<'_, R>> = (1..threads).map_while(start).collect();
        let first = Member::first(pool, is_over).work(work);
        let others = helpers
            .into_iter()
            .map(|helper| helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
        std::iter::once(first).chain(others).collect()
    })
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        sync::{
            Mutex,
            atomic::{AtomicU64, AtomicUsize, Ordering},
            mpsc::channel,
        },
        time::Duration,
    };

    use super::*;

    const LEN: usize = 4096;

    /// Takes up pieces until none is left; returns how many.
    fn take_up(member: &Member<'_>, left: &AtomicUsize) -> usize {
        let mut done = 0;
        while let Some(buffer) = member.buffer(LEN).expect("memory") {
            let is_one = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
            if is_one.is_err() {
                break;
            }
            drop(buffer);
            done += 1;
        }
        done
    }

    #[test]
    fn every_piece_is_done_once_however_little_memory_there_is() {
        for buffers in 1..6 {
            let pool = BufferPool::new(buffers * LEN);
            let left = AtomicUsize::new(500);
            let done = work_together((&pool, 4), |member| take_up(member, &left));
            assert_eq!(done.iter().sum::<usize>(), 500, "{buffers} buffers");
            assert_eq!(pool.lent_bytes(), 0, "everything went back");
        }
    }

    #[test]
    fn pieces_that_are_longer_than_the_budget_are_for_the_first_member_alone() {
        let pool = BufferPool::new(LEN);
        let left = AtomicUsize::new(20);
        let done = work_together((&pool, 4), |member| {
            let mut done = 0;
            while let Some(buffer) = member.buffer(2 * LEN).expect("memory beside the budget") {
                let is_one =
                    left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
                if is_one.is_err() {
                    break;
                }
                drop(buffer);
                done += 1;
            }
            done
        });
        assert_eq!(done, [20, 0, 0, 0]);
    }

    #[test]
    fn a_team_comes_to_its_end_while_others_hold_all_memory() {
        let pool = BufferPool::new(2 * LEN);
        let held = [pool.take(LEN).expect("memory"), pool.take(LEN).expect("memory")];
        let left = AtomicUsize::new(20);
        let (sender, receiver) = channel();
        thread::scope(|scope| {
            let (pool, left) = (&pool, &left);
            scope.spawn(move || {
                let done = work_together((pool, 4), |member| take_up(member, left));
                sender.send(done).expect("somebody listens");
            });
            let done = receiver.recv_timeout(Duration::from_secs(20));
            drop(held);
            assert_eq!(done.expect("it waited for others"), [20, 0, 0, 0]);
        });
    }

    #[test]
    fn teams_share_the_budget_and_hold_one_buffer_each_beside_it() {
        let pool = BufferPool::new(3 * LEN);
        let (now, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let left = AtomicUsize::new(4000);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    work_together((&pool, 3), |member| {
                        while let Some(buffer) = member.buffer(LEN).expect("memory") {
                            most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            now.fetch_sub(1, Ordering::SeqCst);
                            drop(buffer);
                            if left
                                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                                    left.checked_sub(1)
                                })
                                .is_err()
                            {
                                break;
                            }
                        }
                    })
                });
            }
        });
        let most = most.load(Ordering::SeqCst);
        assert!((1..=3 + 4).contains(&most), "{most} buffers at once");
    }

    #[test]
    fn every_thread_is_one_of_its_own_and_the_caller_is_the_first() {
        let pool = BufferPool::new(LEN);
        let barrier = std::sync::Barrier::new(3);
        let ids = work_together((&pool, 3), |_| {
            barrier.wait();
            thread::current().id()
        });
        assert_eq!(ids[0], thread::current().id());
        assert_eq!(
            ids.iter()
                .map(|id| format!("{id:?}"))
                .collect::<BTreeSet<_>>()
                .len(),
            3
        );
    }

    #[test]
    fn a_panic_of_any_member_ends_the_team_and_reaches_the_caller() {
        for who in 0..3 {
            let pool = BufferPool::new(LEN);
            let number = AtomicU64::new(0);
            let held = Mutex::new(Some(pool.take(LEN).expect("memory")));
            let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                work_together((&pool, 3), |member| {
                    assert!(number.fetch_add(1, Ordering::SeqCst) != who, "on purpose");
                    // The others wait for memory that nobody gives back before they are home, or get it beside the budget.
                    drop(member.buffer(LEN).expect("memory"));
                })
            }));
            let panic = caught.expect_err("it panics");
            assert_eq!(panic.downcast_ref::<&str>(), Some(&"on purpose"));
            drop(held);
        }
    }
}
