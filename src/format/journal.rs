//! The journal: headers of its segments and records, and how far it has come (docs/format.md, section 3.3).
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used
)]

use super::{record::Reader, writer::Writer};
use crate::{
    error::{FormatError, RecordKind},
    merkle::{ChainHash, ChainHasher},
    units::{ArchiveId, Epoch, VolumeId},
};

/// Bytes of the header of a segment; the first record may begin behind it.
pub const JOURNAL_SEGMENT_LEN_BYTES: usize = 4096;

/// Bytes of the header of a record; its body follows at once.
pub const JOURNAL_RECORD_LEN_BYTES: usize = 256;

/// Records begin at multiples of this, so that a torn sector never holds parts of two.
pub const JOURNAL_ALIGNMENT_BYTES: u64 = 4096;

/// The longest body of a record.
pub const MAX_JOURNAL_BODY_LEN_BYTES: u32 = 64 * 1024 * 1024;

/// How many copies a journal may have.
pub const MAX_JOURNAL_COPIES: usize = 16;

/// Bytes that a record has for the set of its copies: eight for each of [`MAX_JOURNAL_COPIES`].
const COPIES_LEN_BYTES: usize = 128;

/// Where `hash` stands in a header: what is hashed leaves it out, and the checksum too.
const HASH_OFFSET: usize = 72;
const HASH_END: usize = 104;
const CRC_OFFSET: usize = 252;

/// The header of a segment: which file of which copy it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct JournalSegment {
    /// Archive that the journal belongs to.
    pub archive: ArchiveId,
    /// Id of the volume that the copy lies on.
    pub volume_id: VolumeId,
    /// Number of that volume, the copy on it, and the number of the file.
    pub place: SegmentPlace,
}

/// A segment file: its volume's number, the copy there, and its own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each field is explained by its name")]
pub struct SegmentPlace {
    pub volume: u16,
    pub copy: u8,
    pub segment: u32,
}

impl JournalSegment {
    /// Returns the bytes as they stand on disk.
    pub fn encode(&self) -> [u8; JOURNAL_SEGMENT_LEN_BYTES] {
        let mut writer = Writer::begin(RecordKind::JournalSegment);
        writer.put(self.place.volume.to_le_bytes());
        writer.put([self.place.copy, 0, 0, 0]);
        writer.put(self.archive.to_bytes());
        writer.put(self.volume_id.to_bytes());
        writer.put(self.place.segment.to_le_bytes());
        let bytes = writer.seal();
        debug_assert_eq!(Self::parse(&bytes), Ok(*self), "what is written must parse again");
        bytes
    }

    /// Parses the first [`JOURNAL_SEGMENT_LEN_BYTES`] of `bytes`. What comes out is a claim: it is to be compared with
    /// what was expected there.
    ///
    /// # Errors
    /// [`FormatError`] names what is wrong with the envelope or what is too new.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::open(RecordKind::JournalSegment, bytes)?;
        let volume = reader.u16()?;
        let copy = reader.u8()?;
        reader.reserved(3)?;
        let archive = ArchiveId::from_bytes(reader.take()?);
        let volume_id = VolumeId::from_bytes(reader.take()?);
        let segment = reader.u32()?;
        reader.finish()?;
        Ok(Self {
            archive,
            volume_id,
            place: SegmentPlace {
                volume,
                copy,
                segment,
            },
        })
    }
}

/// The segments that a record is written to, in ascending order: one for each copy, at least one.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SegmentSet {
    /// Behind `count` they are all [`NOWHERE`], so that equal sets are equal.
    places: [SegmentPlace; MAX_JOURNAL_COPIES],
    count: u8,
}

const NOWHERE: SegmentPlace = SegmentPlace {
    volume: 0,
    copy: 0,
    segment: 0,
};

impl SegmentSet {
    /// Makes the set of `places`: 1 to [`MAX_JOURNAL_COPIES`], in ascending order, no copy twice.
    pub fn new(places: &[SegmentPlace]) -> Option<Self> {
        let count = u8::try_from(places.len()).ok().filter(|count| *count > 0)?;
        let mut set = Self {
            places: [NOWHERE; MAX_JOURNAL_COPIES],
            count,
        };
        set.places.get_mut(..places.len())?.copy_from_slice(places);
        is_ascending(places.iter().map(|place| place.copy_key())).then_some(set)
    }

    /// Returns the segments in ascending order.
    pub fn as_slice(&self) -> &[SegmentPlace] {
        self.places.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// Says whether the record names that segment.
    pub fn contains(&self, place: SegmentPlace) -> bool {
        self.as_slice().contains(&place)
    }
}

impl core::fmt::Debug for SegmentSet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_set().entries(self.as_slice()).finish()
    }
}

impl SegmentPlace {
    /// Which copy it is, whatever the segment.
    const fn copy_key(self) -> (u16, u8) {
        (self.volume, self.copy)
    }
}

/// The header of a record. What it says of its body is checked by [`Self::hasher`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalHeader {
    /// Archive that the record belongs to.
    pub archive: ArchiveId,
    /// The transaction that the record publishes; the first one is 1.
    pub epoch: Epoch,
    /// Hash of the record before; zeros in the first one.
    pub previous: ChainHash,
    /// Hash of this record: of all other fields and the body.
    pub hash: ChainHash,
    /// Length of the body, at most [`MAX_JOURNAL_BODY_LEN_BYTES`].
    pub body_len_bytes: u32,
    /// The segments that the record was to be written to.
    pub copies: SegmentSet,
}

impl JournalHeader {
    /// Returns the bytes as they stand on disk.
    ///
    /// # Panics
    /// When no parser would accept it: a body that is too long, an epoch that has no such predecessor.
    pub fn encode(&self) -> [u8; JOURNAL_RECORD_LEN_BYTES] {
        let mut writer = Writer::begin(RecordKind::JournalRecord);
        writer.put([self.copies.count, 0]);
        writer.put(self.body_len_bytes.to_le_bytes());
        writer.put(self.archive.to_bytes());
        writer.put(self.epoch.get().to_le_bytes());
        writer.put(self.previous.to_bytes());
        writer.put(self.hash.to_bytes());
        for place in self.copies.places {
            writer.put(place.volume.to_le_bytes());
            writer.put([place.copy, 0]);
            writer.put(place.segment.to_le_bytes());
        }
        let bytes = writer.seal();
        assert_eq!(Self::parse(&bytes), Ok(*self), "what is written must parse again");
        bytes
    }

    /// Parses the first [`JOURNAL_RECORD_LEN_BYTES`] of `bytes`. What comes out is a claim, and the body is not looked at.
    ///
    /// # Errors
    /// [`FormatError`] names what is wrong with the envelope or the fields, or what is too new.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::open(RecordKind::JournalRecord, bytes)?;
        let count = reader.u8()?;
        reader.reserved(1)?;
        let body_len_bytes = reader.u32()?;
        let archive = ArchiveId::from_bytes(reader.take()?);
        let epoch = Epoch::new(reader.u64()?);
        let previous = ChainHash::from_bytes(reader.take()?);
        let hash = ChainHash::from_bytes(reader.take()?);
        let copies = parse_copies(&mut reader, count)?;
        reader.finish()?;
        if body_len_bytes > MAX_JOURNAL_BODY_LEN_BYTES {
            return Err(FormatError::JournalBody {
                found_bytes: body_len_bytes,
            });
        }
        if epoch == Epoch::ZERO || (epoch.get() == 1) != (previous == ChainHash::NONE) {
            return Err(FormatError::JournalEpoch { epoch });
        }
        Ok(Self {
            archive,
            epoch,
            previous,
            hash,
            body_len_bytes,
            copies,
        })
    }

    /// Begins the hash of the record with what the header says; the body is to follow. Whether `hash` has been set
    /// makes no difference.
    pub fn hasher(&self) -> ChainHasher {
        let bytes = self.encode();
        let mut hasher = ChainHasher::default();
        hasher.update(bytes.get(..HASH_OFFSET).unwrap_or_default());
        hasher.update(bytes.get(HASH_END..CRC_OFFSET).unwrap_or_default());
        hasher
    }

    /// Returns the bytes from the start of the record to the start of the next: header, body and padding.
    pub fn total_len_bytes(&self) -> u64 {
        journal_record_len_bytes(self.body_len_bytes)
    }
}

/// Returns the bytes that a record with such a body takes: header, body and padding.
pub fn journal_record_len_bytes(body_len_bytes: u32) -> u64 {
    u64::from(body_len_bytes)
        .saturating_add(256)
        .next_multiple_of(JOURNAL_ALIGNMENT_BYTES)
}

/// Reads the whole table of copies; rows that are not taken are reserved.
fn parse_copies(reader: &mut Reader<'_>, count: u8) -> Result<SegmentSet, FormatError> {
    let refused = || FormatError::JournalCopies { count };
    let mut places = [NOWHERE; MAX_JOURNAL_COPIES];
    let taken = places.get_mut(..usize::from(count)).ok_or_else(refused)?;
    let taken_len_bytes = taken.len().saturating_mul(8);
    for place in &mut *taken {
        place.volume = reader.u16()?;
        place.copy = reader.u8()?;
        reader.reserved(1)?;
        place.segment = reader.u32()?;
    }
    let set = SegmentSet::new(taken).ok_or_else(refused)?;
    reader.reserved(COPIES_LEN_BYTES.saturating_sub(taken_len_bytes))?;
    Ok(set)
}

pub(super) fn is_ascending<T: Ord>(mut keys: impl Iterator<Item = T>) -> bool {
    let Some(mut last) = keys.next() else {
        return true;
    };
    keys.all(|key| {
        let rises = last < key;
        last = key;
        rises
    })
}
