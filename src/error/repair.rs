//! Errors of repairs.

use super::{CatalogError, CommitError, VolumeError};
use crate::units::{BlockIndex, FileName, ShardIndex};

/// Why a repair has ended before its end; what it has told of is repaired, durably.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// The observer asked for an end.
    #[error("interrupted; what was repaired stays repaired")]
    Cancelled,
    /// No file of that name or below it is stored.
    #[error("no file named {name} in this archive, nor anything below it")]
    NotFound {
        /// The name.
        name: FileName,
    },
    /// The catalog failed.
    #[error("the catalog cannot be used")]
    Catalog {
        /// Why.
        #[from]
        source: CatalogError,
    },
    /// What was made anew cannot be stored.
    #[error("what was made anew cannot be stored")]
    Store {
        /// Why.
        #[source]
        source: CommitError,
    },
    /// The system refused to read for a reason that has to do with this process; nothing is known to be damaged by that. What could be
    /// repaired without is.
    #[error(
        "the system does not let this process read all that is stored; what could be repaired without is"
    )]
    Refused {
        /// What was refused.
        #[source]
        source: VolumeError,
    },
    /// What was stored anew reads back as something else: the disk or the memory is not to be trusted. Nothing was changed.
    #[error(
        "shard {shard} of block {block} of {name} reads back wrong right after it was written: the disk or the memory of this \
         machine is not to be trusted, and nothing was changed"
    )]
    ReadBack {
        /// The file.
        name: FileName,
        /// The block of the file.
        block: BlockIndex,
        /// The shard of the block.
        shard: ShardIndex,
    },
}

impl From<CommitError> for RepairError {
    fn from(source: CommitError) -> Self {
        if let CommitError::Catalog { source } = source {
            return Self::Catalog { source };
        }
        if matches!(source, CommitError::Cancelled) {
            return Self::Cancelled;
        }
        Self::Store { source }
    }
}
