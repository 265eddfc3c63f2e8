//! The writer of one extent file: what it does to the file; who may do it beside whom is the gate's.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use super::gate::{Closed, Covers, Entered, EnteredAlone, Gate, NotSynced};
use super::space::{self, ReserveError};
use super::{IoMode, Shared, layout};
use crate::error::VolumeError;
use crate::seeded_bugs::{SeededBug, is_on};
use crate::storage::{FileAccess, StorageFile};
use crate::units::{ByteRange, ExtentId, VolumeId, to_u64, to_usize};
use crate::volume::{ExtentWriter, SECTOR_LEN_BYTES};

/// Shorter writes are buffered: below this, a trip to the disk costs more than the copy it saves.
const DIRECT_MIN_BYTES: usize = 64 * 1024;

/// After this many buffered bytes their write-back is started, so that the disk works from the start and a sync finds
/// little left to do.
const PACE_BYTES: u64 = 8 * 1024 * 1024;

pub(super) struct LocalWriter {
    shared: Arc<Shared>,
    extent: ExtentId,
    path: PathBuf,
    /// Opened before the first byte is written: a sync through it hears of every failed write-back since.
    file: Arc<dyn StorageFile>,
    /// A second handle past the page cache; `None` where the filesystem has none.
    direct: OnceLock<Option<Arc<dyn StorageFile>>>,
    /// Set when a direct write was refused: it will be refused again.
    direct_refused: AtomicBool,
    gate: Gate,
    pace: Mutex<Pace>,
}

/// Buffered bytes whose write-back was not started yet, and a range around them.
#[derive(Debug, Default)]
struct Pace {
    dirty_bytes: u64,
    range: Option<ByteRange>,
}

impl LocalWriter {
    pub(super) fn create(
        shared: &Arc<Shared>,
        extent: ExtentId,
        header: &[u8],
        capacity_bytes: u64,
    ) -> Result<Self, VolumeError> {
        let volume = shared.id;
        let path = layout::extent_path(&shared.dir, extent);
        let storage = shared.storage.as_ref();
        let file = storage.create_new(&path).map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                VolumeError::Exists { volume, extent }
            } else {
                VolumeError::Create {
                    volume,
                    extent,
                    source,
                }
            }
        })?;
        let capacity_bytes = capacity_bytes.max(to_u64(header.len()));
        let made = space::reserve((storage, &shared.dir), file.as_ref(), capacity_bytes).and_then(|()| {
            file.write_all_at(0, header)?;
            file.sync_all()?;
            Ok(storage.sync_directory(&layout::extents_dir(&shared.dir))?)
        });
        let Err(error) = made else {
            return Ok(Self::over(shared, extent, path, file));
        };
        // None is left behind. Should the removal fail too, its error hides nothing: the id is not used again, and
        // the listing shows the file.
        let source = match (error, layout::remove(storage, &shared.dir, extent)) {
            (
                ReserveError::Full {
                    needed_bytes,
                    free_bytes,
                },
                Ok(()),
            ) => {
                return Err(VolumeError::Full {
                    volume,
                    extent,
                    needed_bytes,
                    free_bytes,
                });
            }
            (ReserveError::Full { .. }, Err(source)) | (ReserveError::Io(source), _) => source,
        };
        Err(VolumeError::Create {
            volume,
            extent,
            source,
        })
    }

    pub(super) fn resume(
        shared: &Arc<Shared>,
        extent: ExtentId,
        end_bytes: u64,
    ) -> Result<Self, VolumeError> {
        let volume = shared.id;
        if shared.is_poisoned(extent) {
            return Err(VolumeError::Poisoned { volume, extent });
        }
        let path = layout::extent_path(&shared.dir, extent);
        let opened = shared
            .storage
            .open(&path, FileAccess::ReadWrite)
            .and_then(|file| Ok((file.info()?.len_bytes, file)));
        let (len_bytes, file) = opened.map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                VolumeError::Missing { volume, extent }
            } else {
                VolumeError::Open {
                    volume,
                    extent,
                    source,
                }
            }
        })?;
        if len_bytes < end_bytes {
            return Err(VolumeError::Truncated {
                volume,
                extent,
                len_bytes,
                wanted_end: end_bytes,
            });
        }
        let writer = Self::over(shared, extent, path, file);
        // Synced at once: the leftovers must not come back with a later crash, in between what is written now.
        if !is_on(SeededBug::ExtentNotCutBack) {
            writer.truncate(end_bytes)?;
        }
        writer.sync()?;
        Ok(writer)
    }

    fn over(shared: &Arc<Shared>, extent: ExtentId, path: PathBuf, file: Arc<dyn StorageFile>) -> Self {
        Self {
            shared: Arc::clone(shared),
            extent,
            path,
            file,
            direct: OnceLock::new(),
            direct_refused: AtomicBool::new(shared.io_mode == IoMode::Buffered),
            gate: Gate::new(),
            pace: Mutex::default(),
        }
    }

    fn enter(&self) -> Result<Entered<'_>, VolumeError> {
        self.gate.enter().map_err(|closed| self.closed(closed))
    }

    fn enter_alone(&self) -> Result<EnteredAlone<'_>, VolumeError> {
        self.gate.enter_alone().map_err(|closed| self.closed(closed))
    }

    fn closed(&self, closed: Closed) -> VolumeError {
        let (volume, extent) = (self.shared.id, self.extent);
        match closed {
            Closed::Poisoned => VolumeError::Poisoned { volume, extent },
            Closed::Sealed => VolumeError::Sealed { volume, extent },
        }
    }

    fn full(&self, needed_bytes: u64) -> VolumeError {
        // Without an answer, nothing is free as far as anybody knows.
        let free_bytes = self.shared.storage.free_bytes(&self.shared.dir).unwrap_or(0);
        VolumeError::Full {
            volume: self.shared.id,
            extent: self.extent,
            needed_bytes,
            free_bytes,
        }
    }

    /// Syncs the file, or poisons the extent.
    fn sync_file(&self, covers: Covers) -> io::Result<()> {
        let synced = match covers {
            Covers::Data => self.file.sync_data(),
            Covers::DataAndLength => self.file.sync_all(),
        };
        let synced = match synced {
            Err(_) if is_on(SeededBug::FailedSyncBelieved) => self.file.sync_all(),
            synced => synced,
        };
        // Before anybody else gets the turn.
        synced.inspect_err(|_| self.shared.poison(self.extent))
    }

    fn not_synced(&self, error: NotSynced<io::Error>) -> VolumeError {
        match error {
            NotSynced::Closed(closed) => self.closed(closed),
            NotSynced::Failed(source) => VolumeError::Sync {
                volume: self.shared.id,
                extent: self.extent,
                source,
            },
        }
    }

    /// Writes what may go direct and returns how many bytes that were; the rest is for [`write_buffered`].
    ///
    /// [`write_buffered`]: Self::write_buffered
    fn write_direct(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let sector = to_usize(SECTOR_LEN_BYTES);
        let body = &bytes[..bytes.len() / sector * sector];
        let aligned = offset.is_multiple_of(SECTOR_LEN_BYTES) && body.as_ptr().addr().is_multiple_of(sector);
        if body.len() < DIRECT_MIN_BYTES || !aligned || self.direct_refused.load(Ordering::Relaxed) {
            return Ok(0);
        }
        let Some(direct) = self.direct.get_or_init(|| self.open_direct()) else {
            return Ok(0);
        };
        let mut done = 0;
        // A short write that ends inside a sector leaves the rest to the page cache.
        while done < body.len() && done.is_multiple_of(sector) {
            match direct.write_at(offset + to_u64(done), &body[done..]) {
                Ok(0) => break,
                Ok(written) => done += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if refuses_direct(&error) => {
                    self.direct_refused.store(true, Ordering::Relaxed);
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// `None` where there is no way past the page cache; every write is buffered then.
    fn open_direct(&self) -> Option<Arc<dyn StorageFile>> {
        let direct = self
            .shared
            .storage
            .open_direct(&self.path, FileAccess::ReadWrite)
            .ok()??;
        // By path, so it is looked at whether that is still our file.
        let (ours, theirs) = (self.file.info().ok()?, direct.info().ok()?);
        (ours.id == theirs.id).then_some(direct)
    }

    fn write_buffered(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.file.write_all_at(offset, bytes)?;
        let start = self
            .pace
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .add(offset, to_u64(bytes.len()));
        if let Some(range) = start {
            // This is what `sync_file_range` would do: dirty pages are not dropped, their write-back begins.
            self.file.forget_cached(range.start(), range.len());
        }
        Ok(())
    }
}

impl Pace {
    /// Counts a buffered write; returns a range when its write-back is due.
    fn add(&mut self, offset: u64, len: u64) -> Option<ByteRange> {
        let (mut start, mut end) = (offset, offset.saturating_add(len));
        if let Some(range) = self.range {
            (start, end) = (start.min(range.start()), end.max(range.end()));
        }
        self.range = ByteRange::new(start, end);
        self.dirty_bytes += len;
        if self.dirty_bytes < PACE_BYTES {
            return None;
        }
        self.dirty_bytes = 0;
        self.range.take()
    }
}

/// A filesystem that opens a file for direct I/O may still refuse the alignment, or the read or write.
pub(super) fn refuses_direct(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported
    )
}

impl ExtentWriter for LocalWriter {
    fn volume(&self) -> VolumeId {
        self.shared.id
    }

    fn extent(&self) -> ExtentId {
        self.extent
    }

    fn preallocate(&self, end_bytes: u64) -> Result<(), VolumeError> {
        let alone = self.enter_alone()?;
        let (volume, extent) = (self.shared.id, self.extent);
        alone.changes_length();
        space::reserve(
            (self.shared.storage.as_ref(), &self.shared.dir),
            self.file.as_ref(),
            end_bytes,
        )
        .map_err(|error| match error {
            ReserveError::Full {
                needed_bytes,
                free_bytes,
            } => VolumeError::Full {
                volume,
                extent,
                needed_bytes,
                free_bytes,
            },
            ReserveError::Io(source) => VolumeError::Preallocate {
                volume,
                extent,
                end_bytes,
                source,
            },
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let _shared = self.enter()?;
        let len = to_u64(bytes.len());
        let failed = |source| VolumeError::Write {
            volume: self.shared.id,
            extent: self.extent,
            offset,
            len,
            source,
        };
        // No file reaches further, and the sums below must not wrap.
        if offset
            .checked_add(len)
            .is_none_or(|end| i64::try_from(end).is_err())
        {
            return Err(failed(io::ErrorKind::FileTooLarge.into()));
        }
        let written = self.write_direct(offset, bytes).and_then(|done| {
            assert!(done <= bytes.len(), "the host wrote more than it was given");
            self.write_buffered(offset + to_u64(done), &bytes[done..])
        });
        written.map_err(|source| {
            if space::means_full(&source) {
                self.full(len)
            } else {
                failed(source)
            }
        })
    }

    fn sync(&self) -> Result<(), VolumeError> {
        let synced = self.gate.sync(|covers| self.sync_file(covers));
        synced.map_err(|error| self.not_synced(error))
    }

    fn truncate(&self, end_bytes: u64) -> Result<(), VolumeError> {
        let alone = self.enter_alone()?;
        let shorten = || {
            if self.file.info()?.len_bytes > end_bytes {
                alone.changes_length();
                self.file.set_len(end_bytes)?;
            }
            Ok(())
        };
        shorten().map_err(|source: io::Error| VolumeError::Truncate {
            volume: self.shared.id,
            extent: self.extent,
            end_bytes,
            source,
        })
    }

    fn seal(&self) -> Result<(), VolumeError> {
        let sealed = self.gate.seal(|covers| self.sync_file(covers));
        sealed.map_err(|error| self.not_synced(error))
    }
}

impl fmt::Debug for LocalWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalWriter")
            .field("extent", &self.extent)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
