//! What nobody needs of the extents, and what of that was given back to the file system.
//!
//! Bytes are written once and addresses are never given again, so what is dead below the committed end of an extent stays dead.

use core::ops::Bound;
use std::collections::BTreeMap;

use super::guard::damaged;
use super::reader::{CatalogReader, checked};
use super::records::{BlockRecord, ShardOwner};
use super::rows::FreedRow;
use super::source::{KeyValue, Order};
use super::tables::{freed_key, parse_key, seal, unseal};
use super::writer::CatalogWriter;
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::units::{ByteRange, ExtentId};

/// Frames that are looked up at a time.
const PAGE_LEN: usize = 512;

#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for every query and explained with the type"
)]
impl CatalogReader {
    /// Returns the bytes of an extent that were given back to the file system, in their order; no two ranges touch.
    pub fn freed_of(&self, extent: ExtentId) -> Result<Vec<ByteRange>, CatalogError> {
        let table = CatalogTable::Freed;
        if self.row_counts()?.get(table) == 0 {
            return Ok(Vec::new());
        }
        let next = ExtentId::new(extent.get().saturating_add(1));
        let (start, end) = (freed_key(extent, 0), freed_key(next, 0));
        let all = (Bound::Included(start.as_slice()), Some(end.as_slice()));
        let rows = self.page(table, all, (Order::Rising, usize::MAX))?;
        self.prove(table)?;
        rows.iter()
            .map(|row| parse_freed(row).map(|(_, range)| range))
            .collect()
    }

    /// Returns how many bytes of each extent were given back; one of which nothing was is not among them. Looks at every range.
    pub fn freed_bytes(&self) -> Result<BTreeMap<ExtentId, u64>, CatalogError> {
        let mut freed: BTreeMap<ExtentId, u64> = BTreeMap::new();
        if self.row_counts()?.get(CatalogTable::Freed) == 0 {
            return Ok(freed);
        }
        self.for_each_row(CatalogTable::Freed, |key, row| {
            let (extent, range) = parse_freed(&(key.to_vec(), row.to_vec()))?;
            *freed.entry(extent).or_default() += range.len();
            Ok(())
        })?;
        Ok(freed)
    }

    /// Returns the bytes of an extent from `begin_bytes` to its committed end in which nothing lives, in their order; no two ranges
    /// touch. Looks at every frame in it.
    pub fn dead_ranges(&self, extent: ExtentId, begin_bytes: u64) -> Result<Vec<ByteRange>, CatalogError> {
        let Some(row) = self.extent_row(extent)? else {
            return Ok(Vec::new());
        };
        let (mut dead, mut behind) = (Vec::new(), begin_bytes);
        let mut owner: Option<(ShardOwner, BlockRecord)> = None;
        let mut after = None;
        loop {
            let page = self.shards_of_extent(extent, after, PAGE_LEN)?;
            after = page.last().map(|place| place.offset);
            for place in &page {
                let block = match owner.take() {
                    Some((known, block)) if known == place.owner => block,
                    Some(_) | None => self.block_by_owner(place.owner)?.ok_or_else(frame_of_nobody)?,
                };
                let shard = block.shards.get(place.shard.as_usize()).and_then(Option::as_ref);
                let shard = shard.filter(|shard| shard.address() == place.address());
                let len_bytes = shard.ok_or_else(frame_of_nobody)?.frame_len_bytes;
                dead.extend(ByteRange::new(behind, place.offset).filter(|gap| !gap.is_empty()));
                behind = behind.max(place.offset.saturating_add(len_bytes));
                owner = Some((place.owner, block));
            }
            if page.len() < PAGE_LEN {
                break;
            }
        }
        dead.extend(ByteRange::new(behind, row.end_bytes).filter(|gap| !gap.is_empty()));
        Ok(dead)
    }
}

impl CatalogWriter {
    /// Notes that bytes of an extent were given back to the file system. What lies behind its committed end is not noted, and
    /// nothing is of an extent that is gone.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] when rows are not what was written; it spoils the transaction.
    pub fn mark_freed(&mut self, extent: ExtentId, ranges: &[ByteRange]) -> Result<(), CatalogError> {
        let end_bytes = self.extent_row(extent)?.map_or(0, |row| row.end_bytes);
        let known = self.freed_of(extent)?;
        let new = ranges
            .iter()
            .filter_map(|range| ByteRange::new(range.start(), range.end().min(end_bytes)));
        let all = joined(known.iter().copied().chain(new).collect());
        self.change(|writer| writer.replace_freed(extent, &known, &all))
    }

    /// Forgets what was given back of an extent behind its end from now on, all of it when it goes.
    pub(super) fn forget_freed(&mut self, extent: ExtentId, end_bytes: u64) -> Result<(), CatalogError> {
        let known = self.freed_of(extent)?;
        let left = known
            .iter()
            .filter_map(|range| ByteRange::new(range.start(), range.end().min(end_bytes)));
        let left = joined(left.collect());
        self.replace_freed(extent, &known, &left)
    }

    fn replace_freed(
        &mut self,
        extent: ExtentId,
        old: &[ByteRange],
        new: &[ByteRange],
    ) -> Result<(), CatalogError> {
        if old == new {
            return Ok(());
        }
        let table = CatalogTable::Freed;
        let keys: Vec<Vec<u8>> = old.iter().map(|range| freed_key(extent, range.start())).collect();
        self.remove_rows(table, &keys)?;
        let row = |range: &ByteRange| {
            let key = freed_key(extent, range.start());
            let row = seal(table, &key, &FreedRow::new(range));
            (key, row)
        };
        let rows: Vec<KeyValue> = new.iter().map(row).collect();
        self.add_new_rows(table, &rows)
    }
}

/// Returns the same bytes in ranges that rise, have bytes, and do not touch.
fn joined(mut ranges: Vec<ByteRange>) -> Vec<ByteRange> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by_key(|range| range.start());
    let mut joined: Vec<ByteRange> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if last.end() >= range.start() => {
                let end = last.end().max(range.end());
                *last = ByteRange::new(last.start(), end).expect("it ends behind its start");
            }
            Some(_) | None => joined.push(range),
        }
    }
    joined
}

fn parse_freed((key, row): &KeyValue) -> Result<(ExtentId, ByteRange), CatalogError> {
    let table = CatalogTable::Freed;
    let [extent, start] = parse_key(table, key)?;
    let row: FreedRow = unseal(table, key, row)?;
    Ok((ExtentId::new(extent), checked(table, row.parse(start))?))
}

fn frame_of_nobody() -> CatalogError {
    let about = "whose a frame is";
    damaged(CatalogTable::ExtentShards, CatalogDamage::Contradiction { about })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every pair of ranges of a short extent, against an array of bytes.
    #[test]
    fn joined_ranges_have_the_same_bytes_rise_and_never_touch() {
        const LEN: u64 = 5;
        let range = |start, end| ByteRange::new(start, end).expect("in order");
        let all = || (0..LEN).flat_map(move |start| (start..=LEN).map(move |end| range(start, end)));
        let bytes = |ranges: &[ByteRange]| -> Vec<bool> {
            let has = |at: u64| {
                ranges
                    .iter()
                    .any(|range| (range.start()..range.end()).contains(&at))
            };
            (0..LEN).map(has).collect()
        };
        for (first, second) in all().flat_map(|first| all().map(move |second| (first, second))) {
            let given = [first, second, range(4, 5)];
            let found = joined(given.to_vec());
            assert_eq!(bytes(&found), bytes(&given), "{given:?}");
            assert!(
                found.is_sorted_by(|a, b| a.end() < b.start()),
                "{given:?} became {found:?}"
            );
            assert!(found.iter().all(|range| !range.is_empty()));
        }
    }
}
