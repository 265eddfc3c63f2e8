//! The table column of parity shards that are written anew: the slice that they have, or one that is encoded again.

use std::{cell::OnceCell, collections::BTreeMap};

use super::rebuild::{BlockRebuild, Target, locked};
use crate::{
    codec::ColumnEncoder,
    error::CommitError,
    merkle::{LeafTable, hash_parity_leaf},
    units::{ColumnIndex, ShardIndex, to_usize},
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
            let encode = || encoded.get_or_init(|| self.encode_tables(column, tables));
            let Some(slice) = self
                .stored_slice(target.shard, column)
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

    /// Encodes the leaf tables of the data shards: the slice of each parity shard; `None` where a table cannot be had.
    fn encode_tables(
        &self,
        column: ColumnIndex,
        tables: &BTreeMap<ShardIndex, LeafTable>,
    ) -> Option<Vec<Vec<u8>>> {
        let geometry = *self.reader.geometry();
        let data = (0..geometry.shape().data()).map(ShardIndex::new);
        let table_of = |shard: ShardIndex| {
            if !geometry.is_present(shard) {
                return Some(Vec::new());
            }
            let table = tables.get(&shard).or_else(|| self.reader.table(shard, &()));
            table.map(LeafTable::to_bytes)
        };
        let data_tables = data.map(table_of).collect::<Option<Vec<Vec<u8>>>>()?;
        let data_tables: Vec<&[u8]> = data_tables.iter().map(Vec::as_slice).collect();
        let slice_len = to_usize(geometry.slice_len_bytes(column));
        let mut slices = vec![vec![0; slice_len]; usize::from(geometry.shape().parity())];
        let mut outputs: Vec<&mut [u8]> = slices.iter_mut().map(Vec::as_mut_slice).collect();
        ColumnEncoder::new(geometry.shape()).encode(slice_len, &data_tables, &mut outputs);
        Some(slices)
    }
}
