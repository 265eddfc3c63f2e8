//! What is wrong with copies of the journal: values, since one sound copy serves.

use std::io;

use super::Head;
use crate::{error::FormatError, format::JournalSegment, units::Epoch};

/// Something that is not as it should be with one copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalFinding {
    /// Number of the volume.
    pub volume: u16,
    /// The copy on it.
    pub copy: u8,
    /// The segment, where it is about one.
    pub segment: Option<u32>,
    /// What is wrong.
    pub fault: JournalFault,
}

/// What is wrong with a copy of the journal. Offsets and lengths are in bytes of the segment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum JournalFault {
    /// The directory of the copy is not there.
    NoDirectory,
    /// The system does not let this process read it, such as one with too many open files: that says nothing of what is there.
    Refused {
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The directory cannot be listed.
    Unlistable {
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// The state has no place for the next record on this copy: it was given up before.
    NoPosition,
    /// The state names a segment that is not there.
    SegmentMissing,
    /// The segment ends before the place for the next record.
    SegmentShort {
        /// Its length.
        len_bytes: u64,
        /// The place for the next record.
        end_bytes: u64,
    },
    /// The header of the segment is damaged.
    SegmentHeader {
        /// In what way.
        source: FormatError,
    },
    /// The file is intact and is another segment than its name says, or one of another archive.
    SegmentForeign {
        /// What it says it is.
        found: Box<JournalSegment>,
    },
    /// A write or sync of this segment failed before in this process.
    SegmentClosed,
    /// Bytes that cannot be read.
    Unreadable {
        /// Where they begin.
        offset: u64,
        /// How many they are.
        len_bytes: u64,
        /// What the system said of the first.
        kind: io::ErrorKind,
    },
    /// Sectors that are not all zeros and no record: torn, damaged, or something else's.
    NoRecord {
        /// Where they begin.
        offset: u64,
        /// How many bytes they are.
        len_bytes: u64,
    },
    /// A whole record that is newer than the state and does not follow it: what was between is lost, or the archive went
    /// another way than the catalog.
    Unconnected {
        /// Where the record stands.
        offset: u64,
        /// Which it is.
        head: Head,
    },
    /// The copy lacks records of the chain.
    Lacks {
        /// The first of them.
        first: Epoch,
        /// How many they are.
        count: u64,
    },
}
