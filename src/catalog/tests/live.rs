//! The shards that are stored: where each lies, and what can be found there.

use super::*;
use crate::plan::{ColumnSet, DamageKind, DamagePart};
use crate::units::{ColumnIndex, ShardIndex};

/// A stored shard.
#[derive(Debug, Clone, Copy)]
pub(super) struct Live {
    pub(super) owner: ShardOwner,
    pub(super) block: BlockId,
    pub(super) shard: ShardIndex,
    pub(super) record: ShardRecord,
}

impl Live {
    pub(super) fn place(&self) -> ShardPlace {
        ShardPlace {
            extent: self.record.extent,
            offset: self.record.offset,
            owner: self.owner,
            shard: self.shard,
        }
    }

    pub(super) fn end(&self) -> u64 {
        self.record.offset + self.record.frame_len_bytes
    }

    pub(super) fn is_meant_by(&self, damage: &DamageRecord) -> bool {
        (damage.owner, damage.block) == (self.owner, self.block)
            && (damage.shard, damage.address) == (self.shard, self.record.address())
    }

    /// Damage of the payload in these columns, found where the shard lies.
    pub(super) fn damage(&self, columns: &[u32], kind: DamageKind, since: i64) -> DamageRecord {
        let mut set = ColumnSet::default();
        columns
            .iter()
            .for_each(|&column| set.insert(ColumnIndex::new(column)));
        DamageRecord {
            owner: self.owner,
            block: self.block,
            shard: self.shard,
            address: self.record.address(),
            columns: set,
            part: if columns.is_empty() {
                DamagePart::Footer
            } else {
                DamagePart::Payload
            },
            kind,
            since: time(since),
        }
    }
}

impl World {
    /// All blocks that are stored, with their owners.
    pub(super) fn blocks(&self) -> Vec<(ShardOwner, &BlockRecord)> {
        let mut all = Vec::new();
        for (file, blocks) in self.stored() {
            for block in blocks {
                let owner = match blocks.len() {
                    1 => ShardOwner::InlineBlockOf(file.id),
                    _ => ShardOwner::Block(block.id),
                };
                all.push((owner, block));
            }
        }
        for descriptor in self.descriptors.values() {
            all.push((ShardOwner::Descriptor(descriptor.commit), &descriptor.block));
        }
        all
    }

    /// All shards that are stored.
    pub(super) fn live(&self) -> Vec<Live> {
        let mut all = Vec::new();
        for (owner, block) in self.blocks() {
            for (shard, record) in block.geometry.shards().zip(&block.shards) {
                let live = record.map(|record| Live {
                    owner,
                    block: block.id,
                    shard,
                    record,
                });
                all.extend(live);
            }
        }
        all
    }

    /// The shards of a stored file, block by block.
    pub(super) fn shards_of(&self, name: &FileName) -> Vec<Live> {
        let file = &self.files[name].0;
        let ids: Vec<BlockId> = self.files[name].1.iter().map(|block| block.id).collect();
        assert!(!ids.is_empty(), "{} has blocks", file.name);
        let mut shards = self.live();
        shards.retain(|live| ids.contains(&live.block));
        shards
    }
}
