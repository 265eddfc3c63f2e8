//! What a repair of a block writes anew.
//!
//! Nothing is repaired where it stands: a damaged shard is written anew as a whole frame in another place, its good leaves
//! copied, its bad ones decoded from their columns. Every leaf of the new frame is proven by the leaf table of the shard,
//! and the table by the digest in the catalog, so a shard is written anew wholly or not at all.

use std::collections::BTreeSet;

use super::{ColumnSet, DamageMap};
use crate::units::{ColumnIndex, ShardIndex};

/// The steps that make a block whole again, as far as that can be done.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub struct RepairPlan {
    /// Shards to write anew, in order.
    pub rewrite: Vec<ShardIndex>,
    /// Damaged shards that stay where they are, in order: each has a bad leaf that cannot be decoded. What is good in them
    /// can still be read.
    pub unrepairable: Vec<ShardIndex>,
    /// The columns that must be decoded for that. With the table column, which comes first then: its leaf tables prove
    /// leaves of the others.
    pub decode: ColumnSet,
}

impl RepairPlan {
    /// Decides what to do about the damage of a block.
    ///
    /// `bad_frames` are the shards whose frame is bad where no leaf is: in its header, its footer or a copy of its leaf
    /// table, or in both copies while the payload is whole, which proves the table.
    ///
    /// A shard is written anew when each of its bad leaves lies in a column that decodes, also where other columns of the
    /// block are lost. That holds for parity, which is computed again, and for replicas, where a column decodes while any
    /// copy of the leaf is good. A data shard without its table is written anew when the table column decodes, too; where
    /// it does not, nothing of the shard can be proven, and its leaves count as bad in every column.
    ///
    /// # Panics
    /// When `bad_frames` names a shard that is absent: it has no frame.
    pub fn of(map: &DamageMap, bad_frames: &BTreeSet<ShardIndex>) -> Self {
        for shard in bad_frames {
            assert!(map.geometry().is_present(*shard), "shard {shard} has no frame");
        }
        let lost = map.lost_columns();
        let is_repairable = |shard: &ShardIndex| !map.bad_columns(*shard).intersects(&lost);
        let (rewrite, unrepairable): (Vec<_>, Vec<_>) = map
            .geometry()
            .shards()
            .filter(|shard| !map.bad_columns(*shard).is_empty() || bad_frames.contains(shard))
            .partition(is_repairable);
        let mut decode = ColumnSet::default();
        rewrite
            .iter()
            .for_each(|shard| decode.union_with(map.bad_columns(*shard)));
        if let Some(table) = map.geometry().table_column()
            && decode.iter().any(|column| needs_tables(map, column, table))
        {
            decode.insert(table);
        }
        Self {
            rewrite,
            unrepairable,
            decode,
        }
    }

    /// Decides what to do about the damage of a block of a group: a shard is written anew when everything of it can be had, from its
    /// own block or across the group. `left` is what cannot.
    ///
    /// # Panics
    /// As [`Self::of`].
    pub fn in_group(map: &DamageMap, left: &DamageMap, bad_frames: &BTreeSet<ShardIndex>) -> Self {
        for shard in bad_frames {
            assert!(map.geometry().is_present(*shard), "shard {shard} has no frame");
        }
        let is_had = |shard: &ShardIndex| left.bad_columns(*shard).is_empty();
        let damaged = |shard: &ShardIndex| !map.bad_columns(*shard).is_empty() || bad_frames.contains(shard);
        let (rewrite, unrepairable): (Vec<_>, Vec<_>) =
            map.geometry().shards().filter(damaged).partition(is_had);
        let mut decode = ColumnSet::default();
        rewrite
            .iter()
            .for_each(|shard| decode.union_with(map.bad_columns(*shard)));
        Self {
            rewrite,
            unrepairable,
            decode,
        }
    }

    /// Says whether there is nothing to do, be it that nothing is damaged or that nothing can be done.
    pub const fn is_empty(&self) -> bool {
        self.rewrite.is_empty()
    }
}

/// Says whether a column decodes only with leaves of data shards whose tables have to be decoded first.
fn needs_tables(map: &DamageMap, column: ColumnIndex, table: ColumnIndex) -> bool {
    let geometry = map.geometry();
    let is_out_of_reach = |shard: &ShardIndex| {
        let bad = map.bad_columns(*shard);
        bad.contains(column) || (geometry.is_data(*shard) && bad.contains(table))
    };
    let held = geometry
        .shards()
        .filter(|shard| column.get() < geometry.leaf_count(*shard));
    held.filter(is_out_of_reach).count() > usize::from(geometry.shape().parity())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        geometry::BlockGeometry,
        plan::{
            BlockVerdict,
            every_map::{LEAF, block, every_map, leaves, small_blocks},
        },
    };
    use proptest::prelude::{any, proptest};

    /// What somebody can know for certain who may decode some columns: the slow, obvious way, step by step.
    ///
    /// Knows nothing of how many leaves a column may lose, only that as many right slices as there are data shards give the
    /// others, and that bytes are right when a table says so.
    struct Knowledge<'a> {
        map: &'a DamageMap,
        tables: BTreeSet<ShardIndex>,
        slices: BTreeSet<(ShardIndex, ColumnIndex)>,
    }

    impl<'a> Knowledge<'a> {
        fn by_decoding(map: &'a DamageMap, columns: &ColumnSet) -> Self {
            let mut known = Self {
                map,
                tables: BTreeSet::new(),
                slices: BTreeSet::new(),
            };
            let geometry = map.geometry();
            loop {
                let before = (known.tables.len(), known.slices.len());
                for shard in geometry.shards() {
                    known.look_at(shard);
                }
                for column in columns.iter() {
                    let right = geometry.shards().filter(|shard| {
                        !holds(geometry, *shard, column) || known.slices.contains(&(*shard, column))
                    });
                    if right.count() >= usize::from(geometry.shape().data()) {
                        known.decoded(column);
                    }
                }
                if before == (known.tables.len(), known.slices.len()) {
                    return known;
                }
            }
        }

        /// Reads a shard where it stands.
        fn look_at(&mut self, shard: ShardIndex) {
            let geometry = self.map.geometry();
            let bad = self.map.bad_columns(shard);
            let stored_table = geometry.table_column().is_none_or(|table| !bad.contains(table));
            if !geometry.is_data(shard) || stored_table {
                self.tables.insert(shard);
            }
            for column in all_columns(geometry).filter(|column| holds(geometry, shard, *column)) {
                if self.tables.contains(&shard) && !bad.contains(column) {
                    self.slices.insert((shard, column));
                }
            }
            // A data shard's slice of the table column is its table.
            if let Some(table) = geometry.table_column()
                && geometry.is_data(shard)
                && self.tables.contains(&shard)
                && geometry.is_present(shard)
            {
                self.slices.insert((shard, table));
            }
        }

        fn decoded(&mut self, column: ColumnIndex) {
            let geometry = self.map.geometry();
            for shard in geometry.shards().filter(|shard| holds(geometry, *shard, column)) {
                if Some(column) == geometry.table_column() {
                    // The digest in the catalog proves a table.
                    self.tables.insert(shard);
                }
                if self.tables.contains(&shard) {
                    self.slices.insert((shard, column));
                }
            }
        }

        fn has_whole(&self, shard: ShardIndex) -> bool {
            let geometry = self.map.geometry();
            all_columns(geometry)
                .filter(|column| holds(geometry, shard, *column))
                .all(|column| self.slices.contains(&(shard, column)))
        }
    }

    fn holds(geometry: &BlockGeometry, shard: ShardIndex, column: ColumnIndex) -> bool {
        let is_table = Some(column) == geometry.table_column();
        column.get() < geometry.leaf_count(shard) || (is_table && geometry.is_present(shard))
    }

    fn all_columns(geometry: &BlockGeometry) -> impl Iterator<Item = ColumnIndex> {
        geometry.columns().chain(geometry.table_column())
    }

    /// The map after a plan was carried out: what was written anew is good.
    fn repaired(map: &DamageMap, plan: &RepairPlan) -> DamageMap {
        let mut after = DamageMap::new(*map.geometry());
        for shard in map.damaged_shards().filter(|shard| !plan.rewrite.contains(shard)) {
            map.bad_columns(shard)
                .iter()
                .for_each(|column| after.mark_leaf(shard, column));
        }
        after
    }

    fn check(map: &DamageMap, bad_frames: &BTreeSet<ShardIndex>) {
        let plan = RepairPlan::of(map, bad_frames);
        check_shards(map, bad_frames, &plan);
        check_columns(map, &plan);
        check_afterwards(map, bad_frames, &plan);
    }

    fn check_shards(map: &DamageMap, bad_frames: &BTreeSet<ShardIndex>, plan: &RepairPlan) {
        let mut everything = ColumnSet::default();
        all_columns(map.geometry()).for_each(|column| everything.insert(column));
        let known = Knowledge::by_decoding(map, &everything);
        let damaged = |shard: &ShardIndex| !map.bad_columns(*shard).is_empty() || bad_frames.contains(shard);
        let (rewrite, unrepairable): (Vec<_>, Vec<_>) = map
            .geometry()
            .shards()
            .filter(damaged)
            .partition(|shard| known.has_whole(*shard));
        assert_eq!(plan.rewrite, rewrite, "{map:?}");
        assert_eq!(plan.unrepairable, unrepairable, "{map:?}");
        assert_eq!(plan.is_empty(), rewrite.is_empty(), "{map:?}");
    }

    /// The columns to decode suffice, and none can be left out.
    fn check_columns(map: &DamageMap, plan: &RepairPlan) {
        let suffice = |columns: &ColumnSet| {
            let known = Knowledge::by_decoding(map, columns);
            plan.rewrite.iter().all(|shard| known.has_whole(*shard))
        };
        assert!(suffice(&plan.decode), "{map:?} {plan:?}");
        for without in plan.decode.iter() {
            let mut fewer = ColumnSet::default();
            let others = plan.decode.iter().filter(|column| *column != without);
            others.for_each(|column| fewer.insert(column));
            assert!(
                !suffice(&fewer),
                "{without} need not be decoded: {map:?} {plan:?}"
            );
        }
    }

    fn check_afterwards(map: &DamageMap, bad_frames: &BTreeSet<ShardIndex>, plan: &RepairPlan) {
        let after = repaired(map, plan);
        if plan.unrepairable.is_empty() {
            assert_eq!(after.verdict(), BlockVerdict::Intact, "{map:?} {plan:?}");
        }
        let lost = |map: &DamageMap| match map.verdict() {
            BlockVerdict::Intact | BlockVerdict::Degraded { .. } => Vec::new(),
            BlockVerdict::Lost { ranges, .. } => ranges,
        };
        assert_eq!(lost(&after), lost(map), "{map:?} {plan:?}");
        assert_eq!(
            lost(map).is_empty(),
            plan.unrepairable.is_empty(),
            "{map:?} {plan:?}"
        );
        assert!(
            after.damaged_shards().eq(plan.unrepairable.iter().copied()),
            "{map:?} {plan:?}"
        );
        let still_bad = bad_frames.iter().filter(|shard| !plan.rewrite.contains(shard));
        let again = RepairPlan::of(&after, &still_bad.copied().collect());
        assert!(
            again.is_empty() && again.decode.is_empty(),
            "{again:?} after {plan:?}"
        );
        assert_eq!(again.unrepairable, plan.unrepairable, "{map:?}");
    }

    #[test]
    fn every_damage_map_of_small_blocks_is_repaired_as_far_as_bytes_can_be_proven() {
        for geometry in small_blocks() {
            let present: Vec<_> = geometry
                .shards()
                .filter(|shard| geometry.is_present(*shard))
                .collect();
            for (map, index) in every_map(geometry).zip(0..) {
                check(&map, &BTreeSet::new());
                // Frames that are bad otherwise: one in turn.
                let frame = present[index % present.len()];
                check(&map, &[frame].into());
            }
        }
    }

    #[test]
    fn a_frame_without_a_bad_leaf_is_copied_and_nothing_decoded() {
        let map = DamageMap::new(block(2, 1, 6 * LEAF));
        let plan = RepairPlan::of(&map, &[ShardIndex::new(2), ShardIndex::new(0)].into());
        assert_eq!(plan.rewrite, [ShardIndex::new(0), ShardIndex::new(2)]);
        assert!(plan.unrepairable.is_empty() && plan.decode.is_empty(), "{plan:?}");
    }

    #[test]
    fn a_block_that_has_lost_bytes_gets_its_other_shards_back() {
        let mut map = DamageMap::new(block(3, 1, 9 * LEAF));
        let [zero, one, two, parity] = [0, 1, 2, 3].map(ShardIndex::new);
        map.mark_leaf(zero, ColumnIndex::new(0));
        map.mark_leaf(one, ColumnIndex::new(0));
        map.mark_leaf(two, ColumnIndex::new(1));
        map.mark_leaf(parity, ColumnIndex::new(2));
        let plan = RepairPlan::of(&map, &[one].into());
        assert_eq!(plan.rewrite, [two, parity]);
        assert_eq!(plan.unrepairable, [zero, one]);
        assert_eq!(plan.decode.runs(), [(1, 3)]);
    }

    #[test]
    fn tables_are_decoded_for_the_leaves_of_a_shard_that_stays_where_others_need_them() {
        let mut map = DamageMap::new(block(2, 1, 6 * LEAF));
        let [zero, one, parity] = [0, 1, 2].map(ShardIndex::new);
        let table = map.geometry().table_column().expect("three columns");
        map.mark_leaf(zero, ColumnIndex::new(0));
        map.mark_leaf(one, ColumnIndex::new(0));
        map.mark_leaf(zero, table);
        map.mark_leaf(parity, ColumnIndex::new(1));
        let plan = RepairPlan::of(&map, &BTreeSet::new());
        assert_eq!(
            (&plan.rewrite[..], &plan.unrepairable[..]),
            (&[parity][..], &[zero, one][..])
        );
        assert_eq!(
            plan.decode.runs(),
            [(1, 2), (3, 4)],
            "the table column is the fourth"
        );
    }

    #[test]
    #[should_panic(expected = "shard 3 has no frame")]
    fn a_shard_that_is_not_stored_has_no_bad_frame() {
        let map = DamageMap::new(block(4, 2, 6 * LEAF));
        let _plan = RepairPlan::of(&map, &[ShardIndex::new(3)].into());
    }

    proptest! {
        #[test]
        fn any_damage_of_larger_blocks_is_repaired_as_far_as_bytes_can_be_proven(
            (data, parity) in (1_u16..7, 1_u16..4),
            len_bytes in 1..40 * LEAF,
            percent in 1_u32..60,
            seeds in proptest::collection::vec(any::<u32>(), 160),
            bad_frame in any::<u32>(),
        ) {
            let geometry = block(data, parity, len_bytes);
            let mut map = DamageMap::new(geometry);
            for ((shard, column), seed) in leaves(&geometry).into_iter().zip(seeds) {
                if seed % 100 < percent {
                    map.mark_leaf(shard, column);
                }
            }
            let frames = geometry.shards().filter(|shard| geometry.is_present(*shard));
            check(&map, &frames.filter(|shard| bad_frame >> shard.get() & 1 == 1).collect());
        }
    }
}
