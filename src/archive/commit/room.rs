//! Where a commit finds room: lanes, the extents that they go on in, and whether the volume has enough.

use super::reservation::Contents;
use crate::{
    archive::{ballast::missing_bytes, shared::Shared},
    catalog::{CatalogWriter, ExtentRecord, ExtentState, TransactionSize},
    error::{CommitError, VolumeError},
    format::{EXTENT_HEADER_LEN_BYTES, FrameLayout},
    geometry::{BlockGeometry, FileGeometry},
    plan::{ExtentUse, LaneLayout, LanePosition, Placement},
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

/// Returns the row of an extent that a commit is about to make.
pub(super) fn fresh_extent(taken: &ExtentUse, volume: VolumeId) -> ExtentRecord {
    ExtentRecord {
        id: taken.extent,
        volume,
        lane: taken.lane,
        state: ExtentState::Open,
        owner: None,
        end_bytes: 0,
        live_bytes: 0,
        live_shards: 0,
    }
}

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
pub(super) fn lane_positions(
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
            positions[lane] = Some(LanePosition {
                extent: extent.id,
                end_bytes: extent.end_bytes,
            });
        } else {
            writer.put_extent(&ExtentRecord {
                state: ExtentState::Sealed,
                ..extent.clone()
            })?;
        }
    }
    Ok(positions)
}

/// Says whether an extent is there and has exactly this length.
fn ends_at(volume: &dyn Volume, extent: ExtentId, end_bytes: u64) -> Result<bool, VolumeError> {
    match volume.read_at(extent, end_bytes, &mut [0]) {
        Err(VolumeError::Truncated { len_bytes, .. }) => Ok(len_bytes == end_bytes),
        Ok(()) | Err(VolumeError::Missing { .. } | VolumeError::Read { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Takes an extent id that has no file: an old catalog that was put back gives ids again, and what a commit has made goes
/// when the commit fails.
pub(super) fn unused_extent_id(
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

/// Returns the length at which this commit leaves an extent for a new one.
pub(super) fn extent_limit(
    geometries: &[FileGeometry],
    lanes: &[LaneIndex],
    positions: &[Option<LanePosition>],
) -> u64 {
    let (_, unlimited) = walk_layout(geometries, lanes, positions, (u64::MAX / 2, Vec::new()));
    let longest = unlimited
        .iter()
        .map(|taken| taken.end_bytes - taken.start_bytes)
        .max()
        .unwrap_or(0);
    EXTENT_LIMIT_BYTES.max(
        longest
            .div_ceil(EXTENTS_PER_LANE)
            .next_multiple_of(EXTENT_LIMIT_BYTES),
    )
}

/// Places every frame of a commit and returns the layout it began with and the extents it took.
pub(super) fn walk_layout(
    geometries: &[FileGeometry],
    lanes: &[LaneIndex],
    positions: &[Option<LanePosition>],
    (limit, new_extents): (u64, Vec<ExtentId>),
) -> (LaneLayout, Vec<ExtentUse>) {
    let start = LaneLayout::new(positions, new_extents, limit, to_u64(EXTENT_HEADER_LEN_BYTES));
    let mut walk = start.clone();
    let blocks = geometries.iter().flat_map(FileGeometry::blocks);
    blocks.for_each(|block| place_block(&block, lanes, &mut walk).for_each(drop));
    let uses = walk.extents_used().copied().collect();
    (start, uses)
}

/// Places the frames of a block, in shard order; absent shards get none.
pub(super) fn place_block(
    block: &BlockGeometry,
    lanes: &[LaneIndex],
    layout: &mut LaneLayout,
) -> impl Iterator<Item = Option<(Placement, FrameLayout)>> {
    block.shards().zip(lanes).map(|(shard, lane)| {
        let frame = FrameLayout::of_shard(block, shard)?;
        Some((
            layout.place(*lane, frame.total_len_bytes(), frame.alignment_bytes()),
            frame,
        ))
    })
}

/// Refuses what there is no room for: so many bytes in extents, the catalog's own growth, and a ballast that was released,
/// which would else never come back.
///
/// Somebody else may take the room the moment after. Then the volume or the catalog says so, and the commit is undone; but
/// a catalog that has met a full disk has to be opened anew, so it is asked first.
pub(super) fn check_room(
    shared: &Shared,
    contents: Contents<'_>,
    extent_bytes: u64,
) -> Result<(), CommitError> {
    let volume = shared.volumes.writable();
    let spare_bytes = catalog_bytes(contents).saturating_add(missing_bytes(&shared.layout));
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
        name: contents.name.clone(),
        others: to_u64(contents.geometries.len()) - 1,
        volume: volume.id(),
        needed_bytes,
        free_bytes,
    })
}

/// Returns how many bytes the catalog may take for a commit.
fn catalog_bytes(contents: Contents<'_>) -> u64 {
    let blocks = contents
        .geometries
        .iter()
        .map(FileGeometry::block_count)
        .sum::<u64>();
    let shards = contents
        .geometries
        .first()
        .map_or(0, |file| u64::from(file.shape().total()));
    let size = TransactionSize {
        entries: to_u64(contents.geometries.len()),
        text_len_bytes: contents.text_len_bytes,
        blocks,
        shards: blocks.saturating_mul(shards),
        extents: 0,
        intents: 1,
        descriptors: 0,
    };
    size.room_bytes()
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
