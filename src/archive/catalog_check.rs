//! Checking the catalog: itself, against the journal, and against the extents on the volumes.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Archive,
    describe::read_text,
    publication::{journal_state, parse},
    shared::Shared,
};
use crate::{
    catalog::{Catalog, CatalogOptions, CatalogReader, Described, ExtentRecord, Slice},
    error::{CatalogError, ChainHead, CommitError},
    format::JournalState,
    journal::{Head, JournalFault, JournalFinding, Scan},
    units::{CommitId, Epoch, ExtentId, VolumeId, to_u64},
};

/// What checking a catalog has come to.
#[derive(Debug, Default)]
#[must_use]
pub struct CatalogCheck {
    /// Publications that the catalog has.
    pub epoch: Option<Epoch>,
    /// Records of the journal that were read.
    pub records: u64,
    /// Slices of checkpoints that were read.
    pub slices: u64,
    /// Extents that were looked for.
    pub extents: u64,
    /// What is wrong; nothing where this is empty.
    pub problems: Vec<CatalogProblem>,
    /// Extents on the volumes that the catalog does not know: what was reserved and never published. They are left alone.
    pub unknown_extents: Vec<(VolumeId, ExtentId)>,
    /// Volumes that are away: nothing is known of them.
    pub away: Vec<VolumeId>,
}

/// Something that a catalog should not be.
#[derive(Debug)]
#[non_exhaustive]
pub enum CatalogProblem {
    /// Rows or pages are not what was written, or contradict each other.
    Damaged {
        /// In what way.
        source: CatalogError,
    },
    /// The journal went another way, or ends before the catalog.
    OtherJournal {
        /// What the catalog stands on.
        catalog: ChainHead,
        /// What the journal has there, or where it ends.
        journal: Option<ChainHead>,
    },
    /// Records that are still needed are on no copy, or say nothing.
    RecordsLost {
        /// The first of them.
        first: Epoch,
        /// How many.
        count: u64,
    },
    /// A copy of the journal lacks something; `recover` mends it.
    JournalFault(JournalFinding),
    /// A slice of a checkpoint cannot be read; the next checkpoint takes its place.
    SliceLost {
        /// The commit that has stored it.
        commit: CommitId,
    },
    /// An extent is not on its volume.
    ExtentMissing {
        /// The volume.
        volume: VolumeId,
        /// The extent.
        extent: ExtentId,
    },
    /// An extent ends before what the catalog has in it.
    ExtentShort {
        /// The volume.
        volume: VolumeId,
        /// The extent.
        extent: ExtentId,
        /// Its length in bytes.
        len_bytes: u64,
        /// The end of what is committed in it.
        end_bytes: u64,
    },
}

impl Archive {
    /// Checks the catalog: its pages and rows, whether they agree with each other, with the journal, with the checkpoints and with
    /// the extents that are on the volumes. Reads all of it; no file data. What is wrong comes back as values.
    ///
    /// # Errors
    /// [`CommitError`] when something cannot be read that says nothing about the catalog.
    pub fn check_catalog(&self) -> Result<CatalogCheck, CommitError> {
        check(&self.shared)
    }
}

/// Checks the catalog of an open archive. Reads all of it, all of the journal and the checkpoints; no file data.
pub(super) fn check(shared: &Shared) -> Result<CatalogCheck, CommitError> {
    let mut check = CatalogCheck::default();
    let storage = &shared.machine().storage;
    match Catalog::check(storage, &shared.layout.catalog(), CatalogOptions::default()) {
        Err(source) if source.is_damaged() => check.problems.push(CatalogProblem::Damaged { source }),
        // What cannot be written cannot be checked this way; every row is read below all the same.
        Ok(()) | Err(_) => {}
    }
    let reader = shared.catalog.read()?;
    check.epoch = Some(reader.epoch()?);
    let damaged = reader.prove_all()?.into_iter();
    (check.problems).extend(damaged.map(|source| CatalogProblem::Damaged { source }));
    if !check.problems.is_empty() {
        // What it says of others is not worth much.
        return Ok(check);
    }
    check_journal(shared, &reader, &mut check)?;
    check_slices(shared, &reader, &mut check)?;
    let extents = reader.extents()?;
    drop(reader);
    check_extents(shared, &extents, &mut check)?;
    Ok(check)
}

fn check_journal(
    shared: &Shared,
    reader: &CatalogReader,
    check: &mut CatalogCheck,
) -> Result<(), CommitError> {
    let state = journal_state(reader)?;
    let scan = shared.journal().scan_behind(state.forgotten)?;
    check_head(&scan, &state, check);
    let mut lost = Vec::new();
    let needed = (state.forgotten.get() + 1..=state.epoch.get()).map(Epoch::new);
    for epoch in needed {
        let record = scan
            .entry(epoch)
            .and_then(|entry| shared.journal().load(entry).ok());
        if record.is_some_and(|record| parse(&record).is_ok()) {
            check.records += 1;
        } else {
            lost.push(epoch);
        }
    }
    for run in lost.chunk_by(|before, after| before.next() == *after) {
        check.problems.push(CatalogProblem::RecordsLost {
            first: run[0],
            count: to_u64(run.len()),
        });
    }
    // What is published just now may be on some copies only.
    let is_settled = |finding: &&JournalFinding| matches!(finding.fault, JournalFault::Lacks { first, .. } if first <= state.epoch);
    let lacking = scan.lacking().filter(is_settled).cloned();
    (check.problems).extend(lacking.map(CatalogProblem::JournalFault));
    Ok(())
}

fn check_head(scan: &Scan, state: &JournalState, check: &mut CatalogCheck) {
    let catalog = Head::of(state);
    let other = match scan.entry(state.epoch) {
        Some(entry) if entry.head == catalog => scan.forks.first().map(|fork| Some(fork.second)),
        Some(entry) => Some(Some(entry.head)),
        None if state.epoch == Epoch::ZERO => None,
        None => Some(scan.head),
    };
    if let Some(journal) = other {
        check.problems.push(CatalogProblem::OtherJournal {
            catalog: catalog.into(),
            journal: journal.map(ChainHead::from),
        });
    }
}

/// Reads the slices of the checkpoints, each from any copy that is whole.
fn check_slices(
    shared: &Shared,
    reader: &CatalogReader,
    check: &mut CatalogCheck,
) -> Result<(), CommitError> {
    for generation in reader.checkpoints()?.generations {
        for commit in generation.slices {
            let found = reader.descriptor(commit)?;
            let found = found.filter(|found| found.described == Described::Slice);
            let bytes = found.and_then(|found| read_text(shared.volumes(), (commit, &found.block)));
            if bytes.is_some_and(|bytes| Slice::parse(&bytes).is_ok()) {
                check.slices += 1;
            } else {
                check.problems.push(CatalogProblem::SliceLost { commit });
            }
        }
    }
    Ok(())
}

/// Compares the extents that the catalog knows with those that are there.
fn check_extents(
    shared: &Shared,
    extents: &[ExtentRecord],
    check: &mut CatalogCheck,
) -> Result<(), CommitError> {
    let known: BTreeSet<ExtentId> = extents.iter().map(|extent| extent.id).collect();
    for member in shared.volumes().members() {
        let volume = member.record.id;
        if !member.is_readable() {
            check.away.push(volume);
            continue;
        }
        let listed = member.volume.extents()?;
        let there: BTreeMap<ExtentId, u64> =
            listed.iter().map(|stat| (stat.extent, stat.len_bytes)).collect();
        for extent in extents.iter().filter(|extent| extent.volume == volume) {
            check.extents += 1;
            match there.get(&extent.id) {
                // What holds nothing may be made only when something is written.
                None if extent.end_bytes > 0 => check.problems.push(CatalogProblem::ExtentMissing {
                    volume,
                    extent: extent.id,
                }),
                Some(&len_bytes) if len_bytes < extent.end_bytes => {
                    check.problems.push(CatalogProblem::ExtentShort {
                        volume,
                        extent: extent.id,
                        len_bytes,
                        end_bytes: extent.end_bytes,
                    });
                }
                None | Some(_) => {}
            }
        }
        let unknown = listed
            .iter()
            .map(|stat| stat.extent)
            .filter(|extent| !known.contains(extent));
        check
            .unknown_extents
            .extend(unknown.map(|extent| (volume, extent)));
    }
    Ok(())
}
