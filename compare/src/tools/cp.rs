//! `cp` and a sync: the least that anybody can do to have a file twice.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use super::{Tool, ToolName, in_path, version_of};
use crate::{
    bench::{Bench, Operation, Step},
    workload::WorkloadKind,
};

#[derive(Debug)]
pub(crate) struct Cp {
    program: PathBuf,
    version: String,
}

impl Cp {
    pub(crate) fn find() -> Result<Self> {
        let program = in_path("cp")?;
        let version = version_of(&program, "--version")?;
        Ok(Self { program, version })
    }

    /// A command that copies, really: neither by reference nor with holes.
    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("-R");
        if self.version.contains("GNU") {
            command.args(["--reflink=never", "--sparse=never"]);
        }
        command
    }
}

impl Tool for Cp {
    fn name(&self) -> ToolName {
        ToolName::Cp
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn room_percent(&self, kind: WorkloadKind) -> u64 {
        if kind == WorkloadKind::Tier2 { 500 } else { 100 }
    }

    fn round(&self, bench: &mut Bench<'_>) -> Result<()> {
        let (source, copy) = (bench.source().path(), bench.path("copy"));
        let step = Step {
            operation: Operation::Commit,
            label: "cp + fsync",
            reads: &[&source],
            syncs: &[&copy],
            exit: 0,
        };
        bench.timed(&step, self.command().arg(&source).arg(&copy))?;
        bench.stored(&[&copy])?;
        bench.judge(&copy)?;
        if bench.is_about(WorkloadKind::Tier2) {
            let copies = [1, 2, 3, 4].map(|copy| bench.path(&format!("copy{copy}")));
            let mut commands = copies.each_ref().map(|copy| {
                let mut command = self.command();
                command.arg(&source).arg(copy);
                command
            });
            let step = Step {
                operation: Operation::FourCopies,
                label: "four times cp + fsync",
                reads: &[&source],
                syncs: &copies.each_ref().map(PathBuf::as_path),
                exit: 0,
            };
            bench.timed_all(&step, &mut commands.each_mut())?;
        }
        Ok(())
    }
}
