//! Creating and opening.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use redb::{Builder, ConcurrencyMode, DatabaseError};

use super::backend::{CatalogFile, Empty, open_file};
use super::guard::{Guard, Leaky, damaged};
use super::overlay::Overlay;
use super::pages::{self, Pages};
use super::records::{ArchiveRecord, Totals, VolumeRecord};
use super::reopening::{Opened, Slot};
use super::rows::{ArchiveRow, CheckpointsRow, CountersRow, HealthRow, JournalRow, RowCountsRow, TotalsRow};
use super::source::{Handle, Source};
use super::tables::{
    COUNTED_TABLES, META_ARCHIVE, META_CHECKPOINTS, META_COUNTERS, META_JOURNAL, META_ROW_COUNTS, TOTALS_ALL,
    TOTALS_HEALTH, seal, unseal,
};
use super::{
    Access, Catalog, CatalogOptions, CatalogReader, CatalogWriter, Check, FORMAT_VERSION, SUPPORTED_FEATURES,
};
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::storage::{FileAccess, Storage, StorageFile};

impl Catalog {
    /// Makes a new catalog at exactly `path`, commits and closes it.
    ///
    /// A crash in here can leave a file that nobody can open. So the caller gives a temporary path, where an empty file may
    /// wait already, renames it when this has returned, and syncs the directory; only then does the catalog exist. A file
    /// that is made here is for its owner alone.
    ///
    /// # Errors
    /// [`CatalogError::Exists`] when the file holds a catalog; others when it cannot be written.
    pub fn create(
        storage: &Arc<dyn Storage>,
        path: &Path,
        archive: &ArchiveRecord,
        volumes: &[VolumeRecord],
        options: CatalogOptions,
    ) -> Result<(), CatalogError> {
        let guard = Guard::default();
        let database = guard.run(CatalogTable::Database, || {
            let file = match open_file(storage.as_ref(), path, FileAccess::ReadWrite) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => storage.create_new(path)?,
                opened => opened?,
            };
            let file = CatalogFile::new(storage, path, file, Empty::New)?;
            Ok(builder(options, Check::Always).create_with_backend(file)?)
        })?;
        let handle = Handle::Writable(Leaky::new(database, guard.clone()));
        let source = handle.begin_write(&guard)?;
        source.create_tables(&guard)?;
        if source.get(&guard, CatalogTable::Meta, META_ARCHIVE)?.is_some() {
            return Err(CatalogError::Exists);
        }
        let meta = [
            (
                META_ARCHIVE,
                seal(CatalogTable::Meta, META_ARCHIVE, &ArchiveRow::new(archive)),
            ),
            (
                META_COUNTERS,
                seal(CatalogTable::Meta, META_COUNTERS, &CountersRow::FIRST),
            ),
            (
                META_ROW_COUNTS,
                seal(CatalogTable::Meta, META_ROW_COUNTS, &RowCountsRow::default()),
            ),
            (
                META_JOURNAL,
                seal(CatalogTable::Meta, META_JOURNAL, &JournalRow::default()),
            ),
            (
                META_CHECKPOINTS,
                seal(CatalogTable::Meta, META_CHECKPOINTS, &CheckpointsRow::default()),
            ),
        ];
        source.put_all(
            &guard,
            CatalogTable::Meta,
            &meta.map(|(key, row)| (key.to_vec(), row)),
        )?;
        let totals = seal(
            CatalogTable::Totals,
            TOTALS_ALL,
            &TotalsRow::new(&Totals::default()),
        );
        let health = seal(CatalogTable::Totals, TOTALS_HEALTH, &HealthRow::default());
        let sums = [(TOTALS_ALL.to_vec(), totals), (TOTALS_HEALTH.to_vec(), health)];
        source.put_all(&guard, CatalogTable::Totals, &sums)?;
        let mut writer = CatalogWriter::new(source, guard.clone())?;
        for volume in volumes {
            writer.put_volume(volume)?;
        }
        writer.commit()?;
        handle.close(&guard)
    }

    /// Verifies the checksum of every page of the catalog at `path`, beside whoever uses it. Reads the whole file and keeps
    /// other writers waiting meanwhile.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] when it is damaged; others when it cannot be opened for writing, which checking needs.
    pub fn check(
        storage: &Arc<dyn Storage>,
        path: &Path,
        options: CatalogOptions,
    ) -> Result<(), CatalogError> {
        Self::open(storage, path, Access::Write, Check::Always, options)?.close()
    }

    /// Opens the catalog at `path`.
    ///
    /// For [`Access::Read`] nothing is written, unless a crash has left the file in a state that only a writer can repair
    /// and no writer is there: then it is opened, checked and repaired as a writer would, and still only read. Where it
    /// cannot be written, it is repaired in memory. Where pages are not what was written it opens all the same, see
    /// [`Self::has_damaged_pages`]: what is still right can be read.
    ///
    /// # Errors
    /// [`CatalogError`] tells apart: [`Missing`](CatalogError::Missing), [`Locked`](CatalogError::Locked),
    /// [`LocksUnsupported`](CatalogError::LocksUnsupported), [`NewerFormat`](CatalogError::NewerFormat),
    /// [`Damaged`](CatalogError::Damaged) and [`Io`](CatalogError::Io).
    pub fn open(
        storage: &Arc<dyn Storage>,
        path: &Path,
        access: Access,
        check: Check,
        options: CatalogOptions,
    ) -> Result<Self, CatalogError> {
        let origin = Origin {
            storage: Arc::clone(storage),
            path: path.to_path_buf(),
            access,
            options,
        };
        let (archive, opened) = origin.open(check)?;
        Ok(Self {
            archive,
            has_damaged_pages: opened.are_pages_damaged,
            origin,
            slot: Mutex::new(Slot::new(opened)),
        })
    }
}

/// Where a catalog lies and how it is opened, so that it can be opened again.
#[derive(Debug, Clone)]
pub(super) struct Origin {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) path: PathBuf,
    pub(super) access: Access,
    pub(super) options: CatalogOptions,
}

impl Origin {
    pub(super) fn open(&self, check: Check) -> Result<(ArchiveRecord, Opened), CatalogError> {
        let guard = Guard::default();
        let (handle, pages) = match self.access {
            Access::Read => self.open_to_read(check, &guard)?,
            Access::Write => {
                let file = guard.run(CatalogTable::Database, || Ok(self.file(FileAccess::ReadWrite)?))?;
                self.open_writable(file, check, &guard)?
            }
        };
        let source = handle.begin_read(&guard)?;
        source.check_tables(&guard)?;
        let archive = read_archive(&source, &guard)?;
        let reader = CatalogReader::new(source, guard.clone());
        let are_pages_damaged = match pages {
            Pages::Unknown => false,
            Pages::Damaged => true,
            Pages::Sound => match (compare_row_counts(&reader), self.access) {
                (Ok(()), _) => {
                    guard.set_all_proven();
                    false
                }
                // A reader goes on with what is there.
                (Err(error), Access::Read) if error.is_damaged() => true,
                (Err(error), _) => return Err(error),
            },
        };
        drop(reader);
        Ok((
            archive,
            Opened {
                handle,
                guard,
                are_pages_damaged,
            },
        ))
    }

    fn open_to_read(&self, check: Check, guard: &Guard) -> Result<(Handle, Pages), CatalogError> {
        let file = guard.run(CatalogTable::Database, || Ok(self.file(FileAccess::Read)?))?;
        let Some(handle) = self.open_read_only(Arc::clone(&file), guard)? else {
            return self.open_to_mend(guard);
        };
        let pages = if check.is_due() {
            pages::look(&file, self.options)
        } else {
            Pages::Unknown
        };
        Ok((handle, pages))
    }

    fn file(&self, access: FileAccess) -> io::Result<Arc<dyn StorageFile>> {
        open_file(self.storage.as_ref(), &self.path, access)
    }

    fn backend(&self, file: Arc<dyn StorageFile>) -> Result<CatalogFile, DatabaseError> {
        CatalogFile::new(&self.storage, &self.path, file, Empty::Damaged)
    }

    /// Returns `None` when the file needs a repair that only a writer can make.
    fn open_read_only(
        &self,
        file: Arc<dyn StorageFile>,
        guard: &Guard,
    ) -> Result<Option<Handle>, CatalogError> {
        let database = guard.run(CatalogTable::Database, || {
            let file = self.backend(file)?;
            match builder(self.options, Check::Always).open_read_only_with_backend(file) {
                Err(DatabaseError::RepairAborted) => Ok(None),
                result => Ok(Some(result?)),
            }
        })?;
        Ok(database.map(|database| Handle::ReadOnly(Leaky::new(database, guard.clone()))))
    }

    /// Opens a file that needs a repair, for a reader: repairs it, or, where it cannot be written, an image of it.
    fn open_to_mend(&self, guard: &Guard) -> Result<(Handle, Pages), CatalogError> {
        let refused = match self.file(FileAccess::ReadWrite) {
            Ok(file) => return self.open_writable(file, Check::Always, guard),
            Err(error) => error,
        };
        let database = guard.run(CatalogTable::Database, || {
            if !takes_no_writes(&refused) {
                return Err(refused.into());
            }
            let overlay = Overlay::new(self.file(FileAccess::Read)?)?;
            Ok(builder(self.options, Check::Always).create_with_backend(overlay)?)
        })?;
        Ok((
            Handle::Writable(Leaky::new(database, guard.clone())),
            Pages::Sound,
        ))
    }

    fn open_writable(
        &self,
        file: Arc<dyn StorageFile>,
        check: Check,
        guard: &Guard,
    ) -> Result<(Handle, Pages), CatalogError> {
        let database = guard.run(CatalogTable::Database, || {
            let file = self.backend(file)?;
            Ok(builder(self.options, check).create_with_backend(file)?)
        })?;
        let pages = if check.is_due() {
            Pages::Sound
        } else {
            Pages::Unknown
        };
        Ok((Handle::Writable(Leaky::new(database, guard.clone())), pages))
    }
}

/// Says whether a file cannot be opened for writing because of where it lies or whose it is.
fn takes_no_writes(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

pub(super) fn builder(options: CatalogOptions, check: Check) -> Builder {
    let mut builder = Builder::new();
    builder
        .set_cache_size(options.cache_bytes.min(CatalogOptions::MAX_CACHE_BYTES))
        .set_concurrency_mode(ConcurrencyMode::MultiWriter)
        .set_check_integrity_on_open(check.is_due());
    builder
}

/// Compares the lengths of the tables, whose pages were all verified just now, with what is recorded beside them.
fn compare_row_counts(reader: &CatalogReader) -> Result<(), CatalogError> {
    let row_counts = reader.row_counts()?;
    for table in COUNTED_TABLES {
        let recorded = row_counts.get(table);
        let found = reader.source.row_count(&reader.guard, table)?;
        if found != recorded {
            return Err(damaged(table, CatalogDamage::RowCount { recorded, found }));
        }
    }
    Ok(())
}

/// Reads what the archive is, and refuses what this version does not understand before anything else is parsed.
fn read_archive(source: &Source, guard: &Guard) -> Result<ArchiveRecord, CatalogError> {
    let table = CatalogTable::Meta;
    let row = source
        .get(guard, table, META_ARCHIVE)?
        .ok_or_else(|| damaged(table, CatalogDamage::MissingRow))?;
    let row: ArchiveRow = unseal(table, META_ARCHIVE, &row)?;
    let unknown_features = row.required_features & !SUPPORTED_FEATURES;
    if row.format_version > FORMAT_VERSION || unknown_features != 0 {
        return Err(CatalogError::NewerFormat {
            format_version: row.format_version,
            unknown_features,
        });
    }
    row.parse()
        .map_err(|impossible| damaged(table, CatalogDamage::Impossible { field: impossible.0 }))
}
