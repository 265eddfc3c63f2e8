//! Everything that the catalog says of what is stored, piece by piece.

use core::ops::ControlFlow;

use super::{Archive, Snapshot};
use crate::{
    catalog::{ArchiveRecord, Slice, Slices},
    error::CatalogError,
};

/// Length of a piece, about, in bytes.
const PIECE_LEN_BYTES: u64 = 1 << 20;

impl Archive {
    /// Returns what the archive is.
    pub fn record(&self) -> &ArchiveRecord {
        self.shared.catalog.archive()
    }
}

impl Snapshot {
    /// Hands out everything that the catalog says of what is stored: extents, then descriptors, then entries with all their
    /// blocks, in pieces of about 1 MiB; ends early where `visit` breaks off.
    ///
    /// All pieces are of one moment, whatever is published meanwhile; the space of what is changed meanwhile is not used again
    /// before this returns.
    ///
    /// # Errors
    /// [`CatalogError`] when rows are not what was written, or not all there.
    pub fn export(&self, visit: &mut dyn FnMut(Slice) -> ControlFlow<()>) -> Result<(), CatalogError> {
        let reader = self.shared.catalog.read()?;
        let mut slices = Slices::of(&reader, PIECE_LEN_BYTES);
        while let Some(slice) = slices.next_slice()? {
            if visit(slice).is_break() {
                break;
            }
        }
        Ok(())
    }
}
