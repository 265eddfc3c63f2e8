//! `catalog`: the database, and making it again when it is lost.

mod rebuild;

use clap::Subcommand;

use crate::{context::Context, failure::Failure};

/// Make the catalog again when it is lost
///
/// The catalog is the database in the directory of the archive: which files there are, and where they lie. What it knows is in
/// the journal on the volumes too.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb catalog rebuild                              catalog.redb is lost or damaged\n  \
    bfdb catalog rebuild --volume /mnt/a --volume /mnt/b   and so is the directory of the archive\n\n\
    Exit codes: 0 made again, 6 made again and a volume is away, 13 the journal is not whole, 11 another process works.")]
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
    Rebuild,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    match arguments.action {
        Action::Rebuild => rebuild::run(context),
    }
}
