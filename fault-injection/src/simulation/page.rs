//! Pages of 4 KiB that files share until one of them writes.

use std::sync::{Arc, OnceLock};

use super::hash::{at_place, page_hash};

/// Length of a page in bytes.
pub(super) const PAGE_LEN: usize = 4096;
/// The same, for offsets.
pub(super) const PAGE_BYTES: u64 = 4096;

/// How many pages are shared together: cloning a chunk costs as many counters, and a file has one pointer for each.
const CHUNK_LEN: usize = 16;
const CHUNK_PAGES: u64 = 16;

static ZEROS: [u8; PAGE_LEN] = [0; PAGE_LEN];

/// The bytes of a page, and their hash once somebody asked for it.
#[derive(Debug)]
pub(super) struct Page {
    bytes: [u8; PAGE_LEN],
    hash: OnceLock<u128>,
}

impl Clone for Page {
    /// A clone is made to be changed, so it has no hash yet.
    fn clone(&self) -> Self {
        Self::new(&self.bytes)
    }
}

impl Page {
    pub(super) const fn new(bytes: &[u8; PAGE_LEN]) -> Self {
        Self {
            bytes: *bytes,
            hash: OnceLock::new(),
        }
    }

    pub(super) const fn bytes(&self) -> &[u8; PAGE_LEN] {
        &self.bytes
    }

    /// Returns the bytes for changing.
    fn bytes_mut(&mut self) -> &mut [u8; PAGE_LEN] {
        self.hash = OnceLock::new();
        &mut self.bytes
    }

    /// Returns a hash of the bytes; 0 for zeros, which is what a page that is not there has.
    fn hash(&self) -> u128 {
        *self.hash.get_or_init(|| {
            if self.bytes == ZEROS {
                return 0;
            }
            page_hash(&self.bytes)
        })
    }
}

/// Neighbouring pages; one that is not there is zeros.
#[derive(Debug, Default)]
struct Chunk {
    pages: [Option<Arc<Page>>; CHUNK_LEN],
    /// The sum of the hashes of its pages, each mixed with its place in the chunk.
    hash: OnceLock<u128>,
}

impl Clone for Chunk {
    fn clone(&self) -> Self {
        Self {
            pages: self.pages.clone(),
            hash: OnceLock::new(),
        }
    }
}

impl Chunk {
    fn hash(&self) -> u128 {
        *self.hash.get_or_init(|| {
            let mut sum = 0_u128;
            for (place, page) in (0..).zip(&self.pages) {
                let hash = page.as_ref().map_or(0, |page| page.hash());
                if hash != 0 {
                    sum = sum.wrapping_add(at_place(hash, place));
                }
            }
            sum
        })
    }
}

/// The pages of a file by their index.
#[derive(Debug, Clone, Default)]
pub(super) struct Pages {
    /// Sorted by index. A vector, since images clone it far more often than anyone inserts.
    chunks: Vec<(u64, Arc<Chunk>)>,
}

impl Pages {
    /// Returns a page that was written.
    pub(super) fn get(&self, index: u64) -> Option<&Page> {
        let at = self.find(index / CHUNK_PAGES).ok()?;
        self.chunks[at].1.pages[slot(index)].as_deref()
    }

    /// Puts a page into its place, shared.
    pub(super) fn put(&mut self, index: u64, page: &Arc<Page>) {
        self.chunk_mut(index).pages[slot(index)] = Some(Arc::clone(page));
    }

    /// Returns the bytes of a page for changing; zeros when it was not there.
    pub(super) fn bytes_mut(&mut self, index: u64) -> &mut [u8; PAGE_LEN] {
        let page =
            self.chunk_mut(index).pages[slot(index)].get_or_insert_with(|| Arc::new(Page::new(&ZEROS)));
        Arc::make_mut(page).bytes_mut()
    }

    /// Drops all pages from `index` on.
    pub(super) fn truncate(&mut self, index: u64) {
        let first_whole = index.div_ceil(CHUNK_PAGES);
        self.chunks.retain(|(chunk, _)| *chunk < first_whole);
        if !index.is_multiple_of(CHUNK_PAGES) && self.find(index / CHUNK_PAGES).is_ok() {
            self.chunk_mut(index).pages[slot(index)..].fill(None);
        }
    }

    /// Returns a hash of all pages, in which zeros and pages that are not there are the same.
    pub(super) fn hash(&self) -> u128 {
        let mut sum = 0_u128;
        for (index, chunk) in &self.chunks {
            let hash = chunk.hash();
            if hash != 0 {
                sum = sum.wrapping_add(at_place(hash, *index));
            }
        }
        sum
    }

    fn find(&self, chunk: u64) -> Result<usize, usize> {
        self.chunks.binary_search_by_key(&chunk, |(index, _)| *index)
    }

    fn chunk_mut(&mut self, index: u64) -> &mut Chunk {
        let chunk = index / CHUNK_PAGES;
        let at = match self.find(chunk) {
            Ok(at) => at,
            Err(at) => {
                self.chunks.insert(at, (chunk, Arc::default()));
                at
            }
        };
        let found = Arc::make_mut(&mut self.chunks[at].1);
        found.hash = OnceLock::new();
        found
    }
}

fn slot(index: u64) -> usize {
    to_usize(index % CHUNK_PAGES)
}

/// Converts an offset inside memory.
pub(super) fn to_usize(value: u64) -> usize {
    usize::try_from(value).expect("what lies in memory has an address")
}

/// Converts a length in memory.
pub(super) fn to_u64(value: usize) -> u64 {
    u64::try_from(value).expect("an address fits 64 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_shares_its_pages_until_it_is_written() {
        let mut first = Pages::default();
        first.bytes_mut(0)[0] = 1;
        first.bytes_mut(100)[0] = 2;
        let mut second = first.clone();
        second.bytes_mut(100)[0] = 3;
        let address = |pages: &Pages, index| core::ptr::from_ref(pages.get(index).expect("a page"));
        assert_eq!(
            address(&first, 0),
            address(&second, 0),
            "an untouched page was copied"
        );
        assert_eq!(first.get(100).expect("a page").bytes()[0], 2);
        assert_eq!(second.get(100).expect("a page").bytes()[0], 3);
    }

    #[test]
    fn the_hash_follows_every_change_and_takes_zeros_for_nothing() {
        let mut pages = Pages::default();
        let empty = pages.hash();
        pages.bytes_mut(5);
        assert_eq!(pages.hash(), empty, "a page of zeros is no page");
        pages.bytes_mut(5)[9] = 7;
        let here = pages.hash();
        assert_ne!(here, empty);
        let mut elsewhere = Pages::default();
        elsewhere.bytes_mut(6)[9] = 7;
        assert_ne!(elsewhere.hash(), here, "the place counts");
        pages.bytes_mut(5)[9] = 0;
        assert_eq!(pages.hash(), empty);
    }

    #[test]
    fn cutting_drops_what_lies_behind_and_nothing_else() {
        for cut in 0..40 {
            let mut pages = Pages::default();
            (0..40).for_each(|index| pages.bytes_mut(index)[0] = 1);
            pages.truncate(cut);
            for index in 0..40 {
                assert_eq!(
                    pages.get(index).is_some(),
                    index < cut,
                    "page {index} after a cut at {cut}"
                );
            }
        }
    }
}
