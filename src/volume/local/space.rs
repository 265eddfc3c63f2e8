//! Real blocks for extents, free space, and advice to the page cache.

use std::fs::File;
use std::io;
#[cfg(any(target_os = "linux", target_os = "android"))]
use std::num::NonZeroU64;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use crate::units::{to_u64, to_usize};
use crate::volume::SECTOR_LEN_BYTES;

/// What `st_blocks` counts in.
const STAT_BLOCK_BYTES: u64 = 512;

/// How many zeros are written at once where the filesystem cannot preallocate.
const ZERO_FILL_BYTES: usize = 1024 * 1024;

/// Why there is no room.
#[derive(Debug)]
pub(super) enum ReserveError {
    /// The filesystem is full, or a quota is used up.
    Full { needed_bytes: u64, free_bytes: u64 },
    /// Anything else.
    Io(io::Error),
}

impl From<io::Error> for ReserveError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Says whether an error means that there is no room.
pub(super) fn means_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Lengthens `file` to `end_bytes` with blocks that are really there; what it holds and, on failure, how long it is
/// stay the same. Nobody else writes the file meanwhile.
///
/// Free space is asked first: filling a disk to the brim only to give it back would fail others.
pub(super) fn reserve(file: &File, end_bytes: u64) -> Result<(), ReserveError> {
    let before = file.metadata()?;
    let len_bytes = before.len();
    if end_bytes <= len_bytes {
        return Ok(());
    }
    let needed_bytes = end_bytes - len_bytes;
    let free_bytes = free_bytes_at(file)?;
    if needed_bytes > free_bytes {
        return Err(ReserveError::Full {
            needed_bytes,
            free_bytes,
        });
    }
    let reserved = match allocate(file, end_bytes) {
        // Some filesystems only pretend: then zeros are written, and the blocks are there.
        Ok(()) if has_blocks(file, before.blocks(), len_bytes, end_bytes)? => Ok(()),
        Ok(()) => fill_with_zeros(file, len_bytes, end_bytes),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            fill_with_zeros(file, len_bytes, end_bytes)
        }
        Err(error) => Err(error),
    };
    let Err(error) = reserved else { return Ok(()) };
    // What was allocated before the failure goes back. If that fails too, the length says so to the next look.
    rustix::fs::ftruncate(file, len_bytes).map_err(io::Error::from)?;
    if means_full(&error) {
        let free_bytes = free_bytes_at(file)?;
        return Err(ReserveError::Full {
            needed_bytes,
            free_bytes,
        });
    }
    Err(ReserveError::Io(error))
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn allocate(file: &File, end_bytes: u64) -> io::Result<()> {
    loop {
        // From the start: that fills holes too, and changes no byte.
        match rustix::fs::fallocate(file, rustix::fs::FallocateFlags::empty(), 0, end_bytes) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
                return Err(io::ErrorKind::Unsupported.into());
            }
            other => return other.map_err(io::Error::from),
        }
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn allocate(_file: &File, _end_bytes: u64) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Says whether the bytes from `len_bytes` to `end_bytes` have blocks: by what the file has in all, or, where the
/// filesystem compresses, by what it got just now.
fn has_blocks(file: &File, blocks_before: u64, len_bytes: u64, end_bytes: u64) -> io::Result<bool> {
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

/// Returns the free bytes of the filesystem that `file` lies on, for ordinary users.
pub(super) fn free_bytes_at(file: &File) -> io::Result<u64> {
    Ok(free_bytes_in(&rustix::fs::fstatvfs(file)?))
}

/// Returns the free bytes of the filesystem that `path` lies on, for ordinary users.
pub(super) fn free_bytes_of(path: &Path) -> io::Result<u64> {
    Ok(free_bytes_in(&rustix::fs::statvfs(path)?))
}

/// A filesystem without a size does not count at all (some in user space): then only trying tells.
fn free_bytes_in(stat: &rustix::fs::StatVfs) -> u64 {
    if stat.f_blocks == 0 {
        u64::MAX
    } else {
        stat.f_bavail.saturating_mul(stat.f_frsize)
    }
}

/// Drops the clean pages of a range from the page cache and starts to write the dirty ones, where the host can.
///
/// Advice: whether it is taken changes no byte, so an error is nothing that a caller could act on.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn drop_from_cache(file: &File, offset: u64, len: u64) {
    // Only whole pages are dropped, so the range is widened to them; 64 KiB is the largest page in use.
    const PAGE_BYTES: u64 = 64 * 1024;
    let start = offset / PAGE_BYTES * PAGE_BYTES;
    let end = offset
        .saturating_add(len)
        .checked_next_multiple_of(PAGE_BYTES)
        .unwrap_or(u64::MAX);
    if let Some(len) = NonZeroU64::new(end - start) {
        rustix::fs::fadvise(file, start, Some(len), rustix::fs::Advice::DontNeed).unwrap_or_default();
    }
}

/// Without such advice the caches stay as they are.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) fn drop_from_cache(_file: &File, _offset: u64, _len: u64) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filling_with_zeros_reserves_blocks_and_keeps_what_is_there() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.write_all_at(&[7; 5000], 0).expect("there is room");
        fill_with_zeros(&file, 5000, 3 << 20).expect("there is room");
        file.sync_all().expect("a sync");
        assert!(
            file.metadata().expect("metadata").blocks() * STAT_BLOCK_BYTES >= 3 << 20,
            "a sparse file"
        );
        let mut bytes = [1; 5001];
        file.read_exact_at(&mut bytes, 0).expect("all there");
        assert_eq!((bytes[4999], bytes[5000]), (7, 0));
    }

    #[test]
    fn a_sparse_file_is_told_from_one_with_blocks() {
        let file = tempfile::tempfile().expect("a temporary file");
        rustix::fs::ftruncate(&file, 1 << 20).expect("a sparse file");
        assert!(
            !has_blocks(&file, 0, 0, 1 << 20).expect("metadata"),
            "a hole was taken for blocks"
        );
        allocate(&file, 1 << 20)
            .or_else(|_| fill_with_zeros(&file, 0, 1 << 20).and_then(|()| file.sync_all()))
            .expect("there is room");
        assert!(
            has_blocks(&file, 0, 0, 1 << 20).expect("metadata"),
            "blocks were taken for a hole"
        );
    }

    #[test]
    fn a_reservation_above_the_free_space_is_refused_before_anything_is_written() {
        let file = tempfile::tempfile().expect("a temporary file");
        file.write_all_at(&[7; 100], 0).expect("there is room");
        let error = reserve(&file, 1 << 50).expect_err("a petabyte");
        assert!(matches!(error, ReserveError::Full { needed_bytes, .. } if needed_bytes == (1 << 50) - 100));
        assert_eq!(
            file.metadata().expect("metadata").len(),
            100,
            "the length changed"
        );
    }
}
