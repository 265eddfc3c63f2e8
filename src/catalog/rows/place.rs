//! Rows of `volumes`, `extents` and `extent_shards`.

use serde::{Deserialize, Serialize};

use super::ImpossibleField;
use crate::catalog::publication::PublishedExtent;
use crate::catalog::records::{ExtentRecord, ExtentState, ShardOwner, VolumeRecord, VolumeState};
use crate::units::{BlockId, ByteRange, CommitId, Epoch, ExtentId, FileId, LaneIndex, ShardIndex, VolumeId};

/// `volumes`, by volume number.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct VolumeRow {
    id: [u8; 16],
    path: Vec<u8>,
    /// 1: active; 2: draining; 3: removed.
    state: u8,
    epoch: u64,
}

impl VolumeRow {
    pub(in crate::catalog) fn new(volume: &VolumeRecord) -> Self {
        Self {
            id: volume.id.to_bytes(),
            path: volume.path.clone(),
            state: volume.state.number(),
            epoch: volume.epoch.get(),
        }
    }

    pub(in crate::catalog) fn parse(self, number: u64) -> Result<VolumeRecord, ImpossibleField> {
        Ok(VolumeRecord {
            number: u16::try_from(number).map_err(|_error| ImpossibleField("volume number"))?,
            id: VolumeId::from_bytes(self.id),
            path: self.path,
            state: VolumeState::from_number(self.state).ok_or(ImpossibleField("volume state"))?,
            epoch: Epoch::new(self.epoch),
        })
    }
}

/// `extents`, by extent id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::catalog) struct ExtentRow {
    pub(in crate::catalog) volume: u16,
    pub(in crate::catalog) lane: u16,
    /// 1: open; 2: sealed; 3: abandoned; 4: dropped.
    pub(in crate::catalog) state: u8,
    pub(in crate::catalog) owner: Option<u64>,
    pub(in crate::catalog) end_bytes: u64,
    pub(in crate::catalog) live_bytes: u64,
    pub(in crate::catalog) live_shards: u64,
    pub(in crate::catalog) live_files: u64,
}

impl ExtentRow {
    /// Makes the row of an extent on the volume of that number; the live counters are taken as they are.
    pub(in crate::catalog) fn new(extent: &ExtentRecord, volume: u16) -> Self {
        Self {
            volume,
            lane: extent.lane.get(),
            state: extent.state.number(),
            owner: extent.owner.map(CommitId::get),
            end_bytes: extent.end_bytes,
            live_bytes: extent.live_bytes,
            live_shards: extent.live_shards,
            live_files: extent.live_files,
        }
    }

    /// Returns what others than the owner may know.
    pub(in crate::catalog) fn parse_published(
        self,
        id: ExtentId,
    ) -> Result<PublishedExtent, ImpossibleField> {
        Ok(PublishedExtent {
            id,
            volume: self.volume,
            lane: LaneIndex::new(self.lane),
            state: ExtentState::from_number(self.state).ok_or(ImpossibleField("extent state"))?,
            end_bytes: self.end_bytes,
        })
    }

    pub(in crate::catalog) fn parse(
        self,
        id: ExtentId,
        volume: VolumeId,
    ) -> Result<ExtentRecord, ImpossibleField> {
        if self.live_bytes > self.end_bytes {
            return Err(ImpossibleField("live byte count"));
        }
        if self.state == ExtentState::Dropped.number() && (self.end_bytes > 0 || self.owner.is_some()) {
            return Err(ImpossibleField("dropped extent"));
        }
        Ok(ExtentRecord {
            id,
            volume,
            lane: LaneIndex::new(self.lane),
            state: ExtentState::from_number(self.state).ok_or(ImpossibleField("extent state"))?,
            owner: self.owner.map(CommitId::new),
            end_bytes: self.end_bytes,
            live_bytes: self.live_bytes,
            live_shards: self.live_shards,
            live_files: self.live_files,
        })
    }
}

/// `freed`, by extent id and first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::catalog) struct FreedRow {
    end: u64,
}

impl FreedRow {
    pub(in crate::catalog) const fn new(range: &ByteRange) -> Self {
        Self { end: range.end() }
    }

    pub(in crate::catalog) fn parse(self, start: u64) -> Result<ByteRange, ImpossibleField> {
        let range = ByteRange::new(start, self.end).filter(|range| !range.is_empty());
        range.ok_or(ImpossibleField("freed range"))
    }
}

/// `extent_shards`, by extent id and offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::catalog) struct ExtentShardRow {
    /// 1: a block of its own; 2: the inline block of a file; 3: the descriptor of a commit.
    owner_kind: u8,
    owner: u64,
    shard: u16,
}

impl ExtentShardRow {
    pub(in crate::catalog) const fn new(owner: ShardOwner, shard: ShardIndex) -> Self {
        let (owner_kind, owner) = match owner {
            ShardOwner::Block(block) => (1, block.get()),
            ShardOwner::InlineBlockOf(file) => (2, file.get()),
            ShardOwner::Descriptor(commit) => (3, commit.get()),
        };
        Self {
            owner_kind,
            owner,
            shard: shard.get(),
        }
    }

    pub(in crate::catalog) fn parse(self) -> Result<(ShardOwner, ShardIndex), ImpossibleField> {
        let owner = match self.owner_kind {
            1 => ShardOwner::Block(BlockId::new(self.owner)),
            2 => ShardOwner::InlineBlockOf(FileId::new(self.owner)),
            3 => ShardOwner::Descriptor(CommitId::new(self.owner)),
            _ => return Err(ImpossibleField("shard owner")),
        };
        Ok((owner, ShardIndex::new(self.shard)))
    }
}
