//! What later records of the journal say of what an earlier one has published, for a catalog that lacks both.
//!
//! A descriptor may lie elsewhere by now, or nothing of its commit may be left: then its room may have been given back, and the
//! catalog passes the commit over, and whatever is said of its entries later.

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet},
};

use super::{publication, shared::Shared};
use crate::{
    catalog::{BlockRecord, Relocation, ShardOwner},
    error::PublicationError,
    journal::RecordEntry,
    units::{CommitId, ExtentId},
};

/// What the records of a journal that a catalog lacks say of descriptors; read when somebody asks.
pub(super) struct Later<'a> {
    shared: &'a Shared,
    ahead: &'a [RecordEntry],
    seen: OnceCell<Seen>,
}

#[derive(Default)]
struct Seen {
    /// Commits of which nothing is left.
    forgotten: BTreeSet<CommitId>,
    /// Shards of descriptors that came to lie elsewhere, in the order of the records.
    moved: BTreeMap<CommitId, Vec<Relocation>>,
    /// Numbers of the volumes of extents that were written to.
    volumes: BTreeMap<ExtentId, u16>,
}

impl<'a> Later<'a> {
    pub(super) const fn new(shared: &'a Shared, ahead: &'a [RecordEntry]) -> Self {
        Self {
            shared,
            ahead,
            seen: OnceCell::new(),
        }
    }

    fn seen(&self) -> Result<&Seen, PublicationError> {
        if let Some(seen) = self.seen.get() {
            return Ok(seen);
        }
        let mut seen = Seen::default();
        for entry in self.ahead {
            let record = publication::parse(&self.shared.journal().load(entry)?)?;
            seen.forgotten.extend(record.forgotten);
            let extents = record.extents.iter();
            seen.volumes
                .extend(extents.map(|extent| (extent.id, extent.volume)));
            for moved in record.relocated {
                if let ShardOwner::Descriptor(commit) = moved.owner {
                    seen.moved.entry(commit).or_default().push(moved);
                }
            }
        }
        Ok(self.seen.get_or_init(|| seen))
    }

    /// Says whether nothing of a commit is left behind the last record.
    pub(super) fn forgets(&self, commit: CommitId) -> Result<bool, PublicationError> {
        Ok(self.seen()?.forgotten.contains(&commit))
    }

    /// Says whether there is a commit of which nothing is left.
    pub(super) fn forgets_any(&self) -> Result<bool, PublicationError> {
        Ok(!self.seen()?.forgotten.is_empty())
    }

    /// Returns where the shards of a descriptor lie behind the last record, and makes sure that they are looked for there: the
    /// catalog does not know the extents yet.
    pub(super) fn place_of(
        &self,
        commit: CommitId,
        block: &BlockRecord,
    ) -> Result<BlockRecord, PublicationError> {
        let mut block = block.clone();
        let seen = self.seen()?;
        let volumes = self.shared.volumes();
        for moved in seen.moved.get(&commit).into_iter().flatten() {
            let shard = block.shards.get_mut(moved.shard.as_usize());
            let shard = shard.and_then(Option::as_mut);
            if let Some(shard) = shard.filter(|shard| shard.address() == moved.from) {
                (shard.extent, shard.offset) = (moved.to.extent, moved.to.offset);
                if let Some(&volume) = seen.volumes.get(&shard.extent) {
                    volumes.note(shard.extent, volume);
                }
            }
        }
        Ok(block)
    }
}
