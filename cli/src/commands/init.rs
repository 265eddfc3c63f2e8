//! `init`: makes an archive.

use bfdb::{
    archive::Archive,
    error::OpenError,
    host::{ArchiveLayout, ArchiveState},
};
use serde::Serialize;

use crate::{context::Context, exit, failure::Failure};

/// Make an archive
///
/// Makes an archive in a directory that is absent or empty. There is no need to: `commit` makes one where none is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb init                         make ./archive.bfdb\n  \
    bfdb init -a /mnt/disk/photos     make /mnt/disk/photos\n  \
    bfdb init -n                      say what would be made")]
pub(crate) struct Arguments {
    /// Change nothing, say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    path: String,
    archive: Option<String>,
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let path = context.archive_text();
    if arguments.dry_run {
        check_place(context)?;
        context.output.line(&format!("would make an archive at {path}"));
        return Ok(finish(context, None));
    }
    let archive = context.create()?;
    let id = archive.id().to_string();
    context.finish(archive, |_: &Archive| {
        context.output.summary(&format!("made archive {id} at {path}"));
        Ok(finish(context, Some(id)))
    })
}

/// Refuses what making an archive would refuse.
fn check_place(context: &Context) -> Result<(), Failure> {
    let state = ArchiveLayout::new(context.archive()).state();
    let refused = match state {
        Ok(ArchiveState::Absent | ArchiveState::Empty | ArchiveState::Interrupted) => return Ok(()),
        Ok(ArchiveState::Archive | ArchiveState::Remains | ArchiveState::Foreign) => OpenError::Exists {
            path: context.archive().to_path_buf(),
        },
        Err(source) => source.into(),
    };
    Err(context.creation_failure(&refused))
}

fn finish(context: &Context, id: Option<String>) -> u8 {
    context.output.json(&Summary {
        path: context.archive_text(),
        dry_run: id.is_none(),
        archive: id,
    });
    exit::SUCCESS
}
