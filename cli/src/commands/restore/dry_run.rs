//! `restore -n`: says what would be restored, and what stands in the way.

use bfdb::{
    archive::FileInfo,
    catalog::EntryKind,
    error::{HostError, RestoreError},
    units::FileName,
};

use super::{Arguments, Restoring};
use crate::failure::Failure;

pub(super) fn run(restoring: &Restoring, prefix: Option<&FileName>) -> Result<(), Failure> {
    for entry in restoring.snapshot.files(prefix) {
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
    let path = arguments.path_of(entry);
    let is_directory = entry.kind == EntryKind::Directory;
    let error = match std::fs::symlink_metadata(&path) {
        Ok(found) if found.is_dir() && is_directory => return Ok(()),
        Ok(found) if found.is_dir() => HostError::DirectoryInPlace { path },
        Ok(_) if !arguments.overwrite || is_directory => HostError::Exists { path },
        Ok(_) | Err(_) => return Ok(()),
    };
    Err(error.into())
}
