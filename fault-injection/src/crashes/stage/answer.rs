//! What an answer says of the effect that was asked for.

use bfdb::error::{AppendError, CommitError};

use super::explained;
use crate::crashes::oracle::Moment;

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    /// What became of the effect.
    pub(super) moment: Moment,
    /// What was said where it was no success.
    pub(super) error: Option<String>,
}

impl Answer {
    pub(super) const DONE: Self = Self {
        moment: Moment::Done,
        error: None,
    };

    /// An error that says nothing of the effect.
    pub(super) fn failed(error: String) -> Self {
        Self {
            moment: Moment::Failed,
            error: Some(error),
        }
    }

    pub(super) fn of<T>(result: &Result<T, CommitError>) -> Self {
        result.as_ref().err().map_or(Self::DONE, Self::of_error)
    }

    /// Reads an error as docs/durability.md has it: but for two of them, nothing of it is stored.
    pub(super) fn of_error(error: &CommitError) -> Self {
        let is_promised = matches!(error, CommitError::NotVisibleYet { .. });
        let is_unknown = matches!(
            error,
            CommitError::Append {
                source: AppendError::OutcomeUnknown { .. }
            }
        );
        let moment = match (is_promised, is_unknown) {
            (true, _) => Moment::Promised,
            (false, true) => Moment::Failed,
            (false, false) => Moment::Undone,
        };
        Self {
            moment,
            error: Some(explained(error)),
        }
    }
}
