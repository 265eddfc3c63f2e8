//! Frame headers: who a frame is (docs/format.md, section 4.1).
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used
)]

use super::{FrameLayout, record::Reader, writer::Writer};
use crate::{
    error::{FormatError, IdentityMismatch, RecordKind},
    geometry::{BlockGeometry, BlockGeometryParts, FileLeaves},
    merkle::ShardDigest,
    units::{ArchiveId, BlockId, CodeShape, CommitId, ExtentId, LeafLen, ShardIndex, VolumeId},
};

/// Bytes of a frame header.
pub const FRAME_HEADER_LEN_BYTES: usize = 192;

/// Number of the only form in which a payload is stored: as it is.
const TRANSFORM_NONE: u32 = 0;

const FILE_LEAVES_ONE: u8 = 1;
const FILE_LEAVES_MANY: u8 = 2;
const FILE_LEAVES_OUTER_PARITY: u8 = 3;

/// What the block of a frame holds; 3 (checkpoint) is reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// Bytes of a file.
    File,
    /// What the catalog knows of the files of one commit.
    Descriptor,
}

/// Where a frame stands, which is part of what it says about itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each field is explained by its name and type")]
pub struct FramePlace {
    pub archive: ArchiveId,
    pub volume: VolumeId,
    pub extent: ExtentId,
    /// Bytes from the start of the extent.
    pub offset: u64,
}

/// What makes a frame the one that was looked for: where it stands and which shard it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each field is explained by its name and type")]
pub struct FrameIdentity {
    pub archive: ArchiveId,
    pub volume: VolumeId,
    pub extent: ExtentId,
    /// Bytes from the start of the extent.
    pub offset: u64,
    pub block: BlockId,
    pub shard: ShardIndex,
}

impl FrameKind {
    const fn number(self) -> u8 {
        match self {
            Self::File => 1,
            Self::Descriptor => 2,
        }
    }

    const fn of_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::File),
            2 => Some(Self::Descriptor),
            _ => None,
        }
    }
}

impl FrameIdentity {
    /// Returns where the frame stands.
    pub const fn place(&self) -> FramePlace {
        FramePlace {
            archive: self.archive,
            volume: self.volume,
            extent: self.extent,
            offset: self.offset,
        }
    }
}

/// Everything a frame says about itself and its shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameHeader {
    kind: FrameKind,
    identity: FrameIdentity,
    commit: CommitId,
    block: BlockGeometry,
    digest: ShardDigest,
    layout: FrameLayout,
}

impl FrameHeader {
    /// Describes the frame that holds shard `identity.shard` of a block.
    ///
    /// # Panics
    /// When the block stores no such shard, or when a frame of its length cannot begin at that offset: both come from
    /// a plan.
    pub fn of_shard(
        kind: FrameKind,
        identity: FrameIdentity,
        commit: CommitId,
        block: BlockGeometry,
        digest: ShardDigest,
    ) -> Self {
        let layout = FrameLayout::of_shard(&block, identity.shard);
        assert!(layout.is_some(), "shard {} is stored", identity.shard);
        #[expect(clippy::expect_used, reason = "asserted, and nothing here came from disk")]
        let layout = layout.expect("the shard is stored");
        assert!(
            layout.may_begin_at(identity.offset),
            "a frame of {} bytes may begin at offset {}",
            layout.total_len_bytes(),
            identity.offset
        );
        Self {
            kind,
            identity,
            commit,
            block,
            digest,
            layout,
        }
    }

    /// Returns the bytes as they stand on disk.
    pub fn encode(&self) -> [u8; FRAME_HEADER_LEN_BYTES] {
        let (identity, block) = (&self.identity, self.block.parts());
        let mut writer = Writer::begin(RecordKind::FrameHeader);
        writer.put([self.kind.number(), block.leaf.log2()]);
        writer.put(identity.shard.get().to_le_bytes());
        writer.put([match block.file_leaves {
            FileLeaves::One => FILE_LEAVES_ONE,
            FileLeaves::Many => FILE_LEAVES_MANY,
            FileLeaves::OuterParity => FILE_LEAVES_OUTER_PARITY,
        }]);
        writer.reserve(1);
        writer.put(identity.archive.to_bytes());
        writer.put(identity.volume.to_bytes());
        writer.put(identity.extent.get().to_le_bytes());
        writer.put(identity.offset.to_le_bytes());
        writer.put(self.commit.get().to_le_bytes());
        writer.put(identity.block.get().to_le_bytes());
        writer.put(block.shape.data().to_le_bytes());
        writer.put(block.shape.parity().to_le_bytes());
        writer.put(self.layout.leaf_count().to_le_bytes());
        writer.put(block.base_offset.to_le_bytes());
        writer.put(block.data_len_bytes.to_le_bytes());
        writer.put(self.payload_len_bytes().to_le_bytes());
        writer.put(self.payload_len_bytes().to_le_bytes());
        writer.put(TRANSFORM_NONE.to_le_bytes());
        writer.reserve(4);
        writer.put(self.digest.to_bytes());
        let bytes = writer.seal();
        debug_assert_eq!(
            ClaimedFrame::parse(&bytes),
            Ok(ClaimedFrame { header: *self }),
            "what is written must parse again"
        );
        bytes
    }

    /// Returns what the block holds.
    pub const fn kind(&self) -> FrameKind {
        self.kind
    }

    /// Returns where the frame stands and which shard it holds.
    pub const fn identity(&self) -> &FrameIdentity {
        &self.identity
    }

    /// Returns the commit that wrote the frame.
    pub const fn commit(&self) -> CommitId {
        self.commit
    }

    /// Returns the block that the shard belongs to.
    pub const fn block(&self) -> &BlockGeometry {
        &self.block
    }

    /// Returns the digest over the leaf hashes of the shard.
    pub const fn digest(&self) -> ShardDigest {
        self.digest
    }

    /// Returns where the parts of the frame lie.
    pub const fn layout(&self) -> &FrameLayout {
        &self.layout
    }

    /// Returns the length of the shard in bytes.
    pub const fn payload_len_bytes(&self) -> u64 {
        self.layout.payload().len()
    }
}

/// An intact frame header that nobody has compared with its place yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a claim is worth nothing before it is checked"]
pub struct ClaimedFrame {
    header: FrameHeader,
}

impl ClaimedFrame {
    /// Parses the first [`FRAME_HEADER_LEN_BYTES`] of `bytes`.
    ///
    /// # Errors
    /// [`FormatError`] names the first thing that is wrong: the envelope, then what is too new, then what contradicts
    /// itself.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::open(RecordKind::FrameHeader, bytes)?;
        let kind = reader.u8()?;
        let kind = FrameKind::of_number(kind).ok_or(FormatError::UnknownKind { kind })?;
        let leaf_log2 = reader.u8()?;
        let shard = ShardIndex::new(reader.u16()?);
        let file_leaves = reader.u8()?;
        reader.reserved(1)?;
        let place = FramePlace {
            archive: ArchiveId::from_bytes(reader.take()?),
            volume: VolumeId::from_bytes(reader.take()?),
            extent: ExtentId::new(reader.u64()?),
            offset: reader.u64()?,
        };
        let commit = CommitId::new(reader.u64()?);
        let block_id = BlockId::new(reader.u64()?);
        let shape = CodeShape::new(reader.u16()?, reader.u16()?);
        let leaf_count = reader.u32()?;
        let (base_offset, data_len_bytes) = (reader.u64()?, reader.u64()?);
        let (payload_len_bytes, stored_len_bytes) = (reader.u64()?, reader.u64()?);
        let transform = reader.u32()?;
        reader.reserved(4)?;
        let digest = ShardDigest::from_bytes(reader.take()?);
        reader.finish()?;
        if transform != TRANSFORM_NONE {
            return Err(FormatError::UnknownTransform { transform });
        }

        let block = block(BlockGeometryParts {
            shape: shape.map_err(|source| FormatError::Shape { source })?,
            leaf: LeafLen::from_log2(leaf_log2).ok_or(FormatError::LeafLen { log2: leaf_log2 })?,
            file_leaves: match file_leaves {
                FILE_LEAVES_ONE => FileLeaves::One,
                FILE_LEAVES_MANY => FileLeaves::Many,
                FILE_LEAVES_OUTER_PARITY => FileLeaves::OuterParity,
                number => return Err(FormatError::FileLeaves { number }),
            },
            base_offset,
            data_len_bytes,
        })?;
        let layout = layout(&block, shard, place.offset)?;
        check_lengths(&layout, leaf_count, payload_len_bytes, stored_len_bytes)?;
        let identity = FrameIdentity {
            archive: place.archive,
            volume: place.volume,
            extent: place.extent,
            offset: place.offset,
            block: block_id,
            shard,
        };
        let header = FrameHeader {
            kind,
            identity,
            commit,
            block,
            digest,
            layout,
        };
        Ok(Self { header })
    }

    /// Returns what the frame claims to be, for reports about frames that are not where they belong.
    pub const fn identity(&self) -> &FrameIdentity {
        &self.header.identity
    }

    /// Believes the frame if it stands where it says and holds the shard that was looked for.
    ///
    /// # Errors
    /// [`IdentityMismatch`] names the first difference.
    pub fn check(self, expected: &FrameIdentity) -> Result<Frame, IdentityMismatch> {
        let frame = self.check_place(&expected.place())?;
        let found = *frame.header.identity();
        if found.block != expected.block {
            return Err(IdentityMismatch::Block {
                expected: expected.block,
                found: found.block,
            });
        }
        if found.shard != expected.shard {
            return Err(IdentityMismatch::Shard {
                expected: expected.shard,
                found: found.shard,
            });
        }
        Ok(frame)
    }

    /// Believes the frame if it stands where it says, for a scan that does not know what to expect there.
    ///
    /// A copy of a frame elsewhere, in the payload of a stored archive for example, does not pass.
    ///
    /// # Errors
    /// [`IdentityMismatch`] names the first difference.
    pub fn check_place(self, expected: &FramePlace) -> Result<Frame, IdentityMismatch> {
        let found = self.header.identity.place();
        if found.archive != expected.archive {
            return Err(IdentityMismatch::Archive {
                expected: expected.archive,
                found: found.archive,
            });
        }
        if found.volume != expected.volume {
            return Err(IdentityMismatch::Volume {
                expected: expected.volume,
                found: found.volume,
            });
        }
        if found.extent != expected.extent {
            return Err(IdentityMismatch::Extent {
                expected: expected.extent,
                found: found.extent,
            });
        }
        if found.offset != expected.offset {
            return Err(IdentityMismatch::Offset {
                expected: expected.offset,
                found: found.offset,
            });
        }
        Ok(Frame { header: self.header })
    }
}

/// A frame that is intact and stands where it belongs. Its payload is still to be verified leaf by leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    header: FrameHeader,
}

impl Frame {
    /// Returns the header.
    pub const fn header(&self) -> &FrameHeader {
        &self.header
    }

    /// Returns the block that the shard belongs to.
    pub const fn block(&self) -> &BlockGeometry {
        &self.header.block
    }

    /// Returns where the parts of the frame lie.
    pub const fn layout(&self) -> &FrameLayout {
        &self.header.layout
    }
}

fn block(parts: BlockGeometryParts) -> Result<BlockGeometry, FormatError> {
    BlockGeometry::from_parts(parts).or(Err(FormatError::Geometry {
        shape: parts.shape,
        leaf: parts.leaf,
        base_offset: parts.base_offset,
        data_len_bytes: parts.data_len_bytes,
    }))
}

fn layout(block: &BlockGeometry, shard: ShardIndex, offset: u64) -> Result<FrameLayout, FormatError> {
    let layout = FrameLayout::of_shard(block, shard).ok_or(FormatError::NoSuchShard {
        shard,
        shape: block.shape(),
        data_len_bytes: block.data_len_bytes(),
    })?;
    if layout.may_begin_at(offset) {
        Ok(layout)
    } else {
        Err(FormatError::FrameOffset {
            offset,
            len_bytes: layout.total_len_bytes(),
            alignment_bytes: layout.alignment_bytes(),
        })
    }
}

/// The lengths follow from the block; a frame repeats them so that a reader which gets them wrong is found out.
fn check_lengths(
    layout: &FrameLayout,
    leaf_count: u32,
    payload_len_bytes: u64,
    stored_len_bytes: u64,
) -> Result<(), FormatError> {
    let expected_bytes = layout.payload().len();
    if payload_len_bytes != expected_bytes {
        return Err(FormatError::PayloadLen {
            expected_bytes,
            found_bytes: payload_len_bytes,
        });
    }
    if stored_len_bytes != expected_bytes {
        return Err(FormatError::StoredLen {
            expected_bytes,
            found_bytes: stored_len_bytes,
        });
    }
    if leaf_count != layout.leaf_count() {
        return Err(FormatError::LeafCount {
            expected: layout.leaf_count(),
            found: leaf_count,
        });
    }
    Ok(())
}
