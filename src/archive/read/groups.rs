//! The groups of one file, for whoever meets what a block alone cannot decode.

use core::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use super::{
    BlockReader, LostLeaf,
    group::{GroupReader, Proof},
    sums::SumsCheck,
};
use crate::{
    archive::{called::Called, met::look_again, observer::Observer, shared::Shared},
    catalog::{BlockRecord, FileRecord},
    geometry::FileGeometry,
    merkle::LeafTable,
    units::{BlockIndex, ColumnIndex, ShardIndex, to_usize},
};

/// Times that a group is looked up because its shards lie elsewhere by now.
const ATTEMPTS: u32 = 3;

/// The groups of a file, one at a time.
pub(in crate::archive) struct Groups {
    shared: Arc<Shared>,
    file: FileRecord,
    /// The group that was needed last.
    current: Mutex<Option<Arc<GroupReader>>>,
}

impl Groups {
    pub(in crate::archive) fn of(shared: &Arc<Shared>, file: &FileRecord) -> Self {
        Self {
            shared: Arc::clone(shared),
            file: file.clone(),
            current: Mutex::default(),
        }
    }

    /// Reads a run of leaves of one data shard, whose bytes fill `into`: decoded around damage inside its block, and where that is
    /// not enough across its group.
    pub(in crate::archive) fn read_run(
        &self,
        block: &BlockReader,
        (shard, columns): (ShardIndex, Range<u32>),
        into: &mut [u8],
        observer: &dyn Observer,
    ) -> Result<(), LostLeaf> {
        if self.file.geometry.group_count() == 0 {
            return block.read_run(shard, columns, into, observer);
        }
        if block.table(shard, observer).is_none()
            && let Some(table) = self.table(block.record().index, shard)
        {
            block.learn_table(shard, table);
        }
        let leaf_len = to_usize(block.geometry().leaf().bytes());
        for lost in block.read_what_is_left(shard, columns.clone(), into, observer) {
            let start = to_usize(u64::from(lost.column.get() - columns.start)) * leaf_len;
            let end = (start + leaf_len).min(into.len());
            let place = (lost.shard, lost.column);
            if !self.recover(block.record().index, place, &mut into[start..end]) {
                return Err(lost);
            }
        }
        Ok(())
    }

    /// Brings back a leaf that is lost to its block; says whether it could be, and is proven by its hash. Damage that is met on the way
    /// is noted.
    pub(in crate::archive) fn recover(
        &self,
        block: BlockIndex,
        place: (ShardIndex, ColumnIndex),
        into: &mut [u8],
    ) -> bool {
        self.recover_with(block, place, into) == Some(Proof::Leaf)
    }

    /// Does the same, also with what only the digest of its whole shard can prove.
    pub(in crate::archive) fn recover_with(
        &self,
        block: BlockIndex,
        place: (ShardIndex, ColumnIndex),
        into: &mut [u8],
    ) -> Option<Proof> {
        self.with_group(block, Some(place.1), |group| group.recover(block, place, into))
    }

    /// Brings back leaves of one column of a group; hands out each, `None` for one that stays lost. Damage that is met on the way is
    /// noted once.
    pub(in crate::archive) fn recover_column<E>(
        &self,
        column: ColumnIndex,
        lost: &[(BlockIndex, ShardIndex)],
        mut found: impl FnMut(BlockIndex, ShardIndex, Option<&[u8]>) -> Result<(), E>,
    ) -> Result<(), E> {
        let group = lost.first().and_then(|(block, _)| self.group_of(*block));
        let mut bytes = Vec::new();
        for &(block, shard) in lost {
            let len = self.file.geometry.block(block).leaf_range(shard, column);
            bytes.resize(len.map_or(0, |range| to_usize(range.len())), 0);
            let place = (shard, column);
            // Others may ask for another group meanwhile; this one stays until its column is done.
            let proof = group
                .as_ref()
                .and_then(|group| group.recover(block, place, &mut bytes));
            let is_found = proof == Some(Proof::Leaf) || self.recover(block, place, &mut bytes);
            found(block, shard, is_found.then_some(&bytes))?;
        }
        for block in group.iter().flat_map(|group| group.blocks()) {
            drop(look_again(&self.shared, &self.file, block, &()));
        }
        Ok(())
    }

    /// Returns the leaf table of a data shard that its block has lost.
    pub(in crate::archive) fn table(&self, block: BlockIndex, shard: ShardIndex) -> Option<LeafTable> {
        self.with_group(block, None, |group| group.table(block, shard))
    }

    pub(in crate::archive) const fn geometry(&self) -> &FileGeometry {
        &self.file.geometry
    }

    /// Compares one data shard of an outer parity block with what its group sums up to, `block` in place of what the catalog has.
    pub(in crate::archive) fn check_sums(&self, block: &BlockReader, shard: ShardIndex) -> SumsCheck {
        let of_group = |group: &GroupReader| {
            let row = group.row(block.record().index)?;
            group.check_sums(shard, &[(row, block)]).pop()
        };
        self.with_group(block.record().index, None, of_group)
            .unwrap_or_default()
    }

    /// Returns what an outer parity block has to have in one data leaf: the sum of what its group has there.
    pub(in crate::archive) fn summed_leaf(
        &self,
        block: BlockIndex,
        place: (ShardIndex, ColumnIndex),
    ) -> Option<Vec<u8>> {
        self.with_group(block, None, |group| group.summed_leaf(group.row(block)?, place))
    }

    /// Asks the group of a block; once more where that gives nothing and its shards have moved meanwhile. Damage is looked up again
    /// once for each column: every leaf of it meets the same.
    fn with_group<T>(
        &self,
        block: BlockIndex,
        column: Option<ColumnIndex>,
        mut ask: impl FnMut(&GroupReader) -> Option<T>,
    ) -> Option<T> {
        for _ in 0..ATTEMPTS {
            let group = self.group_of(block)?;
            let answer = ask(&group);
            let is_news = column.is_none_or(|column| group.is_news(column));
            if answer.is_some() && !is_news {
                return answer;
            }
            let mut has_moved = false;
            for block in group.blocks() {
                has_moved |= look_again(&self.shared, &self.file, block, &()).is_some();
            }
            if answer.is_some() || !has_moved {
                return answer;
            }
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.as_ref().is_some_and(|known| Arc::ptr_eq(known, &group)) {
                *current = None;
            }
        }
        None
    }

    /// Returns the group of a block as the catalog has it; `None` where blocks are not grouped, or the file is gone.
    pub(in crate::archive) fn group_of(&self, block: BlockIndex) -> Option<Arc<GroupReader>> {
        let geometry = &self.file.geometry;
        let group = geometry.group_of(block)?;
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = current.as_ref().filter(|known| *known.group() == group) {
            return Some(Arc::clone(known));
        }
        let reader = self.shared.catalog.read().ok()?;
        let records = group.blocks().map(|index| reader.block(&self.file, index));
        let records: Vec<BlockRecord> = records.collect::<Result<_, _>>().ok()?;
        drop(reader);
        let volumes = self.shared.volumes();
        let blocks = records
            .into_iter()
            .map(|record| BlockReader::new(Arc::clone(&volumes), Called::of(&self.file), record))
            .map(BlockReader::asking_its_group);
        let made = Arc::new(GroupReader::new(group, blocks.collect()));
        *current = Some(Arc::clone(&made));
        Some(made)
    }
}

impl core::fmt::Debug for Groups {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Groups")
            .field("file", &self.file.name)
            .finish_non_exhaustive()
    }
}
