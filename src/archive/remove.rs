//! Removing a name.

use super::{
    shared::Shared,
    volumes::{announce_epoch, settle_epoch},
};
use crate::{
    catalog::Access,
    error::CommitError,
    units::{FileId, FileName},
};

/// What a removal has removed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct Removal {
    /// The version that is gone.
    pub file: FileId,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// Bytes on the volumes that belong to nobody now; they are given back by compacting, not by this.
    pub freed_bytes: u64,
}

/// Removes a name, durably and at once for everyone; bytes on the volumes stay where they are.
pub(super) fn remove(shared: &Shared, name: &FileName) -> Result<Removal, CommitError> {
    if shared.access == Access::Read {
        return Err(CommitError::ReadOnly);
    }
    let mut writer = shared.catalog.write()?;
    let Some(removed) = writer.remove_file(name)? else {
        return Err(CommitError::NotFound { name: name.clone() });
    };
    let epoch = writer.advance_epoch();
    let volume = shared.volumes.writable().as_ref();
    announce_epoch(volume, shared.archive_id(), epoch)?;
    writer.commit()?;
    // The name is gone, whatever becomes of this; without it an old catalog is noticed one epoch later.
    match settle_epoch(volume, epoch) {
        Ok(()) | Err(_) => {}
    }
    Ok(Removal {
        file: removed.id,
        len_bytes: removed.geometry.len_bytes(),
        freed_bytes: removed.stored_bytes,
    })
}
