//! `rm`: removes names.

use bfdb::{
    archive::{Archive, FileInfo, Snapshot},
    catalog::{Access, EntryKind},
    error::CommitError,
    units::FileName,
};
use serde::Serialize;

use super::{
    damage::as_u64,
    entry::{Counts, called, kept_version, kind_name},
    versions::no_such_version,
};
use crate::{
    arguments::values,
    context::Context,
    exit,
    failure::{Failure, Meaning, commit_error, is_full},
    text,
};

/// Names that are removed in one transaction.
const MAX_TOGETHER: usize = 1000;

/// Remove names
///
/// Removes files by their exact names, with all their kept versions, durably and at once for everyone. The bytes stay on the
/// volumes until `compact` gives them back. A name that is not there does not stop the rest. A directory with
/// anything below it needs -r.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb rm photo.cr3\n  \
    bfdb rm -r 2024/iceland          and everything below it\n  \
    bfdb rm photo.cr3 --version 2    a kept version only\n  \
    bfdb rm -rn 2024                 say what would be removed")]
pub(crate) struct Arguments {
    /// Names of files, directories and links
    #[arg(value_name = "NAME", required = true, value_parser = values::name_parser())]
    names: Vec<FileName>,
    /// Remove also everything below each NAME
    #[arg(short, long)]
    recursive: bool,
    /// Remove only that kept version of the only NAME, as `ls --versions` numbers them
    #[arg(long, value_name = "V", conflicts_with = "recursive", value_parser = clap::value_parser!(u32).range(1..))]
    version: Option<u32>,
    /// Change nothing, say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "file")]
struct FileLine {
    name: String,
    kind: Option<&'static str>,
    length: Option<u64>,
    /// The version, where only that is removed.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_version: Option<u32>,
    /// Kept versions that go with the name.
    kept_versions: Option<u64>,
    freed_bytes: Option<u64>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dry_run: bool,
}

#[derive(Debug, Default, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    #[serde(flatten)]
    counts: Counts,
    bytes: u64,
    /// Kept versions of these; not among them.
    kept_versions: u64,
    freed_bytes: u64,
    failed: u64,
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let access = if arguments.dry_run {
        Access::Read
    } else {
        Access::Write
    };
    context.with_archive(access, |archive| {
        let snapshot = archive
            .snapshot()
            .map_err(|error| context.catalog_failure(&error))?;
        let mut remover = Remover {
            archive,
            snapshot: &snapshot,
            arguments,
            context,
            summary: Summary {
                dry_run: arguments.dry_run,
                ..Summary::default()
            },
            code: exit::SUCCESS,
        };
        match (arguments.version, arguments.names.as_slice()) {
            (None, names) => names.iter().try_for_each(|name| remover.remove_named(name))?,
            (Some(version), [name]) => remover.remove_version(name, version)?,
            (Some(_), _) => return Err(Failure::usage("--version is of one NAME")),
        }
        context.output.json(&remover.summary);
        Ok(remover.code)
    })
}

struct Remover<'a> {
    archive: &'a Archive,
    snapshot: &'a Snapshot,
    arguments: &'a Arguments,
    context: &'a Context<'a>,
    summary: Summary,
    code: u8,
}

impl Remover<'_> {
    /// Removes what one argument names. What is only wrong with this name does not stop the rest.
    fn remove_named(&mut self, name: &FileName) -> Result<(), Failure> {
        let unreadable = |error| self.context.catalog_failure(&error);
        if self.arguments.recursive {
            let mut entries = self.snapshot.files(Some(name)).peekable();
            if entries.peek().is_none() {
                let message = format!("no file named {name} in this archive, nor anything below it");
                let failure = Failure::new(exit::NO_SUCH_NAME, message);
                let failure = self.context.explain(failure, Meaning::NoSuchName);
                self.fail(name, None, &failure);
            }
            let (mut others, mut directories) = (Vec::new(), Vec::new());
            for entry in entries {
                let entry = entry.map_err(unreadable)?;
                if entry.kind == EntryKind::Directory {
                    directories.push(entry);
                    continue;
                }
                others.push(entry);
                if others.len() == MAX_TOGETHER {
                    self.remove(&others)?;
                    others.clear();
                }
            }
            self.remove(&others)?;
            // Behind what they hold: whatever an interruption leaves still has its directories.
            directories.reverse();
            return directories
                .chunks(MAX_TOGETHER)
                .try_for_each(|entries| self.remove(entries));
        }
        let entry = self.snapshot.file(name).map_err(unreadable)?;
        // What lies below is meant by a directory only: names may lie below that of a file, and have nothing to do with it.
        let below = match entry.as_ref().map(|entry| &entry.kind) {
            Some(EntryKind::File | EntryKind::SymbolicLink { .. }) => 0,
            Some(EntryKind::Directory) => self.count_within(name)? - 1,
            None => self.count_within(name)?,
        };
        match (entry, below) {
            (Some(entry), 0) => return self.remove(&[entry]),
            (None, 0) => {
                let failure = failure(&CommitError::NotFound { name: name.clone() }, name, self.context);
                self.fail(name, None, &failure);
            }
            (entry, below) => {
                let is_stored = entry.is_some();
                let entries = text::count(below, "entry");
                let failure = if is_stored {
                    let message = format!("{name} is a directory with {entries} below it");
                    Failure::new(exit::FAILED, message)
                } else {
                    let message = format!("no file named {name} in this archive, but {entries} below it");
                    Failure::new(exit::NO_SUCH_NAME, message)
                };
                let failure = failure.suggest(self.context.command("rm -r", &[name]));
                self.fail(name, entry.as_ref(), &failure);
            }
        }
        Ok(())
    }

    /// Removes one kept version of a name, or says that it would.
    fn remove_version(&mut self, name: &FileName, version: u32) -> Result<(), Failure> {
        let unreadable = |error| self.context.catalog_failure(&error);
        let entry = self.snapshot.of_version(version).file(name).map_err(unreadable)?;
        let failure = match entry {
            Some(entry) if entry.is_kept && self.arguments.dry_run => {
                self.removed(&entry, 0, entry.stored_bytes);
                return Ok(());
            }
            Some(entry) if entry.is_kept => match self.archive.remove_version(name, version) {
                Ok(removal) => {
                    self.removed(&entry, 0, removal.freed_bytes);
                    return Ok(());
                }
                Err(error) => failure(&error, name, self.context),
            },
            Some(_) => {
                let message =
                    format!("version {version} of {name} is the current one, which goes with the name");
                Failure::new(exit::FAILED, message).suggest(self.context.command("rm", &[name]))
            }
            None if self.snapshot.file(name).map_err(unreadable)?.is_some() => {
                no_such_version(name, version, self.context)
            }
            None => failure(&CommitError::NotFound { name: name.clone() }, name, self.context),
        };
        self.fail(name, None, &failure);
        Ok(())
    }

    /// Counts what `prefix` names and what lies below it.
    fn count_within(&self, prefix: &FileName) -> Result<u64, Failure> {
        let mut count = 0;
        for entry in self.snapshot.files(Some(prefix)) {
            entry.map_err(|error| self.context.catalog_failure(&error))?;
            self.context.check_interrupt()?;
            count += 1;
        }
        Ok(count)
    }

    /// Removes names together, or says that it would.
    fn remove(&mut self, entries: &[FileInfo]) -> Result<(), Failure> {
        if self.context.interrupt.is_set() {
            let done = format!("{} removed", self.summary.counts.in_words());
            return Err(self.context.interrupted(&done));
        }
        let Some(first) = entries.first() else {
            return Ok(());
        };
        if self.arguments.dry_run {
            for entry in entries {
                let kept = self.snapshot.kept_versions(&entry.name);
                let kept = kept.map_err(|error| self.context.catalog_failure(&error))?;
                let kept_bytes: u64 = kept.iter().map(|version| version.stored_bytes).sum();
                self.removed(entry, as_u64(kept.len()), entry.stored_bytes + kept_bytes);
            }
            return Ok(());
        }
        let names: Vec<FileName> = entries.iter().map(|entry| entry.name.clone()).collect();
        let removals = match self.archive.remove_many(&names) {
            Ok(removals) => removals,
            // A full disk may still have room for fewer.
            Err(error) if is_full(&error) && entries.len() > 1 => {
                let (some, rest) = entries.split_at(entries.len() / 2);
                self.remove(some)?;
                return self.remove(rest);
            }
            Err(error) => return Err(failure(&error, &first.name, self.context)),
        };
        for (entry, removal) in entries.iter().zip(removals) {
            if let Some(removal) = removal {
                self.removed(entry, removal.kept_versions, removal.freed_bytes);
                continue;
            }
            // Somebody else was faster.
            let name = entry.name.clone();
            let failure = failure(&CommitError::NotFound { name }, &entry.name, self.context);
            self.fail(&entry.name, Some(entry), &failure);
        }
        self.context.output.flush();
        Ok(())
    }

    /// Tells that a name is gone, or would be.
    fn removed(&mut self, entry: &FileInfo, kept_versions: u64, freed_bytes: u64) {
        let len_bytes = entry.len_bytes;
        if entry.is_kept {
            self.summary.kept_versions += 1;
        } else {
            self.summary.counts.add(&entry.kind);
            self.summary.bytes += len_bytes;
            self.summary.kept_versions += kept_versions;
        }
        self.summary.freed_bytes += freed_bytes;
        let output = self.context.output;
        output.json(&FileLine {
            length: Some(len_bytes),
            kept_versions: (!entry.is_kept).then_some(kept_versions),
            freed_bytes: Some(freed_bytes),
            ..self.line_of(&entry.name, Some(entry), "removed")
        });
        let verb = if self.arguments.dry_run {
            "would remove"
        } else {
            "removed"
        };
        let name = called(&entry.name, kept_version(entry));
        let with = match kept_versions {
            0 => String::new(),
            count => format!(", and {}", text::count(count, "kept version")),
        };
        output.summary(&format!("{verb}  {:>10}  {name}{with}", text::size(len_bytes)));
    }

    fn fail(&mut self, name: &FileName, entry: Option<&FileInfo>, failure: &Failure) {
        self.summary.failed += 1;
        self.code = exit::worst(self.code, failure.code);
        self.context.output.json(&FileLine {
            error: Some(failure.in_one_line()),
            ..self.line_of(name, entry, "failed")
        });
        self.context.output.failure(failure);
    }

    fn line_of(&self, name: &FileName, entry: Option<&FileInfo>, result: &'static str) -> FileLine {
        FileLine {
            name: name.to_string(),
            kind: entry.map(|entry| kind_name(&entry.kind)),
            length: None,
            kept_version: entry.and_then(kept_version),
            kept_versions: None,
            freed_bytes: None,
            result,
            error: None,
            dry_run: self.arguments.dry_run,
        }
    }
}

fn failure(error: &CommitError, name: &FileName, context: &Context) -> Failure {
    let meaning = commit_error(error);
    let failure = Failure::of(error, meaning);
    if matches!(error, CommitError::NotFound { .. }) {
        // It says itself which name.
        return context.explain(failure, meaning);
    }
    let headline = if error.may_be_published() {
        format!("whether {name} was removed will be known when the archive is opened for writing again")
    } else {
        format!("{name} was not removed")
    };
    context.explain(failure.under(headline), meaning)
}
