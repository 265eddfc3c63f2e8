//! Room for frames that are written anew: in other extents than any that their blocks have frames in, never in place.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    archive::{
        commit::{
            Filled, FrameSink, FrameTarget, RoomNeed, check_room, extent_limit, lane_positions,
            unused_extent_id,
        },
        intents,
        owned::{OwnedExtents, Owner, own},
        shared::Shared,
    },
    catalog::{ExtentRecord, IntentRecord},
    error::CommitError,
    format::{EXTENT_HEADER_LEN_BYTES, FrameLayout},
    geometry::BlockGeometry,
    plan::{LaneLayout, LanePosition, Placement},
    units::{ExtentId, FileName, LaneIndex, ShardIndex, to_u64},
};

/// A frame that room is taken for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    pub(super) geometry: BlockGeometry,
    pub(super) shard: ShardIndex,
    /// Where it lies now.
    pub(super) extent: ExtentId,
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
        check_room(shared, &need, 0)?;
        intents::end_left_behind(shared);
        let session = shared.session()?;
        let volume = Arc::clone(shared.volumes.writable());
        let mut writer = shared.catalog.write()?;
        let extents: Vec<ExtentRecord> = writer.extents()?;
        let lane_of: BTreeMap<ExtentId, LaneIndex> =
            extents.iter().map(|extent| (extent.id, extent.lane)).collect();
        let open: Vec<ExtentRecord> = extents
            .into_iter()
            .filter(|extent| extent.volume == volume.id() && !avoided.contains(&extent.id))
            .collect();
        let frames: Vec<(LaneIndex, FrameLayout)> = wanted
            .iter()
            .map(|wanted| {
                let lane = lane_of.get(&wanted.extent).copied().unwrap_or(LaneIndex::new(0));
                let layout = FrameLayout::of_shard(&wanted.geometry, wanted.shard);
                (lane, layout.expect("only shards that are present are wanted"))
            })
            .collect();
        let lanes: BTreeSet<LaneIndex> = frames.iter().map(|(lane, _)| *lane).collect();
        let lanes: Vec<LaneIndex> = lanes.into_iter().collect();
        let positions = lane_positions(&mut writer, volume.as_ref(), &open, &lanes)?;
        // Which extents are new does not depend on their numbers, so a first walk counts them.
        let limit = extent_limit(&walk(&positions, Vec::new(), u64::MAX / 2, &frames).0);
        let (counted, _) = walk(&positions, Vec::new(), limit, &frames);
        let new_count = counted.extents_used().filter(|taken| taken.is_new).count();
        let new_extents = (0..new_count)
            .map(|_| unused_extent_id(&mut writer, volume.as_ref()))
            .collect::<Result<_, CommitError>>()?;
        let (layout, places) = walk(&positions, new_extents, limit, &frames);
        let mut filled = Filled::default();
        filled.add(&layout);
        check_room(shared, &need, filled.stored_bytes())?;
        let commit = writer.allocate_commit_id();
        own(&mut writer, (commit, volume.id()), &open, &filled)?;
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
            volume,
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
