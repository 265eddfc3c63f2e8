//! Damage at rest: archives that nobody has open, with something wrong in the catalog, the journal or the slots of a volume.
//!
//! A [`Subject`] is a small archive on a disk in memory, of which every state that was ever acknowledged is known. Blows
//! ([`Blow`]) change its files behind the back of everybody. Then somebody opens it for reading, and somebody for writing:
//! what they see is exactly what was stored, or they are told that something is damaged; and nothing that they do costs
//! anything. What may be said of which damage is worked out from the bytes and docs/durability.md (`hurt`), never asked of
//! the engine. Damage to extents is in [`crate::decay`].

mod bits;
mod blow;
mod choose;
pub(crate) mod edit;
mod hurt;
mod layout;
mod rebuilt;
mod records;
mod strike;
mod subject;
mod verdict;
mod writing;

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Mutex, PoisonError},
};

pub use self::{
    bits::EveryBit,
    blow::{Blow, Harm, KINDS, Slots, TARGETS, Target},
    layout::COPIES,
    subject::{Kind, Subject},
    verdict::{Answer, Answers, Depth},
};
use crate::{
    Seeded,
    crashes::{case::Case, explore::Findings},
};

/// What cases of damaged archives begin with; behind it stand how the archive was left, and the blows.
pub const WORKLOAD: &str = "rest-";

/// Damaged archives of one seed and kind.
pub const BLOWS: u64 = 20;

/// For each of these, bits that are flipped in the catalog of the smallest archive of the seed.
const BITS: u64 = 15;

/// One in so many archives whose catalog is damaged is opened for writing too.
const WRITER_ONE_IN: u64 = 4;

/// What was hit, the kind of the first blow, answers of the reader and of the writer.
type Met = (&'static str, &'static str, Answer, Option<Answer>);

/// What was met, from all threads together.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Mutex<BTreeMap<Met, u64>>,
}

impl Tally {
    /// Returns how many archives were met of which a predicate holds.
    pub fn count(&self, is_meant: impl Fn(&str, &str, Answer, Option<Answer>) -> bool) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let meant = counts
            .iter()
            .filter(|((target, harm, reader, writer), _)| is_meant(target, harm, *reader, *writer));
        meant.map(|(_, count)| count).sum()
    }

    fn add(&self, blows: &[Blow], answers: Answers) {
        let key = (
            all_of(blows).kind(),
            blows[0].harm.kind(),
            answers.reader,
            answers.writer,
        );
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(key).or_default() += 1;
    }
}

/// Damages the archives of a seed, one of each kind.
///
/// # Errors
/// When the archives cannot be made.
pub fn explore(seed: u64, count: u64, findings: &Findings, tally: &Tally) -> io::Result<()> {
    for (kind, number) in Kind::ALL.into_iter().zip(0_u64..) {
        let subject = Subject::new(kind, seed)?;
        let mut seeded = Seeded::new(seed ^ 0xB10 ^ (number << 32));
        let mut done = 0;
        while done < count && !findings.is_over() {
            let blows = choose::blows(&subject, &mut seeded);
            let is_deep = blows[0].target != Target::Catalog || seeded.below(WRITER_ONE_IN) == 0;
            let depth = if is_deep { Depth::Write } else { Depth::Read };
            // What changes nothing is no damage.
            done += u64::from(judge(&subject, (&blows, depth), findings, tally));
        }
        if kind == Kind::Smallest {
            bits::flip_some(&subject, (&mut seeded, count * BITS), findings, tally);
        }
    }
    Ok(())
}

/// Says whether a case is one of a damaged archive.
pub fn is_case(case: &Case) -> bool {
    case.workload.starts_with(WORKLOAD)
}

/// Checks a case again.
///
/// # Errors
/// When there is no such archive or no such blow.
pub fn replay(case: &Case, findings: &Findings) -> io::Result<()> {
    let (kind, blows) = parse(&case.workload).ok_or_else(|| io::Error::other("no damage is named so"))?;
    let subject = Subject::new(kind, case.seed)?;
    let is_met = judge(&subject, (&blows, Depth::Write), findings, &Tally::default());
    let nothing = || io::Error::other("these blows change nothing");
    is_met.then_some(()).ok_or_else(nothing)
}

/// Checks a subject with blows; says whether they have changed anything.
fn judge(subject: &Subject, (blows, depth): (&[Blow], Depth), findings: &Findings, tally: &Tally) -> bool {
    let Ok(damaged) = strike::struck(subject, blows) else {
        return false;
    };
    if damaged.fingerprint() == subject.disk.fingerprint() {
        return false;
    }
    findings.count_damaged();
    match verdict::check(subject, (blows, &damaged), depth) {
        Ok(answers) => tally.add(blows, answers),
        Err(violation) => findings.report(&case_of(subject, blows), violation),
    }
    true
}

/// Returns what several blows on copies of the journal have hit together; else there is one.
fn all_of(blows: &[Blow]) -> Target {
    let copies = blows.iter().map(|blow| match &blow.target {
        Target::Journal(copies) => Some(copies),
        Target::Catalog | Target::Slots(_) => None,
    });
    let together: Option<Vec<&Vec<u8>>> = copies.collect();
    match together {
        Some(copies) => {
            let copies: BTreeSet<u8> = copies.into_iter().flatten().copied().collect();
            Target::Journal(copies.into_iter().collect())
        }
        None => blows[0].target.clone(),
    }
}

fn case_of(subject: &Subject, blows: &[Blow]) -> Case {
    let blows: Vec<String> = blows.iter().map(Blow::to_string).collect();
    Case {
        workload: format!("{WORKLOAD}{}-{}", subject.kind, blows.join(",")),
        seed: subject.seed,
        fault: None,
        crashes: Vec::new(),
    }
}

fn parse(workload: &str) -> Option<(Kind, Vec<Blow>)> {
    let (kind, blows) = workload.strip_prefix(WORKLOAD)?.split_once('-')?;
    let blows = blows
        .split(',')
        .map(str::parse)
        .collect::<Result<Vec<Blow>, ()>>();
    Some((kind.parse().ok()?, blows.ok()?))
}
