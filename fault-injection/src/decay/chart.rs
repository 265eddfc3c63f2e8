//! Where every live frame lies, and what it holds: rows of the catalog of an archive that is well, and nothing else of the
//! engine. Whether all of it is there is seen from the bytes ([`Chart::agrees_with`]).

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bfdb::{
    Access, Tier,
    catalog::{BlockRecord, Catalog, CatalogOptions, CatalogReader, Check, ShardOwner},
    error::CatalogError,
    storage::Storage,
    units::BlockIndex,
};

use super::frame::{Code, Frame, span};
use crate::{
    SimulatedStorage,
    crashes::setting::{ROOT, explained},
};

/// Rows that are looked up at a time.
const PAGE_LEN: usize = 256;

/// What stands before the frames of an extent.
pub(super) const EXTENT_HEADER: Range<u64> = 0..4096;

/// Bytes by extent.
pub(super) type Extents = BTreeMap<u64, Vec<u8>>;

/// All live frames of an archive.
#[derive(Debug, Clone, Default)]
pub(super) struct Chart {
    pub(super) blocks: Vec<Block>,
    /// The lane of each extent.
    pub(super) lanes: BTreeMap<u64, u16>,
    /// Files, and nothing else.
    pub(super) files: u64,
}

/// A block and its frames, data shards first; those that are absent are left out.
#[derive(Debug, Clone)]
pub(super) struct Block {
    /// The file, or what reports call a descriptor.
    pub(super) name: String,
    pub(super) holds: Holds,
    /// Its place in the file.
    pub(super) index: u64,
    pub(super) code: Code,
    pub(super) frames: Vec<Frame>,
}

/// What a block holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Holds {
    /// The whole of a short file.
    Tiny,
    /// A row of replicas of a longer one.
    Segmented,
    /// A coded part of a long one.
    Blocked,
    /// What a commit has written about its files.
    Descriptor,
}

impl Holds {
    /// All of it.
    pub const ALL: [Self; 4] = [Self::Tiny, Self::Segmented, Self::Blocked, Self::Descriptor];
}

impl Chart {
    /// Reads the catalog of the archive on a disk; another handle may have it open.
    pub(super) fn read(disk: &SimulatedStorage) -> Result<Self, String> {
        Self::try_read(disk).map_err(|error| explained(&error))
    }

    fn try_read(disk: &SimulatedStorage) -> Result<Self, CatalogError> {
        let storage: Arc<dyn Storage> = Arc::new(disk.clone());
        let check = Check::WhenSmall {
            file_len_bytes: u64::MAX,
        };
        let path = Path::new(ROOT).join("catalog.redb");
        let options = CatalogOptions { cache_bytes: 1 << 20 };
        let catalog = Catalog::open(&storage, &path, Access::Read, check, options)?;
        let reader = catalog.read()?;
        let extents = reader.extents()?;
        let mut chart = Self {
            lanes: extents
                .iter()
                .map(|extent| (extent.id.get(), extent.lane.get()))
                .collect(),
            ..Self::default()
        };
        chart.add_files(&reader)?;
        chart.add_descriptors(&reader)?;
        drop(reader);
        catalog.close()?;
        Ok(chart)
    }

    fn add_files(&mut self, reader: &CatalogReader) -> Result<(), CatalogError> {
        let mut after = None;
        loop {
            let page = reader.files_page(None, after.as_ref(), PAGE_LEN)?;
            for (file, _) in &page {
                self.files += u64::from(file.kind == bfdb::EntryKind::File);
                let holds = match file.geometry.tier() {
                    Tier::Tiny => Holds::Tiny,
                    Tier::Segmented => Holds::Segmented,
                    Tier::Blocked | Tier::Grouped => Holds::Blocked,
                };
                for index in 0..file.geometry.block_count() {
                    let record = reader.block(file, BlockIndex::new(index))?;
                    self.blocks
                        .push(Block::of(&record, (file.name.to_string(), holds)));
                }
            }
            match page.last() {
                Some((last, _)) if page.len() == PAGE_LEN => after = Some(last.name.clone()),
                Some(_) | None => return Ok(()),
            }
        }
    }

    fn add_descriptors(&mut self, reader: &CatalogReader) -> Result<(), CatalogError> {
        let mut after = None;
        let mut known = BTreeSet::new();
        loop {
            let page = reader.shards_page(after, PAGE_LEN)?;
            for place in &page {
                if let ShardOwner::Descriptor(commit) = place.owner
                    && known.insert(commit)
                    && let Some(record) = reader.block_by_owner(place.owner)?
                {
                    let name = format!("descriptor of commit {commit}");
                    self.blocks.push(Block::of(&record, (name, Holds::Descriptor)));
                }
            }
            match page.last() {
                Some(last) if page.len() == PAGE_LEN => after = Some((last.extent, last.offset)),
                Some(_) | None => return Ok(()),
            }
        }
    }

    pub(super) fn frames(&self) -> impl Iterator<Item = &Frame> {
        self.blocks.iter().flat_map(|block| &block.frames)
    }

    /// Says what in the bytes of an archive that is well is not where it should be.
    pub(super) fn agrees_with(
        &self,
        extents: &Extents,
        content: impl Fn(&str) -> Option<Vec<u8>>,
    ) -> Result<(), String> {
        for block in &self.blocks {
            let whole = content(&block.name);
            for frame in &block.frames {
                let at = |range: &Range<u64>| {
                    let bytes = extents.get(&frame.extent);
                    bytes.and_then(|bytes| bytes.get(span(range))).unwrap_or_default()
                };
                let tables: Vec<&[u8]> = frame.tables().iter().map(at).collect();
                let is_padded = frame
                    .padding()
                    .iter()
                    .all(|range| at(range).iter().all(|byte| *byte == 0));
                let is_right = at(&frame.header()).starts_with(b"bfdb-FRM")
                    && at(&frame.footer()).starts_with(b"bfdb-END")
                    && tables.windows(2).all(|pair| pair[0] == pair[1])
                    && is_padded;
                let is_in_place = (0..frame.leaf_count()).all(|column| {
                    let stored = block.code.in_file(frame.shard, column);
                    let expected = stored.zip(whole.as_ref());
                    expected
                        .is_none_or(|(range, whole)| whole.get(span(&range)) == Some(at(&frame.leaf(column))))
                });
                if !is_right || !is_in_place {
                    return Err(format!(
                        "{} is not where it should be: {frame:?}, {:?}",
                        block.name, block.code
                    ));
                }
            }
        }
        Ok(())
    }
}

impl Block {
    fn of(record: &BlockRecord, (name, holds): (String, Holds)) -> Self {
        let code = Code::of(&record.geometry);
        let placed = (0..).zip(&record.shards);
        let present = placed.filter_map(|(shard, place)| Some((shard, place.as_ref()?)));
        let frame = |(shard, place): (u64, &bfdb::catalog::ShardRecord)| Frame {
            shard,
            extent: place.extent.get(),
            offset: place.offset,
            code,
        };
        Self {
            name,
            holds,
            index: record.index.get(),
            code,
            frames: present.map(frame).collect(),
        }
    }
}

/// Returns where an extent lies.
pub(super) fn path_of(extent: u64) -> PathBuf {
    Path::new(ROOT).join(format!("volumes/v0/extents/{extent:08}.bfx"))
}
