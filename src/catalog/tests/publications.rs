//! What one catalog has published, another one that is behind does again, from bytes alone.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::damage::raw_rows;
use super::knowledge::other_digest;
use super::*;
use crate::catalog::descriptor::{self, Descriptor, Entry, parse};
use crate::catalog::tables::TABLES;
use crate::error::CatalogBytesError;
use crate::plan::{ColumnSet, DamageKind, DamagePart};
use crate::units::{ByteRange, ShardIndex};

fn encode(entries: &[Entry]) -> Vec<u8> {
    descriptor::encode(&archive(), entries)
}

fn encoded_len_bytes<'entry>(
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
    let what = (puts, names(), names(), moves, fates());
    let step = what.prop_map(|(puts, removals, touches, moves, fate)| Step {
        puts,
        removals,
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
        let mut writer = catalog.write().expect("writer");
        let stored = |writer: &CatalogWriter, name: &FileName| {
            let file = writer.file_by_name(name).expect("sound");
            file.map(|file| file.id)
        };
        let replaced = begun.entries.iter().zip(0..);
        let replaced = replaced.filter(|(_, position)| !begun.skipped.contains(position));
        let replaced: Vec<FileName> = replaced.map(|((file, _), _)| file.name.clone()).collect();
        let gone = step.removals.iter().copied().map(numbered).chain(replaced);
        let removed: BTreeSet<FileId> = gone.filter_map(|name| stored(&writer, &name)).collect();
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
            touched: touched.collect(),
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
    for (file, _) in &dump.files {
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

/// A world with one stored version of `a`, and a commit that replaces it.
fn about_to_replace() -> (World, Catalog, Publication, Vec<Entry>) {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    world.insert(&mut writer, &name("a"), 10);
    let commit = writer.allocate_commit_id();
    let entries = [("a", 1024), ("b", 9000)].map(|(text, len_bytes)| {
        let (mut file, blocks) = world.file(&mut writer, &name(text), len_bytes);
        file.commit = commit;
        (file, blocks)
    });
    let descriptor = world.descriptor(&mut writer, commit, 900).block;
    world.put_extents(&mut writer);
    let next_ids = writer.next_ids().expect("sound");
    writer.commit().expect("committed");
    let publication = Publication {
        founding: None,
        commit: Some(commit),
        descriptor: Some(descriptor),
        skipped: Vec::new(),
        removed: vec![world.files[&name("a")].0.id],
        touched: Vec::new(),
        relocated: Vec::new(),
        volumes: Vec::new(),
        announced: Vec::new(),
        forgotten: Vec::new(),
        versions: Vec::new(),
        extents: Vec::new(),
        next_ids,
        checkpoint: None,
    };
    (world, catalog, publication, entries.to_vec())
}

#[test]
fn versions_follow_what_is_replaced_whatever_the_records_say() {
    let (_world, catalog, publication, mut entries) = about_to_replace();
    entries[0].0.version = 77;
    entries[1].0.version = 78;
    let mut writer = catalog.write().expect("writer");
    let epoch = writer.apply(&publication, entries).expect("applied");
    assert_eq!(epoch, Epoch::new(1));
    let version = |text| {
        writer
            .file_by_name(&name(text))
            .expect("sound")
            .map(|file| file.version)
    };
    assert_eq!((version("a"), version("b")), (Some(2), Some(1)));
}

#[test]
fn a_descriptor_of_which_nothing_is_published_gets_no_row() {
    let (_world, catalog, mut publication, entries) = about_to_replace();
    publication.skipped = vec![0, 1];
    let mut writer = catalog.write().expect("writer");
    writer.apply(&publication, entries).expect("applied");
    let commit = publication.commit.expect("one");
    assert_eq!(writer.descriptor(commit).expect("sound"), None);
    assert_eq!(writer.totals().expect("sound"), Totals::default());
    assert_eq!(writer.shards_page(None, 10).expect("sound"), []);
}

#[test]
fn a_publication_that_fails_half_way_is_never_committed() {
    type Spoil = fn(&mut Publication);
    let spoilers: [(&str, Spoil); 6] = [
        ("no shard 1", |it| {
            let address = |offset| ShardAddress {
                extent: ExtentId::new(2),
                offset,
            };
            it.relocated.push(Relocation {
                owner: ShardOwner::InlineBlockOf(it.removed[0]),
                shard: ShardIndex::new(1),
                from: address(4095),
                to: address(0),
                digest: None,
            });
        }),
        ("is unknown", |it| it.removed.push(FileId::new(999))),
        ("exists already", |it| it.removed.clear()),
        ("is unknown", |it| {
            it.touched.push(Touch {
                file: it.removed[0],
                mode: 0,
                modified_at: time(0),
            });
        }),
        ("is unknown", |it| {
            it.extents.push(PublishedExtent {
                id: ExtentId::new(50),
                volume: 9,
                lane: LaneIndex::new(0),
                state: ExtentState::Open,
                end_bytes: 4096,
            });
        }),
        ("behind the committed end", |it| {
            let block = it.descriptor.as_mut().expect("one");
            block.shards[0].as_mut().expect("a copy").offset = 1 << 40;
        }),
    ];
    let (_world, catalog, publication, entries) = about_to_replace();
    let before = Dump::of(&catalog.read().expect("reader")).expect("sound");
    for (position, (wanted, spoil)) in spoilers.into_iter().enumerate() {
        let mut spoilt = publication.clone();
        spoil(&mut spoilt);
        let mut writer = catalog.write().expect("writer");
        let error = writer.apply(&spoilt, entries.clone()).expect_err("spoilt");
        assert!(error.to_string().contains(wanted), "spoiler {position}: {error}");
        assert!(
            matches!(writer.commit(), Err(CatalogError::Incomplete)),
            "{position}"
        );
        assert_eq!(Dump::of(&catalog.read().expect("reader")).expect("sound"), before);
    }
}

#[test]
fn an_impossible_publication_spoils_nothing() {
    type Spoil = fn(&mut Publication);
    let spoilers: [(&str, Spoil); 6] = [
        ("list of skipped entries", |it| it.skipped = vec![1, 0]),
        ("list of skipped entries", |it| it.skipped = vec![0, 0]),
        ("list of skipped entries", |it| it.skipped = vec![2]),
        ("descriptor without a commit", |it| it.commit = None),
        ("entry of another commit", |it| {
            it.commit = Some(CommitId::new(99));
        }),
        ("block of a descriptor", |it| {
            it.descriptor.as_mut().expect("one").file = FileId::new(1);
        }),
    ];
    let (_world, catalog, publication, entries) = about_to_replace();
    let mut writer = catalog.write().expect("writer");
    for (position, (wanted, spoil)) in spoilers.into_iter().enumerate() {
        let mut spoilt = publication.clone();
        spoil(&mut spoilt);
        match writer.apply(&spoilt, entries.clone()) {
            Err(CatalogError::ImpossiblePublication { field }) => {
                assert_eq!(field, wanted, "spoiler {position}");
            }
            other => panic!("spoiler {position}: {other:?}"),
        }
    }
    writer.apply(&publication, entries).expect("applied");
    writer.commit().expect("nothing was spoilt");
}

#[test]
fn ids_are_raised_and_never_lowered() {
    let world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let ids = |number: u64| NextIds {
        file: FileId::new(number),
        block: BlockId::new(number + 1),
        extent: ExtentId::new(number + 2),
        commit: CommitId::new(number + 3),
    };
    writer.raise_next_ids(&ids(500));
    assert_eq!(writer.next_ids().expect("sound"), ids(500));
    writer.raise_next_ids(&ids(7));
    writer.commit().expect("committed");
    let reader = catalog.read().expect("reader");
    assert_eq!(reader.next_ids().expect("sound"), ids(500));
}

#[test]
fn what_the_journal_leaves_comes_back_up_to_its_limit() {
    let world = World::new();
    let catalog = world.open(Access::Write);
    assert_eq!(
        catalog.read().and_then(|reader| reader.journal()).expect("sound"),
        b""
    );
    let mut writer = catalog.write().expect("writer");
    let longest = vec![0xfe; 4096];
    writer.set_journal(&longest).expect("it just fits");
    assert_eq!(writer.journal().expect("sound"), longest);
    let error = writer.set_journal(&[0; 4097]).expect_err("one byte more");
    assert!(
        matches!(
            error,
            CatalogError::RowTooLong {
                len_bytes: 4097,
                limit_bytes: 4096,
                ..
            }
        ),
        "{error:?}"
    );
    writer.commit().expect("nothing was spoilt");
    assert_eq!(
        catalog.read().and_then(|reader| reader.journal()).expect("sound"),
        longest
    );
}

/// Every tier, a directory and a link, in one commit.
fn entries_of_all_kinds() -> Vec<Entry> {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let mut entries: Vec<Entry> = LENGTHS
        .iter()
        .map(|&len_bytes| world.file(&mut writer, &name(&format!("f/{len_bytes}")), len_bytes))
        .collect();
    entries[6].1[1].reference_count = 2;
    for (text, kind) in [("d", EntryKind::Directory), ("l", link_to(b"../\xff"))] {
        entries.push((world.entry(&mut writer, &name(text), kind), Vec::new()));
    }
    entries
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes
        .iter()
        .fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

pub(super) fn compact(expected: &str) -> String {
    expected.split_whitespace().collect()
}

#[test]
fn descriptors_have_their_golden_bytes() {
    assert_eq!(
        hex(&encode(&[])),
        compact(
            "626664626465736301
             a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5010080c49fd50c050a80200101808001010280100302801000 00"
        )
    );
    let all = entries_of_all_kinds();
    let entries = [all[1].clone(), all[10].clone()];
    assert_eq!(
        hex(&encode(&entries)),
        compact(
            "626664626465736301
             a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5010080c49fd50c050a80200101808001010280100302801000
             02020000000000000003662f310100a4810000ffffffffffffffff0500000001f1536500000000
             05000000010000000200000000000000010000000000000001010001000a010000000000000000000000000000000100
             000001000000020202020202020202020202020202020202020202020202020202020202020282010000000000000101
             000000000000000100000002010000000000000000100000000000000200000000000000001000000000000001c10000
             000000000001010101010101010101010101010101010101010101010101010101010101010b00000000000000016c03
             042e2e2fffa4810000ffffffffffffffff0500000001f153650000000005000000010000000b00000000000000000000
             000000000001010001000a000000000000000000000000000000000000000000000000af1349b9f5f9a1a6a0404dea36
             dcc9499bcb25c9adc112b7cc9a93cae41f3262000000000000000000"
        )
    );
}

/// One of each kind of owner.
fn relocations() -> Vec<Relocation> {
    let address = |extent, offset| ShardAddress {
        extent: ExtentId::new(extent),
        offset,
    };
    let relocation = |owner, shard| Relocation {
        owner,
        shard: ShardIndex::new(shard),
        from: address(1, 4096),
        to: address(300, 1 << 30),
        digest: None,
    };
    vec![
        Relocation {
            digest: Some(ShardDigest::from_bytes([0xdd; 32])),
            ..relocation(ShardOwner::Block(BlockId::new(300)), 255)
        },
        relocation(ShardOwner::InlineBlockOf(FileId::new(7)), 0),
        relocation(ShardOwner::Descriptor(CommitId::new(9)), 1),
    ]
}

#[test]
fn the_first_publication_says_what_it_founds_in_its_golden_bytes() {
    let (_world, _catalog, publication, _) = about_to_replace();
    let volumes = vec![VolumeChange {
        number: 300,
        id: VolumeId::from_bytes([7; 16]),
        state: VolumeState::Draining,
        path: b"/a".to_vec(),
    }];
    let first = Publication {
        founding: Some(Founding {
            archive: archive(),
            volumes,
        }),
        ..publication.clone()
    };
    let (founding, rest) = (hex(&first.encode()), hex(&publication.encode()));
    // Between the version and everything else.
    let founding = founding
        .strip_suffix(&rest[4..])
        .expect("the rest stays as it is");
    assert_eq!(
        founding,
        compact(
            "0101a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5010080c49fd50c050a8020010180800101028010030280100001ac0207
             07070707070707070707070707070702022f61"
        )
    );
    assert_eq!(Publication::parse(&first.encode()), Ok(first));
}

#[test]
fn publications_have_their_golden_bytes() {
    let (_world, _catalog, mut publication, _) = about_to_replace();
    publication.skipped = vec![1, 300];
    publication.removed = vec![FileId::new(300), FileId::new(2)];
    publication.touched = vec![Touch {
        file: FileId::new(7),
        mode: 0o100_644,
        modified_at: Timestamp::new(-2, 999_999_999).expect("valid"),
    }];
    publication.extents = vec![PublishedExtent {
        id: ExtentId::new(300),
        volume: 2,
        lane: LaneIndex::new(32),
        state: ExtentState::Abandoned,
        end_bytes: 1 << 30,
    }];
    publication.volumes = vec![VolumeChange {
        number: 300,
        id: VolumeId::from_bytes([7; 16]),
        state: VolumeState::Draining,
        path: b"/a".to_vec(),
    }];
    publication.announced = vec![1, 300];
    assert_eq!(
        hex(&publication.encode()),
        compact(
            "01000102010801010a84070201f27802f27801c408dddddddddddddddddddddddddddddddddddddddddddddddddddddddd
             dddddddd0201ac0202ac02020107a4830203ff93ebdc0300
             01ac020707070707070707070707070707070702022f61
             01ac020220038080808004
             0201ac02
             0000
             0409060500"
        )
    );
    assert_eq!(Publication::parse(&publication.encode()), Ok(publication.clone()));
    publication.relocated = relocations();
    publication.forgotten = vec![CommitId::new(3), CommitId::new(300)];
    publication.versions = vec![GivenVersion {
        position: 300,
        version: 2,
    }];
    assert_eq!(
        hex(&publication.encode()),
        compact(
            "01000102010801010a84070201f27802f27801c408dddddddddddddddddddddddddddddddddddddddddddddddddddddddd
             dddddddd0201ac0202ac02020107a4830203ff93ebdc0303
             01ac02ff01018020ac02808080800401dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd
             020700018020ac02808080800400
             030901018020ac02808080800400
             01ac020707070707070707070707070707070702022f61
             01ac020220038080808004
             0201ac02
             0203ac02
             01ac0202
             0409060500"
        )
    );
    assert_eq!(Publication::parse(&publication.encode()), Ok(publication.clone()));
    publication.commit = None;
    publication.descriptor = None;
    assert_eq!(Publication::parse(&publication.encode()), Ok(publication));
}

#[test]
fn how_long_a_descriptor_is_follows_from_names_and_geometries_alone() {
    let mut entries = entries_of_all_kinds();
    let expected = encoded_len_bytes(
        entries
            .iter()
            .map(|(file, _)| (&file.name, &file.kind, &file.geometry)),
    );
    let len_of = |entries: &[Entry]| u64::try_from(encode(entries).len()).expect("short");
    let parsed = Descriptor {
        archive: archive(),
        entries: entries.clone(),
    };
    assert_eq!(parse(&encode(&entries)), Ok(parsed));
    assert_eq!(len_of(&entries), expected);
    for (file, blocks) in &mut entries {
        (file.id, file.commit) = (FileId::new(u64::MAX), CommitId::new(u64::MAX));
        (file.mode, file.version, file.stored_bytes) = (u32::MAX, u32::MAX, u64::MAX);
        file.root = RootHash::from_bytes([0; 32]);
        let latest = Timestamp::new(i64::MAX, 999_999_999).expect("valid");
        (file.modified_at, file.committed_at) = (latest, latest);
        for block in blocks {
            (block.id, block.reference_count) = (BlockId::new(u64::MAX), u32::MAX);
            for shard in block.shards.iter_mut().flatten() {
                (shard.extent, shard.offset) = (ExtentId::new(u64::MAX), u64::MAX / 2);
                shard.digest = ShardDigest::from_bytes([0; 32]);
                shard.frame_len_bytes = u64::MAX / 2;
            }
        }
    }
    assert_eq!(len_of(&entries), expected);
    for count in [0, 1, 127, 128, 300] {
        let many: Vec<Entry> = (0..count).map(|_| entries[0].clone()).collect();
        let named = many
            .iter()
            .map(|(file, _)| (&file.name, &file.kind, &file.geometry));
        assert_eq!(len_of(&many), encoded_len_bytes(named), "{count} entries");
    }
}

#[test]
fn a_descriptor_of_another_kind_or_version_is_refused_as_such() {
    let sound = encode(&entries_of_all_kinds());
    assert_eq!(parse(b""), Err(CatalogBytesError::Magic));
    assert_eq!(parse(&sound[1..]), Err(CatalogBytesError::Magic));
    let mut newer = sound;
    newer[8] = 2;
    assert_eq!(parse(&newer), Err(CatalogBytesError::Version { found: 2 }));
    assert_eq!(Publication::parse(b""), Err(CatalogBytesError::Unparsable));
    assert_eq!(
        Publication::parse(&[2]),
        Err(CatalogBytesError::Version { found: 2 })
    );
}

/// Whatever parses is what an encoder has made.
fn check_parsers(bytes: &[u8]) {
    if let Ok(Descriptor { archive, entries }) = parse(bytes) {
        assert_eq!(descriptor::encode(&archive, &entries), bytes);
    }
    if let Ok(publication) = Publication::parse(bytes) {
        assert_eq!(publication.encode(), bytes);
    }
}

#[test]
fn parsers_accept_what_encoders_write_whatever_bit_is_flipped_or_byte_is_missing() {
    let (_world, _catalog, mut publication, entries) = about_to_replace();
    publication.relocated = relocations();
    for sound in [publication.encode(), encode(&entries)] {
        for bit in 0..sound.len() * 8 {
            let mut bytes = sound.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            check_parsers(&bytes);
        }
        for len in 0..sound.len() {
            assert!(parse(&sound[..len]).is_err() && Publication::parse(&sound[..len]).is_err());
        }
        let longer = [sound.as_slice(), &[0]].concat();
        assert!(parse(&longer).is_err() && Publication::parse(&longer).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn parsers_survive_mutated_bytes(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        spliced in (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..12)),
    ) {
        let (_world, _catalog, publication, _) = about_to_replace();
        for sound in [publication.encode(), encode(&entries_of_all_kinds())] {
            let mut bytes = sound.clone();
            for (at, value) in &changes {
                let at = at.index(bytes.len());
                bytes[at] = *value;
            }
            check_parsers(&bytes);
            let at = spliced.0.index(bytes.len());
            bytes.splice(at..at, spliced.1.iter().copied());
            check_parsers(&bytes);
        }
    }

    #[test]
    fn parsers_survive_any_bytes(body in prop::collection::vec(any::<u8>(), 0..300)) {
        check_parsers(&[b"bfdbdesc\x01".as_slice(), &body].concat());
        check_parsers(&[[1].as_slice(), &body].concat());
    }
}
