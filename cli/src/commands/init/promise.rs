//! What may be lost of an archive: shards and volumes.

use std::{num::NonZeroU16, path::PathBuf};

use bfdb::{
    geometry::{Policy, Tier},
    host::ArchiveLayout,
};
use serde::Serialize;

use crate::context::Context;

/// The code of a tier, and what may be lost with it.
#[derive(Debug, Serialize)]
pub(super) struct TierPromise {
    tier: u8,
    data_shards: u16,
    parity_shards: u16,
    /// What is stored beyond the bytes of the files, as a share of them.
    overhead: f64,
    /// Shards of each block that may be lost.
    shards: u16,
    /// Blocks of each group that may be lost whole, where blocks are grouped.
    #[serde(skip_serializing_if = "Option::is_none")]
    outer_parity: Option<u16>,
    /// Fewest blocks of the file in a group.
    #[serde(skip_serializing_if = "Option::is_none")]
    group_blocks: Option<u16>,
    /// Volumes that may be lost, whichever they are.
    volumes: u16,
}

impl TierPromise {
    pub(super) fn of(tier: Tier, policy: &Policy, volumes: u16) -> Self {
        let shape = policy.shape(tier);
        let grouped = policy.parts().grouped;
        let grouped = (tier == Tier::Grouped).then_some((grouped.parity, grouped.blocks_min));
        let inner = f64::from(shape.parity()) / f64::from(shape.data());
        let outer = grouped.map(|(parity, blocks)| f64::from(parity) / f64::from(blocks));
        Self {
            tier: tier.number(),
            data_shards: shape.data(),
            parity_shards: shape.parity(),
            overhead: outer.map_or(inner, |outer| inner + (1.0 + inner) * outer),
            shards: shape.parity(),
            outer_parity: grouped.map(|(parity, _)| parity),
            group_blocks: grouped.map(|(_, blocks)| blocks),
            volumes: survived(tier, policy, volumes),
        }
    }

    /// Says it in a line; `volumes` is how many there are.
    pub(super) fn in_words(&self, volumes: u16) -> String {
        let (data, parity) = (self.data_shards, self.parity_shards);
        let (total, overhead) = (data + parity, self.overhead * 100.0);
        let lost = volumes_in_words(self.volumes, volumes);
        match self.outer_parity.zip(self.group_blocks) {
            None => format!(
                "tier {}    RS({data},{parity}), {overhead:.0} % overhead; any {parity} of the {total} shards of a block may be \
                 lost, {lost}",
                self.tier
            ),
            Some((outer, blocks)) => format!(
                "tier {}    RS({data},{parity}) in groups of {blocks} blocks and {outer} of parity, at most {overhead:.0} % overhead; \
                 any {parity} of the {total} shards of each block and any {outer} blocks of each group may be lost, {lost}",
                self.tier
            ),
        }
    }
}

/// Returns how many volumes may be lost with the code of a tier, of those that new files go to.
pub(in crate::commands) fn survived(tier: Tier, policy: &Policy, volumes: u16) -> u16 {
    NonZeroU16::new(volumes).map_or(0, |volumes| policy.volumes_survived(tier, volumes.get()))
}

/// Says how many volumes may be lost.
fn volumes_in_words(survived: u16, volumes: u16) -> String {
    match (survived, volumes) {
        (0, 0 | 1) => "but no volume".to_owned(),
        (0, _) => format!("but none of the {volumes} volumes: each file lies whole on one"),
        (_, _) => format!("and any {survived} of the {volumes} volumes"),
    }
}

/// Returns where the volumes of a new archive would be.
pub(in crate::commands) fn places(context: &Context) -> Vec<PathBuf> {
    if context.volumes().is_empty() {
        return vec![ArchiveLayout::new(context.archive()).embedded_volume()];
    }
    context.volumes().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_volume_and_one_are_not_said_to_be_lost_without_harm() {
        let policy = Policy::default();
        assert_eq!(survived(Tier::Tiny, &policy, 0), 0);
        assert_eq!(survived(Tier::Tiny, &policy, 1), 0);
        assert_eq!(survived(Tier::Tiny, &policy, 4), 3);
        assert_eq!(survived(Tier::Blocked, &policy, 4), 0);
    }
}
