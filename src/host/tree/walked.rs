//! What a walk finds.

use std::{fmt, path::PathBuf};

use crate::{
    error::{FileKind, HostError},
    host::place::Place,
};

/// What a walk has to say.
#[derive(Debug)]
pub enum Walked {
    /// A file, a directory or a symbolic link.
    Entry(TreeEntry),
    /// Something that cannot or must not be stored.
    Skipped {
        /// Where it is.
        path: PathBuf,
        /// Why it is skipped.
        why: SkipReason,
    },
    /// Something that could not be looked at: of a directory, what is missing is all below it, or what had not been
    /// listed yet. [`HostError::Io`] with `NotFound` when it vanished after it was listed.
    Failed {
        /// Where it is.
        path: PathBuf,
        /// Why it could not.
        error: HostError,
    },
}

/// Something that a walk has found.
#[derive(Debug, Clone)]
pub struct TreeEntry {
    /// Where it is.
    pub place: Place,
    /// The bytes of its path below the root, parts separated by `/`; empty for the root itself.
    pub below: Vec<u8>,
    /// What its directory says it is. [`Walked::Entry`] has regular files, directories and symbolic links only; a filter is
    /// asked about the others too.
    pub kind: FileKind,
}

/// Why something is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SkipReason {
    /// It has no content that could be stored: a fifo, a socket, a device.
    SpecialFile(FileKind),
    /// It is one of the [`ExcludedDirectories`](super::ExcludedDirectories), or the root of the walk lies in one.
    ArchiveItself,
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SpecialFile(kind) => kind.fmt(f),
            Self::ArchiveItself => f.write_str("part of the archive itself"),
        }
    }
}
