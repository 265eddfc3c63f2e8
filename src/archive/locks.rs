//! How processes share an archive: by the locks of its file system, or, where those do not work, not at all.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::{
    catalog::Catalog,
    error::{CatalogError, HostError, HostOperation, OpenError},
    host::{ArchiveLayout, FileLocks, Machine, alone, refuse_beside_alone, try_file_locks},
};

/// Who else may use an archive while this process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sharing {
    /// Others may.
    Shared,
    /// Nobody.
    Alone,
}

/// Returns the machine to use an archive on: the same where locks work, and one whose files are for this process alone where
/// they do not.
pub(super) fn machine_for_use(machine: &Machine, root: &Path) -> Result<(Machine, Sharing), OpenError> {
    let layout = ArchiveLayout::on(machine, root);
    let catalog = layout.catalog();
    let can_be_shared = Catalog::can_be_shared(&machine.storage, &catalog)?;
    let file_locks = match layout.file_to_try_locks_on()? {
        Some(file) => try_file_locks(machine.storage.as_ref(), &file)?,
        // There is nothing to try them on, and so far no session either.
        None => FileLocks::Work,
    };
    if can_be_shared && file_locks == FileLocks::Work {
        return Ok((machine.clone(), Sharing::Shared));
    }
    let found = machine.storage.canonical(&catalog);
    let found = found.map_err(HostError::io::<io::Error>(HostOperation::Resolve, &catalog))?;
    let alone = alone(machine, root, (&found, file_locks))?;
    Ok((alone, Sharing::Alone))
}

/// The same for an archive that is about to be made. Makes the root.
pub(super) fn machine_for_creation(machine: &Machine, root: &Path) -> Result<(Machine, Sharing), OpenError> {
    let layout = ArchiveLayout::on(machine, root);
    layout.create_root()?;
    let probe = make_probe(machine, root)?;
    let failed = |operation| HostError::io::<io::Error>(operation, &probe);
    let found = machine_by_probe(machine, root, &probe);
    // What stays behind a crash is cleared up like anything under a temporary name, and somebody may do that just now.
    match machine.storage.remove_file(&probe) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(failed(HostOperation::Remove)(error).into())
        }
        Ok(()) | Err(_) => found,
    }
}

/// Makes an empty file to try locks on, under a name that nobody has.
fn make_probe(machine: &Machine, root: &Path) -> Result<PathBuf, OpenError> {
    loop {
        let number = u64::from_le_bytes(machine.random_bytes()?);
        let probe = root.join(format!("locks-{number:016x}.tmp"));
        match machine.storage.create_new(&probe) {
            Ok(_) => return Ok(probe),
            // What a process with the same luck has left behind a crash.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(HostError::io(HostOperation::Create, &probe)(error).into()),
        }
    }
}

fn machine_by_probe(machine: &Machine, root: &Path, probe: &Path) -> Result<(Machine, Sharing), OpenError> {
    let tried = Catalog::can_be_shared(&machine.storage, probe)
        .map_err(OpenError::from)
        .and_then(|can| Ok((can, try_file_locks(machine.storage.as_ref(), probe)?)));
    match tried {
        Ok((true, FileLocks::Work)) => Ok((machine.clone(), Sharing::Shared)),
        Ok((_, file_locks)) => Ok((alone(machine, root, (probe, file_locks))?, Sharing::Alone)),
        // Only somebody else who makes an archive here clears such names away.
        Err(OpenError::Catalog {
            source: CatalogError::Missing,
        }) => Err(HostError::Locked {
            path: root.to_owned(),
        }
        .into()),
        Err(error) => Err(error),
    }
}

/// Refuses to share an archive that a process uses alone. To be asked before anything is touched, and again once the locks of the
/// catalog are held: such a process looks for those behind its own.
pub(super) fn expect_nobody_alone(layout: &ArchiveLayout, sharing: Sharing) -> Result<(), OpenError> {
    match sharing {
        Sharing::Shared => Ok(refuse_beside_alone(layout.machine(), layout.root())?),
        Sharing::Alone => Ok(()),
    }
}
