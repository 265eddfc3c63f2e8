//! The room of a commit: taken before a byte is written, named in the catalog only when every byte is synced.
//!
//! ```text
//! T0        one transaction: ids, and the extents that this session owns from now on
//! extents   made or taken over, preallocated: a full disk shows here
//! frames    written into what is owned, nowhere else
//! sync      every extent that was touched                                              I1
//! publish   one transaction: rows of the file, extents given back with their new ends   the moment of visibility
//! ```
//!
//! A failure anywhere gives everything back. A crash leaves extents with a dead owner, which the next writing open cuts
//! back to their committed end (`archive::recovery`).

use std::{collections::BTreeMap, sync::Arc};

use rayon::prelude::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::block::{BlockIdentity, BlockInFlight, FrameTarget};
use crate::{
    archive::{
        recovery::{Afterwards, release_unfinished},
        shared::Shared,
        volumes::{announce_epoch, settle_epoch},
    },
    catalog::{BlockRecord, CatalogWriter, ExtentRecord, ExtentState, FileRecord},
    error::{CommitError, VolumeError},
    format::{EXTENT_HEADER_LEN_BYTES, ExtentHeader, ExtentIdentity, FrameLayout},
    geometry::{BlockGeometry, FileGeometry, lanes_for_block},
    plan::{ExtentUse, LaneLayout, LanePosition},
    units::{
        BlockId, BlockIndex, CommitId, ExtentId, FileId, FileName, LaneIndex, SessionId, VolumeId, to_u64,
        to_usize,
    },
    volume::{ExtentWriter, Volume},
};

/// Extents are sealed at this length; a longer frame gets one of its own.
const EXTENT_LIMIT_BYTES: u64 = 1 << 30;

/// Extents of one lane that one commit fills at most: they are all open until it is synced, so a very long file gets longer
/// extents instead of more.
const EXTENTS_PER_LANE: u64 = 4;

/// More than any volume has, and far from where sums of lengths overflow; for hosts that do not say what is free.
const MAX_STORED_BYTES: u64 = 1 << 60;

/// Times that a commit is planned anew because an open extent turned out to be damaged.
const ATTEMPTS: u32 = 64;

/// The room of one commit.
#[derive(Debug)]
pub(super) struct Reservation {
    geometry: FileGeometry,
    commit: CommitId,
    file: FileId,
    blocks: Vec<BlockId>,
    session: SessionId,
    volume: Arc<dyn Volume>,
    lanes: Vec<LaneIndex>,
    /// The layout before the first frame; walking it again gives every frame its place.
    start: LaneLayout,
    uses: Vec<ExtentUse>,
    writers: BTreeMap<ExtentId, Arc<dyn ExtentWriter>>,
}

impl Reservation {
    /// Takes room for a file: T0 and the extents.
    pub(super) fn take(
        shared: &Shared,
        name: &FileName,
        geometry: FileGeometry,
    ) -> Result<Self, CommitError> {
        let mut attempt = 1;
        loop {
            let mut reservation = Self::reserve(shared, name, geometry)?;
            match reservation.open_extents(shared) {
                Ok(()) => return Ok(reservation),
                Err(error) => {
                    // Giving back seals what is damaged, so that the next attempt goes elsewhere.
                    let given_back = reservation.give_back(shared);
                    let is_damage =
                        matches!(error, VolumeError::Missing { .. } | VolumeError::Truncated { .. });
                    if !is_damage || attempt == ATTEMPTS || given_back.is_err() {
                        return Err(error.into());
                    }
                    attempt += 1;
                }
            }
        }
    }

    /// T0: one transaction that takes ids and marks extents as owned. I2: from here every reserved byte has an owner.
    fn reserve(shared: &Shared, name: &FileName, geometry: FileGeometry) -> Result<Self, CommitError> {
        let session = shared.session()?;
        let volume = Arc::clone(shared.volumes.writable());
        let mut writer = shared.catalog.write()?;
        let commit = writer.allocate_commit_id();
        let file = writer.allocate_file_id();
        let blocks: Vec<BlockId> = writer.allocate_block_ids(geometry.block_count()).collect();
        let extents: Vec<ExtentRecord> = writer
            .extents()?
            .into_iter()
            .filter(|extent| extent.volume == volume.id())
            .collect();
        let lanes = if geometry.block_count() == 0 {
            Vec::new()
        } else {
            lanes_for_block(
                geometry.shape(),
                &lane_lengths(&extents, shared.policy().lane_count()),
            )
        };
        let positions = lane_positions(&mut writer, volume.as_ref(), &extents, &lanes)?;
        // Which extents are new does not depend on their numbers, so a first walk counts them.
        let limit = extent_limit(&geometry, &lanes, &positions);
        let (_, counted) = walk_layout(&geometry, &lanes, &positions, (limit, Vec::new()));
        check_room(name, volume.as_ref(), &counted)?;
        let new_extents = counted
            .iter()
            .filter(|taken| taken.is_new)
            .map(|_| unused_extent_id(&mut writer, volume.as_ref()))
            .collect::<Result<_, CommitError>>()?;
        let (start, uses) = walk_layout(&geometry, &lanes, &positions, (limit, new_extents));
        let known: BTreeMap<ExtentId, &ExtentRecord> =
            extents.iter().map(|extent| (extent.id, extent)).collect();
        for taken in &uses {
            let fresh = fresh_extent(taken, volume.id());
            let before = known.get(&taken.extent).copied().unwrap_or(&fresh);
            assert!(
                before.owner.is_none(),
                "extent {} has an owner already",
                taken.extent
            );
            writer.put_extent(&ExtentRecord {
                owner: Some(session),
                ..before.clone()
            })?;
        }
        writer.commit()?;
        let writers = BTreeMap::new();
        Ok(Self {
            geometry,
            commit,
            file,
            blocks,
            session,
            volume,
            lanes,
            start,
            uses,
            writers,
        })
    }

    /// Makes or takes over every extent and preallocates exactly what the plan fills.
    fn open_extents(&mut self, shared: &Shared) -> Result<(), VolumeError> {
        let archive = shared.archive_id();
        let open = |taken: &ExtentUse| {
            let writer = if taken.is_new {
                let identity = ExtentIdentity {
                    archive,
                    volume: self.volume.id(),
                    extent: taken.extent,
                };
                let header = ExtentHeader {
                    identity,
                    lane: taken.lane,
                    commit: self.commit,
                };
                self.volume
                    .create_extent(taken.extent, &header.encode(), taken.end_bytes)?
            } else {
                let writer = self.volume.resume_extent(taken.extent, taken.committed_bytes)?;
                writer.preallocate(taken.end_bytes)?;
                writer
            };
            Ok((taken.extent, writer))
        };
        self.writers = shared
            .workers
            .install(|| self.uses.par_iter().map(open).collect::<Result<_, VolumeError>>())?;
        Ok(())
    }

    pub(super) const fn geometry(&self) -> &FileGeometry {
        &self.geometry
    }

    pub(super) const fn file(&self) -> FileId {
        self.file
    }

    pub(super) const fn commit(&self) -> CommitId {
        self.commit
    }

    /// Returns the bytes that the commit takes on its volumes.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.uses
            .iter()
            .map(|taken| taken.end_bytes - taken.start_bytes)
            .sum()
    }

    /// Begins to hand out the blocks in file order.
    pub(super) fn deal_blocks(&self) -> BlockDealer<'_> {
        BlockDealer {
            reservation: self,
            layout: self.start.clone(),
            next: 0,
        }
    }

    /// Makes every written byte durable. I1: the catalog names nothing before this.
    pub(super) fn sync(&self, shared: &Shared) -> Result<(), CommitError> {
        let writers: Vec<&Arc<dyn ExtentWriter>> = self.writers.values().collect();
        shared
            .workers
            .install(|| writers.par_iter().try_for_each(|writer| writer.sync()))?;
        Ok(())
    }

    /// Publishes the file: from the commit of this transaction on it is visible and will stay.
    ///
    /// An error before that leaves no trace of the file; the caller gives the room back.
    pub(super) fn publish(
        &self,
        shared: &Shared,
        file: &FileRecord,
        blocks: Vec<BlockRecord>,
    ) -> Result<(), CommitError> {
        let mut writer = shared.catalog.write()?;
        if let Some(stored) = writer.file_by_name(&file.name)? {
            return Err(CommitError::NameTaken {
                name: file.name.clone(),
                stored_len_bytes: stored.geometry.len_bytes(),
                source_len_bytes: file.geometry.len_bytes(),
            });
        }
        for taken in &self.uses {
            // Who was taken for dead owns nothing any more, and its bytes are cut off.
            let extent = writer.extent(taken.extent)?;
            let Some(extent) = extent.filter(|extent| extent.owner == Some(self.session)) else {
                return Err(CommitError::OwnershipLost { extent: taken.extent });
            };
            let state = if taken.is_full {
                ExtentState::Sealed
            } else {
                ExtentState::Open
            };
            let end_bytes = taken.published_end_bytes();
            writer.put_extent(&ExtentRecord {
                owner: None,
                state,
                end_bytes,
                ..extent
            })?;
        }
        writer.insert_file(file, blocks)?;
        let epoch = writer.advance_epoch();
        // The volume hears of the epoch before the catalog has it, so that an old catalog put back is noticed.
        announce_epoch(self.volume.as_ref(), shared.archive_id(), epoch)?;
        writer.commit()?;
        // The file is published, whatever becomes of this; without it an old catalog is noticed one epoch later.
        match settle_epoch(self.volume.as_ref(), epoch) {
            Ok(()) | Err(_) => Ok(()),
        }
    }

    /// Gives everything back after a failure: files are cut, ownership ends.
    pub(super) fn give_back(self, shared: &Shared) -> Result<(), CommitError> {
        drop(self.writers);
        let mut writer = shared.catalog.write()?;
        for taken in &self.uses {
            if let Some(extent) = writer.extent(taken.extent)?
                && extent.owner == Some(self.session)
            {
                release_unfinished(shared, &mut writer, &extent, Afterwards::GoOn)?;
            }
        }
        writer.commit()?;
        Ok(())
    }
}

fn fresh_extent(taken: &ExtentUse, volume: VolumeId) -> ExtentRecord {
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
fn lane_lengths(extents: &[ExtentRecord], lane_count: u16) -> Vec<u64> {
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
fn lane_positions(
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
fn unused_extent_id(writer: &mut CatalogWriter, volume: &dyn Volume) -> Result<ExtentId, CommitError> {
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
fn extent_limit(geometry: &FileGeometry, lanes: &[LaneIndex], positions: &[Option<LanePosition>]) -> u64 {
    let (_, unlimited) = walk_layout(geometry, lanes, positions, (u64::MAX / 2, Vec::new()));
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

/// Places every frame of a file and returns the layout it began with and the extents it took.
fn walk_layout(
    geometry: &FileGeometry,
    lanes: &[LaneIndex],
    positions: &[Option<LanePosition>],
    (limit, new_extents): (u64, Vec<ExtentId>),
) -> (LaneLayout, Vec<ExtentUse>) {
    let start = LaneLayout::new(positions, new_extents, limit, to_u64(EXTENT_HEADER_LEN_BYTES));
    let mut walk = start.clone();
    geometry
        .blocks()
        .for_each(|block| place_block(&block, lanes, &mut walk).for_each(drop));
    let uses = walk.extents_used().copied().collect();
    (start, uses)
}

/// Places the frames of a block, in shard order; absent shards get none.
fn place_block(
    block: &BlockGeometry,
    lanes: &[LaneIndex],
    layout: &mut LaneLayout,
) -> impl Iterator<Item = Option<(crate::plan::Placement, FrameLayout)>> {
    block.shards().zip(lanes).map(|(shard, lane)| {
        let frame = FrameLayout::of_shard(block, shard)?;
        Some((
            layout.place(*lane, frame.total_len_bytes(), frame.alignment_bytes()),
            frame,
        ))
    })
}

fn check_room(name: &FileName, volume: &dyn Volume, uses: &[ExtentUse]) -> Result<(), CommitError> {
    let needed_bytes: u64 = uses.iter().map(|taken| taken.end_bytes - taken.start_bytes).sum();
    let free_bytes = volume.free_bytes()?;
    if needed_bytes > free_bytes {
        return Err(CommitError::Full {
            name: name.clone(),
            volume: volume.id(),
            needed_bytes,
            free_bytes,
        });
    }
    Ok(())
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
            volume: volume.id(),
            needed_bytes,
            free_bytes,
        });
    }
    Ok(())
}

/// Hands out the blocks of a file in order, each with the places of its frames.
#[derive(Debug)]
pub(super) struct BlockDealer<'a> {
    reservation: &'a Reservation,
    layout: LaneLayout,
    next: u64,
}

impl BlockDealer<'_> {
    pub(super) const fn geometry(&self) -> &FileGeometry {
        &self.reservation.geometry
    }

    /// Returns the next block and the strips that `cut` makes of it, or `None` after the last.
    pub(super) fn next_block<S>(
        &mut self,
        cut: impl FnOnce(BlockIndex, &BlockGeometry) -> Vec<S>,
    ) -> Option<(BlockInFlight, Vec<S>)> {
        let reservation = self.reservation;
        if self.next == reservation.geometry.block_count() {
            return None;
        }
        let index = BlockIndex::new(self.next);
        let geometry = reservation.geometry.block(index);
        let frames = place_block(&geometry, &reservation.lanes, &mut self.layout)
            .map(|placed| {
                placed.map(|(place, layout)| {
                    let writer = &reservation.writers[&place.extent];
                    FrameTarget {
                        writer: Arc::clone(writer),
                        place,
                        layout,
                    }
                })
            })
            .collect();
        let identity = BlockIdentity {
            commit: reservation.commit,
            file: reservation.file,
            block: reservation.blocks[to_usize(self.next)],
            index,
            volume: reservation.volume.id(),
        };
        let strips = cut(index, &geometry);
        self.next += 1;
        let in_flight = BlockInFlight::new(identity, geometry, frames, to_u64(strips.len()));
        Some((in_flight, strips))
    }
}
