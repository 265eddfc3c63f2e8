//! Reading and verifying what is stored, in disk order: what was never verified first, then what was longest ago.
//!
//! What was verified when is remembered as intervals of extents, not as a place to go on from, so that nothing is skipped that
//! came since. It is noted while the scrub goes on, a chunk at a time: a scrub that is stopped or killed loses at most one, and
//! the next one goes on behind it.

mod chunk;
mod options;
mod pace;
mod parity;
mod selection;

use std::sync::Arc;

pub use options::{ScrubDepth, ScrubOptions, ScrubSelection};

use self::{
    pace::{End, OnlyEvents, Pace},
    selection::{scrub_damaged, scrub_ranges},
};
use super::{
    inspect::{FileDamage, Inspection},
    observer::Observer,
    shared::Shared,
};
use crate::{
    catalog::{
        Access, Catalog, CatalogOptions, Knowledge, Scrubbed, ShardAddress, ShardOwner, TransactionSize,
    },
    error::ScrubError,
    journal::{JournalFault, JournalFinding},
    units::{ShardIndex, Timestamp, to_u64},
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
    /// The budget was used up before everything was read that was asked for.
    pub is_cut_short: bool,
}

impl ScrubReport {
    pub(super) fn new(files: u64, inspection: Inspection, observer: &dyn Observer) -> Self {
        let damage = inspection.damage.report(observer);
        Self {
            files,
            blocks: inspection.blocks,
            bytes_read: inspection.bytes_read,
            blocks_encoded: inspection.parity.blocks,
            damaged_shards: damage.iter().map(|file| file.damaged_shards).sum(),
            damage,
            journal: Vec::new(),
            news: 0,
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
    let files = shared.catalog.read()?.totals()?.files;
    let clock = Arc::clone(&shared.machine().clock);
    let mut scrub = Scrub {
        shared,
        options: *options,
        pace: Pace::new(options, clock, observer),
        observer: OnlyEvents(observer),
        begun: shared.now(),
        total: Inspection::default(),
        news: 0,
    };
    let result = match options.selection.plan() {
        Some(plan) => scrub_ranges(&mut scrub, plan),
        None => scrub_damaged(&mut scrub),
    };
    let (end, news) = (scrub.pace.end(), scrub.news);
    let mut inspection = scrub.total;
    if shared.access == Access::Write {
        // What is known of the other shards of a block decides with what was found of these.
        inspection.damage.add_known(&shared.catalog.read()?)?;
    }
    // Also behind a failure: what was found until then is true all the same.
    let report = ScrubReport::new(files, inspection, observer);
    result?;
    if end == Some(End::Cancelled) {
        return Err(ScrubError::Cancelled);
    }
    Ok(ScrubReport {
        journal: journal_faults(shared)?,
        news,
        is_cut_short: end == Some(End::Budget),
        ..report
    })
}

/// A scrub while it goes on.
struct Scrub<'a> {
    shared: &'a Arc<Shared>,
    options: ScrubOptions,
    pace: Pace<'a>,
    observer: OnlyEvents<'a>,
    begun: Timestamp,
    total: Inspection,
    news: u64,
}

impl Scrub<'_> {
    /// Adds what a chunk has come to, and lets the catalog know where it takes that.
    fn note(&mut self, found: Inspection, seen: &Seen<'_>) -> Result<(), ScrubError> {
        let (damage, parity) = (&found.found, &found.parity);
        let size = TransactionSize {
            damaged_shards: to_u64(damage.len() + parity.wrong.len() + parity.right.len()) + seen.cleared(),
            verified: seen.verified(),
            ..TransactionSize::default()
        };
        if self.shared.takes_notes(size) {
            let mut writer = self.shared.catalog.write()?;
            self.news += match seen {
                Seen::Range(scrubbed) => writer.record_scrub(&Scrubbed { damage, ..*scrubbed })?,
                Seen::Frames { whole } => {
                    writer.clear_damage(whole)?;
                    writer.record_damage(damage, Knowledge::Whole)?
                }
                // What was not looked at may be as bad as it was.
                Seen::Headers => writer.record_damage(damage, Knowledge::Part)?,
            };
            writer.clear_encoding_damage(&parity.right)?;
            self.news += writer.record_damage(&parity.wrong, Knowledge::Part)?;
            writer.commit()?;
            self.shared.met.forget();
        }
        self.total.merge(found);
        Ok(())
    }
}

/// What of the archive a chunk has looked at.
enum Seen<'a> {
    /// All of a range.
    Range(Scrubbed<'a>),
    /// Frames here and there, of which these are whole.
    Frames {
        whole: &'a [(ShardOwner, ShardIndex, ShardAddress)],
    },
    /// Headers only.
    Headers,
}

impl Seen<'_> {
    fn cleared(&self) -> u64 {
        match self {
            Self::Frames { whole } => to_u64(whole.len()),
            Self::Range(_) | Self::Headers => 0,
        }
    }

    fn verified(&self) -> u64 {
        match self {
            Self::Range(scrubbed) => 1 + to_u64(scrubbed.read.len()),
            Self::Frames { .. } | Self::Headers => 0,
        }
    }
}

/// Reads the journal, and returns what its copies lack.
fn journal_faults(shared: &Shared) -> Result<Vec<JournalFinding>, ScrubError> {
    // Read before the journal: what is published meanwhile may stand on some copies only when they are read.
    let epoch = shared.catalog.read()?.epoch()?;
    let is_fault = |finding: &JournalFinding| {
        let is_lack = matches!(finding.fault, JournalFault::Lacks { first, .. } if first <= epoch);
        let is_gone = matches!(
            finding.fault,
            JournalFault::NoDirectory | JournalFault::Unlistable { .. }
        );
        is_lack || is_gone
    };
    // What cannot be read at all is no reason to keep the rest back.
    let mut journal = (shared.journal.scan().map(|scan| scan.findings)).unwrap_or_default();
    journal.retain(is_fault);
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
