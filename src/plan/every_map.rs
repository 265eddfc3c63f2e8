//! Every damage map of small blocks, for tests.

use super::DamageMap;
use crate::{
    geometry::{BlockGeometry, BlockGeometryParts, FileLeaves},
    units::{CodeShape, ColumnIndex, LeafLen, ShardIndex},
};

pub(super) const LEAF: u64 = 1024;

pub(super) fn block(data: u16, parity: u16, len_bytes: u64) -> BlockGeometry {
    BlockGeometry::from_parts(BlockGeometryParts {
        shape: CodeShape::new(data, parity).expect("valid shape"),
        leaf: LeafLen::from_log2(10).expect("1 KiB"),
        file_leaves: FileLeaves::Many,
        base_offset: 0,
        data_len_bytes: len_bytes,
    })
    .expect("valid block")
}

/// Blocks of every kind: replicated and coded, of one column and more, with short and absent shards.
pub(super) fn small_blocks() -> [BlockGeometry; 9] {
    [
        block(1, 3, LEAF),
        block(1, 3, 2 * LEAF + 1),
        block(1, 2, 4 * LEAF),
        block(2, 1, 3 * LEAF + 7),
        block(2, 2, 4 * LEAF),
        block(3, 1, 3 * LEAF - 5),
        block(3, 2, 5 * LEAF),
        block(4, 2, 3 * LEAF + 9),
        block(4, 2, 6 * LEAF),
    ]
}

/// All that can be bad in a block, tables included.
pub(super) fn leaves(geometry: &BlockGeometry) -> Vec<(ShardIndex, ColumnIndex)> {
    let mut leaves = Vec::new();
    for shard in geometry.shards().filter(|shard| geometry.is_present(*shard)) {
        leaves.extend((0..geometry.leaf_count(shard)).map(|column| (shard, ColumnIndex::new(column))));
        if let Some(table) = geometry.table_column().filter(|_| geometry.is_data(shard)) {
            leaves.push((shard, table));
        }
    }
    leaves
}

/// Every combination of bad leaves of a small block, the one without any first.
pub(super) fn every_map(geometry: BlockGeometry) -> impl Iterator<Item = DamageMap> {
    let leaves = leaves(&geometry);
    assert!(
        leaves.len() <= 16,
        "{} leaves are too many to enumerate",
        leaves.len()
    );
    (0_u32..1 << leaves.len()).map(move |bits| {
        let mut map = DamageMap::new(geometry);
        let chosen = leaves
            .iter()
            .enumerate()
            .filter(|(index, _)| bits >> index & 1 == 1);
        chosen.for_each(|(_, (shard, column))| map.mark_leaf(*shard, *column));
        map
    })
}
