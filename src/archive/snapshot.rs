//! One consistent view of what is stored.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, path::PathBuf, sync::Arc};

use super::{
    FileReader, RestoreObserver, RestoreOptions, RestoreReceipt, ScrubReport,
    name_pages::{Entry, NamePages},
    observer::Observer,
    restore::restore,
    restore_tree::restore_all,
    shared::Shared,
    verify::verify,
    volumes::{Member, VolumeCondition},
};
use crate::{
    catalog::{
        BlockRecord, CatalogReader, EntryKind, FileRecord, Totals, VolumeCounters, VolumeRecord, VolumeState,
    },
    error::{CatalogError, ReadError, RestoreError, ScrubError},
    geometry::{FileGeometry, Tier},
    host::RestoreTarget,
    merkle::RootHash,
    units::{BlockIndex, CodeShape, Epoch, ExtentId, FileId, FileName, Timestamp, VolumeId},
};

/// A view of the archive.
///
/// It pins no database transaction: a listing looks up its files page by page, and a file that is removed meanwhile is
/// simply not listed any more. Readers that were opened go on, since removed bytes stay until they are compacted.
#[derive(Debug, Clone)]
pub struct Snapshot {
    pub(super) shared: Arc<Shared>,
    epoch: Epoch,
    /// What names stand for, where that is not what has them.
    version: Option<u32>,
}

/// What is known about a stored file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileInfo {
    /// The name.
    pub name: FileName,
    /// What it is.
    pub kind: EntryKind,
    /// The identity of this version.
    pub file: FileId,
    /// Its number, counted from 1 for each name.
    pub version: u32,
    /// Whether it is a kept version: another entry has the name.
    pub is_kept: bool,
    /// Length in bytes.
    pub len_bytes: u64,
    /// How it is protected.
    pub tier: Tier,
    /// The code of each of its blocks.
    pub shape: CodeShape,
    /// How many blocks it has, those of outer parity among them; an empty file has none.
    pub block_count: u64,
    /// How its blocks help each other, where they do.
    pub groups: Option<FileGroups>,
    /// BLAKE3 of the content, what `b3sum` prints.
    pub root: RootHash,
    /// Bytes that it takes on the volumes.
    pub stored_bytes: u64,
    /// Permission bits.
    pub mode: u32,
    /// When the content was last changed, as the source said.
    pub modified_at: Timestamp,
    /// When it was committed.
    pub committed_at: Timestamp,
}

/// The groups of a file, whose blocks share outer parity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileGroups {
    /// How many there are.
    pub count: u64,
    /// Blocks of the file in the narrowest and in the widest of them.
    pub data_blocks: (u16, u16),
    /// Blocks of outer parity in each: so many blocks of a group may be lost, whichever they are.
    pub parity_blocks: u16,
    /// Shards of a group that may be lost, wherever they are.
    pub shards: u32,
}

impl FileGroups {
    fn of(geometry: &FileGeometry) -> Option<Self> {
        // The groups with the most blocks come first.
        let count = geometry.group_count();
        let last = geometry.group(count.checked_sub(1)?).code();
        let one_more = |parity: u16| u32::from(parity) + 1;
        Some(Self {
            count,
            data_blocks: (last.data(), geometry.group(0).code().data()),
            parity_blocks: last.parity(),
            shards: one_more(geometry.shape().parity()) * one_more(last.parity()) - 1,
        })
    }
}

/// Where the shards of a block lie, in shard order; `None` for data shards behind the end of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockPlaces {
    /// The block of the file.
    pub block: BlockIndex,
    /// Volume, extent and offset of the frame of each shard.
    pub shards: Vec<Option<(VolumeId, ExtentId, u64)>>,
}

/// A volume and its room.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeInfo {
    /// The volume.
    pub id: VolumeId,
    /// Its number, which is never given again.
    pub number: u16,
    /// Where it lies: below the archive, or absolute; bytes of a path.
    pub path: Vec<u8>,
    /// What it is used for.
    pub state: VolumeState,
    /// How it was found when the archive was opened; [`VolumeCondition::Missing`] for one that was removed.
    pub condition: VolumeCondition,
    /// Where it was found, when that is elsewhere.
    pub found_at: Option<PathBuf>,
    /// Where copies of it were found, which are left alone.
    pub doubles: Vec<PathBuf>,
    /// Bytes that are free there.
    pub free_bytes: u64,
    /// Bytes of the frames that live there.
    pub live_bytes: u64,
    /// How many these are.
    pub live_shards: u64,
    /// What was ever found to be damaged there, and repaired.
    pub counters: VolumeCounters,
}

impl Snapshot {
    pub(super) fn new(shared: Arc<Shared>) -> Result<Self, CatalogError> {
        let epoch = shared.catalog.read()?.epoch()?;
        Ok(Self {
            shared,
            epoch,
            version: None,
        })
    }

    /// Returns the same view, but that a name stands for that version of it, kept or current: where a file is asked for, opened
    /// or restored by its name, a name without that version is one that is not there. What lists, sums up or checks files is as
    /// without.
    #[must_use]
    pub fn of_version(&self, version: u32) -> Self {
        Self {
            version: Some(version),
            ..self.clone()
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Returns how many publications the archive had seen when the view was taken.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Returns counts and bytes of everything that is stored, at a cost that does not grow with it.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be read.
    pub fn totals(&self) -> Result<Totals, CatalogError> {
        self.shared.catalog.read()?.totals()
    }

    /// Returns the bytes of all frames that a scrub reads: those of files, and those that describe their commits.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be read.
    pub fn frame_bytes(&self) -> Result<u64, CatalogError> {
        let extents = self.shared.catalog.read()?.extents()?;
        Ok(extents.iter().map(|extent| extent.live_bytes).sum())
    }

    /// Returns the volumes and their room.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be read; the room of a volume that is not there is 0.
    pub fn volumes(&self) -> Result<Vec<VolumeInfo>, CatalogError> {
        let reader = self.shared.catalog.read()?;
        let (records, counters, extents) = (reader.volumes()?, reader.volume_counters()?, reader.extents()?);
        let counted = |id| counters.iter().find(|(volume, _)| *volume == id);
        let there = |id| extents.iter().filter(move |extent| extent.volume == id);
        let volumes = self.shared.volumes();
        let root = self.shared.layout.root();
        let info = |record: VolumeRecord| {
            let member = volumes.member(record.id);
            let is_elsewhere = |member: &&Member| member.path != root.join(OsStr::from_bytes(&record.path));
            VolumeInfo {
                free_bytes: member.map_or(0, |member| member.volume.free_bytes().unwrap_or(0)),
                live_bytes: there(record.id).map(|extent| extent.live_bytes).sum(),
                live_shards: there(record.id).map(|extent| extent.live_shards).sum(),
                counters: counted(record.id).map_or_else(VolumeCounters::default, |(_, counters)| *counters),
                condition: member.map_or(VolumeCondition::Missing, |member| member.condition),
                found_at: (member.filter(is_elsewhere)).map(|member| member.path.clone()),
                doubles: member.map_or_else(Vec::new, |member| member.doubles.clone()),
                id: record.id,
                number: record.number,
                state: record.state,
                path: record.path,
            }
        };
        Ok(records.into_iter().map(info).collect())
    }

    /// Returns what is known about a file, or `None` when there is none of that name.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be read.
    pub fn file(&self, name: &FileName) -> Result<Option<FileInfo>, CatalogError> {
        let reader = self.shared.catalog.read()?;
        Ok(self.find(&reader, name)?.map(FileInfo::from))
    }

    /// Lists the file that `prefix` names and everything below it, in the order of names; `None` lists all.
    ///
    /// A prefix matches whole parts: `a/b` does not list `a/bc`.
    pub fn files(&self, prefix: Option<&FileName>) -> Files {
        Files {
            pages: NamePages::new(&self.shared, prefix),
            page: Vec::new().into_iter(),
        }
    }

    /// Lists the same and all kept versions, in the order of names and versions: what has a name comes behind its kept versions.
    pub fn files_and_versions(&self, prefix: Option<&FileName>) -> Files {
        Files {
            pages: NamePages::with_kept(&self.shared, prefix),
            page: Vec::new().into_iter(),
        }
    }

    /// Returns the kept versions of a name, the oldest first; none when nothing has the name.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be read.
    pub fn kept_versions(&self, name: &FileName) -> Result<Vec<FileInfo>, CatalogError> {
        let kept = self.shared.catalog.read()?.kept_versions_of(name)?;
        Ok(kept.into_iter().map(FileInfo::from).collect())
    }

    /// Opens a file for reading; `observer` is told of damage that is met.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] when there is no file of that name.
    pub fn open_file(&self, name: &FileName, observer: Arc<dyn Observer>) -> Result<FileReader, ReadError> {
        let (file, blocks) = self.blocks_of(name)?;
        Ok(FileReader::new(Arc::clone(&self.shared), file, blocks, observer))
    }

    /// Returns where the shards of a file lie.
    ///
    /// # Errors
    /// [`ReadError::NotFound`] when there is no file of that name.
    pub fn places(&self, name: &FileName) -> Result<Vec<BlockPlaces>, ReadError> {
        let (_, blocks) = self.blocks_of(name)?;
        let places = |record: BlockRecord| BlockPlaces {
            block: record.index,
            shards: record
                .shards
                .iter()
                .map(|shard| {
                    let shard = shard.as_ref()?;
                    Some((
                        self.shared.volumes().of_extent(shard.extent).id(),
                        shard.extent,
                        shard.offset,
                    ))
                })
                .collect(),
        };
        Ok(blocks.into_iter().map(places).collect())
    }

    /// Restores a file beneath `target` under its own name.
    ///
    /// When this returns, every byte was verified against the root and, unless asked otherwise, is on disk. Permission
    /// bits and modification time are those of the source. With [`Losses::LeaveOut`](super::Losses::LeaveOut) a file that
    /// has lost bytes is restored in part, under another name; the receipt names every lost byte.
    ///
    /// # Errors
    /// [`RestoreError`]; nothing is left under the name of the file then, and what stood there still stands.
    pub fn restore(
        &self,
        name: &FileName,
        target: &RestoreTarget,
        options: &RestoreOptions,
        observer: &dyn Observer,
    ) -> Result<RestoreReceipt, RestoreError> {
        self.refuse_target_inside(target)?;
        let (file, blocks) = self.blocks_of(name)?;
        restore(&self.shared, &file, &blocks, (target, options), observer)
    }

    /// Restores everything that `prefix` names or that lies below it beneath `target`: files, directories and symbolic
    /// links, in bounded memory whatever their number. `None` restores all.
    ///
    /// Small files are made durable many at a time, and `observer` is told of each entry after that. Directories get their
    /// permissions and times last. One entry that fails does not stop the rest.
    ///
    /// # Errors
    /// [`RestoreError`] when it makes no sense to go on (the catalog fails, `observer` cancels): entries that were not told
    /// of are not restored.
    pub fn restore_all(
        &self,
        prefix: Option<&FileName>,
        target: &RestoreTarget,
        options: &RestoreOptions,
        observer: &dyn RestoreObserver,
    ) -> Result<(), RestoreError> {
        self.refuse_target_inside(target)?;
        restore_all(&self.shared, prefix, (target, options), observer)
    }

    /// Reads and verifies all shards of the files that `prefix` names or that lie below it, kept versions among them, and their
    /// roots.
    ///
    /// # Errors
    /// [`ScrubError::NotFound`] when there are none. Damage is not an error but in the report.
    pub fn verify(
        &self,
        prefix: Option<&FileName>,
        observer: &dyn Observer,
    ) -> Result<ScrubReport, ScrubError> {
        verify(&self.shared, prefix, observer)
    }

    fn refuse_target_inside(&self, target: &RestoreTarget) -> Result<(), RestoreError> {
        let volumes = self.shared.volumes();
        let volumes = volumes.readable().map(|member| member.path.as_path());
        for own in volumes.chain([self.shared.layout.root()]) {
            if target.is_within(own)? {
                return Err(RestoreError::TargetInsideArchive {
                    path: target.path().to_path_buf(),
                });
            }
        }
        Ok(())
    }

    /// Returns what a name stands for in this view.
    pub(super) fn find(
        &self,
        reader: &CatalogReader,
        name: &FileName,
    ) -> Result<Option<FileRecord>, CatalogError> {
        match self.version {
            None => reader.file_by_name(name),
            Some(version) => reader.version(name, version),
        }
    }

    pub(super) fn blocks_of(&self, name: &FileName) -> Result<(FileRecord, Vec<BlockRecord>), ReadError> {
        // One transaction: the list is of one version of the file.
        let reader = self.shared.catalog.read()?;
        let Some(file) = self.find(&reader, name)? else {
            return Err(ReadError::NotFound { name: name.clone() });
        };
        let indexes = (0..file.geometry.block_count()).map(BlockIndex::new);
        let blocks = indexes
            .map(|index| reader.block(&file, index))
            .collect::<Result<_, CatalogError>>()?;
        Ok((file, blocks))
    }
}

/// A listing, page by page.
#[derive(Debug)]
pub struct Files {
    pages: NamePages,
    page: std::vec::IntoIter<Entry>,
}

impl Iterator for Files {
    type Item = Result<FileInfo, CatalogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((record, _block)) = self.page.next() {
                return Some(Ok(record.into()));
            }
            match self.pages.next() {
                Ok(Some((_reader, page))) => self.page = page.into_iter(),
                Ok(None) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

impl From<FileRecord> for FileInfo {
    fn from(record: FileRecord) -> Self {
        Self {
            kind: record.kind,
            file: record.id,
            version: record.version,
            is_kept: record.is_kept,
            len_bytes: record.geometry.len_bytes(),
            tier: record.geometry.tier(),
            shape: record.geometry.shape(),
            block_count: record.geometry.block_count(),
            groups: FileGroups::of(&record.geometry),
            root: record.root,
            stored_bytes: record.stored_bytes,
            mode: record.mode,
            modified_at: record.modified_at,
            committed_at: record.committed_at,
            name: record.name,
        }
    }
}
