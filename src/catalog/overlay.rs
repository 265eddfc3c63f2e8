//! A catalog file that cannot be written, with what is written to it kept in memory.
//!
//! A crash leaves a catalog that only a writer can mend. Where the file system takes no writes, the mending is done here:
//! pages that were written are kept beside the file and served in place of what it holds. It promises that the file is
//! never written and never locked, and that what is read is what was written here or what the file holds.
//!
//! It takes memory for what the mending writes: some pages, and the state of the allocator, 64 KiB for each gigabyte.

use core::ops::Bound;
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use redb::{BackendError, StorageBackend};

use crate::storage::StorageFile;
use crate::units::{to_u64, to_usize};

/// How much is kept in one piece; not more than the database writes at once.
const PAGE_LEN: usize = 4096;

type Page = Box<[u8; PAGE_LEN]>;

/// A file, and changes of it that nobody else sees.
#[derive(Debug)]
pub(super) struct Overlay {
    file: Arc<dyn StorageFile>,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    len_bytes: u64,
    /// How much of the file counts: what was once cut off reads as zeros when the length grows again.
    base_len_bytes: u64,
    /// Pages that were written, by their number.
    pages: BTreeMap<u64, Page>,
}

/// A part of a page: its number, where it begins in it, and how long it is.
struct Part {
    page: u64,
    start: usize,
    len: usize,
}

impl Overlay {
    pub(super) fn new(file: Arc<dyn StorageFile>) -> io::Result<Self> {
        let len_bytes = file.info()?.len_bytes;
        let state = RwLock::new(State {
            len_bytes,
            base_len_bytes: len_bytes,
            pages: BTreeMap::new(),
        });
        Ok(Self { file, state })
    }

    /// Fills `into` with what the file holds from `offset`, and zeros behind its end.
    fn read_base(&self, base_len_bytes: u64, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let there = base_len_bytes.saturating_sub(offset).min(to_u64(into.len()));
        let (from_file, behind) = into.split_at_mut(to_usize(there));
        behind.fill(0);
        if from_file.is_empty() {
            return Ok(());
        }
        self.file.read_exact_at(offset, from_file)
    }
}

/// Cuts a range into parts of pages.
fn parts(offset: u64, len: usize) -> impl Iterator<Item = Part> {
    let mut done = 0;
    core::iter::from_fn(move || {
        let at = offset + to_u64(done);
        let start = to_usize(at % to_u64(PAGE_LEN));
        let len = (PAGE_LEN - start).min(len - done);
        done += len;
        (len > 0).then_some(Part {
            page: at / to_u64(PAGE_LEN),
            start,
            len,
        })
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self
            .state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .len_bytes)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        if offset
            .checked_add(to_u64(out.len()))
            .is_none_or(|end| end > state.len_bytes)
        {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // In one piece, and the few pages that were written over it.
        self.read_base(state.base_len_bytes, offset, out)?;
        let mut done = 0;
        for part in parts(offset, out.len()) {
            if let Some(page) = state.pages.get(&part.page) {
                out[done..done + part.len].copy_from_slice(&page[part.start..][..part.len]);
            }
            done += part.len;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if len < state.len_bytes {
            state.base_len_bytes = state.base_len_bytes.min(len);
            drop(state.pages.split_off(&len.div_ceil(to_u64(PAGE_LEN))));
            if let Some(page) = state.pages.get_mut(&(len / to_u64(PAGE_LEN))) {
                page[to_usize(len % to_u64(PAGE_LEN))..].fill(0);
            }
        }
        state.len_bytes = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let end = offset
            .checked_add(to_u64(data.len()))
            .ok_or(io::ErrorKind::FileTooLarge)?;
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let state = &mut *state;
        let mut rest = data;
        for part in parts(offset, data.len()) {
            let (bytes, behind) = rest.split_at(part.len);
            rest = behind;
            if !state.pages.contains_key(&part.page) {
                let mut page = Box::new([0; PAGE_LEN]);
                self.read_base(
                    state.base_len_bytes,
                    part.page * to_u64(PAGE_LEN),
                    page.as_mut_slice(),
                )?;
                state.pages.insert(part.page, page);
            }
            let page = state.pages.get_mut(&part.page).expect("it was put there");
            page[part.start..][..part.len].copy_from_slice(bytes);
        }
        state.len_bytes = state.len_bytes.max(end);
        Ok(())
    }

    // What is changed here is nobody else's, so there is nobody to keep out.

    fn try_lock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn try_lock_shared_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<bool, BackendError> {
        Ok(true)
    }

    fn lock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn lock_shared_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        Ok(())
    }

    fn query_lock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<bool, BackendError> {
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop, prop_assert_eq, prop_oneof, proptest};

    use super::*;
    use crate::storage::{HostStorage, Storage as _};

    #[derive(Debug, Clone)]
    enum Step {
        Write(u64, Vec<u8>),
        SetLen(u64),
    }

    const MAX_LEN: u64 = 20_000;

    fn step() -> impl Strategy<Value = Step> {
        let bytes = (any::<u8>(), 0_usize..9_000).prop_map(|(byte, len)| vec![byte; len]);
        let near = prop_oneof![0..MAX_LEN, Just(4096), Just(8192)];
        prop_oneof![
            (0..MAX_LEN, bytes).prop_map(|(offset, bytes)| Step::Write(offset, bytes)),
            near.prop_map(Step::SetLen),
        ]
    }

    proptest! {
        #[test]
        fn an_overlay_reads_like_a_file_that_was_written_and_leaves_it_as_it_was(
            base in 0_usize..13_000,
            steps in prop::collection::vec(step(), 0..12),
            (offset, len) in (0..MAX_LEN, 0_usize..9_000),
        ) {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let file = HostStorage.create_new(&directory.path().join("file")).expect("a new file");
            let base: Vec<u8> = (1..=250).cycle().take(base).collect();
            file.write_all_at(0, &base).expect("there is room");
            let overlay = Overlay::new(Arc::clone(&file)).expect("a file");
            let mut model = base.clone();
            for step in steps {
                match step {
                    Step::Write(offset, bytes) => {
                        overlay.write(offset, &bytes).expect("memory");
                        let end = to_usize(offset) + bytes.len();
                        model.resize(model.len().max(end), 0);
                        model[to_usize(offset)..end].copy_from_slice(&bytes);
                    }
                    Step::SetLen(len) => {
                        overlay.set_len(len).expect("memory");
                        model.resize(to_usize(len), 0);
                    }
                }
            }
            prop_assert_eq!(overlay.len().expect("a length"), to_u64(model.len()));
            let mut found = vec![1; len];
            let expected = model.get(to_usize(offset)..to_usize(offset) + len);
            match overlay.read(offset, &mut found) {
                Ok(()) => prop_assert_eq!(Some(found.as_slice()), expected),
                Err(error) => {
                    prop_assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
                    prop_assert_eq!(expected, None);
                }
            }
            let mut kept = vec![0; base.len()];
            file.read_exact_at(0, &mut kept).expect("all there");
            prop_assert_eq!((file.info().expect("what it is").len_bytes, kept), (to_u64(base.len()), base));
        }
    }
}
