//! What only the other blocks of a group can bring back of a block that is written anew.

use super::rebuild::BlockRebuild;
use crate::{
    archive::read::{DecodedLeaf, Proof},
    units::{ColumnIndex, ShardIndex, to_usize},
};

impl BlockRebuild {
    /// Adds the data leaves of outer parity in a column that were summed up wrongly, as they have to be.
    pub(super) fn sum_up_again(&self, column: ColumnIndex, decoded: &mut Vec<DecodedLeaf>) {
        let (Some(groups), geometry) = (&self.groups, *self.reader.geometry()) else {
            return;
        };
        // What comes out of the column is what was wrong.
        decoded.retain(|leaf| !self.is_mistrusted(leaf.shard, column));
        let wrong = self.targets.iter().map(|target| target.shard);
        for shard in wrong.filter(|shard| geometry.is_data(*shard) && self.is_mistrusted(*shard, column)) {
            if let Some(bytes) = groups.summed_leaf(self.reader.record().index, (shard, column)) {
                decoded.push(DecodedLeaf {
                    shard,
                    bytes,
                    is_proven: true,
                });
            }
        }
    }

    /// Adds the data leaves of a column that only the group can bring back. Those of outer parity whose table is gone are not proven;
    /// the digest of the frame decides.
    pub(super) fn decode_across(
        &self,
        column: ColumnIndex,
        present: &[Option<&[u8]>],
        decoded: &mut Vec<DecodedLeaf>,
    ) {
        let (Some(groups), geometry) = (&self.groups, *self.reader.geometry()) else {
            return;
        };
        let block = self.reader.record().index;
        let data = geometry.shards().filter(|shard| geometry.is_data(*shard));
        let missing: Vec<ShardIndex> = data
            .filter(|shard| present[shard.as_usize()].is_none())
            .filter(|shard| decoded.iter().all(|leaf| leaf.shard != *shard))
            .filter(|shard| !self.is_mistrusted(*shard, column))
            .collect();
        for shard in missing {
            let len = geometry
                .leaf_range(shard, column)
                .map_or(0, |range| to_usize(range.len()));
            let mut bytes = vec![0; len];
            if let Some(proof) = groups.recover_with(block, (shard, column), &mut bytes) {
                decoded.push(DecodedLeaf {
                    shard,
                    bytes,
                    is_proven: proof == Proof::Leaf,
                });
            }
        }
    }
}
