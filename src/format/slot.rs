//! The two slots of a volume: who it is and how far it has come (docs/format.md, section 3.1).
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used
)]

use super::{Features, record::Reader, writer::Writer};
use crate::{
    error::{FormatError, RecordKind},
    units::{ArchiveId, Epoch, VolumeId},
};

/// Bytes of one slot.
pub const VOLUME_SLOT_LEN_BYTES: usize = 4096;

/// Bytes of a volume file: two slots.
pub const VOLUME_FILE_LEN_BYTES: usize = 8192;

/// Which half of the volume file a slot stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SlotPlace {
    /// The first half, for even sequence numbers.
    First,
    /// The second half, for odd sequence numbers.
    Second,
}

impl SlotPlace {
    /// Returns the bytes from the start of the volume file.
    pub const fn offset_bytes(self) -> u64 {
        match self {
            Self::First => 0,
            Self::Second => 4096,
        }
    }
}

/// What a volume knows about itself.
///
/// Slots are written in turn, so that a torn write leaves the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VolumeSlot {
    /// Archive that the volume belongs to.
    pub archive: ArchiveId,
    /// Which volume this is.
    pub volume: VolumeId,
    /// Number of slot writes before this one.
    pub sequence: u64,
    /// Epoch of the last publishing transaction that wrote to this volume.
    pub epoch: Epoch,
    /// Hash of the journal record of that epoch, which is written after the slot; zeros while there is none.
    pub chain_hash: [u8; 32],
    /// What a reader must know to use the archive.
    pub features: Features,
}

impl VolumeSlot {
    /// Returns the slot that follows this one when the volume has come to `epoch`.
    ///
    /// # Panics
    /// After 2^64 writes.
    #[must_use]
    pub fn successor(&self, epoch: Epoch, chain_hash: [u8; 32]) -> Self {
        #[expect(clippy::expect_used, reason = "2^64 writes take longer than any disk lasts")]
        let sequence = self.sequence.checked_add(1).expect("fewer than 2^64 slot writes");
        Self {
            sequence,
            epoch,
            chain_hash,
            ..*self
        }
    }

    /// Returns where this slot is written. The slot before stands in the other half and is not touched.
    pub const fn place(&self) -> SlotPlace {
        if self.sequence.is_multiple_of(2) {
            SlotPlace::First
        } else {
            SlotPlace::Second
        }
    }

    /// Returns the bytes as they stand on disk.
    pub fn encode(&self) -> [u8; VOLUME_SLOT_LEN_BYTES] {
        let mut writer = Writer::begin(RecordKind::VolumeSlot);
        writer.reserve(6);
        writer.put(self.archive.to_bytes());
        writer.put(self.volume.to_bytes());
        writer.put(self.sequence.to_le_bytes());
        writer.put(self.epoch.get().to_le_bytes());
        writer.put(self.chain_hash);
        writer.put(self.features.bits().to_le_bytes());
        let bytes = writer.seal();
        debug_assert_eq!(Self::parse(&bytes), Ok(*self), "what is written must parse again");
        bytes
    }

    /// Parses the first [`VOLUME_SLOT_LEN_BYTES`] of `bytes`.
    ///
    /// # Errors
    /// [`FormatError`] names what is wrong with the envelope or what is too new.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::open(RecordKind::VolumeSlot, bytes)?;
        reader.reserved(6)?;
        let archive = ArchiveId::from_bytes(reader.take()?);
        let volume = VolumeId::from_bytes(reader.take()?);
        let sequence = reader.u64()?;
        let epoch = Epoch::new(reader.u64()?);
        let chain_hash = reader.take()?;
        let features = Features::from_bits(reader.u64()?)?;
        reader.finish()?;
        Ok(Self {
            archive,
            volume,
            sequence,
            epoch,
            chain_hash,
            features,
        })
    }

    /// Parses both slots and returns the one written last; one alone serves.
    ///
    /// # Errors
    /// [`FormatError::NoValidSlot`] when neither is valid in its place, [`FormatError::SlotsDisagree`] when they belong
    /// to different volumes, and whatever [`FormatError::needs_newer_version`] in either: an older valid slot beside it
    /// must not be taken for the newest, nor the newer one be written over.
    pub fn newest(first: &[u8], second: &[u8]) -> Result<Self, FormatError> {
        let slots = (
            Self::parse_at(SlotPlace::First, first),
            Self::parse_at(SlotPlace::Second, second),
        );
        match slots {
            (Err(error), _) | (_, Err(error)) if error.needs_newer_version() => Err(error),
            (Ok(first), Ok(second)) if (first.archive, first.volume) != (second.archive, second.volume) => {
                Err(FormatError::SlotsDisagree {
                    first_archive: first.archive,
                    first: first.volume,
                    second_archive: second.archive,
                    second: second.volume,
                })
            }
            (Ok(first), Ok(second)) if first.sequence > second.sequence => Ok(first),
            (_, Ok(slot)) | (Ok(slot), Err(_)) => Ok(slot),
            (Err(first), Err(second)) => Err(FormatError::NoValidSlot {
                first: Box::new(first),
                second: Box::new(second),
            }),
        }
    }

    fn parse_at(place: SlotPlace, bytes: &[u8]) -> Result<Self, FormatError> {
        let slot = Self::parse(bytes)?;
        if slot.place() == place {
            Ok(slot)
        } else {
            Err(FormatError::SlotPlace {
                sequence: slot.sequence,
            })
        }
    }
}
