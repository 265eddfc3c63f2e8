//! How is kept what was verified when: intervals of extents, so that bytes that come later are in none of them.

use core::ops::Bound;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::guard::damaged;
use super::health::parse_verified;
use super::look::Look;
use super::reader::CatalogReader;
use super::records::{BlockRecord, FileRecord, ShardOwner};
use super::rows::{UnverifiedRow, VerifiedRow};
use super::source::{KeyValue, Order};
use super::tables::{file_key, seal, verified_key};
use super::writer::CatalogWriter;
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::plan::{VerifiedInterval, VerifiedSet};
use crate::units::{BlockIndex, ByteRange, ExtentId, FileId, Timestamp};

/// What a scrub has read of an extent without a gap, and found there.
#[derive(Debug, Clone, Copy)]
pub struct Scrubbed<'a> {
    /// The extent.
    pub extent: ExtentId,
    /// The bytes of it that were looked at, all frames in it whole.
    pub range: ByteRange,
    /// When.
    pub at: Timestamp,
    /// The frames that were read, and what was found.
    pub look: Look<'a>,
}

impl CatalogWriter {
    /// Notes what a scrub has found: damage, damage that is none any more, and that the bytes were verified. Returns of how many
    /// shards the damage is news.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] when rows are not what was written; it spoils the transaction.
    ///
    /// # Panics
    /// As [`Self::record_damage`].
    pub fn record_scrub(&mut self, scrubbed: &Scrubbed<'_>) -> Result<u64, CatalogError> {
        let recorded = self.record_all(scrubbed);
        if recorded.is_err() {
            self.spoil();
        }
        recorded
    }

    fn record_all(&mut self, scrubbed: &Scrubbed<'_>) -> Result<u64, CatalogError> {
        let (news, _cleared) = self.record_look(&scrubbed.look)?;
        self.mark_verified(scrubbed.extent, scrubbed.range, scrubbed.at)?;
        let owners: BTreeSet<ShardOwner> = scrubbed.look.read.iter().map(|place| place.owner).collect();
        self.mark_files_verified(&owners)?;
        Ok(news)
    }

    /// Notes that bytes of an extent were verified; of what was known about them before nothing is left. Bytes behind its
    /// committed end are not noted, since others come there, and nothing is of an extent that is gone. Only
    /// [`Self::record_scrub`] looks which files were read back completely by that.
    ///
    /// # Errors
    /// As for [`Self::record_scrub`].
    pub fn mark_verified(
        &mut self,
        extent: ExtentId,
        range: ByteRange,
        at: Timestamp,
    ) -> Result<(), CatalogError> {
        let end_bytes = self.extent_row(extent)?.map_or(0, |row| row.end_bytes);
        let Some(range) = ByteRange::new(range.start(), range.end().min(end_bytes)) else {
            return Ok(());
        };
        if range.is_empty() {
            return Ok(());
        }
        self.change(|writer| {
            let known = writer.verified_around(extent, range)?;
            writer.replace_verified(
                extent,
                &known,
                &spliced(&known, VerifiedInterval { range, when: at }),
            )
        })
    }

    /// Forgets when bytes of an extent were verified that are behind its end from now on, all of them when it goes.
    pub(super) fn forget_verified(&mut self, extent: ExtentId, end_bytes: u64) -> Result<(), CatalogError> {
        let mut known = self.verified_of(extent)?;
        known.retain(|verified| verified.range.end() > end_bytes);
        let left = known.iter().filter_map(|verified| {
            let range = ByteRange::new(verified.range.start(), end_bytes)?;
            (!range.is_empty()).then_some(VerifiedInterval { range, ..*verified })
        });
        let left: Vec<VerifiedInterval> = left.collect();
        self.replace_verified(extent, &known, &left)
    }

    fn replace_verified(
        &mut self,
        extent: ExtentId,
        old: &[VerifiedInterval],
        new: &[VerifiedInterval],
    ) -> Result<(), CatalogError> {
        let table = CatalogTable::Verified;
        let key = |verified: &VerifiedInterval| verified_key(extent, verified.range.start());
        let keys: Vec<Vec<u8>> = old.iter().map(key).collect();
        self.remove_rows(table, &keys)?;
        let row = |verified: &VerifiedInterval| {
            let row = seal(table, &key(verified), &VerifiedRow::new(verified));
            (key(verified), row)
        };
        let rows: Vec<KeyValue> = new.iter().map(row).collect();
        self.add_new_rows(table, &rows)
    }

    /// Adds files that nobody has read back; those without a byte have nothing to be read.
    pub(super) fn add_unverified(&mut self, files: impl Iterator<Item = FileId>) -> Result<(), CatalogError> {
        let table = CatalogTable::Unverified;
        let mut rows: Vec<KeyValue> = files
            .map(|file| {
                let key = file_key(file);
                let row = seal(table, &key, &UnverifiedRow);
                (key, row)
            })
            .collect();
        rows.sort_unstable();
        if self.add_sorted_rows(table, &rows)?.is_none() {
            return Ok(());
        }
        let about = "a file that was not there";
        Err(damaged(table, CatalogDamage::Contradiction { about }))
    }

    /// Takes files of which every byte was read back by now off the list of those that were not.
    fn mark_files_verified(&mut self, owners: &BTreeSet<ShardOwner>) -> Result<(), CatalogError> {
        if self.row_counts()?.get(CatalogTable::Unverified) == 0 {
            return Ok(());
        }
        let mut seen = Verified::default();
        let mut files = BTreeSet::new();
        for &owner in owners {
            match owner {
                ShardOwner::InlineBlockOf(file) => {
                    files.insert(file);
                }
                ShardOwner::Block(block) => {
                    files.extend(self.block_by_id(block)?.map(|block| block.file));
                }
                ShardOwner::Descriptor(_) => {}
            }
        }
        let files = self.unverified_of(&files)?;
        let mut verified = Vec::new();
        for (file, block) in self.files_with_blocks(&files)? {
            if seen.oldest_of_entry(self, (&file, block.as_ref()))?.is_some() {
                verified.push(file_key(file.id));
            }
        }
        self.change(|writer| writer.remove_rows(CatalogTable::Unverified, &verified))
    }

    /// Returns the intervals that touch a range, in their order.
    fn verified_around(
        &self,
        extent: ExtentId,
        range: ByteRange,
    ) -> Result<Vec<VerifiedInterval>, CatalogError> {
        let table = CatalogTable::Verified;
        let (first, start) = (verified_key(extent, 0), verified_key(extent, range.start()));
        // One byte behind: what begins at the end may be joined.
        let end = verified_key(extent, range.end().saturating_add(1));
        let before = (Bound::Included(first.as_slice()), Some(start.as_slice()));
        let mut rows = self.page(table, before, (Order::Falling, 1))?;
        let within = (Bound::Included(start.as_slice()), Some(end.as_slice()));
        rows.extend(self.page(table, within, (Order::Rising, usize::MAX))?);
        let known = rows.iter().map(parse_verified);
        let known: Vec<VerifiedInterval> = known.collect::<Result<_, _>>()?;
        Ok(known
            .into_iter()
            .filter(|verified| verified.range.end() >= range.start())
            .collect())
    }
}

/// Returns the intervals that are left of `known` with a new one in their midst: also where a clock went back in between, what
/// was read last counts.
fn spliced(known: &[VerifiedInterval], new: VerifiedInterval) -> Vec<VerifiedInterval> {
    let mut set = VerifiedSet::from_intervals(known.iter().copied());
    set.remove(new.range);
    set.insert(new.range, new.when);
    set.iter().collect()
}

/// When extents were verified, kept while many files are looked at.
#[derive(Debug, Default)]
pub struct Verified {
    extents: BTreeMap<ExtentId, VerifiedSet>,
}

impl Verified {
    /// Returns when the byte of a file was verified that was verified longest ago; `None` when some byte never was, or when
    /// there is none.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] when rows are not what was written.
    pub fn oldest(
        &mut self,
        reader: &CatalogReader,
        file: &FileRecord,
    ) -> Result<Option<Timestamp>, CatalogError> {
        let indexes = (0..file.geometry.block_count()).map(BlockIndex::new);
        self.oldest_of(reader, indexes.map(|index| reader.block(file, index)))
    }

    /// Does the same for blocks, in their order.
    pub(super) fn oldest_of(
        &mut self,
        reader: &CatalogReader,
        blocks: impl Iterator<Item = Result<BlockRecord, CatalogError>>,
    ) -> Result<Option<Timestamp>, CatalogError> {
        let mut oldest: Option<Timestamp> = None;
        for block in blocks {
            // Later extents are read later as a rule: so what was not read shows soon.
            for shard in block?.shards.iter().flatten().rev() {
                let range = ByteRange::at(shard.offset, shard.frame_len_bytes);
                let range = range.expect("a row with a frame that ends nowhere is damaged");
                match self.when(reader, shard.extent, range)? {
                    Some(at) => oldest = Some(oldest.map_or(at, |oldest| oldest.min(at))),
                    None => return Ok(None),
                }
            }
        }
        Ok(oldest)
    }

    /// Returns when the byte of a range was verified that was verified longest ago; `None` when some byte never was.
    ///
    /// # Errors
    /// As for [`Self::oldest`].
    pub fn when(
        &mut self,
        reader: &CatalogReader,
        extent: ExtentId,
        range: ByteRange,
    ) -> Result<Option<Timestamp>, CatalogError> {
        let known = match self.extents.entry(extent) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(VerifiedSet::from_intervals(reader.verified_of(extent)?)),
        };
        Ok(known.when(range))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verified(start: u64, end: u64, seconds: i64) -> VerifiedInterval {
        VerifiedInterval {
            range: ByteRange::new(start, end).expect("in order"),
            when: Timestamp::new(seconds, 0).expect("a time"),
        }
    }

    /// Every pair of intervals of a short extent, against an array of bytes.
    #[test]
    fn what_is_verified_anew_takes_the_place_of_what_was_and_nothing_else() {
        const LEN: u64 = 6;
        let all = || (0..LEN).flat_map(|start| (start + 1..=LEN).map(move |end| (start, end)));
        for (a, b) in all() {
            for (c, d) in all().filter(|(start, _)| *start >= b) {
                for (start, end) in all() {
                    for seconds in [1, 2, 3] {
                        let known = [verified(a, b, 1), verified(c, d, 2)];
                        let new = verified(start, end, seconds);
                        let mut bytes = [0; 6];
                        for piece in known.iter().chain([&new]) {
                            let range = piece.range;
                            for byte in range.start()..range.end() {
                                bytes[usize::try_from(byte).expect("small")] = piece.when.seconds();
                            }
                        }
                        let mut found = [0; 6];
                        let pieces = spliced(&known, new);
                        for piece in &pieces {
                            for byte in piece.range.start()..piece.range.end() {
                                let byte = &mut found[usize::try_from(byte).expect("small")];
                                assert_eq!(*byte, 0, "pieces do not overlap");
                                *byte = piece.when.seconds();
                            }
                        }
                        assert_eq!(found, bytes, "{known:?} with {new:?}");
                        assert!(pieces.iter().all(|piece| !piece.range.is_empty()));
                    }
                }
            }
        }
    }
}
