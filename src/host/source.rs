//! Files that are stored: regular files, read as they were when they were opened or not at all.
//!
//! A source that shrinks or changes while it is read fails, so that an archive never holds a mix of two contents. It knows
//! what the file system tells: a writer that keeps the length and sets both times back is not noticed (the time of the
//! last change of status cannot be set by ordinary means), nor is one that writes within the same tick of the file system's
//! clock as another write before the source was opened.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{Stat, fstat},
    io::Errno,
};

use super::{
    open::{is_same_file, open_regular_at},
    place::Place,
};
use crate::{
    error::{HostError, HostOperation, SourceChange},
    storage::Medium,
    units::{Timestamp, to_u64},
};

/// A regular file opened for reading, and what it was at that moment.
#[derive(Debug)]
pub struct SourceFile {
    file: File,
    origin: Origin,
    identity: SourceIdentity,
}

/// Where the bytes of a source come from.
#[derive(Debug)]
enum Origin {
    /// A file that somebody else has named.
    Named(Place),
    /// A file without a name; the path is for messages only.
    Nameless(PathBuf),
}

/// Returns the path from the root of the file system on, by which a source is found again from any working directory. Links on
/// the way stay in it.
///
/// # Errors
/// [`HostError::Io`] when the working directory is not known, or for an empty path.
pub fn absolute_path(path: &Path) -> Result<PathBuf, HostError> {
    std::path::absolute(path).map_err(HostError::io(HostOperation::Resolve, path))
}

/// What a source was when it was opened: enough to notice later that it is another or has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SourceIdentity {
    /// Its length in bytes.
    pub len_bytes: u64,
    /// Time of its last modification.
    pub mtime: Timestamp,
    /// Time of the last change of its status.
    pub ctime: Timestamp,
    /// The file system it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// Its type and permission bits, as `stat` gives them; `& 0o7777` are the permissions.
    pub mode: u32,
}

impl SourceFile {
    /// Opens a regular file. A symbolic link is not followed, a fifo not waited for.
    ///
    /// # Errors
    /// [`HostError::NotRegular`] says what else it is, [`HostError::Io`] why it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, HostError> {
        Self::open_at(&Place::of_path(path))
    }

    /// Opens the regular file at a place, as [`SourceFile::open`] does.
    ///
    /// # Errors
    /// The same.
    pub fn open_at(place: &Place) -> Result<Self, HostError> {
        let (file, found) = open_regular_at(place)?;
        Ok(Self {
            file,
            origin: Origin::Named(place.clone()),
            identity: SourceIdentity::of(&found),
        })
    }

    /// Makes a source of a file that has no name; `described_as` is for messages.
    pub(super) fn of_nameless(file: File, described_as: PathBuf) -> Result<Self, HostError> {
        let found = fstat(&file).map_err(HostError::io(HostOperation::Inspect, &described_as))?;
        Ok(Self {
            file,
            origin: Origin::Nameless(described_as),
            identity: SourceIdentity::of(&found),
        })
    }

    /// Returns what the file was when it was opened.
    pub fn identity(&self) -> SourceIdentity {
        self.identity
    }

    /// Returns what kind of disk it is on, as far as that is known.
    pub fn medium(&self) -> Medium {
        Medium::of_device(self.identity.device)
    }

    /// Returns the path that it was opened by, for messages: what it leads to may have changed.
    pub fn path(&self) -> &Path {
        match &self.origin {
            Origin::Named(place) => place.path(),
            Origin::Nameless(described_as) => described_as,
        }
    }

    /// Says whether it is a file without a name: nothing leads to it again once it is closed.
    pub fn is_nameless(&self) -> bool {
        matches!(self.origin, Origin::Nameless(_))
    }

    /// Fills `into` with the bytes at `offset`; several threads may read at once.
    ///
    /// # Errors
    /// [`HostError::SourceShrunk`] when the file ends before, [`HostError::Read`] when the system cannot read. What
    /// `into` holds then means nothing.
    ///
    /// # Panics
    /// When the range goes beyond the length in [`SourceFile::identity`].
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<(), HostError> {
        let end = offset.checked_add(to_u64(into.len()));
        assert!(
            end.is_some_and(|end| end <= self.identity.len_bytes),
            "a read beyond the length of a source"
        );
        let (mut at, mut rest) = (offset, into);
        while !rest.is_empty() {
            match self.file.read_at(rest, at) {
                Ok(0) => return Err(self.shrunk(at)?),
                Ok(len) => {
                    at += to_u64(len);
                    rest = &mut rest[len..];
                }
                Err(source) if source.kind() == io::ErrorKind::Interrupted => {}
                Err(source) => {
                    let (path, len) = (self.path().to_owned(), to_u64(rest.len()));
                    return Err(HostError::Read {
                        path,
                        offset: at,
                        len,
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    /// Checks that the file is what it was when it was opened, and still has its name. Call it after the last read:
    /// what was read before is then all of one content.
    ///
    /// # Errors
    /// [`HostError::SourceChanged`] says what is different, [`HostError::Io`] that it cannot be asked.
    pub fn check_unchanged(&self) -> Result<(), HostError> {
        let now = SourceIdentity::of(&self.stat()?);
        let change = match (self.identity.change_to(&now), &self.origin) {
            (Some(change), _) => Some(change),
            (None, Origin::Nameless(_)) => None,
            (None, Origin::Named(place)) => match place.stat() {
                Ok(named) if SourceIdentity::of(&named).is_same_file(&now) => None,
                Ok(_) => Some(SourceChange::Replaced),
                Err(Errno::NOENT) => Some(SourceChange::Removed),
                Err(errno) => return Err(HostError::io(HostOperation::Inspect, place.path())(errno)),
            },
        };
        change.map_or(Ok(()), |change| {
            Err(HostError::SourceChanged {
                path: self.path().to_owned(),
                change,
            })
        })
    }

    /// Makes the error of a file that ended at `end` or before.
    fn shrunk(&self, end: u64) -> Result<HostError, HostError> {
        let now = SourceIdentity::of(&self.stat()?);
        // It may have grown again since.
        let found_len = now.len_bytes.min(end);
        Ok(HostError::SourceShrunk {
            path: self.path().to_owned(),
            expected_len: self.identity.len_bytes,
            found_len,
        })
    }

    fn stat(&self) -> Result<Stat, HostError> {
        fstat(&self.file).map_err(HostError::io(HostOperation::Inspect, self.path()))
    }
}

impl SourceIdentity {
    /// Says what makes `now` another file or content than this; the mode does not. `None` when nothing does.
    pub fn change_to(&self, now: &Self) -> Option<SourceChange> {
        if !self.is_same_file(now) {
            Some(SourceChange::Replaced)
        } else if self.len_bytes != now.len_bytes {
            Some(SourceChange::Length {
                before: self.len_bytes,
                after: now.len_bytes,
            })
        } else if self.mtime != now.mtime {
            Some(SourceChange::ModificationTime)
        } else if self.ctime != now.ctime {
            Some(SourceChange::StatusTime)
        } else {
            None
        }
    }

    pub(super) fn of(found: &Stat) -> Self {
        // The types of these fields differ between machines.
        let time = |seconds: i64, nanoseconds: Option<u32>| {
            nanoseconds
                .and_then(|nanoseconds| Timestamp::new(seconds, nanoseconds))
                .expect("the system counts fewer than 1 000 000 000 nanoseconds in a second")
        };
        Self {
            len_bytes: u64::try_from(found.st_size).expect("no file has a negative length"),
            mtime: time(found.st_mtime, u32::try_from(found.st_mtime_nsec).ok()),
            ctime: time(found.st_ctime, u32::try_from(found.st_ctime_nsec).ok()),
            device: found.st_dev,
            inode: found.st_ino,
            mode: found.st_mode,
        }
    }

    fn is_same_file(&self, other: &Self) -> bool {
        (self.device, self.inode) == (other.device, other.inode)
    }
}

/// Says whether `path` is `directory` or lies below it, whatever symbolic links and mounts lead there; `path` itself is
/// not followed. An archive asks this about its own directory and about each of its volumes, so that it never stores itself.
///
/// Directories are compared by device and inode, so a second mount of `directory` is seen through; a mount of only a
/// *part* of it is not.
///
/// # Errors
/// [`HostError::Io`] when `directory`, or the directory that holds `path`, cannot be inspected.
pub fn path_is_inside(path: &Path, directory: &Path) -> Result<bool, HostError> {
    let inspect = |path: &Path| fs::metadata(path).map_err(HostError::io(HostOperation::Inspect, path));
    let wanted = inspect(directory)?;
    // `..`, `.` and `/` have no last part that could be a link: they are directories themselves.
    let holder = match (path.file_name(), path.parent()) {
        (None, _) => path,
        (Some(_), None) => Path::new("."),
        (Some(_), Some(parent)) if parent.as_os_str() == OsStr::new("") => Path::new("."),
        (Some(_), Some(parent)) => parent,
    };
    let holder = fs::canonicalize(holder).map_err(HostError::io(HostOperation::Resolve, holder))?;
    for ancestor in holder.ancestors() {
        if is_same_file(&inspect(ancestor)?, &wanted) {
            return Ok(true);
        }
    }
    match fs::symlink_metadata(path) {
        Ok(found) => Ok(is_same_file(&found, &wanted)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(HostError::io(HostOperation::Inspect, path)(error)),
    }
}

#[cfg(test)]
mod tests;
