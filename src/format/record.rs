//! The envelope that all records share, and a cursor over what is inside (docs/format.md, section 2).
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used
)]

use super::{
    EXTENT_HEADER_LEN_BYTES, FRAME_FOOTER_LEN_BYTES, FRAME_HEADER_LEN_BYTES, FormatVersion,
    JOURNAL_RECORD_LEN_BYTES, JOURNAL_SEGMENT_LEN_BYTES, VOLUME_SLOT_LEN_BYTES,
};
use crate::error::{FormatError, RecordKind};

/// Bytes of the checksum that ends every record.
pub(super) const CRC_LEN_BYTES: usize = 4;

/// Reads the fields of one record in order.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    record: RecordKind,
    body_len_bytes: usize,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Checks length, magic, checksum and version, and stands behind the version then.
    ///
    /// The checksum comes before the version: it has the same place in all versions, so that a damaged version number
    /// is damage and never a request to install something newer.
    pub(super) fn open(record: RecordKind, bytes: &'a [u8]) -> Result<Self, FormatError> {
        let needed_bytes = len_bytes(record);
        let truncated = FormatError::Truncated {
            record,
            needed_bytes,
            found_bytes: bytes.len(),
        };
        let Some((body, stored)) = bytes.get(..needed_bytes).and_then(<[u8]>::split_last_chunk) else {
            return Err(truncated);
        };
        let mut reader = Self {
            record,
            body_len_bytes: body.len(),
            rest: body,
        };
        let found = reader.take()?;
        if found != magic(record) {
            return Err(FormatError::Magic { record, found });
        }
        let stored = u32::from_le_bytes(*stored);
        let computed = crc32fast::hash(body);
        if stored != computed {
            return Err(FormatError::Checksum {
                record,
                stored,
                computed,
            });
        }
        FormatVersion::from_number(record, reader.u16()?)?;
        Ok(reader)
    }

    /// Returns the next `N` bytes.
    pub(super) fn take<const N: usize>(&mut self) -> Result<[u8; N], FormatError> {
        let Some((head, rest)) = self.rest.split_first_chunk() else {
            return Err(self.past_end());
        };
        self.rest = rest;
        Ok(*head)
    }

    pub(super) fn u8(&mut self) -> Result<u8, FormatError> {
        self.take().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, FormatError> {
        self.take().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, FormatError> {
        self.take().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, FormatError> {
        self.take().map(u64::from_le_bytes)
    }

    /// Passes over `count` reserved bytes, which must be 0.
    pub(super) fn reserved(&mut self, count: usize) -> Result<(), FormatError> {
        let Some((head, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.past_end());
        };
        let start = self.body_len_bytes.saturating_sub(self.rest.len());
        if let Some(position) = head.iter().position(|&byte| byte != 0) {
            return Err(FormatError::ReservedInUse {
                record: self.record,
                offset: start.saturating_add(position),
            });
        }
        self.rest = rest;
        Ok(())
    }

    /// Ends the record: everything up to the checksum is reserved.
    pub(super) fn finish(mut self) -> Result<(), FormatError> {
        self.reserved(self.rest.len())
    }

    fn past_end(&self) -> FormatError {
        FormatError::Truncated {
            record: self.record,
            needed_bytes: len_bytes(self.record),
            found_bytes: self.body_len_bytes,
        }
    }
}

/// Returns the length of a record, checksum included.
pub(super) const fn len_bytes(record: RecordKind) -> usize {
    match record {
        RecordKind::FrameHeader => FRAME_HEADER_LEN_BYTES,
        RecordKind::FrameFooter => FRAME_FOOTER_LEN_BYTES,
        RecordKind::ExtentHeader => EXTENT_HEADER_LEN_BYTES,
        RecordKind::VolumeSlot => VOLUME_SLOT_LEN_BYTES,
        RecordKind::JournalSegment => JOURNAL_SEGMENT_LEN_BYTES,
        RecordKind::JournalRecord => JOURNAL_RECORD_LEN_BYTES,
    }
}

/// Returns the first eight bytes of a record.
pub(super) const fn magic(record: RecordKind) -> [u8; 8] {
    *match record {
        RecordKind::FrameHeader => b"bfdb-FRM",
        RecordKind::FrameFooter => b"bfdb-END",
        RecordKind::ExtentHeader => b"bfdb-EXT",
        RecordKind::VolumeSlot => b"bfdb-VOL",
        RecordKind::JournalSegment => b"bfdb-JSG",
        RecordKind::JournalRecord => b"bfdb-JRN",
    }
}
