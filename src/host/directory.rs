//! Names in open directories, given to finished files in one step.

use std::{ffi::OsStr, fs::File, os::fd::BorrowedFd, path::Path};

use rustix::{
    fs::{AtFlags, RenameFlags, linkat, renameat, renameat_with, statat, unlinkat},
    io::Errno,
};

use super::open::kind_of;
use crate::error::{FileKind, HostError, HostOperation};

/// What to do with something that has a file's final name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave it and fail.
    Refuse,
    /// Replace it, unless it is a directory. A symbolic link is replaced, not followed.
    Overwrite,
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
