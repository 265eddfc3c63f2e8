//! The first segment of every copy.

use super::{
    CopyPosition, Journal, JournalState,
    files::FIRST_RECORD_BYTES,
    finding::JournalFault,
    layout::{Missing, failed, list_segments, make_directories},
};
use crate::{
    error::{HostOperation, JournalError},
    merkle::ChainHash,
    storage::FileAccess,
    units::Epoch,
};

impl Journal {
    /// Makes the directories, each missing level, and the first segment of every copy; all durable on return.
    ///
    /// Segments without any record, which an interrupted creation has left, are taken up.
    ///
    /// # Errors
    /// [`JournalError::InUse`] where anything stands behind the header of a segment, [`JournalError::Full`],
    /// [`JournalError::Io`]; [`JournalError::NoCopy`] for a journal without places. What was made until then stays, and
    /// the next creation takes it up.
    pub fn create(&self) -> Result<JournalState, JournalError> {
        if self.places.is_empty() {
            return Err(JournalError::NoCopy);
        }
        let mut copies = Vec::new();
        for index in 0..self.places.len() {
            copies.push(self.create_copy(index)?);
        }
        Ok(JournalState {
            epoch: Epoch::ZERO,
            hash: ChainHash::NONE,
            forgotten: Epoch::ZERO,
            written_bytes: 0,
            copies,
        })
    }

    fn create_copy(&self, index: usize) -> Result<CopyPosition, JournalError> {
        let directory = &self.places[index].directory;
        make_directories(&*self.storage, directory, Missing::All)?;
        let listed =
            list_segments(&*self.storage, directory).map_err(failed(HostOperation::List, directory))?;
        for segment in &listed {
            self.expect_no_record(index, *segment)?;
        }
        let segment = match listed.last() {
            // The highest number: nobody looks at the ones before.
            Some(&segment) => {
                let path = self.path(index, segment);
                let file = self.storage.open(&path, FileAccess::ReadWrite);
                let file = file.map_err(failed(HostOperation::Open, &path))?;
                self.fill_new(index, segment, &*file, FIRST_RECORD_BYTES)?;
                segment
            }
            None => self.new_segment(index, 0, FIRST_RECORD_BYTES)?.0,
        };
        let place = self.place_of(index, segment);
        Ok(CopyPosition {
            volume: place.volume,
            copy: place.copy,
            segment,
            end_bytes: FIRST_RECORD_BYTES,
        })
    }

    /// Nothing at all may stand behind the header, of whatever archive: only the header is written over.
    fn expect_no_record(&self, index: usize, segment: u32) -> Result<(), JournalError> {
        let path = self.path(index, segment);
        let opened = self.storage.open(&path, FileAccess::Read);
        let file = opened.map_err(failed(HostOperation::Open, &path))?;
        let len_bytes = file
            .info()
            .map_err(failed(HostOperation::Inspect, &path))?
            .len_bytes;
        let walked = self.walk(
            &*file,
            self.place_of(index, segment),
            FIRST_RECORD_BYTES,
            len_bytes,
        );
        match walked.faults.first() {
            None if walked.entries.is_empty() => Ok(()),
            Some(JournalFault::Unreadable { kind, .. } | JournalFault::Refused { kind }) => {
                Err(failed(HostOperation::Read, &path)((*kind).into()))
            }
            _ => Err(JournalError::InUse { path }),
        }
    }
}
