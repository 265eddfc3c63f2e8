//! restic: deduplicated, compressed and encrypted backups; it finds damage and repairs none.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

use super::{Tool, ToolName, in_path, version_of};
use crate::{
    bench::{Bench, Operation, Step},
    workload::WorkloadKind,
};

#[derive(Debug)]
pub(crate) struct Restic {
    program: PathBuf,
    version: String,
}

impl Restic {
    pub(crate) fn find() -> Result<Self> {
        let program = in_path("restic")?;
        let version = version_of(&program, "version")?;
        Ok(Self { program, version })
    }

    fn command(&self, bench: &Bench<'_>, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command
            .env("RESTIC_PASSWORD", "compare")
            .env("RESTIC_REPOSITORY", bench.path("repository"))
            .env("RESTIC_CACHE_DIR", bench.path("cache"))
            .args(words);
        command
    }
}

impl Tool for Restic {
    fn name(&self) -> ToolName {
        ToolName::Restic
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn room_percent(&self, _: WorkloadKind) -> u64 {
        215
    }

    fn round(&self, bench: &mut Bench<'_>) -> Result<()> {
        let (source, repository) = (bench.source().path(), bench.path("repository"));
        bench.untimed(&mut self.command(bench, &["init"]))?;
        let step = Step {
            operation: Operation::Commit,
            label: "restic backup",
            reads: &[&source],
            syncs: &[],
            exit: 0,
        };
        let mut backup = self.command(bench, &["backup", "--quiet"]);
        backup
            .arg(bench.source().name())
            .current_dir(bench.source().dir());
        bench.timed(&step, &mut backup)?;
        bench.stored(&[&repository])?;
        let step = Step {
            operation: Operation::Verify,
            label: "restic check --read-data",
            reads: &[&repository],
            ..step
        };
        bench.timed(
            &step,
            &mut self.command(bench, &["check", "--quiet", "--read-data"]),
        )?;
        let restored = bench.new_dir("restored")?;
        let step = Step {
            operation: Operation::Restore,
            label: "restic restore",
            syncs: &[&restored],
            ..step
        };
        let mut restore = self.command(bench, &["restore", "latest", "--quiet", "--target"]);
        bench.timed(&step, restore.arg(&restored))?;
        bench.judge(&found_below(&restored, bench))
    }
}

/// Where it has put the source: under its name, or under its whole path, as versions differ.
fn found_below(restored: &Path, bench: &Bench<'_>) -> PathBuf {
    let short = restored.join(bench.source().name());
    if short.exists() {
        return short;
    }
    let whole = bench.source().path();
    restored.join(whole.strip_prefix("/").unwrap_or(&whole))
}
