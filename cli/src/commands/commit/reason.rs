//! Why a source was not stored, in words.

use std::{io, path::Path};

use bfdb::{
    error::{CommitError, HostError, HostOperation},
    host::SkipReason,
    units::{FileName, FileNameError},
};

use super::ledger::Subject;
use crate::{
    context::Context,
    exit,
    failure::{Failure, Meaning, commit_error, host_error},
    text,
};

pub(super) fn of_commit(error: &CommitError, subject: &Subject, context: &Context) -> Failure {
    let meaning = commit_error(error);
    let path = text::path(subject.path);
    match error {
        // The host's error names the source itself.
        CommitError::Source { source } => Failure::of(source, meaning),
        CommitError::NameTaken { name, .. }
        | CommitError::KindTaken { name, .. }
        | CommitError::LinkTaken { name } => {
            let path = text::shell_word(&path);
            Failure::of(error, meaning)
                .suggest(context.command(
                    &format!("commit --replace {}-- {path}", naming(name, subject)),
                    &[],
                ))
                .suggest(context.command(&format!("commit --name OTHER-NAME -- {path}"), &[]))
        }
        // What is stored below goes only when it is asked to.
        CommitError::DirectoryInUse { name, .. } => {
            Failure::of(error, meaning).suggest(context.command("rm -r", &[name]))
        }
        CommitError::SourceInsideArchive { .. } | CommitError::Full { .. } => Failure::of(error, meaning),
        CommitError::InProgress { name, .. } => Failure::of(error, meaning)
            .under(format!("{path} was not stored: {name} is being stored just now")),
        // That it was not stored is not known, or not so.
        _ if error.may_be_published() => context.explain(Failure::of(error, meaning), meaning),
        CommitError::NoVolume => Failure::of(error, meaning)
            .under(format!("{path} was not stored"))
            .suggest(context.command("volume ls", &[])),
        CommitError::NotFound { .. }
        | CommitError::Volumes { .. }
        | CommitError::ReadOnly
        | CommitError::OwnershipLost { .. }
        | CommitError::NoSuchCommit { .. }
        | CommitError::NotResumable { .. }
        | CommitError::Interrupted { .. }
        | CommitError::NotVisibleYet { .. }
        | CommitError::Journal { .. }
        | CommitError::Append { .. }
        | CommitError::Publication { .. }
        | CommitError::SourceLength { .. }
        | CommitError::SourceRead { .. }
        | CommitError::Volume { .. }
        | CommitError::Catalog { .. }
        | CommitError::Memory { .. }
        | CommitError::Host { .. }
        | CommitError::Cancelled
        | _ => {
            let failure = Failure::of(error, meaning).under(format!("{path} was not stored"));
            context.explain(failure, meaning)
        }
    }
}

/// Returns the option that gives a source its name again where its path does not.
fn naming(name: &FileName, subject: &Subject) -> String {
    let last = subject.path.file_name();
    if last.is_some_and(|last| last.as_encoded_bytes() == name.as_bytes()) {
        String::new()
    } else {
        format!("--name {} ", text::shell_word(&name.to_string()))
    }
}

pub(in crate::commands) fn of_host(error: &HostError) -> Failure {
    if let HostError::Io {
        operation: HostOperation::Inspect,
        path,
        source,
    } = error
        && source.kind() == io::ErrorKind::NotFound
    {
        return Failure::new(exit::FAILED, format!("{} does not exist", text::path(path)));
    }
    Failure::of(error, host_error(error))
}

/// Something that was asked for and is nothing to store.
pub(in crate::commands) fn of_skipped_root(path: &Path, why: SkipReason) -> Failure {
    let path = path.to_path_buf();
    match why {
        SkipReason::SpecialFile(kind) => of_host(&HostError::NotRegular { path, kind }),
        SkipReason::ArchiveItself => Failure::of(&CommitError::SourceInsideArchive { path }, Meaning::Failed),
        why => Failure::new(exit::FAILED, format!("{} is {why}", text::path(&path))),
    }
}

pub(super) fn of_name(name: &[u8], error: &FileNameError) -> Failure {
    let shown = text::bytes(name);
    Failure::new(exit::FAILED, format!("{shown} cannot be a name")).caused_by(error)
}
