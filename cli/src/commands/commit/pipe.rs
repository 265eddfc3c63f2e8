//! `commit -`: stores what comes through a pipe.

use std::{
    io::{self, Read},
    path::Path,
};

use bfdb::{
    archive::{Archive, CommitOptions, Observer as _},
    catalog::Access,
    error::{CommitError, OpenError},
    units::FileName,
};

use super::{
    Arguments, dry_run,
    ledger::{SharedLedger, Stored, Subject},
    make_archive, reason,
};
use crate::{context::Context, failure::Failure, interrupt::Patient, text, volumes::Volumes};

pub(super) fn run(arguments: &Arguments, context: &Context, ledger: &SharedLedger) -> Result<u8, Failure> {
    let name = name(arguments)?;
    ledger.with(|ledger| ledger.expect(&name));
    let mut source = Patient::new(io::stdin(), context.interrupt);
    if arguments.dry_run {
        return dry_run::run_pipe((&name, &mut source), arguments, context, ledger);
    }
    let archive = match context.try_open(Access::Write) {
        Ok(archive) => archive,
        Err(OpenError::NotFound { .. }) => make_archive(context)?,
        Err(error) => return Err(context.open_failure(&error)),
    };
    context.finish(archive, |archive| {
        Volumes::of_archive(archive, context)?.warn_of_unwritable(context);
        store(archive, (&name, &mut source), arguments, context, ledger)
    })
}

fn store(
    archive: &Archive,
    (name, source): (&FileName, &mut dyn Read),
    arguments: &Arguments,
    context: &Context,
    ledger: &SharedLedger,
) -> Result<u8, Failure> {
    let subject = subject(name);
    ledger.with(|ledger| ledger.look_up_lost(archive));
    let progress = context.progress("stored", None);
    let options = CommitOptions {
        name_conflict: arguments.name_conflict(),
        ..CommitOptions::default()
    };
    let result = archive.commit_reader(name, source, &options, &progress);
    progress.add_entry();
    let is_cancelled = progress.is_cancelled();
    drop(progress);
    match result {
        Ok(outcome) => ledger.with(|ledger| ledger.stored(&subject, &Stored::of(&outcome))),
        Err(CommitError::Cancelled) => return Err(ledger.interrupted()),
        Err(CommitError::SourceRead { .. }) if is_cancelled => return Err(ledger.interrupted()),
        Err(error) => {
            let failure = reason::of_commit(&error, &subject, context);
            ledger.with(|ledger| ledger.failed(&subject, &failure));
        }
    }
    ledger.with(|ledger| ledger.warn_of_risks(archive, &[]));
    Ok(ledger.finish())
}

pub(super) fn subject(name: &FileName) -> Subject<'_> {
    Subject {
        path: Path::new("-"),
        name: Some(name),
    }
}

fn name(arguments: &Arguments) -> Result<FileName, Failure> {
    let name = arguments
        .name
        .as_ref()
        .map(FileName::as_bytes)
        .unwrap_or_default();
    let prefix = arguments
        .prefix
        .as_ref()
        .map(FileName::as_bytes)
        .unwrap_or_default();
    let name = super::roots::below(prefix, name);
    FileName::from_bytes(&name)
        .map_err(|error| Failure::usage(format!("{} cannot be a name", text::bytes(&name))).caused_by(&error))
}
