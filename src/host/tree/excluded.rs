//! Directories that no walk enters.

use std::{
    collections::BTreeSet,
    fs, io,
    os::{fd::OwnedFd, unix::fs::MetadataExt as _},
    path::Path,
};

use rustix::fs::{Mode, OFlags, Stat, fstat, openat};

use crate::{
    error::{FileKind, HostError, HostOperation},
    host::{open::kind_of, place::Place},
};

/// Directories that a walk neither enters nor yields, nor anything in them: those of the archive, so that it never stores
/// itself.
///
/// They are known by device and inode, so that symbolic links and further mounts of them are seen through; a mount of only
/// a *part* of one is not.
#[derive(Debug, Clone, Default)]
pub struct ExcludedDirectories {
    identities: BTreeSet<Identity>,
}

/// By what a directory is known: the device, and its number there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Identity(u64, u64);

impl ExcludedDirectories {
    /// Looks up directories; a path may lead through symbolic links and be one. Where nothing is, nothing is excluded.
    ///
    /// # Errors
    /// [`HostError::Io`] when a path cannot be inspected.
    pub fn of_paths<P: AsRef<Path>>(paths: impl IntoIterator<Item = P>) -> Result<Self, HostError> {
        let mut identities = BTreeSet::new();
        for path in paths {
            let path = path.as_ref();
            match fs::metadata(path) {
                Ok(found) => {
                    identities.insert(Identity(found.dev(), found.ino()));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(HostError::io(HostOperation::Inspect, path)(error)),
            }
        }
        Ok(Self { identities })
    }

    /// Says whether what is at a place is one of these or lies in one, at any depth. It asks from there upwards, some two
    /// system calls for each directory on the way: for places of which [`Place::shares_directory_with`] is true the answer
    /// is the same, unless they are directories.
    ///
    /// # Errors
    /// [`HostError::Io`] when the place or a directory above it cannot be inspected.
    pub fn contain_place(&self, place: &Place) -> Result<bool, HostError> {
        if self.identities.is_empty() {
            return Ok(false);
        }
        // `..`, `.` and `/` stand for directories that have their name elsewhere.
        let found = place
            .stat()
            .map_err(HostError::io(HostOperation::Inspect, place.path()))?;
        if kind_of(found.st_mode) != FileKind::Directory {
            return self.hold_holder_of(place);
        }
        let directory = place
            .open_with(ABOVE)
            .map_err(HostError::io(HostOperation::Open, place.path()))?;
        self.hold(&directory, place.path())
    }

    pub(super) fn contain(&self, identity: Identity) -> bool {
        self.identities.contains(&identity)
    }

    /// Says whether a directory is one of these or lies below one: it asks from there upwards.
    pub(super) fn hold(&self, directory: &OwnedFd, path: &Path) -> Result<bool, HostError> {
        if self.identities.is_empty() {
            return Ok(false);
        }
        let inspect = |directory: &OwnedFd| {
            fstat(directory)
                .map(|found| Identity::of(&found))
                .map_err(HostError::io(HostOperation::Inspect, path))
        };
        let above = |directory: &OwnedFd| {
            openat(directory, "..", ABOVE, Mode::empty()).map_err(HostError::io(HostOperation::Open, path))
        };
        let mut identity = inspect(directory)?;
        let mut current = above(directory)?;
        loop {
            if self.contain(identity) {
                return Ok(true);
            }
            let next = inspect(&current)?;
            // The root of all is its own parent.
            if next == identity {
                return Ok(false);
            }
            identity = next;
            current = above(&current)?;
        }
    }

    /// Says it of the directory that holds what is at the path of `place` and is no directory itself.
    pub(super) fn hold_holder_of(&self, place: &Place) -> Result<bool, HostError> {
        if self.identities.is_empty() {
            return Ok(false);
        }
        let path = place.path();
        let holder = place
            .open_holder(ABOVE)
            .map_err(HostError::io(HostOperation::Open, path))?;
        self.hold(&holder, path)
    }
}

/// How a directory is opened that is only asked who it is.
const ABOVE: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

impl Identity {
    pub(super) fn of(found: &Stat) -> Self {
        Self(found.st_dev, found.st_ino)
    }
}
