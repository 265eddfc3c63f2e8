//! The archive's own files and directories, on whatever storage it lies.
//!
//! Sources and restored files are reached in other ways: they are on the host, below directories that others change.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::directory::{Existing, directory_of};
use crate::{
    error::{FileKind, HostError, HostOperation},
    storage::{EntryInfo, FileAccess, Replace, Storage, StorageFile},
};

/// Opens a regular file; a symbolic link as the last part of the path is refused, and nothing is waited for.
///
/// # Errors
/// [`HostError::NotRegular`] says what else it is, [`HostError::Io`] why it cannot be opened.
pub(super) fn open_file(
    storage: &dyn Storage,
    path: &Path,
    access: FileAccess,
) -> Result<Arc<dyn StorageFile>, HostError> {
    storage.open(path, access).map_err(|source| {
        let found = storage.inspect(path).map(|found| found.kind);
        match found {
            Ok(kind) if source.kind() == io::ErrorKind::InvalidInput && kind != FileKind::Regular => {
                HostError::NotRegular {
                    path: path.to_owned(),
                    kind,
                }
            }
            Ok(_) | Err(_) => HostError::io(HostOperation::Open, path)(source),
        }
    })
}

/// Lists the names in a directory, sorted; `None` where there is no directory.
pub(super) fn list_directory(
    storage: &dyn Storage,
    directory: &Path,
) -> Result<Option<Vec<PathBuf>>, HostError> {
    match storage.list(directory) {
        Ok(names) => Ok(Some(names.into_iter().map(PathBuf::from).collect())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(HostError::io(HostOperation::List, directory)(error)),
    }
}

/// Makes a directory for its owner alone (0700) and those above it that are missing. One that is there stays as it is.
///
/// When this returns, the names of all directories it made are durable.
///
/// # Errors
/// [`HostError::NotDirectory`] when something else has the name, [`HostError::Io`] otherwise.
pub(super) fn create_directory(storage: &dyn Storage, path: &Path) -> Result<(), HostError> {
    create_directories(storage, path, |missing| storage.create_directory(missing))
}

/// Makes a directory and those above it that are missing, each with `make`, durably.
pub(super) fn create_directories(
    storage: &dyn Storage,
    path: &Path,
    make: impl Fn(&Path) -> io::Result<()>,
) -> Result<(), HostError> {
    let mut missing = Vec::new();
    let mut at = path;
    loop {
        match inspect_followed(storage, at) {
            Ok(found) if found.kind == FileKind::Directory => break,
            Ok(found) => {
                return Err(HostError::NotDirectory {
                    path: at.to_owned(),
                    kind: found.kind,
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
        match make(directory) {
            Ok(()) => {}
            // Somebody else made it at the same time, or it is a link that leads nowhere.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                expect_directory(storage, directory)?;
            }
            Err(error) => return Err(HostError::io(HostOperation::CreateDirectory, directory)(error)),
        }
        sync_directory(storage, directory_of(directory))?;
    }
    Ok(())
}

fn expect_directory(storage: &dyn Storage, path: &Path) -> Result<(), HostError> {
    if inspect_followed(storage, path).is_ok_and(|found| found.kind == FileKind::Directory) {
        return Ok(());
    }
    let found = storage
        .inspect(path)
        .map_err(HostError::io(HostOperation::Inspect, path))?;
    Err(HostError::NotDirectory {
        path: path.to_owned(),
        kind: found.kind,
    })
}

/// Returns what a path leads to, through links too.
fn inspect_followed(storage: &dyn Storage, path: &Path) -> io::Result<EntryInfo> {
    storage.inspect(&storage.canonical(path)?)
}

/// Makes durable which names a directory holds.
///
/// # Errors
/// [`HostError::Io`]. What the directory will hold after a crash is not known then.
pub(super) fn sync_directory(storage: &dyn Storage, path: &Path) -> Result<(), HostError> {
    storage
        .sync_directory(path)
        .map_err(HostError::io(HostOperation::Sync, path))
}

/// Gives a finished file its final name, in the same file system. When this returns, the bytes of the file and the name are
/// durable; a crash before leaves the old state, whole.
///
/// # Errors
/// [`HostError::Exists`] and [`HostError::DirectoryInPlace`] when the name is taken, [`HostError::Io`] otherwise. After a
/// failed sync of the directory the file has its name, but may lose it in a crash.
pub fn publish(
    storage: &dyn Storage,
    temporary: &Path,
    name: &Path,
    existing: Existing,
) -> Result<(), HostError> {
    let file = open_file(storage, temporary, FileAccess::Read)?;
    // The bytes before the name: a name must never lead to a file that a crash has emptied.
    file.sync_all()
        .map_err(HostError::io(HostOperation::Sync, temporary))?;
    rename_into_place(storage, temporary, name, existing)?;
    sync_directory(storage, directory_of(name))
}

/// Gives a file another name in one step.
///
/// # Errors
/// [`HostError::Exists`], [`HostError::DirectoryInPlace`], [`HostError::NoExclusiveRename`] or [`HostError::Io`]; the
/// temporary name is still there then.
pub(super) fn rename_into_place(
    storage: &dyn Storage,
    temporary: &Path,
    name: &Path,
    existing: Existing,
) -> Result<(), HostError> {
    let replace = match existing {
        Existing::Refuse => Replace::Never,
        Existing::Overwrite => Replace::File,
    };
    storage.rename(temporary, name, replace).map_err(|error| {
        let (path, kind) = (name.to_owned(), error.kind());
        if kind == io::ErrorKind::Unsupported {
            return HostError::NoExclusiveRename { path };
        }
        if !matches!(kind, io::ErrorKind::AlreadyExists | io::ErrorKind::IsADirectory) {
            return HostError::io(HostOperation::Rename, name)(error);
        }
        let found = storage.inspect(name);
        if found.is_ok_and(|found| found.kind == FileKind::Directory) {
            HostError::DirectoryInPlace { path }
        } else {
            HostError::Exists { path }
        }
    })
}

#[cfg(test)]
mod tests;
