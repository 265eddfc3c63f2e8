//! Crashes at every step and errors at every operation, of the whole engine and of single floors.
//!
//! The counts are floors: what is explored follows from the seeds, so they fall only where an operation of the engine is
//! gone or a class of crashes is not tried any more.

use bfdb_fault_injection::{
    crashes::{
        errors::inject,
        explore::{DEPTH, Effort, Findings, explore, replay},
        known::KNOWN,
        scenario::{self, Level, Scenario},
        workloads::{self, Group},
    },
    simulation::{CrashClass, Limits},
};

use super::processors::on_all_processors;

const SEED: u64 = 1;

/// What a part of the workloads has to reach at least.
struct Floor {
    images: u64,
    errors: u64,
}

const STREAMS: Floor = Floor {
    images: 2000,
    errors: 950,
};
const TREES: Floor = Floor {
    images: 1200,
    errors: 90,
};
const VOLUMES: Floor = Floor {
    images: 650,
    errors: 90,
};
const CHECKPOINTS: Floor = Floor {
    images: 550,
    errors: 55,
};
const LIVES: Floor = Floor {
    images: 1700,
    errors: 380,
};
const BELOW: Floor = Floor {
    images: 6200,
    errors: 700,
};

/// Errors that are tried of each workload, most of them with an effect; of the creation, which can leave the strangest things,
/// all are. The longer a workload is, the more one costs: campaigns try more of those.
const ERRORS: usize = 40;
const ERRORS_OF_LONG_ONES: usize = 20;
const ERRORS_OF_LIVES: usize = 15;
const ERRORS_BELOW: usize = 100;

/// One scenario, and what its randomness follows from.
struct Job {
    scenario: Box<dyn Scenario>,
    seed: u64,
    limits: Limits,
    /// Of so many boundaries one is tried.
    one_boundary_in: u64,
}

fn of_group(group: Group) -> Vec<Job> {
    let is_in = |workload: &workloads::Workload| workload.group == group;
    // Long ones, which go on in many ways: of these only what needs no class of crash of its own is tried here.
    let few = [
        CrashClass::Only,
        CrashClass::AllBut,
        CrashClass::Prefix,
        CrashClass::TornAtPage,
        CrashClass::TornAtSector,
        CrashClass::SizeBeforeData,
        CrashClass::LostDirectoryEntry,
        CrashClass::GarbageInTornSector,
    ]
    .into_iter()
    .fold(Limits::new(1), Limits::without);
    let job = |workload: workloads::Workload| Job {
        limits: match workload.group {
            Group::Streams | Group::Trees => Limits::new(1),
            Group::Lives | Group::Volumes | Group::Checkpoints => few.clone(),
        },
        // There are many of them; campaigns try all.
        one_boundary_in: match workload.group {
            Group::Streams => 3,
            Group::Trees => 6,
            Group::Volumes | Group::Checkpoints => 8,
            Group::Lives => 16,
        },
        scenario: Box::new(workload),
        seed: SEED,
    };
    workloads::all().into_iter().filter(is_in).map(job).collect()
}

fn below() -> Vec<Job> {
    let with_seed = |seed| {
        let of_level = scenario::all().into_iter().map(move |scenario| Job {
            scenario,
            seed,
            limits: Limits::new(1),
            one_boundary_in: 1,
        });
        of_level.filter(|job| job.scenario.level() == Level::Below)
    };
    (SEED..=SEED + 1).flat_map(with_seed).collect()
}

fn crash(jobs: &[Job], floor: &Floor) {
    let findings = Findings::default();
    on_all_processors(jobs, |job| {
        let effort = Effort::to_the_end(job.limits.clone(), 100, 3).at_one_boundary_in(job.one_boundary_in);
        explore(job.scenario.as_ref(), job.seed, &effort, &findings).expect("the host takes the sources");
    });
    holds(&findings);
    assert!(findings.images() >= floor.images, "{} images", findings.images());
    assert!(
        findings.nested_images() >= 25,
        "{} in recoveries",
        findings.nested_images()
    );
    assert!(findings.deepest() >= DEPTH, "only {} deep", findings.deepest());
}

/// Lets operations fail.
fn fail(jobs: &[Job], floor: &Floor, errors: usize) {
    let findings = Findings::default();
    on_all_processors(jobs, |job| {
        let limit = if job.scenario.name() == "creation" {
            usize::MAX
        } else {
            errors
        };
        inject(job.scenario.as_ref(), job.seed, limit, &findings).expect("the host takes the sources");
    });
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
    crash(&of_group(Group::Streams), &STREAMS);
}

#[test]
fn trees_survive_every_crash() {
    crash(&of_group(Group::Trees), &TREES);
}

#[test]
fn processes_that_come_and_go_survive_every_crash() {
    crash(&of_group(Group::Lives), &LIVES);
}

#[test]
fn volumes_that_come_and_go_survive_every_crash() {
    crash(&of_group(Group::Volumes), &VOLUMES);
}

#[test]
fn volumes_that_come_and_go_survive_every_error() {
    fail(&of_group(Group::Volumes), &VOLUMES, ERRORS_OF_LONG_ONES);
}

#[test]
fn checkpoints_survive_every_crash() {
    crash(&of_group(Group::Checkpoints), &CHECKPOINTS);
}

#[test]
fn checkpoints_survive_every_error() {
    fail(&of_group(Group::Checkpoints), &CHECKPOINTS, ERRORS_OF_LONG_ONES);
}

#[test]
fn streams_survive_every_error() {
    fail(&of_group(Group::Streams), &STREAMS, ERRORS);
}

#[test]
fn trees_survive_every_error() {
    fail(&of_group(Group::Trees), &TREES, ERRORS_OF_LONG_ONES);
}

#[test]
fn processes_that_come_and_go_survive_every_error() {
    fail(&of_group(Group::Lives), &LIVES, ERRORS_OF_LIVES);
}

#[test]
fn single_floors_survive_every_crash_and_every_error() {
    crash(&below(), &BELOW);
    fail(&below(), &BELOW, ERRORS_BELOW);
}

/// A copy of the journal that had no segment left got a new one of the number that the catalog still named.
#[test]
fn copies_that_lost_all_their_segments_are_healed_through_any_crash() {
    let journal = |seed| Job {
        scenario: named("below-journal"),
        seed,
        limits: Limits::new(1),
        one_boundary_in: 1,
    };
    let findings = Findings::default();
    on_all_processors(&[23, 32].map(journal), |job| {
        let effort = Effort::to_the_end(job.limits.clone(), 1000, 1);
        explore(job.scenario.as_ref(), job.seed, &effort, &findings).expect("the host takes the sources");
    });
    holds(&findings);
}

#[test]
fn there_are_as_many_images_errors_and_workloads_as_the_documentation_says() {
    let floors = [STREAMS, TREES, LIVES, VOLUMES, CHECKPOINTS, BELOW];
    assert!(floors.iter().map(|floor| floor.images).sum::<u64>() >= 12_000);
    assert!(floors.iter().map(|floor| floor.errors).sum::<u64>() >= 2_200);
    let mut names: Vec<&str> = scenario::all().iter().map(|scenario| scenario.name()).collect();
    assert!(names.len() >= 12 + 4);
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), scenario::all().len(), "two of one name");
}

fn named(name: &str) -> Box<dyn Scenario> {
    let mut all = scenario::all().into_iter();
    all.find(|scenario| scenario.name() == name)
        .expect("it is in the list")
}

fn noise_alone() -> Limits {
    // Known defects are about noise.
    let is_quiet = |class: &CrashClass| *class != CrashClass::GarbageInTornSector;
    let without = CrashClass::ALL.into_iter().filter(is_quiet);
    without.fold(Limits::new(6), Limits::without)
}

/// A commit goes on in the sector that its last synced frame ends in; only the headers of what stands before were looked at.
#[test]
fn noise_in_the_sector_where_a_commit_went_on_is_noticed_when_it_goes_on_again() {
    let findings = Findings::default();
    let effort = Effort::to_the_end(noise_alone(), 1000, 1);
    explore(named("killed-and-changed").as_ref(), 2, &effort, &findings).expect("the host takes the sources");
    holds(&findings);
}

#[test]
fn what_is_known_to_be_wrong_is_still_wrong() {
    let findings = Findings::default();
    let effort = Effort {
        stop: |findings| !findings.known().is_empty(),
        ..Effort::to_the_end(noise_alone(), 1000, 1)
    };
    explore(named("tiny").as_ref(), 2, &effort, &findings).expect("the host takes the sources");
    let case = "batch:1000003:op186.partial-160.once:269:garbage.1.8192.12288.11695233559742243676.lost";
    replay(&case.parse().expect("a case"), &findings).expect("the host takes the sources");
    holds(&findings);
    let met = findings.known();
    for known in KNOWN {
        assert!(
            met.contains_key(known.name),
            "mended, so take it off the list: {}",
            known.name
        );
    }
}
