//! Outer parity that was wrong when it was hashed, and inner parity that was encoded from it.
//!
//! A bug of the engine makes it here; the engine without it has to find it, to decode around it and to sum it up again.

use std::{path::Path, sync::Arc};

use bfdb::{
    Access, Archive, ArchiveOptions,
    archive::{DamageKind, HealthState, RepairReport, ScrubDepth, ScrubSelection},
    catalog::{BlockRecord, Catalog, CatalogOptions, Check},
    format::FrameLayout,
    geometry::{Grouping, Policy, PolicyParts},
    seeded_bugs::SeededBug,
    storage::Storage,
    units::{BlockIndex, ShardIndex},
};
use bfdb_fault_injection::{
    SimulatedStorage,
    crashes::{
        oracle::content,
        setting::{ROOT, resources, small_policy},
    },
};

use super::{
    damage::{NAME, SEED, extent_path, flip_bit, is_right, name},
    parity::{health, open, put_back_catalog, repair, scrub, scrub_what, verify},
    trial::made_with,
};

/// Two groups of three blocks, each with two blocks of outer parity.
const LEN_BYTES: u64 = 6 * 8192 - 700;

/// Blocks of a group, and in it shards of a block.
const GROUP: (u64, u64) = (3, 2);
const SHARDS: u64 = 6;

/// In each group a data shard of an outer parity block is wrong, and with it the parity of that block.
const WRONG_OF_ONE: u64 = 2 * 3;

fn grouped_policy() -> Policy {
    let parts = *small_policy().parts();
    let parts = PolicyParts {
        blocked_below_bytes: parts.segmented_below_bytes,
        grouped: Grouping {
            segment_max_len_bytes: 2 << 10,
            parity: 2,
            blocks_min: 3,
            ..parts.grouped
        },
        ..parts
    };
    Policy::new(parts).expect("a policy")
}

fn stored() -> SimulatedStorage {
    let disk = SimulatedStorage::new();
    let options = ArchiveOptions {
        policy: grouped_policy(),
        resources: resources(),
        volumes: Vec::new(),
    };
    let archive = Archive::create_on(&disk.machine(SEED), Path::new(ROOT), &options).expect("the disk works");
    let bytes = content(SEED, NAME, 1, usize::try_from(LEN_BYTES).expect("a short file"));
    let mut source = tempfile::NamedTempFile::new().expect("the host has room");
    std::io::Write::write_all(&mut source, &bytes).expect("the host has room");
    let outcome = archive.commit_path(&name(), source.path(), &());
    drop(outcome.expect("the disk works"));
    archive.close().expect("the disk works");
    disk.settled()
}

fn blocks(disk: &SimulatedStorage) -> Vec<BlockRecord> {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let check = Check::WhenSmall {
        file_len_bytes: u64::MAX,
    };
    let options = CatalogOptions { cache_bytes: 1 << 20 };
    let path = Path::new(ROOT).join("catalog.redb");
    let catalog = Catalog::open(&storage, &path, Access::Read, check, options).expect("a catalog");
    let reader = catalog.read().expect("a catalog");
    let (file, _) = reader
        .files_page(None, None, 1)
        .expect("a catalog")
        .pop()
        .expect("one file");
    assert_eq!(file.geometry.group_count(), 2, "groups");
    (0..file.geometry.block_count())
        .map(|index| reader.block(&file, BlockIndex::new(index)).expect("a block"))
        .collect()
}

/// Spoils the first leaf and both tables of every shard of a block.
fn spoil(disk: &SimulatedStorage, block: &BlockRecord) {
    for (shard, record) in block.geometry.shards().zip(&block.shards) {
        let Some(record) = record else { continue };
        let layout = FrameLayout::of_shard(&block.geometry, shard).expect("it is present");
        let path = extent_path(record.extent.get());
        let places = [Some(layout.payload()), layout.table_a(), layout.table_b()];
        for place in places.into_iter().flatten() {
            flip_bit(disk, &path, record.offset + place.start());
        }
    }
}

/// After a repair everything is right, and any two blocks of a group may go.
fn assert_is_as_new(disk: &SimulatedStorage) {
    let report = scrub(disk, ScrubDepth::Deep);
    assert_eq!(
        (report.damaged_shards, report.damage),
        (0, Vec::new()),
        "nothing is wrong"
    );
    assert_eq!(
        health(disk),
        (HealthState::Healthy, 2, 0),
        "all that may go is there"
    );
    let (width, parity) = GROUP;
    for first in 0..width + parity {
        for second in first + 1..width + parity {
            let damaged = disk.settled();
            let blocks = blocks(&damaged);
            for index in [first, second] {
                spoil(&damaged, &blocks[usize::try_from(index).expect("small")]);
            }
            is_right(&damaged).unwrap_or_else(|violation| panic!("{first} and {second}: {violation}"));
        }
    }
}

#[test]
fn outer_parity_that_was_summed_up_wrongly_is_found_by_a_deep_scrub_stays_known_and_is_summed_up_again() {
    made_with(SeededBug::OneSumWrong, stored, |disk| {
        is_right(&disk).expect("nobody needs parity");
        let before = disk.settled();
        let found = scrub(&disk, ScrubDepth::Deep);
        assert_eq!((found.damaged_shards, found.news), (WRONG_OF_ONE, WRONG_OF_ONE));
        assert_eq!((found.files_degraded(), found.files_lost()), (1, 0));
        let (state, _, lost_bytes) = health(&disk);
        assert_eq!((state, lost_bytes), (HealthState::Degraded, 0));
        // A scrub that believes hashes does not forget it, nor does it say that all is well.
        for selection in [ScrubSelection::All, ScrubSelection::Damaged] {
            let again = scrub_what(&disk, ScrubDepth::Full, selection);
            assert_eq!(
                (again.damaged_shards, again.news),
                (WRONG_OF_ONE, 0),
                "{selection:?}"
            );
            assert_eq!(health(&disk).0, HealthState::Degraded);
        }
        assert_eq!(verify(&disk).damaged_shards, WRONG_OF_ONE);
        let repaired = repair(&disk);
        assert_eq!(
            (repaired.shards_repaired, repaired.files_repaired),
            (WRONG_OF_ONE, 1)
        );
        assert_eq!((repaired.shards_found_whole, repaired.damage), (0, Vec::new()));
        assert_is_as_new(&disk);
        assert_eq!(repair(&disk), RepairReport::default());

        // The journal knows the new parity, too.
        put_back_catalog(&before, &disk);
        is_right(&disk).expect("all of it can be read");
        assert_is_as_new(&disk);
    });
}

#[test]
fn a_lost_block_is_decoded_around_outer_parity_that_nobody_knew_to_be_wrong_which_is_known_then() {
    for lost in 0..GROUP.0 {
        made_with(SeededBug::OneSumWrong, stored, |disk| {
            let blocks = blocks(&disk);
            spoil(&disk, &blocks[usize::try_from(lost).expect("small")]);
            is_right(&disk).expect("the other outer parity is right");
            let archive = open(&disk);
            let snapshot = archive.snapshot().expect("a catalog");
            let mut reader = snapshot.open_file(&name(), Arc::new(())).expect("stored");
            std::io::Read::read_to_end(&mut reader, &mut Vec::new())
                .expect("the other outer parity is right");
            let known = snapshot.known_damage(&name()).expect("a catalog");
            let wrong: Vec<(BlockIndex, ShardIndex)> = known
                .map(|finding| finding.expect("a catalog"))
                .filter(|finding| finding.kind == DamageKind::Encoding)
                .map(|finding| (finding.block, finding.shard))
                .collect();
            assert_eq!(wrong, [(BlockIndex::new(GROUP.0), ShardIndex::new(0))], "{lost}");
            drop((reader, snapshot));
            archive.close().expect("the disk works");
            // What agrees with it is wrong, too; a repair adds it up again and knows that.
            let repaired = repair(&disk);
            assert_eq!(repaired.shards_repaired, SHARDS + WRONG_OF_ONE / 2, "{lost}");
            assert_eq!(repaired.damage, Vec::new());
            // Nobody has looked at the other group.
            assert_eq!(
                scrub(&disk, ScrubDepth::Deep).damaged_shards,
                WRONG_OF_ONE / 2,
                "{lost}"
            );
            assert_eq!(repair(&disk).shards_repaired, WRONG_OF_ONE / 2, "{lost}");
            assert_is_as_new(&disk);
        });
    }
}

#[test]
fn what_no_outer_parity_gives_back_is_lost_and_said_to_be() {
    made_with(SeededBug::AllSumsWrong, stored, |disk| {
        let sound = disk.settled();
        assert_eq!(scrub(&sound, ScrubDepth::Deep).damaged_shards, 2 * WRONG_OF_ONE);
        assert_eq!(repair(&sound).shards_repaired, 2 * WRONG_OF_ONE);
        assert_is_as_new(&sound);

        // Once it is known that outer parity is wrong, nobody promises what it cannot give.
        drop(scrub(&disk, ScrubDepth::Deep));
        spoil(&disk, &blocks(&disk)[1]);
        let found = scrub_what(&disk, ScrubDepth::Full, ScrubSelection::All);
        assert_eq!((found.files_degraded(), found.files_lost()), (0, 1));
        let (state, _, lost_bytes) = health(&disk);
        assert_eq!((state, lost_bytes), (HealthState::Lost, 1024), "one leaf");
        is_right(&disk).expect_err("it cannot be had");
        let left = repair(&disk);
        assert_eq!(left.files_lost(), 1);
        assert_eq!(health(&disk).2, 1024, "and nothing else");
    });
}
