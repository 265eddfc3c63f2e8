//! Why an operation on the journal failed.

use std::{fmt, io, path::PathBuf};

use super::HostOperation;
use crate::units::Epoch;

/// Why a [`Journal`](crate::journal::Journal) could not do what it was asked.
///
/// What is wrong with one copy while another serves is not an error but a
/// [`JournalFinding`](crate::journal::JournalFinding).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// An operation that the system refused.
    #[error("{operation} {} failed", path.display())]
    Io {
        /// What was tried.
        operation: HostOperation,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// No room for a record; nothing was appended.
    #[error("{} needs {needed_bytes} bytes more for the journal, {free_bytes} are free", path.display())]
    Full {
        /// The segment that was to grow.
        path: PathBuf,
        /// Bytes that it wanted in addition.
        needed_bytes: u64,
        /// Bytes that were free when it failed; quotas may have stopped it earlier than this number says.
        free_bytes: u64,
    },
    /// A record has no room for such a body.
    #[error("a journal record holds at most {max_bytes} bytes, not {body_len_bytes}")]
    TooLong {
        /// Bytes of the body.
        body_len_bytes: u64,
        /// The most there may be.
        max_bytes: u64,
    },
    /// A journal was to be made where records are.
    #[error("{} holds records: a new journal is made only where there is none", path.display())]
    InUse {
        /// The segment that holds something.
        path: PathBuf,
    },
    /// No copy can be written to.
    #[error("no copy of the journal can be written to")]
    NoCopy,
    /// The archive went two ways: both heads are valid and neither follows the other.
    #[error("the journal has two heads, {first} and {second}")]
    Forked {
        /// One head.
        first: ChainHead,
        /// The other.
        second: ChainHead,
    },
    /// The catalog knows more than the journal.
    #[error("the journal ends at {journal}, the catalog has come to {catalog}")]
    Behind {
        /// The newest record that can be read.
        journal: ChainHead,
        /// What was to follow.
        catalog: ChainHead,
    },
    /// A record does not follow what it was to be written behind.
    #[error("the record of epoch {record} does not follow epoch {state}")]
    NotNext {
        /// Where the journal is.
        state: Epoch,
        /// The record.
        record: Epoch,
    },
    /// The chain that was scanned has no record of that epoch.
    #[error("the journal has no record of epoch {epoch}")]
    NotInChain {
        /// The epoch asked for.
        epoch: Epoch,
    },
    /// A record that a scan found can be read from no copy any more.
    #[error("the journal record of epoch {epoch} can be read from no copy")]
    Lost {
        /// The epoch of the record.
        epoch: Epoch,
    },
    /// The directory has a segment of the last number there is.
    #[error("{} has no number left for a new segment", directory.display())]
    NoNumber {
        /// The directory of the copy.
        directory: PathBuf,
    },
}

impl JournalError {
    /// Says whether the operation failed because there is no room, so that freeing some may help.
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}

/// Why a record was not appended, and what that means for it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AppendError {
    /// It failed before any byte of the record was handed over: the record is not in the journal.
    #[error("nothing was written to the journal")]
    NothingWritten {
        /// Why not.
        #[source]
        source: JournalError,
    },
    /// Bytes were handed over, and no copy could be synced: the record may survive or not. Nothing more is appended by
    /// this journal.
    #[error("whether the record of epoch {epoch} is in the journal is not known")]
    OutcomeUnknown {
        /// The record.
        epoch: Epoch,
        /// What the last copy said.
        #[source]
        source: JournalError,
    },
    /// The outcome of an earlier append is unknown: the journal must be opened anew, and its tail be looked at.
    #[error("an earlier append to the journal has an unknown outcome")]
    Poisoned,
}

/// Why bytes do not say how far a journal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JournalStateError {
    /// Not the length that follows from the number of copies.
    #[error("no state of a journal has {found_bytes} bytes and such a number of copies")]
    Len {
        /// Length found.
        found_bytes: usize,
    },
    /// Another layout.
    #[error("the state of the journal has version {found}, this bfdb reads 1")]
    Version {
        /// Version found.
        found: u16,
    },
    /// A reserved byte that is not 0.
    #[error("a reserved byte in the state of the journal is not 0")]
    Reserved,
    /// A hash before the first record, or none behind it.
    #[error("the state of the journal has a hash that epoch {epoch} cannot have")]
    Head {
        /// Epoch found.
        epoch: Epoch,
    },
    /// No record may begin there.
    #[error("no journal record begins at {end_bytes}")]
    Position {
        /// Position found.
        end_bytes: u64,
    },
    /// Copies that are not in ascending order.
    #[error("the copies of the journal are not in order")]
    Order,
    /// More is forgotten than was ever written.
    #[error("up to epoch {forgotten} is forgotten, and the last one is {epoch}")]
    Forgotten {
        /// The last one that is forgotten.
        forgotten: Epoch,
        /// The last one.
        epoch: Epoch,
    },
}

/// A record that ends a chain: its epoch and its hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChainHead {
    /// Epoch of the record; zero where there is none.
    pub epoch: Epoch,
    /// Its chain hash as it stands on disk; zeros where there is none.
    pub hash: [u8; 32],
}

impl fmt::Display for ChainHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {} (", self.epoch)?;
        self.hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        write!(f, ")")
    }
}
