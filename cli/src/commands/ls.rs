//! `ls`: lists what is stored.

use bfdb::{archive::Archive, catalog::Access, units::FileName};

use super::{
    listing::{Detail, Listing},
    without_covered,
};
use crate::{
    arguments::values,
    context::Context,
    exit,
    failure::{Failure, Meaning},
};

/// List stored files
///
/// Lists every file, directory and symbolic link, or what each PREFIX names and everything below it: `ls a/b` lists a/b and
/// a/b/c, not a/bc. `unverified` means that a file was not read back since it was committed, and that nothing is known to be
/// wrong with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb ls                  names only, one a line\n  \
    bfdb ls -l photos        permissions, tier, length, time of the commit, state and name\n  \
    bfdb ls --versions a.txt what `commit --keep-versions` has kept of a.txt, and a.txt itself\n  \
    bfdb ls --json           JSON lines with lengths in bytes and roots (what b3sum prints)")]
pub(crate) struct Arguments {
    /// Names of files, or of directories above files; everything when none is given
    #[arg(value_name = "NAME|PREFIX", value_parser = values::name_parser())]
    prefixes: Vec<FileName>,
    /// Show more than the name
    #[arg(short, long)]
    long: bool,
    /// List kept versions too, with number, length, time of the commit and state of each
    #[arg(long, conflicts_with = "long")]
    versions: bool,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive(Access::Read, |archive| list(archive, arguments, context))
}

fn list(archive: &Archive, arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let unreadable = |error| context.catalog_failure(&error);
    let snapshot = archive.snapshot().map_err(unreadable)?;
    let detail = match (arguments.versions, arguments.long) {
        (true, _) => Detail::Versions,
        (false, true) => Detail::Long,
        (false, false) => Detail::Name,
    };
    let prefixes: Vec<Option<&FileName>> = if arguments.prefixes.is_empty() {
        vec![None]
    } else {
        let prefixes = without_covered(&arguments.prefixes);
        prefixes.into_iter().map(Some).collect()
    };
    let (mut listing, mut code) = (Listing::new(context, detail), exit::SUCCESS);
    for prefix in &prefixes {
        let mut is_empty = true;
        for entry in listing.entries(&snapshot, *prefix) {
            context.check_interrupt()?;
            let (entry, class) = entry.map_err(unreadable)?;
            listing.show(&entry, class);
            is_empty = false;
            if context.output.is_closed() {
                return Ok(code);
            }
        }
        if let (true, Some(prefix)) = (is_empty, prefix) {
            let message = format!("no file named {prefix} in this archive, nor anything below it");
            let failure = Failure::new(exit::NO_SUCH_NAME, message);
            let failure = context.explain(failure, Meaning::NoSuchName);
            if prefixes.len() == 1 {
                return Err(failure);
            }
            code = exit::worst(code, failure.code);
            context.output.failure(&failure);
        }
    }
    listing.finish();
    Ok(code)
}
