//! Random histories of storing, finding damage, verifying and moving shards: whatever has happened, every query says what a
//! recount of everything says.

mod steps;

use std::collections::BTreeSet;

use proptest::prelude::*;

use self::steps::{Address, Descriptor, Found, Step, Target, steps};
use super::disk::{Disk, Syncs};
use super::knowledge::Known;
use super::live::Live;
use super::*;
use crate::error::CatalogTable;
use crate::plan::{DamageKind, DamagePart};
use crate::units::{ByteRange, ColumnIndex, ShardIndex};

/// What a transaction that is dropped leaves.
#[derive(Clone)]
struct State {
    ends: [u64; LANES as usize],
    files: BTreeMap<FileName, (FileRecord, Vec<BlockRecord>)>,
    kept: BTreeMap<(FileName, u32), (FileRecord, Vec<BlockRecord>)>,
    descriptors: BTreeMap<CommitId, DescriptorRecord>,
    others: BTreeMap<ExtentId, ExtentRecord>,
    known: Known,
}

/// A catalog whose history is under way.
struct Course {
    world: World,
    catalog: Option<Catalog>,
    writer: Option<CatalogWriter>,
    committed: State,
    epoch: u64,
    clock: i64,
}

impl Course {
    fn new() -> Self {
        let disk = Disk {
            syncs: Syncs::Skipped,
            ..Disk::default()
        };
        let world = World::on(disk.shared());
        let committed = state(&world);
        let mut course = Self {
            world,
            catalog: None,
            writer: None,
            committed,
            epoch: 0,
            clock: 100,
        };
        course.reopen();
        course
    }

    fn reopen(&mut self) {
        self.writer = None;
        if let Some(catalog) = self.catalog.take() {
            catalog.close().expect("closed");
        }
        let catalog = self.world.open(Access::Write);
        self.writer = Some(catalog.write().expect("writer"));
        self.catalog = Some(catalog);
        self.fall_back();
    }

    /// Returns to what was committed last, with a new transaction.
    fn abort(&mut self) {
        self.writer = None;
        self.writer = Some(self.catalog.as_ref().expect("open").write().expect("writer"));
        self.fall_back();
    }

    fn fall_back(&mut self) {
        let State {
            ends,
            files,
            kept,
            descriptors,
            others,
            known,
        } = self.committed.clone();
        let world = &mut self.world;
        (world.ends, world.files, world.descriptors) = (ends, files, descriptors);
        (world.kept, world.others, world.known) = (kept, others, known);
    }

    fn parts(&mut self) -> (&mut World, &mut CatalogWriter) {
        (&mut self.world, self.writer.as_mut().expect("between steps"))
    }

    fn now(&mut self) -> Timestamp {
        self.clock += 1;
        // Some moments are the same.
        time(self.clock / 2)
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Store(number, len, descriptor) => self.store(number, LENGTHS[len], descriptor),
            Step::Directory(number) => {
                self.remove(number);
                let (world, writer) = self.parts();
                world.insert_entry(writer, &numbered(number), EntryKind::Directory);
            }
            Step::Replace(number, len) => self.replace(number, LENGTHS[len]),
            Step::RemoveKept(number) => {
                self.remove_kept(number);
            }
            Step::Rename(from, to) => self.rename(from, to),
            Step::Remove(number) => self.remove(number),
            Step::Touch(number) => self.touch(number),
            Step::Damage(found, knowledge) => self.damage(&found, knowledge),
            Step::Whole(shards) => self.whole(&shards, World::note_whole),
            Step::Right(shards) => self.whole(&shards, World::note_right),
            Step::Scrub(extent, range, bad, old) => self.scrub(extent, range, bad, old),
            Step::ScrubAll => {
                for extent in 0..self.world.extents().len() {
                    self.scrub(u8::try_from(extent).expect("few"), (0, 16), 0, 255);
                }
            }
            Step::Verify(extent, range) => self.verify(extent, range),
            Step::Relocate(shards, from, target) => self.relocate(&shards, from, target),
            Step::Shorten(extent) => self.shorten(extent),
            Step::RemoveExtent(extent) => self.remove_extent(extent),
            Step::Repairs(shards) => {
                let volumes = volumes();
                let volume = &volumes[usize::try_from(shards % 2).expect("small")];
                let (world, writer) = self.parts();
                world.note_repairs(writer, volume, shards);
            }
            Step::Commit => self.commit(),
            Step::Abort => self.abort(),
            Step::Reopen => self.reopen(),
        }
    }

    fn store(&mut self, number: u8, len_bytes: u64, descriptor: Descriptor) {
        self.remove(number);
        let (world, writer) = self.parts();
        world.insert(writer, &numbered(number), len_bytes);
        if descriptor == Descriptor::Stored {
            world.insert_descriptor(writer, &numbered(number), 600 + u64::from(number) * 200);
        }
    }

    fn remove(&mut self, number: u8) {
        let (world, writer) = self.parts();
        let removed = writer.remove_file(&numbered(number)).expect("sound");
        let known = world.files.remove(&numbered(number)).map(|(file, _)| file);
        assert_eq!(removed, known);
        // Every entry is alone in its commit here.
        if let Some(file) = known {
            world.descriptors.remove(&file.commit);
        }
        while self.remove_kept(number) {}
    }

    fn replace(&mut self, number: u8, len_bytes: u64) {
        let (world, writer) = self.parts();
        let stored = world.files.get(&numbered(number));
        if stored.is_some_and(|(file, _)| file.kind == EntryKind::File) {
            world.replace_and_keep(writer, &numbered(number), len_bytes);
        }
    }

    /// Removes the oldest kept version of a name; says whether there was one.
    fn remove_kept(&mut self, number: u8) -> bool {
        let (world, writer) = self.parts();
        let mut kept = world.kept.keys().filter(|(name, _)| *name == numbered(number));
        let Some(key) = kept.next().cloned() else {
            return false;
        };
        let (file, _) = world.kept.remove(&key).expect("known");
        assert_eq!(writer.remove_file_by_id(file.id).expect("sound"), file);
        world.descriptors.remove(&file.commit);
        true
    }

    fn rename(&mut self, from: u8, to: u8) {
        let renaming = Renaming {
            from: file_or_directory(from),
            to: file_or_directory(to),
        };
        let (world, writer) = self.parts();
        let is_taken = |name: &FileName| name.is_within(&renaming.to) || renaming.to.is_within(name);
        let is_there = world.files.keys().any(|name| name.is_within(&renaming.from));
        if renaming.to.is_within(&renaming.from) || !is_there || world.files.keys().any(is_taken) {
            return;
        }
        let size = writer.size_of_renaming(&renaming).expect("sound");
        writer.rename(&renaming).expect("renamed");
        let count = versions::rename(world, &renaming);
        assert_eq!(
            (size.entries, size.kept_versions, size.too_long),
            (count.0, count.1, None)
        );
    }

    fn touch(&mut self, number: u8) {
        let (world, writer) = self.parts();
        let is_there = writer
            .set_metadata(&numbered(number), 0o100_400, time(9))
            .expect("sound");
        let known = world.files.get_mut(&numbered(number));
        assert_eq!(is_there, known.is_some());
        if let Some((file, _)) = known {
            (file.mode, file.modified_at) = (0o100_400, time(9));
        }
    }

    /// Returns one of the stored shards, each again and again.
    fn shard(&self, number: u8) -> Option<Live> {
        let live = self.world.live();
        let position = usize::from(number) % live.len().max(1);
        live.get(position).copied()
    }

    fn damage(&mut self, found: &[Found], knowledge: Knowledge) {
        let mut records = Vec::new();
        for found in found {
            let Some(live) = self.shard(found.shard) else {
                continue;
            };
            let columns = self.columns_of(&live, found.columns);
            let kinds = [
                DamageKind::Checksum,
                DamageKind::Misplaced,
                DamageKind::IoError,
                DamageKind::Missing,
                DamageKind::Encoding,
            ];
            let parts = [
                DamagePart::Header,
                DamagePart::Table,
                DamagePart::Footer,
                DamagePart::Payload,
            ];
            let mut record = live.damage(&columns, kinds[usize::from(found.kind)], found.since);
            record.part = parts[usize::from(found.part)];
            if found.address == Address::Outdated {
                // Either it lies elsewhere, or the owner has another block by now.
                if found.since % 2 == 0 {
                    record.address.offset ^= 1;
                } else {
                    record.block = BlockId::new(record.block.get() + 1000);
                }
            }
            records.push(record);
        }
        let (world, writer) = self.parts();
        world.note_damage(writer, &records, knowledge);
    }

    /// Returns the columns of a shard whose bits are set, the table column among them.
    fn columns_of(&self, live: &Live, bits: u8) -> Vec<u32> {
        let blocks = self.world.blocks();
        let (_, block) = blocks
            .iter()
            .find(|(owner, _)| *owner == live.owner)
            .expect("stored");
        let leaves = 0..block.geometry.leaf_count(live.shard);
        let table = block.geometry.table_column().map(ColumnIndex::get);
        let columns: BTreeSet<u32> = leaves.chain(table).collect();
        columns
            .into_iter()
            .filter(|column| bits >> (column % 8) & 1 == 1)
            .collect()
    }

    fn whole(
        &mut self,
        shards: &[(u8, Address)],
        note: impl Fn(&mut World, &mut CatalogWriter, &[(ShardOwner, ShardIndex, ShardAddress)]),
    ) {
        let mut whole = Vec::new();
        for &(number, address) in shards {
            let Some(live) = self.shard(number) else { continue };
            let mut found = live.record.address();
            if address == Address::Outdated {
                found.offset ^= 1;
            }
            whole.push((live.owner, live.shard, found));
        }
        let (world, writer) = self.parts();
        note(world, writer, &whole);
    }

    fn range(&self, number: u8, (from, to): (u64, u64)) -> (ExtentId, ByteRange) {
        let extents = self.world.extents();
        let Some(extent) = extents.get(usize::from(number)) else {
            return (ExtentId::new(999), ByteRange::new(0, 1000).expect("in order"));
        };
        let at = |sixteenths: u64| extent.end_bytes * sixteenths / 16;
        let range = ByteRange::new(at(from.min(to)), at(from.max(to)));
        (extent.id, range.expect("in order"))
    }

    fn scrub(&mut self, number: u8, range: (u64, u64), bad: u8, old: u8) {
        let (extent, range) = self.range(number, range);
        let at = self.now();
        let live = self.world.live().into_iter();
        let read = live.filter(|live| {
            live.record.extent == extent && live.record.offset >= range.start() && live.end() <= range.end()
        });
        let read: Vec<Live> = read.collect();
        let mut damage = Vec::new();
        for (position, live) in read.iter().enumerate() {
            if bad >> (position % 8) & 1 == 1 && position % 3 == 0 {
                damage.push(live.damage(&self.columns_of(live, bad), DamageKind::Checksum, 7));
            }
        }
        let mut outdated = Vec::new();
        if old < 24
            && let Some(live) = self.shard(old)
        {
            let mut place = live.place();
            place.offset ^= 1;
            outdated.push(place);
        }
        let (world, writer) = self.parts();
        world.note_scrub(writer, (extent, range, at), &damage, &outdated);
    }

    fn verify(&mut self, number: u8, range: (u64, u64)) {
        let (extent, range) = self.range(number, range);
        let at = self.now();
        let (world, writer) = self.parts();
        world.note_verified(writer, extent, range, at);
    }

    fn relocate(&mut self, numbers: &[u8], from: Address, target: Target) {
        let mut shards: BTreeMap<(ShardOwner, ShardIndex), Live> = BTreeMap::new();
        for &number in numbers {
            shards.extend(self.shard(number).map(|live| ((live.owner, live.shard), live)));
        }
        let shards: Vec<Live> = shards.into_values().collect();
        let (world, writer) = self.parts();
        let known = world.others.keys().next_back().copied();
        let to = known.filter(|_| target == Target::Known).unwrap_or_else(|| {
            let id = writer.allocate_extent_id();
            let volume = volumes()[usize::try_from(id.get() % 2).expect("small")].id;
            let extent = ExtentRecord {
                id,
                volume,
                end_bytes: 0,
                ..world.extent(3)
            };
            world.others.insert(id, extent);
            id
        });
        let mut moves = world.moves(&shards, to);
        world.put_extents(writer);
        if from == Address::Outdated
            && let Some(last) = moves.last_mut()
        {
            last.from.offset ^= 1;
            let error = writer.relocate(&moves).expect_err("it does not lie there");
            assert!(matches!(error, CatalogError::ShardElsewhere { .. }), "{error:?}");
            let error = self.writer.take().expect("one").commit().expect_err("spoilt");
            assert!(matches!(error, CatalogError::Incomplete), "{error:?}");
            self.abort();
            return;
        }
        writer.relocate(&moves).expect("relocated");
        world.know_moved(&moves);
    }

    /// Returns an extent that is none of a lane.
    fn other(&self, number: u8) -> Option<ExtentRecord> {
        let others: Vec<&ExtentRecord> = self.world.others.values().collect();
        let position = usize::from(number) % others.len().max(1);
        others.get(position).copied().cloned()
    }

    fn holds_shards(&self, extent: ExtentId) -> bool {
        self.world.live().iter().any(|live| live.record.extent == extent)
    }

    fn shorten(&mut self, number: u8) {
        let Some(mut extent) = self.other(number) else {
            return;
        };
        if self.holds_shards(extent.id) {
            return;
        }
        extent.end_bytes /= 2;
        let (world, writer) = self.parts();
        writer.put_extent(&extent).expect("nothing lives there");
        world.know_shorter(extent.id, extent.end_bytes);
        world.others.insert(extent.id, extent);
    }

    fn remove_extent(&mut self, number: u8) {
        let Some(extent) = self.other(number) else { return };
        let is_used = self.holds_shards(extent.id);
        let (world, writer) = self.parts();
        match writer.remove_extent(extent.id) {
            Ok(()) => {
                assert!(!is_used, "{extent:?}");
                world.others.remove(&extent.id);
            }
            Err(CatalogError::ExtentInUse { .. }) => assert!(is_used, "{extent:?}"),
            Err(error) => panic!("{error:?}"),
        }
    }

    fn commit(&mut self) {
        self.check();
        self.epoch += 1;
        let mut writer = self.writer.take().expect("between steps");
        assert_eq!(writer.advance_epoch(), Epoch::new(self.epoch));
        writer.commit().expect("committed");
        self.committed = state(&self.world);
        self.writer = Some(self.catalog.as_ref().expect("open").write().expect("writer"));
        let reader = self.catalog.as_ref().expect("open").read().expect("reader");
        let dump = Dump::of(&reader).expect("sound");
        assert_eq!(dump, self.world.expected(self.epoch));
        check_counts(&reader, &dump);
    }

    /// Compares everything that the transaction says.
    fn check(&self) {
        let writer = self.writer.as_ref().expect("between steps");
        let dump = Dump::of(writer).expect("sound");
        assert_eq!(dump, self.world.expected(self.epoch));
        check_counts(writer, &dump);
    }
}

fn state(world: &World) -> State {
    State {
        ends: world.ends,
        files: world.files.clone(),
        kept: world.kept.clone(),
        descriptors: world.descriptors.clone(),
        others: world.others.clone(),
        known: world.known.clone(),
    }
}

/// One of the names, or of the directories that they lie in.
fn file_or_directory(number: u8) -> FileName {
    match number {
        0..6 => numbered(number),
        _ => name(&format!("d{}", number % 3)),
    }
}

fn numbered(number: u8) -> FileName {
    name(&format!("d{}/f{number}", number % 3))
}

/// No table has a row of something that is gone.
fn check_counts(reader: &CatalogReader, dump: &Dump) {
    let said = &dump.said;
    let verified = said.verified.iter().map(|(_, ranges)| ranges.len()).sum();
    for (table, len) in [
        (CatalogTable::Damage, said.damage.len()),
        (CatalogTable::DamagedBlocks, said.blocks.len()),
        (CatalogTable::ByState, said.files.len()),
        (CatalogTable::Unverified, said.unverified.len()),
        (CatalogTable::Verified, verified),
        (CatalogTable::VolumeCounters, said.counters.len()),
        (CatalogTable::Names, dump.files.len()),
        (CatalogTable::Versions, dump.kept.len()),
        (CatalogTable::Files, dump.files.len() + dump.kept.len()),
    ] {
        let counted = reader.row_counts().expect("sound").get(table);
        assert_eq!(counted, u64::try_from(len).expect("few"), "{table}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_has_happened_every_query_says_what_a_recount_says(steps in steps()) {
        let mut course = Course::new();
        for step in steps.into_iter().chain([Step::Commit]) {
            course.take(step);
            let writer = course.writer.as_ref().expect("between steps");
            let expected = course.world.expected(course.epoch).said;
            prop_assert_eq!(writer.health().expect("sound"), expected.health);
        }
        course.check();
        course.reopen();
        course.check();
    }
}
