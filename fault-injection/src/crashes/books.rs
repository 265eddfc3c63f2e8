//! What a catalog says at one moment, read by a handle of its own: to be compared with the disk, and with a later moment.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bfdb::{
    Access,
    catalog::{
        BlockRecord, Catalog, CatalogOptions, CatalogReader, Check, ExtentRecord, FileRecord, FileState,
        HealthTotals, IntentRecord, ShardOwner, VolumeRecord,
    },
    error::CatalogError,
    storage::Storage,
    units::{ArchiveId, BlockIndex, ByteRange, Epoch, ExtentId, FileId, FileName},
};

use super::setting::explained;
use crate::SimulatedStorage;

/// Rows that are looked up at a time.
const PAGE_LEN: usize = 256;

/// What a catalog says.
#[derive(Debug)]
pub struct Books {
    /// The directory of the archive.
    pub root: PathBuf,
    /// Whose catalog it is.
    pub archive: ArchiveId,
    /// The last publication.
    pub epoch: Epoch,
    /// Where the archive lies.
    pub volumes: Vec<VolumeRecord>,
    /// All extents.
    pub extents: Vec<ExtentRecord>,
    /// Commits that are not done.
    pub intents: Vec<IntentRecord>,
    /// What it remembers of the journal.
    pub journal: Vec<u8>,
    /// All live frames, in the order of the disk.
    pub frames: Vec<Frame>,
    /// What was given back of each extent to the file system.
    pub freed: BTreeMap<ExtentId, Vec<ByteRange>>,
    /// How many files have frames in each extent.
    pub files_in: BTreeMap<ExtentId, u64>,
    /// Files of which another length is noted than their frames have together, and sums over damage that are not those of what
    /// is listed.
    pub wrong_sums: Vec<String>,
}

/// A live frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame {
    /// Whose shard it holds.
    pub owner: ShardOwner,
    /// Where it lies.
    pub extent: ExtentId,
    /// Where it begins there.
    pub offset: u64,
    /// Its length, header and footer included; 0 when the block that it belongs to does not have it.
    pub len_bytes: u64,
}

impl Books {
    /// Returns where a volume lies.
    pub fn directory_of(&self, volume: &VolumeRecord) -> PathBuf {
        self.root.join(OsStr::from_bytes(&volume.path))
    }

    /// Reads the catalog of the archive at `root`; another handle may have it open.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub fn read(disk: &SimulatedStorage, root: &Path) -> Result<Self, String> {
        Self::try_read(disk, root).map_err(|error| explained(&error))
    }

    fn try_read(disk: &SimulatedStorage, root: &Path) -> Result<Self, CatalogError> {
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        // Whoever opens it for writing next verifies all pages.
        let check = Check::WhenSmall {
            file_len_bytes: u64::MAX,
        };
        let catalog = Catalog::open(
            &storage,
            &root.join("catalog.redb"),
            Access::Read,
            check,
            CatalogOptions { cache_bytes: 1 << 20 },
        )?;
        let reader = catalog.read()?;
        let (mut wrong_sums, files_in) = recount_files(&reader)?;
        wrong_sums.extend(recount_damage(&reader)?);
        let books = Self {
            root: root.to_path_buf(),
            archive: catalog.archive().id,
            epoch: reader.epoch()?,
            volumes: reader.volumes()?,
            extents: reader.extents()?,
            intents: reader.intents()?,
            journal: reader.journal()?,
            frames: frames(&reader)?,
            freed: freed(&reader)?,
            files_in,
            wrong_sums,
        };
        drop(reader);
        catalog.close()?;
        Ok(books)
    }

    /// Says what changed between two moments in which nothing was to change.
    pub fn differs_from(&self, later: &Self) -> Option<String> {
        let changed =
            |what: &str, is_same: bool| (!is_same).then(|| format!("{what} changed: {self:?}, {later:?}"));
        changed("the epoch", self.epoch == later.epoch)
            .or_else(|| changed("extents", self.extents == later.extents))
            .or_else(|| changed("intents", self.intents == later.intents))
            .or_else(|| changed("the place in the journal", self.journal == later.journal))
    }
}

fn freed(reader: &CatalogReader) -> Result<BTreeMap<ExtentId, Vec<ByteRange>>, CatalogError> {
    let of = |extent: ExtentRecord| Ok((extent.id, reader.freed_of(extent.id)?));
    reader.extents()?.into_iter().map(of).collect()
}

fn frames(reader: &CatalogReader) -> Result<Vec<Frame>, CatalogError> {
    let mut blocks: BTreeMap<ShardOwner, Option<BlockRecord>> = BTreeMap::new();
    let mut frames = Vec::new();
    let mut after = None;
    loop {
        let page = reader.shards_page(after, PAGE_LEN)?;
        for place in &page {
            let block = match blocks.entry(place.owner) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(free) => free.insert(reader.block_by_owner(place.owner)?),
            };
            let index = usize::from(place.shard.get());
            let shard = block.as_ref().and_then(|block| block.shards.get(index)?.as_ref());
            frames.push(Frame {
                owner: place.owner,
                extent: place.extent,
                offset: place.offset,
                len_bytes: shard.map_or(0, |shard| shard.frame_len_bytes),
            });
        }
        match page.last() {
            Some(last) if page.len() == PAGE_LEN => after = Some((last.extent, last.offset)),
            Some(_) | None => return Ok(frames),
        }
    }
}

/// Returns the files whose lengths are wrong, and how many files have frames in each extent.
fn recount_files(reader: &CatalogReader) -> Result<(Vec<String>, BTreeMap<ExtentId, u64>), CatalogError> {
    let (mut wrong, mut files_in) = (Vec::new(), BTreeMap::new());
    let mut recount = |page: &[(FileRecord, Option<BlockRecord>)]| -> Result<(), CatalogError> {
        for (file, _) in page {
            let (counted, extents) = frames_of(reader, file)?;
            for extent in extents {
                *files_in.entry(extent).or_default() += 1;
            }
            if counted != file.stored_bytes {
                wrong.push(format!("the frames of a file have {counted} bytes: {file:?}"));
            }
        }
        Ok(())
    };
    let mut after = None;
    loop {
        let page = reader.files_page(None, after.as_ref(), PAGE_LEN)?;
        recount(&page)?;
        match page.last() {
            Some((last, _)) if page.len() == PAGE_LEN => after = Some(last.name.clone()),
            Some(_) | None => break,
        }
    }
    let mut after: Option<(FileName, u32)> = None;
    loop {
        let behind = after.as_ref().map(|(name, version)| (name, *version));
        let page = reader.kept_versions_page(None, behind, PAGE_LEN)?;
        recount(&page)?;
        match page.last() {
            Some((last, _)) if page.len() == PAGE_LEN => after = Some((last.name.clone(), last.version)),
            Some(_) | None => break,
        }
    }
    Ok((wrong, files_in))
}

/// Returns how many bytes the frames of a file have, and the extents that hold them.
fn frames_of(reader: &CatalogReader, file: &FileRecord) -> Result<(u64, BTreeSet<ExtentId>), CatalogError> {
    let (mut sum, mut extents) = (0, BTreeSet::new());
    for index in 0..file.geometry.block_count() {
        let block = reader.block(file, BlockIndex::new(index))?;
        for shard in block.shards.iter().flatten() {
            sum += shard.frame_len_bytes;
            extents.insert(shard.extent);
        }
    }
    Ok((sum, extents))
}

/// Compares the sums over all damage with what is listed.
fn recount_damage(reader: &CatalogReader) -> Result<Vec<String>, CatalogError> {
    let (mut wrong, mut counted) = (Vec::new(), HealthTotals::default());
    let mut of_files: BTreeMap<FileId, (u64, FileState)> = BTreeMap::new();
    let mut after = None;
    loop {
        let page = reader.damaged_blocks_page(after, PAGE_LEN)?;
        for block in &page {
            if reader.damage_of_block(block.block)?.len() != usize::from(block.shards) {
                wrong.push(format!("other shards of a block are damaged: {block:?}"));
            }
            counted.damaged_shards += u64::from(block.shards);
            if matches!(block.owner, ShardOwner::Descriptor(_)) {
                counted.damaged_descriptors += 1;
                counted.lost_descriptors += u64::from(block.lost_bytes > 0);
                continue;
            }
            let file = of_files.entry(block.file).or_insert((0, FileState::Degraded));
            file.0 += u64::from(block.shards);
            if block.lost_bytes > 0 {
                file.1 = FileState::Lost;
            }
        }
        match page.last() {
            Some(last) if page.len() == PAGE_LEN => after = Some((last.file, last.block)),
            Some(_) | None => break,
        }
    }
    for (file, expected) in of_files {
        match expected.1 {
            FileState::Degraded => counted.degraded_files += 1,
            FileState::Lost => counted.lost_files += 1,
        }
        let listed = reader.damaged_file(file)?;
        if listed.map(|listed| (listed.shards, listed.state)) != Some(expected) {
            wrong.push(format!("damage of file {file} is {expected:?}: {listed:?}"));
        }
    }
    let health = reader.health()?;
    counted.unverified_files = health.unverified_files;
    if counted != health {
        wrong.push(format!("of damage {counted:?} is listed: {health:?}"));
    }
    Ok(wrong)
}
