//! Page-aligned buffers from one fixed budget.
//!
//! The promise of constant memory is this type: whoever moves file bytes takes a buffer here and waits when the budget
//! is used up. Buffers are anonymous mappings, aligned to pages as direct I/O wants them (long ones to large pages), and go
//! back to the pool on drop. It knows no files. [`Scratch`] is for what has a bound of its own: one piece for each worker.
//!
//! Waiting is first come, first served, so a large request is not starved by small ones. A thread that waits while it
//! holds buffers can wait for ever on another one that does the same: take what a job needs before it starts, or use
//! [`BufferPool::try_take`] for the rest. Who must not wait takes that too, and where it gets nothing a pool of its own.
//!
//! One lock, held for bookkeeping and unmapping only.

mod pages;
mod scratch;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::ops::{Deref, DerefMut};

use self::pages::Pages;
pub use self::scratch::Scratch;
use crate::error::BufferError;
use crate::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Alignment and granularity of buffers in bytes: one page, and what direct I/O needs on every disk in use.
pub const BUFFER_ALIGN_BYTES: usize = 4096;

/// A fixed amount of memory, handed out as [`AlignedBuffer`]s. Clones share the budget.
#[derive(Clone)]
pub struct BufferPool {
    shared: Arc<Shared>,
}

struct Shared {
    budget_bytes: usize,
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    /// Bytes in buffers that somebody holds.
    lent_bytes: usize,
    /// Bytes in `free`.
    free_bytes: usize,
    /// Idle pages by their length. No list is empty.
    free: BTreeMap<usize, Vec<Pages>>,
    /// Tickets of those who wait, in the order they came.
    queue: VecDeque<u64>,
    next_ticket: u64,
}

impl BufferPool {
    /// Makes a pool that never holds more than `budget_bytes`, lent and idle together. Nothing is mapped yet.
    pub fn new(budget_bytes: usize) -> Self {
        let shared = Shared {
            budget_bytes,
            state: Mutex::default(),
            returned: Condvar::new(),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Returns what the pool was made with, in bytes.
    pub fn budget_bytes(&self) -> usize {
        self.shared.budget_bytes
    }

    /// Returns the bytes in buffers that are out at this moment, rounded up to whole pages each.
    pub fn lent_bytes(&self) -> usize {
        self.shared.locked().lent_bytes
    }

    /// Returns a buffer of `len` bytes, waiting until the budget allows it.
    ///
    /// **The contents are not zeroed**: a buffer that was used before shows its old bytes. It counts against the budget
    /// as whole pages of 4096 bytes, at least one.
    ///
    /// # Errors
    /// [`BufferError::OverBudget`] at once when the budget could never allow it, [`BufferError::Map`] when the host has
    /// no memory.
    pub fn take(&self, len: usize) -> Result<AlignedBuffer, BufferError> {
        let taken = self.take_while(len, || true)?;
        Ok(taken.expect("it is wanted for ever"))
    }

    /// Does the same as long as it is wanted, and returns `None` once it is not. `is_wanted` is asked before each wait, under
    /// the lock of the pool; whoever changes what it answers calls [`wake`](Self::wake) behind that.
    ///
    /// # Errors
    /// The same as [`take`](Self::take).
    pub fn take_while(
        &self,
        len: usize,
        is_wanted: impl Fn() -> bool,
    ) -> Result<Option<AlignedBuffer>, BufferError> {
        let map_bytes = self.map_bytes(len)?;
        let mut state = self.shared.locked();
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.queue.push_back(ticket);
        let is_ours = loop {
            if !is_wanted() {
                break false;
            }
            if state.queue.front() == Some(&ticket) && self.fits(&state, map_bytes) {
                break true;
            }
            state = self
                .shared
                .returned
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        };
        state.queue.retain(|waiting| *waiting != ticket);
        // What is left may be enough for the next in line, and nobody else would wake it.
        self.shared.returned.notify_all();
        if is_ours {
            self.lend(state, map_bytes, len).map(Some)
        } else {
            Ok(None)
        }
    }

    /// Lets everybody who waits ask again whether the buffer is still wanted.
    pub fn wake(&self) {
        // Under the lock, so that nobody is between asking and waiting.
        let state = self.shared.locked();
        self.shared.returned.notify_all();
        drop(state);
    }

    /// Returns a buffer of `len` bytes if there is one without waiting, ahead of nobody who waits.
    ///
    /// The contents are not zeroed, as with [`take`](Self::take).
    ///
    /// # Errors
    /// The same as [`take`](Self::take).
    pub fn try_take(&self, len: usize) -> Result<Option<AlignedBuffer>, BufferError> {
        let map_bytes = self.map_bytes(len)?;
        let state = self.shared.locked();
        if !state.queue.is_empty() || !self.fits(&state, map_bytes) {
            return Ok(None);
        }
        self.lend(state, map_bytes, len).map(Some)
    }

    fn map_bytes(&self, len: usize) -> Result<usize, BufferError> {
        let budget_bytes = self.shared.budget_bytes;
        let wanted = len.max(1).checked_next_multiple_of(BUFFER_ALIGN_BYTES);
        match wanted {
            Some(map_bytes) if map_bytes <= budget_bytes => Ok(map_bytes),
            Some(_) | None => Err(BufferError::OverBudget {
                wanted_bytes: wanted.unwrap_or(usize::MAX),
                budget_bytes,
            }),
        }
    }

    fn fits(&self, state: &State, map_bytes: usize) -> bool {
        map_bytes <= self.shared.budget_bytes - state.lent_bytes
    }

    /// Books `map_bytes` as lent and finds the memory: an idle mapping of that length, or a new one in the place of
    /// idle ones of other lengths.
    fn lend(
        &self,
        mut state: MutexGuard<'_, State>,
        map_bytes: usize,
        len: usize,
    ) -> Result<AlignedBuffer, BufferError> {
        state.lent_bytes += map_bytes;
        let reused = state.pop_free(map_bytes);
        let mut dropped = Vec::new();
        if reused.is_none() {
            while state.lent_bytes + state.free_bytes > self.shared.budget_bytes {
                let other = *state
                    .free
                    .keys()
                    .next()
                    .expect("bytes that are free are in a list");
                dropped.extend(state.pop_free(other));
            }
        }
        assert!(
            state.lent_bytes + state.free_bytes <= self.shared.budget_bytes,
            "the pool holds more than its budget"
        );
        // Unmapped under the lock: outside it, another thread could map what these bytes still occupy.
        drop(dropped);
        drop(state);
        let pages = match reused {
            Some(pages) => Ok(pages),
            None => Pages::map(map_bytes),
        };
        match pages {
            Ok(pages) => Ok(AlignedBuffer {
                pages: Some(pages),
                len,
                shared: Arc::clone(&self.shared),
            }),
            Err(source) => {
                self.shared.locked().lent_bytes -= map_bytes;
                self.shared.returned.notify_all();
                Err(BufferError::Map {
                    wanted_bytes: map_bytes,
                    source,
                })
            }
        }
    }
}

impl Shared {
    /// The state is whole at every unlock, so a panic elsewhere under the lock does not spoil it.
    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn pop_free(&mut self, map_bytes: usize) -> Option<Pages> {
        let list = self.free.get_mut(&map_bytes)?;
        let pages = list.pop();
        if list.is_empty() {
            self.free.remove(&map_bytes);
        }
        self.free_bytes -= pages.as_ref().map_or(0, |pages| pages.len());
        pages
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.shared.locked();
        f.debug_struct("BufferPool")
            .field("budget_bytes", &self.shared.budget_bytes)
            .field("lent_bytes", &state.lent_bytes)
            .field("free_bytes", &state.free_bytes)
            .field("waiting", &state.queue.len())
            .finish()
    }
}

/// Page-aligned memory from a [`BufferPool`]; it goes back on drop. Its contents start as whatever was there.
pub struct AlignedBuffer {
    /// Taken out by drop alone.
    pages: Option<Pages>,
    len: usize,
    shared: Arc<Shared>,
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let pages = self
            .pages
            .as_ref()
            .expect("a buffer has its memory until it is dropped");
        &pages[..self.len]
    }
}

impl DerefMut for AlignedBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let pages = self
            .pages
            .as_mut()
            .expect("a buffer has its memory until it is dropped");
        &mut pages[..self.len]
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if let Some(pages) = self.pages.take() {
            let mut state = self.shared.locked();
            state.lent_bytes -= pages.len();
            state.free_bytes += pages.len();
            state.free.entry(pages.len()).or_default().push(pages);
            drop(state);
            self.shared.returned.notify_all();
        }
    }
}

impl fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AlignedBuffer")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
