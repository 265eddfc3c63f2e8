//! Work that one test spreads over all processors.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Does jobs on all processors, in their order as far as they go: no test ends with one thread at work.
pub(crate) fn on_all_processors<Job: Sync>(jobs: &[Job], work: impl Fn(&Job) + Sync) {
    let next = AtomicUsize::new(0);
    let worker = || {
        while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(job);
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(worker);
        }
    });
}

/// Does the same with seeds from 1 on.
pub(crate) fn for_each_seed(seeds: u64, work: impl Fn(u64) + Sync) {
    let seeds: Vec<u64> = (1..=seeds).collect();
    on_all_processors(&seeds, |&seed| work(seed));
}
