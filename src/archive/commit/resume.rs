//! Going on with a commit: after a crash, or away from an extent that failed.
//!
//! What it goes on from is verified first: every frame since the last point of progress but one is read and compared with
//! its digest, and its leaves must fold from one point to the other. Everything behind the point is written again, into
//! ranges that are cut off before (P1: no byte of an extent is written twice).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    leg_plan::{LegContents, LegPlanner, PlannedFile, PlannedLeg, descriptor_len_bytes},
    legs::{Filled, Leg, place_block},
    outer::{Going, OuterSums},
    reservation::Reservation,
    resumable::abandon,
    room::{RoomNeed, RoomWanted, check_room},
    writing::Done,
};
use rayon::prelude::{IntoParallelRefIterator as _, ParallelIterator as _};

use crate::{
    archive::{
        called::Called,
        intents::{self, Afterwards, release},
        owned::{OwnedExtents, Owner, own},
        read::BlockReader,
        shared::{CODED_STRIP_LEN_BYTES, Shared},
        volumes::Volumes,
    },
    catalog::{
        BlockRecord, CatalogWriter, ExtentState, FileRecord, IntentRecord, ProgressRecord, ResumableRecord,
        ShardRecord,
    },
    error::{CatalogError, CommitError},
    format::{ClaimedFrame, FRAME_HEADER_LEN_BYTES, FrameFooter, FrameIdentity, FrameLayout},
    merkle::RootFolder,
    plan::{ExtentUse, LanePosition, Placement, Strip, strips_of_block},
    seeded_bugs::{SeededBug, is_on},
    units::{BlockId, BlockIndex, ColumnIndex, CommitId, ShardIndex, to_u64, to_usize},
};

/// Goes on with a commit whose intent belongs to this session already, from the last point that holds. The caller holds that it
/// is under way.
pub(super) fn go_on(shared: &Shared, commit: CommitId) -> Result<(Reservation, Done), CommitError> {
    let session = shared.session()?;
    let intent = shared.catalog.read()?.intent(commit)?;
    let intent = intent
        .filter(|intent| intent.session == Some(session))
        .ok_or(CommitError::OwnershipLost { commit })?;
    let resumable = intent.resumable.as_ref().expect("only resumable commits go on");
    let ground = Ground {
        shared,
        commit,
        legs: resumable.legs.iter().map(Leg::from_record).collect(),
        file: planned_file(&intent, resumable),
    };
    let (mut done, mut kept) = ground.last_point_that_holds(&resumable.progress);
    match ground.open_group(&done)? {
        OpenGroup::None => {}
        OpenGroup::Open(outer) => done.outer = Some(*outer),
        OpenGroup::Damaged => (done, kept) = (Done::nothing(&ground.file.record.geometry), 0),
    }
    let mut planned = plan_leg(shared, &intent, &ground, (&done, kept));
    if let Err(CommitError::Catalog {
        source: CatalogError::RowTooLong { .. },
    }) = planned
    {
        // The row of the intent has no room for another leg: better all of it again than never.
        done = Done::nothing(&ground.file.record.geometry);
        planned = plan_leg(shared, &intent, &ground, (&done, 0));
    }
    let mut reservation = planned?;
    reservation.owned.open(shared)?;
    cut_off_rest(shared, &reservation)?;
    Ok((reservation, done))
}

/// Cuts off what earlier legs have taken behind the point, in extents that this leg puts nothing into: the descriptor may go
/// elsewhere now, or fewer lanes are left to write. What is written to is cut when it is opened.
fn cut_off_rest(shared: &Shared, reservation: &Reservation) -> Result<(), CommitError> {
    if is_on(SeededBug::SpareRoomKept) {
        return Ok(());
    }
    let is_idle = |taken: &&ExtentUse| reservation.written.get(taken.extent).is_none();
    for taken in reservation.filled.extents().filter(is_idle) {
        let extent = shared.catalog.read()?.extent(taken.extent)?;
        if extent.is_none_or(|extent| extent.state != ExtentState::Open) {
            continue;
        }
        let end_bytes = taken.published_end_bytes();
        let volume = reservation.volumes().of_lane(taken.lane);
        let cut = volume.resume_extent(taken.extent, end_bytes).map(drop);
        // Nobody goes on where that fails, and the next opening that can cuts it back.
        cut.or_else(|error| abandon(shared, reservation.commit(), &error.into()))?;
    }
    Ok(())
}

/// Returns the record that the file of an intent will have.
fn planned_file(intent: &IntentRecord, resumable: &ResumableRecord) -> PlannedFile {
    let geometry = resumable.geometry;
    PlannedFile {
        record: FileRecord {
            kind: crate::catalog::EntryKind::File,
            id: resumable.file,
            name: intent.name.clone(),
            mode: resumable.mode,
            modified_at: resumable.source.modified_at,
            committed_at: intent.begun_at,
            version: 1,
            is_kept: false,
            commit: intent.commit,
            geometry,
            root: RootFolder::new(geometry.leaf()).finish(),
            stored_bytes: 0,
        },
        first_block: resumable.first_block.get(),
    }
}

/// The group that a commit goes on in.
enum OpenGroup {
    /// Nothing is grouped, or nothing is left to do.
    None,
    /// What its blocks have added to its outer parity.
    Open(Box<OuterSums>),
    /// It cannot be gone on with: too much of it is damaged already.
    Damaged,
}

/// What an interrupted commit has left on its volume.
struct Ground<'a> {
    shared: &'a Shared,
    commit: CommitId,
    legs: Vec<Leg>,
    file: PlannedFile,
}

impl Ground<'_> {
    /// Returns the last point whose frames are there and right, and how many points stay valid with it; the start where
    /// none is.
    fn last_point_that_holds(&self, points: &[ProgressRecord]) -> (Done, usize) {
        for (index, point) in points.iter().enumerate().rev() {
            let before = index.checked_sub(1).map(|index| &points[index]);
            if let Some(done) = self.verify(point, before) {
                return (done, index + 1);
            }
        }
        (Done::nothing(&self.file.record.geometry), 0)
    }

    /// Looks at every frame before a point, and reads those since the point before it.
    fn verify(&self, point: &ProgressRecord, before: Option<&ProgressRecord>) -> Option<Done> {
        let geometry = &self.file.record.geometry;
        if point.blocks > geometry.block_count() {
            return None;
        }
        let blocks = self.blocks_before(point.blocks)?;
        if is_on(SeededBug::ProgressNotVerified) {
            let folder = RootFolder::from_state(geometry.leaf(), point.folder.clone());
            return Some(Done {
                blocks,
                folder,
                outer: None,
            });
        }
        let mut folder = match before {
            Some(before) => RootFolder::from_state(geometry.leaf(), before.folder.clone()),
            None => RootFolder::new(geometry.leaf()),
        };
        let verify_from = before.map_or(0, |before| before.blocks);
        for block in blocks.iter().filter(|block| block.index.get() >= verify_from) {
            self.verify_block(block, &mut folder)?;
        }
        (folder.state() == point.folder).then_some(Done {
            blocks,
            folder,
            outer: None,
        })
    }

    /// Collects the records of the blocks before an index from the headers of their frames.
    fn blocks_before(&self, end: u64) -> Option<Vec<BlockRecord>> {
        let mut blocks = Vec::new();
        let ends = self
            .legs
            .iter()
            .skip(1)
            .map(|leg| leg.first_block.get())
            .chain([end]);
        for (leg, leg_end) in self.legs.iter().zip(ends) {
            let mut layout = leg.layout();
            for index in leg.first_block.get()..leg_end.min(end) {
                let index = BlockIndex::new(index);
                let geometry = self.file.record.geometry.block(index);
                let placed: Vec<_> = place_block(&geometry, &leg.lanes, &mut layout).collect();
                let id = self.file.block_id(index);
                let shards = geometry
                    .shards()
                    .zip(placed)
                    .map(|(shard, placed)| match placed {
                        Some(placed) => self.shard(id, shard, placed).map(Some),
                        None => Some(None),
                    })
                    .collect::<Option<Vec<_>>>()?;
                blocks.push(BlockRecord {
                    id,
                    file: self.file.record.id,
                    index,
                    reference_count: 1,
                    geometry,
                    shards,
                });
            }
        }
        Some(blocks)
    }

    /// Reads the header of a frame, which says what digest its shard has, and its footer: an extent that ends inside its last
    /// frame cannot be gone on with, and what was written behind it since may have torn the sector that it ends in.
    fn shard(
        &self,
        block: BlockId,
        shard: ShardIndex,
        (place, frame): (Placement, FrameLayout),
    ) -> Option<ShardRecord> {
        let volume = self.shared.volumes().of_extent(place.extent);
        let mut head = [0; FRAME_HEADER_LEN_BYTES];
        volume.read_at(place.extent, place.offset, &mut head).ok()?;
        let footer = frame.footer();
        let mut tail = vec![0; to_usize(frame.total_len_bytes() - footer.start())];
        volume
            .read_at(place.extent, place.offset + footer.start(), &mut tail)
            .ok()?;
        let ends = FrameFooter::parse(&tail).ok()?;
        if (ends.block(), ends.shard()) != (block, shard) {
            return None;
        }
        let identity = FrameIdentity {
            archive: self.shared.archive_id(),
            volume: volume.id(),
            extent: place.extent,
            offset: place.offset,
            block,
            shard,
        };
        let found = ClaimedFrame::parse(&head).ok()?.check(&identity).ok()?;
        (found.header().commit() == self.commit && *found.layout() == frame).then(|| ShardRecord {
            extent: place.extent,
            offset: place.offset,
            frame_len_bytes: frame.total_len_bytes(),
            digest: found.header().digest(),
        })
    }

    /// Adds the blocks of the open group that are done to the sums of its outer parity: from their own frames, verified, and decoded
    /// where they are damaged.
    fn open_group(&self, done: &Done) -> Result<OpenGroup, CommitError> {
        let geometry = &self.file.record.geometry;
        let first = BlockIndex::new(to_u64(done.blocks.len()));
        let Some(outer) = OuterSums::new(geometry, first)? else {
            return Ok(OpenGroup::None);
        };
        let group = geometry.group_of(first).expect("blocks are grouped");
        let of_group = &done.blocks[to_usize(group.data_blocks().start)..];
        let data = of_group.len().min(usize::from(group.code().data()));
        for record in &of_group[..data] {
            if self.add_to_sums(&outer, record).is_none() {
                return Ok(OpenGroup::Damaged);
            }
        }
        outer.count_as_read(&group, to_u64(of_group.len() - data));
        Ok(OpenGroup::Open(Box::new(outer)))
    }

    fn add_to_sums(&self, outer: &OuterSums, record: &BlockRecord) -> Option<()> {
        let called = Called::of(&self.file.record);
        let block = BlockReader::new(self.shared.volumes(), called, record.clone());
        let geometry = record.geometry;
        let data = || geometry.shards().filter(|&shard| geometry.is_data(shard));
        let strips: Vec<Strip> = strips_of_block(record.index, &geometry, CODED_STRIP_LEN_BYTES).collect();
        let add = |strip: &Strip| {
            for shard in data() {
                let columns = strip.columns.start..strip.columns.end.min(geometry.leaf_count(shard));
                let mut leaves = vec![0; block.run_len(shard, columns.clone())];
                if leaves.is_empty() {
                    continue;
                }
                let first = ColumnIndex::new(columns.start);
                block.read_run(shard, columns, &mut leaves, &()).ok()?;
                let going = outer.add_leaves(record.index, (shard, first), &leaves);
                assert_eq!(going, Going::On, "nobody else works on it yet");
            }
            Some(())
        };
        self.shared
            .workers
            .install(|| strips.par_iter().map(add).collect::<Option<()>>())?;
        outer.finish_block(record.index);
        let mut hashes = Vec::new();
        for shard in data().filter(|&shard| geometry.is_present(shard)) {
            hashes.extend(block.table(shard, &())?.iter().copied());
        }
        let going = outer.add_tables(record.index, &hashes);
        assert_eq!(going, Going::On, "nobody else works on it yet");
        Some(())
    }

    /// Reads every shard of a block and folds the leaves of its data.
    fn verify_block(&self, record: &BlockRecord, folder: &mut RootFolder) -> Option<()> {
        let called = Called::of(&self.file.record);
        let block = BlockReader::new(self.shared.volumes(), called, record.clone());
        let geometry = record.geometry;
        for shard in geometry.shards().filter(|&shard| geometry.is_present(shard)) {
            let found = block.hash_payload(shard).ok()?;
            if found.digest() != block.shard(shard)?.digest {
                return None;
            }
            if geometry.is_data(shard) && !geometry.is_outer_parity() {
                found.iter().for_each(|leaf| folder.push(*leaf));
            }
        }
        Some(())
    }
}

/// Begins a leg behind what is done: one transaction, as T0. What earlier legs took and did not fill is given back in it.
fn plan_leg(
    shared: &Shared,
    intent: &IntentRecord,
    ground: &Ground<'_>,
    (done, points_kept): (&Done, usize),
) -> Result<Reservation, CommitError> {
    let need = RoomNeed::of_entries(
        intent.name.clone(),
        [(ground.file.record.text_len_bytes(), ground.file.record.geometry)].into_iter(),
    );
    let mut writer = shared.catalog.write()?;
    shared.keep_up_with(&writer)?;
    let volumes = shared.volumes();
    intents::check_ours(&writer, intent)?;
    let first_block = BlockIndex::new(to_u64(done.blocks.len()));
    let before = Filled::of_legs(&ground.legs, &ground.file.record.geometry, first_block);
    for extent in writer.extents()? {
        if extent.owner == Some(intent.commit) && before.get(extent.id).is_none() {
            release(shared, &mut writer, &extent, Afterwards::GoOn)?;
        }
    }
    let mut resumable = intent.resumable.clone().expect("only resumable commits go on");
    let planner = LegPlanner::new(shared, &writer, (&volumes, &BTreeSet::new()))?;
    let positions = positions_after(&planner, &before);
    let files = vec![ground.file.clone()];
    // A new one: what an earlier leg may have written under its own is given back.
    let descriptor = writer.allocate_block_ids(1).next().expect("one was asked for");
    let contents = LegContents {
        files: &files,
        first_block,
        descriptor,
        descriptor_len_bytes: descriptor_len_bytes(shared, &files),
    };
    let mut lanes = ground.legs.last().expect("a commit has a leg").lanes.clone();
    if !planner.has_lanes(&lanes) {
        // A volume is gone, and others take its part.
        lanes = planner.lanes_of(&files);
    }
    let PlannedLeg {
        leg,
        descriptor,
        filled: written,
    } = planner.leg(&mut writer, (lanes, positions), contents)?;
    // What earlier legs have preallocated behind the point is room that it has already.
    let held = held_bytes(&volumes, &before)?;
    check_room(
        shared,
        &need,
        &RoomWanted::of(volumes.lanes(), &written).without(&held),
    )?;
    own(&mut writer, (intent.commit, &volumes), &planner.extents, &written)?;
    resumable.legs.retain(|leg| leg.first_block < first_block);
    resumable.legs.push(leg.to_record());
    resumable.progress.truncate(points_kept);
    let mut filled = before;
    filled.add_all(&written);
    put(&mut writer, intent, resumable)?;
    writer.commit()?;
    let owner = Owner {
        commit: intent.commit,
        session: intent.session.expect("the intent is ours"),
        volumes: Arc::clone(&volumes),
    };
    Ok(Reservation {
        files,
        leg,
        descriptor,
        owned: OwnedExtents::of_commit_under_way(owner, (filled, written)),
    })
}

/// Returns the bytes that extents have behind what is filled of them, by the number of their volume.
fn held_bytes(volumes: &Volumes, filled: &Filled) -> Result<BTreeMap<u16, u64>, CommitError> {
    let mut held = BTreeMap::new();
    for member in volumes.for_files() {
        let here: &mut u64 = held.entry(member.record.number).or_default();
        for stat in member.volume.extents()? {
            let end_bytes = filled.get(stat.extent).map(|taken| taken.end_bytes);
            *here += end_bytes.map_or(0, |end_bytes| stat.len_bytes.saturating_sub(end_bytes));
        }
    }
    Ok(held)
}

fn put(
    writer: &mut CatalogWriter,
    intent: &IntentRecord,
    resumable: ResumableRecord,
) -> Result<(), CommitError> {
    Ok(writer.put_intent(&IntentRecord {
        resumable: Some(resumable),
        ..intent.clone()
    })?)
}

/// Returns where each lane goes on: in the extent that its last frame lies in, unless that has failed or is full.
fn positions_after(planner: &LegPlanner<'_>, before: &Filled) -> Vec<Option<LanePosition>> {
    let lanes = before.extents().map(|taken| usize::from(taken.lane.get()) + 1);
    let mut positions = vec![None; lanes.max().unwrap_or(0)];
    for taken in before.extents().filter(|taken| !taken.is_full) {
        // Those that may not be written to are not among them.
        let known = planner.extents.iter().find(|extent| extent.id == taken.extent);
        if known.is_some_and(|extent| extent.state == ExtentState::Open) {
            positions[usize::from(taken.lane.get())] = Some(LanePosition {
                extent: taken.extent,
                end_bytes: taken.end_bytes,
            });
        }
    }
    positions
}
