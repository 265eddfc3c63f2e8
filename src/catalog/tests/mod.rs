#![expect(
    clippy::disallowed_methods,
    reason = "tests damage and copy catalog files behind the back of the database"
)]

mod checkpoints;
mod damage;
mod descriptors;
mod disk;
mod dump;
mod freed;
mod golden;
mod golden_knowledge;
mod history;
mod intents;
mod kinds;
mod knowledge;
mod listing;
mod live;
mod looks;
mod many;
mod model;
mod one_publication;
mod pages;
mod publications;
mod published_bytes;
mod queries;
mod relocation;
mod reopening;
mod room;
mod said;
mod sharing;
mod versions;

pub(crate) use reopening::{Faults, open_on_faulty_disk};

use dump::Dump;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use super::*;
use crate::geometry::{FileGeometry, Grouping, Policy, PolicyParts};
use crate::merkle::{RootHash, ShardDigest};
use crate::storage::{HostStorage, Storage};
use crate::units::{
    ArchiveId, BlockId, BlockIndex, ByteRange, CodeShape, CommitId, Epoch, ExtentId, FileId, FileName,
    LaneIndex, LeafLen, Timestamp, VolumeId,
};

/// Every tier with few bytes: a block is tiny below 4 KiB, a replicated segment of 2 KiB below 16 KiB, then RS(3,2).
fn policy() -> Policy {
    let shape = |data, parity| CodeShape::new(data, parity).expect("valid shape");
    Policy::new(PolicyParts {
        leaf: LeafLen::from_log2(10).expect("1 KiB"),
        tiny_below_bytes: 4096,
        tiny_shape: shape(1, 1),
        segmented_below_bytes: 16_384,
        segmented_shape: shape(1, 2),
        segmented_segment_len_bytes: 2048,
        blocked_shape: shape(3, 2),
        blocked_segment_max_len_bytes: 2048,
        blocked_below_bytes: 10_000_000_000,
        grouped: Grouping {
            shape: shape(3, 2),
            ..Grouping::DEFAULT
        },
        survive_volumes: 0,
    })
    .expect("valid policy")
}

fn archive() -> ArchiveRecord {
    ArchiveRecord {
        id: ArchiveId::from_bytes([0xa5; 16]),
        format_version: FORMAT_VERSION,
        required_features: 0,
        created_at: time(1_700_000_000),
        policy: policy(),
    }
}

fn volumes() -> Vec<VolumeRecord> {
    let volume = |number: u16, path: &[u8]| VolumeRecord {
        number,
        id: VolumeId::from_bytes([u8::try_from(number).expect("small"); 16]),
        path: path.to_vec(),
        state: VolumeState::Active,
        epoch: Epoch::ZERO,
    };
    vec![volume(1, b"volumes/v0"), volume(2, b"/mnt/\xff/two")]
}

fn time(seconds: i64) -> Timestamp {
    Timestamp::new(seconds, 5).expect("valid time")
}

fn name(text: &str) -> FileName {
    text.parse().expect("valid name")
}

const LANES: u16 = 5;

/// A catalog in a directory of its own, with what was stored in it.
struct World {
    directory: TempDir,
    storage: Arc<dyn Storage>,
    /// Committed end of the extent of every lane.
    ends: [u64; LANES as usize],
    files: BTreeMap<FileName, (FileRecord, Vec<BlockRecord>)>,
    /// Kept versions.
    kept: BTreeMap<(FileName, u32), (FileRecord, Vec<BlockRecord>)>,
    intents: BTreeMap<CommitId, IntentRecord>,
    descriptors: BTreeMap<CommitId, DescriptorRecord>,
    /// Extents beside those of the lanes.
    others: BTreeMap<ExtentId, ExtentRecord>,
    known: knowledge::Known,
    /// What was given back.
    freed: BTreeMap<ExtentId, Vec<ByteRange>>,
}

impl World {
    /// Makes a catalog with one open extent for every lane, ids 1 to 5.
    fn new() -> Self {
        Self::on(host())
    }

    fn on(storage: Arc<dyn Storage>) -> Self {
        let world = Self {
            directory: TempDir::new().expect("a temporary directory"),
            storage,
            ends: [4096; LANES as usize],
            files: BTreeMap::new(),
            kept: BTreeMap::new(),
            intents: BTreeMap::new(),
            descriptors: BTreeMap::new(),
            others: BTreeMap::new(),
            known: knowledge::Known::default(),
            freed: BTreeMap::new(),
        };
        let options = CatalogOptions::default();
        Catalog::create(&world.storage, &world.path(), &archive(), &volumes(), options).expect("created");
        let catalog = world.open(Access::Write);
        let mut writer = catalog.write().expect("writer");
        for lane in 0..LANES {
            let id = writer.allocate_extent_id();
            assert_eq!(id.get(), u64::from(lane) + 1);
            writer.put_extent(&world.extent(lane)).expect("a new extent");
        }
        writer.commit().expect("committed");
        catalog.close().expect("closed");
        world
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("catalog.redb")
    }

    fn open(&self, access: Access) -> Catalog {
        open_on(&self.storage, &self.path(), access).expect("opened")
    }

    fn extent(&self, lane: u16) -> ExtentRecord {
        ExtentRecord {
            id: ExtentId::new(u64::from(lane) + 1),
            volume: volumes()[usize::from(lane % 2)].id,
            lane: LaneIndex::new(lane),
            state: if lane == 4 {
                ExtentState::Sealed
            } else {
                ExtentState::Open
            },
            owner: (lane == 0).then(|| CommitId::new(77)),
            end_bytes: self.ends[usize::from(lane)],
            live_bytes: 0,
            live_shards: 0,
            live_files: 0,
        }
    }

    /// All extents; what lives in them is not counted.
    fn extents(&self) -> Vec<ExtentRecord> {
        let lanes = (0..LANES).map(|lane| self.extent(lane));
        lanes.chain(self.others.values().cloned()).collect()
    }

    /// Makes up a file and places its shards behind everything else, a lane for each.
    fn file(
        &mut self,
        writer: &mut CatalogWriter,
        name: &FileName,
        len_bytes: u64,
    ) -> (FileRecord, Vec<BlockRecord>) {
        let (id, commit) = (writer.allocate_file_id(), writer.allocate_commit_id());
        let geometry = FileGeometry::new(len_bytes, &policy());
        let mut stored_bytes = 0;
        let ids: Vec<BlockId> = writer.allocate_block_ids(geometry.block_count()).collect();
        let blocks = ids.into_iter().zip(0..).map(|(block, index)| {
            let index = BlockIndex::new(index);
            let geometry = geometry.block(index);
            let shards = geometry.shards().map(|shard| {
                geometry.is_present(shard).then(|| {
                    let lane = usize::from(shard.get());
                    let frame_len_bytes = geometry.shard_len_bytes(shard) + 192;
                    let offset = self.ends[lane];
                    self.ends[lane] += frame_len_bytes;
                    stored_bytes += frame_len_bytes;
                    ShardRecord {
                        extent: ExtentId::new(u64::from(shard.get()) + 1),
                        offset,
                        frame_len_bytes,
                        digest: ShardDigest::from_bytes(
                            [u8::try_from(block.get() % 251).expect("small"); 32],
                        ),
                    }
                })
            });
            let shards = shards.collect();
            BlockRecord {
                id: block,
                file: id,
                index,
                reference_count: 1,
                geometry,
                shards,
            }
        });
        let blocks: Vec<BlockRecord> = blocks.collect();
        let file = FileRecord {
            kind: EntryKind::File,
            id,
            name: name.clone(),
            mode: 0o100_644,
            modified_at: time(-1),
            committed_at: time(1_700_000_001),
            version: 1,
            is_kept: false,
            commit,
            geometry,
            root: RootHash::from_bytes([u8::try_from(id.get() % 251).expect("small"); 32]),
            stored_bytes,
        };
        (file, blocks)
    }

    fn insert(&mut self, writer: &mut CatalogWriter, name: &FileName, len_bytes: u64) {
        self.try_insert(writer, name, len_bytes).expect("inserted");
    }

    fn try_insert(
        &mut self,
        writer: &mut CatalogWriter,
        name: &FileName,
        len_bytes: u64,
    ) -> Result<(), CatalogError> {
        let (file, blocks) = self.file(writer, name, len_bytes);
        self.put_extents(writer);
        writer.insert_file(&file, blocks.clone())?;
        let before = self.files.insert(name.clone(), (file, blocks));
        assert!(before.is_none(), "the name was free");
        Ok(())
    }

    /// Makes up an entry without bytes.
    fn entry(&mut self, writer: &mut CatalogWriter, name: &FileName, kind: EntryKind) -> FileRecord {
        let (file, _) = self.file(writer, name, 0);
        let root = RootHash::from_bytes(EMPTY_ROOT);
        FileRecord { kind, root, ..file }
    }

    fn insert_entry(&mut self, writer: &mut CatalogWriter, name: &FileName, kind: EntryKind) {
        let entry = self.entry(writer, name, kind);
        writer.insert_file(&entry, []).expect("inserted");
        let before = self.files.insert(name.clone(), (entry, Vec::new()));
        assert!(before.is_none(), "the name was free");
    }

    fn put_extents(&self, writer: &mut CatalogWriter) {
        for extent in self.extents() {
            writer.put_extent(&extent).expect("a known volume");
        }
    }

    /// All that is stored: what has a name, and then the kept versions.
    fn stored(&self) -> impl Iterator<Item = &(FileRecord, Vec<BlockRecord>)> {
        self.files.values().chain(self.kept.values())
    }

    /// Keeps what has a name as a version of it, and stores another file in its place.
    fn replace_and_keep(&mut self, writer: &mut CatalogWriter, name: &FileName, len_bytes: u64) {
        let (mut file, blocks) = self.files.remove(name).expect("stored");
        file.is_kept = true;
        assert_eq!(writer.retire(file.id).expect("a file"), file);
        let version = file.version + 1;
        self.kept.insert((name.clone(), file.version), (file, blocks));
        let (mut file, blocks) = self.file(writer, name, len_bytes);
        file.version = version;
        self.put_extents(writer);
        writer.insert_file(&file, blocks.clone()).expect("inserted");
        self.files.insert(name.clone(), (file, blocks));
    }

    /// What a dump of the catalog has to be.
    fn expected(&self, epoch: u64) -> Dump {
        let mut totals = Totals::default();
        let mut extents = self.extents();
        let mut shards = Vec::new();
        for (file, blocks) in self.stored() {
            match &file.kind {
                kind if file.is_kept => {
                    match kind {
                        EntryKind::File => totals.kept.files += 1,
                        EntryKind::SymbolicLink { .. } => totals.kept.symbolic_links += 1,
                        EntryKind::Directory => unreachable!("no directory is kept"),
                    }
                    totals.kept.bytes += file.geometry.len_bytes();
                    totals.kept.stored_bytes += file.stored_bytes;
                }
                EntryKind::File => totals.files += 1,
                EntryKind::Directory => {
                    totals.directories += 1;
                    continue;
                }
                EntryKind::SymbolicLink { .. } => {
                    totals.symbolic_links += 1;
                    continue;
                }
            }
            if !file.is_kept {
                let len_bytes = file.geometry.len_bytes();
                let tier = &mut totals.tiers[usize::from(file.geometry.tier().number()) - 1];
                tier.files += 1;
                tier.bytes += len_bytes;
                totals.bytes += len_bytes;
                totals.stored_bytes += file.stored_bytes;
            }
            totals.blocks += blocks.len() as u64;
            for block in blocks {
                let owner = match blocks.len() {
                    1 => ShardOwner::InlineBlockOf(file.id),
                    _ => ShardOwner::Block(block.id),
                };
                count_shards(owner, block, &mut extents, &mut shards);
            }
            let shards = blocks.iter().flat_map(|block| block.shards.iter().flatten());
            let held: std::collections::BTreeSet<ExtentId> = shards.map(|shard| shard.extent).collect();
            for extent in extents.iter_mut().filter(|extent| held.contains(&extent.id)) {
                extent.live_files += 1;
            }
        }
        for descriptor in self.descriptors.values() {
            let owner = ShardOwner::Descriptor(descriptor.commit);
            count_shards(owner, &descriptor.block, &mut extents, &mut shards);
        }
        shards.sort_unstable();
        Dump {
            epoch: Epoch::new(epoch),
            journal: Vec::new(),
            totals,
            volumes: volumes(),
            said: self.expected_knowledge(&extents),
            extents,
            freed: self.freed.clone(),
            files: self.files.values().cloned().collect(),
            kept: self.kept.values().cloned().collect(),
            shards,
            intents: self.intents.values().cloned().collect(),
            descriptors: self.descriptors.values().cloned().collect(),
            checkpoints: Checkpoints::default(),
        }
    }
}

fn host() -> Arc<dyn Storage> {
    Arc::new(HostStorage)
}

fn count_shards(
    owner: ShardOwner,
    block: &BlockRecord,
    extents: &mut [ExtentRecord],
    shards: &mut Vec<ShardPlace>,
) {
    for (shard, record) in block.geometry.shards().zip(&block.shards) {
        let Some(record) = record else { continue };
        let extent = extents.iter_mut().find(|extent| extent.id == record.extent);
        let extent = extent.expect("a known extent");
        extent.live_bytes += record.frame_len_bytes;
        extent.live_shards += 1;
        let (extent, offset) = (record.extent, record.offset);
        shards.push(ShardPlace {
            extent,
            offset,
            owner,
            shard,
        });
    }
}

fn open(path: &Path, access: Access) -> Result<Catalog, CatalogError> {
    open_on(&host(), path, access)
}

fn open_on(storage: &Arc<dyn Storage>, path: &Path, access: Access) -> Result<Catalog, CatalogError> {
    let file_len_bytes = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    Catalog::open(
        storage,
        path,
        access,
        Check::WhenSmall { file_len_bytes },
        CatalogOptions::default(),
    )
}

/// Lengths that reach every tier, empty and one-block files among them.
const LENGTHS: [u64; 9] = [0, 1, 1024, 1025, 4095, 4096, 9000, 16_384, 40_000];

/// BLAKE3 of no bytes, as published.
const EMPTY_ROOT: [u8; 32] = [
    0xaf, 0x13, 0x49, 0xb9, 0xf5, 0xf9, 0xa1, 0xa6, 0xa0, 0x40, 0x4d, 0xea, 0x36, 0xdc, 0xc9, 0x49, 0x9b,
    0xcb, 0x25, 0xc9, 0xad, 0xc1, 0x12, 0xb7, 0xcc, 0x9a, 0x93, 0xca, 0xe4, 0x1f, 0x32, 0x62,
];

fn link_to(target: &[u8]) -> EntryKind {
    EntryKind::SymbolicLink {
        target: target.into(),
    }
}

/// A closed catalog with files of every tier, a directory and a link in a few directories, some of them verified and some
/// damaged.
fn furnished() -> World {
    let mut world = World::new();
    let catalog = world.open(Access::Write);
    for directory in ["a", "a/b", "c"] {
        if directory == "c" {
            world.look_around(&catalog);
        }
        let mut writer = catalog.write().expect("writer");
        for len_bytes in LENGTHS {
            world.insert(&mut writer, &name(&format!("{directory}/{len_bytes}")), len_bytes);
        }
        world.insert_entry(&mut writer, &name(directory), EntryKind::Directory);
        world.insert_entry(
            &mut writer,
            &name(&format!("{directory}/link")),
            link_to(b"../\xff"),
        );
        world.insert_descriptor(&mut writer, &name(&format!("{directory}/9000")), 700);
        for len_bytes in [9000, 1] {
            world.replace_and_keep(&mut writer, &name(&format!("{directory}/1")), len_bytes);
        }
        world.insert_intent(&mut writer, &name(&format!("{directory}/new")));
        writer.advance_epoch();
        for (start, end) in [(0, 64), (128, 192)] {
            let range = ByteRange::new(start, end).expect("in order");
            let extent = ExtentId::new(2);
            writer.mark_freed(extent, &[range]).expect("sound");
            let freed = world.freed.entry(extent).or_default();
            if !freed.contains(&range) {
                freed.push(range);
            }
        }
        writer.commit().expect("committed");
    }
    catalog.close().expect("closed");
    world
}
