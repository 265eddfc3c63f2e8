//! Names of segments, and the directories that they lie in.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    error::{FileKind, HostOperation, JournalError},
    storage::Storage,
};

const SUFFIX: &str = ".bfj";

/// How many directories above the one of a copy may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// All that are missing.
    All,
    /// The directory of the copy and the one above it. More may mean that a disk is not there: its place is left alone.
    Two,
}

pub(super) fn segment_path(directory: &Path, segment: u32) -> PathBuf {
    directory.join(format!("{segment:08}{SUFFIX}"))
}

/// Lists the numbers of the segments in a directory, ascending; other names are passed over.
pub(super) fn list_segments(storage: &dyn Storage, directory: &Path) -> io::Result<Vec<u32>> {
    let names = storage.list(directory)?;
    let mut numbers: Vec<u32> = names
        .iter()
        .filter_map(|name| number_of(name.to_str()?))
        .collect();
    numbers.sort_unstable();
    Ok(numbers)
}

fn number_of(name: &str) -> Option<u32> {
    let digits = name.strip_suffix(SUFFIX)?;
    let number: u32 = digits.parse().ok()?;
    // One name for each number: no sign, no zeros too many.
    (number > 0 && format!("{number:08}") == digits).then_some(number)
}

/// Makes a directory and those above it that are missing; their names are durable on return.
///
/// The two above are synced whether they were there or not: a creation that was interrupted may have left them unsynced.
pub(super) fn make_directories(
    storage: &dyn Storage,
    directory: &Path,
    missing: Missing,
) -> Result<(), JournalError> {
    let mut to_make = Vec::new();
    for level in directory
        .ancestors()
        .filter(|level| !level.as_os_str().is_empty())
    {
        match storage.inspect(level) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => to_make.push(level),
            Err(error) => return Err(failed(HostOperation::Inspect, level)(error)),
            Ok(_) => break,
        }
    }
    if missing == Missing::Two && to_make.len() > 2 {
        return Err(failed(HostOperation::CreateDirectory, directory)(
            io::ErrorKind::NotFound.into(),
        ));
    }
    for level in to_make.iter().rev() {
        match storage.create_directory(level) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(HostOperation::CreateDirectory, level)(error));
            }
            _ => sync_above(storage, level)?,
        }
    }
    let found = storage
        .inspect(directory)
        .map_err(failed(HostOperation::Inspect, directory))?;
    if found.kind != FileKind::Directory {
        let error = io::ErrorKind::NotADirectory.into();
        return Err(failed(HostOperation::CreateDirectory, directory)(error));
    }
    sync_above(storage, directory)?;
    directory
        .parent()
        .map_or(Ok(()), |above| sync_above(storage, above))
}

/// Makes the name of `path` durable.
fn sync_above(storage: &dyn Storage, path: &Path) -> Result<(), JournalError> {
    match path.parent() {
        None => Ok(()),
        Some(above) => {
            let above = if above.as_os_str().is_empty() {
                Path::new(".")
            } else {
                above
            };
            storage
                .sync_directory(above)
                .map_err(failed(HostOperation::Sync, above))
        }
    }
}

/// Makes a closure for `map_err` that says what was tried and on what.
pub(super) fn failed(operation: HostOperation, path: &Path) -> impl FnOnce(io::Error) -> JournalError {
    let path = path.to_path_buf();
    move |source| JournalError::Io {
        operation,
        path,
        source,
    }
}
