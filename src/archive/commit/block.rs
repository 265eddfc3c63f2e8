//! A block on its way to disk: its frames, its leaf hashes, and what completes it.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use super::{
    frame::{BlockIdentity, FrameTarget},
    leg_plan::PlannedFile,
    reservation::Reservation,
};
use crate::{
    archive::shared::Shared,
    catalog::{BlockRecord, ShardRecord},
    codec::ColumnEncoder,
    error::CommitError,
    format::{FrameKind, FrameLayout},
    geometry::{BlockGeometry, FileLeaves},
    merkle::{DataLeaves, LeafHash, LeafTable, hash_data_leaf, hash_parity_leaf},
    plan::Strip,
    seeded_bugs::{SeededBug, is_on},
    units::{BlockIndex, ByteRange, ColumnIndex, ShardIndex, to_u64, to_usize},
};

impl BlockIdentity {
    pub(super) fn of(reservation: &Reservation, file: &PlannedFile, index: BlockIndex) -> Self {
        Self {
            kind: FrameKind::File,
            commit: reservation.commit(),
            file: file.record.id,
            block: file.block_id(index),
            index,
        }
    }
}

/// A block whose strips are being written, by any number of workers.
#[derive(Debug)]
pub(super) struct BlockInFlight {
    pub(super) identity: BlockIdentity,
    pub(super) geometry: BlockGeometry,
    /// One entry per shard; `None` for absent ones.
    frames: Vec<Option<FrameTarget>>,
    /// Leaf hashes, one list per shard that has hashes of its own: the first only, for replicas.
    hashes: Mutex<Vec<Vec<LeafHash>>>,
    /// What is known of frames that were written whole.
    closed: Mutex<Vec<Option<ShardRecord>>>,
    strips_left: AtomicU64,
}

/// A block that is written completely, but not synced.
#[derive(Debug)]
pub(super) struct WrittenBlock {
    pub(super) record: BlockRecord,
    /// Hashes of the data leaves in file order; outer parity has none of the file.
    pub(super) leaves: Vec<LeafHash>,
}

impl BlockInFlight {
    pub(super) fn new(
        identity: BlockIdentity,
        geometry: BlockGeometry,
        frames: Vec<Option<FrameTarget>>,
        strips: u64,
    ) -> Self {
        assert_eq!(
            frames.len(),
            usize::from(geometry.shape().total()),
            "one frame for every shard"
        );
        let tables = if geometry.shape().is_replication() {
            1
        } else {
            frames.len()
        };
        let hashes = (0..tables)
            .map(|shard| {
                let shard = ShardIndex::new(u16::try_from(shard).expect("shards are 16 bits"));
                vec![LeafHash::from_bytes([0; 32]); to_usize(u64::from(geometry.leaf_count(shard)))]
            })
            .collect();
        Self {
            identity,
            geometry,
            closed: Mutex::new(vec![None; frames.len()]),
            frames,
            hashes: Mutex::new(hashes),
            strips_left: AtomicU64::new(strips),
        }
    }

    /// Writes a piece of a shard's payload.
    pub(super) fn write(&self, shard: ShardIndex, offset: u64, bytes: &[u8]) -> Result<(), CommitError> {
        if is_on(SeededBug::ShardForgotten) && shard.get() == 1 {
            return Ok(());
        }
        let frame = self.frame(shard);
        frame.write(offset, bytes)
    }

    /// Hashes the leaves of a shard that begin at `first`, from a buffer that holds them one after another, and keeps
    /// the hashes.
    pub(super) fn hash_leaves(&self, shard: ShardIndex, first: ColumnIndex, bytes: &[u8]) {
        let leaf_len = to_usize(self.geometry.leaf().bytes());
        let hashes: Vec<LeafHash> = bytes
            .chunks(leaf_len)
            .zip(first.get()..)
            .map(|(leaf, column)| self.hash_leaf(shard, ColumnIndex::new(column), leaf))
            .collect();
        let mut tables = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        tables[shard.as_usize()][first.as_usize()..][..hashes.len()].copy_from_slice(&hashes);
    }

    fn hash_leaf(&self, shard: ShardIndex, column: ColumnIndex, bytes: &[u8]) -> LeafHash {
        match self.geometry.leaf_range_in_file(shard, column) {
            Some(range) => {
                assert_eq!(range.len(), to_u64(bytes.len()), "a leaf is hashed whole");
                hash_data_leaf(leaf_kind(&self.geometry), range.start(), bytes)
            }
            None => hash_parity_leaf(bytes),
        }
    }

    /// Writes the frame of a shard in one go, whose leaves were hashed: `frame` begins with room for what stands before the payload
    /// and goes on with that; the rest of it is room for what stands behind.
    pub(super) fn write_whole(
        &self,
        shared: &Shared,
        shard: ShardIndex,
        frame: &mut [u8],
    ) -> Result<(), CommitError> {
        let holder = if self.geometry.shape().is_replication() {
            0
        } else {
            shard.as_usize()
        };
        let hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        let table = LeafTable::new(hashes[holder].clone());
        drop(hashes);
        let target = self.frame(shard);
        let frame = &mut frame[..to_usize(target.layout.total_len_bytes())];
        let of = (&self.identity, &self.geometry, shard);
        let record = target.write_whole(shared, of, (&table, frame))?;
        let mut closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed[shard.as_usize()] = Some(record);
        Ok(())
    }

    /// Returns where the parts of the frame of a shard are.
    pub(super) fn layout(&self, shard: ShardIndex) -> &FrameLayout {
        &self.frame(shard).layout
    }

    /// Notes that a strip is written; true for the last one.
    pub(super) fn finish_strip(&self) -> bool {
        let before = self.strips_left.fetch_sub(1, Ordering::AcqRel);
        assert!(before > 0, "a block has no more strips than it was made with");
        before == 1
    }

    /// Completes every frame of the block: leaf tables, table column, headers and footers.
    pub(super) fn complete(
        &self,
        shared: &Shared,
        encoder: &mut ColumnEncoder,
    ) -> Result<WrittenBlock, CommitError> {
        let mut hashes = std::mem::take(&mut *self.hashes.lock().unwrap_or_else(PoisonError::into_inner));
        let data_shards = usize::from(self.geometry.shape().data());
        let leaves: Vec<LeafHash> = if self.geometry.is_outer_parity() {
            Vec::new()
        } else {
            hashes[..data_shards].concat()
        };
        let mut shards = std::mem::take(&mut *self.closed.lock().unwrap_or_else(PoisonError::into_inner));
        let is_open = |shard: ShardIndex| shards[shard.as_usize()].is_none();
        if let Some(column) = self.geometry.table_column()
            && is_open(ShardIndex::new(self.geometry.shape().data()))
        {
            for (shard, slice) in self.encode_table_column(column, &mut hashes, encoder) {
                self.write(shard, self.start_of(shard, column), &slice)?;
            }
        }
        let tables: Vec<LeafTable> = hashes.into_iter().map(LeafTable::new).collect();
        for shard in self.geometry.shards() {
            let record = &mut shards[shard.as_usize()];
            if record.is_some() {
                continue;
            }
            let table = if self.geometry.shape().is_replication() {
                &tables[0]
            } else {
                &tables[shard.as_usize()]
            };
            if let Some(frame) = &self.frames[shard.as_usize()] {
                *record = Some(frame.close(shared, (&self.identity, &self.geometry, shard), table)?);
            }
        }
        let record = BlockRecord {
            id: self.identity.block,
            file: self.identity.file,
            index: self.identity.index,
            reference_count: 1,
            geometry: self.geometry,
            shards,
        };
        Ok(WrittenBlock { record, leaves })
    }

    /// Encodes the leaf tables of the data shards, all of which were hashed, and notes the hashes of the parity; returns that, which
    /// stands at the end of the parity shards.
    pub(super) fn table_column(&self, encoder: &mut ColumnEncoder) -> Vec<(ShardIndex, Vec<u8>)> {
        let mut hashes = self.hashes.lock().unwrap_or_else(PoisonError::into_inner);
        let column = self.geometry.table_column();
        column.map_or_else(Vec::new, |column| {
            self.encode_table_column(column, &mut hashes, encoder)
        })
    }

    /// Encodes the leaf tables of the data shards like any other column.
    fn encode_table_column(
        &self,
        column: ColumnIndex,
        hashes: &mut [Vec<LeafHash>],
        encoder: &mut ColumnEncoder,
    ) -> Vec<(ShardIndex, Vec<u8>)> {
        let (data, parity) = (self.geometry.shape().data(), self.geometry.shape().parity());
        let slice_len = to_usize(self.geometry.slice_len_bytes(column));
        let tables: Vec<Vec<u8>> = hashes[..usize::from(data)]
            .iter()
            .map(|hashes| hashes.iter().flat_map(|hash| hash.to_bytes()).collect())
            .collect();
        let tables: Vec<&[u8]> = tables.iter().map(Vec::as_slice).collect();
        let mut slices = vec![vec![0; slice_len]; usize::from(parity)];
        let mut outputs: Vec<&mut [u8]> = slices.iter_mut().map(Vec::as_mut_slice).collect();
        encoder.encode(slice_len, &tables, &mut outputs);
        if is_on(SeededBug::TableColumnWrong) {
            outputs[0][0] ^= 1;
        }
        let slices: Vec<(ShardIndex, Vec<u8>)> = (data..).map(ShardIndex::new).zip(slices).collect();
        for (shard, slice) in &slices {
            hashes[shard.as_usize()][column.as_usize()] = hash_parity_leaf(slice);
        }
        slices
    }

    fn start_of(&self, shard: ShardIndex, column: ColumnIndex) -> u64 {
        let range = self.geometry.leaf_range(shard, column);
        range.expect("parity has a slice in the table column").start()
    }

    fn frame(&self, shard: ShardIndex) -> &FrameTarget {
        self.frames[shard.as_usize()]
            .as_ref()
            .expect("only shards that are present are written")
    }
}

/// Returns how the data leaves of a block are hashed.
pub(in crate::archive) fn leaf_kind(geometry: &BlockGeometry) -> DataLeaves {
    match geometry.file_leaves() {
        FileLeaves::One => DataLeaves::Root,
        FileLeaves::Many => DataLeaves::Subtree,
        FileLeaves::OuterParity => unreachable!("outer parity holds no leaf of a file"),
    }
}

/// Returns which bytes of a shard's payload a strip holds, or `None` where the shard has no leaf in it.
pub(in crate::archive) fn strip_range(
    geometry: &BlockGeometry,
    shard: ShardIndex,
    strip: &Strip,
) -> Option<ByteRange> {
    let end_column = strip.columns.end.min(geometry.leaf_count(shard));
    if strip.columns.start >= end_column {
        return None;
    }
    let first = geometry.leaf_range(shard, ColumnIndex::new(strip.columns.start))?;
    let last = geometry.leaf_range(shard, ColumnIndex::new(end_column - 1))?;
    ByteRange::new(first.start(), last.end())
}
