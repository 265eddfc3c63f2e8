//! Bringing leaves back from the other shards of their column.

use core::ops::Range;
use std::sync::PoisonError;

use super::{BlockReader, decoding::DecodedLeaf};
use crate::{
    archive::observer::Observer,
    codec::ColumnDecoder,
    plan::ColumnSet,
    units::{ColumnIndex, ShardIndex, to_usize},
};

/// A data leaf that cannot be had: its column has more bad leaves than parity, or more tables are gone than that, its own
/// among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) struct LostLeaf {
    pub(in crate::archive) shard: ShardIndex,
    pub(in crate::archive) column: ColumnIndex,
    /// Bad leaves in the column, or lost tables in the table column.
    pub(in crate::archive) bad: u16,
}

impl BlockReader {
    /// Decodes the bad columns of a strip in place.
    ///
    /// `rows` holds one slice per shard, data first, each with the leaves of `columns` one after another; `bad` says which
    /// leaves of which row are not right. Good parity is read into its rows here. Returns the leaves that stay lost.
    pub(in crate::archive) fn repair_rows(
        &self,
        columns: Range<u32>,
        rows: &mut [&mut [u8]],
        bad: &mut [ColumnSet],
        observer: &dyn Observer,
    ) -> Vec<LostLeaf> {
        let geometry = *self.geometry();
        let data_shards = usize::from(geometry.shape().data());
        for (index, row) in rows.iter_mut().enumerate().skip(data_shards) {
            let shard = shard_at(index);
            let len = self.run_len(shard, columns.clone());
            bad[index] = self.read_verified(shard, columns.clone(), &mut row[..len], observer);
        }
        let mut decoder = self.take_decoder();
        let mut lost = Vec::new();
        for column in columns.clone().map(ColumnIndex::new) {
            let is_bad = |index: usize| {
                bad[index].contains(column) && column.get() < geometry.leaf_count(shard_at(index))
            };
            let wanted: Vec<ShardIndex> = (0..data_shards)
                .filter(|index| is_bad(*index))
                .map(shard_at)
                .collect();
            if wanted.is_empty() {
                continue;
            }
            let start = to_usize(u64::from(column.get() - columns.start) * geometry.leaf().bytes());
            let present: Vec<Option<&[u8]>> = rows
                .iter()
                .enumerate()
                .map(|(index, row)| {
                    let len = geometry
                        .leaf_range(shard_at(index), column)
                        .map_or(0, |range| to_usize(range.len()));
                    (!is_bad(index)).then(|| {
                        if len == 0 {
                            &[][..]
                        } else {
                            &row[start..start + len]
                        }
                    })
                })
                .collect();
            let mut restored = self.decode_column(&mut decoder, column, &present, observer);
            restored.retain(|leaf| leaf.is_proven);
            let is_restored = |shard: &ShardIndex| restored.iter().any(|leaf| leaf.shard == *shard);
            let gone = wanted.into_iter().filter(|shard| !is_restored(shard));
            lost.extend(gone.map(|shard| self.lost_leaf(shard, column, &present, observer)));
            for DecodedLeaf { shard, bytes, .. } in restored {
                rows[shard.as_usize()][start..start + bytes.len()].copy_from_slice(&bytes);
            }
        }
        self.give_decoder(decoder);
        lost
    }

    /// Brings one leaf back from the other shards of its column.
    pub(super) fn recover_leaf(
        &self,
        shard: ShardIndex,
        column: ColumnIndex,
        into: &mut [u8],
        observer: &dyn Observer,
    ) -> Result<(), LostLeaf> {
        let kept = self
            .decoded
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&(shard, column));
        if let Some(bytes) = kept {
            into.copy_from_slice(&bytes);
            return Ok(());
        }
        let enough = usize::from(self.geometry().shape().data());
        let mut good = 0;
        let mut slices: Vec<Option<Vec<u8>>> = self
            .geometry()
            .shards()
            .map(|other| {
                let is_wanted = other != shard && good < enough;
                let slice = is_wanted
                    .then(|| self.column_slice(other, column, observer))
                    .flatten();
                good += usize::from(slice.is_some());
                slice
            })
            .collect();
        let mut present: Vec<Option<&[u8]>> = slices.iter().map(Option::as_deref).collect();
        let mut decoder = self.take_decoder();
        let first = self.attempt(&mut decoder, column, &present, observer);
        let mut restored = first.leaves;
        if first.has_contradiction {
            // Parity is wrong that its hash says is right; now all of the column is needed.
            for (other, slice) in self.geometry().shards().zip(&mut slices) {
                if other != shard && slice.is_none() {
                    *slice = self.column_slice(other, column, observer);
                }
            }
            present = slices.iter().map(Option::as_deref).collect();
            restored = self.decode_column(&mut decoder, column, &present, observer);
        }
        self.give_decoder(decoder);
        let mut is_restored = false;
        let mut kept = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        for leaf in restored.into_iter().filter(|leaf| leaf.is_proven) {
            if leaf.shard == shard {
                into.copy_from_slice(&leaf.bytes);
                is_restored = true;
            } else {
                kept.insert((leaf.shard, column), leaf.bytes);
            }
        }
        drop(kept);
        if is_restored {
            Ok(())
        } else {
            Err(self.lost_leaf(shard, column, &present, observer))
        }
    }

    /// Returns the verified leaf of a shard in a column, the empty slice for an absent one, `None` for a bad one.
    pub(super) fn column_slice(
        &self,
        shard: ShardIndex,
        column: ColumnIndex,
        observer: &dyn Observer,
    ) -> Option<Vec<u8>> {
        let Some(range) = self.geometry().leaf_range(shard, column) else {
            return Some(Vec::new());
        };
        let mut bytes = vec![0; to_usize(range.len())];
        let run = column.get()..column.get() + 1;
        self.read_verified(shard, run, &mut bytes, observer)
            .is_empty()
            .then_some(bytes)
    }

    /// Says why a leaf stays lost.
    fn lost_leaf(
        &self,
        shard: ShardIndex,
        column: ColumnIndex,
        present: &[Option<&[u8]>],
        observer: &dyn Observer,
    ) -> LostLeaf {
        let missing = present.iter().filter(|slice| slice.is_none()).count();
        let is_decoded = missing <= usize::from(self.geometry().shape().parity());
        let bad = if is_decoded && self.table(shard, observer).is_some() {
            // It is not what comes out, whichever parity is taken.
            let data = usize::from(self.geometry().shape().data());
            missing + present[data..].iter().flatten().count()
        } else if is_decoded {
            // The column decodes, but nothing is left to check this leaf with. The same shards lack their tables for every
            // leaf of the block, and to find that out whole shards may have to be hashed.
            *self.lost_tables.get_or_init(|| {
                let slices = self.geometry().shards();
                1 + slices
                    .filter(|other| *other != shard && self.table_column_slice(*other, shard, &()).is_none())
                    .count()
            })
        } else {
            missing
        };
        LostLeaf {
            shard,
            column,
            bad: u16::try_from(bad).expect("at most 256 shards"),
        }
    }

    /// Forgets leaves that were decoded beside others, but for those of some columns.
    pub(super) fn forget_decoded(&self, is_kept: impl Fn(ColumnIndex) -> bool) {
        let mut decoded = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        decoded.retain(|(_, column), _| is_kept(*column));
    }

    pub(super) fn take_decoder(&self) -> ColumnDecoder {
        let kept = self.decoders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| ColumnDecoder::new(self.geometry().shape()))
    }

    pub(super) fn give_decoder(&self, decoder: ColumnDecoder) {
        self.decoders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(decoder);
    }
}

pub(super) fn shard_at(index: usize) -> ShardIndex {
    ShardIndex::new(u16::try_from(index).expect("shards are 16 bits"))
}
