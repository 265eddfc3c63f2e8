//! Records in memory: how they become bytes, and where they stand.

use super::{
    Head, Journal,
    layout::{failed, segment_path},
};
use crate::{
    error::{HostOperation, JournalError},
    format::{
        JOURNAL_RECORD_LEN_BYTES, JournalHeader, MAX_JOURNAL_BODY_LEN_BYTES, SegmentPlace, SegmentSet,
        journal_record_len_bytes,
    },
    merkle::ChainHash,
    storage::FileAccess,
    units::{ArchiveId, Epoch, to_u64, to_usize},
};

/// A record of the journal, whole and verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalRecord {
    /// The transaction that it publishes.
    pub epoch: Epoch,
    /// Hash of the record before.
    pub previous: ChainHash,
    /// Hash of this record.
    pub hash: ChainHash,
    /// The segments that it was first written to.
    pub copies: SegmentSet,
    /// What is published.
    pub body: Vec<u8>,
}

impl JournalRecord {
    /// Makes the record that follows `head`.
    pub(super) fn following(
        archive: ArchiveId,
        head: Head,
        copies: SegmentSet,
        body: &[u8],
    ) -> Result<Self, JournalError> {
        let mut header = JournalHeader {
            archive,
            epoch: head.epoch.next(),
            previous: head.hash,
            hash: ChainHash::NONE,
            body_len_bytes: body_len(body.len())?,
            copies,
        };
        let mut hasher = header.hasher();
        hasher.update(body);
        header.hash = hasher.finish();
        Ok(Self::of(&header, body.to_vec()))
    }

    fn of(header: &JournalHeader, body: Vec<u8>) -> Self {
        Self {
            epoch: header.epoch,
            previous: header.previous,
            hash: header.hash,
            copies: header.copies,
            body,
        }
    }

    /// Returns epoch and hash.
    pub const fn head(&self) -> Head {
        Head {
            epoch: self.epoch,
            hash: self.hash,
        }
    }

    /// Returns the bytes that it takes, with padding.
    pub fn len_bytes(&self) -> u64 {
        let body_len_bytes = u32::try_from(self.body.len()).expect("a record was made of it");
        journal_record_len_bytes(body_len_bytes)
    }

    /// Returns the bytes as they stand on disk, with padding: the same at every place.
    pub(super) fn encode(&self, archive: ArchiveId) -> Result<Vec<u8>, JournalError> {
        let header = JournalHeader {
            archive,
            epoch: self.epoch,
            previous: self.previous,
            hash: self.hash,
            body_len_bytes: body_len(self.body.len())?,
            copies: self.copies,
        };
        let mut bytes = Vec::with_capacity(to_usize(header.total_len_bytes()));
        bytes.extend(header.encode());
        bytes.extend(&self.body);
        bytes.resize(to_usize(header.total_len_bytes()), 0);
        Ok(bytes)
    }
}

/// Checks that a body fits a record.
pub(super) fn body_len(len_bytes: usize) -> Result<u32, JournalError> {
    let fitting = u32::try_from(len_bytes).ok();
    let fitting = fitting.filter(|len_bytes| *len_bytes <= MAX_JOURNAL_BODY_LEN_BYTES);
    fitting.ok_or(JournalError::TooLong {
        body_len_bytes: to_u64(len_bytes),
        max_bytes: MAX_JOURNAL_BODY_LEN_BYTES.into(),
    })
}

/// A whole record, and where it stands. Its body is read again when it is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordEntry {
    /// Which record, and where it ends the chain.
    pub head: Head,
    /// Hash of the record before.
    pub previous: ChainHash,
    /// Bytes of its body.
    pub body_len_bytes: u32,
    /// The segments that it names.
    pub copies: SegmentSet,
    pub(super) spots: Vec<Spot>,
}

/// One place where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) place: SegmentPlace,
    pub(super) offset: u64,
}

impl RecordEntry {
    pub(super) fn of(header: &JournalHeader, spot: Spot) -> Self {
        Self {
            head: Head {
                epoch: header.epoch,
                hash: header.hash,
            },
            previous: header.previous,
            body_len_bytes: header.body_len_bytes,
            copies: header.copies,
            spots: vec![spot],
        }
    }
}

impl Journal {
    /// Reads a record that was found, from any place where it is whole still.
    ///
    /// # Errors
    /// [`JournalError::Lost`] when there is none, or what the system said of the last place that was tried.
    pub fn load(&self, entry: &RecordEntry) -> Result<JournalRecord, JournalError> {
        let mut last = JournalError::Lost {
            epoch: entry.head.epoch,
        };
        for spot in &entry.spots {
            match self.load_at(entry, *spot) {
                Ok(Some(record)) => return Ok(record),
                Ok(None) => {}
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn load_at(&self, entry: &RecordEntry, spot: Spot) -> Result<Option<JournalRecord>, JournalError> {
        let Some(index) = self.index_of(spot.place.volume, spot.place.copy) else {
            return Ok(None);
        };
        let path = segment_path(&self.places[index].directory, spot.place.segment);
        let file = self.storage.open(&path, FileAccess::Read);
        let file = file.map_err(failed(HostOperation::Open, &path))?;
        let mut bytes = [0; JOURNAL_RECORD_LEN_BYTES];
        // At most 64 MiB, and as long as it was when its hash was right.
        let mut body = vec![0; to_usize(entry.body_len_bytes.into())];
        file.read_exact_at(spot.offset, &mut bytes)
            .and_then(|()| file.read_exact_at(spot.offset + to_u64(bytes.len()), &mut body))
            .map_err(failed(HostOperation::Read, &path))?;
        let Ok(header) = JournalHeader::parse(&bytes) else {
            return Ok(None);
        };
        let mut hasher = header.hasher();
        hasher.update(&body);
        let is_it = header.archive == self.archive && header.hash == entry.head.hash;
        let is_whole = is_it && hasher.finish() == header.hash;
        Ok(is_whole.then(|| JournalRecord::of(&header, body)))
    }
}
