//! Where something is on the host.
//!
//! A place below a directory that a [`TreeWalk`](super::TreeWalk) has entered is that directory, opened, and a name in it.
//! So it works at any depth, also where the whole path is longer than the system takes (4096 bytes), and whoever moves a
//! directory on the way, or puts a symbolic link in its stead, leads nobody astray. A place that a user has named is a
//! path, resolved at each use.

use std::{
    ffi::{OsStr, OsString},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::{OsStrExt as _, OsStringExt as _},
    },
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, Stat, openat, readlinkat, statat},
    io::{Errno, retry_on_intr},
};

use super::{directory::directory_of, open::kind_of, source::SourceIdentity};
use crate::error::{FileKind, HostError, HostOperation};

/// Where something is on the host.
///
/// One that a walk has found keeps the directory that holds it open: many of them from many directories are as many
/// descriptors. Clones share one.
#[derive(Debug, Clone)]
pub struct Place {
    /// The directory that holds the name; `None` is the working directory at the time of each use.
    directory: Option<Arc<OwnedFd>>,
    path: PathBuf,
    /// Where in the path the name in `directory` begins, in bytes.
    name_at: usize,
    /// What the directory said it is when it was listed.
    listed_as: Option<FileKind>,
}

impl Place {
    /// Names the place at a path; touches nothing. A relative path stays relative to the working directory. As everywhere,
    /// `.`, `..` and a name with a `/` behind it are directories: a symbolic link there is followed.
    pub fn of_path(path: impl Into<PathBuf>) -> Self {
        Self {
            directory: None,
            path: path.into(),
            name_at: 0,
            listed_as: None,
        }
    }

    /// Names what an opened directory lists as `name`; `prefix` is the directory's path with a `/` behind it, for messages.
    pub(super) fn in_directory(
        directory: &Arc<OwnedFd>,
        prefix: &[u8],
        name: &[u8],
        listed_as: FileKind,
    ) -> Self {
        let mut path = Vec::with_capacity(prefix.len() + name.len());
        path.extend_from_slice(prefix);
        path.extend_from_slice(name);
        Self {
            directory: Some(Arc::clone(directory)),
            path: OsString::from_vec(path).into(),
            name_at: prefix.len(),
            listed_as: Some(listed_as),
        }
    }

    /// Returns the path, for messages: what it leads to may have changed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says whether one walk has found both in one directory. "No" proves nothing.
    pub fn shares_directory_with(&self, other: &Self) -> bool {
        let directories = self.directory.as_ref().zip(other.directory.as_ref());
        directories.is_some_and(|(own, others)| Arc::ptr_eq(own, others))
    }

    /// Says what is there now; a symbolic link is not followed.
    ///
    /// # Errors
    /// [`HostError::Io`] when nothing is, or it cannot be asked.
    pub fn inspect(&self) -> Result<(FileKind, SourceIdentity), HostError> {
        let found = self
            .stat()
            .map_err(HostError::io(HostOperation::Inspect, &self.path))?;
        Ok((kind_of(found.st_mode), SourceIdentity::of(&found)))
    }

    /// Returns where the symbolic link that is there leads.
    ///
    /// # Errors
    /// [`HostError::Io`] when there is none, or it cannot be read.
    pub fn read_link(&self) -> Result<Box<[u8]>, HostError> {
        let target = readlinkat(self.holder(), self.name(), Vec::new())
            .map_err(HostError::io(HostOperation::Inspect, &self.path))?;
        Ok(target.into_bytes().into())
    }

    /// Returns what the directory said it is when it was listed; `None` when no directory was asked.
    pub(super) fn listed_as(&self) -> Option<FileKind> {
        self.listed_as
    }

    pub(super) fn into_path(self) -> PathBuf {
        self.path
    }

    /// Asks the system; a symbolic link is not followed.
    pub(super) fn stat(&self) -> Result<Stat, Errno> {
        statat(self.holder(), self.name(), AtFlags::SYMLINK_NOFOLLOW)
    }

    /// Opens what is there, with `flags` and without making anything; a symbolic link is not followed.
    pub(super) fn open_with(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry_on_intr(|| openat(self.holder(), self.name(), flags, Mode::empty()))
    }

    /// Opens the directory that holds it, which links may lead to.
    pub(super) fn open_holder(&self, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match &self.directory {
            Some(directory) => openat(&**directory, ".", flags, Mode::empty()),
            None => openat(CWD, directory_of(&self.path), flags, Mode::empty()),
        }
    }

    fn holder(&self) -> BorrowedFd<'_> {
        self.directory.as_deref().map_or(CWD, OwnedFd::as_fd)
    }

    fn name(&self) -> &OsStr {
        OsStr::from_bytes(&self.path.as_os_str().as_bytes()[self.name_at..])
    }
}

#[cfg(test)]
mod tests;
