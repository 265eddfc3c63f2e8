//! A volume in a directory of an ordinary filesystem.
//!
//! ```text
//! <dir>/                    0700; everything in it 0600
//!   volume.bfv              slot A at 0, slot B at 4096
//!   extents/00000001.bfx    the id in at least eight decimal digits
//! ```
//! Other names beside these are left alone and never listed. Files are never mapped: a bad sector under a mapping
//! kills the process. Opening needs no write permission, so a volume on a read-only mount still serves reads.
//!
//! Reads go through a bounded cache of handles. Each read looks whether the file behind its handle still has a name,
//! because an extent that somebody deleted must show as missing even where a handle would still serve it.
//!
//! Locks, in this order, and what is done under them: a writer's turn to sync and its gate cover I/O on that one file
//! (see [`gate`]); the handle cache and the list of poisoned extents cover memory work only.

mod gate;
mod handles;
mod layout;
mod past_cache;
mod reader;
mod space;
mod writer;

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use self::reader::{Reader, Way};
use self::writer::LocalWriter;
use crate::error::VolumeError;
use crate::storage::{FileAccess, HostStorage, Storage};
use crate::units::{ByteRange, ExtentId, VolumeId};
use crate::volume::{ExtentStat, ExtentWriter, Punched, SlotBytes, SlotIndex, Volume};

/// How a [`LocalVolume`] moves its bytes.
#[derive(Debug, Clone)]
pub struct LocalVolumeOptions {
    /// Whether large writes and [`Volume::read_once`] may go past the page cache. Default: [`IoMode::Auto`].
    pub io_mode: IoMode,
    /// How many extents are kept open for reading, at least one; of them at most 16 a second time, for reads past the page cache.
    /// Default: 128.
    pub open_handles: usize,
}

/// Whether large aligned writes go past the page cache, and with them the reads of [`Volume::read_once`].
///
/// The bytes are the same in all modes. Going direct saves the copy into the page cache or out of it and its bookkeeping, which
/// cost more CPU than hashing and encoding, and a write keeps the disk busy from the start; how much faster it is depends on
/// the disk (`cargo bench --bench volume`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IoMode {
    /// Writes of 64 KiB and more, and reads of [`Volume::read_once`] of 1 MiB and more, go direct where the filesystem can and memory
    /// and offset are aligned to 4096 bytes; everything else is buffered.
    Auto,
    /// The same, for whoever wants no volume where the filesystem cannot: such a one is refused when an archive is opened for writing,
    /// made, or given it. See [`LocalVolume::can_go_direct_on`].
    Direct,
    /// All writes and reads are buffered.
    Buffered,
}

impl Default for LocalVolumeOptions {
    fn default() -> Self {
        Self {
            io_mode: IoMode::Auto,
            open_handles: 128,
        }
    }
}

/// A volume in a directory of the machine's file system, or of any other [`Storage`].
#[derive(Debug)]
pub struct LocalVolume {
    shared: Arc<Shared>,
    reader: Reader,
}

/// What the volume and its writers both need.
#[derive(Debug)]
struct Shared {
    storage: Arc<dyn Storage>,
    id: VolumeId,
    dir: PathBuf,
    io_mode: IoMode,
    poisoned: Poisoned,
}

/// Extents whose sync failed since the volume was opened: they are abandoned for good.
type Poisoned = Arc<Mutex<BTreeSet<ExtentId>>>;

impl LocalVolume {
    /// Makes a volume in `dir`, which is made too unless it is there; its parent must exist.
    ///
    /// When this returns, the directories and both slots, all zeros, are durable. What a crashed creation left is taken
    /// up again; anything that may be a volume is refused.
    ///
    /// # Errors
    /// [`VolumeError::InUse`] where a slot holds anything or extents are there, [`VolumeError::Directory`].
    pub fn create(dir: &Path, id: VolumeId) -> Result<Self, VolumeError> {
        Self::create_on(host(), dir, id)
    }

    /// Does the same on a storage.
    ///
    /// # Errors
    /// As for [`Self::create`].
    pub fn create_on(storage: Arc<dyn Storage>, dir: &Path, id: VolumeId) -> Result<Self, VolumeError> {
        layout::create(storage.as_ref(), dir)?;
        Ok(Self::new(storage, dir, id))
    }

    /// Removes slots that are damaged, both of them, from a volume without extents: for whoever knows that its creation was
    /// interrupted, and that nothing was ever stored in it. Anything else stays.
    ///
    /// # Errors
    /// [`VolumeError::Directory`].
    pub fn discard_torn_slots_on(storage: &dyn Storage, dir: &Path) -> Result<(), VolumeError> {
        layout::discard_torn_slots(storage, dir).map_err(|source| VolumeError::Directory {
            path: layout::slots_path(dir),
            source,
        })
    }

    /// Makes the file of slots again where it is gone, all zeros, durable on return. What is there stays.
    ///
    /// # Errors
    /// [`VolumeError::Directory`].
    pub fn restore_slots_on(storage: &dyn Storage, dir: &Path) -> Result<(), VolumeError> {
        layout::restore_slots(storage, dir).map_err(|source| VolumeError::Directory {
            path: layout::slots_path(dir),
            source,
        })
    }

    /// Opens the volume in `dir` under the id that its slots name; see [`read_slots_of`](Self::read_slots_of).
    ///
    /// # Errors
    /// [`VolumeError::Directory`] when `dir` is not a volume's directory.
    pub fn open(dir: &Path, id: VolumeId) -> Result<Self, VolumeError> {
        Self::open_on(host(), dir, id)
    }

    /// Does the same on a storage.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_on(storage: Arc<dyn Storage>, dir: &Path, id: VolumeId) -> Result<Self, VolumeError> {
        layout::check(storage.as_ref(), dir)?;
        Ok(Self::new(storage, dir, id))
    }

    /// Opens what is left of the volume in `dir` for reading: its slots may be gone, its extents are enough.
    ///
    /// # Errors
    /// [`VolumeError::Directory`] when there is no directory of extents.
    pub fn open_without_slots(dir: &Path, id: VolumeId) -> Result<Self, VolumeError> {
        Self::open_without_slots_on(host(), dir, id)
    }

    /// Does the same on a storage.
    ///
    /// # Errors
    /// As for [`Self::open_without_slots`].
    pub fn open_without_slots_on(
        storage: Arc<dyn Storage>,
        dir: &Path,
        id: VolumeId,
    ) -> Result<Self, VolumeError> {
        layout::check_extents(storage.as_ref(), dir)?;
        Ok(Self::new(storage, dir, id))
    }

    /// Says whether the file system that a volume lies on has a way past the page cache; also yes, where that cannot be looked at.
    ///
    /// A file system may take the flag and cache all the same, and a writer that is refused a single write lets it go through the page
    /// cache.
    pub fn can_go_direct_on(storage: &dyn Storage, dir: &Path) -> bool {
        let opened = storage.open_direct(&layout::slots_path(dir), FileAccess::ReadWrite);
        !matches!(opened, Ok(None))
    }

    /// Changes how bytes are moved; writers made before keep their way.
    #[must_use]
    pub fn with_options(self, options: &LocalVolumeOptions) -> Self {
        let shared = Shared {
            storage: Arc::clone(&self.shared.storage),
            id: self.shared.id,
            dir: self.shared.dir.clone(),
            io_mode: options.io_mode,
            poisoned: Arc::clone(&self.shared.poisoned),
        };
        Self {
            shared: Arc::new(shared),
            reader: Reader::new(options),
        }
    }

    /// Reads both slots of a directory whose volume is not known yet, each with its own result: one that is damaged or
    /// cut off does not hide the other.
    pub fn read_slots_of(dir: &Path) -> [Result<Box<SlotBytes>, VolumeError>; 2] {
        Self::read_slots_on(&HostStorage, dir)
    }

    /// Does the same on a storage.
    pub fn read_slots_on(storage: &dyn Storage, dir: &Path) -> [Result<Box<SlotBytes>, VolumeError>; 2] {
        SlotIndex::BOTH.map(|slot| {
            let source_of = |source| VolumeError::Directory {
                path: layout::slots_path(dir),
                source,
            };
            layout::read_slot(storage, dir, slot).map_err(source_of)
        })
    }

    /// Says whether the volume in `dir` takes no writes: its file system is read-only, or this process has no right to.
    pub fn is_read_only_on(storage: &dyn Storage, dir: &Path) -> bool {
        let opened = storage.open(&layout::slots_path(dir), FileAccess::ReadWrite);
        opened.is_err_and(|error| {
            matches!(
                error.kind(),
                io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
            )
        })
    }

    /// Returns the directory.
    pub fn dir(&self) -> &Path {
        &self.shared.dir
    }

    /// Returns the file that an extent is kept in, for messages and damage tools; it may not exist.
    pub fn extent_path(&self, extent: ExtentId) -> PathBuf {
        layout::extent_path(&self.shared.dir, extent)
    }

    fn new(storage: Arc<dyn Storage>, dir: &Path, id: VolumeId) -> Self {
        let options = LocalVolumeOptions::default();
        let shared = Shared {
            storage,
            id,
            dir: dir.to_path_buf(),
            io_mode: options.io_mode,
            poisoned: Poisoned::default(),
        };
        Self {
            shared: Arc::new(shared),
            reader: Reader::new(&options),
        }
    }
}

impl Volume for LocalVolume {
    fn id(&self) -> VolumeId {
        self.shared.id
    }

    fn create_extent(
        &self,
        extent: ExtentId,
        header: &[u8],
        capacity_bytes: u64,
    ) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        Ok(Arc::new(LocalWriter::create(
            &self.shared,
            extent,
            header,
            capacity_bytes,
        )?))
    }

    fn resume_extent(&self, extent: ExtentId, end_bytes: u64) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        Ok(Arc::new(LocalWriter::resume(&self.shared, extent, end_bytes)?))
    }

    fn read_at(&self, extent: ExtentId, offset: u64, into: &mut [u8]) -> Result<(), VolumeError> {
        self.reader
            .read(&self.shared, extent, Way::ThroughCache, (offset, into))
    }

    fn read_once(&self, extent: ExtentId, offset: u64, into: &mut [u8]) -> Result<(), VolumeError> {
        self.reader
            .read(&self.shared, extent, Way::PastCache, (offset, into))
    }

    fn forget_cached(&self, extent: ExtentId, offset: u64, len_bytes: u64) {
        // Where it cannot be opened the read that follows says so.
        if let Ok((file, _)) = self.reader.handle(&self.shared, extent) {
            file.forget_cached(offset, len_bytes);
        }
    }

    fn extents(&self) -> Result<Vec<ExtentStat>, VolumeError> {
        layout::list(self.shared.storage.as_ref(), &self.shared.dir).map_err(|source| VolumeError::List {
            volume: self.shared.id,
            source,
        })
    }

    fn remove_extent(&self, extent: ExtentId) -> Result<(), VolumeError> {
        let volume = self.shared.id;
        self.reader.forget(extent);
        layout::remove(self.shared.storage.as_ref(), &self.shared.dir, extent).map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                VolumeError::Missing { volume, extent }
            } else {
                VolumeError::Remove {
                    volume,
                    extent,
                    source,
                }
            }
        })
    }

    fn punch(&self, extent: ExtentId, ranges: &[ByteRange]) -> Result<Punched, VolumeError> {
        let volume = self.shared.id;
        let opened = (self.shared.storage)
            .open(&self.extent_path(extent), FileAccess::ReadWrite)
            .and_then(|file| Ok((file.info()?, file)));
        let (info, file) = opened.map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                self.shared.missing(extent)
            } else {
                VolumeError::Open {
                    volume,
                    extent,
                    source,
                }
            }
        })?;
        if info.links > 1 {
            return Ok(Punched::Shared);
        }
        for range in ranges {
            match file.punch(range.start(), range.len()) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                    return Ok(Punched::Unsupported);
                }
                Err(source) => {
                    return Err(VolumeError::Punch {
                        volume,
                        extent,
                        source,
                    });
                }
            }
        }
        file.sync_all().map_err(|source| {
            self.shared.poison(extent);
            VolumeError::Sync {
                volume,
                extent,
                source,
            }
        })?;
        Ok(Punched::Done)
    }

    fn free_bytes(&self) -> Result<u64, VolumeError> {
        self.shared
            .storage
            .free_bytes(&self.shared.dir)
            .map_err(|source| VolumeError::FreeSpace {
                volume: self.shared.id,
                source,
            })
    }

    fn read_slot(&self, slot: SlotIndex, into: &mut SlotBytes) -> Result<(), VolumeError> {
        let shared = &self.shared;
        let read = layout::read_slot(shared.storage.as_ref(), &shared.dir, slot);
        let bytes = read.map_err(|source| VolumeError::ReadSlot {
            volume: self.shared.id,
            slot: slot.name(),
            source,
        })?;
        *into = *bytes;
        Ok(())
    }

    fn write_slot(&self, slot: SlotIndex, bytes: &SlotBytes) -> Result<(), VolumeError> {
        let shared = &self.shared;
        let written = layout::write_slot(shared.storage.as_ref(), &shared.dir, slot, bytes);
        written.map_err(|source| VolumeError::WriteSlot {
            volume: self.shared.id,
            slot: slot.name(),
            source,
        })
    }
}

fn host() -> Arc<dyn Storage> {
    Arc::new(HostStorage)
}

impl Shared {
    /// Says of an extent that is not there whether that is damage: where the volume is not there either, it is none.
    fn missing(&self, extent: ExtentId) -> VolumeError {
        let volume = self.id;
        let (storage, dir) = (self.storage.as_ref(), &self.dir);
        let has_slots = || storage.inspect(&layout::slots_path(dir)).is_ok();
        let is_empty = || layout::list(storage, dir).is_ok_and(|extents| extents.is_empty());
        match layout::check_extents(storage, dir) {
            Ok(()) if has_slots() || !is_empty() => VolumeError::Missing { volume, extent },
            Ok(()) | Err(_) => VolumeError::Absent { volume },
        }
    }

    fn is_poisoned(&self, extent: ExtentId) -> bool {
        self.poisoned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&extent)
    }

    fn poison(&self, extent: ExtentId) {
        self.poisoned
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(extent);
    }
}

#[cfg(test)]
mod tests;
