//! Borg: deduplicated and compressed backups; it finds damage, and repairs by leaving out what is damaged.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, ensure};

use super::{Tool, ToolName, in_path, version_of};
use crate::{
    bench::{Bench, Operation, Step},
    workload::WorkloadKind,
};

#[derive(Debug)]
pub(crate) struct Borg {
    program: PathBuf,
    version: String,
}

impl Borg {
    pub(crate) fn find() -> Result<Self> {
        let program = in_path("borg")?;
        let version = version_of(&program, "--version")?;
        ensure!(
            version.starts_with("borg 1."),
            "{version} is installed, whose commands are others than those of borg 1"
        );
        Ok(Self { program, version })
    }

    fn command(&self, bench: &Bench<'_>, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("BORG_REPO", bench.path("repository"))
            .env("BORG_BASE_DIR", bench.path("base"))
            .env("BORG_UNKNOWN_UNENCRYPTED_REPO_ACCESS_IS_OK", "yes")
            .args(words);
        command
    }
}

impl Tool for Borg {
    fn name(&self) -> ToolName {
        ToolName::Borg
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn room_percent(&self, _: WorkloadKind) -> u64 {
        215
    }

    fn round(&self, bench: &mut Bench<'_>) -> Result<()> {
        let (source, repository) = (bench.source().path(), bench.path("repository"));
        bench.untimed(&mut self.command(bench, &["init", "-e", "none"]))?;
        let step = Step {
            operation: Operation::Commit,
            label: "borg create",
            reads: &[&source],
            syncs: &[],
            exit: 0,
        };
        let mut create = self.command(bench, &["create", "::a", bench.source().name()]);
        bench.timed(&step, create.current_dir(bench.source().dir()))?;
        bench.stored(&[&repository])?;
        let step = Step {
            operation: Operation::Verify,
            label: "borg check --verify-data",
            reads: &[&repository],
            ..step
        };
        bench.timed(&step, &mut self.command(bench, &["check", "--verify-data"]))?;
        let restored = bench.new_dir("restored")?;
        let step = Step {
            operation: Operation::Restore,
            label: "borg extract",
            syncs: &[&restored],
            ..step
        };
        let mut extract = self.command(bench, &["extract", "::a"]);
        bench.timed(&step, extract.current_dir(&restored))?;
        bench.judge(&restored.join(bench.source().name()))
    }
}
