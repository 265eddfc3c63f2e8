//! What every reader of an archive sees: files, blocks, extents, volumes and sums over them, in one database file.
//!
//! The only module that names redb and postcard. Row layouts are in docs/catalog.md, which is normative.
//!
//! Promises:
//! * A transaction is wholly there or not at all, and durable when [`CatalogWriter::commit`] returns. An error of that
//!   function is the only one that leaves a question: [`CatalogError::CommitOutcomeUnknown`].
//! * Every row carries a checksum over table, key and body, and is parsed into checked types; a recorded count of rows
//!   notices missing ones. So a reader gets what was written or [`CatalogError::Damaged`], never something else. (One thing
//!   it cannot know: whether the whole file is an older one. The epoch, compared with the journal, tells.)
//! * No panic leaves the module because of what is on disk, as long as panics unwind. The default panic hook still prints;
//!   a process that minds installs its own.
//! * Ids are never given twice once the transaction that took them is committed: no byte may be written under an id before.
//!
//! Invariant: knows no volume, no journal and no clock. It is told where bytes lie and never looks there.
//!
//! Several processes, and several [`Catalog`]s in one, may have the same file open; one write transaction exists at a
//! time, and [`Catalog::write`] waits for it.

mod application;
mod backend;
mod checkpoint;
mod damage;
pub mod descriptor;
mod descriptors;
mod freed;
mod group_damage;
mod guard;
mod health;
mod health_query;
mod insertion;
mod intents;
mod listing;
mod locking;
mod look;
mod open;
mod overlay;
mod pages;
mod proof;
mod publication;
mod reader;
mod records;
mod relocation;
mod removal;
mod renaming;
mod reopening;
mod room;
mod rows;
mod slice;
mod source;
mod tables;
#[cfg(test)]
pub(crate) mod tests;
mod verified;
mod versions;
mod whole;
mod writer;

use core::fmt;
use std::sync::{Mutex, PoisonError};

pub use checkpoint::{Checkpoint, CheckpointStep, Checkpoints, Generation};
pub use damage::Knowledge;
pub use descriptors::{Described, DescriptorRecord};
pub use health::{DamageRecord, DamagedBlock, DamagedFile, FileState, HealthTotals, VolumeCounters};
pub use intents::{
    IntentRecord, LegPosition, LegRecord, ProgressRecord, Replaces, ResumableRecord, SourceRecord,
};
pub use look::Look;
pub use publication::{
    Founding, GivenVersion, NextIds, Publication, PublishedExtent, Renaming, Touch, VolumeChange,
};
pub use reader::CatalogReader;
pub use records::{
    ArchiveRecord, BlockRecord, EntryKind, ExtentRecord, ExtentState, FileRecord, KeptTotals, Relocation,
    ShardAddress, ShardOwner, ShardPlace, ShardRecord, TierTotals, Totals, VolumeRecord, VolumeState,
};
pub use renaming::RenamingSize;
pub use room::TransactionSize;
pub use slice::{Slice, Slices};
pub use verified::{Scrubbed, Verified};
pub use writer::CatalogWriter;

use crate::error::CatalogError;
use open::Origin;
use reopening::Slot;

/// Format of archives that this version creates, and the newest that it opens.
pub const FORMAT_VERSION: u16 = 1;

/// Required features that this version knows: none so far.
pub const SUPPORTED_FEATURES: u64 = 0;

/// Catalogs up to this length are checked whole whenever they are opened for writing, in bytes.
pub const SMALL_CATALOG_LEN_BYTES: u64 = 16 * 1024 * 1024;

/// How a catalog is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogOptions {
    /// Memory for pages of the database, in bytes; 32 MiB by default, at most 1 GiB whatever is asked for.
    pub cache_bytes: usize,
}

impl CatalogOptions {
    const MAX_CACHE_BYTES: usize = 1024 * 1024 * 1024;
}

impl Default for CatalogOptions {
    fn default() -> Self {
        Self {
            cache_bytes: 32 * 1024 * 1024,
        }
    }
}

/// What a catalog is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Reading, beside any writers.
    Read,
    /// Reading and writing, beside any readers and other writers.
    Write,
}

/// When opening verifies the checksum of every page first. That reads the whole file and keeps other writers waiting.
///
/// Opening for [`Access::Read`] keeps nobody waiting, and never verifies the pages of a longer file than
/// [`SMALL_CATALOG_LEN_BYTES`]: there damage is noticed row by row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// When the file is not longer than [`SMALL_CATALOG_LEN_BYTES`]: the rule when nothing looks wrong.
    WhenSmall {
        /// Length of the catalog file, in bytes.
        file_len_bytes: u64,
    },
    /// Always: the rule when a writer has died, or something else looks wrong.
    Always,
}

impl Check {
    const fn is_due(self) -> bool {
        match self {
            Self::WhenSmall { file_len_bytes } => file_len_bytes <= SMALL_CATALOG_LEN_BYTES,
            Self::Always => true,
        }
    }
}

/// An open catalog.
///
/// The database refuses everything after the first read or write that the system failed, for lack of room say. The next
/// [`Self::read`] or [`Self::write`] after that opens the file anew, mends and verifies all of it, which may wait for a writer
/// of another process, and fails again while the file takes no write; readers of before keep failing.
///
/// Shared by reference between threads. [`Self::close`] it: a drop closes too, but tells nobody when that fails.
pub struct Catalog {
    archive: ArchiveRecord,
    has_damaged_pages: bool,
    origin: Origin,
    slot: Mutex<Slot>,
}

impl Catalog {
    /// Returns the archive that the catalog belongs to.
    pub const fn archive(&self) -> &ArchiveRecord {
        &self.archive
    }

    /// Says whether opening for reading has found pages that are not what was written. Every answer may be an old one then, or
    /// lack something; damaged rows are noticed as always.
    pub const fn has_damaged_pages(&self) -> bool {
        self.has_damaged_pages
    }

    /// Begins to read the state of this moment.
    ///
    /// Keep it short: while a reader lives, the space of what it may still see is not used again.
    ///
    /// # Errors
    /// [`CatalogError::MustReopen`] when the file has to be opened anew and a writer of before still lives; others when the
    /// file cannot be read.
    pub fn read(&self) -> Result<CatalogReader, CatalogError> {
        self.with_opened(|opened| {
            let source = opened.handle.begin_read(&opened.guard)?;
            Ok(CatalogReader::new(source, opened.guard.clone()))
        })
    }

    /// Begins a write transaction; waits while another one exists, in this process or any other.
    ///
    /// # Errors
    /// [`CatalogError::ReadOnly`] when the catalog was opened for reading; others as for [`Self::read`].
    pub fn write(&self) -> Result<CatalogWriter, CatalogError> {
        match self.origin.access {
            Access::Read => Err(CatalogError::ReadOnly),
            Access::Write => self.with_opened(|opened| {
                let source = opened.handle.begin_write(&opened.guard)?;
                CatalogWriter::new(source, opened.guard.clone())
            }),
        }
    }

    /// Closes the file. Readers that still live fail from now on.
    ///
    /// # Errors
    /// [`CatalogError::WriterOpen`] when a write transaction lives: the file closes when that ends. Others when the last
    /// bookkeeping could not be written; everything committed is there, the next open may take longer.
    pub fn close(self) -> Result<(), CatalogError> {
        let slot = self.slot.into_inner().unwrap_or_else(PoisonError::into_inner);
        match slot.opened {
            Some(opened) => opened.close(),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Catalog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Catalog")
            .field("archive", &self.archive)
            .field("access", &self.origin.access)
            .finish_non_exhaustive()
    }
}
