//! `catalog checkpoint`: the catalog, stored in the archive.

use bfdb::catalog::Access;
use serde::Serialize;

use crate::{
    context::Context,
    failure::{Failure, commit_error},
    progress::Stopwatch,
    text,
};

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    /// The last publication that it has; null where nothing was ever published.
    epoch: Option<u64>,
    slices: u64,
    bytes: u64,
    journal_segments_removed: u64,
    seconds: f64,
}

pub(super) fn run(context: &Context) -> Result<u8, Failure> {
    let stopwatch = Stopwatch::start();
    context.with_archive(Access::Write, |archive| {
        let taken = archive
            .checkpoint()
            .map_err(|error| context.failure(&error, commit_error(&error)))?;
        let line = taken.map_or_else(
            || "nothing was published yet: there is nothing to take".to_owned(),
            |taken| {
                let removed = match taken.segments_removed {
                    0 => String::new(),
                    some => format!(", {} of the journal removed", text::count(some, "file")),
                };
                format!(
                    "checkpoint of epoch {}: {} in {}{removed}",
                    taken.epoch,
                    text::size(taken.len_bytes),
                    text::duration(stopwatch.elapsed()),
                )
            },
        );
        context.output.summary(&line);
        context.output.json(&Summary {
            epoch: taken.map(|taken| taken.epoch.get()),
            slices: taken.map_or(0, |taken| taken.slices),
            bytes: taken.map_or(0, |taken| taken.len_bytes),
            journal_segments_removed: taken.map_or(0, |taken| taken.segments_removed),
            seconds: stopwatch.seconds(),
        });
        Ok(0)
    })
}
