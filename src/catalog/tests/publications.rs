//! What one catalog has published, another one that is behind does again, from bytes alone.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::damage::raw_rows;
use super::knowledge::other_digest;
use super::*;
use crate::catalog::descriptor::{self, Entry, parse};
use crate::catalog::tables::TABLES;
use crate::plan::{ColumnSet, DamageKind, DamagePart};
use crate::units::ByteRange;

pub(super) fn encode(entries: &[Entry]) -> Vec<u8> {
    descriptor::encode(&archive(), entries)
}

pub(super) fn encoded_len_bytes<'entry>(
    entries: impl IntoIterator<Item = (&'entry FileName, &'entry EntryKind, &'entry FileGeometry)>,
) -> u64 {
    descriptor::encoded_len_bytes(&archive(), entries)
}

/// What a journal and a volume keep of a publication.
struct Kept {
    publication: Vec<u8>,
    descriptor: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Step {
    /// Names, what they stand for, and whether they are published in the end.
    puts: Vec<(u8, usize, Fate)>,
    removals: Vec<u8>,
    /// How many versions are kept of what is replaced.
    keeps: usize,
    /// Files and directories that get other names.
    renames: Vec<(u8, u8)>,
    touches: Vec<u8>,
    /// Shards that lie elsewhere from then on.
    moves: Vec<u8>,
    fate: Fate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Published,
    GivenUp,
}

fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![5 => Just(Fate::Published), 1 => Just(Fate::GivenUp)]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let puts = prop::collection::vec((0_u8..9, 0..=LENGTHS.len(), fates()), 0..5);
    let names = || prop::collection::vec(0_u8..9, 0..3);
    let moves = prop::collection::vec(any::<u8>(), 0..4);
    let renames = prop::collection::vec((0_u8..12, 0_u8..12), 0..3);
    let what = (puts, names(), names(), moves, fates(), 0_usize..3, renames);
    let step = what.prop_map(|(puts, removals, touches, moves, fate, keeps, renames)| Step {
        puts,
        removals,
        keeps,
        renames,
        touches,
        moves,
        fate,
    });
    prop::collection::vec(step, 1..12)
}

fn numbered(number: u8) -> FileName {
    name(&format!("d{}/f{number}", number % 3))
}

/// A commit between its first transaction and its end.
struct Begun {
    commit: CommitId,
    entries: Vec<Entry>,
    skipped: Vec<u32>,
    descriptor: BlockRecord,
    fresh: ExtentId,
}

impl World {
    /// The first transaction: ids, an intent, and extents that it owns.
    fn begin(&mut self, catalog: &Catalog, puts: &[(u8, usize, Fate)]) -> Begun {
        let mut writer = catalog.write().expect("writer");
        let commit = writer.allocate_commit_id();
        let (mut entries, mut skipped, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
        for &(number, len, fate) in puts {
            let name = numbered(number);
            if !names.insert(number) {
                continue;
            }
            if fate == Fate::GivenUp {
                skipped.push(u32::try_from(entries.len()).expect("few"));
            }
            let (mut file, blocks) = match LENGTHS.get(len) {
                Some(&len_bytes) => self.file(&mut writer, &name, len_bytes),
                None => (self.entry(&mut writer, &name, EntryKind::Directory), Vec::new()),
            };
            file.commit = commit;
            entries.push((file, blocks));
        }
        let len_bytes = encoded_len_bytes(
            entries
                .iter()
                .map(|(file, _)| (&file.name, &file.kind, &file.geometry)),
        );
        let descriptor = self.descriptor(&mut writer, commit, len_bytes).block;
        let fresh = writer.allocate_extent_id();
        let owned = (0..LANES).map(|lane| ExtentId::new(u64::from(lane) + 1));
        for id in owned.chain([fresh]) {
            let known = writer.extent(id).expect("sound").unwrap_or(ExtentRecord {
                id,
                end_bytes: 0,
                ..self.extent(0)
            });
            let owner = Some(commit);
            writer
                .put_extent(&ExtentRecord { owner, ..known })
                .expect("a known volume");
        }
        writer.put_intent(&intents::intent(commit)).expect("possible");
        writer.commit().expect("committed");
        Begun {
            commit,
            entries,
            skipped,
            descriptor,
            fresh,
        }
    }

    /// The last transaction, and what is kept of it.
    fn publish(&self, catalog: &Catalog, begun: Begun, step: &Step) -> Kept {
        let writer = catalog.write().expect("writer");
        let stored = |writer: &CatalogWriter, name: &FileName| {
            let file = writer.file_by_name(name).expect("sound");
            file.map(|file| file.id)
        };
        let replaced = begun.entries.iter().zip(0..);
        let replaced = replaced.filter(|(_, position)| !begun.skipped.contains(position));
        let replaced: Vec<FileName> = replaced.map(|((file, _), _)| file.name.clone()).collect();
        let (removed, retired) = what_gives_way(&writer, step, &replaced);
        let touched = step.touches.iter().copied().map(numbered);
        let touched = touched.filter_map(|name| stored(&writer, &name));
        let touched = touched.filter(|file| !removed.contains(file)).map(|file| Touch {
            file,
            mode: 0o100_400,
            modified_at: time(5),
        });
        let extent = |id: u64, lane: u16, end_bytes: u64| PublishedExtent {
            id: ExtentId::new(id),
            volume: 1 + lane % 2,
            lane: LaneIndex::new(lane),
            state: ExtentState::Open,
            end_bytes,
        };
        let lanes = (0..LANES).map(|lane| extent(u64::from(lane) + 1, lane, self.ends[usize::from(lane)]));
        let (relocated, fresh_end) = moves(&writer, &step.moves, begun.fresh);
        let publication = Publication {
            founding: None,
            commit: Some(begun.commit),
            descriptor: Some(begun.descriptor),
            skipped: begun.skipped,
            removed: removed.iter().copied().collect(),
            retired,
            touched: touched.collect(),
            renamed: Vec::new(),
            relocated,
            volumes: Vec::new(),
            announced: vec![1, 2],
            forgotten: vec![CommitId::new(3), CommitId::new(300)],
            versions: vec![GivenVersion {
                position: 1,
                version: 7,
            }],
            extents: lanes.chain([extent(begun.fresh.get(), 0, fresh_end)]).collect(),
            next_ids: writer.next_ids().expect("sound"),
            checkpoint: None,
        };
        let mut publication = publication;
        publication.renamed = renamings(&publication, &begun.entries, (catalog, writer), step);
        let mut writer = catalog.write().expect("writer");
        let kept = Kept {
            publication: publication.encode(),
            descriptor: encode(&begun.entries),
        };
        let len = u64::try_from(kept.descriptor.len()).expect("short");
        let block = publication.descriptor.as_ref().expect("one");
        assert_eq!(block.geometry.data_len_bytes(), len, "it was known before");
        writer.apply(&publication, begun.entries).expect("applied");
        writer.commit().expect("committed");
        kept
    }
}

/// Returns what a publication removes, and what it keeps of what is replaced.
fn what_gives_way(
    writer: &CatalogWriter,
    step: &Step,
    replaced: &[FileName],
) -> (BTreeSet<FileId>, Vec<FileId>) {
    let (mut removed, mut retired) = (BTreeSet::new(), Vec::new());
    for name in step.removals.iter().copied().map(numbered) {
        removed.extend(writer.file_by_name(&name).expect("sound").map(|file| file.id));
        let kept = writer.kept_versions_of(&name).expect("sound");
        removed.extend(kept.iter().map(|file| file.id));
    }
    for name in replaced {
        let Some(file) = writer.file_by_name(name).expect("sound") else {
            continue;
        };
        let kept = writer.kept_versions_of(name).expect("sound");
        let is_kept = file.kind == EntryKind::File && step.keeps > 0 && !removed.contains(&file.id);
        let room = step.keeps - usize::from(is_kept);
        removed.extend(kept.iter().rev().skip(room).map(|file| file.id));
        if is_kept {
            retired.push(file.id);
        } else {
            removed.insert(file.id);
        }
    }
    (removed, retired)
}

/// Returns those renamings that are possible behind everything else: each is tried in a transaction that is dropped.
fn renamings(
    publication: &Publication,
    entries: &[Entry],
    (catalog, writer): (&Catalog, CatalogWriter),
    step: &Step,
) -> Vec<Renaming> {
    drop(writer);
    let mut possible: Vec<Renaming> = Vec::new();
    for &(from, to) in &step.renames {
        // A file, or a directory with all that is in it, or what has been one.
        let name = |number: u8| match number {
            0..9 => numbered(number),
            _ => name(&format!("d{}", number % 3)),
        };
        let renaming = Renaming {
            from: name(from),
            to: name(to),
        };
        let mut writer = catalog.write().expect("writer");
        let tried = Publication {
            renamed: possible.iter().cloned().chain([renaming.clone()]).collect(),
            ..publication.clone()
        };
        match writer.apply(&tried, entries.to_vec()) {
            Ok(_) => possible.push(renaming),
            Err(
                CatalogError::UnknownName { .. }
                | CatalogError::NameTaken { .. }
                | CatalogError::ImpossiblePublication { .. },
            ) => {}
            Err(error) => panic!("{renaming:?}: {error:?}"),
        }
    }
    possible
}

/// Moves some of the stored shards to the beginning of an extent; returns where the last one ends there.
fn moves(writer: &CatalogWriter, picks: &[u8], to: ExtentId) -> (Vec<Relocation>, u64) {
    let places = writer.shards_page(None, 1000).expect("sound");
    let mut end = 4096;
    let positions: BTreeSet<usize> = (picks.iter())
        .filter(|_| !places.is_empty())
        .map(|pick| usize::from(*pick) % places.len())
        .collect();
    let moves = positions.into_iter().map(|position| {
        let place = places[position];
        let block = writer
            .block_by_owner(place.owner)
            .expect("sound")
            .expect("stored");
        let record = block.shards[place.shard.as_usize()].expect("stored");
        let offset = end;
        end += record.frame_len_bytes;
        Relocation {
            owner: place.owner,
            shard: place.shard,
            from: place.address(),
            to: ShardAddress { extent: to, offset },
            digest: other_digest(&block, place.shard, offset),
        }
    });
    (moves.collect(), end)
}

/// Finds damage in most of what is stored, and some of it verified.
fn find_damage(catalog: &Catalog) {
    let mut writer = catalog.write().expect("writer");
    let places = writer.shards_page(None, 1000).expect("sound");
    let damage = places.iter().filter(|place| place.offset % 5 != 0).map(|place| {
        let block = writer
            .block_by_owner(place.owner)
            .expect("sound")
            .expect("stored");
        DamageRecord {
            owner: place.owner,
            block: block.id,
            shard: place.shard,
            address: place.address(),
            columns: ColumnSet::first(u32::from(place.offset % 3 != 0)),
            part: DamagePart::Payload,
            kind: DamageKind::Checksum,
            since: time(3),
        }
    });
    let damage: Vec<DamageRecord> = damage.collect();
    let scrubbed = Scrubbed {
        extent: ExtentId::new(1),
        range: ByteRange::new(0, 9000).expect("in order"),
        at: time(4),
        look: Look {
            read: &places,
            damage: &damage,
            before: &[],
        },
    };
    writer.record_scrub(&scrubbed).expect("sound");
    writer.commit().expect("committed");
}

fn give_up(catalog: &Catalog, begun: &Begun) {
    let mut writer = catalog.write().expect("writer");
    for extent in writer.extents().expect("sound") {
        let owner = None;
        writer
            .put_extent(&ExtentRecord { owner, ..extent })
            .expect("known");
    }
    writer.remove_extent(begun.fresh).expect("empty");
    assert!(writer.remove_intent(begun.commit).expect("sound"));
    writer.commit().expect("committed");
}

fn replay(catalog: &Catalog, kept: &Kept) -> Epoch {
    let publication = Publication::parse(&kept.publication).expect("a publication");
    let entries = parse(&kept.descriptor).expect("a descriptor").entries;
    let mut writer = catalog.write().expect("writer");
    let epoch = writer.apply(&publication, entries).expect("applied");
    assert_eq!(writer.commit().expect("committed"), epoch);
    epoch
}

/// A descriptor counts exactly the entries of its commit, and every entry has one.
fn check_descriptors(dump: &Dump) {
    let mut counts: BTreeMap<CommitId, u64> = BTreeMap::new();
    for (file, _) in dump.files.iter().chain(&dump.kept) {
        *counts.entry(file.commit).or_default() += 1;
    }
    let recorded = dump.descriptors.iter();
    let recorded = recorded.map(|descriptor| match descriptor.described {
        Described::Entries(live) => (descriptor.commit, live),
        Described::Slice => panic!("nobody has taken a checkpoint"),
    });
    assert_eq!(counts, recorded.collect());
    assert_eq!(dump.intents, []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_repeated_row_by_row_on_an_earlier_catalog(steps in steps(), cut in 0_usize..12) {
        let mut world = World::new();
        let earlier = world.directory.path().join("earlier");
        let mut catalog = world.open(Access::Write);
        let mut kept = Vec::new();
        let cut = cut.min(steps.len());
        // Ids that were taken and given up are told by the next publication.
        let last = Step {
            puts: vec![(0, 2, Fate::Published)],
            removals: vec![1],
            keeps: 1,
            renames: vec![(9, 10)],
            touches: vec![2],
            moves: vec![3, 77],
            fate: Fate::Published,
        };
        for (position, step) in steps.into_iter().chain([last]).enumerate() {
            if position == cut {
                find_damage(&catalog);
                catalog.close().expect("closed");
                std::fs::copy(world.path(), &earlier).expect("copied");
                catalog = world.open(Access::Write);
                kept.clear();
            }
            let begun = world.begin(&catalog, &step.puts);
            match step.fate {
                Fate::Published => kept.push(world.publish(&catalog, begun, &step)),
                Fate::GivenUp => give_up(&catalog, &begun),
            }
        }
        let dump = Dump::of(&catalog.read().expect("reader")).expect("sound");
        check_descriptors(&dump);
        catalog.close().expect("closed");
        let behind = open(&earlier, Access::Write).expect("opened");
        let epochs: Vec<Epoch> = kept.iter().map(|kept| replay(&behind, kept)).collect();
        prop_assert_eq!(epochs.last(), Some(&dump.epoch));
        behind.close().expect("closed");
        for table in TABLES {
            prop_assert_eq!(raw_rows(&world.path(), table), raw_rows(&earlier, table), "{}", table);
        }
    }
}
