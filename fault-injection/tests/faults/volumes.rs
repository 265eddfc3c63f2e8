//! Lives of archives whose volumes meet with mishaps.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    thread,
};

use bfdb_fault_injection::{
    crashes::explore::Findings,
    volumes::{self, Mishap, Tally},
};

/// Archives that live.
const SEEDS: u64 = 120;

#[test]
fn no_mishap_of_a_volume_costs_a_byte_that_the_others_hold_and_every_archive_is_whole_again() {
    let (findings, tally) = (Findings::default(), Tally::default());
    let next = AtomicU64::new(1);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > SEEDS {
                        break;
                    }
                    volumes::explore(seed, &findings, &tally).expect("it needs nothing of the host");
                }
            });
        }
    });
    for violation in findings.violations() {
        eprintln!("{violation}");
    }
    assert!(findings.violations().is_empty(), "see above");
    for mishap in Mishap::ALL {
        let count = tally.count(mishap);
        assert!(count >= 10, "{mishap:?} befell {count} volumes only");
    }
}
