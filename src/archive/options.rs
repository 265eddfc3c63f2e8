//! Options of the operations.

use std::path::PathBuf;

use super::NameConflict;
use crate::{
    catalog::{Access, CatalogOptions},
    geometry::Policy,
    storage::Medium,
    units::Timestamp,
    volume::IoMode,
};

/// What an operation may use of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// Threads that hash, encode and do I/O; 0 is four for each processor, since I/O blocks.
    pub threads: usize,
    /// Memory for data in flight, in bytes; what is too little for one strip of the widest code is raised to that.
    pub memory_bytes: usize,
    /// Memory for pages of the catalog, in bytes.
    pub catalog_cache_bytes: usize,
    /// How extents are written, and read by scrubs, verifications and repairs.
    pub io: IoMode,
    /// What kind of disk files are stored on and read from; `None` asks the system, which does not know it everywhere (network,
    /// virtual machines, file systems that lie on several disks). Where one rotates, large files are moved a shard after the other,
    /// megabytes in one go, and otherwise column by column, which costs less of the processor. What is stored is the same.
    pub medium: Option<Medium>,
    /// Bytes of a file after which a commit notes how far it has come, so that it can go on from there after a crash; four times as many
    /// where volumes rotate. Shorter files are written again from their start.
    pub progress_bytes: u64,
    /// Bytes of journal behind the last checkpoint from which operations that store or remove take a new one when they are done,
    /// unless the last one is longer; 64 MiB by default. `u64::MAX` never does.
    pub checkpoint_bytes: u64,
}

impl Resources {
    /// Returns how the catalog is opened.
    pub(super) const fn catalog_cache(&self) -> CatalogOptions {
        CatalogOptions {
            cache_bytes: self.catalog_cache_bytes,
        }
    }
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            threads: 0,
            memory_bytes: 128 << 20,
            catalog_cache_bytes: 16 << 20,
            io: IoMode::Auto,
            medium: None,
            progress_bytes: 256 << 20,
            checkpoint_bytes: 64 << 20,
        }
    }
}

/// How an archive is made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArchiveOptions {
    /// Which lengths get which protection; recorded for good.
    pub policy: Policy,
    /// Directories of its volumes, each absent or empty, on a disk of its own where that can be had. Without any the archive
    /// gets one inside its own directory.
    pub volumes: Vec<PathBuf>,
    /// What operations may use.
    pub resources: Resources,
}

/// How an archive is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenOptions {
    /// Whether the archive may be changed.
    pub access: Access,
    /// Directories where volumes may be that are not where they were.
    pub volumes: Vec<PathBuf>,
    /// What operations may use.
    pub resources: Resources,
}

impl Default for OpenOptions {
    /// For reading.
    fn default() -> Self {
        Self {
            access: Access::Read,
            volumes: Vec::new(),
            resources: Resources::default(),
        }
    }
}

/// How a file is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitOptions {
    /// Permission bits that a restore gives the file.
    pub mode: u32,
    /// What happens to a name that is taken.
    pub name_conflict: NameConflict,
    /// Modification time that a restore gives the file; `None` is the time of the commit.
    pub modified_at: Option<Timestamp>,
}

impl Default for CommitOptions {
    fn default() -> Self {
        Self {
            mode: 0o644,
            name_conflict: NameConflict::Refuse,
            modified_at: None,
        }
    }
}
