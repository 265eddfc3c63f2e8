//! Removing a name.

use super::{
    ballast::{removal_need_bytes, with_room},
    shared::Shared,
    volumes::{announce_epoch, settle_epoch},
};
use crate::{
    catalog::Access,
    error::CommitError,
    host::free_bytes,
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

/// Removes a name, durably and at once for everyone; bytes on the volumes stay where they are. Works on a full disk, as long
/// as the ballast was there before; without room it is refused before the catalog is touched, which after a failed write would
/// have to be opened anew.
pub(super) fn remove(shared: &Shared, name: &FileName) -> Result<Removal, CommitError> {
    if shared.access == Access::Read {
        return Err(CommitError::ReadOnly);
    }
    let not_found = || CommitError::NotFound { name: name.clone() };
    let stored = shared.catalog.read()?.file_by_name(name)?.ok_or_else(not_found)?;
    // Somebody may replace it before the transaction begins; then the need is an estimate of another file.
    let needed_bytes = removal_need_bytes(&stored.geometry);
    with_room(shared, needed_bytes, || {
        let free_bytes = free_bytes(shared.layout.root())?;
        if free_bytes < needed_bytes {
            return Err(CommitError::Full {
                name: name.clone(),
                others: 0,
                volume: shared.volumes.writable().id(),
                needed_bytes,
                free_bytes,
            });
        }
        remove_now(shared, name)
    })
}

fn remove_now(shared: &Shared, name: &FileName) -> Result<Removal, CommitError> {
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
