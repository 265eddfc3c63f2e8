//! What the errors of the journal, and of bringing the catalog up to it, mean.

use bfdb::error::{AppendError, JournalError, PublicationError};

use super::{
    Meaning,
    archive::{catalog_error, open_error},
    host::{host_error, volume_error},
};

pub(super) fn journal_error(error: &JournalError) -> Meaning {
    match error {
        JournalError::Forked { .. } => Meaning::Forked,
        // What the catalog lacks can be had from nowhere else.
        JournalError::Lost { .. } => Meaning::CatalogDamaged,
        JournalError::Io { .. }
        | JournalError::Full { .. }
        | JournalError::TooLong { .. }
        | JournalError::InUse { .. }
        | JournalError::NoCopy
        | JournalError::Behind { .. }
        | JournalError::NotNext { .. }
        | JournalError::NotInChain { .. }
        | JournalError::NoNumber { .. }
        | _ => Meaning::Failed,
    }
}

pub(super) fn append_error(error: &AppendError) -> Meaning {
    match error {
        AppendError::NothingWritten { source } => journal_error(source),
        AppendError::OutcomeUnknown { .. } | AppendError::Poisoned => Meaning::Unsettled,
        _ => Meaning::Failed,
    }
}

pub(super) fn publication_error(error: &PublicationError) -> Meaning {
    match error {
        PublicationError::Catalog { source } => catalog_error(source),
        PublicationError::Journal { source } => journal_error(source),
        PublicationError::Append { source } => append_error(source),
        PublicationError::Volume { source } => volume_error(source),
        PublicationError::Host { source } => host_error(source),
        // The catalog is old or damaged, and the journal does not bring it forward.
        PublicationError::JournalState { .. }
        | PublicationError::Record { .. }
        | PublicationError::DescriptorLost { .. }
        | PublicationError::Descriptor { .. }
        | PublicationError::Gap { .. } => Meaning::CatalogDamaged,
        PublicationError::Volumes { source } => open_error(source),
        _ => Meaning::Failed,
    }
}
