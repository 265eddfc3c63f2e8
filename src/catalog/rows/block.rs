//! Rows of `file_blocks` and `blocks`, and the shards of a block, wherever they stand.

use serde::{Deserialize, Serialize};

use super::{ImpossibleField, ShapeRow, parse_leaf};
use crate::catalog::records::{BlockRecord, ShardRecord};
use crate::geometry::{BlockGeometry, BlockGeometryParts, FileLeaves};
use crate::merkle::ShardDigest;
use crate::units::{BlockId, BlockIndex, ExtentId, FileId};

/// `file_blocks`, by file id and position.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct FileBlockRow {
    pub(in crate::catalog) block: u64,
}

/// `blocks`, by block id.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct BlockRow {
    file: u64,
    index: u64,
    reference_count: u32,
    shape: ShapeRow,
    leaf_log2: u8,
    /// 1: a whole file of one leaf; 2: any other of a file; 3: outer parity.
    file_leaves: u8,
    base_offset: u64,
    data_len_bytes: u64,
    shards: ShardsRow,
}

impl BlockRow {
    pub(in crate::catalog) fn new(block: &BlockRecord) -> Self {
        Self {
            file: block.file.get(),
            index: block.index.get(),
            reference_count: block.reference_count,
            shape: ShapeRow::new(block.geometry.shape()),
            leaf_log2: block.geometry.leaf().log2(),
            file_leaves: match block.geometry.file_leaves() {
                FileLeaves::One => 1,
                FileLeaves::Many => 2,
                FileLeaves::OuterParity => 3,
            },
            base_offset: block.geometry.base_offset(),
            data_len_bytes: block.geometry.data_len_bytes(),
            shards: ShardsRow::new(block),
        }
    }

    pub(in crate::catalog) fn parse(self, id: BlockId) -> Result<BlockRecord, ImpossibleField> {
        let geometry = BlockGeometryParts {
            shape: self.shape.parse()?,
            leaf: parse_leaf(self.leaf_log2)?,
            file_leaves: match self.file_leaves {
                1 => FileLeaves::One,
                2 => FileLeaves::Many,
                3 => FileLeaves::OuterParity,
                _ => return Err(ImpossibleField("leaf count of the file")),
            },
            base_offset: self.base_offset,
            data_len_bytes: self.data_len_bytes,
        };
        let geometry =
            BlockGeometry::from_parts(geometry).map_err(|_error| ImpossibleField("block geometry"))?;
        if self.reference_count == 0 {
            return Err(ImpossibleField("reference count"));
        }
        Ok(BlockRecord {
            id,
            file: FileId::new(self.file),
            index: BlockIndex::new(self.index),
            reference_count: self.reference_count,
            geometry,
            shards: self.shards.parse(&geometry)?,
        })
    }
}

/// The shards of a block; which of them there are follows from its geometry.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct ShardsRow {
    /// One for every shard that is stored, in shard order.
    pub(super) places: Vec<PlaceRow>,
    /// The same again; of a replicated block only one, since its shards are alike.
    pub(super) frames: Vec<FrameRow>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PlaceRow {
    pub(super) extent: u64,
    pub(super) offset: u64,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct FrameRow {
    pub(super) len_bytes: u64,
    pub(super) digest: [u8; 32],
}

impl ShardsRow {
    pub(super) fn new(block: &BlockRecord) -> Self {
        let stored = || block.shards.iter().flatten();
        let places = stored().map(|shard| PlaceRow {
            extent: shard.extent.get(),
            offset: shard.offset,
        });
        let frames = stored().take(frame_count(&block.geometry)).map(|shard| FrameRow {
            len_bytes: shard.frame_len_bytes,
            digest: shard.digest.to_bytes(),
        });
        Self {
            places: places.collect(),
            frames: frames.collect(),
        }
    }

    pub(super) fn parse(self, geometry: &BlockGeometry) -> Result<Vec<Option<ShardRecord>>, ImpossibleField> {
        let wrong = ImpossibleField("list of shards");
        if self.frames.len() != frame_count(geometry).min(self.places.len()) {
            return Err(wrong);
        }
        let mut places = self.places.into_iter();
        let last_frame = *self.frames.last().ok_or(wrong)?;
        let mut frames = self.frames.into_iter();
        let shards = geometry.shards().map(|index| {
            if !geometry.is_present(index) {
                return Ok(None);
            }
            let place = places.next().ok_or(wrong)?;
            let frame = frames.next().unwrap_or(last_frame);
            Ok(Some(ShardRecord {
                extent: ExtentId::new(place.extent),
                offset: place.offset,
                frame_len_bytes: frame.len_bytes,
                digest: ShardDigest::from_bytes(frame.digest),
            }))
        });
        let shards: Vec<Option<ShardRecord>> = shards.collect::<Result<_, _>>()?;
        if places.next().is_some() || !are_the_right_shards(geometry, &shards) {
            return Err(wrong);
        }
        Ok(shards)
    }
}

/// Says whether exactly the shards that the geometry stores are there, each in a place that can exist, and the shards of a
/// replicated block with one length and digest.
pub(in crate::catalog) fn are_the_right_shards(
    geometry: &BlockGeometry,
    shards: &[Option<ShardRecord>],
) -> bool {
    let is_right = |(index, shard): (_, &Option<ShardRecord>)| match shard {
        Some(shard) => {
            geometry.is_present(index)
                && shard.frame_len_bytes > 0
                && shard.offset.checked_add(shard.frame_len_bytes).is_some()
        }
        None => !geometry.is_present(index),
    };
    let frame = |shard: &ShardRecord| (shard.frame_len_bytes, shard.digest);
    let mut frames = shards.iter().flatten().map(frame);
    let first = frames.next();
    shards.len() == usize::from(geometry.shape().total())
        && geometry.shards().zip(shards).all(is_right)
        && (!geometry.shape().is_replication() || frames.all(|frame| Some(frame) == first))
}

/// Returns how many frames are described at most.
fn frame_count(geometry: &BlockGeometry) -> usize {
    if geometry.shape().is_replication() {
        1
    } else {
        usize::from(geometry.shape().total())
    }
}
