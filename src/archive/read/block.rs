//! Reading one block: verified leaves, and what is told of the others.

use core::ops::Range;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
};

use super::columns::LostLeaf;
use crate::{
    archive::{
        called::Called,
        commit::leaf_kind,
        observer::{DamageKind, DamagePart, Event, Finding, Observer},
        order::Arms,
        volumes::Volumes,
    },
    catalog::{BlockRecord, DamageRecord, ShardOwner, ShardRecord},
    codec::ColumnDecoder,
    error::VolumeError,
    format::FrameLayout,
    geometry::BlockGeometry,
    merkle::{LeafHash, LeafTable, hash_data_leaf, hash_parity_leaf},
    plan::ColumnSet,
    seeded_bugs::{SeededBug, is_on},
    units::{ColumnIndex, ExtentId, ShardIndex, Timestamp, VolumeId, to_u64, to_usize},
};

/// A block, ready to be read by several workers.
///
/// Nothing that this returns is unverified: a leaf leaves here only when it matches its hash, and a hash counts only when
/// its table matches the digest of the catalog (I7).
pub(in crate::archive) struct BlockReader {
    volumes: Arc<Volumes>,
    called: Called,
    record: BlockRecord,
    /// Where disks rotate: runs of each volume are read one after another.
    arms: Option<Arc<Arms>>,
    /// Tables that neither a frame nor the code of the block has are looked for in its group before payloads are hashed for them.
    asks_its_group: bool,
    /// Leaf tables as they were first needed.
    pub(super) tables: Vec<TableSlot>,
    /// Shards that were reported as damaged, so that each is reported once.
    reported: Mutex<Vec<bool>>,
    /// Extents that the system refused to read, for a reason that has to do with this process: what is missing there is no damage.
    refused: Mutex<BTreeMap<ExtentId, VolumeError>>,
    /// All damage that was met, also of shards that were reported before.
    met: Mutex<BTreeMap<ShardIndex, Met>>,
    /// Shards that somebody was told of once it was known that their damage is there.
    told: Mutex<BTreeSet<ShardIndex>>,
    pub(super) decoders: Mutex<Vec<ColumnDecoder>>,
    /// How many shards have no part in the table column, once it was needed.
    pub(super) lost_tables: OnceLock<usize>,
    /// Leaves that were decoded beside the wanted one, kept until they are read; at most m segments.
    pub(super) decoded: Mutex<BTreeMap<(ShardIndex, ColumnIndex), Vec<u8>>>,
}

impl BlockReader {
    pub(in crate::archive) fn new(volumes: Arc<Volumes>, called: Called, record: BlockRecord) -> Self {
        let total = usize::from(record.geometry.shape().total());
        Self {
            volumes,
            called,
            record,
            arms: None,
            asks_its_group: false,
            tables: (0..total).map(|_| TableSlot::default()).collect(),
            reported: Mutex::new(vec![false; total]),
            refused: Mutex::default(),
            met: Mutex::default(),
            told: Mutex::default(),
            decoders: Mutex::default(),
            lost_tables: OnceLock::new(),
            decoded: Mutex::default(),
        }
    }

    /// Leaves payloads alone where a table is missing: whoever asks knows the group of the block, which may have it, and reads far
    /// less for it. What has no table is bad then, and not told of.
    pub(in crate::archive) const fn asking_its_group(mut self) -> Self {
        self.asks_its_group = true;
        self
    }

    /// Reads runs of a volume in turn with everybody else who does.
    pub(in crate::archive) fn taking_turns(mut self, arms: Arc<Arms>) -> Self {
        self.arms = Some(arms);
        self
    }

    pub(super) const fn asks_its_group(&self) -> bool {
        self.asks_its_group
    }

    pub(in crate::archive) const fn called(&self) -> &Called {
        &self.called
    }

    pub(in crate::archive) const fn record(&self) -> &BlockRecord {
        &self.record
    }

    pub(in crate::archive) const fn geometry(&self) -> &BlockGeometry {
        &self.record.geometry
    }

    /// Reads a run of leaves of one data shard, decoding around damage; the bytes go to `into`, which they fill.
    pub(in crate::archive) fn read_run(
        &self,
        shard: ShardIndex,
        columns: Range<u32>,
        into: &mut [u8],
        observer: &dyn Observer,
    ) -> Result<(), LostLeaf> {
        self.losses_of_run(shard, columns, into, observer)
            .next()
            .map_or(Ok(()), Err)
    }

    /// Reads a run of leaves of one data shard, decoding around damage, and goes on behind what is lost; returns the lost
    /// leaves in order. What stands in their places in `into` means nothing.
    pub(in crate::archive) fn read_what_is_left(
        &self,
        shard: ShardIndex,
        columns: Range<u32>,
        into: &mut [u8],
        observer: &dyn Observer,
    ) -> Vec<LostLeaf> {
        self.losses_of_run(shard, columns, into, observer).collect()
    }

    /// Reads a run of leaves; the leaves that are not right as they are stored are decoded one by one as the lost ones are
    /// asked for.
    fn losses_of_run<'a>(
        &'a self,
        shard: ShardIndex,
        columns: Range<u32>,
        into: &'a mut [u8],
        observer: &'a dyn Observer,
    ) -> impl Iterator<Item = LostLeaf> + 'a {
        let bad = self.read_verified(shard, columns.clone(), into, observer);
        let bad: Vec<ColumnIndex> = bad.iter().collect();
        let leaf_len = to_usize(self.geometry().leaf().bytes());
        bad.into_iter().filter_map(move |column| {
            let start = to_usize(u64::from(column.get() - columns.start)) * leaf_len;
            let end = (start + leaf_len).min(into.len());
            self.recover_leaf(shard, column, &mut into[start..end], observer)
                .err()
        })
    }

    /// Reads a run of leaves of one shard and returns the columns whose bytes are not right.
    ///
    /// `into` takes the leaves one after another; what stands in a bad leaf's place means nothing.
    pub(in crate::archive) fn read_verified(
        &self,
        shard: ShardIndex,
        columns: Range<u32>,
        into: &mut [u8],
        observer: &dyn Observer,
    ) -> ColumnSet {
        let mut bad = ColumnSet::default();
        let all = columns.clone().map(ColumnIndex::new);
        let (Some(record), Some(table)) = (self.shard(shard), self.table(shard, observer)) else {
            all.for_each(|column| bad.insert(column));
            if !self.asks_its_group {
                self.report(shard, (DamagePart::Table, DamageKind::Missing), &bad, observer);
            }
            return bad;
        };
        let mut kind = DamageKind::Checksum;
        let base = to_usize(self.leaf_start(shard, columns.start));
        let mut read = || self.read_payload(record, shard, to_u64(base), into);
        // The read alone: whoever is told of damage may take its time.
        let read = match &self.arms {
            Some(arms) => arms.hold(self.volume_id(record), read),
            None => read(),
        };
        match read {
            Ok(()) => {}
            Err(VolumeError::Missing { .. }) => {
                kind = DamageKind::Missing;
                all.clone().for_each(|column| bad.insert(column));
            }
            // One bad sector must cost one leaf, not the run.
            Err(error) => {
                kind = kind_of(&error);
                for column in all.clone() {
                    let range = self
                        .geometry()
                        .leaf_range(shard, column)
                        .expect("a run lies within its shard");
                    let start = to_usize(range.start()) - base;
                    let leaf = &mut into[start..start + to_usize(range.len())];
                    if self.read_payload(record, shard, range.start(), leaf).is_err() {
                        bad.insert(column);
                    }
                }
            }
        }
        for column in all.filter(|column| !bad.contains(*column)).collect::<Vec<_>>() {
            let range = self
                .geometry()
                .leaf_range(shard, column)
                .expect("a run lies within its shard");
            let start = to_usize(range.start()) - base;
            let leaf = &into[start..start + to_usize(range.len())];
            let is_right = table.get(column) == Some(&self.hash(shard, column, leaf));
            if !is_right && !is_on(SeededBug::LeafNotVerified) {
                bad.insert(column);
            }
        }
        if !bad.is_empty() {
            self.report(shard, (DamagePart::Payload, kind), &bad, observer);
        }
        bad
    }

    pub(super) fn hash(&self, shard: ShardIndex, column: ColumnIndex, bytes: &[u8]) -> LeafHash {
        hash_leaf_of(self.geometry(), shard, column, bytes)
    }

    pub(in crate::archive) fn shard(&self, shard: ShardIndex) -> Option<&ShardRecord> {
        self.record.shards[shard.as_usize()].as_ref()
    }

    /// Returns the layout of a present shard's frame.
    pub(in crate::archive) fn layout(&self, shard: ShardIndex) -> FrameLayout {
        FrameLayout::of_shard(self.geometry(), shard).expect("only shards that are present have a frame")
    }

    /// Returns how many bytes a run of leaves has.
    pub(in crate::archive) fn run_len(&self, shard: ShardIndex, columns: Range<u32>) -> usize {
        let end = columns.end.min(self.geometry().leaf_count(shard));
        if columns.start >= end {
            return 0;
        }
        let last = self
            .geometry()
            .leaf_range(shard, ColumnIndex::new(end - 1))
            .expect("below the leaf count");
        to_usize(last.end() - self.leaf_start(shard, columns.start))
    }

    pub(super) fn leaf_start(&self, shard: ShardIndex, column: u32) -> u64 {
        let range = self.geometry().leaf_range(shard, ColumnIndex::new(column));
        range.expect("a run begins within its shard").start()
    }

    pub(super) fn read_payload(
        &self,
        record: &ShardRecord,
        shard: ShardIndex,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), VolumeError> {
        self.read_at(record, self.layout(shard).payload().start() + offset, into)
    }

    /// Reads bytes of a shard's frame.
    pub(in crate::archive) fn read_at(
        &self,
        record: &ShardRecord,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), VolumeError> {
        let volume = self.volumes.of_extent(record.extent);
        self.noting(
            record.extent,
            volume.read_at(record.extent, record.offset + offset, into),
        )
    }

    /// Does the same for whoever does not want the bytes again soon: long and aligned reads go past caches where the volume can.
    pub(in crate::archive) fn read_once(
        &self,
        record: &ShardRecord,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), VolumeError> {
        let volume = self.volumes.of_extent(record.extent);
        self.noting(
            record.extent,
            volume.read_once(record.extent, record.offset + offset, into),
        )
    }

    /// Notes what the system has refused.
    fn noting(&self, extent: ExtentId, read: Result<(), VolumeError>) -> Result<(), VolumeError> {
        if let Some(refusal) = read.as_ref().err().and_then(VolumeError::refusal) {
            self.refused().entry(extent).or_insert(refusal);
        }
        read
    }

    /// Reads bytes of an extent from where the frame of a shard begins, frames behind it among them. Nothing is held against this block
    /// where that fails: nobody knows whose bytes they were.
    pub(in crate::archive) fn read_from(
        &self,
        shard: ShardIndex,
        into: &mut [u8],
    ) -> Result<(), VolumeError> {
        let record = self.shard(shard).expect("what is absent has no place");
        let volume = self.volumes.of_extent(record.extent);
        volume.read_once(record.extent, record.offset, into)
    }

    /// Returns what the system refused, when it did.
    pub(in crate::archive) fn refusal(&self) -> Option<VolumeError> {
        self.refused().values().find_map(VolumeError::refusal)
    }

    /// Returns the extents that the system refused to read.
    pub(in crate::archive) fn refused_extents(&self) -> BTreeMap<ExtentId, VolumeError> {
        let refused = self.refused();
        let refused = refused.iter();
        refused
            .filter_map(|(extent, refusal)| Some((*extent, refusal.refusal()?)))
            .collect()
    }

    /// Says whether the system refused to read a shard: what is missing of it is no damage.
    pub(in crate::archive) fn is_refused(&self, shard: ShardIndex) -> bool {
        let extent = self.shard(shard).map(|record| record.extent);
        extent.is_some_and(|extent| self.refused().contains_key(&extent))
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<ExtentId, VolumeError>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(in crate::archive) fn volume_id(&self, record: &ShardRecord) -> VolumeId {
        self.volumes.of_extent(record.extent).id()
    }

    /// Returns the damage that was met since this was asked last.
    pub(in crate::archive) fn take_met(&self) -> BTreeMap<ShardIndex, Met> {
        std::mem::take(&mut *self.met.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Says whether nobody was told of a shard yet; from now on somebody was.
    pub(in crate::archive) fn is_news(&self, shard: ShardIndex) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.insert(shard)
    }

    fn meet(&self, shard: ShardIndex, (part, kind): (DamagePart, DamageKind), columns: &ColumnSet) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let known = met.entry(shard).or_insert_with(|| Met {
            part,
            kind,
            columns: ColumnSet::default(),
        });
        (known.part, known.kind) = (known.part, known.kind).max((part, kind));
        known.columns.union_with(columns);
    }

    /// Tells of damage, once for each shard.
    pub(super) fn report(
        &self,
        shard: ShardIndex,
        (part, kind): (DamagePart, DamageKind),
        columns: &ColumnSet,
        observer: &dyn Observer,
    ) {
        // Without the others a table may be missing that is there.
        let is_table_missing = (part, kind) == (DamagePart::Table, DamageKind::Missing);
        if self.is_refused(shard) || is_table_missing && !self.refused().is_empty() {
            return;
        }
        self.meet(shard, (part, kind), columns);
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let was_reported = std::mem::replace(&mut reported[shard.as_usize()], true);
        drop(reported);
        if !was_reported && self.shard(shard).is_some() {
            let columns = columns.clone();
            let met = Met { part, kind, columns };
            observer.event(Event::Damage(&self.finding(shard, &met)));
        }
    }

    /// Puts damage of a shard into what the catalog notes; `None` for one that is absent.
    pub(in crate::archive) fn damage_of(
        &self,
        owner: ShardOwner,
        shard: ShardIndex,
        met: Met,
        since: Timestamp,
    ) -> Option<DamageRecord> {
        Some(DamageRecord {
            owner,
            block: self.record.id,
            shard,
            address: self.shard(shard)?.address(),
            columns: met.columns,
            part: met.part,
            kind: met.kind,
            since,
        })
    }

    /// Puts damage of a shard that is present into what observers are told.
    pub(in crate::archive) fn finding(&self, shard: ShardIndex, met: &Met) -> Finding {
        let record = self.shard(shard).expect("what is absent is not damaged");
        Finding {
            name: self.called.name.clone(),
            kept_version: self.called.kept_version,
            block: self.record.index,
            shard,
            volume: self.volume_id(record),
            extent: record.extent,
            columns: met.columns.clone(),
            part: met.part,
            kind: met.kind,
            is_recoverable: true,
        }
    }
}

/// A leaf table, once it was needed.
#[derive(Default)]
pub(super) struct TableSlot {
    pub(super) found: OnceLock<LeafTable>,
    /// It was looked for in the block.
    pub(super) search: OnceLock<()>,
    /// The payload was hashed for it.
    pub(super) hashing: OnceLock<()>,
}

/// Damage of one shard that a read has met.
#[derive(Debug, Clone)]
pub(in crate::archive) struct Met {
    pub(in crate::archive) part: DamagePart,
    pub(in crate::archive) kind: DamageKind,
    pub(in crate::archive) columns: ColumnSet,
}

/// Hashes a leaf as its place in the block asks.
pub(in crate::archive) fn hash_leaf_of(
    geometry: &BlockGeometry,
    shard: ShardIndex,
    column: ColumnIndex,
    bytes: &[u8],
) -> LeafHash {
    let holder = if geometry.shape().is_replication() {
        ShardIndex::new(0)
    } else {
        shard
    };
    match geometry.leaf_range_in_file(holder, column) {
        Some(range) => hash_data_leaf(leaf_kind(geometry), range.start(), bytes),
        None => hash_parity_leaf(bytes),
    }
}

/// Returns what kind of damage a failed read is.
pub(in crate::archive) const fn kind_of(error: &VolumeError) -> DamageKind {
    if error.is_absent() {
        DamageKind::Missing
    } else {
        DamageKind::IoError
    }
}

impl core::fmt::Debug for BlockReader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BlockReader")
            .field("called", &self.called)
            .field("block", &self.record.index)
            .finish_non_exhaustive()
    }
}
