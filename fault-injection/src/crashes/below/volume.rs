//! A volume alone: what was synced holds, what was removed is gone, what was never made is not there.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::Path,
    sync::Arc,
};

use bfdb::{
    error::VolumeError,
    storage::Storage,
    units::{ExtentId, VolumeId},
    volume::{ExtentWriter, IoMode, LocalVolume, LocalVolumeOptions, SLOT_LEN_BYTES, SlotIndex, Volume as _},
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

/// Extents made, written, synced, cut back, resumed and removed at random, and slots written in turn.
pub(super) struct VolumeAlone;

const DIRECTORY: &str = "/volume";
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

impl Scenario for VolumeAlone {
    fn name(&self) -> &'static str {
        "below-volume"
    }

    fn level(&self) -> Level {
        Level::Below
    }

    fn play(&self, ground: &Ground, _: &Sources, seed: u64) -> io::Result<Box<dyn Record>> {
        let disk = &ground.disk;
        let mut player = Player {
            moments: Moments::new(disk, Held::default()),
            held: Held::default(),
            seeded: Seeded::new(seed),
            writers: BTreeMap::new(),
            next: 1,
        };
        if let Ok(volume) = LocalVolume::create_on(Arc::new(disk.clone()), Path::new(DIRECTORY), ID) {
            player.held = Held {
                is_made: true,
                slots: [Some(0), Some(0)],
                ..Held::default()
            };
            player.note();
            let volume = buffered(volume);
            for _ in 0..STEPS {
                player.step(&volume);
            }
        }
        Ok(Box::new(player.moments))
    }
}

fn buffered(volume: LocalVolume) -> LocalVolume {
    volume.with_options(&LocalVolumeOptions {
        io_mode: IoMode::Buffered,
        ..LocalVolumeOptions::default()
    })
}

struct Player {
    moments: Moments<Held>,
    held: Held,
    seeded: Seeded,
    /// Extents that are being written, with everything written so far.
    writers: BTreeMap<u64, (Arc<dyn ExtentWriter>, Vec<u8>)>,
    next: u64,
}

impl Player {
    fn note(&mut self) {
        self.moments.note(&self.held);
    }

    fn step(&mut self, volume: &LocalVolume) {
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

    fn create(&mut self, volume: &LocalVolume) {
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
        if let Ok(writer) = volume.create_extent(ExtentId::new(id), &header, capacity_bytes) {
            self.held.extents.insert(
                id,
                Extent {
                    there: There::Certainly,
                    synced: header.clone(),
                },
            );
            self.note();
            self.writers.insert(id, (writer, header));
        }
    }

    /// Returns an extent that is being written, chosen at random.
    fn any_writer(&mut self) -> Option<u64> {
        let all: Vec<u64> = self.writers.keys().copied().collect();
        (!all.is_empty()).then(|| all[self.seeded.index(all.len())])
    }

    fn write(&mut self) {
        let Some(id) = self.any_writer() else { return };
        let len = 1 + self.seeded.index(9000);
        let bytes = self.bytes(len);
        let Some((writer, written)) = self.writers.get_mut(&id) else {
            return;
        };
        // Behind what is synced a new sector begins: a torn write spoils the sector that it is in.
        let start = written.len().next_multiple_of(4096);
        let offset = u64::try_from(start).expect("a short extent");
        match writer.write_at(offset, &bytes) {
            Ok(()) => {
                written.resize(start, 0);
                written.extend(bytes);
            }
            Err(_) => drop(self.writers.remove(&id)),
        }
    }

    fn sync(&mut self) {
        let Some(id) = self.any_writer() else { return };
        let Some((writer, written)) = self.writers.get(&id) else {
            return;
        };
        if writer.sync().is_err() {
            drop(self.writers.remove(&id));
            return;
        }
        if let Some(extent) = self.held.extents.get_mut(&id) {
            extent.synced.clone_from(written);
        }
        self.note();
    }

    fn resume(&mut self, volume: &LocalVolume) {
        let Some(id) = self.any_writer() else { return };
        drop(self.writers.remove(&id));
        let Some(extent) = self.held.extents.get_mut(&id) else {
            return;
        };
        // Cut back to a sector of what is synced.
        let end = HEADER_LEN + 4096 * self.seeded.index(1 + (extent.synced.len() - HEADER_LEN) / 4096);
        extent.synced.truncate(end);
        let kept = extent.synced.clone();
        self.note();
        let end_bytes = u64::try_from(end).expect("a short extent");
        if let Ok(writer) = volume.resume_extent(ExtentId::new(id), end_bytes) {
            self.writers.insert(id, (writer, kept));
        }
    }

    fn remove(&mut self, volume: &LocalVolume) {
        let Some(id) = self.any_writer() else { return };
        drop(self.writers.remove(&id));
        self.held.extents.insert(
            id,
            Extent {
                there: There::Perhaps,
                synced: Vec::new(),
            },
        );
        self.note();
        if volume.remove_extent(ExtentId::new(id)).is_ok() {
            self.held.extents.remove(&id);
            self.note();
        }
    }

    fn write_slot(&mut self, volume: &LocalVolume) {
        let (index, fill) = (self.seeded.index(2), self.seeded.flip_mask());
        self.held.slots[index] = None;
        self.note();
        if volume
            .write_slot(SlotIndex::BOTH[index], &[fill; SLOT_LEN_BYTES])
            .is_ok()
        {
            self.held.slots[index] = Some(fill);
            self.note();
        }
    }
}

impl Held {
    fn judge(&self, volume: &LocalVolume) -> Result<(), Violation> {
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

impl State for Held {
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    fn check(&self, image: &Image, _: u64) -> Result<Verdict, Violation> {
        guarded(|| {
            let disk = image.fork();
            let storage: Arc<dyn Storage> = Arc::new(disk.clone());
            let fails = |error: VolumeError| Promise::Writable.broken(explained(&error));
            if !self.is_made {
                return Ok(Verdict::default());
            }
            let open = LocalVolume::open_on(storage, Path::new(DIRECTORY), ID);
            let volume = buffered(open.map_err(|error| Promise::Opens.broken(explained(&error)))?);
            self.judge(&volume)?;
            // Everything is cut back to what is synced, as a recovery does, and appended to.
            let mut cut = self.clone();
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
            let recovery = Recovery::until_now(&disk, Box::new(cut.clone()));
            cut.judge(&volume)?;
            volume
                .create_extent(ExtentId::new(1 << 20), &[1; HEADER_LEN], 0)
                .map_err(fails)?;
            volume.remove_extent(ExtentId::new(1 << 20)).map_err(fails)?;
            cut.judge(&volume)?;
            Ok(Verdict {
                minor: Vec::new(),
                recovery: Some(recovery),
            })
        })
    }
}
