//! The volumes of an archive, by identity.

use std::{collections::BTreeMap, io, sync::Arc};

use crate::{
    catalog::CatalogWriter,
    error::{CommitError, FormatError, VolumeError},
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

/// What the slots of a volume say.
#[derive(Debug, Clone, Copy)]
pub(super) struct SlotState {
    /// The slot that was written last.
    pub(super) newest: VolumeSlot,
    /// The epoch that the catalog had reached for certain when a slot was written last.
    pub(super) settled: Epoch,
}

/// Reads the slots of a volume; one that is cut off is not valid, and does not hide the other.
///
/// Around each publication a slot is written twice: before it, to announce the epoch, and after it, to settle it. So both
/// slots hold the epoch that the catalog has, and a single one ahead is a publication that may not have happened.
pub(super) fn read_slots(volume: &dyn Volume) -> Result<Result<SlotState, FormatError>, VolumeError> {
    let mut slots = [[0; SLOT_LEN_BYTES]; 2];
    for (index, bytes) in SlotIndex::BOTH.into_iter().zip(&mut slots) {
        match volume.read_slot(index, bytes) {
            Err(VolumeError::ReadSlot { source, .. }) if source.kind() == io::ErrorKind::UnexpectedEof => {
                bytes.fill(0);
            }
            read => read?,
        }
    }
    let state = VolumeSlot::newest(&slots[0], &slots[1]).map(|newest| {
        let both = (VolumeSlot::parse(&slots[0]), VolumeSlot::parse(&slots[1]));
        let settled = match both {
            (Ok(first), Ok(second)) => first.epoch.min(second.epoch),
            // What a lost slot said is unknown; the one that is left may only have announced.
            _ => Epoch::new(newest.epoch.get().saturating_sub(1)),
        };
        SlotState { newest, settled }
    });
    Ok(state)
}

/// Commits a transaction that publishes something, and lets the volume know of its epoch.
///
/// The volume hears of the epoch before the catalog has it, and again after, so that an old catalog put back is noticed.
pub(super) fn commit_publication(
    volume: &dyn Volume,
    archive: ArchiveId,
    mut writer: CatalogWriter,
) -> Result<(), CommitError> {
    let epoch = writer.advance_epoch();
    announce_epoch(volume, archive, epoch)?;
    writer.commit()?;
    // It is published, whatever becomes of this; without it an old catalog is noticed one epoch later.
    match settle_epoch(volume, epoch) {
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes the epoch that is about to be published into the older slot of a volume, durable on return.
///
/// An epoch that was announced before and never published is not announced again: two slots would say that it was.
pub(super) fn announce_epoch(
    volume: &dyn Volume,
    archive: ArchiveId,
    epoch: Epoch,
) -> Result<(), VolumeError> {
    let slot = match read_slots(volume)? {
        Ok(state) if state.newest.epoch >= epoch => return Ok(()),
        Ok(state) => state.newest.successor(epoch, state.newest.chain_hash),
        Err(_) => VolumeSlot {
            archive,
            volume: volume.id(),
            sequence: 0,
            epoch,
            chain_hash: [0; 32],
            features: Features::NONE,
        },
    };
    write_slot(volume, &slot)
}

/// Writes an epoch that was published into the other slot as well: from now on a catalog without it is an old one.
///
/// Where somebody has announced a later epoch meanwhile, that one will be settled instead.
fn settle_epoch(volume: &dyn Volume, epoch: Epoch) -> Result<(), VolumeError> {
    match read_slots(volume)? {
        Ok(state) if state.newest.epoch == epoch && state.settled < epoch => {
            write_slot(volume, &state.newest.successor(epoch, state.newest.chain_hash))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Writes a slot to its place, durable on return.
pub(super) fn write_slot(volume: &dyn Volume, slot: &VolumeSlot) -> Result<(), VolumeError> {
    let index = match slot.place() {
        SlotPlace::First => SlotIndex::A,
        SlotPlace::Second => SlotIndex::B,
    };
    volume.write_slot(index, &slot.encode())
}
