//! In which order the pieces of a file are restored.
//!
//! Strips come in the order of the file. What their block alone has lost waits until all strips of its group are done, and comes out of
//! the group a column at a time then: a column of a group is read once for all of its blocks, and not once for each.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

use crate::{
    archive::{
        called::Called,
        read::{BlockReader, LostLeaf},
        shared::{Shared, strip_len_bytes},
    },
    catalog::{BlockRecord, FileRecord},
    geometry::BlockGeometry,
    plan::{ColumnSet, Strip, strips_of_block},
    units::{BlockIndex, ColumnIndex, ShardIndex, to_u64},
};

/// What is done at a time.
pub(super) enum Piece {
    /// Columns of a block.
    Strip(Arc<BlockReader>, Strip),
    /// What blocks of a group have lost of one column.
    Column(ColumnIndex, Vec<(BlockIndex, ShardIndex)>),
}

/// Deals the pieces of a file.
pub(super) struct Cursor<'a> {
    shared: &'a Arc<Shared>,
    file: &'a FileRecord,
    state: Mutex<State<'a>>,
    changed: Condvar,
}

struct State<'a> {
    blocks: std::slice::Iter<'a, BlockRecord>,
    current: Option<(Arc<BlockReader>, std::vec::IntoIter<Strip>)>,
    /// Groups of which strips are not done yet.
    open: BTreeMap<u64, OpenGroup>,
    columns: VecDeque<(ColumnIndex, Vec<(BlockIndex, ShardIndex)>)>,
    is_stopped: bool,
}

/// A group whose blocks are being restored.
struct OpenGroup {
    strips_left: u64,
    lost: BTreeMap<BlockIndex, BTreeMap<ShardIndex, ColumnSet>>,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(shared: &'a Arc<Shared>, file: &'a FileRecord, blocks: &'a [BlockRecord]) -> Self {
        Self {
            shared,
            file,
            state: Mutex::new(State {
                blocks: blocks.iter(),
                current: None,
                open: BTreeMap::new(),
                columns: VecDeque::new(),
                is_stopped: false,
            }),
            changed: Condvar::new(),
        }
    }

    /// Returns the next piece; `None` when there is none and will be none. Where all strips are dealt it waits for those that are not
    /// done: they may leave something.
    pub(super) fn next(&self) -> Option<Piece> {
        let mut state = self.locked();
        loop {
            if state.is_stopped {
                return None;
            }
            if let Some((column, lost)) = state.columns.pop_front() {
                return Some(Piece::Column(column, lost));
            }
            if let Some((block, strip)) = self.next_strip(&mut state) {
                return Some(Piece::Strip(block, strip));
            }
            if state.open.is_empty() {
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

    /// Returns what deals nothing more when a worker panics, as an observer may: others wait for its strip, and would for ever.
    pub(super) fn stop_on_panic(&self) -> impl Drop + use<'_, 'a> {
        StopOnPanic(self)
    }

    /// Ends a strip, of which its block has lost something that its group may have.
    pub(super) fn finish_strip(&self, block: BlockIndex, lost: &[LostLeaf]) {
        let Some(group) = self.file.geometry.group_of(block) else {
            return;
        };
        let mut state = self.locked();
        let open = state
            .open
            .get_mut(&group.index())
            .expect("one of its strips was not done");
        for lost in lost {
            let of_block = open.lost.entry(block).or_default();
            of_block.entry(lost.shard).or_default().insert(lost.column);
        }
        open.strips_left -= 1;
        if open.strips_left == 0 {
            let done = state.open.remove(&group.index()).expect("it was open");
            let columns = done.by_column();
            state.columns.extend(columns);
            drop(state);
            self.changed.notify_all();
        }
    }

    fn next_strip(&self, state: &mut State<'a>) -> Option<(Arc<BlockReader>, Strip)> {
        loop {
            if let Some((block, strips)) = &mut state.current
                && let Some(strip) = strips.next()
            {
                return Some((Arc::clone(block), strip));
            }
            let record = state.blocks.next()?;
            if record.geometry.is_outer_parity() {
                continue;
            }
            self.open_group(state, record.index);
            let record = record.clone();
            let strips: Vec<Strip> = strips_of(record.index, &record.geometry).collect();
            let block = BlockReader::new(self.shared.volumes(), Called::of(self.file), record);
            state.current = Some((Arc::new(block), strips.into_iter()));
        }
    }

    /// Opens the group of a block with its first.
    fn open_group(&self, state: &mut State<'a>, block: BlockIndex) {
        let geometry = &self.file.geometry;
        let Some(group) = geometry.group_of(block) else {
            return;
        };
        let strips = |index: u64| {
            let index = BlockIndex::new(index);
            to_u64(strips_of(index, &geometry.block(index)).count())
        };
        if group.data_blocks().start == block.get() {
            let open = OpenGroup {
                strips_left: group.data_blocks().map(strips).sum(),
                lost: BTreeMap::new(),
            };
            state.open.insert(group.index(), open);
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

impl OpenGroup {
    /// Returns what is lost, column by column.
    fn by_column(self) -> BTreeMap<ColumnIndex, Vec<(BlockIndex, ShardIndex)>> {
        let mut columns: BTreeMap<ColumnIndex, Vec<(BlockIndex, ShardIndex)>> = BTreeMap::new();
        for (block, shards) in self.lost {
            for (shard, lost) in shards {
                for column in lost.iter() {
                    columns.entry(column).or_default().push((block, shard));
                }
            }
        }
        columns
    }
}

fn strips_of(index: BlockIndex, geometry: &BlockGeometry) -> impl Iterator<Item = Strip> + use<> {
    strips_of_block(index, geometry, strip_len_bytes(geometry.shape()))
}
