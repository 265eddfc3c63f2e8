//! What damage means: from a map of bad leaves to what can still be read.

use super::ColumnSet;
use crate::{
    geometry::BlockGeometry,
    units::{ByteRange, ColumnIndex, ShardIndex},
};

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
        /// Exactly the bytes of the file that are gone, in order; none where outer parity is.
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
        assert!(
            self.has_leaf(shard, column),
            "shard {shard} has no leaf in column {column}"
        );
        self.shards[shard.as_usize()].insert(column);
    }

    /// Says whether a shard has a leaf in a column, or a part of the table column there; one that is not in the block has
    /// none.
    pub fn has_leaf(&self, shard: ShardIndex, column: ColumnIndex) -> bool {
        let is_there = shard.get() < self.geometry.shape().total() && self.geometry.is_present(shard);
        let is_table = Some(column) == self.geometry.table_column();
        is_there && (is_table || column.get() < self.geometry.leaf_count(shard))
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

    /// Marks every leaf that is bad in another map of the same block.
    ///
    /// # Panics
    /// When that is of another block.
    pub fn union_with(&mut self, other: &Self) {
        assert_eq!(self.geometry, other.geometry, "maps of one block");
        for (bad, more) in self.shards.iter_mut().zip(&other.shards) {
            bad.union_with(more);
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

    /// Returns the map as it would be with `lost` gone wholly, beside what is bad already: for the question what happens if.
    #[must_use]
    pub fn with_lost(&self, lost: &[ShardIndex]) -> Self {
        let mut map = self.clone();
        lost.iter().for_each(|shard| map.mark_shard(*shard));
        map
    }

    /// Decides what can be read.
    ///
    /// A column decodes when at most m of its leaves are bad. Where more than m leaf tables are gone, the tables cannot
    /// be decoded either: no leaf of the data shards concerned can be told from a wrong one, neither as it is stored nor
    /// as it is decoded, so all of them are lost.
    pub fn verdict(&self) -> BlockVerdict {
        let tolerated = self.geometry.shape().parity();
        let unproven = self.unproven_shards();
        let mut worst = self
            .geometry
            .table_column()
            .map_or(0, |table| self.count_bad(table));
        let (mut lost, mut has_lost) = (Vec::new(), worst > tolerated && self.geometry.is_outer_parity());
        for column in self.geometry.columns() {
            let bad = self.bad_shards(column, &unproven);
            let count = shard_count(bad.len());
            worst = worst.max(count);
            // Outer parity that is gone holds no bytes of the file.
            has_lost |= count > tolerated && self.geometry.is_outer_parity();
            let gone = bad
                .iter()
                .filter(|shard| count > tolerated || unproven.contains(shard));
            lost.extend(gone.filter_map(|shard| self.geometry.leaf_range_in_file(*shard, column)));
        }
        if has_lost || !lost.is_empty() {
            ByteRange::merge(&mut lost);
            return BlockVerdict::Lost { ranges: lost, worst };
        }
        if worst == 0 {
            BlockVerdict::Intact
        } else {
            BlockVerdict::Degraded { worst }
        }
    }

    /// Returns the columns that do not decode, the table column among them where it does not.
    pub(super) fn lost_columns(&self) -> ColumnSet {
        let tolerated = self.geometry.shape().parity();
        let unproven = self.unproven_shards();
        let mut lost = ColumnSet::default();
        self.geometry
            .columns()
            .filter(|column| shard_count(self.bad_shards(*column, &unproven).len()) > tolerated)
            .chain(
                self.geometry
                    .table_column()
                    .filter(|table| self.count_bad(*table) > tolerated),
            )
            .for_each(|column| lost.insert(column));
        lost
    }

    /// Says whether the table of a data shard is gone.
    pub(super) fn lacks_table(&self, shard: ShardIndex) -> bool {
        let table = self.geometry.table_column();
        self.geometry.is_data(shard) && table.is_some_and(|table| self.bad_columns(shard).contains(table))
    }

    /// Says whether a leaf is bad, or as good as bad because nothing proves it; one that is absent is a known zero.
    pub(super) fn is_of_no_use(&self, shard: ShardIndex, column: ColumnIndex) -> bool {
        column.get() < self.geometry.leaf_count(shard)
            && (self.bad_columns(shard).contains(column) || self.lacks_table(shard))
    }

    /// Returns the shards that are bad in a column.
    pub(super) fn shards_bad_in(&self, column: ColumnIndex) -> impl Iterator<Item = ShardIndex> {
        self.geometry
            .shards()
            .filter(move |shard| self.bad_columns(*shard).contains(column))
    }

    /// Unmarks one leaf.
    pub(super) fn clear_leaf(&mut self, shard: ShardIndex, column: ColumnIndex) {
        self.shards[shard.as_usize()].remove(column);
    }

    /// Unmarks a shard; says whether anything of it was marked.
    pub(super) fn clear_shard(&mut self, shard: ShardIndex) -> bool {
        let was = std::mem::take(&mut self.shards[shard.as_usize()]);
        !was.is_empty()
    }

    /// Unmarks those of some leaves in a column that are marked and have tables to prove them; says whether there are any.
    pub(super) fn clear_proven(&mut self, shards: Vec<ShardIndex>, column: ColumnIndex) -> bool {
        let mut has_cleared = false;
        for shard in shards {
            if !self.lacks_table(shard) && self.bad_columns(shard).contains(column) {
                self.clear_leaf(shard, column);
                has_cleared = true;
            }
        }
        has_cleared
    }

    /// Returns the data shards of which no leaf can be proven: their table is gone, and the table column does not decode.
    fn unproven_shards(&self) -> Vec<ShardIndex> {
        let tolerated = self.geometry.shape().parity();
        let Some(table) = self
            .geometry
            .table_column()
            .filter(|table| self.count_bad(*table) > tolerated)
        else {
            return Vec::new();
        };
        self.damaged_shards()
            .filter(|shard| self.geometry.is_data(*shard) && self.bad_columns(*shard).contains(table))
            .collect()
    }

    /// Returns the shards whose leaf in a data column is bad, or as good as bad because nothing proves it.
    fn bad_shards(&self, column: ColumnIndex, unproven: &[ShardIndex]) -> Vec<ShardIndex> {
        self.geometry
            .shards()
            .filter(|shard| column.get() < self.geometry.leaf_count(*shard))
            .filter(|shard| self.bad_columns(*shard).contains(column) || unproven.contains(shard))
            .collect()
    }

    fn count_bad(&self, column: ColumnIndex) -> u16 {
        shard_count(self.shards.iter().filter(|bad| bad.contains(column)).count())
    }
}

impl BlockVerdict {
    /// Returns how many more shards the block may lose, whichever they are, before bytes are lost; 0 where some are.
    ///
    /// `parity` is the parity count of the block.
    ///
    /// # Panics
    /// When the verdict is of a block with more parity.
    pub const fn margin(&self, parity: u16) -> u16 {
        match self {
            Self::Intact => parity,
            Self::Degraded { worst } => parity
                .checked_sub(*worst)
                .expect("a degraded block has at most as many bad leaves in a column as parity shards"),
            Self::Lost { .. } => 0,
        }
    }

    /// Returns how many bytes of the file cannot be decoded.
    pub fn lost_bytes(&self) -> u64 {
        match self {
            Self::Intact | Self::Degraded { .. } => 0,
            Self::Lost { ranges, .. } => ranges.iter().map(|range| range.len()).sum(),
        }
    }
}

fn shard_count(count: usize) -> u16 {
    u16::try_from(count).expect("a block has at most 256 shards")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::every_map::{LEAF, block, every_map, leaves, small_blocks};

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

    #[test]
    fn every_damage_map_of_small_blocks_gets_exactly_the_right_verdict() {
        let mut maps = 0;
        for map in small_blocks().into_iter().flat_map(every_map) {
            let is_damaged = map.damaged_shards().next().is_some();
            let expected = lost_leaves(&map);
            let verdict = map.verdict();
            let lost: u64 = expected.iter().map(|range| range.len()).sum();
            assert_eq!(verdict.lost_bytes(), lost, "{map:?}");
            match verdict {
                BlockVerdict::Intact => assert!(!is_damaged, "{map:?}"),
                BlockVerdict::Degraded { worst } => {
                    assert!(is_damaged && expected.is_empty(), "{map:?}");
                    assert!(worst >= 1, "{map:?}");
                }
                BlockVerdict::Lost { ranges, worst } => {
                    assert_eq!(ranges, expected, "{map:?}");
                    assert!(worst > map.geometry().shape().parity(), "{map:?}");
                }
            }
            maps += 1;
        }
        assert!(maps > 60_000, "{maps} maps");
    }

    /// Every damage map, and every set of shards that may go on top of it.
    #[test]
    fn as_many_shards_as_the_margin_says_may_go_whichever_they_are_and_one_more_is_too_many_somewhere() {
        let few_leaves = |geometry: &BlockGeometry| leaves(geometry).len() <= 12;
        for map in small_blocks().into_iter().filter(few_leaves).flat_map(every_map) {
            let shape = map.geometry().shape();
            let verdict = map.verdict();
            let margin = verdict.margin(shape.parity());
            let is_lost = |map: &DamageMap| matches!(map.verdict(), BlockVerdict::Lost { .. });
            assert!(!is_lost(&map) || margin == 0, "{map:?} has a margin of {margin}");
            let mut is_too_many_somewhere = false;
            for bits in 0_u32..1 << shape.total() {
                let gone = map
                    .geometry()
                    .shards()
                    .filter(|shard| bits >> shard.get() & 1 == 1);
                let gone: Vec<_> = gone.collect();
                let without = map.with_lost(&gone);
                if bits.count_ones() <= u32::from(margin) && !is_lost(&map) {
                    assert!(!is_lost(&without), "{map:?} without {gone:?}");
                }
                is_too_many_somewhere |= bits.count_ones() == u32::from(margin) + 1 && is_lost(&without);
            }
            assert!(
                is_too_many_somewhere,
                "{map:?} has a margin of more than {margin}"
            );
        }
    }

    #[test]
    fn a_map_with_lost_shards_keeps_its_damage_and_leaves_absent_shards_absent() {
        let mut map = DamageMap::new(block(4, 2, 6 * LEAF));
        map.mark_leaf(ShardIndex::new(0), ColumnIndex::new(1));
        let what_if = map.with_lost(&[ShardIndex::new(3), ShardIndex::new(4)]);
        let damaged = |map: &DamageMap| map.damaged_shards().map(ShardIndex::get).collect::<Vec<_>>();
        assert_eq!((damaged(&map), damaged(&what_if)), (vec![0], vec![0, 4]));
        assert_eq!(what_if.bad_columns(ShardIndex::new(4)), &ColumnSet::first(3));
        assert_eq!(what_if.verdict(), BlockVerdict::Degraded { worst: 2 });
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
}
