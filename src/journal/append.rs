//! The commit point: one record on all copies, synced.

use std::sync::Arc;

use super::{
    CopyPosition, Head, Journal, JournalState, files::FIRST_RECORD_BYTES, layout::failed,
    record::JournalRecord,
};
use crate::{
    error::{AppendError, HostOperation, JournalError},
    merkle::ChainHash,
    seeded_bugs::{SeededBug, is_on},
    storage::StorageFile,
    units::to_u64,
};

/// A record on its way to the copies.
struct Writing<'a> {
    bytes: &'a [u8],
    /// Whether any byte of it was handed over.
    is_handed_over: bool,
    last_error: JournalError,
}

impl Journal {
    /// Appends the record that follows `state` and syncs it on all copies: when this returns, it is durable. Returns the
    /// state behind it.
    ///
    /// The record names the segments of `state`. A copy whose write or sync fails goes on in a new segment with the same
    /// record, or is left out of the state that comes out; one copy is enough. `state` is to come from [`Self::tail`] and
    /// [`Self::prepare`] under one lock of the catalog.
    ///
    /// # Errors
    /// [`AppendError`] says what is known of the record.
    pub fn append(&self, state: &JournalState, body: &[u8]) -> Result<JournalState, AppendError> {
        let refused = |source| AppendError::NothingWritten { source };
        let copies = state.segments().ok_or_else(|| refused(JournalError::NoCopy))?;
        let record =
            JournalRecord::following(self.archive, Head::of(state), copies, body).map_err(refused)?;
        self.write_record(state, &record)
    }

    /// Returns the hash that the record of [`Self::append`] will have: the same state and body give the same.
    ///
    /// # Errors
    /// As an append that fails before a byte is written.
    pub fn next_hash(&self, state: &JournalState, body: &[u8]) -> Result<ChainHash, JournalError> {
        let copies = state.segments().ok_or(JournalError::NoCopy)?;
        Ok(JournalRecord::following(self.archive, Head::of(state), copies, body)?.hash)
    }

    /// Writes a record that was found ahead of the catalog once more, behind what is there, on all copies of `state`, and
    /// syncs it: a record that was found may be in the memory of the system only, after a sync that failed for somebody
    /// else. Returns the state behind it.
    ///
    /// Needs [`Self::prepare`] like an append. Of several records that are ahead only the last needs it: those before it were
    /// synced, or it would not be there. Until it is restated the catalog keeps a state whose positions are before all of them.
    ///
    /// # Errors
    /// As for [`Self::append`]; [`JournalError::NotNext`] when the record does not follow `state`.
    pub fn restate(&self, state: &JournalState, record: &JournalRecord) -> Result<JournalState, AppendError> {
        if state.epoch.next() != record.epoch || state.hash != record.previous {
            let source = JournalError::NotNext {
                state: state.epoch,
                record: record.epoch,
            };
            return Err(AppendError::NothingWritten { source });
        }
        self.write_record(state, record)
    }

    fn write_record(
        &self,
        state: &JournalState,
        record: &JournalRecord,
    ) -> Result<JournalState, AppendError> {
        if self.remembered(|open| open.is_poisoned) {
            return Err(AppendError::Poisoned);
        }
        let bytes = record.encode(self.archive);
        let bytes = bytes.map_err(|source| AppendError::NothingWritten { source })?;
        let mut writing = Writing {
            bytes: &bytes,
            is_handed_over: false,
            last_error: JournalError::NoCopy,
        };
        let copies = self.write_copies(state, &mut writing);
        if !copies.is_empty() {
            return Ok(JournalState {
                epoch: record.epoch,
                hash: record.hash,
                forgotten: state.forgotten,
                written_bytes: state.written_bytes + to_u64(bytes.len()),
                copies,
            });
        }
        let source = writing.last_error;
        if !writing.is_handed_over {
            return Err(AppendError::NothingWritten { source });
        }
        self.remembered(|open| open.is_poisoned = true);
        Err(AppendError::OutcomeUnknown {
            epoch: record.epoch,
            source,
        })
    }

    /// Returns the positions behind the record on the copies that have it synced.
    fn write_copies(&self, state: &JournalState, writing: &mut Writing<'_>) -> Vec<CopyPosition> {
        let (mut written, mut broken, mut synced) = (Vec::new(), Vec::new(), Vec::new());
        for position in &state.copies {
            let Some(index) = self.index_of(position.volume, position.copy) else {
                continue;
            };
            match self.write_at(index, *position, writing) {
                Some(file) => written.push((index, *position, file)),
                None => broken.push((index, *position)),
            }
        }
        // All are written before the first is synced, so that the syncs find all the bytes under way.
        for (index, position, file) in written {
            let done = match file.sync_data() {
                Err(_) if is_on(SeededBug::FailedJournalSyncBelieved) => file.sync_data(),
                done => done,
            };
            match done {
                Ok(()) => synced.push(behind(position, writing.bytes)),
                Err(error) => {
                    let path = self.path(index, position.segment);
                    writing.last_error = failed(HostOperation::Sync, &path)(error);
                    // A second sync that succeeds would prove nothing.
                    self.close_for_good(index, position.segment);
                    broken.push((index, position));
                }
            }
        }
        for (index, position) in broken {
            match self.write_elsewhere(index, position, writing) {
                Ok(position) => synced.push(position),
                Err(error) => writing.last_error = error,
            }
        }
        synced.sort_unstable();
        synced
    }

    fn write_at(
        &self,
        index: usize,
        position: CopyPosition,
        writing: &mut Writing<'_>,
    ) -> Option<Arc<dyn StorageFile>> {
        let Ok(segment) = self.segment(index, position.segment) else {
            // What is wrong with it was a finding of the tail already, or is one of the next; another segment serves.
            return None;
        };
        writing.is_handed_over = true;
        match segment.file.write_all_at(position.end_bytes, writing.bytes) {
            Ok(()) => Some(segment.file),
            Err(error) => {
                let path = self.path(index, position.segment);
                writing.last_error = failed(HostOperation::Write, &path)(error);
                self.close_for_good(index, position.segment);
                None
            }
        }
    }

    /// Makes a new segment that begins with the record. On an error the segment may be there, with or without the record;
    /// it is never written again.
    fn write_elsewhere(
        &self,
        index: usize,
        position: CopyPosition,
        writing: &mut Writing<'_>,
    ) -> Result<CopyPosition, JournalError> {
        let end = FIRST_RECORD_BYTES + to_u64(writing.bytes.len());
        let (segment, file) = self.new_segment(index, position.segment, end)?;
        let path = self.path(index, segment);
        writing.is_handed_over = true;
        let written = file
            .write_all_at(FIRST_RECORD_BYTES, writing.bytes)
            .map_err(failed(HostOperation::Write, &path))
            // The name is durable since the segment was made: the record is once its bytes are.
            .and_then(|()| file.sync_data().map_err(failed(HostOperation::Sync, &path)));
        if let Err(error) = written {
            self.close_for_good(index, segment);
            return Err(error);
        }
        Ok(CopyPosition {
            segment,
            end_bytes: end,
            ..position
        })
    }
}

fn behind(position: CopyPosition, bytes: &[u8]) -> CopyPosition {
    CopyPosition {
        end_bytes: position.end_bytes + to_u64(bytes.len()),
        ..position
    }
}
