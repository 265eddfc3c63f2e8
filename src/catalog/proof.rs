//! Reading all of a catalog: whether every row is there and is what was written, and whether they agree with each other.

use std::collections::BTreeMap;

use super::guard::damaged;
use super::reader::{CatalogReader, parse_place};
use super::records::{BlockRecord, FileRecord, ShardOwner, Totals};
use super::slice::{Slice, Slices};
use super::tables::{COUNTED_TABLES, extent_shard_key};
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::units::{ExtentId, to_u64};

/// Length of the pieces in which entries are looked at, in bytes.
const PIECE_LEN_BYTES: u64 = 1 << 20;

/// What a catalog says of what lies in an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Lives {
    bytes: u64,
    shards: u64,
}

/// What is summed up on the way through all entries.
#[derive(Debug, Default)]
struct Sums {
    totals: Totals,
    shards: u64,
    extents: BTreeMap<ExtentId, Lives>,
}

impl CatalogReader {
    /// Reads every row of every table and returns what is wrong: at most one error for each table, and one more where rows
    /// contradict each other. Nothing is, where that comes back empty.
    ///
    /// Bounded memory: some 50 bytes for each extent.
    ///
    /// # Errors
    /// [`CatalogError::Io`] and others that say nothing about what is in the file.
    pub fn prove_all(&self) -> Result<Vec<CatalogError>, CatalogError> {
        let mut wrong = Vec::new();
        let mut note = |result: Result<(), CatalogError>| match result {
            Err(error) if error.is_damaged() => {
                wrong.push(error);
                Ok(())
            }
            result => result,
        };
        for table in COUNTED_TABLES {
            note(self.prove_anew(table))?;
        }
        note(self.prove_entries())?;
        Ok(wrong)
    }

    fn prove_entries(&self) -> Result<(), CatalogError> {
        let mut sums = Sums::default();
        let mut slices = Slices::of(self, PIECE_LEN_BYTES);
        while let Some(Slice {
            extents: _,
            descriptors,
            entries,
        }) = slices.next_slice()?
        {
            for descriptor in &descriptors {
                self.prove_shards(
                    ShardOwner::Descriptor(descriptor.commit),
                    &descriptor.block,
                    &mut sums,
                )?;
            }
            for (file, blocks) in &entries {
                self.prove_entry(file, blocks, &mut sums)?;
            }
        }
        let counts = self.row_counts()?;
        let contradiction = |table, about| damaged(table, CatalogDamage::Contradiction { about });
        if counts.get(CatalogTable::ExtentShards) != sums.shards {
            return Err(contradiction(
                CatalogTable::ExtentShards,
                "the count of live shards",
            ));
        }
        if self.totals()? != sums.totals {
            return Err(contradiction(CatalogTable::Totals, "the sums over all files"));
        }
        for extent in self.extents()? {
            let lives = sums.extents.get(&extent.id).copied().unwrap_or_default();
            if (extent.live_bytes, extent.live_shards) != (lives.bytes, lives.shards) {
                return Err(contradiction(CatalogTable::Extents, "what lives in an extent"));
            }
        }
        Ok(())
    }

    fn prove_entry(
        &self,
        file: &FileRecord,
        blocks: &[BlockRecord],
        sums: &mut Sums,
    ) -> Result<(), CatalogError> {
        let contradiction = |table, about| damaged(table, CatalogDamage::Contradiction { about });
        let named = if file.is_kept {
            self.version(&file.name, file.version)?
        } else {
            self.file_by_name(&file.name)?
        };
        match named {
            Some(named) if named.id == file.id => {}
            Some(_) | None => return Err(contradiction(CatalogTable::Names, "the name of a file")),
        }
        let inline = blocks.len() == 1;
        for block in blocks {
            let owner = if inline {
                ShardOwner::InlineBlockOf(file.id)
            } else {
                ShardOwner::Block(block.id)
            };
            self.prove_shards(owner, block, sums)?;
        }
        let totals = sums.totals.with(file);
        sums.totals = totals.ok_or_else(|| contradiction(CatalogTable::Totals, "the sums over all files"))?;
        sums.totals.blocks += to_u64(blocks.len());
        Ok(())
    }

    /// Makes sure that the places of a block say whose they are.
    fn prove_shards(
        &self,
        owner: ShardOwner,
        block: &BlockRecord,
        sums: &mut Sums,
    ) -> Result<(), CatalogError> {
        let table = CatalogTable::ExtentShards;
        for (index, shard) in block.geometry.shards().zip(&block.shards) {
            let Some(shard) = shard else { continue };
            let key = extent_shard_key(shard.extent, shard.offset);
            let row = self.source.get(&self.guard, table, &key)?;
            let row = row.ok_or_else(|| damaged(table, CatalogDamage::MissingRow))?;
            let place = parse_place(&(key, row))?;
            if (place.owner, place.shard) != (owner, index) {
                let about = "whose a frame is";
                return Err(damaged(table, CatalogDamage::Contradiction { about }));
            }
            let lives = sums.extents.entry(shard.extent).or_default();
            lives.bytes += shard.frame_len_bytes;
            lives.shards += 1;
            sums.shards += 1;
        }
        Ok(())
    }
}
