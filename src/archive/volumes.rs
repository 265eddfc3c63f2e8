//! The volumes of an archive, by identity.

use std::{collections::BTreeMap, io, sync::Arc};

use crate::{
    catalog::ShardRecord,
    error::{FormatError, VolumeError},
    format::{Features, SlotPlace, VolumeSlot},
    merkle::ChainHash,
    units::{ArchiveId, Epoch, ExtentId, VolumeId},
    volume::{SLOT_LEN_BYTES, SlotIndex, Volume},
};

/// Bytes between frames that are forgotten with them.
const SHORT_GAP_BYTES: u64 = 64 * 1024;

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

    /// Makes sure that frames are read from the medium next, where a volume can, and not from memory.
    pub(super) fn forget_cached<'a>(&self, shards: impl IntoIterator<Item = &'a ShardRecord>) {
        let place = |shard: &ShardRecord| (shard.extent, shard.offset, shard.frame_len_bytes);
        let mut frames: Vec<(ExtentId, u64, u64)> = shards.into_iter().map(place).collect();
        frames.sort_unstable();
        // Frames that follow each other share sectors, which are to be read once.
        let mut runs: Vec<(ExtentId, u64, u64)> = Vec::new();
        for (extent, start, len_bytes) in frames {
            let end = start.saturating_add(len_bytes);
            match runs.last_mut() {
                Some((of, _, until)) if *of == extent && start <= until.saturating_add(SHORT_GAP_BYTES) => {
                    *until = end.max(*until);
                }
                _ => runs.push((extent, start, end)),
            }
        }
        for (extent, start, end) in runs {
            self.of_extent(extent).forget_cached(extent, start, end - start);
        }
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
    pub(super) fn contradicts(&self, (epoch, chain_hash): (Epoch, ChainHash)) -> bool {
        self.other == OtherSlot::Older
            && self.newest.epoch == epoch
            && self.newest.chain_hash != chain_hash.to_bytes()
    }

    /// Says whether the volume has seen more than the next publication after `epoch`, which may be announced and cut short.
    pub(super) fn is_ahead(&self, epoch: Epoch) -> bool {
        self.newest.epoch.get() > epoch.get().saturating_add(1)
    }

    /// Says whether the volume is older than a catalog that has come to `epoch`: an old copy of it was put back.
    ///
    /// Every epoch is announced in a slot before it is published, so a volume never lags behind by itself.
    pub(super) fn is_behind(&self, epoch: Epoch) -> bool {
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
pub(super) fn read_slots(volume: &dyn Volume) -> Result<Result<SlotState, FormatError>, VolumeError> {
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
pub(super) fn announce_epoch(
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
pub(super) fn write_slot(volume: &dyn Volume, slot: &VolumeSlot) -> Result<(), VolumeError> {
    let index = match slot.place() {
        SlotPlace::First => SlotIndex::A,
        SlotPlace::Second => SlotIndex::B,
    };
    volume.write_slot(index, &slot.encode())
}
