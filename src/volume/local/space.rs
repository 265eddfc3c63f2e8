//! Room for extents, asked for before it is taken.

use std::io;
use std::path::Path;

use crate::storage::{Storage, StorageFile};

/// Why there is no room.
#[derive(Debug)]
pub(super) enum ReserveError {
    /// The filesystem is full, or a quota is used up.
    Full { needed_bytes: u64, free_bytes: u64 },
    /// Anything else.
    Io(io::Error),
}

impl From<io::Error> for ReserveError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Says whether an error means that there is no room.
pub(super) fn means_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
    )
}

/// Lengthens `file`, which lies below `dir`, to `end_bytes` with blocks that are really there; what it holds and, on
/// failure, how long it is stay the same. Nobody else writes the file meanwhile.
///
/// Free space is asked first: filling a disk to the brim only to give it back would fail others.
pub(super) fn reserve(
    (storage, dir): (&dyn Storage, &Path),
    file: &dyn StorageFile,
    end_bytes: u64,
) -> Result<(), ReserveError> {
    let len_bytes = file.info()?.len_bytes;
    if end_bytes <= len_bytes {
        return Ok(());
    }
    let needed_bytes = end_bytes - len_bytes;
    let free_bytes = storage.free_bytes(dir)?;
    if needed_bytes > free_bytes {
        return Err(ReserveError::Full {
            needed_bytes,
            free_bytes,
        });
    }
    // Behind the end alone: what was given back before it stays so.
    let Err(error) = file.allocate_from(len_bytes, end_bytes) else {
        return Ok(());
    };
    // What was allocated before the failure goes back. If that fails too, the length says so to the next look.
    file.set_len(len_bytes)?;
    if means_full(&error) {
        let free_bytes = storage.free_bytes(dir)?;
        return Err(ReserveError::Full {
            needed_bytes,
            free_bytes,
        });
    }
    Err(ReserveError::Io(error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::HostStorage;

    #[test]
    fn a_reservation_above_the_free_space_is_refused_before_anything_is_written() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let file = HostStorage
            .create_new(&directory.path().join("extent"))
            .expect("a new file");
        file.write_all_at(0, &[7; 100]).expect("there is room");
        let error =
            reserve((&HostStorage, directory.path()), file.as_ref(), 1 << 50).expect_err("a petabyte");
        assert!(matches!(error, ReserveError::Full { needed_bytes, .. } if needed_bytes == (1 << 50) - 100));
        assert_eq!(
            file.info().expect("what it is").len_bytes,
            100,
            "the length changed"
        );
    }
}
