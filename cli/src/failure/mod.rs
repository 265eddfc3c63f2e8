//! Failures: what the library's errors mean to whoever runs a command, as an exit code, a line, its causes and a next step.
//!
//! One function per error type walks the typed sources ([`archive`], [`journal`], [`host`]); text is never looked at. What
//! the library adds later and nothing here knows yet is a plain failure, exit code 1.

mod archive;
mod host;
mod journal;
mod volumes;

use std::error::Error;

use bfdb::units::ByteRange;
use serde::{Serialize, Serializer, ser::SerializeSeq as _};

use crate::exit;

pub(crate) use archive::catalog_error;
pub(crate) use archive::{
    close_error, commit_error, is_full, open_error, read_error, repair_error, restore_error, scrub_error,
};
pub(crate) use host::host_error;
pub(crate) use volumes::{of_absence, of_moving, of_place, of_volumes};

/// Why a command, or one file of it, failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "error")]
pub(crate) struct Failure {
    /// The exit code that it means.
    pub(crate) code: u8,
    /// One line that names the thing and the numbers.
    pub(crate) message: String,
    /// What led to it, outermost first.
    pub(crate) causes: Vec<String>,
    /// Commands that lead on.
    pub(crate) suggest: Vec<String>,
    /// Bytes that are lost, exactly.
    #[serde(serialize_with = "as_pairs", skip_serializing_if = "Vec::is_empty")]
    pub(crate) ranges: Vec<ByteRange>,
}

/// What an error means, before it is put into words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// The operation failed; the error says all.
    Failed,
    /// There is no archive.
    NoArchive,
    /// Somebody else holds it.
    Locked,
    /// The catalog cannot be used as it is.
    CatalogDamaged,
    /// There is nothing to make a catalog from.
    JournalMissing,
    /// Parts of two archives with a common past are mixed.
    Forked,
    /// An old copy of a volume was put back.
    VolumeOld,
    /// Something may be stored, or is and cannot be seen yet: the next opening for writing settles it.
    Unsettled,
    /// A newer version wrote it.
    NewerFormat,
    /// There is no file of that name.
    NoSuchName,
    /// There is no unfinished commit of that name or number.
    NoSuchCommit,
    /// Bytes are lost.
    Lost,
    /// The command was asked to end.
    Interrupted,
}

impl Meaning {
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Failed | Self::VolumeOld | Self::Unsettled => exit::FAILED,
            Self::NoArchive => exit::NO_ARCHIVE,
            Self::Locked => exit::LOCKED,
            Self::CatalogDamaged | Self::JournalMissing | Self::Forked => exit::CATALOG_DAMAGED,
            Self::NewerFormat => exit::NEWER_FORMAT,
            Self::NoSuchName | Self::NoSuchCommit => exit::NO_SUCH_NAME,
            Self::Lost => exit::LOST,
            Self::Interrupted => exit::INTERRUPTED,
        }
    }
}

impl Failure {
    pub(crate) fn new(code: u8, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            causes: Vec::new(),
            suggest: Vec::new(),
            ranges: Vec::new(),
        }
    }

    /// A command line that means nothing.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(exit::USAGE, message)
    }

    /// A defect of this program.
    pub(crate) fn internal(panic: Vec<String>) -> Self {
        let mut failure = Self::new(exit::FAILED, "this is a defect of bfdb, please report it");
        failure.causes.extend(panic);
        failure
    }

    /// The error as it says itself, with its causes below.
    pub(crate) fn of(error: &dyn Error, meaning: Meaning) -> Self {
        let mut failure = Self::new(meaning.code(), error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            failure.causes.push(cause.to_string());
            source = cause.source();
        }
        failure
    }

    /// Puts a line over everything that was said before.
    pub(crate) fn under(mut self, headline: impl Into<String>) -> Self {
        let message = std::mem::replace(&mut self.message, headline.into());
        self.causes.insert(0, message);
        self
    }

    pub(crate) fn caused_by(mut self, error: &dyn Error) -> Self {
        self.causes.push(error.to_string());
        self
    }

    pub(crate) fn suggest(mut self, command: impl Into<String>) -> Self {
        self.suggest.push(command.into());
        self
    }

    /// Everything in one line, for a field of a JSON line.
    pub(crate) fn in_one_line(&self) -> String {
        let mut line = self.message.clone();
        for cause in &self.causes {
            line.push_str(": ");
            line.push_str(cause);
        }
        line
    }
}

/// Writes ranges as `[[start, end], ...]`, half-open.
pub(crate) fn as_pairs<S: Serializer>(ranges: &[ByteRange], serializer: S) -> Result<S::Ok, S::Error> {
    let mut pairs = serializer.serialize_seq(Some(ranges.len()))?;
    for range in ranges {
        pairs.serialize_element(&(range.start(), range.end()))?;
    }
    pairs.end()
}

#[cfg(test)]
mod tests;
