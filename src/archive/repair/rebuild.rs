//! Making the frames of damaged shards anew: good leaves are copied, bad ones come out of the rest of their column.
//!
//! I7: nothing is believed here. Leaves that are read match their hash; what comes out of a column, or from a donor, counts
//! only when the digest of the whole new frame is the one that the catalog has. Parity that was encoded wrongly gets another
//! digest: of it nothing counts but leaves that were right, and what data encode to that all match their hashes.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::donor::DonorFile;
use crate::{
    archive::{
        commit::{BlockIdentity, FrameTarget, strip_range},
        read::{BlockReader, Groups, hash_leaf_of},
        shared::Shared,
        team::Member,
    },
    catalog::{ShardAddress, ShardOwner, ShardRecord},
    codec::{ColumnDecoder, ColumnEncoder},
    error::CommitError,
    geometry::BlockGeometry,
    merkle::{HASH_LEN_BYTES, LeafHash, LeafTable},
    plan::{ColumnSet, Strip, strips_of_block},
    units::{BlockIndex, ColumnIndex, ShardIndex, to_u64, to_usize},
};

/// Bytes of each shard that a strip holds: of every shard of the widest code that is what a commit holds of them.
const STRIP_LEN_BYTES: u64 = 256 * 1024;

/// A block whose damaged shards are written anew, by any number of workers.
pub(super) struct BlockRebuild {
    pub(super) reader: Arc<BlockReader>,
    pub(super) owner: ShardOwner,
    pub(super) identity: BlockIdentity,
    pub(super) groups: Option<Arc<Groups>>,
    pub(super) donor: Option<DonorFile>,
    pub(super) targets: Vec<Target>,
    strips_left: AtomicU64,
    /// Bad leaves of shards that were thought to be whole.
    met: Mutex<BTreeMap<ShardIndex, ColumnSet>>,
    rebuilt: Mutex<Vec<Rebuilt>>,
}

/// A shard that is written anew.
pub(super) struct Target {
    pub(super) shard: ShardIndex,
    pub(super) frame: FrameTarget,
    pub(super) hashes: Mutex<Vec<LeafHash>>,
    /// Columns in which it is wrong, whatever its hashes say.
    pub(super) mistrusted: ColumnSet,
    /// A leaf of it cannot be had.
    has_failed: AtomicBool,
}

/// A frame that is written whole, but not synced.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rebuilt {
    pub(super) shard: ShardIndex,
    pub(super) from: ShardAddress,
    /// Where it lies now.
    pub(super) record: ShardRecord,
    /// It holds other bytes than the old one was said to.
    pub(super) has_new_digest: bool,
}

/// One thread's working space.
pub(super) struct Bench {
    coders: BTreeMap<(u16, u16), (ColumnDecoder, ColumnEncoder)>,
}

impl BlockRebuild {
    pub(super) fn new(
        (reader, owner, identity): (Arc<BlockReader>, ShardOwner, BlockIdentity),
        groups: Option<Arc<Groups>>,
        donor: Option<DonorFile>,
        frames: impl Iterator<Item = (ShardIndex, FrameTarget)>,
        mistrusted: &BTreeMap<ShardIndex, ColumnSet>,
    ) -> Self {
        let geometry = *reader.geometry();
        let target = |(shard, frame)| {
            let leaves = to_usize(u64::from(geometry.leaf_count(shard)));
            Target {
                shard,
                frame,
                hashes: Mutex::new(vec![LeafHash::from_bytes([0; HASH_LEN_BYTES]); leaves]),
                mistrusted: mistrusted.get(&shard).cloned().unwrap_or_default(),
                has_failed: AtomicBool::new(false),
            }
        };
        let strips = to_u64(strips(&geometry).count());
        Self {
            reader,
            owner,
            identity,
            groups,
            donor,
            targets: frames.map(target).collect(),
            strips_left: AtomicU64::new(strips),
            met: Mutex::default(),
            rebuilt: Mutex::default(),
        }
    }

    /// Returns the pieces of work.
    pub(super) fn strips(&self) -> impl Iterator<Item = Strip> + use<> {
        strips(self.reader.geometry())
    }

    /// Returns how much memory a strip takes.
    pub(super) fn strip_len_bytes(&self) -> usize {
        let geometry = self.reader.geometry();
        let rows = if geometry.shape().is_replication() {
            2
        } else {
            usize::from(geometry.shape().total())
        };
        rows * row_len_bytes(geometry)
    }

    /// Rebuilds one strip of every target; the last one completes their frames. Returns how many bytes were written.
    pub(super) fn work(
        &self,
        shared: &Shared,
        strip: &Strip,
        (bench, buffer): (&mut Bench, &mut [u8]),
    ) -> Result<u64, CommitError> {
        let written = if self.reader.geometry().shape().is_replication() {
            self.copy_strip(strip, buffer)?
        } else {
            self.code_strip(strip, bench, buffer)?
        };
        if self.strips_left.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.complete(shared)?;
        }
        Ok(written)
    }

    /// Returns the frames that are whole, when all strips are done.
    pub(super) fn rebuilt(&self) -> Vec<Rebuilt> {
        locked(&self.rebuilt).clone()
    }

    /// Says whether parity that was encoded wrongly could not be encoded again, and may be now that other shards are whole.
    pub(super) fn waits_for_data(&self) -> bool {
        let rebuilt = self.rebuilt();
        let is_rebuilt = |target: &Target| rebuilt.iter().any(|done| done.shard == target.shard);
        !rebuilt.is_empty()
            && (self.targets.iter()).any(|target| target.gets_a_new_digest() && !is_rebuilt(target))
    }

    /// Returns the bad leaves that were met in shards that nobody knew to be damaged.
    pub(super) fn met(&self) -> BTreeMap<ShardIndex, ColumnSet> {
        locked(&self.met).clone()
    }

    /// Every shard is a copy of the others: each leaf is taken from the first that has it.
    fn copy_strip(&self, strip: &Strip, buffer: &mut [u8]) -> Result<u64, CommitError> {
        let reader = &self.reader;
        let geometry = *reader.geometry();
        let first = ShardIndex::new(0);
        let len = reader.run_len(first, strip.columns.clone());
        let (row, other) = buffer.split_at_mut(row_len_bytes(&geometry));
        let mut missing = ColumnSet::default();
        strip.columns().for_each(|column| missing.insert(column));
        // Shards that are written anew are the last to be asked.
        let (whole, damaged): (Vec<ShardIndex>, Vec<ShardIndex>) =
            geometry.shards().partition(|shard| self.target(*shard).is_none());
        for shard in whole.into_iter().chain(damaged) {
            if missing.is_empty() {
                break;
            }
            let bad = reader.read_verified(shard, strip.columns.clone(), &mut other[..len], &());
            self.note(shard, &bad);
            let mut still = ColumnSet::default();
            for column in missing.iter() {
                if bad.contains(column) {
                    still.insert(column);
                } else {
                    let range = strip.leaf_in_row(&geometry, first, column);
                    row[range.clone()].copy_from_slice(&other[range]);
                }
            }
            missing = still;
        }
        self.take_from_donor(strip, (first, &mut missing), row);
        for target in &self.targets {
            if !missing.is_empty() {
                target.has_failed.store(true, Ordering::Relaxed);
            }
        }
        let mut written = 0;
        for target in self.targets.iter().filter(|target| target.is_going_on()) {
            written += self.write_row(target, strip, row)?;
        }
        Ok(written)
    }

    fn code_strip(&self, strip: &Strip, bench: &mut Bench, buffer: &mut [u8]) -> Result<u64, CommitError> {
        let reader = &self.reader;
        let geometry = *reader.geometry();
        let mut rows: Vec<&mut [u8]> = buffer
            .chunks_mut(row_len_bytes(&geometry))
            .take(usize::from(geometry.shape().total()))
            .collect();
        let mut bad = vec![ColumnSet::default(); rows.len()];
        let mut needed = ColumnSet::default();
        let read = |shard: ShardIndex, rows: &mut [&mut [u8]], bad: &mut [ColumnSet]| {
            let index = shard.as_usize();
            // The last data shard may end before the others do.
            let columns = strip.columns.start..strip.columns.end.min(geometry.leaf_count(shard));
            if columns.is_empty() {
                return;
            }
            let len = reader.run_len(shard, columns.clone());
            bad[index] = reader.read_verified(shard, columns, &mut rows[index][..len], &());
            if let Some(target) = self.target(shard) {
                let wrong = strip
                    .columns()
                    .filter(|column| target.mistrusted.contains(*column));
                wrong.for_each(|column| bad[index].insert(column));
            }
            if geometry.is_data(shard) {
                self.take_from_donor(strip, (shard, &mut bad[index]), rows[index]);
            }
        };
        for target in &self.targets {
            read(target.shard, &mut rows, &mut bad);
            needed.union_with(&bad[target.shard.as_usize()]);
        }
        if !needed.is_empty() {
            for shard in geometry.shards().filter(|shard| self.target(*shard).is_none()) {
                read(shard, &mut rows, &mut bad);
                self.note(shard, &bad[shard.as_usize()]);
            }
        }
        for column in needed.iter() {
            self.restore_column((strip, column), bench, (&mut rows, &bad));
        }
        let mut written = 0;
        for target in self.targets.iter().filter(|target| target.is_going_on()) {
            written += self.write_row(target, strip, rows[target.shard.as_usize()])?;
        }
        Ok(written)
    }

    /// Brings back the leaves of the targets in one column; those that have none fail.
    fn restore_column(
        &self,
        (strip, column): (&Strip, ColumnIndex),
        bench: &mut Bench,
        (rows, bad): (&mut [&mut [u8]], &[ColumnSet]),
    ) {
        let geometry = *self.reader.geometry();
        let has_leaf = |shard: ShardIndex| column.get() < geometry.leaf_count(shard);
        let present: Vec<Option<&[u8]>> = geometry
            .shards()
            .map(|shard| {
                let index = shard.as_usize();
                if !has_leaf(shard) {
                    return Some(&[][..]);
                }
                let leaf = strip.leaf_in_row(&geometry, shard, column);
                (!bad[index].contains(column)).then(|| &rows[index][leaf])
            })
            .collect();
        let (decoder, encoder) = bench.coders(&geometry);
        let mut decoded = self.reader.decode_column(decoder, column, &present, &());
        self.sum_up_again(column, &mut decoded);
        self.decode_across(column, &present, &mut decoded);
        let is_proven = decoded.iter().all(|leaf| leaf.is_proven);
        let data = usize::from(geometry.shape().data());
        let data_leaves = present[..data].iter().zip(0..).map(|(leaf, shard)| {
            let restored = || decoded.iter().find(|leaf| leaf.shard.get() == shard);
            leaf.or_else(|| restored().map(|leaf| leaf.bytes.as_slice()))
        });
        let data_leaves: Option<Vec<&[u8]>> = data_leaves.collect();
        let mut encoded: Option<Vec<Vec<u8>>> = None;
        let mut restored: Vec<(ShardIndex, Vec<u8>)> = Vec::new();
        let is_bad = |target: &&Target| bad[target.shard.as_usize()].contains(column);
        for target in self.targets.iter().filter(is_bad) {
            let leaf = if geometry.is_data(target.shard) {
                // Where the digest is a new one it proves nothing.
                let mut leaves = decoded
                    .iter()
                    .filter(|leaf| leaf.is_proven || !target.gets_a_new_digest());
                let leaf = leaves.find(|leaf| leaf.shard == target.shard);
                leaf.map(|leaf| leaf.bytes.clone())
            } else if let Some(leaves) = &data_leaves
                && (is_proven || !target.mistrusted.contains(column))
            {
                let slices =
                    encoded.get_or_insert_with(|| self.reader.encode_column(encoder, column, leaves));
                Some(slices[target.shard.as_usize() - data].clone())
            } else {
                None
            };
            match leaf {
                Some(bytes) => restored.push((target.shard, bytes)),
                None => target.has_failed.store(true, Ordering::Relaxed),
            }
        }
        for (shard, bytes) in restored {
            let leaf = strip.leaf_in_row(&geometry, shard, column);
            rows[shard.as_usize()][leaf].copy_from_slice(&bytes);
        }
    }

    /// Takes leaves that are missing from an undamaged original; what is wrong there does not match its hash.
    fn take_from_donor(&self, strip: &Strip, (shard, missing): (ShardIndex, &mut ColumnSet), row: &mut [u8]) {
        let Some(donor) = self.donor.as_ref().filter(|_| !missing.is_empty()) else {
            return;
        };
        let geometry = *self.reader.geometry();
        let mut still = ColumnSet::default();
        for column in missing.iter() {
            let place = geometry.leaf_range_in_file(shard, column);
            let leaf = &mut row[strip.leaf_in_row(&geometry, shard, column)];
            let has_leaf = place.is_some_and(|range| donor.read_at(range.start(), leaf));
            // Without a table the digest of the frame decides.
            let is_right = self
                .reader
                .table(shard, &())
                .is_none_or(|table| table.get(column) == Some(&hash_leaf_of(&geometry, shard, column, leaf)));
            if !has_leaf || !is_right {
                still.insert(column);
            }
        }
        *missing = still;
    }

    fn write_row(&self, target: &Target, strip: &Strip, row: &[u8]) -> Result<u64, CommitError> {
        let geometry = self.reader.geometry();
        let Some(range) = strip_range(geometry, target.shard, strip) else {
            return Ok(0);
        };
        let bytes = &row[..to_usize(range.len())];
        target.frame.write(range.start(), bytes)?;
        let mut hashes = locked(&target.hashes);
        for column in strip
            .columns()
            .filter(|column| column.get() < geometry.leaf_count(target.shard))
        {
            let leaf = &bytes[strip.leaf_in_row(geometry, target.shard, column)];
            hashes[column.as_usize()] = hash_leaf_of(geometry, target.shard, column, leaf);
        }
        Ok(range.len())
    }

    /// Completes the frames of which every leaf could be had, and keeps those whose digest is right.
    fn complete(&self, shared: &Shared) -> Result<(), CommitError> {
        let geometry = *self.reader.geometry();
        let mut tables: BTreeMap<ShardIndex, LeafTable> = BTreeMap::new();
        let has_all_leaves = |target: &&Target| target.is_going_on();
        for target in self.targets.iter().filter(has_all_leaves) {
            if geometry.is_data(target.shard) || geometry.table_column().is_none() {
                let table = LeafTable::new(locked(&target.hashes).clone());
                // A wrong one must not get into the table column.
                if target.gets_a_new_digest() || self.has_digest(target.shard, &table) {
                    tables.insert(target.shard, table);
                }
            }
        }
        self.write_table_column(&mut tables)?;
        for target in self.targets.iter().filter(has_all_leaves) {
            let table = tables.get(&target.shard);
            let is_right =
                |table: &&LeafTable| target.gets_a_new_digest() || self.has_digest(target.shard, table);
            let Some(table) = table.filter(is_right) else {
                continue;
            };
            let about = (&self.identity, &geometry, target.shard);
            let record = target.frame.close(shared, about, table)?;
            locked(&self.rebuilt).push(Rebuilt {
                shard: target.shard,
                from: self.record(target.shard).address(),
                record,
                has_new_digest: target.gets_a_new_digest(),
            });
        }
        Ok(())
    }

    fn has_digest(&self, shard: ShardIndex, table: &LeafTable) -> bool {
        table.digest() == self.record(shard).digest
    }

    fn record(&self, shard: ShardIndex) -> &ShardRecord {
        let record = self.reader.shard(shard);
        record.expect("only shards that are present are targets")
    }

    fn target(&self, shard: ShardIndex) -> Option<&Target> {
        self.targets.iter().find(|target| target.shard == shard)
    }

    /// Says whether what a target has in a column is wrong, whatever its hash says.
    pub(super) fn is_mistrusted(&self, shard: ShardIndex, column: ColumnIndex) -> bool {
        self.target(shard)
            .is_some_and(|target| target.mistrusted.contains(column))
    }

    fn note(&self, shard: ShardIndex, bad: &ColumnSet) {
        let is_stored = self.reader.shard(shard).is_some() && !self.reader.is_refused(shard);
        if !bad.is_empty() && self.target(shard).is_none() && is_stored {
            locked(&self.met).entry(shard).or_default().union_with(bad);
        }
    }
}

impl Target {
    pub(super) fn is_going_on(&self) -> bool {
        !self.has_failed.load(Ordering::Relaxed)
    }

    /// Says whether it is parity that was encoded wrongly.
    pub(super) fn gets_a_new_digest(&self) -> bool {
        !self.mistrusted.is_empty()
    }
}

impl Bench {
    pub(super) const fn new() -> Self {
        Self {
            coders: BTreeMap::new(),
        }
    }

    fn coders(&mut self, geometry: &BlockGeometry) -> (&mut ColumnDecoder, &mut ColumnEncoder) {
        let shape = geometry.shape();
        let key = (shape.data(), shape.parity());
        let new = || (ColumnDecoder::new(shape), ColumnEncoder::new(shape));
        let (decoder, encoder) = self.coders.entry(key).or_insert_with(new);
        (decoder, encoder)
    }
}

fn strips(geometry: &BlockGeometry) -> impl Iterator<Item = Strip> + use<> {
    strips_of_block(BlockIndex::new(0), geometry, STRIP_LEN_BYTES)
}

/// Returns how many bytes of a shard a strip holds at most.
fn row_len_bytes(geometry: &BlockGeometry) -> usize {
    to_usize(STRIP_LEN_BYTES.max(geometry.leaf().bytes()))
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Works through the strips of many blocks, on threads of its own.
pub(super) fn rebuild_all(
    shared: &Shared,
    blocks: &[BlockRebuild],
    is_over: &(dyn Fn() -> bool + Sync),
    written: &(dyn Fn(u64) + Sync),
) -> Result<(), CommitError> {
    let strips = blocks
        .iter()
        .flat_map(|block| block.strips().map(move |strip| (block, strip)));
    let mut work: Vec<(&BlockRebuild, Strip)> = strips.collect();
    // Blocks of a group side by side: what is decoded across it for one of them is kept for the others for a while.
    work.sort_by_key(|(block, strip)| block.groups.as_ref().map(|_| strip.columns.start));
    let most = blocks
        .iter()
        .map(BlockRebuild::strip_len_bytes)
        .max()
        .unwrap_or(0);
    let count = blocks.iter().map(|block| block.strips().count()).sum();
    let queue = Mutex::new(work.into_iter());
    let stopped = AtomicBool::new(false);
    let run = |member: &Member<'_>| -> Result<(), CommitError> {
        let mut bench = Bench::new();
        while !stopped.load(Ordering::Relaxed) {
            if is_over() {
                return Err(CommitError::Cancelled);
            }
            let Some(mut buffer) = member.buffer(most)? else {
                break;
            };
            let next = locked(&queue).next();
            let Some((block, strip)) = next else { break };
            written(block.work(shared, &strip, (&mut bench, &mut buffer))?);
        }
        Ok(())
    };
    let results = shared.work_together(count, |member| {
        let result = run(member);
        if result.is_err() {
            stopped.store(true, Ordering::Relaxed);
        }
        result
    });
    results.into_iter().collect()
}
