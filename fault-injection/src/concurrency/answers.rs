//! Which answers an archive may give, and what they say. Everything else is a broken promise: nothing here fails.

use bfdb::{
    CommitOutcome, Removal,
    error::{CommitError, ReadError},
};

use super::line::Told;
use crate::crashes::{setting::explained, violation::Promise};

/// Tells of a broken promise.
pub(super) fn wrong(promise: Promise, detail: &str) -> Told {
    Told::Wrong(promise, detail.to_owned())
}

/// Says what a commit was told.
pub(super) fn of_commit(result: Result<CommitOutcome, CommitError>) -> Told {
    match result {
        Ok(CommitOutcome::Committed(_)) => Told::Committed,
        Ok(CommitOutcome::Replaced(_)) => Told::Replaced,
        Ok(CommitOutcome::Unchanged(_)) => Told::Unchanged,
        Err(CommitError::NameTaken { stored_len_bytes, .. }) => Told::Taken(stored_len_bytes),
        // It was ended on request, or somebody else goes on just now with a commit that waits for the same name.
        Err(CommitError::Cancelled | CommitError::Interrupted { .. } | CommitError::InProgress { .. }) => {
            Told::Nothing
        }
        Err(error) => wrong(Promise::Answers, &explained(&error)),
    }
}

/// Says what whoever goes on with a commit was told.
pub(super) fn of_resumption(result: Result<CommitOutcome, CommitError>) -> Told {
    match result {
        Err(CommitError::NoSuchCommit { .. }) => Told::Gone,
        result => of_commit(result),
    }
}

/// Says what a removal was told.
pub(super) fn of_removal(result: Result<Option<Removal>, CommitError>) -> Told {
    match result {
        Ok(Some(removal)) => Told::Removed(removal.len_bytes),
        Ok(None) | Err(CommitError::NotFound { .. }) => Told::Missing,
        Err(error) => wrong(Promise::Answers, &explained(&error)),
    }
}

/// Says what whoever cannot read was told.
pub(super) fn of_read(error: &ReadError) -> Told {
    if matches!(error, ReadError::NotFound { .. }) {
        Told::Missing
    } else {
        wrong(Promise::Content, &explained(error))
    }
}
