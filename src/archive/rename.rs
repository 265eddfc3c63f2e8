//! Giving what is stored another name: one publication, whatever lies below it, and no byte is written on a volume.

use super::{
    Archive, Removal,
    ballast::missing_bytes,
    commit::host_kind,
    intents,
    publication::{self, again_without_lost_volume},
    remove::{Doomed, size_of},
    shared::Shared,
};
use crate::{
    catalog::{Access, CatalogReader, EntryKind, FileRecord, Renaming, RenamingSize, TransactionSize},
    error::{CommitError, FileKind},
    units::FileName,
};

/// What happens to a new name that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RenameConflict {
    /// It is refused.
    #[default]
    Refuse,
    /// A file or link that has the name is removed in the same step, with all its kept versions, where a file or link takes
    /// its place. Directories are refused all the same.
    Replace,
}

/// What a renaming has renamed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RenameReceipt {
    /// Entries that have other names now.
    pub entries: u64,
    /// Kept versions that went with them.
    pub kept_versions: u64,
    /// What had the new name, and is gone.
    pub replaced: Option<Removal>,
}

impl Archive {
    /// Gives what a name stands for, everything below it and all their kept versions another name, durably and at once for
    /// everyone: all of it or nothing. The name may be one that nothing has, as long as anything lies below it. No stored byte
    /// is written again; the cost grows with the number of entries.
    ///
    /// # Errors
    /// [`CommitError::NotFound`], [`CommitError::RenamedIntoItself`], [`CommitError::NewNameTaken`],
    /// [`CommitError::NewNameTooLong`], and [`CommitError::Full`] where the catalog has no room; nothing is changed then.
    pub fn rename(
        &self,
        from: &FileName,
        to: &FileName,
        conflict: RenameConflict,
    ) -> Result<RenameReceipt, CommitError> {
        self.and_checkpoint(rename(&self.shared, (from, to), conflict))
    }
}

/// Renames durably, and at once for everyone.
pub(super) fn rename(
    shared: &Shared,
    (from, to): (&FileName, &FileName),
    conflict: RenameConflict,
) -> Result<RenameReceipt, CommitError> {
    if shared.access == Access::Read {
        return Err(CommitError::ReadOnly);
    }
    let renaming = Renaming {
        from: from.clone(),
        to: to.clone(),
    };
    // Before the transaction, which others wait for: what is there may change until it begins.
    let plan = Plan::of(&shared.catalog.read()?, &renaming, conflict)?;
    check_room(shared, &plan, from)?;
    again_without_lost_volume(shared, || rename_now(shared, &renaming, conflict))
}

fn rename_now(
    shared: &Shared,
    renaming: &Renaming,
    conflict: RenameConflict,
) -> Result<RenameReceipt, CommitError> {
    let publishing = publication::begin(shared)?;
    let Plan { size, replaced } = Plan::of(&publishing.writer, renaming, conflict)?;
    let mut publication = publication::empty(&publishing.writer)?;
    let replaced = replaced.map(|doomed| {
        publication.removed.extend(doomed.ids());
        doomed.removal()
    });
    publication.renamed.push(renaming.clone());
    publication::publish(shared, publishing, publication, Vec::new())?;
    // What waits under the new name was to store something there, and is not to replace this. It is published, whatever becomes
    // of that.
    match intents::end_waiting(shared, |name| name.is_within(&renaming.to)) {
        Ok(()) | Err(_) => {}
    }
    Ok(RenameReceipt {
        entries: size.entries,
        kept_versions: size.kept_versions,
        replaced,
    })
}

/// What a renaming does, at one moment.
struct Plan {
    size: RenamingSize,
    replaced: Option<Doomed>,
}

impl Plan {
    /// Checks that everything gets a name that is one and that is free.
    fn of(
        reader: &CatalogReader,
        renaming: &Renaming,
        conflict: RenameConflict,
    ) -> Result<Self, CommitError> {
        let Renaming { from, to } = renaming;
        if to.is_within(from) {
            let (from, to) = (from.clone(), to.clone());
            return Err(CommitError::RenamedIntoItself { from, to });
        }
        let size = reader.size_of_renaming(renaming)?;
        if size.entries == 0 {
            return Err(CommitError::NotFound { name: from.clone() });
        }
        if let Some(name) = size.too_long {
            return Err(CommitError::NewNameTooLong { name });
        }
        let taken = |stored| CommitError::NewNameTaken {
            name: to.clone(),
            stored,
        };
        let is_anything_below = !reader.files_page(Some(to), Some(to), 1)?.is_empty();
        let replaced = match reader.file_by_name(to)? {
            None if is_anything_below => return Err(taken(FileKind::Directory)),
            Some(stored) if is_anything_below => return Err(taken(host_kind(&stored.kind))),
            None => None,
            Some(stored) if may_be_replaced(&stored, conflict) && is_single(reader, renaming)? => {
                Some(Doomed::with_kept_versions(reader, stored)?)
            }
            Some(stored) => return Err(taken(host_kind(&stored.kind))),
        };
        Ok(Self { size, replaced })
    }

    /// Returns what the renaming changes in the catalog: rows that go at one place and come at another.
    fn transaction_size(&self) -> TransactionSize {
        let removed = self.replaced.iter().flat_map(|doomed| &doomed.files);
        self.size.transaction_size().and(size_of(removed))
    }
}

fn may_be_replaced(stored: &FileRecord, conflict: RenameConflict) -> bool {
    conflict == RenameConflict::Replace && stored.kind != EntryKind::Directory
}

/// Says whether what is renamed is one file or link, and nothing lies below it.
fn is_single(reader: &CatalogReader, renaming: &Renaming) -> Result<bool, CommitError> {
    let page = reader.files_page(Some(&renaming.from), None, 2)?;
    Ok(
        matches!(page.as_slice(), [(file, _)] if file.name == renaming.from && file.kind != EntryKind::Directory),
    )
}

/// Refuses what there is no room for in the catalog, which after a failed write would have to be opened anew.
fn check_room(shared: &Shared, plan: &Plan, from: &FileName) -> Result<(), CommitError> {
    let needed_bytes = plan.transaction_size().room_bytes();
    let needed_bytes = needed_bytes.saturating_add(missing_bytes(&shared.layout));
    let free_bytes = shared.layout.free_bytes()?;
    if free_bytes >= needed_bytes {
        return Ok(());
    }
    let volumes = shared.volumes();
    let volume = volumes.for_files().next().ok_or(CommitError::NoVolume)?;
    Err(CommitError::Full {
        name: from.clone(),
        others: plan.size.entries - 1,
        volume: volume.record.id,
        needed_bytes,
        free_bytes,
    })
}
