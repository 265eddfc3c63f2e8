//! Where the parts of an archive lie that can be damaged: names and lengths of docs/format.md, section 3.

use std::path::PathBuf;

use bfdb::storage::Storage as _;

use crate::{SimulatedStorage, crashes::setting::ROOT};

/// The catalog, below the archive.
pub(super) const CATALOG: &str = "catalog.redb";

/// Length of each of the two slots of a volume.
pub(super) const SLOT_BYTES: u64 = 4096;

/// Copies of the journal of an archive with one volume.
pub const COPIES: u8 = 4;

/// Records of the journal and headers of its segments begin at a multiple of this.
pub(super) const JOURNAL_ALIGNMENT: usize = 4096;

pub(super) fn catalog() -> PathBuf {
    PathBuf::from(ROOT).join(CATALOG)
}

/// The file with both slots.
pub(super) fn slots() -> PathBuf {
    PathBuf::from(ROOT).join("volumes/v0/volume.bfv")
}

/// Returns the segments of a copy of the journal, oldest first.
pub(super) fn segments(disk: &SimulatedStorage, copy: u8) -> Vec<PathBuf> {
    let directory = PathBuf::from(ROOT).join(format!("volumes/v0/journal/c{copy}"));
    let names = disk.list(&directory).unwrap_or_default();
    names.into_iter().map(|name| directory.join(name)).collect()
}
