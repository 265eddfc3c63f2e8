//! Storing many sources.

use std::io::Read;

use super::{CommitOutcome, commit_file};
use crate::{
    archive::{CommitObserver, CommitOptions, Observer, shared::Shared},
    error::CommitError,
    host::Place,
    units::FileName,
};

/// Something to store, and the name to store it under.
#[derive(Debug, Clone)]
pub struct Source {
    /// The name.
    pub name: FileName,
    /// Where it is.
    pub place: Place,
}

/// What happens to a name that is taken by something else than the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameConflict {
    /// The source is refused.
    Refuse,
    /// The source takes its place.
    Replace,
}

/// How many sources are committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitAllOptions {
    /// What happens to a name that is taken by other content. The same content is nothing to do, whatever this says.
    pub name_conflict: NameConflict,
}

impl Default for CommitAllOptions {
    fn default() -> Self {
        Self {
            name_conflict: NameConflict::Refuse,
        }
    }
}

pub(in crate::archive) fn commit_all(
    shared: &Shared,
    sources: &mut dyn Iterator<Item = Source>,
    options: &CommitAllOptions,
    observer: &dyn CommitObserver,
) -> Result<(), CommitError> {
    let CommitAllOptions { name_conflict: _ } = options;
    for source in sources {
        let result = commit_file(shared, &source.name, source.place.path(), observer);
        observer.source_done(&source, result);
    }
    Ok(())
}

pub(in crate::archive) fn commit_reader(
    shared: &Shared,
    (name, source): (&FileName, &mut dyn Read),
    options: &CommitOptions,
    observer: &dyn Observer,
) -> Result<CommitOutcome, CommitError> {
    let mut content = Vec::new();
    source
        .read_to_end(&mut content)
        .map_err(|source| CommitError::SourceRead {
            name: name.clone(),
            source,
        })?;
    let len_bytes = crate::units::to_u64(content.len());
    super::commit_stream(shared, name, (&mut &content[..], len_bytes), options, observer)
        .map(CommitOutcome::Committed)
}
