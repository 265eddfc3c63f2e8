//! Archives whose extents are damaged at rest: inside of what the codes survive, and one beyond.

use bfdb_fault_injection::{
    crashes::{case::Case, explore::Findings},
    decay::{self, Tally},
};

use super::processors::for_each_seed;

/// Seeds of archives.
const SEEDS: u64 = 15;

/// Damaged archives of each seed.
const COUNT: u64 = 72;

#[test]
fn damaged_extents_cost_exactly_what_no_code_brings_back_and_every_report_says_so() {
    let (findings, tally) = (Findings::default(), Tally::default());
    for_each_seed(SEEDS, |seed| {
        decay::explore(seed, COUNT, &findings, &tally).expect("the archives are made");
    });
    for violation in findings.violations() {
        eprintln!("{violation}");
    }
    assert!(findings.violations().is_empty(), "see above");
    assert!(findings.damaged() >= 1000, "{} archives", findings.damaged());
    // The atlas and the oracle know nothing of each other.
    assert_eq!(tally.missed(), Vec::<String>::new());
    let (whole, partial) = tally.repairs();
    assert!(
        whole >= 150 && partial >= 150,
        "{whole} were repaired, {partial} in part"
    );
    for (kind, holds, reach) in decay::all_aims() {
        assert!(
            tally.count(kind, holds, reach) > 0,
            "{kind:?} of {holds:?}, {reach:?}, was never met"
        );
    }
}

/// Where data shards have lost their tables nobody can encode the table column again, but a parity shard may have its slice.
#[test]
fn parity_is_written_anew_with_the_table_slice_that_it_has() {
    let findings = Findings::default();
    let case = "decay-x4.unreadable.124928.512,x1.gone,x2.gone,x3.gone:10";
    decay::replay(&case.parse().expect("a case"), &findings).expect("there is such an archive");
    for violation in findings.violations() {
        eprintln!("{violation}");
    }
    assert!(findings.violations().is_empty(), "see above");
}

#[test]
fn a_damaged_extent_is_seen_again_by_its_name() {
    let (seen, findings) = (Findings::default(), Findings::default());
    let found = Case {
        workload: "decay-x1.bit.40000,x2.gone,x3.unreadable.4096.512".to_owned(),
        seed: 3,
        fault: None,
        crashes: Vec::new(),
    };
    let again: Case = found.to_string().parse().expect("a case");
    assert!(decay::is_case(&again), "{again}");
    decay::replay(&again, &seen).expect("there is such an archive");
    assert_eq!((seen.damaged(), seen.violations().len()), (1, 0));
    for nothing in ["decay-x1.what", "decay-x99.gone", "decay-x1.zeros.0.0", "decay-"] {
        let case = Case {
            workload: nothing.to_owned(),
            ..found.clone()
        };
        decay::replay(&case, &findings).expect_err(nothing);
    }
    assert_eq!(findings.damaged(), 0);
}
