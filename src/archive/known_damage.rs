//! What is known to be wrong with the shards of a file, and when bytes were verified last.

use std::sync::Arc;

use super::{Finding, Snapshot, called::Called, shared::Shared};
use crate::{
    catalog::{CatalogReader, DamageRecord, DamagedBlock, ShardOwner},
    error::CatalogError,
    units::{BlockId, BlockIndex, FileId, FileName, Timestamp},
};

/// Damaged blocks that are looked up at a time.
const PAGE_LEN: usize = 64;

const DAY_SECONDS: i64 = 24 * 60 * 60;

/// Damaged shards of one file as they are known, in the order of blocks and shards; nothing is read for it. No transaction is
/// held between pages.
#[derive(Debug)]
pub struct KnownDamage {
    shared: Arc<Shared>,
    file: Option<(FileId, Called)>,
    after: Option<BlockId>,
    page: std::vec::IntoIter<Finding>,
}

/// Bytes of extents with live frames, by how long ago they were read and judged. Bytes between frames count along, such as those
/// of removed files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct VerificationAges {
    /// Never.
    pub never: u64,
    /// Less than a day ago, and in the future.
    pub under_a_day: u64,
    /// Less than 7 days ago.
    pub under_a_week: u64,
    /// Less than 30 days ago.
    pub under_a_month: u64,
    /// Less than 90 days ago.
    pub under_three_months: u64,
    /// Longer ago.
    pub older: u64,
}

impl Snapshot {
    /// Lists what is known to be wrong with the shards of a file; nothing when there is no file of that name.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be read.
    pub fn known_damage(&self, name: &FileName) -> Result<KnownDamage, CatalogError> {
        let file = self.find(&self.shared.catalog.read()?, name)?;
        Ok(KnownDamage {
            shared: Arc::clone(&self.shared),
            file: file.map(|file| (file.id, Called::of(&file))),
            after: None,
            page: Vec::new().into_iter(),
        })
    }

    /// Sums up how long ago bytes were verified, as of `now`; costs as much as there are extents and pieces of them that were
    /// verified at different times.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be read.
    pub fn verification_ages(&self, now: Timestamp) -> Result<VerificationAges, CatalogError> {
        let reader = self.shared.catalog.read()?;
        let mut ages = VerificationAges::default();
        for extent in reader.extents()?.iter().filter(|extent| extent.live_shards > 0) {
            let mut verified_bytes = 0;
            for verified in reader.verified_of(extent.id)? {
                // Bytes behind the committed end are nobody's.
                let end = verified.range.end().min(extent.end_bytes);
                let bytes = end.saturating_sub(verified.range.start());
                *ages.class_mut(verified.when, now) += bytes;
                verified_bytes += bytes;
            }
            ages.never += extent.end_bytes.saturating_sub(verified_bytes);
        }
        Ok(ages)
    }
}

impl VerificationAges {
    /// Returns the bytes of each class, those that were never verified first, the older the later.
    pub const fn classes(&self) -> [u64; 6] {
        [
            self.never,
            self.under_a_day,
            self.under_a_week,
            self.under_a_month,
            self.under_three_months,
            self.older,
        ]
    }

    const fn class_mut(&mut self, at: Timestamp, now: Timestamp) -> &mut u64 {
        let age_days = now.seconds().saturating_sub(at.seconds()).div_euclid(DAY_SECONDS);
        match age_days {
            i64::MIN..1 => &mut self.under_a_day,
            1..7 => &mut self.under_a_week,
            7..30 => &mut self.under_a_month,
            30..90 => &mut self.under_three_months,
            90.. => &mut self.older,
        }
    }
}

impl Iterator for KnownDamage {
    type Item = Result<Finding, CatalogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(finding) = self.page.next() {
                return Some(Ok(finding));
            }
            match self.fetch() {
                Ok(Some(page)) => self.page = page.into_iter(),
                Ok(None) => return None,
                Err(error) => {
                    self.file = None;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl KnownDamage {
    /// Returns the next page, or `None` behind the last.
    fn fetch(&mut self) -> Result<Option<Vec<Finding>>, CatalogError> {
        let Some((file, called)) = self.file.clone() else {
            return Ok(None);
        };
        let reader = self.shared.catalog.read()?;
        let blocks = reader.damaged_blocks_of(file, self.after, PAGE_LEN)?;
        if blocks.len() < PAGE_LEN {
            self.file = None;
        }
        self.after = blocks.last().map(|block| block.block);
        let mut page = Vec::new();
        for block in &blocks {
            let Some(index) = index_of(&reader, block)? else {
                continue;
            };
            let damage = reader.damage_of_block(block.block)?.into_iter();
            page.extend(damage.map(|record| self.finding(&called, index, block, record)));
        }
        Ok(Some(page))
    }

    fn finding(
        &self,
        called: &Called,
        index: BlockIndex,
        block: &DamagedBlock,
        record: DamageRecord,
    ) -> Finding {
        let extent = record.address.extent;
        Finding {
            name: called.name.clone(),
            kept_version: called.kept_version,
            block: index,
            shard: record.shard,
            volume: self.shared.volumes().of_extent(extent).id(),
            extent,
            columns: record.columns,
            part: record.part,
            kind: record.kind,
            is_recoverable: block.lost_bytes == 0,
        }
    }
}

/// Returns which block of its file it is.
fn index_of(reader: &CatalogReader, block: &DamagedBlock) -> Result<Option<BlockIndex>, CatalogError> {
    match block.owner {
        ShardOwner::InlineBlockOf(_) => Ok(Some(BlockIndex::new(0))),
        ShardOwner::Block(id) => Ok(reader.block_by_id(id)?.map(|record| record.index)),
        ShardOwner::Descriptor(_) => Ok(None),
    }
}
