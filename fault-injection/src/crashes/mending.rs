//! Somebody repairs what is damaged, wherever who tried before has died.

use bfdb::{Archive, archive::RepairOptions};

use super::{
    setting::explained,
    violation::{Promise, Violation},
};

/// Scrubs and repairs; nothing stays damaged, and nothing is left to repair.
///
/// # Errors
/// What stays, or what is written for nothing.
pub(super) fn mend(archive: &Archive) -> Result<(), Violation> {
    let refused =
        |error: &dyn std::error::Error| Promise::Whole.broken(format!("repair: {}", explained(error)));
    let scrubbed = archive.scrub(&()).map_err(|error| refused(&error))?;
    if scrubbed.files_lost() > 0 {
        return Err(Promise::Whole.broken(format!("the code survives it: {:?}", scrubbed.damage)));
    }
    let options = RepairOptions::default();
    let repaired = archive.repair(&options, &()).map_err(|error| refused(&error))?;
    if !repaired.damage.is_empty() || repaired.shards_repaired < scrubbed.damaged_shards {
        return Err(Promise::Whole.broken(format!("{scrubbed:?} was repaired: {repaired:?}")));
    }
    let again = archive.repair(&options, &()).map_err(|error| refused(&error))?;
    if again.shards_repaired + again.bytes_written == 0 && again.damage.is_empty() {
        Ok(())
    } else {
        Err(Promise::RecoversOnce.broken(format!("repaired again: {again:?}")))
    }
}
