//! Removing a name.

use std::collections::BTreeSet;

use super::{ballast::with_room, publication, shared::Shared};
use crate::{
    catalog::{Access, FileRecord, TransactionSize},
    error::CommitError,
    units::{FileId, FileName, to_u64},
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
    let mut removed = remove_many(shared, std::slice::from_ref(name))?;
    let removed = removed.pop().flatten();
    removed.ok_or_else(|| CommitError::NotFound { name: name.clone() })
}

/// Removes names in one transaction; `None` for those that are not there. Works on a full disk, as long as the ballast was
/// there before; without room it is refused before the catalog is touched, which after a failed write would have to be opened
/// anew.
pub(super) fn remove_many(shared: &Shared, names: &[FileName]) -> Result<Vec<Option<Removal>>, CommitError> {
    if shared.access == Access::Read {
        return Err(CommitError::ReadOnly);
    }
    let wanted: Vec<&FileName> = names.iter().collect();
    let stored = shared.catalog.read()?.find_files(&wanted)?;
    // Somebody may replace one before the transaction begins; then the need is an estimate of another file.
    let Some(first) = stored.iter().flatten().next() else {
        // Only the transaction knows for certain that a name is not there.
        return remove_now(shared, names);
    };
    let needed_bytes = size_of(stored.iter().flatten()).room_bytes();
    with_room(shared, needed_bytes, || {
        let free_bytes = shared.layout.free_bytes()?;
        // What is kept for the superuser is for days like this.
        if free_bytes.saturating_add(shared.layout.reserved_bytes()) < needed_bytes {
            let volumes = shared.volumes();
            let volume = volumes.for_files().next().ok_or(CommitError::NoVolume)?;
            return Err(CommitError::Full {
                name: first.name.clone(),
                others: to_u64(stored.iter().flatten().count()) - 1,
                volume: volume.record.id,
                needed_bytes,
                free_bytes,
            });
        }
        match remove_now(shared, names) {
            Err(CommitError::Volume { source }) if shared.has_lost_volume(&source) => {
                remove_now(shared, names)
            }
            removed => removed,
        }
    })
}

/// Returns what the removal of files changes in the catalog.
fn size_of<'a>(files: impl Iterator<Item = &'a FileRecord>) -> TransactionSize {
    files.fold(TransactionSize::default(), |size, file| {
        let blocks = file.geometry.block_count();
        // The descriptor of its commit may go with it.
        let shards = (blocks.saturating_add(1)).saturating_mul(u64::from(file.geometry.shape().total()));
        TransactionSize {
            entries: size.entries + 1,
            text_len_bytes: size.text_len_bytes + file.text_len_bytes(),
            blocks: size.blocks.saturating_add(blocks),
            shards: size.shards.saturating_add(shards),
            descriptors: size.descriptors + 1,
            ..size
        }
    })
}

fn remove_now(shared: &Shared, names: &[FileName]) -> Result<Vec<Option<Removal>>, CommitError> {
    let publishing = publication::begin(shared)?;
    let wanted: Vec<&FileName> = names.iter().collect();
    let stored = publishing.writer.find_files(&wanted)?;
    let mut publication = publication::empty(&publishing.writer)?;
    let mut gone = BTreeSet::new();
    let mut removals = Vec::with_capacity(names.len());
    for file in stored {
        // A name that is given twice is there only once.
        let file = file.filter(|file| gone.insert(file.id));
        publication.removed.extend(file.as_ref().map(|file| file.id));
        removals.push(file.map(|file| Removal {
            file: file.id,
            len_bytes: file.geometry.len_bytes(),
            freed_bytes: file.stored_bytes,
        }));
    }
    if !publication.removed.is_empty() {
        publication::publish(shared, publishing, publication, Vec::new())?;
    }
    Ok(removals)
}
