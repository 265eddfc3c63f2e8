//! How files come in.

use std::collections::BTreeSet;

use super::records::{BlockRecord, FileRecord, ShardOwner, ShardRecord};
use super::relocation::extents_of;
use super::rows::{
    BlockRow, ExtentShardRow, FileBlockRow, FileRow, ImpossibleField, NameRow, are_the_right_shards,
    check_entry,
};
use super::source::KeyValue;
use super::tables::{block_key, extent_shard_key, file_block_key, file_key, parse_key, seal};
use super::writer::{BATCH_BLOCKS, CatalogWriter, raise, totals_contradiction};
use crate::error::{CatalogError, CatalogTable};
use crate::units::{BlockIndex, ExtentId, FileId, FileName, to_u64};

/// An entry, with its block when it has exactly one.
type Entry<'record> = (&'record FileRecord, Option<&'record BlockRecord>);

impl CatalogWriter {
    /// Adds an entry, or a kept version of one, with all its blocks, in file order. Every id in it may be one that was allocated, or any free one: ids
    /// given later are higher.
    ///
    /// The extents of the shards are known and end behind them already: [`Self::put_extent`] comes first.
    ///
    /// # Errors
    /// [`ImpossibleEntry`](CatalogError::ImpossibleEntry), [`NameTaken`](CatalogError::NameTaken) and
    /// [`FileIdTaken`](CatalogError::FileIdTaken) leave the transaction as it was.
    /// [`BlockMismatch`](CatalogError::BlockMismatch), [`BlockIdTaken`](CatalogError::BlockIdTaken),
    /// [`AddressTaken`](CatalogError::AddressTaken), [`UnknownExtent`](CatalogError::UnknownExtent) and
    /// [`BehindExtentEnd`](CatalogError::BehindExtentEnd) spoil it.
    pub fn insert_file(
        &mut self,
        file: &FileRecord,
        blocks: impl IntoIterator<Item = BlockRecord>,
    ) -> Result<(), CatalogError> {
        check_possible(file)?;
        if !file.is_kept && self.stored(CatalogTable::Names, file.name.as_bytes())? {
            let name = file.name.clone();
            return Err(CatalogError::NameTaken { name });
        }
        if self.stored(CatalogTable::Files, &file_key(file.id))? {
            return Err(CatalogError::FileIdTaken { file: file.id });
        }
        self.change(|writer| {
            let mut blocks = blocks.into_iter();
            let inline_block = if file.geometry.block_count() == 1 {
                blocks.next()
            } else {
                None
            };
            check_inline_block(file, inline_block.as_ref())?;
            let mut index = u64::from(inline_block.is_some());
            let mut extents = BTreeSet::new();
            loop {
                let batch: Vec<BlockRecord> = blocks.by_ref().take(BATCH_BLOCKS).collect();
                if batch.is_empty() {
                    break;
                }
                writer.put_blocks(file, index, &batch)?;
                extents.extend(batch.iter().flat_map(extents_of));
                index += to_u64(batch.len());
            }
            if index != file.geometry.block_count() {
                return Err(CatalogError::BlockMismatch { file: file.id, index });
            }
            writer.count_file_in(&extents)?;
            writer.put_entries(&[(file, inline_block.as_ref())])
        })
    }

    /// Adds many entries that have at most one block each, with that block. As [`Self::insert_file`] for each of them, but
    /// every table is opened once, and rows are written in the order of their keys.
    ///
    /// # Errors
    /// [`ImpossibleEntry`](CatalogError::ImpossibleEntry) and [`BlockMismatch`](CatalogError::BlockMismatch), also for a file
    /// of several blocks, leave the transaction as it was. All others of [`Self::insert_file`] spoil it, those among them
    /// that say that a name or file id is taken, in the catalog or twice in `files`.
    pub fn insert_files(&mut self, files: &[(FileRecord, Option<BlockRecord>)]) -> Result<(), CatalogError> {
        for (file, block) in files {
            check_possible(file)?;
            check_inline_block(file, block.as_ref())?;
            if file.geometry.block_count() > 1 {
                let index = 0;
                return Err(CatalogError::BlockMismatch { file: file.id, index });
            }
        }
        let entries: Vec<Entry<'_>> = files.iter().map(|(file, block)| (file, block.as_ref())).collect();
        self.change(|writer| writer.put_entries(&entries))
    }

    /// Writes the rows of entries whose other blocks are written, and counts them.
    fn put_entries(&mut self, entries: &[Entry<'_>]) -> Result<(), CatalogError> {
        self.put_file_rows(entries)?;
        let files = entries.iter().map(|(file, _)| *file);
        let (kept, named): (Vec<&FileRecord>, Vec<&FileRecord>) = files.partition(|file| file.is_kept);
        self.put_name_rows(&named)?;
        self.put_version_rows(&kept)?;
        let inline = entries
            .iter()
            .filter_map(|&(file, block)| Some((ShardOwner::InlineBlockOf(file.id), block?)));
        self.place_shards(inline)?;
        for block in entries.iter().filter_map(|(_, block)| *block) {
            let extents: BTreeSet<ExtentId> = extents_of(block).collect();
            self.count_file_in(&extents)?;
        }
        let with_bytes = entries.iter().filter(|(file, _)| file.geometry.block_count() > 0);
        self.add_unverified(with_bytes.map(|(file, _)| file.id))?;
        let pending = self.pending_mut();
        for (file, block) in entries {
            pending.totals = pending.totals.with(file).ok_or_else(totals_contradiction)?;
            pending.totals.blocks += file.geometry.block_count();
            raise(&mut pending.counters.next_file, file.id.get());
            raise(&mut pending.counters.next_commit, file.commit.get());
            if let Some(block) = block {
                raise(&mut pending.counters.next_block, block.id.get());
            }
        }
        Ok(())
    }

    fn put_file_rows(&mut self, entries: &[Entry<'_>]) -> Result<(), CatalogError> {
        let table = CatalogTable::Files;
        let row = |&(file, block): &Entry<'_>| {
            let key = file_key(file.id);
            let row = seal(table, &key, &FileRow::new(file, block));
            (key, row)
        };
        let rows = sorted(entries.iter().map(row));
        match self.add_sorted_rows(table, &rows)? {
            None => Ok(()),
            Some(taken) => {
                let [file] = parse_key(table, &rows[taken].0)?;
                let file = FileId::new(file);
                Err(CatalogError::FileIdTaken { file })
            }
        }
    }

    /// Notes for which entries names stand.
    pub(super) fn put_name_rows(&mut self, files: &[&FileRecord]) -> Result<(), CatalogError> {
        let table = CatalogTable::Names;
        let row = |file: &&FileRecord| {
            let key = file.name.as_bytes().to_vec();
            let row = seal(table, &key, &NameRow { file: file.id.get() });
            (key, row)
        };
        let rows = sorted(files.iter().map(row));
        match self.add_sorted_rows(table, &rows)? {
            None => Ok(()),
            Some(taken) => {
                let name = FileName::from_bytes(&rows[taken].0).expect("it came from a name");
                Err(CatalogError::NameTaken { name })
            }
        }
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
        self.place_shards(blocks.iter().map(|block| (ShardOwner::Block(block.id), block)))
    }

    pub(super) fn place_shards<'block>(
        &mut self,
        blocks: impl Iterator<Item = (ShardOwner, &'block BlockRecord)>,
    ) -> Result<(), CatalogError> {
        let table = CatalogTable::ExtentShards;
        let mut rows = Vec::new();
        for (owner, block) in blocks {
            for (index, shard) in block.geometry.shards().zip(&block.shards) {
                let Some(shard) = shard else { continue };
                self.count_shard(shard)?;
                let key = extent_shard_key(shard.extent, shard.offset);
                let row = seal(table, &key, &ExtentShardRow::new(owner, index));
                rows.push((key, row));
            }
        }
        let rows = sorted(rows);
        match self.add_sorted_rows(table, &rows)? {
            None => Ok(()),
            Some(taken) => {
                let [extent, offset] = parse_key(table, &rows[taken].0)?;
                let extent = ExtentId::new(extent);
                Err(CatalogError::AddressTaken { extent, offset })
            }
        }
    }

    /// Counts a shard as living in its extent.
    pub(super) fn count_shard(&mut self, shard: &ShardRecord) -> Result<(), CatalogError> {
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
        Ok(())
    }

    fn stored(&self, table: CatalogTable, key: &[u8]) -> Result<bool, CatalogError> {
        Ok(self.source.get(&self.guard, table, key)?.is_some())
    }
}

fn sorted(rows: impl IntoIterator<Item = KeyValue>) -> Vec<KeyValue> {
    let mut rows: Vec<KeyValue> = rows.into_iter().collect();
    rows.sort_unstable();
    rows
}

fn check_possible(file: &FileRecord) -> Result<(), CatalogError> {
    check_entry(file).map_err(|ImpossibleField(field)| {
        let name = file.name.clone();
        CatalogError::ImpossibleEntry { name, field }
    })
}

/// Checks that the block of a file that has only one is there, and of no other.
fn check_inline_block(file: &FileRecord, block: Option<&BlockRecord>) -> Result<(), CatalogError> {
    match block {
        Some(block) => check_block(file, 0, block),
        None if file.geometry.block_count() == 1 => Err(CatalogError::BlockMismatch {
            file: file.id,
            index: 0,
        }),
        None => Ok(()),
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
