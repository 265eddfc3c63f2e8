//! Where a commit finds room: lanes, the extents that they go on in, and whether the volume has enough.

use std::collections::{BTreeMap, BTreeSet};

use super::{legs::Filled, reservation::Draft};
use crate::{
    archive::{
        ballast::missing_bytes,
        old_catalog::{ends_at, seal},
        shared::Shared,
        volumes::Volumes,
    },
    catalog::{CatalogWriter, ExtentRecord, ExtentState, TransactionSize},
    error::{CommitError, VolumeError},
    geometry::{FileGeometry, LaneSpace, VolumeRoom},
    plan::{LaneLayout, LanePosition},
    seeded_bugs::{SeededBug, is_on},
    units::{ExtentId, FileName, LaneIndex, VolumeId, to_u64},
    volume::Volume,
};

/// Extents are sealed at this length; a longer frame gets one of its own.
const EXTENT_LIMIT_BYTES: u64 = 1 << 30;

/// Extents of one lane that one commit fills at most: they are all open until it is synced, so a very long file gets longer
/// extents instead of more.
const EXTENTS_PER_LANE: u64 = 4;

/// More than any volume has, and far from where sums of lengths overflow; for hosts that do not say what is free.
const MAX_STORED_BYTES: u64 = 1 << 60;

/// Returns how much room the volumes have that take files, but for those that are avoided, and what each of their lanes has
/// taken so far.
pub(in crate::archive) fn rooms_of(
    volumes: &Volumes,
    avoided: &BTreeSet<VolumeId>,
    extents: &[ExtentRecord],
) -> Result<Vec<VolumeRoom>, CommitError> {
    let lanes = volumes.lanes();
    let (mut rooms, mut failed) = (Vec::new(), None);
    for member in volumes
        .for_files()
        .filter(|member| !avoided.contains(&member.record.id))
    {
        let free_bytes = match member.volume.free_bytes() {
            Ok(free_bytes) => free_bytes,
            // The others may do without it.
            Err(error) => {
                failed.get_or_insert(error);
                continue;
            }
        };
        let mut written_bytes = vec![0; usize::from(lanes.per_volume())];
        for extent in extents.iter().filter(|extent| extent.volume == member.record.id) {
            written_bytes[usize::from(lanes.lane_of_volume(extent.lane))] += extent.end_bytes;
        }
        rooms.push(VolumeRoom {
            number: member.record.number,
            free_bytes,
            written_bytes,
        });
    }
    match (rooms.is_empty(), failed) {
        (false, _) => Ok(rooms),
        (true, Some(source)) => Err(source.into()),
        (true, None) => Err(CommitError::NoVolume),
    }
}

/// Returns where each of `lanes` goes on.
///
/// A lane may have several open extents after writers that worked side by side; the lowest that nobody owns is taken. One
/// that does not end where the catalog says is sealed instead: no writer leaves such a thing, so the catalog may be an
/// old one that was put back, and what stands there may be what others have published.
pub(in crate::archive) fn lane_positions(
    writer: &mut CatalogWriter,
    volumes: &Volumes,
    extents: &[ExtentRecord],
    lanes: &[LaneIndex],
) -> Result<Vec<Option<LanePosition>>, CommitError> {
    let lane_count = lanes.iter().map(|lane| usize::from(lane.get()) + 1).max();
    let mut positions = vec![None; lane_count.unwrap_or(0)];
    for extent in extents {
        let is_free = extent.state == ExtentState::Open && extent.owner.is_none() && extent.end_bytes > 0;
        let lane = usize::from(extent.lane.get());
        if !is_free || !lanes.contains(&extent.lane) || positions[lane].is_some() {
            continue;
        }
        if ends_at(volumes.of_lane(extent.lane).as_ref(), extent.id, extent.end_bytes)? {
            let excess = if is_on(SeededBug::LiveRangeReused) { 64 } else { 0 };
            positions[lane] = Some(LanePosition {
                extent: extent.id,
                end_bytes: extent.end_bytes - excess,
            });
        } else {
            seal(writer, extent)?;
        }
    }
    Ok(positions)
}

/// Takes an extent id that has no file: an old catalog that was put back gives ids again, and what a commit has made goes
/// when the commit fails.
pub(in crate::archive) fn unused_extent_id(
    writer: &mut CatalogWriter,
    volume: &dyn Volume,
) -> Result<ExtentId, CommitError> {
    loop {
        let extent = writer.allocate_extent_id();
        match volume.read_at(extent, 0, &mut [0]) {
            Err(VolumeError::Missing { .. }) => return Ok(extent),
            Ok(()) | Err(VolumeError::Truncated { .. } | VolumeError::Read { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the length at which a commit leaves an extent for a new one, from the layout that it would have without any.
pub(in crate::archive) fn extent_limit(unlimited: &LaneLayout) -> u64 {
    let longest = unlimited
        .extents_used()
        .map(|taken| taken.end_bytes - taken.start_bytes)
        .max()
        .unwrap_or(0);
    EXTENT_LIMIT_BYTES.max(
        longest
            .div_ceil(EXTENTS_PER_LANE)
            .next_multiple_of(EXTENT_LIMIT_BYTES),
    )
}

/// What a commit needs room for, and what it is called in messages.
#[derive(Debug, Clone)]
pub(in crate::archive) struct RoomNeed {
    /// The first name.
    pub(super) name: FileName,
    pub(super) others: u64,
    /// What the catalog takes.
    size: TransactionSize,
}

impl RoomNeed {
    pub(super) fn of_drafts(drafts: &[Draft]) -> Self {
        let name = drafts.first().expect("room is taken for something").name.clone();
        let entry = |draft: &Draft| {
            let text = to_u64(draft.name.as_bytes().len()) + draft.kind.target_len_bytes();
            (text, draft.geometry)
        };
        Self::of_entries(name, drafts.iter().map(entry))
    }

    /// Needs room in the catalog for more.
    pub(super) fn and(mut self, size: TransactionSize) -> Self {
        self.size = self.size.and(size);
        self
    }

    /// Needs room for shards that are written anew, for a file that is called that.
    pub(in crate::archive) fn of_repair(name: FileName, shards: usize) -> Self {
        let shards = to_u64(shards);
        let size = TransactionSize {
            relocations: shards,
            verified: shards,
            intents: 1,
            ..TransactionSize::default()
        };
        Self {
            name,
            others: 0,
            size,
        }
    }

    /// Sums up entries, each by the length of its texts and its geometry.
    pub(in crate::archive) fn of_entries(
        name: FileName,
        entries: impl Iterator<Item = (u64, FileGeometry)>,
    ) -> Self {
        let mut size = TransactionSize::default();
        for (text_len_bytes, geometry) in entries {
            let blocks = geometry.block_count();
            size.entries += 1;
            size.text_len_bytes += text_len_bytes;
            size.blocks = size.blocks.saturating_add(blocks);
            let shards = blocks.saturating_mul(u64::from(geometry.shape().total()));
            size.shards = size.shards.saturating_add(shards);
        }
        // An intent at the beginning, a descriptor at the end.
        (size.intents, size.descriptors) = (1, 1);
        Self {
            name,
            others: size.entries.saturating_sub(1),
            size,
        }
    }
}

/// Refuses what there is no room for: what is to be filled of extents, the catalog's own growth, and a ballast that was
/// released, which would else never come back.
///
/// Somebody else may take the room the moment after. Then the volume or the catalog says so, and the commit is undone; but
/// a catalog that has met a full disk has to be opened anew, so it is asked first.
pub(in crate::archive) fn check_room(
    shared: &Shared,
    need: &RoomNeed,
    wanted: &RoomWanted,
) -> Result<(), CommitError> {
    let volumes = shared.volumes();
    let spare_bytes = need
        .size
        .room_bytes()
        .saturating_add(missing_bytes(&shared.layout));
    let in_archive = shared.layout.free_bytes()?;
    for member in volumes.for_files() {
        let (id, number) = (member.record.id, member.record.number);
        let extent_bytes = wanted.0.get(&number).copied();
        // The catalog may be on the disk of any of them, and where nothing is wanted its room alone counts.
        let is_only = volumes.members().len() == 1;
        if extent_bytes.is_none() && !(wanted.0.is_empty() && is_only) {
            continue;
        }
        let needed_bytes = extent_bytes.unwrap_or(0).saturating_add(spare_bytes);
        let free_bytes = if spare_bytes > in_archive {
            in_archive
        } else {
            member.volume.free_bytes()?
        };
        if needed_bytes > free_bytes {
            return Err(CommitError::Full {
                name: need.name.clone(),
                others: need.others,
                volume: id,
                needed_bytes,
                free_bytes,
            });
        }
    }
    Ok(())
}

/// Bytes that are wanted of volumes, by their numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::archive) struct RoomWanted(BTreeMap<u16, u64>);

impl RoomWanted {
    /// Wants what is to be filled.
    pub(in crate::archive) fn of(lanes: LaneSpace, filled: &Filled) -> Self {
        let mut wanted = BTreeMap::new();
        for taken in filled.extents() {
            let bytes: &mut u64 = wanted.entry(lanes.volume_of(taken.lane)).or_default();
            *bytes = bytes.saturating_add(taken.end_bytes - taken.start_bytes);
        }
        Self(wanted)
    }

    /// Wants less of volumes: of each what is given, as far as it goes.
    pub(super) fn without(mut self, held: &BTreeMap<u16, u64>) -> Self {
        for (number, bytes) in &mut self.0 {
            *bytes = bytes.saturating_sub(held.get(number).copied().unwrap_or(0));
        }
        self
    }
}

/// Refuses a length that cannot fit before anything is planned for it: a plan has an entry for each block, and an announced
/// length may be any number.
pub(super) fn check_len(shared: &Shared, name: &FileName, len_bytes: u64) -> Result<(), CommitError> {
    let volumes = shared.volumes();
    let shape = shared.policy().shape(shared.policy().tier(len_bytes));
    let coded = u128::from(len_bytes) * u128::from(shape.total()) / u128::from(shape.data());
    let needed_bytes = u64::try_from(coded).unwrap_or(u64::MAX);
    // Whatever is spread over them: more than all of them have fits in no way.
    let (mut free_bytes, mut largest) = (0_u64, None);
    let is_only = volumes.members().len() == 1;
    for member in volumes.for_files() {
        let here = match member.volume.free_bytes() {
            Ok(here) => here,
            Err(error) if is_only => return Err(error.into()),
            Err(_) => continue,
        };
        free_bytes = free_bytes.saturating_add(here);
        largest = largest.max(Some((here, member.record.id)));
    }
    let Some((_, volume)) = largest else {
        return Err(CommitError::NoVolume);
    };
    if needed_bytes > free_bytes.min(MAX_STORED_BYTES) {
        return Err(CommitError::Full {
            name: name.clone(),
            others: 0,
            volume,
            needed_bytes,
            free_bytes,
        });
    }
    Ok(())
}
