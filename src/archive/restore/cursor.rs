//! In which order the pieces of a file are restored.
//!
//! Pieces come in the order of the file: long runs of one shard after the other, so that disks read and write megabytes in one go. What
//! a run has not found right waits until all runs of its block are done: what all of them lack of a column is decoded at once. What a
//! block alone has lost waits until all pieces of its group are done, and comes out of the group a column at a time then: a column of a group is read
//! once for all of its blocks, and not once for each.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use super::waiting::{OpenBlock, OpenGroup};
use crate::{
    archive::{
        called::Called,
        read::{BlockReader, LostLeaf},
        shared::{CODED_STRIP_LEN_BYTES, Shared},
    },
    catalog::{BlockRecord, FileRecord},
    geometry::BlockGeometry,
    plan::{ColumnSet, Strip, strips_of_block},
    storage::Medium,
    units::{BlockIndex, ColumnIndex, ShardIndex, to_u64},
};

/// Bytes of one shard that are read at a time where shards follow each other.
pub(super) const RUN_LEN_BYTES: u64 = 8 << 20;

/// Bytes of each shard that are read at a time where a block is decoded and disks rotate.
const ROTATING_STRIP_LEN_BYTES: u64 = 512 * 1024;

/// What is done at a time.
pub(super) enum Piece {
    /// Columns of a block of one shard; of copies the first stands for all, and is decoded at once.
    Run(Arc<BlockReader>, ShardIndex, Strip),
    /// What runs have not found right in columns of their block.
    Gaps(Arc<BlockReader>, Strip, Arc<Gaps>),
    /// What blocks of a group have lost of one column.
    Column(ColumnIndex, Vec<(BlockIndex, ShardIndex)>),
}

/// Leaves that were not right as they are stored.
pub(super) type Gaps = BTreeMap<ShardIndex, ColumnSet>;

/// Deals the pieces of a file.
pub(super) struct Cursor<'a> {
    shared: &'a Arc<Shared>,
    file: &'a FileRecord,
    medium: Medium,
    state: Mutex<State<'a>>,
    changed: Condvar,
}

/// A block, and the runs of it that are left.
type Dealt = (Arc<BlockReader>, std::vec::IntoIter<(ShardIndex, Strip)>);

struct State<'a> {
    blocks: std::slice::Iter<'a, BlockRecord>,
    current: Option<Dealt>,
    /// Blocks of which pieces are not done yet.
    open: BTreeMap<BlockIndex, OpenBlock>,
    /// How many blocks were begun.
    begun: u64,
    /// Groups of which pieces are not done yet.
    groups: BTreeMap<u64, OpenGroup>,
    /// What waited for others and is due.
    due: VecDeque<Piece>,
    is_stopped: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(
        shared: &'a Arc<Shared>,
        (file, blocks): (&'a FileRecord, &'a [BlockRecord]),
        medium: Medium,
    ) -> Self {
        Self {
            shared,
            file,
            medium,
            state: Mutex::new(State {
                blocks: blocks.iter(),
                current: None,
                open: BTreeMap::new(),
                begun: 0,
                groups: BTreeMap::new(),
                due: VecDeque::new(),
                is_stopped: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Returns the next piece; `None` when there is none and will be none. Where all pieces are dealt it waits for those that are not
    /// done: they may leave something.
    pub(super) fn next(&self) -> Option<Piece> {
        let mut state = self.locked();
        loop {
            if state.is_stopped {
                return None;
            }
            if let Some(piece) = state.due.pop_front() {
                return Some(piece);
            }
            if let Some(piece) = self.next_of_blocks(&mut state) {
                return Some(piece);
            }
            if state.open.is_empty() && state.groups.is_empty() {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Deals nothing more: something has failed.
    pub(super) fn stop(&self) {
        self.locked().is_stopped = true;
        self.changed.notify_all();
    }

    /// Returns what deals nothing more when a worker panics, as an observer may: others wait for its piece, and would for ever.
    pub(super) fn stop_on_panic(&self) -> impl Drop + use<'_, 'a> {
        StopOnPanic(self)
    }

    /// Ends a run, of which columns were not right. Returns the place of its block in the file where that is done.
    pub(super) fn finish_run(
        &self,
        block: &Arc<BlockReader>,
        shard: ShardIndex,
        bad: &ColumnSet,
    ) -> Option<u64> {
        let index = block.record().index;
        let mut state = self.locked();
        let open = state.open.get_mut(&index).expect("one of its runs was not done");
        open.leave(shard, bad);
        let mut done = None;
        if open.finish_piece() {
            let gaps = open.take_gaps();
            let strips = gap_strips(block, &gaps, strip_len(self.medium));
            open.add_pieces(strips.len());
            if strips.is_empty() {
                done = Some(open.ordinal());
                state.open.remove(&index);
            }
            self.deal_gaps(&mut state, block, (strips, gaps));
        }
        self.finish_of_group(&mut state, index, &[]);
        drop(state);
        self.changed.notify_all();
        done
    }

    /// Ends a strip, of which its block has lost something that its group may have. Returns the place of its block in the file where
    /// that is done.
    pub(super) fn finish_strip(&self, block: BlockIndex, lost: &[LostLeaf]) -> Option<u64> {
        let mut state = self.locked();
        let open = state
            .open
            .get_mut(&block)
            .expect("one of its strips was not done");
        let done = open.finish_piece().then(|| open.ordinal());
        if done.is_some() {
            state.open.remove(&block);
        }
        self.finish_of_group(&mut state, block, lost);
        drop(state);
        self.changed.notify_all();
        done
    }

    fn deal_gaps(&self, state: &mut State<'a>, block: &Arc<BlockReader>, (strips, gaps): (Vec<Strip>, Gaps)) {
        if let Some(group) = self.file.geometry.group_of(block.record().index) {
            let open = state
                .groups
                .get_mut(&group.index())
                .expect("a run of it is not done");
            open.add_pieces(to_u64(strips.len()));
        }
        let gaps = Arc::new(gaps);
        let pieces = strips.into_iter();
        let pieces = pieces.map(|strip| Piece::Gaps(Arc::clone(block), strip, Arc::clone(&gaps)));
        state.due.extend(pieces);
    }

    fn finish_of_group(&self, state: &mut State<'a>, block: BlockIndex, lost: &[LostLeaf]) {
        let Some(group) = self.file.geometry.group_of(block) else {
            return;
        };
        let open = state
            .groups
            .get_mut(&group.index())
            .expect("one of its pieces was not done");
        if open.finish_piece(block, lost) {
            let done = state.groups.remove(&group.index()).expect("it was open");
            let columns = done.into_columns().into_iter();
            state
                .due
                .extend(columns.map(|(column, lost)| Piece::Column(column, lost)));
        }
    }

    fn next_of_blocks(&self, state: &mut State<'a>) -> Option<Piece> {
        loop {
            if let Some((block, pieces)) = &mut state.current
                && let Some((shard, strip)) = pieces.next()
            {
                return Some(Piece::Run(Arc::clone(block), shard, strip));
            }
            let record = state.blocks.next()?;
            if record.geometry.is_outer_parity() {
                continue;
            }
            self.open_group(state, record.index);
            let record = record.clone();
            let pieces = runs_of(record.index, &record.geometry);
            let open = OpenBlock::new(state.begun, pieces.len());
            state.open.insert(record.index, open);
            state.begun += 1;
            let mut block = BlockReader::new(self.shared.volumes(), Called::of(self.file), record);
            if self.medium == Medium::Rotating {
                block = block.taking_turns(Arc::clone(&self.shared.arms));
            }
            state.current = Some((Arc::new(block), pieces.into_iter()));
        }
    }

    /// Opens the group of a block with its first.
    fn open_group(&self, state: &mut State<'a>, block: BlockIndex) {
        let geometry = &self.file.geometry;
        let Some(group) = geometry.group_of(block) else {
            return;
        };
        let pieces = |index: u64| {
            let index = BlockIndex::new(index);
            to_u64(runs_of(index, &geometry.block(index)).len())
        };
        if group.data_blocks().start == block.get() {
            let pieces = group.data_blocks().map(pieces).sum();
            state.groups.insert(group.index(), OpenGroup::new(pieces));
        }
    }

    fn locked(&self) -> MutexGuard<'_, State<'a>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct StopOnPanic<'c, 'a>(&'c Cursor<'a>);

impl Drop for StopOnPanic<'_, '_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

/// Returns how many bytes of each shard are read at a time where a block is decoded.
pub(super) const fn strip_len(medium: Medium) -> u64 {
    match medium {
        Medium::Solid => CODED_STRIP_LEN_BYTES,
        Medium::Rotating => ROTATING_STRIP_LEN_BYTES,
    }
}

/// Returns the runs of the data of a block, in order.
fn runs_of(index: BlockIndex, geometry: &BlockGeometry) -> Vec<(ShardIndex, Strip)> {
    let data = (0..geometry.shape().data()).map(ShardIndex::new);
    let runs_of = |shard: ShardIndex| {
        let count = geometry.leaf_count(shard);
        let runs = strips_of_block(index, geometry, RUN_LEN_BYTES);
        let runs = runs.filter(move |run| run.columns.start < count);
        runs.map(move |mut run| {
            run.columns.end = run.columns.end.min(count);
            (shard, run)
        })
    };
    data.flat_map(runs_of).collect()
}

/// Cuts the columns that have gaps into strips.
fn gap_strips(block: &BlockReader, gaps: &Gaps, strip_len: u64) -> Vec<Strip> {
    let geometry = block.geometry();
    let mut all = ColumnSet::default();
    gaps.values().for_each(|columns| all.union_with(columns));
    let strips = strips_of_block(block.record().index, geometry, strip_len);
    strips
        .filter_map(|mut strip| {
            let first = strip.columns().find(|column| all.contains(*column))?;
            let last = strip.columns().filter(|column| all.contains(*column)).last()?;
            strip.columns = first.get()..last.get() + 1;
            Some(strip)
        })
        .collect()
}
