//! What the tests know of damage and verification by means of their own.

use std::collections::BTreeSet;

use super::live::Live;
use super::said::Said;
use super::*;
use crate::plan::{ColumnSet, DamageKind, VerifiedInterval};
use crate::units::{ByteRange, ColumnIndex, ShardIndex};

/// What has happened to a catalog, as far as it does not show in what is stored.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Damage of shards, some of which are gone by now.
    damage: BTreeMap<(BlockId, ShardIndex), DamageRecord>,
    /// Bytes that were verified, or that this was forgotten of, one after the other.
    marks: Vec<(ExtentId, ByteRange, Option<Timestamp>)>,
    read_back: BTreeSet<FileId>,
    counters: BTreeMap<u16, VolumeCounters>,
}

impl World {
    /// Notes damage in the catalog and here.
    pub(super) fn note_damage(
        &mut self,
        writer: &mut CatalogWriter,
        found: &[DamageRecord],
        knowledge: Knowledge,
    ) {
        let news = writer.record_damage(found, knowledge).expect("sound");
        assert_eq!(news, self.know_damage(found, knowledge));
    }

    fn know_damage(&mut self, found: &[DamageRecord], knowledge: Knowledge) -> u64 {
        let mut by_shard: BTreeMap<(BlockId, ShardIndex), Vec<DamageRecord>> = BTreeMap::new();
        for damage in found {
            if self.live().iter().any(|live| live.is_meant_by(damage)) {
                let key = (damage.block, damage.shard);
                by_shard.entry(key).or_default().push(damage.clone());
            }
        }
        let mut news = 0;
        for (key, mut found) in by_shard {
            let known = self.known.damage.get(&key).cloned();
            let first = found.iter().map(|damage| damage.since).min().expect("some");
            let is_proven_by_encoding =
                (known.as_ref()).is_some_and(|known| known.kind == DamageKind::Encoding);
            if knowledge == Knowledge::Part || is_proven_by_encoding {
                found.extend(known.clone());
            }
            let columns: BTreeSet<ColumnIndex> =
                found.iter().flat_map(|damage| damage.columns.iter()).collect();
            let worst = found.iter().map(|damage| (damage.part, damage.kind)).max();
            let mut now = found[0].clone();
            now.columns = ColumnSet::default();
            columns.into_iter().for_each(|column| now.columns.insert(column));
            (now.part, now.kind) = worst.expect("some");
            now.since = known.as_ref().map_or(first, |known| known.since);
            if known.is_none() {
                let counters = self.counters_of(now.address.extent);
                *match now.kind {
                    DamageKind::Checksum => &mut counters.checksum,
                    DamageKind::Misplaced => &mut counters.misplaced,
                    DamageKind::IoError => &mut counters.io_error,
                    DamageKind::Missing => &mut counters.missing,
                    DamageKind::Encoding => &mut counters.encoding,
                } += 1;
            }
            news += u64::from(known.as_ref() != Some(&now));
            self.known.damage.insert(key, now);
        }
        news
    }

    fn counters_of(&mut self, extent: ExtentId) -> &mut VolumeCounters {
        let extents = self.extents();
        let extent = extents.iter().find(|known| known.id == extent).expect("known");
        let volumes = volumes();
        let volume = volumes.iter().find(|known| known.id == extent.volume);
        let number = volume.expect("known").number;
        self.known.counters.entry(number).or_default()
    }

    /// Forgets damage in the catalog and here.
    pub(super) fn note_whole(
        &mut self,
        writer: &mut CatalogWriter,
        whole: &[(ShardOwner, ShardIndex, ShardAddress)],
    ) {
        let cleared = writer.clear_damage(whole).expect("sound");
        assert_eq!(
            cleared,
            self.know_whole(whole, |kind| kind != DamageKind::Encoding)
        );
    }

    /// Forgets in the catalog and here that parity is wrong.
    pub(super) fn note_right(
        &mut self,
        writer: &mut CatalogWriter,
        right: &[(ShardOwner, ShardIndex, ShardAddress)],
    ) {
        let cleared = writer.clear_encoding_damage(right).expect("sound");
        assert_eq!(
            cleared,
            self.know_whole(right, |kind| kind == DamageKind::Encoding)
        );
    }

    fn know_whole(
        &mut self,
        whole: &[(ShardOwner, ShardIndex, ShardAddress)],
        is_cleared: impl Fn(DamageKind) -> bool,
    ) -> u64 {
        let mut cleared = 0;
        for live in self.live() {
            if whole.contains(&(live.owner, live.shard, live.record.address())) {
                let key = (live.block, live.shard);
                let known = self.known.damage.get(&key);
                if known.is_some_and(|known| is_cleared(known.kind)) {
                    self.known.damage.remove(&key);
                    cleared += 1;
                }
            }
        }
        cleared
    }

    /// Notes a scrub in the catalog and here: all frames in a range, of which these are damaged, and what else it believes to
    /// have read.
    pub(super) fn note_scrub(
        &mut self,
        writer: &mut CatalogWriter,
        (extent, range, at): (ExtentId, ByteRange, Timestamp),
        damage: &[DamageRecord],
        outdated: &[ShardPlace],
    ) {
        let mut read: Vec<ShardPlace> = outdated.to_vec();
        for live in self.live() {
            let is_in = live.record.offset >= range.start() && live.end() <= range.end();
            if live.record.extent == extent && is_in {
                read.push(live.place());
            }
        }
        let before: Vec<DamageRecord> = self.known.damage.values().cloned().collect();
        let scrubbed = Scrubbed {
            extent,
            range,
            at,
            look: Look {
                read: &read,
                damage,
                before: &before,
            },
        };
        let news = writer.record_scrub(&scrubbed).expect("sound");
        assert_eq!(news, self.know_damage(damage, Knowledge::Whole));
        let is_bad = |place: &ShardPlace| damage.iter().any(|damage| damage.address == place.address());
        let whole = read.iter().filter(|place| !is_bad(place));
        let whole: Vec<_> = whole
            .map(|place| (place.owner, place.shard, place.address()))
            .collect();
        self.know_whole(&whole, |kind| kind != DamageKind::Encoding);
        self.know_verified(extent, range, at);
        let owners: BTreeSet<ShardOwner> = read.iter().map(|place| place.owner).collect();
        let mut read_back = BTreeSet::new();
        for (owner, block) in self.blocks() {
            if owners.contains(&owner) && block.file.get() != 0 {
                read_back.insert(block.file);
            }
        }
        read_back.retain(|file| self.oldest_of(*file).is_some());
        self.known.read_back.extend(read_back);
    }

    /// Notes verified bytes in the catalog and here.
    pub(super) fn note_verified(
        &mut self,
        writer: &mut CatalogWriter,
        extent: ExtentId,
        range: ByteRange,
        at: Timestamp,
    ) {
        writer.mark_verified(extent, range, at).expect("sound");
        self.know_verified(extent, range, at);
    }

    fn know_verified(&mut self, extent: ExtentId, range: ByteRange, at: Timestamp) {
        let Some(known) = self.extents().into_iter().find(|known| known.id == extent) else {
            return;
        };
        if let Some(range) = ByteRange::new(range.start(), range.end().min(known.end_bytes)) {
            self.known.marks.push((extent, range, Some(at)));
        }
    }

    /// Forgets what was verified of an extent behind an end.
    pub(super) fn know_shorter(&mut self, extent: ExtentId, end_bytes: u64) {
        let behind = ByteRange::new(end_bytes, u64::MAX).expect("in order");
        self.known.marks.push((extent, behind, None));
    }

    /// Counts repairs in the catalog and here.
    pub(super) fn note_repairs(&mut self, writer: &mut CatalogWriter, volume: &VolumeRecord, shards: u64) {
        writer
            .count_repairs(volume.id, shards, shards * 100)
            .expect("a known volume");
        let counters = self.known.counters.entry(volume.number).or_default();
        counters.repaired_shards += shards;
        counters.repaired_bytes += shards * 100;
    }

    /// Makes relocations of shards to the end of an extent that is none of a lane, which grows.
    pub(super) fn moves(&mut self, shards: &[Live], to: ExtentId) -> Vec<Relocation> {
        let blocks = self.blocks();
        let blocks: Vec<(ShardOwner, BlockRecord)> = (blocks.into_iter())
            .map(|(owner, block)| (owner, block.clone()))
            .collect();
        let extent = self.others.get_mut(&to).expect("it is there");
        let moves = shards.iter().map(|live| {
            let of_owner = blocks.iter().find(|(owner, _)| *owner == live.owner);
            let (_, block) = of_owner.expect("stored");
            let offset = extent.end_bytes;
            extent.end_bytes += live.record.frame_len_bytes;
            Relocation {
                owner: live.owner,
                shard: live.shard,
                from: live.record.address(),
                to: ShardAddress { extent: to, offset },
                digest: other_digest(block, live.shard, offset),
            }
        });
        moves.collect()
    }

    /// Does here what a relocation does.
    pub(super) fn know_moved(&mut self, moves: &[Relocation]) {
        for relocation in moves {
            let stored = self.files.values_mut().chain(self.kept.values_mut());
            let blocks = stored.flat_map(|(_, blocks)| {
                let is_inline = blocks.len() == 1;
                blocks.iter_mut().map(move |block| (is_inline, block))
            });
            let owned = blocks.map(|(is_inline, block)| {
                let owner = if is_inline {
                    ShardOwner::InlineBlockOf(block.file)
                } else {
                    ShardOwner::Block(block.id)
                };
                (owner, block)
            });
            let of_descriptors = self.descriptors.values_mut();
            let of_descriptors = of_descriptors
                .map(|descriptor| (ShardOwner::Descriptor(descriptor.commit), &mut descriptor.block));
            let mut owned = owned.chain(of_descriptors);
            let (_, block) = owned
                .find(|(owner, _)| *owner == relocation.owner)
                .expect("stored");
            let id = block.id;
            let record = block.shards[relocation.shard.as_usize()]
                .as_mut()
                .expect("stored");
            assert_eq!(record.address(), relocation.from);
            (record.extent, record.offset) = (relocation.to.extent, relocation.to.offset);
            record.digest = relocation.digest.unwrap_or(record.digest);
            self.known.damage.remove(&(id, relocation.shard));
        }
    }

    /// Reads what is stored, and finds a lost file, three that are degraded in a leaf, in leaf tables and in frames alone,
    /// and descriptors that are lost and degraded.
    pub(super) fn look_around(&mut self, catalog: &Catalog) {
        let mut writer = catalog.write().expect("writer");
        for (end, extent) in self.ends.into_iter().zip((1..).map(ExtentId::new)) {
            let range = |start, end| ByteRange::new(start, end).expect("in order");
            self.note_scrub(&mut writer, (extent, range(0, end / 2), time(10)), &[], &[]);
            self.note_scrub(&mut writer, (extent, range(end / 2, end), time(20)), &[], &[]);
        }
        let copies = self.shards_of(&name("a/1024"));
        let coded = self.shards_of(&name("a/40000"));
        let replicated = self.shards_of(&name("a/b/9000"));
        let frames = self.shards_of(&name("a/b/4095"));
        let mut found = vec![
            copies[0].damage(&[0], DamageKind::Checksum, 30),
            copies[1].damage(&[0], DamageKind::Missing, 31),
            coded[0].damage(&[2], DamageKind::Checksum, 33),
            coded[4].damage(&[1, 2], DamageKind::Checksum, 32),
            replicated[3].damage(&[1], DamageKind::IoError, 34),
            frames[1].damage(&[], DamageKind::Misplaced, 35),
        ];
        let descriptors = self.live().into_iter();
        let descriptors = descriptors.filter(|live| matches!(live.owner, ShardOwner::Descriptor(_)));
        for (descriptor, since) in descriptors.take(3).zip(40..) {
            found.push(descriptor.damage(&[0], DamageKind::Checksum, since));
        }
        self.note_damage(&mut writer, &found, Knowledge::Part);
        for volume in volumes() {
            self.note_repairs(&mut writer, &volume, u64::from(volume.number) * 3);
        }
        writer.commit().expect("committed");
    }

    /// What the catalog has to say.
    pub(super) fn expected_knowledge(&self, extents: &[ExtentRecord]) -> Said {
        let (damage, blocks) = self.damaged_blocks();
        let mut files: Vec<DamagedFile> = Vec::new();
        for (file, _) in self.stored() {
            let of_file: Vec<&DamagedBlock> = blocks.iter().filter(|block| block.file == file.id).collect();
            let Some(first) = of_file.iter().map(|block| block.since).min() else {
                continue;
            };
            let lost_bytes = of_file.iter().map(|block| block.lost_bytes).sum();
            let margins = of_file
                .iter()
                .map(|block| block.parity.saturating_sub(block.worst));
            files.push(DamagedFile {
                file: file.id,
                state: match lost_bytes {
                    0 => FileState::Degraded,
                    _ => FileState::Lost,
                },
                shards: of_file.iter().map(|block| u64::from(block.shards)).sum(),
                blocks: u64::try_from(of_file.len()).expect("few"),
                margin: margins.min().expect("some"),
                lost_bytes,
                since: first,
            });
        }
        files.sort_by_key(|file| (file.state, file.file));
        let with_bytes = self.stored().filter(|(_, blocks)| !blocks.is_empty());
        let mut unverified: Vec<FileId> = with_bytes.map(|(file, _)| file.id).collect();
        unverified.retain(|file| !self.known.read_back.contains(file));
        unverified.sort_unstable();
        let count = |count: usize| u64::try_from(count).expect("few");
        let in_state = |state| count(files.iter().filter(|file| file.state == state).count());
        let of_descriptors = || blocks.iter().filter(|block| block.file.get() == 0);
        let health = HealthTotals {
            degraded_files: in_state(FileState::Degraded),
            lost_files: in_state(FileState::Lost),
            unverified_files: count(unverified.len()),
            damaged_shards: count(damage.len()),
            damaged_descriptors: count(of_descriptors().count()),
            lost_descriptors: count(of_descriptors().filter(|block| block.lost_bytes > 0).count()),
        };
        let counters = self.known.counters.iter().map(|(number, counters)| {
            let volumes = volumes();
            let volume = volumes.iter().find(|volume| volume.number == *number);
            (volume.expect("known").id, *counters)
        });
        Said {
            health,
            damage,
            blocks,
            files,
            unverified,
            verified: extents
                .iter()
                .map(|extent| (extent.id, self.verified_in(extent.id)))
                .collect(),
            oldest: self
                .stored()
                .map(|(file, _)| (file.id, self.oldest_of(file.id)))
                .collect(),
            counters: counters.collect(),
        }
    }

    fn damaged_blocks(&self) -> (Vec<DamageRecord>, Vec<DamagedBlock>) {
        let (mut all, mut damaged) = (Vec::new(), Vec::new());
        let mut blocks = self.blocks();
        blocks.sort_by_key(|(_, block)| block.id);
        for (owner, block) in blocks {
            let range = (block.id, ShardIndex::new(0))..=(block.id, ShardIndex::new(u16::MAX));
            let damage: Vec<DamageRecord> = (self.known.damage.range(range))
                .map(|(_, damage)| damage.clone())
                .collect();
            if damage.is_empty() {
                continue;
            }
            let (worst, lost_bytes) = verdict(block, &damage);
            damaged.push(DamagedBlock {
                file: block.file,
                block: block.id,
                owner,
                shards: u16::try_from(damage.len()).expect("few"),
                worst,
                parity: block.geometry.shape().parity(),
                lost_bytes,
                since: damage.iter().map(|damage| damage.since).min().expect("some"),
            });
            all.extend(damage);
        }
        damaged.sort_by_key(|block| (block.file, block.block));
        (all, damaged)
    }

    /// When which bytes of an extent were verified: for each piece between two bounds, the last that was said of it.
    fn verified_in(&self, extent: ExtentId) -> Vec<VerifiedInterval> {
        let marks = self.known.marks.iter().filter(|(marked, ..)| *marked == extent);
        let marks: Vec<(ByteRange, Option<Timestamp>)> = marks.map(|(_, range, at)| (*range, *at)).collect();
        let bounds = marks.iter().flat_map(|(range, _)| [range.start(), range.end()]);
        let bounds: Vec<u64> = bounds.collect::<BTreeSet<u64>>().into_iter().collect();
        let mut pieces: Vec<VerifiedInterval> = Vec::new();
        for bounds in bounds.windows(2) {
            let (start, end) = (bounds[0], bounds[1]);
            let covers = |range: &ByteRange| range.start() <= start && end <= range.end();
            let last = marks.iter().rev().find(|(range, _)| covers(range));
            let Some(at) = last.and_then(|(_, at)| *at) else {
                continue;
            };
            let joined = pieces.last_mut();
            match joined.filter(|piece| piece.when == at && piece.range.end() == start) {
                Some(piece) => {
                    piece.range = ByteRange::new(piece.range.start(), end).expect("in order");
                }
                None => pieces.push(VerifiedInterval {
                    range: ByteRange::new(start, end).expect("in order"),
                    when: at,
                }),
            }
        }
        pieces
    }

    /// When the byte of a stored file was verified that was verified longest ago, if all were.
    fn oldest_of(&self, file: FileId) -> Option<Timestamp> {
        let (_, blocks) = self.stored().find(|(stored, _)| stored.id == file)?;
        let mut times = BTreeSet::new();
        for shard in blocks.iter().flat_map(|block| block.shards.iter().flatten()) {
            let range = ByteRange::at(shard.offset, shard.frame_len_bytes).expect("small");
            let mut covered = 0;
            for piece in self.verified_in(shard.extent) {
                if let Some(common) = piece.range.intersection(range) {
                    covered += common.len();
                    times.insert(piece.when);
                }
            }
            if covered < range.len() {
                return None;
            }
        }
        times.first().copied()
    }
}

/// Returns the bad leaves in the worst column, and how many bytes cannot be decoded: leaf by leaf.
fn verdict(block: &BlockRecord, damage: &[DamageRecord]) -> (u16, u64) {
    let geometry = &block.geometry;
    let parity = usize::from(geometry.shape().parity());
    let is_damaged = |shard: ShardIndex, column: ColumnIndex| {
        let mut of_shard = damage.iter().filter(|damage| damage.shard == shard);
        of_shard.any(|damage| damage.columns.contains(column))
    };
    let has_no_table = |shard| {
        geometry
            .table_column()
            .is_some_and(|table| is_damaged(shard, table))
    };
    let bad_tables = geometry.shards().filter(|shard| has_no_table(*shard)).count();
    let is_unproven = |shard| bad_tables > parity && geometry.is_data(shard) && has_no_table(shard);
    let (mut worst, mut lost_bytes) = (bad_tables, 0);
    for column in geometry.columns() {
        let mut bad = Vec::new();
        for shard in geometry.shards() {
            let has_leaf = column.get() < geometry.leaf_count(shard);
            if has_leaf && (is_damaged(shard, column) || is_unproven(shard)) {
                bad.push(shard);
            }
        }
        worst = worst.max(bad.len());
        for shard in &bad {
            if bad.len() > parity || is_unproven(*shard) {
                let leaf = geometry.leaf_range_in_file(*shard, column);
                lost_bytes += leaf.map_or(0, ByteRange::len);
            }
        }
    }
    (u16::try_from(worst).expect("few"), lost_bytes)
}

/// Another digest for some of the shards that may get one.
pub(super) fn other_digest(block: &BlockRecord, shard: ShardIndex, number: u64) -> Option<ShardDigest> {
    let geometry = &block.geometry;
    let is_parity = !geometry.shape().is_replication() && !geometry.is_data(shard);
    let byte = u8::try_from(number / 64 % 256).expect("a byte");
    (is_parity && byte % 2 == 1).then(|| ShardDigest::from_bytes([byte; 32]))
}
