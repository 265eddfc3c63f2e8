//! Going through one extent from its beginning to its end, frame by frame.
//!
//! A header that is believed says how long its frame is, so payloads are passed over. Where nothing is believed, the bytes are
//! searched for what may be the next header, and for the footers of frames whose headers are damaged.

use super::found::{FoundFooter, FoundFrame, FoundFrames};
use crate::{
    archive::observer::{Event, Observer},
    error::VolumeError,
    format::{
        ClaimedExtent, ClaimedFrame, EXTENT_HEADER_LEN_BYTES, ExtentHeader, ExtentIdentity,
        FRAME_FOOTER_LEN_BYTES, FRAME_HEADER_LEN_BYTES, Frame, FrameFooter, FrameMark, FramePlace,
        SMALL_FRAME_ALIGNMENT_BYTES, next_frame_mark,
    },
    units::{ArchiveId, ExtentId, to_u64, to_usize},
    volume::{ExtentStat, SECTOR_LEN_BYTES, Volume},
};

/// Bytes that are read at once where all of them are looked at.
const LONG_READ_BYTES: u64 = 1 << 20;

/// Bytes that are read at once behind a payload that was passed over: the footer, and with it the next header.
const SHORT_READ_BYTES: u64 = 64 << 10;

/// What an extent turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ScannedExtent {
    pub(super) id: ExtentId,
    pub(super) len_bytes: u64,
    /// What its first bytes say, where they say that it is this extent.
    pub(super) header: Option<ExtentHeader>,
    /// Whether anything in it says that it is this extent: what is not is a copy, or another archive's, and is left alone.
    pub(super) is_ours: bool,
    /// Sectors that could not be read, in bytes.
    pub(super) unreadable_bytes: u64,
}

/// Goes through an extent. `None` when the observer asked for an end.
pub(super) fn scan_extent(
    (archive, volume): (ArchiveId, &dyn Volume),
    stat: ExtentStat,
    found: &mut FoundFrames,
    observer: &dyn Observer,
) -> Option<ScannedExtent> {
    let mut scan = ExtentScan {
        archive,
        window: Window::new(volume, stat),
        found,
        observer,
        gap_start: None,
        frames: 0,
    };
    let header = scan.header();
    let mut at = to_u64(EXTENT_HEADER_LEN_BYTES);
    while at.saturating_add(to_u64(FRAME_HEADER_LEN_BYTES)) <= scan.window.len_bytes {
        if observer.is_cancelled() {
            return None;
        }
        at = match scan.frame_at(at) {
            Some(frame) => scan.take(&frame),
            None => scan.search(at),
        };
    }
    let read_bytes = scan.window.len_bytes.saturating_sub(scan.window.told_bytes);
    observer.event(Event::Progress { bytes: read_bytes });
    Some(ScannedExtent {
        id: stat.extent,
        len_bytes: stat.len_bytes,
        header,
        is_ours: header.is_some() || scan.frames > 0,
        unreadable_bytes: scan.window.unreadable_bytes,
    })
}

struct ExtentScan<'a> {
    archive: ArchiveId,
    window: Window<'a>,
    found: &'a mut FoundFrames,
    observer: &'a dyn Observer,
    /// Where the last frame ended that was believed, while nothing is.
    gap_start: Option<u64>,
    frames: u64,
}

impl ExtentScan<'_> {
    fn header(&mut self) -> Option<ExtentHeader> {
        let identity = ExtentIdentity {
            archive: self.archive,
            volume: self.window.volume.id(),
            extent: self.window.extent,
        };
        let bytes = self
            .window
            .at(0, to_u64(EXTENT_HEADER_LEN_BYTES), LONG_READ_BYTES);
        ClaimedExtent::parse(bytes).ok()?.check(&identity).ok()
    }

    /// Returns the frame that begins at an offset, if one is there that says so, and ends before the extent does.
    fn frame_at(&mut self, offset: u64) -> Option<Frame> {
        let place = FramePlace {
            archive: self.archive,
            volume: self.window.volume.id(),
            extent: self.window.extent,
            offset,
        };
        let bytes = self
            .window
            .at(offset, to_u64(FRAME_HEADER_LEN_BYTES), LONG_READ_BYTES);
        let frame = ClaimedFrame::parse(bytes).ok()?.check_place(&place).ok()?;
        let end = offset.checked_add(frame.layout().content_len_bytes())?;
        (end <= self.window.len_bytes).then_some(frame)
    }

    /// Takes a frame; returns where the next one may begin.
    fn take(&mut self, frame: &Frame) -> u64 {
        self.gap_start = None;
        self.frames += 1;
        let (header, layout) = (frame.header(), frame.layout());
        let start = header.identity().offset;
        self.found.add(FoundFrame::of(header), header);
        let footer = start + layout.footer().start();
        let passed_over = footer.saturating_sub(self.window.end());
        let read_bytes = if passed_over > LONG_READ_BYTES {
            SHORT_READ_BYTES
        } else {
            LONG_READ_BYTES
        };
        let bytes = self.window.at(footer, to_u64(FRAME_FOOTER_LEN_BYTES), read_bytes);
        if FrameFooter::check(bytes, header).is_err() {
            self.found.without_end += 1;
        }
        let next = start + layout.total_len_bytes();
        self.window.tell(next, self.observer);
        next
    }

    /// Searches for what may be the next header behind an offset at which none is believed, and notes footers on the way.
    fn search(&mut self, offset: u64) -> u64 {
        let gap_start = *self.gap_start.get_or_insert(offset);
        let (mut base, mut from) = (offset, 1);
        loop {
            let wanted = LONG_READ_BYTES.min(self.window.len_bytes.saturating_sub(base));
            if wanted < to_u64(FRAME_FOOTER_LEN_BYTES) {
                return self.window.len_bytes;
            }
            let bytes = self.window.at(base, wanted, LONG_READ_BYTES);
            let len = bytes.len();
            match next_frame_mark(bytes, from) {
                Some((at, FrameMark::Header)) => return base + to_u64(at),
                Some((at, FrameMark::Footer)) if at + FRAME_FOOTER_LEN_BYTES <= len => {
                    let footer = FrameFooter::parse(&bytes[at..]);
                    if let Ok(footer) = footer
                        && let Some(start) = footer.frame_start(base + to_u64(at))
                        && start >= gap_start
                    {
                        let extent = self.window.extent;
                        self.found.footers.push(FoundFooter::of(&footer, (extent, start)));
                    }
                    from = at + 1;
                }
                // It is cut off by what was read, unless that is all there is.
                Some((at, FrameMark::Footer)) if base + to_u64(len) < self.window.len_bytes => {
                    (base, from) = aligned(base + to_u64(at));
                }
                Some((_, FrameMark::Footer)) => return self.window.len_bytes,
                None if base + to_u64(len) >= self.window.len_bytes => return self.window.len_bytes,
                None => {
                    // A magic may be cut off.
                    (base, from) = aligned(base + to_u64(len) - to_u64(FRAME_FOOTER_LEN_BYTES));
                    self.window.tell(base, self.observer);
                    if self.observer.is_cancelled() {
                        return base;
                    }
                }
            }
        }
    }
}

/// Splits an offset into the last multiple of the alignment and the rest.
fn aligned(offset: u64) -> (u64, usize) {
    let rest = offset % SMALL_FRAME_ALIGNMENT_BYTES;
    (offset - rest, to_usize(rest))
}

/// What was read of an extent last.
struct Window<'a> {
    volume: &'a dyn Volume,
    extent: ExtentId,
    /// Where the extent ends, as far as is known.
    len_bytes: u64,
    start: u64,
    bytes: Vec<u8>,
    unreadable_bytes: u64,
    told_bytes: u64,
}

impl<'a> Window<'a> {
    const fn new(volume: &'a dyn Volume, stat: ExtentStat) -> Self {
        Self {
            volume,
            extent: stat.extent,
            len_bytes: stat.len_bytes,
            start: 0,
            bytes: Vec::new(),
            unreadable_bytes: 0,
            told_bytes: 0,
        }
    }

    fn end(&self) -> u64 {
        self.start + to_u64(self.bytes.len())
    }

    /// Tells how far the scan has come.
    fn tell(&mut self, offset: u64, observer: &dyn Observer) {
        let bytes = offset.saturating_sub(self.told_bytes);
        if bytes >= LONG_READ_BYTES {
            self.told_bytes = offset;
            observer.event(Event::Progress { bytes });
        }
    }

    /// Returns so many bytes from an offset, fewer where the extent ends; where they were not read yet, more are.
    fn at(&mut self, offset: u64, wanted: u64, read_bytes: u64) -> &[u8] {
        let end = offset.saturating_add(wanted).min(self.len_bytes);
        if offset < self.start || end > self.end() {
            self.read(offset, read_bytes.max(wanted));
        }
        let end = to_usize(end.min(self.end()).saturating_sub(self.start));
        let from = to_usize(offset.saturating_sub(self.start)).min(end);
        &self.bytes[from..end]
    }

    fn read(&mut self, offset: u64, wanted: u64) {
        let len = wanted.min(self.len_bytes.saturating_sub(offset));
        self.start = offset;
        self.bytes.clear();
        self.bytes.resize(to_usize(len), 0);
        match self.volume.read_at(self.extent, offset, &mut self.bytes) {
            Ok(()) => {}
            Err(VolumeError::Truncated { len_bytes, .. }) => {
                self.len_bytes = len_bytes.min(self.len_bytes).min(offset);
                self.bytes.clear();
            }
            Err(_) => self.read_by_sectors(offset),
        }
    }

    /// Reads sector by sector: one that cannot be read must not hide the others. It reads as zeros.
    fn read_by_sectors(&mut self, offset: u64) {
        let mut at = offset;
        for sector in self.bytes.chunks_mut(to_usize(SECTOR_LEN_BYTES)) {
            if self.volume.read_at(self.extent, at, sector).is_err() {
                sector.fill(0);
                self.unreadable_bytes += to_u64(sector.len());
            }
            at += to_u64(sector.len());
        }
    }
}
