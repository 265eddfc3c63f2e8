//! Of which blocks the parity is encoded again while they are read.

use super::{Scrub, ScrubDepth};
use crate::{
    archive::{encoding, inspect::Task},
    catalog::CatalogReader,
    error::CatalogError,
    format::FRAME_HEADER_LEN_BYTES,
    plan::{DamageKind, is_in_sample},
    units::{Timestamp, to_u64},
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

    /// Returns how many bytes have to be read for a task.
    pub(super) fn cost_bytes(self, task: &Task) -> u64 {
        let frame = match self.depth {
            ScrubDepth::Quick => to_u64(FRAME_HEADER_LEN_BYTES),
            ScrubDepth::Full | ScrubDepth::Deep => task.block.layout(task.shard).total_len_bytes(),
        };
        if task.checks_parity {
            frame + encoding::len_bytes(&task.block)
        } else {
            frame
        }
    }
}
