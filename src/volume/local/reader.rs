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
            // Whatever is open of it keeps its blocks.
            self.forget(extent);
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

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "an extent is removed behind the back of the volume"
    )]

    use std::fs;

    use crate::buffer::BufferPool;
    use crate::error::VolumeError;
    use crate::units::{ExtentId, VolumeId};
    use crate::volume::{LocalVolume, Volume as _};

    #[test]
    fn nothing_of_an_extent_that_somebody_has_removed_stays_open() {
        const LEN: usize = 1 << 20;
        let extent = ExtentId::new(1);
        let dir = tempfile::tempdir().expect("a temporary directory");
        let id = VolumeId::from_bytes([3; 16]);
        let volume = LocalVolume::create(&dir.path().join("v"), id).expect("a new volume");
        volume
            .create_extent(extent, &vec![7; LEN], 0)
            .expect("there is room");
        let mut bytes = BufferPool::new(LEN).take(LEN).expect("within the budget");
        volume.read_once(extent, 0, &mut bytes).expect("all there");
        assert!(bytes.iter().all(|&byte| byte == 7), "what was written");

        fs::remove_file(volume.extent_path(extent)).expect("it is there");
        let error = volume.read_at(extent, 0, &mut bytes).expect_err("it is gone");
        assert!(matches!(error, VolumeError::Missing { .. }), "{error}");
        let reader = &volume.reader;
        assert_eq!(
            (reader.handles.clear(), reader.past_cache.clear()),
            (0, 0),
            "open files keep the blocks of what was removed"
        );
    }
}
