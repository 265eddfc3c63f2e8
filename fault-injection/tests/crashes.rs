//! Crashes at every step and errors at every operation, of the whole engine and of single floors.
//!
//! The counts are floors: what is explored follows from the seeds, so they fall only where an operation of the engine is
//! gone or a class of crashes is not tried any more.

use bfdb_fault_injection::{
    crashes::{
        errors::inject,
        explore::{Effort, Findings, explore},
        known::KNOWN,
        scenario::{self, Level, Scenario},
        workloads::{self, Group},
    },
    simulation::Limits,
};

const SEED: u64 = 1;

/// What a part of the workloads has to reach at least.
struct Floor {
    images: u64,
    errors: u64,
}

const STREAMS: Floor = Floor {
    images: 5000,
    errors: 1500,
};
const TREES: Floor = Floor {
    images: 5000,
    errors: 1250,
};
const LIVES: Floor = Floor {
    images: 9000,
    errors: 1750,
};
const BELOW: Floor = Floor {
    images: 3000,
    errors: 750,
};

/// Errors that are tried of each workload, most of them with an effect.
const ERRORS: usize = 270;

fn effort() -> Effort {
    Effort {
        limits: Limits::new(1),
        one_in: 100,
        nested: 3,
    }
}

fn of_group(group: Group) -> Vec<Box<dyn Scenario>> {
    let is_in = |workload: &workloads::Workload| workload.group == group;
    let boxed = |workload| -> Box<dyn Scenario> { Box::new(workload) };
    workloads::all().into_iter().filter(is_in).map(boxed).collect()
}

fn crash(scenarios: &[Box<dyn Scenario>], seeds: &[u64], floor: &Floor) {
    let findings = Findings::default();
    for scenario in scenarios {
        for &seed in seeds {
            explore(scenario.as_ref(), seed, &effort(), &findings).expect("the host takes the sources");
        }
    }
    holds(&findings);
    assert!(findings.images() >= floor.images, "{} images", findings.images());
    assert!(
        findings.nested_images() > 100,
        "{} in recoveries",
        findings.nested_images()
    );
}

fn fail(scenarios: &[Box<dyn Scenario>], floor: &Floor) {
    let findings = Findings::default();
    for scenario in scenarios {
        inject(scenario.as_ref(), SEED, ERRORS, &findings).expect("the host takes the sources");
    }
    holds(&findings);
    assert!(findings.errors() >= floor.errors, "{} errors", findings.errors());
}

fn holds(findings: &Findings) {
    let violations: Vec<String> = findings.violations().iter().map(ToString::to_string).collect();
    assert!(
        violations.is_empty(),
        "{} violations\n{}",
        violations.len(),
        violations.join("\n")
    );
}

#[test]
fn streams_survive_every_crash() {
    crash(&of_group(Group::Streams), &[SEED], &STREAMS);
}

#[test]
fn trees_survive_every_crash() {
    crash(&of_group(Group::Trees), &[SEED], &TREES);
}

#[test]
fn processes_that_come_and_go_survive_every_crash() {
    crash(&of_group(Group::Lives), &[SEED], &LIVES);
}

#[test]
fn streams_survive_every_error() {
    fail(&of_group(Group::Streams), &STREAMS);
}

#[test]
fn trees_survive_every_error() {
    fail(&of_group(Group::Trees), &TREES);
}

#[test]
fn processes_that_come_and_go_survive_every_error() {
    fail(&of_group(Group::Lives), &LIVES);
}

#[test]
fn single_floors_survive_every_crash_and_every_error() {
    let below: Vec<_> = scenario::all()
        .into_iter()
        .filter(|scenario| scenario.level() == Level::Below)
        .collect();
    crash(&below, &[SEED, SEED + 1], &BELOW);
    fail(&below, &BELOW);
}

#[test]
fn there_are_as_many_images_errors_and_workloads_as_the_documentation_says() {
    let floors = [STREAMS, TREES, LIVES, BELOW];
    assert!(floors.iter().map(|floor| floor.images).sum::<u64>() >= 20_000);
    assert!(floors.iter().map(|floor| floor.errors).sum::<u64>() >= 5_000);
    let mut names: Vec<&str> = scenario::all().iter().map(|scenario| scenario.name()).collect();
    assert!(names.len() >= 12 + 3);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), scenario::all().len(), "two of one name");
}

#[test]
fn what_is_known_to_be_wrong_is_still_wrong() {
    let findings = Findings::default();
    let effort = Effort {
        limits: Limits::new(6),
        one_in: 1000,
        nested: 1,
    };
    for name in ["creation", "tiny"] {
        let workload = workloads::named(name).expect("it is in the list");
        explore(&workload, SEED, &effort, &findings).expect("the host takes the sources");
        inject(
            &workload,
            SEED,
            if name == "creation" { usize::MAX } else { 0 },
            &findings,
        )
        .unwrap();
    }
    let met = findings.known();
    for known in KNOWN {
        assert!(
            met.contains_key(known.name),
            "mended, so take it off the list: {}",
            known.name
        );
    }
}
