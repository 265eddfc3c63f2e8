//! Leaf tables of the blocks of a group, from wherever they can be had: their block, outer parity, or payloads that are whole.

use std::collections::BTreeMap;

use super::group::{Column, GroupReader, locked};
use crate::{
    merkle::{HASH_LEN_BYTES, LeafTable},
    units::{ColumnIndex, ShardIndex, to_usize},
};

impl GroupReader {
    /// Finds the leaf table of a data shard, if need be across the group.
    pub(super) fn find_table(&self, position: usize, shard: ShardIndex) {
        if self.blocks()[position].table(shard, &()).is_some() {
            return;
        }
        let mut tables = locked(&self.tables);
        if tables.is_settled || self.blocks()[position].has_table(shard) {
            return;
        }
        if tables.tried.insert(shard) {
            self.tables_across(shard, &tables.columns);
        }
        drop(tables);
        if !self.blocks()[position].has_table(shard) {
            self.settle_tables();
        }
    }

    /// Hashes every payload whose table nobody has; says whether that has given one.
    fn hash_tables(&self) -> bool {
        let mut has_news = false;
        for block in self.blocks() {
            for shard in block.geometry().shards() {
                has_news |= block.hash_table(shard);
            }
        }
        has_news
    }

    /// Finds all leaf tables that can be had.
    pub(super) fn settle_tables(&self) {
        let mut tables = locked(&self.tables);
        if std::mem::replace(&mut tables.is_settled, true) {
            return;
        }
        let shards = self.data_shards();
        loop {
            let mut has_news = false;
            for shard in &shards {
                has_news |= self.tables_across(*shard, &tables.columns);
            }
            for block in self.blocks() {
                for shard in &shards {
                    let is_lacking = block.geometry().is_present(*shard) && !block.has_table(*shard);
                    has_news |= is_lacking && block.decode_table_again(*shard);
                }
            }
            for (column, kept) in (self.group().columns()..)
                .map(ColumnIndex::new)
                .zip(&mut tables.columns)
            {
                has_news |= self.decode_once(column, kept, &mut (0..self.blocks().len()).collect());
            }
            // Last, since it reads most.
            if !has_news && !self.hash_tables() {
                return;
            }
        }
    }

    /// Decodes the leaf tables of all blocks at one shard from outer parity; says whether that is anything new.
    fn tables_across(&self, shard: ShardIndex, columns: &[Column]) -> bool {
        if !self.group().has_tables() {
            return false;
        }
        let data = usize::from(self.group().code().data());
        let leaf_len = to_usize(self.leaf_len().bytes());
        let is_lacking = |position: &usize| {
            let block = &self.blocks()[*position];
            block.geometry().is_present(shard) && block.table(shard, &()).is_none()
        };
        let lacking: Vec<usize> = (0..data).filter(is_lacking).collect();
        if lacking.is_empty() || lacking.len() > usize::from(self.group().code().parity()) {
            return false;
        }
        let mut found: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for (column, kept) in (self.group().columns()..).map(ColumnIndex::new).zip(columns) {
            let slice = |position: usize| self.leaf(position, (shard, column), kept);
            let Some(decoded) = self.decode_across(leaf_len, slice) else {
                return false;
            };
            for (position, bytes) in decoded {
                found.entry(position).or_default().extend(bytes);
            }
        }
        let mut has_news = false;
        for position in lacking {
            let block = &self.blocks()[position];
            let entries = to_usize(u64::from(block.geometry().leaf_count(shard)));
            let table = found.get(&position).and_then(|bytes| {
                let digest = block.shard(shard)?.digest;
                LeafTable::parse_verified(bytes.get(..entries * HASH_LEN_BYTES)?, entries, &digest)
            });
            has_news |= table.is_some_and(|table| block.learn_table(shard, table));
        }
        has_news
    }

    /// Returns what a block of the file has where outer parity has parity of leaf tables: a part of a table, or nothing where there
    /// is no shard.
    pub(super) fn table_part(
        &self,
        position: usize,
        (shard, column): (ShardIndex, ColumnIndex),
    ) -> Option<Vec<u8>> {
        let block = &self.blocks()[position];
        if !block.geometry().is_present(shard) {
            return Some(Vec::new());
        }
        let table = block.table(shard, &())?.to_bytes();
        let leaf_len = to_usize(self.leaf_len().bytes());
        let start = to_usize(u64::from(column.get() - self.group().columns())) * leaf_len;
        Some(table[start.min(table.len())..(start + leaf_len).min(table.len())].to_vec())
    }
}
