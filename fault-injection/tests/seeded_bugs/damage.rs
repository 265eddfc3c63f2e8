//! Bytes that change at rest, and are believed.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bfdb::{
    Access, CommitOptions, FileName,
    catalog::{Catalog, CatalogOptions, Check},
    format::FrameLayout,
    seeded_bugs::SeededBug,
    storage::{FileAccess, Storage},
    units::BlockIndex,
};
use bfdb_fault_injection::{
    SimulatedStorage,
    crashes::{
        books::Books,
        case::Case,
        explore::{Enough, Findings, play},
        image::{Half, Image},
        oracle::content,
        scenario::Scenario as _,
        setting::{ROOT, open_on},
        sources::Sources,
        stage::new_archive,
        violation::{Promise, Violation},
        what::What,
        workloads::{Group, Workload},
    },
    decay,
};

use super::trial::is_noticed;

pub(super) const SEED: u64 = 1;
pub(super) const NAME: &str = "file";

/// Of two coded blocks.
pub(super) const LEN_BYTES: u64 = 13_000;

/// A shard of the first block: its extent, where its frame begins there, and what is where in it.
pub(super) struct Shard {
    pub(super) path: PathBuf,
    pub(super) offset: u64,
    pub(super) layout: FrameLayout,
}

pub(super) fn name() -> FileName {
    NAME.parse().expect("a name")
}

/// Makes an archive with one file.
fn stored() -> SimulatedStorage {
    let disk = new_archive(SEED).disk;
    let (archive, _) = open_on(&disk.machine(SEED), Access::Write).expect("the disk works");
    let bytes = content(SEED, NAME, 1, usize::try_from(LEN_BYTES).expect("a short file"));
    let done = archive.commit(&name(), &bytes[..], LEN_BYTES, &CommitOptions::default());
    done.expect("the disk works");
    archive.close().expect("the disk works");
    disk.settled()
}

/// Reads the file back.
pub(super) fn is_right(disk: &SimulatedStorage) -> Result<(), Violation> {
    let broken = |error: &dyn std::error::Error| Promise::Content.broken(error);
    let opened = open_on(&disk.machine(SEED), Access::Read);
    let (archive, _) = opened.map_err(|error| Promise::Opens.broken(error))?;
    let snapshot = archive.snapshot().map_err(|error| broken(&error))?;
    let reader = snapshot.open_file(&name(), Arc::new(()));
    let mut bytes = Vec::new();
    let read = reader.map_err(|error| broken(&error))?.read_to_end(&mut bytes);
    read.map_err(|error| broken(&error))?;
    if bytes[..] == content(SEED, NAME, 1, bytes.len())[..] {
        Ok(())
    } else {
        Err(Promise::Content.broken("wrong bytes were read"))
    }
}

/// Looks up where the shards of the first block lie.
pub(super) fn shards(disk: &SimulatedStorage) -> Vec<Shard> {
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    let check = Check::WhenSmall {
        file_len_bytes: u64::MAX,
    };
    let options = CatalogOptions { cache_bytes: 1 << 20 };
    let path = Path::new(ROOT).join("catalog.redb");
    let catalog = Catalog::open(&storage, &path, Access::Read, check, options).expect("a catalog");
    let reader = catalog.read().expect("a catalog");
    let files = reader.files_page(None, None, 1).expect("a catalog");
    let block = reader.block(&files[0].0, BlockIndex::new(0)).expect("a block");
    let placed = block.geometry.shards().zip(&block.shards);
    let shard = placed.map(|(shard, record)| {
        let record = record.as_ref().expect("a long block has every shard");
        Shard {
            path: extent_path(record.extent.get()),
            offset: record.offset,
            layout: FrameLayout::of_shard(&block.geometry, shard).expect("a shard has a frame"),
        }
    });
    shard.collect()
}

pub(super) fn extent_path(extent: u64) -> PathBuf {
    Path::new(ROOT).join(format!("volumes/v0/extents/{extent:08}.bfx"))
}

pub(super) fn flip_bit(disk: &SimulatedStorage, path: &Path, offset: u64) {
    let file = disk.open(path, FileAccess::ReadWrite).expect("a file");
    let mut byte = [0];
    file.read_exact_at(offset, &mut byte).expect("a byte");
    file.write_all_at(offset, &[byte[0] ^ 4]).expect("the disk works");
}

/// Any shard may be damaged: the others make up for it.
fn one_leaf_is_damaged() -> Result<(), Violation> {
    let disk = stored();
    for shard in shards(&disk) {
        let damaged = disk.settled();
        flip_bit(
            &damaged,
            &shard.path,
            shard.offset + shard.layout.payload().start(),
        );
        is_right(&damaged)?;
    }
    Ok(())
}

/// Each table stands in its frame twice.
fn one_copy_of_every_table_is_damaged() -> Result<(), Violation> {
    let disk = stored();
    for shard in shards(&disk) {
        let table = shard.layout.table_a().expect("a shard of two leaves has a table");
        flip_bit(&disk, &shard.path, shard.offset + table.start());
    }
    is_right(&disk)
}

/// A long commit that was killed, and of which a byte has changed before it goes on.
fn a_byte_changes_under_a_commit_that_waits() -> Result<(), Violation> {
    for seed in 1..100 {
        let sources = Sources::new().expect("the host has room");
        let killed = Workload {
            name: "killed-and-damaged",
            about: "a process that dies anywhere in a commit of a long file",
            group: Group::Lives,
            begins_with_nothing: false,
            play: |stage| {
                stage.create();
                let operations = stage.choose(160);
                stage.kill_within(operations);
                stage.commit_path(What::file("long", 1, 30_000));
                stage.come_after_the_killed();
            },
        };
        let run = play(&killed, seed, (&killed.ground(seed), None), &sources);
        let run = run.expect("the host takes the sources")?;
        let case = Case {
            workload: killed.name.to_owned(),
            seed,
            fault: None,
            crashes: Vec::new(),
        };
        let books = Books::read(&run.disk.settled(), Path::new(ROOT)).expect("a catalog");
        let resumable = books.intents.first().and_then(|intent| intent.resumable.as_ref());
        // With two points only what lies between them is read again.
        let has_one_point = resumable.is_some_and(|resumable| resumable.progress.len() == 1);
        if !has_one_point || Image::new(run.disk.settled(), &case).is_of(Half::RolledBack) {
            continue;
        }
        let state = run.record.state_after(run.disk.timeline().markers());
        flip_bit(&run.disk, &extent_path(1), IN_THE_FIRST_PAYLOAD);
        return state
            .check(&Image::new(run.disk.settled(), &case), seed)
            .map(drop);
    }
    panic!("no seed has killed it behind its first point of progress");
}

/// Extents that are damaged in all kinds of ways, inside and beyond what the codes survive.
fn extents_decay() -> Result<(), Violation> {
    let findings = Findings::until(Enough {
        violations: 1,
        images: usize::MAX,
    });
    for seed in 1..4 {
        let explored = decay::explore(seed, 50, &findings, &decay::Tally::default());
        explored.expect("the archives are made");
    }
    let found = findings.violations();
    found.first().map_or(Ok(()), |found| Err(found.violation.clone()))
}

/// Behind the headers of extent and frame.
const IN_THE_FIRST_PAYLOAD: u64 = 4096 + 1000;

#[test]
fn a_leaf_that_is_believed_without_its_hash_is_caught() {
    is_noticed(SeededBug::LeafNotVerified, one_leaf_is_damaged, Promise::Content);
}

#[test]
fn a_leaf_table_that_is_believed_without_its_digest_is_caught() {
    is_noticed(
        SeededBug::TableNotVerified,
        one_copy_of_every_table_is_damaged,
        Promise::Content,
    );
}

#[test]
fn a_leaf_that_is_believed_without_its_hash_is_caught_among_damaged_extents() {
    is_noticed(SeededBug::LeafNotVerified, extents_decay, Promise::Content);
}

#[test]
fn a_leaf_table_that_is_believed_without_its_digest_is_caught_among_damaged_extents() {
    is_noticed(SeededBug::TableNotVerified, extents_decay, Promise::Content);
}

#[test]
fn a_commit_that_goes_on_from_frames_that_nobody_has_verified_is_caught() {
    is_noticed(
        SeededBug::ProgressNotVerified,
        a_byte_changes_under_a_commit_that_waits,
        Promise::Whole,
    );
}
