//! What files are called where something is told of them.

use crate::{catalog::FileRecord, units::FileName};

/// What a file is called: its name, and for a kept version which one it is, since another file has the name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Called {
    pub(super) name: FileName,
    pub(super) kept_version: Option<u32>,
}

impl Called {
    /// Returns what a file is called.
    pub(super) fn of(file: &FileRecord) -> Self {
        Self {
            name: file.name.clone(),
            kept_version: file.is_kept.then_some(file.version),
        }
    }
}

impl From<FileName> for Called {
    /// Calls what is no kept version by its name.
    fn from(name: FileName) -> Self {
        Self {
            name,
            kept_version: None,
        }
    }
}
