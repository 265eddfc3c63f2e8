//! bfdb, through its command line: everything that it can do with what it stores, before and after damage.

use std::{
    env,
    fs::{self, File, OpenOptions},
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;

use super::{
    Tool, ToolName,
    b3sum::{self, B3sum},
    version_of,
};
use crate::{
    bench::{Bench, Operation, Step},
    disk,
    options::Options,
    workload::WorkloadKind,
};

/// `scrub` has found damage, and every byte can still be read.
const EXIT_DAMAGED: i32 = 4;
/// Of a tree every so manieth file is damaged: as much as of one file, about an eleventh.
const FILES_PER_DAMAGED_ONE: usize = 11;
/// Bytes that are turned over in each leaf: one would do, a sector looks more like a disk.
const DAMAGE_LEN_BYTES: u64 = 512;
/// See docs/format.md, section 4.
const FRAME_HEADER_BYTES: u64 = 192;
const FRAME_FOOTER_BYTES: u64 = 64;
const TABLE_ROW_BYTES: u64 = 32;
const LARGE_ALIGNMENT_BYTES: u64 = 4096;
const LARGE_PAYLOAD_BYTES: u64 = 65536;

#[derive(Debug)]
pub(crate) struct Bfdb {
    program: PathBuf,
    version: String,
    /// Hashes what bfdb stores; there unless it was not asked for.
    hasher: Option<B3sum>,
}

impl Bfdb {
    pub(crate) fn find(options: &Options) -> Result<Self> {
        let program = match &options.bfdb {
            Some(path) => {
                fs::canonicalize(path).with_context(|| format!("looking for {}", path.display()))?
            }
            None => env::current_exe()?.with_file_name("bfdb"),
        };
        ensure!(
            program.is_file(),
            "{} is not there: `cargo build --release` makes it, or give --bfdb",
            program.display()
        );
        let wants_hasher = options.only.is_empty() || options.only.contains(&ToolName::B3sum);
        Ok(Self {
            version: version_of(&program, "--version")?,
            program,
            hasher: if wants_hasher { Some(B3sum::find()?) } else { None },
        })
    }

    /// A command on an archive, with nothing of the surroundings that changes what it does.
    fn command(&self, archive: &Path, name: &str) -> Command {
        let mut command = Command::new(&self.program);
        for (variable, _) in env::vars_os() {
            if variable.to_string_lossy().starts_with("BFDB_") {
                command.env_remove(variable);
            }
        }
        command.arg("--archive").arg(archive).arg(name);
        command
    }

    fn restore(&self, archive: &Path, to: &Path) -> Command {
        let mut command = self.command(archive, "restore");
        command.arg("-o").arg(to);
        command
    }

    fn undamaged(&self, bench: &mut Bench<'_>, archive: &Path) -> Result<()> {
        let source = bench.source().path();
        bench.timed(
            &step(Operation::Start, "bfdb --version", &[]),
            Command::new(&self.program).arg("--version"),
        )?;
        bench.timed(
            &step(Operation::Commit, "bfdb commit", &[&source]),
            self.command(archive, "commit").arg(&source),
        )?;
        bench.stored(&[archive])?;
        let stored: &[&Path] = &[archive];
        bench.timed(
            &step(Operation::Verify, "bfdb verify", stored),
            &mut self.command(archive, "verify"),
        )?;
        if let Some(hasher) = &self.hasher {
            b3sum::hash_stored(bench, hasher, &extents(archive))?;
        }
        read_stored(bench, &extents(archive))?;
        bench.timed(
            &step(Operation::Scrub, "bfdb scrub", stored),
            &mut self.command(archive, "scrub"),
        )?;
        self.timed_restore(bench, archive, (Operation::Restore, "bfdb restore"))
    }

    fn damaged(&self, bench: &mut Bench<'_>, archive: &Path) -> Result<()> {
        let export = bench.path("export");
        bench.untimed(
            self.command(archive, "catalog")
                .arg("export")
                .arg("-o")
                .arg(&export),
        )?;
        damage(archive, &read_export(&export)?)?;
        let stored: &[&Path] = &[archive];
        let finds = Step {
            exit: EXIT_DAMAGED,
            ..step(Operation::ScrubDamaged, "bfdb scrub", stored)
        };
        bench.timed(&finds, &mut self.command(archive, "scrub"))?;
        let degraded = (Operation::RestoreDamaged, "bfdb restore");
        self.timed_restore(bench, archive, degraded)?;
        bench.timed(
            &step(Operation::Repair, "bfdb repair", stored),
            &mut self.command(archive, "repair"),
        )?;
        let back = bench.path("repaired");
        bench.untimed(&mut self.restore(archive, &back))?;
        bench.judge(&back.join(bench.source().name()))?;
        bench.untimed(&mut self.command(archive, "scrub"))
    }

    fn timed_restore(
        &self,
        bench: &mut Bench<'_>,
        archive: &Path,
        (operation, label): (Operation, &'static str),
    ) -> Result<()> {
        let to = bench.path("restored");
        bench.timed(
            &step(operation, label, &[archive]),
            &mut self.restore(archive, &to),
        )?;
        bench.judge(&to.join(bench.source().name()))?;
        bench.discard(&to)
    }
}

/// Reads everything that bfdb stores from the disk, as a scrub does, and does nothing with it.
fn read_stored(bench: &mut Bench<'_>, dir: &Path) -> Result<()> {
    disk::forget_all(dir)?;
    let mut command = Command::new(env::current_exe()?);
    command.arg("read").args(disk::files_below(dir)?);
    bench.timed(
        &step(Operation::ReadStored, "reading what bfdb stores", &[]),
        &mut command,
    )?;
    bench.was_done_by(ToolName::Cp);
    Ok(())
}

/// A step that ends well and leaves nothing to sync: what bfdb tells of as done is on the disk.
fn step<'a>(operation: Operation, label: &'static str, reads: &'a [&'a Path]) -> Step<'a> {
    Step {
        operation,
        label,
        reads,
        syncs: &[],
        exit: 0,
    }
}

impl Tool for Bfdb {
    fn name(&self) -> ToolName {
        ToolName::Bfdb
    }

    fn version(&self) -> &str {
        &self.version
    }

    /// What it stores, what it stores again when it repairs, and a restored file.
    fn room_percent(&self, kind: WorkloadKind) -> u64 {
        match kind {
            // Four copies, three of them once more, and the file.
            WorkloadKind::Tier1 | WorkloadKind::Tier2 | WorkloadKind::Tree => 820,
            WorkloadKind::Tier3 | WorkloadKind::Tier4 => 250,
        }
    }

    fn round(&self, bench: &mut Bench<'_>) -> Result<()> {
        let archive = bench.path("archive.bfdb");
        // What other tools take long for, so it is left out for all.
        bench.untimed(&mut self.command(&archive, "init"))?;
        self.undamaged(bench, &archive)?;
        self.damaged(bench, &archive)
    }
}

/// A line of `bfdb catalog export`, as far as it is about places.
#[derive(Debug, Deserialize)]
struct Line {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    blocks: Vec<Block>,
}

#[derive(Debug, Deserialize)]
struct Block {
    parity_shards: usize,
    leaf_bytes: u64,
    shards: Vec<Option<Frame>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
struct Frame {
    extent: u64,
    offset: u64,
    bytes: u64,
}

/// The blocks of each entry that has any.
fn read_export(path: &Path) -> Result<Vec<Vec<Block>>> {
    let mut entries = Vec::new();
    for line in BufReader::new(File::open(path)?).lines() {
        let line: Line = serde_json::from_str(&line?).context("reading what catalog export has written")?;
        if line.kind == "entry" && !line.blocks.is_empty() {
            entries.push(line.blocks);
        }
    }
    ensure!(!entries.is_empty(), "catalog export names no block");
    Ok(entries)
}

/// Damages as many shards of each block as its code survives, every leaf of them.
fn damage(archive: &Path, entries: &[Vec<Block>]) -> Result<()> {
    let mut frames: Vec<(u64, Frame)> = entries
        .iter()
        .step_by(if entries.len() > 1 {
            FILES_PER_DAMAGED_ONE
        } else {
            1
        })
        .flatten()
        .flat_map(|block| block.victims().map(|frame| (block.leaf_bytes, frame)))
        .collect();
    frames.sort_by_key(|(_, frame)| (frame.extent, frame.offset));
    for of_extent in frames.chunk_by(|a, b| a.1.extent == b.1.extent) {
        let extent = of_extent.first().map_or(0, |(_, frame)| frame.extent);
        let path = extents(archive).join(format!("{extent:08}.bfx"));
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.with_context(|| format!("opening {}", path.display()))?;
        for (leaf_bytes, frame) in of_extent {
            for (offset, len) in frame.places(*leaf_bytes) {
                disk::invert(&file, offset, usize::try_from(len)?)
                    .with_context(|| format!("damaging {} at {offset}", path.display()))?;
            }
        }
    }
    Ok(())
}

/// Where a volume inside of an archive has its extents.
fn extents(archive: &Path) -> PathBuf {
    archive.join("volumes/v0/extents")
}

impl Block {
    /// Shards to damage, spread over the block: data, so that reading has to decode.
    fn victims(&self) -> impl Iterator<Item = Frame> + '_ {
        let stored: Vec<Frame> = self.shards.iter().flatten().copied().collect();
        let apart = (stored.len() / self.parity_shards.max(1)).max(1);
        stored.into_iter().step_by(apart).take(self.parity_shards)
    }
}

impl Frame {
    /// A few bytes in every leaf: offset in the extent, and length.
    ///
    /// How many leaves there are follows from the length of the frame alone but for one: where the estimate is one too
    /// many, the last place lies behind the payload and is left out.
    fn places(self, leaf_bytes: u64) -> impl Iterator<Item = (u64, u64)> {
        let leaves = self.bytes.div_ceil(leaf_bytes);
        let (table, alignment) = if self.bytes < LARGE_PAYLOAD_BYTES {
            (0, 1)
        } else {
            (TABLE_ROW_BYTES * leaves, LARGE_ALIGNMENT_BYTES)
        };
        let payload = (FRAME_HEADER_BYTES + table).next_multiple_of(alignment);
        let end = self.bytes - FRAME_FOOTER_BYTES - table;
        (0..leaves).filter_map(move |leaf| {
            let at = payload + leaf * leaf_bytes;
            let len = DAMAGE_LEN_BYTES.min(end.checked_sub(at)?);
            (len > 0).then_some((self.offset + at, len))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_leaf_of_a_frame_is_hit_and_nothing_beside_it() {
        // Lengths of frames as docs/format.md lists them: leaves, payload at, its length, length of the frame.
        for (leaves, payload, payload_len, bytes) in [
            (1, 192, 64, 320),
            (1, 4096, 65536, 73728),
            (2, 4096, 65537, 73728),
            (64, 4096, 4_194_304, 4_202_496),
            (129, 8192, 8_392_704, 8_409_088),
        ] {
            let frame = Frame {
                extent: 1,
                offset: 1 << 30,
                bytes,
            };
            let places: Vec<(u64, u64)> = frame.places(65536).collect();
            for leaf in 0..leaves {
                let at = frame.offset + payload + leaf * 65536;
                assert!(
                    places.iter().any(|(offset, _)| *offset == at),
                    "leaf {leaf} of {leaves}"
                );
            }
            let end = frame.offset + bytes;
            assert!(
                places.iter().all(|(offset, len)| offset + len <= end),
                "{places:?}"
            );
            assert!(payload_len < bytes, "a frame is longer than its payload");
        }
    }

    #[test]
    fn as_many_shards_are_damaged_as_the_code_survives() {
        for (shards, parity_shards, expected) in [(33, 3, vec![0, 11, 22]), (4, 3, vec![0, 1, 2])] {
            let block = Block {
                parity_shards,
                leaf_bytes: 65536,
                shards: (0..shards)
                    .map(|extent| {
                        Some(Frame {
                            extent,
                            offset: 4096,
                            bytes: 73728,
                        })
                    })
                    .collect(),
            };
            let victims: Vec<u64> = block.victims().map(|frame| frame.extent).collect();
            assert_eq!(victims, expected);
        }
    }

    #[test]
    fn lines_of_an_export_are_read() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("export");
        let text = concat!(
            r#"{"type":"archive","id":"99"}"#,
            "\n",
            r#"{"type":"descriptor","commit":1,"entries":1,"block":{"id":11}}"#,
            "\n",
            r#"{"type":"entry","id":2,"name":"d","kind":"directory","blocks":[]}"#,
            "\n",
            r#"{"type":"entry","id":1,"name":"a","blocks":[{"id":1,"offset":0,"bytes":40,"data_shards":1,"parity_shards":3,"#,
            r#""leaf_bytes":65536,"shards":[{"extent":7,"offset":4096,"bytes":320,"digest":"9"},null]}]}"#,
            "\n",
        );
        fs::write(&path, text).expect("written");
        let entries = read_export(&path).expect("read");
        let frame = Frame {
            extent: 7,
            offset: 4096,
            bytes: 320,
        };
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0][0].shards, [Some(frame), None]);
        fs::write(&path, r#"{"type":"archive"}"#).expect("written");
        assert!(read_export(&path).is_err(), "an empty archive was taken");
    }
}
