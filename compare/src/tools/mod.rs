//! The tools: how each is found, and what people would type to keep a file with it.

mod b3sum;
mod bfdb;
mod borg;
mod cp;
mod par2;
mod restic;
mod snapraid;

use std::{
    collections::BTreeMap,
    env, fmt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Result, bail};
use clap::ValueEnum;
use serde::Serialize;

pub(crate) use b3sum::hash_in_process;

use crate::{
    bench::Bench,
    options::Options,
    workload::{Workload, WorkloadKind},
};

/// A program that keeps files.
pub(crate) trait Tool: fmt::Debug {
    fn name(&self) -> ToolName;

    /// What it says about itself.
    fn version(&self) -> &str;

    /// Room that it takes beside the source, in percent of it.
    fn room_percent(&self, kind: WorkloadKind) -> u64;

    /// Does everything that it can do with the source, once.
    fn round(&self, bench: &mut Bench<'_>) -> Result<()>;

    fn takes(&self, workload: &Workload) -> bool {
        workload.suits(self.name())
    }
}

/// In the order in which they run and are shown; those that are compared most closely stand together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ToolName {
    Cp,
    B3sum,
    Bfdb,
    Par2,
    Restic,
    Borg,
    Snapraid,
}

/// Tools that are not measured, and why.
pub(crate) type Missing = BTreeMap<ToolName, String>;

/// Finds the tools that are wanted; returns also those that are not installed, and why.
pub(crate) fn find(options: &Options) -> Result<(Vec<Box<dyn Tool>>, Missing)> {
    let (mut tools, mut missing) = (Vec::new(), Missing::new());
    for name in ToolName::value_variants() {
        let is_asked_for = options.only.contains(name);
        if !is_asked_for && !options.only.is_empty() {
            continue;
        }
        match look(*name, options) {
            Ok(tool) => tools.push(tool),
            // A comparison without bfdb is none, unless that is what was asked for.
            Err(error) if is_asked_for || *name == ToolName::Bfdb => return Err(error),
            Err(error) => {
                missing.insert(*name, error.to_string());
            }
        }
    }
    Ok((tools, missing))
}

fn look(name: ToolName, options: &Options) -> Result<Box<dyn Tool>> {
    Ok(match name {
        ToolName::Cp => Box::new(cp::Cp::find()?),
        ToolName::B3sum => Box::new(b3sum::B3sum::find()?),
        ToolName::Bfdb => Box::new(bfdb::Bfdb::find(options)?),
        ToolName::Par2 => Box::new(par2::Par2::find()?),
        ToolName::Restic => Box::new(restic::Restic::find()?),
        ToolName::Borg => Box::new(borg::Borg::find()?),
        ToolName::Snapraid => Box::new(snapraid::Snapraid::find()?),
    })
}

/// Looks a program up in `PATH`.
fn in_path(program: &str) -> Result<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|candidate| candidate.is_file());
    match found {
        Some(found) => Ok(found),
        None => bail!("{program} is not installed"),
    }
}

/// The first line that a program says when it is asked for its version.
fn version_of(program: &Path, flag: &str) -> Result<String> {
    let output = Command::new(program).arg(flag).stdin(Stdio::null()).output()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    let first = said.lines().map(str::trim).find(|line| !line.is_empty());
    Ok(first.unwrap_or("of unknown version").to_owned())
}

impl fmt::Display for ToolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cp => "cp",
            Self::B3sum => "b3sum",
            Self::Bfdb => "bfdb",
            Self::Par2 => "par2",
            Self::Restic => "restic",
            Self::Borg => "borg",
            Self::Snapraid => "SnapRAID",
        })
    }
}
