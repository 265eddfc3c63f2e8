//! Why an archive was not made, opened or closed.

use std::path::PathBuf;

use super::{CatalogError, ChainHead, FormatError, HostError, PublicationError, VolumeError};
use crate::units::{ArchiveId, CodeShape, Epoch, VolumeId};

/// Why an archive was not made or opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Nothing is there.
    #[error("no archive at {}", path.display())]
    NotFound {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// Something else is there.
    #[error("{} is not an archive: it holds neither a catalog nor volumes", path.display())]
    NotAnArchive {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// An archive, or what is left of one, is there already.
    #[error("{} already holds an archive or what is left of one", path.display())]
    Exists {
        /// Where it should have been made.
        path: PathBuf,
    },
    /// The directory holds other files.
    #[error("{} is not empty: an archive is made in a directory of its own", path.display())]
    NotEmpty {
        /// Where it should have been made.
        path: PathBuf,
    },
    /// Volumes are there, the catalog is gone.
    #[error("the catalog of {} is missing, its volumes are there", path.display())]
    CatalogMissing {
        /// The archive.
        path: PathBuf,
    },
    /// No copy of the journal was found to make the catalog from.
    #[error("no journal of {} is on any volume that was found", path.display())]
    JournalMissing {
        /// The archive.
        path: PathBuf,
    },
    /// No descriptor of a commit was found to make the catalog from: nothing says which files there were.
    #[error("no descriptor of {} can be read on any volume that was found", path.display())]
    DescriptorsMissing {
        /// The archive.
        path: PathBuf,
    },
    /// A deep scan gives names up, and something else that is there has them.
    #[error("the {usable} of {} can be used and has every name, which a deep scan gives up", path.display())]
    NamesKnown {
        /// The archive.
        path: PathBuf,
        /// What has them.
        usable: NameSource,
    },
    /// The observer asked for an end.
    #[error("interrupted before it was done; nothing was changed")]
    Cancelled,
    /// The volume is older than what the catalog knows: an old copy was put back.
    #[error("volume {volume} is at epoch {seen}, the catalog at {catalog}: an old volume was put back")]
    VolumeStale {
        /// Epoch of the catalog.
        catalog: Epoch,
        /// Epoch in the slots of the volume.
        seen: Epoch,
        /// The volume.
        volume: VolumeId,
    },
    /// Catalog and journal, or copies of the journal, went different ways: parts of two archives with a common past.
    #[error("the archive has two heads, {first} and {second}: parts of two archives are mixed")]
    Forked {
        /// One head.
        first: ChainHead,
        /// The other.
        second: ChainHead,
    },
    /// The journal cannot be used, or does not bring the catalog forward.
    #[error("the journal cannot be used")]
    Journal {
        /// Why.
        #[source]
        source: Box<PublicationError>,
    },
    /// A volume belongs to another archive, or is another volume.
    #[error("the volume at {} is {found}, not {expected}", path.display())]
    VolumeForeign {
        /// Where the volume lies.
        path: PathBuf,
        /// Identity that the catalog records.
        expected: VolumeId,
        /// Identity that the volume has.
        found: VolumeId,
    },
    /// A directory that a volume was to be made in holds something else.
    #[error("{} is not empty: a volume is made in a directory of its own", path.display())]
    VolumeNotEmpty {
        /// The directory.
        path: PathBuf,
    },
    /// A directory that a volume was to be made in holds a volume already.
    #[error("{} holds volume {volume} of archive {archive}", path.display())]
    VolumeTaken {
        /// The directory.
        path: PathBuf,
        /// The volume.
        volume: VolumeId,
        /// The archive that it belongs to.
        archive: ArchiveId,
    },
    /// A volume was to be made inside another one, or inside the archive, or around either.
    #[error("a volume in {} would lie inside of or around {}", path.display(), other.display())]
    VolumeNested {
        /// The directory.
        path: PathBuf,
        /// The other one.
        other: PathBuf,
    },
    /// The policy of a new archive promises what its volumes cannot give.
    #[error(
        "files of tier {tier} do not survive the loss of {survive} of {volumes} volumes: {shape} spread over them survives {survived}"
    )]
    VolumesNotSurvived {
        /// Number of the tier.
        tier: u8,
        /// Its code.
        shape: CodeShape,
        /// Volumes that the archive would have.
        volumes: u16,
        /// How many of them are to be survived.
        survive: u16,
        /// How many would be.
        survived: u16,
    },
    /// Volumes are numbered, and no number is given twice: there are none left.
    #[error("the archive has had {count} volumes, and cannot have more")]
    TooManyVolumes {
        /// How many there were.
        count: u16,
    },
    /// The volume takes no writes.
    #[error("the volume at {} takes no writes", path.display())]
    VolumeReadOnly {
        /// Where the volume lies.
        path: PathBuf,
    },
    /// Writing past the page cache was asked for, and the file system of a volume cannot.
    #[error("the file system of the volume at {} has no way past the page cache", path.display())]
    NoDirectIo {
        /// Where the volume lies.
        path: PathBuf,
    },
    /// The slots of a volume cannot be read.
    #[error("the slots of the volume at {} cannot be read", path.display())]
    VolumeSlots {
        /// Where the volume lies.
        path: PathBuf,
        /// What is wrong with them.
        #[source]
        source: FormatError,
    },
    /// The catalog failed.
    #[error("the catalog cannot be used")]
    Catalog {
        /// Why.
        #[from]
        source: CatalogError,
    },
    /// A volume failed.
    #[error("a volume cannot be used")]
    Volume {
        /// Why.
        #[from]
        source: VolumeError,
    },
    /// The host failed.
    #[error("the archive directory cannot be used")]
    Host {
        /// Why.
        #[from]
        source: HostError,
    },
    /// No worker threads could be had.
    #[error("{threads} worker threads cannot be started")]
    Threads {
        /// How many were asked for.
        threads: usize,
    },
}

/// What knows the names of what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameSource {
    /// The catalog that is there.
    Catalog,
    /// The journal on the volumes that were found.
    Journal,
}

impl core::fmt::Display for NameSource {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Catalog => "catalog",
            Self::Journal => "journal",
        })
    }
}

/// Why an archive was not closed cleanly; everything that was acknowledged is stored all the same.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloseError {
    /// The catalog failed.
    #[error("the catalog cannot be closed")]
    Catalog {
        /// Why.
        #[from]
        source: CatalogError,
    },
    /// The session file could not be removed.
    #[error("the session cannot be ended")]
    Host {
        /// Why.
        #[from]
        source: HostError,
    },
}
