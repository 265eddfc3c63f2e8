//! A block whose shards are written anew: whose it is, and what its new frames say of it.

use std::sync::Arc;

use crate::{
    archive::{called::Called, commit::BlockIdentity, describe::name_of, read::BlockReader, shared::Shared},
    catalog::{BlockRecord, CatalogReader, FileRecord, ShardOwner, ShardRecord},
    error::CatalogError,
    format::FrameKind,
    geometry::GroupGeometry,
    units::{CommitId, ExtentId, ShardIndex},
};

/// A block of a file, or of what a commit has written about its files.
pub(super) struct Subject {
    pub(super) owner: ShardOwner,
    pub(super) called: Called,
    /// The commit that its frames name.
    commit: CommitId,
    pub(super) file_len_bytes: u64,
    /// The file whose block it is; a descriptor is of none.
    pub(super) file: Option<FileRecord>,
    pub(super) record: BlockRecord,
}

impl Subject {
    /// Looks a block up; `None` when it is gone.
    pub(super) fn find(shared: &Shared, owner: ShardOwner) -> Result<Option<Self>, CatalogError> {
        // One transaction sees the block and its file.
        Self::find_in(&shared.catalog.read()?, owner)
    }

    /// Looks it up in a transaction.
    pub(super) fn find_in(reader: &CatalogReader, owner: ShardOwner) -> Result<Option<Self>, CatalogError> {
        let Some(record) = reader.block_by_owner(owner)? else {
            return Ok(None);
        };
        let (called, commit, file_len_bytes, file) = match owner {
            ShardOwner::Descriptor(commit) => {
                let len_bytes = record.geometry.data_len_bytes();
                (name_of(commit).into(), commit, len_bytes, None)
            }
            ShardOwner::Block(_) | ShardOwner::InlineBlockOf(_) => {
                let Some(file) = reader.file(record.file)? else {
                    return Ok(None);
                };
                let len_bytes = file.geometry.len_bytes();
                (Called::of(&file), file.commit, len_bytes, Some(file))
            }
        };
        Ok(Some(Self {
            owner,
            called,
            commit,
            file_len_bytes,
            file,
            record,
        }))
    }

    /// Returns the commit, when this is its descriptor.
    pub(super) const fn descriptor(&self) -> Option<CommitId> {
        match self.owner {
            ShardOwner::Descriptor(commit) => Some(commit),
            ShardOwner::Block(_) | ShardOwner::InlineBlockOf(_) => None,
        }
    }

    pub(super) fn shard(&self, shard: ShardIndex) -> Option<&ShardRecord> {
        self.record.shards.get(shard.as_usize()).and_then(Option::as_ref)
    }

    /// Returns the extents in which the block has frames.
    pub(super) fn extents(&self) -> impl Iterator<Item = ExtentId> {
        self.record.shards.iter().flatten().map(|shard| shard.extent)
    }

    /// Returns what new frames say that they belong to.
    pub(super) const fn identity(&self) -> BlockIdentity {
        BlockIdentity {
            kind: match self.owner {
                ShardOwner::Descriptor(_) => FrameKind::Descriptor,
                ShardOwner::Block(_) | ShardOwner::InlineBlockOf(_) => FrameKind::File,
            },
            commit: self.commit,
            file: self.record.file,
            block: self.record.id,
            index: self.record.index,
        }
    }

    /// Returns the group that the block is of.
    pub(super) fn group(&self) -> Option<GroupGeometry> {
        self.file.as_ref()?.geometry.group_of(self.record.index)
    }

    pub(super) fn reader(&self, shared: &Shared) -> Arc<BlockReader> {
        let (called, record) = (self.called.clone(), self.record.clone());
        Arc::new(BlockReader::new(shared.volumes(), called, record))
    }
}
