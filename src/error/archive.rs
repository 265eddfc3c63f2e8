//! Errors of the operations on an archive.

use std::{io, path::PathBuf};

use super::{
    AppendError, BufferError, CatalogError, FileKind, HostError, JournalError, OpenError, PublicationError,
    VolumeError,
};
use crate::units::{BlockIndex, ByteRange, CommitId, Epoch, FileName, VolumeId};

/// Why a file was not committed or removed; the archive is as it was.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CommitError {
    /// The name is taken by other content.
    #[error(
        "{name} is stored already with other content: {stored_len_bytes} bytes, the source has {source_len_bytes}"
    )]
    NameTaken {
        /// The name.
        name: FileName,
        /// Length of what is stored.
        stored_len_bytes: u64,
        /// Length of the source.
        source_len_bytes: u64,
    },
    /// The name is taken by something of another kind.
    #[error("{name} is stored already as {stored}, the source is {source_kind}")]
    KindTaken {
        /// The name.
        name: FileName,
        /// What is stored.
        stored: FileKind,
        /// What the source is.
        source_kind: FileKind,
    },
    /// The name is taken by a directory with something below it, which a file or a link cannot take the place of.
    #[error("{name} is stored as a directory with something below it, the source is {source_kind}")]
    DirectoryInUse {
        /// The name.
        name: FileName,
        /// What the source is.
        source_kind: FileKind,
    },
    /// The name is taken by a symbolic link that leads elsewhere.
    #[error("{name} is stored already as a symbolic link that leads elsewhere")]
    LinkTaken {
        /// The name.
        name: FileName,
    },
    /// No file of that name is stored.
    #[error("no file named {name} in this archive")]
    NotFound {
        /// The name.
        name: FileName,
    },
    /// No such version of the name is kept.
    #[error("no version {version} of {name} in this archive")]
    NoSuchVersion {
        /// The name.
        name: FileName,
        /// The version.
        version: u32,
    },
    /// The version is no kept one: it has the name, and goes with it only.
    #[error("version {version} of {name} is the current one")]
    VersionInUse {
        /// The name.
        name: FileName,
        /// The version.
        version: u32,
    },
    /// The new name is the old one, or lies below it.
    #[error("{from} cannot be moved to {to}: that is the same, or below it")]
    RenamedIntoItself {
        /// The name.
        from: FileName,
        /// What it was to become.
        to: FileName,
    },
    /// Something has the new name, or lies below it.
    #[error("{name} is taken: it is stored as {stored}")]
    NewNameTaken {
        /// The new name.
        name: FileName,
        /// What has it.
        stored: FileKind,
    },
    /// The new name of something would be longer than any may be.
    #[error("the new name of {name} would be longer than 4096 bytes")]
    NewNameTooLong {
        /// What it is called now.
        name: FileName,
    },
    /// The archive was opened for reading.
    #[error("the archive is open for reading only")]
    ReadOnly,
    /// Somebody else has completed a checkpoint while this one was taken.
    #[error("another checkpoint was completed meanwhile")]
    CheckpointOvertaken,
    /// A checkpoint was published and does not read back; nothing of the journal was removed.
    #[error("what commit {commit} has stored of the checkpoint does not read back from the disk")]
    CheckpointLost {
        /// The commit that has stored a slice of it.
        commit: CommitId,
    },
    /// Another writer took this one for dead and took back what it was writing: its session file is gone, or its lock is.
    #[error("what commit {commit} had reserved was taken back from this writer: its session was gone")]
    OwnershipLost {
        /// The commit.
        commit: CommitId,
    },
    /// There is no unfinished commit of that number.
    #[error("no unfinished commit {commit}: it is published, or was given back")]
    NoSuchCommit {
        /// Its number.
        commit: CommitId,
    },
    /// Another process works on that commit.
    #[error("commit {commit} of {name} is in progress in another process")]
    InProgress {
        /// Its number.
        commit: CommitId,
        /// The name.
        name: FileName,
    },
    /// The commit cannot go on: its source cannot be read a second time.
    #[error("commit {commit} cannot go on: its source is gone with its process")]
    NotResumable {
        /// Its number.
        commit: CommitId,
    },
    /// The observer asked for an end; the commit can go on from where it was.
    #[error(
        "interrupted; {done_bytes} bytes of {name} are stored as commit {commit} and it can go on from there"
    )]
    Interrupted {
        /// The name.
        name: FileName,
        /// Its number.
        commit: CommitId,
        /// Bytes of the source that need not be written again.
        done_bytes: u64,
    },
    /// It is stored for good and will be seen, but the catalog could not be brought up to it yet.
    #[error("stored in epoch {epoch}, but not visible before the archive is opened again")]
    NotVisibleYet {
        /// When it was published.
        epoch: Epoch,
        /// What the catalog said.
        #[source]
        source: CatalogError,
    },
    /// The journal failed.
    #[error("the journal cannot be used")]
    Journal {
        /// Why.
        #[from]
        source: JournalError,
    },
    /// A record was not appended for certain.
    #[error("the journal did not take a record")]
    Append {
        /// Why.
        #[from]
        source: AppendError,
    },
    /// What was published before could not be brought into the catalog.
    #[error("the archive cannot be brought up to its journal")]
    Publication {
        /// Why.
        #[source]
        source: Box<PublicationError>,
    },
    /// The source lies in the archive or in one of its volumes.
    #[error("{} lies inside the archive itself", path.display())]
    SourceInsideArchive {
        /// The source.
        path: PathBuf,
    },
    /// A stream did not have the length it was announced with.
    #[error("the source of {name} was announced with {promised} bytes and ended after {found}")]
    SourceLength {
        /// The name.
        name: FileName,
        /// Length announced.
        promised: u64,
        /// Bytes read; one more than announced when it goes on behind.
        found: u64,
    },
    /// A stream cannot be read.
    #[error("reading the source of {name} failed")]
    SourceRead {
        /// The name.
        name: FileName,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A source file cannot be read, or changed meanwhile.
    #[error("the source cannot be stored")]
    Source {
        /// Why.
        #[source]
        source: HostError,
    },
    /// The volumes could not be looked for.
    #[error("the volumes of the archive cannot be used")]
    Volumes {
        /// Why.
        #[source]
        source: Box<OpenError>,
    },
    /// No volume of the archive takes files now.
    #[error("no volume of the archive takes files: they are missing, read-only, or on their way out")]
    NoVolume,
    /// It is the only volume that takes files: where would they go?
    #[error("volume {volume} is the last one that takes files")]
    LastVolume {
        /// The volume.
        volume: VolumeId,
    },
    /// The other volumes do not have the room for what is on one.
    #[error("{needed_bytes} bytes are stored on volume {volume}, and the others have {free_bytes} free")]
    NoRoomToDrain {
        /// The volume.
        volume: VolumeId,
        /// Bytes of the frames that live there.
        needed_bytes: u64,
        /// Bytes that are free on the others together.
        free_bytes: u64,
    },
    /// A volume that holds something cannot be removed.
    #[error("{shards} shards are still stored on volume {volume}")]
    VolumeNotDrained {
        /// The volume.
        volume: VolumeId,
        /// Shards that live there.
        shards: u64,
    },
    /// There is not enough room.
    #[error(
        "{name}{} needs {needed_bytes} bytes on volume {volume}, {free_bytes} are free",
        with_others(*others)
    )]
    Full {
        /// The name; the first, where many are stored together.
        name: FileName,
        /// How many others are stored together with it.
        others: u64,
        /// The volume.
        volume: VolumeId,
        /// Bytes that the commit would take.
        needed_bytes: u64,
        /// Bytes that are free.
        free_bytes: u64,
    },
    /// A volume failed.
    #[error("writing to a volume failed")]
    Volume {
        /// Why.
        #[from]
        source: VolumeError,
    },
    /// The catalog failed.
    #[error("the catalog cannot be changed")]
    Catalog {
        /// Why.
        #[from]
        source: CatalogError,
    },
    /// The memory budget does not hold one strip.
    #[error("memory for data in flight cannot be had")]
    Memory {
        /// Why.
        #[from]
        source: BufferError,
    },
    /// The host failed.
    #[error("the archive directory cannot be used")]
    Host {
        /// Why.
        #[source]
        source: HostError,
    },
    /// The observer asked for an end.
    #[error("interrupted before it was done; nothing of it is stored")]
    Cancelled,
}

impl CommitError {
    /// Says whether the commit may be published all the same, or is for certain: then nothing of it is given back, and the next
    /// opening for writing tells.
    pub const fn may_be_published(&self) -> bool {
        matches!(
            self,
            Self::NotVisibleYet { .. }
                | Self::Append {
                    source: AppendError::OutcomeUnknown { .. },
                }
        )
    }
}

fn with_others(others: u64) -> String {
    match others {
        0 => String::new(),
        others => format!(" with {others} others"),
    }
}

/// Why bytes were not delivered; none that are wrong ever are.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// No file of that name is stored.
    #[error("no file named {name} in this archive")]
    NotFound {
        /// The name.
        name: FileName,
    },
    /// More shards are damaged than the code survives.
    #[error(
        "bytes {range} of {name} are lost: block {block} has {bad} bad shards there, its code survives {tolerated}"
    )]
    Lost {
        /// The file.
        name: FileName,
        /// The first bytes asked for that are lost.
        range: ByteRange,
        /// The block.
        block: BlockIndex,
        /// Bad shards in that column.
        bad: u16,
        /// Bad shards that the code survives.
        tolerated: u16,
    },
    /// All leaves are right, yet they do not fold to the root: the record of the file is wrong.
    #[error("the blocks of {name} do not fold to its root")]
    RootMismatch {
        /// The file.
        name: FileName,
    },
    /// The catalog failed.
    #[error("the catalog cannot be read")]
    Catalog {
        /// Why.
        #[from]
        source: CatalogError,
    },
    /// The memory budget does not hold one strip.
    #[error("memory for data in flight cannot be had")]
    Memory {
        /// Why.
        #[from]
        source: BufferError,
    },
    /// The system refused to read for a reason that has to do with this process; nothing is known to be damaged.
    #[error("the system does not let this process read what is stored")]
    Refused {
        /// What was refused.
        #[source]
        source: VolumeError,
    },
    /// The observer asked for an end.
    #[error("interrupted; what was not read is unknown")]
    Cancelled,
}

/// Why a file was not restored; what stood at its place still stands there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes could not be read.
    #[error("the stored file cannot be read")]
    Read {
        /// Why.
        #[from]
        source: ReadError,
    },
    /// What is left of a file was asked for, and nothing is: no file is made that would be one hole.
    #[error("all {len_bytes} bytes of {name} are lost")]
    NothingLeft {
        /// The file.
        name: FileName,
        /// Its length in bytes; every one of them is lost.
        len_bytes: u64,
    },
    /// The target lies in the archive or in one of its volumes.
    #[error("{} lies inside the archive itself", path.display())]
    TargetInsideArchive {
        /// The target.
        path: PathBuf,
    },
    /// The observer asked for an end.
    #[error("interrupted before it was done; nothing of it is restored")]
    Cancelled,
    /// The target could not be written.
    #[error("the restored file cannot be written")]
    Host {
        /// Why.
        #[from]
        source: HostError,
    },
}

/// Why a scrub or a verification did not run; damage is not an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScrubError {
    /// The observer asked for an end.
    #[error("interrupted; what was not looked at is unknown")]
    Cancelled,
    /// No file of that name or below it is stored.
    #[error("no file named {name} in this archive, nor anything below it")]
    NotFound {
        /// The name.
        name: FileName,
    },
    /// The catalog failed.
    #[error("the catalog cannot be read")]
    Catalog {
        /// Why.
        #[from]
        source: CatalogError,
    },
    /// All leaves are right, yet they do not fold to the root: the record of the file is wrong.
    #[error("the blocks of {name} do not fold to its root")]
    RootMismatch {
        /// The file.
        name: FileName,
    },
}
