//! The extents that belong to one commit, or to one repair, until it ends.
//!
//! I2: from the transaction that marks them every reserved byte has an owner; an intent names it, and its session. Whatever
//! becomes of it, they are published, given back, or left to whoever comes next.

use std::{collections::BTreeMap, sync::Arc};

use rayon::prelude::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::{
    commit::Filled,
    intents::{self, Afterwards, Ender},
    left_behind::UnderWay,
    shared::Shared,
    volumes::Volumes,
};
use crate::{
    catalog::{CatalogWriter, ExtentRecord, ExtentState, PublishedExtent},
    error::{CommitError, VolumeError},
    format::{ExtentHeader, ExtentIdentity},
    plan::ExtentUse,
    units::{CommitId, ExtentId, SessionId},
    volume::ExtentWriter,
};

/// Whose extents they are, and where they lie.
#[derive(Debug)]
pub(super) struct Owner {
    pub(super) commit: CommitId,
    pub(super) session: SessionId,
    pub(super) volumes: Arc<Volumes>,
}

/// The extents of one commit.
#[derive(Debug)]
pub(super) struct OwnedExtents {
    owner: Owner,
    /// What will have been filled in the end.
    pub(super) filled: Filled,
    /// What of it is written now: these extents are open.
    pub(super) written: Filled,
    writers: BTreeMap<ExtentId, Arc<dyn ExtentWriter>>,
    /// Dropped without an end, as by a panic, the commit is left to whoever commits next. `None` while whoever goes on from one
    /// attempt to the next holds it.
    pub(super) under_way: Option<UnderWay>,
}

impl OwnedExtents {
    /// Takes charge of the extents of a commit that has begun just now.
    pub(super) fn of_new_commit(shared: &Shared, owner: Owner, (filled, written): (Filled, Filled)) -> Self {
        let under_way = UnderWay::new(&shared.left, owner.commit);
        Self {
            under_way: Some(under_way),
            ..Self::of_commit_under_way(owner, (filled, written))
        }
    }

    /// Takes charge of the extents of a commit that somebody else ends when this is dropped.
    pub(super) fn of_commit_under_way(owner: Owner, (filled, written): (Filled, Filled)) -> Self {
        for taken in filled.extents() {
            let lanes = owner.volumes.lanes();
            owner.volumes.note(taken.extent, lanes.volume_of(taken.lane));
        }
        Self {
            owner,
            filled,
            written,
            writers: BTreeMap::new(),
            under_way: None,
        }
    }

    pub(super) const fn commit(&self) -> CommitId {
        self.owner.commit
    }

    pub(super) fn volumes(&self) -> &Arc<Volumes> {
        &self.owner.volumes
    }

    /// Returns the hand on an extent that this commit writes.
    pub(super) fn writer(&self, extent: ExtentId) -> &Arc<dyn ExtentWriter> {
        &self.writers[&extent]
    }

    /// Makes or takes over every extent and preallocates exactly what is to be filled.
    pub(super) fn open(&mut self, shared: &Shared) -> Result<(), VolumeError> {
        let open = |taken: &ExtentUse| Ok((taken.extent, self.open_extent(shared, taken)?));
        let taken: Vec<ExtentUse> = self.written.extents().copied().collect();
        self.writers = shared
            .workers
            .install(|| taken.par_iter().map(open).collect::<Result<_, VolumeError>>())?;
        Ok(())
    }

    fn open_extent(&self, shared: &Shared, taken: &ExtentUse) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        let volume = self.owner.volumes.of_lane(taken.lane);
        if !taken.is_new {
            let writer = volume.resume_extent(taken.extent, taken.committed_bytes)?;
            writer.preallocate(taken.end_bytes)?;
            return Ok(writer);
        }
        let identity = ExtentIdentity {
            archive: shared.archive_id(),
            volume: volume.id(),
            extent: taken.extent,
        };
        let header = ExtentHeader {
            identity,
            lane: taken.lane,
            commit: self.owner.commit,
        };
        volume.create_extent(taken.extent, &header.encode(), taken.end_bytes)
    }

    /// Makes every written byte durable. I1: the catalog names nothing before this.
    pub(super) fn sync(&self, shared: &Shared) -> Result<(), CommitError> {
        let writers: Vec<&Arc<dyn ExtentWriter>> = self.writers.values().collect();
        shared
            .workers
            .install(|| writers.par_iter().try_for_each(|writer| writer.sync()))?;
        Ok(())
    }

    /// Checks that the intent is still ours: who was taken for dead owns nothing any more.
    pub(super) fn check_owned(&self, writer: &CatalogWriter) -> Result<(), CommitError> {
        let intent = writer.intent(self.owner.commit)?;
        if intent.is_some_and(|intent| intent.session == Some(self.owner.session)) {
            Ok(())
        } else {
            Err(CommitError::OwnershipLost {
                commit: self.owner.commit,
            })
        }
    }

    /// Returns the extents as they are once the commit is published: without an owner, with their new ends.
    pub(super) fn published_extents(
        &self,
        writer: &CatalogWriter,
    ) -> Result<Vec<PublishedExtent>, CommitError> {
        let lanes = self.owner.volumes.lanes();
        let mut published = Vec::new();
        for taken in self.filled.extents() {
            let known = writer.extent(taken.extent)?;
            let Some(extent) = known.filter(|extent| extent.owner == Some(self.owner.commit)) else {
                return Err(CommitError::OwnershipLost {
                    commit: self.owner.commit,
                });
            };
            let state = match extent.state {
                ExtentState::Open if taken.is_full => ExtentState::Sealed,
                ExtentState::Open
                | ExtentState::Sealed
                | ExtentState::Abandoned
                | ExtentState::Dropped
                | ExtentState::Scanned => extent.state,
            };
            published.push(PublishedExtent {
                id: extent.id,
                volume: lanes.volume_of(extent.lane),
                lane: extent.lane,
                state,
                end_bytes: taken.published_end_bytes(),
            });
        }
        Ok(published)
    }

    /// Ends it: it is published, or may be.
    pub(super) fn end(self) {
        if let Some(under_way) = self.under_way {
            under_way.end();
        }
    }

    /// Gives everything back after a failure: files are cut, ownership and intent end. Where that fails it is left behind.
    pub(super) fn give_back(self, shared: &Shared) -> Result<(), CommitError> {
        self.give_back_with(shared, Afterwards::GoOn)
    }

    /// Does the same, and nobody writes to those of the extents any more that hold other bytes, too: what was written here is not what
    /// was read back.
    pub(super) fn give_back_spoilt(self, shared: &Shared) -> Result<(), CommitError> {
        self.give_back_with(shared, Afterwards::Seal)
    }

    fn give_back_with(mut self, shared: &Shared, afterwards: Afterwards) -> Result<(), CommitError> {
        // Nobody writes any more.
        self.writers.clear();
        intents::give_up_with(shared, self.owner.commit, Ender::Worker, afterwards)?;
        self.end();
        Ok(())
    }
}

/// Marks extents as belonging to a commit; those that are not known yet are added.
pub(super) fn own(
    writer: &mut CatalogWriter,
    (commit, volumes): (CommitId, &Volumes),
    known: &[ExtentRecord],
    filled: &Filled,
) -> Result<(), CommitError> {
    let known: BTreeMap<ExtentId, &ExtentRecord> = known.iter().map(|extent| (extent.id, extent)).collect();
    for taken in filled.extents() {
        let fresh = ExtentRecord {
            id: taken.extent,
            volume: volumes.of_lane(taken.lane).id(),
            lane: taken.lane,
            state: ExtentState::Open,
            owner: None,
            end_bytes: 0,
            live_bytes: 0,
            live_shards: 0,
            live_files: 0,
        };
        let before = known.get(&taken.extent).copied().unwrap_or(&fresh);
        assert!(
            before.owner.is_none_or(|owner| owner == commit),
            "extent {} has an owner already",
            taken.extent
        );
        writer.put_extent(&ExtentRecord {
            owner: Some(commit),
            ..before.clone()
        })?;
    }
    Ok(())
}
