//! An entry with its blocks as it stands in a descriptor: what the rows say, in fields of fixed length.
//!
//! So how long a descriptor is follows from names and geometries alone, and room for it can be reserved before the first byte
//! of its files is written, digested or placed.

use serde::{Deserialize, Serialize};

use super::block::{FrameRow, PlaceRow, ShardsRow};
use super::file::{FileGeometryRow, FileRow, InlineBlockRow};
use super::{ImpossibleField, ShapeRow, TimeRow};
use crate::catalog::records::{BlockRecord, EntryKind, FileRecord};
use crate::geometry::FileGeometry;
use crate::units::{BlockId, BlockIndex, FileId, FileName, to_u64};

/// Bytes of an entry beside its name, its target, their counts and its blocks.
const FIXED_LEN_BYTES: u64 = 8 + 1 + 4 + 2 * 12 + 4 + 8 + GEOMETRY_LEN_BYTES + 32 + 8;

const GEOMETRY_LEN_BYTES: u64 = 8 + 1 + 4 + 1 + 8 + 8 + 4 + 4 + 8 + 2;

/// Bytes of a block beside the list of its shards.
const BLOCK_LEN_BYTES: u64 = 8 + 4;

const PLACE_LEN_BYTES: u64 = 8 + 8;
const FRAME_LEN_BYTES: u64 = 8 + 32;

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct EntryRow {
    #[serde(with = "postcard::fixint::le")]
    id: u64,
    name: Vec<u8>,
    kind: u8,
    target: Vec<u8>,
    #[serde(with = "postcard::fixint::le")]
    mode: u32,
    modified_at: FixedTime,
    committed_at: FixedTime,
    #[serde(with = "postcard::fixint::le")]
    version: u32,
    #[serde(with = "postcard::fixint::le")]
    commit: u64,
    geometry: FixedGeometry,
    root: [u8; 32],
    #[serde(with = "postcard::fixint::le")]
    stored_bytes: u64,
    blocks: Vec<EntryBlock>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FixedTime {
    #[serde(with = "postcard::fixint::le")]
    seconds: i64,
    #[serde(with = "postcard::fixint::le")]
    nanoseconds: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct FixedGeometry {
    #[serde(with = "postcard::fixint::le")]
    len_bytes: u64,
    tier: u8,
    #[serde(with = "postcard::fixint::le")]
    data: u16,
    #[serde(with = "postcard::fixint::le")]
    parity: u16,
    leaf_log2: u8,
    #[serde(with = "postcard::fixint::le")]
    data_blocks: u64,
    #[serde(with = "postcard::fixint::le")]
    long_blocks: u64,
    #[serde(with = "postcard::fixint::le")]
    long_columns: u32,
    #[serde(with = "postcard::fixint::le")]
    short_columns: u32,
    #[serde(with = "postcard::fixint::le")]
    group_count: u64,
    #[serde(with = "postcard::fixint::le")]
    outer_parity: u16,
}

#[derive(Debug, Serialize, Deserialize)]
struct EntryBlock {
    #[serde(with = "postcard::fixint::le")]
    id: u64,
    #[serde(with = "postcard::fixint::le")]
    reference_count: u32,
    places: Vec<FixedPlace>,
    frames: Vec<FixedFrame>,
}

#[derive(Debug, Serialize, Deserialize)]
struct FixedPlace {
    #[serde(with = "postcard::fixint::le")]
    extent: u64,
    #[serde(with = "postcard::fixint::le")]
    offset: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct FixedFrame {
    #[serde(with = "postcard::fixint::le")]
    len_bytes: u64,
    digest: [u8; 32],
}

impl EntryRow {
    /// Makes the row of an entry and its blocks, which are those that its geometry asks for.
    pub(in crate::catalog) fn new(file: &FileRecord, blocks: &[BlockRecord]) -> Self {
        let row = FileRow::new(file, None);
        Self {
            id: file.id.get(),
            name: row.name,
            kind: row.kind,
            target: row.target,
            mode: row.mode,
            modified_at: FixedTime::new(row.modified_at),
            committed_at: FixedTime::new(row.committed_at),
            version: row.version,
            commit: row.commit,
            geometry: FixedGeometry::new(&row.geometry),
            root: row.root,
            stored_bytes: row.stored_bytes,
            blocks: blocks.iter().map(EntryBlock::new).collect(),
        }
    }

    pub(in crate::catalog) fn parse(self) -> Result<(FileRecord, Vec<BlockRecord>), ImpossibleField> {
        let id = FileId::new(self.id);
        if Some(to_u64(self.blocks.len())) != self.geometry.block_count() {
            return Err(ImpossibleField("count of blocks"));
        }
        let mut blocks = self.blocks;
        // The only block of a file stands in its row, which says so itself.
        let inline_block = match blocks.as_slice() {
            [only] if only.reference_count != 1 => return Err(ImpossibleField("reference count")),
            [_] => blocks.pop().map(EntryBlock::into_inline),
            _ => None,
        };
        let row = FileRow {
            name: self.name,
            kind: self.kind,
            target: self.target,
            mode: self.mode,
            modified_at: self.modified_at.into_row(),
            committed_at: self.committed_at.into_row(),
            version: self.version,
            is_kept: false,
            commit: self.commit,
            geometry: self.geometry.into_row(),
            root: self.root,
            stored_bytes: self.stored_bytes,
            inline_block,
        };
        let (file, inline_block) = row.parse(id)?;
        let others = blocks.into_iter().zip(0..);
        let others = others.map(|(block, index)| block.parse(&file, BlockIndex::new(index)));
        let blocks = inline_block.map(Ok).into_iter().chain(others);
        let blocks = blocks.collect::<Result<_, ImpossibleField>>()?;
        Ok((file, blocks))
    }

    /// Returns how long the row of such an entry is.
    pub(in crate::catalog) fn len_bytes(name: &FileName, kind: &EntryKind, geometry: &FileGeometry) -> u64 {
        let is_replication = geometry.shape().is_replication();
        let list = |count: u64, each: u64| varint_len_bytes(count) + count * each;
        let blocks = geometry.blocks().map(|block| {
            let places = block.shards().filter(|&shard| block.is_present(shard)).count();
            let places = to_u64(places);
            let frames = if is_replication { 1 } else { places };
            BLOCK_LEN_BYTES + list(places, PLACE_LEN_BYTES) + list(frames, FRAME_LEN_BYTES)
        });
        FIXED_LEN_BYTES
            + list(to_u64(name.as_bytes().len()), 1)
            + list(kind.target_len_bytes(), 1)
            + varint_len_bytes(geometry.block_count())
            + blocks.sum::<u64>()
    }
}

impl FixedTime {
    const fn new(row: TimeRow) -> Self {
        Self {
            seconds: row.seconds,
            nanoseconds: row.nanoseconds,
        }
    }

    const fn into_row(self) -> TimeRow {
        TimeRow {
            seconds: self.seconds,
            nanoseconds: self.nanoseconds,
        }
    }
}

impl FixedGeometry {
    const fn new(row: &FileGeometryRow) -> Self {
        Self {
            len_bytes: row.len_bytes,
            tier: row.tier,
            data: row.shape.data,
            parity: row.shape.parity,
            leaf_log2: row.leaf_log2,
            data_blocks: row.data_blocks,
            long_blocks: row.long_blocks,
            long_columns: row.long_columns,
            short_columns: row.short_columns,
            group_count: row.group_count,
            outer_parity: row.outer_parity,
        }
    }

    /// Returns how many blocks are stored, outer parity among them, or `None` where that is no number.
    fn block_count(&self) -> Option<u64> {
        let outer = self.group_count.checked_mul(u64::from(self.outer_parity))?;
        self.data_blocks.checked_add(outer)
    }

    const fn into_row(self) -> FileGeometryRow {
        FileGeometryRow {
            len_bytes: self.len_bytes,
            tier: self.tier,
            shape: ShapeRow {
                data: self.data,
                parity: self.parity,
            },
            leaf_log2: self.leaf_log2,
            data_blocks: self.data_blocks,
            long_blocks: self.long_blocks,
            long_columns: self.long_columns,
            short_columns: self.short_columns,
            group_count: self.group_count,
            outer_parity: self.outer_parity,
        }
    }
}

impl EntryBlock {
    fn new(block: &BlockRecord) -> Self {
        let shards = ShardsRow::new(block);
        let place = |place: PlaceRow| FixedPlace {
            extent: place.extent,
            offset: place.offset,
        };
        let frame = |frame: FrameRow| FixedFrame {
            len_bytes: frame.len_bytes,
            digest: frame.digest,
        };
        Self {
            id: block.id.get(),
            reference_count: block.reference_count,
            places: shards.places.into_iter().map(place).collect(),
            frames: shards.frames.into_iter().map(frame).collect(),
        }
    }

    fn into_inline(self) -> InlineBlockRow {
        InlineBlockRow {
            id: self.id,
            shards: Self::shards(self.places, self.frames),
        }
    }

    fn parse(self, file: &FileRecord, index: BlockIndex) -> Result<BlockRecord, ImpossibleField> {
        if self.reference_count == 0 {
            return Err(ImpossibleField("reference count"));
        }
        let geometry = file.geometry.block(index);
        Ok(BlockRecord {
            id: BlockId::new(self.id),
            file: file.id,
            index,
            reference_count: self.reference_count,
            geometry,
            shards: Self::shards(self.places, self.frames).parse(&geometry)?,
        })
    }

    fn shards(places: Vec<FixedPlace>, frames: Vec<FixedFrame>) -> ShardsRow {
        let place = |place: FixedPlace| PlaceRow {
            extent: place.extent,
            offset: place.offset,
        };
        let frame = |frame: FixedFrame| FrameRow {
            len_bytes: frame.len_bytes,
            digest: frame.digest,
        };
        ShardsRow {
            places: places.into_iter().map(place).collect(),
            frames: frames.into_iter().map(frame).collect(),
        }
    }
}

/// Returns how many bytes a count takes in front of a list: seven bits in each.
pub(in crate::catalog) const fn varint_len_bytes(count: u64) -> u64 {
    let mut len = 1;
    let mut rest = count >> 7;
    while rest > 0 {
        len += 1;
        rest >>= 7;
    }
    len
}
