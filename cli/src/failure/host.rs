//! What the errors of the host, of volumes and of what stands on them mean.

use std::io;

use bfdb::error::{BufferError, FormatError, HostError, VolumeError};

use super::Meaning;

pub(crate) fn host_error(error: &HostError) -> Meaning {
    match error {
        HostError::Locked { .. } | HostError::InUse { .. } => Meaning::Locked,
        HostError::Io { .. }
        | HostError::Read { .. }
        | HostError::NotRegular { .. }
        | HostError::NotDirectory { .. }
        | HostError::DirectoryLoop { .. }
        | HostError::SourceShrunk { .. }
        | HostError::SourceChanged { .. }
        | HostError::Exists { .. }
        | HostError::DirectoryInPlace { .. }
        | HostError::Full { .. }
        | HostError::Incomplete { .. }
        | HostError::NoExclusiveRename { .. }
        | HostError::Randomness { .. }
        | _ => Meaning::Failed,
    }
}

/// Says whether something was to be entered that is no directory.
pub(super) fn is_not_a_directory(error: &HostError) -> bool {
    let is_refused = |source: &io::Error| source.kind() == io::ErrorKind::NotADirectory;
    matches!(error, HostError::NotDirectory { .. })
        || matches!(error, HostError::Io { source, .. } if is_refused(source))
}

pub(super) fn volume_error(error: &VolumeError) -> Meaning {
    match error {
        VolumeError::Absent { .. }
        | VolumeError::Missing { .. }
        | VolumeError::Truncated { .. }
        | VolumeError::Exists { .. }
        | VolumeError::Full { .. }
        | VolumeError::Poisoned { .. }
        | VolumeError::Sealed { .. }
        | VolumeError::Create { .. }
        | VolumeError::Open { .. }
        | VolumeError::Read { .. }
        | VolumeError::Write { .. }
        | VolumeError::Preallocate { .. }
        | VolumeError::Truncate { .. }
        | VolumeError::Punch { .. }
        | VolumeError::Sync { .. }
        | VolumeError::Remove { .. }
        | VolumeError::List { .. }
        | VolumeError::FreeSpace { .. }
        | VolumeError::ReadSlot { .. }
        | VolumeError::WriteSlot { .. }
        | VolumeError::Directory { .. }
        | VolumeError::InUse { .. }
        | _ => Meaning::Failed,
    }
}

pub(super) fn format_error(error: &FormatError) -> Meaning {
    let is_newer = match error {
        // Where neither slot can be used, one that is only too new is the reason.
        FormatError::NoValidSlot { first, second } => {
            first.needs_newer_version() || second.needs_newer_version()
        }
        FormatError::Truncated { .. }
        | FormatError::Magic { .. }
        | FormatError::Checksum { .. }
        | FormatError::NewerVersion { .. }
        | FormatError::UnknownVersion { .. }
        | FormatError::UnknownKind { .. }
        | FormatError::UnknownTransform { .. }
        | FormatError::ReservedInUse { .. }
        | FormatError::UnsupportedFeature { .. }
        | FormatError::LeafLen { .. }
        | FormatError::FileLeaves { .. }
        | FormatError::Shape { .. }
        | FormatError::Geometry { .. }
        | FormatError::NoSuchShard { .. }
        | FormatError::PayloadLen { .. }
        | FormatError::StoredLen { .. }
        | FormatError::LeafCount { .. }
        | FormatError::FrameLen { .. }
        | FormatError::FrameOffset { .. }
        | FormatError::Footer { .. }
        | FormatError::SlotPlace { .. }
        | FormatError::SlotsDisagree { .. }
        | _ => error.needs_newer_version(),
    };
    if is_newer {
        Meaning::NewerFormat
    } else {
        Meaning::Failed
    }
}

pub(super) fn buffer_error(error: &BufferError) -> Meaning {
    match error {
        BufferError::OverBudget { .. } | BufferError::Map { .. } | _ => Meaning::Failed,
    }
}
