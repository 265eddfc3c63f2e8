//! All copies, read completely.

use std::collections::BTreeMap;

use super::{
    Journal,
    chain::{Assembled, Fork, Head, Part, Records},
    files::FIRST_RECORD_BYTES,
    finding::{JournalFault, JournalFinding},
    record::{JournalRecord, RecordEntry},
};
use crate::{error::JournalError, format::CopyPosition, storage::FileAccess, units::Epoch};

/// What [`Journal::scan`] has found. It holds no body: some 250 bytes for each record, and 24 for each place of one.
#[derive(Debug)]
#[must_use = "a fork must not be passed over"]
pub struct Scan {
    /// The newest record of the chain; `None` when there is no record at all.
    pub head: Option<Head>,
    /// The first epoch of the chain: 1, unless older records are lost on all copies.
    pub first_epoch: Option<Epoch>,
    /// Older records that are cut off from the chain by lost ones, newest first.
    pub older: Vec<Part>,
    /// Where the archive went two ways.
    pub forks: Vec<Fork>,
    /// Records that were written to a copy that failed, and that their writer did not count on: no damage.
    pub abandoned: Vec<Head>,
    /// What is wrong with the copies.
    pub findings: Vec<JournalFinding>,
    /// Ascending, one for each epoch from the first one on.
    pub(super) chain: Vec<RecordEntry>,
    /// Where each copy could go on, by index of the place; only those with whole newest segments.
    pub(super) ends: BTreeMap<usize, CopyPosition>,
}

impl Scan {
    /// Returns the records of the chain in ascending order.
    pub fn chain(&self) -> &[RecordEntry] {
        &self.chain
    }

    /// Returns which records of the chain are not on every copy: what can be mended from the others.
    pub fn lacking(&self) -> impl Iterator<Item = &JournalFinding> {
        let is_lack = |finding: &&JournalFinding| matches!(finding.fault, JournalFault::Lacks { .. });
        self.findings.iter().filter(is_lack)
    }

    /// Returns the record of an epoch.
    pub fn entry(&self, epoch: Epoch) -> Option<&RecordEntry> {
        let first = self.first_epoch?.get();
        let index = epoch.get().checked_sub(first)?;
        self.chain.get(usize::try_from(index).ok()?)
    }
}

impl Journal {
    /// Reads every segment of every copy and finds the chain in what all of them have together, what is wrong, and forks.
    ///
    /// # Errors
    /// None so far: what cannot be read is a finding.
    pub fn scan(&self) -> Result<Scan, JournalError> {
        self.scan_behind(Epoch::ZERO)
    }

    /// Does the same where records up to `forgotten` may be gone: a copy lacks none of those.
    ///
    /// # Errors
    /// As for [`Self::scan`].
    pub fn scan_behind(&self, forgotten: Epoch) -> Result<Scan, JournalError> {
        let mut records = Records::default();
        let mut findings = Vec::new();
        let mut ends = BTreeMap::new();
        for index in 0..self.places.len() {
            match self.list(index) {
                Err(fault) => findings.push(self.finding(index, None, fault)),
                Ok(listed) => {
                    for segment in listed {
                        // Of the last one it stays, if that one is whole.
                        ends.remove(&index);
                        if let Some(end) = self.scan_segment(index, segment, &mut records, &mut findings) {
                            ends.insert(index, end);
                        }
                    }
                }
            }
        }
        let Assembled {
            chain,
            older,
            forks,
            abandoned,
        } = records.assemble();
        for index in 0..self.places.len() {
            findings.extend(self.lacking(index, &chain, forgotten));
        }
        Ok(Scan {
            head: chain.last().map(|entry| entry.head),
            first_epoch: chain.first().map(|entry| entry.head.epoch),
            older,
            forks,
            abandoned,
            findings,
            chain,
            ends,
        })
    }

    /// Reads one record of the chain, from any copy that is whole.
    ///
    /// # Errors
    /// [`JournalError::NotInChain`], and what [`Self::load`] says.
    pub fn read(&self, scan: &Scan, epoch: Epoch) -> Result<JournalRecord, JournalError> {
        let entry = scan.entry(epoch).ok_or(JournalError::NotInChain { epoch })?;
        self.load(entry)
    }

    /// Returns where the segment could be gone on with.
    fn scan_segment(
        &self,
        index: usize,
        segment: u32,
        records: &mut Records,
        findings: &mut Vec<JournalFinding>,
    ) -> Option<CopyPosition> {
        let (file, len_bytes) = match self.open_any(index, segment, FileAccess::Read) {
            Ok(opened) => opened,
            Err(fault) => {
                findings.push(self.finding(index, Some(segment), fault));
                return None;
            }
        };
        let header = self.check_header(index, segment, &*file);
        let has_header = header.is_ok();
        findings.extend(
            header
                .err()
                .map(|fault| self.finding(index, Some(segment), fault)),
        );
        let place = self.place_of(index, segment);
        // A damaged header costs no record.
        let walked = self.walk(&*file, place, FIRST_RECORD_BYTES, len_bytes);
        let is_usable = has_header && !walked.has_unreadable() && !self.is_closed(index, segment);
        let end = CopyPosition {
            volume: place.volume,
            copy: place.copy,
            segment,
            end_bytes: walked.end_bytes,
        };
        let faults = walked.faults.into_iter();
        findings.extend(faults.map(|fault| self.finding(index, Some(segment), fault)));
        walked.entries.into_iter().for_each(|entry| records.add(entry));
        is_usable.then_some(end)
    }

    /// The runs of records of the chain that a copy does not have.
    fn lacking(&self, index: usize, chain: &[RecordEntry], forgotten: Epoch) -> Vec<JournalFinding> {
        let mut runs: Vec<(Epoch, u64)> = Vec::new();
        for entry in self.missing_on(index, chain) {
            let epoch = entry.head.epoch;
            if epoch <= forgotten {
                continue;
            }
            match runs.last_mut() {
                Some((first, count)) if first.get() + *count == epoch.get() => *count += 1,
                _ => runs.push((epoch, 1)),
            }
        }
        let faults = runs
            .into_iter()
            .map(|(first, count)| JournalFault::Lacks { first, count });
        faults.map(|fault| self.finding(index, None, fault)).collect()
    }

    /// The records of a chain that do not stand on a copy.
    pub(super) fn missing_on<'a>(
        &self,
        index: usize,
        chain: &'a [RecordEntry],
    ) -> impl Iterator<Item = &'a RecordEntry> {
        let key = (self.places[index].volume, self.places[index].copy);
        chain.iter().filter(move |entry| {
            let mut spots = entry.spots.iter();
            !spots.any(|spot| (spot.place.volume, spot.place.copy) == key)
        })
    }
}
