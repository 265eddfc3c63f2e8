//! Who may do what to one extent file at the same time.
//!
//! Two locks, in this order:
//! * `turn` is held across a sync. The kernel reports a failed write-back *once* per open file, to whichever sync
//!   comes first: of two concurrent ones the second would be told that all is well. So they go one after another, and
//!   the second finds the poison of the first.
//! * `phase` is held shared across a write and alone across everything that changes the length or the phase, so no zero
//!   of a preallocation falls on a fresh byte and no write lands behind a seal.
//!
//! Invariants, explored in all schedules by the crate of models: who is told that a sync succeeded had every byte made
//! durable that was written before; behind a failed sync nobody is told that anything succeeded; behind a seal nothing
//! changes any more.

use crate::sync::{AtomicBool, Mutex, Ordering, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The way to one file.
#[derive(Debug)]
pub(super) struct Gate {
    turn: Mutex<()>,
    phase: RwLock<Phase>,
    /// Set when the length changed other than by writing: the next sync must cover it, whatever the filesystem takes
    /// `fdatasync` for.
    length_changed: AtomicBool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Closed(Closed),
}

/// Why nothing more is done to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Closed {
    /// A sync has failed: what the file holds is unknown.
    Poisoned,
    /// It is complete.
    Sealed,
}

/// Why a file was not synced.
#[derive(Debug)]
pub(super) enum NotSynced<E> {
    /// It was not tried.
    Closed(Closed),
    /// It was tried, and nothing is done to the file any more.
    Failed(E),
}

/// What a sync has to cover.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Covers {
    /// What was written.
    Data,
    /// The length too, which was changed otherwise.
    DataAndLength,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            turn: Mutex::new(()),
            phase: RwLock::new(Phase::Open),
            length_changed: AtomicBool::new(false),
        }
    }

    /// Enters beside others who write, for as long as the guard lives.
    pub(super) fn enter(&self) -> Result<Entered<'_>, Closed> {
        let phase = self.phase.read().unwrap_or_else(PoisonError::into_inner);
        phase.check()?;
        Ok(Entered { _phase: phase })
    }

    /// Enters alone.
    pub(super) fn enter_alone(&self) -> Result<EnteredAlone<'_>, Closed> {
        let phase = self.phase.write().unwrap_or_else(PoisonError::into_inner);
        phase.check()?;
        Ok(EnteredAlone { gate: self, phase })
    }

    /// Syncs; writes go on meanwhile, and those that returned before are covered.
    pub(super) fn sync<E>(&self, sync: impl FnOnce(Covers) -> Result<(), E>) -> Result<(), NotSynced<E>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody is in the middle of changing the length while it is asked for.
        let entered = self.enter().map_err(NotSynced::Closed)?;
        let covers = self.covers();
        drop(entered);
        self.sync_in_turn(|| sync(covers))
    }

    /// Syncs for the last time.
    pub(super) fn seal<E>(&self, sync: impl FnOnce(Covers) -> Result<(), E>) -> Result<(), NotSynced<E>> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Closed first, so no write slips in behind the sync that is meant to be the last.
        *self.enter_alone().map_err(NotSynced::Closed)?.phase = Phase::Closed(Closed::Sealed);
        let covers = self.covers();
        self.sync_in_turn(|| sync(covers))
    }

    fn covers(&self) -> Covers {
        if self.length_changed.swap(false, Ordering::AcqRel) {
            Covers::DataAndLength
        } else {
            Covers::Data
        }
    }

    /// The caller has the turn.
    fn sync_in_turn<E>(&self, sync: impl FnOnce() -> Result<(), E>) -> Result<(), NotSynced<E>> {
        sync().map_err(|error| {
            *self.phase.write().unwrap_or_else(PoisonError::into_inner) = Phase::Closed(Closed::Poisoned);
            NotSynced::Failed(error)
        })
    }
}

impl Phase {
    const fn check(self) -> Result<(), Closed> {
        match self {
            Self::Open => Ok(()),
            Self::Closed(why) => Err(why),
        }
    }
}

/// Somebody who writes.
#[derive(Debug)]
pub(super) struct Entered<'a> {
    _phase: RwLockReadGuard<'a, Phase>,
}

/// Somebody who changes the length, and nobody else is there.
#[derive(Debug)]
pub(super) struct EnteredAlone<'a> {
    gate: &'a Gate,
    phase: RwLockWriteGuard<'a, Phase>,
}

impl EnteredAlone<'_> {
    /// Notes that the length is about to change.
    pub(super) fn changes_length(&self) {
        self.gate.length_changed.store(true, Ordering::Release);
    }
}
