//! Of which blocks the parity is encoded again while they are read.

use super::{Scrub, ScrubDepth};
use crate::{
    archive::{encoding, inspect::Task},
    catalog::CatalogReader,
    error::CatalogError,
    plan::{DamageKind, is_in_sample},
    units::Timestamp,
};

/// Which blocks those are, for one scrub.
#[derive(Debug, Clone, Copy)]
pub(super) struct WhichParity {
    depth: ScrubDepth,
    /// When the scrub began: each takes another sample.
    begun: Timestamp,
}

impl Scrub<'_> {
    pub(super) const fn which_parity(&self) -> WhichParity {
        WhichParity {
            depth: self.options.depth,
            begun: self.begun,
        }
    }
}

impl WhichParity {
    /// Says whether the block of a task is one of them. Parity that is known to be wrong always is, since reading it does not show
    /// that.
    pub(super) fn has(self, task: &Task, reader: &CatalogReader) -> Result<bool, CatalogError> {
        let block = task.block.as_ref();
        if self.depth == ScrubDepth::Quick || !encoding::has_parity(block.geometry()) {
            return Ok(false);
        }
        if self.depth == ScrubDepth::Deep || is_in_sample(block.record().id, self.begun) {
            return Ok(true);
        }
        let known = reader.damage_of_block(block.record().id)?;
        Ok(known.iter().any(|damage| damage.kind == DamageKind::Encoding))
    }
}

impl Task {
    /// Returns how many bytes it takes to be read.
    pub(super) fn len_bytes(&self) -> u64 {
        let frame = self.block.layout(self.shard).total_len_bytes();
        if self.checks_parity {
            frame + encoding::len_bytes(&self.block)
        } else {
            frame
        }
    }
}
