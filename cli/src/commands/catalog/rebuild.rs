//! `catalog rebuild`: a new catalog from the journal, or from what lies on the volumes.

use bfdb::{
    archive::{RebuildFrom, RebuildOptions, RebuildReport, UsableNames},
    error::{NameSource, OpenError, PublicationError},
};
use serde::Serialize;

use super::deep_scan::{self, Scan};
use crate::{
    context::Context,
    exit,
    failure::Failure,
    progress::Stopwatch,
    text,
    volumes::{AROUND, Volumes},
};

const DEEP_SCAN: &str = "catalog rebuild --deep-scan";
const REGARDLESS: &str = "catalog rebuild --deep-scan --regardless";

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Make it from what commits have written beside the data, where the journal is lost too
    ///
    /// Goes through every extent of every volume. Which files lived is not known then: each that is found is offered under
    /// recovered/, and older ones of the same name under recovered-older/. Nothing on the volumes is removed.
    #[arg(long)]
    deep_scan: bool,
    /// Do that also where the journal or the catalog can be used, and give up the names that they have
    #[arg(long, requires = "deep_scan")]
    regardless: bool,
}

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
    /// What a deep scan has found.
    deep_scan: Option<Scan>,
    suggest: Vec<String>,
    seconds: f64,
}

pub(super) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let stopwatch = Stopwatch::start();
    let rebuilt = context.rebuild(arguments.options());
    let (archive, report) = rebuilt.map_err(|error| failure(&error, arguments, context))?;
    let RebuildReport {
        kept, recovery, scan, ..
    } = report;
    context.finish(archive, |archive| {
        let unreadable = |error| context.catalog_failure(&error);
        let snapshot = archive.snapshot().map_err(unreadable)?;
        let totals = snapshot.totals().map_err(unreadable)?;
        let volumes = Volumes::of(&snapshot, context).map_err(unreadable)?;
        volumes.warn_of_away(AROUND, context);
        let output = context.output;
        let took = text::duration(stopwatch.elapsed());
        let (files, size) = (text::count(totals.files, "file"), text::size(totals.bytes));
        let (from, suggest, code) = match &scan {
            Some(scan) => (
                text::count(scan.descriptors, "descriptor"),
                deep_scan::next(scan, context),
                deep_scan::code(scan),
            ),
            None => (
                text::count(recovery.records_rolled_forward, "record"),
                // It knows where everything lies, not how it is.
                vec![context.command("scrub", &[])],
                exit::SUCCESS,
            ),
        };
        output.summary(&format!("made again from {from} in {took}: {files}, {size}"));
        let kept = kept.as_deref().map(text::path);
        if let Some(kept) = &kept {
            output.summary(&format!("the catalog that was there is {kept} now"));
        }
        if let Some(scan) = &scan {
            deep_scan::show(scan, context);
        }
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
            deep_scan: scan.as_ref().map(Scan::of),
            suggest,
            seconds: stopwatch.seconds(),
        });
        Ok(exit::worst(code, volumes.code()))
    })
}

impl Arguments {
    const fn options(&self) -> RebuildOptions {
        let names = if self.regardless {
            UsableNames::GiveUp
        } else {
            UsableNames::Keep
        };
        let from = if self.deep_scan {
            RebuildFrom::Frames(names)
        } else {
            RebuildFrom::Journal
        };
        RebuildOptions { from }
    }
}

/// Puts into words why no catalog was made, and what leads on.
fn failure(error: &OpenError, arguments: &Arguments, context: &Context) -> Failure {
    let place = context.archive_text();
    if matches!(error, OpenError::Cancelled) {
        return context.interrupted("nothing was changed");
    }
    let mut failure = context.open_failure(error);
    if let OpenError::NamesKnown { usable, .. } = error {
        let next = match usable {
            NameSource::Journal => "catalog rebuild",
            NameSource::Catalog => "status",
        };
        failure.message = format!(
            "the {usable} of {place} can be used and has every name, which a deep scan gives up; where it does not help, \
             --regardless does it all the same"
        );
        failure.suggest = [next, REGARDLESS]
            .map(|command| context.command(command, &[]))
            .into();
    }
    if matches!(error, OpenError::DescriptorsMissing { .. }) {
        failure.message = format!(
            "no catalog can be made for {place}: nothing that was found on its volumes says which files there were; \
             name with --volume where others are"
        );
        failure.suggest = Vec::new();
    }
    // The journal is there, and does not lead to the end.
    if let OpenError::Journal { source } = error
        && !arguments.deep_scan
        && failure.code == exit::CATALOG_DAMAGED
    {
        let is_followed = matches!(
            **source,
            PublicationError::DescriptorLost { .. } | PublicationError::Descriptor { .. }
        );
        let next = if is_followed { REGARDLESS } else { DEEP_SCAN };
        failure.message = format!(
            "the journal of {place} does not lead to its end: an old copy of catalog.redb may be brought forward further; \
             without one, a deep scan finds the files on the volumes, and gives them other names"
        );
        failure.suggest = vec![context.command(next, &[])];
    }
    failure
}
