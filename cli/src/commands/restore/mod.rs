//! `restore`: gets what is stored back onto the host.

mod dry_run;
mod ledger;

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, OnceLock, PoisonError},
};

use bfdb::{
    archive::{Event, FileInfo, Losses, Observer, RestoreObserver, RestoreOptions, RestoreReceipt, Snapshot},
    error::RestoreError,
    host::{Existing, RestoreTarget, is_partial_name, path_is_inside},
    units::FileName,
};

use self::ledger::Ledger;
use super::{damage::DamageLog, versions, without_covered};
use crate::{
    arguments::values,
    context::Context,
    exit,
    failure::{Failure, Meaning, host_error, restore_error},
    progress::Progress,
    text,
    volumes::{AROUND, Volumes},
};

/// Get files back, verified
///
/// Restores what NAME names and everything below it as DIR/NAME, and everything in the archive where no NAME is given; DIR
/// is made when it is missing. A file appears under its name only when every byte of it is right and on disk. Directories
/// and symbolic links come back as such; permissions and modification times are kept. One file that cannot be restored
/// does not stop the rest.
///
/// A file that has lost bytes is not restored. With --partial every byte that is left of it is, as DIR/NAME.partial: what
/// is lost is left out, reads as zeros, and is listed.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb restore photo.cr3 -o .                      ./photo.cr3\n  \
    bfdb restore 2024/iceland -o /tmp/back           everything below 2024/iceland\n  \
    bfdb restore -o /tmp/back                        everything\n  \
    bfdb restore photo.cr3 -o . --overwrite          also where ./photo.cr3 exists\n  \
    bfdb restore notes.txt -o . --version 3          ./notes.txt as it was then\n  \
    bfdb restore film.mkv -o . --partial             ./film.mkv.partial, where bytes of it are lost\n\n\
    Exit codes: 0 all are restored, 5 bytes are lost, 15 no such name, 3 some are restored, 1 none is.")]
pub(crate) struct Arguments {
    /// Names of files, or of directories above them; everything when none is given
    #[arg(value_name = "NAME|PREFIX", value_parser = values::name_parser())]
    names: Vec<FileName>,
    /// Directory to restore into
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    #[command(flatten)]
    asked: versions::Asked,
    /// Replace files and links that exist; directories are never replaced
    #[arg(long)]
    overwrite: bool,
    /// Restore what is left of a file that has lost bytes, as NAME.partial; what ends so is never replaced
    #[arg(long)]
    partial: bool,
    /// Change nothing, say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

impl Arguments {
    /// Returns where something is restored.
    fn path_of(&self, name: &FileName) -> PathBuf {
        self.output.join(OsStr::from_bytes(name.as_bytes()))
    }

    /// Says whether nothing takes the place of what has a name, whatever was asked for.
    fn keeps(&self, name: &FileName) -> bool {
        self.partial && is_partial_name(name)
    }

    /// Returns what to restore, each thing once; `None` is everything.
    fn prefixes(&self) -> Vec<Option<&FileName>> {
        if self.names.is_empty() {
            return vec![None];
        }
        without_covered(&self.names).into_iter().map(Some).collect()
    }
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive_to_read(|archive| {
        let snapshot = archive
            .snapshot()
            .map_err(|error| context.catalog_failure(&error))?;
        let snapshot = match (arguments.asked.version, arguments.names.as_slice()) {
            (None, _) => snapshot,
            (Some(_), [name]) => arguments.asked.view(snapshot, name, context)?,
            (Some(_), _) => return Err(Failure::usage("--version is of one NAME")),
        };
        let volumes = Volumes::of(&snapshot, context).map_err(|error| context.catalog_failure(&error))?;
        refuse_target_in_archive(&arguments.output, &volumes, context)?;
        if !arguments.dry_run {
            volumes.warn_of_away(AROUND, context);
        }
        let total = context.total_for_progress(|| total_len_bytes(&snapshot, arguments));
        let restoring = Restoring {
            arguments,
            context,
            snapshot: &snapshot,
            target: OnceLock::new(),
            progress: context.progress("restored", total),
            log: DamageLog::default(),
            ledger: Mutex::new(Ledger::new(arguments, &volumes, context)),
        };
        restoring.run()
    })
}

/// A restore while it runs.
struct Restoring<'a> {
    arguments: &'a Arguments,
    context: &'a Context<'a>,
    snapshot: &'a Snapshot,
    /// Opened, and made, when there is something to restore.
    target: OnceLock<RestoreTarget>,
    progress: Progress<'a>,
    log: DamageLog,
    ledger: Mutex<Ledger<'a>>,
}

impl Observer for Restoring<'_> {
    fn event(&self, event: Event<'_>) {
        self.progress.event(event);
        self.log.event(event);
    }

    fn is_cancelled(&self) -> bool {
        self.progress.is_cancelled()
    }
}

impl RestoreObserver for Restoring<'_> {
    fn entry_done(&self, entry: &FileInfo, result: Result<RestoreReceipt, RestoreError>) {
        self.with_ledger(|ledger| match result {
            Ok(receipt) if receipt.lost.is_empty() => {
                ledger.restored(entry, &receipt.not_kept, &self.log);
            }
            Ok(receipt) => ledger.restored_in_part(entry, receipt, &self.log),
            // What was not finished when the command was interrupted has not failed.
            Err(RestoreError::Cancelled) => {}
            Err(error) => ledger.failed(entry, error, &self.log),
        });
        self.progress.add_entry();
    }
}

impl Restoring<'_> {
    fn run(self) -> Result<u8, Failure> {
        let options = RestoreOptions {
            existing: if self.arguments.overwrite {
                Existing::Overwrite
            } else {
                Existing::Refuse
            },
            losses: if self.arguments.partial {
                Losses::LeaveOut
            } else {
                Losses::Refuse
            },
            ..RestoreOptions::default()
        };
        for prefix in self.arguments.prefixes() {
            if self.context.interrupt.is_set() {
                return Err(self.interrupted());
            }
            if !self.is_anything_there(prefix)? {
                continue;
            }
            if self.arguments.dry_run {
                dry_run::run(&self, prefix)?;
                continue;
            }
            let restored = self.restore(prefix, options)?;
            match restored {
                Ok(()) => {}
                Err(RestoreError::Cancelled) => return Err(self.interrupted()),
                Err(error) => {
                    let failure = self.context.failure(&error, restore_error(&error));
                    return Err(failure.under("restoring ended before it was done"));
                }
            }
        }
        self.context.output.clear_bar();
        let ledger = self.ledger.into_inner().unwrap_or_else(PoisonError::into_inner);
        drop(self.progress);
        Ok(ledger.finish(self.snapshot))
    }

    /// Restores what a prefix names, or the version of it that was asked for.
    fn restore(
        &self,
        prefix: Option<&FileName>,
        options: RestoreOptions,
    ) -> Result<Result<(), RestoreError>, Failure> {
        let target = self.target()?;
        let (Some(_), Some(name)) = (self.arguments.asked.version, prefix) else {
            return Ok(self.snapshot.restore_all(prefix, target, &options, self));
        };
        let found = self.snapshot.file(name);
        let Some(entry) = found.map_err(|error| self.context.catalog_failure(&error))? else {
            return Ok(Ok(()));
        };
        match self.snapshot.restore(name, target, &options, self) {
            Err(RestoreError::Cancelled) => return Ok(Err(RestoreError::Cancelled)),
            restored => self.entry_done(&entry, restored),
        }
        Ok(Ok(()))
    }

    fn with_ledger<T>(&self, work: impl FnOnce(&mut Ledger) -> T) -> T {
        work(&mut self.ledger.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says whether `prefix` names anything; that it does not is told and does not stop the rest. An empty archive has
    /// nothing to restore, and that is fine.
    fn is_anything_there(&self, prefix: Option<&FileName>) -> Result<bool, Failure> {
        let first = match (self.arguments.asked.version, prefix) {
            (Some(_), Some(name)) => self.snapshot.file(name),
            _ => self.snapshot.files(prefix).next().transpose(),
        };
        let is_there = first
            .map_err(|error| self.context.catalog_failure(&error))?
            .is_some();
        if let (false, Some(prefix)) = (is_there, prefix) {
            let message = format!("no file named {prefix} in this archive, nor anything below it");
            let failure = Failure::new(exit::NO_SUCH_NAME, message);
            let failure = self.context.explain(failure, Meaning::NoSuchName);
            self.with_ledger(|ledger| ledger.missing(&failure));
        }
        Ok(is_there)
    }

    fn target(&self) -> Result<&RestoreTarget, Failure> {
        if let Some(target) = self.target.get() {
            return Ok(target);
        }
        let target = RestoreTarget::open(&self.arguments.output);
        let target = target.map_err(|error| Failure::of(&error, host_error(&error)))?;
        Ok(self.target.get_or_init(|| target))
    }

    fn interrupted(&self) -> Failure {
        self.context
            .interrupted(&self.with_ledger(|ledger| ledger.left_in_words()))
    }
}

/// Refuses to put files where the archive keeps its own.
fn refuse_target_in_archive(target: &Path, volumes: &Volumes, context: &Context) -> Result<(), Failure> {
    // What is missing of the target will be made below the first directory that is there.
    let existing = target
        .ancestors()
        .map(|path| {
            if path == Path::new("") {
                Path::new(".")
            } else {
                path
            }
        })
        .find(|path| path.exists());
    let existing = existing.unwrap_or(Path::new("."));
    // A link at the end counts for what it leads to. What cannot be resolved is refused when it is opened.
    let resolved = existing.canonicalize();
    let existing = resolved.as_deref().unwrap_or(existing);
    // What is not there holds nothing.
    let own = volumes.directories().filter(|own| own.exists());
    for own in own.chain([context.archive().to_path_buf()]) {
        let is_inside = path_is_inside(existing, &own);
        if is_inside.map_err(|error| Failure::of(&error, host_error(&error)))? {
            let (target, archive) = (text::path(target), context.archive_text());
            let message = format!("{target} lies inside the archive {archive}: nothing is restored there");
            return Err(Failure::new(exit::FAILED, message));
        }
    }
    Ok(())
}

fn total_len_bytes(snapshot: &Snapshot, arguments: &Arguments) -> Option<u64> {
    let mut total = 0;
    for prefix in arguments.prefixes() {
        total += match prefix {
            None => snapshot.totals().ok()?.bytes,
            Some(name) if arguments.asked.version.is_some() => {
                snapshot.file(name).ok()?.map_or(0, |file| file.len_bytes)
            }
            Some(prefix) => snapshot
                .files(Some(prefix))
                .map(|entry| Some(entry.ok()?.len_bytes))
                .sum::<Option<u64>>()?,
        };
    }
    Some(total)
}
