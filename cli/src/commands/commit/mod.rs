//! `commit`: stores files.

mod dry_run;
mod ledger;

use std::{
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use bfdb::{
    archive::{Archive, CommitOutcome},
    catalog::Access,
    error::{CommitError, OpenError},
    host::SourceFile,
    units::FileName,
};

use self::ledger::{Ledger, Stored};
use crate::{
    arguments::values,
    context::Context,
    exit,
    failure::{Failure, commit_error, host_error},
    text,
};

/// Store files
///
/// Every file is stored under the last component of its path, below --prefix where one is given. A file is stored wholly or
/// not at all; one that cannot be read does not stop the rest. A name that is taken is compared: the same content is
/// nothing to do, other content is refused. The archive is made where there is none.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb commit photo.cr3                          stored as photo.cr3\n  \
    bfdb commit *.cr3 --prefix 2024/iceland        stored as 2024/iceland/IMG_1.cr3 and so on\n  \
    bfdb commit /tmp/dump.sql --name backups/monday.sql\n  \
    bfdb commit -n *.cr3                           say what would be stored, and how\n\n\
    Exit codes: 0 all are stored, 3 some are, 1 none is.")]
pub(crate) struct Arguments {
    /// Files to store
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Store the only FILE under this name; \xNN is a byte, \\ a backslash
    #[arg(long, value_parser = values::name_parser())]
    name: Option<FileName>,
    /// Put this and a / before every name
    #[arg(long, value_parser = values::name_parser())]
    prefix: Option<FileName>,
    /// Change nothing, say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

/// A file to store, and the name to store it under.
struct Source {
    path: PathBuf,
    /// `None` for a path that ends in no name, such as `/`.
    name: Option<FileName>,
}

/// Whether the next source may still be stored.
enum Next {
    Continue,
    Stop,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let sources = sources(arguments)?;
    if arguments.dry_run {
        return dry_run::run(&sources, context);
    }
    let archive = match context.try_open(Access::Write) {
        Ok(archive) => archive,
        Err(OpenError::NotFound { .. }) => {
            // A typing error in the only FILE must not leave an archive behind.
            if !sources
                .iter()
                .any(|source| SourceFile::open(&source.path).is_ok())
            {
                return Ok(refuse_all(&sources, context));
            }
            let archive = context.create()?;
            context
                .output
                .note(&format!("made a new archive at {}", context.archive_text()));
            archive
        }
        Err(error) => return Err(context.open_failure(&error)),
    };
    context.finish(archive, |archive| Ok(store_all(archive, &sources, context)))
}

/// Names every source.
fn sources(arguments: &Arguments) -> Result<Vec<Source>, Failure> {
    if arguments.name.is_some() && arguments.files.len() > 1 {
        let count = arguments.files.len();
        return Err(Failure::usage(format!(
            "--name names one FILE, {count} were given"
        )));
    }
    let mut sources = Vec::with_capacity(arguments.files.len());
    for path in &arguments.files {
        let name = match &arguments.name {
            Some(name) => Some(below(arguments.prefix.as_ref(), name.as_bytes())?),
            None => last_component(path)
                .map(|last| below(arguments.prefix.as_ref(), &last))
                .transpose()?,
        };
        sources.push(Source {
            path: path.clone(),
            name,
        });
    }
    Ok(sources)
}

/// Returns the last component of the absolute path, so that `.` has the name of the directory it stands for.
fn last_component(path: &Path) -> Option<Vec<u8>> {
    let absolute = std::path::absolute(path).ok()?;
    let last: &OsStr = absolute.file_name()?;
    Some(last.as_bytes().to_vec())
}

fn below(prefix: Option<&FileName>, name: &[u8]) -> Result<FileName, Failure> {
    let mut bytes = Vec::new();
    if let Some(prefix) = prefix {
        bytes.extend_from_slice(prefix.as_bytes());
        bytes.push(b'/');
    }
    bytes.extend_from_slice(name);
    FileName::from_bytes(&bytes).map_err(|error| {
        let shown = text::bytes(&bytes);
        Failure::usage(format!("{shown} cannot be a name")).caused_by(&error)
    })
}

/// Tells of sources none of which can even be opened.
fn refuse_all(sources: &[Source], context: &Context) -> u8 {
    let mut ledger = Ledger::new(context);
    for source in sources {
        let failure = match SourceFile::open(&source.path) {
            Err(error) => Failure::of(&error, host_error(&error)),
            // It was no file a moment ago.
            Ok(_) => Failure::new(
                exit::FAILED,
                format!("{} changed meanwhile", text::path(&source.path)),
            ),
        };
        ledger.failed(source, &failure);
    }
    ledger.finish()
}

fn store_all(archive: &Archive, sources: &[Source], context: &Context) -> u8 {
    let total = context.total_for_progress(|| Some(total_len_bytes(sources)));
    let progress = context.progress("stored", total);
    let mut ledger = Ledger::new(context);
    for (index, source) in sources.iter().enumerate() {
        let Some(name) = &source.name else {
            ledger.failed(source, &no_name(source));
            continue;
        };
        let next = match archive.commit_path(name, &source.path, &progress) {
            Ok(outcome) => {
                progress.add_entry();
                ledger.stored(source, &stored(&outcome));
                Next::Continue
            }
            Err(error) => {
                let next = what_next(&error);
                ledger.failed(source, &failure(&error, source, context));
                next
            }
        };
        if let Next::Stop = next {
            for source in &sources[index + 1..] {
                let message = format!("{} was not tried", text::path(&source.path));
                ledger.failed(source, &Failure::new(exit::FAILED, message));
            }
            break;
        }
    }
    drop(progress);
    ledger.finish()
}

fn stored(outcome: &CommitOutcome) -> Stored {
    let (is_new, receipt) = match outcome {
        CommitOutcome::Committed(receipt) => (true, receipt),
        CommitOutcome::Unchanged(receipt) => (false, receipt),
    };
    Stored {
        is_new,
        len_bytes: receipt.len_bytes,
        tier: receipt.tier,
        root: Some(receipt.root),
        taken_bytes: receipt.stored_bytes,
    }
}

/// Bytes of all sources, as far as they can be asked.
fn total_len_bytes(sources: &[Source]) -> u64 {
    let len = |source: &Source| {
        let found = std::fs::symlink_metadata(&source.path).ok()?;
        found.is_file().then_some(found.len())
    };
    sources.iter().filter_map(len).sum()
}

/// Says whether an error is one of this source only.
fn what_next(error: &CommitError) -> Next {
    match error {
        CommitError::NameTaken { .. }
        | CommitError::SourceInsideArchive { .. }
        | CommitError::SourceLength { .. }
        | CommitError::SourceRead { .. }
        | CommitError::Source { .. }
        // A smaller one may still fit.
        | CommitError::Full { .. } => Next::Continue,
        CommitError::NotFound { .. }
        | CommitError::ReadOnly
        | CommitError::Volume { .. }
        | CommitError::Catalog { .. }
        | CommitError::Memory { .. }
        | CommitError::Host { .. }
        | _ => Next::Stop,
    }
}

/// Puts into words why a source was not stored.
fn failure(error: &CommitError, source: &Source, context: &Context) -> Failure {
    let meaning = commit_error(error);
    match error {
        // The host's error names the source itself.
        CommitError::Source { source } => Failure::of(source, meaning),
        CommitError::NameTaken { name, .. } => {
            let path = text::path(&source.path);
            let again = format!("commit --name OTHER-NAME -- {}", text::shell_word(&path));
            Failure::of(error, meaning)
                .suggest(context.command(&again, &[]))
                .suggest(context.command("rm", &[name]))
        }
        CommitError::SourceInsideArchive { .. } | CommitError::Full { .. } => Failure::of(error, meaning),
        CommitError::NotFound { .. }
        | CommitError::ReadOnly
        | CommitError::SourceLength { .. }
        | CommitError::SourceRead { .. }
        | CommitError::Volume { .. }
        | CommitError::Catalog { .. }
        | CommitError::Memory { .. }
        | CommitError::Host { .. }
        | _ => {
            let failure =
                Failure::of(error, meaning).under(format!("{} was not stored", text::path(&source.path)));
            context.explain(failure, meaning)
        }
    }
}

fn no_name(source: &Source) -> Failure {
    let path = text::path(&source.path);
    let opened = SourceFile::open(&source.path).map_err(|error| Failure::of(&error, host_error(&error)));
    let no_name = || Failure::new(exit::FAILED, format!("{path} ends in no name to store it under"));
    opened.map_or_else(|failure| failure, |_| no_name())
}
