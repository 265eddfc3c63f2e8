//! What is known of damage and of verification, and the queries that ask for it.
//!
//! All of it is knowledge of this catalog alone: no journal has it, and a catalog that is made again from the volumes begins
//! without. What says how a file is follows from the damage of its shards by the rule of `plan`, and is kept in the same
//! transaction, so that no query looks at more than it returns.

use core::ops::Bound;
use std::collections::BTreeSet;

use super::guard::damaged;
use super::reader::{CatalogReader, checked};
use super::records::{ShardAddress, ShardOwner};
use super::rows::{
    DamageRow, DamagedBlockRow, DamagedFileRow, HealthRow, UnverifiedRow, VerifiedRow, VolumeCountersRow,
};
use super::source::{KeyValue, Order};
use super::tables::{
    TOTALS_HEALTH, damage_key, damaged_block_key, file_key, parse_key, state_key, unseal, verified_key,
};
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::plan::{ColumnSet, DamageKind, DamagePart, VerifiedInterval};
use crate::units::{BlockId, ExtentId, FileId, ShardIndex, Timestamp, VolumeId};

/// Damage of one shard, as it was found at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamageRecord {
    /// Whose block it is.
    pub owner: ShardOwner,
    /// The block.
    pub block: BlockId,
    /// The shard.
    pub shard: ShardIndex,
    /// Where the damaged frame lies. Damage at another address is no damage of this shard any more.
    pub address: ShardAddress,
    /// Columns whose leaf is bad, the table column among them; empty when only the frame around the payload is.
    pub columns: ColumnSet,
    /// The part of the frame that matters most.
    pub part: DamagePart,
    /// What is wrong with it.
    pub kind: DamageKind,
    /// When it was found first.
    pub since: Timestamp,
}

impl DamageRecord {
    /// Adds what else was found of the same shard at the same address.
    pub(crate) fn add(&mut self, other: &Self) {
        self.columns.union_with(&other.columns);
        (self.part, self.kind) = (self.part, self.kind).max((other.part, other.kind));
        self.since = self.since.min(other.since);
    }
}

/// A block with damaged shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamagedBlock {
    /// The file that the block was made for; 0 for what a descriptor lies in.
    pub file: FileId,
    /// The block.
    pub block: BlockId,
    /// Whose it is.
    pub owner: ShardOwner,
    /// Damaged shards.
    pub shards: u16,
    /// Bad leaves in the worst column; 0 when only frames are bad around their payloads.
    pub worst: u16,
    /// Bad leaves that a column may have.
    pub parity: u16,
    /// Bytes that cannot be decoded.
    pub lost_bytes: u64,
    /// When the first of the damage was found.
    pub since: Timestamp,
}

/// How a damaged file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileState {
    /// Every byte can be decoded.
    Degraded,
    /// Bytes cannot be decoded.
    Lost,
}

impl FileState {
    /// Returns the number that stands for it on disk.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Degraded => 1,
            Self::Lost => 2,
        }
    }

    pub(super) const fn from_number(number: u64) -> Option<Self> {
        match number {
            1 => Some(Self::Degraded),
            2 => Some(Self::Lost),
            _ => None,
        }
    }
}

/// A file with damaged shards.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DamagedFile {
    /// The file.
    pub file: FileId,
    /// Whether bytes are lost.
    pub state: FileState,
    /// Damaged shards.
    pub shards: u64,
    /// Blocks that have them.
    pub blocks: u64,
    /// How many more shards the worst column may lose; 0 when bytes are lost.
    pub margin: u16,
    /// Bytes that cannot be decoded.
    pub lost_bytes: u64,
    /// When the first of the damage was found.
    pub since: Timestamp,
}

/// Sums over all damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HealthTotals {
    /// Files with damage that can be decoded completely.
    pub degraded_files: u64,
    /// Files with bytes that cannot be decoded.
    pub lost_files: u64,
    /// Files of which some byte was not read back since they were committed; they may be in any state.
    pub unverified_files: u64,
    /// Damaged shards, those of descriptors among them.
    pub damaged_shards: u64,
    /// Descriptors with damage, those among them that have lost bytes.
    pub damaged_descriptors: u64,
    /// Descriptors with bytes that cannot be decoded.
    pub lost_descriptors: u64,
}

/// What was ever found on a volume, and repaired from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VolumeCounters {
    /// Shards that did not match their hash.
    pub checksum: u64,
    /// Shards that another frame stood in the place of.
    pub misplaced: u64,
    /// Shards that the storage refused to read.
    pub io_error: u64,
    /// Shards whose extent was gone or too short.
    pub missing: u64,
    /// Parity shards that were encoded wrongly.
    pub encoding: u64,
    /// Damaged shards that were written anew elsewhere.
    pub repaired_shards: u64,
    /// Bytes of the frames that were written for them.
    pub repaired_bytes: u64,
}

#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for every query and explained with the type"
)]
impl CatalogReader {
    /// Returns the sums over all damage; costs the same whatever its number.
    pub fn health(&self) -> Result<HealthTotals, CatalogError> {
        let totals = match &self.pending {
            Some(pending) => pending.health,
            None => self
                .required::<HealthRow>(CatalogTable::Totals, TOTALS_HEALTH)?
                .parse(),
        };
        let counts = self.row_counts()?;
        let damaged_files = totals.degraded_files.checked_add(totals.lost_files);
        if damaged_files != Some(counts.get(CatalogTable::ByState))
            || totals.damaged_shards != counts.get(CatalogTable::Damage)
        {
            return Err(health_contradiction());
        }
        Ok(HealthTotals {
            unverified_files: counts.get(CatalogTable::Unverified),
            ..totals
        })
    }

    /// Says whether anything is known to be wrong with any shard: whoever asks about many blocks asks this first.
    pub fn knows_of_damage(&self) -> Result<bool, CatalogError> {
        Ok(self.row_counts()?.get(CatalogTable::Damage) > 0)
    }

    /// Returns what is known to be wrong with the shards of a block, in their order.
    pub fn damage_of_block(&self, block: BlockId) -> Result<Vec<DamageRecord>, CatalogError> {
        let table = CatalogTable::Damage;
        if !self.knows_of_damage()? {
            return Ok(Vec::new());
        }
        let (start, end) = (
            damage_key(block, ShardIndex::new(0)),
            damage_key(block, ShardIndex::new(u16::MAX)),
        );
        let all = (Bound::Included(start.as_slice()), Some(end.as_slice()));
        // A block has at most 256 shards.
        let rows = self.page(table, all, (Order::Rising, usize::from(u16::MAX)))?;
        self.prove(table)?;
        rows.iter().map(parse_damage).collect()
    }

    /// Visits all that is known to be wrong.
    pub(super) fn for_each_damage(&self, mut visit: impl FnMut(DamageRecord)) -> Result<(), CatalogError> {
        self.for_each_page(CatalogTable::Damage, |rows| {
            rows.iter().try_for_each(|row| parse_damage(row).map(&mut visit))
        })
    }

    /// Returns at most `limit` damaged blocks behind `after`, by file and block, those of descriptors first; fewer mean that no
    /// more follow.
    pub fn damaged_blocks_page(
        &self,
        after: Option<(FileId, BlockId)>,
        limit: usize,
    ) -> Result<Vec<DamagedBlock>, CatalogError> {
        let table = CatalogTable::DamagedBlocks;
        let after = after.map(|(file, block)| damaged_block_key(file, block));
        let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.proven_page(table, (start, None), limit)?;
        rows.iter().map(parse_damaged_block).collect()
    }

    /// Returns at most `limit` damaged blocks of a file behind the block `after`; fewer mean that no more follow.
    pub fn damaged_blocks_of(
        &self,
        file: FileId,
        after: Option<BlockId>,
        limit: usize,
    ) -> Result<Vec<DamagedBlock>, CatalogError> {
        let table = CatalogTable::DamagedBlocks;
        if self.row_counts()?.get(table) == 0 {
            return Ok(Vec::new());
        }
        let start = damaged_block_key(file, after.unwrap_or(BlockId::new(0)));
        let end = damaged_block_key(FileId::new(file.get().saturating_add(1)), BlockId::new(0));
        let start = match after {
            Some(_) => Bound::Excluded(start.as_slice()),
            None => Bound::Included(start.as_slice()),
        };
        let rows = self.proven_page(table, (start, Some(&end)), limit)?;
        rows.iter().map(parse_damaged_block).collect()
    }

    /// Returns at most `limit` files that are in a state, behind the file `after`, by their ids; fewer mean that no more follow.
    pub fn damaged_files_page(
        &self,
        state: FileState,
        after: Option<FileId>,
        limit: usize,
    ) -> Result<Vec<DamagedFile>, CatalogError> {
        let table = CatalogTable::ByState;
        let start = state_key(state.number(), after.unwrap_or(FileId::new(0)));
        let end = state_key(state.number() + 1, FileId::new(0));
        let start = Bound::Excluded(start.as_slice());
        let rows = self.proven_page(table, (start, Some(&end)), limit)?;
        let files = rows.iter().map(|(key, row)| {
            let [state, file] = parse_key(table, key)?;
            let row: DamagedFileRow = unseal(table, key, row)?;
            checked(table, row.parse(state, FileId::new(file)))
        });
        files.collect()
    }

    /// Returns what is known to be wrong with a file, if anything is.
    pub fn damaged_file(&self, file: FileId) -> Result<Option<DamagedFile>, CatalogError> {
        let table = CatalogTable::ByState;
        if self.row_counts()?.get(table) == 0 {
            return Ok(None);
        }
        for state in [FileState::Degraded, FileState::Lost] {
            let key = state_key(state.number(), file);
            if let Some(row) = self.source.get(&self.guard, table, &key)? {
                let row: DamagedFileRow = unseal(table, &key, &row)?;
                return checked(table, row.parse(u64::from(state.number()), file)).map(Some);
            }
        }
        self.none(table)
    }

    /// Returns at most `limit` files behind `after` of which some byte was not read back since they were committed, by their
    /// ids; fewer mean that no more follow.
    pub fn unverified_page(&self, after: Option<FileId>, limit: usize) -> Result<Vec<FileId>, CatalogError> {
        let table = CatalogTable::Unverified;
        let after = after.map(file_key);
        let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.proven_page(table, (start, None), limit)?;
        let files = rows.iter().map(|(key, row)| {
            let [file] = parse_key(table, key)?;
            let UnverifiedRow = unseal(table, key, row)?;
            Ok(FileId::new(file))
        });
        files.collect()
    }

    /// Says whether some byte of a file was not read back since it was committed.
    pub fn is_unverified(&self, file: FileId) -> Result<bool, CatalogError> {
        let table = CatalogTable::Unverified;
        if self.row_counts()?.get(table) == 0 {
            return Ok(false);
        }
        let key = file_key(file);
        match self.source.get(&self.guard, table, &key)? {
            Some(row) => unseal(table, &key, &row).map(|UnverifiedRow| true),
            None => self.prove(table).map(|()| false),
        }
    }

    /// Returns those files of which some byte was not read back since they were committed, in their order.
    pub(super) fn unverified_of(&self, files: &BTreeSet<FileId>) -> Result<Vec<FileId>, CatalogError> {
        let table = CatalogTable::Unverified;
        let keys: Vec<_> = files.iter().map(|file| file_key(*file)).collect();
        let rows = self.source.get_all(&self.guard, table, &keys)?;
        if rows.contains(&None) {
            self.prove(table)?;
        }
        let mut unverified = Vec::new();
        for ((file, key), row) in files.iter().zip(&keys).zip(rows) {
            if let Some(row) = row {
                let UnverifiedRow = unseal(table, key, &row)?;
                unverified.push(*file);
            }
        }
        Ok(unverified)
    }

    /// Returns when which bytes of an extent were verified, in their order; bytes in no range never were.
    pub fn verified_of(&self, extent: ExtentId) -> Result<Vec<VerifiedInterval>, CatalogError> {
        let table = CatalogTable::Verified;
        if self.row_counts()?.get(table) == 0 {
            return Ok(Vec::new());
        }
        let next = ExtentId::new(extent.get().saturating_add(1));
        let (start, end) = (verified_key(extent, 0), verified_key(next, 0));
        let all = (Bound::Included(start.as_slice()), Some(end.as_slice()));
        let rows = self.page(table, all, (Order::Rising, usize::MAX))?;
        self.prove(table)?;
        rows.iter().map(parse_verified).collect()
    }

    /// Returns what was ever found on each volume; one without a row has nothing to tell.
    pub fn volume_counters(&self) -> Result<Vec<(VolumeId, VolumeCounters)>, CatalogError> {
        let volumes = self.volumes()?;
        let mut all = Vec::new();
        self.for_each_row(CatalogTable::VolumeCounters, |key, row| {
            let [number] = parse_key(CatalogTable::VolumeCounters, key)?;
            let row: VolumeCountersRow = unseal(CatalogTable::VolumeCounters, key, row)?;
            let volume = volumes.iter().find(|volume| u64::from(volume.number) == number);
            let volume = volume.ok_or_else(|| damaged(CatalogTable::Volumes, CatalogDamage::MissingRow))?;
            all.push((volume.id, row.parse()));
            Ok(())
        })?;
        Ok(all)
    }
}

pub(super) fn health_contradiction() -> CatalogError {
    let about = "the sums over all damage";
    damaged(CatalogTable::Totals, CatalogDamage::Contradiction { about })
}

fn parse_damaged_block((key, row): &(Vec<u8>, Vec<u8>)) -> Result<DamagedBlock, CatalogError> {
    let table = CatalogTable::DamagedBlocks;
    let [file, block] = parse_key(table, key)?;
    let row: DamagedBlockRow = unseal(table, key, row)?;
    checked(table, row.parse(FileId::new(file), BlockId::new(block)))
}

fn parse_damage((key, row): &KeyValue) -> Result<DamageRecord, CatalogError> {
    let table = CatalogTable::Damage;
    let [block, shard] = parse_key(table, key)?;
    let row: DamageRow = unseal(table, key, row)?;
    checked(table, row.parse(BlockId::new(block), shard))
}

pub(super) fn parse_verified((key, row): &KeyValue) -> Result<VerifiedInterval, CatalogError> {
    let table = CatalogTable::Verified;
    let [_extent, start] = parse_key(table, key)?;
    let row: VerifiedRow = unseal(table, key, row)?;
    checked(table, row.parse(start))
}
