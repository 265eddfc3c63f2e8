use std::{io, path::PathBuf};

use bfdb::{
    error::{
        AppendError, CatalogDamage, CatalogError, CatalogTable, ChainHead, CommitError, FormatError,
        HostError, HostOperation, JournalError, LockEvidence, OpenError, PublicationError, ReadError,
        RecordKind, RestoreError, ScrubError,
    },
    units::{BlockIndex, CommitId, Epoch, FileName, VolumeId},
};

use super::*;

fn name() -> FileName {
    "a/b".parse().expect("valid")
}

fn damaged_catalog() -> CatalogError {
    CatalogError::Damaged {
        table: CatalogTable::Meta,
        detail: CatalogDamage::Checksum,
    }
}

fn head(byte: u8) -> ChainHead {
    ChainHead {
        epoch: Epoch::new(7),
        hash: [byte; 32],
    }
}

fn full_journal() -> JournalError {
    JournalError::Full {
        path: PathBuf::from("x"),
        needed_bytes: 2,
        free_bytes: 1,
    }
}

fn newer_slot() -> FormatError {
    FormatError::NewerVersion {
        record: RecordKind::VolumeSlot,
        found: 9,
        supported: 1,
    }
}

fn torn_slot() -> FormatError {
    FormatError::Checksum {
        record: RecordKind::VolumeSlot,
        stored: 1,
        computed: 2,
    }
}

fn in_use() -> HostError {
    HostError::InUse {
        path: PathBuf::from("/a.bfdb/alone.lock"),
        holder: None,
        evidence: LockEvidence::Lock,
    }
}

#[test]
fn opening_tells_apart_what_is_missing_damaged_locked_and_too_new() {
    let path = || PathBuf::from("x");
    let slots = |source| OpenError::VolumeSlots { path: path(), source };
    let neither = |first, second| {
        slots(FormatError::NoValidSlot {
            first: Box::new(first),
            second: Box::new(second),
        })
    };
    let host = |source| OpenError::Host { source };
    let journal = |source: PublicationError| OpenError::Journal {
        source: Box::new(source),
    };
    let io_error = |kind| {
        host(HostError::Io {
            operation: HostOperation::List,
            path: path(),
            source: io::Error::from(kind),
        })
    };
    let cases = [
        (OpenError::NotFound { path: path() }, exit::NO_ARCHIVE),
        (OpenError::NotAnArchive { path: path() }, exit::NO_ARCHIVE),
        (io_error(io::ErrorKind::NotADirectory), exit::NO_ARCHIVE),
        (io_error(io::ErrorKind::PermissionDenied), exit::FAILED),
        (OpenError::Exists { path: path() }, exit::FAILED),
        (OpenError::CatalogMissing { path: path() }, exit::CATALOG_DAMAGED),
        (
            OpenError::VolumeStale {
                catalog: Epoch::new(9),
                seen: Epoch::new(1),
                volume: VolumeId::from_bytes([1; 16]),
            },
            exit::FAILED,
        ),
        (
            OpenError::Forked {
                first: head(1),
                second: head(2),
            },
            exit::CATALOG_DAMAGED,
        ),
        (journal(JournalError::NoCopy.into()), exit::FAILED),
        (
            journal(PublicationError::Gap {
                catalog: Epoch::new(1),
                journal: Epoch::new(9),
            }),
            exit::CATALOG_DAMAGED,
        ),
        (journal(damaged_catalog().into()), exit::CATALOG_DAMAGED),
        (damaged_catalog().into(), exit::CATALOG_DAMAGED),
        (
            CatalogError::NewerFormat {
                format_version: 9,
                unknown_features: 0,
            }
            .into(),
            exit::NEWER_FORMAT,
        ),
        (host(HostError::Locked { path: path() }), exit::LOCKED),
        (host(in_use()), exit::LOCKED),
        (slots(newer_slot()), exit::NEWER_FORMAT),
        (slots(torn_slot()), exit::FAILED),
        (neither(torn_slot(), newer_slot()), exit::NEWER_FORMAT),
        (neither(torn_slot(), torn_slot()), exit::FAILED),
    ];
    for (error, code) in cases {
        assert_eq!(open_error(&error).code(), code, "{error}");
    }
}

#[test]
fn a_commit_that_was_interrupted_or_cannot_be_found_is_told_from_one_that_failed() {
    let commit = CommitId::new(7);
    let cases = [
        (CommitError::Cancelled, exit::INTERRUPTED),
        (
            CommitError::Interrupted {
                name: name(),
                commit,
                done_bytes: 1,
            },
            exit::INTERRUPTED,
        ),
        (CommitError::NoSuchCommit { commit }, exit::NO_SUCH_NAME),
        (CommitError::InProgress { commit, name: name() }, exit::LOCKED),
        (CommitError::NotResumable { commit }, exit::FAILED),
        (CommitError::OwnershipLost { commit }, exit::FAILED),
        (
            CommitError::NotVisibleYet {
                epoch: Epoch::new(3),
                source: CatalogError::MustReopen,
            },
            exit::FAILED,
        ),
        (AppendError::Poisoned.into(), exit::FAILED),
        (full_journal().into(), exit::FAILED),
        (
            JournalError::Forked {
                first: head(1),
                second: head(2),
            }
            .into(),
            exit::CATALOG_DAMAGED,
        ),
    ];
    for (error, code) in cases {
        assert_eq!(commit_error(&error).code(), code, "{error}");
    }
}

#[test]
fn a_journal_without_room_is_a_full_disk_and_a_record_of_unknown_fate_is_not() {
    let (source, epoch) = (full_journal(), Epoch::new(3));
    assert!(is_full(&full_journal().into()), "before anything was written");
    assert!(
        is_full(&AppendError::NothingWritten { source }.into()),
        "as it says"
    );
    let source = full_journal();
    assert!(
        !is_full(&AppendError::OutcomeUnknown { epoch, source }.into()),
        "it may be there"
    );
}

#[test]
fn a_damaged_catalog_is_told_from_lost_bytes_whichever_operation_meets_it() {
    let lost = || ReadError::Lost {
        name: name(),
        range: ByteRange::new(0, 1).expect("in order"),
        block: BlockIndex::new(0),
        bad: 4,
        tolerated: 3,
    };
    assert_eq!(read_error(&lost()).code(), exit::LOST);
    assert_eq!(restore_error(&RestoreError::from(lost())).code(), exit::LOST);
    let nothing_left = RestoreError::NothingLeft {
        name: "a".parse().expect("a name"),
        len_bytes: 1,
    };
    assert_eq!(restore_error(&nothing_left).code(), exit::LOST);
    let catalog = [
        read_error(&damaged_catalog().into()),
        restore_error(&RestoreError::from(ReadError::from(damaged_catalog()))),
        scrub_error(&ScrubError::from(damaged_catalog())),
        commit_error(&CommitError::from(damaged_catalog())),
        close_error(&damaged_catalog().into()),
        read_error(&ReadError::RootMismatch { name: name() }),
        scrub_error(&ScrubError::RootMismatch { name: name() }),
    ];
    assert!(
        catalog
            .iter()
            .all(|meaning| meaning.code() == exit::CATALOG_DAMAGED),
        "{catalog:?}"
    );
}

#[test]
fn a_name_that_is_not_stored_is_told_by_every_operation() {
    let found = [
        read_error(&ReadError::NotFound { name: name() }),
        scrub_error(&ScrubError::NotFound { name: name() }),
        commit_error(&CommitError::NotFound { name: name() }),
        restore_error(&ReadError::NotFound { name: name() }.into()),
    ];
    assert!(
        found.iter().all(|meaning| meaning.code() == exit::NO_SUCH_NAME),
        "{found:?}"
    );
}

#[test]
fn a_failure_has_every_cause_once_and_a_headline_above_them() {
    let error = OpenError::from(damaged_catalog());
    let failure = Failure::of(&error, open_error(&error)).under("headline");
    assert_eq!(failure.message, "headline");
    assert_eq!(
        failure.causes,
        [
            "the catalog cannot be used",
            "the catalog is damaged in meta",
            "a row fails its checksum"
        ]
    );
    assert_eq!(
        failure.in_one_line(),
        "headline: the catalog cannot be used: the catalog is damaged in meta: a row fails its checksum"
    );
}

#[test]
fn a_failure_serializes_with_the_names_that_scripts_rely_on() {
    let mut failure = Failure::new(exit::LOST, "m").suggest("bfdb verify a");
    failure.ranges = vec![ByteRange::new(3, 7).expect("in order")];
    let json = serde_json::to_value(&failure).expect("plain");
    let expected = serde_json::json!({
        "type": "error", "code": 5, "message": "m", "causes": [], "suggest": ["bfdb verify a"], "ranges": [[3, 7]],
    });
    assert_eq!(json, expected);
    failure.ranges.clear();
    let json = serde_json::to_value(&failure).expect("plain");
    assert!(json.get("ranges").is_none(), "no ranges where nothing is lost");
}
