//! One round of one tool on one workload: what it runs is timed, checked and written down.

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::AtomicBool,
};

use anyhow::{Context as _, Result};
use serde::Serialize;

use crate::{
    disk,
    measure::{self, Cost},
    source::Source,
    tools::{Tool, ToolName},
    workload::{Workload, WorkloadKind},
};

/// What a tool was asked to do; every tool has its own words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Operation {
    /// A process that does nothing.
    Start,
    Commit,
    /// As many copies as tiers 1 and 2 store.
    FourCopies,
    Verify,
    /// Reading what bfdb stores from the disk: a scrub cannot be faster.
    ReadStored,
    Scrub,
    Restore,
    ScrubDamaged,
    RestoreDamaged,
    Repair,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Sample {
    pub(crate) workload: WorkloadKind,
    pub(crate) operation: Operation,
    pub(crate) tool: ToolName,
    /// What people would type.
    pub(crate) label: &'static str,
    pub(crate) round: u32,
    #[serde(flatten)]
    pub(crate) cost: Cost,
    /// Room on the disk after it, where that is the point.
    pub(crate) stored_bytes: Option<u64>,
    /// Whether what came out is the source; of operations that give no file back it is not known.
    pub(crate) is_right: Option<bool>,
}

/// Where everything happens.
#[derive(Debug)]
pub(crate) struct Place<'a> {
    pub(crate) scratch: &'a Path,
    pub(crate) interrupted: &'a AtomicBool,
}

/// A timed step of a round.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) operation: Operation,
    pub(crate) label: &'static str,
    /// What it reads, which is brought into memory before.
    pub(crate) reads: &'a [&'a Path],
    /// What the tool writes and does not sync by itself: that is done within the time.
    pub(crate) syncs: &'a [&'a Path],
    pub(crate) exit: i32,
}

#[derive(Debug)]
pub(crate) struct Bench<'a> {
    place: &'a Place<'a>,
    workload: &'a Workload,
    source: &'a Source,
    tool: ToolName,
    round: u32,
    dir: PathBuf,
    samples: Vec<Sample>,
}

impl<'a> Bench<'a> {
    /// Begins a round in an empty directory, with nothing left to write for the disk.
    pub(crate) fn begin(
        place: &'a Place<'a>,
        workload: &'a Workload,
        source: &'a Source,
        (tool, round): (ToolName, u32),
    ) -> Result<Self> {
        let dir = place.scratch.join("run");
        fs::create_dir(&dir)?;
        disk::sync(&dir)?;
        Ok(Self {
            place,
            workload,
            source,
            tool,
            round,
            dir,
            samples: Vec::new(),
        })
    }

    /// Runs the round, and removes what it has left on the disk.
    pub(crate) fn finish(mut self, tool: &dyn Tool) -> Result<Vec<Sample>> {
        tool.round(&mut self)
            .with_context(|| format!("{}, {}, round {}", self.tool, self.workload.kind, self.round + 1))?;
        self.discard(&self.dir)?;
        Ok(self.samples)
    }

    /// Removes what is needed no more. Many files are put aside until the comparison ends: ext4 gives the number of a removed file to no new
    /// one for minutes, and who makes files meanwhile, whichever tool it is, looks past all of them for each.
    pub(crate) fn discard(&self, dir: &Path) -> Result<()> {
        if !self.workload.kind.has_many_files() {
            return disk::remove(dir);
        }
        let aside = self.place.scratch.join("aside");
        fs::create_dir_all(&aside)?;
        let name = format!("{}-{}-{}", self.tool, self.round, self.samples.len());
        let aside = aside.join(name.replace('/', "-"));
        fs::rename(dir, &aside).with_context(|| format!("putting {} aside", dir.display()))?;
        disk::sync(self.place.scratch)
    }

    pub(crate) fn source(&self) -> &'a Source {
        self.source
    }

    pub(crate) fn is_about(&self, kind: WorkloadKind) -> bool {
        self.workload.kind == kind
    }

    /// A path of its own for the round.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A new directory of its own for the round.
    pub(crate) fn new_dir(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir(&path)?;
        Ok(path)
    }

    /// Runs what has to be done and is not of interest.
    pub(crate) fn untimed(&self, command: &mut Command) -> Result<()> {
        self.run(command, 0)?;
        Ok(())
    }

    /// Runs a command and notes what it took, with the time until the disk has what it wrote.
    pub(crate) fn timed(&mut self, step: &Step<'_>, command: &mut Command) -> Result<()> {
        self.timed_all(step, &mut [command])
    }

    /// Runs commands one after the other, as one step.
    pub(crate) fn timed_all(&mut self, step: &Step<'_>, commands: &mut [&mut Command]) -> Result<()> {
        for path in step.reads {
            disk::read_all(path)?;
        }
        disk::sync(&self.dir)?;
        let mut cost = Cost::default();
        for command in commands {
            cost = cost.then(self.run(command, step.exit)?);
        }
        for path in step.syncs {
            cost = cost.then(measure::own(|| disk::sync(path))?);
        }
        eprintln!(
            "{}, round {} of {}: {} {:.3} s",
            self.workload.kind,
            self.round + 1,
            self.workload.rounds,
            step.label,
            cost.wall_seconds
        );
        self.samples.push(Sample {
            workload: self.workload.kind,
            operation: step.operation,
            tool: self.tool,
            label: step.label,
            round: self.round,
            cost,
            stored_bytes: None,
            is_right: None,
        });
        Ok(())
    }

    /// Notes that what was timed last was done by another tool, which reads what bfdb has stored.
    pub(crate) fn was_done_by(&mut self, tool: ToolName) {
        let last = self.samples.last_mut().expect("something was timed");
        last.tool = tool;
    }

    /// Notes how much room `paths` take after what was timed last.
    pub(crate) fn stored(&mut self, paths: &[&Path]) -> Result<()> {
        let mut bytes = 0;
        for path in paths {
            bytes += disk::used_bytes(path)?;
        }
        let last = self.samples.last_mut().expect("something was timed");
        last.stored_bytes = Some(bytes);
        Ok(())
    }

    /// Compares what was timed last with the source, wherever `root` has it.
    pub(crate) fn judge(&mut self, root: &Path) -> Result<()> {
        let is_right = self.source.is_whole_at(root)?;
        let last = self.samples.last_mut().expect("something was timed");
        last.is_right = Some(is_right);
        Ok(())
    }

    fn run(&self, command: &mut Command, exit: i32) -> Result<Cost> {
        let log = self.place.scratch.join("log");
        if command.get_current_dir().is_none() {
            command.current_dir(&self.dir);
        }
        measure::run(command, exit, &log, self.place.interrupted)
    }
}

impl Operation {
    /// What it is compared with: the operation and the tool that do the least that could be done.
    pub(crate) fn reference(self) -> Option<(Self, ToolName)> {
        match self {
            Self::Start | Self::ReadStored => None,
            Self::Commit | Self::FourCopies | Self::Restore | Self::RestoreDamaged | Self::Repair => {
                Some((Self::Commit, ToolName::Cp))
            }
            Self::Verify => Some((Self::Verify, ToolName::B3sum)),
            Self::Scrub | Self::ScrubDamaged => Some((Self::ReadStored, ToolName::Cp)),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "start",
            Self::Commit => "commit",
            Self::FourCopies => "four copies",
            Self::Verify => "verify",
            Self::ReadStored => "read",
            Self::Scrub => "scrub",
            Self::Restore => "restore",
            Self::ScrubDamaged => "scrub, damaged",
            Self::RestoreDamaged => "restore, damaged",
            Self::Repair => "repair",
        })
    }
}
