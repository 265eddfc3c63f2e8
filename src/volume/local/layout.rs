//! Names, directories and slots of a local volume; every change of a directory is followed by a sync of it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{FileKind, VolumeError};
use crate::format::VolumeSlot;
use crate::storage::{FileAccess, Storage, StorageFile};
use crate::units::{ExtentId, to_u64, to_usize};
use crate::volume::{ExtentStat, SLOT_LEN_BYTES, SlotBytes, SlotIndex};

const SLOTS_NAME: &str = "volume.bfv";
const EXTENTS_NAME: &str = "extents";
const EXTENT_SUFFIX: &str = ".bfx";

/// Unlinking a file of many GiB at once stalls some disks, so it is cut to nothing in steps of this length first.
const REMOVAL_STEP_BYTES: u64 = 256 * 1024 * 1024;

pub(super) fn slots_path(dir: &Path) -> PathBuf {
    dir.join(SLOTS_NAME)
}

pub(super) fn extents_dir(dir: &Path) -> PathBuf {
    dir.join(EXTENTS_NAME)
}

pub(super) fn extent_path(dir: &Path, extent: ExtentId) -> PathBuf {
    extents_dir(dir).join(format!("{:08}{EXTENT_SUFFIX}", extent.get()))
}

/// Returns the extent that a file name stands for; only the one name that [`extent_path`] gives it counts.
fn extent_of_name(name: &str) -> Option<ExtentId> {
    let digits = name.strip_suffix(EXTENT_SUFFIX)?;
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = digits.len() == 8 || (digits.len() > 8 && !digits.starts_with('0'));
    let number = digits.parse().ok()?;
    (all_digits && canonical).then_some(ExtentId::new(number))
}

/// Makes the directories and the slots file, or finishes what a crashed creation began.
pub(super) fn create(storage: &dyn Storage, dir: &Path) -> Result<(), VolumeError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| VolumeError::Directory { path, source }
    };
    let (slots_path, extents_dir) = (slots_path(dir), extents_dir(dir));
    make_dir(storage, dir).map_err(failed(dir))?;
    make_dir(storage, &extents_dir).map_err(failed(&extents_dir))?;
    let extents = storage.list(&extents_dir).map_err(failed(&extents_dir))?;
    if !extents.is_empty() {
        return Err(VolumeError::InUse { path: extents_dir });
    }
    let slots = open_or_create(storage, &slots_path).map_err(failed(&slots_path))?;
    if !holds_only_zeros(slots.as_ref()).map_err(failed(&slots_path))? {
        return Err(VolumeError::InUse { path: slots_path });
    }
    slots
        .write_all_at(0, &[0; 2 * SLOT_LEN_BYTES])
        .and_then(|()| slots.sync_all())
        .map_err(failed(&slots_path))?;
    storage
        .sync_directory(&extents_dir)
        .map_err(failed(&extents_dir))?;
    storage.sync_directory(dir).map_err(failed(dir))?;
    let parent = parent_of(storage, dir).map_err(failed(dir))?;
    storage.sync_directory(&parent).map_err(failed(&parent))
}

/// Makes the file of slots, unless it is there.
pub(super) fn restore_slots(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    let slots = match storage.create_new(&slots_path(dir)) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        made => made?,
    };
    slots.write_all_at(0, &[0; 2 * SLOT_LEN_BYTES])?;
    slots.sync_all()?;
    storage.sync_directory(dir)
}

fn make_dir(storage: &dyn Storage, path: &Path) -> io::Result<()> {
    match storage.create_directory(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_dir(storage, path) => Ok(()),
        made => made,
    }
}

/// Says whether a path leads to a directory, through links too: a volume may be put on another disk.
fn is_dir(storage: &dyn Storage, path: &Path) -> bool {
    let found = storage.canonical(path).and_then(|path| storage.inspect(&path));
    found.is_ok_and(|found| found.kind == FileKind::Directory)
}

fn open_or_create(storage: &dyn Storage, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
    match storage.open(path, FileAccess::ReadWrite) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => storage.create_new(path),
        opened => opened,
    }
}

/// Removes a slots file in which no slot is valid, unless there are extents.
pub(super) fn discard_torn_slots(storage: &dyn Storage, dir: &Path) -> io::Result<()> {
    let is_torn = |slot: SlotIndex| {
        let valid = read_slot(storage, dir, slot).map(|bytes| VolumeSlot::parse(&bytes[..]).is_ok());
        !valid.unwrap_or(false)
    };
    match storage.list(&extents_dir(dir)) {
        Ok(extents) if extents.is_empty() && SlotIndex::BOTH.into_iter().all(is_torn) => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    match storage.remove_file(&slots_path(dir)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// A slots file of a creation that crashed is shorter than a real one, or all zeros.
fn holds_only_zeros(slots: &dyn StorageFile) -> io::Result<bool> {
    let len = slots.info()?.len_bytes;
    if len > to_u64(2 * SLOT_LEN_BYTES) {
        return Ok(false);
    }
    let mut bytes = vec![0; to_usize(len)];
    slots.read_exact_at(0, &mut bytes)?;
    Ok(bytes.iter().all(|&byte| byte == 0))
}

/// The directory that names `dir`; resolved first, because `.` and `a/..` have no parent by name.
fn parent_of(storage: &dyn Storage, dir: &Path) -> io::Result<PathBuf> {
    let absolute = storage.canonical(dir)?;
    Ok(absolute
        .parent()
        .map_or_else(|| absolute.clone(), Path::to_path_buf))
}

/// Fails unless `dir` has what every volume has.
pub(super) fn check(storage: &dyn Storage, dir: &Path) -> Result<(), VolumeError> {
    let slots_path = slots_path(dir);
    if let Err(source) = storage.open(&slots_path, FileAccess::Read) {
        return Err(VolumeError::Directory {
            path: slots_path,
            source,
        });
    }
    check_extents(storage, dir)
}

/// Looks whether there is a directory of extents.
pub(super) fn check_extents(storage: &dyn Storage, dir: &Path) -> Result<(), VolumeError> {
    let extents_dir = extents_dir(dir);
    let not_there = |source| VolumeError::Directory {
        path: extents_dir.clone(),
        source,
    };
    if is_dir(storage, &extents_dir) {
        return Ok(());
    }
    // What is in the way says more than that it is no directory.
    storage.inspect(&extents_dir).map_err(not_there)?;
    Err(not_there(io::ErrorKind::NotADirectory.into()))
}

/// Lists extents by id; names of other things and links are passed over.
pub(super) fn list(storage: &dyn Storage, dir: &Path) -> io::Result<Vec<ExtentStat>> {
    let extents_dir = extents_dir(dir);
    let mut found = Vec::new();
    for name in storage.list(&extents_dir)? {
        let Some(extent) = name.to_str().and_then(extent_of_name) else {
            continue;
        };
        match storage.inspect(&extents_dir.join(name)) {
            Ok(info) if info.kind == FileKind::Regular => found.push(ExtentStat {
                extent,
                len_bytes: info.len_bytes,
            }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // Removed while we looked.
            Err(error) => return Err(error),
        }
    }
    found.sort_unstable_by_key(|stat| stat.extent);
    Ok(found)
}

pub(super) fn remove(storage: &dyn Storage, dir: &Path, extent: ExtentId) -> io::Result<()> {
    let path = extent_path(dir, extent);
    let info = match storage.inspect(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // An earlier removal may have failed to make this durable; whoever hears that it is gone forgets it.
            storage.sync_directory(&extents_dir(dir))?;
            return Err(error);
        }
        found => found?,
    };
    // With a second name (a backup made of hard links) the bytes are not ours alone: only the name goes.
    if info.kind == FileKind::Regular && info.links == 1 && info.len_bytes > REMOVAL_STEP_BYTES {
        let file = storage.open(&path, FileAccess::ReadWrite)?;
        let mut len = info.len_bytes;
        while len > REMOVAL_STEP_BYTES {
            len -= REMOVAL_STEP_BYTES;
            file.set_len(len)?;
        }
    }
    storage.remove_file(&path)?;
    storage.sync_directory(&extents_dir(dir))
}

pub(super) fn read_slot(storage: &dyn Storage, dir: &Path, slot: SlotIndex) -> io::Result<Box<SlotBytes>> {
    let mut bytes = Box::new([0; SLOT_LEN_BYTES]);
    let file = storage.open(&slots_path(dir), FileAccess::Read)?;
    file.read_exact_at(slot.offset_bytes(), &mut *bytes)?;
    Ok(bytes)
}

pub(super) fn write_slot(
    storage: &dyn Storage,
    dir: &Path,
    slot: SlotIndex,
    bytes: &SlotBytes,
) -> io::Result<()> {
    let file = storage.open(&slots_path(dir), FileAccess::ReadWrite)?;
    file.write_all_at(slot.offset_bytes(), bytes)?;
    // A failure is the caller's to settle with the other slot; what was written before is never synced again as is.
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_extent_has_exactly_one_name() {
        for id in [0, 1, 99_999_999, 100_000_000, u64::MAX] {
            let path = extent_path(Path::new("v"), ExtentId::new(id));
            let name = path
                .file_name()
                .and_then(|name| name.to_str())
                .expect("an ASCII name");
            assert_eq!(extent_of_name(name), Some(ExtentId::new(id)), "{name}");
        }
        let foreign = [
            "1.bfx",
            "000000001.bfx",
            "00000001.bfj",
            "00000001.bfx~",
            "+0000001.bfx",
            "99999999999999999999.bfx",
            ".bfx",
            "",
        ];
        for name in foreign {
            assert_eq!(extent_of_name(name), None, "{name}");
        }
    }
}
