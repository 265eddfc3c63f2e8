//! `restore -n`: says what would be restored, and what stands in the way.

use std::path::Path;

use bfdb::{
    archive::FileInfo,
    catalog::EntryKind,
    error::{FileKind, HostError, RestoreError},
    host::Place,
    units::FileName,
};

use super::{Arguments, Restoring};
use crate::failure::Failure;

pub(super) fn run(restoring: &Restoring, prefix: Option<&FileName>) -> Result<(), Failure> {
    let entries: Box<dyn Iterator<Item = _>> = match (restoring.arguments.asked.version, prefix) {
        (Some(_), Some(name)) => Box::new(restoring.snapshot.file(name).transpose().into_iter()),
        _ => Box::new(restoring.snapshot.files(prefix)),
    };
    for entry in entries {
        if restoring.context.interrupt.is_set() {
            return Err(restoring.context.interrupted(""));
        }
        let entry = entry.map_err(|error| restoring.context.catalog_failure(&error))?;
        restoring.with_ledger(|ledger| match check_place(&entry, restoring.arguments) {
            Ok(()) => ledger.restored(&entry, &[], &restoring.log),
            Err(error) => ledger.failed(&entry, error, &restoring.log),
        });
    }
    Ok(())
}

/// Refuses what stands in the way, as restoring would.
fn check_place(entry: &FileInfo, arguments: &Arguments) -> Result<(), RestoreError> {
    let path = arguments.path_of(&entry.name);
    check_way(&path, arguments)?;
    let is_directory = entry.kind == EntryKind::Directory;
    let error = match std::fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() && is_directory => return Ok(()),
        Ok(found) if found.is_dir() => HostError::DirectoryInPlace { path },
        Ok(_) if !arguments.overwrite || arguments.keeps(&entry.name) || is_directory => {
            HostError::Exists { path }
        }
        Ok(_) | Err(_) => return Ok(()),
    };
    Err(error.into())
}

/// Refuses a way that leads through something that is no directory; the target itself may be a link to one.
fn check_way(path: &Path, arguments: &Arguments) -> Result<(), RestoreError> {
    let ways = path.ancestors().skip(1);
    let ways: Vec<&Path> = ways.take_while(|way| *way != arguments.output).collect();
    for way in ways.into_iter().rev() {
        match Place::of_path(way).inspect() {
            Ok((FileKind::Directory, _)) => {}
            Ok((kind, _)) => {
                let path = way.to_owned();
                return Err(HostError::NotDirectory { path, kind }.into());
            }
            // What is missing will be made.
            Err(_) => return Ok(()),
        }
    }
    Ok(())
}
