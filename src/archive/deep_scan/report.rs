//! What a deep scan tells.

use crate::units::FileName;

/// Names of entries that were left out that a report lists.
pub(super) const MOST_NAMES: usize = 1000;

/// What a deep scan has found, and what it has made of it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct DeepScanReport {
    /// Bytes of the extents that were gone through.
    pub scanned_bytes: u64,
    /// Bytes of sectors that could not be read.
    pub unreadable_bytes: u64,
    /// Frames that say that they are of this archive, and stand where they say.
    pub frames: u64,
    /// Frames of files that no descriptor names; they are left alone.
    pub frames_unnamed: u64,
    /// Their length in bytes.
    pub unnamed_bytes: u64,
    /// Frames of files that were written anew elsewhere; they are left alone too.
    pub frames_superseded: u64,
    /// Extents in which nothing says that it belongs there: copies, or of another archive. They are left alone.
    pub foreign_extents: u64,
    /// Commits whose descriptors were read.
    pub descriptors: u64,
    /// What commits have written about their files and cannot be read any more.
    pub descriptors_lost: u64,
    /// Shards of descriptors that were not found; they can be read all the same.
    pub descriptor_shards_missing: u64,
    /// Entries under `recovered/`: of each name the newest of which anything was found.
    pub offered: u64,
    /// Entries under `recovered-older/`.
    pub older: u64,
    /// Entries among both of which some shards were not found; a scrub tells of them.
    pub incomplete: u64,
    /// Files among those of which more is missing than their code survives.
    pub unreadable: u64,
    /// Shards of entries that were not found.
    pub shards_missing: u64,
    /// Extents that were to hold them and are on no volume that was found.
    pub missing_extents: u64,
    /// Entries of which nothing was found: they were removed, or all of them is on volumes that are missing.
    pub left_out: u64,
    /// The first thousand of their names.
    pub left_out_names: Vec<FileName>,
    /// Numbers of volumes that there must have been and that were not found: they are missing, or were removed.
    pub missing_volumes: Vec<u16>,
}

impl DeepScanReport {
    /// Says whether nothing points to a volume or an extent that was not found, or to something that could not be read. What
    /// nothing points to any more nobody can say.
    pub fn is_complete(&self) -> bool {
        self.missing_volumes.is_empty()
            && self.missing_extents == 0
            && self.descriptors_lost == 0
            && self.descriptor_shards_missing == 0
            && self.unreadable_bytes == 0
    }
}
