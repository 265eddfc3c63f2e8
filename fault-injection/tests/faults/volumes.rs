//! Lives of archives whose volumes meet with mishaps.

use bfdb_fault_injection::{
    crashes::explore::Findings,
    volumes::{self, Mishap, Tally},
};

use super::processors::for_each_seed;

/// Archives that live.
const SEEDS: u64 = 120;

#[test]
fn no_mishap_of_a_volume_costs_a_byte_that_the_others_hold_and_every_archive_is_whole_again() {
    let (findings, tally) = (Findings::default(), Tally::default());
    for_each_seed(SEEDS, |seed| {
        volumes::explore(seed, &findings, &tally).expect("it needs nothing of the host");
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
