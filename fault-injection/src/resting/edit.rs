//! Files of a disk that nobody uses, changed behind the back of everybody.

use std::{io, path::Path};

use bfdb::storage::{FileAccess, Storage as _};

use crate::SimulatedStorage;

/// Returns the bytes of a file; `None` where there is none.
pub(crate) fn contents(disk: &SimulatedStorage, path: &Path) -> Option<Vec<u8>> {
    let file = disk.open(path, FileAccess::Read).ok()?;
    let len = usize::try_from(file.info().ok()?.len_bytes).ok()?;
    let mut bytes = vec![0; len];
    file.read_exact_at(0, &mut bytes).ok()?;
    Some(bytes)
}

/// Returns the length of a file; 0 where there is none.
pub(crate) fn length(disk: &SimulatedStorage, path: &Path) -> u64 {
    disk.inspect(path).map_or(0, |info| info.len_bytes)
}

/// Reads what there is of a range.
pub(crate) fn read(disk: &SimulatedStorage, path: &Path, (offset, len): (u64, u64)) -> io::Result<Vec<u8>> {
    let file = disk.open(path, FileAccess::Read)?;
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    let read = file.read_at(offset, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}

/// Writes over what is there; the file does not get longer.
pub(crate) fn overwrite(
    disk: &SimulatedStorage,
    path: &Path,
    (offset, bytes): (u64, &[u8]),
) -> io::Result<()> {
    let room = length(disk, path).saturating_sub(offset);
    let len = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
    disk.open(path, FileAccess::ReadWrite)?
        .write_all_at(offset, &bytes[..len])
}

/// Cuts a file.
pub(crate) fn cut(disk: &SimulatedStorage, path: &Path, len_bytes: u64) -> io::Result<()> {
    disk.open(path, FileAccess::ReadWrite)?.set_len(len_bytes)
}

/// Makes a file have these bytes and no others.
pub(crate) fn replace(disk: &SimulatedStorage, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let file = match disk.open(path, FileAccess::ReadWrite) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create_new(path)?,
        opened => opened?,
    };
    file.set_len(0)?;
    file.write_all_at(0, bytes)
}
