//! Queries.

use core::ops::Bound;
use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;

use super::guard::{Guard, damaged};
use super::health::HealthTotals;
use super::records::{BlockRecord, ExtentRecord, FileRecord, ShardOwner, ShardPlace, Totals, VolumeRecord};
use super::rows::{
    BlockRow, CountersRow, ExtentRow, ExtentShardRow, FileBlockRow, FileRow, ImpossibleField, JournalRow,
    NameRow, RowCountsRow, TotalsRow, VolumeRow,
};
use super::source::{KeyValue, Source};
use super::tables::{
    META_COUNTERS, META_JOURNAL, META_ROW_COUNTS, TOTALS_ALL, block_key, extent_key, extent_shard_key,
    file_block_key, file_key, parse_key, unseal, volume_key,
};
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::units::{BlockId, BlockIndex, CommitId, Epoch, ExtentId, FileId, FileName, VolumeId};

/// The state of the catalog at one moment; a [`CatalogWriter`](super::CatalogWriter) sees its own changes on top.
///
/// An answer that says "there is none" is given only when the table is known to be whole: the pages were checked when the
/// catalog was opened, or the first such answer scans the table and compares the count of its rows. Every method fails
/// with [`CatalogError::Damaged`] when rows are not what was written, and with [`CatalogError::Io`] when the file cannot
/// be read.
#[derive(Debug)]
pub struct CatalogReader {
    pub(super) source: Source,
    pub(super) guard: Guard,
    pub(super) pending: Option<Pending>,
}

/// What a write transaction keeps in memory until it commits.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) counters: CountersRow,
    pub(super) row_counts: RowCountsRow,
    pub(super) totals: Totals,
    pub(super) health: HealthTotals,
    /// Rows of extents that differ from those in the table; all of them have one there.
    pub(super) extents: BTreeMap<ExtentId, ExtentRow>,
    /// Commits whose descriptors nobody needs from now on.
    pub(super) forgotten: BTreeSet<CommitId>,
    /// Versions above 1 that entries of the published descriptor got, by position.
    pub(super) versions: BTreeMap<u32, u32>,
}

#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for every query and explained with the type"
)]
impl CatalogReader {
    pub(super) const fn new(source: Source, guard: Guard) -> Self {
        Self {
            source,
            guard,
            pending: None,
        }
    }

    /// Returns the sums over all files; costs the same whatever their number.
    pub fn totals(&self) -> Result<Totals, CatalogError> {
        match &self.pending {
            Some(pending) => Ok(pending.totals),
            None => Ok(self
                .required::<TotalsRow>(CatalogTable::Totals, TOTALS_ALL)?
                .parse()),
        }
    }

    /// Returns the number of the last publishing transaction.
    pub fn epoch(&self) -> Result<Epoch, CatalogError> {
        Ok(Epoch::new(self.counters()?.epoch))
    }

    /// Returns what the journal has left beside the catalog; empty in a new one.
    pub fn journal(&self) -> Result<Vec<u8>, CatalogError> {
        let row: JournalRow = self.required(CatalogTable::Meta, META_JOURNAL)?;
        Ok(row.bytes)
    }

    /// Returns all volumes by their numbers.
    pub fn volumes(&self) -> Result<Vec<VolumeRecord>, CatalogError> {
        let mut volumes = Vec::new();
        self.for_each_row(CatalogTable::Volumes, |key, row| {
            let [number] = parse_key(CatalogTable::Volumes, key)?;
            let row: VolumeRow = unseal(CatalogTable::Volumes, key, row)?;
            volumes.push(checked(CatalogTable::Volumes, row.parse(number))?);
            Ok(())
        })?;
        Ok(volumes)
    }

    /// Returns the file of that name.
    pub fn file_by_name(&self, name: &FileName) -> Result<Option<FileRecord>, CatalogError> {
        Ok(self.file_with_inline_block(name)?.map(|(file, _block)| file))
    }

    /// Returns the file of that id.
    pub fn file(&self, id: FileId) -> Result<Option<FileRecord>, CatalogError> {
        Ok(self.file_by_id(id)?.map(|(file, _block)| file))
    }

    /// Returns the files of some ids, in their order, each with its block when it has exactly one; without those that are gone.
    pub fn files_with_blocks(
        &self,
        ids: &[FileId],
    ) -> Result<Vec<(FileRecord, Option<BlockRecord>)>, CatalogError> {
        let keys: Vec<_> = ids.iter().map(|id| file_key(*id)).collect();
        let rows = self.source.get_all(&self.guard, CatalogTable::Files, &keys)?;
        let files = ids.iter().zip(rows).filter_map(|(id, row)| match row {
            Some(row) => Some(parse_file(*id, &row)),
            None => self.none(CatalogTable::Files).transpose(),
        });
        files.collect()
    }

    /// Returns a block of a file.
    ///
    /// # Panics
    /// When the file has no such block.
    pub fn block(&self, file: &FileRecord, index: BlockIndex) -> Result<BlockRecord, CatalogError> {
        let expected = file.geometry.block(index);
        let block = if file.geometry.block_count() == 1 {
            self.inline_block(file.id)?
        } else {
            let key = file_block_key(file.id, index);
            let row: FileBlockRow = self.required(CatalogTable::FileBlocks, &key)?;
            self.required_block(BlockId::new(row.block))?
        };
        // A block may have been made for another file at another offset, never with other bytes.
        let found = &block.geometry;
        if found.data_len_bytes() != expected.data_len_bytes()
            || found.shape() != expected.shape()
            || found.leaf() != expected.leaf()
        {
            let detail = CatalogDamage::Contradiction {
                about: "the geometry of a block",
            };
            return Err(damaged(CatalogTable::Blocks, detail));
        }
        Ok(block)
    }

    /// Returns the block of that id; a block that is inline in the row of its file has no row here.
    pub fn block_by_id(&self, id: BlockId) -> Result<Option<BlockRecord>, CatalogError> {
        match self
            .source
            .get(&self.guard, CatalogTable::Blocks, &block_key(id))?
        {
            Some(row) => Ok(Some(parse_block(id, &row)?)),
            None => self.none(CatalogTable::Blocks),
        }
    }

    /// Returns the block that owns a frame, or `None` when it is gone.
    pub fn block_by_owner(&self, owner: ShardOwner) -> Result<Option<BlockRecord>, CatalogError> {
        match owner {
            ShardOwner::Block(id) => self.block_by_id(id),
            ShardOwner::Descriptor(commit) => Ok(self.descriptor(commit)?.map(|found| found.block)),
            ShardOwner::InlineBlockOf(file) => Ok(self.file_by_id(file)?.and_then(|(_file, block)| block)),
        }
    }

    /// Returns all extents by their ids.
    pub fn extents(&self) -> Result<Vec<ExtentRecord>, CatalogError> {
        let volumes: BTreeMap<u16, VolumeId> = self
            .volumes()?
            .into_iter()
            .map(|volume| (volume.number, volume.id))
            .collect();
        let mut extents = Vec::new();
        self.for_each_row(CatalogTable::Extents, |key, row| {
            let id = parse_key(CatalogTable::Extents, key).map(|[id]| ExtentId::new(id))?;
            let row = self.newest_extent(id, unseal(CatalogTable::Extents, key, row)?);
            let volume = volumes.get(&row.volume);
            let volume = volume.ok_or_else(|| damaged(CatalogTable::Volumes, CatalogDamage::MissingRow))?;
            extents.push(checked(CatalogTable::Extents, row.parse(id, *volume))?);
            Ok(())
        })?;
        Ok(extents)
    }

    /// Returns the extent of that id.
    pub fn extent(&self, id: ExtentId) -> Result<Option<ExtentRecord>, CatalogError> {
        let Some(row) = self.extent_row(id)? else {
            return self.none(CatalogTable::Extents);
        };
        let key = volume_key(row.volume);
        let volume: VolumeRow = self.required(CatalogTable::Volumes, &key)?;
        let volume = checked(CatalogTable::Volumes, volume.parse(u64::from(row.volume)))?;
        Ok(Some(checked(CatalogTable::Extents, row.parse(id, volume.id))?))
    }

    /// Returns at most `limit` live frames behind the place `after`, in disk order; fewer mean that no more follow.
    pub fn shards_page(
        &self,
        after: Option<(ExtentId, u64)>,
        limit: usize,
    ) -> Result<Vec<ShardPlace>, CatalogError> {
        let table = CatalogTable::ExtentShards;
        let after = after.map(|(extent, offset)| extent_shard_key(extent, offset));
        let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.proven_page(table, (start, None), limit)?;
        rows.iter().map(parse_place).collect()
    }

    pub(super) fn counters(&self) -> Result<CountersRow, CatalogError> {
        match &self.pending {
            Some(pending) => Ok(pending.counters),
            None => self.required(CatalogTable::Meta, META_COUNTERS),
        }
    }

    pub(super) fn row_counts(&self) -> Result<RowCountsRow, CatalogError> {
        match &self.pending {
            Some(pending) => Ok(pending.row_counts),
            None => self.required(CatalogTable::Meta, META_ROW_COUNTS),
        }
    }

    pub(super) fn file_with_inline_block(
        &self,
        name: &FileName,
    ) -> Result<Option<(FileRecord, Option<BlockRecord>)>, CatalogError> {
        let key = name.as_bytes();
        let Some(row) = self.source.get(&self.guard, CatalogTable::Names, key)? else {
            return self.none(CatalogTable::Names);
        };
        let id = FileId::new(unseal::<NameRow>(CatalogTable::Names, key, &row)?.file);
        let row = self.source.get(&self.guard, CatalogTable::Files, &file_key(id))?;
        parse_named_file(id, key, row.as_deref()).map(Some)
    }

    pub(super) fn extent_row(&self, id: ExtentId) -> Result<Option<ExtentRow>, CatalogError> {
        let key = extent_key(id);
        let Some(row) = self.source.get(&self.guard, CatalogTable::Extents, &key)? else {
            return Ok(None);
        };
        Ok(Some(
            self.newest_extent(id, unseal(CatalogTable::Extents, &key, &row)?),
        ))
    }

    /// Reads a row that has to be there.
    pub(super) fn required<B: DeserializeOwned>(
        &self,
        table: CatalogTable,
        key: &[u8],
    ) -> Result<B, CatalogError> {
        match self.source.get(&self.guard, table, key)? {
            Some(row) => unseal(table, key, &row),
            None => Err(damaged(table, CatalogDamage::MissingRow)),
        }
    }

    pub(super) fn required_block(&self, id: BlockId) -> Result<BlockRecord, CatalogError> {
        let row = self
            .source
            .get(&self.guard, CatalogTable::Blocks, &block_key(id))?;
        let row = row.ok_or_else(|| damaged(CatalogTable::Blocks, CatalogDamage::MissingRow))?;
        parse_block(id, &row)
    }

    pub(super) fn file_by_id(
        &self,
        id: FileId,
    ) -> Result<Option<(FileRecord, Option<BlockRecord>)>, CatalogError> {
        match self.source.get(&self.guard, CatalogTable::Files, &file_key(id))? {
            Some(row) => parse_file(id, &row).map(Some),
            None => self.none(CatalogTable::Files),
        }
    }

    fn inline_block(&self, file: FileId) -> Result<BlockRecord, CatalogError> {
        let row = self
            .source
            .get(&self.guard, CatalogTable::Files, &file_key(file))?;
        let row = row.ok_or_else(|| damaged(CatalogTable::Files, CatalogDamage::MissingRow))?;
        let (_file, block) = parse_file(file, &row)?;
        let contradiction = CatalogDamage::Contradiction {
            about: "the blocks of a file",
        };
        block.ok_or_else(|| damaged(CatalogTable::Files, contradiction))
    }

    fn newest_extent(&self, id: ExtentId, stored: ExtentRow) -> ExtentRow {
        let pending = self.pending.as_ref().and_then(|pending| pending.extents.get(&id));
        pending.copied().unwrap_or(stored)
    }
}

/// Parses a row of `extent_shards`.
pub(super) fn parse_place((key, row): &KeyValue) -> Result<ShardPlace, CatalogError> {
    let table = CatalogTable::ExtentShards;
    let [extent, offset] = parse_key(table, key)?;
    let row: ExtentShardRow = unseal(table, key, row)?;
    let (owner, shard) = checked(table, row.parse())?;
    Ok(ShardPlace {
        extent: ExtentId::new(extent),
        offset,
        owner,
        shard,
    })
}

/// Turns an impossible field into damage of the table it was read from.
pub(super) fn checked<T>(table: CatalogTable, parsed: Result<T, ImpossibleField>) -> Result<T, CatalogError> {
    parsed.map_err(|ImpossibleField(field)| damaged(table, CatalogDamage::Impossible { field }))
}

pub(super) fn parse_file(id: FileId, row: &[u8]) -> Result<(FileRecord, Option<BlockRecord>), CatalogError> {
    let row: FileRow = unseal(CatalogTable::Files, &file_key(id), row)?;
    checked(CatalogTable::Files, row.parse(id))
}

/// Parses the row of a file that was found by its name.
pub(super) fn parse_named_file(
    id: FileId,
    name: &[u8],
    row: Option<&[u8]>,
) -> Result<(FileRecord, Option<BlockRecord>), CatalogError> {
    let row = row.ok_or_else(|| damaged(CatalogTable::Files, CatalogDamage::MissingRow))?;
    let (file, block) = parse_file(id, row)?;
    if file.is_kept || file.name.as_bytes() != name {
        let detail = CatalogDamage::Contradiction {
            about: "the name of a file",
        };
        return Err(damaged(CatalogTable::Files, detail));
    }
    Ok((file, block))
}

fn parse_block(id: BlockId, row: &[u8]) -> Result<BlockRecord, CatalogError> {
    let row: BlockRow = unseal(CatalogTable::Blocks, &block_key(id), row)?;
    checked(CatalogTable::Blocks, row.parse(id))
}
