//! Reading and verifying what is stored, in disk order: what was never verified first, then what was longest ago.
//!
//! What was verified when is remembered as intervals of extents, not as a place to go on from, so that nothing is skipped that
//! came since. It is noted while the scrub goes on, each gigabyte: a scrub that is killed loses at most so much, and the next one
//! goes on behind it.

mod chunk;
mod events;
mod notes;
mod options;
mod parity;
mod selection;

use std::{collections::BTreeSet, sync::Arc};

pub use options::{ScrubDepth, ScrubOptions, ScrubSelection};

use self::{
    events::OnlyEvents,
    notes::Notes,
    selection::{scrub_damaged, scrub_ranges},
};
use super::{
    inspect::{FileDamage, IdleMemory, Inspection},
    observer::Observer,
    pace::{End, Pace},
    publication,
    shared::Shared,
    volume_changes::reconcile,
};
use crate::{
    catalog::{Access, Catalog, CatalogOptions, CatalogReader},
    error::{ScrubError, VolumeError},
    journal::{JournalFault, JournalFinding},
    units::{Epoch, ExtentId, Timestamp, VolumeId},
};

/// What a scrub or a verification has read and found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct ScrubReport {
    /// Files that were looked at.
    pub files: u64,
    /// Blocks that were read.
    pub blocks: u64,
    /// Bytes of frames that were read and compared with their hashes.
    pub bytes_read: u64,
    /// Blocks whose parity was encoded again and compared; they were read once more for that.
    pub blocks_encoded: u64,
    /// Shards that are damaged.
    pub damaged_shards: u64,
    /// Files with damage, in the order of names; those that have lost bytes say which. What a commit has written about its
    /// files stands here as `descriptor of commit <id>`.
    pub damage: Vec<FileDamage>,
    /// Copies of the journal that are gone, and records that copies lack and others have; what a scrub finds, [`Archive::mend_journal`] mends.
    ///
    /// [`Archive::mend_journal`]: super::Archive::mend_journal
    pub journal: Vec<JournalFinding>,
    /// Damage that the catalog did not know of; it knows it now, where it can be written.
    pub news: u64,
    /// Damaged shards that could not be noted, for want of room on the disk of the catalog: a repair will not know of them.
    pub unnoted: u64,
    /// Something could not be noted, for that reason or since the archive is open for reading only: damage, or that bytes were
    /// verified, so that the next scrub reads them again.
    pub is_forgetful: bool,
    /// Extents that the system does not let this process read: nothing is known of what they hold, and nothing of it is noted.
    pub refused: Vec<RefusedExtent>,
    /// Volumes that are not there: what is on them was not read, and counts neither as damaged nor as whole.
    pub offline: BTreeSet<VolumeId>,
    /// Old copies of volumes that were put back: all of them was looked at, what they lack is known, and they are written to again.
    pub reconciled: BTreeSet<VolumeId>,
    /// The budget was used up before everything was read that was asked for.
    pub is_cut_short: bool,
}

/// An extent that the system does not let this process read, such as one with too many open files, or without the rights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedExtent {
    /// The volume that it lies on.
    pub volume: VolumeId,
    /// Which it is.
    pub extent: ExtentId,
    /// What the system said.
    pub reason: String,
}

impl ScrubReport {
    pub(super) fn new(files: u64, inspection: Inspection, observer: &dyn Observer) -> Self {
        let damage = inspection.damage.report(observer);
        let away = |error: &VolumeError| {
            if let VolumeError::Absent { volume } = error {
                Some(*volume)
            } else {
                None
            }
        };
        let refused = inspection.refused;
        Self {
            offline: refused.values().filter_map(away).collect(),
            refused: refused.into_iter().filter_map(RefusedExtent::of).collect(),
            files,
            blocks: inspection.blocks,
            bytes_read: inspection.bytes_read,
            blocks_encoded: inspection.parity.blocks,
            damaged_shards: damage.iter().map(|file| file.damaged_shards).sum(),
            damage,
            journal: Vec::new(),
            news: 0,
            unnoted: 0,
            is_forgetful: false,
            reconciled: BTreeSet::new(),
            is_cut_short: false,
        }
    }

    /// Adds what was found elsewhere, in files that are named later.
    pub fn add(&mut self, other: Self) {
        self.files += other.files;
        self.blocks += other.blocks;
        self.bytes_read += other.bytes_read;
        self.blocks_encoded += other.blocks_encoded;
        self.damaged_shards += other.damaged_shards;
        self.damage.extend(other.damage);
        self.journal.extend(other.journal);
        self.news += other.news;
        self.unnoted += other.unnoted;
        self.is_forgetful |= other.is_forgetful;
        for refused in other.refused {
            if !self.refused.contains(&refused) {
                self.refused.push(refused);
            }
        }
        self.offline.extend(other.offline);
        self.reconciled.extend(other.reconciled);
        self.is_cut_short |= other.is_cut_short;
    }

    /// Returns the number of files that are damaged and can be decoded completely.
    pub fn files_degraded(&self) -> usize {
        let files = self.damage.iter().filter(|file| file.descriptor.is_none());
        files.filter(|file| file.lost.is_empty()).count()
    }

    /// Returns the number of files that have lost bytes.
    pub fn files_lost(&self) -> usize {
        let files = self.damage.iter().filter(|file| file.descriptor.is_none());
        files.filter(|file| !file.lost.is_empty()).count()
    }

    /// Returns the number of descriptors that have lost bytes: no file is worse for that, until the catalog is lost.
    pub fn descriptors_lost(&self) -> usize {
        let descriptors = self.damage.iter().filter(|file| file.descriptor.is_some());
        descriptors.filter(|file| !file.lost.is_empty()).count()
    }
}

impl RefusedExtent {
    fn of((extent, error): (ExtentId, VolumeError)) -> Option<Self> {
        let (VolumeError::Open { volume, source, .. } | VolumeError::Read { volume, source, .. }) = error
        else {
            return None;
        };
        Some(Self {
            volume,
            extent,
            reason: source.to_string(),
        })
    }
}

/// Reads and verifies what is stored, as far as is asked for.
pub(super) fn scrub(
    shared: &Arc<Shared>,
    options: &ScrubOptions,
    observer: &dyn Observer,
) -> Result<ScrubReport, ScrubError> {
    check_catalog(shared)?;
    if observer.is_cancelled() {
        return Err(ScrubError::Cancelled);
    }
    // Volumes come and go while an archive is open; where they cannot be looked at they are taken as they were.
    match shared.look_at_volumes() {
        Ok(()) | Err(_) => {}
    }
    let totals = shared.catalog.read()?.totals()?;
    let files = totals.files + totals.kept.files;
    let clock = Arc::clone(&shared.machine().clock);
    let mut scrub = Scrub {
        shared,
        options: *options,
        pace: Pace::new((options.budget, options.rate), clock, observer),
        observer: OnlyEvents(observer),
        memory: IdleMemory::default(),
        begun: shared.now(),
        total: Inspection::default(),
        told: Vec::new(),
        notes: Notes::default(),
        news: 0,
        unnoted: 0,
        is_forgetful: false,
        offline: BTreeSet::new(),
    };
    let result = match options.selection.plan() {
        Some(plan) => scrub_ranges(&mut scrub, plan),
        None => scrub_damaged(&mut scrub),
    };
    // Also behind a failure: what was found until then is true all the same.
    let result = result.and(scrub.write_down());
    scrub.tell()?;
    let (end, news, unnoted, is_forgetful) =
        (scrub.pace.end(), scrub.news, scrub.unnoted, scrub.is_forgetful);
    let is_all = options.selection == ScrubSelection::All && end.is_none();
    let files = if is_all { files } else { scrub.total.files };
    let offline = std::mem::take(&mut scrub.offline);
    let mut report = ScrubReport {
        damaged_shards: scrub.told.iter().map(|file| file.damaged_shards).sum(),
        damage: scrub.told,
        ..ScrubReport::new(files, scrub.total, observer)
    };
    report.offline.extend(offline);
    result?;
    if is_all && shared.access == Access::Write && report.refused.is_empty() && unnoted == 0 {
        let volumes = shared.volumes();
        let read: BTreeSet<VolumeId> = volumes.readable().map(|member| member.record.id).collect();
        // Where that does not work it is tried again by the next.
        report
            .reconciled
            .extend(reconcile(shared, &read).unwrap_or_default());
    }
    if end == Some(End::Cancelled) {
        return Err(ScrubError::Cancelled);
    }
    Ok(ScrubReport {
        journal: journal_faults(shared)?,
        news,
        unnoted,
        is_forgetful,
        is_cut_short: end == Some(End::Budget),
        ..report
    })
}

/// Damaged blocks that are kept until they are told of.
const MOST_DAMAGED_BLOCKS: usize = 16 * 1024;

/// A scrub while it goes on.
struct Scrub<'a> {
    shared: &'a Arc<Shared>,
    options: ScrubOptions,
    pace: Pace<'a>,
    observer: OnlyEvents<'a>,
    /// Of the workers, from chunk to chunk.
    memory: IdleMemory,
    begun: Timestamp,
    total: Inspection,
    /// Damage that was told of, by names.
    told: Vec<FileDamage>,
    notes: Notes,
    news: u64,
    unnoted: u64,
    /// Something could not be noted.
    is_forgetful: bool,
    /// Volumes that are not there.
    offline: BTreeSet<VolumeId>,
}

impl Scrub<'_> {
    fn tell_of_much(&mut self) -> Result<(), ScrubError> {
        if self.total.damage.block_count() >= MOST_DAMAGED_BLOCKS {
            self.tell()?;
        }
        Ok(())
    }

    /// Tells of the damage that was found since it was told of last. What is known of the other shards of a block decides with what
    /// was found of these.
    fn tell(&mut self) -> Result<(), ScrubError> {
        let mut damage = std::mem::take(&mut self.total.damage);
        let reader = self.shared.catalog.read()?;
        damage.add_known(&reader, self.look())?;
        damage.judge_groups(&reader)?;
        drop(reader);
        let told = std::mem::take(&mut self.told);
        self.told = FileDamage::merged(told, damage.report(self.observer.0));
        Ok(())
    }
}

/// Returns the last publication whose record nobody needs any more.
fn forgotten(reader: &CatalogReader) -> Epoch {
    // Where that cannot be told, all records are looked for.
    publication::journal_state(reader).map_or(Epoch::ZERO, |state| state.forgotten)
}

/// Reads the journal, and returns what its copies lack.
fn journal_faults(shared: &Shared) -> Result<Vec<JournalFinding>, ScrubError> {
    // Read before the journal: what is published meanwhile may stand on some copies only when they are read.
    let reader = shared.catalog.read()?;
    let (epoch, forgotten) = (reader.epoch()?, forgotten(&reader));
    drop(reader);
    let is_fault = |finding: &JournalFinding| {
        let is_lack = matches!(finding.fault, JournalFault::Lacks { first, .. } if first <= epoch);
        let is_gone = matches!(
            finding.fault,
            JournalFault::NoDirectory | JournalFault::Unlistable { .. }
        );
        is_lack || is_gone
    };
    // What cannot be read at all is no reason to keep the rest back.
    let mut journal = (shared.journal().scan_behind(forgotten).map(|scan| scan.findings)).unwrap_or_default();
    // Of a copy that this process was not let read nothing is known.
    let refused: Vec<(u16, u8)> = (journal.iter())
        .filter(|finding| matches!(finding.fault, JournalFault::Refused { .. }))
        .map(|finding| (finding.volume, finding.copy))
        .collect();
    journal.retain(|finding| is_fault(finding) && !refused.contains(&(finding.volume, finding.copy)));
    Ok(journal)
}

/// Verifies the catalog itself: a row that nobody asks for would hide its damage until somebody does.
fn check_catalog(shared: &Shared) -> Result<(), ScrubError> {
    let storage = &shared.machine().storage;
    match Catalog::check(storage, &shared.layout.catalog(), CatalogOptions::default()) {
        Err(error) if error.is_damaged() => Err(error.into()),
        // What cannot be written cannot be checked this way; every row that is read is verified all the same.
        Ok(()) | Err(_) => Ok(()),
    }
}
