//! Free space and failure domains, as far as the system tells.

use std::{
    fs,
    os::{fd::AsFd, unix::fs::MetadataExt as _},
    path::Path,
};

use rustix::fs::{StatVfs, fstatvfs};

use crate::error::{HostError, HostOperation};

/// Returns how many bytes an ordinary user may still write to the file system that a file is on; `path` is for the message
/// only. A file system that does not count has `u64::MAX`.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn free_space_is_a_believable_number() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = tempfile::tempfile_in(directory.path()).expect("a temporary file");
        let free_there = free_bytes_of(&file, Path::new("file")).expect("space");
        assert!(
            free_there > 0 && free_there < 1 << 60,
            "{free_there} bytes are not believable"
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
