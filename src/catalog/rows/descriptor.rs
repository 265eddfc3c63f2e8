//! Rows of `descriptors`, and the block of a descriptor wherever it stands.

use serde::{Deserialize, Serialize};

use super::block::ShardsRow;
use super::{ImpossibleField, ShapeRow, parse_leaf};
use crate::catalog::descriptors::{Described, DescriptorRecord};
use crate::catalog::records::BlockRecord;
use crate::geometry::{BlockGeometry, BlockGeometryParts, FileLeaves};
use crate::units::{BlockId, BlockIndex, CodeShape, CommitId, FileId, LeafLen};

/// `descriptors`, by commit id.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct DescriptorRow {
    /// 0: a slice of a checkpoint.
    live_entries: u64,
    block: DescriptorBlockRow,
}

/// A block that is a whole file of its own, to which no entry belongs.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct DescriptorBlockRow {
    id: u64,
    shape: ShapeRow,
    leaf_log2: u8,
    data_len_bytes: u64,
    shards: ShardsRow,
}

impl DescriptorRow {
    pub(in crate::catalog) fn new(descriptor: &DescriptorRecord) -> Self {
        Self {
            live_entries: match descriptor.described {
                Described::Entries(live) => live,
                Described::Slice => 0,
            },
            block: DescriptorBlockRow::new(&descriptor.block),
        }
    }

    pub(in crate::catalog) fn parse(self, commit: CommitId) -> Result<DescriptorRecord, ImpossibleField> {
        Ok(DescriptorRecord {
            commit,
            described: match self.live_entries {
                0 => Described::Slice,
                live => Described::Entries(live),
            },
            block: self.block.parse()?,
        })
    }
}

impl DescriptorBlockRow {
    pub(in crate::catalog) fn new(block: &BlockRecord) -> Self {
        Self {
            id: block.id.get(),
            shape: ShapeRow::new(block.geometry.shape()),
            leaf_log2: block.geometry.leaf().log2(),
            data_len_bytes: block.geometry.data_len_bytes(),
            shards: ShardsRow::new(block),
        }
    }

    pub(in crate::catalog) fn parse(self) -> Result<BlockRecord, ImpossibleField> {
        let (shape, leaf) = (self.shape.parse()?, parse_leaf(self.leaf_log2)?);
        let geometry = whole_block(self.data_len_bytes, shape, leaf)
            .ok_or(ImpossibleField("geometry of a descriptor"))?;
        Ok(BlockRecord {
            id: BlockId::new(self.id),
            file: FileId::new(0),
            index: BlockIndex::new(0),
            reference_count: 1,
            geometry,
            shards: self.shards.parse(&geometry)?,
        })
    }
}

/// Returns the block that is all of so many bytes, or `None` when no block holds them.
pub(in crate::catalog) fn whole_block(
    data_len_bytes: u64,
    shape: CodeShape,
    leaf: LeafLen,
) -> Option<BlockGeometry> {
    let parts = BlockGeometryParts {
        shape,
        leaf,
        file_leaves: if data_len_bytes <= leaf.bytes() {
            FileLeaves::One
        } else {
            FileLeaves::Many
        },
        base_offset: 0,
        data_len_bytes,
    };
    BlockGeometry::from_parts(parts).ok()
}
