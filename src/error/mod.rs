//! Public error types.
//!
//! One enum per floor and per public operation, with named fields and typed sources. Damage in stored data is not an
//! error but a value; these are operations that failed.

mod archive;
mod buffer;
mod catalog;
mod codec;
mod format;
mod host;
mod journal;
mod merkle;
mod open;
mod publication;
mod refusal;
mod repair;
mod volume;

pub use archive::{CommitError, ReadError, RestoreError, ScrubError};
pub use buffer::BufferError;
pub use catalog::{CatalogBytesError, CatalogDamage, CatalogError, CatalogFault, CatalogTable};
pub use codec::DecodeError;
pub use format::{FooterField, FormatError, IdentityMismatch, RecordKind};
pub use host::{FileKind, HostError, HostOperation, LockEvidence, LockHolder, SourceChange};
pub use journal::{AppendError, ChainHead, JournalError, JournalStateError};
pub use merkle::RootHashError;
pub use open::{CloseError, NameSource, OpenError};
pub use publication::PublicationError;
pub(crate) use refusal::refusal;
pub use repair::RepairError;
pub use volume::VolumeError;
