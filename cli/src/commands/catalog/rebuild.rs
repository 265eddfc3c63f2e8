//! `catalog rebuild`: a new catalog from the journal.

use bfdb::archive::RebuildReport;
use serde::Serialize;

use crate::{
    context::Context,
    failure::Failure,
    progress::Stopwatch,
    text,
    volumes::{AROUND, Volumes},
};

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    /// Publications that were applied.
    records: u64,
    files: u64,
    directories: u64,
    symlinks: u64,
    bytes: u64,
    stored_bytes: u64,
    /// Where the catalog is now that was there before.
    kept: Option<String>,
    suggest: Vec<String>,
    seconds: f64,
}

pub(super) fn run(context: &Context) -> Result<u8, Failure> {
    let stopwatch = Stopwatch::start();
    let (archive, report) = context.rebuild()?;
    let RebuildReport { kept, recovery, .. } = report;
    context.finish(archive, |archive| {
        let unreadable = |error| context.catalog_failure(&error);
        let snapshot = archive.snapshot().map_err(unreadable)?;
        let totals = snapshot.totals().map_err(unreadable)?;
        let volumes = Volumes::of(&snapshot, context).map_err(unreadable)?;
        volumes.warn_of_away(AROUND, context);
        let output = context.output;
        output.summary(&format!(
            "made again from {} in {}: {}, {}",
            text::count(recovery.records_rolled_forward, "record"),
            text::duration(stopwatch.elapsed()),
            text::count(totals.files, "file"),
            text::size(totals.bytes)
        ));
        let kept = kept.as_deref().map(text::path);
        if let Some(kept) = &kept {
            output.summary(&format!("the catalog that was there is {kept} now"));
        }
        // It knows where everything lies, not how it is.
        let suggest = vec![context.command("scrub", &[])];
        for command in &suggest {
            output.summary(&format!("  try: {command}"));
        }
        output.json(&Summary {
            records: recovery.records_rolled_forward,
            files: totals.files,
            directories: totals.directories,
            symlinks: totals.symbolic_links,
            bytes: totals.bytes,
            stored_bytes: totals.stored_bytes,
            kept,
            suggest,
            seconds: stopwatch.seconds(),
        });
        Ok(volumes.code())
    })
}
