//! Bytes against docs/format.md, and parsers against everything that is not what they look for.

mod code;
mod document;
mod frames;
mod journal;
mod layout;
mod records;
mod slots;

use super::{
    ClaimedExtent, ClaimedFrame, ExtentHeader, ExtentIdentity, Features, FrameFooter, FrameHeader,
    FrameIdentity, FrameKind, JournalHeader, JournalSegment, SegmentPlace, SegmentSet, VolumeSlot,
};
use crate::{
    error::FormatError,
    geometry::{BlockGeometry, BlockGeometryParts, FileLeaves},
    merkle::{ChainHash, ShardDigest},
    units::{
        ArchiveId, BlockId, CodeShape, CommitId, Epoch, ExtentId, LaneIndex, LeafLen, ShardIndex, VolumeId,
    },
};

/// `N` bytes that count up from `first`: the fields of the examples.
fn counting<const N: usize>(first: u8) -> [u8; N] {
    let mut next = first;
    [(); N].map(|()| {
        let byte = next;
        next = next.wrapping_add(1);
        byte
    })
}

/// The block of the examples in section 10: 3048 bytes in RS(2,1) with leaves of 1 KiB.
fn example_block() -> BlockGeometry {
    BlockGeometry::from_parts(BlockGeometryParts {
        shape: CodeShape::new(2, 1).expect("shape"),
        leaf: LeafLen::from_log2(10).expect("1 KiB"),
        file_leaves: FileLeaves::Many,
        base_offset: 4096,
        data_len_bytes: 3048,
    })
    .expect("a block")
}

fn example_identity() -> FrameIdentity {
    FrameIdentity {
        archive: ArchiveId::from_bytes(counting(0xa0)),
        volume: VolumeId::from_bytes(counting(0xb0)),
        extent: ExtentId::new(7),
        offset: 8192,
        block: BlockId::new(11),
        shard: ShardIndex::new(2),
    }
}

fn example_header() -> FrameHeader {
    FrameHeader::of_shard(
        FrameKind::File,
        example_identity(),
        CommitId::new(9),
        example_block(),
        ShardDigest::from_bytes(counting(0xc0)),
    )
}

fn example_extent() -> ExtentHeader {
    let FrameIdentity {
        archive,
        volume,
        extent,
        ..
    } = example_identity();
    ExtentHeader {
        identity: ExtentIdentity {
            archive,
            volume,
            extent,
        },
        lane: LaneIndex::new(3),
        commit: CommitId::new(5),
    }
}

fn example_slot() -> VolumeSlot {
    VolumeSlot {
        archive: example_identity().archive,
        volume: example_identity().volume,
        sequence: 13,
        epoch: Epoch::new(6),
        chain_hash: counting(0xe0),
        features: Features::NONE,
    }
}

fn example_segment() -> JournalSegment {
    JournalSegment {
        archive: example_identity().archive,
        volume_id: example_identity().volume,
        place: example_places()[0],
    }
}

fn example_places() -> [SegmentPlace; 2] {
    [(1, 2, 9), (3, 0, 2)].map(|(volume, copy, segment)| SegmentPlace {
        volume,
        copy,
        segment,
    })
}

fn example_journal_header() -> JournalHeader {
    JournalHeader {
        archive: example_identity().archive,
        epoch: Epoch::new(6),
        previous: ChainHash::from_bytes(counting(0xe0)),
        hash: ChainHash::from_bytes(counting(0xc0)),
        body_len_bytes: 300,
        copies: SegmentSet::new(&example_places()).expect("two copies"),
    }
}

/// A record as the tests of all records see it: an example, and what parsing and encoding again makes of bytes.
struct Record {
    name: &'static str,
    example: Vec<u8>,
    /// Parses and encodes again: what a parser accepts is exactly what an encoder writes.
    rewrite: fn(&[u8]) -> Result<Vec<u8>, FormatError>,
}

fn records() -> [Record; 6] {
    [
        Record {
            name: "FrameHeader",
            example: example_header().encode().to_vec(),
            rewrite: |bytes| {
                let claimed = ClaimedFrame::parse(bytes)?;
                let identity = *claimed.identity();
                let frame = claimed.check(&identity).expect("it is what it claims");
                Ok(frame.header().encode().to_vec())
            },
        },
        Record {
            name: "FrameFooter",
            example: FrameFooter::of(&example_header()).encode().to_vec(),
            rewrite: |bytes| FrameFooter::parse(bytes).map(|footer| footer.encode().to_vec()),
        },
        Record {
            name: "ExtentHeader",
            example: example_extent().encode().to_vec(),
            rewrite: |bytes| {
                let claimed = ClaimedExtent::parse(bytes)?;
                let identity = *claimed.identity();
                let header = claimed.check(&identity).expect("it is what it claims");
                Ok(header.encode().to_vec())
            },
        },
        Record {
            name: "VolumeSlot",
            example: example_slot().encode().to_vec(),
            rewrite: |bytes| VolumeSlot::parse(bytes).map(|slot| slot.encode().to_vec()),
        },
        Record {
            name: "JournalSegment",
            example: example_segment().encode().to_vec(),
            rewrite: |bytes| JournalSegment::parse(bytes).map(|segment| segment.encode().to_vec()),
        },
        Record {
            name: "JournalRecord",
            example: example_journal_header().encode().to_vec(),
            rewrite: |bytes| JournalHeader::parse(bytes).map(|header| header.encode().to_vec()),
        },
    ]
}

/// Replaces bytes of a record and makes its checksum right again, as a later version or a forger would.
fn forge(record: &[u8], offset: usize, field: &[u8]) -> Vec<u8> {
    let mut bytes = record.to_vec();
    bytes[offset..offset + field.len()].copy_from_slice(field);
    let body_len = bytes.len() - 4;
    let crc = crc32fast::hash(&bytes[..body_len]);
    bytes[body_len..].copy_from_slice(&crc.to_le_bytes());
    bytes
}
