//! What may be lost of an archive: shards, volumes, disks.

use std::{
    num::NonZeroU16,
    path::{Path, PathBuf},
};

use bfdb::{
    geometry::{Policy, Tier},
    host::{ArchiveLayout, same_device},
};
use serde::Serialize;

use crate::{context::Context, text};

/// All tiers, the one of the shortest files first.
pub(in crate::commands) const TIERS: [Tier; 3] = [Tier::Tiny, Tier::Segmented, Tier::Blocked];

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
    /// Volumes that may be lost, whichever they are.
    volumes: u16,
}

impl TierPromise {
    pub(super) fn of(tier: Tier, policy: &Policy, volumes: u16) -> Self {
        let shape = policy.shape(tier);
        Self {
            tier: tier.number(),
            data_shards: shape.data(),
            parity_shards: shape.parity(),
            overhead: f64::from(shape.parity()) / f64::from(shape.data()),
            shards: shape.parity(),
            volumes: survived(tier, policy, volumes),
        }
    }

    /// Says it in a line; `volumes` is how many there are.
    pub(super) fn in_words(&self, volumes: u16) -> String {
        let (data, parity) = (self.data_shards, self.parity_shards);
        let (total, overhead) = (data + parity, self.overhead * 100.0);
        format!(
            "tier {}    RS({data},{parity}), {overhead:.0} % overhead; any {parity} of the {total} shards of a block may be lost, \
             {}",
            self.tier,
            volumes_in_words(self.volumes, volumes)
        )
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

/// Warns of volumes that share a disk, and of how many disks may die then; `survive` is how many volumes may.
pub(in crate::commands) fn warn_of_disks(volumes: &[PathBuf], survive: u16, context: &Context) {
    let disks = disks(volumes);
    for disk in disks.iter().filter(|disk| disk.len() > 1) {
        let paths: Vec<String> = disk.iter().map(|path| text::path(path)).collect();
        let message = format!(
            "{} volumes are on one disk, which takes all of them with it when it dies: {}",
            disk.len(),
            paths.join(", ")
        );
        context.warn(message, Vec::new());
    }
    let lost = |disk: &Vec<&Path>| disk.len() > usize::from(survive);
    if survive > 0 && disks.iter().any(lost) {
        let message = format!(
            "any {} may be lost, but not any disk: the {} volumes are on {}; put each volume on a disk of its own",
            text::count(u64::from(survive), "volume"),
            volumes.len(),
            text::count(super::super::damage::as_u64(disks.len()), "disk")
        );
        context.warn(message, Vec::new());
    }
}

/// Sorts directories by the disk that they are on, or the first that is there above them.
fn disks(volumes: &[PathBuf]) -> Vec<Vec<&Path>> {
    let mut disks: Vec<(&Path, Vec<&Path>)> = Vec::new();
    for volume in volumes {
        let there = there(volume);
        let known = disks
            .iter_mut()
            .find(|(other, _)| same_device(other, there).is_ok_and(|is_same| is_same));
        match known {
            Some((_, volumes)) => volumes.push(volume),
            None => disks.push((there, vec![volume])),
        }
    }
    disks.into_iter().map(|(_, volumes)| volumes).collect()
}

/// Returns a directory, or what is there above it.
pub(in crate::commands) fn there(path: &Path) -> &Path {
    let mut above = path.ancestors();
    let found = above.find(|path| path.exists());
    found.unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn volumes_are_sorted_by_the_disk_that_they_will_be_on() {
        let volumes = ["/proc/missing", "src", "src/missing/below", "missing"].map(PathBuf::from);
        let numbers: Vec<usize> = disks(&volumes).iter().map(Vec::len).collect();
        assert_eq!(numbers, [1, 3]);
    }

    #[test]
    fn no_volume_and_one_are_not_said_to_be_lost_without_harm() {
        let policy = Policy::default();
        assert_eq!(survived(Tier::Tiny, &policy, 0), 0);
        assert_eq!(survived(Tier::Tiny, &policy, 1), 0);
        assert_eq!(survived(Tier::Tiny, &policy, 4), 3);
        assert_eq!(survived(Tier::Blocked, &policy, 4), 0);
    }
}
