//! Where something is on the host.

use std::{
    ffi::OsStr,
    fs,
    os::unix::{ffi::OsStrExt as _, fs::MetadataExt as _},
    path::{Path, PathBuf},
};

use super::{open::kind_of, source::SourceIdentity};
use crate::error::{FileKind, HostError, HostOperation};

/// Where something is on the host.
#[derive(Debug, Clone)]
pub struct Place {
    path: PathBuf,
}

impl Place {
    /// Names the place at a path; touches nothing.
    pub fn of_path(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }

    /// Returns the path, for messages: what it leads to may have changed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Says what is there now; a symbolic link is not followed.
    ///
    /// # Errors
    /// [`HostError::Io`] when nothing is, or it cannot be asked.
    pub fn inspect(&self) -> Result<(FileKind, SourceIdentity), HostError> {
        let found =
            fs::symlink_metadata(&self.path).map_err(HostError::io(HostOperation::Inspect, &self.path))?;
        Ok((kind_of(found.mode()), SourceIdentity::of(&found)))
    }

    /// Returns where the symbolic link that is there leads.
    ///
    /// # Errors
    /// [`HostError::Io`] when there is none, or it cannot be read.
    pub fn read_link(&self) -> Result<Box<[u8]>, HostError> {
        let target = fs::read_link(&self.path).map_err(HostError::io(HostOperation::Inspect, &self.path))?;
        Ok(OsStr::as_bytes(target.as_os_str()).into())
    }
}
