//! Of which blocks the parity is encoded again while they are read.

use std::sync::Arc;

use super::{Scrub, ScrubDepth};
use crate::{
    archive::{
        encoding::{self, Encoding, first_parity},
        inspect::Task,
        read::BlockReader,
        shared::Shared,
    },
    catalog::CatalogReader,
    error::CatalogError,
    format::FRAME_HEADER_LEN_BYTES,
    plan::{is_in_sample, is_shard_in_sample},
    units::{ShardIndex, Timestamp, to_u64},
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
    /// Returns what is encoded again with a frame: the parity of its block with the first shard of that, and outer parity with the
    /// data shards of the first block of it. What is known to be wrong always is, since reading it does not show that.
    pub(super) fn of(
        self,
        shared: &Arc<Shared>,
        task: &Task,
        reader: &CatalogReader,
    ) -> Result<Encoding, CatalogError> {
        let block = task.block.as_ref();
        let is_first = task.shard == first_parity(block.geometry());
        if is_first && self.is_chosen(block) {
            let known = reader.damage_of_block(block.record().id)?;
            return Ok(Encoding::of_block(block.geometry(), &known));
        }
        let is_sum = block.geometry().is_outer_parity() && block.geometry().is_data(task.shard);
        if is_sum && self.is_sum_chosen(block, task.shard) {
            let sums = Encoding::sums(shared, reader, block)?;
            if sums.is_of_first(block) {
                return Ok(sums);
            }
        }
        self.of_damaged(shared, (task, is_first), reader)
    }

    /// Returns what is encoded again with a frame because it is known to be wrong; the parity of its block, where it stands for that.
    pub(super) fn of_damaged(
        self,
        shared: &Arc<Shared>,
        (task, stands_for_block): (&Task, bool),
        reader: &CatalogReader,
    ) -> Result<Encoding, CatalogError> {
        if self.depth == ScrubDepth::Quick {
            return Ok(Encoding::Nothing);
        }
        let block = task.block.as_ref();
        let known = Encoding::of_known(shared, reader, (block, task.shard, stands_for_block))?;
        if matches!(known, Encoding::Nothing) && stands_for_block && self.is_chosen(block) {
            return Ok(Encoding::Block);
        }
        Ok(known)
    }

    fn is_chosen(self, block: &BlockReader) -> bool {
        let is_in_depth = match self.depth {
            ScrubDepth::Quick => false,
            ScrubDepth::Full => is_in_sample(block.record().id, self.begun),
            ScrubDepth::Deep => true,
        };
        is_in_depth && encoding::has_parity(block.geometry())
    }

    /// A shard of each block of a group is some blocks.
    fn is_sum_chosen(self, block: &BlockReader, shard: ShardIndex) -> bool {
        match self.depth {
            ScrubDepth::Quick => false,
            ScrubDepth::Full => is_shard_in_sample(block.record().id, shard, self.begun),
            ScrubDepth::Deep => true,
        }
    }

    /// Returns how many bytes have to be read for a task.
    pub(super) fn cost_bytes(self, task: &Task) -> u64 {
        let frame = match self.depth {
            ScrubDepth::Quick => to_u64(FRAME_HEADER_LEN_BYTES),
            ScrubDepth::Full | ScrubDepth::Deep => task.block.layout(task.shard).total_len_bytes(),
        };
        frame + task.encoding.len_bytes(&task.block, task.shard)
    }
}
