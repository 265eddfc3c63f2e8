//! In which order the parts of a large file are stored: that depends on the disks.
//!
//! A segment lies in one piece on one lane, and the segments of a block lie in thirty. Column by column parity costs least and its
//! bytes never leave the cache, but each piece of a column lies elsewhere: a rotating disk spends most of its time on the way. Shard
//! by shard it writes megabytes in one go. What is read goes shard by shard on all of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{shared::Shared, volumes::Member};
use crate::{storage::Medium, units::VolumeId};

/// Threads that move shards at most. Each has a frame in memory; a disk does one thing at a time, and one or two more prepare the next.
pub(super) const MAX_SHARD_THREADS: usize = 4;

/// The arms of rotating disks, one for each volume: who reads or writes megabytes in one go holds it meanwhile, so that the system
/// does not mix them with those of another.
#[derive(Debug, Default)]
pub(super) struct Arms {
    of: Mutex<BTreeMap<VolumeId, Arc<Mutex<()>>>>,
}

impl Arms {
    /// Does something while nobody else moves much on a volume. What it is waits for nothing but that disk.
    pub(super) fn hold<R>(&self, volume: VolumeId, work: impl FnOnce() -> R) -> R {
        let mut arms = self.of.lock().unwrap_or_else(PoisonError::into_inner);
        let arm = Arc::clone(arms.entry(volume).or_default());
        drop(arms);
        let _held = arm.lock().unwrap_or_else(PoisonError::into_inner);
        work()
    }
}

/// In which order the parts of a file are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// A column of all shards of a block, then the next.
    Columns,
    /// A shard of a block, then the next.
    Shards,
}

impl Shared {
    /// Returns the order in which a file is stored.
    pub(super) fn order_of_commit(&self, source: Medium) -> Order {
        let volumes = self.volumes();
        let media = volumes.for_files().map(|member| self.medium_of(member));
        match self.slowest(media, source) {
            Medium::Solid => Order::Columns,
            Medium::Rotating => Order::Shards,
        }
    }

    /// Returns what a file is read from and restored to, where it is restored somewhere.
    pub(super) fn medium_of_reads(&self, target: Medium) -> Medium {
        let volumes = self.volumes();
        let media = volumes.readable().map(|member| self.medium_of(member));
        self.slowest(media, target)
    }

    fn slowest(&self, volumes: impl Iterator<Item = Medium>, other: Medium) -> Medium {
        self.medium.unwrap_or_else(|| {
            let mut all = volumes.chain([other]);
            let rotating = all.find(|medium| *medium == Medium::Rotating);
            rotating.unwrap_or(Medium::Solid)
        })
    }

    fn medium_of(&self, member: &Member) -> Medium {
        self.machine().storage.medium(&member.path)
    }
}
