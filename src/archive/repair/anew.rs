//! Storing frames that are made anew, wherever they come from.
//!
//! ```text
//! take room  in other extents, under an intent                            a crash from here gives it back
//! rebuild    copy good leaves, decode the others; the digest decides      I7
//! sync       every extent that was touched                                I1
//! read back  from the medium, and verify
//! publish    the new addresses, each only where the shard still is        the moment from which they count
//! ```

use std::{collections::BTreeSet, sync::Arc};

use super::{
    publish::{publish, read_back},
    rebuild::{BlockRebuild, rebuild_all},
    room::RepairRoom,
};
use crate::{
    archive::{
        commit::is_lost_extent,
        observer::{Event, Observer},
        owned::OwnedExtents,
        shared::Shared,
    },
    error::{CommitError, RepairError},
    units::FileId,
};

/// Places that are tried for frames that read back wrong, and attempts after failures.
const PLACES: usize = 3;

/// What was stored anew.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) shards: u64,
    /// Bytes of their frames.
    pub(super) bytes: u64,
    /// Files that they belong to; 0 stands for what commits have written about theirs.
    pub(super) files: BTreeSet<FileId>,
}

/// Takes the room that frames go to.
type TakeRoom<'a> = &'a dyn Fn() -> Result<RepairRoom, CommitError>;

/// Says which blocks they belong to.
type MakeBlocks<'a> = &'a dyn Fn(&RepairRoom) -> Vec<BlockRebuild>;

/// Writes frames anew and publishes those that came out whole; what reads back wrong is written to other places. Returns the
/// blocks, which know what became of each of their shards.
pub(super) fn store_anew(
    shared: &Arc<Shared>,
    how: (TakeRoom<'_>, MakeBlocks<'_>),
    tally: &mut Tally,
    observer: &dyn Observer,
) -> Result<Vec<BlockRebuild>, RepairError> {
    // Given back when all is done: the system would give the same blocks of the disk again.
    let mut spoilt = Vec::new();
    let mut failures = 0;
    let stored = loop {
        let stored = store_in_new_room(shared, how, (tally, &mut spoilt), observer);
        match &stored {
            Err(RepairError::ReadBack { .. }) if spoilt.len() < PLACES => {}
            Err(RepairError::Store { source }) if failures < PLACES && goes_elsewhere(shared, source) => {
                failures += 1;
            }
            Ok(_) | Err(_) => break stored,
        }
    };
    for owned in spoilt {
        // What cannot be given back now is left behind for the next.
        match owned.give_back_spoilt(shared) {
            Ok(()) | Err(_) => {}
        }
    }
    stored
}

/// Says whether something has failed that the next attempt avoids: a volume that is gone, an extent that has failed before.
fn goes_elsewhere(shared: &Shared, error: &CommitError) -> bool {
    is_lost_extent(error) || matches!(error, CommitError::Volume { source } if shared.has_lost_volume(source))
}

fn store_in_new_room(
    shared: &Arc<Shared>,
    (take, make): (TakeRoom<'_>, MakeBlocks<'_>),
    (tally, spoilt): (&mut Tally, &mut Vec<OwnedExtents>),
    observer: &dyn Observer,
) -> Result<Vec<BlockRebuild>, RepairError> {
    let room = take()?;
    let blocks = make(&room);
    match write(shared, (&room, &blocks), tally, observer) {
        Ok(Outcome::Nothing) => room.owned.give_back(shared)?,
        Ok(Outcome::Published) => room.owned.end(),
        Err(RepairError::Store { source }) if source.may_be_published() => {
            room.owned.end();
            return Err(source.into());
        }
        Err(error @ RepairError::ReadBack { .. }) => {
            spoilt.push(room.owned);
            return Err(error);
        }
        Err(error) => {
            // The first error is the one to tell; what cannot be given back now is left behind for the next.
            return match room.owned.give_back(shared) {
                Ok(()) | Err(_) => Err(error),
            };
        }
    }
    Ok(blocks)
}

/// Whether anything was published.
enum Outcome {
    Published,
    Nothing,
}

fn write(
    shared: &Arc<Shared>,
    (room, blocks): (&RepairRoom, &[BlockRebuild]),
    tally: &mut Tally,
    observer: &dyn Observer,
) -> Result<Outcome, RepairError> {
    let cancelled = || observer.is_cancelled();
    let written = |bytes| observer.event(Event::Progress { bytes });
    rebuild_all(shared, blocks, &cancelled, &written)?;
    if blocks.iter().all(|block| block.rebuilt().is_empty()) {
        return Ok(Outcome::Nothing);
    }
    // I1: nothing is named before it is durable, and what is durable is read back from the medium.
    room.owned.sync(shared)?;
    read_back(shared, blocks)?;
    let published = publish(shared, &room.owned, blocks)?;
    if published.is_empty() {
        return Ok(Outcome::Nothing);
    }
    for (block, rebuilt) in published {
        let record = block.reader.record();
        tally.shards += 1;
        tally.bytes += rebuilt.record.frame_len_bytes;
        tally.files.insert(record.file);
        observer.event(Event::Repaired {
            name: &block.reader.called().name,
            kept_version: block.reader.called().kept_version,
            block: record.index,
            shard: rebuilt.shard,
            extent: rebuilt.record.extent,
        });
    }
    Ok(Outcome::Published)
}
