//! Directories, made durably, and names, given to finished files in an order that a crash cannot tear.

#![expect(
    clippy::disallowed_methods,
    reason = "host is one of the two places that touch the file system"
)]

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io,
    os::{
        fd::BorrowedFd,
        unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _},
    },
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, RenameFlags, linkat, renameat, renameat_with, statat, unlinkat},
    io::Errno,
};

use super::open::{Access, kind_of, open_regular};
use crate::error::{FileKind, HostError, HostOperation};

/// Permission bits of what belongs to an archive: nobody but its owner.
const PRIVATE_DIRECTORY: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// What to do with something that has a file's final name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it and fail.
    Refuse,
    /// Replace it, unless it is a directory. A symbolic link is replaced, not followed.
    Overwrite,
}

/// Makes a directory for its owner alone (0700) and those above it that are missing. One that is there stays as it is.
///
/// When this returns, the names of all directories it made are durable.
///
/// # Errors
/// [`HostError::NotDirectory`] when something else has the name, [`HostError::Io`] otherwise.
pub fn create_directory(path: &Path) -> Result<(), HostError> {
    create_directories(path, PRIVATE_DIRECTORY)
}

/// Makes durable which names a directory holds.
///
/// A file system that cannot sync a directory (some network ones) says `EINVAL`; it is taken at its word that there is
/// nothing to do.
///
/// # Errors
/// [`HostError::Io`]. What the directory will hold after a crash is not known then.
pub fn sync_directory(path: &Path) -> Result<(), HostError> {
    let directory = File::open(path).map_err(HostError::io(HostOperation::Open, path))?;
    sync_opened_directory(&directory, path)
}

/// Gives a finished file its final name, in the same file system. When this returns, the bytes of the file and the name are
/// durable; a crash before leaves the old state, whole.
///
/// # Errors
/// [`HostError::Exists`] and [`HostError::DirectoryInPlace`] when the name is taken, [`HostError::Io`] otherwise. After a
/// failed sync of the directory the file has its name, but may lose it in a crash.
pub fn publish(temporary: &Path, name: &Path, existing: Existing) -> Result<(), HostError> {
    let (file, _) = open_regular(temporary, Access::Read)?;
    // The bytes before the name: a name must never lead to a file that a crash has emptied.
    file.sync_all()
        .map_err(HostError::io(HostOperation::Sync, temporary))?;
    rename_into_place(CWD, temporary, name, existing, name)?;
    sync_directory(directory_of(name))
}

/// Takes every permission from everybody but the owner of a regular file, who may read and write it (0600).
///
/// # Errors
/// [`HostError::NotRegular`] for anything but a file, [`HostError::Io`] otherwise.
pub fn set_private(path: &Path) -> Result<(), HostError> {
    let (file, _) = open_regular(path, Access::Read)?;
    file.set_permissions(Permissions::from_mode(PRIVATE_FILE))
        .map_err(HostError::io(HostOperation::SetMode, path))
}

/// Makes a directory and those above it that are missing, with `mode` less the process's mask, durably.
pub(super) fn create_directories(path: &Path, mode: u32) -> Result<(), HostError> {
    let mut missing = Vec::new();
    let mut at = path;
    loop {
        match fs::metadata(at) {
            Ok(found) if found.is_dir() => break,
            Ok(found) => {
                return Err(HostError::NotDirectory {
                    path: at.to_owned(),
                    kind: kind_of(found.mode()),
                });
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound && directory_of(at) != at => {
                missing.push(at);
            }
            Err(error) => return Err(HostError::io(HostOperation::Inspect, at)(error)),
        }
        at = directory_of(at);
    }
    for directory in missing.into_iter().rev() {
        match fs::DirBuilder::new().mode(mode).create(directory) {
            Ok(()) => {}
            // Somebody else made it at the same time, or it is a link that leads nowhere.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => expect_directory(directory)?,
            Err(error) => return Err(HostError::io(HostOperation::CreateDirectory, directory)(error)),
        }
        sync_directory(directory_of(directory))?;
    }
    Ok(())
}

fn expect_directory(path: &Path) -> Result<(), HostError> {
    if fs::metadata(path).is_ok_and(|found| found.is_dir()) {
        return Ok(());
    }
    let found = fs::symlink_metadata(path).map_err(HostError::io(HostOperation::Inspect, path))?;
    Err(HostError::NotDirectory {
        path: path.to_owned(),
        kind: kind_of(found.mode()),
    })
}

/// Returns the directory that holds the last part of a path.
pub(super) fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if parent.as_os_str() != OsStr::new("") => parent,
        Some(_) => Path::new("."),
        None => path,
    }
}

/// Makes durable which names an open directory holds; `path` is for the message only.
pub(super) fn sync_opened_directory(directory: &File, path: &Path) -> Result<(), HostError> {
    match directory.sync_all() {
        Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
        other => other.map_err(HostError::io(HostOperation::Sync, path)),
    }
}

/// Gives a file its final name beside its temporary one in `directory`, in one step; `path` is for the message only.
///
/// # Errors
/// [`HostError::Exists`], [`HostError::DirectoryInPlace`], [`HostError::NoExclusiveRename`] or [`HostError::Io`]; the
/// temporary name is still there then.
pub(super) fn rename_into_place(
    directory: BorrowedFd<'_>,
    temporary: &Path,
    name: &Path,
    existing: Existing,
    path: &Path,
) -> Result<(), HostError> {
    let renamed = match existing {
        Existing::Overwrite => renameat(directory, temporary, directory, name),
        Existing::Refuse => {
            match renameat_with(directory, temporary, directory, name, RenameFlags::NOREPLACE) {
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                    return link_into_place(directory, temporary, name, path);
                }
                other => other,
            }
        }
    };
    renamed.map_err(|errno| name_error(directory, name, errno, path))
}

/// Does the same where the file system cannot rename without replacing: a second link never replaces anything. Between the
/// two steps the file has both names.
fn link_into_place(
    directory: BorrowedFd<'_>,
    temporary: &Path,
    name: &Path,
    path: &Path,
) -> Result<(), HostError> {
    linkat(directory, temporary, directory, name, AtFlags::empty()).map_err(|errno| match errno {
        Errno::PERM | Errno::NOSYS | Errno::NOTSUP | Errno::MLINK => HostError::NoExclusiveRename {
            path: path.to_owned(),
        },
        errno => name_error(directory, name, errno, path),
    })?;
    unlinkat(directory, temporary, AtFlags::empty()).map_err(HostError::io(HostOperation::Remove, path))
}

fn name_error(directory: BorrowedFd<'_>, name: &Path, errno: Errno, path: &Path) -> HostError {
    match errno {
        Errno::EXIST | Errno::ISDIR => name_is_taken(directory, name, path),
        errno => HostError::io(HostOperation::Rename, path)(errno),
    }
}

/// Makes the error of a name that is taken, by what has it.
pub(super) fn name_is_taken(directory: BorrowedFd<'_>, name: &Path, path: &Path) -> HostError {
    let path = path.to_owned();
    if kind_at(directory, name) == FileKind::Directory {
        HostError::DirectoryInPlace { path }
    } else {
        HostError::Exists { path }
    }
}

/// Returns what has a name; [`FileKind::Unknown`] when nothing has any more.
pub(super) fn kind_at(directory: BorrowedFd<'_>, name: &Path) -> FileKind {
    statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_or(FileKind::Unknown, |found| kind_of(found.st_mode))
}

#[cfg(test)]
mod tests;
