//! `volume spread`: what was stored on fewer volumes than there are now comes to lie as new files do.

use bfdb::catalog::Access;
use serde::Serialize;

use super::{Spread, moving::options, outcome::Watch};
use crate::{
    commands::damage::as_u64,
    context::Context,
    exit,
    failure::{Failure, of_moving},
    progress::Stopwatch,
    text,
    volumes::Volumes,
};

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    /// How many volumes new files go to.
    volumes: u64,
    shards_moved: u64,
    bytes_written: u64,
    seconds: f64,
}

pub(super) fn run(spread: &Spread, context: &Context) -> Result<u8, Failure> {
    context.with_archive(Access::Write, |archive| {
        let volumes = Volumes::of_archive(archive, context)?;
        volumes.warn_of_unwritable(context);
        let stopwatch = Stopwatch::start();
        let watch = Watch::new(context, None);
        let report = archive.spread(options(spread.rate), &watch);
        drop(watch);
        let report = report.map_err(|error| of_moving(&error, &volumes, context))?;
        let for_files = as_u64(volumes.for_files().count());
        context.output.summary(&format!(
            "{}, {} moved in {}: what is stored is spread as new files are, over {}",
            text::count(report.shards_moved, "shard"),
            text::size(report.bytes_written),
            text::duration(stopwatch.elapsed()),
            text::count(for_files, "volume")
        ));
        context.output.json(&Summary {
            volumes: for_files,
            shards_moved: report.shards_moved,
            bytes_written: report.bytes_written,
            seconds: stopwatch.seconds(),
        });
        let lacks_some = volumes.in_use().count() > volumes.for_files().count();
        let code = if lacks_some { volumes.code() } else { exit::SUCCESS };
        Ok(code)
    })
}
