//! The volumes of an archive, by identity.

use std::{collections::BTreeMap, io, sync::Arc};

use crate::{
    error::{FormatError, VolumeError},
    format::{Features, SlotPlace, VolumeSlot},
    units::{ArchiveId, Epoch, ExtentId, VolumeId},
    volume::{SLOT_LEN_BYTES, SlotIndex, Volume},
};

/// The volumes that are there.
#[derive(Debug)]
pub(super) struct Volumes {
    by_id: BTreeMap<VolumeId, Arc<dyn Volume>>,
}

impl Volumes {
    pub(super) fn new(volumes: impl IntoIterator<Item = Arc<dyn Volume>>) -> Self {
        Self {
            by_id: volumes.into_iter().map(|volume| (volume.id(), volume)).collect(),
        }
    }

    pub(super) fn get(&self, id: VolumeId) -> Option<&Arc<dyn Volume>> {
        self.by_id.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<dyn Volume>> {
        self.by_id.values()
    }

    /// Returns the volume that holds an extent. An archive has one volume so far; with several, the row of the extent
    /// names it.
    pub(super) fn of_extent(&self, _extent: ExtentId) -> &Arc<dyn Volume> {
        self.writable()
    }

    /// Returns the volume that new files go to.
    pub(super) fn writable(&self) -> &Arc<dyn Volume> {
        self.by_id.values().next().expect("an archive has a volume")
    }
}

/// Reads both slots of a volume and returns the newer one that is valid; a slot that is cut off is not, and does not hide
/// the other.
pub(super) fn newest_slot(volume: &dyn Volume) -> Result<Result<VolumeSlot, FormatError>, VolumeError> {
    let mut slots = [[0; SLOT_LEN_BYTES]; 2];
    for (index, bytes) in SlotIndex::BOTH.into_iter().zip(&mut slots) {
        match volume.read_slot(index, bytes) {
            Err(VolumeError::ReadSlot { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {
                bytes.fill(0);
            }
            read => read?,
        }
    }
    Ok(VolumeSlot::newest(&slots[0], &slots[1]))
}

/// Writes the epoch that is about to be published into the older slot of a volume, durable on return.
///
/// So the volume knows of a publication before the catalog does: a catalog that is behind by more than one was put back.
pub(super) fn announce_epoch(
    volume: &dyn Volume,
    archive: ArchiveId,
    epoch: Epoch,
) -> Result<(), VolumeError> {
    let slot = match newest_slot(volume)? {
        Ok(last) => last.successor(epoch, last.chain_hash),
        Err(_) => VolumeSlot {
            archive,
            volume: volume.id(),
            sequence: 0,
            epoch,
            chain_hash: [0; 32],
            features: Features::NONE,
        },
    };
    let index = match slot.place() {
        SlotPlace::First => SlotIndex::A,
        SlotPlace::Second => SlotIndex::B,
    };
    volume.write_slot(index, &slot.encode())
}
