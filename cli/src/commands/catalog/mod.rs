//! `catalog`: the database: checking it, storing what it says, and making it again when it is lost.

mod check;
mod checkpoint;
mod deep_scan;
mod export;
mod rebuild;

use clap::Subcommand;

use crate::{context::Context, failure::Failure};

/// Check the catalog, store what it says, make it again when it is lost
///
/// The catalog is the database in the directory of the archive: which files there are, and where they lie. What it knows is in
/// the journal on the volumes too, and most of it beside the data itself.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb catalog check                                is it sound, does the journal agree\n  \
    bfdb catalog export -o catalog.jsonl              all that it knows, for other programs\n  \
    bfdb catalog rebuild                              catalog.redb is lost or damaged\n  \
    bfdb catalog rebuild --volume /mnt/a --volume /mnt/b   and so is the directory of the archive\n  \
    bfdb catalog rebuild --deep-scan                  and so is the journal\n\n\
    Exit codes: 0 sound or made again, 4 something beside it is damaged, 6 a volume is away, 11 another process works, 13 it is\n\
    damaged, or the journal is not whole; of a deep scan also 4 shards of files were not found, 5 more of them than the code of a\n\
    file survives, 6 something was not found, and 1 the journal or the catalog can be used.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make the catalog from the journal on the volumes
    ///
    /// Looked for are the volumes in the directory of the archive, those of --volume, and those that the journal names. A catalog
    /// that is there is kept beside the new one. What scrubs have found is not known any more, and interrupted commits begin anew.
    Rebuild(rebuild::Arguments),
    /// Read all of the catalog and compare it with the journal, the checkpoints and the extents
    ///
    /// Pages, rows and sums, every record of the journal that is still needed, and whether each extent is there and long enough. No
    /// file data is read: `scrub` does that.
    Check,
    /// Store what the catalog says in the archive, and remove records of the journal that nobody needs any more
    ///
    /// Commands that store or remove do so by themselves when the journal has become long.
    Checkpoint,
    Export(export::Arguments),
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    match &arguments.action {
        Action::Rebuild(arguments) => rebuild::run(arguments, context),
        Action::Check => check::run(context),
        Action::Checkpoint => checkpoint::run(context),
        Action::Export(arguments) => export::run(arguments, context),
    }
}
