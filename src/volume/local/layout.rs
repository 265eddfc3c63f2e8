//! Names, directories and slots of a local volume; every change of a directory is followed by a sync of it.

use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

use crate::error::VolumeError;
use crate::units::{ExtentId, to_u64};
use crate::volume::{ExtentStat, SLOT_LEN_BYTES, SlotBytes, SlotIndex};

const SLOTS_NAME: &str = "volume.bfv";
const EXTENTS_NAME: &str = "extents";
const EXTENT_SUFFIX: &str = ".bfx";
const DIR_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;

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
pub(super) fn create(dir: &Path) -> Result<(), VolumeError> {
    let failed = |path: &Path| {
        let path = path.to_path_buf();
        move |source| VolumeError::Directory { path, source }
    };
    let (slots_path, extents_dir) = (slots_path(dir), extents_dir(dir));
    make_dir(dir).map_err(failed(dir))?;
    make_dir(&extents_dir).map_err(failed(&extents_dir))?;
    if fs::read_dir(&extents_dir)
        .map_err(failed(&extents_dir))?
        .next()
        .is_some()
    {
        return Err(VolumeError::InUse { path: extents_dir });
    }
    let slots = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .custom_flags(no_follow())
        .open(&slots_path)
        .map_err(failed(&slots_path))?;
    if !holds_only_zeros(&slots).map_err(failed(&slots_path))? {
        return Err(VolumeError::InUse { path: slots_path });
    }
    slots
        .write_all_at(&[0; 2 * SLOT_LEN_BYTES], 0)
        .and_then(|()| slots.sync_all())
        .map_err(failed(&slots_path))?;
    sync_dir(&extents_dir).map_err(failed(&extents_dir))?;
    sync_dir(dir).map_err(failed(dir))?;
    let parent = parent_of(dir).map_err(failed(dir))?;
    sync_dir(&parent).map_err(failed(&parent))
}

fn make_dir(path: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(DIR_MODE).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        made => made,
    }
}

/// A slots file of a creation that crashed is shorter than a real one, or all zeros.
fn holds_only_zeros(slots: &File) -> io::Result<bool> {
    let len = slots.metadata()?.len();
    if len > to_u64(2 * SLOT_LEN_BYTES) {
        return Ok(false);
    }
    let mut bytes = vec![0; crate::units::to_usize(len)];
    slots.read_exact_at(&mut bytes, 0)?;
    Ok(bytes.iter().all(|&byte| byte == 0))
}

/// The directory that names `dir`; resolved first, because `.` and `a/..` have no parent by name.
fn parent_of(dir: &Path) -> io::Result<PathBuf> {
    let absolute = fs::canonicalize(dir)?;
    Ok(absolute
        .parent()
        .map_or_else(|| absolute.clone(), Path::to_path_buf))
}

/// Fails unless `dir` has what every volume has.
pub(super) fn check(dir: &Path) -> Result<(), VolumeError> {
    let slots_path = slots_path(dir);
    if let Err(source) = open_for_reading(&slots_path) {
        return Err(VolumeError::Directory {
            path: slots_path,
            source,
        });
    }
    check_extents(dir)
}

/// Looks whether the directory of extents can be read.
pub(super) fn check_extents(dir: &Path) -> Result<(), VolumeError> {
    let extents_dir = extents_dir(dir);
    match fs::read_dir(&extents_dir) {
        Ok(_) => Ok(()),
        Err(source) => Err(VolumeError::Directory {
            path: extents_dir,
            source,
        }),
    }
}

pub(super) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

pub(super) fn open_for_reading(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(no_follow()).open(path)
}

pub(super) fn open_for_writing(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(no_follow())
        .open(path)
}

pub(super) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(FILE_MODE)
        .open(path)
}

/// A planted link must not lead out of the volume, and a planted fifo must not be waited for.
fn no_follow() -> i32 {
    flag_bits(OFlags::NOFOLLOW | OFlags::NONBLOCK)
}

pub(super) fn flag_bits(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).expect("open flags fit what open takes")
}

pub(super) fn has_a_name(metadata: &Metadata) -> bool {
    metadata.nlink() > 0
}

/// Lists extents by id; names of other things and links are passed over.
pub(super) fn list(dir: &Path) -> io::Result<Vec<ExtentStat>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(extents_dir(dir))? {
        let entry = entry?;
        let Some(extent) = entry.file_name().to_str().and_then(extent_of_name) else {
            continue;
        };
        match entry.metadata() {
            Ok(metadata) if metadata.is_file() => found.push(ExtentStat {
                extent,
                len_bytes: metadata.len(),
            }),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {} // Removed while we looked.
            Err(error) => return Err(error),
        }
    }
    found.sort_unstable_by_key(|stat| stat.extent);
    Ok(found)
}

pub(super) fn remove(dir: &Path, extent: ExtentId) -> io::Result<()> {
    let path = extent_path(dir, extent);
    let metadata = fs::symlink_metadata(&path)?;
    // With a second name (a backup made of hard links) the bytes are not ours alone: only the name goes.
    if metadata.is_file() && metadata.nlink() == 1 && metadata.len() > REMOVAL_STEP_BYTES {
        let file = open_for_writing(&path)?;
        let mut len = metadata.len();
        while len > REMOVAL_STEP_BYTES {
            len -= REMOVAL_STEP_BYTES;
            rustix::fs::ftruncate(&file, len)?;
        }
    }
    fs::remove_file(&path)?;
    sync_dir(&extents_dir(dir))
}

pub(super) fn read_slot(dir: &Path, slot: SlotIndex) -> io::Result<Box<SlotBytes>> {
    let mut bytes = Box::new([0; SLOT_LEN_BYTES]);
    open_for_reading(&slots_path(dir))?.read_exact_at(&mut *bytes, slot.offset_bytes())?;
    Ok(bytes)
}

pub(super) fn write_slot(dir: &Path, slot: SlotIndex, bytes: &SlotBytes) -> io::Result<()> {
    let file = open_for_writing(&slots_path(dir))?;
    file.write_all_at(bytes, slot.offset_bytes())?;
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
