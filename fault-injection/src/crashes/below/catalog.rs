//! The catalog alone: after a crash it opens and holds exactly what was committed last, or what was being committed.

use std::{
    hash::{DefaultHasher, Hash as _, Hasher as _},
    io,
    path::Path,
    sync::Arc,
};

use bfdb::{
    Access, EntryKind, Policy, RootHash,
    catalog::{
        ArchiveRecord, Catalog, CatalogOptions, CatalogReader, CatalogWriter, Check, ExtentRecord,
        ExtentState, FileRecord, VolumeRecord, VolumeState,
    },
    error::CatalogError,
    geometry::FileGeometry,
    storage::Storage,
    units::{ArchiveId, FileName, LaneIndex, Timestamp, VolumeId},
};

use super::Moments;
use crate::{
    Seeded, SimulatedStorage,
    crashes::{
        image::{Half, Image},
        scenario::{Ground, Level, Record, Recovery, Scenario, State, Verdict},
        setting::explained,
        sources::Sources,
        violation::{Promise, Violation, guarded},
    },
};

/// Random transactions, some of them dropped, with the file closed and opened now and then.
pub(super) struct CatalogAlone;

const PATH: &str = "/catalog.redb";
const VOLUME: VolumeId = VolumeId::from_bytes([7; 16]);
const TRANSACTIONS: usize = 12;

/// The root of a file without bytes: BLAKE3 of nothing.
const EMPTY_ROOT: [u8; 32] = [
    0xAF, 0x13, 0x49, 0xB9, 0xF5, 0xF9, 0xA1, 0xA6, 0xA0, 0x40, 0x4D, 0xEA, 0x36, 0xDC, 0xC9, 0x49, 0x9B,
    0xCB, 0x25, 0xC9, 0xAD, 0xC1, 0x12, 0xB7, 0xCC, 0x9A, 0x93, 0xCA, 0xE4, 0x1F, 0x32, 0x62,
];

/// Everything that a catalog says, in words.
type Dump = Vec<String>;

/// Which dumps are allowed; none before the catalog was made.
#[derive(Clone, Hash)]
struct Committed {
    may_be: Vec<Dump>,
}

impl Scenario for CatalogAlone {
    fn name(&self) -> &'static str {
        "below-catalog"
    }

    fn level(&self) -> Level {
        Level::Below
    }

    fn play(&self, ground: &Ground, _: &Sources, seed: u64) -> io::Result<Box<dyn Record>> {
        let disk = &ground.disk;
        let mut moments = Moments::new(disk, Committed { may_be: Vec::new() });
        // With an error injected it ends where it is: whoever uses a catalog opens it anew, which opening the image does.
        match transactions(disk, &mut moments, seed) {
            Ok(()) | Err(_) => {}
        }
        Ok(Box::new(moments))
    }
}

fn transactions(
    disk: &SimulatedStorage,
    moments: &mut Moments<Committed>,
    seed: u64,
) -> Result<(), CatalogError> {
    let mut seeded = Seeded::new(seed);
    let storage: Arc<dyn Storage> = Arc::new(disk.clone());
    create(&storage)?;
    let mut catalog = open(&storage, Access::Write)?;
    // A file is durable when its name is.
    if storage.sync_directory(Path::new("/")).is_err() {
        return Ok(());
    }
    let mut current = dump(&catalog.read()?)?;
    moments.note(&Committed {
        may_be: vec![current.clone()],
    });
    for _ in 0..TRANSACTIONS {
        let mut writer = catalog.write()?;
        for _ in 0..=seeded.index(4) {
            change(&mut writer, &mut seeded)?;
        }
        if seeded.below(6) == 0 {
            continue;
        }
        writer.advance_epoch();
        let next = dump(&writer)?;
        moments.note(&Committed {
            may_be: vec![current, next.clone()],
        });
        writer.commit()?;
        moments.note(&Committed {
            may_be: vec![next.clone()],
        });
        current = next;
        if seeded.below(5) == 0 {
            catalog.close()?;
            catalog = open(&storage, Access::Write)?;
        }
    }
    catalog.close()
}

fn create(storage: &Arc<dyn Storage>) -> Result<(), CatalogError> {
    let archive = ArchiveRecord {
        id: ArchiveId::from_bytes([9; 16]),
        format_version: 1,
        required_features: 0,
        created_at: Timestamp::EPOCH,
        policy: Policy::default(),
    };
    let volume = VolumeRecord {
        number: 0,
        id: VOLUME,
        path: b"v0".to_vec(),
        state: VolumeState::Active,
        epoch: bfdb::units::Epoch::ZERO,
    };
    Catalog::create(storage, Path::new(PATH), &archive, &[volume], options())
}

fn open(storage: &Arc<dyn Storage>, access: Access) -> Result<Catalog, CatalogError> {
    Catalog::open(storage, Path::new(PATH), access, Check::Always, options())
}

const fn options() -> CatalogOptions {
    CatalogOptions { cache_bytes: 1 << 20 }
}

fn change(writer: &mut CatalogWriter, seeded: &mut Seeded) -> Result<(), CatalogError> {
    let name: FileName = format!("directory-{}", seeded.below(12)).parse().expect("a name");
    let time = Timestamp::new(1000, u32::try_from(seeded.below(1000)).expect("small")).expect("a time");
    match seeded.below(5) {
        0 | 1 => {
            if writer.find_files(&[&name])?.iter().all(Option::is_none) {
                let entry = directory(writer, name, time);
                writer.insert_file(&entry, [])?;
            }
        }
        2 => drop(writer.remove_file(&name)?),
        3 => drop(writer.set_metadata(&name, 0o700, time)?),
        _ => {
            let extent = ExtentRecord {
                id: writer.allocate_extent_id(),
                volume: VOLUME,
                lane: LaneIndex::new(0),
                state: ExtentState::Open,
                owner: None,
                end_bytes: 4096 * seeded.below(100),
                live_bytes: 0,
                live_shards: 0,
                live_files: 0,
            };
            writer.put_extent(&extent)?;
        }
    }
    Ok(())
}

fn directory(writer: &mut CatalogWriter, name: FileName, time: Timestamp) -> FileRecord {
    FileRecord {
        id: writer.allocate_file_id(),
        name,
        kind: EntryKind::Directory,
        mode: 0o40_755,
        modified_at: time,
        committed_at: time,
        version: 1,
        is_kept: false,
        commit: writer.allocate_commit_id(),
        geometry: FileGeometry::new(0, &Policy::default()),
        root: RootHash::from_bytes(EMPTY_ROOT),
        stored_bytes: 0,
    }
}

fn dump(reader: &CatalogReader) -> Result<Dump, CatalogError> {
    let mut dump = vec![format!("{:?} {:?}", reader.epoch()?, reader.totals()?)];
    dump.extend(reader.extents()?.iter().map(|extent| format!("{extent:?}")));
    let files = reader.files_page(None, None, 1000)?;
    dump.extend(files.iter().map(|(file, _)| format!("{file:?}")));
    Ok(dump)
}

impl Committed {
    /// Judges what a catalog holds, and returns it.
    fn judge(&self, catalog: &Catalog) -> Result<Dump, Violation> {
        let opens = |error: CatalogError| Promise::Opens.broken(explained(&error));
        let found = catalog.read().and_then(|reader| dump(&reader)).map_err(opens)?;
        if self.may_be.contains(&found) {
            return Ok(found);
        }
        let ahead = self.may_be.iter().map(|one| one[0].clone());
        let allowed: Vec<String> = ahead.collect();
        Err(Promise::Content.broken(format!("{}; allowed: {}", found[0], allowed.join(", or "))))
    }

    fn exactly(dump: Dump) -> Self {
        Self { may_be: vec![dump] }
    }
}

impl State for Committed {
    fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.hash(&mut hasher);
        hasher.finish()
    }

    fn check(&self, image: &Image, _: u64) -> Result<Verdict, Violation> {
        if self.may_be.is_empty() {
            return Ok(Verdict::default());
        }
        guarded(|| {
            let disk = image.fork();
            let storage: Arc<dyn Storage> = Arc::new(disk.clone());
            let opens = |error: CatalogError| Promise::Opens.broken(explained(&error));
            let fails = |error: CatalogError| Promise::Writable.broken(explained(&error));
            let mut allowed = self.clone();
            // A reader repairs what a crash left, a writer does.
            let mut recovery = None;
            if image.is_of(Half::ReaderFirst) {
                let catalog = open(&storage, Access::Read).map_err(opens)?;
                allowed = Self::exactly(allowed.judge(&catalog)?);
                catalog.close().map_err(opens)?;
                recovery = Some(Recovery::until_now(&disk, Box::new(allowed.clone())));
            }
            let catalog = open(&storage, Access::Write).map_err(opens)?;
            let found = Self::exactly(allowed.judge(&catalog)?);
            let recovery = recovery.unwrap_or_else(|| Recovery::until_now(&disk, Box::new(found)));
            let mut writer = catalog.write().map_err(fails)?;
            change(&mut writer, &mut Seeded::new(1)).map_err(fails)?;
            let next = dump(&writer).map_err(fails)?;
            writer.commit().map_err(fails)?;
            catalog.close().map_err(fails)?;
            let catalog = open(&storage, Access::Read).map_err(opens)?;
            Self::exactly(next).judge(&catalog)?;
            catalog.close().map_err(opens)?;
            Ok(Verdict {
                minor: Vec::new(),
                recovery: Some(recovery),
            })
        })
    }
}
