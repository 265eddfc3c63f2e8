//! What a volume says of itself: two slots, written in turn.

use std::io;

use crate::{
    error::{FormatError, VolumeError},
    format::{Features, SlotPlace, VolumeSlot},
    merkle::ChainHash,
    units::{ArchiveId, Epoch},
    volume::{SLOT_LEN_BYTES, SlotIndex, Volume},
};

/// What the slots of a volume say.
#[derive(Debug, Clone, Copy)]
pub(in crate::archive) struct SlotState {
    /// The slot that was written last.
    pub(in crate::archive) newest: VolumeSlot,
    other: OtherSlot,
}

/// What became of the slot that is not the newest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OtherSlot {
    /// It is older.
    Older,
    /// It was torn while it was written, or cut off: it was the next one.
    Invalid,
    /// Its sector cannot be read: every announcement since then may have gone there.
    Unreadable,
}

impl SlotState {
    /// Says whether the volume has seen another record of `epoch` than the one with this hash: it belongs to an archive that
    /// has gone another way. A slot that is alone may tell of an attempt before the last.
    pub(in crate::archive) fn contradicts(&self, (epoch, chain_hash): (Epoch, ChainHash)) -> bool {
        self.other == OtherSlot::Older
            && self.newest.epoch == epoch
            && self.newest.chain_hash != chain_hash.to_bytes()
    }

    /// Says whether the volume has seen more than the next publication after `epoch`, which may be announced and cut short.
    pub(in crate::archive) fn is_ahead(&self, epoch: Epoch) -> bool {
        self.newest.epoch.get() > epoch.get().saturating_add(1)
    }

    /// Says whether the volume has not heard of `epoch`, which was announced to it before it was published: an old copy of it
    /// was put back, since no volume lags behind by itself.
    pub(in crate::archive) fn is_behind(&self, epoch: Epoch) -> bool {
        let may_lack = match self.other {
            OtherSlot::Older => 0,
            OtherSlot::Invalid => 1,
            OtherSlot::Unreadable => u64::MAX,
        };
        self.newest.epoch.get().saturating_add(may_lack) < epoch.get()
    }
}

/// Reads the slots of a volume; one that is cut off or cannot be read is not valid, and does not hide the other. The next
/// announcement goes into its place, which often heals a bad sector.
pub(in crate::archive) fn read_slots(
    volume: &dyn Volume,
) -> Result<Result<SlotState, FormatError>, VolumeError> {
    let mut slots = [[0; SLOT_LEN_BYTES]; 2];
    let mut unreadable = None;
    for (index, bytes) in SlotIndex::BOTH.into_iter().zip(&mut slots) {
        if let Err(error) = volume.read_slot(index, bytes) {
            bytes.fill(0);
            let is_cut_off = matches!(
                &error,
                VolumeError::ReadSlot { source, .. } if source.kind() == io::ErrorKind::UnexpectedEof
            );
            unreadable = unreadable.or((!is_cut_off).then_some(error));
        }
    }
    let other = match &unreadable {
        Some(_) => OtherSlot::Unreadable,
        None if slots.iter().any(|slot| VolumeSlot::parse(slot).is_err()) => OtherSlot::Invalid,
        None => OtherSlot::Older,
    };
    match (VolumeSlot::newest(&slots[0], &slots[1]), unreadable) {
        (Ok(newest), _) => Ok(Ok(SlotState { newest, other })),
        (Err(_), Some(error)) => Err(error),
        (Err(invalid), None) => Ok(Err(invalid)),
    }
}

/// Writes the epoch that is about to be published, and the hash of its record, into the older slot of a volume,
/// durable on return. One that is there already is written again: whoever wrote it may have died before its sync.
pub(in crate::archive) fn announce_epoch(
    volume: &dyn Volume,
    archive: ArchiveId,
    (epoch, chain_hash): (Epoch, ChainHash),
) -> Result<(), VolumeError> {
    let chain_hash = chain_hash.to_bytes();
    let slot = match read_slots(volume)? {
        Ok(state) => state.newest.successor(epoch.max(state.newest.epoch), chain_hash),
        Err(_) => VolumeSlot {
            archive,
            volume: volume.id(),
            sequence: 0,
            epoch,
            chain_hash,
            features: Features::NONE,
        },
    };
    write_slot(volume, &slot)
}

/// Writes a slot to its place, durable on return.
pub(in crate::archive) fn write_slot(volume: &dyn Volume, slot: &VolumeSlot) -> Result<(), VolumeError> {
    let index = match slot.place() {
        SlotPlace::First => SlotIndex::A,
        SlotPlace::Second => SlotIndex::B,
    };
    volume.write_slot(index, &slot.encode())
}
