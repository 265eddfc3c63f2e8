//! What transactions take on disk stays below what is said before.

use std::os::unix::fs::MetadataExt as _;

use super::damage::raw;
use super::disk::Disk;
use super::live::Live;
use super::*;
use crate::plan::DamageKind;
use crate::units::ByteRange;

/// Bytes that the catalog takes on disk; the file has holes.
fn taken_bytes(world: &World) -> u64 {
    std::fs::metadata(world.path()).expect("it is there").blocks() * 512
}

/// With plenty of room the catalog takes more, ahead of its needs.
fn open_where_room_is_scarce(world: &World) -> Catalog {
    let disk = Disk {
        is_scarce: true,
        ..Disk::default()
    };
    let options = CatalogOptions::default();
    let opened = Catalog::open(
        &disk.shared(),
        &world.path(),
        Access::Write,
        Check::Always,
        options,
    );
    opened.expect("opened")
}

/// A change of entries whose names have 18 bytes.
fn size(entries: u64, blocks: u64, shards: u64) -> TransactionSize {
    TransactionSize {
        entries,
        text_len_bytes: entries.saturating_mul(18),
        blocks,
        shards,
        ..TransactionSize::default()
    }
}

#[test]
fn a_transaction_takes_no_more_room_than_was_estimated() {
    let mut world = World::new();
    let catalog = open_where_room_is_scarce(&world);
    let mut number: u64 = 0;
    for entries in [1, 5000, 1, 300, 10_000, 2000, 1, 5000, 50, 3000] {
        let before = taken_bytes(&world);
        let mut writer = catalog.write().expect("writer");
        let mut batch = Vec::new();
        for _ in 0..entries {
            number += 1;
            // Names fall everywhere among those that are there.
            let name = name(&format!("d/{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            let (file, mut blocks) = world.file(&mut writer, &name, 1000);
            batch.push((file, blocks.pop()));
        }
        world.put_extents(&mut writer);
        writer.insert_files(&batch).expect("inserted");
        writer.commit().expect("committed");
        let grown = taken_bytes(&world).saturating_sub(before);
        let estimate = size(entries, entries, entries * 2).room_bytes();
        assert!(
            grown <= estimate,
            "{entries} entries: {grown} of {estimate} bytes"
        );
    }
    for blocks in [10_u64, 3000] {
        let before = taken_bytes(&world);
        let mut writer = catalog.write().expect("writer");
        let name = name(&format!("large/{blocks}"));
        let (file, records) = world.file(&mut writer, &name, blocks * 6144);
        assert_eq!(file.geometry.block_count(), blocks);
        world.put_extents(&mut writer);
        writer.insert_file(&file, records).expect("inserted");
        writer.commit().expect("committed");
        let between = taken_bytes(&world);
        let estimate = size(1, blocks, blocks * 5).room_bytes();
        let grown = between.saturating_sub(before);
        assert!(grown <= estimate, "{blocks} blocks: {grown} of {estimate} bytes");
        let mut writer = catalog.write().expect("writer");
        writer.remove_file(&name).expect("sound").expect("it is there");
        writer.commit().expect("committed");
        let estimate = size(1, blocks, blocks * 5).room_bytes();
        let grown = taken_bytes(&world).saturating_sub(between);
        assert!(
            grown <= estimate,
            "{blocks} blocks removed: {grown} of {estimate} bytes"
        );
    }
    assert!(
        size(u64::MAX, u64::MAX, u64::MAX).room_bytes() == u64::MAX,
        "no overflow"
    );
}

#[test]
fn intents_and_descriptors_take_no_more_room_than_was_estimated() {
    let mut world = World::new();
    let catalog = open_where_room_is_scarce(&world);
    for descriptors in [1_u64, 3000] {
        let before = taken_bytes(&world);
        let mut writer = catalog.write().expect("writer");
        for _ in 0..descriptors {
            let commit = writer.allocate_commit_id();
            let descriptor = world.descriptor(&mut writer, commit, 5000);
            world.put_extents(&mut writer);
            writer.put_descriptor(&descriptor).expect("a new descriptor");
        }
        writer.commit().expect("committed");
        let estimate = TransactionSize {
            descriptors,
            shards: descriptors * 2,
            ..TransactionSize::default()
        };
        let (grown, estimate) = (taken_bytes(&world).saturating_sub(before), estimate.room_bytes());
        assert!(
            grown <= estimate,
            "{descriptors} descriptors: {grown} of {estimate} bytes"
        );
    }
    for intents in [1_u64, 40] {
        let before = taken_bytes(&world);
        let mut writer = catalog.write().expect("writer");
        for _ in 0..intents {
            let commit = writer.allocate_commit_id();
            writer
                .put_intent(&intents::longest_intent(commit))
                .expect("it just fits");
        }
        writer.commit().expect("committed");
        let estimate = TransactionSize {
            intents,
            ..TransactionSize::default()
        };
        let (grown, estimate) = (taken_bytes(&world).saturating_sub(before), estimate.room_bytes());
        assert!(
            grown <= estimate,
            "{intents} intents: {grown} of {estimate} bytes"
        );
    }
}

const FILES: u64 = 40_000;

/// A closed catalog of [`FILES`] files of two shards each, whose names fall everywhere.
fn filled() -> World {
    let mut world = World::new();
    let catalog = open_where_room_is_scarce(&world);
    for first in (0..FILES).step_by(5000) {
        let mut writer = catalog.write().expect("writer");
        let mut batch = Vec::new();
        for number in first..first + 5000 {
            let name = name(&format!("d/{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            let (file, mut blocks) = world.file(&mut writer, &name, 1000);
            let block = blocks.pop().expect("one");
            world.files.insert(name, (file.clone(), vec![block.clone()]));
            batch.push((file, Some(block)));
        }
        world.put_extents(&mut writer);
        writer.insert_files(&batch).expect("inserted");
        writer.commit().expect("committed");
    }
    catalog.close().expect("closed");
    world
}

/// Runs a transaction in a catalog that has no free page; returns by how many bytes it has grown.
fn grown(world: &mut World, change: impl FnOnce(&mut World, &mut CatalogWriter)) -> u64 {
    let mut database = raw(&world.path());
    while database.compact().expect("nobody else uses it") {}
    database.close().expect("closed");
    let before = taken_bytes(world);
    let catalog = open_where_room_is_scarce(world);
    let mut writer = catalog.write().expect("writer");
    change(world, &mut writer);
    writer.commit().expect("committed");
    catalog.close().expect("closed");
    taken_bytes(world).saturating_sub(before)
}

#[test]
fn damage_and_relocations_take_no_more_room_than_was_estimated() {
    let mut world = filled();
    let target = ExtentRecord {
        id: ExtentId::new(50),
        end_bytes: 0,
        ..world.extent(3)
    };
    world.others.insert(target.id, target.clone());
    let mut live = world.live();
    live.sort_by_key(|live| (live.record.extent, live.record.offset));
    live.truncate(live.len() / 2);
    // A few, as many as there are in a row, and as many in as many places.
    for (shards, step) in [(1, 1), (50, 700), (3000, 1), (3000, 12), (1, 1), (2000, 17)] {
        let picked: Vec<Live> = live.iter().copied().step_by(step).take(shards).collect();
        live.retain(|live| !picked.iter().any(|picked| picked.place() == live.place()));
        let count = u64::try_from(picked.len()).expect("few");
        let found = picked
            .iter()
            .map(|live| live.damage(&[0], DamageKind::Checksum, 1));
        let found: Vec<DamageRecord> = found.collect();
        let noted = grown(&mut world, |_, writer| {
            let news = writer.record_damage(&found, Knowledge::Whole).expect("sound");
            assert_eq!(news, count);
        });
        let moves = world.moves(&picked, target.id);
        let moved = grown(&mut world, |world, writer| {
            world.put_extents(writer);
            writer.relocate(&moves).expect("relocated");
        });
        let damage = TransactionSize {
            damaged_shards: count,
            ..TransactionSize::default()
        };
        let relocations = TransactionSize {
            relocations: count,
            extents: 1,
            ..TransactionSize::default()
        };
        for (what, grown, estimate) in [("damage", noted, damage), ("relocations", moved, relocations)] {
            let estimate = estimate.room_bytes();
            assert!(
                grown <= estimate,
                "{what} of {count} shards: {grown} of {estimate} bytes"
            );
        }
    }
}

#[test]
fn versions_and_renames_take_no_more_room_than_was_estimated() {
    let mut world = filled();
    let names: Vec<FileName> = world.files.keys().cloned().collect();
    for (count, step) in [(1, 1), (3000, 1), (3000, 13)] {
        let picked: Vec<&FileName> = names.iter().step_by(step).take(count).collect();
        let kept = grown(&mut world, |world, writer| {
            for &name in &picked {
                let (file, blocks) = world.files.remove(name).expect("stored");
                let version = file.version + 1;
                let file = writer.retire(file.id).expect("a file");
                world.kept.insert((name.clone(), file.version), (file, blocks));
                let (mut file, blocks) = world.file(writer, name, 1000);
                file.version = version;
                world.put_extents(writer);
                writer.insert_file(&file, blocks.clone()).expect("inserted");
                world.files.insert(name.clone(), (file, blocks));
            }
        });
        let count = u64::try_from(count).expect("few");
        // What comes in, and what is kept.
        let estimate = size(count, count, count * 2).and(size(count, 0, 0)).room_bytes();
        assert!(kept <= estimate, "{count} are kept: {kept} of {estimate} bytes");
    }
    // All of them, among others, and one.
    for (from, to) in [("d", "e"), ("e", "a/rather/long/name"), ("a", "z")] {
        let renaming = Renaming {
            from: name(from),
            to: name(to),
        };
        let mut renamed = RenamingSize::default();
        let grown = grown(&mut world, |_, writer| {
            renamed = writer.size_of_renaming(&renaming).expect("sound");
            writer.rename(&renaming).expect("renamed");
        });
        let estimate = renamed.transaction_size().room_bytes();
        let count = renamed.entries;
        assert!(
            grown <= estimate,
            "{count} are renamed: {grown} of {estimate} bytes"
        );
    }
}

#[test]
fn scrubs_take_no_more_room_than_was_estimated() {
    let mut world = filled();
    let read: Vec<ShardPlace> = world.live().iter().map(Live::place).collect();
    for extent in [1, 2].map(ExtentId::new) {
        let grown = grown(&mut world, |_, writer| {
            let known = writer.extent(extent).expect("sound").expect("known");
            let range = ByteRange::new(0, known.end_bytes).expect("in order");
            let scrubbed = Scrubbed {
                extent,
                range,
                at: time(5),
                look: Look {
                    read: &read,
                    damage: &[],
                    before: &[],
                },
            };
            writer.record_scrub(&scrubbed).expect("sound");
        });
        let estimate = TransactionSize {
            verified: FILES + 1,
            ..TransactionSize::default()
        };
        let estimate = estimate.room_bytes();
        assert!(
            grown <= estimate,
            "scrub of {extent}: {grown} of {estimate} bytes"
        );
    }
    let catalog = world.open(Access::Read);
    let reader = catalog.read().expect("reader");
    assert_eq!(
        reader.health().expect("sound"),
        HealthTotals::default(),
        "all is read back and well"
    );
}
