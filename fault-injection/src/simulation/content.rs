//! The content of one file: its length, its pages, and which of them have blocks.

use std::{
    ops::Range,
    sync::{Arc, OnceLock},
};

use super::{
    hash::Mixer,
    page::{PAGE_BYTES, PAGE_LEN, Page, Pages, to_u64, to_usize},
};
use crate::Seeded;

/// The content of a file.
#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    len_bytes: u64,
    pages: Pages,
    allocated: PageRanges,
    hash: OnceLock<u128>,
}

impl Content {
    pub(super) const fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    pub(super) fn allocated_bytes(&self) -> u64 {
        self.allocated.count() * PAGE_BYTES
    }

    /// Returns up to where `range` can be written or allocated with `room_bytes`.
    pub(super) fn reach(&self, range: Range<u64>, room_bytes: u64) -> u64 {
        let pages = self
            .allocated
            .reach(pages_of(range.clone()), room_bytes / PAGE_BYTES);
        pages.saturating_mul(PAGE_BYTES).clamp(range.start, range.end)
    }

    /// Reads what is there; 0 at the end and behind it.
    pub(super) fn read(&self, offset: u64, into: &mut [u8]) -> usize {
        let room = to_u64(into.len()).min(self.len_bytes.saturating_sub(offset));
        let into = &mut into[..to_usize(room)];
        let mut done = 0;
        while done < into.len() {
            let at = offset + to_u64(done);
            let within = to_usize(at % PAGE_BYTES);
            let len = (PAGE_LEN - within).min(into.len() - done);
            let part = &mut into[done..done + len];
            match self.pages.get(at / PAGE_BYTES) {
                Some(page) => part.copy_from_slice(&page.bytes()[within..within + len]),
                None => part.fill(0),
            }
            done += len;
        }
        into.len()
    }

    /// Writes the part of `payload` that lies in `clip`.
    pub(super) fn write(&mut self, payload: &Payload, clip: &Range<u64>) {
        let written = intersection(&payload.range(), clip);
        if written.is_empty() {
            return;
        }
        self.changed();
        for piece in payload.pieces.iter() {
            let part = intersection(&piece.range(), &written);
            if part.is_empty() {
                continue;
            }
            let index = part.start / PAGE_BYTES;
            match &piece.data {
                Data::Page(page) if part.end - part.start == PAGE_BYTES => self.pages.put(index, page),
                data @ (Data::Page(_) | Data::Part(_)) => {
                    let from = to_usize(part.start - piece.offset);
                    let (within, len) = (to_usize(part.start % PAGE_BYTES), to_usize(part.end - part.start));
                    self.pages.bytes_mut(index)[within..within + len]
                        .copy_from_slice(&data.bytes()[from..from + len]);
                }
            }
        }
        self.allocated.insert(pages_of(written.clone()));
        self.len_bytes = self.len_bytes.max(written.end);
    }

    /// Does what a write of `range` does to length and blocks, without its bytes.
    pub(super) fn make_room(&mut self, range: Range<u64>) {
        if !range.is_empty() {
            self.changed();
            self.len_bytes = self.len_bytes.max(range.end);
            self.allocated.insert(pages_of(range));
        }
    }

    pub(super) fn set_len(&mut self, len_bytes: u64) {
        self.changed();
        if len_bytes < self.len_bytes {
            let kept = len_bytes.div_ceil(PAGE_BYTES);
            self.pages.truncate(kept);
            self.allocated.truncate(kept);
            let within = to_usize(len_bytes % PAGE_BYTES);
            if within > 0 && self.pages.get(len_bytes / PAGE_BYTES).is_some() {
                self.pages.bytes_mut(len_bytes / PAGE_BYTES)[within..].fill(0);
            }
        }
        self.len_bytes = len_bytes;
    }

    /// Fills what the file has of a range with zeros; whole pages lose their blocks.
    pub(super) fn punch(&mut self, range: &Range<u64>) {
        self.changed();
        let whole =
            range.start.div_ceil(PAGE_BYTES)..(range.end / PAGE_BYTES).max(range.start.div_ceil(PAGE_BYTES));
        for index in pages_of(range.start..range.end.min(self.len_bytes)) {
            if self.pages.get(index).is_none() {
                continue;
            }
            let page = index * PAGE_BYTES..(index + 1) * PAGE_BYTES;
            let part = intersection(range, &page);
            let within = to_usize(part.start - page.start)..to_usize(part.end - page.start);
            self.pages.bytes_mut(index)[within].fill(0);
        }
        self.allocated.remove(&whole);
    }

    /// Fills what the file has of `range` with noise.
    pub(super) fn spoil(&mut self, range: Range<u64>, seed: u64) {
        self.changed();
        let mut seeded = Seeded::new(seed);
        for offset in range.start..range.end.min(self.len_bytes) {
            let noise = seeded.next_u64().to_le_bytes()[0];
            self.pages.bytes_mut(offset / PAGE_BYTES)[to_usize(offset % PAGE_BYTES)] = noise;
        }
    }

    /// Returns a hash of bytes, length and number of blocks.
    pub(super) fn hash(&self) -> u128 {
        *self.hash.get_or_init(|| {
            let mut mixer = Mixer::new();
            mixer.words(self.len_bytes, self.allocated.count());
            mixer.hash(self.pages.hash());
            mixer.finish()
        })
    }

    fn changed(&mut self) {
        self.hash = OnceLock::new();
    }
}

/// The bytes of one write, cut at the borders of pages, so that whole pages are shared by everything that holds them.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    offset: u64,
    len_bytes: u64,
    pieces: Arc<[Piece]>,
}

#[derive(Debug)]
struct Piece {
    offset: u64,
    data: Data,
}

#[derive(Debug)]
enum Data {
    Page(Arc<Page>),
    Part(Box<[u8]>),
}

impl Payload {
    pub(super) fn new(offset: u64, bytes: &[u8]) -> Self {
        let mut pieces = Vec::with_capacity(bytes.len() / PAGE_LEN + 2);
        let mut rest = bytes;
        let mut at = offset;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(rest.len().min(PAGE_LEN - to_usize(at % PAGE_BYTES)));
            let data = match <&[u8; PAGE_LEN]>::try_from(part) {
                Ok(page) => Data::Page(Arc::new(Page::new(page))),
                Err(_) => Data::Part(part.into()),
            };
            pieces.push(Piece { offset: at, data });
            at += to_u64(part.len());
            rest = behind;
        }
        Self {
            offset,
            len_bytes: to_u64(bytes.len()),
            pieces: pieces.into(),
        }
    }

    pub(super) const fn range(&self) -> Range<u64> {
        self.offset..self.offset + self.len_bytes
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let parts = self.pieces.iter().map(|piece| piece.data.bytes());
        parts.flatten().copied().collect()
    }
}

impl Piece {
    fn range(&self) -> Range<u64> {
        self.offset..self.offset + to_u64(self.data.bytes().len())
    }
}

impl Data {
    fn bytes(&self) -> &[u8] {
        match self {
            Self::Page(page) => page.bytes(),
            Self::Part(part) => part,
        }
    }
}

/// Which pages have blocks: ranges of page indexes, sorted, apart from one another.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct PageRanges {
    ranges: Vec<Range<u64>>,
}

impl PageRanges {
    fn count(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// Returns the end of the longest beginning of `wanted` that takes at most `room` new pages.
    fn reach(&self, wanted: Range<u64>, mut room: u64) -> u64 {
        let mut at = wanted.start;
        for range in &self.ranges {
            let gap = range.start.min(wanted.end).saturating_sub(at);
            if gap > room {
                return at + room;
            }
            room -= gap;
            at = at.max(range.end).min(wanted.end);
        }
        wanted.end.min(at.saturating_add(room))
    }

    fn insert(&mut self, new: Range<u64>) {
        if new.is_empty() {
            return;
        }
        let first = self.ranges.partition_point(|range| range.end < new.start);
        let behind = self.ranges.partition_point(|range| range.start <= new.end);
        let mut joined = new;
        if let [lowest, ..] = &self.ranges[first..behind] {
            joined.start = joined.start.min(lowest.start);
        }
        if let [.., highest] = &self.ranges[first..behind] {
            joined.end = joined.end.max(highest.end);
        }
        self.ranges.splice(first..behind, [joined]);
    }

    fn remove(&mut self, gone: &Range<u64>) {
        let left = |range: &Range<u64>| {
            let before = range.start..range.end.min(gone.start);
            let behind = range.start.max(gone.end)..range.end;
            [before, behind]
        };
        self.ranges = self.ranges.iter().flat_map(left).collect();
        self.ranges.retain(|range| !range.is_empty());
    }

    fn truncate(&mut self, end: u64) {
        self.ranges.retain(|range| range.start < end);
        if let Some(last) = self.ranges.last_mut() {
            last.end = last.end.min(end);
        }
    }
}

fn pages_of(range: Range<u64>) -> Range<u64> {
    if range.is_empty() {
        return 0..0;
    }
    range.start / PAGE_BYTES..range.end.div_ceil(PAGE_BYTES)
}

/// What two ranges have in common; empty when that is nothing.
pub(super) fn intersection(first: &Range<u64>, second: &Range<u64>) -> Range<u64> {
    let start = first.start.max(second.start);
    start..first.end.min(second.end).max(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    /// The slow witness: bytes and a set of pages.
    #[derive(Default)]
    struct Model {
        bytes: Vec<u8>,
        allocated: BTreeSet<u64>,
    }

    impl Model {
        fn write(&mut self, offset: usize, bytes: &[u8]) {
            if bytes.is_empty() {
                return;
            }
            let end = offset + bytes.len();
            self.bytes.resize(self.bytes.len().max(end), 0);
            self.bytes[offset..end].copy_from_slice(bytes);
            self.allocated
                .extend(to_u64(offset / PAGE_LEN)..to_u64(end.div_ceil(PAGE_LEN)));
        }

        fn set_len(&mut self, len: usize) {
            let is_shorter = len < self.bytes.len();
            self.bytes.resize(len, 0);
            if is_shorter {
                self.allocated
                    .retain(|page| *page < to_u64(len.div_ceil(PAGE_LEN)));
            }
        }

        fn punch(&mut self, start: usize, end: usize) {
            let held = self.bytes.len();
            self.bytes[start.min(held)..end.min(held)].fill(0);
            self.allocated.retain(|page| {
                let first = page * PAGE_BYTES;
                first < to_u64(start) || first + PAGE_BYTES > to_u64(end)
            });
        }

        fn allocate(&mut self, end: usize) {
            self.bytes.resize(self.bytes.len().max(end), 0);
            self.allocated.extend(0..to_u64(end.div_ceil(PAGE_LEN)));
        }
    }

    #[test]
    fn content_is_what_a_vector_of_bytes_would_be() {
        for seed in 0..60 {
            let mut seeded = Seeded::new(seed);
            let (mut content, mut model) = (Content::default(), Model::default());
            for _ in 0..40 {
                let offset = seeded.index(90_000);
                match seeded.below(7) {
                    0 => {
                        content.set_len(to_u64(offset));
                        model.set_len(offset);
                    }
                    1 => {
                        content.make_room(0..to_u64(offset / 2));
                        model.allocate(offset / 2);
                    }
                    3 => {
                        let end = offset + seeded.index(20_000);
                        content.punch(&(to_u64(offset)..to_u64(end)));
                        model.punch(offset, end);
                    }
                    aligned => {
                        let offset = if aligned == 2 {
                            offset / PAGE_LEN * PAGE_LEN
                        } else {
                            offset
                        };
                        let bytes: Vec<u8> = (0..seeded.index(20_000)).map(|_| seeded.flip_mask()).collect();
                        let payload = Payload::new(to_u64(offset), &bytes);
                        assert_eq!(payload.bytes(), bytes);
                        content.write(&payload, &(0..u64::MAX));
                        model.write(offset, &bytes);
                    }
                }
                let mut read = vec![0xEE; model.bytes.len() + 5];
                assert_eq!(content.read(0, &mut read), model.bytes.len(), "seed {seed}");
                assert!(read[..model.bytes.len()] == model.bytes[..], "seed {seed}");
                assert_eq!(
                    content.allocated_bytes(),
                    to_u64(model.allocated.len()) * PAGE_BYTES
                );
            }
            let mut written = Content::default();
            written.write(&Payload::new(0, &model.bytes), &(0..u64::MAX));
            assert_eq!(written.pages.hash(), content.pages.hash(), "seed {seed}");
        }
    }

    #[test]
    fn a_clipped_write_leaves_the_rest_as_it_was() {
        let payload = Payload::new(100, &[7; 9000]);
        for clip in [100..101, 4096..8192, 4000..4200, 9099..20_000, 0..50] {
            let mut content = Content::default();
            content.write(&payload, &clip);
            let both = intersection(&(100..9100), &clip);
            let mut expected = vec![0; to_usize(both.end)];
            expected[to_usize(both.start)..].fill(7);
            let expected = if both.is_empty() { Vec::new() } else { expected };
            let mut read = vec![1; 10_000];
            let len = content.read(0, &mut read);
            assert_eq!(read[..len], expected, "{clip:?}");
        }
    }

    #[test]
    fn room_is_counted_in_pages_that_have_no_blocks_yet() {
        let mut content = Content::default();
        content.make_room(4096..8192);
        content.make_room(16_384..20_480);
        let reach = |room| content.reach(100..30_000, room * PAGE_BYTES);
        assert_eq!([0, 1, 2, 3, 4].map(reach), [100, 8192, 12_288, 20_480, 24_576]);
        assert_eq!(reach(6), 30_000);
    }
}
