//! Rows of `files`, `names`, `file_blocks` and `blocks`.

use serde::{Deserialize, Serialize};

use super::{ImpossibleField, ShapeRow, TimeRow, parse_leaf};
use crate::catalog::records::{BlockRecord, EntryKind, FileRecord, ShardRecord};
use crate::geometry::{BlockGeometry, BlockGeometryParts, FileGeometry, FileGeometryParts, FileLeaves, Tier};
use crate::merkle::{RootHash, ShardDigest};
use crate::units::{BlockId, BlockIndex, CommitId, ExtentId, FileId, FileName};

/// `files`, by file id.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct FileRow {
    name: Vec<u8>,
    mode: u32,
    modified_at: TimeRow,
    committed_at: TimeRow,
    version: u32,
    commit: u64,
    geometry: FileGeometryRow,
    root: [u8; 32],
    stored_bytes: u64,
    /// The block of a file that has only one.
    inline_block: Option<InlineBlockRow>,
}

#[derive(Debug, Serialize, Deserialize)]
struct InlineBlockRow {
    id: u64,
    block: BlockRow,
}

#[derive(Debug, Serialize, Deserialize)]
struct FileGeometryRow {
    len_bytes: u64,
    tier: u8,
    shape: ShapeRow,
    leaf_log2: u8,
    block_count: u64,
    long_blocks: u64,
    long_columns: u32,
    short_columns: u32,
}

impl FileRow {
    pub(in crate::catalog) fn new(file: &FileRecord, inline_block: Option<&BlockRecord>) -> Self {
        let geometry = file.geometry.parts();
        Self {
            name: file.name.as_bytes().to_vec(),
            mode: file.mode,
            modified_at: TimeRow::new(file.modified_at),
            committed_at: TimeRow::new(file.committed_at),
            version: file.version,
            commit: file.commit.get(),
            geometry: FileGeometryRow {
                len_bytes: geometry.len_bytes,
                tier: geometry.tier.number(),
                shape: ShapeRow::new(geometry.shape),
                leaf_log2: geometry.leaf.log2(),
                block_count: geometry.block_count,
                long_blocks: geometry.long_blocks,
                long_columns: geometry.long_columns,
                short_columns: geometry.short_columns,
            },
            root: file.root.to_bytes(),
            stored_bytes: file.stored_bytes,
            inline_block: inline_block.map(|block| InlineBlockRow {
                id: block.id.get(),
                block: BlockRow::new(block),
            }),
        }
    }

    pub(in crate::catalog) fn parse(
        self,
        id: FileId,
    ) -> Result<(FileRecord, Option<BlockRecord>), ImpossibleField> {
        let geometry = FileGeometryParts {
            len_bytes: self.geometry.len_bytes,
            tier: Tier::from_number(self.geometry.tier).ok_or(ImpossibleField("tier"))?,
            shape: self.geometry.shape.parse()?,
            leaf: parse_leaf(self.geometry.leaf_log2)?,
            block_count: self.geometry.block_count,
            long_blocks: self.geometry.long_blocks,
            long_columns: self.geometry.long_columns,
            short_columns: self.geometry.short_columns,
        };
        let geometry =
            FileGeometry::from_parts(geometry).map_err(|_error| ImpossibleField("file geometry"))?;
        let file = FileRecord {
            kind: EntryKind::File,
            id,
            name: FileName::from_bytes(&self.name).map_err(|_error| ImpossibleField("name"))?,
            mode: self.mode,
            modified_at: self.modified_at.parse("modification time")?,
            committed_at: self.committed_at.parse("commit time")?,
            version: self.version,
            commit: CommitId::new(self.commit),
            geometry,
            root: RootHash::from_bytes(self.root),
            stored_bytes: self.stored_bytes,
        };
        let inline_block = self
            .inline_block
            .map(|inline| inline.block.parse(BlockId::new(inline.id)))
            .transpose()?;
        let fits = match &inline_block {
            Some(block) => {
                geometry.block_count() == 1
                    && block.file == id
                    && block.index == BlockIndex::new(0)
                    && block.geometry == geometry.block(BlockIndex::new(0))
            }
            None => geometry.block_count() != 1,
        };
        if !fits {
            return Err(ImpossibleField("inline block"));
        }
        Ok((file, inline_block))
    }
}

/// `names`, by name.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct NameRow {
    pub(in crate::catalog) file: u64,
}

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
    /// 1: a whole file of one leaf; 2: any other.
    file_leaves: u8,
    base_offset: u64,
    data_len_bytes: u64,
    shards: Vec<Option<ShardRow>>,
}

#[derive(Debug, Serialize, Deserialize)]
struct ShardRow {
    extent: u64,
    offset: u64,
    frame_len_bytes: u64,
    digest: [u8; 32],
}

impl BlockRow {
    pub(in crate::catalog) fn new(block: &BlockRecord) -> Self {
        let shards = block.shards.iter().map(|shard| {
            shard.map(|shard| ShardRow {
                extent: shard.extent.get(),
                offset: shard.offset,
                frame_len_bytes: shard.frame_len_bytes,
                digest: shard.digest.to_bytes(),
            })
        });
        Self {
            file: block.file.get(),
            index: block.index.get(),
            reference_count: block.reference_count,
            shape: ShapeRow::new(block.geometry.shape()),
            leaf_log2: block.geometry.leaf().log2(),
            file_leaves: match block.geometry.file_leaves() {
                FileLeaves::One => 1,
                FileLeaves::Many => 2,
            },
            base_offset: block.geometry.base_offset(),
            data_len_bytes: block.geometry.data_len_bytes(),
            shards: shards.collect(),
        }
    }

    pub(in crate::catalog) fn parse(self, id: BlockId) -> Result<BlockRecord, ImpossibleField> {
        let geometry = BlockGeometryParts {
            shape: self.shape.parse()?,
            leaf: parse_leaf(self.leaf_log2)?,
            file_leaves: match self.file_leaves {
                1 => FileLeaves::One,
                2 => FileLeaves::Many,
                _ => return Err(ImpossibleField("leaf count of the file")),
            },
            base_offset: self.base_offset,
            data_len_bytes: self.data_len_bytes,
        };
        let geometry =
            BlockGeometry::from_parts(geometry).map_err(|_error| ImpossibleField("block geometry"))?;
        let shards = self.shards.into_iter().map(|shard| {
            shard.map(|shard| ShardRecord {
                extent: ExtentId::new(shard.extent),
                offset: shard.offset,
                frame_len_bytes: shard.frame_len_bytes,
                digest: ShardDigest::from_bytes(shard.digest),
            })
        });
        let block = BlockRecord {
            id,
            file: FileId::new(self.file),
            index: BlockIndex::new(self.index),
            reference_count: self.reference_count,
            geometry,
            shards: shards.collect(),
        };
        if block.reference_count == 0 {
            return Err(ImpossibleField("reference count"));
        }
        if !has_the_right_shards(&block) {
            return Err(ImpossibleField("list of shards"));
        }
        Ok(block)
    }
}

/// Says whether exactly the shards that the geometry stores are there, each in a place that can exist.
pub(in crate::catalog) fn has_the_right_shards(block: &BlockRecord) -> bool {
    let geometry = &block.geometry;
    block.shards.len() == usize::from(geometry.shape().total())
        && geometry
            .shards()
            .zip(&block.shards)
            .all(|(index, shard)| match shard {
                Some(shard) => {
                    geometry.is_present(index)
                        && shard.frame_len_bytes > 0
                        && shard.offset.checked_add(shard.frame_len_bytes).is_some()
                }
                None => !geometry.is_present(index),
            })
}
