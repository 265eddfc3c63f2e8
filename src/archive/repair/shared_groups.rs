//! The groups of blocks that are written anew together: each is read once for all of its blocks.

use std::{collections::BTreeMap, sync::Arc};

use super::subject::Subject;
use crate::{
    archive::{read::Groups, shared::Shared},
    units::FileId,
};

/// Groups by file and index.
#[derive(Debug, Default)]
pub(super) struct SharedGroups(BTreeMap<(FileId, u64), Arc<Groups>>);

impl SharedGroups {
    /// Returns the group of a block, the same for all of its blocks; `None` where blocks are not grouped.
    pub(super) fn of(&mut self, shared: &Arc<Shared>, subject: &Subject) -> Option<Arc<Groups>> {
        let (file, group) = (subject.file.as_ref()?, subject.group()?);
        let groups = self.0.entry((file.id, group.index()));
        Some(Arc::clone(
            groups.or_insert_with(|| Arc::new(Groups::of(shared, file))),
        ))
    }
}
