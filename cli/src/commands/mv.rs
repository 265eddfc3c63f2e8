//! `mv`: gives what is stored another name.

use std::{ffi::OsString, os::unix::ffi::OsStrExt as _};

use bfdb::{
    archive::{RenameConflict, RenameReceipt, Snapshot},
    catalog::{Access, EntryKind},
    error::{CommitError, FileKind},
    units::{FileName, FileNameError},
};
use clap::builder::{OsStringValueParser, TypedValueParser as _};
use serde::Serialize;

use crate::{
    arguments::values,
    context::Context,
    exit,
    failure::{Failure, commit_error},
    text,
};

/// Give a file, directory or link another name
///
/// Everything below OLD goes with it, and so do all kept versions, in one step: after a crash all of it has the new names, or
/// nothing has. No file data is read or written. Where NEW is a directory, or ends with a slash, OLD comes to lie in it. A name
/// that is taken is refused without --replace.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb mv photo.cr3 2024/iceland.cr3\n  \
    bfdb mv 2024 archive/                 becomes archive/2024\n  \
    bfdb mv --replace new.txt notes.txt   what was notes.txt is removed, with its kept versions")]
pub(crate) struct Arguments {
    /// Name of a file, directory or link, or what other names lie below
    #[arg(value_parser = values::name_parser())]
    old: FileName,
    /// What it is to be called, or the directory that it is to lie in
    #[arg(value_parser = OsStringValueParser::new().try_map(|typed| NewName::parse(&typed)))]
    new: NewName,
    /// Where a file or link has the new name, put a file or link in its place
    #[arg(long)]
    replace: bool,
}

/// A name as it was typed.
#[derive(Debug, Clone)]
struct NewName {
    name: FileName,
    ends_with_slash: bool,
}

impl NewName {
    fn parse(typed: &OsString) -> Result<Self, FileNameError> {
        Ok(Self {
            name: values::name(typed)?,
            ends_with_slash: typed.as_bytes().ends_with(b"/"),
        })
    }
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    from: String,
    to: String,
    entries: u64,
    kept_versions: u64,
    /// What had the new name, and is gone.
    replaced: Option<Replaced>,
}

#[derive(Debug, Serialize)]
struct Replaced {
    length: u64,
    kept_versions: u64,
    freed_bytes: u64,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive(Access::Write, |archive| {
        let snapshot = archive
            .snapshot()
            .map_err(|error| context.catalog_failure(&error))?;
        let old = &arguments.old;
        let new = arguments.new_name(&snapshot, context)?;
        let conflict = if arguments.replace {
            RenameConflict::Replace
        } else {
            RenameConflict::Refuse
        };
        let receipt = archive.rename(old, &new, conflict);
        let receipt = receipt.map_err(|error| arguments.failure(&error, (&new, &snapshot), context))?;
        context.output.json(&Summary::of((old, &new), &receipt));
        context.output.summary(&in_words((old, &new), &receipt));
        Ok(exit::SUCCESS)
    })
}

impl Arguments {
    /// Returns what the old name becomes: the new one, or one in it where that is a directory.
    fn new_name(&self, snapshot: &Snapshot, context: &Context) -> Result<FileName, Failure> {
        let unreadable = |error| context.catalog_failure(&error);
        let NewName {
            name,
            ends_with_slash,
        } = &self.new;
        let stored = snapshot.file(name).map_err(unreadable)?;
        let is_directory = match stored.map(|entry| entry.kind) {
            Some(EntryKind::Directory) => true,
            Some(EntryKind::File | EntryKind::SymbolicLink { .. }) if *ends_with_slash => {
                let message = format!("{name} is no directory, so nothing can lie in it");
                return Err(Failure::new(exit::FAILED, message));
            }
            Some(EntryKind::File | EntryKind::SymbolicLink { .. }) => false,
            // A directory that was never stored itself.
            None => {
                let below = snapshot.files(Some(name)).next().transpose();
                *ends_with_slash || below.map_err(unreadable)?.is_some()
            }
        };
        if !is_directory {
            return Ok(name.clone());
        }
        let last = self.old.parts().last().expect("a name has a part");
        let within = [name.as_bytes(), b"/", last].concat();
        FileName::from_bytes(&within).map_err(|error| Failure::usage(error.to_string()))
    }
}

impl Summary {
    fn of((old, new): (&FileName, &FileName), receipt: &RenameReceipt) -> Self {
        let replaced = receipt.replaced.as_ref().map(|removal| Replaced {
            length: removal.len_bytes,
            kept_versions: removal.kept_versions,
            freed_bytes: removal.freed_bytes,
        });
        Self {
            from: old.to_string(),
            to: new.to_string(),
            entries: receipt.entries,
            kept_versions: receipt.kept_versions,
            replaced,
        }
    }
}

fn in_words((old, new): (&FileName, &FileName), receipt: &RenameReceipt) -> String {
    let mut words = format!("renamed  {old} -> {new}");
    let mut with = Vec::new();
    if receipt.entries > 1 {
        with.push(text::count(receipt.entries, "entry"));
    }
    if receipt.kept_versions > 0 {
        with.push(text::count(receipt.kept_versions, "kept version"));
    }
    if let Some(removal) = &receipt.replaced {
        let kept = match removal.kept_versions {
            0 => String::new(),
            count => format!(" and {} of it", text::count(count, "kept version")),
        };
        with.push(format!("what was {new}{kept} is removed"));
    }
    if !with.is_empty() {
        words = format!("{words}  ({})", with.join(", "));
    }
    words
}

/// Says whether a name is of one file or link with nothing below it, which may replace another one.
fn is_single(snapshot: &Snapshot, name: &FileName) -> bool {
    let mut below = snapshot.files(Some(name));
    let only = below.next().and_then(Result::ok);
    only.is_some_and(|file| file.kind != EntryKind::Directory && file.name == *name) && below.next().is_none()
}

impl Arguments {
    fn failure(
        &self,
        error: &CommitError,
        (new, snapshot): (&FileName, &Snapshot),
        context: &Context,
    ) -> Failure {
        let old = &self.old;
        let meaning = commit_error(error);
        let failure = context.explain(Failure::of(error, meaning), meaning);
        if let CommitError::NewNameTaken { stored, .. } = error {
            let may_replace = !self.replace && is_single(snapshot, old);
            return if may_replace && matches!(stored, FileKind::Regular | FileKind::SymbolicLink) {
                failure.suggest(context.command("mv --replace", &[old, new]))
            } else {
                failure
            };
        }
        let says_it_itself = matches!(
            error,
            CommitError::NotFound { .. }
                | CommitError::RenamedIntoItself { .. }
                | CommitError::NewNameTooLong { .. }
        );
        if says_it_itself {
            return failure;
        }
        failure.under(if error.may_be_published() {
            format!("whether {old} was renamed will be known when the archive is opened for writing again")
        } else {
            format!("{old} was not renamed")
        })
    }
}
