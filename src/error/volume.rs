//! Why an operation on a volume failed.

use std::io;
use std::path::PathBuf;

use super::refusal::refusal;
use crate::units::{ExtentId, VolumeId};

/// Why a [`Volume`](crate::volume::Volume) or one of its writers could not do what it was asked.
///
/// A missing extent, a short one and a failing disk are different variants, because the first two are damage that a
/// scrub records and the third may pass.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VolumeError {
    /// The volume is not there: nothing is known of what it holds, and nothing of it is lost by that.
    #[error("volume {volume} is not there")]
    Absent {
        /// The volume.
        volume: VolumeId,
    },
    /// The volume has no such extent.
    #[error("extent {extent} is missing on volume {volume}")]
    Missing {
        /// Where it was looked for.
        volume: VolumeId,
        /// What was looked for.
        extent: ExtentId,
    },
    /// The extent ends before the bytes that were asked for.
    #[error("extent {extent} on volume {volume} has {len_bytes} bytes, wanted up to {wanted_end}")]
    Truncated {
        /// The volume that was read.
        volume: VolumeId,
        /// The extent that is too short.
        extent: ExtentId,
        /// Its length.
        len_bytes: u64,
        /// End of the range that was asked for.
        wanted_end: u64,
    },
    /// An extent of that id is there already.
    #[error("extent {extent} exists already on volume {volume}")]
    Exists {
        /// The volume it was to be made on.
        volume: VolumeId,
        /// The id that is taken.
        extent: ExtentId,
    },
    /// The volume has no room; what was there before is untouched.
    #[error(
        "volume {volume} is full: extent {extent} needs {needed_bytes} bytes more, {free_bytes} are free"
    )]
    Full {
        /// The volume that is full.
        volume: VolumeId,
        /// The extent that was to grow.
        extent: ExtentId,
        /// Bytes that the operation wanted in addition.
        needed_bytes: u64,
        /// Bytes that were free when it failed; quotas may have stopped it earlier than this number says.
        free_bytes: u64,
    },
    /// A write or sync of this extent failed before: what it holds behind the last good sync is unknown.
    #[error("extent {extent} on volume {volume} was abandoned after a failed write or sync")]
    Poisoned {
        /// The volume of the extent.
        volume: VolumeId,
        /// The extent that must be abandoned.
        extent: ExtentId,
    },
    /// The writer has sealed its extent.
    #[error("extent {extent} on volume {volume} is sealed")]
    Sealed {
        /// The volume of the extent.
        volume: VolumeId,
        /// The extent that takes no more bytes.
        extent: ExtentId,
    },
    /// Making an extent failed; none is left behind.
    #[error("creating extent {extent} on volume {volume} failed")]
    Create {
        /// The volume it was to be made on.
        volume: VolumeId,
        /// The extent.
        extent: ExtentId,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// An extent that is there could not be opened.
    #[error("opening extent {extent} on volume {volume} failed")]
    Open {
        /// The volume of the extent.
        volume: VolumeId,
        /// The extent.
        extent: ExtentId,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// Reading failed for another reason than a missing or short extent.
    #[error("reading {len} bytes at {offset} of extent {extent} on volume {volume} failed")]
    Read {
        /// The volume that was read.
        volume: VolumeId,
        /// The extent.
        extent: ExtentId,
        /// First byte that was asked for.
        offset: u64,
        /// How many bytes were asked for.
        len: u64,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// Writing failed; any part of the range may have been written.
    #[error("writing {len} bytes at {offset} of extent {extent} on volume {volume} failed")]
    Write {
        /// The volume that was written.
        volume: VolumeId,
        /// The extent.
        extent: ExtentId,
        /// First byte of the range.
        offset: u64,
        /// Length of the range.
        len: u64,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// Preallocation failed for another reason than a full volume.
    #[error("preallocating extent {extent} on volume {volume} up to {end_bytes} bytes failed")]
    Preallocate {
        /// The volume of the extent.
        volume: VolumeId,
        /// The extent.
        extent: ExtentId,
        /// The end that was wanted.
        end_bytes: u64,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// Cutting the tail failed; the extent may have any length between the old and the new one.
    #[error("truncating extent {extent} on volume {volume} to {end_bytes} bytes failed")]
    Truncate {
        /// The volume of the extent.
        volume: VolumeId,
        /// The extent.
        extent: ExtentId,
        /// The end that was wanted.
        end_bytes: u64,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// Giving ranges of an extent back to the file system failed; each of their bytes is what it was, or zero.
    #[error("giving room of extent {extent} on volume {volume} back failed")]
    Punch {
        /// The volume of the extent.
        volume: VolumeId,
        /// The extent.
        extent: ExtentId,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// Syncing failed: nothing written since the last good sync may be believed, and a second try proves nothing.
    #[error("syncing extent {extent} on volume {volume} failed")]
    Sync {
        /// The volume of the extent.
        volume: VolumeId,
        /// The extent, poisoned from now on.
        extent: ExtentId,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// Removing an extent failed; it may still be there.
    #[error("removing extent {extent} from volume {volume} failed")]
    Remove {
        /// The volume of the extent.
        volume: VolumeId,
        /// The extent.
        extent: ExtentId,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// Listing the extents of a volume failed.
    #[error("listing the extents of volume {volume} failed")]
    List {
        /// The volume.
        volume: VolumeId,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// Asking for the free space of a volume failed.
    #[error("asking for the free space of volume {volume} failed")]
    FreeSpace {
        /// The volume.
        volume: VolumeId,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// Reading a slot failed.
    #[error("reading slot {slot} of volume {volume} failed")]
    ReadSlot {
        /// The volume.
        volume: VolumeId,
        /// Name of the slot, `A` or `B`.
        slot: char,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// Writing a slot failed: that slot holds the old bytes, the new ones, or neither.
    #[error("writing slot {slot} of volume {volume} failed")]
    WriteSlot {
        /// The volume.
        volume: VolumeId,
        /// Name of the slot, `A` or `B`.
        slot: char,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// A directory cannot be used as a volume, before its id is known.
    #[error("using {path} as a volume failed", path = path.display())]
    Directory {
        /// The file or directory that made trouble.
        path: PathBuf,
        /// What the host said.
        #[source]
        source: io::Error,
    },
    /// A volume was to be made in a directory that holds one, or something else's files in its place.
    #[error("{path} is in use: a new volume is made only where there is none", path = path.display())]
    InUse {
        /// What was found there.
        path: PathBuf,
    },
}

impl VolumeError {
    /// Says whether the operation failed because there is no room, so that freeing some may help.
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }

    /// Returns the volume that it is about; `None` before its id is known.
    pub const fn volume(&self) -> Option<VolumeId> {
        match self {
            Self::Absent { volume }
            | Self::Missing { volume, .. }
            | Self::Truncated { volume, .. }
            | Self::Exists { volume, .. }
            | Self::Full { volume, .. }
            | Self::Poisoned { volume, .. }
            | Self::Sealed { volume, .. }
            | Self::Create { volume, .. }
            | Self::Open { volume, .. }
            | Self::Read { volume, .. }
            | Self::Write { volume, .. }
            | Self::Preallocate { volume, .. }
            | Self::Truncate { volume, .. }
            | Self::Punch { volume, .. }
            | Self::Sync { volume, .. }
            | Self::Remove { volume, .. }
            | Self::List { volume, .. }
            | Self::FreeSpace { volume, .. }
            | Self::ReadSlot { volume, .. }
            | Self::WriteSlot { volume, .. } => Some(*volume),
            Self::Directory { .. } | Self::InUse { .. } => None,
        }
    }

    /// Returns the extent that it is about, if it is about one.
    pub const fn extent(&self) -> Option<ExtentId> {
        match self {
            Self::Missing { extent, .. }
            | Self::Truncated { extent, .. }
            | Self::Exists { extent, .. }
            | Self::Full { extent, .. }
            | Self::Poisoned { extent, .. }
            | Self::Sealed { extent, .. }
            | Self::Create { extent, .. }
            | Self::Open { extent, .. }
            | Self::Read { extent, .. }
            | Self::Write { extent, .. }
            | Self::Preallocate { extent, .. }
            | Self::Truncate { extent, .. }
            | Self::Punch { extent, .. }
            | Self::Sync { extent, .. }
            | Self::Remove { extent, .. } => Some(*extent),
            Self::Absent { .. }
            | Self::List { .. }
            | Self::FreeSpace { .. }
            | Self::ReadSlot { .. }
            | Self::WriteSlot { .. }
            | Self::Directory { .. }
            | Self::InUse { .. } => None,
        }
    }

    /// Returns the error once more when the system refused to read for a reason that has to do with this process, such as too many
    /// open files or rights that it lacks, and when the volume is not there: that says nothing of the bytes.
    pub fn refusal(&self) -> Option<Self> {
        if let Self::Absent { volume } = self {
            return Some(Self::Absent { volume: *volume });
        }
        if let Self::Open {
            volume,
            extent,
            source,
        } = self
        {
            return Some(Self::Open {
                volume: *volume,
                extent: *extent,
                source: refusal(source)?,
            });
        }
        let Self::Read {
            volume,
            extent,
            offset,
            len,
            source,
        } = self
        else {
            return None;
        };
        Some(Self::Read {
            volume: *volume,
            extent: *extent,
            offset: *offset,
            len: *len,
            source: refusal(source)?,
        })
    }

    /// Says whether the extent is gone or too short: damage of what was stored, not a failing device.
    pub const fn is_absent(&self) -> bool {
        matches!(self, Self::Missing { .. } | Self::Truncated { .. })
    }
}
