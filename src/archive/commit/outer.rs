//! Outer parity in the making: sums over the blocks of the group that is open.
//!
//! While the blocks of a group pass, each leaf is added to the sums at its place, and each leaf table to those behind them; when the
//! last block has passed, the sums are the outer parity blocks. They take the same memory whatever the length of the file and of
//! its groups: one segment for each data shard and outer parity block, and a leaf table ([`Grouping::sums_len_bytes`]). The budget
//! is a pool of its own, made for exactly that.
//!
//! Workers are in different columns, each of which has a lock of its own. A column is added to by the blocks of one group, then read
//! by its outer parity blocks, then cleared for the next group; who comes too early waits. Nobody waits for what nobody is at work
//! on: strips are dealt in order, and a strip waits only for strips before it, whose workers have all that they need.
//!
//! [`Grouping::sums_len_bytes`]: crate::geometry::Grouping::sums_len_bytes

use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError,
    atomic::{AtomicBool, Ordering},
};

use crate::{
    buffer::{AlignedBuffer, BUFFER_ALIGN_BYTES, BufferPool},
    codec::OuterEncoder,
    error::BufferError,
    geometry::{FileGeometry, GroupGeometry},
    merkle::LeafHash,
    seeded_bugs::{SeededBug, is_on},
    units::{BlockIndex, CodeShape, ColumnIndex, ShardIndex, to_u64, to_usize},
};

/// The sums of one open group of a file.
pub(super) struct OuterSums {
    geometry: FileGeometry,
    columns: Vec<Slot>,
    /// Sums of leaf tables; none where shards have no more than one leaf.
    tables: Option<Slot>,
    encoders: Mutex<Vec<OuterEncoder>>,
    is_stopped: AtomicBool,
}

/// What is added up at one place of all data shards.
struct Slot {
    sums: Mutex<Sums>,
    changed: Condvar,
}

struct Sums {
    /// The group that is open here.
    group: u64,
    /// Blocks that have been added.
    added: u64,
    /// Readings by outer parity blocks.
    taken: u64,
    /// For each data shard a sum for each outer parity block.
    buffer: AlignedBuffer,
    /// Length of one sum.
    len: usize,
}

/// Whether there is anything to go on for: others may have failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) enum Going {
    On,
    Stopped,
}

impl OuterSums {
    /// Makes sums for the group that a block is of, in which nothing was added; `None` where blocks are not grouped, or none is left.
    pub(super) fn new(geometry: &FileGeometry, first: BlockIndex) -> Result<Option<Self>, BufferError> {
        if geometry.group_count() == 0 || first.get() >= geometry.block_count() {
            return Ok(None);
        }
        let longest = geometry.group(0);
        let open = geometry.group_of(first).expect("blocks are grouped");
        let count = usize::from(geometry.shape().data()) * usize::from(longest.code().parity());
        let (leaf, table) = (
            to_usize(geometry.leaf().bytes()),
            to_usize(longest.table_len_bytes()),
        );
        let whole = |len: usize| (count * len).next_multiple_of(BUFFER_ALIGN_BYTES);
        let columns = to_usize(u64::from(longest.columns()));
        let pool = BufferPool::new(columns * whole(leaf) + whole(table));
        let slot = |len: usize| -> Result<Slot, BufferError> {
            let mut buffer = pool.take(count * len)?;
            buffer.fill(0);
            let sums = Sums {
                group: open.index(),
                added: 0,
                taken: 0,
                buffer,
                len,
            };
            Ok(Slot {
                sums: Mutex::new(sums),
                changed: Condvar::new(),
            })
        };
        Ok(Some(Self {
            geometry: *geometry,
            columns: (0..columns).map(|_| slot(leaf)).collect::<Result<_, _>>()?,
            tables: (table > 0).then(|| slot(table)).transpose()?,
            encoders: Mutex::default(),
            is_stopped: AtomicBool::new(false),
        }))
    }

    /// Adds the leaves of blocks that follow each other in one column: of each block those of all data shards, in shard order; an empty one
    /// is absent. All at once touch the sums once.
    pub(super) fn add_column(&self, first: BlockIndex, column: ColumnIndex, leaves: &[Vec<&[u8]>]) -> Going {
        let group = self.group_of(first);
        let slot = &self.columns[column.as_usize()];
        let Some(mut sums) = self.wait(slot, |sums| sums.group == group.index()) else {
            return Going::Stopped;
        };
        self.with_encoder(group.code(), |encoder| {
            for shard in 0..usize::from(self.geometry.shape().data()) {
                let of_shard: Vec<&[u8]> = leaves.iter().map(|block| block[shard]).collect();
                sums.add(encoder, (group.position(first), shard), &of_shard);
            }
        });
        sums.added += to_u64(leaves.len());
        drop(sums);
        slot.changed.notify_all();
        Going::On
    }

    /// Adds leaves of one shard that follow each other, of a block that passes shard by shard; it is counted by [`Self::finish_block`].
    pub(super) fn add_leaves(
        &self,
        block: BlockIndex,
        (shard, first): (ShardIndex, ColumnIndex),
        bytes: &[u8],
    ) -> Going {
        let group = self.group_of(block);
        let leaves = bytes.chunks(to_usize(self.geometry.leaf().bytes()));
        let mut going = Going::On;
        self.with_encoder(group.code(), |encoder| {
            for (leaf, column) in leaves.zip(first.as_usize()..) {
                let is_open = |sums: &Sums| sums.group == group.index();
                let Some(mut sums) = self.wait(&self.columns[column], is_open) else {
                    going = Going::Stopped;
                    return;
                };
                sums.add(encoder, (group.position(block), shard.as_usize()), &[leaf]);
            }
        });
        going
    }

    /// Counts a block whose leaves were added one by one.
    pub(super) fn finish_block(&self, block: BlockIndex) {
        let columns = to_usize(u64::from(self.geometry.block(block).column_count()));
        for slot in &self.columns[..columns] {
            slot.locked().added += 1;
            slot.changed.notify_all();
        }
    }

    /// Adds the leaf tables of a block, given as the hashes of its data leaves in file order.
    pub(super) fn add_tables(&self, block: BlockIndex, leaves: &[LeafHash]) -> Going {
        let Some(slot) = &self.tables else {
            return Going::On;
        };
        let (group, geometry) = (self.group_of(block), self.geometry.block(block));
        let Some(mut sums) = self.wait(slot, |sums| sums.group == group.index()) else {
            return Going::Stopped;
        };
        let tables = leaves.chunks(to_usize(u64::from(geometry.column_count())));
        self.with_encoder(group.code(), |encoder| {
            for (shard, table) in tables.enumerate() {
                let bytes: Vec<u8> = table.iter().flat_map(|hash| hash.to_bytes()).collect();
                sums.add(encoder, (group.position(block), shard), &[&bytes]);
            }
        });
        sums.added += 1;
        drop(sums);
        slot.changed.notify_all();
        Going::On
    }

    /// Hands out the leaf of each data shard of an outer parity block in one column, once all blocks of the group were added there.
    pub(super) fn read_column(
        &self,
        block: BlockIndex,
        column: ColumnIndex,
        mut leaf: impl FnMut(ShardIndex, &[u8]),
    ) -> Going {
        let group = self.group_of(block);
        let leaf_len = to_usize(self.geometry.leaf().bytes());
        let table_column = column.get().checked_sub(group.columns());
        let (slot, start, wanted, readings) = match (table_column, &self.tables) {
            (None, _) => {
                let wanted = self.geometry.blocks_with_column(&group, column);
                (&self.columns[column.as_usize()], 0, wanted, 1)
            }
            (Some(table_column), Some(tables)) => {
                let all = group.table_columns(self.geometry.leaf()).len();
                let start = to_usize(u64::from(table_column)) * leaf_len;
                (tables, start, u64::from(group.code().data()), to_u64(all))
            }
            (Some(_), None) => panic!("there are no tables in column {column}"),
        };
        let is_complete = |sums: &Sums| sums.group == group.index() && sums.added == wanted;
        let Some(mut sums) = self.wait(slot, is_complete) else {
            return Going::Stopped;
        };
        let row = usize::from(group.position(block).get() - group.code().data());
        let parity = usize::from(group.code().parity());
        // Tables of a group of shorter blocks are shorter.
        let len = self.geometry.block(block).leaf_range(ShardIndex::new(0), column);
        let len = to_usize(len.expect("outer parity has a leaf in each of its columns").len());
        let is_spoilt = row == 0 && is_on(SeededBug::OneSumWrong) || is_on(SeededBug::AllSumsWrong);
        if is_spoilt && column == ColumnIndex::new(0) {
            let first = row * sums.len;
            sums.buffer[first] ^= 1;
        }
        for (shard, of_shard) in (0..).zip(sums.buffer.chunks_exact(sums.len * parity)) {
            leaf(ShardIndex::new(shard), &of_shard[row * sums.len + start..][..len]);
        }
        sums.taken += 1;
        if sums.taken == readings * to_u64(parity) {
            sums.clear();
        }
        drop(sums);
        slot.changed.notify_all();
        Going::On
    }

    /// Counts outer parity blocks of the open group that were read before, and are stored already.
    pub(super) fn count_as_read(&self, group: &GroupGeometry, blocks: u64) {
        let columns = to_usize(u64::from(group.columns()));
        for slot in &self.columns[..columns] {
            slot.locked().taken = blocks;
        }
        if let Some(tables) = &self.tables {
            tables.locked().taken = blocks * to_u64(group.table_columns(self.geometry.leaf()).len());
        }
    }

    /// Ends all waiting: a worker has failed.
    pub(super) fn stop(&self) {
        self.is_stopped.store(true, Ordering::SeqCst);
        for slot in self.columns.iter().chain(&self.tables) {
            // Under the lock, so that nobody is between looking and waiting.
            drop(slot.locked());
            slot.changed.notify_all();
        }
    }

    fn group_of(&self, block: BlockIndex) -> GroupGeometry {
        self.geometry.group_of(block).expect("blocks are grouped")
    }

    /// Waits until sums are as they are to be; `None` when nobody goes on any more.
    fn wait<'s>(&self, slot: &'s Slot, is_time: impl Fn(&Sums) -> bool) -> Option<MutexGuard<'s, Sums>> {
        let mut sums = slot.locked();
        loop {
            if self.is_stopped.load(Ordering::SeqCst) {
                return None;
            }
            if is_time(&sums) {
                return Some(sums);
            }
            sums = slot.changed.wait(sums).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Lends an encoder of a code; groups have one of two widths.
    fn with_encoder(&self, code: CodeShape, work: impl FnOnce(&mut OuterEncoder)) {
        let mut kept = self.encoders.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().rposition(|encoder| encoder.shape() == code);
        let found = found.map(|index| kept.swap_remove(index));
        drop(kept);
        let mut encoder = found.unwrap_or_else(|| OuterEncoder::new(code));
        work(&mut encoder);
        self.encoders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(encoder);
    }
}

impl Slot {
    fn locked(&self) -> MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sums {
    /// Adds what blocks that follow each other have at one shard.
    fn add(&mut self, encoder: &mut OuterEncoder, (first, shard): (ShardIndex, usize), blocks: &[&[u8]]) {
        let (len, parity) = (self.len, usize::from(encoder.shape().parity()));
        let of_shard = &mut self.buffer[shard * parity * len..][..parity * len];
        let mut sums: Vec<&mut [u8]> = of_shard.chunks_exact_mut(len).collect();
        encoder.add_many(first.get(), blocks, &mut sums);
    }

    /// Begins the next group.
    fn clear(&mut self) {
        self.buffer.fill(0);
        self.group += 1;
        (self.added, self.taken) = (0, 0);
    }
}

impl core::fmt::Debug for OuterSums {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("OuterSums")
            .field("geometry", &self.geometry)
            .finish_non_exhaustive()
    }
}
