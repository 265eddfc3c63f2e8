//! How processes share an archive: by the locks of its file system, or, where those do not work, not at all.

use std::{io, path::Path};

use crate::{
    catalog::Catalog,
    error::{CatalogError, HostError, HostOperation, OpenError},
    host::{ArchiveLayout, FileLocks, Machine, alone, file_locks_work},
};

/// Returns the machine to use an archive on: the same where locks work, and one whose files are for this process alone where
/// they do not. Without a catalog there is nothing to use yet.
pub(super) fn machine_for_use(machine: &Machine, root: &Path) -> Result<Machine, OpenError> {
    let catalog = ArchiveLayout::on(machine, root).catalog();
    match machine_by_probe(machine, root, &catalog) {
        // Whatever is wrong with it is told by whoever opens it.
        Err(OpenError::Catalog {
            source: CatalogError::Missing,
        }) => Ok(machine.clone()),
        other => other,
    }
}

/// The same for an archive that is about to be made. Makes the root.
pub(super) fn machine_for_creation(machine: &Machine, root: &Path) -> Result<Machine, OpenError> {
    let layout = ArchiveLayout::on(machine, root);
    layout.create_root()?;
    let probe = root.join(format!(
        "locks-{:016x}.tmp",
        u64::from_le_bytes(machine.random_bytes()?)
    ));
    let failed = |operation| HostError::io::<io::Error>(operation, &probe);
    drop(
        machine
            .storage
            .create_new(&probe)
            .map_err(failed(HostOperation::Create))?,
    );
    let found = machine_by_probe(machine, root, &probe);
    // What stays behind a crash is cleared up like anything under a temporary name.
    machine
        .storage
        .remove_file(&probe)
        .map_err(failed(HostOperation::Remove))?;
    found
}

fn machine_by_probe(machine: &Machine, root: &Path, probe: &Path) -> Result<Machine, OpenError> {
    let can_be_shared = Catalog::can_be_shared(&machine.storage, probe)?;
    let file_locks = if file_locks_work(machine.storage.as_ref(), probe)? {
        FileLocks::Work
    } else {
        FileLocks::DoNotWork
    };
    if can_be_shared && file_locks == FileLocks::Work {
        return Ok(machine.clone());
    }
    Ok(alone(machine, root, file_locks)?)
}
