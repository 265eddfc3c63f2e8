//! Where the frames of a commit go: in legs, each walked from its first block on.
//!
//! Places follow from a few numbers, so they are walked again instead of kept. A commit begins with one leg. When it goes
//! on after a crash, or away from an extent that failed, the next leg begins behind the last block that is durable for
//! certain: in the same extents, cut back to the end of that block, or in others.

use std::collections::BTreeMap;

use crate::{
    catalog::{LegPosition, LegRecord},
    format::{EXTENT_HEADER_LEN_BYTES, FrameLayout},
    geometry::{BlockGeometry, FileGeometry},
    plan::{ExtentUse, LaneLayout, LanePosition, Placement},
    units::{BlockIndex, ExtentId, LaneIndex, to_u64},
};

/// How frames are placed from a block on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leg {
    /// The first block that is placed this way.
    pub(super) first_block: BlockIndex,
    /// The lane of each shard of a block.
    pub(super) lanes: Vec<LaneIndex>,
    /// Where each lane goes on, by lane; `None` where it begins a new extent.
    pub(super) positions: Vec<Option<LanePosition>>,
    /// Numbers of new extents, in the order in which the walk needs them.
    pub(super) new_extents: Vec<ExtentId>,
    /// Where extents end.
    pub(super) extent_limit_bytes: u64,
}

impl Leg {
    /// Returns the layout before the first frame.
    pub(super) fn layout(&self) -> LaneLayout {
        LaneLayout::new(
            &self.positions,
            self.new_extents.clone(),
            self.extent_limit_bytes,
            to_u64(EXTENT_HEADER_LEN_BYTES),
        )
    }

    /// Returns the layout after the frames of some blocks.
    pub(super) fn walk(&self, blocks: impl Iterator<Item = BlockGeometry>) -> LaneLayout {
        let mut layout = self.layout();
        blocks.for_each(|block| place_block(&block, &self.lanes, &mut layout).for_each(drop));
        layout
    }

    /// Returns what the catalog keeps of it.
    pub(super) fn to_record(&self) -> LegRecord {
        let positions = (0_u16..).map(LaneIndex::new).zip(&self.positions);
        LegRecord {
            first_block: self.first_block,
            lanes: self.lanes.clone(),
            positions: positions
                .filter_map(|(lane, position)| {
                    position.map(|LanePosition { extent, end_bytes }| LegPosition {
                        lane,
                        extent,
                        end_bytes,
                    })
                })
                .collect(),
            new_extents: self.new_extents.clone(),
            extent_limit_bytes: self.extent_limit_bytes,
        }
    }

    /// Makes it from what the catalog keeps.
    pub(super) fn from_record(record: &LegRecord) -> Self {
        let used = record.positions.iter().map(|position| &position.lane);
        let count = record
            .lanes
            .iter()
            .chain(used)
            .map(|lane| usize::from(lane.get()) + 1);
        let mut positions = vec![None; count.max().unwrap_or(0)];
        for &LegPosition {
            lane,
            extent,
            end_bytes,
        } in &record.positions
        {
            positions[usize::from(lane.get())] = Some(LanePosition { extent, end_bytes });
        }
        Self {
            first_block: record.first_block,
            lanes: record.lanes.clone(),
            positions,
            new_extents: record.new_extents.clone(),
            extent_limit_bytes: record.extent_limit_bytes,
        }
    }
}

/// What a commit has filled of its extents, over all its legs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::archive) struct Filled(BTreeMap<ExtentId, ExtentUse>);

impl Filled {
    /// Walks the legs of one file up to a block, which is not among them.
    pub(super) fn of_legs(legs: &[Leg], geometry: &FileGeometry, until: BlockIndex) -> Self {
        let mut filled = Self::default();
        let ends = legs.iter().skip(1).map(|leg| leg.first_block).chain([until]);
        for (leg, end) in legs.iter().zip(ends) {
            let end = end.min(until).get();
            let blocks = (leg.first_block.get()..end).map(|index| geometry.block(BlockIndex::new(index)));
            filled.add(&leg.walk(blocks));
        }
        filled
    }

    /// Adds what a leg has filled.
    pub(in crate::archive) fn add(&mut self, layout: &LaneLayout) {
        self.extend(layout.extents_used());
    }

    /// Adds what a later leg has filled.
    pub(super) fn add_all(&mut self, later: &Self) {
        self.extend(later.extents());
    }

    fn extend<'u>(&mut self, uses: impl Iterator<Item = &'u ExtentUse>) {
        for &taken in uses {
            match self.0.get_mut(&taken.extent) {
                Some(known) => {
                    known.end_bytes = taken.end_bytes;
                    known.is_full = taken.is_full;
                }
                None => {
                    self.0.insert(taken.extent, taken);
                }
            }
        }
    }

    pub(in crate::archive) fn get(&self, extent: ExtentId) -> Option<&ExtentUse> {
        self.0.get(&extent)
    }

    pub(in crate::archive) fn extents(&self) -> impl Iterator<Item = &ExtentUse> {
        self.0.values()
    }
}

/// Places the frames of a block, in shard order; absent shards get none.
pub(super) fn place_block(
    block: &BlockGeometry,
    lanes: &[LaneIndex],
    layout: &mut LaneLayout,
) -> impl Iterator<Item = Option<(Placement, FrameLayout)>> {
    block.shards().zip(lanes).map(|(shard, lane)| {
        let frame = FrameLayout::of_shard(block, shard)?;
        let place = layout.place(*lane, frame.total_len_bytes(), frame.alignment_bytes());
        Some((place, frame))
    })
}
