//! A disk as it was found, of which every check gets copies of its own.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    path::{Path, PathBuf},
};

use super::case::Case;
use crate::{
    SimulatedStorage,
    simulation::{CrashPoint, CrashVariant, Timeline},
};

/// A disk that is to be checked. It is made once, and copies cost next to nothing.
#[derive(Debug)]
pub struct Image {
    disk: SimulatedStorage,
    fingerprint: u128,
    /// What halves follow from: the name of the image, so that it gets the same check when it is seen again, although
    /// sources that were made anew have other times.
    lot: u64,
    torn: Option<PathBuf>,
    history: History,
}

/// What is done to one half of all images and not to the other; which half follows from the image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Half {
    /// Readers get a disk that takes no writes.
    ReadOnly,
    /// Everything is verified in the order of the disk, else by names.
    Scrubbed,
    /// The writer finds what the reader has left, else the image.
    WriterFollows,
    /// What waits is rolled back, else resumed.
    RolledBack,
    /// A database is opened for reading first.
    ReaderFirst,
}

/// What has become of a disk before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum History {
    /// No operation has failed that was not meant to.
    Well,
    /// One has.
    Failed,
}

impl Image {
    /// Takes a disk, under the name of a case.
    pub fn new(disk: SimulatedStorage, case: &Case) -> Self {
        let mut hasher = DefaultHasher::new();
        case.to_string().hash(&mut hasher);
        Self {
            fingerprint: disk.fingerprint(),
            lot: hasher.finish(),
            disk,
            torn: None,
            history: case.fault.map_or(History::Well, |_| History::Failed),
        }
    }

    /// Makes what a crash leaves, the last one of a case.
    ///
    /// # Panics
    /// As [`Timeline::image`].
    pub fn after_crash(
        timeline: &Timeline,
        (point, variant): (CrashPoint, &CrashVariant),
        case: &Case,
    ) -> Self {
        Self {
            torn: timeline.torn_path(point, variant).map(Path::to_path_buf),
            ..Self::new(timeline.image(point, variant), case)
        }
    }

    /// Returns a disk of the same content that nobody else uses. Whoever would wait there for ever is refused.
    #[must_use]
    pub fn fork(&self) -> SimulatedStorage {
        let disk = self.disk.settled();
        disk.refuse_waits();
        disk
    }

    /// Returns the hash of the disk.
    pub const fn fingerprint(&self) -> u128 {
        self.fingerprint
    }

    /// Returns the path of the write that was torn or spoiled by the crash.
    pub fn torn(&self) -> Option<&Path> {
        self.torn.as_deref()
    }

    /// Says whether an operation was made to fail before.
    pub const fn history(&self) -> History {
        self.history
    }

    /// Says whether the image is one of those whose catalog is lost and made again in the end: one in sixteen, since that takes twice
    /// as long as everything else.
    pub const fn is_rebuilt(&self) -> bool {
        (self.lot >> 32).is_multiple_of(16)
    }

    /// Says whether the image is of a half.
    pub const fn is_of(&self, half: Half) -> bool {
        self.lot >> (half as u32) & 1 == 0
    }
}
