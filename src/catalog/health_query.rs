//! Questions about health for many files at a time, each table opened once.

use core::ops::Bound;

use super::health::DamagedFile;
use super::reader::{CatalogReader, checked, parse_place};
use super::records::{BlockRecord, FileRecord, ShardPlace};
use super::rows::{DamagedFileRow, UnverifiedRow};
use super::tables::{extent_shard_key, file_key, state_key, unseal};
use super::verified::Verified;
use super::{FileState, reader};
use crate::error::{CatalogError, CatalogTable};
use crate::units::{ExtentId, FileId, Timestamp};

/// An entry, with its block when it has exactly one.
type Entry = (FileRecord, Option<BlockRecord>);

#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for every query and explained with the type"
)]
impl CatalogReader {
    /// Returns the entries of many ids, in their order, each with its block when it has exactly one; `None` for those that are
    /// gone.
    pub fn files_by_ids(&self, ids: &[FileId]) -> Result<Vec<Option<Entry>>, CatalogError> {
        let table = CatalogTable::Files;
        let keys: Vec<Vec<u8>> = ids.iter().map(|&id| file_key(id)).collect();
        let rows = self.source.get_all(&self.guard, table, &keys)?;
        let entries = ids.iter().zip(rows).map(|(&id, row)| match row {
            Some(row) => reader::parse_file(id, &row).map(Some),
            None => self.none(table),
        });
        entries.collect()
    }

    /// Returns what is known to be wrong with many files, in the order of their ids; `None` where nothing is.
    pub fn damaged_files(&self, ids: &[FileId]) -> Result<Vec<Option<DamagedFile>>, CatalogError> {
        let table = CatalogTable::ByState;
        let mut found = vec![None; ids.len()];
        if self.row_counts()?.get(table) == 0 {
            return Ok(found);
        }
        let mut left: Vec<usize> = (0..ids.len()).collect();
        for state in [FileState::Degraded, FileState::Lost] {
            let key = |&slot: &usize| state_key(state.number(), ids[slot]);
            let keys: Vec<Vec<u8>> = left.iter().map(key).collect();
            let rows = self.source.get_all(&self.guard, table, &keys)?;
            for ((&slot, key), row) in left.iter().zip(&keys).zip(rows) {
                if let Some(row) = row {
                    let row: DamagedFileRow = unseal(table, key, &row)?;
                    found[slot] = Some(checked(table, row.parse(u64::from(state.number()), ids[slot]))?);
                }
            }
            left.retain(|&slot| found[slot].is_none());
        }
        if !left.is_empty() {
            self.prove(table)?;
        }
        Ok(found)
    }

    /// Says of many files, in the order of their ids, whether some byte was not read back since they were committed.
    pub fn are_unverified(&self, ids: &[FileId]) -> Result<Vec<bool>, CatalogError> {
        let table = CatalogTable::Unverified;
        if self.row_counts()?.get(table) == 0 {
            return Ok(vec![false; ids.len()]);
        }
        let keys: Vec<Vec<u8>> = ids.iter().map(|&id| file_key(id)).collect();
        let rows = self.source.get_all(&self.guard, table, &keys)?;
        let mut found = Vec::with_capacity(ids.len());
        for (key, row) in keys.iter().zip(rows) {
            if let Some(row) = &row {
                let UnverifiedRow = unseal(table, key, row)?;
            } else {
                self.prove(table)?;
            }
            found.push(row.is_some());
        }
        Ok(found)
    }

    /// Returns at most `limit` live frames of an extent behind the one at the offset `after`, in disk order; fewer mean that no
    /// more follow.
    pub fn shards_of_extent(
        &self,
        extent: ExtentId,
        after: Option<u64>,
        limit: usize,
    ) -> Result<Vec<ShardPlace>, CatalogError> {
        let table = CatalogTable::ExtentShards;
        let start = extent_shard_key(extent, after.unwrap_or(0));
        let end = extent_shard_key(ExtentId::new(extent.get().saturating_add(1)), 0);
        let start = match after {
            Some(_) => Bound::Excluded(start.as_slice()),
            None => Bound::Included(start.as_slice()),
        };
        let rows = self.proven_page(table, (start, Some(&end)), limit)?;
        rows.iter().map(parse_place).collect()
    }
}

impl Verified {
    /// Returns when the byte of an entry was verified that was verified longest ago, as [`Self::oldest`] does, without looking
    /// up the block of an entry that has exactly one.
    ///
    /// # Errors
    /// As for [`Self::oldest`].
    pub fn oldest_of_entry(
        &mut self,
        reader: &CatalogReader,
        (file, block): (&FileRecord, Option<&BlockRecord>),
    ) -> Result<Option<Timestamp>, CatalogError> {
        match block {
            Some(block) => self.oldest_of(reader, std::iter::once(Ok(block.clone()))),
            None => self.oldest(reader, file),
        }
    }
}
