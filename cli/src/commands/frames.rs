//! What a file takes on the volumes, by its length alone.

use bfdb::{
    format::FrameLayout,
    geometry::{BlockGeometry, FileGeometry},
    units::BlockIndex,
};

/// Returns what the frames of a file take; what a commit adds to begin an extent is not counted.
///
/// The blocks of a file have two lengths, and the last one has what is left, so that the cost does not grow with the file.
pub(super) fn frames_len_bytes(geometry: &FileGeometry) -> u64 {
    let (blocks, long) = (geometry.block_count(), geometry.parts().long_blocks);
    let Some(last) = blocks.checked_sub(1) else {
        return 0;
    };
    let of_block = |index: u64| block_len_bytes(&geometry.block(BlockIndex::new(index)));
    // Of the blocks before the last one.
    let long = long.min(last);
    let of_row = |first: u64, count: u64| match count {
        0 => 0,
        count => of_block(first).saturating_mul(count),
    };
    of_row(0, long)
        .saturating_add(of_row(long, last - long))
        .saturating_add(of_block(last))
}

fn block_len_bytes(block: &BlockGeometry) -> u64 {
    let frames = block
        .shards()
        .filter_map(|shard| FrameLayout::of_shard(block, shard));
    frames.map(|frame| frame.total_len_bytes()).sum()
}

/// Returns how many columns the blocks of a file have together.
pub(super) fn column_count(geometry: &FileGeometry) -> u64 {
    let parts = geometry.parts();
    let short = parts.block_count - parts.long_blocks;
    parts.long_blocks * u64::from(parts.long_columns) + short * u64::from(parts.short_columns)
}

#[cfg(test)]
mod tests {
    use bfdb::geometry::Policy;

    use super::*;

    #[test]
    fn blocks_that_are_counted_by_their_kinds_are_those_that_are_counted_one_by_one() {
        let policy = Policy::default();
        let (segment, leaf) = (4 << 20, 65_536_u64);
        let ends = [
            0,
            1,
            leaf,
            9_999_999,
            10_000_000,
            3 * segment,
            999_999_999,
            1_000_000_000,
            240 * segment,
            241 * segment,
            10_000_000_000,
        ];
        for end in ends {
            for len in [
                end.saturating_sub(leaf),
                end.saturating_sub(1),
                end,
                end + 1,
                end + 30 * leaf,
                end + segment,
            ] {
                let geometry = FileGeometry::new(len, &policy);
                let each: u64 = geometry.blocks().map(|block| block_len_bytes(&block)).sum();
                assert_eq!(frames_len_bytes(&geometry), each, "{len} bytes");
                let columns: u64 = geometry
                    .blocks()
                    .map(|block| u64::from(block.column_count()))
                    .sum();
                assert_eq!(column_count(&geometry), columns, "{len} bytes");
            }
        }
    }
}
