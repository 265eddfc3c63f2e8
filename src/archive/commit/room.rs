//! Where a commit finds room: lanes, the extents that they go on in, and whether the volume has enough.

use super::reservation::Draft;
use crate::{
    archive::{
        ballast::missing_bytes,
        old_catalog::{ends_at, seal},
        shared::Shared,
    },
    catalog::{CatalogWriter, ExtentRecord, ExtentState, TransactionSize},
    error::{CommitError, VolumeError},
    geometry::FileGeometry,
    plan::{LaneLayout, LanePosition},
    seeded_bugs::{SeededBug, is_on},
    units::{ExtentId, FileName, LaneIndex, to_u64},
    volume::Volume,
};

/// Extents are sealed at this length; a longer frame gets one of its own.
const EXTENT_LIMIT_BYTES: u64 = 1 << 30;

/// Extents of one lane that one commit fills at most: they are all open until it is synced, so a very long file gets longer
/// extents instead of more.
const EXTENTS_PER_LANE: u64 = 4;

/// More than any volume has, and far from where sums of lengths overflow; for hosts that do not say what is free.
const MAX_STORED_BYTES: u64 = 1 << 60;

/// Returns what each lane has taken so far.
pub(super) fn lane_lengths(extents: &[ExtentRecord], lane_count: u16) -> Vec<u64> {
    let mut written = vec![0; usize::from(lane_count)];
    for extent in extents {
        // A lane beyond the policy's count belongs to no code of this archive.
        if let Some(length) = written.get_mut(usize::from(extent.lane.get())) {
            *length += extent.end_bytes;
        }
    }
    written
}

/// Returns where each of `lanes` goes on.
///
/// A lane may have several open extents after writers that worked side by side; the lowest that nobody owns is taken. One
/// that does not end where the catalog says is sealed instead: no writer leaves such a thing, so the catalog may be an
/// old one that was put back, and what stands there may be what others have published.
pub(in crate::archive) fn lane_positions(
    writer: &mut CatalogWriter,
    volume: &dyn Volume,
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
        if ends_at(volume, extent.id, extent.end_bytes)? {
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

/// Refuses what there is no room for: so many bytes in extents, the catalog's own growth, and a ballast that was released,
/// which would else never come back.
///
/// Somebody else may take the room the moment after. Then the volume or the catalog says so, and the commit is undone; but
/// a catalog that has met a full disk has to be opened anew, so it is asked first.
pub(in crate::archive) fn check_room(
    shared: &Shared,
    need: &RoomNeed,
    extent_bytes: u64,
) -> Result<(), CommitError> {
    let volume = shared.volumes.writable();
    let spare_bytes = need
        .size
        .room_bytes()
        .saturating_add(missing_bytes(&shared.layout));
    let (on_volume, in_archive) = (volume.free_bytes()?, shared.layout.free_bytes()?);
    let needed_bytes = extent_bytes.saturating_add(spare_bytes);
    let free_bytes = if spare_bytes > in_archive {
        in_archive
    } else {
        on_volume
    };
    if needed_bytes <= free_bytes {
        return Ok(());
    }
    Err(CommitError::Full {
        name: need.name.clone(),
        others: need.others,
        volume: volume.id(),
        needed_bytes,
        free_bytes,
    })
}

/// Refuses a length that cannot fit before anything is planned for it: a plan has an entry for each block, and an announced
/// length may be any number.
pub(super) fn check_len(shared: &Shared, name: &FileName, len_bytes: u64) -> Result<(), CommitError> {
    let volume = shared.volumes.writable();
    let shape = shared.policy().shape(shared.policy().tier(len_bytes));
    let coded = u128::from(len_bytes) * u128::from(shape.total()) / u128::from(shape.data());
    let needed_bytes = u64::try_from(coded).unwrap_or(u64::MAX);
    let free_bytes = volume.free_bytes()?;
    if needed_bytes > free_bytes.min(MAX_STORED_BYTES) {
        return Err(CommitError::Full {
            name: name.clone(),
            others: 0,
            volume: volume.id(),
            needed_bytes,
            free_bytes,
        });
    }
    Ok(())
}
