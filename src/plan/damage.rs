//! What damage means: from a map of bad leaves to what can still be read.

use crate::{
    geometry::BlockGeometry,
    units::{ByteRange, ColumnIndex, ShardIndex},
};

/// A set of columns, one bit each.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnSet {
    words: Vec<u64>,
}

impl ColumnSet {
    /// Returns the set of the first `count` columns.
    pub fn first(count: u32) -> Self {
        let mut set = Self::default();
        (0..count).for_each(|column| set.insert(ColumnIndex::new(column)));
        set
    }

    /// Adds a column.
    pub fn insert(&mut self, column: ColumnIndex) {
        let (word, bit) = (column.as_usize() / 64, column.get() % 64);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= 1 << bit;
    }

    /// Says whether the set holds a column.
    pub fn contains(&self, column: ColumnIndex) -> bool {
        let (word, bit) = (column.as_usize() / 64, column.get() % 64);
        self.words.get(word).is_some_and(|word| word >> bit & 1 == 1)
    }

    /// Says whether the set holds nothing.
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|&word| word == 0)
    }

    /// Adds every column of `other`.
    pub fn union_with(&mut self, other: &Self) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        self.words
            .iter_mut()
            .zip(&other.words)
            .for_each(|(word, more)| *word |= more);
    }

    /// Returns the columns in order.
    pub fn iter(&self) -> impl Iterator<Item = ColumnIndex> {
        let bits = u32::try_from(self.words.len() * 64).expect("columns are 32 bits");
        (0..bits)
            .map(ColumnIndex::new)
            .filter(|&column| self.contains(column))
    }

    /// Returns the columns as half-open runs in order.
    pub fn runs(&self) -> Vec<(u32, u32)> {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for column in self.iter() {
            match runs.last_mut() {
                Some(run) if run.1 == column.get() => run.1 += 1,
                _ => runs.push((column.get(), column.get() + 1)),
            }
        }
        runs
    }
}

/// Which leaves of a block are bad: columns by shards.
///
/// The table column, where the block has one, is a column like the others: a data shard is bad in it when its leaf table
/// can be read from neither copy, a parity shard when its slice of the column is bad.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamageMap {
    geometry: BlockGeometry,
    shards: Vec<ColumnSet>,
}

/// What damage means for the reader.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum BlockVerdict {
    /// Every leaf of every shard is good.
    Intact,
    /// Leaves are bad, every byte of the file can be decoded.
    Degraded {
        /// Bad leaves in the worst column, at most the parity count.
        worst: u16,
    },
    /// Bytes of the file cannot be decoded.
    Lost {
        /// Exactly the bytes of the file that are gone, in order.
        ranges: Vec<ByteRange>,
        /// Bad leaves in the worst column, more than the parity count.
        worst: u16,
    },
}

impl DamageMap {
    /// Returns the map of a block without damage.
    pub fn new(geometry: BlockGeometry) -> Self {
        let shards = geometry.shards().map(|_| ColumnSet::default()).collect();
        Self { geometry, shards }
    }

    /// Returns the block.
    pub const fn geometry(&self) -> &BlockGeometry {
        &self.geometry
    }

    /// Marks one leaf.
    ///
    /// # Panics
    /// When the shard has no such leaf: absent leaves are known zeros, never bad.
    pub fn mark_leaf(&mut self, shard: ShardIndex, column: ColumnIndex) {
        let is_table = Some(column) == self.geometry.table_column();
        let exists =
            column.get() < self.geometry.leaf_count(shard) || (is_table && self.geometry.is_present(shard));
        assert!(exists, "shard {shard} has no leaf in column {column}");
        self.shards[shard.as_usize()].insert(column);
    }

    /// Marks every leaf of a shard, its table too; nothing happens to an absent one.
    pub fn mark_shard(&mut self, shard: ShardIndex) {
        if self.geometry.is_present(shard) {
            let mut all = ColumnSet::first(self.geometry.leaf_count(shard));
            if let Some(table) = self.geometry.table_column() {
                all.insert(table);
            }
            self.shards[shard.as_usize()].union_with(&all);
        }
    }

    /// Returns the bad columns of a shard.
    pub fn bad_columns(&self, shard: ShardIndex) -> &ColumnSet {
        &self.shards[shard.as_usize()]
    }

    /// Returns the shards that are bad somewhere, in order.
    pub fn damaged_shards(&self) -> impl Iterator<Item = ShardIndex> {
        self.geometry
            .shards()
            .filter(|shard| !self.bad_columns(*shard).is_empty())
    }

    /// Decides what can be read.
    ///
    /// A column decodes when at most m of its leaves are bad. Where more than m leaf tables are gone, the tables cannot
    /// be decoded either: no leaf of the data shards concerned can be told from a wrong one, neither as it is stored nor
    /// as it is decoded, so all of them are lost.
    pub fn verdict(&self) -> BlockVerdict {
        let tolerated = self.geometry.shape().parity();
        let table = self.geometry.table_column();
        let bad_tables = table.map_or(0, |table| self.count_bad(table));
        let mut worst = bad_tables;
        let mut lost = Vec::new();
        let tables_decode = bad_tables <= tolerated;
        let is_unproven = |shard: ShardIndex| {
            let has_lost_table = |table| self.bad_columns(shard).contains(table);
            !tables_decode && self.geometry.is_data(shard) && table.is_some_and(has_lost_table)
        };
        let is_bad = |shard: ShardIndex, column| {
            let has_leaf = column < ColumnIndex::new(self.geometry.leaf_count(shard));
            has_leaf && (self.bad_columns(shard).contains(column) || is_unproven(shard))
        };
        for column in self.geometry.columns() {
            let bad: Vec<_> = self
                .geometry
                .shards()
                .filter(|shard| is_bad(*shard, column))
                .collect();
            let count = u16::try_from(bad.len()).expect("a block has at most 256 shards");
            worst = worst.max(count);
            let gone = bad
                .iter()
                .filter(|shard| count > tolerated || is_unproven(**shard));
            lost.extend(gone.filter_map(|shard| self.geometry.leaf_range_in_file(*shard, column)));
        }
        if !lost.is_empty() {
            ByteRange::merge(&mut lost);
            return BlockVerdict::Lost { ranges: lost, worst };
        }
        if worst == 0 {
            BlockVerdict::Intact
        } else {
            BlockVerdict::Degraded { worst }
        }
    }

    fn count_bad(&self, column: ColumnIndex) -> u16 {
        let count = self.shards.iter().filter(|bad| bad.contains(column)).count();
        u16::try_from(count).expect("a block has at most 256 shards")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        geometry::{BlockGeometryParts, FileLeaves},
        units::{CodeShape, LeafLen},
    };

    const LEAF: u64 = 1024;

    fn block(data: u16, parity: u16, len_bytes: u64) -> BlockGeometry {
        BlockGeometry::from_parts(BlockGeometryParts {
            shape: CodeShape::new(data, parity).expect("valid shape"),
            leaf: LeafLen::from_log2(10).expect("1 KiB"),
            file_leaves: FileLeaves::Many,
            base_offset: 0,
            data_len_bytes: len_bytes,
        })
        .expect("valid block")
    }

    /// The slow, obvious answer: which data leaves lie in a column with more bad leaves than parity.
    fn lost_leaves(map: &DamageMap) -> Vec<ByteRange> {
        let geometry = map.geometry();
        let parity = usize::from(geometry.shape().parity());
        let table_gone = |shard: ShardIndex| {
            geometry.table_column().is_some_and(|table| {
                let gone = geometry
                    .shards()
                    .filter(|shard| map.bad_columns(*shard).contains(table))
                    .count();
                gone > parity && geometry.is_data(shard) && map.bad_columns(shard).contains(table)
            })
        };
        let mut lost = Vec::new();
        for column in geometry.columns() {
            let bad: Vec<_> = geometry
                .shards()
                .filter(|&shard| column.get() < geometry.leaf_count(shard))
                .filter(|&shard| map.bad_columns(shard).contains(column) || table_gone(shard))
                .collect();
            let is_lost = |shard: &ShardIndex| bad.len() > parity || table_gone(*shard);
            lost.extend(
                bad.iter()
                    .copied()
                    .filter(is_lost)
                    .filter_map(|shard| geometry.leaf_range_in_file(shard, column)),
            );
        }
        ByteRange::merge(&mut lost);
        lost
    }

    /// Every combination of bad leaves of a small block, tables included.
    fn check_every_map(geometry: BlockGeometry) -> usize {
        let mut leaves = Vec::new();
        for shard in geometry.shards().filter(|shard| geometry.is_present(*shard)) {
            leaves.extend((0..geometry.leaf_count(shard)).map(|column| (shard, ColumnIndex::new(column))));
            if let Some(table) = geometry.table_column().filter(|_| geometry.is_data(shard)) {
                leaves.push((shard, table));
            }
        }
        assert!(
            leaves.len() <= 16,
            "{} leaves are too many to enumerate",
            leaves.len()
        );
        for bits in 0_u32..1 << leaves.len() {
            let mut map = DamageMap::new(geometry);
            let chosen = leaves
                .iter()
                .enumerate()
                .filter(|(index, _)| bits >> index & 1 == 1);
            chosen.for_each(|(_, (shard, column))| map.mark_leaf(*shard, *column));
            let expected = lost_leaves(&map);
            match map.verdict() {
                BlockVerdict::Intact => assert_eq!(bits, 0, "{map:?}"),
                BlockVerdict::Degraded { worst } => {
                    assert!(bits != 0 && expected.is_empty(), "{map:?}");
                    assert!(worst >= 1, "{map:?}");
                }
                BlockVerdict::Lost { ranges, worst } => {
                    assert_eq!(ranges, expected, "{map:?}");
                    assert!(worst > geometry.shape().parity(), "{map:?}");
                }
            }
        }
        1 << leaves.len()
    }

    #[test]
    fn every_damage_map_of_small_blocks_gets_exactly_the_right_verdict() {
        let maps: usize = [
            block(1, 3, LEAF),
            block(1, 3, 2 * LEAF + 1),
            block(1, 2, 4 * LEAF),
            block(2, 1, 3 * LEAF + 7),
            block(2, 2, 4 * LEAF),
            block(3, 1, 3 * LEAF - 5),
            block(3, 2, 5 * LEAF),
            block(4, 2, 3 * LEAF + 9),
            block(4, 2, 6 * LEAF),
        ]
        .map(check_every_map)
        .iter()
        .sum();
        assert!(maps > 60_000, "{maps} maps");
    }

    #[test]
    fn damage_of_every_shard_is_survived_while_no_column_has_too_much() {
        let geometry = block(4, 2, 24 * LEAF);
        let mut map = DamageMap::new(geometry);
        for shard in geometry.shards() {
            map.mark_leaf(shard, ColumnIndex::new(u32::from(shard.get())));
        }
        assert_eq!(map.verdict(), BlockVerdict::Degraded { worst: 1 });
    }

    #[test]
    fn whole_shards_up_to_the_parity_count_may_go_and_one_leaf_more_is_named_exactly() {
        let geometry = block(4, 2, 12 * LEAF);
        let mut map = DamageMap::new(geometry);
        map.mark_shard(ShardIndex::new(0));
        map.mark_shard(ShardIndex::new(5));
        assert_eq!(map.verdict(), BlockVerdict::Degraded { worst: 2 });
        map.mark_leaf(ShardIndex::new(2), ColumnIndex::new(1));
        let leaf = |index: u64| ByteRange::at(index * LEAF, LEAF).expect("small");
        assert_eq!(
            map.verdict(),
            BlockVerdict::Lost {
                ranges: vec![leaf(1), leaf(7)],
                worst: 3
            }
        );
    }

    #[test]
    fn runs_join_neighbouring_columns() {
        let mut set = ColumnSet::first(3);
        set.insert(ColumnIndex::new(64));
        set.insert(ColumnIndex::new(63));
        set.insert(ColumnIndex::new(200));
        assert_eq!(set.runs(), [(0, 3), (63, 65), (200, 201)]);
    }
}
