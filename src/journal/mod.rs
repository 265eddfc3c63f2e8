//! The journal: one record for each publishing transaction, chained by hashes, on up to sixteen copies.
//!
//! A record that was appended and synced is the truth: the catalog follows it, and can be made again from it. The bytes are
//! drawn in docs/format.md, section 3.3. What a body means is not known here.
//!
//! What the catalog remembers of the journal is a [`JournalState`]; every operation takes one and returns the next, and
//! nothing here remembers one. So a transaction that is not committed has no effect on what is appended next, beyond bytes
//! that [`Journal::tail`] sees. In order:
//!
//! * `tail` before each publication and at each opening. Records ahead of the state were published by somebody who did not
//!   come to commit the catalog: they are written again ([`Journal::restate`]), all of them in order before the first of
//!   them is applied to the catalog, since a state that the catalog keeps is only looked at from its end on.
//! * `prepare`, so that a full disk shows while nothing has happened yet.
//! * `append`: the commit point. Then the catalog commits, with the state that came out.
//!
//! A copy that fails is never written or synced again by the same `Journal`: what a failed write or sync left of it is
//! unknown, and a second one that succeeds proves nothing. Its next segment takes over, or it is left out of the state.
//! Nothing is ever written over: what was torn stays where it is, and the next record goes behind it.
//!
//! Callers hold the write lock of the catalog; the only lock here is around the cache of open files, for memory work only.
//!
//! Invariant: a record that `append` returned was synced on every copy of the state that it returned, and no byte of a
//! record that was synced is written again.

mod append;
mod chain;
mod copies;
mod create;
mod files;
mod finding;
mod forgetting;
mod heal;
mod layout;
mod prepare;
mod record;
mod scan;
mod tail;
#[cfg(test)]
mod tests;
mod walk;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
};

pub use chain::{Fork, Head, Part};
pub use copies::copies_below;
pub use finding::{JournalFault, JournalFinding};
pub use record::{JournalRecord, RecordEntry};
pub use scan::Scan;
pub use tail::Tail;

pub use crate::format::{CopyPosition, JournalState};
use crate::{
    format::{JournalSegment, SegmentPlace},
    storage::{Storage, StorageFile},
    units::{ArchiveId, VolumeId},
};

/// From this length on a segment is long: the next record goes to another.
const SEGMENT_LEN_BYTES: u64 = 16 * 1024 * 1024;

/// Segments grow in steps of this, so that few appends change the length of a file.
const ALLOCATION_STEP_BYTES: u64 = 256 * 1024;

/// Where one copy of the journal lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyPlace {
    /// Number of the volume.
    pub volume: u16,
    /// Id of the volume.
    pub volume_id: VolumeId,
    /// The copy on that volume.
    pub copy: u8,
    /// The directory of its segments.
    pub directory: PathBuf,
}

/// The journal of one archive.
#[derive(Debug)]
pub struct Journal {
    storage: Arc<dyn Storage>,
    archive: ArchiveId,
    places: Vec<CopyPlace>,
    /// Shared with those that have other places: what was given up stays so.
    open: Arc<Mutex<Open>>,
}

/// Number of the volume, and which of its copies.
type CopyKey = (u16, u8);

/// What a journal remembers of its files.
#[derive(Debug, Default)]
struct Open {
    /// The segment of each copy that was used last.
    files: BTreeMap<CopyKey, (u32, Arc<dyn StorageFile>)>,
    /// The last segment of each copy that must not be written any more; none before it is either.
    closed: BTreeMap<CopyKey, u32>,
    /// The last segment of each copy without a position, as it was when all of them were read: nothing new appears in those.
    looked_through: BTreeMap<CopyKey, u32>,
    /// The highest segment of each copy that a state has named: no other gets its number, also where its file is gone.
    named: BTreeMap<CopyKey, u32>,
    /// Whether an append has an unknown outcome.
    is_poisoned: bool,
}

impl Journal {
    /// Makes a journal of the copies at `places`, in any order; touches no file.
    ///
    /// # Panics
    /// When a copy is named twice, or more than [`MAX_JOURNAL_COPIES`](crate::format::MAX_JOURNAL_COPIES) are.
    pub fn new(storage: Arc<dyn Storage>, archive: ArchiveId, mut places: Vec<CopyPlace>) -> Self {
        places.sort_by_key(|place| (place.volume, place.copy));
        let keys = |pair: &[CopyPlace]| {
            let [a, b] = pair else { return true };
            (a.volume, a.copy) < (b.volume, b.copy)
        };
        assert!(places.windows(2).all(keys), "a copy of the journal has one place");
        assert!(
            places.len() <= crate::format::MAX_JOURNAL_COPIES,
            "a journal has at most sixteen copies"
        );
        Self {
            storage,
            archive,
            places,
            open: Arc::default(),
        }
    }

    /// Makes a journal of copies at other places, which never writes to what this one has given up.
    ///
    /// # Panics
    /// As for [`Self::new`].
    #[must_use]
    pub fn at(&self, places: Vec<CopyPlace>) -> Self {
        let mut moved = Self::new(Arc::clone(&self.storage), self.archive, places);
        moved.open = Arc::clone(&self.open);
        // A handle leads to where it was opened.
        let is_elsewhere = |place: &&CopyPlace| !self.places.contains(place);
        for place in moved.places.iter().filter(is_elsewhere) {
            moved.remembered(|open| open.files.remove(&(place.volume, place.copy)));
        }
        moved
    }

    /// Says whether the copies lie at these places.
    pub fn is_at(&self, places: &[CopyPlace]) -> bool {
        let mut places = places.to_vec();
        places.sort_by_key(|place| (place.volume, place.copy));
        self.places == places
    }

    /// Returns the numbers of the volumes that copies lie on, rising.
    pub fn volumes(&self) -> impl Iterator<Item = u16> {
        let mut numbers: Vec<u16> = self.places.iter().map(|place| place.volume).collect();
        numbers.dedup();
        numbers.into_iter()
    }

    /// Returns how many copies there are to be.
    pub fn copy_count(&self) -> usize {
        self.places.len()
    }

    /// Returns what the header of a segment says, if it is the right one.
    fn segment_of(&self, index: usize, segment: u32) -> JournalSegment {
        JournalSegment {
            archive: self.archive,
            volume_id: self.places[index].volume_id,
            place: self.place_of(index, segment),
        }
    }

    fn place_of(&self, index: usize, segment: u32) -> SegmentPlace {
        SegmentPlace {
            volume: self.places[index].volume,
            copy: self.places[index].copy,
            segment,
        }
    }

    fn key_of(&self, index: usize) -> CopyKey {
        (self.places[index].volume, self.places[index].copy)
    }

    /// Returns the index of the place of a copy.
    fn index_of(&self, volume: u16, copy: u8) -> Option<usize> {
        self.places
            .iter()
            .position(|place| (place.volume, place.copy) == (volume, copy))
    }

    /// Does something with what is remembered of the files.
    fn remembered<T>(&self, with: impl FnOnce(&mut Open) -> T) -> T {
        with(&mut self.open.lock().expect("nothing panics while it holds the cache"))
    }
}
