//! `ls`: lists what is stored.

use bfdb::{
    archive::{Archive, FileInfo},
    catalog::Access,
    units::FileName,
};
use serde::Serialize;

use super::entry::{Entry, STATE};
use crate::{
    arguments::values,
    context::Context,
    exit,
    failure::{Failure, Meaning},
    text,
};

/// List stored files
///
/// Lists every file, or the file that PREFIX names and everything below it: `ls a/b` lists a/b and a/b/c, not a/bc.
/// `unverified` means that a file is not known to have been read back since it was committed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb ls                  names only, one a line\n  \
    bfdb ls -l photos        tier, length, time of the commit, state and name\n  \
    bfdb ls --json           JSON lines with lengths in bytes and roots (what b3sum prints)")]
pub(crate) struct Arguments {
    /// Name of a file, or a directory above files
    #[arg(value_parser = values::name_parser())]
    prefix: Option<FileName>,
    /// Show more than the name
    #[arg(short, long)]
    long: bool,
}

#[derive(Debug, Default, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    files: u64,
    bytes: u64,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive(Access::Read, |archive| list(archive, arguments, context))
}

fn list(archive: &Archive, arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let unreadable = |error| context.catalog_failure(&error);
    let snapshot = archive.snapshot().map_err(unreadable)?;
    let mut summary = Summary::default();
    for file in snapshot.files(arguments.prefix.as_ref()) {
        let file = file.map_err(unreadable)?;
        summary.files += 1;
        summary.bytes += file.len_bytes;
        context.output.json(&Entry::of(&file));
        if arguments.long {
            context.output.line(&long_line(&file));
        } else {
            context.output.line(&file.name.to_string());
        }
        if context.output.is_closed() {
            return Ok(exit::SUCCESS);
        }
    }
    match &arguments.prefix {
        Some(prefix) if summary.files == 0 => {
            let message = format!("no file named {prefix} in this archive, nor anything below it");
            let failure = Failure::new(exit::NO_SUCH_NAME, message);
            Err(context.explain(failure, Meaning::NoSuchName))
        }
        _ => {
            context.output.json(&summary);
            Ok(exit::SUCCESS)
        }
    }
}

/// Columns of fixed width, so that a listing of any length needs no memory.
fn long_line(file: &FileInfo) -> String {
    format!(
        "tier {}  {:>10}  {}  {STATE}  {}",
        file.tier,
        text::size(file.len_bytes),
        text::time(file.committed_at),
        file.name
    )
}
