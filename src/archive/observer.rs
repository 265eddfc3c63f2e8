//! What an operation tells while it runs: progress and findings.

use crate::{
    plan::ColumnSet,
    units::{BlockIndex, ExtentId, FileName, ShardIndex, VolumeId},
};

/// Is told about progress and findings while an operation runs.
///
/// Called from several threads at once, between pieces of work; it should return at once. `()` ignores everything.
pub trait Observer: Send + Sync {
    /// Receives one event.
    fn event(&self, event: Event<'_>);
}

impl Observer for () {
    fn event(&self, _: Event<'_>) {}
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
    /// Stored bytes are not what was stored.
    Damage(&'a Finding),
}

/// Damage in one shard, as a read, a verification or a scrub has met it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub name: FileName,
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

/// The part of a frame that damage was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DamagePart {
    /// The header.
    Header,
    /// A copy of the leaf table.
    Table,
    /// The footer.
    Footer,
    /// The payload.
    Payload,
}

/// How stored bytes are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum DamageKind {
    /// The bytes do not match their hash.
    Checksum,
    /// A frame that belongs elsewhere.
    Misplaced,
    /// The storage refuses to read them.
    IoError,
    /// The extent is gone, or ends before them.
    Missing,
}
