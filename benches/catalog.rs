//! What one small file costs the catalog: stored in batches, summed up, looked up and listed.

use std::cell::Cell;
use std::ops::Range;
use std::path::Path;

use bfdb::catalog::{
    Access, ArchiveRecord, BlockRecord, Catalog, CatalogOptions, CatalogWriter, Check, EntryKind,
    ExtentRecord, ExtentState, FORMAT_VERSION, FileRecord, ShardRecord, VolumeRecord, VolumeState,
};
use bfdb::geometry::{FileGeometry, Policy};
use bfdb::host::Machine;
use bfdb::merkle::{RootHash, ShardDigest};
use bfdb::units::{ArchiveId, BlockIndex, CommitId, ExtentId, FileName, LaneIndex, Timestamp, VolumeId};
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

const FILES: u64 = 100_000;
const BATCH_FILES: u64 = 10_000;
const VOLUME: VolumeId = VolumeId::from_bytes([1; 16]);
const FRAME_LEN_BYTES: u64 = 4096;

/// Files of a large catalog, before it gets [`MANY_FILES`] more in a transaction.
const LARGE_FILES: u64 = 500_000;
const MANY_FILES: u64 = 8192;

fn main() {
    divan::main();
}

/// Stores [`FILES`] files of 1000 bytes, a transaction for every [`BATCH_FILES`].
#[divan::bench(sample_count = 3, sample_size = 1)]
fn insert_100k_files(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(FILES))
        .with_inputs(|| tempfile::tempdir().expect("a temporary directory"))
        .bench_values(|directory| {
            drop(fill(&directory.path().join("catalog.redb")));
            directory
        });
}

#[divan::bench]
fn totals_of_100k_files(bencher: Bencher<'_, '_>) {
    let (_directory, catalog) = filled();
    bencher.bench(|| catalog.read().and_then(|reader| reader.totals()).expect("sound"));
}

#[divan::bench]
fn lookup_by_name_among_100k_files(bencher: Bencher<'_, '_>) {
    let (_directory, catalog) = filled();
    let reader = catalog.read().expect("a reader");
    let mut number = 0;
    bencher.counter(ItemsCount::new(1_u64)).bench_local(|| {
        number = (number + 7919) % FILES;
        reader
            .file_by_name(black_box(&name(number)))
            .expect("sound")
            .expect("stored")
    });
}

#[divan::bench]
fn list_1000_of_100k_files(bencher: Bencher<'_, '_>) {
    let (_directory, catalog) = filled();
    let reader = catalog.read().expect("a reader");
    let after = name(FILES / 2);
    bencher
        .counter(ItemsCount::new(1000_u64))
        .bench_local(|| reader.files_page(None, Some(&after), 1000).expect("sound"));
}

/// Stores [`MANY_FILES`] files in one transaction among [`LARGE_FILES`], with names that follow all others.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn insert_8192_files_among_500k_in_order(bencher: Bencher<'_, '_>) {
    insert_many(bencher, name);
}

/// The same with names that fall between all others.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn insert_8192_files_among_500k_scattered(bencher: Bencher<'_, '_>) {
    insert_many(bencher, scattered_name);
}

fn insert_many(bencher: Bencher<'_, '_>, name: fn(u64) -> FileName) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let catalog = create(&directory.path().join("catalog.redb"));
    for first in (0..LARGE_FILES).step_by(25_000) {
        insert_transaction(&catalog, first..first + 25_000, name);
    }
    let next = Cell::new(LARGE_FILES);
    bencher.counter(ItemsCount::new(MANY_FILES)).bench_local(|| {
        let first = next.replace(next.get() + MANY_FILES);
        insert_transaction(&catalog, first..first + MANY_FILES, name);
    });
}

fn insert_transaction(catalog: &Catalog, numbers: Range<u64>, name: fn(u64) -> FileName) {
    let mut writer = catalog.write().expect("a writer");
    put_extents(&mut writer, numbers.end);
    let commit = writer.allocate_commit_id();
    let files: Vec<(FileRecord, Option<BlockRecord>)> = numbers
        .map(|number| {
            let (file, block) = record(&mut writer, number, name(number), commit);
            (file, Some(block))
        })
        .collect();
    writer.insert_files(&files).expect("inserted");
    writer.advance_epoch();
    writer.commit().expect("committed");
}

fn filled() -> (tempfile::TempDir, Catalog) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let catalog = fill(&directory.path().join("catalog.redb"));
    (directory, catalog)
}

fn create(path: &Path) -> Catalog {
    let archive = ArchiveRecord {
        id: ArchiveId::from_bytes([2; 16]),
        format_version: FORMAT_VERSION,
        required_features: 0,
        created_at: Timestamp::EPOCH,
        policy: Policy::default(),
    };
    let volumes = [VolumeRecord {
        number: 0,
        id: VOLUME,
        path: b"volumes/v0".to_vec(),
        state: VolumeState::Active,
        epoch: bfdb::units::Epoch::ZERO,
    }];
    let options = CatalogOptions::default();
    let storage = Machine::default().storage;
    Catalog::create(&storage, path, &archive, &volumes, options).expect("created");
    Catalog::open(&storage, path, Access::Write, Check::Always, options).expect("opened")
}

fn fill(path: &Path) -> Catalog {
    let catalog = create(path);
    for first in (0..FILES).step_by(usize::try_from(BATCH_FILES).expect("small")) {
        let mut writer = catalog.write().expect("a writer");
        put_extents(&mut writer, first + BATCH_FILES);
        for number in first..first + BATCH_FILES {
            let commit = writer.allocate_commit_id();
            let (file, block) = record(&mut writer, number, name(number), commit);
            writer.insert_file(&file, [block]).expect("inserted");
        }
        writer.advance_epoch();
        writer.commit().expect("committed");
    }
    catalog
}

/// Lets the extents of four lanes end behind so many frames.
fn put_extents(writer: &mut CatalogWriter, frames: u64) {
    for lane in 0..4 {
        let extent = ExtentRecord {
            id: ExtentId::new(u64::from(lane) + 1),
            volume: VOLUME,
            lane: LaneIndex::new(lane),
            state: ExtentState::Open,
            owner: None,
            end_bytes: frames * FRAME_LEN_BYTES,
            live_bytes: 0,
            live_shards: 0,
            live_files: 0,
        };
        writer.put_extent(&extent).expect("a known volume");
    }
}

fn record(
    writer: &mut CatalogWriter,
    number: u64,
    name: FileName,
    commit: CommitId,
) -> (FileRecord, BlockRecord) {
    let geometry = FileGeometry::new(1000, &Policy::default());
    let file = FileRecord {
        kind: EntryKind::File,
        id: writer.allocate_file_id(),
        name,
        mode: 0o100_644,
        modified_at: Timestamp::new(1_700_000_000, 123_456_789).expect("valid"),
        committed_at: Timestamp::new(1_700_000_000, 123_456_789).expect("valid"),
        version: 1,
        is_kept: false,
        commit,
        geometry,
        root: RootHash::from_bytes([3; 32]),
        stored_bytes: 4 * FRAME_LEN_BYTES,
    };
    let index = BlockIndex::new(0);
    let shard = |extent| {
        Some(ShardRecord {
            extent: ExtentId::new(extent),
            offset: number * FRAME_LEN_BYTES,
            frame_len_bytes: FRAME_LEN_BYTES,
            digest: ShardDigest::from_bytes([4; 32]),
        })
    };
    let block = BlockRecord {
        id: writer.allocate_block_ids(1).next().expect("one"),
        file: file.id,
        index,
        reference_count: 1,
        geometry: geometry.block(index),
        shards: (1..=4).map(shard).collect(),
    };
    (file, block)
}

fn name(number: u64) -> FileName {
    format!("photos/{:03}/{number:06}.jpg", number / 1000)
        .parse()
        .expect("a valid name")
}

fn scattered_name(number: u64) -> FileName {
    // Odd, so that no two numbers get the same name.
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!("photos/{:02x}/{mixed:016x}.jpg", mixed >> 56)
        .parse()
        .expect("a valid name")
}
