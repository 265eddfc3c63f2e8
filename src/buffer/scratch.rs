//! Memory for one piece of work after the other.

use std::fmt;

use super::BUFFER_ALIGN_BYTES;
use super::pages::Pages;

/// Shorter memory grows to a power of two, longer by as much as this: pieces that get longer step by step do not move it each time.
const STEP_BYTES: usize = 1 << 20;

/// Page-aligned memory that grows to the longest piece it was asked for, beside any budget: for whoever holds one piece at a time and
/// knows how long that can be.
#[derive(Default)]
pub struct Scratch {
    memory: Memory,
}

enum Memory {
    Pages(Pages),
    /// Where the system maps nothing more; aligned to nothing, so that reads into it go through the page cache.
    Heap(Vec<u8>),
}

impl Scratch {
    /// Returns the first `len` bytes. What was written to them before is in them; the others hold anything.
    pub fn first(&mut self, len: usize) -> &mut [u8] {
        if self.memory.bytes().len() < len {
            let mut longer = Memory::of(len);
            let before = self.memory.bytes();
            longer.bytes_mut()[..before.len()].copy_from_slice(before);
            self.memory = longer;
        }
        &mut self.memory.bytes_mut()[..len]
    }

    /// Returns everything that it has grown to.
    pub fn all(&self) -> &[u8] {
        self.memory.bytes()
    }
}

impl Memory {
    fn of(len: usize) -> Self {
        let len = if len < STEP_BYTES {
            len.next_power_of_two()
        } else {
            len.next_multiple_of(STEP_BYTES)
        };
        match Pages::map(len.next_multiple_of(BUFFER_ALIGN_BYTES)) {
            Ok(pages) => Self::Pages(pages),
            Err(_none) => Self::Heap(vec![0; len]),
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Pages(pages) => pages,
            Self::Heap(bytes) => bytes,
        }
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Pages(pages) => pages,
            Self::Heap(bytes) => bytes,
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::Heap(Vec::new())
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch")
            .field("len_bytes", &self.all().len())
            .finish()
    }
}
