//! What damage means for the blocks of a group, of which each can help the others.

use std::collections::BTreeMap;

use super::damage::damage_map;
use super::health::DamagedBlock;
use super::reader::CatalogReader;
use super::records::FileRecord;
use super::rows::DamagedBlockRow;
use super::tables::{damaged_block_key, seal, unseal};
use super::writer::CatalogWriter;
use crate::error::{CatalogError, CatalogTable};
use crate::geometry::GroupGeometry;
use crate::plan::{DamageMap, GroupDamage, GroupVerdict};
use crate::units::{BlockIndex, FileId, ShardIndex};

impl CatalogReader {
    /// Returns what can be decoded of a group by what is known of its damage; of blocks in `found` that counts instead.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] when rows are not what was written.
    pub fn group_verdict(
        &self,
        file: &FileRecord,
        group: &GroupGeometry,
        found: &BTreeMap<BlockIndex, DamageMap>,
    ) -> Result<GroupVerdict, CatalogError> {
        let mut damage = GroupDamage::new(*group, file.geometry.leaf());
        for index in group.blocks() {
            let map = match found.get(&index) {
                Some(map) => Some(map.clone()),
                None => self.known_map(file, index)?,
            };
            if let Some(map) = map {
                damage.set(group.position(index), map);
            }
        }
        Ok(damage.verdict())
    }

    fn known_map(&self, file: &FileRecord, index: BlockIndex) -> Result<Option<DamageMap>, CatalogError> {
        let block = self.block(file, index)?;
        let known = self.damage_of_block(block.id)?;
        if known.is_empty() {
            return Ok(None);
        }
        damage_map(&block.geometry, &known).map(Some)
    }
}

impl CatalogWriter {
    /// Returns the group of a block that alone cannot decode everything, now or before: what is lost of it depends on others.
    pub(super) fn group_beyond(
        &self,
        file: FileId,
        index: BlockIndex,
    ) -> Result<Option<GroupGeometry>, CatalogError> {
        let file = self.file(file)?;
        Ok(file.and_then(|file| file.geometry.group_of(index)))
    }

    /// Finds out what is lost of the blocks of a group, and writes that.
    pub(super) fn judge_group(&mut self, file: FileId, group: &GroupGeometry) -> Result<(), CatalogError> {
        let Some(file) = self.file(file)? else {
            return Ok(());
        };
        let verdict = self.group_verdict(&file, group, &BTreeMap::new())?;
        for (position, left) in verdict.left.iter().enumerate() {
            let position = u16::try_from(position).expect("a code has at most 1024 shards");
            let index = group.block_at(ShardIndex::new(position));
            let lost_bytes = left.as_ref().map_or(0, |left| left.verdict().lost_bytes());
            self.set_lost_bytes(&file, index, lost_bytes)?;
        }
        Ok(())
    }

    /// Corrects what is lost of a damaged block.
    fn set_lost_bytes(
        &mut self,
        file: &FileRecord,
        index: BlockIndex,
        lost_bytes: u64,
    ) -> Result<(), CatalogError> {
        let (table, block) = (CatalogTable::DamagedBlocks, self.block(file, index)?.id);
        let key = damaged_block_key(file.id, block);
        let Some(row) = self.source.get(&self.guard, table, &key)? else {
            return Ok(());
        };
        let row: DamagedBlockRow = unseal(table, &key, &row)?;
        let known = super::reader::checked(table, row.parse(file.id, block))?;
        if known.lost_bytes != lost_bytes {
            let now = DamagedBlock { lost_bytes, ..known };
            let row = seal(table, &key, &DamagedBlockRow::new(&now));
            self.put_rows(table, &[(key, row)])?;
        }
        Ok(())
    }
}
