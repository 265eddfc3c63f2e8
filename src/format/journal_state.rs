//! How far a journal has come: what the catalog remembers of it (docs/format.md, section 3.3).
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used
)]

use super::{
    JOURNAL_ALIGNMENT_BYTES, MAX_JOURNAL_COPIES, SegmentPlace,
    journal::{SegmentSet, is_ascending},
};
use crate::{error::JournalStateError, merkle::ChainHash, units::Epoch};

/// Number of the layout.
const VERSION: u16 = 1;

/// Bytes before the first position, and of each.
const HEAD_LEN_BYTES: usize = 64;
const POSITION_LEN_BYTES: usize = 16;

/// The head of the chain, and for each copy where the next record goes.
///
/// A copy without a position is not written to until it is healed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalState {
    /// Epoch of the last record; zero before the first.
    pub epoch: Epoch,
    /// Hash of the last record; zeros before the first.
    pub hash: ChainHash,
    /// Records up to this epoch are needed by nobody, and may be gone; zero when all are.
    pub forgotten: Epoch,
    /// Bytes of all records so far, those that are forgotten among them.
    pub written_bytes: u64,
    /// At most [`MAX_JOURNAL_COPIES`], ascending by volume and copy.
    pub copies: Vec<CopyPosition>,
}

/// Where the next record goes on one copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CopyPosition {
    /// Number of the volume.
    pub volume: u16,
    /// The copy on it.
    pub copy: u8,
    /// Number of the segment.
    pub segment: u32,
    /// Where in it, from its start; a multiple of [`JOURNAL_ALIGNMENT_BYTES`], behind the header.
    pub end_bytes: u64,
}

impl CopyPosition {
    /// Returns the segment without the position in it.
    pub const fn place(&self) -> SegmentPlace {
        SegmentPlace {
            volume: self.volume,
            copy: self.copy,
            segment: self.segment,
        }
    }
}

impl JournalState {
    /// Returns the segments that the next record names; `None` when there is no copy.
    pub fn segments(&self) -> Option<SegmentSet> {
        let places: Vec<SegmentPlace> = self.copies.iter().map(CopyPosition::place).collect();
        SegmentSet::new(&places)
    }

    /// Returns the position of a copy.
    pub fn position(&self, volume: u16, copy: u8) -> Option<CopyPosition> {
        self.copies
            .iter()
            .find(|position| (position.volume, position.copy) == (volume, copy))
            .copied()
    }

    /// Returns the bytes that the catalog keeps: 64, and 16 for each copy.
    ///
    /// # Panics
    /// When no parser would accept them: too many copies, not in order, or a position that is none.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        bytes.extend(VERSION.to_le_bytes());
        bytes.extend([u8::try_from(self.copies.len()).unwrap_or(u8::MAX)]);
        bytes.extend([0; 5]);
        bytes.extend(self.epoch.get().to_le_bytes());
        bytes.extend(self.hash.to_bytes());
        bytes.extend(self.forgotten.get().to_le_bytes());
        bytes.extend(self.written_bytes.to_le_bytes());
        for position in &self.copies {
            bytes.extend(position.volume.to_le_bytes());
            bytes.extend([position.copy, 0]);
            bytes.extend(position.segment.to_le_bytes());
            bytes.extend(position.end_bytes.to_le_bytes());
        }
        assert_eq!(
            Self::parse(&bytes).as_ref(),
            Ok(self),
            "what is written must parse again"
        );
        bytes
    }

    /// Parses what [`Self::encode`] made, exactly.
    ///
    /// # Errors
    /// [`JournalStateError`] names the first thing that no encoder writes.
    pub fn parse(bytes: &[u8]) -> Result<Self, JournalStateError> {
        let wrong_len = JournalStateError::Len {
            found_bytes: bytes.len(),
        };
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_LEN_BYTES>() else {
            return Err(wrong_len);
        };
        let (&[v0, v1, count, r0, r1, r2, r3, r4], fields) = split(head)?;
        let found = u16::from_le_bytes([v0, v1]);
        if found != VERSION {
            return Err(JournalStateError::Version { found });
        }
        let (&epoch, hash) = split::<8>(fields)?;
        let (&hash, rest_of_head) = split::<32>(hash)?;
        let (&forgotten, written) = split::<8>(rest_of_head)?;
        let (&written, _) = split::<8>(written)?;
        let forgotten = Epoch::new(u64::from_le_bytes(forgotten));
        let written_bytes = u64::from_le_bytes(written);
        let (epoch, hash) = (Epoch::new(u64::from_le_bytes(epoch)), ChainHash::from_bytes(hash));
        if [r0, r1, r2, r3, r4] != [0; 5] {
            return Err(JournalStateError::Reserved);
        }
        if (epoch == Epoch::ZERO) != (hash == ChainHash::NONE) {
            return Err(JournalStateError::Head { epoch });
        }
        if forgotten > epoch {
            return Err(JournalStateError::Forgotten { forgotten, epoch });
        }
        let (positions, []) = rest.as_chunks::<POSITION_LEN_BYTES>() else {
            return Err(wrong_len);
        };
        if positions.len() != usize::from(count) || positions.len() > MAX_JOURNAL_COPIES {
            return Err(wrong_len);
        }
        let copies = positions
            .iter()
            .map(parse_position)
            .collect::<Result<Vec<_>, _>>()?;
        if !is_ascending(copies.iter().map(|position| (position.volume, position.copy))) {
            return Err(JournalStateError::Order);
        }
        Ok(Self {
            epoch,
            hash,
            forgotten,
            written_bytes,
            copies,
        })
    }
}

fn parse_position(bytes: &[u8; POSITION_LEN_BYTES]) -> Result<CopyPosition, JournalStateError> {
    let &[
        v0,
        v1,
        copy,
        reserved,
        s0,
        s1,
        s2,
        s3,
        e0,
        e1,
        e2,
        e3,
        e4,
        e5,
        e6,
        e7,
    ] = bytes;
    let end_bytes = u64::from_le_bytes([e0, e1, e2, e3, e4, e5, e6, e7]);
    if reserved != 0 {
        return Err(JournalStateError::Reserved);
    }
    if end_bytes == 0 || !end_bytes.is_multiple_of(JOURNAL_ALIGNMENT_BYTES) {
        return Err(JournalStateError::Position { end_bytes });
    }
    Ok(CopyPosition {
        volume: u16::from_le_bytes([v0, v1]),
        copy,
        segment: u32::from_le_bytes([s0, s1, s2, s3]),
        end_bytes,
    })
}

fn split<const N: usize>(bytes: &[u8]) -> Result<(&[u8; N], &[u8]), JournalStateError> {
    bytes.split_first_chunk().ok_or(JournalStateError::Len {
        found_bytes: bytes.len(),
    })
}
