//! Reads of extents, through the page cache and past it.

use std::io;
use std::sync::Arc;

use super::handles::Handles;
use super::past_cache::PastCache;
use super::{LocalVolumeOptions, Shared, layout};
use crate::error::VolumeError;
use crate::storage::{EntryInfo, FileAccess, StorageFile};
use crate::units::{ExtentId, to_u64};

/// Which way bytes are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    ThroughCache,
    /// As far as that can be done.
    PastCache,
}

/// The open files of a volume, for reading.
#[derive(Debug)]
pub(super) struct Reader {
    handles: Handles,
    past_cache: PastCache,
}

impl Reader {
    pub(super) fn new(options: &LocalVolumeOptions) -> Self {
        Self {
            handles: Handles::new(options.open_handles),
            past_cache: PastCache::new(options),
        }
    }

    /// Closes what is open of an extent.
    pub(super) fn forget(&self, extent: ExtentId) {
        self.handles.forget(extent);
        self.past_cache.forget(extent);
    }

    /// Returns a read-only handle that still has a name, and what is known of the file.
    pub(super) fn handle(
        &self,
        shared: &Shared,
        extent: ExtentId,
    ) -> io::Result<(Arc<dyn StorageFile>, EntryInfo)> {
        if let Some(file) = self.handles.get(extent) {
            let info = file.info()?;
            if info.links > 0 {
                return Ok((file, info));
            }
            self.handles.forget(extent);
        }
        let open = || {
            let path = layout::extent_path(&shared.dir, extent);
            shared.storage.open(&path, FileAccess::Read)
        };
        let file = open().or_else(|error| {
            if self.handles.clear() + self.past_cache.clear() == 0 {
                return Err(error);
            }
            // Too many files may be open, and these are open for speed alone.
            open()
        })?;
        let info = file.info()?;
        self.handles.put(extent, &file);
        Ok((file, info))
    }

    /// Fills `into`, all or error.
    pub(super) fn read(
        &self,
        shared: &Shared,
        extent: ExtentId,
        way: Way,
        (offset, into): (u64, &mut [u8]),
    ) -> Result<(), VolumeError> {
        let volume = shared.id;
        let (file, info) = self.handle(shared, extent).map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                shared.missing(extent)
            } else {
                VolumeError::Open {
                    volume,
                    extent,
                    source,
                }
            }
        })?;
        let len = to_u64(into.len());
        let len_bytes = info.len_bytes;
        let wanted_end = offset.saturating_add(len);
        if wanted_end > len_bytes {
            return Err(VolumeError::Truncated {
                volume,
                extent,
                len_bytes,
                wanted_end,
            });
        }
        let mut read = || {
            let done = match way {
                Way::ThroughCache => 0,
                Way::PastCache => self.past_cache.read(shared, (extent, info.id), offset, into)?,
            };
            file.read_exact_at(offset + to_u64(done), &mut into[done..])
        };
        read().map_err(|source| {
            // A handle that fails may be stale (a network filesystem): the next read opens anew.
            self.forget(extent);
            // Somebody cut the file between the look at its length and the read.
            if source.kind() == io::ErrorKind::UnexpectedEof {
                let len_bytes = file.info().map_or(0, |info| info.len_bytes);
                VolumeError::Truncated {
                    volume,
                    extent,
                    len_bytes,
                    wanted_end,
                }
            } else {
                VolumeError::Read {
                    volume,
                    extent,
                    offset,
                    len,
                    source,
                }
            }
        })
    }
}
