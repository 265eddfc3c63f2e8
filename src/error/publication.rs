//! Why a change was not published, or what the journal has could not be brought into the catalog.

use super::{
    AppendError, CatalogBytesError, CatalogError, CommitError, HostError, JournalError, JournalStateError,
    OpenError, VolumeError,
};
use crate::units::{CommitId, Epoch};

/// Why a change was not published, or what the journal has could not be brought into the catalog.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublicationError {
    /// The catalog failed.
    #[error("the catalog cannot be changed")]
    Catalog {
        /// Why.
        #[from]
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
    /// A volume failed.
    #[error("writing to a volume failed")]
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
    /// The volumes could not be looked for.
    #[error("the volumes of the archive cannot be used")]
    Volumes {
        /// Why.
        #[source]
        source: Box<OpenError>,
    },
    /// What the catalog remembers of the journal cannot be read.
    #[error("what the catalog remembers of the journal cannot be read")]
    JournalState {
        /// Why.
        #[from]
        source: JournalStateError,
    },
    /// The record of an epoch does not say what it should.
    #[error("the journal record of epoch {epoch} cannot be read")]
    Record {
        /// Which.
        epoch: Epoch,
        /// Why.
        #[source]
        source: CatalogBytesError,
    },
    /// A descriptor that the journal names is damaged beyond what its code survives.
    #[error("the descriptor of commit {commit}, published in epoch {epoch}, is lost")]
    DescriptorLost {
        /// When it was published.
        epoch: Epoch,
        /// The commit.
        commit: CommitId,
    },
    /// A descriptor is whole and does not say what it should.
    #[error("the descriptor of commit {commit}, published in epoch {epoch}, cannot be read")]
    Descriptor {
        /// When it was published.
        epoch: Epoch,
        /// The commit.
        commit: CommitId,
        /// Why.
        #[source]
        source: CatalogBytesError,
    },
    /// The journal has newer records, and what is between them and the catalog is not there any more: it is lost, or checkpoints
    /// have it, from which a new catalog can be made.
    #[error("the catalog is at epoch {catalog}, the journal at {journal}, and records between them are gone")]
    Gap {
        /// Epoch of the catalog.
        catalog: Epoch,
        /// Epoch of the newest record.
        journal: Epoch,
    },
}

impl From<PublicationError> for CommitError {
    fn from(error: PublicationError) -> Self {
        match error {
            PublicationError::Catalog { source } => source.into(),
            PublicationError::Journal { source } => source.into(),
            PublicationError::Volume { source } => source.into(),
            PublicationError::Host { source } => source.into(),
            PublicationError::Volumes { source } => Self::Volumes { source },
            // An append that is not one of the caller's own: what it wanted to store is not there.
            source @ (PublicationError::Append { .. }
            | PublicationError::JournalState { .. }
            | PublicationError::Record { .. }
            | PublicationError::DescriptorLost { .. }
            | PublicationError::Descriptor { .. }
            | PublicationError::Gap { .. }) => Self::Publication {
                source: Box::new(source),
            },
        }
    }
}

impl From<PublicationError> for OpenError {
    fn from(error: PublicationError) -> Self {
        match error {
            PublicationError::Catalog { source } => source.into(),
            PublicationError::Journal {
                source: JournalError::Forked { first, second },
            } => Self::Forked { first, second },
            PublicationError::Volume { source } => source.into(),
            PublicationError::Host { source } => source.into(),
            PublicationError::Volumes { source } => *source,
            source @ (PublicationError::Journal { .. }
            | PublicationError::Append { .. }
            | PublicationError::JournalState { .. }
            | PublicationError::Record { .. }
            | PublicationError::DescriptorLost { .. }
            | PublicationError::Descriptor { .. }
            | PublicationError::Gap { .. }) => Self::Journal {
                source: Box::new(source),
            },
        }
    }
}

impl From<OpenError> for PublicationError {
    fn from(error: OpenError) -> Self {
        if let OpenError::Catalog { source } = error {
            return source.into();
        }
        let source = Box::new(error);
        Self::Volumes { source }
    }
}

impl From<OpenError> for CommitError {
    fn from(error: OpenError) -> Self {
        PublicationError::from(error).into()
    }
}
