//! Rows of `files`, `names` and `versions`.

use serde::{Deserialize, Serialize};

use super::block::ShardsRow;
use super::{ImpossibleField, ShapeRow, TimeRow, parse_leaf};
use crate::catalog::records::{BlockRecord, EntryKind, FileRecord};
use crate::geometry::{FileGeometry, FileGeometryParts, Tier};
use crate::merkle::{RootFolder, RootHash};
use crate::units::{BlockId, BlockIndex, CommitId, FileId, FileName};

/// Longest target of a symbolic link, in bytes: what Linux follows.
const MAX_TARGET_LEN_BYTES: usize = 4095;

/// `files`, by file id.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct FileRow {
    pub(super) name: Vec<u8>,
    /// 1: a file; 2: a directory; 3: a symbolic link.
    pub(super) kind: u8,
    /// Where a symbolic link leads; empty for all others.
    pub(super) target: Vec<u8>,
    pub(super) mode: u32,
    pub(super) modified_at: TimeRow,
    pub(super) committed_at: TimeRow,
    pub(super) version: u32,
    /// Whether another entry has the name.
    pub(super) is_kept: bool,
    pub(super) commit: u64,
    pub(super) geometry: FileGeometryRow,
    pub(super) root: [u8; 32],
    pub(super) stored_bytes: u64,
    /// The block of a file that has only one.
    pub(super) inline_block: Option<InlineBlockRow>,
}

/// What does not follow from the file: its geometry is that of the only block, which no other file can list.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct InlineBlockRow {
    pub(super) id: u64,
    pub(super) shards: ShardsRow,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct FileGeometryRow {
    pub(super) len_bytes: u64,
    pub(super) tier: u8,
    pub(super) shape: ShapeRow,
    pub(super) leaf_log2: u8,
    pub(super) data_blocks: u64,
    pub(super) long_blocks: u64,
    pub(super) long_columns: u32,
    pub(super) short_columns: u32,
    pub(super) group_count: u64,
    pub(super) outer_parity: u16,
}

impl FileGeometryRow {
    pub(super) fn new(geometry: &FileGeometry) -> Self {
        let geometry = geometry.parts();
        Self {
            len_bytes: geometry.len_bytes,
            tier: geometry.tier.number(),
            shape: ShapeRow::new(geometry.shape),
            leaf_log2: geometry.leaf.log2(),
            data_blocks: geometry.data_blocks,
            long_blocks: geometry.long_blocks,
            long_columns: geometry.long_columns,
            short_columns: geometry.short_columns,
            group_count: geometry.group_count,
            outer_parity: geometry.outer_parity,
        }
    }

    pub(super) fn parse(self) -> Result<FileGeometry, ImpossibleField> {
        let geometry = FileGeometryParts {
            len_bytes: self.len_bytes,
            tier: Tier::from_number(self.tier).ok_or(ImpossibleField("tier"))?,
            shape: self.shape.parse()?,
            leaf: parse_leaf(self.leaf_log2)?,
            data_blocks: self.data_blocks,
            long_blocks: self.long_blocks,
            long_columns: self.long_columns,
            short_columns: self.short_columns,
            group_count: self.group_count,
            outer_parity: self.outer_parity,
        };
        FileGeometry::from_parts(geometry).map_err(|_error| ImpossibleField("file geometry"))
    }
}

impl FileRow {
    pub(in crate::catalog) fn new(file: &FileRecord, inline_block: Option<&BlockRecord>) -> Self {
        let (kind, target) = match &file.kind {
            EntryKind::File => (1, Vec::new()),
            EntryKind::Directory => (2, Vec::new()),
            EntryKind::SymbolicLink { target } => (3, target.to_vec()),
        };
        Self {
            name: file.name.as_bytes().to_vec(),
            kind,
            target,
            mode: file.mode,
            modified_at: TimeRow::new(file.modified_at),
            committed_at: TimeRow::new(file.committed_at),
            version: file.version,
            is_kept: file.is_kept,
            commit: file.commit.get(),
            geometry: FileGeometryRow::new(&file.geometry),
            root: file.root.to_bytes(),
            stored_bytes: file.stored_bytes,
            inline_block: inline_block.map(|block| InlineBlockRow {
                id: block.id.get(),
                shards: ShardsRow::new(block),
            }),
        }
    }

    pub(in crate::catalog) fn parse(
        self,
        id: FileId,
    ) -> Result<(FileRecord, Option<BlockRecord>), ImpossibleField> {
        let geometry = self.geometry.parse()?;
        let file = FileRecord {
            kind: parse_kind(self.kind, self.target)?,
            id,
            name: FileName::from_bytes(&self.name).map_err(|_error| ImpossibleField("name"))?,
            mode: self.mode,
            modified_at: self.modified_at.parse("modification time")?,
            committed_at: self.committed_at.parse("commit time")?,
            version: self.version,
            is_kept: self.is_kept,
            commit: CommitId::new(self.commit),
            geometry,
            root: RootHash::from_bytes(self.root),
            stored_bytes: self.stored_bytes,
        };
        check_entry(&file)?;
        let index = BlockIndex::new(0);
        let inline_block = match (self.inline_block, geometry.block_count()) {
            (Some(inline), 1) => {
                let geometry = geometry.block(index);
                Some(BlockRecord {
                    id: BlockId::new(inline.id),
                    file: id,
                    index,
                    reference_count: 1,
                    geometry,
                    shards: inline.shards.parse(&geometry)?,
                })
            }
            (None, count) if count != 1 => None,
            _ => return Err(ImpossibleField("inline block")),
        };
        Ok((file, inline_block))
    }
}

/// Checks that what is no file has no bytes, and that a symbolic link leads somewhere.
pub(in crate::catalog) fn check_entry(file: &FileRecord) -> Result<(), ImpossibleField> {
    match &file.kind {
        EntryKind::File => return Ok(()),
        EntryKind::Directory if file.is_kept => return Err(ImpossibleField("kept directory")),
        EntryKind::Directory => {}
        EntryKind::SymbolicLink { target } => {
            if target.is_empty() || target.len() > MAX_TARGET_LEN_BYTES || target.contains(&0) {
                return Err(ImpossibleField("link target"));
            }
        }
    }
    if file.geometry.len_bytes() != 0 || file.stored_bytes != 0 {
        return Err(ImpossibleField("length of a directory or link"));
    }
    if file.root != RootFolder::new(file.geometry.leaf()).finish() {
        return Err(ImpossibleField("root of a directory or link"));
    }
    Ok(())
}

fn parse_kind(kind: u8, target: Vec<u8>) -> Result<EntryKind, ImpossibleField> {
    match kind {
        1 | 2 if !target.is_empty() => Err(ImpossibleField("link target")),
        1 => Ok(EntryKind::File),
        2 => Ok(EntryKind::Directory),
        3 => Ok(EntryKind::SymbolicLink {
            target: target.into_boxed_slice(),
        }),
        _ => Err(ImpossibleField("entry kind")),
    }
}

/// `versions`, by name and version.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct VersionRow {
    pub(in crate::catalog) file: u64,
}

/// `names`, by name.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct NameRow {
    pub(in crate::catalog) file: u64,
}
