//! `what-if`: what a loss would mean, from the catalog alone.

use bfdb::{
    archive::{Archive, FileLoss, Loss, WhatIfReport},
    catalog::Access,
};
use serde::Serialize;

use super::entry::{called, kept_version, state_name};
use crate::{
    arguments::volumes::{AskedLoss, loss},
    context::Context,
    exit,
    failure::Failure,
    text,
    volumes::Volumes,
};

/// Say what losing extents or a volume would mean
///
/// Counts the files that would be degraded or lost and are not now. Nothing is read but the catalog, and nothing is changed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb what-if --lose extent:12\n  \
    bfdb what-if --lose extent:12 --lose extent:13 -l      also the files, one a line\n  \
    bfdb what-if --lose volume:1 --lose volume:2           two disks at once\n\n\
    Where shards lie is shown by `bfdb stat -v NAME`, which volumes there are by `bfdb volume ls`.")]
pub(crate) struct Arguments {
    /// What would be lost: extent:ID or volume:VOLUME, by its number, id or directory; several may be given
    #[arg(long = "lose", value_name = "WHAT", value_parser = loss, required = true)]
    losses: Vec<AskedLoss>,
    /// List every file that has a shard there
    #[arg(short, long)]
    long: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "file")]
struct Line {
    name: String,
    /// There for a kept version only.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_version: Option<u32>,
    state: &'static str,
    /// What the state would be.
    becomes: &'static str,
    shards: u64,
    lost_bytes: u64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    extents: u64,
    frame_bytes: u64,
    files: u64,
    newly_degraded: u64,
    newly_lost: u64,
    lost_bytes: u64,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive(Access::Read, |archive| answer(archive, arguments, context))
}

fn answer(archive: &Archive, arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let unreadable = |error| context.catalog_failure(&error);
    let snapshot = archive.snapshot().map_err(unreadable)?;
    let volumes = Volumes::of(&snapshot, context).map_err(unreadable)?;
    let meant = |asked: &AskedLoss| match asked {
        AskedLoss::Extent(extent) => Ok(Loss::Extent(*extent)),
        AskedLoss::Volume(name) => volumes.find(name, context).map(|volume| Loss::Volume(volume.id)),
    };
    let losses = (arguments.losses.iter())
        .map(meant)
        .collect::<Result<Vec<Loss>, Failure>>()?;
    if arguments.long {
        for file in snapshot.what_if_files(&losses).map_err(unreadable)? {
            context.check_interrupt()?;
            let file = file.map_err(unreadable)?;
            context.output.json(&Line::of(&file));
            context.output.line(&line_for_people(&file));
            if context.output.is_closed() {
                return Ok(exit::SUCCESS);
            }
        }
    }
    let report = snapshot.what_if(&losses).map_err(unreadable)?;
    context.output.json(&Summary::of(&report));
    for line in lines_for_people(&report) {
        context.output.line(&line);
    }
    Ok(exit::SUCCESS)
}

impl Line {
    fn of(file: &FileLoss) -> Self {
        Self {
            name: file.file.name.to_string(),
            kept_version: kept_version(&file.file),
            state: state_name(file.now),
            becomes: state_name(file.then),
            shards: file.shards,
            lost_bytes: file.lost_bytes,
        }
    }
}

impl Summary {
    const fn of(report: &WhatIfReport) -> Self {
        Self {
            extents: report.extents,
            frame_bytes: report.frame_bytes,
            files: report.files,
            newly_degraded: report.newly_degraded,
            newly_lost: report.newly_lost,
            lost_bytes: report.lost_bytes,
        }
    }
}

fn line_for_people(file: &FileLoss) -> String {
    format!(
        "{:<8} -> {:<8}  {:>6} shards  {:>10} lost  {}",
        state_name(file.now),
        state_name(file.then),
        file.shards,
        text::size(file.lost_bytes),
        called(&file.file.name, kept_version(&file.file))
    )
}

fn lines_for_people(report: &WhatIfReport) -> [String; 3] {
    let row = |label: &str, value: String| format!("{label:<9} {value}");
    [
        row(
            "loss",
            format!(
                "{}, {} of frames; {} with shards there",
                text::count(report.extents, "extent"),
                text::size(report.frame_bytes),
                text::count(report.files, "file")
            ),
        ),
        row(
            "degraded",
            format!(
                "{} that are healthy now",
                text::count(report.newly_degraded, "file")
            ),
        ),
        row(
            "lost",
            format!(
                "{} that can be read now, {}",
                text::count(report.newly_lost, "file"),
                text::size(report.lost_bytes)
            ),
        ),
    ]
}
