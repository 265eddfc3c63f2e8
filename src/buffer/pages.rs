//! Whole pages of memory, large ones where there is enough of it.

use std::io;
use std::ops::{Deref, DerefMut};

#[cfg(target_os = "linux")]
use memmap2::Advice;
use memmap2::MmapMut;

/// What one entry of a page table of the level above spans, on x86-64 and on ARM with small pages of 4 KiB. Direct writes out of
/// large pages go to the disk in a few long pieces of memory instead of many short ones: measured on a virtual disk, 2 GB in
/// pieces of 1 MiB take 0.9 s instead of 4 s before the sync.
const LARGE_PAGE_BYTES: usize = 2 << 20;

/// Memory of whole pages: large ones as far as it is long enough and the system has them. Linux begins them where they have to begin
/// since 6.7; before, each mapping has one less, and one of 2 MiB none.
pub(super) struct Pages {
    map: MmapMut,
    /// What of the mapping is used and counted. What is behind it is never touched, nor is there a large page that reaches into it, so it
    /// takes no memory.
    len_bytes: usize,
}

impl Pages {
    /// Maps `len_bytes`. A system that has no large pages to give takes small ones; only speed depends on it.
    pub(super) fn map(len_bytes: usize) -> io::Result<Self> {
        if len_bytes < LARGE_PAGE_BYTES {
            let map = MmapMut::map_anon(len_bytes)?;
            return Ok(Self { map, len_bytes });
        }
        // Linux begins a mapping at a large page only where its length is a multiple of one.
        let mapped_bytes = len_bytes.next_multiple_of(LARGE_PAGE_BYTES);
        let map = MmapMut::map_anon(mapped_bytes)?;
        #[cfg(target_os = "linux")]
        {
            let large_bytes = len_bytes / LARGE_PAGE_BYTES * LARGE_PAGE_BYTES;
            let rest_bytes = mapped_bytes - large_bytes;
            map.advise_range(Advice::HugePage, 0, large_bytes)
                .unwrap_or_default();
            // A system that gives large pages to everybody would give one to the end too.
            map.advise_range(Advice::NoHugePage, large_bytes, rest_bytes)
                .unwrap_or_default();
        }
        Ok(Self { map, len_bytes })
    }
}

impl Deref for Pages {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.map[..self.len_bytes]
    }
}

impl DerefMut for Pages {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.map[..self.len_bytes]
    }
}
