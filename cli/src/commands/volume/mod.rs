//! `volume`: volumes that come and go, and how each is.

mod add;
mod listing;
mod moving;
mod outcome;
mod remove;
mod spread;

use std::{num::NonZeroU64, path::PathBuf};

use clap::Subcommand;

pub(super) use self::listing::suggestions;
use crate::{
    arguments::{
        pace::rate,
        volumes::{VolumeName, volume_parser},
    },
    context::Context,
    failure::Failure,
};

/// Add, list, replace and remove volumes
///
/// An archive lies on one or more volumes: directories, best on a disk each. A VOLUME is given by its number, by 4 or more digits of
/// its id, or by its directory, as `bfdb volume ls` shows them.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb volume ls                       how each is, and how much is on it\n  \
    bfdb volume add /mnt/d/bfdb          new files go there too\n  \
    bfdb volume replace 2 /mnt/e/bfdb    everything that is, or was, on volume 2 is there then\n  \
    bfdb volume drain 1                  moves what is on volume 1 to the others\n  \
    bfdb volume remove 1                 which holds nothing any more\n\n\
    Exit codes: 0 done, 6 a volume is away, or what is on it cannot be made again without it, 4 damage is in the way,\n\
    5 bytes are lost, 1 failed, 15 no such volume.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a volume in a directory that is absent or empty, and add it to the archive
    ///
    /// What is stored stays where it is, new files are spread over all volumes.
    Add(Addition),
    /// List the volumes, how each is, and how much is on it
    Ls,
    /// Move everything that is on a volume to the others; nothing new goes there from now on
    ///
    /// It need not be there: what cannot be copied is made again from the rest. Interrupted, the same command goes on.
    Drain(Drain),
    /// Let a volume that holds nothing any more be a part of the archive no longer
    Remove(Removal),
    /// Move shards of files that lie on fewer volumes than new ones do, so that as many volumes may be lost of them
    ///
    /// They were stored when there were fewer volumes, or while some were away. Interrupted, the same command goes on.
    Spread(Spread),
    /// Put a new volume in the place of one, which need not be there
    ///
    /// Everything that is on the old one is copied to a directory that is absent or empty; what cannot be copied is made again from
    /// the rest. Then the old one is no part of the archive any more. Interrupted, the same command goes on.
    Replace(Replacement),
}

#[derive(Debug, clap::Args)]
struct Addition {
    /// Directory of the volume
    #[arg(value_name = "DIR")]
    directory: PathBuf,
    /// Change nothing, say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct Drain {
    /// Number, id or directory of the volume
    #[arg(value_name = "VOLUME", value_parser = volume_parser())]
    which: VolumeName,
    /// Write at most so many bytes a second, such as 100M
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    rate: Option<NonZeroU64>,
    /// Change nothing, say what would be moved where
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct Spread {
    /// Write at most so many bytes a second, such as 100M
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    rate: Option<NonZeroU64>,
}

#[derive(Debug, clap::Args)]
struct Removal {
    /// Number, id or directory of the volume
    #[arg(value_name = "VOLUME", value_parser = volume_parser())]
    which: VolumeName,
    /// Change nothing, say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Debug, clap::Args)]
struct Replacement {
    #[command(flatten)]
    old: Drain,
    /// Directory of the volume that takes its place
    #[arg(value_name = "DIR")]
    directory: PathBuf,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    match &arguments.action {
        Action::Add(addition) => add::run(addition, context),
        Action::Ls => listing::run(context),
        Action::Drain(drain) => moving::drain(drain, context),
        Action::Spread(spread) => spread::run(spread, context),
        Action::Remove(removal) => remove::run(removal, context),
        Action::Replace(replacement) => moving::replace(replacement, context),
    }
}
