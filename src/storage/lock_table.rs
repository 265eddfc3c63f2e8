//! Who holds which lock, for a storage whose system keeps none: on files as `flock` keeps them, on ranges as open file
//! description locks are kept.
//!
//! The two kinds know nothing of each other, as on a local file system of Linux. Nobody waits here: whoever is refused may ask
//! again.

use std::{collections::BTreeMap, io, ops::Bound};

use super::Lock;

/// Which open handle.
pub type LockHandle = u64;

/// All locks of a storage whose files are told apart by `F`.
#[derive(Debug)]
pub struct LockTable<F> {
    files: BTreeMap<F, FileLocks>,
}

impl<F> Default for LockTable<F> {
    fn default() -> Self {
        Self {
            files: BTreeMap::new(),
        }
    }
}

#[derive(Debug, Default)]
struct FileLocks {
    whole: Vec<(LockHandle, Lock)>,
    /// Ranges of one handle never overlap.
    ranges: Vec<Held>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    handle: LockHandle,
    range: LockRange,
    lock: Lock,
}

/// A range that is not empty, both ends in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockRange {
    first: u64,
    last: u64,
}

impl<F: Copy + Ord> LockTable<F> {
    /// Locks a file as a whole. A handle that holds the other kind gives it up first, and may end with neither.
    pub fn try_lock(&mut self, file: F, handle: LockHandle, lock: Lock) -> bool {
        let whole = &mut self.files.entry(file).or_default().whole;
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

    /// Gives back a lock on a file as a whole.
    pub fn unlock(&mut self, file: F, handle: LockHandle) {
        if let Some(locks) = self.files.get_mut(&file) {
            locks.whole.retain(|(holder, _)| *holder != handle);
        }
    }

    /// Locks a range; what the handle holds of it already is exchanged, and kept if the range is not free.
    pub fn try_lock_range(&mut self, file: F, handle: LockHandle, range: LockRange, lock: Lock) -> bool {
        let locks = self.files.entry(file).or_default();
        let stands_in_the_way =
            |held: &Held| held.handle != handle && held.range.overlaps(range) && !can_share(held.lock, lock);
        if locks.ranges.iter().any(stands_in_the_way) {
            return false;
        }
        locks.cut_out(handle, range);
        locks.ranges.push(Held { handle, range, lock });
        true
    }

    /// Gives back what a handle holds of a range.
    pub fn unlock_range(&mut self, file: F, handle: LockHandle, range: LockRange) {
        if let Some(locks) = self.files.get_mut(&file) {
            locks.cut_out(handle, range);
        }
    }

    /// Says whether another handle holds a lock on any part of a range.
    pub fn is_range_locked(&self, file: F, handle: LockHandle, range: LockRange) -> bool {
        let held = self.files.get(&file).map_or(&[][..], |locks| &locks.ranges);
        held.iter()
            .any(|held| held.handle != handle && held.range.overlaps(range))
    }

    /// Gives back all locks of a handle that is closed.
    pub fn release(&mut self, file: F, handle: LockHandle) {
        if let Some(locks) = self.files.get_mut(&file) {
            locks.whole.retain(|(holder, _)| *holder != handle);
            locks.ranges.retain(|held| held.handle != handle);
            if locks.whole.is_empty() && locks.ranges.is_empty() {
                self.files.remove(&file);
            }
        }
    }
}

impl FileLocks {
    /// Takes a range out of what a handle holds; what lies before and behind it stays.
    fn cut_out(&mut self, handle: LockHandle, range: LockRange) {
        let (touched, mut kept): (Vec<Held>, Vec<Held>) = self
            .ranges
            .drain(..)
            .partition(|held| held.handle == handle && held.range.overlaps(range));
        for held in touched {
            let LockRange { first, last } = held.range;
            if first < range.first {
                let range = LockRange {
                    first,
                    last: range.first - 1,
                };
                kept.push(Held { range, ..held });
            }
            if range.last < last {
                let range = LockRange {
                    first: range.last + 1,
                    last,
                };
                kept.push(Held { range, ..held });
            }
        }
        self.ranges = kept;
    }
}

impl LockRange {
    /// Takes bounds as they are asked for.
    ///
    /// # Errors
    /// `InvalidInput` for an empty range, as the system has it.
    pub fn new(bounds: (Bound<u64>, Bound<u64>)) -> io::Result<Self> {
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
    use bfdb_fault_injection::Seeded;

    use super::*;

    fn range(first: u64, last: u64) -> LockRange {
        LockRange::new((Bound::Included(first), Bound::Included(last))).expect("a range")
    }

    #[test]
    fn range_locks_split_merge_and_exchange_as_a_map_of_bytes_would() {
        use Lock::{Exclusive, Shared};
        let mut seeded = Seeded::new(3);
        let (mut locks, mut model) = (LockTable::default(), [[None; 12]; 3]);
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
        let bounds = |start, end| LockRange::new((start, end)).map_err(|error| error.kind());
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
