//! Frame footers: the last bytes that a complete frame has (docs/format.md, section 4.2).
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used
)]

use super::{FrameHeader, record::Reader, writer::Writer};
use crate::{
    error::{FooterField, FormatError, RecordKind},
    units::{BlockId, ShardIndex},
};

/// Bytes of a frame footer.
pub const FRAME_FOOTER_LEN_BYTES: usize = 64;

/// The end of a frame, which repeats enough of the header to show that both were written together, and where the frame
/// begins if the header is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameFooter {
    block: BlockId,
    shard: ShardIndex,
    content_len_bytes: u64,
    header_crc: u32,
}

impl FrameFooter {
    /// Returns the footer that belongs to `header`.
    pub fn of(header: &FrameHeader) -> Self {
        let [.., a, b, c, d] = header.encode();
        Self {
            block: header.identity().block,
            shard: header.identity().shard,
            content_len_bytes: header.layout().content_len_bytes(),
            header_crc: u32::from_le_bytes([a, b, c, d]),
        }
    }

    /// Returns the bytes as they stand on disk.
    pub fn encode(&self) -> [u8; FRAME_FOOTER_LEN_BYTES] {
        let mut writer = Writer::begin(RecordKind::FrameFooter);
        writer.put(self.shard.get().to_le_bytes());
        writer.put(self.header_crc.to_le_bytes());
        writer.put(self.block.get().to_le_bytes());
        writer.put(self.content_len_bytes.to_le_bytes());
        let bytes = writer.seal();
        debug_assert_eq!(Self::parse(&bytes), Ok(*self), "what is written must parse again");
        bytes
    }

    /// Parses the first [`FRAME_FOOTER_LEN_BYTES`] of `bytes`, for a search that has no header.
    ///
    /// # Errors
    /// [`FormatError`] names what is wrong with the envelope or what is too new.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::open(RecordKind::FrameFooter, bytes)?;
        let shard = ShardIndex::new(reader.u16()?);
        let header_crc = reader.u32()?;
        let block = BlockId::new(reader.u64()?);
        let content_len_bytes = reader.u64()?;
        reader.finish()?;
        Ok(Self {
            block,
            shard,
            content_len_bytes,
            header_crc,
        })
    }

    /// Checks that `bytes` are the footer of `header`: the frame was written to its end.
    ///
    /// # Errors
    /// What [`Self::parse`] says, and [`FormatError::Footer`] for a footer that belongs to another header.
    pub fn check(bytes: &[u8], header: &FrameHeader) -> Result<(), FormatError> {
        let (found, expected) = (Self::parse(bytes)?, Self::of(header));
        let fields = [
            (FooterField::Block, expected.block.get(), found.block.get()),
            (
                FooterField::Shard,
                expected.shard.get().into(),
                found.shard.get().into(),
            ),
            (
                FooterField::ContentLen,
                expected.content_len_bytes,
                found.content_len_bytes,
            ),
            (
                FooterField::HeaderCrc,
                expected.header_crc.into(),
                found.header_crc.into(),
            ),
        ];
        for (field, expected, found) in fields {
            if found != expected {
                return Err(FormatError::Footer {
                    field,
                    expected,
                    found,
                });
            }
        }
        Ok(())
    }

    /// Returns the block that the frame belongs to.
    pub const fn block(&self) -> BlockId {
        self.block
    }

    /// Returns the shard that the frame holds.
    pub const fn shard(&self) -> ShardIndex {
        self.shard
    }

    /// Returns the bytes from the start of the frame to the end of this footer: where to look for the header.
    pub const fn content_len_bytes(&self) -> u64 {
        self.content_len_bytes
    }

    /// Returns the checksum that ends the header.
    pub const fn header_crc(&self) -> u32 {
        self.header_crc
    }
}
