//! `status`: one screen about the archive.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use bfdb::{
    archive::{Archive, UnfinishedCommit, VolumeInfo},
    catalog::{Access, Totals},
    error::CatalogError,
    geometry::{Policy, Tier},
};
use serde::Serialize;

use crate::{
    context::Context,
    exit,
    failure::{Failure, commit_error},
    text,
};

const TIERS: [Tier; 3] = [Tier::Tiny, Tier::Segmented, Tier::Blocked];

/// Show the state of the archive
///
/// Files, bytes, volumes, tolerance and the next command to type. The catalog is asked, no file data is read: `healthy`
/// means that nothing is known to be damaged, and `scrub` is how one comes to know.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb status\n  \
    bfdb status --json               one JSON object")]
pub(crate) struct Arguments {}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Status {
    archive: String,
    path: String,
    state: &'static str,
    files: u64,
    directories: u64,
    symlinks: u64,
    bytes: u64,
    stored_bytes: u64,
    /// What is stored beyond the bytes of the files, as a share of them.
    overhead: Option<f64>,
    tolerance: Vec<Tolerance>,
    volumes: Vec<VolumeLine>,
    /// Commits that were interrupted and wait.
    pending_commits: u64,
    /// Bytes of their files.
    pending_bytes: u64,
    /// Bytes of these that are stored already.
    pending_done_bytes: u64,
    /// Commits that a process works on.
    running_commits: u64,
    suggest: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Tolerance {
    tier: u8,
    files: u64,
    bytes: u64,
    data_shards: u16,
    parity_shards: u16,
    /// Shards of each block that may be lost.
    shards: u16,
}

#[derive(Debug, Serialize)]
struct VolumeLine {
    id: String,
    path: String,
    free_bytes: u64,
}

pub(crate) fn run(_: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive(Access::Read, |archive| {
        let mut status = Status::of(archive, context).map_err(|error| context.catalog_failure(&error))?;
        let unfinished = archive.unfinished();
        let unfinished = unfinished.map_err(|error| context.failure(&error, commit_error(&error)))?;
        status.add_unfinished(&unfinished, context);
        context.output.json(&status);
        for line in status.lines() {
            context.output.line(&line);
        }
        Ok(exit::SUCCESS)
    })
}

impl Status {
    fn of(archive: &Archive, context: &Context) -> Result<Self, CatalogError> {
        let snapshot = archive.snapshot()?;
        let totals = snapshot.totals()?;
        let next = if totals.files == 0 {
            context.command("commit FILE", &[])
        } else {
            context.command("scrub", &[])
        };
        let volume = |volume: VolumeInfo| VolumeLine {
            id: volume.id.to_string(),
            path: text::path(&context.archive().join(OsStr::from_bytes(&volume.path))),
            free_bytes: volume.free_bytes,
        };
        Ok(Self {
            archive: archive.id().to_string(),
            path: context.archive_text(),
            state: "healthy",
            files: totals.files,
            directories: totals.directories,
            symlinks: totals.symbolic_links,
            bytes: totals.bytes,
            stored_bytes: totals.stored_bytes,
            overhead: overhead(&totals),
            tolerance: TIERS
                .iter()
                .map(|&tier| Tolerance::of(tier, archive.policy(), &totals))
                .collect(),
            volumes: snapshot.volumes()?.into_iter().map(volume).collect(),
            pending_commits: 0,
            pending_bytes: 0,
            pending_done_bytes: 0,
            running_commits: 0,
            suggest: vec![next],
        })
    }

    /// Adds the commits that are not done; that some wait comes before everything else.
    fn add_unfinished(&mut self, unfinished: &[UnfinishedCommit], context: &Context) {
        for commit in unfinished {
            if commit.is_running {
                self.running_commits += 1;
                continue;
            }
            self.pending_commits += 1;
            if let Some(file) = &commit.resumable {
                self.pending_bytes += file.len_bytes;
                self.pending_done_bytes += file.done_bytes;
            }
        }
        if self.pending_commits > 0 {
            let command = if self.pending_bytes > 0 {
                "recover --resume"
            } else {
                "recover"
            };
            self.suggest.insert(0, context.command(command, &[]));
        }
    }

    fn lines(&self) -> Vec<String> {
        let row = |label: &str, value: String| format!("{label:<9} {value}");
        let overhead = self.overhead.map_or_else(String::new, |overhead| {
            format!(", {:.0} % overhead", overhead * 100.0)
        });
        let (bytes, stored) = (text::size(self.bytes), text::size(self.stored_bytes));
        let mut lines = vec![
            row("archive", format!("{} ({})", self.path, self.archive)),
            row("state", format!("{}: nothing is known to be damaged", self.state)),
            row(
                "files",
                format!("{}, {bytes} stored as {stored}{overhead}", self.files),
            ),
            row(
                "others",
                format!(
                    "{}, {}",
                    text::count(self.directories, "directory"),
                    text::count(self.symlinks, "symbolic link")
                ),
            ),
        ];
        for tier in &self.tolerance {
            let total = tier.data_shards + tier.parity_shards;
            lines.push(row(
                &format!("tier {}", tier.tier),
                format!(
                    "{}, {}; any {} of the {total} shards of a block may be lost",
                    text::count(tier.files, "file"),
                    text::size(tier.bytes),
                    tier.shards
                ),
            ));
        }
        for volume in &self.volumes {
            let free = text::size(volume.free_bytes);
            lines.push(row(
                "volume",
                format!("{}, {free} free ({})", volume.path, volume.id),
            ));
        }
        if self.pending_commits > 0 {
            let commits = text::count(self.pending_commits, "interrupted commit");
            let (done, whole) = (
                text::size(self.pending_done_bytes),
                text::size(self.pending_bytes),
            );
            lines.push(row("waiting", format!("{commits}, {done} of {whole} done")));
        }
        if self.running_commits > 0 {
            lines.push(row("running", text::count(self.running_commits, "commit")));
        }
        for command in &self.suggest {
            lines.push(row("next", command.clone()));
        }
        lines
    }
}

impl Tolerance {
    fn of(tier: Tier, policy: &Policy, totals: &Totals) -> Self {
        let (shape, sums) = (policy.shape(tier), totals.tier(tier));
        Self {
            tier: tier.number(),
            files: sums.files,
            bytes: sums.bytes,
            data_shards: shape.data(),
            parity_shards: shape.parity(),
            shards: shape.parity(),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share is shown with a few digits")]
fn overhead(totals: &Totals) -> Option<f64> {
    (totals.bytes > 0).then(|| totals.stored_bytes as f64 / totals.bytes as f64 - 1.0)
}
