//! Teams: every piece of work is done once, by whoever gets memory, and everybody comes home.

use std::sync::atomic::{AtomicUsize as Counter, Ordering as CounterOrdering};

use loom::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use crate::{
    buffer::{BUFFER_ALIGN_BYTES as PAGE, BufferPool},
    explore,
};
use member::Member;

#[path = "../../src/archive/team/member.rs"]
mod member;

/// A team of two at work on two pieces while somebody else holds all memory until it is done.
pub fn a_team_waits_for_nobody_outside() {
    explore(|| {
        let pool = BufferPool::new(PAGE);
        let held = pool.take(PAGE).expect("the host has memory");
        work(&pool, 2);
        drop(held);
    });
}

/// A team of two at work on two pieces, with memory for one of them.
pub fn a_team_shares_too_little_memory() {
    explore(|| {
        let pool = BufferPool::new(PAGE);
        work(&pool, 2);
        assert_eq!(pool.lent_bytes(), 0, "everything went back");
    });
}

/// Two teams, one piece each, with memory for one of them.
pub fn two_teams_keep_each_other_from_nothing() {
    explore(|| {
        let pool = BufferPool::new(PAGE);
        let other = {
            let pool = pool.clone();
            thread::spawn(move || alone(&pool))
        };
        work(&pool, 1);
        other.join().expect("a panic ends the model");
        assert_eq!(pool.lent_bytes(), 0, "everything went back");
    });
}

/// The caller and one helper take up pieces until none is left.
fn work(pool: &BufferPool, pieces: usize) {
    let (left, is_over) = (
        Arc::new(AtomicUsize::new(pieces)),
        Arc::new(AtomicBool::new(false)),
    );
    let done = std::sync::Arc::new(Counter::new(0));
    let helper = {
        let (pool, left, is_over) = (pool.clone(), Arc::clone(&left), Arc::clone(&is_over));
        let done = std::sync::Arc::clone(&done);
        thread::spawn(move || Member::helper(&pool, &is_over).work(&|member| take_up(member, &left, &done)))
    };
    Member::first(pool, &is_over).work(&|member| take_up(member, &left, &done));
    helper.join().expect("a panic ends the model");
    assert_eq!(
        done.load(CounterOrdering::Relaxed),
        pieces,
        "each piece was done once"
    );
}

/// A team of the caller alone takes up one piece.
fn alone(pool: &BufferPool) {
    let (left, is_over) = (AtomicUsize::new(1), AtomicBool::new(false));
    let done = Counter::new(0);
    Member::first(pool, &is_over).work(&|member| take_up(member, &left, &done));
    assert_eq!(done.load(CounterOrdering::Relaxed), 1, "the piece was done");
}

fn take_up(member: &Member<'_>, left: &AtomicUsize, done: &Counter) {
    while let Some(buffer) = member.buffer(PAGE).expect("the host has memory") {
        let less = |left: usize| left.checked_sub(1);
        if left
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, less)
            .is_err()
        {
            return;
        }
        drop(buffer);
        done.fetch_add(1, CounterOrdering::Relaxed);
    }
}
