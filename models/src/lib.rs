//! Modules of the engine that share state between threads, with the locks of a model checker in the place of the system's.
//!
//! The sources are the engine's own, compiled here once more: what they name as `crate::sync` is loom's here. Each public
//! function lets a small crowd of threads loose on one of them, in every schedule that differs, and panics in the first that
//! breaks a promise or in which somebody waits for ever. What belongs here: few locks, no files, and an invariant that only a
//! schedule can break.

pub mod buffers;
pub mod gates;
pub mod left_commits;
pub mod teams;

#[path = "../../src/buffer/mod.rs"]
#[cfg_attr(
    not(test),
    expect(unused_imports, reason = "memory without a budget is not explored")
)]
#[expect(
    dead_code,
    unreachable_pub,
    reason = "it is public in the engine, and not all of it is explored"
)]
mod buffer;

/// Switches from one thread to another that a schedule makes where none of them has to wait: schedules that go wrong need few.
const MAX_PREEMPTIONS: usize = 2;

/// Runs `crowd` in every schedule.
fn explore(crowd: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(MAX_PREEMPTIONS);
    builder.check(crowd);
}

/// The names of the engine's `sync`.
mod sync {
    pub(crate) use loom::sync::{
        Arc, Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    };
    pub(crate) use std::sync::PoisonError;
}

/// The part of the engine's `error` that is needed: the whole leads to everything.
mod error {
    /// Why there is no buffer.
    #[derive(Debug)]
    #[expect(dead_code, reason = "nobody reads why there is none")]
    pub(crate) enum BufferError {
        OverBudget {
            wanted_bytes: usize,
            budget_bytes: usize,
        },
        Map {
            wanted_bytes: usize,
            source: std::io::Error,
        },
    }
}

/// The part of the engine's `units` that is needed.
mod units {
    /// The number of a commit.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    pub(crate) struct CommitId(pub(crate) u64);
}
