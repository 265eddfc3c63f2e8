//! Which frames a scrub reads, in which order.

use std::collections::VecDeque;

use super::{
    Scrub, ScrubDepth,
    chunk::{Chunk, MOST_BYTES, Owners, task},
    notes::Seen,
};
use crate::{
    archive::{
        encoding::Encoding,
        inspect::{Feed, Look, Task, Turns, inspect},
    },
    catalog::{DamageRecord, ShardPlace},
    error::ScrubError,
    plan::{ScrubExtent, ScrubPlan, ScrubRange, VerifiedSet, scrub_order},
    units::{ByteRange, ExtentId},
};

/// Damaged blocks that are looked up at a time.
const PAGE_LEN: usize = 256;

impl Scrub<'_> {
    pub(super) const fn look(&self) -> Look {
        match self.options.depth {
            ScrubDepth::Quick => Look::AtHeaders,
            ScrubDepth::Full | ScrubDepth::Deep => Look::AtEverything,
        }
    }
}

/// Reads ranges of extents, those that need it most first.
pub(super) fn scrub_ranges(scrub: &mut Scrub<'_>, plan: ScrubPlan) -> Result<(), ScrubError> {
    for range in order(scrub, plan)? {
        let mut start = range.range.start();
        while start < range.range.end() && scrub.pace.end().is_none() {
            let rest = ByteRange::new(start, range.range.end()).expect("the start is below the end");
            start = scrub_chunk(scrub, range.extent, rest)?;
        }
    }
    Ok(())
}

/// Reads the first frames of a range; returns how far it came.
fn scrub_chunk(scrub: &mut Scrub<'_>, extent: ExtentId, range: ByteRange) -> Result<u64, ScrubError> {
    let (shared, look) = (scrub.shared, scrub.look());
    // One moment for all of it: what was verified together stays one interval.
    let at = shared.now();
    let which = scrub.which_parity();
    forget_cached(scrub, extent, range);
    let mut chunk = Chunk::new(shared, &mut scrub.pace, (extent, range), which);
    chunk.bytes = scrub.notes.bytes;
    let found = inspect(
        shared,
        (&mut chunk, Turns::InTurn),
        look,
        &scrub.memory,
        &scrub.observer,
    )?;
    let (read, before) = (std::mem::take(&mut chunk.read), std::mem::take(&mut chunk.before));
    let covered_to = chunk.covered_to;
    let covered = ByteRange::new(range.start(), covered_to).expect("it goes on from the start");
    // Others need the memory more than this, which is not read again soon.
    forget_cached(scrub, extent, covered);
    let seen = match look {
        // Frames of it were not read, so the others count as what somebody has met.
        _ if found.refused.contains_key(&extent) => Seen::Headers,
        Look::AtEverything => Seen::Range {
            extent,
            range: covered,
            at,
            read,
            before,
        },
        Look::AtHeaders => Seen::Headers,
    };
    scrub.note(found, seen)?;
    Ok(covered_to)
}

/// Makes sure that what comes next is read from the medium.
fn forget_cached(scrub: &Scrub<'_>, extent: ExtentId, range: ByteRange) {
    if scrub.look() == Look::AtEverything {
        let volume = scrub.shared.volumes().of_extent(extent);
        volume.forget_cached(extent, range.start(), range.len().min(MOST_BYTES));
    }
}

/// Reads what is known to be damaged.
pub(super) fn scrub_damaged(scrub: &mut Scrub<'_>) -> Result<(), ScrubError> {
    let mut after = None;
    loop {
        let reader = scrub.shared.catalog.read()?;
        let page = reader.damaged_blocks_page(after, PAGE_LEN)?;
        after = page.last().map(|block| (block.file, block.block));
        let mut damage: Vec<DamageRecord> = Vec::new();
        for block in &page {
            damage.extend(reader.damage_of_block(block.block)?);
        }
        drop(reader);
        scrub_frames(scrub, &damage)?;
        if page.len() < PAGE_LEN || scrub.pace.end().is_some() {
            return Ok(());
        }
    }
}

fn scrub_frames(scrub: &mut Scrub<'_>, damage: &[DamageRecord]) -> Result<(), ScrubError> {
    let (shared, look, which) = (scrub.shared, scrub.look(), scrub.which_parity());
    let mut parity_checked = None;
    let mut owners = Owners::default();
    let mut tasks = VecDeque::new();
    for damage in damage {
        let reader = shared.catalog.read()?;
        let place = ShardPlace {
            extent: damage.address.extent,
            offset: damage.address.offset,
            owner: damage.owner,
            shard: damage.shard,
        };
        // Repaired or removed meanwhile: nothing is known of it any more.
        let Some(block) = reader.block_by_owner(damage.owner)? else {
            continue;
        };
        let shard = block.shards.get(damage.shard.as_usize()).and_then(Option::as_ref);
        if shard.is_none_or(|shard| shard.address() != damage.address) {
            continue;
        }
        let mut task = task(shared, &reader, place, &mut owners)?;
        // Once for each block, whichever of its shards are damaged.
        let is_first = parity_checked != Some(task.block.record().id);
        if look == Look::AtEverything {
            task.encoding = which.of_damaged(shared, (&task, is_first), &reader)?;
        }
        if matches!(task.encoding, Encoding::Block | Encoding::BlockOfWrongSums) {
            parity_checked = Some(task.block.record().id);
        }
        if scrub.pace.allows(which.cost_bytes(&task)) {
            tasks.push_back((place, task));
        }
    }
    let mut feed = Frames {
        tasks,
        read: Vec::new(),
    };
    let frames = feed
        .tasks
        .iter()
        .filter_map(|(_, task)| task.block.shard(task.shard));
    shared.volumes().forget_cached(frames);
    let found = inspect(
        shared,
        (&mut feed, Turns::Together),
        look,
        &scrub.memory,
        &scrub.observer,
    )?;
    let seen = match look {
        Look::AtEverything if !found.refused.is_empty() => Seen::Headers,
        Look::AtEverything => Seen::Frames {
            read: feed.read,
            before: damage.to_vec(),
        },
        Look::AtHeaders => Seen::Headers,
    };
    scrub.note(found, seen)
}

/// Frames that are known one by one.
struct Frames {
    tasks: VecDeque<(ShardPlace, Task)>,
    read: Vec<ShardPlace>,
}

impl Feed for Frames {
    fn next(&mut self) -> Result<Option<Task>, ScrubError> {
        let Some((place, task)) = self.tasks.pop_front() else {
            return Ok(None);
        };
        self.read.push(place);
        Ok(Some(task))
    }
}

/// Returns the ranges to read, in their order.
fn order(scrub: &mut Scrub<'_>, plan: ScrubPlan) -> Result<Vec<ScrubRange>, ScrubError> {
    let volumes = scrub.shared.volumes();
    let reader = scrub.shared.catalog.read()?;
    let now = scrub.shared.now();
    let mut extents: Vec<(ExtentId, ByteRange, VerifiedSet)> = Vec::new();
    for extent in reader.extents()? {
        let committed = ByteRange::new(0, extent.end_bytes).expect("it begins at 0");
        if committed.is_empty() {
            continue;
        }
        if volumes
            .member(extent.volume)
            .is_none_or(|member| !member.is_readable())
        {
            if extent.live_shards > 0 {
                scrub.offline.insert(extent.volume);
            }
            continue;
        }
        let mut verified = VerifiedSet::from_intervals(reader.verified_of(extent.id)?);
        verified.forget_impossible(extent.end_bytes, now);
        extents.push((extent.id, committed, verified));
    }
    let known = extents.iter().map(|(extent, committed, verified)| ScrubExtent {
        extent: *extent,
        committed: *committed,
        verified,
    });
    Ok(scrub_order(known, plan))
}
