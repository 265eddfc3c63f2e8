//! Where the bytes of the extents are: each is in exactly one state.

use std::collections::BTreeMap;

use super::{shared::Shared, snapshot::Snapshot};
use crate::{
    catalog::{ExtentRecord, ExtentState},
    error::CatalogError,
    format::EXTENT_HEADER_LEN_BYTES,
    units::{ExtentId, VolumeId, to_u64},
};

/// How many bytes of the extents of a volume are in which state.
///
/// The sum of all but `freed_bytes` and `free_bytes` is what the extents take of the volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeSpace {
    /// The volume.
    pub volume: VolumeId,
    /// Frames that are stored: of files, and of what commits have written about them.
    pub live_bytes: u64,
    /// Headers of extents.
    pub overhead_bytes: u64,
    /// Below the committed end, and nothing lives there: of files that were removed or replaced, of shards that lie elsewhere by
    /// now, and between frames.
    pub dead_bytes: u64,
    /// Dead, and given back to the file system.
    pub freed_bytes: u64,
    /// Behind the committed ends: what commits have taken that run or wait, or have left. 0 where the volume cannot be asked.
    pub reserved_bytes: u64,
    /// In extents that nobody knows, which are left alone.
    pub unknown_bytes: u64,
    /// What the volume has left; 0 where it cannot be asked.
    pub free_bytes: u64,
    /// Of the dead bytes those that compacting can give back at most: in extents that no commit has and no deep scan has found, on a
    /// volume that takes writes.
    pub reclaimable_bytes: u64,
}

impl Snapshot {
    /// Says in which state the bytes of the extents are, volume by volume. Costs as much as there are extents and holes.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be read.
    pub fn space(&self) -> Result<Vec<VolumeSpace>, CatalogError> {
        space(self.shared())
    }
}

/// Returns the bytes of an extent in which nothing lives, of which so many were given back already.
pub(super) fn dead_bytes(extent: &ExtentRecord, freed_bytes: u64) -> u64 {
    let taken = header_bytes(extent) + extent.live_bytes + freed_bytes;
    extent.end_bytes.saturating_sub(taken)
}

fn header_bytes(extent: &ExtentRecord) -> u64 {
    to_u64(EXTENT_HEADER_LEN_BYTES).min(extent.end_bytes)
}

fn space(shared: &Shared) -> Result<Vec<VolumeSpace>, CatalogError> {
    let volumes = shared.volumes();
    // Asked first: what is made behind the look into the catalog is unknown to nobody.
    let there: Vec<BTreeMap<ExtentId, u64>> = (volumes.members().iter())
        .map(|member| {
            let stats = member.volume.extents().unwrap_or_default();
            stats.iter().map(|stat| (stat.extent, stat.len_bytes)).collect()
        })
        .collect();
    let reader = shared.catalog.read()?;
    let (extents, freed) = (reader.extents()?, reader.freed_bytes()?);
    drop(reader);
    let by_id: BTreeMap<ExtentId, &ExtentRecord> = extents.iter().map(|extent| (extent.id, extent)).collect();
    let spaces = volumes.members().iter().zip(there).map(|(member, there)| {
        let mut space = VolumeSpace {
            volume: member.record.id,
            live_bytes: 0,
            overhead_bytes: 0,
            dead_bytes: 0,
            freed_bytes: 0,
            reserved_bytes: 0,
            unknown_bytes: 0,
            free_bytes: member.volume.free_bytes().unwrap_or(0),
            reclaimable_bytes: 0,
        };
        for extent in extents.iter().filter(|extent| extent.volume == member.record.id) {
            let freed = freed.get(&extent.id).copied().unwrap_or(0);
            let mut dead = dead_bytes(extent, freed);
            let behind = (there.get(&extent.id).copied().unwrap_or(0)).saturating_sub(extent.end_bytes);
            // A file that somebody still has to remove.
            if extent.state == ExtentState::Dropped {
                dead += behind;
            } else {
                space.reserved_bytes += behind;
            }
            space.live_bytes += extent.live_bytes;
            space.overhead_bytes += header_bytes(extent);
            space.dead_bytes += dead;
            space.freed_bytes += freed;
            let is_known = extent.state != ExtentState::Scanned;
            if extent.owner.is_none() && is_known && member.is_writable() {
                space.reclaimable_bytes += dead;
            }
        }
        let unknown = there.iter().filter(|(extent, _)| !by_id.contains_key(extent));
        space.unknown_bytes = unknown.map(|(_, len_bytes)| len_bytes).sum();
        space
    });
    Ok(spaces.collect())
}
