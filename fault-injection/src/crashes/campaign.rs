//! Everything that there is to explore, seed after seed, on all processors.
//!
//! A campaign is rounds, and a round is jobs: the crashes of each workload, its errors, and many seeds of each floor alone.
//! Which jobs there are follows from the seed; how many of them are done, from when it is enough.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use super::{
    errors::inject,
    explore::{Effort, Findings, explore},
    scenario::{self, Level, Scenario},
};
use crate::{
    concurrency::{self, Together},
    decay,
    killing::{self, Chain},
    resting::{self, Tally},
    simulation::Limits,
    volumes,
};

/// What a campaign is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Crashes of the whole engine.
    Crash,
    /// Errors in the whole engine.
    Error,
    /// Crashes of single floors.
    Below,
    /// Real processes that are killed.
    Kill,
    /// Archives whose catalog, journal or slots are damaged at rest.
    Damage,
    /// Archives whose extents are.
    Decay,
    /// Archives whose volumes meet with mishaps.
    Volumes,
    /// Real processes that work at once.
    Concurrency,
}

/// What a campaign does.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What everything random follows from.
    pub seed: u64,
    /// The parts; all of them when there are none.
    pub parts: Vec<Part>,
    /// The threads; at least one.
    pub threads: usize,
    /// A program that understands `die` and `work`; without one no process is started.
    pub program: Option<PathBuf>,
}

/// Errors that a round injects into each workload. With the floors below they make a round of some 450 000 images, of which a
/// sixth are of the whole engine, and some 14 000 errors: these two are what a round takes its time for.
const ERRORS: usize = 800;

/// Seeds of each floor in one job, and jobs of each floor in one round.
const SEEDS: u64 = 12;
const FLOOR_JOBS: u64 = 10;

/// Archives of a round in which process after process is killed. With the companies below they make some 370 kills until there
/// are 200 000 images.
const CHAINS: u64 = 128;

/// Archives of a round in which processes work at once, 400 to 1200 operations in each.
const COMPANIES: u64 = 38;

/// Seeds of a round whose archives are damaged at rest: catalog, journal and slots.
const RESTING: u64 = 128;

/// Seeds of a round whose archives have damaged extents.
const DECAYING: u64 = 166;

/// Lives of a round of archives whose volumes meet with mishaps.
const LIVES: u64 = 160;

/// One thing to do.
struct Job<'a> {
    part: Part,
    work: Work<'a>,
    seeds: std::ops::Range<u64>,
}

/// With what.
#[derive(Clone, Copy)]
enum Work<'a> {
    Scenario(&'a dyn Scenario),
    Program(&'a Path),
    Resting,
    Decaying,
    Volumes,
}

/// Goes on until `is_enough` says so; it is asked before each job.
///
/// # Errors
/// When the host cannot take the sources of commits.
pub fn run(plan: &Plan, findings: &Findings, is_enough: &(dyn Fn() -> bool + Sync)) -> io::Result<()> {
    let all = scenario::all();
    let per_round = u64::try_from(round(plan, &all, 0).len()).expect("few jobs");
    let next = AtomicU64::new(0);
    let failed: Mutex<Option<io::Error>> = Mutex::default();
    let work = || {
        while !findings.is_over() && !is_enough() {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let jobs = round(plan, &all, number / per_round);
            let index = usize::try_from(number % per_round).expect("few jobs");
            if let Err(error) = jobs[index].do_it(findings) {
                *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                findings.stop();
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..plan.threads.max(1) {
            scope.spawn(work);
        }
    });
    failed
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner)
        .map_or(Ok(()), Err)
}

/// Returns the jobs of a round, those of different kinds by turns.
fn round<'a>(plan: &'a Plan, all: &'a [Box<dyn Scenario>], number: u64) -> Vec<Job<'a>> {
    let is_wanted = |part| plan.parts.is_empty() || plan.parts.contains(&part);
    let seed = plan.seed.wrapping_mul(1_000_003).wrapping_add(number);
    let of_level = |level| {
        all.iter()
            .map(AsRef::as_ref)
            .filter(move |scenario| scenario.level() == level)
    };
    let mut below = Vec::new();
    for job in 0..FLOOR_JOBS {
        let first = plan
            .seed
            .wrapping_mul(1_000_003)
            .wrapping_add((number * FLOOR_JOBS + job) * SEEDS);
        for scenario in of_level(Level::Below) {
            below.push(Job {
                part: Part::Below,
                work: Work::Scenario(scenario),
                seeds: first..first.saturating_add(SEEDS),
            });
        }
    }
    let kills = of_processes(plan, (Part::Kill, CHAINS), number);
    let companies = of_processes(plan, (Part::Concurrency, COMPANIES), number);
    let resting = of_archives(plan, (Part::Damage, Work::Resting, RESTING), number);
    let decaying = of_archives(plan, (Part::Decay, Work::Decaying, DECAYING), number);
    let engine: Vec<_> = of_level(Level::Engine).collect();
    let rounds = engine.len();
    // As many at a time as make the shares even at any time: a campaign that ends early is mixed like a long one.
    let due = |all: usize, index: usize| all * (index + 1) / rounds - all * index / rounds;
    let (floor_count, kill_count, company_count) = (below.len(), kills.len(), companies.len());
    let (mut below, mut kills, mut companies) = (below.into_iter(), kills.into_iter(), companies.into_iter());
    let (resting_count, mut resting) = (resting.len(), resting.into_iter());
    let (decaying_count, mut decaying) = (decaying.len(), decaying.into_iter());
    let lives = of_archives(plan, (Part::Volumes, Work::Volumes, LIVES), number);
    let (lives_count, mut lives) = (lives.len(), lives.into_iter());
    let mut jobs = Vec::new();
    for (index, scenario) in engine.into_iter().enumerate() {
        for part in [Part::Crash, Part::Error] {
            jobs.push(Job {
                part,
                work: Work::Scenario(scenario),
                seeds: seed..seed.saturating_add(1),
            });
        }
        jobs.extend(below.by_ref().take(due(floor_count, index)));
        jobs.extend(kills.by_ref().take(due(kill_count, index)));
        jobs.extend(resting.by_ref().take(due(resting_count, index)));
        jobs.extend(decaying.by_ref().take(due(decaying_count, index)));
        jobs.extend(lives.by_ref().take(due(lives_count, index)));
        jobs.extend(companies.by_ref().take(due(company_count, index)));
    }
    jobs.retain(|job| is_wanted(job.part));
    jobs
}

/// Returns the jobs of a round that damage archives at rest, one for each seed.
fn of_archives<'a>(plan: &Plan, (part, work, count): (Part, Work<'a>, u64), number: u64) -> Vec<Job<'a>> {
    let first = plan.seed.wrapping_mul(1_000_003).wrapping_add(number * count);
    let job = |seed: u64| Job {
        part,
        work,
        seeds: seed..seed.saturating_add(1),
    };
    (0..count).map(|seed| job(first.wrapping_add(seed))).collect()
}

/// Returns the jobs of a round that start processes.
fn of_processes(plan: &Plan, (part, count): (Part, u64), number: u64) -> Vec<Job<'_>> {
    let Some(program) = &plan.program else {
        return Vec::new();
    };
    let first = plan.seed.wrapping_mul(1_000_003).wrapping_add(number * count);
    let job = |seed: u64| Job {
        part,
        work: Work::Program(program),
        seeds: seed..seed.saturating_add(1),
    };
    (0..count).map(|index| job(first.wrapping_add(index))).collect()
}

impl Job<'_> {
    fn do_it(&self, findings: &Findings) -> io::Result<()> {
        let effort = Effort::to_the_end(Limits::new(1), 8, 4);
        for seed in self.seeds.clone() {
            match (self.work, self.part) {
                (Work::Scenario(scenario), Part::Error) => inject(scenario, seed, ERRORS, findings)?,
                (Work::Scenario(scenario), _) => explore(scenario, seed, &effort, findings)?,
                (Work::Resting, _) => resting::explore(seed, resting::BLOWS, findings, &Tally::default())?,
                (Work::Decaying, _) => {
                    decay::explore(seed, decay::ARCHIVES, findings, &decay::Tally::default())?;
                }
                (Work::Volumes, _) => volumes::explore(seed, findings, &volumes::Tally::default())?,
                (Work::Program(program), Part::Concurrency) => {
                    concurrency::run(&Together::small(program.to_path_buf(), seed), findings)?;
                }
                (Work::Program(program), _) => {
                    let program = program.to_path_buf();
                    killing::run(&Chain { program, seed }, findings)?;
                }
            }
        }
        Ok(())
    }
}
