//! What a file takes on the volumes, by its length alone.

use bfdb::{
    format::FrameLayout,
    geometry::{BlockGeometry, FileGeometry, GroupGeometry},
    units::BlockIndex,
};

/// Returns what the frames of a file take; what a commit adds to begin an extent is not counted.
///
/// The blocks of a file have two lengths, and the last one has what is left; outer parity has two lengths, too. So the cost does not
/// grow with the file.
pub(super) fn frames_len_bytes(geometry: &FileGeometry) -> u64 {
    let (blocks, long) = (geometry.data_block_count(), geometry.parts().long_blocks);
    let Some(last) = blocks.checked_sub(1) else {
        return 0;
    };
    let of_block = |ordinal: u64| block_len_bytes(&geometry.block(geometry.data_block(ordinal)));
    // Of the blocks before the last one.
    let long = long.min(last);
    let of_row = |first: u64, count: u64| match count {
        0 => 0,
        count => of_block(first).saturating_mul(count),
    };
    of_row(0, long)
        .saturating_add(of_row(long, last - long))
        .saturating_add(of_block(last))
        .saturating_add(outer_len_bytes(geometry))
}

/// Returns what the frames of all outer parity take: that of groups with long blocks, which come first, and of the others.
fn outer_len_bytes(geometry: &FileGeometry) -> u64 {
    let count = geometry.group_count();
    let columns = |index: u64| geometry.group(index).columns();
    let has_long = |index: u64| columns(index) == columns(0);
    let (mut long, mut end) = (0, count);
    while long < end {
        let middle = long + (end - long) / 2;
        (long, end) = if has_long(middle) {
            (middle + 1, end)
        } else {
            (long, middle)
        };
    }
    let of_group = |group: GroupGeometry| {
        let block = geometry.block(BlockIndex::new(group.parity_blocks().start));
        block_len_bytes(&block) * u64::from(group.code().parity())
    };
    [(0, long), (long, count)]
        .into_iter()
        .filter(|(first, end)| first < end)
        .map(|(first, end)| of_group(geometry.group(first)).saturating_mul(end - first))
        .fold(0, u64::saturating_add)
}

fn block_len_bytes(block: &BlockGeometry) -> u64 {
    let frames = block
        .shards()
        .filter_map(|shard| FrameLayout::of_shard(block, shard));
    frames.map(|frame| frame.total_len_bytes()).sum()
}

/// Returns how many columns the blocks of a file have together, without outer parity.
pub(super) fn column_count(geometry: &FileGeometry) -> u64 {
    let parts = geometry.parts();
    let short = parts.data_blocks - parts.long_blocks;
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
            18_100_000_000,
            35_000_000_000,
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
                    .filter(|block| !block.is_outer_parity())
                    .map(|block| u64::from(block.column_count()))
                    .sum();
                assert_eq!(column_count(&geometry), columns, "{len} bytes");
            }
        }
    }
}
