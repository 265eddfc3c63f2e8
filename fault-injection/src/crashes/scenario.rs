//! What is explored: something that is done to a disk, and what may be found there after a crash.

use std::{fmt, io};

use super::{
    check::{Checked, Promise, Violation, check},
    oracle::Allowed,
    sources::Sources,
    stage::{Played, Stage},
    workloads::{self, Workload},
};
use crate::{
    SimulatedStorage,
    simulation::{Marker, Timeline},
};

/// Something that is done to a disk, the same for the same seed.
pub trait Scenario: Send + Sync {
    /// Its name on the command line.
    fn name(&self) -> &'static str;

    /// Says how much of the engine takes part.
    fn level(&self) -> Level;

    /// Does it. Errors are answers; where faults were not injected, an answer that is wrong is a violation of the record.
    ///
    /// # Errors
    /// When the host cannot take the sources of commits.
    fn play(&self, disk: &SimulatedStorage, sources: &Sources, seed: u64) -> io::Result<Box<dyn Record>>;
}

/// How much of the engine a scenario is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The whole of it.
    Engine,
    /// One floor alone.
    Below,
}

/// What was asked and answered.
pub trait Record: Send + Sync {
    /// Returns what may be found when these markers were set and none behind them.
    fn state_after(&self, markers: &[Marker]) -> Box<dyn State>;

    /// Returns what is wrong with the answers themselves when the disk worked.
    fn surprise(&self) -> Option<Violation>;
}

/// What may be found on a disk.
pub trait State: Send + Sync {
    /// Returns a number that differs where the state does.
    fn digest(&self) -> u64;

    /// Checks copies of one disk.
    ///
    /// # Errors
    /// The first violation behind which nothing more can be checked.
    fn check(&self, image: &dyn Fn() -> SimulatedStorage, seed: u64) -> Result<Verdict, Violation>;
}

/// What a check that came to its end has found.
#[derive(Default)]
pub struct Verdict {
    /// Violations that did not keep it from going on.
    pub minor: Vec<Violation>,
    /// What recovery did to the disk, and what may be found after a crash in it.
    pub recovery: Option<(Timeline, Box<dyn State>)>,
}

impl fmt::Debug for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Verdict")
            .field("minor", &self.minor)
            .finish_non_exhaustive()
    }
}

impl Scenario for Workload {
    fn name(&self) -> &'static str {
        self.name
    }

    fn level(&self) -> Level {
        Level::Engine
    }

    fn play(&self, disk: &SimulatedStorage, sources: &Sources, seed: u64) -> io::Result<Box<dyn Record>> {
        let mut stage = Stage::new(disk, sources, seed);
        (self.play)(&mut stage);
        Ok(Box::new(stage.end()))
    }
}

impl Record for Played {
    fn state_after(&self, markers: &[Marker]) -> Box<dyn State> {
        Box::new(Allowed::after(&self.effects, markers))
    }

    fn surprise(&self) -> Option<Violation> {
        (!self.surprises.is_empty()).then(|| Promise::Answers.broken(self.surprises.join("; ")))
    }
}

impl State for Allowed {
    fn digest(&self) -> u64 {
        self.digest()
    }

    fn check(&self, image: &dyn Fn() -> SimulatedStorage, seed: u64) -> Result<Verdict, Violation> {
        let Checked {
            recovery,
            allowed,
            leaks,
        } = check(image, self, seed)?;
        let allowed: Box<dyn State> = Box::new(allowed);
        Ok(Verdict {
            minor: leaks
                .into_iter()
                .map(|leak| Promise::NoLeak.broken(leak))
                .collect(),
            recovery: Some((recovery, allowed)),
        })
    }
}

/// Returns everything that can be explored.
pub fn all() -> Vec<Box<dyn Scenario>> {
    let boxed = |workload| -> Box<dyn Scenario> { Box::new(workload) };
    let mut all: Vec<Box<dyn Scenario>> = workloads::all().into_iter().map(boxed).collect();
    all.extend(super::below::all());
    all
}
