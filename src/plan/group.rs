//! What damage means in a group: inner and outer code in turn, until neither gives anything more.
//!
//! A block alone decodes what its own parity allows. In a group a leaf can also be had from the leaves at its place in the other
//! blocks, outer parity among them, and what is had that way may be what another column of its block lacked. Which leaves can be
//! had in the end follows from which are bad, so it is decided on bitmaps, without a byte.
//!
//! A leaf counts only when its table says that it is right, so the tables go first: from the table column of their block, or
//! from what outer parity holds of them.

use core::ops::Range;

use super::DamageMap;
use crate::{
    geometry::GroupGeometry,
    units::{ColumnIndex, LeafLen, ShardIndex},
};

/// Which leaves of a group are bad.
#[derive(Debug, Clone)]
pub struct GroupDamage {
    group: GroupGeometry,
    leaf: LeafLen,
    /// In the order of the code across the group; `None` for a block without damage.
    blocks: Vec<Option<DamageMap>>,
}

/// A step that brings leaves back; each needs only what was good or was brought back by steps before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each field is explained by its name and type")]
pub enum GroupStep {
    /// The leaf tables of a block from its table column.
    InnerTables { position: ShardIndex },
    /// The leaf tables of all blocks at one shard, from outer parity.
    OuterTables { shard: ShardIndex },
    /// A column of a block from its own parity.
    Inner {
        position: ShardIndex,
        column: ColumnIndex,
    },
    /// The leaves of all blocks at one place, from outer parity.
    Outer { shard: ShardIndex, column: ColumnIndex },
    /// One shard of all outer parity blocks, encoded again from the shards at its place in all blocks of the file.
    OuterParity { shard: ShardIndex },
}

/// What is left of the damage of a group when everything was decoded that can be.
#[derive(Debug, Clone)]
#[must_use]
pub struct GroupVerdict {
    /// How leaves are brought back, in an order in which that works.
    pub steps: Vec<GroupStep>,
    /// What stays bad, in the order of the code across the group; `None` for a block of which everything can be had.
    pub left: Vec<Option<DamageMap>>,
}

impl GroupDamage {
    /// Returns a group without damage.
    pub fn new(group: GroupGeometry, leaf: LeafLen) -> Self {
        let blocks = vec![None; usize::from(group.code().total())];
        Self { group, leaf, blocks }
    }

    /// Adds the damage of a block.
    ///
    /// # Panics
    /// When the group has no such block.
    pub fn set(&mut self, position: ShardIndex, map: DamageMap) {
        self.blocks[position.as_usize()] = Some(map);
    }

    /// Decodes as far as can be, on bitmaps.
    pub fn verdict(&self) -> GroupVerdict {
        let mut peeling = Peeling {
            group: self.group,
            leaf: self.leaf,
            blocks: self.blocks.clone(),
            steps: Vec::new(),
        };
        loop {
            let before = peeling.steps.len();
            peeling.pass();
            if peeling.steps.len() == before {
                break;
            }
        }
        let left = peeling.blocks.into_iter();
        GroupVerdict {
            steps: peeling.steps,
            left: left
                .map(|map| map.filter(|map| map.damaged_shards().next().is_some()))
                .collect(),
        }
    }
}

struct Peeling {
    group: GroupGeometry,
    leaf: LeafLen,
    /// What is still bad.
    blocks: Vec<Option<DamageMap>>,
    steps: Vec<GroupStep>,
}

impl Peeling {
    /// Takes every step that can be taken once.
    fn pass(&mut self) {
        let positions: Vec<ShardIndex> = (0..self.group.code().total()).map(ShardIndex::new).collect();
        for position in positions.iter().copied() {
            self.inner_tables(position);
        }
        let Some(shards) = self.data_shards() else {
            return;
        };
        for shard in shards.clone().map(ShardIndex::new) {
            self.outer_tables(shard);
        }
        for position in positions {
            self.inner(position);
        }
        let columns = 0..self.group.table_columns(self.leaf).end;
        for shard in shards.map(ShardIndex::new) {
            for column in columns.clone().map(ColumnIndex::new) {
                self.outer(shard, column);
            }
            self.outer_parity(shard);
        }
    }

    /// Returns the data shards of a block; `None` where nothing is bad.
    fn data_shards(&self) -> Option<Range<u16>> {
        let map = self.blocks.iter().flatten().next()?;
        Some(0..map.geometry().shape().data())
    }

    fn inner_tables(&mut self, position: ShardIndex) {
        let Some(map) = &mut self.blocks[position.as_usize()] else {
            return;
        };
        let Some(table) = map.geometry().table_column() else {
            return;
        };
        let bad: Vec<ShardIndex> = map.shards_bad_in(table).collect();
        if !bad.is_empty() && bad.len() <= usize::from(map.geometry().shape().parity()) {
            bad.into_iter().for_each(|shard| map.clear_leaf(shard, table));
            self.steps.push(GroupStep::InnerTables { position });
        }
    }

    fn outer_tables(&mut self, shard: ShardIndex) {
        let data = usize::from(self.group.code().data());
        let lacks = |map: &&mut DamageMap| map.lacks_table(shard);
        let lacking = self.blocks[..data]
            .iter_mut()
            .flatten()
            .filter(|map| lacks(map))
            .count();
        if lacking == 0 {
            return;
        }
        let bad_outer = |column: u32| {
            let is_bad = |map: &&DamageMap| map.is_of_no_use(shard, ColumnIndex::new(column));
            self.blocks[data..].iter().flatten().filter(is_bad).count()
        };
        let worst = self
            .group
            .table_columns(self.leaf)
            .map(bad_outer)
            .max()
            .unwrap_or(0);
        if lacking + worst > usize::from(self.group.code().parity()) {
            return;
        }
        for map in self.blocks[..data].iter_mut().flatten() {
            if let Some(table) = map.geometry().table_column().filter(|_| map.lacks_table(shard)) {
                map.clear_leaf(shard, table);
            }
        }
        self.steps.push(GroupStep::OuterTables { shard });
    }

    fn inner(&mut self, position: ShardIndex) {
        let Some(map) = &mut self.blocks[position.as_usize()] else {
            return;
        };
        let tolerated = usize::from(map.geometry().shape().parity());
        let columns: Vec<ColumnIndex> = map.geometry().columns().collect();
        for column in columns {
            let shards = map.geometry().shards();
            let bad: Vec<ShardIndex> = shards.filter(|shard| map.is_of_no_use(*shard, column)).collect();
            if bad.is_empty() || bad.len() > tolerated {
                continue;
            }
            if map.clear_proven(bad, column) {
                self.steps.push(GroupStep::Inner { position, column });
            }
        }
    }

    /// Leaf tables stand in outer parity behind the leaves; there a block of the file is bad where its table cannot be had.
    fn outer(&mut self, shard: ShardIndex, column: ColumnIndex) {
        let data = usize::from(self.group.code().data());
        let is_table = column.get() >= self.group.columns();
        let is_bad = |(position, map): (usize, &Option<DamageMap>)| {
            map.as_ref().is_some_and(|map| {
                if is_table && position < data {
                    map.lacks_table(shard)
                } else {
                    map.is_of_no_use(shard, column)
                }
            })
        };
        let bad: Vec<usize> = (self.blocks.iter().enumerate())
            .filter(|block| is_bad(*block))
            .map(|(position, _)| position)
            .collect();
        if bad.is_empty() || bad.len() > usize::from(self.group.code().parity()) {
            return;
        }
        let mut has_cleared = false;
        for position in bad.into_iter().filter(|position| !is_table || *position >= data) {
            let map = self.blocks[position].as_mut().expect("what is bad has a map");
            has_cleared |= map.clear_proven(vec![shard], column);
        }
        if has_cleared {
            self.steps.push(GroupStep::Outer { shard, column });
        }
    }

    /// Nothing decodes the leaf tables of outer parity but its own blocks. Where those cannot, a shard of it is made again as a whole,
    /// and its digest proves it.
    fn outer_parity(&mut self, shard: ShardIndex) {
        let data = usize::from(self.group.code().data());
        let is_had = |map: &DamageMap| {
            let mut columns = map.geometry().columns();
            !map.lacks_table(shard) && !columns.any(|column| map.is_of_no_use(shard, column))
        };
        if !self.blocks[..data].iter().flatten().all(is_had) {
            return;
        }
        let mut has_cleared = false;
        for map in self.blocks[data..].iter_mut().flatten() {
            has_cleared |= map.clear_shard(shard);
        }
        if has_cleared {
            self.steps.push(GroupStep::OuterParity { shard });
        }
    }
}

#[cfg(test)]
mod tests;
