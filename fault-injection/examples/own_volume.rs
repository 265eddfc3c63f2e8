//! A volume of one's own, through the contract of volumes, every crash and every error.
//!
//! [`PlainVolume`] keeps one file per extent in one directory, and the slots in a file beside them. Its protocol is the
//! simplest that is right. With an [`Omission`] it leaves a sync out, and the trial finds that.

use std::{
    collections::BTreeSet,
    error::Error,
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
};

use bfdb::{
    error::VolumeError,
    storage::{FileAccess, Storage, StorageFile},
    units::{ExtentId, VolumeId},
    volume::{ExtentStat, ExtentWriter, SLOT_LEN_BYTES, SlotBytes, SlotIndex, Volume},
};
use bfdb_fault_injection::{
    SimulatedStorage, conformance,
    crashes::{Effort, Enough, Findings, VolumeAlone, VolumeMaker, explore, inject},
};

// ---- The volume ----

/// A sync that is left out: a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Omission {
    Nothing,
    /// That of the directory, when an extent was made or removed.
    OfNames,
    /// That of an extent.
    OfBytes,
}

const DIRECTORY: &str = "/plain";
const SLOTS: &str = "slots";

/// One directory: a file for each extent, named by its number, and the slots.
#[derive(Debug)]
struct PlainVolume {
    storage: Arc<dyn Storage>,
    id: VolumeId,
    poisoned: Arc<Mutex<BTreeSet<ExtentId>>>,
    omission: Omission,
}

impl PlainVolume {
    fn create(storage: Arc<dyn Storage>, id: VolumeId, omission: Omission) -> io::Result<Self> {
        storage.create_directory(Path::new(DIRECTORY))?;
        let slots = storage.create_new(&path(SLOTS))?;
        slots.write_all_at(0, &[0; 2 * SLOT_LEN_BYTES])?;
        slots.sync_all()?;
        storage.sync_directory(Path::new(DIRECTORY))?;
        storage.sync_directory(Path::new("/"))?;
        Ok(Self::open(storage, id, omission))
    }

    fn open(storage: Arc<dyn Storage>, id: VolumeId, omission: Omission) -> Self {
        Self {
            storage,
            id,
            poisoned: Arc::default(),
            omission,
        }
    }

    fn sync_names(&self) -> io::Result<()> {
        match self.omission {
            Omission::OfNames => Ok(()),
            Omission::Nothing | Omission::OfBytes => self.storage.sync_directory(Path::new(DIRECTORY)),
        }
    }

    fn writer(&self, extent: ExtentId, file: Arc<dyn StorageFile>) -> PlainWriter {
        PlainWriter {
            storage: Arc::clone(&self.storage),
            volume: self.id,
            extent,
            file,
            poisoned: Arc::clone(&self.poisoned),
            life: RwLock::new(Life::Open),
            omission: self.omission,
        }
    }

    fn open_extent(&self, extent: ExtentId, access: FileAccess) -> Result<Arc<dyn StorageFile>, VolumeError> {
        let volume = self.id;
        let opened = self.storage.open(&path_of(extent), access);
        opened.map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                return VolumeError::Missing { volume, extent };
            }
            VolumeError::Open {
                volume,
                extent,
                source,
            }
        })
    }

    /// Fails where an extent ends before something.
    fn reaches(&self, extent: ExtentId, file: &dyn StorageFile, wanted_end: u64) -> Result<(), VolumeError> {
        let volume = self.id;
        let info = file.info().map_err(|source| VolumeError::Open {
            volume,
            extent,
            source,
        })?;
        if info.len_bytes >= wanted_end {
            return Ok(());
        }
        Err(VolumeError::Truncated {
            volume,
            extent,
            len_bytes: info.len_bytes,
            wanted_end,
        })
    }
}

fn path(name: &str) -> PathBuf {
    Path::new(DIRECTORY).join(name)
}

fn path_of(extent: ExtentId) -> PathBuf {
    path(&extent.get().to_string())
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).expect("an address fits 64 bits")
}

impl Volume for PlainVolume {
    fn id(&self) -> VolumeId {
        self.id
    }

    fn create_extent(
        &self,
        extent: ExtentId,
        header: &[u8],
        capacity_bytes: u64,
    ) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        let volume = self.id;
        let failed = |source| VolumeError::Create {
            volume,
            extent,
            source,
        };
        let made = self.storage.create_new(&path_of(extent));
        let file = made.map_err(|source| {
            if source.kind() == io::ErrorKind::AlreadyExists {
                return VolumeError::Exists { volume, extent };
            }
            failed(source)
        })?;
        let writer = self.writer(extent, file);
        let filled = writer
            .preallocate(capacity_bytes.max(to_u64(header.len())))
            .and_then(|()| {
                let written = writer.file.write_all_at(0, header);
                let synced = written.and_then(|()| writer.file.sync_all());
                synced.and_then(|()| self.sync_names()).map_err(failed)
            });
        match filled {
            Ok(()) => Ok(Arc::new(writer)),
            Err(error) => {
                // Rule 2: nothing is left. Where that fails too, the first error says more.
                let removed = self.storage.remove_file(&path_of(extent));
                drop(removed.and_then(|()| self.sync_names()));
                Err(error)
            }
        }
    }

    fn resume_extent(&self, extent: ExtentId, end_bytes: u64) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        let writer = self.writer(extent, self.open_extent(extent, FileAccess::ReadWrite)?);
        self.reaches(extent, writer.file.as_ref(), end_bytes)?;
        writer.truncate(end_bytes)?;
        writer.sync()?;
        Ok(Arc::new(writer))
    }

    fn read_at(&self, extent: ExtentId, offset: u64, into: &mut [u8]) -> Result<(), VolumeError> {
        let file = self.open_extent(extent, FileAccess::Read)?;
        let len = to_u64(into.len());
        self.reaches(extent, file.as_ref(), offset.saturating_add(len))?;
        let read = file.read_exact_at(offset, into);
        read.map_err(|source| VolumeError::Read {
            volume: self.id,
            extent,
            offset,
            len,
            source,
        })
    }

    fn extents(&self) -> Result<Vec<ExtentStat>, VolumeError> {
        let stats = || -> io::Result<Vec<ExtentStat>> {
            let names = self.storage.list(Path::new(DIRECTORY))?;
            let numbers = names.iter().filter_map(|name| name.to_str()?.parse().ok());
            let mut extents: Vec<ExtentId> = numbers.map(ExtentId::new).collect();
            extents.sort_unstable();
            let stat = |extent| {
                let info = self.storage.inspect(&path_of(extent))?;
                Ok(ExtentStat {
                    extent,
                    len_bytes: info.len_bytes,
                })
            };
            extents.into_iter().map(stat).collect()
        };
        stats().map_err(|source| VolumeError::List {
            volume: self.id,
            source,
        })
    }

    fn remove_extent(&self, extent: ExtentId) -> Result<(), VolumeError> {
        let volume = self.id;
        let removed = self.storage.remove_file(&path_of(extent));
        let synced = removed.and_then(|()| self.sync_names());
        synced.map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                return VolumeError::Missing { volume, extent };
            }
            VolumeError::Remove {
                volume,
                extent,
                source,
            }
        })
    }

    fn free_bytes(&self) -> Result<u64, VolumeError> {
        let free = self.storage.free_bytes(Path::new(DIRECTORY));
        free.map_err(|source| VolumeError::FreeSpace {
            volume: self.id,
            source,
        })
    }

    fn read_slot(&self, slot: SlotIndex, into: &mut SlotBytes) -> Result<(), VolumeError> {
        let opened = self.storage.open(&path(SLOTS), FileAccess::Read);
        let read = opened.and_then(|file| file.read_exact_at(offset_of(slot), into));
        read.map_err(|source| VolumeError::ReadSlot {
            volume: self.id,
            slot: slot.name(),
            source,
        })
    }

    fn write_slot(&self, slot: SlotIndex, bytes: &SlotBytes) -> Result<(), VolumeError> {
        let opened = self.storage.open(&path(SLOTS), FileAccess::ReadWrite);
        let written = opened.and_then(|file| {
            file.write_all_at(offset_of(slot), bytes)?;
            file.sync_data()
        });
        written.map_err(|source| VolumeError::WriteSlot {
            volume: self.id,
            slot: slot.name(),
            source,
        })
    }
}

fn offset_of(slot: SlotIndex) -> u64 {
    match slot {
        SlotIndex::A => 0,
        SlotIndex::B => to_u64(SLOT_LEN_BYTES),
    }
}

/// Whether a writer takes anything more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Open,
    Sealed,
}

#[derive(Debug)]
struct PlainWriter {
    storage: Arc<dyn Storage>,
    volume: VolumeId,
    extent: ExtentId,
    file: Arc<dyn StorageFile>,
    poisoned: Arc<Mutex<BTreeSet<ExtentId>>>,
    /// Held for reading by writes, which go beside each other, and for writing by everything else.
    life: RwLock<Life>,
    omission: Omission,
}

impl PlainWriter {
    fn takes_more(&self, life: Life) -> Result<(), VolumeError> {
        let (volume, extent) = (self.volume, self.extent);
        let poisoned = self.poisoned.lock().unwrap_or_else(PoisonError::into_inner);
        if poisoned.contains(&extent) {
            return Err(VolumeError::Poisoned { volume, extent });
        }
        if life == Life::Sealed {
            return Err(VolumeError::Sealed { volume, extent });
        }
        Ok(())
    }

    /// Does something while nobody writes.
    fn alone<T>(&self, work: impl FnOnce(&mut Life) -> Result<T, VolumeError>) -> Result<T, VolumeError> {
        let mut life = self.life.write().unwrap_or_else(PoisonError::into_inner);
        self.takes_more(*life)?;
        work(&mut life)
    }

    fn sync_or_poison(&self) -> Result<(), VolumeError> {
        if self.omission == Omission::OfBytes {
            return Ok(());
        }
        self.file.sync_all().map_err(|source| {
            let mut poisoned = self.poisoned.lock().unwrap_or_else(PoisonError::into_inner);
            poisoned.insert(self.extent);
            VolumeError::Sync {
                volume: self.volume,
                extent: self.extent,
                source,
            }
        })
    }
}

impl ExtentWriter for PlainWriter {
    fn volume(&self) -> VolumeId {
        self.volume
    }

    fn extent(&self) -> ExtentId {
        self.extent
    }

    fn preallocate(&self, end_bytes: u64) -> Result<(), VolumeError> {
        let (volume, extent) = (self.volume, self.extent);
        let failed = |source| VolumeError::Preallocate {
            volume,
            extent,
            end_bytes,
            source,
        };
        self.alone(|_| {
            let len_bytes = self.file.info().map_err(failed)?.len_bytes;
            let needed_bytes = end_bytes.saturating_sub(len_bytes);
            let free_bytes = self.storage.free_bytes(Path::new(DIRECTORY)).map_err(failed)?;
            if needed_bytes > free_bytes {
                return Err(VolumeError::Full {
                    volume,
                    extent,
                    needed_bytes,
                    free_bytes,
                });
            }
            self.file.allocate(end_bytes).map_err(|source| {
                // Rule 7: the length stays.
                drop(self.file.set_len(len_bytes));
                failed(source)
            })
        })
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let life = self.life.read().unwrap_or_else(PoisonError::into_inner);
        self.takes_more(*life)?;
        if bytes.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all_at(offset, bytes);
        written.map_err(|source| VolumeError::Write {
            volume: self.volume,
            extent: self.extent,
            offset,
            len: to_u64(bytes.len()),
            source,
        })
    }

    fn sync(&self) -> Result<(), VolumeError> {
        self.alone(|_| self.sync_or_poison())
    }

    fn truncate(&self, end_bytes: u64) -> Result<(), VolumeError> {
        let cut = || {
            if self.file.info()?.len_bytes > end_bytes {
                self.file.set_len(end_bytes)?;
            }
            Ok(())
        };
        self.alone(|_| {
            cut().map_err(|source| VolumeError::Truncate {
                volume: self.volume,
                extent: self.extent,
                end_bytes,
                source,
            })
        })
    }

    fn seal(&self) -> Result<(), VolumeError> {
        self.alone(|life| {
            self.sync_or_poison()?;
            *life = Life::Sealed;
            Ok(())
        })
    }
}

// ---- Its trial ----

struct PlainVolumes(Omission);

impl VolumeMaker for PlainVolumes {
    fn create(&self, storage: Arc<dyn Storage>, id: VolumeId) -> Result<Arc<dyn Volume>, Box<dyn Error>> {
        Ok(Arc::new(PlainVolume::create(storage, id, self.0)?))
    }

    fn open(&self, storage: Arc<dyn Storage>, id: VolumeId) -> Result<Arc<dyn Volume>, Box<dyn Error>> {
        Ok(Arc::new(PlainVolume::open(storage, id, self.0)))
    }
}

/// An empty volume with room for 64 MiB, on a disk of its own.
fn volume() -> Arc<dyn Volume> {
    let disk = SimulatedStorage::with_capacity(64 << 20);
    let made = PlainVolume::create(Arc::new(disk), VolumeId::from_bytes([1; 16]), Omission::Nothing);
    Arc::new(made.expect("the disk works"))
}

/// Crashes everywhere, then lets up to so many operations fail.
fn search(omission: Omission, errors: usize) -> io::Result<Findings> {
    let trial = VolumeAlone::new("plain-volume", PlainVolumes(omission));
    let findings = Findings::until(Enough::violations(3));
    explore(&trial, 1, &Effort::default(), &findings)?;
    inject(&trial, 1, errors, &findings)?;
    Ok(findings)
}

#[expect(clippy::print_stdout, reason = "a program for people at a terminal")]
fn main() -> io::Result<()> {
    conformance::check(volume); // Panics with the number of the rule that is broken.
    println!("with every sync: {}", search(Omission::Nothing, 1000)?);
    for omission in [Omission::OfNames, Omission::OfBytes] {
        println!("without the sync {omission:?}: {}", search(omission, 0)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use bfdb_fault_injection::{
        FaultyVolume,
        crashes::{Promise, replay_of},
    };

    use super::*;

    #[test]
    fn the_plain_volume_keeps_the_contract_alone_and_behind_one_that_may_fail() {
        conformance::check(volume);
        conformance::check(|| Arc::new(FaultyVolume::new(volume(), [])));
    }

    #[test]
    fn the_plain_volume_survives_every_crash_and_every_error() {
        let findings = search(Omission::Nothing, 300).expect("the host takes a directory");
        assert!(findings.violations().is_empty(), "{findings}");
        assert!(findings.images() > 500, "{findings}");
        assert!(findings.nested_images() > 50, "{findings}");
        assert!(findings.errors() > 100, "{findings}");
    }

    #[test]
    fn a_sync_that_is_left_out_is_caught_and_the_case_seen_again() {
        for omission in [Omission::OfNames, Omission::OfBytes] {
            let findings = search(omission, 0).expect("the host takes a directory");
            let found = findings.violations().into_iter().next().expect("a mistake");
            let is_about = [Promise::Content, Promise::Opens].contains(&found.violation.promise);
            assert!(is_about, "{found}");

            let again = Findings::default();
            let trial = VolumeAlone::new("plain-volume", PlainVolumes(omission));
            replay_of(&trial, &found.case, &again).expect("the host takes a directory");
            assert_eq!(again.violations()[0].violation, found.violation);
        }
    }
}
