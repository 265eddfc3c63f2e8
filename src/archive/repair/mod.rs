//! Repair: damaged shards are written anew elsewhere, and found there from then on.
//!
//! First it is looked at what is known to be damaged, all of each frame, and what is whole again is forgotten; then [`anew`] stores
//! what can be made.
//!
//! Never in place: a crash anywhere leaves the old frame or a valid new one. Where the old one was nobody looks any more; its
//! bytes are dead. A repair that finds nothing to do changes nothing, so it can be done again at any time.

mod across;
mod anew;
mod donor;
mod examine;
mod moving;
mod publish;
mod rebuild;
mod room;
mod shared_groups;
mod subject;
mod table_column;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
};

pub use self::moving::{MoveOptions, MoveReport};
pub(super) use self::moving::{empty_extents, move_off, shards_on, spread};
use self::{
    anew::{Tally, store_anew},
    donor::Donor,
    examine::{DamagedBlockWork, examine},
    publish::{note_findings, note_what_was_met},
    rebuild::BlockRebuild,
    room::{RepairRoom, Wanted},
    shared_groups::SharedGroups,
};
use super::{called::Called, inspect::FileDamage, observer::Observer, shared::Shared};
use crate::{
    catalog::{Access, DamagedBlock, ShardRecord},
    error::{CommitError, RepairError, VolumeError},
    units::{BlockId, ByteRange, CommitId, ExtentId, FileId, FileName, ShardIndex, VolumeId, to_u64},
};

/// Damaged blocks that are looked up at a time.
const PAGE_LEN: usize = 256;

/// Bytes of frames that are written before they are published: about as much as a group may lose in whole blocks, so that its other
/// blocks are read once for all of them.
const BATCH_LEN_BYTES: u64 = 640 << 20;

/// Times that a block is repaired because more of it turned out to be damaged.
const ATTEMPTS: u32 = 4;

/// What is repaired, and from what.
#[derive(Debug, Clone, Default)]
pub struct RepairOptions {
    /// Only what has this name or lies below it; everything otherwise.
    pub prefix: Option<FileName>,
    /// A directory with undamaged originals under the names that they have in the archive. They are read, verified and never
    /// changed.
    pub donor: Option<PathBuf>,
    /// Whether anything is changed.
    pub mode: RepairMode,
}

/// Whether a repair changes anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RepairMode {
    /// What can be repaired is.
    #[default]
    Repair,
    /// It is looked what could be, and reported as if it had been. Originals are not looked at.
    Look,
}

/// What a repair has come to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct RepairReport {
    /// Files that were damaged and are not any more.
    pub files_repaired: u64,
    /// Shards that were written anew.
    pub shards_repaired: u64,
    /// Bytes of the frames that were written for them.
    pub bytes_written: u64,
    /// Shards that were known to be damaged and turned out to be whole.
    pub shards_found_whole: u64,
    /// Volumes that are not there: nothing on them could be read or repaired.
    pub offline: BTreeSet<VolumeId>,
    /// What stays damaged, in the order of names; the files among it that have lost bytes say which.
    pub damage: Vec<FileDamage>,
}

impl RepairReport {
    /// Adds what another repair has come to, of files that are named later.
    pub fn add(&mut self, other: Self) {
        self.files_repaired += other.files_repaired;
        self.shards_repaired += other.shards_repaired;
        self.bytes_written += other.bytes_written;
        self.shards_found_whole += other.shards_found_whole;
        self.offline.extend(other.offline);
        self.damage.extend(other.damage);
    }

    /// Returns the number of files that have lost bytes.
    pub fn files_lost(&self) -> usize {
        let files = self.damage.iter().filter(|file| file.descriptor.is_none());
        files.filter(|file| !file.lost.is_empty()).count()
    }
}

/// Repairs what is known to be damaged.
pub(super) fn repair(
    shared: &Arc<Shared>,
    options: &RepairOptions,
    observer: &dyn Observer,
) -> Result<RepairReport, RepairError> {
    if shared.access == Access::Read && options.mode == RepairMode::Repair {
        return Err(CommitError::ReadOnly.into());
    }
    // Volumes come and go while an archive is open; where they cannot be looked at they are taken as they were.
    match shared.look_at_volumes() {
        Ok(()) | Err(_) => {}
    }
    let mut pass = Pass {
        shared,
        mode: options.mode,
        donor: options.donor.as_deref().map(Donor::new),
        observer,
        files: BTreeSet::new(),
        tally: Tally::default(),
        remains: BTreeMap::new(),
        report: RepairReport::default(),
        refused: None,
    };
    if let Some(name) = &options.prefix
        && shared.catalog.read()?.files_page(Some(name), None, 1)?.is_empty()
    {
        return Err(RepairError::NotFound { name: name.clone() });
    }
    let mut after = None;
    loop {
        let page = shared.catalog.read()?.damaged_blocks_page(after, PAGE_LEN)?;
        after = page.last().map(|block| (block.file, block.block));
        pass.repair_page(&page, options.prefix.as_ref())?;
        if page.len() < PAGE_LEN {
            break;
        }
    }
    pass.finish()
}

struct Pass<'a> {
    shared: &'a Arc<Shared>,
    mode: RepairMode,
    donor: Option<Donor>,
    observer: &'a dyn Observer,
    /// Files that were damaged.
    files: BTreeSet<FileId>,
    tally: Tally,
    /// What stays damaged: shards, and bytes that are lost.
    remains: BTreeMap<(Called, Option<CommitId>), (u64, Vec<ByteRange>)>,
    report: RepairReport,
    /// What the system did not let this process read.
    refused: Option<VolumeError>,
}

impl Pass<'_> {
    /// Repairs blocks, as many at a time as their frames are short.
    fn repair_page(&mut self, page: &[DamagedBlock], prefix: Option<&FileName>) -> Result<(), RepairError> {
        let mut batch: Vec<DamagedBlockWork> = Vec::new();
        let mut len_bytes = 0;
        for block in page {
            if self.observer.is_cancelled() {
                return Err(RepairError::Cancelled);
            }
            let Some(work) = DamagedBlockWork::find(self.shared, block)? else {
                continue;
            };
            if prefix.is_some_and(|prefix| !work.is_below(prefix)) {
                continue;
            }
            let here = work.damaged_len_bytes();
            if len_bytes + here > BATCH_LEN_BYTES && !batch.is_empty() {
                self.repair_batch(std::mem::take(&mut batch))?;
                len_bytes = 0;
            }
            len_bytes += here;
            batch.push(work);
        }
        self.repair_batch(batch)
    }

    fn repair_batch(&mut self, mut batch: Vec<DamagedBlockWork>) -> Result<(), RepairError> {
        for attempt in 1..=ATTEMPTS {
            if batch.is_empty() {
                break;
            }
            let refused = examine(self.shared, &mut batch, self.observer)?;
            if !refused.is_empty() {
                // The others are repaired first; that not all could be is told at the end.
                let all = std::mem::take(&mut batch).into_iter().enumerate();
                let (left, readable): (Vec<_>, Vec<_>) =
                    all.partition(|(index, _)| refused.contains_key(index));
                batch = readable.into_iter().map(|(_, work)| work).collect();
                let left: Vec<DamagedBlockWork> = left.into_iter().map(|(_, work)| work).collect();
                self.note_remains(&left)?;
                refused
                    .into_values()
                    .for_each(|refusal| self.note_refusal(refusal));
                if batch.is_empty() {
                    break;
                }
            }
            if self.mode == RepairMode::Look {
                for work in &batch {
                    self.look(work);
                }
                return Ok(());
            }
            self.report.shards_found_whole += note_findings(self.shared, &batch)?;
            let again = self.rebuild(&batch)?;
            let is_last = attempt == ATTEMPTS;
            let (unfinished, done): (Vec<DamagedBlockWork>, Vec<DamagedBlockWork>) = batch
                .into_iter()
                .partition(|work| !is_last && again.contains(&work.id()));
            self.note_remains(&done)?;
            batch = Vec::with_capacity(unfinished.len());
            for work in unfinished {
                batch.extend(work.look_again(self.shared)?);
            }
        }
        Ok(())
    }

    /// Reports what would become of a block.
    fn look(&mut self, work: &DamagedBlockWork) {
        let shards = work.to_rewrite(None);
        self.report.shards_repaired += to_u64(shards.len());
        self.report.bytes_written += shards
            .iter()
            .map(|(_, record)| record.frame_len_bytes)
            .sum::<u64>();
        self.report.shards_found_whole += work.whole_count();
        let left = to_u64(work.found().len() - shards.len());
        if left > 0 {
            self.add_remains(work, left);
        }
    }

    /// Writes anew what can be, and publishes it; returns the blocks of which more turned out to be damaged.
    fn rebuild(&mut self, batch: &[DamagedBlockWork]) -> Result<BTreeSet<BlockId>, RepairError> {
        let plans: Vec<Vec<(ShardIndex, ShardRecord)>> = batch
            .iter()
            .map(|work| work.to_rewrite(self.donor.as_ref()))
            .collect();
        let mut wanted = Vec::new();
        let mut avoided: BTreeSet<ExtentId> = BTreeSet::new();
        let mut name = None;
        for (work, shards) in batch.iter().zip(&plans) {
            name = name.or_else(|| (!shards.is_empty()).then(|| work.name().clone()));
            wanted.extend(shards.iter().map(|(shard, record)| Wanted {
                geometry: *work.geometry(),
                shard: *shard,
                extent: record.extent,
                block: work.id(),
                volume: None,
            }));
            avoided.extend(work.subject.extents());
        }
        let Some(name) = name else {
            return Ok(BTreeSet::new());
        };
        let (shared, donor) = (self.shared, self.donor.as_ref());
        let make = |room: &RepairRoom| -> Vec<BlockRebuild> {
            let mut groups = SharedGroups::default();
            let mut frames = room.frames();
            let blocks = batch.iter().zip(&plans).map(|(work, shards)| {
                // Never one frame more than there are shards: the rest is for the blocks behind.
                let shards = shards.iter().map(|(shard, _)| *shard);
                let frames: Vec<_> = shards.zip(frames.by_ref()).collect();
                let subject = &work.subject;
                BlockRebuild::new(
                    (subject.reader(shared), subject.owner, subject.identity()),
                    groups.of(shared, subject),
                    donor.and_then(|donor| work.original_in(donor)),
                    frames.into_iter(),
                    &work.mistrusted(),
                )
            });
            blocks.collect()
        };
        let take = || RepairRoom::take(shared, &name, &wanted, &avoided);
        let blocks = store_anew(shared, (&take, &make), &mut self.tally, self.observer)?;
        if let Some(refusal) = blocks.iter().find_map(|block| block.reader.refusal()) {
            self.note_refusal(refusal);
        }
        Ok(note_what_was_met(shared, batch, &blocks)?)
    }

    /// Remembers what could not be read. That a volume is not there is no failure, but told with what could be done.
    fn note_refusal(&mut self, refusal: VolumeError) {
        if let VolumeError::Absent { volume } = refusal {
            self.report.offline.insert(volume);
        } else {
            self.refused = Some(refusal);
        }
    }

    /// Notes what is still wrong with blocks that were treated.
    fn note_remains(&mut self, done: &[DamagedBlockWork]) -> Result<(), RepairError> {
        for work in done {
            self.files.insert(work.file());
            if let Some(rest) = work.look_again(self.shared)? {
                self.add_remains(&rest, rest.damaged_count());
            }
        }
        Ok(())
    }

    fn add_remains(&mut self, work: &DamagedBlockWork, damaged_shards: u64) {
        let lost = work.lost_ranges();
        let file = (self.remains)
            .entry((work.called().clone(), work.descriptor()))
            .or_default();
        file.0 += damaged_shards;
        file.1.extend(lost);
    }

    fn finish(mut self) -> Result<RepairReport, RepairError> {
        if let Some(source) = self.refused {
            return Err(RepairError::Refused { source });
        }
        self.report.shards_repaired += self.tally.shards;
        self.report.bytes_written += self.tally.bytes;
        self.files.append(&mut self.tally.files);
        let reader = self.shared.catalog.read()?;
        for file in self.files.iter().filter(|file| file.get() != 0) {
            let is_whole = reader.file(*file)?.is_some() && reader.damaged_file(*file)?.is_none();
            self.report.files_repaired += u64::from(is_whole);
        }
        let damage = self.remains.into_iter();
        let damage = damage.map(|((called, descriptor), (damaged_shards, mut lost))| {
            ByteRange::merge(&mut lost);
            FileDamage {
                name: called.name,
                kept_version: called.kept_version,
                descriptor,
                damaged_shards,
                lost,
            }
        });
        self.report.damage = damage.collect();
        Ok(self.report)
    }
}
