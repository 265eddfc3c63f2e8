//! Why bytes from a volume are not the record that was looked for.

use core::fmt;

use crate::units::{
    ArchiveId, BlockId, CodeShape, CodeShapeError, Epoch, ExtentId, LeafLen, ShardIndex, VolumeId,
};

/// The records that docs/format.md describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RecordKind {
    /// First bytes of a frame.
    FrameHeader,
    /// Last bytes of a frame before its padding.
    FrameFooter,
    /// First bytes of an extent.
    ExtentHeader,
    /// One of the two slots of a volume.
    VolumeSlot,
    /// First bytes of a segment of the journal.
    JournalSegment,
    /// First bytes of a record of the journal.
    JournalRecord,
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::FrameHeader => "frame header",
            Self::FrameFooter => "frame footer",
            Self::ExtentHeader => "extent header",
            Self::VolumeSlot => "volume slot",
            Self::JournalSegment => "journal segment",
            Self::JournalRecord => "journal record",
        })
    }
}

/// What a frame footer repeats of its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum FooterField {
    /// Id of the block.
    Block,
    /// Position of the shard.
    Shard,
    /// Bytes from the start of the frame to the end of the footer.
    ContentLen,
    /// CRC-32 of the header.
    HeaderCrc,
}

impl fmt::Display for FooterField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Block => "block",
            Self::Shard => "shard",
            Self::ContentLen => "content length",
            Self::HeaderCrc => "header checksum",
        })
    }
}

/// Bytes that are not the record that was looked for, or one that this version cannot use.
///
/// The two differ: what [`FormatError::needs_newer_version`] is intact and must be left alone, everything else is
/// damage or something that was never written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FormatError {
    /// Fewer bytes than the record has.
    #[error("a {record} has {needed_bytes} bytes, only {found_bytes} are there")]
    Truncated {
        /// Record looked for.
        record: RecordKind,
        /// Length of the record.
        needed_bytes: usize,
        /// Length of what was given.
        found_bytes: usize,
    },
    /// Other first bytes: something else stands here, or nothing.
    #[error("no {record} begins with the bytes {found:02x?}")]
    Magic {
        /// Record looked for.
        record: RecordKind,
        /// First bytes found.
        found: [u8; 8],
    },
    /// The bytes have changed since they were written, or were written in part.
    #[error("the checksum of the {record} is {stored:08x}, its bytes have {computed:08x}")]
    Checksum {
        /// Record looked for.
        record: RecordKind,
        /// CRC-32 found in the record.
        stored: u32,
        /// CRC-32 of its bytes.
        computed: u32,
    },
    /// An intact record of a later version.
    #[error("the {record} has format version {found}, this bfdb reads up to {supported}")]
    NewerVersion {
        /// Record looked for.
        record: RecordKind,
        /// Version found.
        found: u16,
        /// Latest version that is understood.
        supported: u16,
    },
    /// A version that no bfdb has ever written.
    #[error("the {record} has format version {found}, which never existed")]
    UnknownVersion {
        /// Record looked for.
        record: RecordKind,
        /// Version found.
        found: u16,
    },
    /// An intact frame that holds something else than a shard.
    #[error("the frame is of kind {kind}, this bfdb knows only shards (1)")]
    UnknownKind {
        /// Number of the kind.
        kind: u8,
    },
    /// An intact frame whose payload is stored in a form that is not known.
    #[error("the payload of the frame has transform {transform}, this bfdb knows only 0 (none)")]
    UnknownTransform {
        /// Number of the transform.
        transform: u32,
    },
    /// A reserved byte that is not 0: a later bfdb keeps something there.
    #[error("reserved byte {offset} of the {record} is not 0")]
    ReservedInUse {
        /// Record looked for.
        record: RecordKind,
        /// Bytes from the start of the record.
        offset: usize,
    },
    /// The archive needs a feature that this bfdb does not have.
    #[error("the archive needs feature {bit}, which this bfdb does not have")]
    UnsupportedFeature {
        /// Number of the lowest unknown bit.
        bit: u32,
    },
    /// Not a leaf length.
    #[error("a leaf cannot have 2^{log2} bytes")]
    LeafLen {
        /// Binary logarithm claimed.
        log2: u8,
    },
    /// Neither "one" nor "many".
    #[error("{number} does not say whether the file has one leaf or more")]
    FileLeaves {
        /// Number claimed.
        number: u8,
    },
    /// Not a code shape.
    #[error("the frame names no possible code")]
    Shape {
        /// Rule that it breaks.
        #[source]
        source: CodeShapeError,
    },
    /// No file is cut into such a block.
    #[error("no block of {shape} and leaves of {} bytes holds {data_len_bytes} bytes from offset {base_offset}", leaf.bytes())]
    Geometry {
        /// Shape claimed.
        shape: CodeShape,
        /// Leaf length claimed.
        leaf: LeafLen,
        /// Offset in the file claimed.
        base_offset: u64,
        /// Length claimed.
        data_len_bytes: u64,
    },
    /// The code has no such shard, or the block stores nothing in it.
    #[error("shard {shard} of a block of {shape} with {data_len_bytes} bytes is never stored")]
    NoSuchShard {
        /// Position claimed.
        shard: ShardIndex,
        /// Shape claimed.
        shape: CodeShape,
        /// Length of the block claimed.
        data_len_bytes: u64,
    },
    /// A payload length other than the one that follows from the block.
    #[error("the frame claims a payload of {found_bytes} bytes, its shard has {expected_bytes}")]
    PayloadLen {
        /// Length that follows from the block.
        expected_bytes: u64,
        /// Length claimed.
        found_bytes: u64,
    },
    /// A stored length other than the payload length, although nothing was transformed.
    #[error("the frame claims to store {found_bytes} bytes for a plain payload of {expected_bytes}")]
    StoredLen {
        /// Payload length.
        expected_bytes: u64,
        /// Stored length claimed.
        found_bytes: u64,
    },
    /// A leaf count other than the one that follows from the block.
    #[error("the frame claims {found} leaves, its shard has {expected}")]
    LeafCount {
        /// Count that follows from the block.
        expected: u32,
        /// Count claimed.
        found: u32,
    },
    /// Lengths outside the bounds of a frame.
    #[error("no frame holds {payload_len_bytes} bytes in {leaf_count} leaves")]
    FrameLen {
        /// Payload length.
        payload_len_bytes: u64,
        /// Leaf count.
        leaf_count: u32,
    },
    /// A place where no frame of this length may begin.
    #[error(
        "no frame of {len_bytes} bytes begins at offset {offset}, which must be a multiple of {alignment_bytes} behind the extent header"
    )]
    FrameOffset {
        /// Offset in the extent claimed.
        offset: u64,
        /// Length of the frame with its padding.
        len_bytes: u64,
        /// Alignment of such a frame.
        alignment_bytes: u64,
    },
    /// A footer that belongs to another header.
    #[error("the frame footer has {field} {found}, its header {expected}")]
    Footer {
        /// What differs first.
        field: FooterField,
        /// Value of the header.
        expected: u64,
        /// Value of the footer.
        found: u64,
    },
    /// Slots are written in turn; this one stands in the other's place.
    #[error("the slot with sequence number {sequence} stands in the wrong half of its file")]
    SlotPlace {
        /// Sequence number found.
        sequence: u64,
    },
    /// Two intact slots of different volumes in one file.
    #[error(
        "one slot belongs to volume {first} of archive {first_archive}, the other to volume {second} of archive {second_archive}"
    )]
    SlotsDisagree {
        /// Archive in the first slot.
        first_archive: ArchiveId,
        /// Volume in the first slot.
        first: VolumeId,
        /// Archive in the second slot.
        second_archive: ArchiveId,
        /// Volume in the second slot.
        second: VolumeId,
    },
    /// A journal record longer than any.
    #[error("no journal record has a body of {found_bytes} bytes")]
    JournalBody {
        /// Length claimed.
        found_bytes: u32,
    },
    /// Epoch 0, or a first record with a predecessor, or a later one without.
    #[error("no journal record of epoch {epoch} has such a predecessor")]
    JournalEpoch {
        /// Epoch claimed.
        epoch: Epoch,
    },
    /// No copy, too many of them, or not in ascending order.
    #[error("no journal record is written to such a set of {count} copies")]
    JournalCopies {
        /// Number claimed.
        count: u8,
    },
    /// Neither slot of a volume can be read.
    #[error("neither slot of the volume is valid; the second: {second}")]
    NoValidSlot {
        /// What is wrong with the first.
        #[source]
        first: Box<FormatError>,
        /// What is wrong with the second.
        second: Box<FormatError>,
    },
}

impl FormatError {
    /// Says whether the bytes are intact and only too new for this version: they must be kept as they are, neither
    /// counted as damage nor repaired nor written over.
    pub const fn needs_newer_version(&self) -> bool {
        matches!(
            self,
            Self::NewerVersion { .. }
                | Self::UnknownKind { .. }
                | Self::UnknownTransform { .. }
                | Self::ReservedInUse { .. }
                | Self::UnsupportedFeature { .. }
        )
    }
}

/// An intact record that is not the one that was expected in its place: a misdirected or stale write, or a foreign file.
///
/// Names the first field that differs, in the order of the variants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[expect(
    missing_docs,
    reason = "every variant has what was expected and what was found"
)]
pub enum IdentityMismatch {
    /// Belongs to another archive.
    #[error("the record belongs to archive {found}, not {expected}")]
    Archive { expected: ArchiveId, found: ArchiveId },
    /// Belongs to another volume.
    #[error("the record belongs to volume {found}, not {expected}")]
    Volume { expected: VolumeId, found: VolumeId },
    /// Belongs to another extent.
    #[error("the record belongs to extent {found}, not {expected}")]
    Extent { expected: ExtentId, found: ExtentId },
    /// Belongs to another place of the extent, in bytes from its start.
    #[error("the frame belongs at offset {found}, not {expected}")]
    Offset { expected: u64, found: u64 },
    /// Belongs to another block.
    #[error("the frame belongs to block {found}, not {expected}")]
    Block { expected: BlockId, found: BlockId },
    /// Holds another shard of the block.
    #[error("the frame holds shard {found}, not {expected}")]
    Shard { expected: ShardIndex, found: ShardIndex },
}
