//! What may be lost without a byte being lost: segments, extents, volumes.

use std::collections::BTreeMap;

use super::{Snapshot, volumes::Volumes};
use crate::{
    catalog::{BlockRecord, VolumeState},
    error::ReadError,
    geometry::{Policy, Tier, Tolerance, spread_counts},
    units::{CodeShape, FileName},
};

/// What the files of a tier survive that are committed now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TierTolerance {
    /// The tier.
    pub tier: Tier,
    /// Its code.
    pub shape: CodeShape,
    /// What is survived with the volumes that take files now.
    pub now: Tolerance,
    /// What would be if every volume of the archive were there.
    pub full: Tolerance,
}

impl TierTolerance {
    /// Says whether volumes that are away cost some of it.
    pub fn is_reduced(&self) -> bool {
        self.now.volumes < self.full.volumes
    }
}

impl Snapshot {
    /// Returns what files survive that are committed now, by their tiers. Files that were committed when there were other
    /// volumes may survive more or less: [`Self::tolerance_of`] says what.
    ///
    /// # Errors
    /// [`ReadError`] when the catalog cannot be read.
    pub fn tolerances(&self) -> Result<Vec<TierTolerance>, ReadError> {
        let records = self.shared.catalog.read()?.volumes()?;
        let all = records
            .iter()
            .filter(|record| record.state == VolumeState::Active);
        let there = self.shared.volumes().for_files().count();
        let (all, there) = (count(all.count()), count(there));
        let policy: &Policy = self.shared.policy();
        let of_tier = |tier: Tier| {
            let shape = policy.shape(tier);
            let spread = |volumes| Tolerance::of_counts(&spread_counts(shape, volumes), shape.parity());
            TierTolerance {
                tier,
                shape,
                now: spread(there),
                full: spread(all),
            }
        };
        Ok(policy.tiers().map(of_tier).collect())
    }

    /// Returns what a file survives where its shards lie now, whether or not those volumes are there; `None` for one without
    /// bytes. The cost grows with the number of its blocks.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] when there is no file of that name.
    pub fn tolerance_of(&self, name: &FileName) -> Result<Option<Tolerance>, ReadError> {
        let (_, blocks) = self.blocks_of(name)?;
        Ok(tolerance_of_blocks(&self.shared.volumes(), &blocks))
    }
}

/// Returns what a file survives: what its worst block does.
pub(super) fn tolerance_of_blocks(volumes: &Volumes, blocks: &[BlockRecord]) -> Option<Tolerance> {
    let of_block = |block: &BlockRecord| {
        let mut counts: BTreeMap<u16, u16> = BTreeMap::new();
        for shard in block.shards.iter().flatten() {
            let volume = volumes.number_of(shard.extent).unwrap_or(0);
            *counts.entry(volume).or_default() += 1;
        }
        let counts: Vec<u16> = counts.into_values().collect();
        Tolerance::of_counts(&counts, block.geometry.shape().parity())
    };
    blocks.iter().map(of_block).reduce(Tolerance::worse)
}

/// An archive is never without a volume, but all of them may be away.
fn count(volumes: usize) -> u16 {
    u16::try_from(volumes).unwrap_or(u16::MAX).max(1)
}
