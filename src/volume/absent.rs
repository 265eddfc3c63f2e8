//! A volume that is not there: it refuses everything.
//!
//! That a disk is not plugged in says nothing of the bytes on it. So what it would hold is neither missing nor damaged, and
//! whoever reads goes around it as around anything else that the system does not let this process read.

use std::sync::Arc;

use super::{ExtentStat, ExtentWriter, SlotBytes, SlotIndex, Volume};
use crate::{
    error::VolumeError,
    units::{ExtentId, VolumeId},
};

/// Stands for a volume that cannot be asked.
#[derive(Debug, Clone, Copy)]
pub struct AbsentVolume {
    id: VolumeId,
    why: Absence,
}

/// Why a volume is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absence {
    /// It may come back.
    Away,
    /// It belongs to the archive no more, and neither does anything that was on it.
    Gone,
}

impl AbsentVolume {
    /// Stands for a volume that may come back.
    pub const fn new(id: VolumeId) -> Self {
        let why = Absence::Away;
        Self { id, why }
    }

    /// Stands for a volume that was removed: every extent is missing there.
    pub const fn gone(id: VolumeId) -> Self {
        let why = Absence::Gone;
        Self { id, why }
    }

    const fn refused(self) -> VolumeError {
        VolumeError::Absent { volume: self.id }
    }

    const fn refused_extent(self, extent: ExtentId) -> VolumeError {
        let volume = self.id;
        match self.why {
            Absence::Away => VolumeError::Absent { volume },
            Absence::Gone => VolumeError::Missing { volume, extent },
        }
    }
}

impl Volume for AbsentVolume {
    fn id(&self) -> VolumeId {
        self.id
    }

    fn create_extent(
        &self,
        _extent: ExtentId,
        _header: &[u8],
        _capacity_bytes: u64,
    ) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        Err(self.refused())
    }

    fn resume_extent(&self, extent: ExtentId, _end_bytes: u64) -> Result<Arc<dyn ExtentWriter>, VolumeError> {
        Err(self.refused_extent(extent))
    }

    fn read_at(&self, extent: ExtentId, _offset: u64, _into: &mut [u8]) -> Result<(), VolumeError> {
        Err(self.refused_extent(extent))
    }

    fn extents(&self) -> Result<Vec<ExtentStat>, VolumeError> {
        Err(self.refused())
    }

    fn remove_extent(&self, extent: ExtentId) -> Result<(), VolumeError> {
        Err(self.refused_extent(extent))
    }

    fn free_bytes(&self) -> Result<u64, VolumeError> {
        Err(self.refused())
    }

    fn read_slot(&self, _slot: SlotIndex, _into: &mut SlotBytes) -> Result<(), VolumeError> {
        Err(self.refused())
    }

    fn write_slot(&self, _slot: SlotIndex, _bytes: &SlotBytes) -> Result<(), VolumeError> {
        Err(self.refused())
    }
}
