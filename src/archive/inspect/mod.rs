//! Reading every byte of stored shards and judging what is found: the core of `scrub` and `verify`.

mod damage;
mod frame;
mod handful;
mod memory;
mod workers;

use std::{collections::BTreeMap, sync::Arc};

pub use damage::FileDamage;

use self::{damage::Damage, frame::ShardFound, workers::Workers};
pub(super) use self::{frame::inspect_shard, memory::IdleMemory};
use super::{
    called::Called,
    encoding::{Encoding, EncodingFound, ParityCheck},
    observer::{DamageKind, DamagePart, Observer},
    order::MAX_SHARD_THREADS,
    read::{BlockReader, Met},
    shared::Shared,
};
use crate::{
    catalog::{DamageRecord, ShardAddress, ShardOwner},
    error::{ScrubError, VolumeError},
    storage::Medium,
    units::{BlockIndex, CommitId, ExtentId, ShardIndex, Timestamp},
};

/// A shard to inspect.
#[derive(Debug, Clone)]
pub(in crate::archive) struct Task {
    pub(in crate::archive) block: Arc<BlockReader>,
    pub(in crate::archive) owner: ShardOwner,
    pub(in crate::archive) called: Called,
    /// The commit, when the block is not of a file but what a commit has written about its files.
    pub(in crate::archive) descriptor: Option<CommitId>,
    pub(in crate::archive) shard: ShardIndex,
    /// What is encoded again, too.
    pub(in crate::archive) encoding: Encoding,
}

/// Where tasks come from; asked by one worker at a time.
pub(in crate::archive) trait Feed: Send {
    /// Returns the next shard, or `None` after the last.
    fn next(&mut self) -> Result<Option<Task>, ScrubError>;
}

impl<F: Feed> Feed for &mut F {
    fn next(&mut self) -> Result<Option<Task>, ScrubError> {
        (**self).next()
    }
}

/// How frames are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) enum Turns {
    /// One behind the other: that is how they lie on the disk.
    InTurn,
    /// As many at a time as there are workers, but for disks that rotate: they lie here and there.
    Together,
}

/// How much of a frame is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::archive) enum Look {
    /// Whether it is there, and its header.
    AtHeaders,
    /// All of it.
    AtEverything,
}

/// What was read and what was found.
#[derive(Debug, Default)]
pub(in crate::archive) struct Inspection {
    /// Files of which the first frame was looked at.
    pub(in crate::archive) files: u64,
    pub(in crate::archive) blocks: u64,
    pub(in crate::archive) bytes_read: u64,
    pub(in crate::archive) damage: Damage,
    /// The same damage as the catalog notes it, in the order in which it was met.
    pub(in crate::archive) found: Vec<DamageRecord>,
    pub(in crate::archive) parity: ParityFound,
    /// Extents that the system does not let this process read; nothing is known of what they hold.
    pub(in crate::archive) refused: BTreeMap<ExtentId, VolumeError>,
}

/// What has come of encoding parity again; `damage` has it too.
#[derive(Debug, Default)]
pub(in crate::archive) struct ParityFound {
    pub(in crate::archive) blocks: u64,
    pub(in crate::archive) wrong: Vec<DamageRecord>,
    pub(in crate::archive) right: Vec<(ShardOwner, ShardIndex, ShardAddress)>,
}

/// Inspects everything that the feed hands out, on all workers. The observer is asked before each shard, at most some
/// megabytes, whether to go on; not while short ones are read together.
pub(in crate::archive) fn inspect(
    shared: &Shared,
    (feed, turns): (impl Feed, Turns),
    look: Look,
    memory: &IdleMemory,
    observer: &dyn Observer,
) -> Result<Inspection, ScrubError> {
    let is_in_turn = look == Look::AtEverything
        && (turns == Turns::InTurn || shared.medium_of_reads(Medium::Solid) == Medium::Rotating);
    let workers = Workers::new(shared, feed, (look, is_in_turn), observer);
    let threads = if is_in_turn { MAX_SHARD_THREADS } else { usize::MAX };
    let results = shared.work_together(threads, |_| workers.work(memory));
    let total = workers.into_total();
    match results.into_iter().collect::<Result<(), ScrubError>>() {
        Ok(()) => Ok(total),
        Err(error) => {
            // What was found until then is true all the same.
            drop(total.damage.report(observer));
            Err(error)
        }
    }
}

impl Inspection {
    fn add(&mut self, task: &Task, found: ShardFound, now: Timestamp) {
        let record = found.to_record(task, now);
        self.bytes_read += found.bytes_read;
        // Every block has its first shard, every file its first block.
        let is_first = task.shard == ShardIndex::new(0);
        self.blocks += u64::from(is_first);
        let begins_file = task.descriptor.is_none() && task.block.record().index == BlockIndex::new(0);
        self.files += u64::from(is_first && begins_file);
        if let (Some(finding), Some(record)) = (found.finding, record) {
            self.damage.add(task, finding, &record.columns);
            self.found.push(record);
        }
    }

    fn add_encoding(&mut self, shared: &Shared, task: &Task, found: EncodingFound) {
        let now = shared.now();
        match found {
            EncodingFound::Here(check) => {
                self.parity.blocks += 1;
                self.add_parity(task, check, now);
            }
            EncodingFound::OfGroup(group, checks) => {
                for (outer, check) in group.outer_parity().iter().zip(checks) {
                    let record = outer.record().clone();
                    let task = Task {
                        owner: ShardOwner::Block(record.id),
                        block: Arc::new(BlockReader::new(shared.volumes(), task.called.clone(), record)),
                        ..task.clone()
                    };
                    self.add_parity(&task, check, now);
                }
            }
        }
    }

    fn add_parity(&mut self, task: &Task, check: ParityCheck, now: Timestamp) {
        let block = task.block.as_ref();
        for (shard, columns) in check.wrong {
            let wrong = Met {
                part: DamagePart::Payload,
                kind: DamageKind::Encoding,
                columns,
            };
            self.damage
                .add(task, block.finding(shard, &wrong), &wrong.columns);
            self.parity
                .wrong
                .extend(block.damage_of(task.owner, shard, wrong, now));
        }
        let right = check.right.into_iter();
        let right = right.filter_map(|shard| Some((task.owner, shard, block.shard(shard)?.address())));
        self.parity.right.extend(right);
    }

    /// Adds what was found elsewhere, also of the same blocks.
    pub(in crate::archive) fn merge(&mut self, other: Self) {
        self.files += other.files;
        self.blocks += other.blocks;
        self.bytes_read += other.bytes_read;
        self.parity.blocks += other.parity.blocks;
        self.refused.extend(other.refused);
        self.damage.merge(other.damage);
    }
}
