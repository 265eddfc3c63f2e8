//! What stands behind a state: nothing, torn bytes, or records that the catalog has not heard of.

use super::{
    CopyPosition, Head, Journal, JournalState,
    chain::Records,
    files::{Acquaintance, FIRST_RECORD_BYTES, Segment},
    finding::{JournalFault, JournalFinding},
    record::{JournalRecord, RecordEntry},
    walk::{Walked, is_zero},
};
use crate::{
    error::JournalError,
    format::JOURNAL_ALIGNMENT_BYTES,
    storage::FileAccess,
    units::{Epoch, to_usize},
};

/// What [`Journal::tail`] has found.
#[derive(Debug)]
#[must_use = "what is ahead of the catalog comes first"]
pub struct Tail {
    /// The same head, with positions behind everything that stands there, torn or whole. A copy that is of no use now has
    /// none.
    pub state: JournalState,
    /// The record that follows the state, if there is one in any copy.
    pub next: Option<JournalRecord>,
    /// All records that follow the state, in order, `next` among them: for [`Journal::load`].
    pub ahead: Vec<RecordEntry>,
    /// What is wrong with the copies.
    pub findings: Vec<JournalFinding>,
}

/// What is gathered copy by copy.
#[derive(Debug, Default)]
struct Gathered {
    copies: Vec<CopyPosition>,
    records: Records,
    findings: Vec<JournalFinding>,
    /// Segments newer than the one of the state, and where they end.
    newer: Vec<CopyPosition>,
    /// The last segments of copies without a position that were not read again.
    skipped: Vec<u32>,
}

impl Journal {
    /// Looks at what stands behind `state`, for each publication and each opening: one small read and one listing for each
    /// copy. The first look at a segment, and one that finds something, read it from the state's end on; for a copy
    /// without a position all its segments are read, once.
    ///
    /// What is wrong with a copy is a finding, and it gets no position then; [`Self::heal`] gives it a new one. A state
    /// that comes back without any copy cannot be appended to. A caller that finds
    /// [`JournalFault::Unconnected`] records must not publish: the archive is further than the catalog and what is between
    /// cannot be read here; a [`Self::scan`] says more.
    ///
    /// # Errors
    /// [`JournalError::Forked`] when two records follow the state and neither was abandoned knowingly; the error of
    /// [`Self::load`] when the next record was whole and cannot be read any more.
    pub fn tail(&self, state: &JournalState) -> Result<Tail, JournalError> {
        self.remember_names(state);
        let mut gathered = self.look_behind_all(state);
        if gathered.copies.is_empty() && !gathered.skipped.is_empty() {
            // What the others would say is not known, so nothing is skipped.
            self.remembered(|open| open.looked_through.clear());
            gathered = self.look_behind_all(state);
        }
        let mut assembled = gathered.records.take_followers(Head::of(state)).assemble();
        if let Some(fork) = assembled.forks.pop() {
            return Err(fork.into());
        }
        let ahead = assembled.chain;
        report_unconnected(state, &mut gathered);
        move_to_newer(&mut gathered, &ahead);
        let next = ahead.first().map(|entry| self.load(entry)).transpose()?;
        Ok(Tail {
            state: JournalState {
                copies: gathered.copies,
                ..state.clone()
            },
            next,
            ahead,
            findings: gathered.findings,
        })
    }

    /// Notes which segments the catalog names. A new one of such a number, half written, would be taken for the one that is
    /// gone.
    fn remember_names(&self, state: &JournalState) {
        for position in &state.copies {
            if let Some(index) = self.index_of(position.volume, position.copy) {
                self.remembered(|open| {
                    let named = open.named.entry(self.key_of(index)).or_default();
                    *named = position.segment.max(*named);
                });
            }
        }
    }

    fn look_behind_all(&self, state: &JournalState) -> Gathered {
        let mut gathered = Gathered::default();
        for index in 0..self.places.len() {
            self.look_behind(index, state, &mut gathered);
        }
        gathered
    }

    fn look_behind(&self, index: usize, state: &JournalState, gathered: &mut Gathered) {
        let place = &self.places[index];
        let position = state.position(place.volume, place.copy);
        let listed = self.list(index).unwrap_or_else(|fault| {
            gathered.findings.push(self.finding(index, None, fault));
            Vec::new()
        });
        let newest_known = if let Some(position) = position {
            self.remembered(|open| open.looked_through.remove(&self.key_of(index)));
            self.look_at_end(index, position, Head::of(state), gathered);
            position.segment
        } else {
            let finding = self.finding(index, None, JournalFault::NoPosition);
            gathered.findings.push(finding);
            // All of it once. A long journal is not read again for each record: what is ahead stands on the copies with
            // positions too.
            let last = listed.last().copied().unwrap_or(0);
            let known = self.remembered(|open| open.looked_through.insert(self.key_of(index), last));
            gathered.skipped.extend(known);
            known.unwrap_or(0)
        };
        // Somebody may have gone on in a new segment and died before the catalog heard of it.
        for segment in listed.into_iter().filter(|segment| *segment > newest_known) {
            self.look_at_newer(index, segment, gathered);
        }
    }

    fn look_at_end(&self, index: usize, position: CopyPosition, head: Head, gathered: &mut Gathered) {
        let end = position.end_bytes;
        let segment = match self.segment(index, position.segment) {
            // A file that ends inside a torn sector ends behind it for a position.
            Ok(segment)
                if segment.len_bytes.div_ceil(JOURNAL_ALIGNMENT_BYTES) < end / JOURNAL_ALIGNMENT_BYTES =>
            {
                let fault = JournalFault::SegmentShort {
                    len_bytes: segment.len_bytes,
                    end_bytes: end,
                };
                let finding = self.finding(index, Some(position.segment), fault);
                gathered.findings.push(finding);
                return;
            }
            Ok(segment) => segment,
            Err(fault) => {
                let finding = self.finding(index, Some(position.segment), fault);
                gathered.findings.push(finding);
                // Given up, with a damaged header, or not ours to write: what stands there may be a record all the same.
                if let Ok((file, len)) = self.open_any(index, position.segment, FileAccess::Read) {
                    let walked = self.walk(&*file, position.place(), end, len);
                    self.take(index, position.segment, walked, gathered);
                }
                return;
            }
        };
        if segment.acquaintance == Acquaintance::Known && is_clean_at(&segment, end) {
            gathered.copies.push(position);
            return;
        }
        let walked = self.walk(&*segment.file, position.place(), end, segment.len_bytes);
        let (is_readable, end_bytes) = (!walked.has_unreadable(), walked.end_bytes);
        self.take(index, position.segment, walked, gathered);
        let has_head = segment.acquaintance == Acquaintance::Known || self.has_head(index, position, head);
        if !has_head {
            let fault = JournalFault::Lacks {
                first: head.epoch,
                count: 1,
            };
            let finding = self.finding(index, Some(position.segment), fault);
            gathered.findings.push(finding);
            // Later looks are to find it lacking as well, until it is healed.
            self.forget(index);
            return;
        }
        if is_readable {
            gathered.copies.push(CopyPosition {
                end_bytes,
                ..position
            });
        }
    }

    /// Says whether a copy has the record that a state stands on. It was synced there, so where it is not, it was damaged, or
    /// this is a copy of another time or of an archive that went another way.
    fn has_head(&self, index: usize, position: CopyPosition, head: Head) -> bool {
        // A copy that goes on in an empty segment may have been restarted, without what was lost.
        if head.epoch == Epoch::ZERO || position.end_bytes == FIRST_RECORD_BYTES {
            return true;
        }
        // Nearly always in the last: a copy that was made whole may have it before.
        let segments = (1..=position.segment).rev();
        let listed = self.list(index).unwrap_or_default();
        segments
            .filter(|segment| listed.contains(segment))
            .any(|segment| {
                let Ok((file, len_bytes)) = self.open_any(index, segment, FileAccess::Read) else {
                    return false;
                };
                let end = if segment == position.segment {
                    position.end_bytes.min(len_bytes)
                } else {
                    len_bytes
                };
                let place = self.place_of(index, segment);
                let walked = self.walk(&*file, place, FIRST_RECORD_BYTES.min(end), end);
                walked.entries.iter().any(|entry| entry.head == head)
            })
    }

    fn look_at_newer(&self, index: usize, segment: u32, gathered: &mut Gathered) {
        let (file, len_bytes) = match self.open_any(index, segment, FileAccess::Read) {
            Ok(opened) => opened,
            Err(fault) => {
                gathered.findings.push(self.finding(index, Some(segment), fault));
                return;
            }
        };
        let place = self.place_of(index, segment);
        let walked = self.walk(&*file, place, FIRST_RECORD_BYTES, len_bytes);
        match self.check_header(index, segment, &*file) {
            // Half made: nothing is wrong with the copy for that.
            Err(JournalFault::SegmentHeader { .. }) if walked.entries.is_empty() => {}
            Err(fault) => gathered.findings.push(self.finding(index, Some(segment), fault)),
            Ok(()) if !walked.has_unreadable() && !self.is_closed(index, segment) => {
                gathered.newer.push(CopyPosition {
                    volume: place.volume,
                    copy: place.copy,
                    segment,
                    end_bytes: walked.end_bytes,
                });
            }
            Ok(()) => {}
        }
        self.take(index, segment, walked, gathered);
    }

    fn take(&self, index: usize, segment: u32, walked: Walked, gathered: &mut Gathered) {
        let faults = walked.faults.into_iter();
        gathered
            .findings
            .extend(faults.map(|fault| self.finding(index, Some(segment), fault)));
        walked
            .entries
            .into_iter()
            .for_each(|entry| gathered.records.add(entry));
    }
}

/// Records that do not follow the state, though they are newer.
fn report_unconnected(state: &JournalState, gathered: &mut Gathered) {
    let newer = gathered
        .records
        .iter()
        .filter(|entry| entry.head.epoch > state.epoch);
    for (entry, spot) in newer.flat_map(|entry| entry.spots.iter().map(move |spot| (entry, spot))) {
        let fault = JournalFault::Unconnected {
            offset: spot.offset,
            head: entry.head,
        };
        gathered.findings.push(JournalFinding {
            volume: spot.place.volume,
            copy: spot.place.copy,
            segment: Some(spot.place.segment),
            fault,
        });
    }
}

/// Whether nothing was written where the next record goes.
fn is_clean_at(segment: &Segment, end: u64) -> bool {
    let len = JOURNAL_ALIGNMENT_BYTES.min(segment.len_bytes.saturating_sub(end));
    let mut sector = vec![0; to_usize(len)];
    segment.file.read_exact_at(end, &mut sector).is_ok() && is_zero(&sector)
}

/// A copy that has a record of `ahead` in a newer segment goes on there: its writer may have given the older one up.
fn move_to_newer(gathered: &mut Gathered, ahead: &[RecordEntry]) {
    for newer in &gathered.newer {
        let mut spots = ahead.iter().flat_map(|entry| &entry.spots);
        if !spots.any(|spot| spot.place == newer.place()) {
            continue;
        }
        let is_same =
            |position: &&mut CopyPosition| (position.volume, position.copy) == (newer.volume, newer.copy);
        // Ascending, so the newest of them stays. A copy without a position is healed, not moved.
        if let Some(position) = gathered.copies.iter_mut().find(is_same) {
            *position = *newer;
        }
    }
}
