//! How damage is noted and forgotten, and what follows from it for blocks and files, in one transaction.
//!
//! Whoever has found damage has looked a while ago, and beside others: so a finding says at which address it was made, and
//! counts only where the shard still lies there (compare and set).

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::guard::damaged;
use super::health::{
    DamageRecord, DamagedBlock, DamagedFile, FileState, HealthTotals, VolumeCounters, health_contradiction,
};
use super::records::{BlockRecord, ShardAddress, ShardOwner};
use super::rows::{DamageRow, DamagedBlockRow, DamagedFileRow, VolumeCountersRow};
use super::tables::{damage_key, damaged_block_key, file_key, seal, state_key, unseal, volume_key};
use super::writer::CatalogWriter;
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::geometry::BlockGeometry;
use crate::plan::{BlockVerdict, DamageKind, DamageMap};
use crate::units::{BlockId, FileId, ShardIndex, VolumeId};

/// How much of a frame was looked at when damage was found in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Knowledge {
    /// All of it: what was known before and was not found again is no more, as far as hashes tell.
    Whole,
    /// What somebody happened to read: it adds to what is known.
    Part,
}

/// Descriptors stand under this file, which none is.
const NO_FILE: FileId = FileId::new(0);

/// Damaged blocks of a file that are summed up at a time.
const PAGE_LEN: usize = 1024;

/// Blocks whose damage has changed.
type Changed = BTreeMap<BlockId, BlockRecord>;

impl CatalogWriter {
    /// Notes damage; returns of how many shards it is news. Findings of shards that lie elsewhere by now are dropped, and
    /// several of one shard count together.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] when rows are not what was written; it spoils the transaction.
    ///
    /// # Panics
    /// When a shard has no leaf in a column that is said to be bad.
    pub fn record_damage(
        &mut self,
        found: &[DamageRecord],
        knowledge: Knowledge,
    ) -> Result<u64, CatalogError> {
        self.change(|writer| {
            let mut changed = Changed::new();
            let mut news = 0;
            for damage in merged(found) {
                let block = writer.block_at(damage.owner, damage.shard, damage.address)?;
                let Some(block) = block.filter(|block| block.id == damage.block) else {
                    continue;
                };
                let map = DamageMap::new(block.geometry);
                for column in damage.columns.iter() {
                    let shard = damage.shard;
                    assert!(
                        map.has_leaf(shard, column),
                        "shard {shard} has no leaf in column {column}"
                    );
                }
                if writer.put_damage(&damage, knowledge)? {
                    news += 1;
                    changed.insert(block.id, block);
                }
            }
            writer.judge(&changed)?;
            Ok(news)
        })
    }

    /// Forgets the damage of shards that were read and found whole, each at its address; returns how many had any. Parity that
    /// is wrong whatever its hashes say stays so.
    ///
    /// # Errors
    /// As for [`Self::record_damage`].
    pub fn clear_damage(
        &mut self,
        whole: &[(ShardOwner, ShardIndex, ShardAddress)],
    ) -> Result<u64, CatalogError> {
        self.clear_where(whole, DamageKind::is_told_by_hashes)
    }

    /// Forgets that parity is wrong which was encoded again, all of it, and found to be the same; returns how many shards that
    /// was said of.
    ///
    /// # Errors
    /// As for [`Self::record_damage`].
    pub fn clear_encoding_damage(
        &mut self,
        right: &[(ShardOwner, ShardIndex, ShardAddress)],
    ) -> Result<u64, CatalogError> {
        self.clear_where(right, |kind| !kind.is_told_by_hashes())
    }

    fn clear_where(
        &mut self,
        whole: &[(ShardOwner, ShardIndex, ShardAddress)],
        is_cleared: impl Fn(DamageKind) -> bool,
    ) -> Result<u64, CatalogError> {
        if self.row_counts()?.get(CatalogTable::Damage) == 0 {
            return Ok(0);
        }
        self.change(|writer| {
            let mut changed = Changed::new();
            let mut cleared = 0;
            for &(owner, shard, address) in whole {
                let Some(block) = writer.block_at(owner, shard, address)? else {
                    continue;
                };
                let known = writer.damage_of_shard(block.id, shard)?;
                if known.is_some_and(|known| is_cleared(known.kind)) && writer.take_damage(block.id, shard)? {
                    cleared += 1;
                    changed.insert(block.id, block);
                }
            }
            writer.judge(&changed)?;
            Ok(cleared)
        })
    }

    /// Adds to what was ever repaired of a volume.
    ///
    /// # Errors
    /// [`CatalogError::UnknownVolume`] leaves the transaction as it was; others as for [`Self::record_damage`].
    pub fn count_repairs(&mut self, volume: VolumeId, shards: u64, bytes: u64) -> Result<(), CatalogError> {
        let volumes = self.volumes()?;
        let known = volumes.iter().find(|known| known.id == volume);
        let number = known.ok_or(CatalogError::UnknownVolume { volume })?.number;
        self.change(|writer| {
            writer.count(number, |counters| {
                counters.repaired_shards = counters.repaired_shards.saturating_add(shards);
                counters.repaired_bytes = counters.repaired_bytes.saturating_add(bytes);
            })
        })
    }

    /// Forgets the damage of blocks that go; the file that goes with them is judged when all of them are gone.
    pub(super) fn forget_damage(&mut self, blocks: &[&BlockRecord]) -> Result<(), CatalogError> {
        if self.row_counts()?.get(CatalogTable::Damage) == 0 {
            return Ok(());
        }
        for &block in blocks {
            let damage = self.damage_of_block(block.id)?;
            for damage in &damage {
                self.take_damage(block.id, damage.shard)?;
            }
            if !damage.is_empty() {
                self.judge_block(block)?;
            }
        }
        Ok(())
    }

    /// Forgets how a file is that is gone; blocks of it that others list may be damaged still.
    pub(super) fn forget_state(&mut self, file: FileId) -> Result<(), CatalogError> {
        if self.row_counts()?.get(CatalogTable::ByState) == 0 {
            return Ok(());
        }
        self.judge_file(file)
    }

    /// Forgets the damage of shards that were written anew elsewhere.
    pub(super) fn forget_damage_of_shards(
        &mut self,
        moved: &[(BlockRecord, Vec<ShardIndex>)],
    ) -> Result<(), CatalogError> {
        if self.row_counts()?.get(CatalogTable::Damage) == 0 {
            return Ok(());
        }
        let mut changed = Changed::new();
        for (block, shards) in moved {
            for &shard in shards {
                if self.take_damage(block.id, shard)? {
                    changed.insert(block.id, block.clone());
                }
            }
        }
        self.judge(&changed)
    }

    /// Returns the block of an owner, if the shard lies at that address.
    pub(super) fn block_at(
        &self,
        owner: ShardOwner,
        shard: ShardIndex,
        address: ShardAddress,
    ) -> Result<Option<BlockRecord>, CatalogError> {
        let block = self.block_by_owner(owner)?;
        Ok(block.filter(|block| {
            let record = block.shards.get(shard.as_usize()).and_then(Option::as_ref);
            record.is_some_and(|record| record.address() == address)
        }))
    }

    /// Writes what is known of a shard from now on; says whether that is news.
    fn put_damage(&mut self, found: &DamageRecord, knowledge: Knowledge) -> Result<bool, CatalogError> {
        let (table, key) = (CatalogTable::Damage, damage_key(found.block, found.shard));
        let known = self.damage_of_shard(found.block, found.shard)?;
        let known = known.filter(|known| known.address == found.address);
        let mut damage = found.clone();
        if let Some(known) = &known {
            if knowledge == Knowledge::Part || !known.kind.is_told_by_hashes() {
                damage.add(known);
            }
            damage.since = known.since;
            if damage == *known {
                return Ok(false);
            }
        }
        let row = seal(table, &key, &DamageRow::new(&damage));
        let added = self.put_rows(table, &[(key, row)])?;
        self.pending_mut().health.damaged_shards += added;
        if known.is_none() {
            self.count_finding(&damage)?;
        }
        Ok(true)
    }

    pub(super) fn damage_of_shard(
        &self,
        block: BlockId,
        shard: ShardIndex,
    ) -> Result<Option<DamageRecord>, CatalogError> {
        let (table, key) = (CatalogTable::Damage, damage_key(block, shard));
        let Some(row) = self.source.get(&self.guard, table, &key)? else {
            return Ok(None);
        };
        let row: DamageRow = unseal(table, &key, &row)?;
        super::reader::checked(table, row.parse(block, u64::from(shard.get()))).map(Some)
    }

    fn take_damage(&mut self, block: BlockId, shard: ShardIndex) -> Result<bool, CatalogError> {
        let taken = self.take_row(CatalogTable::Damage, damage_key(block, shard))?;
        if taken {
            let shards = &mut self.pending_mut().health.damaged_shards;
            *shards = shards.checked_sub(1).ok_or_else(health_contradiction)?;
        }
        Ok(taken)
    }

    fn count_finding(&mut self, damage: &DamageRecord) -> Result<(), CatalogError> {
        let extent = self.extent_row(damage.address.extent)?;
        let volume = extent
            .ok_or_else(|| damaged(CatalogTable::Extents, CatalogDamage::MissingRow))?
            .volume;
        self.count(volume, |counters| {
            let count = match damage.kind {
                DamageKind::Checksum => &mut counters.checksum,
                DamageKind::Misplaced => &mut counters.misplaced,
                DamageKind::IoError => &mut counters.io_error,
                DamageKind::Missing => &mut counters.missing,
                DamageKind::Encoding => &mut counters.encoding,
            };
            *count = count.saturating_add(1);
        })
    }

    fn count(&mut self, volume: u16, change: impl FnOnce(&mut VolumeCounters)) -> Result<(), CatalogError> {
        let (table, key) = (CatalogTable::VolumeCounters, volume_key(volume));
        let mut counters = match self.source.get(&self.guard, table, &key)? {
            Some(row) => unseal::<VolumeCountersRow>(table, &key, &row)?.parse(),
            None => VolumeCounters::default(),
        };
        change(&mut counters);
        let row = seal(table, &key, &VolumeCountersRow::new(&counters));
        self.put_rows(table, &[(key, row)])?;
        Ok(())
    }

    /// Finds out what the damage of blocks means for them and for their files, and writes that.
    fn judge(&mut self, changed: &Changed) -> Result<(), CatalogError> {
        let (mut files, mut groups) = (BTreeSet::new(), BTreeMap::new());
        for block in changed.values() {
            let needs_others = self.judge_block(block)?;
            files.insert(block.file);
            if needs_others && let Some(group) = self.group_beyond(block.file, block.index)? {
                groups.insert((block.file, group.index()), group);
            }
        }
        for ((file, _), group) in groups {
            self.judge_group(file, &group)?;
        }
        for file in files.into_iter().filter(|file| *file != NO_FILE) {
            self.judge_file(file)?;
        }
        Ok(())
    }

    /// Finds out what the damage of a block means for it alone, and writes that; says whether more than its parity makes good is bad,
    /// or was.
    fn judge_block(&mut self, block: &BlockRecord) -> Result<bool, CatalogError> {
        let table = CatalogTable::DamagedBlocks;
        let key = damaged_block_key(block.file, block.id);
        let before = match self.source.get(&self.guard, table, &key)? {
            Some(row) => Some(unseal::<DamagedBlockRow>(table, &key, &row)?),
            None => None,
        };
        let now = assess(block, &self.damage_of_block(block.id)?)?;
        if block.file == NO_FILE {
            let health = &mut self.pending_mut().health;
            let is_lost = |lost_bytes: u64| u64::from(lost_bytes > 0);
            let was = before.map_or((0, 0), |row| (1, is_lost(row.lost_bytes)));
            let is = now
                .as_ref()
                .map_or((0, 0), |block| (1, is_lost(block.lost_bytes)));
            health.damaged_descriptors = moved(health.damaged_descriptors, was.0, is.0)?;
            health.lost_descriptors = moved(health.lost_descriptors, was.1, is.1)?;
        }
        let worst = before.map_or(0, |row| row.worst);
        let worst = worst.max(now.as_ref().map_or(0, |block| block.worst));
        match now {
            Some(now) => {
                let row = seal(table, &key, &DamagedBlockRow::new(&now));
                self.put_rows(table, &[(key, row)])?;
            }
            None => {
                self.take_row(table, key)?;
            }
        }
        Ok(worst > block.geometry.shape().parity())
    }

    fn judge_file(&mut self, file: FileId) -> Result<(), CatalogError> {
        let table = CatalogTable::ByState;
        let mut before = HealthTotals::default();
        for state in [FileState::Degraded, FileState::Lost] {
            if self.take_row(table, state_key(state.number(), file))? {
                *count_mut(&mut before, state) += 1;
            }
        }
        let mut now = HealthTotals::default();
        let is_stored = (self
            .source
            .get(&self.guard, CatalogTable::Files, &file_key(file))?)
        .is_some();
        if is_stored && let Some(damage) = self.sum_up(file)? {
            *count_mut(&mut now, damage.state) += 1;
            let key = state_key(damage.state.number(), file);
            let row = seal(table, &key, &DamagedFileRow::new(&damage));
            self.put_rows(table, &[(key, row)])?;
        }
        let health = &mut self.pending_mut().health;
        for state in [FileState::Degraded, FileState::Lost] {
            let (was, is) = (*count_mut(&mut before, state), *count_mut(&mut now, state));
            let count = count_mut(health, state);
            *count = moved(*count, was, is)?;
        }
        Ok(())
    }

    fn sum_up(&self, file: FileId) -> Result<Option<DamagedFile>, CatalogError> {
        let mut sum: Option<DamagedFile> = None;
        let mut after = None;
        loop {
            let page = self.damaged_blocks_of(file, after, PAGE_LEN)?;
            for block in &page {
                let margin = block.parity.saturating_sub(block.worst);
                let sum = sum.get_or_insert(DamagedFile {
                    file,
                    state: FileState::Degraded,
                    shards: 0,
                    blocks: 0,
                    margin,
                    lost_bytes: 0,
                    since: block.since,
                });
                sum.shards += u64::from(block.shards);
                sum.blocks += 1;
                sum.margin = sum.margin.min(margin);
                sum.lost_bytes += block.lost_bytes;
                sum.since = sum.since.min(block.since);
                if sum.lost_bytes > 0 {
                    sum.state = FileState::Lost;
                }
            }
            after = page.last().map(|block| block.block);
            if page.len() < PAGE_LEN {
                return Ok(sum);
            }
        }
    }

    /// Removes a row if it is there; says whether it was.
    pub(super) fn take_row(&mut self, table: CatalogTable, key: Vec<u8>) -> Result<bool, CatalogError> {
        let is_there = self.source.get(&self.guard, table, &key)?.is_some();
        if is_there {
            self.remove_rows(table, &[key])?;
        }
        Ok(is_there)
    }
}

/// Puts together what was found of the same shard at the same address.
fn merged(found: &[DamageRecord]) -> Vec<DamageRecord> {
    let mut merged: BTreeMap<(BlockId, ShardIndex, ShardOwner, ShardAddress), DamageRecord> = BTreeMap::new();
    for damage in found {
        let key = (damage.block, damage.shard, damage.owner, damage.address);
        match merged.entry(key) {
            Entry::Occupied(mut before) => before.get_mut().add(damage),
            Entry::Vacant(free) => {
                free.insert(damage.clone());
            }
        }
    }
    merged.into_values().collect()
}

/// Says what damage means for a block; `None` when there is none.
fn assess(block: &BlockRecord, damage: &[DamageRecord]) -> Result<Option<DamagedBlock>, CatalogError> {
    let Some(first) = damage.first() else {
        return Ok(None);
    };
    let map = damage_map(&block.geometry, damage)?;
    let (worst, lost_bytes) = match map.verdict() {
        BlockVerdict::Intact => (0, 0),
        BlockVerdict::Degraded { worst } => (worst, 0),
        BlockVerdict::Lost { ranges, worst } => (worst, ranges.iter().map(|range| range.len()).sum()),
    };
    let since = damage.iter().map(|shard| shard.since).min();
    Ok(Some(DamagedBlock {
        file: block.file,
        block: block.id,
        owner: first.owner,
        shards: u16::try_from(damage.len()).expect("each shard has one key of 16 bits"),
        worst,
        parity: block.geometry.shape().parity(),
        lost_bytes,
        since: since.unwrap_or(first.since),
    }))
}

/// Returns which leaves of a block are known to be bad.
pub(super) fn damage_map(
    geometry: &BlockGeometry,
    damage: &[DamageRecord],
) -> Result<DamageMap, CatalogError> {
    let mut map = DamageMap::new(*geometry);
    for shard in damage {
        for column in shard.columns.iter() {
            if !map.has_leaf(shard.shard, column) {
                let about = "the columns of a shard";
                return Err(damaged(
                    CatalogTable::Damage,
                    CatalogDamage::Contradiction { about },
                ));
            }
            map.mark_leaf(shard.shard, column);
        }
    }
    Ok(map)
}

const fn count_mut(totals: &mut HealthTotals, state: FileState) -> &mut u64 {
    match state {
        FileState::Degraded => &mut totals.degraded_files,
        FileState::Lost => &mut totals.lost_files,
    }
}

/// Returns a count with so many less and so many more.
fn moved(count: u64, less: u64, more: u64) -> Result<u64, CatalogError> {
    count
        .checked_sub(less)
        .map(|rest| rest + more)
        .ok_or_else(health_contradiction)
}
