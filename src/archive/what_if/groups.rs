//! What a loss would mean for the groups of a file, whose blocks help each other.

use std::collections::BTreeMap;

use super::{Lost, lost_bytes_of};
use crate::{
    catalog::{CatalogReader, DamagedFile, FileRecord},
    error::CatalogError,
    geometry::GroupGeometry,
    plan::{BlockVerdict, DamageMap, GroupVerdict},
    units::to_u64,
};

/// What of a group would be gone.
pub(super) struct GroupLoss {
    pub(super) shards: u64,
    pub(super) lost_bytes: u64,
}

/// Returns which shards of a group would be gone, and how many bytes could not be decoded beyond those that cannot be now.
pub(super) fn group_loss(
    reader: &CatalogReader,
    (file, group): (&FileRecord, &GroupGeometry),
    damage: Option<&DamagedFile>,
    lost: &Lost,
) -> Result<GroupLoss, CatalogError> {
    let (mut shards, mut is_beyond) = (0, false);
    let mut then = BTreeMap::new();
    for index in group.blocks() {
        let block = reader.block(file, index)?;
        let mut map = DamageMap::new(block.geometry);
        if damage.is_some() {
            for shard in reader.damage_of_block(block.id)? {
                let columns = shard.columns.iter();
                columns.for_each(|column| map.mark_leaf(shard.shard, column));
            }
        }
        let gone = lost.shards_of(&block);
        shards += to_u64(gone.len());
        gone.iter().for_each(|&shard| map.mark_shard(shard));
        is_beyond |= matches!(map.verdict(), BlockVerdict::Lost { .. });
        then.insert(index, map);
    }
    if !is_beyond {
        return Ok(GroupLoss {
            shards,
            lost_bytes: 0,
        });
    }
    let bytes = |verdict: GroupVerdict| -> u64 { verdict.left.iter().flatten().map(lost_bytes_of).sum() };
    let now = bytes(reader.group_verdict(file, group, &BTreeMap::new())?);
    let then = bytes(reader.group_verdict(file, group, &then)?);
    Ok(GroupLoss {
        shards,
        lost_bytes: then.saturating_sub(now),
    })
}
