//! What a catalog says at one moment, read by a handle of its own: to be compared with the disk, and with a later moment.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::{Path, PathBuf},
    sync::Arc,
};

use bfdb::{
    Access,
    catalog::{
        BlockRecord, Catalog, CatalogOptions, CatalogReader, Check, ExtentRecord, FileRecord, IntentRecord,
        ShardOwner, VolumeRecord,
    },
    error::CatalogError,
    storage::Storage,
    units::{ArchiveId, BlockIndex, Epoch, ExtentId},
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
    /// Files of which another length is noted than their frames have together.
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
        let books = Self {
            root: root.to_path_buf(),
            archive: catalog.archive().id,
            epoch: reader.epoch()?,
            volumes: reader.volumes()?,
            extents: reader.extents()?,
            intents: reader.intents()?,
            journal: reader.journal()?,
            frames: frames(&reader)?,
            wrong_sums: wrong_sums(&reader)?,
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

fn wrong_sums(reader: &CatalogReader) -> Result<Vec<String>, CatalogError> {
    let mut wrong = Vec::new();
    let mut after = None;
    loop {
        let page = reader.files_page(None, after.as_ref(), PAGE_LEN)?;
        for (file, _) in &page {
            let counted = stored_bytes(reader, file)?;
            if counted != file.stored_bytes {
                wrong.push(format!("the frames of a file have {counted} bytes: {file:?}"));
            }
        }
        match page.last() {
            Some((last, _)) if page.len() == PAGE_LEN => after = Some(last.name.clone()),
            Some(_) | None => return Ok(wrong),
        }
    }
}

fn stored_bytes(reader: &CatalogReader, file: &FileRecord) -> Result<u64, CatalogError> {
    let mut sum = 0;
    for index in 0..file.geometry.block_count() {
        let block = reader.block(file, BlockIndex::new(index))?;
        sum += block
            .shards
            .iter()
            .flatten()
            .map(|shard| shard.frame_len_bytes)
            .sum::<u64>();
    }
    Ok(sum)
}
