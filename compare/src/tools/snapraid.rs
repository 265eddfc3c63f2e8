//! `SnapRAID`: two data disks and one of parity, each of them a directory here, with half of the source on each data disk.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use super::{Tool, ToolName, in_path, version_of};
use crate::{
    bench::{Bench, Operation, Step},
    disk,
    workload::WorkloadKind,
};

#[derive(Debug)]
pub(crate) struct Snapraid {
    program: PathBuf,
    version: String,
}

impl Snapraid {
    pub(crate) fn find() -> Result<Self> {
        let program = in_path("snapraid")?;
        let version = version_of(&program, "--version")?;
        Ok(Self { program, version })
    }

    fn command(&self, bench: &Bench<'_>, words: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        // It refuses data disks that are one disk, since the loss of it would be that of both; that is what is wanted here.
        command
            .arg("--test-skip-device")
            .arg("-c")
            .arg(bench.path("snapraid.conf"))
            .args(words);
        command
    }
}

impl Tool for Snapraid {
    fn name(&self) -> ToolName {
        ToolName::Snapraid
    }

    fn version(&self) -> &str {
        &self.version
    }

    /// The source once more, on two disks, half as much of parity, and one disk again to compare.
    fn room_percent(&self, _: WorkloadKind) -> u64 {
        215
    }

    fn round(&self, bench: &mut Bench<'_>) -> Result<()> {
        let disks = Disks::make(bench)?;
        let stored: &[&Path] = &[&disks.data[0], &disks.data[1], &disks.parity];
        let step = Step {
            operation: Operation::Commit,
            label: "snapraid sync",
            reads: &stored[..2],
            syncs: &[],
            exit: 0,
        };
        bench.timed(&step, &mut self.command(bench, &["sync"]))?;
        bench.stored(stored)?;
        let step = Step {
            operation: Operation::Verify,
            label: "snapraid check",
            reads: stored,
            ..step
        };
        bench.timed(&step, &mut self.command(bench, &["check"]))?;
        let step = Step {
            operation: Operation::Scrub,
            label: "snapraid scrub -p 100",
            ..step
        };
        bench.timed(
            &step,
            &mut self.command(bench, &["scrub", "-p", "100", "-o", "0"]),
        )?;
        disks.damage(bench)?;
        let step = Step {
            operation: Operation::Repair,
            label: "snapraid fix",
            syncs: &stored[..1],
            ..step
        };
        bench.timed(&step, &mut self.command(bench, &["fix"]))?;
        let joined = disks.join(bench)?;
        bench.judge(&joined)
    }
}

/// The directories that stand for disks.
#[derive(Debug)]
struct Disks {
    data: [PathBuf; 2],
    parity: PathBuf,
}

impl Disks {
    /// Lays the source out, half on each data disk: of a file its halves, of a tree every second file.
    fn make(bench: &Bench<'_>) -> Result<Self> {
        let disks = Self {
            data: [bench.new_dir("data0")?, bench.new_dir("data1")?],
            parity: bench.new_dir("parity")?,
        };
        let [data0, data1] = disks.data.each_ref().map(|dir| dir.display());
        let parity = disks.parity.display();
        let conf = format!(
            "parity {parity}/snapraid.parity\ncontent {parity}/snapraid.content\ncontent {data0}/snapraid.content\n\
             data d0 {data0}/\ndata d1 {data1}/\n"
        );
        fs::write(bench.path("snapraid.conf"), conf)?;
        for (from, range, to) in disks.parts(bench) {
            fs::create_dir_all(to.parent().context("a part lies on a disk")?)?;
            disk::copy_part(&from, range, &to)?;
        }
        Ok(disks)
    }

    /// Each part: the file that it comes from, which bytes of it, and where it lies.
    fn parts<'a>(
        &'a self,
        bench: &Bench<'a>,
    ) -> Box<dyn Iterator<Item = (PathBuf, (u64, u64), PathBuf)> + 'a> {
        let (source, len_bytes) = (bench.source().path(), bench.source().files().len_bytes);
        if bench.source().files().is_tree {
            let below = bench.source().paths_below().enumerate();
            return Box::new(below.map(move |(index, below)| {
                (
                    source.join(&below),
                    (0, len_bytes),
                    self.data[index % 2].join(&below),
                )
            }));
        }
        let half = len_bytes / 2;
        let halves = [(0, half), (half, len_bytes)].into_iter().zip(&self.data);
        Box::new(halves.map(move |(range, dir)| (source.clone(), range, dir.join("part"))))
    }

    /// Damages an eleventh of the source, all of it on one disk, as its one parity survives.
    fn damage(&self, bench: &Bench<'_>) -> Result<()> {
        for (index, (_, (start, end), path)) in self.parts(bench).enumerate() {
            if bench.source().files().is_tree {
                // Every second file lies there, so every 22nd one.
                if index % 22 == 0 {
                    disk::damage(&path, 0, end - start)?;
                }
            } else if index == 0 {
                disk::damage(&path, 0, bench.source().files().bytes() / 11)?;
            }
        }
        Ok(())
    }

    /// Puts the parts together again, to compare them with the source.
    fn join(&self, bench: &Bench<'_>) -> Result<PathBuf> {
        if bench.source().files().is_tree {
            let joined = bench.new_dir("joined")?;
            for (index, below) in bench.source().paths_below().enumerate() {
                let (from, to) = (self.data[index % 2].join(&below), joined.join(&below));
                fs::create_dir_all(to.parent().context("a file lies in a directory")?)?;
                fs::hard_link(from, to)?;
            }
            return Ok(joined);
        }
        let joined = bench.path("joined");
        fs::rename(self.data[0].join("part"), &joined)?;
        let mut file = fs::OpenOptions::new().append(true).open(&joined)?;
        std::io::copy(&mut fs::File::open(self.data[1].join("part"))?, &mut file)?;
        Ok(joined)
    }
}
