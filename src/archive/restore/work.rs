//! Copying the pieces of a file beside others, and around what is lost.

use std::sync::{Arc, Mutex, PoisonError};

use super::{
    Losses,
    cursor::{Cursor, Gaps, Piece, RUN_LEN_BYTES, strip_len},
    proof::Proof,
};
use crate::{
    archive::{
        called::Called,
        met::{look_again, removed_meanwhile},
        observer::{Event, Observer},
        read::{BlockReader, Groups, LostLeaf},
        shared::Shared,
        team::Member,
    },
    catalog::{BlockRecord, FileRecord},
    error::{ReadError, RestoreError},
    host::RestoreFile,
    merkle::RootHash,
    plan::{ColumnSet, Strip},
    storage::Medium,
    units::{BlockIndex, ByteRange, ColumnIndex, ShardIndex, to_u64, to_usize},
};

/// How many lost ranges are collected before they are merged for the first time.
const UNMERGED_COUNT: usize = 1024;

/// Returns how many bytes of memory a piece of a file takes.
pub(in crate::archive) fn buffer_len(file: &FileRecord, medium: Medium) -> usize {
    let (shape, leaf) = (file.geometry.shape(), file.geometry.leaf().bytes());
    // A short file has one run, and no more than all of it.
    let run = to_usize(RUN_LEN_BYTES.max(leaf).min(file.geometry.len_bytes()));
    if shape.is_replication() {
        run
    } else {
        run.max(row_len(file, medium) * usize::from(shape.total()))
    }
}

fn row_len(file: &FileRecord, medium: Medium) -> usize {
    to_usize(strip_len(medium).max(file.geometry.leaf().bytes()))
}

pub(super) struct Work<'a> {
    shared: &'a Arc<Shared>,
    file: &'a FileRecord,
    medium: Medium,
    groups: Groups,
    output: &'a RestoreFile,
    observer: &'a dyn Observer,
    losses: Losses,
    blocks: &'a [BlockRecord],
    cursor: Cursor<'a>,
    lost: Mutex<LostRanges>,
    proof: Proof,
}

impl<'a> Work<'a> {
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        (file, blocks): (&'a FileRecord, &'a [BlockRecord]),
        (output, losses): (&'a RestoreFile, Losses),
        (medium, observer): (Medium, &'a dyn Observer),
    ) -> Self {
        Self {
            shared,
            file,
            medium,
            groups: Groups::of(shared, file),
            output,
            observer,
            losses,
            blocks,
            cursor: Cursor::new(shared, (file, blocks), medium),
            lost: Mutex::default(),
            proof: Proof::new(file),
        }
    }

    /// Returns the bytes of the file that are lost, in order, once all of it was copied; and its root, as far as what was read on the
    /// way says it.
    pub(super) fn into_result(self) -> (Vec<ByteRange>, Option<RootHash>) {
        let lost = self.lost.into_inner().unwrap_or_else(PoisonError::into_inner);
        let root = self.proof.root(self.file.geometry.data_block_count());
        (lost.into_ranges(), root)
    }

    /// Copies pieces beside other members until none is left or one has failed, here or elsewhere.
    pub(super) fn run(&self, member: &Member<'_>) -> Result<(), RestoreError> {
        let _guard = self.cursor.stop_on_panic();
        let result = self.run_until_stopped(member);
        if result.is_err() {
            self.cursor.stop();
        }
        result
    }

    fn run_until_stopped(&self, member: &Member<'_>) -> Result<(), RestoreError> {
        let len = buffer_len(self.file, self.medium);
        while let Some(mut buffer) = member.buffer(len).map_err(ReadError::from)? {
            let Some(bytes) = self.copy_next(&mut buffer)? else {
                return Ok(());
            };
            // Others may need it while the observer takes its time.
            drop(buffer);
            self.observer.event(Event::Progress { bytes });
        }
        Ok(())
    }

    /// Copies the next piece; returns how many bytes of the file that were, `None` when none is left.
    pub(super) fn copy_next(&self, buffer: &mut [u8]) -> Result<Option<u64>, RestoreError> {
        if self.observer.is_cancelled() {
            return Err(RestoreError::Cancelled);
        }
        let Some(piece) = self.cursor.next() else {
            return Ok(None);
        };
        let (copied, block) = match piece {
            Piece::Run(block, _, run) if self.file.geometry.shape().is_replication() => {
                (self.copy_replica(&block, &run, buffer), block)
            }
            Piece::Run(block, shard, run) => (self.copy_run(&block, (shard, &run), buffer), block),
            Piece::Gaps(block, strip, gaps) => (self.fill_gaps(&block, &strip, (buffer, &gaps)), block),
            Piece::Column(column, lost) => return self.copy_lost(column, &lost).map(Some),
        };
        // The observer was told of damage when it was met; here it is noted, where it is still there.
        drop(look_again(self.shared, self.file, &block, &()));
        copied.map(Some)
    }

    fn copy_replica(
        &self,
        block: &Arc<BlockReader>,
        strip: &Strip,
        buffer: &mut [u8],
    ) -> Result<u64, RestoreError> {
        let first = ShardIndex::new(0);
        let len = block.run_len(first, strip.columns.clone());
        let lost = block.read_what_is_left(first, strip.columns.clone(), &mut buffer[..len], self.observer);
        self.lose(block, &lost)?;
        let lost: Vec<ColumnIndex> = lost_of(&lost, first).collect();
        self.write_row(block, strip, (first, &buffer[..len]), |column| {
            !lost.contains(&column)
        })?;
        let nothing = ColumnSet::default();
        self.end_of_block(block, self.cursor.finish_run(block, first, &nothing));
        Ok(to_u64(len))
    }

    fn end_of_block(&self, block: &BlockReader, ordinal: Option<u64>) {
        if let Some(ordinal) = ordinal {
            self.proof.add(ordinal, block);
        }
    }

    /// Copies what is right of one shard, and leaves the rest to when all shards of its block were read.
    fn copy_run(
        &self,
        block: &Arc<BlockReader>,
        (shard, run): (ShardIndex, &Strip),
        buffer: &mut [u8],
    ) -> Result<u64, RestoreError> {
        let len = block.run_len(shard, run.columns.clone());
        let row = &mut buffer[..len];
        let bad = block.read_verified(shard, run.columns.clone(), row, self.observer);
        self.write_row(block, run, (shard, row), |column| !bad.contains(column))?;
        self.end_of_block(block, self.cursor.finish_run(block, shard, &bad));
        Ok(to_u64(len))
    }

    /// Decodes what runs have not found right of some columns. Its bytes were counted with the runs.
    fn fill_gaps(
        &self,
        block: &BlockReader,
        strip: &Strip,
        (buffer, gaps): (&mut [u8], &Gaps),
    ) -> Result<u64, RestoreError> {
        let row_len = row_len(self.file, self.medium);
        let geometry = block.geometry();
        let data: Vec<ShardIndex> = (0..geometry.shape().data()).map(ShardIndex::new).collect();
        let mut rows: Vec<&mut [u8]> = buffer
            .chunks_mut(row_len)
            .take(usize::from(geometry.shape().total()))
            .collect();
        let mut bad = vec![ColumnSet::default(); rows.len()];
        for (shard, row) in data.iter().zip(rows.iter_mut()) {
            let len = block.run_len(*shard, strip.columns.clone());
            if len > 0 {
                let end = strip.columns.end.min(geometry.leaf_count(*shard));
                bad[shard.as_usize()] =
                    block.read_verified(*shard, strip.columns.start..end, &mut row[..len], self.observer);
            }
        }
        let lost = if bad.iter().any(|columns| !columns.is_empty()) {
            block.repair_rows(strip.columns.clone(), &mut rows, &mut bad, self.observer)
        } else {
            Vec::new()
        };
        // What was right before was written then, whatever has become of it since.
        let is_gap = |lost: &LostLeaf| {
            let gaps = gaps.get(&lost.shard);
            gaps.is_some_and(|gaps| gaps.contains(lost.column))
        };
        let lost: Vec<LostLeaf> = lost.into_iter().filter(is_gap).collect();
        // What its group may have comes when all strips of that are done.
        if self.file.geometry.group_count() == 0 {
            self.lose(block, &lost)?;
        }
        for (shard, row) in data.into_iter().zip(&rows) {
            let len = block.run_len(shard, strip.columns.clone());
            let of_shard: Vec<ColumnIndex> = lost_of(&lost, shard).collect();
            if let Some(gaps) = gaps.get(&shard) {
                self.write_row(block, strip, (shard, &row[..len]), |column| {
                    gaps.contains(column) && !of_shard.contains(&column)
                })?;
            }
        }
        self.end_of_block(block, self.cursor.finish_strip(block.record().index, &lost));
        Ok(0)
    }

    /// Brings back what blocks of a group have lost of one column. Its bytes were counted with their strips.
    fn copy_lost(&self, column: ColumnIndex, lost: &[(BlockIndex, ShardIndex)]) -> Result<u64, RestoreError> {
        self.groups.recover_column(column, lost, |index, shard, bytes| {
            let geometry = self.file.geometry.block(index);
            let place = geometry
                .leaf_range_in_file(shard, column)
                .expect("a data leaf is lost");
            if let Some(bytes) = bytes {
                return Ok(self.output.write_at(place.start(), bytes)?);
            }
            let record = self.blocks[to_usize(index.get())].clone();
            let block = BlockReader::new(self.shared.volumes(), Called::of(self.file), record);
            let mut leaf = vec![0; to_usize(place.len())];
            let columns = column.get()..column.get() + 1;
            // Once more, for what is to be told of it.
            let lost = block.read_what_is_left(shard, columns, &mut leaf, &());
            if lost.is_empty() {
                return Ok(self.output.write_at(place.start(), &leaf)?);
            }
            self.lose(&block, &lost)
        })?;
        Ok(0)
    }

    /// Writes the leaves of one shard in a strip that are right.
    fn write_row(
        &self,
        block: &BlockReader,
        strip: &Strip,
        (shard, row): (ShardIndex, &[u8]),
        is_right: impl Fn(ColumnIndex) -> bool,
    ) -> Result<(), RestoreError> {
        let geometry = block.geometry();
        let (first, end) = (
            strip.columns.start,
            strip.columns.end.min(geometry.leaf_count(shard)),
        );
        let mut good = ColumnSet::default();
        (first..end)
            .map(ColumnIndex::new)
            .filter(|column| is_right(*column))
            .for_each(|column| good.insert(column));
        for (start, end) in good.runs() {
            let offset = geometry.leaf_range_in_file(shard, ColumnIndex::new(start));
            let offset = offset.expect("the shard has the leaf").start();
            let from = to_usize(u64::from(start - first) * geometry.leaf().bytes());
            let bytes = &row[from..from + block.run_len(shard, start..end)];
            self.output.write_at(offset, bytes)?;
        }
        Ok(())
    }

    /// Notes leaves that are lost, or fails where nobody wants what is left.
    fn lose(&self, block: &BlockReader, lost: &[LostLeaf]) -> Result<(), RestoreError> {
        // In file order, so that the first lost byte of the strip is the one that is named.
        let Some(first) = lost.iter().min_by_key(|lost| (lost.shard, lost.column)) else {
            return Ok(());
        };
        if let Some(source) = block.refusal() {
            return Err(ReadError::Refused { source }.into());
        }
        if let Some(removed) = removed_meanwhile(self.shared, self.file) {
            return Err(removed.into());
        }
        match self.losses {
            Losses::Refuse => Err(self.lost_error(block, *first).into()),
            Losses::LeaveOut => {
                let mut all = self.lost.lock().unwrap_or_else(PoisonError::into_inner);
                let is_first = all.ranges.is_empty();
                all.add(lost.iter().map(|lost| range_in_file(block, *lost)));
                drop(all);
                if is_first {
                    // Before the rest of a long file is read for nothing.
                    self.output.check_partial_name()?;
                }
                Ok(())
            }
        }
    }

    fn lost_error(&self, block: &BlockReader, lost: LostLeaf) -> ReadError {
        ReadError::Lost {
            name: self.file.name.clone(),
            range: range_in_file(block, lost),
            block: block.record().index,
            bad: lost.bad,
            tolerated: block.geometry().shape().parity(),
        }
    }
}

/// Returns the columns that are lost of one shard.
fn lost_of(lost: &[LostLeaf], shard: ShardIndex) -> impl Iterator<Item = ColumnIndex> {
    let of_shard = lost.iter().filter(move |lost| lost.shard == shard);
    of_shard.map(|lost| lost.column)
}

fn range_in_file(block: &BlockReader, lost: LostLeaf) -> ByteRange {
    let range = block.geometry().leaf_range_in_file(lost.shard, lost.column);
    range.expect("a data leaf is lost")
}

/// Lost bytes as they are met, in any order; takes as much memory as twice the ranges that they make.
#[derive(Debug, Default)]
struct LostRanges {
    ranges: Vec<ByteRange>,
    /// How many there were after they were merged last.
    merged_count: usize,
}

impl LostRanges {
    fn add(&mut self, ranges: impl Iterator<Item = ByteRange>) {
        self.ranges.extend(ranges);
        if self.ranges.len() >= UNMERGED_COUNT + 2 * self.merged_count {
            ByteRange::merge(&mut self.ranges);
            self.merged_count = self.ranges.len();
        }
    }

    fn into_ranges(mut self) -> Vec<ByteRange> {
        ByteRange::merge(&mut self.ranges);
        self.ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_ranges_take_no_more_memory_than_what_they_make_however_many_are_added() {
        let count = 100_000;
        let mut lost = LostRanges::default();
        for index in 0..count {
            // Each once, far from the one before.
            let at = index * 7919 % count * 10;
            let range = ByteRange::at(at, if at % 1000 == 0 { 5 } else { 10 }).expect("small");
            lost.add(std::iter::once(range));
        }
        let ranges = lost.into_ranges();
        assert_eq!(ranges.len(), 1001, "a gap in each thousand bytes");
        assert_eq!(ranges[1].start() - ranges[0].end(), 5);

        let mut lost = LostRanges::default();
        for index in 0..count {
            lost.add(std::iter::once(ByteRange::at(index * 10, 10).expect("small")));
            assert!(lost.ranges.len() <= UNMERGED_COUNT + 2, "{}", lost.ranges.len());
        }
        assert_eq!(
            lost.into_ranges(),
            [ByteRange::new(0, count * 10).expect("in order")]
        );
    }
}
