//! What outer parity has to be: the sum of the blocks of its group.
//!
//! Leaf hashes bless what was there when they were made. Outer parity that was summed up wrongly matches them for ever, and so does the
//! inner parity that was encoded from it; only adding up the blocks again shows it.

use core::ops::Range;

use super::{
    BlockReader,
    group::{GroupReader, Proof, locked},
};
use crate::{
    codec::OuterEncoder,
    merkle::LeafTable,
    plan::ColumnSet,
    units::{BlockIndex, ColumnIndex, ShardIndex, to_usize},
};

/// Bytes of each block that are added at a time.
const RUN_LEN_BYTES: u64 = 1 << 20;

/// What one data shard of an outer parity block turned out to be.
#[derive(Debug, Clone, Default)]
pub(in crate::archive) struct SumsCheck {
    /// Columns in which it is not what the blocks sum up to, though it matches its hashes.
    pub(in crate::archive) wrong: ColumnSet,
    /// It was compared in every column, and nothing was wrong.
    pub(in crate::archive) is_right: bool,
}

/// What outer parity blocks have to have in a run of columns of one shard.
struct Sums {
    /// One for each outer parity block, in order.
    slices: Vec<Vec<u8>>,
    /// Columns of which something could not be had.
    unknown: ColumnSet,
}

/// How often tables of outer parity were made again.
#[derive(Debug, Default)]
pub(super) struct Proving {
    rounds: u64,
    /// Once more would give nothing.
    is_over: bool,
}

impl GroupReader {
    /// Asks for something; where it cannot be had, once more with tables of outer parity that were made again.
    pub(super) fn with_proof<T>(&self, mut ask: impl FnMut() -> Option<T>) -> Option<T> {
        loop {
            let rounds = locked(&self.proving).rounds;
            let answer = ask();
            if answer.is_some() || !self.prove_outer_parity(rounds) {
                return answer;
            }
        }
    }

    /// Makes tables of outer parity again that are gone: where all blocks of the file have a shard, that follows from them, and its
    /// digest proves it. Says whether there is any that was not there after so many `rounds`.
    ///
    /// The last resort, since it reads whole shards. What is proven then may decode another shard of its own block, and that the same
    /// shard of other blocks.
    fn prove_outer_parity(&self, rounds: u64) -> bool {
        let mut proving = locked(&self.proving);
        if proving.rounds != rounds || proving.is_over {
            return proving.rounds != rounds;
        }
        let mut has_news = false;
        for shard in self.data_shards() {
            for (row, block) in self.outer_parity().iter().enumerate() {
                if block.table(shard, &()).is_none()
                    && let Some(table) = self.summed_table(row, shard)
                {
                    has_news |= block.learn_table(shard, table);
                }
            }
        }
        if has_news {
            proving.rounds += 1;
            self.try_again();
        } else {
            proving.is_over = true;
        }
        has_news
    }

    /// Sums up one data shard of an outer parity block, and returns its table when the digest is right.
    fn summed_table(&self, row: usize, shard: ShardIndex) -> Option<LeafTable> {
        let block = &self.outer_parity()[row];
        let digest = block.shard(shard)?.digest;
        let mut encoder = OuterEncoder::new(self.group().code());
        let mut hashes = Vec::new();
        for run in self.runs(block.geometry().leaf_count(shard)) {
            let sums = self.sums(shard, run.clone(), &mut encoder);
            if !sums.unknown.is_empty() {
                return None;
            }
            for column in run.clone().map(ColumnIndex::new) {
                let len = to_usize(block.geometry().leaf_range(shard, column)?.len());
                let bytes = &sums.slices[row][self.start_in(&run, column)..][..len];
                hashes.push(block.hash(shard, column, bytes));
            }
        }
        let table = LeafTable::new(hashes);
        (table.digest() == digest).then_some(table)
    }

    /// Returns the outer parity blocks of the group, in order.
    pub(in crate::archive) fn outer_parity(&self) -> &[BlockReader] {
        &self.blocks()[usize::from(self.group().code().data())..]
    }

    /// Returns which of them a block is.
    pub(super) fn row(&self, block: BlockIndex) -> Option<usize> {
        let position = self.group().position(block).get();
        position.checked_sub(self.group().code().data()).map(usize::from)
    }

    /// Adds up one data shard of all blocks of the file and compares what outer parity has there, `outer` in its place. Nothing is said
    /// of columns in which a leaf cannot be had.
    pub(in crate::archive) fn check_sums(
        &self,
        shard: ShardIndex,
        outer: &[(usize, &BlockReader)],
    ) -> Vec<SumsCheck> {
        let Some((_, any)) = outer.first() else {
            return Vec::new();
        };
        let (geometry, mut encoder) = (*any.geometry(), OuterEncoder::new(self.group().code()));
        let mut compared = vec![0; outer.len()];
        let mut checks = vec![SumsCheck::default(); outer.len()];
        for run in self.runs(geometry.leaf_count(shard)) {
            let sums = self.sums(shard, run.clone(), &mut encoder);
            for ((check, count), (row, block)) in checks.iter_mut().zip(&mut compared).zip(outer) {
                let mut stored = vec![0; block.run_len(shard, run.clone())];
                let bad = block.read_verified(shard, run.clone(), &mut stored, &());
                let columns = run.clone().map(ColumnIndex::new);
                for column in
                    columns.filter(|column| !bad.contains(*column) && !sums.unknown.contains(*column))
                {
                    let start = self.start_in(&run, column);
                    let end = stored.len().min(start + to_usize(geometry.leaf().bytes()));
                    *count += 1;
                    if stored[start..end] != sums.slices[*row][start..end] {
                        check.wrong.insert(column);
                    }
                }
            }
        }
        for (check, compared) in checks.iter_mut().zip(compared) {
            check.is_right = check.wrong.is_empty() && compared == geometry.leaf_count(shard);
        }
        checks
    }

    /// Returns what an outer parity block has to have in one leaf; `None` where a leaf of another block cannot be had.
    pub(super) fn summed_leaf(
        &self,
        row: usize,
        (shard, column): (ShardIndex, ColumnIndex),
    ) -> Option<Vec<u8>> {
        let mut encoder = OuterEncoder::new(self.group().code());
        let mut sums = self.sums(shard, column.get()..column.get() + 1, &mut encoder);
        sums.unknown.is_empty().then(|| sums.slices.swap_remove(row))
    }

    /// Cuts the columns of a shard into runs; a column that holds parity of leaf tables is one of its own.
    fn runs(&self, leaf_count: u32) -> impl Iterator<Item = Range<u32>> + use<> {
        let leaf_len_bytes = self.leaf_len().bytes();
        let each = u32::try_from((RUN_LEN_BYTES / leaf_len_bytes).max(1)).expect("at most 1024");
        let columns = self.group().columns().min(leaf_count);
        let of_leaves = (0..columns)
            .step_by(to_usize(u64::from(each)))
            .map(move |start| start..columns.min(start + each));
        of_leaves.chain((columns..leaf_count).map(|column| column..column + 1))
    }

    fn start_in(&self, run: &Range<u32>, column: ColumnIndex) -> usize {
        let leaf_len_bytes = self.leaf_len().bytes();
        to_usize(u64::from(column.get() - run.start) * leaf_len_bytes)
    }

    fn sums(&self, shard: ShardIndex, run: Range<u32>, encoder: &mut OuterEncoder) -> Sums {
        let len = self.start_in(&run, ColumnIndex::new(run.end));
        let code = self.group().code();
        let mut slices = vec![vec![0; len]; usize::from(code.parity())];
        let mut sums: Vec<&mut [u8]> = slices.iter_mut().map(Vec::as_mut_slice).collect();
        let mut unknown = ColumnSet::default();
        for position in 0..code.data() {
            let bytes = self.summand(usize::from(position), shard, run.clone(), &mut unknown);
            encoder.add(position, &bytes, &mut sums);
        }
        Sums { slices, unknown }
    }

    /// Reads what one block of the file adds to the sums of a run; what cannot be had is marked.
    fn summand(
        &self,
        position: usize,
        shard: ShardIndex,
        run: Range<u32>,
        unknown: &mut ColumnSet,
    ) -> Vec<u8> {
        let block = &self.blocks()[position];
        if run.start >= self.group().columns() {
            let column = ColumnIndex::new(run.start);
            return self.table_part(position, (shard, column)).unwrap_or_else(|| {
                unknown.insert(column);
                Vec::new()
            });
        }
        let here = run.start..run.end.min(block.geometry().leaf_count(shard));
        if here.is_empty() {
            return Vec::new();
        }
        let mut bytes = vec![0; block.run_len(shard, here.clone())];
        for lost in block.read_what_is_left(shard, here, &mut bytes, &()) {
            let start = self.start_in(&run, lost.column);
            let end = bytes.len().min(start + to_usize(block.geometry().leaf().bytes()));
            let place = (lost.shard, lost.column);
            let leaf = &mut bytes[start..end];
            if self.recover_once(block.record().index, place, leaf) != Some(Proof::Leaf) {
                unknown.insert(lost.column);
            }
        }
        bytes
    }
}
