//! `rm`: removes names.

use bfdb::{
    archive::Archive,
    catalog::Access,
    error::{CatalogError, CommitError},
    units::FileName,
};
use serde::Serialize;

use crate::{
    arguments::values,
    context::Context,
    exit,
    failure::{Failure, commit_error},
    text,
};

/// Remove names
///
/// Removes files by their exact names, durably and at once for everyone. The bytes stay on the volumes until they are
/// compacted, so the space does not come back at once. A name that is not there does not stop the rest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb rm photo.cr3\n  \
    bfdb rm -n photo.cr3             say what would be removed")]
pub(crate) struct Arguments {
    /// Names of files
    #[arg(value_name = "NAME", required = true, value_parser = values::name_parser())]
    names: Vec<FileName>,
    /// Change nothing, say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "file")]
struct FileLine {
    name: String,
    length: Option<u64>,
    freed_bytes: Option<u64>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

#[derive(Debug, Default, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    files: u64,
    bytes: u64,
    freed_bytes: u64,
    failed: u64,
    dry_run: bool,
}

/// What is gone with a name, or would be.
struct Gone {
    len_bytes: u64,
    freed_bytes: u64,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let access = if arguments.dry_run {
        Access::Read
    } else {
        Access::Write
    };
    context.with_archive(access, |archive| remove_all(archive, arguments, context))
}

fn remove_all(archive: &Archive, arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let output = context.output;
    let mut summary = Summary {
        dry_run: arguments.dry_run,
        ..Summary::default()
    };
    let mut code = exit::SUCCESS;
    for name in &arguments.names {
        let mut line = FileLine {
            name: name.to_string(),
            length: None,
            freed_bytes: None,
            result: "removed",
            error: None,
            dry_run: arguments.dry_run,
        };
        let removed = if arguments.dry_run {
            look_up(archive, name)
        } else {
            remove(archive, name)
        };
        match removed {
            Ok(gone) => {
                summary.files += 1;
                summary.bytes += gone.len_bytes;
                summary.freed_bytes += gone.freed_bytes;
                line.length = Some(gone.len_bytes);
                line.freed_bytes = Some(gone.freed_bytes);
                output.json(&line);
                let verb = if arguments.dry_run {
                    "would remove"
                } else {
                    "removed"
                };
                output.summary(&format!("{verb}  {:>10}  {name}", text::size(gone.len_bytes)));
            }
            Err(error) => {
                let failure = failure(&error, name, context);
                if !matches!(error, CommitError::NotFound { .. }) {
                    return Err(failure);
                }
                summary.failed += 1;
                code = exit::worst(code, failure.code);
                line.result = "failed";
                line.error = Some(failure.in_one_line());
                output.json(&line);
                output.failure(&failure);
            }
        }
        output.flush();
    }
    output.json(&summary);
    Ok(code)
}

fn remove(archive: &Archive, name: &FileName) -> Result<Gone, CommitError> {
    let removal = archive.remove(name)?;
    Ok(Gone {
        len_bytes: removal.len_bytes,
        freed_bytes: removal.freed_bytes,
    })
}

fn look_up(archive: &Archive, name: &FileName) -> Result<Gone, CommitError> {
    let found = |archive: &Archive| -> Result<_, CatalogError> { archive.snapshot()?.file(name) };
    let file = found(archive)?.ok_or_else(|| CommitError::NotFound { name: name.clone() })?;
    Ok(Gone {
        len_bytes: file.len_bytes,
        freed_bytes: file.stored_bytes,
    })
}

fn failure(error: &CommitError, name: &FileName, context: &Context) -> Failure {
    let meaning = commit_error(error);
    let failure = Failure::of(error, meaning);
    if matches!(error, CommitError::NotFound { .. }) {
        // It says itself which name.
        return context.explain(failure, meaning);
    }
    context.explain(failure.under(format!("{name} was not removed")), meaning)
}
