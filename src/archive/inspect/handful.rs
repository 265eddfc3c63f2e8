//! Frames that a worker takes together: short ones cost more to ask for than to look at.

use core::ops::Range;

use super::{
    Feed, Task,
    frame::{Loaded, read_frame},
};
use crate::{
    archive::{observer::DamageKind, volumes::SHORT_GAP_BYTES},
    buffer::{BUFFER_ALIGN_BYTES, Scratch},
    error::ScrubError,
    units::{ExtentId, to_usize},
    volume::SECTOR_LEN_BYTES,
};

/// Where frames are this long together no more are taken.
pub(super) const ENOUGH_BYTES: u64 = 256 << 10;

/// Nor where they are this many: whoever cancels waits for them.
const ENOUGH_FRAMES: usize = 64;

/// Longer frames are looked at in pieces: that is memory for each worker.
pub(super) const MAX_LOADED_LEN_BYTES: u64 = 16 << 20;

/// Frames, and what was read of them. Its memory is used again for the next ones.
pub(super) struct Handful {
    tasks: Vec<Task>,
    memory: Scratch,
    outcomes: Vec<Outcome>,
    /// Some of them could not be read: a disk that fails takes its time for each, so the next ones are taken one by one.
    has_failed: bool,
}

/// What has come of reading a frame.
#[derive(Clone)]
enum Outcome {
    /// It stands there in the bytes.
    Read(Range<usize>),
    NotTried,
    Failed(DamageKind),
}

impl Handful {
    pub(super) fn new(memory: Scratch) -> Self {
        Self {
            tasks: Vec::new(),
            memory,
            outcomes: Vec::new(),
            has_failed: false,
        }
    }

    pub(super) fn into_memory(self) -> Scratch {
        self.memory
    }

    /// Takes the next frames; says whether more may follow.
    pub(super) fn take(&mut self, feed: &mut impl Feed) -> Result<bool, ScrubError> {
        self.tasks.clear();
        let enough_frames = if self.has_failed { 1 } else { ENOUGH_FRAMES };
        let mut len_bytes = 0;
        while len_bytes < ENOUGH_BYTES && self.tasks.len() < enough_frames {
            let Some(task) = feed.next()? else {
                return Ok(false);
            };
            len_bytes += content_len_bytes(&task) + task.encoding.len_bytes(&task.block, task.shard);
            self.tasks.push(task);
        }
        Ok(true)
    }

    /// Reads none: somebody looks at parts of them.
    pub(super) fn load_none(&mut self) {
        self.outcomes.clear();
        self.outcomes.resize(self.tasks.len(), Outcome::NotTried);
    }

    /// Reads frames of up to so many bytes, whole and in the order in which they lie; those beside each other with one call.
    pub(super) fn load(&mut self, longest_bytes: u64) {
        self.tasks.sort_by_key(place);
        self.load_none();
        self.has_failed = false;
        let (mut first, mut used) = (0, 0);
        while first < self.tasks.len() {
            let end = end_of_neighbours(&self.tasks, first);
            if content_len_bytes(&self.tasks[first]) <= longest_bytes {
                used = self.load_neighbours(first..end, used);
            }
            first = end;
        }
    }

    /// Returns the frames, each with what was read of it.
    pub(super) fn frames(&self) -> impl Iterator<Item = (&Task, Loaded<'_>)> {
        let loaded = |outcome: &Outcome| match outcome {
            Outcome::Read(range) => Loaded::Frame(&self.memory.all()[range.clone()]),
            Outcome::NotTried => Loaded::NotTried,
            Outcome::Failed(kind) => Loaded::Failed(*kind),
        };
        let outcomes = self.outcomes.iter().map(loaded);
        self.tasks.iter().zip(outcomes)
    }

    /// Reads frames to where others end; returns where they end themselves.
    ///
    /// Those that cannot be read together are left to whoever reads their parts, and knows then of which of them that is true.
    fn load_neighbours(&mut self, frames: Range<usize>, base: usize) -> usize {
        // Long ones go past caches only to where a page begins.
        let base = base.next_multiple_of(BUFFER_ALIGN_BYTES);
        let (first, last) = (&self.tasks[frames.start], &self.tasks[frames.end - 1]);
        let (_, start) = place(first);
        let used = base + to_usize(place(last).1 - start) + to_usize(content_len_bytes(last));
        if frames.len() == 1 {
            let len = to_usize(padded_len_bytes(first));
            let read = read_frame(first, &mut self.memory.first(base + len)[base..]);
            self.has_failed |= read.is_err();
            self.outcomes[frames.start] = match read {
                Ok(()) => Outcome::Read(base..used),
                Err(kind) => Outcome::Failed(kind),
            };
        } else if (first.block)
            .read_from(first.shard, &mut self.memory.first(used)[base..])
            .is_ok()
        {
            for index in frames {
                let task = &self.tasks[index];
                let from = base + to_usize(place(task).1 - start);
                self.outcomes[index] = Outcome::Read(from..from + to_usize(content_len_bytes(task)));
            }
        } else {
            self.has_failed = true;
        }
        used
    }
}

/// Returns the end of the frames that are read with the one at `first`; a long frame is read alone.
fn end_of_neighbours(tasks: &[Task], first: usize) -> usize {
    let (extent, start) = place(&tasks[first]);
    let mut end = first + 1;
    while let Some(next) = tasks.get(end) {
        let (of, offset) = place(next);
        let is_near = offset >= end_bytes(&tasks[end - 1])
            && offset - end_bytes(&tasks[end - 1]) <= SHORT_GAP_BYTES
            && end_bytes(next) - start <= ENOUGH_BYTES;
        if of != extent || !is_near {
            break;
        }
        end += 1;
    }
    end
}

fn place(task: &Task) -> (ExtentId, u64) {
    let record = task.block.shard(task.shard);
    let record = record.expect("only shards that are present are inspected");
    (record.extent, record.offset)
}

fn content_len_bytes(task: &Task) -> u64 {
    task.block.layout(task.shard).content_len_bytes()
}

/// Returns where the last sector of a frame ends, which is its own.
fn padded_len_bytes(task: &Task) -> u64 {
    let layout = task.block.layout(task.shard);
    let sectors = layout.content_len_bytes().next_multiple_of(SECTOR_LEN_BYTES);
    sectors.min(layout.total_len_bytes())
}

fn end_bytes(task: &Task) -> u64 {
    place(task).1.saturating_add(content_len_bytes(task))
}
