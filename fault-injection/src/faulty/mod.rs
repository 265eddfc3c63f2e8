//! A volume that fails when it is told to.
//!
//! [`FaultyVolume`] stands before another volume and passes everything on, but counts and logs every operation and lets
//! [`FaultRule`]s spoil some: the n-th of all, the n-th of a kind, or those that touch a range. A test runs its
//! operation once without rules, reads [`FaultyVolume::operation_count`], and then fails at every number below it.
//!
//! It keeps the volume contract itself: a failed sync poisons the extent here too, and a fault that drops unsynced
//! bytes shows zeros in their place from then on, as a page cache does that forgot them.
//!
//! One lock, over counters and rules only; the volume behind is called outside it.

mod rules;
mod state;
mod writer;

use std::io;
use std::sync::Arc;

use bfdb::error::VolumeError;
use bfdb::units::{ByteRange, ExtentId, VolumeId};
use bfdb::volume::{ExtentStat, ExtentWriter, Punched, SlotBytes, SlotIndex, Volume};

pub use self::rules::{Fault, FaultRule, Lasting, Operation, OperationKind, When};
use self::state::State;
use self::writer::FaultyWriter;

/// A volume that passes everything on to another one, except where a rule says otherwise.
#[derive(Debug)]
pub struct FaultyVolume {
    inner: Arc<dyn Volume>,
    state: Arc<State>,
}

impl FaultyVolume {
    /// Puts `rules` before `inner`. Where several would spoil the same operation, the first one does.
    pub fn new(inner: Arc<dyn Volume>, rules: impl IntoIterator<Item = FaultRule>) -> Self {
        let state = Arc::new(State::default());
        rules.into_iter().for_each(|rule| state.add_rule(rule));
        Self { inner, state }
    }

    /// Adds a rule; its numbers count from the first operation of this volume, not from now.
    pub fn add_rule(&self, rule: FaultRule) {
        self.state.add_rule(rule);
    }

    /// Drops all rules: the storage is well again. What was poisoned or dropped stays so.
    pub fn clear_rules(&self) {
        self.state.clear_rules();
    }

    /// Returns how many operations there were; the next one has this index.
    pub fn operation_count(&self) -> u64 {
        self.state.operation_count()
    }

    /// Returns every operation since the volume was made, with what was done to it.
    pub fn operations(&self) -> Vec<Operation> {
        self.state.operations()
    }

    /// Returns how many operations were spoiled.
    pub fn injected_count(&self) -> usize {
        self.operations()
            .iter()
            .filter(|operation| operation.injected.is_some())
            .count()
    }

    fn begin(&self, kind: OperationKind, extent: Option<ExtentId>, range: ByteRange) -> Option<Fault> {
        self.state.begin(kind, extent, range)
    }

    fn wrap(&self, inner: Arc<dyn ExtentWriter>) -> Arc<dyn ExtentWriter> {
        Arc::new(FaultyWriter::new(inner, Arc::clone(&self.state)))
    }

    fn read(
        &self,
        extent: ExtentId,
        offset: u64,
        into: &mut [u8],
        pass_on: impl FnOnce(&mut [u8]) -> Result<(), VolumeError>,
    ) -> Result<(), VolumeError> {
        let range = clipped(offset, into.len());
        let fault = self.begin(OperationKind::Read, Some(extent), range);
        let failed = || VolumeError::Read {
            volume: self.inner.id(),
            extent,
            offset,
            len: to_u64(into.len()),
            source: eio(),
        };
        match fault {
            Some(Fault::Io) => return Err(failed()),
            Some(Fault::Partial { len_bytes }) => {
                let error = failed();
                let len = usize::try_from(len_bytes).unwrap_or(usize::MAX).min(into.len());
                self.inner.read_at(extent, offset, &mut into[..len])?;
                return Err(error);
            }
            Some(Fault::FlipBit { .. } | Fault::Full | Fault::LoseWrite | Fault::SyncDropsData) | None => {}
        }
        pass_on(into)?;
        self.state.forget_dropped(extent, range, into);
        if let Some(Fault::FlipBit { offset: flipped, bit }) = fault {
            let index = flipped
                .checked_sub(range.start())
                .and_then(|index| usize::try_from(index).ok());
            if let Some(byte) = index.and_then(|index| into.get_mut(index)) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Ok(())
    }
}

impl Volume for FaultyVolume {
    fn id(&self) -> VolumeId {
        self.inner.id()
    }

    fn create_extent(
        &self,
        extent: ExtentId,
        header: &[u8],
        capacity_bytes: u64,
    ) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        let needed_bytes = capacity_bytes.max(to_u64(header.len()));
        let volume = self.inner.id();
        match self.begin(OperationKind::Create, Some(extent), whole(needed_bytes)) {
            Some(Fault::Full) => {
                return Err(VolumeError::Full {
                    volume,
                    extent,
                    needed_bytes,
                    free_bytes: 0,
                });
            }
            Some(_) => {
                return Err(VolumeError::Create {
                    volume,
                    extent,
                    source: eio(),
                });
            }
            None => {}
        }
        let writer = self.inner.create_extent(extent, header, capacity_bytes)?;
        self.state.renew(extent);
        Ok(self.wrap(writer))
    }

    fn resume_extent(&self, extent: ExtentId, end_bytes: u64) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        let volume = self.inner.id();
        self.state.check_poison(volume, extent)?;
        if self
            .begin(OperationKind::Resume, Some(extent), whole(end_bytes))
            .is_some()
        {
            return Err(VolumeError::Open {
                volume,
                extent,
                source: eio(),
            });
        }
        let writer = self.inner.resume_extent(extent, end_bytes)?;
        self.state.cut(extent, end_bytes);
        self.state.synced(extent, &self.state.unsynced(extent));
        Ok(self.wrap(writer))
    }

    fn read_at(&self, extent: ExtentId, offset: u64, into: &mut [u8]) -> Result<(), VolumeError> {
        self.read(extent, offset, into, |into| {
            self.inner.read_at(extent, offset, into)
        })
    }

    fn forget_cached(&self, extent: ExtentId, offset: u64, len_bytes: u64) {
        self.inner.forget_cached(extent, offset, len_bytes);
    }

    fn read_once(&self, extent: ExtentId, offset: u64, into: &mut [u8]) -> Result<(), VolumeError> {
        self.read(extent, offset, into, |into| {
            self.inner.read_once(extent, offset, into)
        })
    }

    fn extents(&self) -> Result<Vec<ExtentStat>, VolumeError> {
        match self.begin(OperationKind::List, None, whole(0)) {
            Some(_) => Err(VolumeError::List {
                volume: self.inner.id(),
                source: eio(),
            }),
            None => self.inner.extents(),
        }
    }

    fn remove_extent(&self, extent: ExtentId) -> Result<(), VolumeError> {
        if self
            .begin(OperationKind::Remove, Some(extent), whole(0))
            .is_some()
        {
            return Err(VolumeError::Remove {
                volume: self.inner.id(),
                extent,
                source: eio(),
            });
        }
        self.inner.remove_extent(extent)
    }

    fn punch(&self, extent: ExtentId, ranges: &[ByteRange]) -> Result<Punched, VolumeError> {
        self.inner.punch(extent, ranges)
    }

    fn free_bytes(&self) -> Result<u64, VolumeError> {
        match self.begin(OperationKind::FreeSpace, None, whole(0)) {
            Some(_) => Err(VolumeError::FreeSpace {
                volume: self.inner.id(),
                source: eio(),
            }),
            None => self.inner.free_bytes(),
        }
    }

    fn read_slot(&self, slot: SlotIndex, into: &mut SlotBytes) -> Result<(), VolumeError> {
        let fault = self.begin(OperationKind::ReadSlot, None, whole(to_u64(into.len())));
        let failed = VolumeError::ReadSlot {
            volume: self.inner.id(),
            slot: slot.name(),
            source: eio(),
        };
        match fault {
            None => self.inner.read_slot(slot, into),
            Some(Fault::FlipBit { offset, bit }) => {
                self.inner.read_slot(slot, into)?;
                let index = usize::try_from(offset).ok();
                if let Some(byte) = index.and_then(|index| into.get_mut(index)) {
                    *byte ^= 1 << (bit % 8);
                }
                Ok(())
            }
            Some(_) => Err(failed),
        }
    }

    fn write_slot(&self, slot: SlotIndex, bytes: &SlotBytes) -> Result<(), VolumeError> {
        let fault = self.begin(OperationKind::WriteSlot, None, whole(to_u64(bytes.len())));
        let failed = VolumeError::WriteSlot {
            volume: self.inner.id(),
            slot: slot.name(),
            source: eio(),
        };
        match fault {
            None => self.inner.write_slot(slot, bytes),
            Some(Fault::LoseWrite) => Ok(()),
            Some(Fault::Partial { len_bytes }) => {
                // A torn sector: the new bytes up to the tear, the old ones behind it.
                let mut torn = *bytes;
                self.inner.read_slot(slot, &mut torn)?;
                let len = usize::try_from(len_bytes).unwrap_or(usize::MAX).min(bytes.len());
                torn[..len].copy_from_slice(&bytes[..len]);
                self.inner.write_slot(slot, &torn)?;
                Err(failed)
            }
            Some(_) => Err(failed),
        }
    }
}

/// What a failing device says.
fn eio() -> io::Error {
    const EIO: i32 = 5;
    io::Error::from_raw_os_error(EIO)
}

fn to_u64(len: usize) -> u64 {
    u64::try_from(len).expect("an address fits 64 bits")
}

/// The range of an operation, cut off where 64 bits end.
fn clipped(offset: u64, len: usize) -> ByteRange {
    ByteRange::new(offset, offset.saturating_add(to_u64(len))).expect("a sum is not below its part")
}

fn whole(end_bytes: u64) -> ByteRange {
    ByteRange::new(0, end_bytes).expect("zero is below everything")
}
