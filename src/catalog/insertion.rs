//! How files come in.

use super::records::{BlockRecord, FileRecord, ShardOwner};
use super::rows::{
    BlockRow, ExtentShardRow, FileBlockRow, FileRow, ImpossibleField, NameRow, are_the_right_shards,
    check_entry,
};
use super::tables::{block_key, extent_shard_key, file_block_key, file_key, seal};
use super::writer::{BATCH_BLOCKS, CatalogWriter, raise, totals_contradiction};
use crate::error::{CatalogError, CatalogTable};
use crate::units::{BlockIndex, to_u64};

impl CatalogWriter {
    /// Adds a file with all its blocks, in file order. Every id in it may be one that was allocated, or any free one: ids
    /// given later are higher.
    ///
    /// The extents of the shards are known and end behind them already: [`Self::put_extent`] comes first.
    ///
    /// # Errors
    /// [`ImpossibleEntry`](CatalogError::ImpossibleEntry), [`NameTaken`](CatalogError::NameTaken) and
    /// [`FileIdTaken`](CatalogError::FileIdTaken) leave the transaction as it was. [`BlockMismatch`](CatalogError::BlockMismatch), [`BlockIdTaken`](CatalogError::BlockIdTaken),
    /// [`AddressTaken`](CatalogError::AddressTaken), [`UnknownExtent`](CatalogError::UnknownExtent) and
    /// [`BehindExtentEnd`](CatalogError::BehindExtentEnd) spoil it.
    pub fn insert_file(
        &mut self,
        file: &FileRecord,
        blocks: impl IntoIterator<Item = BlockRecord>,
    ) -> Result<(), CatalogError> {
        let name = file.name.as_bytes();
        check_entry(file).map_err(|ImpossibleField(field)| {
            let name = file.name.clone();
            CatalogError::ImpossibleEntry { name, field }
        })?;
        if self.stored(CatalogTable::Names, name)? {
            let name = file.name.clone();
            return Err(CatalogError::NameTaken { name });
        }
        if self.stored(CatalogTable::Files, &file_key(file.id))? {
            return Err(CatalogError::FileIdTaken { file: file.id });
        }
        self.change(|writer| {
            let mut blocks = blocks.into_iter();
            let inline_block = if file.geometry.block_count() == 1 {
                let block = blocks.next();
                let block = block.ok_or(CatalogError::BlockMismatch {
                    file: file.id,
                    index: 0,
                })?;
                check_block(file, 0, &block)?;
                writer.place_shards(&[(ShardOwner::InlineBlockOf(file.id), &block)])?;
                Some(block)
            } else {
                None
            };
            let mut index = u64::from(inline_block.is_some());
            loop {
                let batch: Vec<BlockRecord> = blocks.by_ref().take(BATCH_BLOCKS).collect();
                if batch.is_empty() {
                    break;
                }
                writer.put_blocks(file, index, &batch)?;
                index += to_u64(batch.len());
            }
            if index != file.geometry.block_count() {
                return Err(CatalogError::BlockMismatch { file: file.id, index });
            }
            let key = file_key(file.id);
            let row = seal(
                CatalogTable::Files,
                &key,
                &FileRow::new(file, inline_block.as_ref()),
            );
            writer.add_new_rows(CatalogTable::Files, &[(key, row)])?;
            let row = seal(CatalogTable::Names, name, &NameRow { file: file.id.get() });
            writer.add_new_rows(CatalogTable::Names, &[(name.to_vec(), row)])?;
            let pending = writer.pending_mut();
            pending.totals = pending.totals.with(file).ok_or_else(totals_contradiction)?;
            pending.totals.blocks += index;
            raise(&mut pending.counters.next_file, file.id.get());
            raise(&mut pending.counters.next_commit, file.commit.get());
            if let Some(block) = &inline_block {
                raise(&mut pending.counters.next_block, block.id.get());
            }
            Ok(())
        })
    }

    fn put_blocks(
        &mut self,
        file: &FileRecord,
        first: u64,
        blocks: &[BlockRecord],
    ) -> Result<(), CatalogError> {
        let mut rows = Vec::with_capacity(blocks.len());
        let mut indexes = Vec::with_capacity(blocks.len());
        for (index, block) in (first..).zip(blocks) {
            check_block(file, index, block)?;
            let key = block_key(block.id);
            let row = seal(CatalogTable::Blocks, &key, &BlockRow::new(block));
            rows.push((key, row));
            let key = file_block_key(file.id, BlockIndex::new(index));
            let row = seal(
                CatalogTable::FileBlocks,
                &key,
                &FileBlockRow {
                    block: block.id.get(),
                },
            );
            indexes.push((key, row));
            raise(&mut self.pending_mut().counters.next_block, block.id.get());
        }
        if let Some(taken) = self.add_rows(CatalogTable::Blocks, &rows)? {
            return Err(CatalogError::BlockIdTaken {
                block: blocks[taken].id,
            });
        }
        self.add_new_rows(CatalogTable::FileBlocks, &indexes)?;
        let owned: Vec<(ShardOwner, &BlockRecord)> = blocks
            .iter()
            .map(|block| (ShardOwner::Block(block.id), block))
            .collect();
        self.place_shards(&owned)
    }

    fn place_shards(&mut self, blocks: &[(ShardOwner, &BlockRecord)]) -> Result<(), CatalogError> {
        let (mut rows, mut addresses) = (Vec::new(), Vec::new());
        for (owner, block) in blocks {
            for (index, shard) in block.geometry.shards().zip(&block.shards) {
                let Some(shard) = shard else { continue };
                let extent = shard.extent;
                let row = self
                    .extent_mut(extent)?
                    .ok_or(CatalogError::UnknownExtent { extent })?;
                let shard_end_bytes = shard.offset.saturating_add(shard.frame_len_bytes);
                let live_bytes = row.live_bytes.saturating_add(shard.frame_len_bytes);
                // Live bytes beyond the end mean that frames overlap.
                let furthest = shard_end_bytes.max(live_bytes);
                if furthest > row.end_bytes {
                    let end_bytes = row.end_bytes;
                    return Err(CatalogError::BehindExtentEnd {
                        extent,
                        shard_end_bytes: furthest,
                        end_bytes,
                    });
                }
                row.live_bytes = live_bytes;
                row.live_shards += 1;
                let key = extent_shard_key(extent, shard.offset);
                let row = seal(
                    CatalogTable::ExtentShards,
                    &key,
                    &ExtentShardRow::new(*owner, index),
                );
                rows.push((key, row));
                addresses.push((extent, shard.offset));
            }
        }
        match self.add_rows(CatalogTable::ExtentShards, &rows)? {
            None => Ok(()),
            Some(taken) => {
                let (extent, offset) = addresses[taken];
                Err(CatalogError::AddressTaken { extent, offset })
            }
        }
    }

    fn stored(&self, table: CatalogTable, key: &[u8]) -> Result<bool, CatalogError> {
        Ok(self.source.get(&self.guard, table, key)?.is_some())
    }
}

/// Checks that a block is the one that the geometry of its file asks for at `index`.
fn check_block(file: &FileRecord, index: u64, block: &BlockRecord) -> Result<(), CatalogError> {
    let fits = index < file.geometry.block_count()
        && block.file == file.id
        && block.index.get() == index
        && block.reference_count > 0
        // Nothing else can list a block that has no row.
        && (file.geometry.block_count() > 1 || block.reference_count == 1)
        && block.geometry == file.geometry.block(block.index)
        && are_the_right_shards(&block.geometry, &block.shards);
    if fits {
        Ok(())
    } else {
        Err(CatalogError::BlockMismatch { file: file.id, index })
    }
}
