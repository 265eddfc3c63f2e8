//! The write transaction: ids, extents, volumes, commit. How files come and go is in `insertion` and `removal`.

use core::ops::Deref;

use super::guard::{Guard, Writing, damaged};
use super::reader::{CatalogReader, Pending};
use super::records::{BlockRecord, ExtentRecord, FileRecord, VolumeRecord};
use super::rows::{ExtentRow, FileRow, HealthRow, JournalRow, TotalsRow, VolumeRow};
use super::source::{KeyValue, Source};
use super::tables::{
    META_COUNTERS, META_JOURNAL, META_ROW_COUNTS, TOTALS_ALL, TOTALS_HEALTH, extent_key, file_key, seal,
    volume_key,
};
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::units::{BlockId, CommitId, Epoch, ExtentId, FileId, FileName, Timestamp, to_u64};

/// Blocks that a change holds at a time.
pub(super) const BATCH_BLOCKS: usize = 64;

/// Longest text that the journal leaves, in bytes.
const MAX_JOURNAL_LEN_BYTES: usize = 4096;

/// Longest path of a volume, in bytes.
const MAX_PATH_LEN_BYTES: usize = 4096;

/// A write transaction: everything that a [`CatalogReader`] answers, with its own changes, and the changes.
///
/// Nothing is visible to others before [`Self::commit`]; dropped without it, nothing ever was. A change that fails before
/// it has begun (a name that is taken, say) leaves the transaction usable; one that fails half-way spoils it, and the
/// commit is refused.
#[derive(Debug)]
pub struct CatalogWriter {
    pub(super) view: CatalogReader,
    progress: Progress,
    published: bool,
    /// Behind the transaction, so that it is dropped behind it.
    _writing: Writing,
}

/// Whether all changes so far are whole.
#[derive(Debug, PartialEq, Eq)]
enum Progress {
    Whole,
    HalfWay,
}

impl Deref for CatalogWriter {
    type Target = CatalogReader;

    fn deref(&self) -> &CatalogReader {
        &self.view
    }
}

impl CatalogWriter {
    pub(super) fn new(source: Source, guard: Guard) -> Result<Self, CatalogError> {
        let writing = guard.writing();
        let mut view = CatalogReader::new(source, guard);
        view.pending = Some(Pending {
            counters: view.counters()?,
            row_counts: view.row_counts()?,
            totals: view.totals()?,
            health: view.health()?,
            extents: std::collections::BTreeMap::new(),
            forgotten: std::collections::BTreeSet::new(),
            versions: std::collections::BTreeMap::new(),
        });
        Ok(Self {
            view,
            progress: Progress::Whole,
            published: false,
            _writing: writing,
        })
    }

    /// Takes a file id that was never given before.
    pub fn allocate_file_id(&mut self) -> FileId {
        FileId::new(take(&mut self.pending_mut().counters.next_file, 1))
    }

    /// Takes `count` block ids that were never given before, in rising order.
    pub fn allocate_block_ids(&mut self, count: u64) -> impl Iterator<Item = BlockId> + use<> {
        let first = take(&mut self.pending_mut().counters.next_block, count);
        (first..first + count).map(BlockId::new)
    }

    /// Takes an extent id that was never given before.
    pub fn allocate_extent_id(&mut self) -> ExtentId {
        ExtentId::new(take(&mut self.pending_mut().counters.next_extent, 1))
    }

    /// Takes a commit id that was never given before.
    pub fn allocate_commit_id(&mut self) -> CommitId {
        CommitId::new(take(&mut self.pending_mut().counters.next_commit, 1))
    }

    /// Counts this transaction as a publishing one and returns its epoch.
    ///
    /// # Panics
    /// When called twice: one transaction publishes one record.
    pub fn advance_epoch(&mut self) -> Epoch {
        assert!(!self.published, "a transaction publishes once");
        self.published = true;
        let counters = &mut self.pending_mut().counters;
        let epoch = Epoch::new(counters.epoch).next();
        counters.epoch = epoch.get();
        epoch
    }

    /// Adds an extent, or changes what is known of one. The live counters are the catalog's own: those of the record are
    /// not looked at.
    ///
    /// # Errors
    /// [`UnknownVolume`](CatalogError::UnknownVolume) and, when live frames would not fit before the new end,
    /// [`BehindExtentEnd`](CatalogError::BehindExtentEnd); both leave the transaction as it was.
    pub fn put_extent(&mut self, extent: &ExtentRecord) -> Result<(), CatalogError> {
        let volume = self
            .volumes()?
            .into_iter()
            .find(|volume| volume.id == extent.volume);
        let volume = volume.ok_or(CatalogError::UnknownVolume {
            volume: extent.volume,
        })?;
        self.put_extent_row(extent.id, ExtentRow::new(extent, volume.number))
    }

    /// Adds or changes the row of an extent on a volume that is known, but for its live counters.
    pub(super) fn put_extent_row(&mut self, extent: ExtentId, row: ExtentRow) -> Result<(), CatalogError> {
        let known = self.extent_row(extent)?;
        let row = ExtentRow {
            live_bytes: known.map_or(0, |known| known.live_bytes),
            live_shards: known.map_or(0, |known| known.live_shards),
            live_files: known.map_or(0, |known| known.live_files),
            ..row
        };
        if row.live_bytes > row.end_bytes {
            return Err(CatalogError::BehindExtentEnd {
                extent,
                shard_end_bytes: row.live_bytes,
                end_bytes: row.end_bytes,
            });
        }
        self.change(|writer| {
            if known.is_some_and(|known| row.end_bytes < known.end_bytes) {
                writer.forget_verified(extent, row.end_bytes)?;
                writer.forget_freed(extent, row.end_bytes)?;
            }
            if known.is_none() {
                let key = extent_key(extent);
                let sealed = seal(CatalogTable::Extents, &key, &row);
                writer.add_new_rows(CatalogTable::Extents, &[(key, sealed)])?;
                raise(&mut writer.pending_mut().counters.next_extent, extent.get());
            } else {
                writer.pending_mut().extents.insert(extent, row);
            }
            Ok(())
        })
    }

    /// Adds a volume, or changes the path of one.
    ///
    /// # Errors
    /// [`VolumeNumberTaken`](CatalogError::VolumeNumberTaken) when number and id do not belong together, and
    /// [`VolumePathTooLong`](CatalogError::VolumePathTooLong); both leave the transaction as it was.
    pub fn put_volume(&mut self, volume: &VolumeRecord) -> Result<(), CatalogError> {
        let len = volume.path.len();
        if len > MAX_PATH_LEN_BYTES {
            return Err(CatalogError::VolumePathTooLong {
                volume: volume.id,
                len,
            });
        }
        let volumes = self.volumes()?;
        let conflicts = |other: &VolumeRecord| (other.id == volume.id) != (other.number == volume.number);
        if volumes.iter().any(conflicts) {
            let (volume, number) = (volume.id, volume.number);
            return Err(CatalogError::VolumeNumberTaken { volume, number });
        }
        self.change(|writer| {
            let key = volume_key(volume.number);
            let row = seal(CatalogTable::Volumes, &key, &VolumeRow::new(volume));
            writer.put_rows(CatalogTable::Volumes, &[(key, row)])?;
            Ok(())
        })
    }

    /// Changes the mode and modification time of the entry of that name; says whether there is one. All else about it, its
    /// version among it, stays.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] when its rows are not what was written.
    pub fn set_metadata(
        &mut self,
        name: &FileName,
        mode: u32,
        modified_at: Timestamp,
    ) -> Result<bool, CatalogError> {
        let Some((file, inline_block)) = self.file_with_inline_block(name)? else {
            return Ok(false);
        };
        let file = FileRecord {
            mode,
            modified_at,
            ..file
        };
        self.put_file_again(&file, inline_block.as_ref())?;
        Ok(true)
    }

    /// Changes the mode and modification time of the entry of that id, as [`Self::set_metadata`] does.
    ///
    /// # Errors
    /// [`CatalogError::UnknownFile`] leaves the transaction as it was; others as for [`Self::set_metadata`].
    pub fn set_metadata_by_id(
        &mut self,
        id: FileId,
        mode: u32,
        modified_at: Timestamp,
    ) -> Result<(), CatalogError> {
        let Some((file, inline_block)) = self.file_by_id(id)? else {
            return Err(CatalogError::UnknownFile { file: id });
        };
        let file = FileRecord {
            mode,
            modified_at,
            ..file
        };
        self.put_file_again(&file, inline_block.as_ref())
    }

    fn put_file_again(
        &mut self,
        file: &FileRecord,
        inline_block: Option<&BlockRecord>,
    ) -> Result<(), CatalogError> {
        self.change(|writer| writer.put_file_row(file, inline_block))
    }

    /// Writes the row of an entry again that has one.
    pub(super) fn put_file_row(
        &mut self,
        file: &FileRecord,
        inline_block: Option<&BlockRecord>,
    ) -> Result<(), CatalogError> {
        let key = file_key(file.id);
        let row = FileRow::new(file, inline_block);
        let row = seal(CatalogTable::Files, &key, &row);
        self.put_rows(CatalogTable::Files, &[(key, row)])?;
        Ok(())
    }

    /// Leaves bytes for the journal beside the catalog, in the place of those before; visible with this transaction.
    ///
    /// # Errors
    /// [`RowTooLong`](CatalogError::RowTooLong) for more than 4 KiB; it leaves the transaction as it was.
    pub fn set_journal(&mut self, bytes: &[u8]) -> Result<(), CatalogError> {
        let table = CatalogTable::Meta;
        if bytes.len() > MAX_JOURNAL_LEN_BYTES {
            return Err(CatalogError::RowTooLong {
                table,
                len_bytes: bytes.len(),
                limit_bytes: MAX_JOURNAL_LEN_BYTES,
            });
        }
        let row = JournalRow {
            bytes: bytes.to_vec(),
        };
        let row = seal(table, META_JOURNAL, &row);
        self.change(|writer| {
            // The rows of this table are not counted.
            let rows = [(META_JOURNAL.to_vec(), row)];
            match writer.view.source.put_all(&writer.view.guard, table, &rows)? {
                0 => Ok(()),
                _ => Err(damaged(table, CatalogDamage::MissingRow)),
            }
        })
    }

    /// Makes all changes durable and visible, and returns the epoch after them.
    ///
    /// # Errors
    /// [`CommitOutcomeUnknown`](CatalogError::CommitOutcomeUnknown): the changes are all there or none is; reopen the
    /// catalog and look. After any other error none is, [`Incomplete`](CatalogError::Incomplete) among them.
    pub fn commit(mut self) -> Result<Epoch, CatalogError> {
        if self.progress == Progress::HalfWay {
            return Err(CatalogError::Incomplete);
        }
        let pending = self
            .view
            .pending
            .take()
            .expect("a writer has it until it commits");
        let CatalogReader { source, guard, .. } = self.view;
        let extents = pending.extents.iter().map(|(&id, row)| {
            let key = extent_key(id);
            let row = seal(CatalogTable::Extents, &key, row);
            (key, row)
        });
        let extents: Vec<KeyValue> = extents.collect();
        if source.put_all(&guard, CatalogTable::Extents, &extents)? != 0 {
            return Err(damaged(CatalogTable::Extents, CatalogDamage::MissingRow));
        }
        let meta = [
            (
                META_COUNTERS,
                seal(CatalogTable::Meta, META_COUNTERS, &pending.counters),
            ),
            (
                META_ROW_COUNTS,
                seal(CatalogTable::Meta, META_ROW_COUNTS, &pending.row_counts),
            ),
        ];
        source.put_all(
            &guard,
            CatalogTable::Meta,
            &meta.map(|(key, row)| (key.to_vec(), row)),
        )?;
        let totals = seal(CatalogTable::Totals, TOTALS_ALL, &TotalsRow::new(&pending.totals));
        let health = HealthRow::new(&pending.health);
        let health = seal(CatalogTable::Totals, TOTALS_HEALTH, &health);
        let sums = [(TOTALS_ALL.to_vec(), totals), (TOTALS_HEALTH.to_vec(), health)];
        source.put_all(&guard, CatalogTable::Totals, &sums)?;
        source.commit(&guard)?;
        Ok(Epoch::new(pending.counters.epoch))
    }

    /// Runs a change; when it fails, the transaction is spoilt.
    pub(super) fn change<T>(
        &mut self,
        change: impl FnOnce(&mut Self) -> Result<T, CatalogError>,
    ) -> Result<T, CatalogError> {
        if self.progress == Progress::HalfWay {
            return Err(CatalogError::Incomplete);
        }
        self.progress = Progress::HalfWay;
        let done = change(self)?;
        self.progress = Progress::Whole;
        Ok(done)
    }

    /// Lets this transaction never be committed: a change of several parts has failed between them.
    pub(super) fn spoil(&mut self) {
        self.progress = Progress::HalfWay;
    }

    pub(super) fn pending_mut(&mut self) -> &mut Pending {
        self.view
            .pending
            .as_mut()
            .expect("a writer has it until it commits")
    }

    /// Returns the row of an extent, to be written when the transaction commits.
    pub(super) fn extent_mut(&mut self, id: ExtentId) -> Result<Option<&mut ExtentRow>, CatalogError> {
        if !self.pending_mut().extents.contains_key(&id) {
            let Some(row) = self.extent_row(id)? else {
                return Ok(None);
            };
            self.pending_mut().extents.insert(id, row);
        }
        Ok(self.pending_mut().extents.get_mut(&id))
    }

    pub(super) fn put_rows(&mut self, table: CatalogTable, rows: &[KeyValue]) -> Result<u64, CatalogError> {
        let added = self.view.source.put_all(&self.view.guard, table, rows)?;
        *self.pending_mut().row_counts.get_mut(table) += added;
        Ok(added)
    }

    /// Writes rows whose keys must be free; returns which is not, if any, and leaves the rest unwritten then.
    pub(super) fn add_rows(
        &mut self,
        table: CatalogTable,
        rows: &[KeyValue],
    ) -> Result<Option<usize>, CatalogError> {
        let taken = self.view.source.add_all(&self.view.guard, table, rows)?;
        *self.pending_mut().row_counts.get_mut(table) += to_u64(taken.unwrap_or(rows.len()));
        Ok(taken)
    }

    /// Writes rows whose keys must be free, sorted by their keys; returns which is not, if any, and leaves the rest unwritten
    /// then.
    pub(super) fn add_sorted_rows(
        &mut self,
        table: CatalogTable,
        rows: &[KeyValue],
    ) -> Result<Option<usize>, CatalogError> {
        let taken = self.view.source.add_sorted(&self.view.guard, table, rows)?;
        *self.pending_mut().row_counts.get_mut(table) += to_u64(taken.unwrap_or(rows.len()));
        Ok(taken)
    }

    /// Writes rows whose keys no valid catalog has yet.
    pub(super) fn add_new_rows(
        &mut self,
        table: CatalogTable,
        rows: &[KeyValue],
    ) -> Result<(), CatalogError> {
        if self.add_rows(table, rows)?.is_none() {
            return Ok(());
        }
        let detail = CatalogDamage::Contradiction {
            about: "a row that was not there",
        };
        Err(damaged(table, detail))
    }
}

pub(super) fn totals_contradiction() -> CatalogError {
    let detail = CatalogDamage::Contradiction {
        about: "the sums over all files",
    };
    damaged(CatalogTable::Totals, detail)
}

/// Takes `count` numbers from a counter and returns the first.
fn take(next: &mut u64, count: u64) -> u64 {
    let first = *next;
    *next = first
        .checked_add(count)
        .expect("an archive gives out fewer than 2^64 ids");
    first
}

/// Raises a counter above an id that was given elsewhere: by a rebuild, which takes ids as it finds them.
pub(super) fn raise(next: &mut u64, seen: u64) {
    *next = (*next).max(seen.saturating_add(1));
}
