//! Extent headers: who an extent is (docs/format.md, section 3.2).
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used
)]

use super::{record::Reader, writer::Writer};
use crate::{
    error::{FormatError, IdentityMismatch, RecordKind},
    units::{ArchiveId, CommitId, ExtentId, LaneIndex, VolumeId},
};

/// Bytes of an extent header; the first frame may begin behind it.
pub const EXTENT_HEADER_LEN_BYTES: usize = 4096;

/// What makes an extent the one that was looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "each field is explained by its name and type")]
pub struct ExtentIdentity {
    pub archive: ArchiveId,
    pub volume: VolumeId,
    pub extent: ExtentId,
}

/// The first bytes of an extent, written once when it is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentHeader {
    /// Which extent this is.
    pub identity: ExtentIdentity,
    /// The lane that the extent was created for.
    pub lane: LaneIndex,
    /// The commit that created it.
    pub commit: CommitId,
}

impl ExtentHeader {
    /// Returns the bytes as they stand on disk.
    pub fn encode(&self) -> [u8; EXTENT_HEADER_LEN_BYTES] {
        let mut writer = Writer::begin(RecordKind::ExtentHeader);
        writer.put(self.lane.get().to_le_bytes());
        writer.reserve(4);
        writer.put(self.identity.archive.to_bytes());
        writer.put(self.identity.volume.to_bytes());
        writer.put(self.identity.extent.get().to_le_bytes());
        writer.put(self.commit.get().to_le_bytes());
        let bytes = writer.seal();
        debug_assert_eq!(
            ClaimedExtent::parse(&bytes),
            Ok(ClaimedExtent { header: *self }),
            "what is written must parse again"
        );
        bytes
    }
}

/// An intact extent header that nobody has compared with its place yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "a claim is worth nothing before it is checked"]
pub struct ClaimedExtent {
    header: ExtentHeader,
}

impl ClaimedExtent {
    /// Parses the first [`EXTENT_HEADER_LEN_BYTES`] of `bytes`.
    ///
    /// # Errors
    /// [`FormatError`] names what is wrong with the envelope or what is too new.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        let mut reader = Reader::open(RecordKind::ExtentHeader, bytes)?;
        let lane = LaneIndex::new(reader.u16()?);
        reader.reserved(4)?;
        let identity = ExtentIdentity {
            archive: ArchiveId::from_bytes(reader.take()?),
            volume: VolumeId::from_bytes(reader.take()?),
            extent: ExtentId::new(reader.u64()?),
        };
        let commit = CommitId::new(reader.u64()?);
        reader.finish()?;
        let header = ExtentHeader {
            identity,
            lane,
            commit,
        };
        Ok(Self { header })
    }

    /// Returns what the extent claims to be, for reports about extents that are not where they belong.
    pub const fn identity(&self) -> &ExtentIdentity {
        &self.header.identity
    }

    /// Believes the header if it belongs to the extent that was looked for.
    ///
    /// # Errors
    /// [`IdentityMismatch`] names the first difference.
    pub fn check(self, expected: &ExtentIdentity) -> Result<ExtentHeader, IdentityMismatch> {
        let found = self.header.identity;
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
        Ok(self.header)
    }
}
