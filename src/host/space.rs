//! Free space and failure domains, as far as the system tells.

use std::{
    fs,
    os::{fd::AsFd, unix::fs::MetadataExt as _},
    path::Path,
};

use rustix::fs::{Advice, Mode, OFlags, StatVfs, fadvise, fstatvfs, open, statvfs};

use crate::error::{HostError, HostOperation};

/// Returns how many bytes an ordinary user may still write to the file system that `path` is on.
///
/// A file system that does not count has `u64::MAX`. Somebody else may take them the moment after: reserve space, do not count on it.
///
/// # Errors
/// [`HostError::Io`] when there is nothing at `path` or it cannot be asked.
pub fn free_bytes(path: &Path) -> Result<u64, HostError> {
    let found = statvfs(path).map_err(HostError::io(HostOperation::MeasureSpace, path))?;
    Ok(free_bytes_in(&found))
}

/// Returns the same as [`free_bytes`] for an open file; `path` is for the message only.
pub(super) fn free_bytes_of(file: impl AsFd, path: &Path) -> Result<u64, HostError> {
    let found = fstatvfs(file).map_err(HostError::io(HostOperation::MeasureSpace, path))?;
    Ok(free_bytes_in(&found))
}

/// A file system without a size does not count at all (some in user space): then only trying tells.
fn free_bytes_in(found: &StatVfs) -> u64 {
    if found.f_blocks == 0 {
        u64::MAX
    } else {
        found.f_bavail.saturating_mul(found.f_frsize)
    }
}

/// Says whether two paths are on the same file system: then one disk may take both.
///
/// "No" proves little: two file systems may be on one disk, and the subvolumes of one file system count as two.
///
/// # Errors
/// [`HostError::Io`] when either cannot be inspected.
pub fn same_device(a: &Path, b: &Path) -> Result<bool, HostError> {
    let device = |path: &Path| {
        fs::metadata(path)
            .map(|found| found.dev())
            .map_err(HostError::io(HostOperation::Inspect, path))
    };
    Ok(device(a)? == device(b)?)
}

/// Lets the system forget what it has read or written of a file, as far as that is on disk or was given up, so that the next
/// read shows what the disk has. After a sync that failed the pages still hold what never arrived.
///
/// # Errors
/// [`HostError::Io`] when the file cannot be opened or the system does not take the advice.
pub fn forget_cached(path: &Path) -> Result<(), HostError> {
    let file = open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .map_err(HostError::io(HostOperation::Open, path))?;
    fadvise(&file, 0, None, Advice::DontNeed).map_err(HostError::io(HostOperation::Read, path))
}

/// Returns the length of a file in bytes.
///
/// # Errors
/// [`HostError::Io`] when it is not there.
pub fn file_len_bytes(path: &Path) -> Result<u64, HostError> {
    let metadata = fs::metadata(path).map_err(HostError::io(HostOperation::Inspect, path))?;
    Ok(metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_a_believable_number_and_nowhere_has_none() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let free = free_bytes(directory.path()).expect("space");
        assert!(free > 0 && free < 1 << 60, "{free} bytes are not believable");
        let file = tempfile::tempfile_in(directory.path()).expect("a temporary file");
        let free_there = free_bytes_of(&file, Path::new("file")).expect("space");
        assert!(
            free_there > 0 && free_there < 1 << 60,
            "{free_there} bytes are not believable"
        );
        let uncounted = free_bytes(Path::new("/proc")).expect("an answer");
        assert_eq!(uncounted, u64::MAX, "only trying tells");
        assert!(
            free_bytes(&directory.path().join("missing"))
                .expect_err("nothing there")
                .is_not_found()
        );
    }

    #[test]
    fn a_directory_shares_its_device_with_what_is_in_it_and_not_with_proc() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let inner = directory.path().join("inner");
        fs::create_dir(&inner).expect("a directory");
        assert!(same_device(directory.path(), &inner).expect("both there"));
        assert!(!same_device(directory.path(), Path::new("/proc")).expect("both there"));
        assert!(same_device(directory.path(), &directory.path().join("missing")).is_err());
    }
}
