//! What the system says is in a directory, one buffer after the other.

use std::{mem::MaybeUninit, os::fd::OwnedFd};

use rustix::{fs::RawDir, io::Errno};

use crate::{error::FileKind, host::open::kind_of_type};

/// Some 1000 names of usual length: enough that asking costs little beside looking at them.
const BUFFER_LEN_BYTES: usize = 32 * 1024;

/// A part of the names in a directory, read ahead.
pub(super) struct Listing {
    buffer: Box<[MaybeUninit<u8>]>,
    /// One name after the other.
    pub(super) names: Vec<u8>,
    /// Where each name ends, and what it is said to be.
    ends: Vec<(usize, FileKind)>,
    next: usize,
}

impl Listing {
    pub(super) fn new() -> Self {
        Self {
            buffer: Box::new_uninit_slice(BUFFER_LEN_BYTES),
            names: Vec::new(),
            ends: Vec::new(),
            next: 0,
        }
    }

    /// Returns the next name of those read ahead, never `.` nor `..`, and what it is; [`FileKind::Unknown`] where the file
    /// system does not say.
    pub(super) fn next(&mut self) -> Option<(&[u8], FileKind)> {
        let &(end, kind) = self.ends.get(self.next)?;
        let start = self.next.checked_sub(1).map_or(0, |before| self.ends[before].0);
        self.next += 1;
        Some((&self.names[start..end], kind))
    }

    /// Reads the next names of a directory, perhaps none, from where its descriptor was left; `false` at the end.
    pub(super) fn fill(&mut self, directory: &OwnedFd) -> Result<bool, Errno> {
        self.names.clear();
        self.ends.clear();
        self.next = 0;
        let mut listed = RawDir::new(directory, &mut self.buffer);
        loop {
            match listed.next() {
                None => return Ok(false),
                Some(Err(Errno::INTR)) => continue,
                Some(Err(errno)) => return Err(errno),
                Some(Ok(entry)) => {
                    let name = entry.file_name().to_bytes();
                    if name != b"." && name != b".." {
                        self.names.extend_from_slice(name);
                        self.ends
                            .push((self.names.len(), kind_of_type(entry.file_type())));
                    }
                }
            }
            // The next call would ask the system again.
            if listed.is_buffer_empty() {
                return Ok(true);
            }
        }
    }

    /// Makes a file system of this one that does not say what things are.
    #[cfg(test)]
    pub(super) fn forget_kinds(&mut self) {
        self.ends
            .iter_mut()
            .for_each(|(_, kind)| *kind = FileKind::Unknown);
    }
}
