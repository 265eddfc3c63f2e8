//! Shards that come to lie elsewhere.

use super::damage::all_raw_rows;
use super::live::Live;
use super::*;
use crate::plan::DamageKind;
use crate::units::{ByteRange, ShardIndex};

/// Where shards go.
const NEW: ExtentId = ExtentId::new(50);

/// A catalog with a file of each length and a descriptor, all of it verified, all of it damaged, and an empty extent.
fn damaged_world() -> World {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    for len_bytes in LENGTHS {
        world.insert(&mut writer, &name(&format!("f/{len_bytes}")), len_bytes);
    }
    world.insert_descriptor(&mut writer, &name("f/9000"), 700);
    let extent = ExtentRecord {
        id: NEW,
        lane: LaneIndex::new(9),
        owner: None,
        state: ExtentState::Open,
        end_bytes: 0,
        ..world.extent(1)
    };
    writer.put_extent(&extent).expect("a known volume");
    world.others.insert(NEW, extent);
    for (extent, end) in (1..).map(ExtentId::new).zip(world.ends) {
        let all = ByteRange::new(0, end).expect("in order");
        world.note_scrub(&mut writer, (extent, all, time(7)), &[], &[]);
    }
    let live = world.live();
    let damage: Vec<DamageRecord> = (live.iter().zip(10..))
        .map(|(live, since)| live.damage(&[0], DamageKind::Checksum, since))
        .collect();
    world.note_damage(&mut writer, &damage, Knowledge::Whole);
    writer.commit().expect("committed");
    catalog.close().expect("closed");
    world
}

/// Moves shards to [`NEW`], in `world` and as a publication.
fn publication(world: &mut World, writer: &CatalogWriter, shards: &[Live]) -> Publication {
    let relocated = world.moves(shards, NEW);
    let extent = &world.others[&NEW];
    let publication = Publication {
        founding: None,
        commit: None,
        descriptor: None,
        skipped: Vec::new(),
        removed: Vec::new(),
        retired: Vec::new(),
        touched: Vec::new(),
        renamed: Vec::new(),
        volumes: Vec::new(),
        announced: Vec::new(),
        forgotten: Vec::new(),
        versions: Vec::new(),
        extents: vec![PublishedExtent {
            id: NEW,
            volume: 2,
            lane: extent.lane,
            state: extent.state,
            end_bytes: extent.end_bytes,
        }],
        next_ids: writer.next_ids().expect("sound"),
        checkpoint: None,
        relocated,
    };
    world.know_moved(&publication.relocated);
    publication
}

/// Each shard alone, all shards of each block, of each file, of each extent, and all there are.
fn selections(world: &World) -> Vec<Vec<Live>> {
    let live = world.live();
    let mut all: Vec<Vec<Live>> = live.iter().map(|live| vec![*live]).collect();
    for block in live.iter().map(|live| live.block) {
        all.push(live.iter().copied().filter(|live| live.block == block).collect());
    }
    for file in world.files.keys().filter(|name| !world.files[*name].1.is_empty()) {
        all.push(world.shards_of(file));
    }
    for extent in (1..=u64::from(LANES)).map(ExtentId::new) {
        all.push(
            live.iter()
                .copied()
                .filter(|live| live.record.extent == extent)
                .collect(),
        );
    }
    all.push(live);
    all.dedup_by(|left, right| {
        let place = |live: &Live| live.place();
        left.iter().map(place).eq(right.iter().map(place))
    });
    all
}

#[test]
fn damage_goes_with_any_shards_that_are_moved_and_what_was_verified_stays_where_it_was() {
    let mut world = damaged_world();
    let catalog = world.open(Access::Write);
    let kept = (
        world.files.clone(),
        world.descriptors.clone(),
        world.known.clone(),
    );
    let others = world.others.clone();
    let selections = selections(&world);
    assert!(selections.len() > 100, "{}", selections.len());
    for shards in selections {
        let mut writer = catalog.write().expect("writer");
        let before = writer.health().expect("sound");
        let publication = publication(&mut world, &writer, &shards);
        writer.apply(&publication, Vec::new()).expect("applied");
        let after = Dump::of(&writer).expect("sound");
        assert_eq!(after, world.expected(1), "{shards:?}");
        assert_eq!(
            before.damaged_shards - after.said.health.damaged_shards,
            u64::try_from(shards.len()).expect("few"),
            "of these, and of no others"
        );
        let damaged = after.said.damage.iter();
        let mut damaged = damaged.map(|damage| (damage.owner, damage.shard));
        assert!(damaged.all(|place| !shards.iter().any(|live| (live.owner, live.shard) == place)));
        assert_eq!(
            writer.verified_of(NEW).expect("sound"),
            [],
            "nobody has read that"
        );
        for (owner, block) in world
            .blocks()
            .iter()
            .filter(|(owner, _)| shards[0].owner == *owner)
        {
            let moved = block.shards[shards[0].shard.as_usize()].expect("stored");
            let range = ByteRange::at(moved.offset, moved.frame_len_bytes).expect("small");
            let verified = Verified::default().when(&writer, moved.extent, range);
            assert_eq!(verified.expect("sound"), None, "{owner:?}");
        }
        (world.files, world.descriptors, world.known) = kept.clone();
        world.others = others.clone();
    }
}

#[test]
fn a_publication_with_relocations_gives_the_same_rows_on_the_same_catalog() {
    let mut world = damaged_world();
    let [one, other] = ["one", "other"].map(|text| world.directory.path().join(text));
    let kept = (
        world.files.clone(),
        world.descriptors.clone(),
        world.known.clone(),
    );
    let others = world.others.clone();
    let before = all_raw_rows(&world.path());
    for shards in selections(&world).into_iter().filter(|shards| shards.len() > 5) {
        let mut bytes = Vec::new();
        for path in [&one, &other] {
            std::fs::copy(world.path(), path).expect("copied");
            let catalog = open(path, Access::Write).expect("opened");
            let mut writer = catalog.write().expect("writer");
            let publication = if bytes.is_empty() {
                let publication = publication(&mut world, &writer, &shards);
                bytes = publication.encode();
                publication
            } else {
                Publication::parse(&bytes).expect("a publication")
            };
            writer.apply(&publication, Vec::new()).expect("applied");
            writer.commit().expect("committed");
            catalog.close().expect("closed");
        }
        let rows = all_raw_rows(&one);
        assert_ne!(rows, before);
        assert_eq!(rows, all_raw_rows(&other));
        assert_eq!(Dump::at(&one, Access::Read).expect("sound"), world.expected(1));
        (world.files, world.descriptors, world.known) = kept.clone();
        world.others = others.clone();
    }
}

#[test]
fn a_shard_that_moves_twice_and_then_goes_leaves_nothing() {
    let mut world = damaged_world();
    let catalog = world.open(Access::Write);
    let mut writer = catalog.write().expect("writer");
    let shards = world.shards_of(&name("f/9000"));
    let mut publication = publication(&mut world, &writer, &shards);
    let shards = world.shards_of(&name("f/9000"));
    let again = self::publication(&mut world, &writer, &shards);
    publication.relocated.extend(again.relocated);
    publication.extents = again.extents;
    let (file, _) = world.files.remove(&name("f/9000")).expect("stored");
    world.descriptors.clear();
    publication.removed = vec![file.id];
    writer.apply(&publication, Vec::new()).expect("applied");
    assert_eq!(Dump::of(&writer).expect("sound"), world.expected(1));
    let extent = writer.extent(NEW).expect("sound").expect("known");
    assert_eq!(
        (extent.live_bytes, extent.live_shards, extent.live_files),
        (0, 0, 0)
    );
    writer.remove_extent(NEW).expect("nothing lives there");
}

#[test]
fn what_cannot_be_moved_spoils_the_transaction() {
    type Spoil = fn(&mut Relocation);
    let mut world = damaged_world();
    let catalog = world.open(Access::Write);
    let before = Dump::of(&catalog.read().expect("reader")).expect("sound");
    let coded = world.shards_of(&name("f/40000"));
    let inline = world.shards_of(&name("f/1"));
    let elsewhere = "no shard";
    let spoilers: [(&str, Spoil); 10] = [
        (elsewhere, |it| it.from.offset += 1),
        (elsewhere, |it| it.from.extent = ExtentId::new(2)),
        (elsewhere, |it| it.from.extent = ExtentId::new(999)),
        (elsewhere, |it| it.shard = ShardIndex::new(1)),
        (elsewhere, |it| it.shard = ShardIndex::new(5)),
        (elsewhere, |it| it.owner = ShardOwner::Block(BlockId::new(999))),
        (elsewhere, |it| {
            it.owner = ShardOwner::Descriptor(CommitId::new(999));
        }),
        (elsewhere, |it| {
            it.owner = ShardOwner::InlineBlockOf(FileId::new(999));
        }),
        ("unknown", |it| it.to.extent = ExtentId::new(999)),
        ("behind the committed end", |it| it.to.offset = 4096),
    ];
    let writer = catalog.write().expect("writer");
    let sound = publication(&mut world, &writer, &[coded[0], inline[0]]);
    drop(writer);
    for (position, (wanted, spoil)) in spoilers.into_iter().enumerate() {
        let mut spoilt = sound.clone();
        spoil(&mut spoilt.relocated[0]);
        let mut writer = catalog.write().expect("writer");
        let error = writer.apply(&spoilt, Vec::new()).expect_err("it cannot be");
        assert!(error.to_string().contains(wanted), "spoiler {position}: {error}");
        assert!(
            matches!(writer.commit(), Err(CatalogError::Incomplete)),
            "{position}"
        );
    }
    let mut spoilt = sound;
    spoilt.relocated[1].to = spoilt.relocated[0].to;
    let mut writer = catalog.write().expect("writer");
    let error = writer.apply(&spoilt, Vec::new()).expect_err("one place for two");
    assert!(matches!(error, CatalogError::AddressTaken { .. }), "{error:?}");
    assert!(matches!(writer.commit(), Err(CatalogError::Incomplete)));
    assert_eq!(Dump::of(&catalog.read().expect("reader")).expect("sound"), before);
}

#[test]
fn only_parity_gets_another_digest_when_it_moves() {
    let mut world = damaged_world();
    let catalog = world.open(Access::Write);
    let live = world.live();
    let writer = catalog.write().expect("writer");
    let sound = publication(&mut world, &writer, &live);
    drop(writer);
    let (mut given, mut refused) = (0, 0);
    for (relocation, live) in sound.relocated.iter().zip(&live) {
        let mut one = sound.clone();
        one.relocated = vec![Relocation {
            digest: Some(ShardDigest::from_bytes([9; 32])),
            ..*relocation
        }];
        let mut writer = catalog.write().expect("writer");
        match writer.apply(&one, Vec::new()) {
            Ok(_) => {
                let block = writer.block_by_owner(live.owner).expect("sound").expect("stored");
                let record = block.shards[live.shard.as_usize()].expect("stored");
                assert_eq!(record.digest, ShardDigest::from_bytes([9; 32]));
                assert!(!block.geometry.is_data(live.shard), "{live:?}");
                given += 1;
            }
            Err(error) => {
                assert!(matches!(error, CatalogError::DigestOfData { .. }), "{error:?}");
                assert!(
                    matches!(writer.commit(), Err(CatalogError::Incomplete)),
                    "{live:?}"
                );
                refused += 1;
            }
        }
    }
    assert!(given >= 2 && refused > given, "{given} given, {refused} refused");
}
