//! A volume alone: what was synced holds, what was removed is gone, what was never made is not there.
//!
//! The engine's own is one of those that can be tried ([`LocalVolumes`]); a [`VolumeMaker`] says how another one comes into
//! being on a disk.

use std::{
    collections::BTreeMap,
    error::Error,
    fmt,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::Path,
    sync::Arc,
};

use bfdb::{
    error::VolumeError,
    storage::Storage,
    units::{ExtentId, VolumeId},
    volume::{ExtentWriter, IoMode, LocalVolume, LocalVolumeOptions, SLOT_LEN_BYTES, SlotIndex, Volume},
};

use super::Moments;
use crate::{
    Seeded,
    crashes::{
        image::Image,
        scenario::{Ground, Level, Record, Recovery, Scenario, State, Verdict},
        setting::explained,
        sources::Sources,
        violation::{Promise, Violation, guarded},
    },
};

/// How a volume is made on a disk and opened there again.
pub trait VolumeMaker: Send + Sync + 'static {
    /// Makes an empty volume. When this returns, it is there after any crash, and its slots read as zeros.
    ///
    /// # Errors
    /// Those of the storage.
    fn create(&self, storage: Arc<dyn Storage>, id: VolumeId) -> Result<Arc<dyn Volume>, Box<dyn Error>>;

    /// Opens the volume, with whatever recovery it needs.
    ///
    /// # Errors
    /// Those of the storage. After a crash that is a violation.
    fn open(&self, storage: Arc<dyn Storage>, id: VolumeId) -> Result<Arc<dyn Volume>, Box<dyn Error>>;
}

/// Extents made, written, synced, cut back, resumed and removed at random, and slots written in turn.
pub struct VolumeAlone<M> {
    name: &'static str,
    maker: Arc<M>,
}

impl<M: VolumeMaker> VolumeAlone<M> {
    /// Tries the volumes of a maker; the name is the first part of the name of each case.
    ///
    /// # Panics
    /// When the name has a colon in it.
    pub fn new(name: &'static str, maker: M) -> Self {
        assert!(!name.contains(':'), "a colon ends the name in a case: {name}");
        Self {
            name,
            maker: Arc::new(maker),
        }
    }
}

impl<M> fmt::Debug for VolumeAlone<M> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("VolumeAlone")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Makes the volumes of the engine itself.
#[derive(Debug, Clone, Copy)]
pub struct LocalVolumes;

const DIRECTORY: &str = "/volume";

impl VolumeMaker for LocalVolumes {
    fn create(&self, storage: Arc<dyn Storage>, id: VolumeId) -> Result<Arc<dyn Volume>, Box<dyn Error>> {
        let made = LocalVolume::create_on(storage, Path::new(DIRECTORY), id)?;
        Ok(Arc::new(buffered(made)))
    }

    fn open(&self, storage: Arc<dyn Storage>, id: VolumeId) -> Result<Arc<dyn Volume>, Box<dyn Error>> {
        let opened = LocalVolume::open_on(storage, Path::new(DIRECTORY), id)?;
        Ok(Arc::new(buffered(opened)))
    }
}

fn buffered(volume: LocalVolume) -> LocalVolume {
    volume.with_options(&LocalVolumeOptions {
        io_mode: IoMode::Buffered,
        ..LocalVolumeOptions::default()
    })
}

const ID: VolumeId = VolumeId::from_bytes([3; 16]);
const HEADER_LEN: usize = 4096;
const STEPS: usize = 120;

/// Whether an extent is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum There {
    Certainly,
    Perhaps,
}

/// What holds of an extent.
#[derive(Debug, Clone, Hash)]
struct Extent {
    there: There,
    /// Its first bytes, synced.
    synced: Vec<u8>,
}

/// What holds of a volume.
#[derive(Debug, Clone, Hash, Default)]
struct Held {
    /// Whether its creation has ended.
    is_made: bool,
    extents: BTreeMap<u64, Extent>,
    /// What each slot is filled with; `None` while it is being written.
    slots: [Option<u8>; 2],
}

impl<M: VolumeMaker> Scenario for VolumeAlone<M> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn level(&self) -> Level {
        Level::Below
    }

    fn play(&self, ground: &Ground, _: &Sources, seed: u64) -> io::Result<Box<dyn Record>> {
        let disk = &ground.disk;
        let held = Held::default();
        let mut player = Player {
            moments: Moments::new(disk, self.found(&held)),
            held,
            trial: self,
            seeded: Seeded::new(seed),
            writers: BTreeMap::new(),
            next: 1,
        };
        match self.maker.create(Arc::new(disk.clone()), ID) {
            Ok(volume) => player.use_it(volume.as_ref()),
            Err(error) => player.moments.is_surprised(error.as_ref()),
        }
        Ok(Box::new(player.moments))
    }
}

struct Player<'a, M> {
    trial: &'a VolumeAlone<M>,
    moments: Moments<Found<M>>,
    held: Held,
    seeded: Seeded,
    /// Extents that are being written, with everything written so far.
    writers: BTreeMap<u64, (Arc<dyn ExtentWriter>, Vec<u8>)>,
    next: u64,
}

impl<M: VolumeMaker> Player<'_, M> {
    fn note(&mut self) {
        self.moments.note(&self.trial.found(&self.held));
    }

    fn use_it(&mut self, volume: &dyn Volume) {
        self.held = Held {
            is_made: true,
            slots: [Some(0), Some(0)],
            ..Held::default()
        };
        self.note();
        for _ in 0..STEPS {
            if let Err(error) = self.step(volume) {
                self.moments.is_surprised(&error);
            }
        }
    }

    fn step(&mut self, volume: &dyn Volume) -> Result<(), VolumeError> {
        match self.seeded.below(10) {
            0 | 1 => self.create(volume),
            2..=4 => self.write(),
            5 | 6 => self.sync(),
            7 => self.resume(volume),
            8 => self.remove(volume),
            _ => self.write_slot(volume),
        }
    }

    fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.seeded.flip_mask()).collect()
    }

    fn create(&mut self, volume: &dyn Volume) -> Result<(), VolumeError> {
        let id = self.next;
        self.next += 1;
        let header = self.bytes(HEADER_LEN);
        let capacity_bytes = 4096 * (1 + self.seeded.below(4));
        self.held.extents.insert(
            id,
            Extent {
                there: There::Perhaps,
                synced: Vec::new(),
            },
        );
        self.note();
        let writer = volume.create_extent(ExtentId::new(id), &header, capacity_bytes)?;
        self.held.extents.insert(
            id,
            Extent {
                there: There::Certainly,
                synced: header.clone(),
            },
        );
        self.note();
        self.writers.insert(id, (writer, header));
        Ok(())
    }

    /// Returns an extent that is being written, chosen at random.
    fn any_writer(&mut self) -> Option<u64> {
        let all: Vec<u64> = self.writers.keys().copied().collect();
        (!all.is_empty()).then(|| all[self.seeded.index(all.len())])
    }

    fn write(&mut self) -> Result<(), VolumeError> {
        let Some(id) = self.any_writer() else {
            return Ok(());
        };
        let len = 1 + self.seeded.index(9000);
        let bytes = self.bytes(len);
        let Some((writer, written)) = self.writers.get_mut(&id) else {
            return Ok(());
        };
        // Behind what is synced a new sector begins: a torn write spoils the sector that it is in.
        let start = written.len().next_multiple_of(4096);
        let offset = u64::try_from(start).expect("a short extent");
        if let Err(error) = writer.write_at(offset, &bytes) {
            drop(self.writers.remove(&id));
            return Err(error);
        }
        written.resize(start, 0);
        written.extend(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<(), VolumeError> {
        let Some(id) = self.any_writer() else {
            return Ok(());
        };
        let Some((writer, written)) = self.writers.get(&id) else {
            return Ok(());
        };
        if let Err(error) = writer.sync() {
            drop(self.writers.remove(&id));
            return Err(error);
        }
        if let Some(extent) = self.held.extents.get_mut(&id) {
            extent.synced.clone_from(written);
        }
        self.note();
        Ok(())
    }

    fn resume(&mut self, volume: &dyn Volume) -> Result<(), VolumeError> {
        let Some(id) = self.any_writer() else {
            return Ok(());
        };
        drop(self.writers.remove(&id));
        let Some(extent) = self.held.extents.get_mut(&id) else {
            return Ok(());
        };
        // Cut back to a sector of what is synced.
        let end = HEADER_LEN + 4096 * self.seeded.index(1 + (extent.synced.len() - HEADER_LEN) / 4096);
        extent.synced.truncate(end);
        let kept = extent.synced.clone();
        self.note();
        let end_bytes = u64::try_from(end).expect("a short extent");
        let writer = volume.resume_extent(ExtentId::new(id), end_bytes)?;
        self.writers.insert(id, (writer, kept));
        Ok(())
    }

    fn remove(&mut self, volume: &dyn Volume) -> Result<(), VolumeError> {
        let Some(id) = self.any_writer() else {
            return Ok(());
        };
        drop(self.writers.remove(&id));
        self.held.extents.insert(
            id,
            Extent {
                there: There::Perhaps,
                synced: Vec::new(),
            },
        );
        self.note();
        volume.remove_extent(ExtentId::new(id))?;
        self.held.extents.remove(&id);
        self.note();
        Ok(())
    }

    fn write_slot(&mut self, volume: &dyn Volume) -> Result<(), VolumeError> {
        let (index, fill) = (self.seeded.index(2), self.seeded.flip_mask());
        self.held.slots[index] = None;
        self.note();
        volume.write_slot(SlotIndex::BOTH[index], &[fill; SLOT_LEN_BYTES])?;
        self.held.slots[index] = Some(fill);
        self.note();
        Ok(())
    }
}

impl Held {
    fn judge(&self, volume: &dyn Volume) -> Result<(), Violation> {
        let fails = |error: VolumeError| Promise::Opens.broken(explained(&error));
        let wrong = |detail: String| Err(Promise::Content.broken(detail));
        let found: BTreeMap<u64, u64> = volume
            .extents()
            .map_err(fails)?
            .iter()
            .map(|stat| (stat.extent.get(), stat.len_bytes))
            .collect();
        if let Some(id) = found.keys().find(|id| !self.extents.contains_key(id)) {
            return wrong(format!("extent {id} is there"));
        }
        for (id, extent) in &self.extents {
            if !found.contains_key(id) {
                if extent.there == There::Certainly {
                    return wrong(format!("extent {id} is gone"));
                }
                continue;
            }
            let mut read = vec![0; extent.synced.len()];
            volume.read_at(ExtentId::new(*id), 0, &mut read).map_err(fails)?;
            if read != extent.synced
                && let Some(at) = (0..read.len()).find(|at| read[*at] != extent.synced[*at])
            {
                return wrong(format!("byte {at} of extent {id} is not what was synced"));
            }
        }
        for (index, fill) in SlotIndex::BOTH.into_iter().zip(self.slots) {
            let mut read = [0; SLOT_LEN_BYTES];
            volume.read_slot(index, &mut read).map_err(fails)?;
            if fill.is_some_and(|fill| read != [fill; SLOT_LEN_BYTES]) {
                return wrong(format!("slot {index:?} is not what was written"));
            }
        }
        Ok(())
    }
}

/// What is to be found, and who opens it.
struct Found<M> {
    held: Held,
    maker: Arc<M>,
}

impl<M> VolumeAlone<M> {
    fn found(&self, held: &Held) -> Found<M> {
        Found {
            held: held.clone(),
            maker: Arc::clone(&self.maker),
        }
    }
}

impl<M> Clone for Found<M> {
    fn clone(&self) -> Self {
        Self {
            held: self.held.clone(),
            maker: Arc::clone(&self.maker),
        }
    }
}

impl<M: VolumeMaker> State for Found<M> {
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.held.hash(&mut hasher);
        hasher.finish()
    }

    fn check(&self, image: &Image, _: u64) -> Result<Verdict, Violation> {
        guarded(|| {
            let disk = image.fork();
            let storage: Arc<dyn Storage> = Arc::new(disk.clone());
            let fails = |error: VolumeError| Promise::Writable.broken(explained(&error));
            if !self.held.is_made {
                return Ok(Verdict::default());
            }
            let opened = self.maker.open(storage, ID);
            let volume = opened.map_err(|error| Promise::Opens.broken(explained(error.as_ref())))?;
            let volume = volume.as_ref();
            self.held.judge(volume)?;
            // Everything is cut back to what is synced, as a recovery does, and appended to.
            let mut cut = self.held.clone();
            for (id, extent) in &mut cut.extents {
                if extent.there == There::Certainly {
                    let end_bytes = u64::try_from(extent.synced.len()).expect("a short extent");
                    let writer = volume
                        .resume_extent(ExtentId::new(*id), end_bytes)
                        .map_err(fails)?;
                    writer
                        .write_at(end_bytes.next_multiple_of(4096), b"behind")
                        .map_err(fails)?;
                    writer.sync().map_err(fails)?;
                }
            }
            let recovery = Recovery::until_now(
                &disk,
                Box::new(Self {
                    held: cut.clone(),
                    maker: Arc::clone(&self.maker),
                }),
            );
            cut.judge(volume)?;
            volume
                .create_extent(ExtentId::new(1 << 20), &[1; HEADER_LEN], 0)
                .map_err(fails)?;
            volume.remove_extent(ExtentId::new(1 << 20)).map_err(fails)?;
            cut.judge(volume)?;
            Ok(Verdict {
                minor: Vec::new(),
                recovery: Some(recovery),
            })
        })
    }
}
