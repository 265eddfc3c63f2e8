//! Parity that was wrong when it was hashed: by a core or a bit of memory that failed.
//!
//! A bug of the engine makes it here; the engine without it has to find it, to read around it and to encode it again.

use std::{collections::BTreeSet, path::Path};

use bfdb::{
    Access, Archive,
    archive::{
        DamageKind, HealthState, RepairOptions, RepairReport, ScrubDepth, ScrubOptions, ScrubReport,
        ScrubSelection,
    },
    seeded_bugs::SeededBug,
    storage::{FileAccess, Storage as _},
    units::ShardIndex,
};
use bfdb_fault_injection::{
    SimulatedStorage,
    crashes::{
        oracle::content,
        setting::{ROOT, open_on},
        stage::new_archive,
    },
};

use super::{
    damage::{LEN_BYTES, NAME, SEED, Shard, flip_bit, is_right, name, shards},
    trial::made_with,
};

/// Shards of a block: data, parity.
const SHAPE: (usize, usize) = (4, 2);

/// Makes an archive with one file of two coded blocks.
fn stored() -> SimulatedStorage {
    let disk = new_archive(SEED).disk;
    let bytes = content(SEED, NAME, 1, usize::try_from(LEN_BYTES).expect("a short file"));
    let mut source = tempfile::NamedTempFile::new().expect("the host has room");
    std::io::Write::write_all(&mut source, &bytes).expect("the host has room");
    let archive = open(&disk);
    let outcome = archive.commit_path(&name(), source.path(), &());
    drop(outcome.expect("the disk works"));
    archive.close().expect("the disk works");
    disk.settled()
}

pub(super) fn open(disk: &SimulatedStorage) -> Archive {
    let (archive, _) = open_on(&disk.machine(SEED), Access::Write).expect("the disk works");
    archive
}

pub(super) fn scrub(disk: &SimulatedStorage, depth: ScrubDepth) -> ScrubReport {
    scrub_what(disk, depth, ScrubSelection::All)
}

pub(super) fn scrub_what(
    disk: &SimulatedStorage,
    depth: ScrubDepth,
    selection: ScrubSelection,
) -> ScrubReport {
    let archive = open(disk);
    let options = ScrubOptions {
        depth,
        selection,
        ..ScrubOptions::default()
    };
    let report = archive.scrub_with(&options, &()).expect("the disk works");
    archive.close().expect("the disk works");
    report
}

pub(super) fn verify(disk: &SimulatedStorage) -> ScrubReport {
    let archive = open(disk);
    let snapshot = archive.snapshot().expect("a catalog");
    let report = snapshot.verify(None, &()).expect("the disk works");
    drop(snapshot);
    archive.close().expect("the disk works");
    report
}

pub(super) fn repair(disk: &SimulatedStorage) -> RepairReport {
    let archive = open(disk);
    let report = archive
        .repair(&RepairOptions::default(), &())
        .expect("the disk works");
    archive.close().expect("the disk works");
    report
}

/// How many more shards the file may lose, and how many bytes are lost.
pub(super) fn health(disk: &SimulatedStorage) -> (HealthState, u16, u64) {
    let archive = open(disk);
    let snapshot = archive.snapshot().expect("a catalog");
    let health = snapshot.file_health(&name()).expect("a catalog").expect("stored");
    drop(snapshot);
    archive.close().expect("the disk works");
    (health.state, health.margin, health.lost_bytes)
}

/// Flips a bit in the first leaf of a shard of the first block.
fn damage_first_leaf(disk: &SimulatedStorage, shard: &Shard) {
    flip_bit(disk, &shard.path, shard.offset + shard.layout.payload().start());
}

fn damage_tables(disk: &SimulatedStorage, shard: &Shard) {
    for table in [shard.layout.table_a(), shard.layout.table_b()] {
        let table = table.expect("a shard of two leaves has tables");
        flip_bit(disk, &shard.path, shard.offset + table.start());
    }
    // Nor does the payload prove its table.
    let end = shard.layout.payload().end() - 1;
    flip_bit(disk, &shard.path, shard.offset + end);
}

/// After a repair everything is right, and as much may go as ever.
fn assert_is_as_new(disk: &SimulatedStorage) {
    let report = scrub(disk, ScrubDepth::Deep);
    assert_eq!(
        (report.damaged_shards, report.damage),
        (0, Vec::new()),
        "nothing is wrong"
    );
    assert_eq!(
        health(disk),
        (HealthState::Healthy, u16::try_from(SHAPE.1).expect("small"), 0),
        "all that may go is there"
    );
    is_right(disk).expect("all of it can be read");
    let total = SHAPE.0 + SHAPE.1;
    for first in 0..total {
        for second in first + 1..total {
            let damaged = disk.settled();
            let shards = shards(&damaged);
            damage_first_leaf(&damaged, &shards[first]);
            damage_first_leaf(&damaged, &shards[second]);
            is_right(&damaged).unwrap_or_else(|violation| panic!("{first} and {second}: {violation}"));
        }
    }
}

#[test]
fn parity_that_was_encoded_wrongly_is_found_by_a_deep_scrub_stays_known_and_is_encoded_again() {
    made_with(SeededBug::OneParityWrong, stored, |disk| {
        assert_eq!(shards(&disk).len(), SHAPE.0 + SHAPE.1);
        is_right(&disk).expect("nobody needs parity");
        let before = disk.settled();
        let found = scrub(&disk, ScrubDepth::Deep);
        assert_eq!(
            (found.damaged_shards, found.blocks_encoded, found.news),
            (2, 2, 2)
        );
        assert_eq!((found.files_degraded(), found.files_lost()), (1, 0));
        assert_eq!(health(&disk), (HealthState::Degraded, 1, 0));
        // A scrub that believes hashes does not forget it, nor does it say that all is well.
        for selection in [ScrubSelection::All, ScrubSelection::Damaged] {
            let again = scrub_what(&disk, ScrubDepth::Full, selection);
            assert_eq!((again.damaged_shards, again.news), (2, 0), "{selection:?}");
            assert_eq!(health(&disk), (HealthState::Degraded, 1, 0));
        }
        assert_eq!(verify(&disk).damaged_shards, 2);
        let repaired = repair(&disk);
        assert_eq!((repaired.shards_repaired, repaired.files_repaired), (2, 1));
        assert_eq!((repaired.shards_found_whole, repaired.damage), (0, Vec::new()));
        assert_is_as_new(&disk);
        assert_eq!(repair(&disk), RepairReport::default());

        // The journal knows the new parity, too.
        put_back_catalog(&before, &disk);
        is_right(&disk).expect("all of it can be read");
        assert_is_as_new(&disk);
    });
}

/// Puts the catalog of a disk on another one.
pub(super) fn put_back_catalog(from: &SimulatedStorage, to: &SimulatedStorage) {
    let path = Path::new(ROOT).join("catalog.redb");
    let file = from.open(&path, FileAccess::Read).expect("a catalog");
    let mut bytes = vec![0; usize::try_from(file.info().expect("a file").len_bytes).expect("small")];
    file.read_exact_at(0, &mut bytes).expect("a catalog");
    let file = to.open(&path, FileAccess::ReadWrite).expect("a catalog");
    file.set_len(bytes.len().try_into().expect("small"))
        .expect("the disk works");
    file.write_all_at(0, &bytes).expect("the disk works");
    file.sync_data().expect("the disk works");
}

#[test]
fn a_lost_leaf_is_decoded_around_parity_that_nobody_knew_to_be_wrong_which_is_known_then() {
    for data in 0..SHAPE.0 {
        made_with(SeededBug::OneParityWrong, stored, |disk| {
            damage_first_leaf(&disk, &shards(&disk)[data]);
            is_right(&disk).expect("the other parity is right");
            let archive = open(&disk);
            let snapshot = archive.snapshot().expect("a catalog");
            let mut bytes = Vec::new();
            let mut reader = snapshot
                .open_file(&name(), std::sync::Arc::new(()))
                .expect("stored");
            std::io::Read::read_to_end(&mut reader, &mut bytes).expect("the other parity is right");
            let known: Vec<_> = snapshot
                .known_damage(&name())
                .expect("a catalog")
                .collect::<Result<_, _>>()
                .expect("a catalog");
            let kinds: BTreeSet<(ShardIndex, DamageKind)> = known
                .iter()
                .map(|finding| (finding.shard, finding.kind))
                .collect();
            let shard = |index: usize| ShardIndex::new(u16::try_from(index).expect("small"));
            let expected = [
                (shard(data), DamageKind::Checksum),
                (shard(SHAPE.0), DamageKind::Encoding),
            ];
            assert_eq!(kinds, expected.into());
            drop((reader, snapshot));
            archive.close().expect("the disk works");
            assert_eq!(health(&disk), (HealthState::Degraded, 0, 0));
            // The parity of the other block is wrong, too: nobody has looked there.
            assert_eq!(repair(&disk).shards_repaired, 2);
            assert_eq!(scrub(&disk, ScrubDepth::Deep).damaged_shards, 1);
            assert_eq!(repair(&disk).shards_repaired, 1);
            assert_is_as_new(&disk);
        });
    }
}

#[test]
fn a_repair_that_meets_wrong_parity_repairs_that_as_well() {
    made_with(SeededBug::OneParityWrong, stored, |disk| {
        damage_first_leaf(&disk, &shards(&disk)[1]);
        let found = scrub(&disk, ScrubDepth::Full);
        assert!(found.damaged_shards >= 1, "{found:?}");
        let repaired = repair(&disk);
        assert!(repaired.shards_repaired >= 2, "{repaired:?}");
        assert_eq!(repaired.damage, Vec::new());
        drop(scrub(&disk, ScrubDepth::Deep));
        drop(repair(&disk));
        assert_is_as_new(&disk);
    });
}

#[test]
fn a_leaf_that_no_parity_gives_back_is_lost_and_said_to_be() {
    made_with(SeededBug::AllParityWrong, stored, |disk| {
        let sound = disk.settled();
        assert_eq!(scrub(&sound, ScrubDepth::Deep).damaged_shards, 4);
        assert_eq!(repair(&sound).shards_repaired, 4);
        assert_is_as_new(&sound);

        damage_first_leaf(&disk, &shards(&disk)[2]);
        is_right(&disk).expect_err("it cannot be had");
        let verified = verify(&disk);
        // By hashes alone it looks as if it could be.
        assert_eq!((verified.damaged_shards, verified.files_lost()), (1, 0));
        let archive = open(&disk);
        let snapshot = archive.snapshot().expect("a catalog");
        let mut reader = snapshot
            .open_file(&name(), std::sync::Arc::new(()))
            .expect("stored");
        std::io::Read::read_to_end(&mut reader, &mut Vec::new()).expect_err("it cannot be had");
        drop((reader, snapshot));
        archive.close().expect("the disk works");
        let (state, margin, lost_bytes) = health(&disk);
        assert_eq!((state, margin), (HealthState::Lost, 0));
        assert!((1..=2048).contains(&lost_bytes), "{lost_bytes}");
        let left = repair(&disk);
        assert_eq!(left.files_lost(), 1);
        assert_eq!(health(&disk), (HealthState::Lost, 0, lost_bytes));
    });
}

#[test]
fn a_table_column_that_was_encoded_wrongly_is_found_and_encoded_again() {
    made_with(SeededBug::TableColumnWrong, stored, |disk| {
        assert_eq!(scrub(&disk, ScrubDepth::Deep).damaged_shards, 2);
        assert_eq!(repair(&disk).shards_repaired, 2);
        assert_is_as_new(&disk);
        let shards = shards(&disk);
        damage_tables(&disk, &shards[0]);
        damage_tables(&disk, &shards[3]);
        is_right(&disk).expect("both tables come out of their column");
    });
}
