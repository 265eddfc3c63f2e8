//! The pieces in which blocks are written and read: runs of columns.

use core::ops::Range;

use crate::{
    geometry::BlockGeometry,
    units::{BlockIndex, ColumnIndex, ShardIndex, to_usize},
};

/// A run of columns of one block: the unit of work of a pipeline.
///
/// One strip is read, hashed, encoded and written while its bytes are in cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Strip {
    /// The block.
    pub block: BlockIndex,
    /// First column and the one after the last.
    pub columns: Range<u32>,
}

impl Strip {
    /// Returns the columns in order.
    pub fn columns(&self) -> impl Iterator<Item = ColumnIndex> + use<> {
        self.columns.clone().map(ColumnIndex::new)
    }

    /// Returns where a leaf stands among the leaves that a shard has in the strip, one after another; nowhere, which is empty, when
    /// the shard has none in that column.
    pub fn leaf_in_row(
        &self,
        geometry: &BlockGeometry,
        shard: ShardIndex,
        column: ColumnIndex,
    ) -> Range<usize> {
        let Some(leaf) = geometry.leaf_range(shard, column) else {
            return 0..0;
        };
        let start = to_usize(u64::from(column.get() - self.columns.start) * geometry.leaf().bytes());
        start..start + to_usize(leaf.len())
    }
}

/// Cuts a block into strips of at most `most_bytes_per_shard` bytes of each shard, and at least one column.
pub fn strips_of_block(
    block: BlockIndex,
    geometry: &BlockGeometry,
    most_bytes_per_shard: u64,
) -> impl Iterator<Item = Strip> + use<> {
    let columns = geometry.column_count();
    let each = (most_bytes_per_shard / geometry.leaf().bytes()).clamp(1, u64::from(columns));
    let each = u32::try_from(each).expect("clamped to a column count");
    (0..columns.div_ceil(each)).map(move |strip| {
        let first = strip * each;
        Strip {
            block,
            columns: first..(first + each).min(columns),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{FileGeometry, Policy};

    #[test]
    fn strips_hold_every_column_once_in_order() {
        let file = FileGeometry::new(1_234_567_890, &Policy::default());
        for (index, block) in file.blocks().enumerate() {
            let index = BlockIndex::new(u64::try_from(index).expect("few blocks"));
            for most in [1, 65_536, 262_144, 300_000, u64::MAX] {
                let columns: Vec<_> = strips_of_block(index, &block, most)
                    .flat_map(|strip| strip.columns())
                    .collect();
                assert!(
                    columns.into_iter().eq(block.columns()),
                    "strips of at most {most} bytes"
                );
            }
        }
    }
}
