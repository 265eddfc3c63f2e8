//! `ls`: lists what is stored.

use bfdb::{archive::Archive, catalog::Access, units::FileName};

use super::listing::{Detail, Listing};
use crate::{
    arguments::values,
    context::Context,
    exit,
    failure::{Failure, Meaning},
};

/// List stored files
///
/// Lists every file, directory and symbolic link, or what PREFIX names and everything below it: `ls a/b` lists a/b and
/// a/b/c, not a/bc. `unverified` means that a file was not read back since it was committed, and that nothing is known to be
/// wrong with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb ls                  names only, one a line\n  \
    bfdb ls -l photos        permissions, tier, length, time of the commit, state and name\n  \
    bfdb ls --json           JSON lines with lengths in bytes and roots (what b3sum prints)")]
pub(crate) struct Arguments {
    /// Name of a file, or a directory above files
    #[arg(value_parser = values::name_parser())]
    prefix: Option<FileName>,
    /// Show more than the name
    #[arg(short, long)]
    long: bool,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive(Access::Read, |archive| list(archive, arguments, context))
}

fn list(archive: &Archive, arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let unreadable = |error| context.catalog_failure(&error);
    let snapshot = archive.snapshot().map_err(unreadable)?;
    let detail = if arguments.long {
        Detail::Long
    } else {
        Detail::Name
    };
    let mut listing = Listing::new(context, detail);
    for entry in listing.entries(&snapshot, arguments.prefix.as_ref()) {
        context.check_interrupt()?;
        let (entry, class) = entry.map_err(unreadable)?;
        listing.show(&entry, class);
        if context.output.is_closed() {
            return Ok(exit::SUCCESS);
        }
    }
    match &arguments.prefix {
        Some(prefix) if listing.is_empty() => {
            let message = format!("no file named {prefix} in this archive, nor anything below it");
            let failure = Failure::new(exit::NO_SUCH_NAME, message);
            Err(context.explain(failure, Meaning::NoSuchName))
        }
        _ => {
            listing.finish();
            Ok(exit::SUCCESS)
        }
    }
}
