//! Workers that share a feed: each takes some frames, looks at them, and says what it has found.

use std::sync::{Mutex, PoisonError};

use super::{
    Feed, Inspection, Look, Task,
    frame::{Loaded, ShardFound, glance_at_shard, inspect_frame},
    handful::{ENOUGH_BYTES, Handful, MAX_LOADED_LEN_BYTES},
    memory::{IdleMemory, WorkMemory},
};
use crate::{
    archive::{
        encoding::EncodingFound,
        observer::{Event, Observer},
        shared::Shared,
    },
    buffer::Scratch,
    catalog::ShardRecord,
    error::ScrubError,
};

pub(super) struct Workers<'a, F> {
    shared: &'a Shared,
    /// `None` once nothing more is to be taken from it.
    feed: Mutex<Option<F>>,
    look: Look,
    /// Frames are read one behind the other; they are hashed beside each other in any case.
    is_in_turn: bool,
    observer: &'a dyn Observer,
    total: Mutex<Inspection>,
}

impl<'a, F: Feed> Workers<'a, F> {
    pub(super) fn new(
        shared: &'a Shared,
        feed: F,
        (look, is_in_turn): (Look, bool),
        observer: &'a dyn Observer,
    ) -> Self {
        Self {
            shared,
            feed: Mutex::new(Some(feed)),
            look,
            is_in_turn,
            observer,
            total: Mutex::default(),
        }
    }

    /// What one of them does.
    pub(super) fn work(&self, idle: &IdleMemory) -> Result<(), ScrubError> {
        let WorkMemory { frames, mut parts } = idle.take();
        let mut handful = Handful::new(frames);
        while self.take(&mut handful)? {
            self.look_at(&handful, &mut parts)?;
        }
        let frames = handful.into_memory();
        idle.put(WorkMemory { frames, parts });
        Ok(())
    }

    /// Returns what all of them have found.
    pub(super) fn into_total(self) -> Inspection {
        self.total.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes and reads the next frames; says whether there are any.
    fn take(&self, handful: &mut Handful) -> Result<bool, ScrubError> {
        let mut slot = self.feed.lock().unwrap_or_else(PoisonError::into_inner);
        // Behind the end and behind a failure nobody asks again.
        let Some(mut feed) = slot.take() else {
            return Ok(false);
        };
        if self.observer.is_cancelled() {
            return Err(ScrubError::Cancelled);
        }
        if handful.take(&mut feed)? {
            *slot = Some(feed);
        }
        if self.is_in_turn {
            handful.load(MAX_LOADED_LEN_BYTES);
            return Ok(true);
        }
        drop(slot);
        match self.look {
            Look::AtHeaders => handful.load_none(),
            Look::AtEverything => handful.load(ENOUGH_BYTES),
        }
        Ok(true)
    }

    fn look_at(&self, handful: &Handful, memory: &mut Scratch) -> Result<(), ScrubError> {
        let mut looked = Vec::new();
        let mut result = Ok(());
        for (task, loaded) in handful.frames() {
            if self.observer.is_cancelled() {
                *self.feed.lock().unwrap_or_else(PoisonError::into_inner) = None;
                result = Err(ScrubError::Cancelled);
                break;
            }
            let (found, encoding) = look_at(self.shared, (task, &loaded), self.look, memory);
            self.observer.event(Event::Progress {
                bytes: found.bytes_read,
            });
            // Now: what others of its block meet later says nothing of what was read here.
            let found = (!task.block.is_refused(task.shard)).then_some(found);
            looked.push((task, found, encoding));
        }
        // What was found until then is true all the same.
        let mut total = self.total.lock().unwrap_or_else(PoisonError::into_inner);
        for (task, found, encoding) in looked {
            total.refused.extend(task.block.refused_extents());
            if let Some(found) = found {
                total.add(task, found, self.shared.now());
            }
            if let Some(encoding) = encoding {
                total.add_encoding(self.shared, task, encoding);
            }
        }
        result
    }
}

/// Looks at a frame that was read or is read now, and encodes again what is to be encoded with it.
fn look_at(
    shared: &Shared,
    (task, loaded): (&Task, &Loaded<'_>),
    look: Look,
    memory: &mut Scratch,
) -> (ShardFound, Option<EncodingFound>) {
    match look {
        Look::AtHeaders => (still_true(shared, task, glance_at_shard(shared, task)), None),
        Look::AtEverything => {
            let found = inspect_frame(shared, task, loaded, memory);
            let encoding = task.encoding.check(&task.block, task.shard);
            (still_true(shared, task, found), encoding)
        }
    }
}

/// Drops what was found where a shard no longer lies: an address is a hint, and what was removed or moved meanwhile may be gone from
/// there, which is no damage.
fn still_true(shared: &Shared, task: &Task, found: ShardFound) -> ShardFound {
    ShardFound {
        finding: found.finding.filter(|_| is_still_there(shared, task)),
        ..found
    }
}

/// Says whether a shard lies where it was looked at; yes, where that cannot be looked up.
fn is_still_there(shared: &Shared, task: &Task) -> bool {
    let now = shared
        .catalog
        .read()
        .and_then(|reader| reader.block_by_owner(task.owner));
    let Ok(now) = now else { return true };
    let of = |shards: &[Option<ShardRecord>]| shards.get(task.shard.as_usize()).copied().flatten();
    let address = |shard: Option<ShardRecord>| shard.map(|shard| shard.address());
    now.is_some_and(|now| address(of(&now.shards)) == address(task.block.shard(task.shard).copied()))
}
