//! Goes through a segment sector by sector and finds every whole record in it, whatever stands between.

use std::{io, ops::Range};

use super::{
    Journal,
    finding::JournalFault,
    record::{RecordEntry, Spot},
};
use crate::{
    format::{JOURNAL_ALIGNMENT_BYTES, JOURNAL_RECORD_LEN_BYTES, JournalHeader, SegmentPlace},
    storage::StorageFile,
    units::{to_u64, to_usize},
};

/// How much is read at once.
const CHUNK_LEN_BYTES: u64 = 64 * 1024;
const SECTOR: u64 = JOURNAL_ALIGNMENT_BYTES;
const ZEROS: [u8; 4096] = [0; 4096];
const _: () = assert!(SECTOR == 4096, "the zeros are as long as a sector");

/// What a walk has found.
#[derive(Debug, Default)]
pub(super) struct Walked {
    pub(super) entries: Vec<RecordEntry>,
    /// Ascending; neighbours of one kind are one.
    pub(super) faults: Vec<JournalFault>,
    /// Behind the last record and the last sector that is not all zeros or cannot be read; a multiple of 4096.
    pub(super) end_bytes: u64,
}

impl Walked {
    pub(super) fn has_unreadable(&self) -> bool {
        let is_unreadable = |fault: &JournalFault| matches!(fault, JournalFault::Unreadable { .. });
        self.faults.iter().any(is_unreadable)
    }

    fn reach(&mut self, end: u64) {
        self.end_bytes = self.end_bytes.max(end);
    }

    fn add_no_record(&mut self, at: Range<u64>) {
        self.reach(at.end);
        match self.faults.last_mut() {
            Some(JournalFault::NoRecord { offset, len_bytes }) if *offset + *len_bytes == at.start => {
                *len_bytes += at.end - at.start;
            }
            _ => self.faults.push(JournalFault::NoRecord {
                offset: at.start,
                len_bytes: at.end - at.start,
            }),
        }
    }

    fn add_unreadable(&mut self, at: Range<u64>, error: &io::Error) {
        self.reach(at.end);
        match self.faults.last_mut() {
            Some(JournalFault::Unreadable {
                offset, len_bytes, ..
            }) if *offset + *len_bytes == at.start => {
                *len_bytes += at.end - at.start;
            }
            _ => self.faults.push(JournalFault::Unreadable {
                offset: at.start,
                len_bytes: at.end - at.start,
                kind: error.kind(),
            }),
        }
    }
}

impl Journal {
    /// Looks at the sectors of a file of `len_bytes` bytes from `from`, a multiple of 4096, to its end.
    pub(super) fn walk(
        &self,
        file: &dyn StorageFile,
        place: SegmentPlace,
        from: u64,
        len_bytes: u64,
    ) -> Walked {
        let mut walked = Walked {
            end_bytes: from,
            ..Walked::default()
        };
        let mut window = Window::new(file, len_bytes);
        let mut offset = from;
        while offset < len_bytes {
            let next = offset.saturating_add(SECTOR);
            let sector = match window.read(offset, SECTOR) {
                Ok(sector) => sector,
                Err(error) => {
                    walked.add_unreadable(offset..next, &error);
                    offset = next;
                    continue;
                }
            };
            if is_zero(sector) {
                offset = next;
                continue;
            }
            let header = JournalHeader::parse(sector).ok();
            let header = header.filter(|header| header.archive == self.archive);
            if let Some(header) = header.filter(|header| has_its_hash(&mut window, offset, header)) {
                let spot = Spot { place, offset };
                walked.entries.push(RecordEntry::of(&header, spot));
                offset = offset.saturating_add(header.total_len_bytes());
                walked.reach(offset);
            } else {
                walked.add_no_record(offset..next);
                offset = next;
            }
        }
        walked
    }
}

/// Compares the body with the hash, in pieces, so that no claim of a length makes anything larger. Padding does not count.
fn has_its_hash(window: &mut Window<'_>, offset: u64, header: &JournalHeader) -> bool {
    let mut at = offset.saturating_add(to_u64(JOURNAL_RECORD_LEN_BYTES));
    let end = at.saturating_add(header.body_len_bytes.into());
    if end > window.len_bytes {
        return false;
    }
    let mut hasher = header.hasher();
    while at < end {
        // To the end of the chunk, so that every chunk is read once.
        let piece_end = (at / CHUNK_LEN_BYTES + 1)
            .saturating_mul(CHUNK_LEN_BYTES)
            .min(end);
        match window.read(at, piece_end - at) {
            Ok(bytes) => hasher.update(bytes),
            // A walk goes on behind it and finds the sectors that cannot be read.
            Err(_) => return false,
        }
        at = piece_end;
    }
    hasher.finish() == header.hash
}

/// Says whether nothing was written to a sector, or to what there is of it. Most of a preallocated segment is like that, and
/// comparing two slices is ten times as fast as looking at each byte.
pub(super) fn is_zero(sector: &[u8]) -> bool {
    *sector == ZEROS[..sector.len()]
}

/// The chunk of a file that was read last.
struct Window<'a> {
    file: &'a dyn StorageFile,
    len_bytes: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    fn new(file: &'a dyn StorageFile, len_bytes: u64) -> Self {
        Self {
            file,
            len_bytes,
            start: 0,
            bytes: Vec::new(),
        }
    }

    /// Returns the bytes of a range that lies in one chunk, fewer at the end of the file.
    fn read(&mut self, offset: u64, len: u64) -> io::Result<&[u8]> {
        let end = offset.saturating_add(len).min(self.len_bytes);
        let has = |window: &Self| window.start <= offset && end <= window.start + to_u64(window.bytes.len());
        if !has(self) {
            let chunk = offset / CHUNK_LEN_BYTES * CHUNK_LEN_BYTES;
            let chunk_end = chunk.saturating_add(CHUNK_LEN_BYTES).min(self.len_bytes);
            // A chunk with a bad sector is read in pieces, so that its good ones count.
            self.fill(chunk, chunk_end).or_else(|_| self.fill(offset, end))?;
        }
        Ok(&self.bytes[to_usize(offset - self.start)..to_usize(end - self.start)])
    }

    fn fill(&mut self, start: u64, end: u64) -> io::Result<()> {
        self.bytes.resize(to_usize(end - start), 0);
        self.start = start;
        let filled = self.file.read_exact_at(start, &mut self.bytes);
        if filled.is_err() {
            self.bytes.clear();
        }
        filled
    }
}
