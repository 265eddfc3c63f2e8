//! Where the shards of an entry lie: where they were found, or else where its descriptor says, so that a scrub misses them there.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    content::Source,
    found::{FoundFrames, HighestIds},
};
use crate::{
    catalog::{BlockRecord, ExtentRecord, ExtentState, FileRecord, ShardRecord},
    units::{BlockId, ExtentId, FileId, LaneIndex, ShardIndex, VolumeId, to_u64},
};

/// Where the first frame of an extent may begin.
const FIRST_FRAME: u64 = 4096;

/// What was found of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Presence {
    pub(super) shards_found: u64,
    pub(super) shards_missing: u64,
    /// Shards that a frame with a sound header was found of.
    pub(super) frames: u64,
    /// Blocks of which more is missing than their code survives.
    pub(super) blocks_lost: u64,
}

/// What the new catalog says of extents, as it grows.
#[derive(Debug)]
pub(super) struct Placing {
    extents: BTreeMap<ExtentId, ExtentRecord>,
    /// Those whose rows have to be written again.
    changed: BTreeSet<ExtentId>,
    /// Extents that nobody has found.
    missing: BTreeSet<ExtentId>,
    /// Places that shards which were not found are said to lie at.
    taken: BTreeSet<(ExtentId, u64)>,
    /// Whose extents those are that nobody has found.
    first_volume: VolumeId,
    /// Stands for the place of shards that have none.
    nowhere: ExtentId,
    files: BTreeSet<FileId>,
    blocks: BTreeSet<BlockId>,
    pub(super) highest: HighestIds,
}

impl Placing {
    /// Begins with the extents that are there.
    pub(super) fn new(
        extents: impl Iterator<Item = ExtentRecord>,
        first_volume: VolumeId,
        highest: HighestIds,
    ) -> Self {
        let extents: BTreeMap<ExtentId, ExtentRecord> = extents.map(|extent| (extent.id, extent)).collect();
        let mut highest = highest;
        highest.extent += 1;
        Self {
            changed: extents.keys().copied().collect(),
            extents,
            missing: BTreeSet::new(),
            taken: BTreeSet::new(),
            first_volume,
            nowhere: ExtentId::new(highest.extent),
            files: BTreeSet::new(),
            blocks: BTreeSet::new(),
            highest,
        }
    }

    /// Says whether an entry may be in the catalog beside those that are: its ids are those of no other.
    pub(super) fn admits(&mut self, file: &FileRecord, blocks: &[BlockRecord]) -> bool {
        let ids = blocks.iter().map(|block| block.id);
        let is_possible = HighestIds::is_possible(file.id.get())
            && HighestIds::is_possible(file.commit.get())
            && ids.clone().all(|id| HighestIds::is_possible(id.get()));
        let own: BTreeSet<BlockId> = ids.collect();
        let is_new =
            own.len() == blocks.len() && own.is_disjoint(&self.blocks) && !self.files.contains(&file.id);
        if !(is_possible && is_new) {
            return false;
        }
        HighestIds::see(&mut self.highest.file, file.id.get());
        HighestIds::see(&mut self.highest.commit, file.commit.get());
        for id in &own {
            HighestIds::see(&mut self.highest.block, id.get());
        }
        self.files.insert(file.id);
        self.blocks.extend(own);
        true
    }

    /// Looks where the shards of an entry lie. Those that were found are where they were found from now on; `lacking` are the others.
    pub(super) fn look(
        &self,
        blocks: &mut [BlockRecord],
        found: &mut FoundFrames,
        source: &Source,
    ) -> (Presence, Vec<(usize, ShardIndex)>) {
        let (mut presence, mut lacking) = (Presence::default(), Vec::new());
        for (index, block) in blocks.iter_mut().enumerate() {
            let before = lacking.len();
            for shard in block.geometry.shards() {
                let Some(recorded) = block.shards[shard.as_usize()] else {
                    continue;
                };
                let framed = found.place_shard(block, shard, &recorded);
                presence.frames += u64::from(framed.is_some());
                let place = framed
                    .or_else(|| source.by_footer(block, shard, found, recorded.digest))
                    .or_else(|| self.where_recorded((block, shard), &recorded, found, source));
                match place {
                    Some(place) => {
                        block.shards[shard.as_usize()] = Some(place);
                        presence.shards_found += 1;
                    }
                    None => lacking.push((index, shard)),
                }
            }
            let missing = lacking.len() - before;
            presence.shards_missing += to_u64(missing);
            // Absent shards are no loss, and all copies of a block are alike.
            if missing > usize::from(block.geometry.shape().parity()) {
                presence.blocks_lost += 1;
            }
        }
        (presence, lacking)
    }

    /// A frame of which neither header nor footer is right may still hold its shard.
    fn where_recorded(
        &self,
        (block, shard): (&BlockRecord, ShardIndex),
        recorded: &ShardRecord,
        found: &FoundFrames,
        source: &Source,
    ) -> Option<ShardRecord> {
        let is_free = !found.begins_at((recorded.extent, recorded.offset));
        let is_there =
            self.extents.contains_key(&recorded.extent) && !self.missing.contains(&recorded.extent);
        (is_free && is_there && source.holds(block, shard, recorded)).then_some(*recorded)
    }

    /// Takes a block in: shards that were not found are where they are recorded, unless something else is there.
    pub(super) fn take(&mut self, block: &mut BlockRecord, lacking: &[ShardIndex], found: &FoundFrames) {
        for shard in lacking {
            if let Some(record) = &mut block.shards[shard.as_usize()] {
                let place = (record.extent, record.offset);
                let is_possible = HighestIds::is_possible(record.extent.get());
                if !is_possible || found.begins_at(place) || !self.taken.insert(place) {
                    *record = self.nowhere(record);
                }
            }
        }
        for record in block.shards.iter().flatten() {
            self.make_room(record);
        }
    }

    /// Returns a place for a shard of which nobody knows where it lies, where nothing is.
    pub(super) fn nowhere(&mut self, record: &ShardRecord) -> ShardRecord {
        let end = self
            .extents
            .get(&self.nowhere)
            .map_or(FIRST_FRAME, |extent| extent.end_bytes);
        ShardRecord {
            extent: self.nowhere,
            offset: end,
            ..*record
        }
    }

    /// Makes sure that the row of an extent is there and reaches to the end of a shard, and that all its shards fit before its end: those
    /// that were not found may overlap with others.
    pub(super) fn make_room(&mut self, record: &ShardRecord) {
        HighestIds::see(&mut self.highest.extent, record.extent.get());
        let (missing, volume) = (&mut self.missing, self.first_volume);
        let extent = self.extents.entry(record.extent).or_insert_with(|| {
            missing.insert(record.extent);
            ExtentRecord {
                id: record.extent,
                volume,
                lane: LaneIndex::new(0),
                state: ExtentState::Scanned,
                owner: None,
                end_bytes: 0,
                live_bytes: 0,
                live_shards: 0,
                live_files: 0,
            }
        });
        extent.live_bytes = extent.live_bytes.saturating_add(record.frame_len_bytes);
        let end = record.offset.saturating_add(record.frame_len_bytes);
        let end = end.max(extent.live_bytes);
        if end > extent.end_bytes {
            extent.end_bytes = end;
            self.changed.insert(record.extent);
        }
    }

    /// Returns the rows that have to be written before what was taken in since this was asked last.
    pub(super) fn changed(&mut self) -> Vec<ExtentRecord> {
        let changed = core::mem::take(&mut self.changed);
        changed
            .iter()
            .filter_map(|id| self.extents.get(id).cloned())
            .collect()
    }

    /// Returns how many extents shards were to lie in that nobody has found, but for the one that is no place.
    pub(super) fn missing_extents(&self) -> u64 {
        to_u64(self.missing.iter().filter(|id| **id != self.nowhere).count())
    }
}
