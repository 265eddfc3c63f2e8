//! Compacting: room in which nothing lives goes back to the file system.
//!
//! ```text
//! settle    what the journal has is in the catalog                             P6: nothing is given back that either still names
//! drop      extents in which nothing lives: published as dropped, then removed takes no room but that of a record
//! punch     whole pages in which nothing lives: holes, synced, then noted      takes no room at all
//! rewrite   what lives in extents that are dead for the most part, elsewhere;  takes room, so it comes last
//!           then these are dropped
//! ```
//!
//! Bytes of extents are written once and addresses never given again, so what is dead stays dead, whoever writes meanwhile. A
//! crash anywhere leaves what was live; doing it again does the rest. Who reads by an old address finds zeros or nothing there,
//! which match no hash, and looks again.

mod dropping;
mod punching;
mod report;
mod rewriting;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

pub(super) use self::punching::punch_too_early;
pub use self::report::{CompactReport, KeptRoom, KeptWhy};
use super::{
    Archive,
    ballast::{again_with_room, with_room},
    intents,
    observer::Observer,
    publication,
    shared::Shared,
    space::dead_bytes,
    volumes::{Member, VolumeCondition},
};
use crate::{
    catalog::{Access, CatalogReader, ExtentRecord, ExtentState, TransactionSize},
    error::{CommitError, RepairError},
    plan::{Budget, RateLimit},
    units::{ExtentId, VolumeId, to_u64},
};

/// How an archive is compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompactOptions {
    /// Bytes of frames that may be written anew; giving back what nobody needs costs nothing of it. Default: any number.
    pub budget: Budget,
    /// From which share on of dead bytes, in percent of what an extent still takes, what lives in it is written anew elsewhere.
    /// 101 or more for none. Default: 50.
    pub min_dead_percent: u32,
    /// How many dead bytes an extent still takes at least that is written anew. Default: 64 KiB.
    pub min_dead_bytes: u64,
    /// Bytes of frames that are written in a second at most.
    pub rate: Option<RateLimit>,
    /// What is done about extents that a deep scan has found. Default: they are kept as they are.
    pub scanned: ScannedExtents,
    /// Nothing is changed; the report says what would be done where the file system can give back parts of files.
    pub is_dry_run: bool,
}

impl Default for CompactOptions {
    fn default() -> Self {
        Self {
            budget: Budget::UNLIMITED,
            min_dead_percent: 50,
            min_dead_bytes: 64 * 1024,
            rate: None,
            scanned: ScannedExtents::Keep,
            is_dry_run: false,
        }
    }
}

/// What compacting does about extents that a deep scan has found: frames in them may be of files whose names are lost, and nobody
/// knows that they are dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScannedExtents {
    /// Nothing of them is given back.
    Keep,
    /// What no entry has is given up, as in other extents.
    GiveUp,
}

impl Archive {
    /// Gives room back in which nothing lives: of files that were removed or replaced, and of shards that lie elsewhere by now.
    ///
    /// Extents without a live byte are removed, whole pages are given back where the file system can, and what lives in extents
    /// that are dead for the most part is written anew, so that they can be removed too. Nothing goes that a live file, a commit
    /// that runs or waits, or a reader needs; others may commit and read all the while. Works on a full disk as far as it takes no
    /// room. Ended early, by the observer, an error or a crash, it goes on with the same call.
    ///
    /// # Errors
    /// [`RepairError`]; what was given back stays so. What stays dead is in the report, with the reason.
    pub fn compact(
        &self,
        options: &CompactOptions,
        observer: &dyn Observer,
    ) -> Result<CompactReport, RepairError> {
        compact(&self.shared, options, observer)
    }
}

/// Gives back what nobody needs.
pub(super) fn compact(
    shared: &Arc<Shared>,
    options: &CompactOptions,
    observer: &dyn Observer,
) -> Result<CompactReport, RepairError> {
    let mut compaction = Compaction {
        shared,
        options,
        observer,
        report: CompactReport::default(),
        kept: BTreeMap::new(),
        without_holes: BTreeSet::new(),
        would_go: BTreeMap::new(),
    };
    if options.is_dry_run {
        compaction.plan()?;
        return Ok(compaction.report);
    }
    if shared.access == Access::Read {
        return Err(CommitError::ReadOnly.into());
    }
    let size = TransactionSize {
        extents: to_u64(shared.catalog.read()?.extents()?.len()),
        ..TransactionSize::default()
    };
    with_room(shared, size.room_bytes(), || {
        let settled = again_with_room(&shared.layout, || publication::begin_settled(shared));
        settled.map(drop).map_err(CommitError::from)?;
        intents::end_left_behind(shared);
        compaction.drop_empty()?;
        compaction.punch()
    })?;
    compaction.rewrite()?;
    compaction.tell_what_is_kept()?;
    Ok(compaction.report)
}

struct Compaction<'a> {
    shared: &'a Arc<Shared>,
    options: &'a CompactOptions,
    observer: &'a dyn Observer,
    report: CompactReport,
    /// Extents of which something was kept for a reason that does not show afterwards.
    kept: BTreeMap<ExtentId, KeptWhy>,
    /// Volumes that have turned out to have no holes.
    without_holes: BTreeSet<VolumeId>,
    /// Of a plan: bytes of extents that would be gone.
    would_go: BTreeMap<ExtentId, u64>,
}

impl Compaction<'_> {
    fn expect_going_on(&self) -> Result<(), RepairError> {
        if self.observer.is_cancelled() {
            return Err(RepairError::Cancelled);
        }
        Ok(())
    }

    /// Says what would be done.
    fn plan(&mut self) -> Result<(), RepairError> {
        let reader = self.shared.catalog.read()?;
        let extents = reader.extents()?;
        drop(reader);
        let freed = self.shared.catalog.read()?.freed_bytes()?;
        for extent in &extents {
            if !self.is_empty(extent) {
                continue;
            }
            let bytes = extent.end_bytes - freed.get(&extent.id).copied().unwrap_or(0);
            self.report.dropped_extents += 1;
            self.report.dropped_bytes += bytes;
            self.would_go.insert(extent.id, bytes);
        }
        self.plan_holes(&extents)?;
        for extent in self.chosen()? {
            let bytes = extent.end_bytes - self.freed(&freed, extent.id);
            self.report.rewritten_bytes += extent.live_bytes;
            self.report.rewritten_shards += extent.live_shards;
            self.report.dropped_extents += 1;
            self.report.dropped_bytes += bytes;
            self.would_go.insert(extent.id, extent.end_bytes);
        }
        self.tell_what_is_kept()
    }

    /// Returns what of an extent is given back, or would be.
    fn freed(&self, freed: &BTreeMap<ExtentId, u64>, extent: ExtentId) -> u64 {
        let known = freed.get(&extent).copied().unwrap_or(0);
        known + self.would_go.get(&extent).copied().unwrap_or(0)
    }

    /// Says whether an extent is ours to give back from: nobody has it, what lives in it is known (P8), and it may be written to.
    fn is_free(&self, extent: &ExtentRecord) -> bool {
        extent.owner.is_none()
            && extent.end_bytes > 0
            && extent.state != ExtentState::Dropped
            && !self.is_kept_back(extent)
            && self.shared.volumes().writable(extent.volume).is_some()
    }

    fn is_kept_back(&self, extent: &ExtentRecord) -> bool {
        extent.state == ExtentState::Scanned && self.options.scanned == ScannedExtents::Keep
    }

    /// Says whether nothing lives in an extent that is ours to give back.
    fn is_empty(&self, extent: &ExtentRecord) -> bool {
        self.is_free(extent) && extent.live_shards == 0 && extent.live_bytes == 0
    }

    /// Sums up what stays dead, and why.
    fn tell_what_is_kept(&mut self) -> Result<(), RepairError> {
        let reader = self.shared.catalog.read()?;
        let freed = reader.freed_bytes()?;
        let mut kept: BTreeMap<KeptWhy, KeptRoom> = BTreeMap::new();
        for extent in reader.extents()? {
            let gone = self.freed(&freed, extent.id);
            let bytes = dead_bytes(&extent, gone);
            if bytes == 0 || gone >= extent.end_bytes {
                continue;
            }
            let why = self.why_kept(&extent);
            let room = kept.entry(why).or_insert(KeptRoom {
                why,
                extents: 0,
                bytes: 0,
            });
            room.extents += 1;
            room.bytes += bytes;
        }
        self.report.kept = kept.into_values().collect();
        Ok(())
    }

    fn why_kept(&self, extent: &ExtentRecord) -> KeptWhy {
        let volumes = self.shared.volumes();
        match volumes.member(extent.volume) {
            Some(member) if member.is_writable() => {}
            Some(member) => return condition_of(member),
            None => return KeptWhy::VolumeMissing,
        }
        if extent.owner.is_some() {
            return KeptWhy::InUse;
        }
        if self.is_kept_back(extent) {
            return KeptWhy::Scanned;
        }
        self.kept.get(&extent.id).copied().unwrap_or(KeptWhy::Scattered)
    }
}

const fn condition_of(member: &Member) -> KeptWhy {
    match member.condition {
        VolumeCondition::ReadOnly => KeptWhy::VolumeReadOnly,
        VolumeCondition::Stale { .. } => KeptWhy::VolumeStale,
        VolumeCondition::Present
        | VolumeCondition::Unreadable
        | VolumeCondition::Missing
        | VolumeCondition::Foreign { .. } => KeptWhy::VolumeMissing,
    }
}

/// Returns an extent as the catalog has it now.
fn extent_now(reader: &CatalogReader, id: ExtentId) -> Result<Option<ExtentRecord>, RepairError> {
    Ok(reader.extent(id)?)
}
