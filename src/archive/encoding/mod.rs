//! Whether parity is what its data encode to.
//!
//! A hash blesses what was there when it was made. Parity that was encoded wrongly, by a core or a bit of memory that failed,
//! matches its hash for ever, and is of no use on the day it is needed. So it is encoded again, from data that match theirs,
//! and compared.

mod task;

use std::collections::BTreeMap;

pub(super) use self::task::{Encoding, EncodingFound, wrong_sums};
use super::{
    commit::strip_range,
    read::{BlockReader, SumsCheck},
};
use crate::{
    geometry::BlockGeometry,
    plan::{ColumnSet, Strip, strips_of_block},
    units::{BlockIndex, ColumnIndex, ShardIndex, to_usize},
};

/// Bytes of each shard that are held at a time.
const STRIP_LEN_BYTES: u64 = 256 * 1024;

/// What the parity of a block turned out to be.
#[derive(Debug, Default)]
pub(super) struct ParityCheck {
    /// Columns of shards in which they are not what the data encode to.
    pub(super) wrong: BTreeMap<ShardIndex, ColumnSet>,
    /// Shards that were compared in every column and are what the data encode to.
    pub(super) right: Vec<ShardIndex>,
}

/// Says whether a block has parity that can be wrong where its hashes are right: copies cannot.
pub(super) fn has_parity(geometry: &BlockGeometry) -> bool {
    !geometry.shape().is_replication()
}

/// Returns the parity shard that stands for all of the block, where something is done once for each.
pub(super) const fn first_parity(geometry: &BlockGeometry) -> ShardIndex {
    ShardIndex::new(geometry.shape().data())
}

/// Returns how many bytes of frames a check of a block reads at most.
pub(super) fn len_bytes(block: &BlockReader) -> u64 {
    let shards = block.record().shards.iter().flatten();
    shards.map(|shard| shard.frame_len_bytes).sum()
}

/// Encodes the parity of a block again and compares it with what is stored. Nothing is said of columns whose data cannot be had,
/// nor of leaves that do not match their hash: that is damage of another kind.
pub(super) fn check_parity(block: &BlockReader) -> ParityCheck {
    let geometry = *block.geometry();
    let mut buffer = vec![0; usize::from(geometry.shape().total()) * row_len_bytes(&geometry)];
    let mut check = Comparison {
        block,
        wrong: BTreeMap::new(),
        compared: BTreeMap::new(),
    };
    for strip in strips_of_block(BlockIndex::new(0), &geometry, STRIP_LEN_BYTES) {
        check.compare_strip(&strip, &mut buffer);
    }
    if let Some(column) = geometry.table_column() {
        check.compare_table_column(column);
    }
    let is_right = |shard: &ShardIndex| {
        let compared = check.compared.get(shard).copied().unwrap_or(0);
        compared == geometry.leaf_count(*shard) && !check.wrong.contains_key(shard)
    };
    ParityCheck {
        right: parity_of(&geometry).filter(is_right).collect(),
        wrong: check.wrong,
    }
}

impl ParityCheck {
    /// Takes in what was found of a data shard of outer parity. Where that is wrong the parity of its block is, too, which was encoded
    /// from it, and agrees with it.
    pub(super) fn add_sums(&mut self, geometry: &BlockGeometry, shard: ShardIndex, sums: &SumsCheck) {
        if sums.is_right {
            self.right.push(shard);
            return;
        }
        self.right.retain(|right| geometry.is_data(*right));
        if sums.wrong.is_empty() {
            return;
        }
        self.wrong.entry(shard).or_default().union_with(&sums.wrong);
        for parity in parity_of(geometry) {
            let wrong = self.wrong.entry(parity).or_default();
            wrong.union_with(&sums.wrong);
            // The hash of a leaf is in the table of its shard.
            geometry
                .table_column()
                .into_iter()
                .for_each(|column| wrong.insert(column));
        }
    }
}

struct Comparison<'a> {
    block: &'a BlockReader,
    wrong: BTreeMap<ShardIndex, ColumnSet>,
    /// Columns of each shard that were compared.
    compared: BTreeMap<ShardIndex, u32>,
}

impl Comparison<'_> {
    fn compare_strip(&mut self, strip: &Strip, buffer: &mut [u8]) {
        let geometry = *self.block.geometry();
        let mut rows: Vec<&mut [u8]> = buffer
            .chunks_mut(row_len_bytes(&geometry))
            .take(usize::from(geometry.shape().total()))
            .collect();
        let mut bad = vec![ColumnSet::default(); rows.len()];
        for shard in geometry.shards().filter(|shard| geometry.is_data(*shard)) {
            let Some(range) = strip_range(&geometry, shard, strip) else {
                continue;
            };
            // The last data shard may end before the others do.
            let columns = strip.columns.start..strip.columns.end.min(geometry.leaf_count(shard));
            let index = shard.as_usize();
            let row = &mut rows[index][..to_usize(range.len())];
            bad[index] = self.block.read_verified(shard, columns, row, &());
        }
        let lost = self
            .block
            .repair_rows(strip.columns.clone(), &mut rows, &mut bad, &());
        let mut encoder = self.block.encoder();
        for column in strip.columns() {
            if lost.iter().any(|leaf| leaf.column == column) {
                continue;
            }
            let leaf = |shard: ShardIndex| strip.leaf_in_row(&geometry, shard, column);
            let data: Vec<&[u8]> = geometry
                .shards()
                .filter(|shard| geometry.is_data(*shard))
                .map(|shard| &rows[shard.as_usize()][leaf(shard)])
                .collect();
            let encoded = self.block.encode_column(&mut encoder, column, &data);
            for (shard, encoded) in parity_of(&geometry).zip(encoded) {
                let index = shard.as_usize();
                if !bad[index].contains(column) {
                    self.compare((shard, column), &rows[index][leaf(shard)], &encoded);
                }
            }
        }
    }

    fn compare_table_column(&mut self, column: ColumnIndex) {
        let geometry = *self.block.geometry();
        let Some(encoded) = self.block.encode_table_column(column, &BTreeMap::new()) else {
            return;
        };
        for (shard, encoded) in parity_of(&geometry).zip(encoded) {
            let columns = column.get()..column.get() + 1;
            let mut slice = vec![0; self.block.run_len(shard, columns.clone())];
            if self
                .block
                .read_verified(shard, columns, &mut slice, &())
                .is_empty()
            {
                self.compare((shard, column), &slice, &encoded);
            }
        }
    }

    fn compare(&mut self, (shard, column): (ShardIndex, ColumnIndex), stored: &[u8], encoded: &[u8]) {
        *self.compared.entry(shard).or_default() += 1;
        if stored != encoded {
            self.wrong.entry(shard).or_default().insert(column);
        }
    }
}

fn parity_of(geometry: &BlockGeometry) -> impl Iterator<Item = ShardIndex> + use<> {
    (geometry.shape().data()..geometry.shape().total()).map(ShardIndex::new)
}

fn row_len_bytes(geometry: &BlockGeometry) -> usize {
    to_usize(STRIP_LEN_BYTES.max(geometry.leaf().bytes()))
}
