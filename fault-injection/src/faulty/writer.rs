//! The writer of a faulty volume.

use std::sync::{Arc, Mutex, PoisonError};

use bfdb::error::VolumeError;
use bfdb::units::{ByteRange, ExtentId, VolumeId};
use bfdb::volume::ExtentWriter;

use super::rules::{Fault, OperationKind};
use super::state::State;
use super::{clipped, eio, to_u64, whole};

#[derive(Debug)]
pub(super) struct FaultyWriter {
    inner: Arc<dyn ExtentWriter>,
    state: Arc<State>,
    /// Syncs go one after another, so that none succeeds beside one that fails.
    sync_turn: Mutex<()>,
}

impl FaultyWriter {
    pub(super) fn new(inner: Arc<dyn ExtentWriter>, state: Arc<State>) -> Self {
        Self {
            inner,
            state,
            sync_turn: Mutex::default(),
        }
    }

    fn begin(&self, kind: OperationKind, range: ByteRange) -> Result<Option<Fault>, VolumeError> {
        // A call that is refused reaches no storage and is not counted.
        self.state
            .check_poison(self.inner.volume(), self.inner.extent())?;
        Ok(self.state.begin(kind, Some(self.inner.extent()), range))
    }

    fn full(&self, needed_bytes: u64) -> VolumeError {
        let (volume, extent) = (self.inner.volume(), self.inner.extent());
        VolumeError::Full {
            volume,
            extent,
            needed_bytes,
            free_bytes: 0,
        }
    }

    fn sync_as(
        &self,
        kind: OperationKind,
        pass_on: impl FnOnce() -> Result<(), VolumeError>,
    ) -> Result<(), VolumeError> {
        let _turn = self.sync_turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (volume, extent) = (self.inner.volume(), self.inner.extent());
        let fault = self.begin(kind, whole(0))?;
        let covered = self.state.unsynced(extent);
        let outcome = match fault {
            None => pass_on(),
            Some(fault) => {
                if fault == Fault::SyncDropsData {
                    self.state.drop_unsynced(extent);
                }
                Err(VolumeError::Sync {
                    volume,
                    extent,
                    source: eio(),
                })
            }
        };
        match &outcome {
            Ok(()) => self.state.synced(extent, &covered),
            // A real failure of the volume behind poisons here too; being sealed is none.
            Err(VolumeError::Sync { .. }) => self.state.poison(extent),
            Err(_) => {}
        }
        outcome
    }
}

impl ExtentWriter for FaultyWriter {
    fn volume(&self) -> VolumeId {
        self.inner.volume()
    }

    fn extent(&self) -> ExtentId {
        self.inner.extent()
    }

    fn preallocate(&self, end_bytes: u64) -> Result<(), VolumeError> {
        let (volume, extent) = (self.inner.volume(), self.inner.extent());
        match self.begin(OperationKind::Preallocate, whole(end_bytes))? {
            None => self.inner.preallocate(end_bytes),
            Some(Fault::Full) => Err(self.full(end_bytes)),
            Some(_) => Err(VolumeError::Preallocate {
                volume,
                extent,
                end_bytes,
                source: eio(),
            }),
        }
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError> {
        let (volume, extent) = (self.inner.volume(), self.inner.extent());
        let range = clipped(offset, bytes.len());
        let failed = || VolumeError::Write {
            volume,
            extent,
            offset,
            len: to_u64(bytes.len()),
            source: eio(),
        };
        match self.begin(OperationKind::Write, range)? {
            None => {
                let written = self.inner.write_at(offset, bytes);
                // Noted last: a sync that began before this moment does not vouch for these bytes.
                self.state.wrote(extent, range);
                written
            }
            Some(Fault::Full) => Err(self.full(to_u64(bytes.len()))),
            Some(Fault::LoseWrite) => {
                // The length is that of a write that arrived.
                self.inner.preallocate(range.end())
            }
            Some(Fault::Partial { len_bytes }) => {
                let len = usize::try_from(len_bytes).unwrap_or(usize::MAX).min(bytes.len());
                self.inner.write_at(offset, &bytes[..len])?;
                self.state.wrote(extent, clipped(offset, len));
                Err(failed())
            }
            Some(Fault::Io | Fault::SyncDropsData | Fault::FlipBit { .. }) => Err(failed()),
        }
    }

    fn sync(&self) -> Result<(), VolumeError> {
        self.sync_as(OperationKind::Sync, || self.inner.sync())
    }

    fn truncate(&self, end_bytes: u64) -> Result<(), VolumeError> {
        let (volume, extent) = (self.inner.volume(), self.inner.extent());
        if self.begin(OperationKind::Truncate, whole(end_bytes))?.is_some() {
            return Err(VolumeError::Truncate {
                volume,
                extent,
                end_bytes,
                source: eio(),
            });
        }
        self.inner.truncate(end_bytes)?;
        self.state.cut(extent, end_bytes);
        Ok(())
    }

    fn seal(&self) -> Result<(), VolumeError> {
        self.sync_as(OperationKind::Seal, || self.inner.seal())
    }
}
