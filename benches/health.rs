//! What questions about health cost in a catalog of a million files, a thousand of them degraded; no byte of them exists.

use std::{ops::Range, sync::OnceLock};

use bfdb::{
    Archive, ArchiveOptions, EntryKind,
    archive::{FileHealth, HealthClass, HealthQuery, HealthState, Loss, Snapshot},
    catalog::{
        Access, BlockRecord, Catalog, CatalogOptions, CatalogWriter, Check, DamageRecord, ExtentRecord,
        ExtentState, FileRecord, Knowledge, ShardOwner, ShardRecord,
    },
    geometry::{FileGeometry, Policy},
    host::Machine,
    merkle::{RootHash, ShardDigest},
    plan::{ColumnSet, DamageKind, DamagePart},
    units::{BlockIndex, ExtentId, FileName, LaneIndex, ShardIndex, Timestamp, VolumeId},
};
use divan::Bencher;

const FILES: u64 = 1_000_000;
const BATCH_FILES: u64 = 25_000;
const FRAME_LEN_BYTES: u64 = 4096;

/// Every so many files one is degraded; half of these have one whole copy left, on the last lane.
const DEGRADED_EVERY: u64 = 1000;
const DEGRADED: u64 = FILES / DEGRADED_EVERY;
const COPIES: u16 = 4;
const FIRST_EXTENT: u64 = 1000;

fn main() {
    divan::main();
}

#[divan::bench]
fn totals_of_1m_files(bencher: Bencher<'_, '_>) {
    let snapshot = snapshot();
    bencher.bench(|| {
        let totals = snapshot.health_totals().expect("sound");
        assert_eq!(totals.known.degraded_files, DEGRADED, "degraded files");
        totals
    });
}

#[divan::bench]
fn list_1000_degraded_of_1m_files(bencher: Bencher<'_, '_>) {
    bench_list(bencher, &degraded());
}

/// The same with a look at when each was verified.
#[divan::bench]
fn list_1000_degraded_of_1m_files_and_last_verified(bencher: Bencher<'_, '_>) {
    let query = HealthQuery {
        looks_up_last_verified: true,
        ..degraded()
    };
    bench_list(bencher, &query);
}

#[divan::bench]
fn list_files_of_1m_that_may_lose_nothing_more(bencher: Bencher<'_, '_>) {
    let query = HealthQuery {
        margin_at_most: Some(0),
        ..HealthQuery::default()
    };
    let snapshot = snapshot();
    bencher.bench(|| assert_eq!(to_u64(snapshot.health(&query).count()), DEGRADED / 2, "files"));
}

/// The last extent: half of the degraded files have their last copy there.
#[divan::bench]
fn what_if_an_extent_of_1m_files_is_lost(bencher: Bencher<'_, '_>) {
    let (snapshot, extent) = (snapshot(), ExtentId::new(FIRST_EXTENT + u64::from(COPIES) - 1));
    bencher.bench(|| {
        let report = snapshot.what_if(&[Loss::Extent(extent)]).expect("sound");
        assert_eq!(
            (report.newly_degraded, report.newly_lost),
            (FILES - DEGRADED, DEGRADED / 2),
            "degraded and lost files"
        );
        report
    });
}

#[divan::bench(sample_count = 1, sample_size = 1)]
fn what_if_the_volume_of_1m_files_is_lost(bencher: Bencher<'_, '_>) {
    let snapshot = snapshot();
    let volume = snapshot.volumes().expect("sound")[0].id;
    bencher.bench(|| {
        let report = snapshot.what_if(&[Loss::Volume(volume)]).expect("sound");
        assert_eq!(report.newly_lost, FILES, "files that would be lost");
    });
}

/// A whole walk: nothing was ever verified.
#[divan::bench(sample_count = 1, sample_size = 1)]
fn list_1m_files_not_verified_since(bencher: Bencher<'_, '_>) {
    let query = HealthQuery {
        not_verified_since: Some(Timestamp::EPOCH),
        ..HealthQuery::default()
    };
    let snapshot = snapshot();
    bencher.bench(|| assert_eq!(to_u64(snapshot.health(&query).count()), FILES, "files"));
}

fn bench_list(bencher: Bencher<'_, '_>, query: &HealthQuery) {
    let snapshot = snapshot();
    bencher.bench(|| {
        let files: Vec<FileHealth> = snapshot.health(query).collect::<Result<_, _>>().expect("sound");
        assert_eq!(to_u64(files.len()), DEGRADED, "files");
        files
    });
}

fn degraded() -> HealthQuery {
    HealthQuery {
        classes: [HealthClass::State(HealthState::Degraded)].into(),
        ..HealthQuery::default()
    }
}

fn to_u64(count: usize) -> u64 {
    u64::try_from(count).expect("an address fits 64 bits")
}

/// An archive that is open, with rows in its catalog that no commit has put there; made once.
fn snapshot() -> Snapshot {
    static MADE: OnceLock<(tempfile::TempDir, Archive)> = OnceLock::new();
    let (_directory, archive) = MADE.get_or_init(|| {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().join("archive.bfdb");
        let archive = Archive::create(&root, &ArchiveOptions::default()).expect("created");
        let (storage, options) = (Machine::default().storage, CatalogOptions::default());
        let path = root.join("catalog.redb");
        let catalog = Catalog::open(&storage, &path, Access::Write, Check::Always, options);
        fill(&catalog.expect("opened"));
        (directory, archive)
    });
    archive.snapshot().expect("sound")
}

fn fill(catalog: &Catalog) {
    let volume = catalog.read().expect("a reader").volumes().expect("sound")[0].id;
    for first in (0..FILES).step_by(usize::try_from(BATCH_FILES).expect("small")) {
        insert(catalog, volume, first..first + BATCH_FILES);
    }
}

fn insert(catalog: &Catalog, volume: VolumeId, numbers: Range<u64>) {
    let mut writer = catalog.write().expect("a writer");
    for lane in 0..COPIES {
        let extent = ExtentRecord {
            id: ExtentId::new(FIRST_EXTENT + u64::from(lane)),
            volume,
            lane: LaneIndex::new(lane),
            state: ExtentState::Open,
            owner: None,
            end_bytes: numbers.end * FRAME_LEN_BYTES,
            live_bytes: 0,
            live_shards: 0,
            live_files: 0,
        };
        writer.put_extent(&extent).expect("a known volume");
    }
    let first = numbers.start;
    let files: Vec<(FileRecord, Option<BlockRecord>)> =
        numbers.map(|number| record(&mut writer, number)).collect();
    writer.insert_files(&files).expect("inserted");
    let mut damage = Vec::new();
    for (number, (file, block)) in (first..).zip(&files) {
        if number.is_multiple_of(DEGRADED_EVERY) {
            let copies = if (number / DEGRADED_EVERY).is_multiple_of(2) {
                1
            } else {
                COPIES - 1
            };
            let block = block.as_ref().expect("a file of one block");
            damage.extend((0..copies).map(|copy| damage_of(file, block, ShardIndex::new(copy))));
        }
    }
    writer.record_damage(&damage, Knowledge::Whole).expect("recorded");
    writer.commit().expect("committed");
}

fn record(writer: &mut CatalogWriter, number: u64) -> (FileRecord, Option<BlockRecord>) {
    let geometry = FileGeometry::new(1000, &Policy::default());
    let name: FileName = format!("photos/{:03}/{number:06}.jpg", number / 1000)
        .parse()
        .expect("a valid name");
    let file = FileRecord {
        kind: EntryKind::File,
        id: writer.allocate_file_id(),
        name,
        mode: 0o100_644,
        modified_at: Timestamp::EPOCH,
        committed_at: Timestamp::EPOCH,
        version: 1,
        is_kept: false,
        commit: writer.allocate_commit_id(),
        geometry,
        root: RootHash::from_bytes([3; 32]),
        stored_bytes: u64::from(COPIES) * FRAME_LEN_BYTES,
    };
    let index = BlockIndex::new(0);
    let shard = |lane: u16| {
        Some(ShardRecord {
            extent: ExtentId::new(FIRST_EXTENT + u64::from(lane)),
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
        shards: (0..COPIES).map(shard).collect(),
    };
    (file, Some(block))
}

fn damage_of(file: &FileRecord, block: &BlockRecord, shard: ShardIndex) -> DamageRecord {
    let record = block.shards[usize::from(shard.get())].as_ref().expect("a copy");
    DamageRecord {
        owner: ShardOwner::InlineBlockOf(file.id),
        block: block.id,
        shard,
        address: record.address(),
        columns: ColumnSet::first(1),
        part: DamagePart::Payload,
        kind: DamageKind::Checksum,
        since: Timestamp::EPOCH,
    }
}
