//! Sequential writing into an extent through one aligned buffer, like `BufWriter` for extents.
//!
//! Writes start and end on 4 KiB sectors wherever the start of the stream allows it, from memory that is aligned the
//! same way, so that a local volume can move them past the page cache. It writes each byte once and never reads.

use std::fmt;
use std::ops::DerefMut;
use std::sync::Arc;

use crate::error::VolumeError;
use crate::units::{to_u64, to_usize};
use crate::volume::{ExtentWriter, SECTOR_LEN_BYTES};

/// Collects small appends and hands them to an [`ExtentWriter`] in large aligned pieces.
///
/// `B` is its memory, an [`AlignedBuffer`](crate::buffer::AlignedBuffer) of 1 MiB in the engine; anything aligned to
/// 4 KiB lets the writes go direct, anything else works too.
///
/// Bytes in the buffer are not written yet. End with [`finish`](Self::finish), or with [`abandon`](Self::abandon) where
/// they are not wanted any more; dropping one that holds bytes is a bug and panics in debug builds.
pub struct ExtentAppender<B: DerefMut<Target = [u8]>> {
    writer: Arc<dyn ExtentWriter>,
    buffer: B,
    /// The used part of `buffer` is a multiple of the sector.
    capacity: usize,
    /// Bytes not written yet: `buffer[pending_start..pending_end]`. Memory index and offset in the extent are equal
    /// modulo the sector, so that an aligned offset always has aligned memory.
    pending_start: usize,
    pending_end: usize,
    /// Offset in the extent of `buffer[pending_start]`.
    written_to: u64,
    outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Good,
    /// A write failed: what lies behind `written_to` is unknown and must not be written again.
    Failed,
}

const SECTOR: usize = 4096;
const _: () = assert!(SECTOR as u64 == SECTOR_LEN_BYTES, "one length of a sector");

impl<B: DerefMut<Target = [u8]>> ExtentAppender<B> {
    /// Makes an appender that continues at `start_offset`.
    ///
    /// # Panics
    /// When `buffer` is shorter than two sectors (8192 bytes).
    pub fn new(writer: Arc<dyn ExtentWriter>, start_offset: u64, buffer: B) -> Self {
        let capacity = buffer.len() / SECTOR * SECTOR;
        assert!(
            capacity >= 2 * SECTOR,
            "an appender needs a buffer of two sectors at least"
        );
        let start = sector_phase(start_offset);
        Self {
            writer,
            buffer,
            capacity,
            pending_start: start,
            pending_end: start,
            written_to: start_offset,
            outcome: Outcome::Good,
        }
    }

    /// Returns the offset in the extent where the next byte will go.
    pub fn position(&self) -> u64 {
        self.written_to + to_u64(self.pending_end - self.pending_start)
    }

    /// Appends `bytes`; they are written when the buffer is full or flushed.
    ///
    /// A piece of at least the buffer's length whose memory is aligned like its place in the extent goes to the writer
    /// without a copy; copying the rest keeps its writes aligned, which costs less than the page cache would.
    ///
    /// # Errors
    /// What [`ExtentWriter::write_at`] said; every later call fails with [`VolumeError::Poisoned`], because the bytes
    /// that were on their way must not be written twice.
    pub fn append(&mut self, mut bytes: &[u8]) -> Result<(), VolumeError> {
        self.check()?;
        while !bytes.is_empty() {
            if self.may_bypass(bytes) {
                self.write_pending()?;
                let (direct, rest) = bytes.split_at(bytes.len() / SECTOR * SECTOR);
                self.write(direct)?;
                bytes = rest;
                continue;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(self.capacity - self.pending_end));
            self.buffer[self.pending_end..][..now.len()].copy_from_slice(now);
            self.pending_end += now.len();
            bytes = rest;
            if self.pending_end == self.capacity {
                self.write_pending()?;
            }
        }
        Ok(())
    }

    /// Appends zeros until the position is a multiple of `alignment_bytes`.
    ///
    /// # Errors
    /// The same as [`append`](Self::append).
    ///
    /// # Panics
    /// When the alignment is zero.
    pub fn pad_to(&mut self, alignment_bytes: u64) -> Result<(), VolumeError> {
        const ZEROS: [u8; SECTOR] = [0; SECTOR];
        assert!(alignment_bytes > 0, "nothing is aligned to zero");
        self.check()?;
        let mut missing = self.position().next_multiple_of(alignment_bytes) - self.position();
        while missing > 0 {
            let now = missing.min(SECTOR_LEN_BYTES);
            self.append(&ZEROS[..to_usize(now)])?;
            missing -= now;
        }
        Ok(())
    }

    /// Writes what is in the buffer, so that it can be read and synced. The next sync makes it durable, not this.
    ///
    /// # Errors
    /// The same as [`append`](Self::append).
    pub fn flush(&mut self) -> Result<(), VolumeError> {
        self.check()?;
        self.write_pending()
    }

    /// Flushes and returns the end of what was appended.
    ///
    /// # Errors
    /// The same as [`append`](Self::append); nothing is left to be dropped then.
    pub fn finish(mut self) -> Result<u64, VolumeError> {
        self.flush()?;
        Ok(self.position())
    }

    /// Throws away what was not written yet: for a commit that is given up.
    pub fn abandon(mut self) {
        self.pending_start = self.pending_end;
    }

    fn check(&self) -> Result<(), VolumeError> {
        match self.outcome {
            Outcome::Good => Ok(()),
            Outcome::Failed => Err(VolumeError::Poisoned {
                volume: self.writer.volume(),
                extent: self.writer.extent(),
            }),
        }
    }

    fn may_bypass(&self, bytes: &[u8]) -> bool {
        let aligned = self.pending_end.is_multiple_of(SECTOR) && bytes.as_ptr().addr().is_multiple_of(SECTOR);
        aligned && bytes.len() >= self.capacity
    }

    /// Writes the pending bytes: the rest of a begun sector, then whole sectors with what is left of the last.
    fn write_pending(&mut self) -> Result<(), VolumeError> {
        let head_end = self.pending_start.next_multiple_of(SECTOR).min(self.pending_end);
        for end in [head_end, self.pending_end] {
            let start = self.pending_start;
            if start < end {
                let written = self.writer.write_at(self.written_to, &self.buffer[start..end]);
                self.settle(written)?;
                self.pending_start = end;
                self.written_to += to_u64(end - start);
            }
        }
        let phase = sector_phase(self.written_to);
        (self.pending_start, self.pending_end) = (phase, phase);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), VolumeError> {
        let written = self.writer.write_at(self.written_to, bytes);
        self.settle(written)?;
        self.written_to += to_u64(bytes.len());
        let phase = sector_phase(self.written_to);
        (self.pending_start, self.pending_end) = (phase, phase);
        Ok(())
    }

    fn settle(&mut self, written: Result<(), VolumeError>) -> Result<(), VolumeError> {
        if written.is_err() {
            self.outcome = Outcome::Failed;
        }
        written
    }
}

/// Returns where in its sector an offset lies.
fn sector_phase(offset: u64) -> usize {
    to_usize(offset % SECTOR_LEN_BYTES)
}

impl<B: DerefMut<Target = [u8]>> Drop for ExtentAppender<B> {
    fn drop(&mut self) {
        debug_assert!(
            self.pending_start == self.pending_end
                || self.outcome == Outcome::Failed
                || std::thread::panicking(),
            "an appender of extent {} was dropped with {} bytes that nobody wrote: finish or abandon it",
            self.writer.extent(),
            self.pending_end - self.pending_start,
        );
    }
}

impl<B: DerefMut<Target = [u8]>> fmt::Debug for ExtentAppender<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExtentAppender")
            .field("writer", &self.writer)
            .field("position", &self.position())
            .field("pending", &(self.pending_end - self.pending_start))
            .field("outcome", &self.outcome)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
