//! An archive of the host, copied to a disk in memory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use bfdb::storage::Storage as _;

use crate::{SimulatedStorage, crashes::setting::ROOT};

/// Copies a directory to where checks look for an archive. Everything on the new disk is durable.
#[expect(
    clippy::disallowed_methods,
    reason = "what a dead process has left lies on the host"
)]
pub(crate) fn copied(root: &Path) -> io::Result<SimulatedStorage> {
    let disk = SimulatedStorage::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(below) = waiting.pop() {
        let target = Path::new(ROOT).join(&below);
        if !root.join(&below).exists() {
            // It died before it made any.
            continue;
        }
        disk.create_directory(&target)?;
        for entry in fs::read_dir(root.join(&below))? {
            let entry = entry?;
            let below = below.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                waiting.push(below);
                continue;
            }
            let file = disk.create_new(&Path::new(ROOT).join(&below))?;
            let bytes = fs::read(entry.path())?;
            file.write_all_at(0, &bytes)?;
        }
    }
    Ok(disk.settled())
}
