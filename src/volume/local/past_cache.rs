//! Reads past the page cache.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::io::Errno;

use super::handles::Handles;
use super::writer::refuses_direct;
use super::{IoMode, LocalVolumeOptions, Shared, layout};
use crate::storage::{FileAccess, FileIdentity, StorageFile};
use crate::units::{ExtentId, to_u64, to_usize};
use crate::volume::SECTOR_LEN_BYTES;

/// Shorter reads go through the page cache, which reads ahead for them.
const DIRECT_MIN_BYTES: usize = 1024 * 1024;

/// Files that are kept open for it: reads of one follow each other.
const OPEN_HANDLES: usize = 16;

/// The second handles of extents that are read directly.
#[derive(Debug)]
pub(super) struct PastCache {
    handles: Handles,
    /// Set when there is no such way: there will be none for the next read either.
    is_refused: AtomicBool,
}

impl PastCache {
    pub(super) fn new(options: &LocalVolumeOptions) -> Self {
        Self {
            handles: Handles::new(options.open_handles.min(OPEN_HANDLES)),
            is_refused: AtomicBool::new(options.io_mode == IoMode::Buffered),
        }
    }

    /// Reads what may go direct and returns how many bytes that were; the rest is to be read through the page cache. The extent is to
    /// be the file that `id` tells.
    pub(super) fn read(
        &self,
        shared: &Shared,
        (extent, id): (ExtentId, FileIdentity),
        offset: u64,
        into: &mut [u8],
    ) -> io::Result<usize> {
        let sector = to_usize(SECTOR_LEN_BYTES);
        let body_len = into.len() / sector * sector;
        let body = &mut into[..body_len];
        let is_aligned =
            offset.is_multiple_of(SECTOR_LEN_BYTES) && body.as_ptr().addr().is_multiple_of(sector);
        if body.len() < DIRECT_MIN_BYTES || !is_aligned || self.is_refused.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let Some(file) = self.handle(shared, extent, id) else {
            return Ok(0);
        };
        let mut done = 0;
        // A short read that ends inside a sector leaves the rest to the page cache, and so does the end of the file.
        while done < body.len() && done.is_multiple_of(sector) {
            match file.read_at(offset + to_u64(done), &mut body[done..]) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if refuses_direct(&error) => {
                    self.is_refused.store(true, Ordering::Relaxed);
                    break;
                }
                Err(error) if is_of_disk(&error) => return Err(error),
                // It may be of what others write to that file, which is on its way to the disk before anything is read past the
                // cache, or of the memory of the machine. The page cache has neither, or says it again.
                Err(_) => break,
            }
        }
        assert!(done <= body.len(), "the host read more than it was asked for");
        Ok(done)
    }

    /// Closes all files; returns how many those were.
    pub(super) fn clear(&self) -> usize {
        self.handles.clear()
    }

    pub(super) fn forget(&self, extent: ExtentId) {
        self.handles.forget(extent);
    }

    /// Returns a handle of exactly that file. Without one the page cache serves, whatever the reason.
    fn handle(&self, shared: &Shared, extent: ExtentId, id: FileIdentity) -> Option<Arc<dyn StorageFile>> {
        let is_it = |file: &Arc<dyn StorageFile>| file.info().is_ok_and(|info| info.id == id);
        if let Some(file) = self.handles.get(extent).filter(is_it) {
            return Some(file);
        }
        let path = layout::extent_path(&shared.dir, extent);
        let Some(file) = shared.storage.open_direct(&path, FileAccess::Read).ok()? else {
            self.is_refused.store(true, Ordering::Relaxed);
            return None;
        };
        // By path, so it is looked at whether that is still the same file.
        if !is_it(&file) {
            return None;
        }
        self.handles.put(extent, &file);
        Some(file)
    }
}

/// Says whether an error tells that bytes could not be read, or that the handle is none any more.
fn is_of_disk(error: &io::Error) -> bool {
    let codes = [Errno::IO, Errno::STALE];
    codes
        .iter()
        .any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

#[cfg(test)]
mod tests;
