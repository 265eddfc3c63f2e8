use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use super::*;

const PAGE: usize = BUFFER_ALIGN_BYTES;

fn held_bytes(pool: &BufferPool) -> usize {
    let state = pool.shared.locked();
    state.lent_bytes + state.free_bytes
}

fn wait_until_someone_waits(pool: &BufferPool, waiting: usize) {
    while pool.shared.locked().queue.len() < waiting {
        thread::yield_now();
    }
}

#[test]
fn a_buffer_has_the_asked_length_and_starts_on_a_page() {
    let pool = BufferPool::new(16 * PAGE);
    for len in [0, 1, PAGE - 1, PAGE, PAGE + 1] {
        let buffer = pool.take(len).expect("within the budget");
        assert_eq!(buffer.len(), len);
        assert_eq!(buffer.as_ptr().addr() % PAGE, 0, "length {len}");
        assert_eq!(
            pool.lent_bytes(),
            len.max(1).next_multiple_of(PAGE),
            "whole pages are counted"
        );
    }
    assert_eq!(pool.lent_bytes(), 0, "everything went back");
}

#[test]
fn a_request_above_the_whole_budget_is_an_error_and_not_a_wait() {
    let pool = BufferPool::new(2 * PAGE);
    let error = pool.take(2 * PAGE + 1).expect_err("never possible");
    assert!(matches!(error, BufferError::OverBudget { wanted_bytes, .. } if wanted_bytes == 3 * PAGE));
    assert!(
        matches!(pool.take(usize::MAX), Err(BufferError::OverBudget { .. })),
        "rounding up overflows"
    );
}

#[test]
fn a_returned_buffer_is_used_again_with_its_old_contents() {
    let pool = BufferPool::new(4 * PAGE);
    let mut first = pool.take(PAGE).expect("within the budget");
    first.fill(7);
    let address = first.as_ptr().addr();
    drop(first);
    let second = pool.take(PAGE - 1).expect("within the budget");
    assert_eq!(second.as_ptr().addr(), address, "the same mapping serves");
    assert!(
        second.iter().all(|&byte| byte == 7),
        "nothing is zeroed, as the documentation says"
    );
}

#[test]
fn idle_memory_of_another_length_makes_room() {
    let pool = BufferPool::new(4 * PAGE);
    drop([pool.take(PAGE), pool.take(PAGE), pool.take(PAGE)]);
    assert_eq!(held_bytes(&pool), 3 * PAGE);
    let large = pool.take(3 * PAGE).expect("idle pages do not count against it");
    assert_eq!(
        held_bytes(&pool),
        4 * PAGE,
        "two idle pages were given up, one is left"
    );
    assert_eq!(large.len(), 3 * PAGE);
}

#[test]
fn a_waiting_thread_wakes_when_a_buffer_comes_back() {
    let pool = BufferPool::new(2 * PAGE);
    let held = pool.take(2 * PAGE).expect("within the budget");
    let (sender, receiver) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| sender.send(pool.take(PAGE).expect("within the budget").len()));
        wait_until_someone_waits(&pool, 1);
        assert!(
            receiver.try_recv().is_err(),
            "nothing is handed out above the budget"
        );
        assert!(
            pool.try_take(PAGE).expect("within the budget").is_none(),
            "trying does not wait"
        );
        drop(held);
        assert_eq!(receiver.recv().expect("the thread sends"), PAGE);
    });
}

#[test]
fn a_large_request_is_not_overtaken_by_later_small_ones() {
    let pool = BufferPool::new(2 * PAGE);
    let held = pool.take(PAGE).expect("within the budget");
    let order = Mutex::new(Vec::new());
    let take_and_note = |len: usize| {
        let buffer = pool.take(len).expect("within the budget");
        order.lock().expect("no panic").push(buffer.len());
    };
    thread::scope(|scope| {
        scope.spawn(|| take_and_note(2 * PAGE));
        wait_until_someone_waits(&pool, 1);
        scope.spawn(|| take_and_note(PAGE));
        wait_until_someone_waits(&pool, 2);
        assert!(
            pool.try_take(PAGE).expect("within the budget").is_none(),
            "one page is free, but others wait"
        );
        drop(held);
    });
    assert_eq!(*order.lock().expect("no panic"), [2 * PAGE, PAGE]);
}

#[test]
fn many_threads_never_hold_more_than_the_budget() {
    let pool = BufferPool::new(8 * PAGE);
    let peak = AtomicUsize::new(0);
    thread::scope(|scope| {
        for worker in 0..8_usize {
            let (pool, peak) = (&pool, &peak);
            scope.spawn(move || {
                for round in 0..200 {
                    let pages = 1 + (worker * 31 + round * 17) % 5;
                    let mut buffer = pool.take(pages * PAGE).expect("within the budget");
                    buffer.fill(u8::try_from(worker).expect("few workers"));
                    peak.fetch_max(held_bytes(pool), Ordering::Relaxed);
                    assert!(
                        buffer.iter().all(|&byte| usize::from(byte) == worker),
                        "memory is shared"
                    );
                }
            });
        }
    });
    assert!(peak.into_inner() <= 8 * PAGE, "the budget was exceeded");
    assert_eq!(pool.lent_bytes(), 0, "everything went back");
}

#[test]
fn a_long_buffer_counts_as_what_was_asked_for_and_is_memory_to_its_last_byte() {
    const LARGE: usize = 2 << 20;
    for len in [LARGE - 1, LARGE, LARGE + 1, 3 * LARGE + PAGE] {
        let pool = BufferPool::new(4 * LARGE);
        let mut buffer = pool.take(len).expect("within the budget");
        assert_eq!(
            pool.lent_bytes(),
            len.next_multiple_of(PAGE),
            "the rest of a large page is not counted: it is not used"
        );
        buffer.fill(7);
        assert!(buffer.len() == len && buffer[len - 1] == 7, "length {len}");
    }
}

#[test]
fn scratch_memory_grows_and_keeps_what_was_written() {
    let mut scratch = Scratch::default();
    assert!(scratch.all().is_empty());
    for len in [1, PAGE + 1, 1 << 20, (2 << 20) + 1, (5 << 20) - 1] {
        let before = scratch.all().to_vec();
        let bytes = scratch.first(len);
        assert_eq!((bytes.len(), bytes.as_ptr().addr() % PAGE), (len, 0));
        assert!(bytes[..before.len()] == before, "up to {len}");
        bytes.fill(u8::try_from(len % 251).expect("below 251"));
        assert!(scratch.all().len() >= len);
    }
    let (address, len) = (scratch.all().as_ptr(), scratch.all().len());
    scratch.first(PAGE)[0] = 3;
    assert_eq!((scratch.all().as_ptr(), scratch.all().len()), (address, len));
    assert_eq!(scratch.all()[0], 3, "the same memory");
}
