//! Everything in a directory and below, as a stream.
//!
//! Every directory is entered from the one that holds it, by its open descriptor and never through a symbolic link: a walk
//! stays in its tree whoever moves or swaps directories meanwhile, and no depth is too deep for it. What it cannot look at
//! it says, and goes on.
//!
//! Memory and descriptors do not grow with the number of files. What waits is the names of the subdirectories, of the
//! directory just listed and of those above it that have some left to enter; each of these directories is open. Beside
//! that, each [`Place`] keeps its directory open as long as it lives.
//!
//! It is no snapshot: what is made, renamed or removed in a directory while it is listed may be found or not.

mod excluded;
mod listing;
mod walked;

use std::{
    ffi::OsStr,
    fmt,
    iter::FusedIterator,
    ops::ControlFlow,
    os::{fd::OwnedFd, unix::ffi::OsStrExt as _},
    path::PathBuf,
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, OFlags, fstat, statat},
    io::Errno,
};

pub use excluded::ExcludedDirectories;
use excluded::Identity;
use listing::Listing;
pub use walked::{SkipReason, TreeEntry, Walked};

use super::{open::kind_of, place::Place};
use crate::error::{FileKind, HostError, HostOperation};

/// A walk over what is at a place and, where that is a directory, everything below it.
///
/// A directory comes before what is in it, and the files of a directory before its subdirectories, which come sorted by
/// their bytes; nothing else is promised about the order. Symbolic links are yielded, never followed.
///
/// The filter is asked once about everything found, of whatever kind, before anything else is done with it; where it says
/// `false`, the entry is left out without a word, with all below it.
#[must_use]
pub struct TreeWalk<F> {
    root: Option<Place>,
    excluded: ExcludedDirectories,
    filter: F,
    /// Where in a path the part below the root begins.
    below_at: usize,
    /// The directory listed last and those above it that have subdirectories waiting.
    levels: Vec<Level>,
    /// The path of the last of them, a `/` behind it.
    prefix: Vec<u8>,
    /// The directories from the root down to the last of them, to notice one that is above itself.
    line: Vec<Identity>,
    /// What is listed of the last of them and not yet looked at.
    listing: Listing,
}

/// A directory that was entered.
struct Level {
    directory: Arc<OwnedFd>,
    prefix_len: usize,
    line_len: usize,
    is_listed: bool,
    /// The names of its subdirectories that wait; the last one is next.
    subdirectories: Vec<Box<[u8]>>,
}

impl<F: FnMut(&TreeEntry) -> bool> TreeWalk<F> {
    /// Makes a walk from `root`; touches nothing before it is asked for the first entry.
    pub fn new(root: Place, excluded: ExcludedDirectories, filter: F) -> Self {
        Self {
            root: Some(root),
            excluded,
            filter,
            below_at: 0,
            levels: Vec::new(),
            prefix: Vec::new(),
            line: Vec::new(),
            listing: Listing::new(),
        }
    }

    fn begin(&mut self, root: &Place) -> Option<Walked> {
        let kind = match root.stat() {
            Ok(found) => kind_of(found.st_mode),
            Err(errno) => return Some(failed(root, HostOperation::Inspect, errno)),
        };
        self.below_at = root.path().as_os_str().len();
        let walked = self.consider(root.clone(), kind)?;
        self.below_at = self.prefix.len();
        if !matches!(walked, Walked::Entry(_)) {
            return Some(walked);
        }
        // A directory was opened by now; anything else is held by one.
        let is_excluded = match self.levels.last() {
            Some(level) => self.excluded.hold(&level.directory, root.path()),
            None => self.excluded.hold_holder_of(root),
        };
        let path = root.path().to_owned();
        let instead = match is_excluded {
            Ok(false) => return Some(walked),
            Ok(true) => Walked::Skipped {
                path,
                why: SkipReason::ArchiveItself,
            },
            Err(error) => Walked::Failed { path, error },
        };
        self.levels.clear();
        Some(instead)
    }

    /// Looks at the next name in the directory at the end of `levels`. Breaks with what there is to say about it, if
    /// anything, or with nothing at the end of all.
    fn step(&mut self) -> ControlFlow<Option<Walked>> {
        let Some(level) = self.levels.last_mut() else {
            return ControlFlow::Break(None);
        };
        if let Some((name, listed)) = self.listing.next() {
            let place = |kind| Place::in_directory(&level.directory, &self.prefix, name, kind);
            let kind = match kind_there(&level.directory, name, listed) {
                Ok(kind) => kind,
                Err(errno) => return say(failed(&place(listed), HostOperation::Inspect, errno)),
            };
            if kind == FileKind::Directory {
                level.subdirectories.push(name.into());
                return ControlFlow::Continue(());
            }
            let place = place(kind);
            return self.consider(place, kind).map_or(ControlFlow::Continue(()), say);
        }
        if !level.is_listed {
            let filled = self.listing.fill(&level.directory);
            if filled != Ok(true) {
                level.end_listing();
            }
            return match filled {
                Ok(_) => ControlFlow::Continue(()),
                Err(errno) => {
                    let path = PathBuf::from(OsStr::from_bytes(without_slash(&self.prefix)));
                    let error = HostError::io(HostOperation::List, &path)(errno);
                    say(Walked::Failed { path, error })
                }
            };
        }
        self.prefix.truncate(level.prefix_len);
        self.line.truncate(level.line_len);
        let Some(name) = level.subdirectories.pop() else {
            self.levels.pop();
            return ControlFlow::Continue(());
        };
        let kind = FileKind::Directory;
        let place = Place::in_directory(&level.directory, &self.prefix, &name, kind);
        self.consider(place, kind).map_or(ControlFlow::Continue(()), say)
    }

    fn consider(&mut self, place: Place, kind: FileKind) -> Option<Walked> {
        let below = place.path().as_os_str().as_bytes()[self.below_at..].to_vec();
        let entry = TreeEntry { place, below, kind };
        if !(self.filter)(&entry) {
            return None;
        }
        let skipped = |entry: TreeEntry, why| Walked::Skipped {
            path: entry.place.into_path(),
            why,
        };
        Some(match kind {
            FileKind::Regular | FileKind::SymbolicLink => Walked::Entry(entry),
            FileKind::Directory => match self.enter(&entry.place) {
                Ok(None) => Walked::Entry(entry),
                Ok(Some(why)) => skipped(entry, why),
                Err(error) => Walked::Failed {
                    path: entry.place.into_path(),
                    error,
                },
            },
            FileKind::Fifo
            | FileKind::Socket
            | FileKind::CharacterDevice
            | FileKind::BlockDevice
            | FileKind::Unknown => skipped(entry, SkipReason::SpecialFile(kind)),
        })
    }

    /// Opens a directory, which is listed next unless there is a reason not to.
    fn enter(&mut self, place: &Place) -> Result<Option<SkipReason>, HostError> {
        let path = place.path();
        let directory = place
            .open_with(OFlags::RDONLY | OFlags::DIRECTORY)
            .map_err(|errno| match errno {
                // It was a directory when it was listed, so that is what it is now.
                Errno::NOTDIR | Errno::LOOP => HostError::NotDirectory {
                    path: path.to_owned(),
                    kind: place
                        .stat()
                        .map_or(FileKind::Unknown, |found| kind_of(found.st_mode)),
                },
                errno => HostError::io(HostOperation::Open, path)(errno),
            })?;
        let found = fstat(&directory).map_err(HostError::io(HostOperation::Inspect, path))?;
        let identity = Identity::of(&found);
        if self.excluded.contain(identity) {
            return Ok(Some(SkipReason::ArchiveItself));
        }
        if self.line.contains(&identity) {
            return Err(HostError::DirectoryLoop {
                path: path.to_owned(),
            });
        }
        // Its descriptor is not needed any more when this was its last subdirectory.
        self.levels.pop_if(|holder| holder.subdirectories.is_empty());
        self.line.push(identity);
        self.prefix.clear();
        self.prefix.extend_from_slice(path.as_os_str().as_bytes());
        if self.prefix.last() != Some(&b'/') {
            self.prefix.push(b'/');
        }
        self.levels.push(Level {
            directory: Arc::new(directory),
            prefix_len: self.prefix.len(),
            line_len: self.line.len(),
            is_listed: false,
            subdirectories: Vec::new(),
        });
        Ok(None)
    }
}

impl<F: FnMut(&TreeEntry) -> bool> Iterator for TreeWalk<F> {
    type Item = Walked;

    fn next(&mut self) -> Option<Walked> {
        if let Some(root) = self.root.take()
            && let Some(walked) = self.begin(&root)
        {
            return Some(walked);
        }
        loop {
            if let ControlFlow::Break(said) = self.step() {
                return said;
            }
        }
    }
}

impl<F: FnMut(&TreeEntry) -> bool> FusedIterator for TreeWalk<F> {}

impl<F> fmt::Debug for TreeWalk<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TreeWalk")
            .field("root", &self.root)
            .field("excluded", &self.excluded)
            .field("open_directories", &self.levels.len())
            .finish_non_exhaustive()
    }
}

impl Level {
    fn end_listing(&mut self) {
        self.is_listed = true;
        self.subdirectories.sort_unstable_by(|a, b| b.cmp(a));
    }
}

fn say(walked: Walked) -> ControlFlow<Option<Walked>> {
    ControlFlow::Break(Some(walked))
}

/// Returns what has a name: not every file system says so in its listings.
fn kind_there(directory: &OwnedFd, name: &[u8], listed: FileKind) -> Result<FileKind, Errno> {
    if listed != FileKind::Unknown {
        return Ok(listed);
    }
    let found = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok(kind_of(found.st_mode))
}

fn failed(place: &Place, operation: HostOperation, errno: Errno) -> Walked {
    let error = HostError::io(operation, place.path())(errno);
    let path = place.path().to_owned();
    Walked::Failed { path, error }
}

/// The path of a directory, of which the root of all is nothing but its slash.
fn without_slash(prefix: &[u8]) -> &[u8] {
    match prefix {
        [rest @ .., b'/'] if !rest.is_empty() => rest,
        prefix => prefix,
    }
}

#[cfg(test)]
mod tests;
