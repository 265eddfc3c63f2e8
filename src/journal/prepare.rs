//! Room for a record before it is appended.

use super::{
    CopyPosition, Journal, JournalState, SEGMENT_LEN_BYTES, files::FIRST_RECORD_BYTES, record::body_len,
};
use crate::{error::JournalError, format::journal_record_len_bytes};

impl Journal {
    /// Makes room for a record with a body of `body_len_bytes` on every copy: real blocks of zeros, so that a full disk
    /// shows here. A copy goes on in a new segment when the old one would be longer than 16 MiB or is of no use.
    ///
    /// No record is written, and the state that went in is as good as before; segments that were made for nothing go again. A copy that can neither grow nor get a new
    /// segment for another reason than a full disk is left out of the state that comes out.
    ///
    /// # Errors
    /// [`JournalError::Full`] when one copy finds no room, [`JournalError::NoCopy`] or what the last one said when none
    /// is left, [`JournalError::TooLong`].
    pub fn prepare(&self, state: &JournalState, body_len_bytes: usize) -> Result<JournalState, JournalError> {
        let record_len = journal_record_len_bytes(body_len(body_len_bytes)?);
        let mut copies = Vec::new();
        let mut last = JournalError::NoCopy;
        for position in &state.copies {
            match self.make_room(*position, record_len) {
                Ok(position) => copies.push(position),
                Err(error) if error.is_full() => {
                    self.unmake(state, &copies);
                    return Err(error);
                }
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

    /// Removes the segments that were made for copies that had others: no record is in them, and on a full disk each attempt
    /// would leave some.
    fn unmake(&self, state: &JournalState, copies: &[CopyPosition]) {
        for made in copies.iter().filter(|made| {
            let before = state.position(made.volume, made.copy);
            before.is_some_and(|before| before.segment < made.segment)
        }) {
            if let Some(index) = self.index_of(made.volume, made.copy) {
                self.forget(index);
                // One that stays has no record: the next one just takes another number.
                self.storage
                    .remove_file(&self.path(index, made.segment))
                    .unwrap_or_default();
            }
        }
    }

    fn make_room(&self, position: CopyPosition, record_len: u64) -> Result<CopyPosition, JournalError> {
        let index = self
            .index_of(position.volume, position.copy)
            .ok_or(JournalError::NoCopy)?;
        let end = position.end_bytes.saturating_add(record_len);
        let is_long = end > SEGMENT_LEN_BYTES && position.end_bytes > FIRST_RECORD_BYTES;
        if !is_long && let Ok(segment) = self.segment(index, position.segment) {
            if segment.len_bytes >= end {
                return Ok(position);
            }
            match self.allocate(index, position.segment, &*segment.file, end) {
                Ok(()) => return Ok(position),
                // A new segment would not find room either.
                Err(error) if error.is_full() => return Err(error),
                Err(_) => self.close_for_good(index, position.segment),
            }
        }
        let (segment, _) = self.new_segment(index, position.segment, FIRST_RECORD_BYTES + record_len)?;
        Ok(CopyPosition {
            segment,
            end_bytes: FIRST_RECORD_BYTES,
            ..position
        })
    }
}
