//! Whether volumes can be written past the page cache, where somebody wants no others.

use std::path::Path;

use crate::{
    error::OpenError,
    storage::Storage,
    volume::{IoMode, LocalVolume},
};

/// Refuses a volume that cannot be written past the page cache, where that was asked for.
///
/// Asked when a volume comes into use: of a write that fails later nobody could tell a refusal from a disk that fails, and the extent
/// would be given up for it.
pub(in crate::archive) fn expect_direct(
    io: IoMode,
    storage: &dyn Storage,
    path: &Path,
) -> Result<(), OpenError> {
    match io {
        IoMode::Direct if !LocalVolume::can_go_direct_on(storage, path) => {
            let path = path.to_path_buf();
            Err(OpenError::NoDirectIo { path })
        }
        IoMode::Auto | IoMode::Direct | IoMode::Buffered => Ok(()),
    }
}
