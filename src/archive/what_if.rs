//! What the loss of extents or of a volume would mean for files, from the catalog alone.
//!
//! What commits have written about their files is not counted: no file loses a byte with it.

mod groups;

use std::{collections::BTreeSet, sync::Arc};

use super::{
    FileInfo, HealthState, Snapshot,
    name_pages::{Entry, PAGE_LEN},
    shared::Shared,
};
use crate::{
    catalog::{
        BlockRecord, CatalogReader, DamagedFile, ExtentRecord, ExtentState, FileState, ShardOwner,
        ShardPlace, Totals,
    },
    error::{CatalogDamage, CatalogError, CatalogTable},
    geometry::Tier,
    plan::{BlockVerdict, DamageMap},
    units::{BlockIndex, ExtentId, FileId, ShardIndex, VolumeId, to_u64},
};

/// Files of several blocks that are remembered as seen; where there are more, the extents are gone through several times.
const MAX_SEEN_FILES: u64 = 1 << 20;

/// Something that may be lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Loss {
    /// Everything in an extent.
    Extent(ExtentId),
    /// Every extent of a volume.
    Volume(VolumeId),
}

/// What a loss would mean in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WhatIfReport {
    /// Extents that would be lost.
    pub extents: u64,
    /// Bytes of live frames in them.
    pub frame_bytes: u64,
    /// Files that have a shard there.
    pub files: u64,
    /// Files that are healthy now, and would be degraded.
    pub newly_degraded: u64,
    /// Files of which every byte can be decoded now, and would not be.
    pub newly_lost: u64,
    /// Bytes that can be decoded now, and could not be; those of files that have lost others before count along.
    pub lost_bytes: u64,
}

/// What a loss would mean for a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLoss {
    /// The file.
    pub file: FileInfo,
    /// How it is now.
    pub now: HealthState,
    /// How it would be.
    pub then: HealthState,
    /// Shards of it that would be lost.
    pub shards: u64,
    /// Bytes that can be decoded now, and could not be.
    pub lost_bytes: u64,
}

impl Snapshot {
    /// Sums up what losses would mean for files.
    ///
    /// For one extent the cost grows with the number of damaged files, not of stored ones: two shards of a block are never in
    /// one extent, so a healthy file can only be degraded by it. For more it is that of [`Self::what_if_files`].
    ///
    /// # Errors
    /// [`CatalogError::UnknownExtent`] and [`CatalogError::UnknownVolume`]; others when the catalog cannot be read.
    pub fn what_if(&self, losses: &[Loss]) -> Result<WhatIfReport, CatalogError> {
        let reader = self.shared.catalog.read()?;
        let lost = Lost::of(&reader, losses)?;
        if let [only] = lost.records.as_slice()
            && let Some(report) = of_one_extent(&reader, only, &lost)?
        {
            return Ok(report);
        }
        drop(reader);
        let mut report = lost.report();
        for file in LossListing::new(
            Arc::clone(&self.shared),
            lost,
            self.shared.catalog.read()?.totals()?,
        ) {
            report.add(&file?);
        }
        Ok(report)
    }

    /// Lists the files that have a shard in what would be lost, each once, in no order that means anything.
    ///
    /// The cost grows with the number of shards that would be lost, and of blocks of the files that they belong to. Memory is
    /// bounded, and no transaction is held between pages: what changes meanwhile is counted as it was or as it will be.
    ///
    /// # Errors
    /// As for [`Self::what_if`].
    pub fn what_if_files(&self, losses: &[Loss]) -> Result<LossListing, CatalogError> {
        let reader = self.shared.catalog.read()?;
        let (lost, totals) = (Lost::of(&reader, losses)?, reader.totals()?);
        Ok(LossListing::new(Arc::clone(&self.shared), lost, totals))
    }
}

impl WhatIfReport {
    fn add(&mut self, file: &FileLoss) {
        self.files += 1;
        self.newly_degraded += u64::from(file.is_newly_degraded());
        self.newly_lost += u64::from(file.is_newly_lost());
        self.lost_bytes += file.lost_bytes;
    }
}

impl FileLoss {
    /// Says whether the file is healthy now, and would be degraded.
    pub fn is_newly_degraded(&self) -> bool {
        (self.now, self.then) == (HealthState::Healthy, HealthState::Degraded)
    }

    /// Says whether every byte can be decoded now, and could not be.
    pub fn is_newly_lost(&self) -> bool {
        self.now != HealthState::Lost && self.then == HealthState::Lost
    }
}

/// Extents that would be lost.
#[derive(Debug)]
struct Lost {
    ids: BTreeSet<ExtentId>,
    records: Vec<ExtentRecord>,
    /// Whether no extent would be left.
    is_everything: bool,
}

impl Lost {
    fn of(reader: &CatalogReader, losses: &[Loss]) -> Result<Self, CatalogError> {
        let mut ids = BTreeSet::new();
        let mut volumes = BTreeSet::new();
        for &loss in losses {
            match loss {
                Loss::Extent(extent) => {
                    ids.insert(extent);
                }
                Loss::Volume(volume) => {
                    volumes.insert(volume);
                }
            }
        }
        if volumes.is_empty() && ids.len() <= 1 {
            // The usual question looks up one row.
            let record = |id: &ExtentId| {
                let record = reader.extent(*id)?;
                record.ok_or(CatalogError::UnknownExtent { extent: *id })
            };
            let records: Vec<ExtentRecord> = ids.iter().map(record).collect::<Result<_, _>>()?;
            return Ok(Self {
                ids,
                records,
                is_everything: false,
            });
        }
        let known = reader.volumes()?;
        let is_unknown = |id: &&VolumeId| !known.iter().any(|volume| volume.id == **id);
        if let Some(&volume) = volumes.iter().find(is_unknown) {
            return Err(CatalogError::UnknownVolume { volume });
        }
        let all = reader.extents()?;
        let is_unknown = |id: &&ExtentId| !all.iter().any(|extent| extent.id == **id);
        if let Some(&extent) = ids.iter().find(is_unknown) {
            return Err(CatalogError::UnknownExtent { extent });
        }
        let mut records = all;
        // What was dropped is no place any more.
        records.retain(|extent| extent.state != ExtentState::Dropped);
        let count = records.len();
        records.retain(|extent| ids.contains(&extent.id) || volumes.contains(&extent.volume));
        Ok(Self {
            ids: records.iter().map(|extent| extent.id).collect(),
            is_everything: records.len() == count,
            records,
        })
    }

    fn report(&self) -> WhatIfReport {
        WhatIfReport {
            extents: to_u64(self.records.len()),
            frame_bytes: self.records.iter().map(|extent| extent.live_bytes).sum(),
            ..WhatIfReport::default()
        }
    }

    /// Returns the shards of a block that would be lost, in order.
    fn shards_of(&self, block: &BlockRecord) -> Vec<ShardIndex> {
        let shards = (0..).map(ShardIndex::new).zip(&block.shards);
        let lost = shards.filter(|(_, shard)| {
            let extent = shard.as_ref().map(|shard| shard.extent);
            extent.is_some_and(|extent| self.ids.contains(&extent))
        });
        lost.map(|(shard, _)| shard).collect()
    }
}

/// Sums up the loss of one extent: every file in it is counted by the catalog, so that only damaged ones have to be looked
/// at. Returns `None` where it is less work to look at everything in the extent.
fn of_one_extent(
    reader: &CatalogReader,
    extent: &ExtentRecord,
    lost: &Lost,
) -> Result<Option<WhatIfReport>, CatalogError> {
    let mut work_left = extent.live_shards;
    let mut report = lost.report();
    report.files = extent.live_files;
    report.newly_degraded = extent.live_files;
    for state in [FileState::Degraded, FileState::Lost] {
        let mut after = None;
        loop {
            let damaged = reader.damaged_files_page(state, after, PAGE_LEN)?;
            let ids: Vec<FileId> = damaged.iter().map(|damaged| damaged.file).collect();
            for (damaged, entry) in damaged.iter().zip(reader.files_by_ids(&ids)?) {
                let Some(entry) = entry else { continue };
                let Some(left) = work_left.checked_sub(entry.0.geometry.block_count()) else {
                    return Ok(None);
                };
                work_left = left;
                if let Some(file) = assess(reader, &entry, Some(damaged), lost)? {
                    report.newly_degraded =
                        (report.newly_degraded.checked_sub(1)).ok_or_else(contradiction)?;
                    report.newly_lost += u64::from(file.is_newly_lost());
                    report.lost_bytes += file.lost_bytes;
                }
            }
            after = ids.last().copied();
            if ids.len() < PAGE_LEN {
                break;
            }
        }
    }
    Ok(Some(report))
}

fn contradiction() -> CatalogError {
    CatalogError::Damaged {
        table: CatalogTable::Extents,
        detail: CatalogDamage::Contradiction {
            about: "the files in an extent",
        },
    }
}

/// Says what a loss would mean for a file, or `None` when it has no shard there.
fn assess(
    reader: &CatalogReader,
    entry: &Entry,
    damage: Option<&DamagedFile>,
    lost: &Lost,
) -> Result<Option<FileLoss>, CatalogError> {
    let (file, inline_block) = entry;
    let margin = damage.map_or(file.geometry.shape().parity(), |damage| damage.margin);
    let (mut shards, mut lost_bytes) = (0, 0);
    let mut add = |block: &BlockRecord| {
        let gone = lost.shards_of(block);
        shards += to_u64(gone.len());
        // No column loses more than one leaf with each shard.
        if gone.len() > usize::from(margin) {
            lost_bytes += newly_lost_bytes(reader, block, damage, &gone)?;
        }
        Ok(())
    };
    match inline_block {
        Some(block) => add(block)?,
        None if file.geometry.group_count() > 0 => {
            for group in file.geometry.groups() {
                let loss = groups::group_loss(reader, (file, &group), damage, lost)?;
                shards += loss.shards;
                lost_bytes += loss.lost_bytes;
            }
        }
        None => {
            for index in (0..file.geometry.block_count()).map(BlockIndex::new) {
                add(&reader.block(file, index)?)?;
            }
        }
    }
    let now = damage.map_or(HealthState::Healthy, |damage| damage.state.into());
    let is_lost = now == HealthState::Lost || lost_bytes > 0;
    Ok((shards > 0).then(|| FileLoss {
        file: file.clone().into(),
        now,
        then: if is_lost {
            HealthState::Lost
        } else {
            HealthState::Degraded
        },
        shards,
        lost_bytes,
    }))
}

/// Returns how many bytes of a block could not be decoded beyond those that cannot be now.
fn newly_lost_bytes(
    reader: &CatalogReader,
    block: &BlockRecord,
    damage: Option<&DamagedFile>,
    gone: &[ShardIndex],
) -> Result<u64, CatalogError> {
    let mut map = DamageMap::new(block.geometry);
    if damage.is_some() {
        for shard in reader.damage_of_block(block.id)? {
            shard
                .columns
                .iter()
                .for_each(|column| map.mark_leaf(shard.shard, column));
        }
    }
    let before = lost_bytes_of(&map);
    gone.iter().for_each(|&shard| map.mark_shard(shard));
    Ok(lost_bytes_of(&map).saturating_sub(before))
}

fn lost_bytes_of(map: &DamageMap) -> u64 {
    match map.verdict() {
        BlockVerdict::Intact | BlockVerdict::Degraded { .. } => 0,
        BlockVerdict::Lost { ranges, .. } => ranges.iter().map(|range| range.len()).sum(),
    }
}

/// Files that have a shard in what would be lost, each once.
#[derive(Debug)]
pub struct LossListing {
    shared: Arc<Shared>,
    lost: Lost,
    /// The extent that is gone through, and the frame behind which it goes on.
    extent: usize,
    after: Option<u64>,
    /// Files of several blocks are told apart by memory, those of one block by which shard is met.
    seen: BTreeSet<FileId>,
    pass: u64,
    passes: u64,
    page: std::vec::IntoIter<FileLoss>,
}

impl LossListing {
    fn new(shared: Arc<Shared>, lost: Lost, totals: Totals) -> Self {
        let tiers = [Tier::Segmented, Tier::Blocked, Tier::Grouped];
        let named: u64 = tiers.map(|tier| totals.tier(tier).files).into_iter().sum();
        let of_several_blocks = named + totals.kept.files;
        Self {
            shared,
            lost,
            extent: 0,
            after: None,
            seen: BTreeSet::new(),
            pass: 0,
            passes: of_several_blocks / MAX_SEEN_FILES + 1,
            page: Vec::new().into_iter(),
        }
    }

    /// Gets the next page; says whether more may follow.
    fn fetch(&mut self) -> Result<bool, CatalogError> {
        let Some(extent) = self.lost.records.get(self.extent) else {
            self.pass += 1;
            (self.extent, self.after) = (0, None);
            self.seen.clear();
            return Ok(self.pass < self.passes);
        };
        let reader = self.shared.catalog.read()?;
        let places = reader.shards_of_extent(extent.id, self.after, PAGE_LEN)?;
        self.after = places.last().map(|place| place.offset);
        if places.len() < PAGE_LEN {
            self.extent += 1;
            self.after = None;
        }
        let mut met: Vec<(FileId, ShardIndex)> = Vec::new();
        for place in places {
            met.extend(self.file_met(&reader, place)?.map(|file| (file, place.shard)));
        }
        let ids: Vec<FileId> = met.iter().map(|(file, _)| *file).collect();
        let damage = reader.damaged_files(&ids)?;
        let mut page = Vec::new();
        for ((entry, damage), (_, shard)) in reader.files_by_ids(&ids)?.iter().zip(damage).zip(met) {
            let Some(entry) = entry else { continue };
            // The only block is met with each of its shards that would be lost; the first one counts.
            let first = entry.1.as_ref().map(|block| self.lost.shards_of(block));
            if first.is_none_or(|shards| shards.first() == Some(&shard)) {
                page.extend(assess(&reader, entry, damage.as_ref(), &self.lost)?);
            }
        }
        self.page = page.into_iter();
        Ok(true)
    }

    /// Returns the file that a shard belongs to, unless it was met before or is for another pass.
    fn file_met(
        &mut self,
        reader: &CatalogReader,
        place: ShardPlace,
    ) -> Result<Option<FileId>, CatalogError> {
        match place.owner {
            // With everything the first shard is met, too.
            ShardOwner::InlineBlockOf(_) if self.lost.is_everything && place.shard.get() > 0 => Ok(None),
            ShardOwner::InlineBlockOf(file) => Ok((self.pass == 0).then_some(file)),
            ShardOwner::Block(id) => {
                let block = reader.block_by_id(id)?;
                let block = block.ok_or(CatalogError::Damaged {
                    table: CatalogTable::Blocks,
                    detail: CatalogDamage::MissingRow,
                })?;
                let is_met = block.file.get() % self.passes == self.pass && self.seen.insert(block.file);
                Ok(is_met.then_some(block.file))
            }
            ShardOwner::Descriptor(_) => Ok(None),
        }
    }
}

impl Iterator for LossListing {
    type Item = Result<FileLoss, CatalogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(file) = self.page.next() {
                return Some(Ok(file));
            }
            match self.fetch() {
                Ok(true) => {}
                Ok(false) => {
                    self.end();
                    return None;
                }
                Err(error) => {
                    self.end();
                    return Some(Err(error));
                }
            }
        }
    }
}

impl LossListing {
    /// Lets nothing follow.
    fn end(&mut self) {
        self.lost.records.clear();
        self.pass = self.passes;
    }
}

#[cfg(test)]
mod tests;
