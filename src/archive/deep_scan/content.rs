//! Reading what was found before there is a catalog: descriptors, and whether a frame holds the shard that is meant.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    coded::digests_of_lacking,
    found::{DescriptorFrame, FoundFrames},
};
use crate::{
    archive::{
        describe::{name_of, read_content},
        read::BlockReader,
        volumes::Volumes,
    },
    catalog::{
        BlockRecord, ShardRecord,
        descriptor::{self, Descriptor},
    },
    error::CatalogBytesError,
    format::FrameLayout,
    merkle::ShardDigest,
    units::{BlockIndex, CommitId, ExtentId, FileId, ShardIndex},
};

/// Where shards are said to lie that are nowhere, until they get a place.
const NO_EXTENT: ExtentId = ExtentId::new(u64::MAX);

/// What a block that is no file's holds.
#[derive(Debug)]
pub(super) enum Content {
    /// What a commit has written about its files.
    Descriptor(Box<Descriptor>),
    /// Something else, which begins in another way; nothing is made of it.
    Other,
    /// Nobody knows: too much of it is missing or damaged, or it says what cannot be.
    Lost,
}

/// Reads from volumes of which no catalog says what lies there.
pub(super) struct Source {
    pub(super) volumes: Arc<Volumes>,
}

/// A block of a descriptor kind: with shards that were not found, as they should be.
#[derive(Debug, Clone)]
pub(super) struct DescriptorBlock {
    pub(super) commit: CommitId,
    pub(super) block: BlockRecord,
    /// Shards that are nowhere.
    pub(super) lacking: Vec<ShardIndex>,
}

impl DescriptorBlock {
    /// Puts together what was found of a block. Frames whose headers are damaged are known by their footers, where their digest is
    /// that of another copy; the digests of others follow from those that are there.
    pub(super) fn of(frames: &[DescriptorFrame], found: &FoundFrames, source: &Source) -> Option<Self> {
        let first = frames.first()?;
        let geometry = first.geometry;
        let mut shards = vec![None; usize::from(geometry.shape().total())];
        for found in frames.iter().filter(|found| found.geometry == geometry) {
            shards[found.frame.shard.as_usize()] = Some(found.frame.record());
        }
        let mut block = BlockRecord {
            id: first.frame.block,
            file: FileId::new(0),
            index: BlockIndex::new(0),
            reference_count: 1,
            geometry,
            shards,
        };
        let digests: BTreeMap<ShardIndex, ShardDigest> = if geometry.shape().is_replication() {
            geometry
                .shards()
                .map(|shard| (shard, first.frame.digest))
                .collect()
        } else {
            digests_of_lacking(&block, source).unwrap_or_default()
        };
        let mut lacking = Vec::new();
        for shard in geometry.shards().filter(|shard| geometry.is_present(*shard)) {
            if block.shards[shard.as_usize()].is_some() {
                continue;
            }
            let Some(digest) = digests.get(&shard) else {
                // Too much is missing to say what should be there, and so to read it.
                return Some(Self {
                    commit: first.commit,
                    block,
                    lacking: Vec::new(),
                });
            };
            let proven = source.by_footer(&block, shard, found, *digest);
            if proven.is_none() {
                lacking.push(shard);
            }
            let nowhere = ShardRecord {
                extent: NO_EXTENT,
                offset: 0,
                frame_len_bytes: FrameLayout::of_shard(&geometry, shard)?.total_len_bytes(),
                digest: *digest,
            };
            block.shards[shard.as_usize()] = Some(proven.unwrap_or(nowhere));
        }
        Some(Self {
            commit: first.commit,
            block,
            lacking,
        })
    }

    pub(super) fn read(&self, source: &Source) -> Content {
        let (name, block) = (name_of(self.commit), self.block.clone());
        let reader = BlockReader::new(Arc::clone(&source.volumes), name.into(), block);
        let Some(bytes) = read_content(&reader) else {
            return Content::Lost;
        };
        match descriptor::parse(&bytes) {
            Ok(parsed) => Content::Descriptor(Box::new(parsed)),
            // Others may have a meaning to a version that knows it.
            Err(CatalogBytesError::Magic) => Content::Other,
            Err(_) => Content::Lost,
        }
    }
}

impl Source {
    /// Returns where a shard lies by the footer of its frame, if what lies there is what the digest says.
    pub(super) fn by_footer(
        &self,
        block: &BlockRecord,
        shard: ShardIndex,
        found: &FoundFrames,
        digest: ShardDigest,
    ) -> Option<ShardRecord> {
        let layout = FrameLayout::of_shard(&block.geometry, shard)?;
        let footers = found.footers_of((block.id, shard), layout.content_len_bytes());
        let mut records = footers.map(|footer| ShardRecord {
            extent: footer.extent,
            offset: footer.offset,
            frame_len_bytes: layout.total_len_bytes(),
            digest,
        });
        records.find(|record| self.holds(block, shard, record))
    }

    /// Says whether a shard lies where a record says: a copy of its leaf table, or all of its payload, has the digest.
    pub(super) fn holds(&self, block: &BlockRecord, shard: ShardIndex, record: &ShardRecord) -> bool {
        let mut shards = vec![None; block.shards.len()];
        shards[shard.as_usize()] = Some(*record);
        let alone = BlockRecord {
            shards,
            ..block.clone()
        };
        let reader = BlockReader::new(Arc::clone(&self.volumes), name_of(CommitId::new(0)).into(), alone);
        let is_one_leaf = block.geometry.leaf_count(shard) == 1;
        if !is_one_leaf && reader.has_stored_table(shard) {
            return true;
        }
        let hashed = reader.hash_payload(shard);
        hashed.is_ok_and(|table| table.digest() == record.digest)
    }
}
