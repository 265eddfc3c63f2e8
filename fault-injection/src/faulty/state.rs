//! Counters, rules, and what became of unsynced bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bfdb::error::VolumeError;
use bfdb::units::{ByteRange, ExtentId, VolumeId};

use super::rules::{Fault, FaultRule, Lasting, Operation, OperationKind};

/// What a faulty volume and its writers share.
#[derive(Debug, Default)]
pub(super) struct State {
    inside: Mutex<Inside>,
}

#[derive(Debug, Default)]
struct Inside {
    log: Vec<Operation>,
    counts: BTreeMap<OperationKind, u64>,
    rules: Vec<FaultRule>,
    poisoned: BTreeSet<ExtentId>,
    /// Written and not yet synced.
    unsynced: BTreeMap<ExtentId, Vec<ByteRange>>,
    /// Written, and dropped by a failed sync: reads as zeros.
    dropped: BTreeMap<ExtentId, Vec<ByteRange>>,
}

impl State {
    fn locked(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add_rule(&self, rule: FaultRule) {
        self.locked().rules.push(rule);
    }

    pub(super) fn clear_rules(&self) {
        self.locked().rules.clear();
    }

    pub(super) fn operation_count(&self) -> u64 {
        super::to_u64(self.locked().log.len())
    }

    pub(super) fn operations(&self) -> Vec<Operation> {
        self.locked().log.clone()
    }

    /// Counts and logs an operation, and says what is to happen to it.
    pub(super) fn begin(
        &self,
        kind: OperationKind,
        extent: Option<ExtentId>,
        range: ByteRange,
    ) -> Option<Fault> {
        let inside = &mut *self.locked();
        let count = inside.counts.entry(kind).or_default();
        let nth = *count;
        *count += 1;
        let index = super::to_u64(inside.log.len());
        let mut operation = Operation {
            index,
            kind,
            extent,
            range,
            injected: None,
        };
        if let Some(position) = inside.rules.iter().position(|rule| rule.picks(&operation, nth)) {
            operation.injected = Some(inside.rules[position].fault);
            if inside.rules[position].lasting == Lasting::Once {
                inside.rules.remove(position);
            }
        }
        let injected = operation.injected;
        inside.log.push(operation);
        injected
    }

    pub(super) fn poison(&self, extent: ExtentId) {
        self.locked().poisoned.insert(extent);
    }

    pub(super) fn check_poison(&self, volume: VolumeId, extent: ExtentId) -> Result<(), VolumeError> {
        if self.locked().poisoned.contains(&extent) {
            return Err(VolumeError::Poisoned { volume, extent });
        }
        Ok(())
    }

    /// Notes that a range was written.
    pub(super) fn wrote(&self, extent: ExtentId, range: ByteRange) {
        let inside = &mut *self.locked();
        let unsynced = inside.unsynced.entry(extent).or_default();
        unsynced.push(range);
        ByteRange::merge(unsynced);
    }

    /// Returns what a sync that begins now would make durable.
    pub(super) fn unsynced(&self, extent: ExtentId) -> Vec<ByteRange> {
        self.locked().unsynced.get(&extent).cloned().unwrap_or_default()
    }

    /// Notes that these ranges are durable.
    pub(super) fn synced(&self, extent: ExtentId, ranges: &[ByteRange]) {
        if let Some(unsynced) = self.locked().unsynced.get_mut(&extent) {
            for &gone in ranges {
                *unsynced = unsynced.iter().flat_map(|&range| without(range, gone)).collect();
            }
        }
    }

    /// Forgets everything that was not synced, as a page cache does after a failed write-back.
    pub(super) fn drop_unsynced(&self, extent: ExtentId) {
        let inside = &mut *self.locked();
        let unsynced = inside.unsynced.remove(&extent).unwrap_or_default();
        let dropped = inside.dropped.entry(extent).or_default();
        dropped.extend(unsynced);
        ByteRange::merge(dropped);
    }

    /// Puts zeros where bytes of `range`, which were just read into `bytes`, had been dropped.
    pub(super) fn forget_dropped(&self, extent: ExtentId, range: ByteRange, bytes: &mut [u8]) {
        let inside = self.locked();
        let dropped = inside.dropped.get(&extent).into_iter().flatten();
        for gone in dropped.filter_map(|dropped| dropped.intersection(range)) {
            let index = |offset: u64| {
                usize::try_from(offset - range.start()).expect("an offset in a buffer fits an address")
            };
            bytes[index(gone.start())..index(gone.end())].fill(0);
        }
    }

    /// Notes that an extent was cut to a length.
    pub(super) fn cut(&self, extent: ExtentId, end_bytes: u64) {
        let inside = &mut *self.locked();
        let tail = ByteRange::new(end_bytes, u64::MAX).expect("nothing lies above the largest number");
        for ranges in [inside.unsynced.get_mut(&extent), inside.dropped.get_mut(&extent)]
            .into_iter()
            .flatten()
        {
            *ranges = ranges.iter().flat_map(|&range| without(range, tail)).collect();
        }
    }

    /// Notes that an extent of this id was made anew.
    pub(super) fn renew(&self, extent: ExtentId) {
        let inside = &mut *self.locked();
        inside.poisoned.remove(&extent);
        inside.unsynced.remove(&extent);
        inside.dropped.remove(&extent);
    }
}

/// Returns what is left of a range without another.
fn without(range: ByteRange, gone: ByteRange) -> impl Iterator<Item = ByteRange> {
    let before = ByteRange::new(range.start(), range.end().min(gone.start()));
    let after = ByteRange::new(range.start().max(gone.end()), range.end());
    [before, after]
        .into_iter()
        .flatten()
        .filter(|part| !part.is_empty())
}
