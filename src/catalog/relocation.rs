//! How a shard comes to lie elsewhere: its frame was written anew, and its address is swapped.

use std::collections::{BTreeMap, BTreeSet};

use super::guard::damaged;
use super::records::{BlockRecord, Relocation, ShardOwner, ShardRecord};
use super::rows::{BlockRow, DescriptorRow, ExtentShardRow, FileRow};
use super::tables::{block_key, commit_key, extent_shard_key, file_key, seal};
use super::writer::CatalogWriter;
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::units::{BlockIndex, ExtentId, FileId};

impl CatalogWriter {
    /// Swaps the addresses of shards, and forgets what was wrong with them. The new extents end behind the frames already.
    ///
    /// # Errors
    /// [`ShardElsewhere`](CatalogError::ShardElsewhere) when one does not lie where it is said to,
    /// [`DigestOfData`](CatalogError::DigestOfData) when one that is no parity is to get another digest,
    /// [`AddressTaken`](CatalogError::AddressTaken), [`UnknownExtent`](CatalogError::UnknownExtent) and
    /// [`BehindExtentEnd`](CatalogError::BehindExtentEnd); all of them spoil the transaction.
    pub fn relocate(&mut self, relocations: &[Relocation]) -> Result<(), CatalogError> {
        let mut by_owner: BTreeMap<ShardOwner, Vec<&Relocation>> = BTreeMap::new();
        for relocation in relocations {
            by_owner.entry(relocation.owner).or_default().push(relocation);
        }
        self.change(|writer| {
            let mut files: BTreeMap<FileId, BTreeSet<ExtentId>> = BTreeMap::new();
            let mut moved = Vec::new();
            for (&owner, moves) in &by_owner {
                let block = writer.block_by_owner(owner)?;
                let mut block = block.ok_or_else(|| elsewhere(moves[0]))?;
                if !matches!(owner, ShardOwner::Descriptor(_)) && !files.contains_key(&block.file) {
                    let extents = writer.extents_of_file(block.file)?;
                    files.insert(block.file, extents);
                }
                for relocation in moves {
                    writer.move_shard(&mut block, relocation)?;
                }
                writer.put_block_again(owner, &block)?;
                moved.push((block, moves.iter().map(|relocation| relocation.shard).collect()));
            }
            writer.forget_damage_of_shards(&moved)?;
            for (file, before) in files {
                let now = writer.extents_of_file(file)?;
                writer.count_file_out(before.difference(&now))?;
                writer.count_file_in(now.difference(&before))?;
            }
            Ok(())
        })
    }

    /// Counts a file as one that has frames in extents.
    pub(super) fn count_file_in<'extent>(
        &mut self,
        extents: impl IntoIterator<Item = &'extent ExtentId>,
    ) -> Result<(), CatalogError> {
        for &extent in extents {
            let row = self.extent_mut(extent)?;
            row.ok_or(CatalogError::UnknownExtent { extent })?.live_files += 1;
        }
        Ok(())
    }

    /// Counts a file as one that has no frames in extents any more.
    pub(super) fn count_file_out<'extent>(
        &mut self,
        extents: impl IntoIterator<Item = &'extent ExtentId>,
    ) -> Result<(), CatalogError> {
        for &extent in extents {
            let row = self.extent_mut(extent)?;
            let row = row.ok_or_else(|| damaged(CatalogTable::Extents, CatalogDamage::MissingRow))?;
            let about = "the files in an extent";
            row.live_files = (row.live_files.checked_sub(1))
                .ok_or_else(|| damaged(CatalogTable::Extents, CatalogDamage::Contradiction { about }))?;
        }
        Ok(())
    }

    /// Returns the extents that hold frames of a file; none for one that is gone, whose blocks live on in others.
    fn extents_of_file(&self, file: FileId) -> Result<BTreeSet<ExtentId>, CatalogError> {
        let mut extents = BTreeSet::new();
        let Some(file) = self.file(file)? else {
            return Ok(extents);
        };
        for index in (0..file.geometry.block_count()).map(BlockIndex::new) {
            extents.extend(extents_of(&self.block(&file, index)?));
        }
        Ok(extents)
    }

    fn move_shard(&mut self, block: &mut BlockRecord, relocation: &Relocation) -> Result<(), CatalogError> {
        let slot = block.shards.get_mut(relocation.shard.as_usize());
        let Some(record) = slot.and_then(Option::as_mut) else {
            return Err(elsewhere(relocation));
        };
        if record.address() != relocation.from {
            return Err(elsewhere(relocation));
        }
        let is_data = block.geometry.is_data(relocation.shard) && !block.geometry.is_outer_parity();
        let is_encoded = !block.geometry.shape().is_replication() && !is_data;
        if relocation.digest.is_some() && !is_encoded {
            return Err(CatalogError::DigestOfData {
                shard: relocation.shard,
                extent: relocation.from.extent,
                offset: relocation.from.offset,
            });
        }
        let old = *record;
        *record = ShardRecord {
            extent: relocation.to.extent,
            offset: relocation.to.offset,
            digest: relocation.digest.unwrap_or(old.digest),
            ..old
        };
        let new = *record;
        self.uncount_shard(&old)?;
        self.count_shard(&new)?;
        let table = CatalogTable::ExtentShards;
        self.remove_rows(table, &[extent_shard_key(old.extent, old.offset)])?;
        let key = extent_shard_key(new.extent, new.offset);
        let row = ExtentShardRow::new(relocation.owner, relocation.shard);
        let row = seal(table, &key, &row);
        match self.add_rows(table, &[(key, row)])? {
            None => Ok(()),
            Some(_) => Err(CatalogError::AddressTaken {
                extent: new.extent,
                offset: new.offset,
            }),
        }
    }

    fn put_block_again(&mut self, owner: ShardOwner, block: &BlockRecord) -> Result<(), CatalogError> {
        let missing = |table| damaged(table, CatalogDamage::MissingRow);
        let (table, key, row) = match owner {
            ShardOwner::Block(id) => {
                let (table, key) = (CatalogTable::Blocks, block_key(id));
                let row = seal(table, &key, &BlockRow::new(block));
                (table, key, row)
            }
            ShardOwner::InlineBlockOf(file) => {
                let (table, key) = (CatalogTable::Files, file_key(file));
                let (record, _) = self.file_by_id(file)?.ok_or_else(|| missing(table))?;
                let row = seal(table, &key, &FileRow::new(&record, Some(block)));
                (table, key, row)
            }
            ShardOwner::Descriptor(commit) => {
                let (table, key) = (CatalogTable::Descriptors, commit_key(commit));
                let mut record = self.descriptor(commit)?.ok_or_else(|| missing(table))?;
                record.block = block.clone();
                let row = seal(table, &key, &DescriptorRow::new(&record));
                (table, key, row)
            }
        };
        match self.put_rows(table, &[(key, row)])? {
            0 => Ok(()),
            _ => Err(missing(table)),
        }
    }
}

/// Returns the extents that hold frames of a block.
pub(super) fn extents_of(block: &BlockRecord) -> impl Iterator<Item = ExtentId> {
    block.shards.iter().flatten().map(|shard| shard.extent)
}

const fn elsewhere(relocation: &Relocation) -> CatalogError {
    CatalogError::ShardElsewhere {
        shard: relocation.shard,
        extent: relocation.from.extent,
        offset: relocation.from.offset,
    }
}
