//! How rows go: files, with the blocks that nothing else lists and the descriptor that nothing else needs, and extents that
//! hold nothing.

use std::collections::BTreeSet;

use super::guard::damaged;
use super::records::{BlockRecord, FileRecord, ShardRecord};
use super::relocation::extents_of;
use super::rows::{BlockRow, FileBlockRow};
use super::tables::{
    block_key, extent_key, extent_shard_key, file_block_key, file_key, seal, unseal, version_key,
};
use super::writer::{BATCH_BLOCKS, CatalogWriter, totals_contradiction};
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::seeded_bugs::{SeededBug, is_on};
use crate::units::{BlockId, BlockIndex, ExtentId, FileId, FileName, to_u64};

impl CatalogWriter {
    /// Removes the file of that name with every block that no other file lists, and returns what it was. Kept versions of the
    /// name stay.
    ///
    /// Its bytes on the volumes are untouched: nobody owns them from the commit on.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] when its rows are not all there.
    pub fn remove_file(&mut self, name: &FileName) -> Result<Option<FileRecord>, CatalogError> {
        let Some((file, inline_block)) = self.file_with_inline_block(name)? else {
            return Ok(None);
        };
        self.remove_entry(&file, inline_block.as_ref())?;
        Ok(Some(file))
    }

    /// Removes the file of that id, which may be a kept version, as [`Self::remove_file`] does.
    ///
    /// # Errors
    /// [`CatalogError::UnknownFile`] leaves the transaction as it was; others as for [`Self::remove_file`].
    pub fn remove_file_by_id(&mut self, id: FileId) -> Result<FileRecord, CatalogError> {
        let Some((file, inline_block)) = self.file_by_id(id)? else {
            return Err(CatalogError::UnknownFile { file: id });
        };
        self.remove_entry(&file, inline_block.as_ref())?;
        Ok(file)
    }

    fn remove_entry(
        &mut self,
        file: &FileRecord,
        inline_block: Option<&BlockRecord>,
    ) -> Result<(), CatalogError> {
        self.change(|writer| {
            let mut released = 0;
            let mut extents = BTreeSet::new();
            if let Some(block) = inline_block {
                extents.extend(extents_of(block));
                writer.release_shards(&[block])?;
                writer.forget_damage(&[block])?;
                released += 1;
            } else {
                let count = file.geometry.block_count();
                for first in (0..count).step_by(BATCH_BLOCKS) {
                    let end = count.min(first + to_u64(BATCH_BLOCKS));
                    released += writer.unlist_blocks(file, first..end, &mut extents)?;
                }
            }
            writer.count_file_out(&extents)?;
            writer.take_row(CatalogTable::Unverified, file_key(file.id))?;
            writer.remove_rows(CatalogTable::Files, &[file_key(file.id)])?;
            writer.forget_state(file.id)?;
            if file.is_kept {
                let key = version_key(&file.name, file.version);
                writer.remove_rows(CatalogTable::Versions, &[key])?;
            } else {
                writer.remove_rows(CatalogTable::Names, &[file.name.as_bytes().to_vec()])?;
            }
            writer.count_entry_out(file.commit)?;
            let pending = writer.pending_mut();
            if is_on(SeededBug::TotalsNotReduced) {
                return Ok(());
            }
            let mut totals = pending.totals.without(file).ok_or_else(totals_contradiction)?;
            totals.blocks = totals
                .blocks
                .checked_sub(released)
                .ok_or_else(totals_contradiction)?;
            pending.totals = totals;
            Ok(())
        })
    }

    /// Forgets an extent in which nothing lives any more.
    ///
    /// # Errors
    /// [`UnknownExtent`](CatalogError::UnknownExtent) and [`ExtentInUse`](CatalogError::ExtentInUse); both leave the
    /// transaction as it was.
    pub fn remove_extent(&mut self, id: ExtentId) -> Result<(), CatalogError> {
        let row = self
            .extent_row(id)?
            .ok_or(CatalogError::UnknownExtent { extent: id })?;
        if row.live_shards > 0 {
            let live_shards = row.live_shards;
            return Err(CatalogError::ExtentInUse {
                extent: id,
                live_shards,
            });
        }
        self.change(|writer| {
            writer.pending_mut().extents.remove(&id);
            writer.forget_verified(id, 0)?;
            writer.forget_freed(id, 0)?;
            writer.remove_rows(CatalogTable::Extents, &[extent_key(id)])
        })
    }

    /// Takes a run of blocks off the list of a file; returns how many of them nothing else lists.
    fn unlist_blocks(
        &mut self,
        file: &FileRecord,
        indexes: core::ops::Range<u64>,
        extents: &mut BTreeSet<ExtentId>,
    ) -> Result<u64, CatalogError> {
        let table = CatalogTable::FileBlocks;
        let keys: Vec<Vec<u8>> = indexes
            .map(|index| file_block_key(file.id, BlockIndex::new(index)))
            .collect();
        let (mut released, mut shared) = (Vec::new(), Vec::new());
        for (key, row) in keys.iter().zip(self.source.get_all(&self.guard, table, &keys)?) {
            let row = row.ok_or_else(|| damaged(table, CatalogDamage::MissingRow))?;
            let row: FileBlockRow = unseal(table, key, &row)?;
            let mut block = self.required_block(BlockId::new(row.block))?;
            extents.extend(extents_of(&block));
            if block.reference_count == 1 {
                released.push(block);
            } else {
                block.reference_count -= 1;
                let key = block_key(block.id);
                let row = seal(CatalogTable::Blocks, &key, &BlockRow::new(&block));
                shared.push((key, row));
            }
        }
        self.put_rows(CatalogTable::Blocks, &shared)?;
        let gone: Vec<&BlockRecord> = released.iter().collect();
        self.release_shards(&gone)?;
        self.forget_damage(&gone)?;
        let blocks: Vec<Vec<u8>> = released.iter().map(|block| block_key(block.id)).collect();
        self.remove_rows(CatalogTable::Blocks, &blocks)?;
        self.remove_rows(table, &keys)?;
        Ok(to_u64(released.len()))
    }

    pub(super) fn release_shards(&mut self, blocks: &[&BlockRecord]) -> Result<(), CatalogError> {
        let mut keys = Vec::new();
        for shard in blocks.iter().flat_map(|block| block.shards.iter().flatten()) {
            self.uncount_shard(shard)?;
            keys.push(extent_shard_key(shard.extent, shard.offset));
        }
        self.remove_rows(CatalogTable::ExtentShards, &keys)
    }

    /// Counts a shard as living in its extent no more.
    pub(super) fn uncount_shard(&mut self, shard: &ShardRecord) -> Result<(), CatalogError> {
        let row = self.extent_mut(shard.extent)?;
        let row = row.ok_or_else(|| damaged(CatalogTable::Extents, CatalogDamage::MissingRow))?;
        let live = (row.live_bytes.checked_sub(shard.frame_len_bytes)).zip(row.live_shards.checked_sub(1));
        let about = "what lives in an extent";
        (row.live_bytes, row.live_shards) =
            live.ok_or_else(|| damaged(CatalogTable::Extents, CatalogDamage::Contradiction { about }))?;
        Ok(())
    }

    /// Removes rows that have to be there.
    pub(super) fn remove_rows(&mut self, table: CatalogTable, keys: &[Vec<u8>]) -> Result<(), CatalogError> {
        let removed = self.source.remove_all(&self.guard, table, keys)?;
        if removed != to_u64(keys.len()) {
            return Err(damaged(table, CatalogDamage::MissingRow));
        }
        let count = self.pending_mut().row_counts.get_mut(table);
        let recorded = *count;
        let detail = CatalogDamage::RowCount {
            recorded,
            found: removed,
        };
        *count = recorded
            .checked_sub(removed)
            .ok_or_else(|| damaged(table, detail))?;
        Ok(())
    }
}
