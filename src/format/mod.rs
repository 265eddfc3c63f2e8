//! The bytes of an archive: layouts and total parsers.
//!
//! Everything is drawn once in docs/format.md, which is normative; a test compares it with this module. Encoders write
//! what their parser accepts and nothing else. Parsers take any bytes: they neither panic nor allocate (but for the
//! error that carries two others, and at most sixteen positions of a journal), and what they return is only a claim until its identity was compared with what was
//! expected at that place.
//!
//! Knows no file and no hash: a checksum (CRC-32) guards records, leaf hashes and shard digests are carried here and
//! checked elsewhere.

mod extent;
mod footer;
mod frame;
mod journal;
mod journal_state;
mod layout;
mod record;
mod search;
mod slot;
#[cfg(test)]
mod tests;
mod version;
mod writer;

pub use extent::{ClaimedExtent, EXTENT_HEADER_LEN_BYTES, ExtentHeader, ExtentIdentity};
pub use footer::{FRAME_FOOTER_LEN_BYTES, FrameFooter};
pub use frame::{
    ClaimedFrame, FRAME_HEADER_LEN_BYTES, Frame, FrameHeader, FrameIdentity, FrameKind, FramePlace,
};
pub use journal::{
    JOURNAL_ALIGNMENT_BYTES, JOURNAL_RECORD_LEN_BYTES, JOURNAL_SEGMENT_LEN_BYTES, JournalHeader,
    JournalSegment, MAX_JOURNAL_BODY_LEN_BYTES, MAX_JOURNAL_COPIES, SegmentPlace, SegmentSet,
    journal_record_len_bytes,
};
pub use journal_state::{CopyPosition, JournalState};
pub use layout::{
    FrameLayout, HASH_LEN_BYTES, LARGE_FRAME_ALIGNMENT_BYTES, LARGE_PAYLOAD_LEN_BYTES, MAX_FRAME_LEAVES,
    SMALL_FRAME_ALIGNMENT_BYTES,
};
pub use search::{FrameMark, next_frame_mark};
pub use slot::{SlotPlace, VOLUME_FILE_LEN_BYTES, VOLUME_SLOT_LEN_BYTES, VolumeSlot};
pub use version::{Features, FormatVersion};
