//! The pool of buffers: nobody waits for ever, and nothing is lent twice.

use loom::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::{
    buffer::{AlignedBuffer, BUFFER_ALIGN_BYTES as PAGE, BufferPool},
    explore,
};

/// Three take the only buffer in turn.
pub fn one_buffer_goes_round() {
    explore(|| {
        let pool = BufferPool::new(PAGE);
        let others: Vec<_> = (0..2)
            .map(|_| {
                let pool = pool.clone();
                thread::spawn(move || drop(take(&pool, PAGE)))
            })
            .collect();
        drop(take(&pool, PAGE));
        others.into_iter().for_each(join);
        assert_eq!(pool.lent_bytes(), 0, "everything went back");
    });
}

/// One wants all of the memory, two want half of it each.
pub fn large_and_small_requests_are_all_served() {
    explore(|| {
        let pool = BufferPool::new(2 * PAGE);
        let others: Vec<_> = [2 * PAGE, PAGE]
            .into_iter()
            .map(|len| {
                let pool = pool.clone();
                thread::spawn(move || drop(take(&pool, len)))
            })
            .collect();
        drop(take(&pool, PAGE));
        others.into_iter().for_each(join);
        assert_eq!(pool.lent_bytes(), 0, "everything went back");
    });
}

/// One waits for memory that does not come back before it has stopped waiting; somebody says that it is not wanted any more.
pub fn who_is_sent_home_stops_waiting() {
    explore(|| {
        let pool = BufferPool::new(PAGE);
        let is_over = Arc::new(AtomicBool::new(false));
        let held = take(&pool, PAGE);
        let waiting = {
            let (pool, is_over) = (pool.clone(), Arc::clone(&is_over));
            thread::spawn(move || {
                let taken = pool.take_while(PAGE, || !is_over.load(Ordering::Acquire));
                assert!(taken.expect("no failure").is_none(), "nothing came back");
            })
        };
        is_over.store(true, Ordering::Release);
        pool.wake();
        join(waiting);
        drop(held);
    });
}

/// The first in line wants more than there is and is sent home; the one behind it gets what there is.
pub fn who_is_sent_home_holds_up_nobody_behind() {
    explore(|| {
        let pool = BufferPool::new(2 * PAGE);
        let is_over = Arc::new(AtomicBool::new(false));
        let held = take(&pool, PAGE);
        let waiting = {
            let (pool, is_over) = (pool.clone(), Arc::clone(&is_over));
            thread::spawn(move || {
                let taken = pool.take_while(2 * PAGE, || !is_over.load(Ordering::Acquire));
                assert!(taken.expect("no failure").is_none(), "half of it never came back");
            })
        };
        let behind = {
            let pool = pool.clone();
            thread::spawn(move || drop(take(&pool, PAGE)))
        };
        is_over.store(true, Ordering::Release);
        pool.wake();
        join(waiting);
        join(behind);
        drop(held);
    });
}

fn take(pool: &BufferPool, len: usize) -> AlignedBuffer {
    pool.take(len).expect("the host has memory")
}

fn join(handle: thread::JoinHandle<()>) {
    handle.join().expect("a panic ends the model");
}
