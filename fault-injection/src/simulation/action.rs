//! What happens to a disk, as values that can be done again to another state of it.

use std::{ffi::OsStr, ops::Range, path::Path, sync::Arc};

use super::{
    content::Payload,
    faults::{Fault, OperationKind},
};

/// Which file or directory something is, whatever its name. Never given twice on one disk and its images.
pub(super) type Inode = u64;

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub(super) directory: Inode,
    pub(super) name: Arc<OsStr>,
}

/// A change of a disk, or a sync.
#[derive(Debug, Clone)]
pub(super) enum Action {
    CreateFile { name: Name, inode: Inode },
    CreateDirectory { name: Name, inode: Inode },
    Write { inode: Inode, payload: Payload },
    SetLen { inode: Inode, len_bytes: u64 },
    Allocate { inode: Inode, range: Range<u64> },
    Punch { inode: Inode, range: Range<u64> },
    Rename { from: Name, to: Name, inode: Inode },
    Remove { name: Name },
    SyncFile { inode: Inode },
    SyncDirectory { inode: Inode },
}

/// How much of an action happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// All of it.
    Whole,
    /// Of a write: length and blocks, no bytes.
    SizeOnly,
    /// Of a renaming: the new name, beside the old one.
    AddedOnly,
    /// Of a renaming: the old name goes.
    RemovedOnly,
}

impl Action {
    /// Returns the file whose bytes or length it changes.
    pub(super) const fn changed_file(&self) -> Option<Inode> {
        match self {
            Self::Write { inode, .. }
            | Self::SetLen { inode, .. }
            | Self::Allocate { inode, .. }
            | Self::Punch { inode, .. } => Some(*inode),
            Self::CreateFile { .. }
            | Self::CreateDirectory { .. }
            | Self::Rename { .. }
            | Self::Remove { .. }
            | Self::SyncFile { .. }
            | Self::SyncDirectory { .. } => None,
        }
    }

    /// Returns what gets a name by it.
    pub(super) const fn named(&self) -> Option<Inode> {
        match self {
            Self::CreateFile { inode, .. }
            | Self::CreateDirectory { inode, .. }
            | Self::Rename { inode, .. } => Some(*inode),
            Self::Write { .. }
            | Self::SetLen { .. }
            | Self::Allocate { .. }
            | Self::Punch { .. }
            | Self::Remove { .. }
            | Self::SyncFile { .. }
            | Self::SyncDirectory { .. } => None,
        }
    }

    pub(super) const fn kind(&self) -> OperationKind {
        match self {
            Self::CreateFile { .. } => OperationKind::CreateFile,
            Self::CreateDirectory { .. } => OperationKind::CreateDirectory,
            Self::Write { .. } => OperationKind::Write,
            Self::SetLen { .. } => OperationKind::SetLen,
            Self::Allocate { .. } => OperationKind::Allocate,
            Self::Punch { .. } => OperationKind::Punch,
            Self::Rename { .. } => OperationKind::Rename,
            Self::Remove { .. } => OperationKind::Remove,
            Self::SyncFile { .. } => OperationKind::SyncFile,
            Self::SyncDirectory { .. } => OperationKind::SyncDirectory,
        }
    }

    /// Returns which bytes of a file it is about: for a length from 0 to the end that was asked for.
    pub(super) fn range(&self) -> Range<u64> {
        match self {
            Self::Write { payload, .. } => payload.range(),
            Self::SetLen { len_bytes, .. } => 0..*len_bytes,
            Self::Allocate { range, .. } | Self::Punch { range, .. } => range.clone(),
            Self::CreateFile { .. }
            | Self::CreateDirectory { .. }
            | Self::Rename { .. }
            | Self::Remove { .. }
            | Self::SyncFile { .. }
            | Self::SyncDirectory { .. } => 0..0,
        }
    }
}

/// One mutating operation, as it stands in the timeline.
#[derive(Debug, Clone)]
pub struct Operation {
    pub(super) number: u64,
    pub(super) path: Arc<Path>,
    pub(super) action: Action,
    pub(super) outcome: Outcome,
    pub(super) injected: Option<Fault>,
}

/// What an operation did to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// All that its action says.
    Done,
    /// Nothing: it was made to fail.
    Nothing,
    /// A sync that failed and dropped the bytes that it was for.
    DroppedBytes,
}

impl Operation {
    /// Returns its number in the timeline; the first is 1.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// Returns what was asked.
    pub const fn kind(&self) -> OperationKind {
        self.action.kind()
    }

    /// Returns the path that it was asked for; for a handle the one that it was opened by, for a renaming the old one.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns which bytes of the file it is about; empty where it is about none. Of a write that was cut short, the part
    /// that was written.
    pub fn range(&self) -> Range<u64> {
        self.action.range()
    }

    /// Returns the bytes of a write.
    pub fn written(&self) -> Option<Vec<u8>> {
        if let Action::Write { payload, .. } = &self.action {
            Some(payload.bytes())
        } else {
            None
        }
    }

    /// Returns the fault that was done to it.
    pub const fn injected(&self) -> Option<Fault> {
        self.injected
    }

    /// Says whether the disk changed by it, syncs included.
    pub fn took_effect(&self) -> bool {
        self.outcome == Outcome::Done
    }
}
