//! Why an operation on the catalog failed.

use core::error::Error;
use core::fmt;
use std::io;

use crate::units::{BlockId, CommitId, ExtentId, FileId, FileName, VolumeId};

/// Why the catalog could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogError {
    /// There is no file at the path.
    #[error("the catalog does not exist")]
    Missing,
    /// A catalog was to be created where one is.
    #[error("a catalog exists already")]
    Exists,
    /// Another process holds the file in a way that cannot be shared.
    #[error("the catalog is locked by another process")]
    Locked {
        /// What the database said.
        #[source]
        source: CatalogFault,
    },
    /// The file system has no byte-range locks, without which processes cannot share a catalog.
    #[error("the file system cannot lock byte ranges, so the catalog cannot be shared safely")]
    LocksUnsupported,
    /// The archive was written by a newer version; nothing was changed.
    #[error(
        "the archive has format {format_version} and unknown required features {unknown_features:#x}, newer than this version reads"
    )]
    NewerFormat {
        /// Format of the archive.
        format_version: u16,
        /// Bits of required features that this version does not know.
        unknown_features: u64,
    },
    /// What is on disk is not what was written.
    #[error("the catalog is damaged in {table}")]
    Damaged {
        /// Where it was noticed.
        table: CatalogTable,
        /// What was noticed.
        #[source]
        detail: CatalogDamage,
    },
    /// The operating system failed a read or write; what was committed is untouched.
    #[error("the catalog file could not be read or written")]
    Io {
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// The database refused for a reason that is neither damage nor I/O; what was committed is untouched.
    #[error("the catalog database refused the operation")]
    Refused {
        /// What the database said.
        #[source]
        source: CatalogFault,
    },
    /// An earlier failure made the opened file unusable. A new transaction opens it anew, once the one that failed is dropped.
    #[error("the catalog has to be reopened after an earlier failure")]
    MustReopen,
    /// The commit failed somewhere: the transaction is wholly there or not at all, and only reopening tells which.
    #[error("the outcome of the catalog commit is unknown until the catalog is reopened")]
    CommitOutcomeUnknown {
        /// What the database said.
        #[source]
        source: CatalogFault,
    },
    /// The catalog was opened for reading.
    #[error("the catalog was opened for reading only")]
    ReadOnly,
    /// The catalog was to be closed while a transaction writes; it closes when that ends.
    #[error("a write transaction is still open")]
    WriterOpen,
    /// A change failed half-way before, so this transaction cannot be committed; it was given up.
    #[error("the transaction was given up after a change that failed half-way")]
    Incomplete,
    /// A file of that name is there.
    #[error("a file named {name} exists already")]
    NameTaken {
        /// The name.
        name: FileName,
    },
    /// Nothing has the name, and nothing lies below it.
    #[error("nothing is named {name}, or lies below it")]
    UnknownName {
        /// The name.
        name: FileName,
    },
    /// A file of that id is there: ids are never reused.
    #[error("file id {file} is taken")]
    FileIdTaken {
        /// The id.
        file: FileId,
    },
    /// A block of that id is there: ids are never reused.
    #[error("block id {block} is taken")]
    BlockIdTaken {
        /// The id.
        block: BlockId,
    },
    /// No entry is like this: a directory or link with bytes, or a link that leads nowhere.
    #[error("the entry {name} has an impossible {field}")]
    ImpossibleEntry {
        /// The name.
        name: FileName,
        /// What is impossible about it.
        field: &'static str,
    },
    /// The blocks handed over are not those that the geometry of the file asks for.
    #[error("block {index} of file {file} does not fit the geometry of the file")]
    BlockMismatch {
        /// The file.
        file: FileId,
        /// Position of the first block that is missing, left over or different.
        index: u64,
    },
    /// Two shards claim the same place.
    #[error("offset {offset} of extent {extent} belongs to another shard")]
    AddressTaken {
        /// The extent.
        extent: ExtentId,
        /// Offset of the frame, in bytes.
        offset: u64,
    },
    /// A shard lies in an extent that the catalog does not know.
    #[error("extent {extent} is unknown")]
    UnknownExtent {
        /// The extent.
        extent: ExtentId,
    },
    /// A shard reaches behind the committed end of its extent, where bytes belong to nobody.
    #[error("a shard ends at {shard_end_bytes} behind the committed end {end_bytes} of extent {extent}")]
    BehindExtentEnd {
        /// The extent.
        extent: ExtentId,
        /// End of the shard, in bytes.
        shard_end_bytes: u64,
        /// Committed end of the extent, in bytes.
        end_bytes: u64,
    },
    /// An extent that still holds live shards was to be removed.
    #[error("extent {extent} still holds {live_shards} live shards")]
    ExtentInUse {
        /// The extent.
        extent: ExtentId,
        /// How many shards live there.
        live_shards: u64,
    },
    /// A volume cannot be removed while something of the archive is on it.
    #[error("volume {volume} still holds extent {extent}")]
    VolumeInUse {
        /// The volume.
        volume: VolumeId,
        /// An extent with live shards, or of a commit that is not done.
        extent: ExtentId,
    },
    /// An extent names a volume that the catalog does not know.
    #[error("volume {volume} is unknown")]
    UnknownVolume {
        /// The volume.
        volume: VolumeId,
    },
    /// The number belongs to another volume, or the volume has another number.
    #[error("volume {volume} cannot have number {number}")]
    VolumeNumberTaken {
        /// The volume.
        volume: VolumeId,
        /// The number asked for.
        number: u16,
    },
    /// The path of a volume is longer than any that the operating system takes.
    #[error("the path of volume {volume} has {len} bytes, more than 4096")]
    VolumePathTooLong {
        /// The volume.
        volume: VolumeId,
        /// Length of the path in bytes.
        len: usize,
    },
    /// No publication is like this.
    #[error("a publication has an impossible {field}")]
    ImpossiblePublication {
        /// What is impossible about it.
        field: &'static str,
    },
    /// An entry that was to be removed or changed is not there.
    #[error("file {file} is unknown")]
    UnknownFile {
        /// The id.
        file: FileId,
    },
    /// An extent names the number of a volume that the catalog does not know.
    #[error("volume number {number} is unknown")]
    UnknownVolumeNumber {
        /// The number.
        number: u16,
    },
    /// A row would be longer than any may be; it was not written.
    #[error("a row of {table} would have {len_bytes} bytes, more than {limit_bytes}")]
    RowTooLong {
        /// The table.
        table: CatalogTable,
        /// Length of the row in bytes.
        len_bytes: usize,
        /// The most that a row has, in bytes.
        limit_bytes: usize,
    },
    /// A shard that is to lie elsewhere is not where it was: it was moved or removed meanwhile.
    #[error("no shard {shard} of that owner lies in extent {extent} at {offset}")]
    ShardElsewhere {
        /// Position of the shard in its block.
        shard: crate::units::ShardIndex,
        /// Where it was.
        extent: ExtentId,
        /// Offset of its frame there.
        offset: u64,
    },
    /// Only parity can come to hold other bytes: those of data, and of their copies, follow from the root of the file.
    #[error("shard {shard} in extent {extent} at {offset} holds data, so its digest is for good")]
    DigestOfData {
        /// Position of the shard in its block.
        shard: crate::units::ShardIndex,
        /// Where it lies.
        extent: ExtentId,
        /// Offset of its frame there.
        offset: u64,
    },
    /// The commit has a descriptor already.
    #[error("commit {commit} has a descriptor already")]
    DescriptorTaken {
        /// The commit.
        commit: CommitId,
    },
    /// The slice of a checkpoint is not there, or not any more.
    #[error("commit {commit} has stored no slice of a checkpoint")]
    UnknownSlice {
        /// The commit.
        commit: CommitId,
    },
    /// No descriptor is like this.
    #[error("the descriptor of commit {commit} has an impossible {field}")]
    ImpossibleDescriptor {
        /// The commit.
        commit: CommitId,
        /// What is impossible about it.
        field: &'static str,
    },
    /// No commit is like what the intent says.
    #[error("the intent of commit {commit} has an impossible {field}")]
    ImpossibleIntent {
        /// The commit.
        commit: CommitId,
        /// What is impossible about it.
        field: &'static str,
    },
}

impl CatalogError {
    /// Says whether the catalog's bytes are not what was written, so that a rebuild from the volumes is the way on.
    pub const fn is_damaged(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// Says whether a newer version wrote the archive.
    pub const fn is_newer_format(&self) -> bool {
        matches!(self, Self::NewerFormat { .. })
    }
}

/// Why bytes are no descriptor, or no publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogBytesError {
    /// They begin with something else.
    #[error("the bytes do not begin as they should")]
    Magic,
    /// They are of a version that this software does not know.
    #[error("version {found} is not known")]
    Version {
        /// Version found.
        found: u8,
    },
    /// They do not parse, or are not what an encoder writes.
    #[error("the bytes do not parse")]
    Unparsable,
    /// A value that nothing valid could have.
    #[error("they have an impossible {field}")]
    Impossible {
        /// The field.
        field: &'static str,
    },
}

/// What was noticed about a damaged catalog.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CatalogDamage {
    /// A row fails its checksum, or stands under a key that it was not written for.
    #[error("a row fails its checksum")]
    Checksum,
    /// A row of a version that this software never wrote.
    #[error("a row has version {found}")]
    RowVersion {
        /// Version found.
        found: u8,
    },
    /// A row whose checksum holds does not parse.
    #[error("a row does not parse")]
    Unparsable,
    /// A value that nothing valid could have.
    #[error("a row has an impossible {field}")]
    Impossible {
        /// The field.
        field: &'static str,
    },
    /// A row that another one names is missing.
    #[error("a row that another one names is missing")]
    MissingRow,
    /// Rows are missing, or there are too many.
    #[error("{found} rows were found where {recorded} are recorded")]
    RowCount {
        /// How many rows are recorded.
        recorded: u64,
        /// How many were found.
        found: u64,
    },
    /// A row is there but cannot be looked up.
    #[error("a row is out of order")]
    Order,
    /// Rows contradict each other.
    #[error("rows contradict each other about {about}")]
    Contradiction {
        /// What they disagree about.
        about: &'static str,
    },
    /// The database found its own structure damaged.
    #[error("the database structure is damaged")]
    Database {
        /// What the database said.
        #[source]
        source: CatalogFault,
    },
    /// The database panicked on what it read; its handles are leaked.
    #[error("the database panicked")]
    Panicked,
}

/// The part of a catalog in which damage was noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the tables are explained in docs/catalog.md")]
pub enum CatalogTable {
    /// The file as a whole.
    Database,
    Meta,
    Files,
    Names,
    FileBlocks,
    Blocks,
    Extents,
    ExtentShards,
    Volumes,
    Totals,
    Intents,
    Descriptors,
    Damage,
    DamagedBlocks,
    ByState,
    Unverified,
    Verified,
    VolumeCounters,
    Freed,
    Versions,
}

impl CatalogTable {
    /// Returns the name of the table as it stands on disk.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Database => "the file",
            Self::Meta => "meta",
            Self::Files => "files",
            Self::Names => "names",
            Self::FileBlocks => "file_blocks",
            Self::Blocks => "blocks",
            Self::Extents => "extents",
            Self::ExtentShards => "extent_shards",
            Self::Volumes => "volumes",
            Self::Totals => "totals",
            Self::Intents => "intents",
            Self::Descriptors => "descriptors",
            Self::Damage => "damage",
            Self::DamagedBlocks => "damaged_blocks",
            Self::ByState => "by_state",
            Self::Unverified => "unverified",
            Self::Verified => "verified",
            Self::VolumeCounters => "volume_counters",
            Self::Freed => "freed",
            Self::Versions => "versions",
        }
    }
}

impl fmt::Display for CatalogTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What the database underneath said: text for people, no type to program against.
// Boxed and opaque, so that the database stays no part of the public interface.
pub struct CatalogFault(Box<dyn Error + Send + Sync>);

impl CatalogFault {
    pub(crate) fn new(error: impl Error + Send + Sync + 'static) -> Self {
        Self(Box::new(error))
    }
}

impl fmt::Debug for CatalogFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl fmt::Display for CatalogFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl Error for CatalogFault {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
