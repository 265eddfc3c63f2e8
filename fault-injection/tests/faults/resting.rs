//! Archives that are damaged at rest: catalog, journal, slots.

use bfdb_fault_injection::{
    crashes::{case::Case, explore::Findings},
    resting::{self, Answer, KINDS, TARGETS, Tally},
};

use super::processors::for_each_seed;

/// Seeds of archives, each left in every way.
const SEEDS: u64 = 8;

/// Damaged archives of each kind of each seed.
const COUNT: u64 = 40;

#[test]
fn damage_at_rest_is_made_up_for_or_told_of_and_never_believed() {
    let (findings, tally) = (Findings::default(), Tally::default());
    for_each_seed(SEEDS, |seed| {
        resting::explore(seed, COUNT, &findings, &tally).expect("the archives are made");
    });
    for violation in findings.violations() {
        eprintln!("{violation}");
    }
    assert!(findings.violations().is_empty(), "see above");
    assert!(findings.damaged() >= 2000, "{} archives", findings.damaged());
    for target in TARGETS {
        for kind in KINDS {
            // There is no half of a file that could be missing.
            let is_possible = target != "slot" || kind != "gone";
            let met = tally.count(|one, harm, _, _| (one, harm) == (target, kind));
            assert!(
                met > 0 || !is_possible,
                "{kind} of {target} was never met: {tally:?}"
            );
        }
    }
    let written = |target: &'static str, answer: Answer| {
        tally.count(|one, _, _, writer| one == target && writer == Some(answer))
    };
    // Both answers are there where both may be; what was made up for is no refusal.
    assert!(written("catalog", Answer::Right) > 10 && written("catalog", Answer::Refused) > 30);
    assert!(written("journal", Answer::Right) > 300);
    assert_eq!(written("journal", Answer::Refused), 0);
    assert!(written("every journal", Answer::Right) > 100);
    assert!(written("slot", Answer::Right) > 60 && written("slots", Answer::Refused) > 60);
}

#[test]
fn a_damaged_archive_is_seen_again_by_its_name() {
    let (seen, findings) = (Findings::default(), Findings::default());
    let found = Case {
        workload: "rest-closed-journal0+2.noise.4096.512.9,catalog.bit.5".to_owned(),
        seed: 3,
        fault: None,
        crashes: Vec::new(),
    };
    let again: Case = found.to_string().parse().expect("a case");
    assert!(resting::is_case(&again), "{again}");
    resting::replay(&again, &seen).expect("there is such an archive");
    assert_eq!((seen.damaged(), seen.violations().len()), (1, 0));
    for nothing in [
        "rest-closed-journal9.gone",
        "rest-what-catalog.gone",
        "rest-closed-catalog.zeros.0.0",
    ] {
        let case = Case {
            workload: nothing.to_owned(),
            ..found.clone()
        };
        resting::replay(&case, &findings).expect_err(nothing);
    }
    assert_eq!(findings.damaged(), 0);
}
