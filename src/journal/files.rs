//! Segments as files: opened, looked at, made new, and closed for good.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use super::{
    ALLOCATION_STEP_BYTES, CopyKey, Journal,
    finding::{JournalFault, JournalFinding},
    layout::{failed, list_segments, segment_path},
};
use crate::{
    error::{HostOperation, JournalError, refusal},
    format::{JOURNAL_SEGMENT_LEN_BYTES, JournalSegment},
    storage::{FileAccess, StorageFile},
    units::to_u64,
};

/// Bytes of the header of a segment: where its first record goes.
pub(super) const FIRST_RECORD_BYTES: u64 = 4096;

/// Where a segment that is in use came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acquaintance {
    /// It was open already, and everything behind its end was looked at then.
    Known,
    /// It was opened just now.
    New,
}

/// A segment that was opened to go on with it.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) file: Arc<dyn StorageFile>,
    pub(super) len_bytes: u64,
    pub(super) acquaintance: Acquaintance,
}

impl Journal {
    pub(super) fn path(&self, index: usize, segment: u32) -> PathBuf {
        segment_path(&self.places[index].directory, segment)
    }

    pub(super) fn finding(&self, index: usize, segment: Option<u32>, fault: JournalFault) -> JournalFinding {
        JournalFinding {
            volume: self.places[index].volume,
            copy: self.places[index].copy,
            segment,
            fault,
        }
    }

    pub(super) fn list(&self, index: usize) -> Result<Vec<u32>, JournalFault> {
        list_segments(&*self.storage, &self.places[index].directory).map_err(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                return JournalFault::NoDirectory;
            }
            if refusal(&error).is_some() {
                return JournalFault::Refused { kind: error.kind() };
            }
            JournalFault::Unlistable { kind: error.kind() }
        })
    }

    /// Opens a segment to go on with it, or takes the handle that is open already, if its file still has a name.
    pub(super) fn segment(&self, index: usize, segment: u32) -> Result<Segment, JournalFault> {
        if self.is_closed(index, segment) {
            return Err(JournalFault::SegmentClosed);
        }
        let known = self.remembered(|open| open.files.get(&self.key_of(index)).cloned());
        if let Some((_, file)) = known.filter(|(number, _)| *number == segment)
            && let Ok(info) = file.info()
            && info.links > 0
        {
            return Ok(Segment {
                file,
                len_bytes: info.len_bytes,
                acquaintance: Acquaintance::Known,
            });
        }
        let (file, len_bytes) = self.open_checked(index, segment, FileAccess::ReadWrite)?;
        self.remember(index, segment, &file);
        Ok(Segment {
            file,
            len_bytes,
            acquaintance: Acquaintance::New,
        })
    }

    /// Opens a segment and compares its header with what it should be; returns its length too.
    pub(super) fn open_checked(
        &self,
        index: usize,
        segment: u32,
        access: FileAccess,
    ) -> Result<(Arc<dyn StorageFile>, u64), JournalFault> {
        let (file, len_bytes) = self.open_any(index, segment, access)?;
        self.check_header(index, segment, &*file)?;
        Ok((file, len_bytes))
    }

    pub(super) fn open_any(
        &self,
        index: usize,
        segment: u32,
        access: FileAccess,
    ) -> Result<(Arc<dyn StorageFile>, u64), JournalFault> {
        let opened = self.storage.open(&self.path(index, segment), access);
        let opened = opened.and_then(|file| Ok((file.info()?.len_bytes, file)));
        opened
            .map(|(len_bytes, file)| (file, len_bytes))
            .map_err(|error| {
                if error.kind() == io::ErrorKind::NotFound {
                    return JournalFault::SegmentMissing;
                }
                if refusal(&error).is_some() {
                    return JournalFault::Refused { kind: error.kind() };
                }
                JournalFault::Unreadable {
                    offset: 0,
                    len_bytes: FIRST_RECORD_BYTES,
                    kind: error.kind(),
                }
            })
    }

    pub(super) fn check_header(
        &self,
        index: usize,
        segment: u32,
        file: &dyn StorageFile,
    ) -> Result<(), JournalFault> {
        let mut bytes = [0; JOURNAL_SEGMENT_LEN_BYTES];
        match file.read_exact_at(0, &mut bytes) {
            // A file that is too short reads as one whose rest is zeros.
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                return Err(JournalFault::Unreadable {
                    offset: 0,
                    len_bytes: to_u64(bytes.len()),
                    kind: error.kind(),
                });
            }
            _ => {}
        }
        let found = JournalSegment::parse(&bytes).map_err(|source| JournalFault::SegmentHeader { source })?;
        if found == self.segment_of(index, segment) {
            Ok(())
        } else {
            Err(JournalFault::SegmentForeign {
                found: Box::new(found),
            })
        }
    }

    /// Makes a segment of the next number, `above` all that are known, with room up to `end_bytes`; file and name are durable on return. Where that
    /// fails nothing is left behind, as far as that can be done.
    pub(super) fn new_segment(
        &self,
        index: usize,
        above: u32,
        end_bytes: u64,
    ) -> Result<(u32, Arc<dyn StorageFile>), JournalError> {
        let segment = self.next_number(index, above)?;
        let path = self.path(index, segment);
        let file = self
            .storage
            .create_new(&path)
            .map_err(failed(HostOperation::Create, &path))?;
        let made = self.fill_new(index, segment, &*file, end_bytes);
        if let Err(error) = made {
            // It has no record. If its name stays, the next segment just takes another number.
            self.storage.remove_file(&path).unwrap_or_default();
            return Err(error);
        }
        self.remember(index, segment, &file);
        Ok((segment, file))
    }

    /// Writes the header of a segment and makes it durable with its name.
    pub(super) fn fill_new(
        &self,
        index: usize,
        segment: u32,
        file: &dyn StorageFile,
        end_bytes: u64,
    ) -> Result<(), JournalError> {
        let (path, directory) = (self.path(index, segment), &self.places[index].directory);
        self.allocate(index, segment, file, end_bytes)?;
        file.write_all_at(0, &self.segment_of(index, segment).encode())
            .map_err(failed(HostOperation::Write, &path))?;
        // Before a record is in it: a record that counts as synced must not lose its file.
        file.sync_all().map_err(failed(HostOperation::Sync, &path))?;
        self.storage
            .sync_directory(directory)
            .map_err(failed(HostOperation::Sync, directory))
    }

    /// Gives a segment real blocks up to `end_bytes`, and some more where there is room for them.
    pub(super) fn allocate(
        &self,
        index: usize,
        segment: u32,
        file: &dyn StorageFile,
        end_bytes: u64,
    ) -> Result<(), JournalError> {
        let path = self.path(index, segment);
        let before = file
            .info()
            .map_err(failed(HostOperation::Inspect, &path))?
            .len_bytes;
        let is_full = |error: &io::Error| {
            matches!(
                error.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            )
        };
        let generous = file.allocate(end_bytes.next_multiple_of(ALLOCATION_STEP_BYTES));
        let allocated = match generous {
            Err(error) if is_full(&error) => file.allocate(end_bytes),
            other => other,
        };
        allocated.map_err(|error| {
            if !is_full(&error) {
                return failed(HostOperation::Reserve, &path)(error);
            }
            let free_bytes = self.storage.free_bytes(&self.places[index].directory);
            JournalError::Full {
                path,
                needed_bytes: end_bytes.saturating_sub(before),
                free_bytes: free_bytes.unwrap_or(0),
            }
        })
    }

    /// Returns a number above that of every segment that there is, that this process has closed, or that a state has named.
    fn next_number(&self, index: usize, above: u32) -> Result<u32, JournalError> {
        let directory = &self.places[index].directory;
        let listed =
            list_segments(&*self.storage, directory).map_err(failed(HostOperation::List, directory))?;
        let (closed, named) = self.remembered(|open| {
            let of = |numbers: &BTreeMap<CopyKey, u32>| numbers.get(&self.key_of(index)).copied();
            (of(&open.closed), of(&open.named))
        });
        let known = closed.max(named).max(Some(above));
        let last = listed.last().copied().max(known).unwrap_or(0);
        last.checked_add(1).ok_or_else(|| JournalError::NoNumber {
            directory: directory.clone(),
        })
    }

    fn remember(&self, index: usize, segment: u32, file: &Arc<dyn StorageFile>) {
        self.remembered(|open| open.files.insert(self.key_of(index), (segment, Arc::clone(file))));
    }

    /// Lets go of the segment of a copy that was used last: the next look at it is a first one.
    pub(super) fn forget(&self, index: usize) {
        self.remembered(|open| open.files.remove(&self.key_of(index)));
    }

    /// Gives a segment up, and all before it: this process never writes or syncs them again.
    pub(super) fn close_for_good(&self, index: usize, segment: u32) {
        self.remembered(|open| {
            open.files.remove(&self.key_of(index));
            let closed = open.closed.entry(self.key_of(index)).or_default();
            *closed = segment.max(*closed);
        });
    }

    pub(super) fn is_closed(&self, index: usize, segment: u32) -> bool {
        self.remembered(|open| {
            let closed = open.closed.get(&self.key_of(index));
            closed.is_some_and(|closed| segment <= *closed)
        })
    }
}
