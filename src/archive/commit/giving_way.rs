//! What gives way to a new version of a name: it is removed or kept, and the oldest of what was kept before may go.

use super::NameConflict;
use crate::{
    archive::{remove::size_of, shared::Shared},
    catalog::{CatalogReader, EntryKind, FileRecord, TransactionSize},
    error::{CatalogError, CommitError},
    units::{FileName, to_u64, to_usize},
};

/// What gives way to a new version.
#[derive(Debug, Default)]
pub(super) struct GivingWay {
    /// What goes: what has the name, or versions of it that are too many.
    pub(super) removed: Vec<FileRecord>,
    /// What has the name, where it is kept.
    pub(super) retired: Option<FileRecord>,
}

impl GivingWay {
    /// Finds what gives way where something else takes the name of an entry.
    pub(super) fn find(
        reader: &CatalogReader,
        stored: FileRecord,
        conflict: NameConflict,
    ) -> Result<Self, CatalogError> {
        let most = to_usize(conflict.kept_versions().into());
        let is_kept = most > 0 && stored.kind != EntryKind::Directory;
        let mut removed = reader.kept_versions_of(&stored.name)?;
        let stay = most - usize::from(is_kept);
        removed.truncate(removed.len().saturating_sub(stay));
        let retired = if is_kept {
            Some(stored)
        } else {
            removed.push(stored);
            None
        };
        Ok(Self { removed, retired })
    }

    /// Returns what the catalog changes for that, at this moment, where names are taken by something else.
    pub(super) fn size_for(
        shared: &Shared,
        names: &[&FileName],
        conflict: NameConflict,
    ) -> Result<TransactionSize, CommitError> {
        if conflict == NameConflict::Refuse {
            return Ok(TransactionSize::default());
        }
        let reader = shared.catalog.read()?;
        let mut size = TransactionSize::default();
        for stored in reader.find_files(names)?.into_iter().flatten() {
            let Self { removed, retired } = Self::find(&reader, stored, conflict)?;
            size = size.and(size_of(removed.iter())).and(TransactionSize {
                entries: to_u64(usize::from(retired.is_some())),
                text_len_bytes: retired.as_ref().map_or(0, FileRecord::text_len_bytes),
                ..TransactionSize::default()
            });
        }
        Ok(size)
    }
}
