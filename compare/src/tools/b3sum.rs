//! `b3sum`, or what it is made of: the time in which every byte can be read and hashed.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{Tool, ToolName, in_path, version_of};
use crate::{
    bench::{Bench, Operation, Step},
    workload::WorkloadKind,
};

/// Hashes files as `b3sum` does, with all processors, from mappings.
pub(crate) fn hash_in_process(files: &[PathBuf]) -> Result<()> {
    for path in files {
        let mut hasher = blake3::Hasher::new();
        hasher
            .update_mmap_rayon(path)
            .with_context(|| format!("reading {}", path.display()))?;
        println!("{}  {}", hasher.finalize(), path.display());
    }
    Ok(())
}

#[derive(Debug)]
pub(crate) struct B3sum {
    program: PathBuf,
    version: String,
    is_installed: bool,
}

impl B3sum {
    pub(crate) fn find() -> Result<Self> {
        if let Ok(program) = in_path("b3sum") {
            return Ok(Self {
                version: version_of(&program, "--version")?,
                program,
                is_installed: true,
            });
        }
        Ok(Self {
            program: env::current_exe()?,
            version: "not installed; its library is built into this program and runs as a process of its own"
                .to_owned(),
            is_installed: false,
        })
    }

    pub(crate) fn label(&self) -> &'static str {
        if self.is_installed {
            "b3sum"
        } else {
            "BLAKE3 (built in)"
        }
    }

    pub(crate) fn stored_label(&self) -> &'static str {
        if self.is_installed {
            "b3sum of what bfdb stores"
        } else {
            "BLAKE3 (built in) of what bfdb stores"
        }
    }

    pub(crate) fn command(&self, files: &[PathBuf]) -> Command {
        let mut command = Command::new(&self.program);
        if !self.is_installed {
            command.arg("hash");
        }
        command.args(files);
        command
    }
}

impl Tool for B3sum {
    fn name(&self) -> ToolName {
        ToolName::B3sum
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn room_percent(&self, _: WorkloadKind) -> u64 {
        0
    }

    fn round(&self, bench: &mut Bench<'_>) -> Result<()> {
        let source = bench.source().path();
        let step = Step {
            operation: Operation::Verify,
            label: self.label(),
            reads: &[&source],
            syncs: &[],
            exit: 0,
        };
        bench.timed(&step, &mut self.command(std::slice::from_ref(&source)))
    }
}

/// Hashes everything that lies in a directory of another tool, for comparison with what hashes it there.
pub(crate) fn hash_stored(bench: &mut Bench<'_>, hasher: &B3sum, dir: &Path) -> Result<()> {
    let files = crate::disk::files_below(dir)?;
    let step = Step {
        operation: Operation::Scrub,
        label: hasher.stored_label(),
        reads: &[dir],
        syncs: &[],
        exit: 0,
    };
    bench.timed(&step, &mut hasher.command(&files))?;
    bench.was_done_by(ToolName::B3sum);
    Ok(())
}
