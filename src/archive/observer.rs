//! What an operation tells while it runs: progress and findings.

use super::{CommitOutcome, FileInfo, RestoreReceipt, Source};
pub use crate::plan::{DamageKind, DamagePart};
use crate::{
    error::{CommitError, RestoreError},
    plan::ColumnSet,
    units::{BlockIndex, ExtentId, FileName, ShardIndex, VolumeId},
};

/// Is told about progress and findings while an operation runs.
///
/// Called from several threads at once, between pieces of work; it should return at once, and must not begin another operation
/// of the same archive: the thread is one that such an operation may wait for. `()` ignores everything.
pub trait Observer: Send + Sync {
    /// Receives one event.
    ///
    /// Called from several threads at once, which wait for it: no other operation does, but those that read at the same time
    /// when it is about damage.
    fn event(&self, event: Event<'_>);

    /// Says whether the operation should end now, with an error that says so and everything undone that was not finished.
    ///
    /// Asked between pieces of work, from several threads at once; once true it stays true.
    fn is_cancelled(&self) -> bool {
        false
    }
}

impl Observer for () {
    fn event(&self, _: Event<'_>) {}
}

/// Is told what became of each source of [`Archive::commit_all`](super::Archive::commit_all).
pub trait CommitObserver: Observer {
    /// One source was stored, durably, or was not. The order is that of completion, not that of the sources, and its place
    /// is for messages only.
    ///
    /// Called from one thread at a time.
    fn source_done(&self, source: &Source, result: Result<CommitOutcome, CommitError>);
}

/// Is told what became of each entry of [`Snapshot::restore_all`](super::Snapshot::restore_all).
pub trait RestoreObserver: Observer {
    /// One entry was restored, or was not. The order is that of completion, not that of the names.
    ///
    /// Called from one thread at a time.
    fn entry_done(&self, entry: &FileInfo, result: Result<RestoreReceipt, RestoreError>);
}

/// Something that happened.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// So many more bytes of file content were stored, read or verified.
    Progress {
        /// Bytes since the last event of this kind.
        bytes: u64,
    },
    /// A commit that was interrupted goes on: what is done was verified, and counts as no progress of this attempt.
    GoingOn {
        /// The name.
        name: &'a FileName,
        /// Bytes of the file that are stored and are not written again.
        done_bytes: u64,
        /// Length of the file in bytes.
        len_bytes: u64,
    },
    /// Stored bytes are not what was stored.
    Damage(&'a Finding),
    /// A damaged shard was written anew elsewhere, durably, and is found there from now on.
    Repaired {
        /// The file.
        name: &'a FileName,
        /// Its version, where it is a kept one: another file has the name.
        kept_version: Option<u32>,
        /// The block of the file.
        block: BlockIndex,
        /// The shard of the block.
        shard: ShardIndex,
        /// The extent that it lies in now.
        extent: ExtentId,
    },
}

/// Damage in one shard, as a read, a verification or a scrub has met it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub name: FileName,
    /// Its version, where it is a kept one: another file has the name.
    pub kept_version: Option<u32>,
    /// The block of the file.
    pub block: BlockIndex,
    /// The shard of the block.
    pub shard: ShardIndex,
    /// Where the shard lies.
    pub volume: VolumeId,
    /// Where the shard lies.
    pub extent: ExtentId,
    /// Columns whose leaf is bad; empty when only the frame around the payload is.
    pub columns: ColumnSet,
    /// The part of the frame that is bad; payload, when several are.
    pub part: DamagePart,
    /// What is wrong with it.
    pub kind: DamageKind,
    /// Whether every byte of the file in this block can still be decoded.
    pub is_recoverable: bool,
}
