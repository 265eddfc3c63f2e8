//! Undamaged originals that leaves may be taken from.

use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use crate::{host::SourceFile, units::FileName};

/// A directory that holds files under the names that they have in the archive.
#[derive(Debug, Clone)]
pub(super) struct Donor {
    directory: PathBuf,
}

/// One original. Nothing of it is believed: what is wrong there does not match its hash.
#[derive(Debug)]
pub(super) struct DonorFile(SourceFile);

impl Donor {
    pub(super) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_path_buf(),
        }
    }

    /// Opens the original of a file, if there is a regular file of the same length.
    pub(super) fn open(&self, name: &FileName, len_bytes: u64) -> Option<DonorFile> {
        let path = self.directory.join(std::ffi::OsStr::from_bytes(name.as_bytes()));
        // What cannot be opened is no donor, whatever the reason.
        let file = SourceFile::open(&path).ok()?;
        (file.identity().len_bytes == len_bytes).then_some(DonorFile(file))
    }
}

impl DonorFile {
    /// Fills `into` from an offset of the file; says whether that worked.
    pub(super) fn read_at(&self, offset: u64, into: &mut [u8]) -> bool {
        self.0.read_at(offset, into).is_ok()
    }
}
