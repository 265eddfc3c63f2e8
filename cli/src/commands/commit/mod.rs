//! `commit`: stores files, directories and symbolic links.
//!
//! The way of a source: [`roots`] says what was asked for and under which names, [`sources`] walks each of these and gives
//! one source after another to the library, less what [`exclusion`] leaves out, and [`ledger`] tells what became of it.

mod dry_run;
mod exclusion;
mod ledger;
mod pipe;
pub(super) mod reason;
pub(super) mod risks;
mod roots;
mod sources;

use std::path::{Path, PathBuf};

use bfdb::{
    archive::{
        Archive, CommitAllOptions, CommitObserver, CommitOutcome, Event, NameConflict, Observer,
        Source as LibrarySource,
    },
    catalog::Access,
    error::{CommitError, OpenError},
    geometry::Policy,
    host::ExcludedDirectories,
    units::FileName,
};

use self::{
    exclusion::Exclusion,
    ledger::{Ledger, SharedLedger, Stored, Subject},
    sources::Sources,
};
use super::{damage::as_u64, disks::warn_of_disks};
use crate::{
    arguments::{Advanced, values},
    context::Context,
    failure::{Failure, commit_error},
    progress::Progress,
    text,
    volumes::Volumes,
};

/// Store files, directories and links
///
/// A directory is stored with everything below it; a symbolic link as a link. Names are the last component of each PATH
/// and what is below it, below --prefix where one is given. A name that is taken is compared: the same content is nothing
/// to do, other content is refused without --replace. The archive is made where there is none.
///
/// Every file is stored wholly or not at all, and is durable when its line is printed; a tree is not stored as a whole:
/// after an interruption some of its files are there and others not, and the same command again stores the rest. What
/// cannot be read does not stop the rest. A long file goes on where it was interrupted, with the same command again or
/// with `bfdb recover --resume`. Owners, extended attributes, ACLs and holes are not kept, and hard links become
/// copies.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb commit photo.cr3                          stored as photo.cr3\n  \
    bfdb commit ~/photos --exclude '*.tmp'         stored as photos and photos/...\n  \
    bfdb commit *.cr3 --prefix 2024/iceland        stored as 2024/iceland/IMG_1.cr3 and so on\n  \
    pg_dump shop | bfdb commit - --name db/monday.sql\n  \
    find src -name '*.rs' -print0 | bfdb commit --files-from - -0\n  \
    bfdb commit notes.txt --replace --keep-versions 5\n  \
    bfdb commit -n ~/photos                        say what would be stored\n\n\
    Exit codes: 0 all are stored, 3 some are, 1 none is, 6 all are, and fewer volumes may be lost of them than ought to.")]
pub(crate) struct Arguments {
    /// What to store; - is standard input and needs --name
    #[arg(value_name = "PATH", required_unless_present = "files_from")]
    paths: Vec<PathBuf>,
    /// Store the only PATH under this name; \xNN is a byte, \\ a backslash
    #[arg(long, value_parser = values::name_parser())]
    name: Option<FileName>,
    /// Put this and a / before every name
    #[arg(long, value_parser = values::name_parser())]
    prefix: Option<FileName>,
    /// Where a name is taken by other content, put the source in its place
    #[arg(long)]
    replace: bool,
    /// Of what --replace replaces, keep so many versions beside the current one; older ones go. None are kept unless given
    #[arg(long, value_name = "N", requires = "replace")]
    keep_versions: Option<u32>,
    /// Leave out what matches, as a line of a .gitignore; may be given again, and later patterns win
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<String>,
    /// Leave out what matches a line of FILE; patterns of --exclude come after these
    #[arg(long, value_name = "FILE")]
    exclude_from: Vec<PathBuf>,
    /// Store also the paths that FILE lists, one a line, each under its path; - is standard input
    #[arg(long, value_name = "FILE")]
    files_from: Option<PathBuf>,
    /// Paths of --files-from end in a NUL byte instead of a line end
    #[arg(short = '0', long, requires = "files_from")]
    null: bool,
    /// Change nothing, say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
    #[command(flatten)]
    advanced: Advanced,
}

impl Arguments {
    pub(crate) const fn progress_bytes(&self) -> Option<u64> {
        self.advanced.progress_bytes
    }

    fn name_conflict(&self) -> NameConflict {
        match (self.replace, self.keep_versions) {
            (false, _) => NameConflict::Refuse,
            (true, None | Some(0)) => NameConflict::Replace,
            (true, Some(versions)) => NameConflict::ReplaceAndKeep { versions },
        }
    }

    /// Refuses what means nothing together.
    fn check(&self) -> Result<(), Failure> {
        let is_pipe = |path: &Path| path == Path::new("-");
        let count = self.paths.len();
        let has_pipe = self.paths.iter().any(|path| is_pipe(path));
        let refused = match (&self.name, &self.files_from) {
            (Some(_), Some(_)) => "--name names one PATH, --files-from lists others".to_owned(),
            (Some(_), None) if count != 1 => format!("--name names one PATH, {count} were given"),
            (None, _) if has_pipe => "standard input needs a --name (a file named - is ./-)".to_owned(),
            _ => return Ok(()),
        };
        Err(Failure::usage(refused))
    }

    fn is_of_pipe(&self) -> bool {
        self.paths.first().is_some_and(|path| path == Path::new("-"))
    }
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    arguments.check()?;
    let ledger = SharedLedger::new(Ledger::new(arguments, context));
    if arguments.is_of_pipe() {
        return pipe::run(arguments, context, &ledger);
    }
    let exclusion = Exclusion::read(&arguments.exclude_from, &arguments.exclude)?;
    let roots = roots::of(arguments, context)?;
    let mut sources = Sources::new(roots, &exclusion, &ledger, context);
    if arguments.dry_run {
        return dry_run::run(&mut sources, arguments, context, &ledger);
    }
    let archive = match context.try_open(Access::Write) {
        Ok(archive) => archive,
        Err(OpenError::NotFound { .. }) => {
            // A typing error in the only PATH must not leave an archive behind.
            if !sources.look_ahead() {
                return sources.check_complete().map(|()| ledger.finish());
            }
            make_archive(context)?
        }
        Err(error) => return Err(context.open_failure(&error)),
    };
    context.finish(archive, |archive| {
        sources.keep_out_of(directories_of(archive, context)?);
        Volumes::of_archive(archive, context)?.warn_of_unwritable(context);
        store_all(archive, &mut sources, arguments, context, &ledger)
    })
}

fn make_archive(context: &Context) -> Result<Archive, Failure> {
    let policy = Policy::default();
    let archive = context.create(policy)?;
    let place = context.archive_text();
    let volumes = context.volumes();
    let on = match volumes.len() {
        0 => String::new(),
        count => format!(", on {}", text::count(as_u64(count), "volume")),
    };
    context.output.note(&format!("made a new archive at {place}{on}"));
    warn_of_disks(volumes, policy.survive_volumes(), context);
    Ok(archive)
}

/// Returns the directories in which the archive keeps its own files.
fn directories_of(archive: &Archive, context: &Context) -> Result<ExcludedDirectories, Failure> {
    let own = archive.own_directories();
    own.map_err(|error| context.failure(&error, commit_error(&error)))
}

fn store_all(
    archive: &Archive,
    sources: &mut Sources,
    arguments: &Arguments,
    context: &Context,
    ledger: &SharedLedger,
) -> Result<u8, Failure> {
    let total = context.total_for_progress(|| total_len_bytes(arguments));
    let storing = Storing {
        context,
        progress: context.progress("stored", total),
        ledger,
    };
    ledger.with(|ledger| ledger.look_up_lost(archive));
    let options = CommitAllOptions {
        name_conflict: arguments.name_conflict(),
    };
    let mut found = sources.by_ref().map(|found| found.source);
    let stored = archive.commit_all(&mut found, &options, &storing);
    drop(storing);
    if let Err(CommitError::Interrupted { name, done_bytes, .. }) = &stored {
        return Err(ledger.interrupted_within(name, *done_bytes));
    }
    sources.check_complete()?;
    ledger.with(|ledger| ledger.warn_of_risks(archive, &arguments.paths));
    match stored {
        Ok(()) => Ok(ledger.finish()),
        Err(CommitError::Cancelled) => Err(ledger.interrupted()),
        Err(error) => {
            let failure = context.failure(&error, commit_error(&error));
            Ok(ledger.give_up(&failure.under("storing ended before it was done")))
        }
    }
}

/// A commit while it runs: hands events on.
struct Storing<'a, 'l> {
    context: &'a Context<'a>,
    progress: Progress<'a>,
    ledger: &'a SharedLedger<'l>,
}

impl Observer for Storing<'_, '_> {
    fn event(&self, event: Event<'_>) {
        if let Event::GoingOn {
            name,
            done_bytes,
            len_bytes,
        } = event
        {
            self.progress.skip(done_bytes);
            self.context.output.going_on(name, done_bytes, len_bytes);
        }
        self.progress.event(event);
    }

    fn is_cancelled(&self) -> bool {
        self.progress.is_cancelled()
    }
}

impl CommitObserver for Storing<'_, '_> {
    fn source_done(&self, source: &LibrarySource, result: Result<CommitOutcome, CommitError>) {
        let subject = Subject {
            path: source.place.path(),
            name: Some(&source.name),
        };
        self.ledger.with(|ledger| match result {
            Ok(outcome) => ledger.stored(&subject, &Stored::of(&outcome)),
            // What was not finished when the command was interrupted has not failed.
            Err(CommitError::Cancelled) => {}
            Err(error) => ledger.failed(&subject, &reason::of_commit(&error, &subject, self.context)),
        });
        self.progress.add_entry();
    }
}

/// Bytes of all sources. Where there are directories it is not known how many: to walk them twice takes longer than it
/// is worth.
fn total_len_bytes(arguments: &Arguments) -> Option<u64> {
    if arguments.files_from.is_some() {
        return None;
    }
    let mut total = 0;
    for path in &arguments.paths {
        match std::fs::symlink_metadata(path) {
            Ok(found) if found.is_dir() => return None,
            Ok(found) if found.is_file() => total += found.len(),
            Ok(_) | Err(_) => {}
        }
    }
    Some(total)
}
