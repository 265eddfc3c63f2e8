//! Decoding one column, also where parity lies: what was wrong when it was hashed matches its hash.
//!
//! Verified leaves decode to right ones, unless parity was encoded wrongly. So what comes out is compared with its hash like
//! everything else, leaf by leaf, and where it does not match other parity is tried.

use std::collections::BTreeMap;

use super::BlockReader;
use crate::{
    archive::observer::{DamageKind, DamagePart, Observer},
    codec::{ColumnDecoder, ColumnEncoder},
    plan::ColumnSet,
    units::{ColumnIndex, ShardIndex, to_usize},
};

/// Choices of parity that are tried for one column; of 3 parity shards there are at most 3.
const MOST_CHOICES: usize = 256;

/// A data leaf that came out of a column.
#[derive(Debug)]
pub(in crate::archive) struct DecodedLeaf {
    pub(in crate::archive) shard: ShardIndex,
    pub(in crate::archive) bytes: Vec<u8>,
    /// It matches its hash; otherwise there is no table that has one.
    pub(in crate::archive) is_proven: bool,
}

/// What one choice of parity has come to; leaves that contradict their hash are left out.
#[derive(Debug, Default)]
pub(super) struct Attempt {
    pub(super) leaves: Vec<DecodedLeaf>,
    pub(super) has_contradiction: bool,
}

impl BlockReader {
    /// Decodes the missing data leaves of a column, from whichever parity gives right ones; what contradicts its hash is left out.
    ///
    /// `present` has the verified leaf of each shard, the empty slice for one that has none there, and `None` for a bad one.
    /// Parity that turns out to be wrong is told of.
    pub(in crate::archive) fn decode_column(
        &self,
        decoder: &mut ColumnDecoder,
        column: ColumnIndex,
        present: &[Option<&[u8]>],
        observer: &dyn Observer,
    ) -> Vec<DecodedLeaf> {
        let first = self.attempt(decoder, column, present, observer);
        if !first.has_contradiction {
            return first.leaves;
        }
        let data = usize::from(self.geometry().shape().data());
        let missing = present[..data].iter().filter(|leaf| leaf.is_none()).count();
        let parity = (data..present.len()).filter(|row| present[*row].is_some());
        let parity: Vec<usize> = parity.collect();
        let mut proven = BTreeMap::new();
        keep_proven(&mut proven, first.leaves);
        for choice in choices(&parity, missing).skip(1).take(MOST_CHOICES) {
            if proven.len() == missing {
                break;
            }
            let is_taken = |row: usize| row < data || choice.contains(&row);
            let chosen = present.iter().enumerate();
            let chosen: Vec<Option<&[u8]>> =
                chosen.map(|(row, leaf)| leaf.filter(|_| is_taken(row))).collect();
            keep_proven(
                &mut proven,
                self.attempt(decoder, column, &chosen, observer).leaves,
            );
        }
        self.blame(column, present, &proven, observer);
        let leaves = proven.into_iter().map(|(shard, bytes)| DecodedLeaf {
            shard,
            bytes,
            is_proven: true,
        });
        leaves.collect()
    }

    /// Decodes the missing data leaves of a column once, from the first parity that is present; nothing when too much is missing.
    pub(super) fn attempt(
        &self,
        decoder: &mut ColumnDecoder,
        column: ColumnIndex,
        present: &[Option<&[u8]>],
        observer: &dyn Observer,
    ) -> Attempt {
        let geometry = self.geometry();
        let slice_len = to_usize(geometry.slice_len_bytes(column));
        let mut restored: Vec<(ShardIndex, Vec<u8>)> = Vec::new();
        let decoded = decoder.decode(slice_len, present, |shard, bytes| {
            if let Some(range) = geometry.leaf_range(shard, column) {
                restored.push((shard, bytes[..to_usize(range.len())].to_vec()));
            }
        });
        let mut attempt = Attempt::default();
        if decoded.is_err() {
            return attempt;
        }
        for (shard, bytes) in restored {
            let hash = || self.hash(shard, column, &bytes);
            let table = self.table(shard, observer);
            let is_right = table.map(|table| table.get(column) == Some(&hash()));
            match is_right {
                Some(false) => attempt.has_contradiction = true,
                Some(true) | None => attempt.leaves.push(DecodedLeaf {
                    shard,
                    bytes,
                    is_proven: is_right.is_some(),
                }),
            }
        }
        attempt
    }

    /// Tells which parity leaves of a column are wrong: those that the data do not encode to, and all of them where not all of
    /// the data can be had, since any of them may be.
    fn blame(
        &self,
        column: ColumnIndex,
        present: &[Option<&[u8]>],
        proven: &BTreeMap<ShardIndex, Vec<u8>>,
        observer: &dyn Observer,
    ) {
        let data = usize::from(self.geometry().shape().data());
        let leaves = present[..data].iter().zip(0..);
        let leaves = leaves
            .map(|(leaf, shard)| leaf.or_else(|| proven.get(&ShardIndex::new(shard)).map(Vec::as_slice)));
        let encoded = leaves
            .collect::<Option<Vec<&[u8]>>>()
            .map(|leaves| self.encode_column(&mut self.encoder(), column, &leaves));
        let mut columns = ColumnSet::default();
        columns.insert(column);
        for (row, leaf) in present.iter().enumerate().skip(data) {
            let is_right = |encoded: &Vec<Vec<u8>>| leaf.is_none_or(|leaf| *leaf == encoded[row - data]);
            if leaf.is_some() && !encoded.as_ref().is_some_and(is_right) {
                let fault = (DamagePart::Payload, DamageKind::Encoding);
                self.report(super::columns::shard_at(row), fault, &columns, observer);
            }
        }
    }

    /// Encodes a column, or the table column: the slice of each parity shard.
    pub(in crate::archive) fn encode_column(
        &self,
        encoder: &mut ColumnEncoder,
        column: ColumnIndex,
        data: &[&[u8]],
    ) -> Vec<Vec<u8>> {
        let slice_len = to_usize(self.geometry().slice_len_bytes(column));
        let mut slices = vec![vec![0; slice_len]; usize::from(self.geometry().shape().parity())];
        let mut outputs: Vec<&mut [u8]> = slices.iter_mut().map(Vec::as_mut_slice).collect();
        encoder.encode(slice_len, data, &mut outputs);
        slices
    }

    pub(in crate::archive) fn encoder(&self) -> ColumnEncoder {
        ColumnEncoder::new(self.geometry().shape())
    }
}

fn keep_proven(proven: &mut BTreeMap<ShardIndex, Vec<u8>>, leaves: Vec<DecodedLeaf>) {
    for leaf in leaves.into_iter().filter(|leaf| leaf.is_proven) {
        proven.insert(leaf.shard, leaf.bytes);
    }
}

/// Returns every choice of `count` of `items`, those with the first items first.
pub(super) fn choices(items: &[usize], count: usize) -> impl Iterator<Item = Vec<usize>> + '_ {
    let mut next: Option<Vec<usize>> = (count <= items.len()).then(|| (0..count).collect());
    std::iter::from_fn(move || {
        let positions = next.take()?;
        // The last position that can move on takes those behind it along.
        let movable = (0..count).rfind(|&at| positions[at] + (count - at) < items.len());
        next = movable.map(|at| {
            let mut moved = positions.clone();
            for (behind, position) in moved[at..].iter_mut().enumerate() {
                *position = positions[at] + 1 + behind;
            }
            moved
        });
        Some(positions.iter().map(|&position| items[position]).collect())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_all_subsets_of_that_many_in_order() {
        for len in 0..7_usize {
            let items: Vec<usize> = (10..10 + len).collect();
            for count in 0..=len + 1 {
                let found: Vec<Vec<usize>> = choices(&items, count).collect();
                let mut expected: Vec<Vec<usize>> = (0..1_u32 << len)
                    .filter(|bits| to_usize(u64::from(bits.count_ones())) == count)
                    .map(|bits| {
                        (0..len)
                            .filter(|at| bits >> at & 1 == 1)
                            .map(|at| items[at])
                            .collect()
                    })
                    .collect();
                expected.sort();
                assert_eq!(found, expected, "{count} of {len}");
            }
        }
    }
}
