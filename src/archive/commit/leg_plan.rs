//! Planning a leg: which extents it goes on in, which new ones it needs, and where the descriptor goes behind its frames.

use std::collections::BTreeSet;

use super::{
    legs::{Filled, Leg, place_block},
    room::{extent_limit, lane_positions, rooms_of, unused_extent_id},
};
use crate::{
    archive::{shared::Shared, volumes::Volumes},
    catalog::{CatalogWriter, ExtentRecord, FileRecord, descriptor},
    error::CommitError,
    format::FrameLayout,
    geometry::{BlockGeometry, Policy, VolumeRoom, lanes_for_block},
    plan::{LanePosition, Placement},
    seeded_bugs::{SeededBug, is_on},
    units::{BlockId, BlockIndex, LaneIndex, VolumeId},
};

/// A file that room is taken for: its record, but for root and what its frames take, and the id of its first block.
#[derive(Debug, Clone)]
pub(super) struct PlannedFile {
    pub(super) record: FileRecord,
    pub(super) first_block: u64,
}

impl PlannedFile {
    pub(super) fn block_id(&self, index: BlockIndex) -> BlockId {
        assert!(
            index.get() < self.record.geometry.block_count(),
            "a file has no more blocks"
        );
        BlockId::new(self.first_block + index.get())
    }
}

/// Where the descriptor goes.
#[derive(Debug, Clone)]
pub(super) struct PlannedDescriptor {
    pub(super) block: BlockId,
    pub(super) geometry: BlockGeometry,
    /// The place of each shard.
    pub(super) frames: Vec<Option<(Placement, FrameLayout)>>,
}

/// A leg, and what it will have filled when it is walked to its end.
#[derive(Debug)]
pub(super) struct PlannedLeg {
    pub(super) leg: Leg,
    pub(super) descriptor: PlannedDescriptor,
    pub(super) filled: Filled,
}

/// Plans the legs of one commit on some volumes, inside its transaction.
pub(super) struct LegPlanner<'a> {
    policy: &'a Policy,
    volumes: &'a Volumes,
    rooms: Vec<VolumeRoom>,
    pub(super) extents: Vec<ExtentRecord>,
}

/// What a leg is to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct LegContents<'a> {
    pub(super) files: &'a [PlannedFile],
    /// The first block, of the only file, that does not lie in earlier legs.
    pub(super) first_block: BlockIndex,
    pub(super) descriptor: BlockId,
    /// The length of the descriptor, which follows from names and lengths alone.
    pub(super) descriptor_len_bytes: u64,
}

/// Returns the length of the descriptor of some files.
pub(super) fn descriptor_len_bytes(shared: &Shared, files: &[PlannedFile]) -> u64 {
    let records = files.iter().map(|file| &file.record);
    let entries = records.map(|record| (&record.name, &record.kind, &record.geometry));
    descriptor::encoded_len_bytes(shared.catalog.archive(), entries)
}

impl<'a> LegPlanner<'a> {
    /// Plans on all volumes that take files but those that are avoided.
    pub(super) fn new(
        shared: &'a Shared,
        writer: &CatalogWriter,
        (volumes, avoided): (&'a Volumes, &BTreeSet<VolumeId>),
    ) -> Result<Self, CommitError> {
        let mut extents: Vec<ExtentRecord> = writer.extents()?;
        extents.retain(|extent| volumes.writable(extent.volume).is_some());
        Ok(Self {
            policy: shared.policy(),
            volumes,
            rooms: rooms_of(volumes, avoided, &extents)?,
            extents,
        })
    }

    /// Plans the first leg of a commit: each lane goes on where its open extent ends.
    pub(super) fn first_leg(
        &self,
        writer: &mut CatalogWriter,
        contents: LegContents<'_>,
    ) -> Result<PlannedLeg, CommitError> {
        let lanes = self.lanes_of(contents.files);
        let wanted: Vec<LaneIndex> = lanes
            .iter()
            .copied()
            .chain(self.descriptor_lanes(&lanes))
            .collect();
        let positions = lane_positions(writer, self.volumes, &self.extents, &wanted)?;
        self.leg(writer, (lanes, positions), contents)
    }

    /// Plans a leg that begins at a block, on given lanes.
    pub(super) fn leg(
        &self,
        writer: &mut CatalogWriter,
        (lanes, positions): (Vec<LaneIndex>, Vec<Option<LanePosition>>),
        contents: LegContents<'_>,
    ) -> Result<PlannedLeg, CommitError> {
        let geometry = descriptor::block_geometry(contents.descriptor_len_bytes, self.policy)
            .expect("a descriptor is shorter than the longest block");
        let descriptor_lanes = self.descriptor_lanes(&lanes);
        let mut leg = Leg {
            first_block: contents.first_block,
            lanes,
            positions,
            new_extents: Vec::new(),
            extent_limit_bytes: u64::MAX / 2,
        };
        leg.extent_limit_bytes = extent_limit(&leg.walk(blocks_of(&leg, contents.files)));
        let walk = |leg: &Leg| {
            let mut layout = leg.walk(blocks_of(leg, contents.files));
            let frames: Vec<_> = place_block(&geometry, &descriptor_lanes, &mut layout).collect();
            (layout, frames)
        };
        // Which extents are new does not depend on their numbers, so a first walk counts them.
        let (counted, _) = walk(&leg);
        let new = counted.extents_used().filter(|taken| taken.is_new);
        leg.new_extents = new
            .map(|taken| unused_extent_id(writer, self.volumes.of_lane(taken.lane).as_ref()))
            .collect::<Result<_, CommitError>>()?;
        let (layout, frames) = walk(&leg);
        let mut filled = Filled::default();
        filled.add(&layout);
        let block = contents.descriptor;
        let descriptor = PlannedDescriptor {
            block,
            geometry,
            frames,
        };
        Ok(PlannedLeg {
            leg,
            descriptor,
            filled,
        })
    }

    /// Says whether every lane lies on a volume that may be written to.
    pub(super) fn has_lanes(&self, lanes: &[LaneIndex]) -> bool {
        let has = |lane: &LaneIndex| {
            let volume = self.policy.lanes().volume_of(*lane);
            self.rooms.iter().any(|room| room.number == volume)
        };
        lanes.iter().all(has)
    }

    /// Returns the best lanes for the code of the files, or none when no file has bytes.
    pub(super) fn lanes_of(&self, files: &[PlannedFile]) -> Vec<LaneIndex> {
        let mut geometries = files.iter().map(|file| &file.record.geometry);
        geometries
            .find(|geometry| geometry.block_count() > 0)
            .map_or_else(Vec::new, |geometry| {
                let mut lanes = lanes_for_block(geometry.shape(), self.policy.lanes(), &self.rooms);
                if is_on(SeededBug::ShardsTogether) {
                    lanes[1] = lanes[0];
                }
                lanes
            })
    }

    /// Returns the lanes of the descriptor: those of the files where they have the same code, so that as few extents as can
    /// be are synced.
    fn descriptor_lanes(&self, lanes: &[LaneIndex]) -> Vec<LaneIndex> {
        let shape = self.policy.parts().tiny_shape;
        if lanes.len() == usize::from(shape.total()) {
            return lanes.to_vec();
        }
        lanes_for_block(shape, self.policy.lanes(), &self.rooms)
    }
}

fn blocks_of<'f>(leg: &Leg, files: &'f [PlannedFile]) -> impl Iterator<Item = BlockGeometry> + use<'f> {
    let first = leg.first_block.get();
    files.iter().flat_map(move |file| {
        let geometry = file.record.geometry;
        (first..geometry.block_count()).map(move |index| geometry.block(BlockIndex::new(index)))
    })
}
