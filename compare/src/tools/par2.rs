//! par2: recovery blocks beside a file, a tenth of it, which is what tier 3 of bfdb adds.

use std::{path::PathBuf, process::Command};

use anyhow::Result;

use super::{Tool, ToolName, in_path, version_of};
use crate::{
    bench::{Bench, Operation, Step},
    disk,
    workload::WorkloadKind,
};

#[derive(Debug)]
pub(crate) struct Par2 {
    program: PathBuf,
    version: String,
}

impl Par2 {
    pub(crate) fn find() -> Result<Self> {
        let program = in_path("par2")?;
        let version = version_of(&program, "-V")?;
        Ok(Self { program, version })
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(words);
        command
    }
}

impl Tool for Par2 {
    fn name(&self) -> ToolName {
        ToolName::Par2
    }

    fn version(&self) -> &str {
        &self.version
    }

    /// The file to damage, its recovery blocks, and the repaired file beside the damaged one.
    fn room_percent(&self, _: WorkloadKind) -> u64 {
        215
    }

    fn round(&self, bench: &mut Bench<'_>) -> Result<()> {
        let dir = bench.new_dir("par2")?;
        let file = dir.join("file");
        // It puts its files beside the source, and mends that in place: so it gets one of its own.
        disk::copy_part(&bench.source().path(), (0, bench.source().files().bytes()), &file)?;
        disk::sync(&dir)?;
        let step = Step {
            operation: Operation::Commit,
            label: "par2 create -r10",
            reads: &[&file],
            syncs: &[&dir],
            exit: 0,
        };
        let mut create = self.command(&["create", "-q", "-q", "-r10", "file.par2", "file"]);
        bench.timed(&step, create.current_dir(&dir))?;
        bench.stored(&[&dir])?;
        let step = Step {
            operation: Operation::Verify,
            label: "par2 verify",
            syncs: &[],
            reads: &[&dir],
            ..step
        };
        let mut verify = self.command(&["verify", "-q", "-q", "file.par2"]);
        bench.timed(&step, verify.current_dir(&dir))?;
        let len_bytes = bench.source().files().bytes();
        disk::damage(&file, len_bytes / 3, len_bytes / 11)?;
        let step = Step {
            operation: Operation::Repair,
            label: "par2 repair",
            syncs: &[&dir],
            ..step
        };
        let mut repair = self.command(&["repair", "-q", "-q", "file.par2"]);
        bench.timed(&step, repair.current_dir(&dir))?;
        bench.judge(&file)
    }
}
