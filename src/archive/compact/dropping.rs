//! Extents in which nothing lives: the journal and the catalog say so before their files go.

use std::collections::{BTreeMap, BTreeSet};

use super::{Compaction, KeptWhy};
use crate::{
    archive::publication,
    catalog::{ExtentRecord, ExtentState, PublishedExtent},
    error::{CommitError, RepairError, VolumeError},
    units::ExtentId,
};

impl Compaction<'_> {
    /// Publishes that extents in which nothing lives are dropped, and removes their files; those that an earlier attempt has left,
    /// too.
    pub(super) fn drop_empty(&mut self) -> Result<(), RepairError> {
        self.expect_going_on()?;
        let taken = self.publish_dropped()?;
        self.remove_files(&taken)
    }

    /// Returns how many bytes each extent still took that is dropped from now on.
    fn publish_dropped(&self) -> Result<BTreeMap<ExtentId, u64>, RepairError> {
        let shared = self.shared;
        let some = |extents: Vec<ExtentRecord>| extents.iter().any(|extent| self.is_empty(extent));
        if !some(shared.catalog.read()?.extents()?) {
            return Ok(BTreeMap::new());
        }
        let publishing = publication::begin(shared).map_err(CommitError::from)?;
        let writer = &publishing.writer;
        let mut empty = writer.extents()?;
        // Under the lock: nobody takes one, or stores anything in it, before all know that it is dropped.
        empty.retain(|extent| self.is_empty(extent));
        if empty.is_empty() {
            return Ok(BTreeMap::new());
        }
        let freed = writer.freed_bytes()?;
        let taken = empty.iter().map(|extent| {
            let freed = freed.get(&extent.id).copied().unwrap_or(0);
            (extent.id, extent.end_bytes.saturating_sub(freed))
        });
        let taken = taken.collect();
        let lanes = shared.volumes().lanes();
        let mut publication = publication::empty(writer)?;
        publication.extents = (empty.iter())
            .map(|extent| PublishedExtent {
                id: extent.id,
                volume: lanes.volume_of(extent.lane),
                lane: extent.lane,
                state: ExtentState::Dropped,
                end_bytes: 0,
            })
            .collect();
        publication::publish(shared, publishing, publication, Vec::new())?;
        Ok(taken)
    }

    /// Removes the files of dropped extents that are still there.
    fn remove_files(&mut self, taken: &BTreeMap<ExtentId, u64>) -> Result<(), RepairError> {
        let extents = self.shared.catalog.read()?.extents()?;
        let dropped = extents
            .iter()
            .filter(|extent| extent.state == ExtentState::Dropped);
        let dropped: BTreeSet<ExtentId> = dropped.map(|extent| extent.id).collect();
        if dropped.is_empty() {
            return Ok(());
        }
        let volumes = self.shared.volumes();
        for member in volumes.members().iter().filter(|member| member.is_writable()) {
            // What cannot be listed now is found the next time.
            let there = member.volume.extents().unwrap_or_default();
            for stat in there.iter().filter(|stat| dropped.contains(&stat.extent)) {
                self.expect_going_on()?;
                match member.volume.remove_extent(stat.extent) {
                    Ok(()) => {
                        let taken = taken.get(&stat.extent).copied().unwrap_or(stat.len_bytes);
                        self.report.dropped_extents += 1;
                        self.report.dropped_bytes += taken;
                    }
                    // Somebody else was faster.
                    Err(VolumeError::Missing { .. }) => {}
                    Err(_) => {
                        self.kept.insert(stat.extent, KeptWhy::Failed);
                    }
                }
            }
        }
        Ok(())
    }
}
