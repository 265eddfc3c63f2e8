//! The table column of parity shards that are written anew: the slice that they have, or one that is encoded again.

use std::{cell::OnceCell, collections::BTreeMap};

use super::rebuild::{BlockRebuild, Target, locked};
use crate::{
    error::CommitError,
    merkle::{LeafTable, hash_parity_leaf},
    units::{ColumnIndex, ShardIndex},
};

impl BlockRebuild {
    /// Writes the slices of parity shards that are targets, which then have tables themselves. A slice that is right is copied: where
    /// data shards have lost their tables nobody could make it again.
    pub(super) fn write_table_column(
        &self,
        tables: &mut BTreeMap<ShardIndex, LeafTable>,
    ) -> Result<(), CommitError> {
        let geometry = *self.reader.geometry();
        let Some(column) = geometry.table_column() else {
            return Ok(());
        };
        let encoded = OnceCell::new();
        let is_parity = |target: &&Target| !geometry.is_data(target.shard) && target.is_going_on();
        for target in self.targets.iter().filter(is_parity) {
            let index = target.shard.as_usize() - usize::from(geometry.shape().data());
            let encode = || encoded.get_or_init(|| self.reader.encode_table_column(column, tables));
            let is_trusted = !target.mistrusted.contains(column);
            let Some(slice) = is_trusted
                .then(|| self.stored_slice(target.shard, column))
                .flatten()
                .or_else(|| encode().as_ref().map(|slices| slices[index].clone()))
            else {
                continue;
            };
            let range = geometry
                .leaf_range(target.shard, column)
                .expect("parity has a slice in the table column");
            target.frame.write(range.start(), &slice)?;
            let mut hashes = locked(&target.hashes).clone();
            hashes[column.as_usize()] = hash_parity_leaf(&slice);
            tables.insert(target.shard, LeafTable::new(hashes));
        }
        Ok(())
    }

    /// Reads the slice of a parity shard where it stands, when it is right.
    fn stored_slice(&self, shard: ShardIndex, column: ColumnIndex) -> Option<Vec<u8>> {
        let columns = column.get()..column.get() + 1;
        let mut slice = vec![0; self.reader.run_len(shard, columns.clone())];
        let bad = self.reader.read_verified(shard, columns, &mut slice, &());
        bad.is_empty().then_some(slice)
    }
}
