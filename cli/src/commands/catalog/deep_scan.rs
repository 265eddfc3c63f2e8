//! What a deep scan has found, in words, in JSON and as an exit code.

use bfdb::archive::DeepScanReport;
use serde::Serialize;

use crate::{context::Context, exit, output::Loudness, text};

/// Names that are shown with `-v`; JSON has as many as the library has kept.
const MOST_NAMES: usize = 100;

#[derive(Debug, Serialize)]
pub(super) struct Scan {
    /// Whether nothing points to anything that was not found.
    complete: bool,
    scanned_bytes: u64,
    unreadable_bytes: u64,
    descriptors: u64,
    descriptors_lost: u64,
    descriptor_shards_missing: u64,
    /// Under `recovered/`.
    offered: u64,
    /// Under `recovered-older/`.
    older: u64,
    /// Among both, with shards that were not found.
    incomplete: u64,
    /// Among those, with bytes that cannot be had.
    unreadable: u64,
    shards_missing: u64,
    left_out: u64,
    left_out_names: Vec<String>,
    frames: u64,
    frames_unnamed: u64,
    unnamed_bytes: u64,
    frames_superseded: u64,
    foreign_extents: u64,
    missing_extents: u64,
    missing_volumes: Vec<u16>,
}

impl Scan {
    pub(super) fn of(scan: &DeepScanReport) -> Self {
        Self {
            complete: scan.is_complete(),
            scanned_bytes: scan.scanned_bytes,
            unreadable_bytes: scan.unreadable_bytes,
            descriptors: scan.descriptors,
            descriptors_lost: scan.descriptors_lost,
            descriptor_shards_missing: scan.descriptor_shards_missing,
            offered: scan.offered,
            older: scan.older,
            incomplete: scan.incomplete,
            unreadable: scan.unreadable,
            shards_missing: scan.shards_missing,
            left_out: scan.left_out,
            left_out_names: scan.left_out_names.iter().map(ToString::to_string).collect(),
            frames: scan.frames,
            frames_unnamed: scan.frames_unnamed,
            unnamed_bytes: scan.unnamed_bytes,
            frames_superseded: scan.frames_superseded,
            foreign_extents: scan.foreign_extents,
            missing_extents: scan.missing_extents,
            missing_volumes: scan.missing_volumes.clone(),
        }
    }
}

/// Shows people what was found, and what was not.
pub(super) fn show(scan: &DeepScanReport, context: &Context) {
    let output = context.output;
    output.summary(&format!("recovered/: {}", text::count(scan.offered, "name")));
    if scan.older > 0 {
        let older = text::count(scan.older, "entry");
        output.summary(&format!(
            "recovered-older/COMMIT/: {older} with names that newer ones have"
        ));
    }
    if scan.left_out > 0 {
        let left_out = text::count(scan.left_out, "entry");
        output.summary(&format!(
            "left out: {left_out} of which nothing was found, removed or on a volume that is away"
        ));
        if output.loudness() == Loudness::Verbose {
            for name in scan.left_out_names.iter().take(MOST_NAMES) {
                output.summary(&format!("  {name}"));
            }
        }
    }
    if scan.frames_unnamed > 0 {
        let (frames, size) = (
            text::count(scan.frames_unnamed, "frame"),
            text::size(scan.unnamed_bytes),
        );
        output.summary(&format!(
            "left alone: {frames}, {size}, of which nothing says whose they are"
        ));
    }
    if scan.foreign_extents > 0 {
        let extents = text::count(scan.foreign_extents, "extent");
        output.summary(&format!(
            "left alone: {extents} of another archive or under another name"
        ));
    }
    warn(scan, context);
}

/// Warns of what points to something that was not found.
fn warn(scan: &DeepScanReport, context: &Context) {
    let scrub = || vec![context.command("scrub --repair", &[])];
    if scan.incomplete > 0 {
        let (files, shards) = (
            text::count(scan.incomplete, "file"),
            text::count(scan.shards_missing, "shard"),
        );
        let unreadable = match scan.unreadable {
            0 => "every byte can be had all the same".to_owned(),
            unreadable => format!("bytes of {} cannot be had", text::count(unreadable, "file")),
        };
        context.warn(
            format!("{shards} of {files} were not found: {unreadable}"),
            scrub(),
        );
    }
    if scan.is_complete() {
        return;
    }
    let mut lacking = Vec::new();
    for number in &scan.missing_volumes {
        lacking.push(format!("volume {number}, unless it was removed"));
    }
    for (count, what) in [
        (scan.missing_extents, "extent"),
        (scan.descriptors_lost, "unreadable descriptor"),
        (scan.descriptor_shards_missing, "descriptor copy"),
    ] {
        if count > 0 {
            lacking.push(text::count(count, what));
        }
    }
    if scan.unreadable_bytes > 0 {
        lacking.push(format!(
            "{} that cannot be read",
            text::size(scan.unreadable_bytes)
        ));
    }
    let lacking = lacking.join("; ");
    context.warn(
        format!(
            "not everything was found ({lacking}): where volumes are away, the same with --volume DIR and --regardless \
             finds what is on them, before anything else is done with the archive"
        ),
        Vec::new(),
    );
}

/// Returns what leads on: what is there, and whether it is whole.
pub(super) fn next(scan: &DeepScanReport, context: &Context) -> Vec<String> {
    let scrub = if scan.incomplete > 0 || scan.descriptor_shards_missing > 0 {
        "scrub --repair"
    } else {
        "scrub"
    };
    ["ls -l recovered", scrub]
        .map(|command| context.command(command, &[]))
        .into()
}

/// Returns what the scan adds to the exit code.
pub(super) fn code(scan: &DeepScanReport) -> u8 {
    let files = match (scan.unreadable, scan.incomplete) {
        (0, 0) => exit::SUCCESS,
        (0, _) => exit::DAMAGED,
        (_, _) => exit::LOST,
    };
    let whole = if scan.is_complete() {
        exit::SUCCESS
    } else {
        exit::REDUCED
    };
    exit::worst(files, whole)
}
