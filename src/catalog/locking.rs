//! Whether processes can share a catalog where it lies.

use core::ops::Bound;
use std::io;
use std::path::Path;
use std::sync::Arc;

use redb::{BackendError, StorageBackend as _};

use super::Catalog;
use super::backend::{CatalogFile, Empty, open_file};
use super::guard::Guard;
use crate::error::{CatalogError, CatalogTable};
use crate::storage::{FileAccess, Storage, means_no_locks};

/// A byte that no lock of the database is on: it keeps from 2^62 + 896 to 2^62 + 1024 for whoever implements its files.
const PROBE: (Bound<u64>, Bound<u64>) = (Bound::Included(PROBE_BYTE), Bound::Included(PROBE_BYTE));
const PROBE_BYTE: u64 = (1 << 62) + 1000;

impl Catalog {
    /// Says whether locks on parts of the file at `path` work: whether the file system has them, and one handle sees those of
    /// another. The file need not be a catalog. Takes a shared lock for a moment, which is in nobody's way.
    ///
    /// # Errors
    /// [`CatalogError::Missing`] without a file, [`CatalogError::Io`] when the locks fail otherwise.
    pub fn can_be_shared(storage: &Arc<dyn Storage>, path: &Path) -> Result<bool, CatalogError> {
        Guard::default().run(CatalogTable::Database, || {
            let open = || -> Result<CatalogFile, redb::Error> {
                let file = open_file(storage.as_ref(), path, FileAccess::Read)?;
                Ok(CatalogFile::new(storage, path, file, Empty::Damaged)?)
            };
            let (first, second) = (open()?, open()?);
            let seen = is_seen(&first, &second);
            // Whatever was said: the handles go, and the locks with them.
            first.close()?;
            second.close()?;
            Ok(seen?)
        })
    }
}

fn is_seen(first: &CatalogFile, second: &CatalogFile) -> io::Result<bool> {
    match first.try_lock_shared_range(PROBE.0, PROBE.1) {
        Ok(true) => match second.query_lock_range(PROBE.0, PROBE.1) {
            Ok(is_seen) => Ok(is_seen),
            Err(error) => none_or_failed(error),
        },
        // Somebody has locked the whole file, and we see it.
        Ok(false) => Ok(true),
        Err(error) => none_or_failed(error),
    }
}

fn none_or_failed(error: BackendError) -> io::Result<bool> {
    match error {
        BackendError::Unsupported => Ok(false),
        BackendError::Io(error) if means_no_locks(&error) => Ok(false),
        BackendError::Io(error) => Err(error),
        other => Err(io::Error::other(other)),
    }
}
