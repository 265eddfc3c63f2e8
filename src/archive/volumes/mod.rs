//! The volumes of an archive: which there are, which of them are there, and which of them holds an extent.

mod direct;
mod finding;
mod slots;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock, Weak},
};

pub use self::finding::VolumeCondition;
pub(super) use self::{
    direct::expect_direct,
    finding::{Search, find_volumes},
    slots::{SlotState, announce_epoch, read_slots, write_slot},
};
use crate::{
    catalog::{Catalog, ShardRecord, VolumeRecord, VolumeState},
    geometry::LaneSpace,
    units::{ExtentId, LaneIndex, VolumeId},
    volume::{AbsentVolume, Volume},
};

/// Bytes between frames that are read and forgotten with them: less than what it takes to ask once more.
pub(super) const SHORT_GAP_BYTES: u64 = 64 * 1024;

/// A volume of the archive.
#[derive(Debug, Clone)]
pub(super) struct Member {
    pub(super) record: VolumeRecord,
    /// Where it was found, or should have been.
    pub(super) path: PathBuf,
    /// It, or what stands for it.
    pub(super) volume: Arc<dyn Volume>,
    pub(super) condition: VolumeCondition,
    /// Where copies of it were found, which are left alone.
    pub(super) doubles: Vec<PathBuf>,
}

impl Member {
    /// Says whether anything may be written there.
    pub(super) const fn is_writable(&self) -> bool {
        matches!(self.condition, VolumeCondition::Present)
    }

    /// Says whether it is an old copy.
    pub(super) const fn is_stale(&self) -> bool {
        matches!(self.condition, VolumeCondition::Stale { .. })
    }

    /// Says whether it can be read.
    pub(super) const fn is_readable(&self) -> bool {
        match self.condition {
            VolumeCondition::Present
            | VolumeCondition::ReadOnly
            | VolumeCondition::Stale { .. }
            | VolumeCondition::Unreadable => true,
            VolumeCondition::Missing | VolumeCondition::Foreign { .. } => false,
        }
    }

    /// Says whether new files go there.
    pub(super) fn takes_files(&self) -> bool {
        self.is_writable() && self.record.state == VolumeState::Active
    }
}

/// The volumes that an archive has, also those that are not there.
#[derive(Debug)]
pub(super) struct Volumes {
    /// By their numbers, but for those that were removed.
    members: Vec<Member>,
    lanes: LaneSpace,
    /// The number of the volume of extents that were asked for: an extent never moves, and its id is never given again.
    extents: RwLock<BTreeMap<ExtentId, u16>>,
    catalog: Weak<Catalog>,
}

impl Volumes {
    pub(super) fn new(members: Vec<Member>, lanes: LaneSpace, catalog: &Arc<Catalog>) -> Self {
        Self {
            members,
            lanes,
            extents: RwLock::default(),
            catalog: Arc::downgrade(catalog),
        }
    }

    /// Volumes that are read while there is no catalog: only what is noted is known of extents.
    pub(super) fn of_scan(members: Vec<Member>) -> Self {
        Self {
            members,
            lanes: LaneSpace::new(1),
            extents: RwLock::default(),
            catalog: Weak::new(),
        }
    }

    /// Returns which lanes lie on which volume.
    pub(super) const fn lanes(&self) -> LaneSpace {
        self.lanes
    }

    pub(super) fn members(&self) -> &[Member] {
        &self.members
    }

    pub(super) fn member(&self, id: VolumeId) -> Option<&Member> {
        self.members.iter().find(|member| member.record.id == id)
    }

    /// Returns a volume that may be written to.
    pub(super) fn writable(&self, id: VolumeId) -> Option<&Arc<dyn Volume>> {
        let member = self.member(id).filter(|member| member.is_writable());
        member.map(|member| &member.volume)
    }

    /// Returns the volumes that can be read.
    pub(super) fn readable(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.is_readable())
    }

    /// Returns the volumes that new files go to.
    pub(super) fn for_files(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|member| member.takes_files())
    }

    /// Returns the volume that a lane lies on.
    pub(super) fn of_lane(&self, lane: LaneIndex) -> Arc<dyn Volume> {
        self.of_number(self.lanes.volume_of(lane))
    }

    /// Returns the volume that holds an extent; for one that nobody knows, one that lacks it.
    pub(super) fn of_extent(&self, extent: ExtentId) -> Arc<dyn Volume> {
        // Where there is only one it says itself that it does not have it.
        self.number_of(extent)
            .map_or_else(nowhere, |number| self.of_number(number))
    }

    fn of_number(&self, number: u16) -> Arc<dyn Volume> {
        let member = self.members.iter().find(|member| member.record.number == number);
        match member {
            Some(member) => Arc::clone(&member.volume),
            // Removed, with everything that was on it.
            None => nowhere(),
        }
    }

    /// Returns the number of the volume that holds an extent, if anybody knows it.
    pub(super) fn number_of(&self, extent: ExtentId) -> Option<u16> {
        if let [only] = self.members.as_slice() {
            return Some(only.record.number);
        }
        let known = self.extents.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(&number) = known.get(&extent) {
            return Some(number);
        }
        drop(known);
        let record = self.catalog.upgrade()?.read().ok()?.extent(extent).ok()??;
        let number = self.member(record.volume)?.record.number;
        self.note(extent, number);
        Some(number)
    }

    /// Notes where an extent lies that this process has made, or that is not in the catalog yet.
    pub(super) fn note(&self, extent: ExtentId, number: u16) {
        let mut known = self.extents.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(extent, number);
    }

    /// Makes sure that frames are read from the medium next, where a volume can, and not from memory.
    pub(super) fn forget_cached<'a>(&self, shards: impl IntoIterator<Item = &'a ShardRecord>) {
        let place = |shard: &ShardRecord| (shard.extent, shard.offset, shard.frame_len_bytes);
        let mut frames: Vec<(ExtentId, u64, u64)> = shards.into_iter().map(place).collect();
        frames.sort_unstable();
        // Frames that follow each other share sectors, which are to be read once.
        let mut runs: Vec<(ExtentId, u64, u64)> = Vec::new();
        for (extent, start, len_bytes) in frames {
            let end = start.saturating_add(len_bytes);
            match runs.last_mut() {
                Some((of, _, until)) if *of == extent && start <= until.saturating_add(SHORT_GAP_BYTES) => {
                    *until = end.max(*until);
                }
                _ => runs.push((extent, start, end)),
            }
        }
        for (extent, start, end) in runs {
            self.of_extent(extent).forget_cached(extent, start, end - start);
        }
    }
}

/// Stands for a volume that belongs to no archive.
fn nowhere() -> Arc<dyn Volume> {
    Arc::new(AbsentVolume::gone(VolumeId::from_bytes([0; 16])))
}
