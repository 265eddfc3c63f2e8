//! `bfdb-fault-injection campaign`: crashes and errors without end, or for a while, or one of them again.
//!
//! Exit status: 0 without a violation, 1 with one, 2 the command line was not understood.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]

mod dying;
mod working;

use std::{
    env,
    process::ExitCode,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use bfdb_fault_injection::{
    concurrency::{self, Together},
    crashes::{
        campaign::{self, Part, Plan},
        case::Case,
        explore::{Findings, replay},
    },
    decay,
    killing::{self, Chain},
    resting::{self, EveryBit, Tally},
    volumes,
};

const USAGE: &str = "\
usage: bfdb-fault-injection campaign [--minutes M | --states N] [--seed S] [--level LEVEL] [--from BIT] [--replay CASE]

  --minutes M    go on for so long
  --states N     go on until so many different images were checked, a sixth of them through the whole engine, with one killed
                 process to 650, one concurrent operation to 40 and one archive damaged at rest to 20, half of them in extents
  --seed S       what everything random follows from (1)
  --level LEVEL  one of these; all but the last without this
                   crash         crashes of the engine
                   error         errors in it
                   below         crashes of single floors
                   kill          real processes that are killed
                   concurrent    real processes that work at once
                   damage        catalogs, journals and slots damaged at rest
                   decay         extents damaged at rest
                   volumes       lives of archives whose volumes are lost, old, doubled, swapped, read-only or gone
                   catalog-bits  every bit of a small catalog, and that is the end
  --from BIT     with catalog-bits: the first of them (0)
  --replay CASE  check one image again, as a violation names it

Without an end it goes on for one minute.";

/// Between two lines that say how far it is.
const PROGRESS: Duration = Duration::from_secs(5);

/// What a mixed campaign of so many states has beside them: to 200 000, 33 000 images of the whole engine, 300 kills, 5000 concurrent operations and 10 000 damaged
/// archives, of which 5000 have damaged extents.
const STATES_PER_ENGINE_IMAGE: u64 = 6;
const STATES_PER_KILL: u64 = 650;
const STATES_PER_OPERATION: u64 = 40;
const STATES_PER_DAMAGED: u64 = 20;
const STATES_PER_DECAYED: u64 = 40;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    if let Some(code) = dying::run(&arguments).or_else(|| working::run(&arguments)) {
        return code;
    }
    let Some(wanted) = parse(&arguments) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    // A panic is a violation and reported as one; those that the engine catches are no news.
    std::panic::set_hook(Box::new(|_| {}));
    let findings = Findings::default();
    let done = match &wanted.replay {
        // Where it dies follows from the seed; whoever is killed from outside may get a little further.
        Some(case) if case.workload.starts_with(killing::WORKLOAD) => {
            env::current_exe().and_then(|program| {
                let seed = case.seed;
                killing::run(&Chain { program, seed }, &findings)
            })
        }
        // What each process does follows from the seed; what comes before what does not.
        Some(case) if case.workload == concurrency::TOGETHER => env::current_exe()
            .and_then(|program| concurrency::run(&Together::small(program, case.seed), &findings)),
        Some(case) if resting::is_case(case) => resting::replay(case, &findings),
        Some(case) if decay::is_case(case) => decay::replay(case, &findings),
        Some(case) if volumes::is_case(case) => {
            volumes::explore(case.seed, &findings, &volumes::Tally::default())
        }
        Some(case) => replay(case, &findings),
        None => explore(&wanted, &findings),
    };
    for found in findings.violations() {
        eprintln!("{found}");
    }
    for (name, count) in findings.known() {
        eprintln!("known defect, met {count} times: {name}");
    }
    if let Err(error) = done {
        eprintln!("bfdb-fault-injection: {error}");
        return ExitCode::from(2);
    }
    let violations = findings.violations().len();
    println!(
        "{{\"type\":\"summary\",\"states\":{},\"engine_states\":{},\"errors\":{},\"kills\":{},\"operations\":{},\"damaged\":{},\"decayed\":{},\"violations\":{violations},\"seed\":{}}}",
        findings.images(),
        findings.engine_images(),
        findings.errors(),
        findings.kills(),
        findings.operations(),
        findings.damaged(),
        findings.decayed(),
        wanted.seed,
    );
    if violations == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What the command line asks for.
struct Wanted {
    end: End,
    seed: u64,
    parts: Vec<Part>,
    replay: Option<Case>,
    /// Every bit of a catalog, from this one on.
    bits_from: Option<u64>,
}

/// When it is enough.
#[derive(Clone, Copy)]
enum End {
    After(Duration),
    States(u64),
    /// When there is no more.
    Never,
}

impl End {
    fn is_reached(self, began: Instant, findings: &Findings, is_partial: &[Part]) -> bool {
        match self {
            Self::After(time) => began.elapsed() >= time,
            Self::Never => false,
            Self::States(states) => {
                if !is_partial.is_empty() {
                    return findings.images().max(findings.damaged()) >= states;
                }
                findings.images() >= states
                    && findings.engine_images() >= states / STATES_PER_ENGINE_IMAGE
                    && findings.kills() >= states / STATES_PER_KILL
                    && findings.operations() >= states / STATES_PER_OPERATION
                    && findings.damaged() >= states / STATES_PER_DAMAGED
                    && findings.decayed() >= states / STATES_PER_DECAYED
            }
        }
    }
}

fn parse(arguments: &[String]) -> Option<Wanted> {
    let (command, options) = arguments.split_first()?;
    let mut wanted = Wanted {
        end: End::After(Duration::from_secs(60)),
        seed: 1,
        parts: Vec::new(),
        replay: None,
        bits_from: None,
    };
    for option in options.chunks(2) {
        let [name, value] = option else { return None };
        match name.as_str() {
            "--minutes" => wanted.end = End::After(Duration::from_secs(value.parse::<u64>().ok()? * 60)),
            "--states" => wanted.end = End::States(value.parse().ok()?),
            "--seed" => wanted.seed = value.parse().ok()?,
            "--level" if value == "catalog-bits" => {
                wanted.parts.push(Part::Damage);
                wanted.bits_from = wanted.bits_from.or(Some(0));
            }
            "--from" => wanted.bits_from = Some(value.parse().ok()?),
            "--level" => wanted.parts.push(part_of(value)?),
            "--replay" => wanted.replay = Some(value.parse().ok()?),
            _ => return None,
        }
    }
    if wanted.bits_from.is_some()
        && !options
            .iter()
            .any(|option| ["--minutes", "--states"].contains(&option.as_str()))
    {
        wanted.end = End::Never;
    }
    (command == "campaign").then_some(wanted)
}

fn part_of(name: &str) -> Option<Part> {
    Some(match name {
        "crash" => Part::Crash,
        "error" => Part::Error,
        "below" => Part::Below,
        "kill" => Part::Kill,
        "damage" => Part::Damage,
        "decay" => Part::Decay,
        "volumes" => Part::Volumes,
        "concurrent" => Part::Concurrency,
        _ => return None,
    })
}

fn explore(wanted: &Wanted, findings: &Findings) -> std::io::Result<()> {
    let plan = Plan {
        seed: wanted.seed,
        parts: wanted.parts.clone(),
        threads: thread::available_parallelism().map_or(1, usize::from),
        program: Some(env::current_exe()?),
    };
    let began = now();
    let (ended, waiting) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            while waiting.recv_timeout(PROGRESS) == Err(RecvTimeoutError::Timeout) {
                eprintln!(
                    "{:4} s: {} images, {} of the engine, {} in recoveries, {} errors, {} kills, {} operations, {} damaged, {} violations",
                    began.elapsed().as_secs(),
                    findings.images(),
                    findings.engine_images(),
                    findings.nested_images(),
                    findings.errors(),
                    findings.kills(),
                    findings.operations(),
                    findings.damaged(),
                    findings.violations().len(),
                );
            }
        });
        let is_enough = || wanted.end.is_reached(began, findings, &wanted.parts);
        let done = match wanted.bits_from {
            Some(from) => flip_every_bit(&plan, from, findings, &is_enough),
            None => campaign::run(&plan, findings, &is_enough),
        };
        drop(ended);
        done
    })
}

/// Flips every bit of a small catalog, from one on.
fn flip_every_bit(
    plan: &Plan,
    from: u64,
    findings: &Findings,
    is_enough: &(dyn Fn() -> bool + Sync),
) -> std::io::Result<()> {
    let every = EveryBit::new(plan.seed)?;
    eprintln!(
        "bits {from} to {} of the catalog of seed {}",
        every.count(),
        plan.seed
    );
    let tally = Tally::default();
    every.flip_all(from..u64::MAX, plan.threads, (findings, &tally), is_enough);
    eprintln!(
        "to be gone on with: --level catalog-bits --from {}",
        from + findings.damaged()
    );
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "a campaign ends by the clock of the host"
)]
fn now() -> Instant {
    Instant::now()
}
