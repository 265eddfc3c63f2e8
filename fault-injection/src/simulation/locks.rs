//! Who holds which lock: on files as `flock` keeps them, on ranges as open file description locks are kept.
//!
//! The two kinds know nothing of each other, as on a local file system of Linux.

use std::{collections::BTreeMap, io, ops::Bound};

use bfdb::storage::Lock;

use super::action::Inode;

/// Which open handle.
pub(super) type HandleId = u64;

/// All locks of a storage.
#[derive(Debug, Default)]
pub(super) struct Locks {
    files: BTreeMap<Inode, FileLocks>,
}

#[derive(Debug, Default)]
struct FileLocks {
    whole: Vec<(HandleId, Lock)>,
    /// Ranges of one handle never overlap.
    ranges: Vec<Held>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    handle: HandleId,
    range: Range,
    lock: Lock,
}

/// A range that is not empty, both ends in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    first: u64,
    last: u64,
}

impl Locks {
    /// Locks a file as a whole. A handle that holds the other kind gives it up first, and may end with neither.
    pub(super) fn try_lock(&mut self, inode: Inode, handle: HandleId, lock: Lock) -> bool {
        let whole = &mut self.files.entry(inode).or_default().whole;
        if whole.contains(&(handle, lock)) {
            return true;
        }
        whole.retain(|(holder, _)| *holder != handle);
        let is_free = whole.iter().all(|(_, held)| can_share(*held, lock));
        if is_free {
            whole.push((handle, lock));
        }
        is_free
    }

    pub(super) fn unlock(&mut self, inode: Inode, handle: HandleId) {
        if let Some(file) = self.files.get_mut(&inode) {
            file.whole.retain(|(holder, _)| *holder != handle);
        }
    }

    /// Locks a range; what the handle holds of it already is exchanged, and kept if the range is not free.
    pub(super) fn try_lock_range(
        &mut self,
        inode: Inode,
        handle: HandleId,
        range: Range,
        lock: Lock,
    ) -> bool {
        let file = self.files.entry(inode).or_default();
        let stands_in_the_way =
            |held: &Held| held.handle != handle && held.range.overlaps(range) && !can_share(held.lock, lock);
        if file.ranges.iter().any(stands_in_the_way) {
            return false;
        }
        file.cut_out(handle, range);
        file.ranges.push(Held { handle, range, lock });
        true
    }

    pub(super) fn unlock_range(&mut self, inode: Inode, handle: HandleId, range: Range) {
        if let Some(file) = self.files.get_mut(&inode) {
            file.cut_out(handle, range);
        }
    }

    /// Says whether another handle holds a lock on any part of a range.
    pub(super) fn is_range_locked(&self, inode: Inode, handle: HandleId, range: Range) -> bool {
        let held = self.files.get(&inode).map_or(&[][..], |file| &file.ranges);
        held.iter()
            .any(|held| held.handle != handle && held.range.overlaps(range))
    }

    /// Gives back all locks of a handle that is closed.
    pub(super) fn release(&mut self, inode: Inode, handle: HandleId) {
        if let Some(file) = self.files.get_mut(&inode) {
            file.whole.retain(|(holder, _)| *holder != handle);
            file.ranges.retain(|held| held.handle != handle);
            if file.whole.is_empty() && file.ranges.is_empty() {
                self.files.remove(&inode);
            }
        }
    }
}

impl FileLocks {
    /// Takes a range out of what a handle holds; what lies before and behind it stays.
    fn cut_out(&mut self, handle: HandleId, range: Range) {
        let (touched, mut kept): (Vec<Held>, Vec<Held>) = self
            .ranges
            .drain(..)
            .partition(|held| held.handle == handle && held.range.overlaps(range));
        for held in touched {
            let Range { first, last } = held.range;
            if first < range.first {
                let range = Range {
                    first,
                    last: range.first - 1,
                };
                kept.push(Held { range, ..held });
            }
            if range.last < last {
                let range = Range {
                    first: range.last + 1,
                    last,
                };
                kept.push(Held { range, ..held });
            }
        }
        self.ranges = kept;
    }
}

impl Range {
    /// Takes bounds as they are asked for; an empty range is an error, as it is for the system.
    pub(super) fn new(bounds: (Bound<u64>, Bound<u64>)) -> io::Result<Self> {
        let first = match bounds.0 {
            Bound::Unbounded => Some(0),
            Bound::Included(first) => Some(first),
            Bound::Excluded(before) => before.checked_add(1),
        };
        let last = match bounds.1 {
            Bound::Unbounded => Some(u64::MAX),
            Bound::Included(last) => Some(last),
            Bound::Excluded(end) => end.checked_sub(1),
        };
        match (first, last) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

fn can_share(held: Lock, wanted: Lock) -> bool {
    held == Lock::Shared && wanted == Lock::Shared
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> Range {
        Range::new((Bound::Included(first), Bound::Included(last))).expect("a range")
    }

    #[test]
    fn range_locks_split_merge_and_exchange_as_a_map_of_bytes_would() {
        use Lock::{Exclusive, Shared};
        let mut seeded = crate::Seeded::new(3);
        let (mut locks, mut model) = (Locks::default(), [[None; 12]; 3]);
        for step in 0..4000 {
            let (handle, first) = (seeded.index(3), seeded.index(12));
            let last = first + seeded.index(12 - first);
            let id = u64::try_from(handle).expect("small");
            let wanted = range(
                u64::try_from(first).expect("small"),
                u64::try_from(last).expect("small"),
            );
            let others: Vec<Lock> = (0..3)
                .filter(|other| *other != handle)
                .flat_map(|other| {
                    model[other][first..=last]
                        .iter()
                        .flatten()
                        .copied()
                        .collect::<Vec<_>>()
                })
                .collect();
            assert_eq!(
                locks.is_range_locked(9, id, wanted),
                !others.is_empty(),
                "step {step}"
            );
            match seeded.below(4) {
                0 => {
                    locks.unlock_range(9, id, wanted);
                    model[handle][first..=last].fill(None);
                }
                kind => {
                    let lock = if kind == 1 { Exclusive } else { Shared };
                    let is_free = others.is_empty() || (lock == Shared && !others.contains(&Exclusive));
                    assert_eq!(locks.try_lock_range(9, id, wanted, lock), is_free, "step {step}");
                    if is_free {
                        model[handle][first..=last].fill(Some(lock));
                    }
                }
            }
            if seeded.below(50) == 0 {
                locks.release(9, id);
                model[handle].fill(None);
            }
        }
    }

    #[test]
    fn an_empty_range_is_refused_and_an_open_one_reaches_to_the_end() {
        let bounds = |start, end| Range::new((start, end)).map_err(|error| error.kind());
        let refused = Err(io::ErrorKind::InvalidInput);
        assert_eq!(bounds(Bound::Included(5), Bound::Excluded(5)), refused);
        assert_eq!(bounds(Bound::Unbounded, Bound::Excluded(0)), refused);
        assert_eq!(bounds(Bound::Excluded(u64::MAX), Bound::Unbounded), refused);
        assert_eq!(
            bounds(Bound::Excluded(4), Bound::Unbounded),
            Ok(range(5, u64::MAX))
        );
    }
}
