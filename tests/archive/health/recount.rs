//! Everything that is known about health, counted anew the slow way, and a history that changes it at random.

use std::collections::{BTreeMap, BTreeSet};

use bfdb::{
    archive::{FileHealth, FileLoss, HealthQuery, HealthState, Loss, WhatIfReport},
    catalog::{
        Access, BlockRecord, Catalog, CatalogOptions, CatalogReader, Check, DamageRecord, ExtentRecord,
        FileRecord, Knowledge, Look, Scrubbed, ShardAddress, ShardOwner, ShardPlace,
    },
    host::Machine,
    plan::{BlockVerdict, ColumnSet, DamageKind, DamageMap, DamagePart},
    units::{BlockIndex, ByteRange, ColumnIndex, ExtentId, ShardIndex, Timestamp},
};
use bfdb_fault_injection::Seeded;

use crate::support::Store;

pub fn at(seconds: i64) -> Timestamp {
    Timestamp::new(seconds, 0).unwrap()
}

/// A frame and whose it is.
#[derive(Debug, Clone)]
pub struct Frame {
    owner: ShardOwner,
    block: BlockRecord,
    shard: ShardIndex,
    len: u64,
}

/// What the catalog knows, and what has to follow.
pub struct Recount {
    catalog: Catalog,
    pub files: Vec<(FileRecord, Vec<BlockRecord>)>,
    pub extents: Vec<ExtentRecord>,
    pub frames: BTreeMap<ShardAddress, Frame>,
    pub damage: BTreeMap<ShardAddress, DamageRecord>,
    /// When each byte was verified, in seconds; 0 is never.
    pub verified: BTreeMap<ExtentId, Vec<i64>>,
}

impl Recount {
    pub fn of(store: &Store) -> Self {
        let path = store.root().join("catalog.redb");
        let options = CatalogOptions::default();
        let catalog = Catalog::open(
            &Machine::default().storage,
            &path,
            Access::Write,
            Check::Always,
            options,
        );
        let catalog = catalog.unwrap();
        let mut recount = Self {
            catalog,
            files: Vec::new(),
            extents: Vec::new(),
            frames: BTreeMap::new(),
            damage: BTreeMap::new(),
            verified: BTreeMap::new(),
        };
        recount.look();
        recount
    }

    /// Reads what is stored.
    pub fn look(&mut self) {
        let reader = self.catalog.read().unwrap();
        self.files = all_files(&reader);
        self.extents = reader.extents().unwrap();
        self.frames.clear();
        for (file, blocks) in &self.files {
            for block in blocks {
                let owner = match blocks.len() {
                    1 => ShardOwner::InlineBlockOf(file.id),
                    _ => ShardOwner::Block(block.id),
                };
                add_frames(&mut self.frames, owner, block);
            }
        }
        for descriptor in reader.descriptors_page(None, 10_000).unwrap() {
            let owner = ShardOwner::Descriptor(descriptor.commit);
            add_frames(&mut self.frames, owner, &descriptor.block);
        }
        let frames = &self.frames;
        self.damage.retain(|address, _| frames.contains_key(address));
        for extent in &self.extents {
            let bytes = self.verified.entry(extent.id).or_default();
            bytes.resize(usize::try_from(extent.end_bytes).unwrap(), 0);
        }
    }

    /// Damages a shard, or heals one, or scrubs a piece of an extent.
    pub fn step(&mut self, seeded: &mut Seeded, now: i64) {
        let addresses: Vec<ShardAddress> = self.frames.keys().copied().collect();
        let address = addresses[seeded.index(addresses.len())];
        match seeded.below(8) {
            0 => self.heal(seeded),
            1 | 2 => self.scrub(&addresses, address, seeded, now),
            _ => self.hurt(address, seeded, now),
        }
    }

    fn heal(&mut self, seeded: &mut Seeded) {
        let damaged: Vec<ShardAddress> = self.damage.keys().copied().collect();
        if let Some(address) = damaged.get(seeded.index(damaged.len() + 1)) {
            let damage = self.damage.remove(address).unwrap();
            let mut writer = self.catalog.write().unwrap();
            let whole = [(damage.owner, damage.shard, *address)];
            assert_eq!(writer.clear_damage(&whole).unwrap(), 1);
            writer.commit().unwrap();
        }
    }

    /// Damages several leaves of a shard, as a read may meet them.
    pub fn hurt(&mut self, address: ShardAddress, seeded: &mut Seeded, now: i64) {
        let frame = &self.frames[&address];
        let geometry = &frame.block.geometry;
        let leaves = geometry.leaf_count(frame.shard);
        let mut columns = ColumnSet::default();
        for _ in 0..seeded.below(4) {
            let column = u32::try_from(seeded.below(u64::from(leaves))).unwrap();
            columns.insert(ColumnIndex::new(column));
        }
        if seeded.below(4) == 0 {
            columns.union_with(&ColumnSet::first(leaves));
            geometry
                .table_column()
                .into_iter()
                .for_each(|table| columns.insert(table));
        }
        let found = DamageRecord {
            owner: frame.owner,
            block: frame.block.id,
            shard: frame.shard,
            address,
            columns,
            part: DamagePart::Payload,
            kind: DamageKind::Checksum,
            since: at(now),
        };
        let mut writer = self.catalog.write().unwrap();
        writer
            .record_damage(std::slice::from_ref(&found), Knowledge::Part)
            .unwrap();
        writer.commit().unwrap();
        let known = self.damage.entry(address).or_insert_with(|| found.clone());
        known.columns.union_with(&found.columns);
    }

    /// Reads an extent from one frame to another, and finds what is known.
    fn scrub(&mut self, addresses: &[ShardAddress], from: ShardAddress, seeded: &mut Seeded, now: i64) {
        let mut read: Vec<ShardAddress> = addresses.to_vec();
        read.retain(|other| other.extent == from.extent && *other >= from);
        read.truncate(1 + seeded.index(read.len()));
        self.scrub_frames(&read, now);
    }

    /// Reads everything, an extent every second.
    pub fn scrub_all(&mut self, now: i64) {
        let extents: Vec<ExtentId> = self.extents.iter().map(|extent| extent.id).collect();
        for (extent, at) in extents.into_iter().zip(now..) {
            let frames = self.frames.keys().copied();
            let read: Vec<ShardAddress> = frames.filter(|frame| frame.extent == extent).collect();
            if !read.is_empty() {
                self.scrub_frames(&read, at);
            }
        }
    }

    fn scrub_frames(&mut self, read: &[ShardAddress], now: i64) {
        let (from, last) = (read[0], read[read.len() - 1]);
        let range = ByteRange::new(from.offset, last.offset + self.frames[&last].len).unwrap();
        let places = read.iter().map(|address| ShardPlace {
            extent: address.extent,
            offset: address.offset,
            owner: self.frames[address].owner,
            shard: self.frames[address].shard,
        });
        let places: Vec<ShardPlace> = places.collect();
        let damage = read
            .iter()
            .filter_map(|address| self.damage.get(address).cloned());
        let damage: Vec<DamageRecord> = damage.collect();
        let mut writer = self.catalog.write().unwrap();
        let scrubbed = Scrubbed {
            extent: from.extent,
            range,
            at: at(now),
            look: Look {
                read: &places,
                damage: &damage,
                before: &damage,
            },
        };
        assert_eq!(writer.record_scrub(&scrubbed).unwrap(), 0, "nothing is news");
        writer.commit().unwrap();
        let bytes = self.verified.get_mut(&from.extent).unwrap();
        let range = usize::try_from(range.start()).unwrap()..usize::try_from(range.end()).unwrap();
        bytes[range].fill(now);
    }

    /// How every file is, in the order of names.
    pub fn healths(&self) -> Vec<FileHealth> {
        let files = self
            .files
            .iter()
            .filter(|(file, _)| file.kind == bfdb::EntryKind::File);
        files.map(|(file, blocks)| self.health(file, blocks)).collect()
    }

    fn health(&self, file: &FileRecord, blocks: &[BlockRecord]) -> FileHealth {
        let parity = file.geometry.shape().parity();
        let (mut worst, mut lost_bytes) = (0, 0);
        for block in blocks {
            match self.map(block, &BTreeSet::new()).verdict() {
                BlockVerdict::Intact => {}
                BlockVerdict::Degraded { worst: bad } => worst = worst.max(bad),
                BlockVerdict::Lost { ranges, worst: bad } => {
                    worst = worst.max(bad);
                    lost_bytes += ranges.iter().map(|range| range.len()).sum::<u64>();
                }
            }
        }
        let shards = || blocks.iter().flat_map(|block| block.shards.iter().flatten());
        let damage: Vec<&DamageRecord> = shards()
            .filter_map(|shard| self.damage.get(&shard.address()))
            .collect();
        let verified = shards().flat_map(|shard| {
            let start = usize::try_from(shard.offset).unwrap();
            let end = start + usize::try_from(shard.frame_len_bytes).unwrap();
            self.verified[&shard.extent][start..end].iter().copied()
        });
        let oldest = verified.min();
        FileHealth {
            file: file.clone().into(),
            state: match (damage.is_empty(), lost_bytes) {
                (true, _) => HealthState::Healthy,
                (false, 0) => HealthState::Degraded,
                (false, _) => HealthState::Lost,
            },
            is_unverified: oldest == Some(0),
            damaged_shards: u64::try_from(damage.len()).unwrap(),
            margin: parity.saturating_sub(worst),
            lost_bytes,
            since: damage.iter().map(|damage| damage.since).min(),
            last_verified: oldest.filter(|seconds| *seconds > 0).map(at),
        }
    }

    fn map(&self, block: &BlockRecord, lost: &BTreeSet<ExtentId>) -> DamageMap {
        let mut map = DamageMap::new(block.geometry);
        for (shard, record) in (0..).map(ShardIndex::new).zip(&block.shards) {
            let Some(record) = record else { continue };
            if let Some(damage) = self.damage.get(&record.address()) {
                damage
                    .columns
                    .iter()
                    .for_each(|column| map.mark_leaf(shard, column));
            }
            if lost.contains(&record.extent) {
                map.mark_shard(shard);
            }
        }
        map
    }

    /// The files that a query asks for.
    pub fn asked(&self, query: &HealthQuery) -> Vec<FileHealth> {
        let mut healths = self.healths();
        healths.retain(|health| {
            let file = self.files.iter().find(|(file, _)| file.name == health.file.name);
            let shards = file
                .unwrap()
                .1
                .iter()
                .flat_map(|block| block.shards.iter().flatten());
            let mut extents = shards.map(|shard| shard.extent);
            let on_volume = |extent: ExtentId, volume| {
                let record = self.extents.iter().find(|record| record.id == extent).unwrap();
                record.volume == volume
            };
            let mut classes = query.classes.iter();
            (query.classes.is_empty() || classes.any(|&class| health.is_in(class)))
                && (query.tiers.is_empty() || query.tiers.contains(&health.file.tier))
                && query.margin_at_most.is_none_or(|most| health.margin <= most)
                && (query.not_verified_since).is_none_or(|since| {
                    health.file.len_bytes > 0 && health.last_verified.is_none_or(|at| at < since)
                })
                && (query.volume).is_none_or(|volume| extents.any(|extent| on_volume(extent, volume)))
                && (query.prefix.as_ref()).is_none_or(|prefix| health.file.name.is_within(prefix))
        });
        healths
    }

    /// What losses would mean, file by file in the order of names.
    pub fn losses(&self, losses: &[Loss]) -> (WhatIfReport, Vec<FileLoss>) {
        let is_lost = |extent: &&ExtentRecord| {
            losses.contains(&Loss::Extent(extent.id)) || losses.contains(&Loss::Volume(extent.volume))
        };
        let lost: Vec<&ExtentRecord> = self.extents.iter().filter(is_lost).collect();
        let ids: BTreeSet<ExtentId> = lost.iter().map(|extent| extent.id).collect();
        let mut report = WhatIfReport {
            extents: u64::try_from(lost.len()).unwrap(),
            frame_bytes: lost.iter().map(|extent| extent.live_bytes).sum(),
            ..WhatIfReport::default()
        };
        let mut files = Vec::new();
        for (file, blocks) in &self.files {
            let all = blocks.iter().flat_map(|block| block.shards.iter().flatten());
            let shards = all.filter(|shard| ids.contains(&shard.extent)).count();
            if shards == 0 {
                continue;
            }
            let now = self.health(file, blocks);
            let then = blocks.iter().map(|block| match self.map(block, &ids).verdict() {
                BlockVerdict::Intact | BlockVerdict::Degraded { .. } => 0,
                BlockVerdict::Lost { ranges, .. } => ranges.iter().map(|range| range.len()).sum(),
            });
            let lost_bytes: u64 = then.sum();
            let then = if lost_bytes > 0 {
                HealthState::Lost
            } else {
                HealthState::Degraded
            };
            report.files += 1;
            report.newly_degraded +=
                u64::from((now.state, then) == (HealthState::Healthy, HealthState::Degraded));
            report.newly_lost += u64::from(now.state != HealthState::Lost && then == HealthState::Lost);
            report.lost_bytes += lost_bytes - now.lost_bytes;
            files.push(FileLoss {
                file: file.clone().into(),
                now: now.state,
                then,
                shards: u64::try_from(shards).unwrap(),
                lost_bytes: lost_bytes - now.lost_bytes,
            });
        }
        (report, files)
    }
}

fn all_files(reader: &CatalogReader) -> Vec<(FileRecord, Vec<BlockRecord>)> {
    let files = reader.files_page(None, None, 100_000).unwrap().into_iter();
    let with_blocks = files.map(|(file, _)| {
        let indexes = (0..file.geometry.block_count()).map(BlockIndex::new);
        let blocks = indexes.map(|index| reader.block(&file, index).unwrap()).collect();
        (file, blocks)
    });
    with_blocks.collect()
}

fn add_frames(frames: &mut BTreeMap<ShardAddress, Frame>, owner: ShardOwner, block: &BlockRecord) {
    for (shard, record) in (0..).map(ShardIndex::new).zip(&block.shards) {
        let Some(record) = record else { continue };
        let frame = Frame {
            owner,
            block: block.clone(),
            shard,
            len: record.frame_len_bytes,
        };
        frames.insert(record.address(), frame);
    }
}
