//! What the errors of operations on an archive mean.

use bfdb::error::{
    AppendError, CatalogError, CloseError, CommitError, OpenError, ReadError, RepairError, RestoreError,
    ScrubError,
};

use super::{
    Meaning,
    host::{buffer_error, format_error, host_error, is_not_a_directory, volume_error},
    journal::{append_error, journal_error, publication_error},
};

pub(crate) fn open_error(error: &OpenError) -> Meaning {
    match error {
        OpenError::NotFound { .. } | OpenError::NotAnArchive { .. } => Meaning::NoArchive,
        OpenError::CatalogMissing { .. } => Meaning::CatalogDamaged,
        // There is nothing to make it from.
        OpenError::JournalMissing { .. } | OpenError::DescriptorsMissing { .. } => Meaning::JournalMissing,
        OpenError::Cancelled => Meaning::Interrupted,
        OpenError::Forked { .. } => Meaning::Forked,
        OpenError::VolumeStale { .. } => Meaning::VolumeOld,
        OpenError::Journal { source } => publication_error(source),
        OpenError::VolumeSlots { source, .. } => format_error(source),
        OpenError::Catalog { source } => catalog_error(source),
        OpenError::Volume { source } => volume_error(source),
        // What should be the directory of an archive is a file.
        OpenError::Host { source } if is_not_a_directory(source) => Meaning::NoArchive,
        OpenError::Host { source } => host_error(source),
        OpenError::Exists { .. }
        | OpenError::NamesKnown { .. }
        | OpenError::NotEmpty { .. }
        | OpenError::VolumeForeign { .. }
        | OpenError::VolumeReadOnly { .. }
        | OpenError::NoDirectIo { .. }
        | OpenError::VolumeNotEmpty { .. }
        | OpenError::VolumeTaken { .. }
        | OpenError::VolumeNested { .. }
        | OpenError::TooManyVolumes { .. }
        | OpenError::VolumesNotSurvived { .. }
        | OpenError::Threads { .. }
        | _ => Meaning::Failed,
    }
}

pub(crate) fn commit_error(error: &CommitError) -> Meaning {
    match error {
        CommitError::NotFound { .. } | CommitError::NoSuchVersion { .. } => Meaning::NoSuchName,
        CommitError::NoSuchCommit { .. } => Meaning::NoSuchCommit,
        CommitError::InProgress { .. } => Meaning::Locked,
        CommitError::Cancelled | CommitError::Interrupted { .. } => Meaning::Interrupted,
        CommitError::NotVisibleYet { .. } => Meaning::Unsettled,
        CommitError::Journal { source } => journal_error(source),
        CommitError::Append { source } => append_error(source),
        CommitError::Publication { source } => publication_error(source),
        CommitError::Source { source } | CommitError::Host { source } => host_error(source),
        CommitError::Volume { source } => volume_error(source),
        CommitError::Volumes { source } => open_error(source),
        CommitError::Catalog { source } => catalog_error(source),
        CommitError::Memory { source } => buffer_error(source),
        CommitError::NameTaken { .. }
        | CommitError::KindTaken { .. }
        | CommitError::LinkTaken { .. }
        | CommitError::DirectoryInUse { .. }
        | CommitError::VersionInUse { .. }
        | CommitError::RenamedIntoItself { .. }
        | CommitError::NewNameTaken { .. }
        | CommitError::NewNameTooLong { .. }
        | CommitError::ReadOnly
        | CommitError::OwnershipLost { .. }
        | CommitError::NotResumable { .. }
        | CommitError::SourceInsideArchive { .. }
        | CommitError::SourceLength { .. }
        | CommitError::SourceRead { .. }
        | CommitError::Full { .. }
        | CommitError::NoVolume
        | CommitError::LastVolume { .. }
        | CommitError::NoRoomToDrain { .. }
        | CommitError::VolumeNotDrained { .. }
        | _ => Meaning::Failed,
    }
}

/// Says whether there was no room: less at once may still fit.
pub(crate) const fn is_full(error: &CommitError) -> bool {
    if let CommitError::Journal { source }
    | CommitError::Append {
        source: AppendError::NothingWritten { source },
    } = error
    {
        return source.is_full();
    }
    matches!(error, CommitError::Full { .. })
}

pub(crate) fn read_error(error: &ReadError) -> Meaning {
    match error {
        ReadError::NotFound { .. } => Meaning::NoSuchName,
        ReadError::Lost { .. } => Meaning::Lost,
        ReadError::Cancelled => Meaning::Interrupted,
        // Every leaf is right: what does not fit is the record of the file, and that is the catalog's.
        ReadError::RootMismatch { .. } => Meaning::CatalogDamaged,
        ReadError::Catalog { source } => catalog_error(source),
        ReadError::Memory { source } => buffer_error(source),
        ReadError::Refused { .. } | _ => Meaning::Failed,
    }
}

pub(crate) fn restore_error(error: &RestoreError) -> Meaning {
    match error {
        RestoreError::Read { source } => read_error(source),
        RestoreError::Host { source } => host_error(source),
        RestoreError::Cancelled => Meaning::Interrupted,
        RestoreError::NothingLeft { .. } => Meaning::Lost,
        RestoreError::TargetInsideArchive { .. } | _ => Meaning::Failed,
    }
}

pub(crate) fn scrub_error(error: &ScrubError) -> Meaning {
    match error {
        ScrubError::NotFound { .. } => Meaning::NoSuchName,
        ScrubError::Cancelled => Meaning::Interrupted,
        ScrubError::RootMismatch { .. } => Meaning::CatalogDamaged,
        ScrubError::Catalog { source } => catalog_error(source),
        _ => Meaning::Failed,
    }
}

pub(crate) fn repair_error(error: &RepairError) -> Meaning {
    match error {
        RepairError::NotFound { .. } => Meaning::NoSuchName,
        RepairError::Cancelled => Meaning::Interrupted,
        RepairError::Catalog { source } => catalog_error(source),
        RepairError::Store { source } => commit_error(source),
        RepairError::ReadBack { .. } | _ => Meaning::Failed,
    }
}

pub(crate) fn close_error(error: &CloseError) -> Meaning {
    match error {
        CloseError::Catalog { source } => catalog_error(source),
        CloseError::Host { source } => host_error(source),
        _ => Meaning::Failed,
    }
}

pub(crate) fn catalog_error(error: &CatalogError) -> Meaning {
    match error {
        CatalogError::Missing | CatalogError::Damaged { .. } => Meaning::CatalogDamaged,
        CatalogError::Locked { .. } => Meaning::Locked,
        CatalogError::NewerFormat { .. } => Meaning::NewerFormat,
        CatalogError::Exists
        | CatalogError::LocksUnsupported
        | CatalogError::Io { .. }
        | CatalogError::Refused { .. }
        | CatalogError::MustReopen
        | CatalogError::CommitOutcomeUnknown { .. }
        | CatalogError::ReadOnly
        | CatalogError::WriterOpen
        | CatalogError::Incomplete
        | CatalogError::NameTaken { .. }
        | CatalogError::FileIdTaken { .. }
        | CatalogError::BlockIdTaken { .. }
        | CatalogError::BlockMismatch { .. }
        | CatalogError::ImpossibleEntry { .. }
        | CatalogError::AddressTaken { .. }
        | CatalogError::UnknownExtent { .. }
        | CatalogError::BehindExtentEnd { .. }
        | CatalogError::ExtentInUse { .. }
        | CatalogError::UnknownVolume { .. }
        | CatalogError::VolumeNumberTaken { .. }
        | CatalogError::VolumePathTooLong { .. }
        | _ => Meaning::Failed,
    }
}
