//! The file system of the machine.

use std::{
    ffi::OsString,
    fs::{self, DirBuilder, File, OpenOptions, TryLockError},
    io,
    num::NonZeroU64,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::{
    fs::{
        Advice, AtFlags, CWD, FallocateFlags, FileType, OFlags, RenameFlags, StatVfs, fadvise, fallocate,
        fcntl_setfl, ftruncate, linkat, renameat, renameat_with, statvfs,
    },
    io::Errno,
    process::geteuid,
};

use super::{EntryInfo, FileAccess, FileIdentity, Lock, Medium, Replace, Storage, StorageFile};
use crate::{
    error::FileKind,
    units::{to_u64, to_usize},
};

/// Permission bits of what belongs to an archive: nobody but its owner.
const PRIVATE_DIRECTORY: u32 = 0o700;
const PRIVATE_FILE: u32 = 0o600;

/// What `stat` counts blocks in.
const STAT_BLOCK_BYTES: u64 = 512;

/// How many zeros are written at once where the file system cannot allocate ahead.
const ZERO_FILL_BYTES: usize = 1024 * 1024;

/// Only whole pages are forgotten, so ranges are widened to them; the largest page in use.
const PAGE_BYTES: u64 = 64 * 1024;

/// The file system of the machine that the process runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct HostStorage;

impl Storage for HostStorage {
    fn open(&self, path: &Path, access: FileAccess) -> io::Result<Arc<dyn StorageFile>> {
        let file = open_regular(path, access, OFlags::empty())?;
        Ok(Arc::new(HostFile { file }))
    }

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(PRIVATE_FILE)
            .open(path)?;
        Ok(Arc::new(HostFile { file }))
    }

    #[cfg(target_os = "linux")]
    fn open_direct(&self, path: &Path, access: FileAccess) -> io::Result<Option<Arc<dyn StorageFile>>> {
        match open_regular(path, access, OFlags::DIRECT) {
            Ok(file) => Ok(Some(Arc::new(HostFile { file }))),
            // Of the system: what is no regular file is refused too, by no code of it.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn inspect(&self, path: &Path) -> io::Result<EntryInfo> {
        Ok(info_of(&fs::symlink_metadata(path)?))
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let names = fs::read_dir(directory)?.map(|entry| Ok(entry?.file_name()));
        let mut names = names.collect::<io::Result<Vec<OsString>>>()?;
        names.sort_unstable();
        Ok(names)
    }

    fn create_directory(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(PRIVATE_DIRECTORY).create(path)
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        match File::open(path)?.sync_all() {
            // Some network file systems have no such thing.
            Err(error) if error.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(()),
            other => other,
        }
    }

    fn rename(&self, from: &Path, to: &Path, replace: Replace) -> io::Result<()> {
        match replace {
            Replace::File => Ok(renameat(CWD, from, CWD, to)?),
            Replace::Never => match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
                // A second link never replaces anything; between the two steps the file has both names.
                Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => {
                    linkat(CWD, from, CWD, to, AtFlags::empty()).map_err(|errno| match errno {
                        Errno::PERM | Errno::NOSYS | Errno::NOTSUP | Errno::MLINK => {
                            io::ErrorKind::Unsupported.into()
                        }
                        errno => io::Error::from(errno),
                    })?;
                    fs::remove_file(from)
                }
                other => Ok(other?),
            },
        }
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        Ok(free_bytes_in(&statvfs(path)?))
    }

    fn reserved_bytes(&self, path: &Path) -> io::Result<u64> {
        if !geteuid().is_root() {
            return Ok(0);
        }
        let found = statvfs(path)?;
        let kept = found.f_bfree.saturating_sub(found.f_bavail);
        Ok(kept.saturating_mul(found.f_frsize))
    }

    fn medium(&self, path: &Path) -> Medium {
        Medium::of_file_system(path)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }
}

#[cfg(test)]
impl HostStorage {
    /// Takes any open file of the machine, devices among them, for tests of what goes wrong.
    pub(crate) fn file_of(file: File) -> Arc<dyn StorageFile> {
        Arc::new(HostFile { file })
    }
}

/// An open file of the machine.
#[derive(Debug)]
struct HostFile {
    file: File,
}

impl StorageFile for HostFile {
    fn info(&self) -> io::Result<EntryInfo> {
        Ok(info_of(&self.file.metadata()?))
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(into, offset)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(bytes, offset)
    }

    fn set_len(&self, len_bytes: u64) -> io::Result<()> {
        Ok(ftruncate(&self.file, len_bytes)?)
    }

    fn allocate(&self, end_bytes: u64) -> io::Result<()> {
        // From the start: that fills holes too, and changes no byte.
        self.allocate_from(0, end_bytes)
    }

    fn allocate_from(&self, start_bytes: u64, end_bytes: u64) -> io::Result<()> {
        let before = self.file.metadata()?;
        match reserve(&self.file, start_bytes, end_bytes) {
            // Some file systems only pretend: then zeros are written, and the blocks are there.
            Ok(()) if has_blocks(&self.file, before.blocks(), before.len(), end_bytes)? => Ok(()),
            Ok(()) => fill_with_zeros(&self.file, before.len(), end_bytes),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                fill_with_zeros(&self.file, before.len(), end_bytes)
            }
            Err(error) => Err(error),
        }
    }

    fn punch(&self, offset: u64, len_bytes: u64) -> io::Result<()> {
        give_back(&self.file, offset, len_bytes)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn try_lock(&self, lock: Lock) -> io::Result<bool> {
        let tried = match lock {
            Lock::Exclusive => self.file.try_lock(),
            Lock::Shared => self.file.try_lock_shared(),
        };
        match tried {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn unlock(&self) -> io::Result<()> {
        self.file.unlock()
    }

    fn forget_cached(&self, offset: u64, len_bytes: u64) {
        let start = offset / PAGE_BYTES * PAGE_BYTES;
        let end = offset
            .saturating_add(len_bytes)
            .checked_next_multiple_of(PAGE_BYTES)
            .unwrap_or(u64::MAX);
        if let Some(len) = NonZeroU64::new(end - start) {
            // Whether the advice is taken changes no byte, so an error is nothing that a caller could act on.
            fadvise(&self.file, start, Some(len), Advice::DontNeed).unwrap_or_default();
        }
    }

    fn host_file(&self) -> Option<&File> {
        Some(&self.file)
    }
}

/// Opens a regular file, with `flags` as long as it is open.
fn open_regular(path: &Path, access: FileAccess, flags: OFlags) -> io::Result<File> {
    // Opening a device can do something (rewind a tape): what is no file now is not even opened.
    expect_regular(kind_of_metadata(&fs::symlink_metadata(path)?))?;
    let file = OpenOptions::new()
        .read(true)
        .write(access == FileAccess::ReadWrite)
        .custom_flags(bits(flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY))
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(code) if code == Errno::LOOP.raw_os_error() => io::ErrorKind::InvalidInput.into(),
            _ => error,
        })?;
    // The check that counts: the name may have got something else in between.
    expect_regular(kind_of_metadata(&file.metadata()?))?;
    // It is a file: its reads wait for bytes, also where a file system takes "do not block" at its word.
    fcntl_setfl(&file, flags)?;
    Ok(file)
}

fn bits(flags: OFlags) -> i32 {
    i32::try_from(flags.bits()).expect("open flags fit what open takes")
}

fn expect_regular(kind: FileKind) -> io::Result<()> {
    if kind == FileKind::Regular {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidInput.into())
    }
}

fn kind_of_metadata(found: &fs::Metadata) -> FileKind {
    match FileType::from_raw_mode(found.mode()) {
        FileType::RegularFile => FileKind::Regular,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::SymbolicLink,
        FileType::Fifo => FileKind::Fifo,
        FileType::Socket => FileKind::Socket,
        FileType::CharacterDevice => FileKind::CharacterDevice,
        FileType::BlockDevice => FileKind::BlockDevice,
        FileType::Unknown => FileKind::Unknown,
    }
}

fn info_of(found: &fs::Metadata) -> EntryInfo {
    EntryInfo {
        kind: kind_of_metadata(found),
        len_bytes: found.len(),
        allocated_bytes: found.blocks() * STAT_BLOCK_BYTES,
        links: found.nlink(),
        id: FileIdentity {
            device: found.dev(),
            file: found.ino(),
        },
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn reserve(file: &File, start_bytes: u64, end_bytes: u64) -> io::Result<()> {
    allocate_range(
        file,
        FallocateFlags::empty(),
        start_bytes,
        end_bytes.saturating_sub(start_bytes),
    )
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn give_back(file: &File, offset: u64, len_bytes: u64) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    allocate_range(file, flags, offset, len_bytes)
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn allocate_range(file: &File, flags: FallocateFlags, offset: u64, len_bytes: u64) -> io::Result<()> {
    loop {
        match fallocate(file, flags, offset, len_bytes) {
            Err(Errno::INTR) => {}
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Err(io::ErrorKind::Unsupported.into()),
            other => return Ok(other?),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn reserve(_file: &File, _start_bytes: u64, _end_bytes: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn give_back(_file: &File, _offset: u64, _len_bytes: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Says whether the bytes from `len_bytes` to `end_bytes` have blocks: by what the file has in all, or, where the
/// file system compresses, by what it got just now.
fn has_blocks(file: &File, blocks_before: u64, len_bytes: u64, end_bytes: u64) -> io::Result<bool> {
    const SECTOR_LEN_BYTES: u64 = 4096;
    let blocks = file.metadata()?.blocks();
    let begun_sector_end = len_bytes.next_multiple_of(SECTOR_LEN_BYTES);
    let wanted = end_bytes.saturating_sub(begun_sector_end) / STAT_BLOCK_BYTES;
    Ok(blocks >= end_bytes / STAT_BLOCK_BYTES || blocks.saturating_sub(blocks_before) >= wanted)
}

fn fill_with_zeros(file: &File, mut from: u64, end_bytes: u64) -> io::Result<()> {
    let zeros = vec![0; ZERO_FILL_BYTES];
    while from < end_bytes {
        let len = (end_bytes - from).min(to_u64(zeros.len()));
        file.write_all_at(&zeros[..to_usize(len)], from)?;
        from += len;
    }
    Ok(())
}

/// A file system without a size does not count at all (some in user space): then only trying tells.
fn free_bytes_in(found: &StatVfs) -> u64 {
    if found.f_blocks == 0 {
        u64::MAX
    } else {
        found.f_bavail.saturating_mul(found.f_frsize)
    }
}

#[cfg(test)]
mod tests;
