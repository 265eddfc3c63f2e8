//! What is explored: something that is done to a disk, and what may be found there after a crash.

use std::{fmt, io};

use super::{
    check::{Checked, check},
    image::Image,
    oracle::Allowed,
    sources::Sources,
    stage::{Played, Stage, new_archive},
    violation::{Promise, Violation},
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

    /// Makes the disk that it begins with.
    fn ground(&self, _seed: u64) -> Ground {
        Ground::empty()
    }

    /// Does it. Errors are answers; where faults were not injected, an answer that is wrong is a violation of the record.
    ///
    /// # Errors
    /// When the host cannot take the sources of commits.
    fn play(&self, ground: &Ground, sources: &Sources, seed: u64) -> io::Result<Box<dyn Record>>;
}

/// What a scenario begins with.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The disk.
    pub disk: SimulatedStorage,
    /// Whether an archive lies there, made and closed.
    pub has_archive: bool,
}

impl Ground {
    /// Returns a disk with nothing on it.
    pub fn empty() -> Self {
        Self {
            disk: SimulatedStorage::new(),
            has_archive: false,
        }
    }

    /// Returns the same on a disk of its own.
    #[must_use]
    pub fn fork(&self) -> Self {
        Self {
            disk: self.disk.settled(),
            has_archive: self.has_archive,
        }
    }
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

    /// Checks a disk.
    ///
    /// # Errors
    /// The first violation behind which nothing more can be checked.
    fn check(&self, image: &Image, seed: u64) -> Result<Verdict, Violation>;
}

/// What a check that came to its end has found.
#[derive(Default)]
pub struct Verdict {
    /// Violations that did not keep it from going on.
    pub minor: Vec<Violation>,
    /// The recovery, to be crashed.
    pub recovery: Option<Recovery>,
}

/// What a recovery did to a disk.
pub struct Recovery {
    disk: SimulatedStorage,
    /// Its last operation; what came later is the check's own.
    last: u64,
    /// What may be found after a crash in it.
    pub state: Box<dyn State>,
}

impl Recovery {
    /// Notes that everything that was done to a disk so far is recovery.
    pub fn until_now(disk: &SimulatedStorage, state: Box<dyn State>) -> Self {
        Self {
            disk: disk.clone(),
            last: disk.counts().mutating(),
            state,
        }
    }

    /// Notes that everything up to an operation is recovery.
    pub(super) fn until(disk: &SimulatedStorage, last: u64, state: Box<dyn State>) -> Self {
        Self {
            disk: disk.clone(),
            last,
            state,
        }
    }

    /// Returns its timeline: made when it is asked for, since few recoveries are crashed.
    pub fn timeline(&self) -> Timeline {
        self.disk.timeline_until(self.last)
    }
}

impl fmt::Debug for Recovery {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Recovery")
            .field("last", &self.last)
            .finish_non_exhaustive()
    }
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

    fn ground(&self, seed: u64) -> Ground {
        if self.begins_with_nothing {
            Ground::empty()
        } else {
            new_archive(seed)
        }
    }

    fn play(&self, ground: &Ground, sources: &Sources, seed: u64) -> io::Result<Box<dyn Record>> {
        let mut stage = Stage::new(ground, sources, seed);
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

    fn check(&self, image: &Image, seed: u64) -> Result<Verdict, Violation> {
        let Checked { recovery, leaks } = check(image, self, seed)?;
        let broken = |leak| Promise::NoLeak.broken(leak);
        Ok(Verdict {
            minor: leaks.into_iter().map(broken).collect(),
            recovery,
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
