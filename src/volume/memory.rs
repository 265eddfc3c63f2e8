//! A volume in memory: the contract of [`Volume`] in its plainest form.
//!
//! It has a capacity, so that a full volume is cheap to provoke, and it is strict where a disk is not: writing a byte
//! twice is a bug of the caller and panics here. It survives nothing, so "durable" is true at once.
//!
//! One lock over everything; all work under it is copying memory.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::VolumeError;
use crate::units::{ByteRange, ExtentId, VolumeId, to_u64, to_usize};
use crate::volume::{ExtentStat, ExtentWriter, SLOT_LEN_BYTES, SlotBytes, SlotIndex, Volume};

/// A volume that keeps its extents in memory, up to a capacity.
pub struct MemoryVolume {
    shared: Arc<Shared>,
}

struct Shared {
    id: VolumeId,
    capacity_bytes: u64,
    state: Mutex<State>,
}

struct State {
    extents: BTreeMap<ExtentId, Extent>,
    slots: [SlotBytes; 2],
}

#[derive(Default)]
struct Extent {
    bytes: Vec<u8>,
    /// What was written: start and end of ranges that neither touch nor overlap.
    written: BTreeMap<u64, u64>,
}

impl MemoryVolume {
    /// Makes an empty volume that holds at most `capacity_bytes` in its extents.
    pub fn new(id: VolumeId, capacity_bytes: u64) -> Self {
        let state = State {
            extents: BTreeMap::new(),
            slots: [[0; SLOT_LEN_BYTES]; 2],
        };
        Self {
            shared: Arc::new(Shared {
                id,
                capacity_bytes,
                state: Mutex::new(state),
            }),
        }
    }

    fn writer(&self, extent: ExtentId) -> Arc<dyn ExtentWriter> {
        Arc::new(MemoryWriter {
            shared: Arc::clone(&self.shared),
            extent,
            sealed: AtomicBool::new(false),
        })
    }
}

impl Shared {
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn missing(&self, extent: ExtentId) -> VolumeError {
        VolumeError::Missing {
            volume: self.id,
            extent,
        }
    }

    fn free_bytes(&self, state: &State) -> u64 {
        let used: u64 = state
            .extents
            .values()
            .map(|extent| to_u64(extent.bytes.len()))
            .sum();
        self.capacity_bytes.saturating_sub(used)
    }

    /// Lengthens an extent to `end_bytes` with zeros, or leaves it alone.
    fn grow(&self, state: &mut State, extent: ExtentId, end_bytes: u64) -> Result<(), VolumeError> {
        let free_bytes = self.free_bytes(state);
        let stored = state
            .extents
            .get_mut(&extent)
            .ok_or_else(|| self.missing(extent))?;
        let needed_bytes = end_bytes.saturating_sub(to_u64(stored.bytes.len()));
        if needed_bytes > free_bytes {
            return Err(VolumeError::Full {
                volume: self.id,
                extent,
                needed_bytes,
                free_bytes,
            });
        }
        if needed_bytes > 0 {
            stored.bytes.resize(to_usize(end_bytes), 0);
        }
        Ok(())
    }
}

impl Extent {
    fn write(&mut self, range: ByteRange, bytes: &[u8]) {
        if range.is_empty() {
            return;
        }
        let before = self
            .written
            .range(..range.end())
            .next_back()
            .map(|(&start, &end)| (start, end));
        let touched = before.filter(|&(_, end)| end >= range.start());
        assert!(
            touched.is_none_or(|(_, end)| end == range.start()),
            "bytes {range} of an extent were written before: each byte is written once"
        );
        let start = touched.map_or(range.start(), |(start, _)| start);
        let end = self.written.remove(&range.end()).unwrap_or(range.end());
        self.written.insert(start, end);
        self.bytes[to_usize(range.start())..to_usize(range.end())].copy_from_slice(bytes);
    }

    fn cut(&mut self, end_bytes: u64) {
        if to_u64(self.bytes.len()) > end_bytes {
            self.bytes.truncate(to_usize(end_bytes));
            self.bytes.shrink_to_fit();
            self.written.retain(|&start, _| start < end_bytes);
            if let Some(mut last) = self.written.last_entry() {
                let end = *last.get();
                last.insert(end.min(end_bytes));
            }
        }
    }
}

impl Volume for MemoryVolume {
    fn id(&self) -> VolumeId {
        self.shared.id
    }

    fn create_extent(
        &self,
        extent: ExtentId,
        header: &[u8],
        capacity_bytes: u64,
    ) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        let mut state = self.shared.locked();
        if state.extents.contains_key(&extent) {
            return Err(VolumeError::Exists {
                volume: self.shared.id,
                extent,
            });
        }
        state.extents.insert(extent, Extent::default());
        let header_range =
            ByteRange::at(0, to_u64(header.len())).expect("a slice in memory ends before 2^64");
        if let Err(error) = self
            .shared
            .grow(&mut state, extent, capacity_bytes.max(header_range.end()))
        {
            state.extents.remove(&extent);
            return Err(error);
        }
        state
            .extents
            .entry(extent)
            .and_modify(|stored| stored.write(header_range, header));
        Ok(self.writer(extent))
    }

    fn resume_extent(&self, extent: ExtentId, end_bytes: u64) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        let mut state = self.shared.locked();
        let stored = state
            .extents
            .get_mut(&extent)
            .ok_or_else(|| self.shared.missing(extent))?;
        let len_bytes = to_u64(stored.bytes.len());
        if len_bytes < end_bytes {
            let volume = self.shared.id;
            return Err(VolumeError::Truncated {
                volume,
                extent,
                len_bytes,
                wanted_end: end_bytes,
            });
        }
        stored.cut(end_bytes);
        // Whatever lies before the end is taken as written, gaps included: it belongs to somebody.
        stored.written = if end_bytes > 0 {
            BTreeMap::from([(0, end_bytes)])
        } else {
            BTreeMap::new()
        };
        Ok(self.writer(extent))
    }

    fn read_at(&self, extent: ExtentId, offset: u64, into: &mut [u8]) -> Result<(), VolumeError> {
        let state = self.shared.locked();
        let stored = state
            .extents
            .get(&extent)
            .ok_or_else(|| self.shared.missing(extent))?;
        let len_bytes = to_u64(stored.bytes.len());
        let wanted_end = offset.saturating_add(to_u64(into.len()));
        if wanted_end > len_bytes {
            let volume = self.shared.id;
            return Err(VolumeError::Truncated {
                volume,
                extent,
                len_bytes,
                wanted_end,
            });
        }
        into.copy_from_slice(&stored.bytes[to_usize(offset)..to_usize(wanted_end)]);
        Ok(())
    }

    fn extents(&self) -> Result<Vec<ExtentStat>, VolumeError> {
        let state = self.shared.locked();
        let stat = |(&extent, stored): (&ExtentId, &Extent)| ExtentStat {
            extent,
            len_bytes: to_u64(stored.bytes.len()),
        };
        Ok(state.extents.iter().map(stat).collect())
    }

    fn remove_extent(&self, extent: ExtentId) -> Result<(), VolumeError> {
        let removed = self.shared.locked().extents.remove(&extent);
        removed.map(drop).ok_or_else(|| self.shared.missing(extent))
    }

    fn free_bytes(&self) -> Result<u64, VolumeError> {
        Ok(self.shared.free_bytes(&self.shared.locked()))
    }

    fn read_slot(&self, slot: SlotIndex, into: &mut SlotBytes) -> Result<(), VolumeError> {
        *into = self.shared.locked().slots[slot.index()];
        Ok(())
    }

    fn write_slot(&self, slot: SlotIndex, bytes: &SlotBytes) -> Result<(), VolumeError> {
        self.shared.locked().slots[slot.index()] = *bytes;
        Ok(())
    }
}

impl fmt::Debug for MemoryVolume {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryVolume")
            .field("id", &self.shared.id)
            .field("capacity_bytes", &self.shared.capacity_bytes)
            .field("extents", &self.shared.locked().extents.len())
            .finish()
    }
}

struct MemoryWriter {
    shared: Arc<Shared>,
    extent: ExtentId,
    /// Changed and read under the lock of `shared`.
    sealed: AtomicBool,
}

impl MemoryWriter {
    /// Locks the volume, unless the writer was sealed.
    fn enter(&self) -> Result<MutexGuard<'_, State>, VolumeError> {
        let state = self.shared.locked();
        if self.sealed.load(Ordering::Relaxed) {
            return Err(VolumeError::Sealed {
                volume: self.shared.id,
                extent: self.extent,
            });
        }
        Ok(state)
    }

    fn stored<'a>(&self, state: &'a mut State) -> Result<&'a mut Extent, VolumeError> {
        state
            .extents
            .get_mut(&self.extent)
            .ok_or_else(|| self.shared.missing(self.extent))
    }
}

impl ExtentWriter for MemoryWriter {
    fn volume(&self) -> VolumeId {
        self.shared.id
    }

    fn extent(&self) -> ExtentId {
        self.extent
    }

    fn preallocate(&self, end_bytes: u64) -> Result<(), VolumeError> {
        let mut state = self.enter()?;
        self.shared.grow(&mut state, self.extent, end_bytes)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let mut state = self.enter()?;
        let len = to_u64(bytes.len());
        let range = ByteRange::at(offset, len).ok_or_else(|| VolumeError::Write {
            volume: self.shared.id,
            extent: self.extent,
            offset,
            len,
            source: io::ErrorKind::FileTooLarge.into(),
        })?;
        if range.is_empty() {
            return Ok(());
        }
        self.shared.grow(&mut state, self.extent, range.end())?;
        self.stored(&mut state)?.write(range, bytes);
        Ok(())
    }

    fn sync(&self) -> Result<(), VolumeError> {
        let mut state = self.enter()?;
        self.stored(&mut state).map(drop)
    }

    fn truncate(&self, end_bytes: u64) -> Result<(), VolumeError> {
        let mut state = self.enter()?;
        self.stored(&mut state)?.cut(end_bytes);
        Ok(())
    }

    fn seal(&self) -> Result<(), VolumeError> {
        let mut state = self.enter()?;
        self.stored(&mut state)?;
        self.sealed.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl fmt::Debug for MemoryWriter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryWriter")
            .field("extent", &self.extent)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume() -> MemoryVolume {
        MemoryVolume::new(VolumeId::from_bytes([1; 16]), 10_000)
    }

    #[test]
    fn ranges_that_only_touch_may_be_written_in_any_order() {
        let volume = volume();
        let writer = volume
            .create_extent(ExtentId::new(1), &[9; 4], 0)
            .expect("there is room");
        for offset in [4_u64, 12, 8, 16] {
            writer.write_at(offset, &[7; 4]).expect("there is room");
        }
        let state = volume.shared.locked();
        assert_eq!(
            state.extents[&ExtentId::new(1)].written,
            BTreeMap::from([(0, 20)]),
            "all ranges were joined"
        );
    }

    #[test]
    #[should_panic(expected = "each byte is written once")]
    fn writing_a_byte_twice_panics() {
        let volume = volume();
        let writer = volume
            .create_extent(ExtentId::new(1), &[9; 4], 0)
            .expect("there is room");
        writer.write_at(100, &[1; 50]).expect("there is room");
        writer.write_at(149, &[1; 2]).expect_err("unreachable");
    }

    #[test]
    #[should_panic(expected = "each byte is written once")]
    fn writing_around_a_written_byte_panics() {
        let volume = volume();
        let writer = volume
            .create_extent(ExtentId::new(1), &[], 0)
            .expect("there is room");
        writer.write_at(100, &[1]).expect("there is room");
        writer.write_at(50, &[1; 100]).expect_err("unreachable");
    }

    #[test]
    fn bytes_that_were_cut_away_may_be_written_anew() {
        let volume = volume();
        let writer = volume
            .create_extent(ExtentId::new(1), &[], 0)
            .expect("there is room");
        writer.write_at(0, &[1; 100]).expect("there is room");
        writer.truncate(50).expect("the extent is there");
        writer
            .write_at(50, &[2; 10])
            .expect("what was cut is not written any more");
        drop(writer);
        let writer = volume
            .resume_extent(ExtentId::new(1), 55)
            .expect("the extent is longer");
        writer.write_at(55, &[3; 10]).expect("the leftover was cut away");
        let mut bytes = [0; 65];
        volume
            .read_at(ExtentId::new(1), 0, &mut bytes)
            .expect("all there");
        assert_eq!(bytes[49..57], [1, 2, 2, 2, 2, 2, 3, 3]);
    }

    #[test]
    fn removing_an_extent_gives_its_room_back() {
        let volume = volume();
        volume
            .create_extent(ExtentId::new(1), &[], 6_000)
            .expect("there is room");
        let error = volume
            .create_extent(ExtentId::new(2), &[], 6_000)
            .expect_err("only 4000 are left");
        assert!(
            matches!(
                error,
                VolumeError::Full {
                    needed_bytes: 6_000,
                    free_bytes: 4_000,
                    ..
                }
            ),
            "{error}"
        );
        volume.remove_extent(ExtentId::new(1)).expect("it is there");
        volume
            .create_extent(ExtentId::new(2), &[], 6_000)
            .expect("there is room again");
    }
}
