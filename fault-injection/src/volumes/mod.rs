//! Archives on several volumes, of which one at a time is lost, put back from an old copy, there twice, in the place of
//! another one, read-only, or gone in the middle of anything.
//!
//! A life of an archive follows from a seed: processes open it one after another, commit, replace, rename, remove, scrub, repair,
//! compact and take checkpoints, and mishaps ([`Mishap`]) befall its volumes and its catalog between them and under their hands. What was acknowledged is read back all
//! the while; no byte of it may be wrong, and none may be missing that the volumes that are there hold. Behind each mishap
//! the archive is brought back to full tolerance, by the commands that a user would type.

mod life;
mod mishap;
mod model;

use std::{
    collections::BTreeMap,
    io,
    sync::{Mutex, PoisonError},
};

use self::life::Life;
pub use self::mishap::Mishap;
use crate::crashes::{case::Case, explore::Findings, violation::guarded};

/// What cases of lives with volumes are called.
pub const WORKLOAD: &str = "volumes";

/// What was met, from all threads together.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<Mishap, u64>>);

impl Tally {
    /// Returns how often a mishap befell a volume.
    pub fn count(&self, mishap: Mishap) -> u64 {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(&mishap).copied().unwrap_or(0)
    }

    fn add(&self, mishap: Mishap) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(mishap).or_default() += 1;
    }
}

/// Lets an archive live the life of a seed.
///
/// # Errors
/// None so far: it needs nothing of the host.
pub fn explore(seed: u64, findings: &Findings, tally: &Tally) -> io::Result<()> {
    let lived = guarded(|| Life::new(seed, tally)?.live());
    findings.count_damaged();
    if let Err(violation) = lived {
        findings.report(&case_of(seed), violation);
    }
    Ok(())
}

/// Says whether a case is one of a life with volumes.
pub fn is_case(case: &Case) -> bool {
    case.workload == WORKLOAD
}

fn case_of(seed: u64) -> Case {
    Case {
        workload: WORKLOAD.to_owned(),
        seed,
        fault: None,
        crashes: Vec::new(),
    }
}
