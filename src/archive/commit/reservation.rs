//! The room of a commit: taken before a byte is written, named in the catalog only when every byte is synced.
//!
//! ```text
//! T0        one transaction: ids, the intent, and the extents that it owns from now on
//! extents   made or taken over, preallocated: a full disk shows here
//! frames    written into what is owned, nowhere else
//! sync      every extent that was touched                                              I1
//! publish   one transaction: rows of the file, extents with their new ends, no intent   the moment of visibility
//! ```
//!
//! A failure anywhere gives everything back. A crash leaves the intent of a dead session, whose extents the next writing
//! open cuts back to their committed end (`archive::recovery`).

use std::{collections::BTreeMap, sync::Arc};

use rayon::prelude::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::room::{
    check_room, extent_limit, fresh_extent, lane_lengths, lane_positions, place_block, unused_extent_id,
    walk_layout,
};
use crate::{
    archive::{
        ballast::{settle, with_room},
        recovery::{Afterwards, release_unfinished},
        shared::Shared,
    },
    catalog::{CatalogWriter, ExtentRecord, ExtentState, IntentRecord, TransactionSize},
    error::{CommitError, VolumeError},
    format::{ExtentHeader, ExtentIdentity, FrameLayout},
    geometry::{BlockGeometry, FileGeometry, lanes_for_block},
    plan::{ExtentUse, LaneLayout, Placement},
    units::{BlockId, CommitId, ExtentId, FileId, FileName, LaneIndex, SessionId, to_u64},
    volume::{ExtentWriter, Volume},
};

/// Times that a commit is planned anew because an open extent turned out to be damaged.
const ATTEMPTS: u32 = 64;

/// What a commit is about to store: one file, or many with the same code.
#[derive(Debug, Clone, Copy)]
pub(super) struct Contents<'a> {
    /// The first name, for messages.
    pub(super) name: &'a FileName,
    /// How each file is cut into blocks.
    pub(super) geometries: &'a [FileGeometry],
    /// Bytes of all names and targets together.
    pub(super) text_len_bytes: u64,
}

/// A file that room was taken for, and its ids.
#[derive(Debug, Clone, Copy)]
pub(super) struct PlannedFile {
    pub(super) id: FileId,
    pub(super) geometry: FileGeometry,
    /// The id of its first block; the others follow.
    first_block: u64,
}

impl PlannedFile {
    pub(super) fn block_id(&self, index: u64) -> BlockId {
        assert!(index < self.geometry.block_count(), "a file has no more blocks");
        BlockId::new(self.first_block + index)
    }
}

/// The room of one commit.
#[derive(Debug)]
pub(super) struct Reservation {
    files: Vec<PlannedFile>,
    commit: CommitId,
    volume: Arc<dyn Volume>,
    lanes: Vec<LaneIndex>,
    /// The layout before the first frame; walking it again gives every frame its place.
    start: LaneLayout,
    uses: Vec<ExtentUse>,
    writers: BTreeMap<ExtentId, Arc<dyn ExtentWriter>>,
}

impl Reservation {
    /// Takes room for files: T0 and the extents.
    pub(super) fn take(shared: &Shared, contents: Contents<'_>) -> Result<Self, CommitError> {
        let mut attempt = 1;
        loop {
            let mut reservation = Self::reserve(shared, contents)?;
            match reservation.open_extents(shared) {
                Ok(()) => return Ok(reservation),
                Err(error) => {
                    // Giving back seals what is damaged, so that the next attempt goes elsewhere.
                    let given_back = reservation.give_back(shared);
                    let is_damage =
                        matches!(error, VolumeError::Missing { .. } | VolumeError::Truncated { .. });
                    if !is_damage || attempt == ATTEMPTS || given_back.is_err() {
                        return Err(not_opened(error, contents));
                    }
                    attempt += 1;
                }
            }
        }
    }

    /// T0: one transaction that takes ids, says what is intended and marks extents as owned. I2: from here every reserved
    /// byte has an owner.
    fn reserve(shared: &Shared, contents: Contents<'_>) -> Result<Self, CommitError> {
        // Asked before anything is written, the session file included.
        check_room(shared, contents, 0)?;
        // One that was released on a full disk comes back with the room, so that the next full disk finds it.
        settle(&shared.layout);
        let session = shared.session()?;
        let volume = Arc::clone(shared.volumes.writable());
        let mut writer = shared.catalog.write()?;
        let commit = writer.allocate_commit_id();
        writer.put_intent(&intent_of(shared, commit, session, contents))?;
        let files = plan_files(&mut writer, contents.geometries);
        let extents: Vec<ExtentRecord> = writer
            .extents()?
            .into_iter()
            .filter(|extent| extent.volume == volume.id())
            .collect();
        let with_blocks = contents
            .geometries
            .iter()
            .find(|geometry| geometry.block_count() > 0);
        let lanes = with_blocks.map_or_else(Vec::new, |geometry| {
            let lengths = lane_lengths(&extents, shared.policy().lane_count());
            lanes_for_block(geometry.shape(), &lengths)
        });
        let positions = lane_positions(&mut writer, volume.as_ref(), &extents, &lanes)?;
        // Which extents are new does not depend on their numbers, so a first walk counts them.
        let limit = extent_limit(contents.geometries, &lanes, &positions);
        let (_, counted) = walk_layout(contents.geometries, &lanes, &positions, (limit, Vec::new()));
        let extent_bytes = counted
            .iter()
            .map(|taken| taken.end_bytes - taken.start_bytes)
            .sum();
        check_room(shared, contents, extent_bytes)?;
        let new_extents = counted
            .iter()
            .filter(|taken| taken.is_new)
            .map(|_| unused_extent_id(&mut writer, volume.as_ref()))
            .collect::<Result<_, CommitError>>()?;
        let (start, uses) = walk_layout(contents.geometries, &lanes, &positions, (limit, new_extents));
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
                owner: Some(commit),
                ..before.clone()
            })?;
        }
        writer.commit()?;
        let writers = BTreeMap::new();
        Ok(Self {
            files,
            commit,
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

    pub(super) fn files(&self) -> &[PlannedFile] {
        &self.files
    }

    pub(super) const fn commit(&self) -> CommitId {
        self.commit
    }

    pub(super) fn volume(&self) -> &Arc<dyn Volume> {
        &self.volume
    }

    /// Returns the hand on an extent that this commit writes.
    pub(super) fn writer(&self, extent: ExtentId) -> &Arc<dyn ExtentWriter> {
        &self.writers[&extent]
    }

    /// Returns the layout before the first frame.
    pub(super) fn layout(&self) -> LaneLayout {
        self.start.clone()
    }

    /// Places the frames of the next block, in shard order; absent shards get none.
    pub(super) fn place(
        &self,
        block: &BlockGeometry,
        layout: &mut LaneLayout,
    ) -> impl Iterator<Item = Option<(Placement, FrameLayout)>> {
        place_block(block, &self.lanes, layout)
    }

    /// Returns the bytes that the commit takes on its volumes.
    pub(super) fn stored_bytes(&self) -> u64 {
        self.uses
            .iter()
            .map(|taken| taken.end_bytes - taken.start_bytes)
            .sum()
    }

    /// Makes every written byte durable. I1: the catalog names nothing before this.
    pub(super) fn sync(&self, shared: &Shared) -> Result<(), CommitError> {
        let writers: Vec<&Arc<dyn ExtentWriter>> = self.writers.values().collect();
        shared
            .workers
            .install(|| writers.par_iter().try_for_each(|writer| writer.sync()))?;
        Ok(())
    }

    /// Ends the intent and ownership and moves the committed ends, as a part of publishing.
    pub(super) fn release_written(&self, writer: &mut CatalogWriter) -> Result<(), CommitError> {
        for taken in &self.uses {
            // Who was taken for dead owns nothing any more, and its bytes are cut off.
            let extent = writer.extent(taken.extent)?;
            let Some(extent) = extent.filter(|extent| extent.owner == Some(self.commit)) else {
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
        writer.remove_intent(self.commit)?;
        Ok(())
    }

    /// Gives everything back after a failure: files are cut, ownership and the intent end.
    pub(super) fn give_back(self, shared: &Shared) -> Result<(), CommitError> {
        drop(self.writers);
        let size = TransactionSize {
            extents: to_u64(self.uses.len()),
            intents: 1,
            ..TransactionSize::default()
        };
        with_room(shared, size.room_bytes(), || {
            let mut writer = shared.catalog.write()?;
            for taken in &self.uses {
                if let Some(extent) = writer.extent(taken.extent)?
                    && extent.owner == Some(self.commit)
                {
                    release_unfinished(shared, &mut writer, &extent, Afterwards::GoOn)?;
                }
            }
            writer.remove_intent(self.commit)?;
            writer.commit()?;
            Ok(())
        })
    }
}

/// Returns what a commit says before its first byte. Nothing of it can be resumed.
fn intent_of(shared: &Shared, commit: CommitId, session: SessionId, contents: Contents<'_>) -> IntentRecord {
    IntentRecord {
        commit,
        session: Some(session),
        begun_at: shared.now(),
        name: contents.name.clone(),
        others: to_u64(contents.geometries.len()) - 1,
        resumable: None,
    }
}

/// Says of a disk that somebody else has filled meanwhile what it lacks for which files.
fn not_opened(error: VolumeError, contents: Contents<'_>) -> CommitError {
    let VolumeError::Full {
        volume,
        needed_bytes,
        free_bytes,
        ..
    } = error
    else {
        return error.into();
    };
    CommitError::Full {
        name: contents.name.clone(),
        others: to_u64(contents.geometries.len()) - 1,
        volume,
        needed_bytes,
        free_bytes,
    }
}

fn plan_files(writer: &mut CatalogWriter, geometries: &[FileGeometry]) -> Vec<PlannedFile> {
    let blocks = geometries.iter().map(FileGeometry::block_count).sum();
    let mut next_block = writer.allocate_block_ids(blocks).next().map_or(0, BlockId::get);
    let plan = |geometry: &FileGeometry| {
        let first_block = next_block;
        next_block += geometry.block_count();
        PlannedFile {
            id: writer.allocate_file_id(),
            geometry: *geometry,
            first_block,
        }
    };
    geometries.iter().map(plan).collect()
}
