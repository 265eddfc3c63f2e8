//! Writes the fields of one record in order, inside the envelope of docs/format.md, section 2.

use super::{FormatVersion, record};
use crate::error::RecordKind;

/// A record of `N` bytes in the making; what is never written stays 0.
#[derive(Debug)]
pub(super) struct Writer<const N: usize> {
    bytes: [u8; N],
    len: usize,
}

impl<const N: usize> Writer<N> {
    /// Begins a record with its magic and version.
    pub(super) fn begin(record: RecordKind) -> Self {
        assert_eq!(N, record::len_bytes(record), "length of a {record}");
        let mut writer = Self {
            bytes: [0; N],
            len: 0,
        };
        writer.put(record::magic(record));
        writer.put(FormatVersion::CURRENT.get().to_le_bytes());
        writer
    }

    /// Appends `field`, in little endian where it is a number.
    pub(super) fn put<const M: usize>(&mut self, field: [u8; M]) {
        assert!(
            self.len + M + record::CRC_LEN_BYTES <= N,
            "the fields of a record end before its checksum"
        );
        self.bytes[self.len..self.len + M].copy_from_slice(&field);
        self.len += M;
    }

    /// Appends `count` reserved bytes.
    pub(super) fn reserve(&mut self, count: usize) {
        assert!(
            self.len + count + record::CRC_LEN_BYTES <= N,
            "the fields of a record end before its checksum"
        );
        self.len += count;
    }

    /// Ends the record with the checksum over all bytes before it.
    pub(super) fn seal(mut self) -> [u8; N] {
        let body_len = N - record::CRC_LEN_BYTES;
        let crc = crc32fast::hash(&self.bytes[..body_len]);
        self.bytes[body_len..].copy_from_slice(&crc.to_le_bytes());
        self.bytes
    }
}
