//! Moving everything off a volume: its shards are written anew on others, and found there from then on.
//!
//! It is a repair of shards that need not be damaged: copied from where they are while that can be read, decoded where not. A
//! crash anywhere leaves each shard at its old place or at a valid new one, and doing it again moves the rest.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{
    anew::{Tally, store_anew},
    rebuild::BlockRebuild,
    room::{RepairRoom, Wanted},
    shared_groups::SharedGroups,
    subject::Subject,
};
use crate::{
    archive::{
        observer::Observer,
        pace::Pace,
        shared::Shared,
        volumes::{Member, Volumes},
    },
    catalog::{ExtentRecord, ShardOwner, ShardPlace, ShardRecord},
    error::{CommitError, RepairError},
    geometry::{spread_counts, volumes_survived},
    plan::{Budget, RateLimit},
    units::{ExtentId, FileId, ShardIndex, VolumeId, to_u64},
};

/// Shards that are looked up at a time.
const PAGE_LEN: usize = 256;

/// Bytes of frames that are written before they are published.
const BATCH_LEN_BYTES: u64 = 256 << 20;

/// How everything is moved off a volume.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MoveOptions {
    /// Bytes of frames that are written in a second at most.
    pub rate: Option<RateLimit>,
}

/// What has come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[must_use]
pub struct MoveReport {
    /// Shards that were written anew on other volumes.
    pub shards_moved: u64,
    /// Bytes of their frames.
    pub bytes_written: u64,
    /// Shards that are still there: they cannot be read, and too little is left of their blocks to make them again, or a
    /// commit is under way there.
    pub shards_left: u64,
}

/// Moves everything off a volume: to the one of that number, or to all others that take files.
pub(in crate::archive) fn move_off(
    shared: &Arc<Shared>,
    (from, to): (VolumeId, Option<u16>),
    options: MoveOptions,
    observer: &dyn Observer,
) -> Result<MoveReport, RepairError> {
    let mut mover = Mover::new(shared, Aim::Off { from, to }, options, observer);
    // What commits that were under way have put there meanwhile is moved by another pass.
    loop {
        let before = mover.tally.shards;
        mover.pass(from)?;
        let left = shards_on(shared, from)?;
        if left == 0 || mover.tally.shards == before {
            return Ok(MoveReport {
                shards_moved: mover.tally.shards,
                bytes_written: mover.tally.bytes,
                shards_left: left,
            });
        }
    }
}

/// Spreads blocks over more volumes that lie on fewer than they could, and survive less for it: they were stored when there
/// were fewer volumes, or some were away.
pub(in crate::archive) fn spread(
    shared: &Arc<Shared>,
    options: MoveOptions,
    observer: &dyn Observer,
) -> Result<MoveReport, RepairError> {
    let mut mover = Mover::new(shared, Aim::Spread, options, observer);
    mover.spread_all()?;
    Ok(MoveReport {
        shards_moved: mover.tally.shards,
        bytes_written: mover.tally.bytes,
        shards_left: 0,
    })
}

/// Writes everything that lives in some extents anew, in other extents of the same volumes; the volumes take files.
pub(in crate::archive) fn empty_extents(
    shared: &Arc<Shared>,
    extents: &BTreeSet<ExtentId>,
    options: MoveOptions,
    observer: &dyn Observer,
) -> Result<MoveReport, RepairError> {
    let mut mover = Mover::new(shared, Aim::Elsewhere, options, observer);
    mover.left_alone.clone_from(extents);
    mover.pass_over(extents)?;
    Ok(MoveReport {
        shards_moved: mover.tally.shards,
        bytes_written: mover.tally.bytes,
        shards_left: 0,
    })
}

/// Returns how many shards live on a volume.
pub(in crate::archive) fn shards_on(shared: &Shared, volume: VolumeId) -> Result<u64, RepairError> {
    let extents = extents_on(shared, volume)?;
    Ok(extents.iter().map(|extent| extent.live_shards).sum())
}

fn extents_on(shared: &Shared, volume: VolumeId) -> Result<Vec<ExtentRecord>, RepairError> {
    let mut extents = shared.catalog.read()?.extents()?;
    extents.retain(|extent| extent.volume == volume && extent.live_shards > 0);
    Ok(extents)
}

/// What shards are moved for.
#[derive(Debug, Clone, Copy)]
enum Aim {
    /// A volume is to be empty; everything goes to the one of a number, or to all others.
    Off { from: VolumeId, to: Option<u16> },
    /// Blocks are to survive the loss of as many volumes as they can.
    Spread,
    /// Extents are to be empty; every shard stays on its volume.
    Elsewhere,
}

struct Mover<'a> {
    shared: &'a Arc<Shared>,
    aim: Aim,
    pace: Pace<'a>,
    observer: &'a dyn Observer,
    tally: Tally,
    /// Blocks of which some shard cannot be made anew.
    stuck: BTreeSet<ShardOwner>,
    /// Extents that nothing is written to.
    left_alone: BTreeSet<ExtentId>,
    /// Where files go that stay whole on one volume.
    of_file: BTreeMap<FileId, u16>,
}

/// A block and its shards that are moved.
struct BlockMove {
    subject: Subject,
    shards: Vec<(ShardIndex, ShardRecord)>,
}

impl<'a> Mover<'a> {
    fn new(shared: &'a Arc<Shared>, aim: Aim, options: MoveOptions, observer: &'a dyn Observer) -> Self {
        let clock = Arc::clone(&shared.machine().clock);
        Self {
            shared,
            aim,
            pace: Pace::new((Budget::UNLIMITED, options.rate), clock, observer),
            observer,
            tally: Tally::default(),
            stuck: BTreeSet::new(),
            left_alone: BTreeSet::new(),
            of_file: BTreeMap::new(),
        }
    }

    /// Goes through all blocks, in disk order of their first shards.
    fn spread_all(&mut self) -> Result<(), RepairError> {
        let (mut after, mut batch, mut len_bytes) = (None, BTreeMap::new(), 0);
        loop {
            let page = self.shared.catalog.read()?.shards_page(after, PAGE_LEN)?;
            after = page.last().map(|place| (place.extent, place.offset));
            for place in page.iter().filter(|place| place.shard == ShardIndex::new(0)) {
                let Some(block) = self.surplus_of(place.owner)? else {
                    continue;
                };
                len_bytes += block.len_bytes();
                batch.insert(place.owner, block);
                if len_bytes >= BATCH_LEN_BYTES {
                    self.move_batch(std::mem::take(&mut batch), len_bytes)?;
                    len_bytes = 0;
                }
            }
            if page.len() < PAGE_LEN {
                break;
            }
        }
        self.move_batch(batch, len_bytes)
    }

    /// Returns a block with the shards that too many of it lie beside; `None` for one that lies as well as it can.
    fn surplus_of(&self, owner: ShardOwner) -> Result<Option<BlockMove>, RepairError> {
        let Some(subject) = Subject::find(self.shared, owner)? else {
            return Ok(None);
        };
        let volumes = self.shared.volumes();
        let count = u16::try_from(volumes.for_files().count())
            .unwrap_or(u16::MAX)
            .max(1);
        let shape = subject.record.geometry.shape();
        let wanted = spread_counts(shape, count);
        let indexed = (0..).map(ShardIndex::new).zip(&subject.record.shards);
        let mut by_volume: BTreeMap<Option<u16>, Vec<(ShardIndex, ShardRecord)>> = BTreeMap::new();
        for (index, shard) in indexed {
            let Some(shard) = shard else { continue };
            let number = volumes.number_of(shard.extent);
            by_volume.entry(number).or_default().push((index, *shard));
        }
        let counts: Vec<u16> = by_volume
            .values()
            .map(|shards| u16::try_from(shards.len()).unwrap_or(u16::MAX))
            .collect();
        if volumes_survived(&counts, shape.parity()) >= volumes_survived(&wanted, shape.parity()) {
            return Ok(None);
        }
        // The fullest keeps most.
        let mut fullest_first: Vec<_> = by_volume.into_values().collect();
        fullest_first.sort_by_key(|shards| usize::MAX - shards.len());
        let shares = wanted.into_iter().chain(core::iter::repeat(0));
        let surplus = fullest_first.into_iter().zip(shares);
        let surplus = surplus.flat_map(|(shards, share)| shards.into_iter().skip(usize::from(share)));
        let shards: Vec<(ShardIndex, ShardRecord)> = surplus.collect();
        Ok((!shards.is_empty()).then_some(BlockMove { subject, shards }))
    }

    /// Moves what is on the volume that is to be empty, in disk order.
    fn pass(&mut self, from: VolumeId) -> Result<(), RepairError> {
        let extents = extents_on(self.shared, from)?;
        self.pass_over(&extents.iter().map(|extent| extent.id).collect())
    }

    /// Moves what is in some extents, in disk order.
    fn pass_over(&mut self, ids: &BTreeSet<ExtentId>) -> Result<(), RepairError> {
        let mut batch: BTreeMap<ShardOwner, BlockMove> = BTreeMap::new();
        let mut len_bytes = 0;
        for extent in ids {
            let mut after = None;
            loop {
                let page = self.page(*extent, after)?;
                after = page.last().map(|place| place.offset);
                let owners: BTreeSet<ShardOwner> = page.iter().map(|place| place.owner).collect();
                for owner in owners {
                    if batch.contains_key(&owner) || self.stuck.contains(&owner) {
                        continue;
                    }
                    let Some(block) = self.block_of(owner, ids)? else {
                        continue;
                    };
                    len_bytes += block.len_bytes();
                    batch.insert(owner, block);
                    if len_bytes >= BATCH_LEN_BYTES {
                        self.move_batch(std::mem::take(&mut batch), len_bytes)?;
                        len_bytes = 0;
                    }
                }
                if page.len() < PAGE_LEN {
                    break;
                }
            }
        }
        self.move_batch(batch, len_bytes)
    }

    fn page(&self, extent: ExtentId, after: Option<u64>) -> Result<Vec<ShardPlace>, RepairError> {
        let reader = self.shared.catalog.read()?;
        Ok(reader.shards_of_extent(extent, after, PAGE_LEN)?)
    }

    /// Returns a block with those of its shards that lie in some extents. All of them are moved together, so that it is decoded
    /// once; it is met with its first.
    fn block_of(
        &self,
        owner: ShardOwner,
        extents: &BTreeSet<ExtentId>,
    ) -> Result<Option<BlockMove>, RepairError> {
        let Some(subject) = Subject::find(self.shared, owner)? else {
            return Ok(None);
        };
        let indexed = (0..).map(ShardIndex::new).zip(&subject.record.shards);
        let present = indexed.filter_map(|(index, shard)| Some((index, (*shard)?)));
        let shards: Vec<(ShardIndex, ShardRecord)> = present
            .filter(|(_, shard)| extents.contains(&shard.extent))
            .collect();
        Ok((!shards.is_empty()).then_some(BlockMove { subject, shards }))
    }

    fn move_batch(
        &mut self,
        batch: BTreeMap<ShardOwner, BlockMove>,
        len_bytes: u64,
    ) -> Result<(), RepairError> {
        let batch: Vec<BlockMove> = batch.into_values().collect();
        let Some(first) = batch.first() else {
            return Ok(());
        };
        if !self.pace.allows(len_bytes) {
            return Err(RepairError::Cancelled);
        }
        let name = first.subject.called.name.clone();
        let volumes = self.shared.volumes();
        let mut wanted = Vec::new();
        let mut avoided = self.left_alone.clone();
        for block in &batch {
            let targets = self.targets(&volumes, block)?;
            wanted.extend(
                block
                    .shards
                    .iter()
                    .zip(targets)
                    .map(|((shard, record), number)| Wanted {
                        geometry: block.subject.record.geometry,
                        shard: *shard,
                        extent: record.extent,
                        block: block.subject.record.id,
                        volume: Some(number),
                    }),
            );
            avoided.extend(block.subject.extents());
        }
        let shared = self.shared;
        let make = |room: &RepairRoom| {
            let mut groups = SharedGroups::default();
            let mut frames = room.frames();
            let blocks = batch.iter().map(|block| {
                let shards = block.shards.iter().map(|(shard, _)| *shard);
                let frames: Vec<_> = shards.zip(frames.by_ref()).collect();
                let subject = &block.subject;
                BlockRebuild::new(
                    (subject.reader(shared), subject.owner, subject.identity()),
                    groups.of(shared, subject),
                    None,
                    frames.into_iter(),
                    &BTreeMap::new(),
                )
            });
            blocks.collect()
        };
        let take = || RepairRoom::take(shared, &name, &wanted, &avoided);
        let blocks = store_anew(shared, (&take, &make), &mut self.tally, self.observer)?;
        let is_stuck = |block: &&BlockRebuild| block.rebuilt().len() < block.targets.len();
        self.stuck
            .extend(blocks.iter().filter(is_stuck).map(|block| block.owner));
        note_what_was_met(shared, &blocks);
        Ok(())
    }

    /// Chooses a volume for each shard of a block that is moved: the one that all go to; or one for all blocks of a file whose
    /// code would not survive being spread; or, of the others, those with the fewest shards of the block.
    fn targets(&mut self, volumes: &Volumes, block: &BlockMove) -> Result<Vec<u16>, RepairError> {
        let from = match self.aim {
            Aim::Off { to: Some(to), .. } => return Ok(vec![to; block.shards.len()]),
            Aim::Off { from, to: None } => Some(from),
            Aim::Spread => None,
            Aim::Elsewhere => {
                let own = |(_, record): &(ShardIndex, ShardRecord)| volumes.number_of(record.extent);
                let own: Option<Vec<u16>> = block.shards.iter().map(own).collect();
                return Ok(own.ok_or(CommitError::NoVolume)?);
            }
        };
        let mut rooms: Vec<Candidate> = Vec::new();
        for member in volumes
            .for_files()
            .filter(|member| Some(member.record.id) != from)
        {
            // One that does not even say what is free has gone away.
            let Ok(free_bytes) = member.volume.free_bytes() else {
                continue;
            };
            rooms.push(Candidate {
                number: member.record.number,
                shards: block.shards_on(volumes, member),
                free_bytes,
            });
        }
        let count = u16::try_from(rooms.len()).unwrap_or(u16::MAX);
        let shape = block.subject.record.geometry.shape();
        let is_whole = block.shards.len() == block.subject.record.shards.iter().flatten().count();
        let roomiest = rooms.iter().max_by_key(|room| (room.free_bytes, room.number));
        let roomiest = roomiest.ok_or(CommitError::NoVolume)?.number;
        if is_whole && spread_counts(shape, count).len() == 1 {
            let chosen = *self.of_file.entry(block.subject.record.file).or_insert(roomiest);
            let is_there = rooms.iter().any(|room| room.number == chosen);
            let chosen = if is_there { chosen } else { roomiest };
            return Ok(vec![chosen; block.shards.len()]);
        }
        let choose = |_: &(ShardIndex, ShardRecord)| {
            let best = rooms
                .iter_mut()
                .min_by_key(|room| (room.shards, u64::MAX - room.free_bytes, room.number));
            let best = best.expect("there is a volume");
            best.shards += 1;
            best.number
        };
        Ok(block.shards.iter().map(choose).collect())
    }
}

/// A volume that a shard may go to.
struct Candidate {
    number: u16,
    /// Shards of the block that it has already.
    shards: u64,
    free_bytes: u64,
}

impl BlockMove {
    fn len_bytes(&self) -> u64 {
        self.shards.iter().map(|(_, shard)| shard.frame_len_bytes).sum()
    }

    /// Returns how many shards of the block lie on a volume and stay there.
    fn shards_on(&self, volumes: &Volumes, member: &Member) -> u64 {
        let shards = self.subject.record.shards.iter().flatten();
        let there = shards.filter(|shard| volumes.number_of(shard.extent) == Some(member.record.number));
        let moved = self.shards.iter();
        let moved = moved.filter(|(_, shard)| volumes.number_of(shard.extent) == Some(member.record.number));
        to_u64(there.count()) - to_u64(moved.count())
    }
}

/// Notes bad leaves that were met in shards that are not moved.
fn note_what_was_met(shared: &Shared, blocks: &[BlockRebuild]) {
    let now = shared.now();
    let found: Vec<_> = blocks
        .iter()
        .flat_map(|block| {
            let met = block.reader.take_met().into_iter();
            met.filter(|(shard, _)| block.targets.iter().all(|target| target.shard != *shard))
                .filter_map(|(shard, met)| block.reader.damage_of(block.owner, shard, met, now))
                .collect::<Vec<_>>()
        })
        .collect();
    shared.met.note(shared, &found);
}
