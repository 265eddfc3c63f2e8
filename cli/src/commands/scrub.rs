//! `scrub`: reads and verifies everything, in disk order.

use bfdb::{archive::Snapshot, catalog::Access};

use super::verify::{Inspection, Outcome};
use crate::{context::Context, failure::Failure};

/// Read and verify everything that is stored
///
/// Reads every shard of every file once, parity included, in the order in which they lie on disk. Nothing is changed.
/// Damage is listed shard by shard; where bytes are lost, exactly which.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb scrub\n  \
    bfdb scrub -q || mail -s 'archive damaged' me      speaks only of damage\n\n\
    Exit codes: 0 no damage, 4 every byte can still be read, 5 bytes are lost.")]
pub(crate) struct Arguments {}

pub(crate) fn run(_: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive(Access::Read, |archive| {
        let inspection = Inspection::begin(archive, Snapshot::frame_bytes, context)?;
        let mut outcome = Outcome::default();
        let report = archive.scrub(&inspection);
        outcome.add(report.map_err(|error| inspection.failure(&error))?);
        Ok(inspection.finish(outcome))
    })
}
