//! Leaf tables: from wherever they can be had and proven.
//!
//! A table counts only when it matches the digest of the catalog. It stands twice in the frame of its shard; replicas all
//! have the same one; data shards of a coded block have theirs in the table column as well; and a payload that is whole
//! proves its own.

use core::ops::Range;
use std::collections::BTreeMap;

use super::BlockReader;
use crate::{
    archive::observer::{DamageKind, DamagePart, Observer},
    buffer::Scratch,
    catalog::ShardRecord,
    error::VolumeError,
    merkle::{HASH_LEN_BYTES, LeafHash, LeafTable, hash_parity_leaf},
    plan::ColumnSet,
    seeded_bugs::{SeededBug, is_on},
    units::{ColumnIndex, ShardIndex, to_usize},
};

use super::block::kind_of;

/// Payload bytes that are read at a time where a whole shard is hashed.
const HASH_RUN_LEN_BYTES: u64 = 2 << 20;

impl BlockReader {
    /// Returns the leaf table of a shard, from wherever it can be had and proven.
    pub(in crate::archive) fn table(&self, shard: ShardIndex, observer: &dyn Observer) -> Option<&LeafTable> {
        let slot = &self.tables[shard.as_usize()];
        if slot.found.get().is_none() {
            slot.search.get_or_init(|| {
                if let Some(table) = self.find_table(shard, observer) {
                    slot.found.get_or_init(|| table);
                }
            });
        }
        slot.found.get()
    }

    /// Returns the leaf table of a shard where it was needed before.
    pub(in crate::archive) fn known_table(&self, shard: ShardIndex) -> Option<&LeafTable> {
        self.tables[shard.as_usize()].found.get()
    }

    /// Says whether the leaf table of a shard was found, or learned.
    pub(super) fn has_table(&self, shard: ShardIndex) -> bool {
        self.tables[shard.as_usize()].found.get().is_some()
    }

    /// Takes a leaf table that has the digest of the shard from elsewhere; says whether that is news.
    pub(super) fn learn_table(&self, shard: ShardIndex, table: LeafTable) -> bool {
        self.tables[shard.as_usize()].found.set(table).is_ok()
    }

    /// Hashes the payload of a shard whose table nobody has, in its block or elsewhere; says whether that is news.
    pub(super) fn hash_table(&self, shard: ShardIndex) -> bool {
        !self.has_table(shard) && self.shard(shard).is_some() && self.recompute_table(shard).is_some()
    }

    /// Decodes the table of a data shard with those that were learned meanwhile; says whether that is news.
    pub(super) fn decode_table_again(&self, shard: ShardIndex) -> bool {
        let table = self.decode_table(shard, &());
        table.is_some_and(|table| self.learn_table(shard, table))
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
        decoded.flatten().or_else(|| self.recompute_table_now(shard))
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
        // With the zeros behind the first copy, in the same sector: who reads the payload next goes on where this ends.
        let first = layout
            .table_a()
            .map(|table| (table.start(), layout.payload().start()));
        let second = layout.table_b().map(|table| (table.start(), table.end()));
        let mut bytes = Vec::new();
        for (start, end) in [first, second].into_iter().flatten() {
            bytes.resize(to_usize(end - start), 0);
            let read = self.read_at(record, start, &mut bytes);
            let bytes = &bytes[..entries * HASH_LEN_BYTES];
            let table = match &read {
                Ok(()) if is_on(SeededBug::TableNotVerified) => Some(unverified(bytes)),
                Ok(()) => LeafTable::parse_verified(bytes, entries, &record.digest),
                Err(_) => None,
            };
            if table.is_some() {
                return table;
            }
            let kind = read.err().map_or(DamageKind::Checksum, |error| kind_of(&error));
            self.report(shard, (DamagePart::Table, kind), &ColumnSet::default(), observer);
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
    pub(super) fn table_column_slice(
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
        let known = self.tables[other.as_usize()].found.get();
        let table = match self.geometry().leaf_count(other) {
            _ if known.is_some() => known.cloned()?,
            1 => LeafTable::from_single(&self.shard(other)?.digest),
            // A shard that has lost both copies but no byte of its payload still tells what its table was.
            _ => self
                .stored_table(other, observer)
                .or_else(|| self.recompute_table_now(other))?,
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

    /// Encodes the leaf tables of the data shards, those of `known` as they are there: what each parity shard has to have in the
    /// table column. `None` where a table cannot be had.
    pub(in crate::archive) fn encode_table_column(
        &self,
        column: ColumnIndex,
        known: &BTreeMap<ShardIndex, LeafTable>,
    ) -> Option<Vec<Vec<u8>>> {
        let data = (0..self.geometry().shape().data()).map(ShardIndex::new);
        let tables = data.map(|shard| {
            if !self.geometry().is_present(shard) {
                return Some(Vec::new());
            }
            let table = known.get(&shard).or_else(|| self.table(shard, &()));
            table.map(LeafTable::to_bytes)
        });
        let tables = tables.collect::<Option<Vec<Vec<u8>>>>()?;
        let tables: Vec<&[u8]> = tables.iter().map(Vec::as_slice).collect();
        Some(self.encode_column(&mut self.encoder(), column, &tables))
    }

    /// Hashes a whole shard, unless its table may be had with less.
    fn recompute_table_now(&self, shard: ShardIndex) -> Option<LeafTable> {
        (!self.asks_its_group())
            .then(|| self.recompute_table(shard))
            .flatten()
    }

    /// Hashes a whole shard, once; when the digest of the hashes is right, so is every leaf, whatever became of the tables.
    fn recompute_table(&self, shard: ShardIndex) -> Option<LeafTable> {
        let slot = &self.tables[shard.as_usize()];
        slot.hashing.get_or_init(|| {
            let hashed = self.hash_payload(shard).ok();
            let digest = self.shard(shard).map(|record| record.digest);
            if let Some(table) = hashed.filter(|table| Some(table.digest()) == digest) {
                slot.found.get_or_init(|| table);
            }
        });
        slot.found.get().cloned()
    }

    /// Returns the hashes that the stored payload of a shard has, right or wrong.
    pub(in crate::archive) fn hash_payload(&self, shard: ShardIndex) -> Result<LeafTable, VolumeError> {
        self.hash_read(shard, &mut Scratch::default(), Self::read_at)
    }

    /// Does the same in memory that is lent for it, for whoever does not read the payload again soon.
    pub(in crate::archive) fn hash_payload_once(
        &self,
        shard: ShardIndex,
        memory: &mut Scratch,
    ) -> Result<LeafTable, VolumeError> {
        self.hash_read(shard, memory, Self::read_once)
    }

    fn hash_read(
        &self,
        shard: ShardIndex,
        memory: &mut Scratch,
        read: impl Fn(&Self, &ShardRecord, u64, &mut [u8]) -> Result<(), VolumeError>,
    ) -> Result<LeafTable, VolumeError> {
        let record = self
            .shard(shard)
            .expect("only shards that are present are hashed");
        let geometry = self.geometry();
        let leaves_each =
            u32::try_from((HASH_RUN_LEN_BYTES / geometry.leaf().bytes()).max(1)).expect("a few thousand");
        let mut hashes = Vec::with_capacity(to_usize(u64::from(geometry.leaf_count(shard))));
        let payload_start = self.layout(shard).payload().start();
        let mut first = 0;
        while first < geometry.leaf_count(shard) {
            let run = first..first.saturating_add(leaves_each).min(geometry.leaf_count(shard));
            let bytes = memory.first(self.run_len(shard, run.clone()));
            let offset = payload_start + self.leaf_start(shard, run.start);
            read(self, record, offset, bytes)?;
            hashes.extend(self.hash_run(shard, run.clone(), bytes));
            first = run.end;
        }
        Ok(LeafTable::new(hashes))
    }

    /// Returns the hashes of a payload that is in memory, right or wrong.
    pub(in crate::archive) fn hash_loaded(&self, shard: ShardIndex, payload: &[u8]) -> LeafTable {
        let all = 0..self.geometry().leaf_count(shard);
        LeafTable::new(self.hash_run(shard, all, payload).collect())
    }

    fn hash_run<'a>(
        &'a self,
        shard: ShardIndex,
        run: Range<u32>,
        bytes: &'a [u8],
    ) -> impl Iterator<Item = LeafHash> + 'a {
        let base = self.leaf_start(shard, run.start);
        run.map(ColumnIndex::new).map(move |column| {
            let range = self.geometry().leaf_range(shard, column);
            let range = range.expect("below the leaf count");
            let start = to_usize(range.start() - base);
            self.hash(shard, column, &bytes[start..start + to_usize(range.len())])
        })
    }
}

/// Takes a table as it is: for a seeded bug alone.
fn unverified(bytes: &[u8]) -> LeafTable {
    let (hashes, _) = bytes.as_chunks::<HASH_LEN_BYTES>();
    LeafTable::new(hashes.iter().copied().map(LeafHash::from_bytes).collect())
}
