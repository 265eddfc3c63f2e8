//! Room for frames that are written anew: in other extents than any that their blocks have frames in, never in place.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    archive::{
        commit::{
            Filled, FrameSink, FrameTarget, RoomNeed, RoomWanted, check_room, extent_limit, lane_positions,
            unused_extent_id,
        },
        intents,
        owned::{OwnedExtents, Owner, own},
        shared::Shared,
        volumes::{Member, Volumes},
    },
    catalog::{ExtentRecord, IntentRecord},
    error::CommitError,
    format::{EXTENT_HEADER_LEN_BYTES, FrameLayout},
    geometry::BlockGeometry,
    plan::{LaneLayout, LanePosition, Placement},
    units::{BlockId, ExtentId, FileName, LaneIndex, ShardIndex, to_u64},
};

/// A frame that room is taken for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) geometry: BlockGeometry,
    pub(super) shard: ShardIndex,
    /// Where it lies now.
    pub(super) extent: ExtentId,
    /// Its block: no two frames of one go to one lane.
    pub(super) block: BlockId,
    /// The number of the volume that it goes to; without one it stays on its own, where that takes it.
    pub(super) volume: Option<u16>,
}

/// The room of one repair.
#[derive(Debug)]
pub(super) struct RepairRoom {
    pub(super) owned: OwnedExtents,
    places: Vec<(Placement, FrameLayout)>,
}

impl RepairRoom {
    /// Takes room: one transaction that makes an intent and marks extents as owned, then the extents themselves. None of
    /// `avoided` is written to.
    pub(super) fn take(
        shared: &Shared,
        name: &FileName,
        wanted: &[Wanted],
        avoided: &BTreeSet<ExtentId>,
    ) -> Result<Self, CommitError> {
        let need = RoomNeed::of_repair(name.clone(), wanted.len());
        check_room(shared, &need, &RoomWanted::default())?;
        intents::end_left_behind(shared);
        let session = shared.session()?;
        let mut writer = shared.catalog.write()?;
        shared.keep_up_with(&writer)?;
        let volumes = shared.volumes();
        let extents: Vec<ExtentRecord> = writer.extents()?;
        let targets = Targets::of(&volumes, &extents)?;
        let frames = targets.frames(wanted);
        let open: Vec<ExtentRecord> = extents
            .into_iter()
            .filter(|extent| !avoided.contains(&extent.id) && volumes.writable(extent.volume).is_some())
            .collect();
        let lanes: BTreeSet<LaneIndex> = frames.iter().map(|(lane, _)| *lane).collect();
        let lanes: Vec<LaneIndex> = lanes.into_iter().collect();
        let positions = lane_positions(&mut writer, &volumes, &open, &lanes)?;
        // Which extents are new does not depend on their numbers, so a first walk counts them.
        let limit = extent_limit(&walk(&positions, Vec::new(), u64::MAX / 2, &frames).0);
        let (counted, _) = walk(&positions, Vec::new(), limit, &frames);
        let new = counted.extents_used().filter(|taken| taken.is_new);
        let new_extents = new
            .map(|taken| unused_extent_id(&mut writer, volumes.of_lane(taken.lane).as_ref()))
            .collect::<Result<_, CommitError>>()?;
        let (layout, places) = walk(&positions, new_extents, limit, &frames);
        let mut filled = Filled::default();
        filled.add(&layout);
        check_room(shared, &need, &RoomWanted::of(volumes.lanes(), &filled))?;
        let commit = writer.allocate_commit_id();
        own(&mut writer, (commit, &volumes), &open, &filled)?;
        writer.put_intent(&IntentRecord {
            commit,
            session: Some(session),
            begun_at: shared.now(),
            name: name.clone(),
            others: 0,
            resumable: None,
        })?;
        writer.commit()?;
        let owner = Owner {
            commit,
            session,
            volumes,
        };
        let written = filled.clone();
        let mut owned = OwnedExtents::of_new_commit(shared, owner, (filled, written));
        if let Err(error) = owned.open(shared) {
            return match owned.give_back(shared) {
                Ok(()) | Err(_) => Err(error.into()),
            };
        }
        let layouts = frames.into_iter().map(|(_, layout)| layout);
        Ok(Self {
            owned,
            places: places.into_iter().zip(layouts).collect(),
        })
    }

    /// Returns the frames in the order in which they were wanted.
    pub(super) fn frames(&self) -> impl Iterator<Item = FrameTarget> {
        self.places.iter().map(|(place, layout)| FrameTarget {
            sink: FrameSink::Extent(Arc::clone(self.owned.writer(place.extent))),
            place: *place,
            layout: *layout,
        })
    }
}

/// Where frames go that are written anew.
struct Targets<'a> {
    volumes: &'a Volumes,
    lane_of: BTreeMap<ExtentId, LaneIndex>,
    /// The volume for those whose own takes no writes.
    fallback: u16,
}

impl<'a> Targets<'a> {
    fn of(volumes: &'a Volumes, extents: &[ExtentRecord]) -> Result<Self, CommitError> {
        // One that does not even say what is free has gone away; whoever writes there finds out.
        let free = |member: &Member| Some((member.volume.free_bytes().ok()?, member.record.number));
        let roomiest = volumes.for_files().filter_map(free).max();
        let (_, fallback) = roomiest.ok_or(CommitError::NoVolume)?;
        Ok(Self {
            volumes,
            lane_of: extents.iter().map(|extent| (extent.id, extent.lane)).collect(),
            fallback,
        })
    }

    /// Returns the lane and the layout of each frame.
    fn frames(&self, wanted: &[Wanted]) -> Vec<(LaneIndex, FrameLayout)> {
        let mut used = BTreeSet::new();
        let frame = |wanted: &Wanted| {
            let layout = FrameLayout::of_shard(&wanted.geometry, wanted.shard);
            let layout = layout.expect("only shards that are present are wanted");
            (self.lane_for(wanted, &mut used), layout)
        };
        wanted.iter().map(frame).collect()
    }

    /// Returns the lane for a frame: the one that it lies on, so that shards stay as far from each other as they are; where
    /// nothing may be written there, the lane of that place on another volume. A lane that the block uses already gives way to
    /// the next.
    fn lane_for(&self, wanted: &Wanted, used: &mut BTreeSet<(BlockId, LaneIndex)>) -> LaneIndex {
        let lanes = self.volumes.lanes();
        let lane = self
            .lane_of
            .get(&wanted.extent)
            .copied()
            .unwrap_or(LaneIndex::new(0));
        let own = lanes.volume_of(lane);
        let takes_files = |member: &Member| member.record.number == own;
        let stays = || self.volumes.for_files().any(takes_files).then_some(own);
        let number = wanted.volume.or_else(stays).unwrap_or(self.fallback);
        let first = lanes.lane_of_volume(lane);
        let all = (0..lanes.per_volume()).map(|step| (first + step) % lanes.per_volume());
        let all = all.filter_map(|lane| lanes.lane(number, lane));
        let free = all.into_iter().find(|lane| used.insert((wanted.block, *lane)));
        free.expect("a volume has a lane for every shard of a block")
    }
}

fn walk(
    positions: &[Option<LanePosition>],
    new_extents: Vec<ExtentId>,
    extent_limit_bytes: u64,
    frames: &[(LaneIndex, FrameLayout)],
) -> (LaneLayout, Vec<Placement>) {
    let header = to_u64(EXTENT_HEADER_LEN_BYTES);
    let mut layout = LaneLayout::new(positions, new_extents, extent_limit_bytes, header);
    let places = frames
        .iter()
        .map(|(lane, frame)| layout.place(*lane, frame.total_len_bytes(), frame.alignment_bytes()))
        .collect();
    (layout, places)
}
