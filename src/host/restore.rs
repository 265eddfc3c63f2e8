//! Trees that are restored: below one directory, each file wholly or not at all, or under a name that says it is a part.
//!
//! Every directory on the way is entered from the one before by its open descriptor, and symbolic links are never followed,
//! so that nothing is written outside the target, also while another process swaps directories for links. A file is written
//! under a temporary name (`.bfdb-<16 hex digits>.part`) and gets its final name when it is finished. A crash may leave the
//! temporary name, and only that.
//!
//! Many small files share one wait for the disk: complete them all ([`RestoreFile::complete`] with
//! [`Durability::Batched`]), sync once ([`RestoreTarget::sync_all`]), publish them all ([`CompleteFile::publish`]), and in
//! the end sync once more, for the names. Another order costs time, not bytes: a name is given only when what it leads to
//! is durable.
//!
//! It knows neither archives nor hashes: whoever writes says when the bytes are right, by finishing a file.
//! One thing it cannot see: someone who *moves* a directory out of the target while a file is restored into it takes the
//! file along. The path of a directory is looked at anew for each file, so it is that file and not those after it.

mod directories;
mod file;
mod file_system;
mod link;
mod partial;
mod temporary;
mod tree;

use std::{
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, fstat, openat, stat, statat},
    io::Errno,
};

pub use directories::Made;
pub use file::{CompleteFile, RestoreFile};
pub use partial::is_partial_name;

use self::{
    link::Link,
    temporary::{Spot, TemporaryNames},
    tree::{Directory, Missing, Tree},
};
use super::directory::{Existing, name_is_taken};
use crate::{
    error::{HostError, HostOperation},
    units::{FileName, Timestamp},
};

/// Permissions that something restored can get: set-user-id and set-group-id would give whoever restores it away.
const KEPT_MODE_BITS: u32 = 0o1777;
/// How often something is tried that another process can spoil each time.
const MAX_TRIES: u32 = 64;

/// A directory that files are restored into. It keeps up to 64 directories below it open, and, with the files that wait
/// for their names, up to some 300.
#[derive(Debug)]
pub struct RestoreTarget {
    tree: Arc<Tree>,
    names: TemporaryNames,
}

/// How safe something restored is, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The system writes it when it likes: after a crash the name may be missing, or lead to a file without its bytes.
    Buffered,
    /// The bytes and every name from the target down to it survive a crash once a [`RestoreTarget::sync_all`] that began
    /// afterwards has succeeded. Where the file system cannot be synced as a whole it is [`Durability::Synced`].
    Batched,
    /// The bytes and every name from the target down to it survive a crash when the call that took this returns.
    Synced,
}

/// Something that has its final name.
#[derive(Debug)]
#[must_use]
pub struct Restored {
    /// What the file system would not take: the permissions or the time of modification (FAT, some network file systems).
    /// The bytes are all there.
    pub not_kept: Vec<HostError>,
}

impl RestoreTarget {
    /// Opens a directory, which may be a symbolic link; makes it, and those above it, when they are missing.
    ///
    /// # Errors
    /// [`HostError::NotDirectory`] when something else has the name, [`HostError::Randomness`], [`HostError::Io`] otherwise.
    pub fn open(path: &Path) -> Result<Self, HostError> {
        Ok(Self {
            tree: Arc::new(Tree::open(path)?),
            names: TemporaryNames::new()?,
        })
    }

    /// Returns the path that the target was opened by.
    pub fn path(&self) -> &Path {
        self.tree.path()
    }

    /// Says whether the target is `directory` or lies below it, whatever symbolic links led there: it asks from where it
    /// is upwards. Where there is no such directory, it is not.
    ///
    /// # Errors
    /// [`HostError::Io`] when `directory` or one of those above the target cannot be inspected.
    pub fn is_within(&self, directory: &Path) -> Result<bool, HostError> {
        let wanted = match stat(directory) {
            Ok(found) => found,
            // An archive may lie on something else than the host.
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(HostError::io(HostOperation::Inspect, directory)(errno)),
        };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let enter = |from: BorrowedFd<'_>, to: &str| {
            openat(from, to, flags, Mode::empty()).map_err(HostError::io(HostOperation::Open, self.path()))
        };
        let inspect =
            |opened: &OwnedFd| fstat(opened).map_err(HostError::io(HostOperation::Inspect, self.path()));
        let mut current = enter(self.tree.root(), ".")?;
        let mut found = inspect(&current)?;
        loop {
            if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino) {
                return Ok(true);
            }
            current = enter(current.as_fd(), "..")?;
            let above = inspect(&current)?;
            // The root of all is its own parent.
            if (above.st_dev, above.st_ino) == (found.st_dev, found.st_ino) {
                return Ok(false);
            }
            found = above;
        }
    }

    /// Begins a file of `len_bytes` bytes, makes the directories on its way, and reserves its space if it is above 64 KiB.
    ///
    /// # Errors
    /// [`HostError::Exists`] and [`HostError::DirectoryInPlace`] when the name is taken, [`HostError::NotDirectory`] when a
    /// part of it is a symbolic link or a file, [`HostError::Full`] when there is no room, [`HostError::Io`] otherwise. No
    /// file is left then; directories that were made are.
    pub fn create(
        &self,
        name: &FileName,
        len_bytes: u64,
        existing: Existing,
    ) -> Result<RestoreFile, HostError> {
        self.in_parent_of(name, |spot| {
            refuse_what_stands(&spot, existing)?;
            RestoreFile::create(spot, &self.names, len_bytes, existing)
        })
    }

    /// Makes a directory, and those above it that are missing. It is its owner's alone (0700) until
    /// [`RestoreTarget::set_directory_metadata`]; one that is there stays as it is.
    ///
    /// # Errors
    /// [`HostError::NotDirectory`] when it, or a part of its name, is a symbolic link or a file, [`HostError::Io`]
    /// otherwise.
    pub fn create_directory(&self, name: &FileName, durability: Durability) -> Result<Made, HostError> {
        self.in_parent_of(name, |spot| directories::make(&spot, durability))
    }

    /// Gives a directory its permissions (`mode & 0o1777`) and its time. To be called when everything in it is restored,
    /// and for what is in it before it itself: a new name changes the time, and the permissions may shut us out.
    ///
    /// What a file system or another owner does not allow is in [`Restored::not_kept`].
    ///
    /// # Errors
    /// [`HostError::NotDirectory`] when it, or a part of its name, is a symbolic link or a file, [`HostError::Io`]
    /// otherwise, also when it is not there.
    pub fn set_directory_metadata(
        &self,
        name: &FileName,
        mtime: Timestamp,
        mode: u32,
        durability: Durability,
    ) -> Result<Restored, HostError> {
        directories::set_metadata(&self.spot(name, Missing::Fail)?, mtime, mode, durability)
    }

    /// Makes a symbolic link with its own time; it is never followed, and leads to `target`, whatever that is.
    ///
    /// It appears in one step; with [`Existing::Refuse`] its time follows in a second one. A link is all metadata, and
    /// durable with the directory that holds it.
    ///
    /// # Errors
    /// [`HostError::Exists`] and [`HostError::DirectoryInPlace`] when the name is taken, [`HostError::NotDirectory`] when a
    /// part of it is a symbolic link or a file, [`HostError::Io`] otherwise, also when `target` is empty, has a NUL, or is
    /// longer than the file system takes. Nothing is left then, unless what failed is the sync of a directory.
    pub fn create_symbolic_link(
        &self,
        name: &FileName,
        target: &[u8],
        mtime: Timestamp,
        (existing, durability): (Existing, Durability),
    ) -> Result<Restored, HostError> {
        let link = Link {
            target,
            mtime,
            existing,
            durability,
        };
        self.in_parent_of(name, |spot| link::create(spot, &self.names, &link))
    }

    /// Makes everything durable that was restored with [`Durability::Batched`] before the call. Several threads may call;
    /// one sync is running at a time.
    ///
    /// # Errors
    /// [`HostError::Io`]. That is final: the system does not tell twice what it could not write, nor which file it was. No
    /// later call succeeds, and no file that was complete by then gets its name.
    pub fn sync_all(&self) -> Result<(), HostError> {
        self.tree.sync_all()
    }

    /// Enters the directory that holds a name, makes it if it is missing, and does something there.
    fn in_parent_of<T>(
        &self,
        name: &FileName,
        restore: impl Fn(Spot) -> Result<T, HostError>,
    ) -> Result<T, HostError> {
        match restore(self.spot(name, Missing::Make)?) {
            // Somebody has removed the directory after it was looked at.
            Err(error) if error.is_not_found() => restore(self.spot(name, Missing::Make)?),
            other => other,
        }
    }

    fn spot(&self, name: &FileName, missing: Missing) -> Result<Spot, HostError> {
        Ok(Spot {
            tree: Arc::clone(&self.tree),
            directory: self.tree.parent_of(name, missing)?,
            name: name.clone(),
        })
    }
}

impl Durability {
    /// Says whether something in a directory is to be synced by itself, at once.
    fn is_due_at_once(self, directory: &Directory) -> bool {
        match self {
            Self::Buffered => false,
            Self::Batched => directory.file_system().mark().is_none(),
            Self::Synced => true,
        }
    }
}

/// Fails early where the final name cannot be given anyway. What counts is the renaming in the end.
fn refuse_what_stands(spot: &Spot, existing: Existing) -> Result<(), HostError> {
    match statat(spot.directory.as_fd(), spot.last(), AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(HostError::io(HostOperation::Inspect, &spot.path())(errno)),
        Ok(_) => match (
            name_is_taken(spot.directory.as_fd(), spot.last(), &spot.path()),
            existing,
        ) {
            (HostError::Exists { .. }, Existing::Overwrite) => Ok(()),
            (taken, _) => Err(taken),
        },
    }
}

fn kept_mode(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & KEPT_MODE_BITS)
}

/// The times to set; that of the last access stays.
fn modified_at(mtime: Timestamp) -> Timestamps {
    // Above a second lie the codes for "now" and "leave it".
    let nanoseconds = mtime.nanoseconds();
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: mtime.seconds(),
            tv_nsec: nanoseconds.into(),
        },
    }
}

#[cfg(test)]
mod tests;
