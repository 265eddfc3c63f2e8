//! Copies that are missing, damaged or behind, made whole again.

use std::collections::BTreeMap;

use super::{
    CopyPosition, Head, Journal, JournalState, SEGMENT_LEN_BYTES, Scan,
    files::FIRST_RECORD_BYTES,
    layout::{Missing, failed, make_directories},
    record::{RecordEntry, Spot},
};
use crate::{
    error::{HostOperation, JournalError},
    merkle::ChainHash,
    seeded_bugs::{SeededBug, is_on},
    units::{Epoch, to_u64},
};

impl Journal {
    /// Brings every copy up: one that lacks records of the chain, or cannot be gone on with, gets a new segment with the
    /// records that it lacks, which is the place for the next ones too. All durable on return. Old segments stay as they
    /// are, and so does what is forgotten. Returns the state for the head of the chain; a copy that fails is left out, one is enough.
    ///
    /// # Errors
    /// [`JournalError::Forked`] when the scan found a fork or the chain is not the one of `state`;
    /// [`JournalError::Behind`] when it ends before `state`; what the last copy said when none is left.
    pub fn heal(&self, scan: &Scan, state: &JournalState) -> Result<JournalState, JournalError> {
        let head = expect_one_chain(scan, state)?;
        let mut copies = Vec::new();
        let mut last = JournalError::NoCopy;
        for index in 0..self.places.len() {
            match self.heal_copy(index, scan, state) {
                Ok(position) => copies.push(position),
                Err(error) => last = error,
            }
        }
        if copies.is_empty() {
            return Err(last);
        }
        Ok(JournalState {
            epoch: head.epoch,
            hash: head.hash,
            copies,
            ..state.clone()
        })
    }

    /// Goes on behind `state` where the copies end before it, in new segments: the next record names the hash that `state`
    /// remembers. What is between the end of the copies and `state` stays lost to the journal, and a scan says so.
    ///
    /// # Errors
    /// What the last copy said when none is left.
    pub fn restart(&self, state: &JournalState) -> Result<JournalState, JournalError> {
        let mut copies = Vec::new();
        let mut last = JournalError::NoCopy;
        for (index, place) in self.places.iter().enumerate() {
            let known = state.position(place.volume, place.copy);
            let above = known.map_or(0, |position| position.segment);
            let made = make_directories(&*self.storage, &place.directory, Missing::Two)
                .and_then(|()| self.write_lacking(index, above, &[]));
            match made {
                Ok(position) => copies.push(position),
                Err(error) => last = error,
            }
        }
        if copies.is_empty() {
            return Err(last);
        }
        Ok(JournalState {
            copies,
            ..state.clone()
        })
    }

    fn heal_copy(
        &self,
        index: usize,
        scan: &Scan,
        state: &JournalState,
    ) -> Result<CopyPosition, JournalError> {
        let place = &self.places[index];
        let known = state.position(place.volume, place.copy);
        let is_needed = |entry: &&RecordEntry| entry.head.epoch > state.forgotten;
        let Some(known) = known else {
            make_directories(&*self.storage, &place.directory, Missing::Two)?;
            let mut doubtful = self.not_for_certain_on(index, scan);
            doubtful.retain(is_needed);
            return self.write_lacking(index, 0, &doubtful);
        };
        let lacking: Vec<&RecordEntry> = self.missing_on(index, scan.chain()).filter(is_needed).collect();
        if lacking.is_empty()
            && let Some(end) = scan.ends.get(&index)
            && end.segment >= known.segment
            && !self.is_closed(index, end.segment)
            // A segment that is shorter than it was is not gone on with.
            && (known.segment != end.segment || known.end_bytes <= end.end_bytes)
        {
            return Ok(*end);
        }
        make_directories(&*self.storage, &place.directory, Missing::Two)?;
        self.write_lacking(index, known.segment, &lacking)
    }

    /// Returns the records of the chain that a copy without a place may lack, whatever is read there: it lost its place by a
    /// write or sync that failed, perhaps in another process, and what that left may be in the memory of the system only.
    ///
    /// A segment that is long was filled record by record, and each was synced before the next; the last may be what failed.
    fn not_for_certain_on<'a>(&self, index: usize, scan: &'a Scan) -> Vec<&'a RecordEntry> {
        let place = &self.places[index];
        let is_here = |spot: &&Spot| (spot.place.volume, spot.place.copy) == (place.volume, place.copy);
        let mut last: BTreeMap<u32, u64> = BTreeMap::new();
        for spot in scan.chain().iter().flat_map(|entry| &entry.spots).filter(is_here) {
            let offset = last.entry(spot.place.segment).or_default();
            *offset = spot.offset.max(*offset);
        }
        let is_certain = |spot: &Spot| {
            let last = last.get(&spot.place.segment).copied().unwrap_or(0);
            last >= SEGMENT_LEN_BYTES / 2 && spot.offset < last
        };
        let is_doubtful = |entry: &&RecordEntry| !entry.spots.iter().filter(is_here).any(is_certain);
        scan.chain().iter().filter(is_doubtful).collect()
    }

    /// Writes records into new segments, each synced before the next begins.
    fn write_lacking(
        &self,
        index: usize,
        above: u32,
        lacking: &[&RecordEntry],
    ) -> Result<CopyPosition, JournalError> {
        let place = self.place_of(index, 0);
        let (mut segment, mut file) = self.new_segment(index, above, FIRST_RECORD_BYTES)?;
        let mut end_bytes = FIRST_RECORD_BYTES;
        let sync = |segment, file: &dyn crate::storage::StorageFile| {
            file.sync_data().map_err(|error| {
                self.close_for_good(index, segment);
                failed(HostOperation::Sync, &self.path(index, segment))(error)
            })
        };
        for entry in lacking {
            if is_on(SeededBug::JournalHealedWithoutRecords) {
                break;
            }
            let bytes = self.load(entry)?.encode(self.archive)?;
            let next = end_bytes + to_u64(bytes.len());
            if next > SEGMENT_LEN_BYTES && end_bytes > FIRST_RECORD_BYTES {
                sync(segment, &*file)?;
                (segment, file) = self.new_segment(index, segment, FIRST_RECORD_BYTES)?;
                end_bytes = FIRST_RECORD_BYTES;
            }
            self.allocate(index, segment, &*file, end_bytes + to_u64(bytes.len()))?;
            if let Err(error) = file.write_all_at(end_bytes, &bytes) {
                self.close_for_good(index, segment);
                return Err(failed(HostOperation::Write, &self.path(index, segment))(error));
            }
            end_bytes += to_u64(bytes.len());
        }
        sync(segment, &*file)?;
        Ok(CopyPosition {
            volume: place.volume,
            copy: place.copy,
            segment,
            end_bytes,
        })
    }
}

impl Scan {
    /// Checks that a state stands on the chain, and that there is only one.
    ///
    /// # Errors
    /// [`JournalError::Forked`], and [`JournalError::Behind`] when the chain ends before the state.
    pub fn check(&self, state: &JournalState) -> Result<(), JournalError> {
        expect_one_chain(self, state).map(drop)
    }
}

/// Returns the head of the chain, if `state` stands on it or before it.
fn expect_one_chain(scan: &Scan, state: &JournalState) -> Result<Head, JournalError> {
    if let Some(fork) = scan.forks.first() {
        return Err((*fork).into());
    }
    let head = scan.head.unwrap_or(Head {
        epoch: Epoch::ZERO,
        hash: ChainHash::NONE,
    });
    if state.epoch > head.epoch {
        return Err(JournalError::Behind {
            journal: head.into(),
            catalog: Head::of(state).into(),
        });
    }
    match scan.entry(state.epoch) {
        Some(entry) if entry.head != Head::of(state) => Err(JournalError::Forked {
            first: head.into(),
            second: Head::of(state).into(),
        }),
        // Before the chain begins, or nothing was published yet.
        _ => Ok(head),
    }
}
