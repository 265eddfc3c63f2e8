//! `restore`: gets files back onto the host.

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use bfdb::{
    archive::{Archive, Event, FileInfo, Observer, RestoreOptions, RestoreReceipt, Snapshot},
    catalog::Access,
    error::{HostError, RestoreError},
    host::{Existing, RestoreTarget, path_is_inside},
    units::FileName,
};
use serde::Serialize;

use super::{
    damage::{DamageLog, read_failure},
    without_covered,
};
use crate::{
    arguments::values,
    context::Context,
    exit,
    failure::{Failure, Meaning, host_error, restore_error},
    progress::{Progress, Stopwatch},
    text,
};

/// Get files back, verified
///
/// Restores every file that NAME names or that lies below it as DIR/NAME; DIR is made when it is missing. A file appears
/// under its name only when every byte of it is right and on disk. Permissions and modification times are kept. One file
/// that cannot be restored does not stop the rest.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb restore photo.cr3 -o .                      ./photo.cr3\n  \
    bfdb restore 2024/iceland -o /tmp/back           everything below 2024/iceland\n  \
    bfdb restore photo.cr3 -o . --overwrite          also where ./photo.cr3 exists\n\n\
    Exit codes: 0 all are restored, 5 bytes are lost, 15 no such name, 3 some are restored, 1 none is.")]
pub(crate) struct Arguments {
    /// Names of files, or of directories above them
    #[arg(value_name = "NAME|PREFIX", required = true, value_parser = values::name_parser())]
    names: Vec<FileName>,
    /// Directory to restore into
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// Replace files that exist
    #[arg(long)]
    overwrite: bool,
    /// Change nothing, say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "file")]
struct FileLine {
    name: String,
    length: u64,
    root: String,
    path: String,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    files: u64,
    bytes: u64,
    failed: u64,
    seconds: f64,
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive(Access::Read, |archive| {
        refuse_target_in_archive(&arguments.output, context)?;
        let snapshot = archive
            .snapshot()
            .map_err(|error| context.catalog_failure(&error))?;
        let restorer = Restorer {
            arguments,
            context,
            snapshot: &snapshot,
            target: OnceLock::new(),
            progress: context.progress("restored", total_len_bytes(archive, arguments, context)),
            log: DamageLog::default(),
        };
        restorer.run()
    })
}

struct Restorer<'a> {
    arguments: &'a Arguments,
    context: &'a Context<'a>,
    snapshot: &'a Snapshot,
    /// Opened, and made, for the first file.
    target: OnceLock<RestoreTarget>,
    progress: Progress<'a>,
    log: DamageLog,
}

#[derive(Default)]
struct Tally {
    files: u64,
    bytes: u64,
    failed: u64,
    code: u8,
}

impl Observer for Restorer<'_> {
    fn event(&self, event: Event<'_>) {
        self.progress.event(event);
        self.log.event(event);
    }
}

impl Restorer<'_> {
    fn run(&self) -> Result<u8, Failure> {
        let stopwatch = Stopwatch::start();
        let mut tally = Tally::default();
        for prefix in without_covered(&self.arguments.names) {
            let mut files = self.snapshot.files(Some(prefix)).peekable();
            if files.peek().is_none() {
                let message = format!("no file named {prefix} in this archive, nor anything below it");
                let failure = Failure::new(exit::NO_SUCH_NAME, message);
                tally.failed += 1;
                tally.code = exit::worst(tally.code, failure.code);
                let failure = self.context.explain(failure, Meaning::NoSuchName);
                self.context.output.failure(&failure);
            }
            for file in files {
                let file = file.map_err(|error| self.context.catalog_failure(&error))?;
                let target = if self.arguments.dry_run {
                    None
                } else {
                    Some(self.target()?)
                };
                self.restore(&file, target, &mut tally);
            }
        }
        self.context.output.clear_bar();
        Ok(self.finish(&tally, stopwatch))
    }

    fn target(&self) -> Result<&RestoreTarget, Failure> {
        if let Some(target) = self.target.get() {
            return Ok(target);
        }
        let target = RestoreTarget::open(&self.arguments.output);
        let target = target.map_err(|error| Failure::of(&error, host_error(&error)))?;
        Ok(self.target.get_or_init(|| target))
    }

    /// Restores a file and tells of it; without a target only tells.
    fn restore(&self, file: &FileInfo, target: Option<&RestoreTarget>, tally: &mut Tally) {
        let path = self
            .arguments
            .output
            .join(OsStr::from_bytes(file.name.as_bytes()));
        let line = FileLine {
            name: file.name.to_string(),
            length: file.len_bytes,
            root: file.root.to_string(),
            path: text::path(&path),
            result: "restored",
            error: None,
            dry_run: target.is_none(),
        };
        match self.try_restore(file, target, &path) {
            Ok(not_kept) => {
                tally.files += 1;
                tally.bytes += file.len_bytes;
                for error in not_kept {
                    let why = Failure::of(&error, Meaning::Failed).in_one_line();
                    self.context.warn(format!("{}: {why}", file.name), Vec::new());
                }
                self.log.warn_about(&file.name, self.context);
                let verb = if line.dry_run { "would restore" } else { "restored" };
                let size = text::size(file.len_bytes);
                self.context
                    .output
                    .summary(&format!("{verb}  {size:>10}  {}", line.path));
                self.context.output.json(&line);
            }
            Err(failure) => {
                tally.failed += 1;
                // That a file failed is said by the counts; what is worse than that is said here.
                if failure.code != exit::FAILED {
                    tally.code = exit::worst(tally.code, failure.code);
                }
                self.log.forget(&file.name);
                self.context.output.json(&FileLine {
                    result: "failed",
                    error: Some(failure.in_one_line()),
                    ..line
                });
                self.context.output.failure(&failure);
            }
        }
        self.context.output.flush();
    }

    /// Restores a file and returns what its file system would not take.
    fn try_restore(
        &self,
        file: &FileInfo,
        target: Option<&RestoreTarget>,
        path: &Path,
    ) -> Result<Vec<HostError>, Failure> {
        let existing = if self.arguments.overwrite {
            Existing::Overwrite
        } else {
            Existing::Refuse
        };
        let Some(target) = target else {
            return self.check_place(path, &file.name).map(|()| Vec::new());
        };
        let options = RestoreOptions {
            existing,
            ..RestoreOptions::default()
        };
        let restored = self.snapshot.restore(&file.name, target, &options, self);
        let RestoreReceipt { not_kept, .. } = restored.map_err(|error| self.failure(&error, &file.name))?;
        Ok(not_kept)
    }

    /// Refuses what stands in the way, as restoring would.
    fn check_place(&self, path: &Path, name: &FileName) -> Result<(), Failure> {
        let path = path.to_path_buf();
        let error = match std::fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => HostError::DirectoryInPlace { path },
            Ok(_) if !self.arguments.overwrite => HostError::Exists { path },
            Ok(_) | Err(_) => return Ok(()),
        };
        Err(self.failure(&error.into(), name))
    }

    fn failure(&self, error: &RestoreError, name: &FileName) -> Failure {
        let meaning = restore_error(error);
        match error {
            RestoreError::Read { source } => read_failure(source, name, self.snapshot, self.context),
            // The host's error names the place.
            RestoreError::Host { source } => {
                let failure = Failure::of(source, meaning);
                if matches!(source, HostError::Exists { .. }) {
                    let output = text::path(&self.arguments.output);
                    let again = format!("restore --overwrite -o {}", text::shell_word(&output));
                    return failure.suggest(self.context.command(&again, &[name]));
                }
                failure
            }
            RestoreError::TargetInsideArchive { .. } | _ => {
                Failure::of(error, meaning).under(format!("{name} was not restored"))
            }
        }
    }

    fn finish(&self, tally: &Tally, stopwatch: Stopwatch) -> u8 {
        self.context.output.json(&Summary {
            files: tally.files,
            bytes: tally.bytes,
            failed: tally.failed,
            seconds: stopwatch.seconds(),
            dry_run: self.arguments.dry_run,
        });
        let done = format!(
            "{}, {}",
            text::count(tally.files, "file"),
            text::size(tally.bytes)
        );
        let mut line = if self.arguments.dry_run {
            format!("would have restored: {done}")
        } else {
            format!("{done} restored in {}", text::duration(stopwatch.elapsed()))
        };
        if tally.failed > 0 {
            line = format!("{line}, {} failed", tally.failed);
        }
        self.context.output.summary(&line);
        let code = match (tally.failed, tally.files) {
            (0, _) => exit::SUCCESS,
            // Why is said by a code of its own.
            (_, 0) if tally.code != exit::SUCCESS => tally.code,
            (_, 0) => exit::FAILED,
            _ => exit::PARTLY_DONE,
        };
        exit::worst(tally.code, code)
    }
}

/// Refuses to put files where the archive keeps its own.
fn refuse_target_in_archive(target: &Path, context: &Context) -> Result<(), Failure> {
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
    let is_inside = path_is_inside(resolved.as_deref().unwrap_or(existing), context.archive());
    if is_inside.map_err(|error| Failure::of(&error, host_error(&error)))? {
        let (target, archive) = (text::path(target), context.archive_text());
        let message = format!("{target} lies inside the archive {archive}: nothing is restored there");
        return Err(Failure::new(exit::FAILED, message));
    }
    Ok(())
}

fn total_len_bytes(archive: &Archive, arguments: &Arguments, context: &Context) -> Option<u64> {
    context.total_for_progress(|| {
        let snapshot = archive.snapshot().ok()?;
        let mut total = 0;
        for prefix in without_covered(&arguments.names) {
            for file in snapshot.files(Some(prefix)) {
                total += file.ok()?.len_bytes;
            }
        }
        Some(total)
    })
}
