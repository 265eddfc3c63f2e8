//! Damage to extents: archives that nobody has open, of whose frames some are damaged, misplaced, cut, gone or unreadable.
//!
//! A [`Subject`] is a small archive on a disk in memory, with files of every tier. An atlas of faults (`atlas`) hurts as much
//! of a block as its code survives ([`Reach::Inside`]), or one leaf more ([`Reach::Beyond`]), in each kind of way
//! ([`Kind`]). The oracle (`oracle`) works out from the bytes before and after, and from docs/format.md alone, which shards
//! are damaged and which bytes of which files are lost. Readers, `verify` and `scrub` have to say exactly that, and nothing
//! else; a writer works on beside the damage; and a repair leaves nothing damaged but what no code brings back.

mod atlas;
mod chart;
mod frame;
mod harm;
mod kind;
mod oracle;
mod repairing;
mod reports;
mod subject;
mod verdict;
mod writing;

use std::{
    collections::BTreeMap,
    io,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use self::{chart::Block, harm::Damaged, oracle::Expected};
pub use self::{
    chart::Holds,
    harm::{Harm, Wound},
    kind::{Kind, Reach},
    subject::Subject,
    verdict::Depth,
};
use crate::{
    Seeded,
    crashes::{case::Case, explore::Findings},
};

/// What cases of archives with damaged extents begin with; behind it stand the wounds.
pub const WORKLOAD: &str = "decay-";

/// Damaged archives of one seed.
pub const ARCHIVES: u64 = 150;

/// Of so many one is opened for writing too, and [`REPAIRED`] are repaired.
const VISITS: u64 = 6;

/// How many of [`VISITS`].
const REPAIRED: u64 = 2;

/// One in so many is hurt in two ways at once.
const SEVERAL_ONE_IN: u64 = 6;

/// Blocks that are looked at until one has a place for a kind of damage.
const TRIES: usize = 12;

/// What was done: a kind of damage, to what, how far.
type Met = (Kind, Option<Holds>, Reach);

/// What was met, from all threads together.
#[derive(Debug, Default)]
pub struct Tally {
    counts: Mutex<BTreeMap<Met, u64>>,
    missed: Mutex<Vec<String>>,
    repairs: AtomicU64,
    partial_repairs: AtomicU64,
}

impl Tally {
    /// Returns how many archives were met with one kind of damage alone, to a block that holds this (any, where the kind is not
    /// about blocks), and of which the oracle says that the block is inside or beyond what its code survives.
    pub fn count(&self, kind: Kind, holds: Option<Holds>, reach: Reach) -> u64 {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(&(kind, holds, reach)).copied().unwrap_or(0)
    }

    /// Returns cases of which the oracle says that they go further than the atlas meant, or less far.
    pub fn missed(&self) -> Vec<String> {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns how many archives were repaired wholly, from some damage, and how many in part, since something is lost.
    pub fn repairs(&self) -> (u64, u64) {
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        (count(&self.repairs), count(&self.partial_repairs))
    }

    fn add_repair(&self, expected: &Expected) {
        let remains = expected.remains().len();
        if remains > 0 {
            self.partial_repairs.fetch_add(1, Ordering::Relaxed);
        } else if !expected.findings.is_empty() {
            self.repairs.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn add(&self, aim: Aim<'_>, case: &Case, expected: &Expected) {
        let is_hit = |block: &Block| {
            let mut of_it = expected.findings.iter();
            of_it.any(|told| (&told.name, told.block) == (&block.name, block.index) && !told.is_recoverable)
        };
        let reach = if aim.block.is_some_and(is_hit) {
            Reach::Beyond
        } else {
            Reach::Inside
        };
        if reach != aim.reach {
            let mut missed = self.missed.lock().unwrap_or_else(PoisonError::into_inner);
            missed.push(format!("{:?} of {:?}: {case}", aim.kind, aim.block));
        }
        let key = (aim.kind, aim.block.map(|block| block.holds), reach);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(key).or_default() += 1;
    }
}

/// What the atlas meant to do.
#[derive(Debug, Clone, Copy)]
struct Aim<'a> {
    kind: Kind,
    reach: Reach,
    block: Option<&'a Block>,
}

/// Returns every kind of damage, with everything that it can be done to and as far as it can go there.
pub fn all_aims() -> Vec<(Kind, Option<Holds>, Reach)> {
    let mut all = Vec::new();
    for kind in Kind::ALL {
        for reach in [Reach::Inside, Reach::Beyond] {
            if !kind.reaches(reach) {
                continue;
            }
            if kind.is_of_a_block() {
                let holds = Holds::ALL.into_iter();
                let possible = holds.filter(|holds| kind.is_possible(*holds));
                all.extend(possible.map(|holds| (kind, Some(holds), reach)));
            } else {
                all.push((kind, None, reach));
            }
        }
    }
    all
}

/// Damages the archive of a seed in so many ways; those of neighbouring seeds go on where it has ended.
///
/// # Errors
/// When the archive cannot be made.
pub fn explore(seed: u64, count: u64, findings: &Findings, tally: &Tally) -> io::Result<()> {
    let subject = Subject::new(seed)?;
    let aims = all_aims();
    let mut seeded = Seeded::new(seed ^ 0xDECA_D000);
    let first = seed.wrapping_mul(count);
    for number in 0..count {
        if findings.is_over() {
            break;
        }
        let turn = first.wrapping_add(number) % frame::bytes(aims.len());
        let aim = aims[usize::try_from(turn).map_err(io::Error::other)?];
        let Some((aim, mut wounds)) = aimed(&subject, aim, &mut seeded) else {
            continue;
        };
        let is_alone = seeded.below(SEVERAL_ONE_IN) > 0;
        if !is_alone {
            let other = aims[seeded.index(aims.len())];
            let more = aimed(&subject, other, &mut seeded).map_or_else(Vec::new, |(_, more)| more);
            wounds.extend(more);
            spare_the_gone(&mut wounds);
        }
        let depth = match seeded.below(VISITS) {
            0 => Depth::Write,
            1..=REPAIRED => Depth::Repair,
            _ => Depth::Read,
        };
        let Some(expected) = judge(&subject, (&wounds, depth), findings) else {
            continue;
        };
        if depth.repairs() {
            tally.add_repair(&expected);
        }
        if is_alone {
            tally.add(aim, &case_of(&subject, &wounds), &expected);
        }
    }
    Ok(())
}

/// Chooses a block with a place for a kind of damage, and where in it.
fn aimed<'a>(
    subject: &'a Subject,
    (kind, holds, reach): (Kind, Option<Holds>, Reach),
    seeded: &mut Seeded,
) -> Option<(Aim<'a>, Vec<Wound>)> {
    let all = subject.chart.blocks.iter();
    let mut blocks: Vec<&Block> = all
        .filter(|block| holds.is_none_or(|holds| block.holds == holds))
        .collect();
    seeded.shuffle(&mut blocks);
    for block in blocks.into_iter().take(TRIES) {
        let wounds = atlas::wounds(subject, block, (kind, reach), seeded);
        if !wounds.is_empty() {
            let block = kind.is_of_a_block().then_some(block);
            return Some((Aim { kind, reach, block }, wounds));
        }
    }
    None
}

/// Of a file that is gone nothing else is hurt.
fn spare_the_gone(wounds: &mut Vec<Wound>) {
    let is_gone = |wound: &Wound| wound.harm == Harm::Gone;
    let mut gone: Vec<Wound> = wounds.iter().copied().filter(is_gone).collect();
    gone.sort_by_key(|wound| wound.extent);
    gone.dedup();
    wounds.retain(|wound| gone.iter().all(|gone| gone.extent != wound.extent));
    wounds.extend(gone);
}

/// Says whether a case is one of damaged extents.
pub fn is_case(case: &Case) -> bool {
    case.workload.starts_with(WORKLOAD)
}

/// Checks a case again.
///
/// # Errors
/// When there is no such archive or no such damage.
pub fn replay(case: &Case, findings: &Findings) -> io::Result<()> {
    let wounds = parse(&case.workload).ok_or_else(|| io::Error::other("no damage is named so"))?;
    let subject = Subject::new(case.seed)?;
    let met = judge(&subject, (&wounds, Depth::All), findings);
    met.map(drop)
        .ok_or_else(|| io::Error::other("this changes nothing"))
}

/// Checks an archive with wounds; returns what has to be told of it, nothing where they change nothing.
fn judge(subject: &Subject, (wounds, depth): (&[Wound], Depth), findings: &Findings) -> Option<Expected> {
    let damaged = Damaged::new(&subject.disk, &subject.extents, wounds).ok()?;
    if !damaged.differs_from(&subject.disk) {
        return None;
    }
    findings.count_decayed();
    let expected = oracle::expected(
        &subject.chart,
        &oracle::Bytes {
            before: &subject.extents,
            damaged: &damaged,
        },
    );
    if let Err(violation) = verdict::check(subject, (&damaged, &expected), depth) {
        findings.report(&case_of(subject, wounds), violation);
    }
    Some(expected)
}

fn case_of(subject: &Subject, wounds: &[Wound]) -> Case {
    let wounds: Vec<String> = wounds.iter().map(Wound::to_string).collect();
    Case {
        workload: format!("{WORKLOAD}{}", wounds.join(",")),
        seed: subject.seed,
        fault: None,
        crashes: Vec::new(),
    }
}

fn parse(workload: &str) -> Option<Vec<Wound>> {
    let wounds = workload.strip_prefix(WORKLOAD)?;
    wounds.split(',').map(|wound| wound.parse().ok()).collect()
}
