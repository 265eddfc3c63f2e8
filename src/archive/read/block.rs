//! Reading one block: leaf tables, verified leaves, and decoding around damage.

use core::ops::Range;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use crate::{
    archive::{
        commit::leaf_kind,
        observer::{DamageKind, DamagePart, Event, Finding, Observer},
        shared::Shared,
    },
    catalog::{BlockRecord, ShardRecord},
    codec::ColumnDecoder,
    error::VolumeError,
    format::FrameLayout,
    geometry::BlockGeometry,
    merkle::{HASH_LEN_BYTES, LeafHash, LeafTable, hash_data_leaf, hash_parity_leaf},
    plan::ColumnSet,
    units::{ByteRange, ColumnIndex, FileName, ShardIndex, VolumeId, to_u64, to_usize},
};

/// Payload bytes that are read at a time where a whole shard is hashed.
const HASH_RUN_LEN_BYTES: u64 = 1 << 20;

/// A block, ready to be read by several workers.
///
/// Nothing that this returns is unverified: a leaf leaves here only when it matches its hash, and a hash counts only when
/// its table matches the digest of the catalog (I7).
pub(in crate::archive) struct BlockReader {
    shared: Arc<Shared>,
    name: FileName,
    record: BlockRecord,
    /// Leaf tables as they were first needed; `None` inside for one that cannot be had.
    tables: Vec<OnceLock<Option<LeafTable>>>,
    /// Shards that were reported as damaged, so that each is reported once.
    reported: Mutex<Vec<bool>>,
    decoders: Mutex<Vec<ColumnDecoder>>,
    /// Leaves that were decoded beside the wanted one, kept until they are read; at most m segments.
    decoded: Mutex<BTreeMap<(ShardIndex, ColumnIndex), Vec<u8>>>,
}

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
    pub(in crate::archive) fn new(shared: Arc<Shared>, name: FileName, record: BlockRecord) -> Self {
        let total = usize::from(record.geometry.shape().total());
        Self {
            shared,
            name,
            record,
            tables: (0..total).map(|_| OnceLock::new()).collect(),
            reported: Mutex::new(vec![false; total]),
            decoders: Mutex::default(),
            decoded: Mutex::default(),
        }
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
        let bad = self.read_verified(shard, columns.clone(), into, observer);
        if bad.is_empty() {
            return Ok(());
        }
        let leaf_len = to_usize(self.geometry().leaf().bytes());
        for column in bad.iter() {
            let start = to_usize(u64::from(column.get() - columns.start)) * leaf_len;
            let end = (start + leaf_len).min(into.len());
            self.recover_leaf(shard, column, &mut into[start..end], observer)?;
        }
        Ok(())
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
            self.report(shard, DamagePart::Table, DamageKind::Missing, &bad, observer);
            return bad;
        };
        let mut kind = DamageKind::Checksum;
        let base = to_usize(self.leaf_start(shard, columns.start));
        match self.read_payload(record, shard, to_u64(base), into) {
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
            if table.get(column) != Some(&self.hash(shard, column, leaf)) {
                bad.insert(column);
            }
        }
        if !bad.is_empty() {
            self.report(shard, DamagePart::Payload, kind, &bad, observer);
        }
        bad
    }

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
            let restored = self.decode(&mut decoder, column, &present, observer);
            let is_restored = |shard: &ShardIndex| restored.iter().any(|leaf| leaf.0 == *shard);
            let gone = wanted.into_iter().filter(|shard| !is_restored(shard));
            lost.extend(gone.map(|shard| self.lost_leaf(shard, column, &present, observer)));
            for (shard, bytes) in restored {
                rows[shard.as_usize()][start..start + bytes.len()].copy_from_slice(&bytes);
            }
        }
        self.give_decoder(decoder);
        lost
    }

    /// Returns the leaf table of a shard, from wherever it can be had and proven.
    pub(in crate::archive) fn table(&self, shard: ShardIndex, observer: &dyn Observer) -> Option<&LeafTable> {
        self.tables[shard.as_usize()]
            .get_or_init(|| self.find_table(shard, observer))
            .as_ref()
    }

    fn find_table(&self, shard: ShardIndex, observer: &dyn Observer) -> Option<LeafTable> {
        let record = self.shard(shard)?;
        if self.geometry().leaf_count(shard) == 1 {
            return Some(LeafTable::from_single(&record.digest));
        }
        if let Some(table) = self.stored_table(shard, observer) {
            return Some(table);
        }
        if self.geometry().shape().is_replication() {
            // All replicas have one table: any copy of it serves, and so does any payload that is whole.
            let others = || self.geometry().shards().filter(move |other| *other != shard);
            return others()
                .find_map(|other| self.stored_table(other, observer))
                .or_else(|| self.recompute_table(shard))
                .or_else(|| others().find_map(|other| self.recompute_table(other)));
        }
        let decoded = self
            .geometry()
            .is_data(shard)
            .then(|| self.decode_table(shard, observer));
        decoded.flatten().or_else(|| self.recompute_table(shard))
    }

    /// Says whether a copy of the table of a shard can be read from its frame; a shard of one leaf needs none.
    pub(in crate::archive) fn has_stored_table(&self, shard: ShardIndex) -> bool {
        self.geometry().leaf_count(shard) == 1 || self.stored_table(shard, &()).is_some()
    }

    /// Reads the two copies of a table; either serves when it matches the digest.
    fn stored_table(&self, shard: ShardIndex, observer: &dyn Observer) -> Option<LeafTable> {
        let record = self.shard(shard)?;
        let layout = self.layout(shard);
        let entries = to_usize(u64::from(self.geometry().leaf_count(shard)));
        let mut bytes = vec![0; entries * HASH_LEN_BYTES];
        for offset in [layout.table_a(), layout.table_b()]
            .into_iter()
            .flatten()
            .map(ByteRange::start)
        {
            let read = self.read_at(record, offset, &mut bytes);
            let table = match &read {
                Ok(()) => LeafTable::parse_verified(&bytes, entries, &record.digest),
                Err(_) => None,
            };
            if table.is_some() {
                return table;
            }
            let kind = read.err().map_or(DamageKind::Checksum, |error| kind_of(&error));
            self.report(shard, DamagePart::Table, kind, &ColumnSet::default(), observer);
        }
        None
    }

    /// Decodes the table of a data shard from the table column.
    fn decode_table(&self, shard: ShardIndex, observer: &dyn Observer) -> Option<LeafTable> {
        let column = self.geometry().table_column()?;
        let digest = self.shard(shard)?.digest;
        let slices: Vec<Option<Vec<u8>>> = self
            .geometry()
            .shards()
            .map(|other| self.table_column_slice(other, shard, observer))
            .collect();
        let present: Vec<Option<&[u8]>> = slices.iter().map(Option::as_deref).collect();
        let mut found = None;
        let mut decoder = self.take_decoder();
        let slice_len = to_usize(self.geometry().slice_len_bytes(column));
        let entries = to_usize(u64::from(self.geometry().leaf_count(shard)));
        let decoded = decoder.decode(slice_len, &present, |restored, bytes| {
            if restored == shard {
                found = LeafTable::parse_verified(&bytes[..entries * HASH_LEN_BYTES], entries, &digest);
            }
        });
        self.give_decoder(decoder);
        decoded.ok().and(found)
    }

    /// Returns a shard's slice of the table column: its own table, or what parity keeps of them.
    fn table_column_slice(
        &self,
        other: ShardIndex,
        wanted: ShardIndex,
        observer: &dyn Observer,
    ) -> Option<Vec<u8>> {
        if other == wanted {
            return None;
        }
        if !self.geometry().is_present(other) {
            return Some(Vec::new());
        }
        let table = match self.geometry().leaf_count(other) {
            1 => LeafTable::from_single(&self.shard(other)?.digest),
            // A shard that has lost both copies but no byte of its payload still tells what its table was.
            _ => self
                .stored_table(other, observer)
                .or_else(|| self.recompute_table(other))?,
        };
        if self.geometry().is_data(other) {
            return Some(table.to_bytes());
        }
        let column = self.geometry().table_column()?;
        let range = self.geometry().leaf_range(other, column)?;
        let mut bytes = vec![0; to_usize(range.len())];
        self.read_payload(self.shard(other)?, other, range.start(), &mut bytes)
            .ok()?;
        (table.get(column) == Some(&hash_parity_leaf(&bytes))).then_some(bytes)
    }

    /// Hashes a whole shard; when the digest of the hashes is right, so is every leaf, whatever became of the tables.
    fn recompute_table(&self, shard: ShardIndex) -> Option<LeafTable> {
        let table = self.hash_payload(shard).ok()?;
        (table.digest() == self.shard(shard)?.digest).then_some(table)
    }

    /// Returns the hashes that the stored payload of a shard has, right or wrong.
    pub(in crate::archive) fn hash_payload(&self, shard: ShardIndex) -> Result<LeafTable, VolumeError> {
        let record = self
            .shard(shard)
            .expect("only shards that are present are hashed");
        let geometry = self.geometry();
        let leaves_each =
            u32::try_from((HASH_RUN_LEN_BYTES / geometry.leaf().bytes()).max(1)).expect("at most 1024");
        let mut hashes = Vec::with_capacity(to_usize(u64::from(geometry.leaf_count(shard))));
        let mut bytes = Vec::new();
        let mut first = 0;
        while first < geometry.leaf_count(shard) {
            let run = first..first.saturating_add(leaves_each).min(geometry.leaf_count(shard));
            bytes.resize(self.run_len(shard, run.clone()), 0);
            let base = self.leaf_start(shard, run.start);
            self.read_payload(record, shard, base, &mut bytes)?;
            for column in run.clone().map(ColumnIndex::new) {
                let range = geometry.leaf_range(shard, column).expect("below the leaf count");
                let start = to_usize(range.start() - base);
                hashes.push(self.hash(shard, column, &bytes[start..start + to_usize(range.len())]));
            }
            first = run.end;
        }
        Ok(LeafTable::new(hashes))
    }

    /// Brings one leaf back from the other shards of its column.
    fn recover_leaf(
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
        let slices: Vec<Option<Vec<u8>>> = self
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
        let present: Vec<Option<&[u8]>> = slices.iter().map(Option::as_deref).collect();
        let mut decoder = self.take_decoder();
        let restored = self.decode(&mut decoder, column, &present, observer);
        self.give_decoder(decoder);
        let mut is_restored = false;
        let mut kept = self.decoded.lock().unwrap_or_else(PoisonError::into_inner);
        for (other, bytes) in restored {
            if other == shard {
                into.copy_from_slice(&bytes);
                is_restored = true;
            } else {
                kept.insert((other, column), bytes);
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
    fn column_slice(
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

    /// Decodes one column and returns the missing data leaves that match their hash; none when too many are missing.
    fn decode(
        &self,
        decoder: &mut ColumnDecoder,
        column: ColumnIndex,
        present: &[Option<&[u8]>],
        observer: &dyn Observer,
    ) -> Vec<(ShardIndex, Vec<u8>)> {
        let geometry = self.geometry();
        let slice_len = to_usize(geometry.slice_len_bytes(column));
        let mut restored = Vec::new();
        let decoded = decoder.decode(slice_len, present, |shard, bytes| {
            if let Some(range) = geometry.leaf_range(shard, column) {
                restored.push((shard, bytes[..to_usize(range.len())].to_vec()));
            }
        });
        if decoded.is_err() {
            return Vec::new();
        }
        // Verified shards decode to right bytes, unless parity was wrong when it was hashed: so what comes out is checked
        // like everything else, leaf by leaf, and what cannot be checked is not used.
        restored.retain(|(shard, bytes)| {
            self.table(*shard, observer)
                .is_some_and(|table| table.get(column) == Some(&self.hash(*shard, column, bytes)))
        });
        restored
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
        let bad = if missing <= usize::from(self.geometry().shape().parity())
            && self.table(shard, observer).is_none()
        {
            // The column decodes, but nothing is left to check this leaf with.
            let slices = self.geometry().shards();
            1 + slices
                .filter(|other| *other != shard && self.table_column_slice(*other, shard, &()).is_none())
                .count()
        } else {
            missing
        };
        LostLeaf {
            shard,
            column,
            bad: u16::try_from(bad).expect("at most 256 shards"),
        }
    }

    fn hash(&self, shard: ShardIndex, column: ColumnIndex, bytes: &[u8]) -> LeafHash {
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

    fn leaf_start(&self, shard: ShardIndex, column: u32) -> u64 {
        let range = self.geometry().leaf_range(shard, ColumnIndex::new(column));
        range.expect("a run begins within its shard").start()
    }

    fn read_payload(
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
        self.shared
            .volumes
            .of_extent(record.extent)
            .read_at(record.extent, record.offset + offset, into)
    }

    pub(in crate::archive) fn volume_id(&self, record: &ShardRecord) -> VolumeId {
        self.shared.volumes.of_extent(record.extent).id()
    }

    /// Tells of damage, once for each shard.
    fn report(
        &self,
        shard: ShardIndex,
        part: DamagePart,
        kind: DamageKind,
        columns: &ColumnSet,
        observer: &dyn Observer,
    ) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let was_reported = std::mem::replace(&mut reported[shard.as_usize()], true);
        drop(reported);
        if let (false, Some(record)) = (was_reported, self.shard(shard)) {
            let finding = Finding {
                name: self.name.clone(),
                block: self.record.index,
                shard,
                volume: self.volume_id(record),
                extent: record.extent,
                columns: columns.clone(),
                part,
                kind,
                is_recoverable: true,
            };
            observer.event(Event::Damage(&finding));
        }
    }

    fn take_decoder(&self) -> ColumnDecoder {
        let kept = self.decoders.lock().unwrap_or_else(PoisonError::into_inner).pop();
        kept.unwrap_or_else(|| ColumnDecoder::new(self.geometry().shape()))
    }

    fn give_decoder(&self, decoder: ColumnDecoder) {
        self.decoders
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(decoder);
    }
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
    match error {
        VolumeError::Missing { .. } | VolumeError::Truncated { .. } => DamageKind::Missing,
        _ => DamageKind::IoError,
    }
}

fn shard_at(index: usize) -> ShardIndex {
    ShardIndex::new(u16::try_from(index).expect("shards are 16 bits"))
}

impl core::fmt::Debug for BlockReader {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("BlockReader")
            .field("name", &self.name)
            .field("block", &self.record.index)
            .finish_non_exhaustive()
    }
}
