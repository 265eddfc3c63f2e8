//! One thread of a team: how it gets memory, and when it is sent home.

use std::cell::Cell;

use crate::{
    buffer::{AlignedBuffer, BUFFER_ALIGN_BYTES, BufferPool},
    error::BufferError,
    sync::{AtomicBool, Ordering},
};

/// One thread of a team.
pub(crate) struct Member<'a> {
    pool: &'a BufferPool,
    /// Room for one buffer beside the budget, once it was needed.
    own: Cell<Option<BufferPool>>,
    rank: Rank,
    /// Whether somebody of the team has come home.
    is_over: &'a AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rank {
    /// The caller's thread.
    First,
    Helper,
}

impl<'a> Member<'a> {
    /// Makes the caller's thread a member.
    pub(super) const fn first(pool: &'a BufferPool, is_over: &'a AtomicBool) -> Self {
        Self::new(pool, Rank::First, is_over)
    }

    /// Makes another thread one.
    pub(super) const fn helper(pool: &'a BufferPool, is_over: &'a AtomicBool) -> Self {
        Self::new(pool, Rank::Helper, is_over)
    }

    const fn new(pool: &'a BufferPool, rank: Rank, is_over: &'a AtomicBool) -> Self {
        Self {
            pool,
            own: Cell::new(None),
            rank,
            is_over,
        }
    }

    /// Returns memory for one piece of work, to be given back before the next; `None` when there is no more work. It is asked
    /// for before a piece is taken up, since a piece that is taken up has to be done. A piece that is longer than the budget is for the
    /// first member alone.
    pub(crate) fn buffer(&self, len: usize) -> Result<Option<AlignedBuffer>, BufferError> {
        let is_wanted = || !self.is_over.load(Ordering::Acquire);
        match self.rank {
            Rank::First => self.buffer_now(len).map(Some),
            Rank::Helper => match self.pool.take_while(len, is_wanted) {
                Err(BufferError::OverBudget { .. }) => Ok(None),
                taken => taken,
            },
        }
    }

    /// Returns memory for a piece that is taken up already: without waiting, beside the budget where it is used up.
    fn buffer_now(&self, len: usize) -> Result<AlignedBuffer, BufferError> {
        match self.pool.try_take(len) {
            Ok(None) | Err(BufferError::OverBudget { .. }) => self.buffer_beside(len),
            taken => taken.map(|taken| taken.expect("the other arm has none")),
        }
    }

    fn buffer_beside(&self, len: usize) -> Result<AlignedBuffer, BufferError> {
        if let Some(own) = self.own.take()
            && let Ok(Some(taken)) = own.try_take(len)
        {
            self.own.set(Some(own));
            return Ok(taken);
        }
        let own = BufferPool::new(len.next_multiple_of(BUFFER_ALIGN_BYTES).max(BUFFER_ALIGN_BYTES));
        let taken = own.take(len);
        self.own.set(Some(own));
        taken
    }

    /// Does the work, and sends the others home behind it.
    pub(super) fn work<R>(&self, work: &impl Fn(&Self) -> R) -> R {
        // Dropped by a panic too.
        let _home = ComesHome(self);
        work(self)
    }
}

struct ComesHome<'a>(&'a Member<'a>);

impl Drop for ComesHome<'_> {
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
        self.0.pool.wake();
    }
}
