//! When an operation that goes through much pauses, and when it ends before its end.

use core::time::Duration;
use std::sync::Arc;

use super::observer::Observer;
use crate::{
    host::Clock,
    plan::{Budget, BudgetLeft, RateLimit},
};

/// How long somebody who cancels waits at most for an operation that pauses.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// What is left of the budget of an operation, and how fast it goes.
pub(super) struct Pace<'a> {
    clock: Arc<dyn Clock>,
    begun: Duration,
    time: Option<Duration>,
    left: BudgetLeft,
    rate: Option<RateLimit>,
    bytes: u64,
    observer: &'a dyn Observer,
    end: Option<End>,
}

/// Why an operation ends before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Its budget is used up.
    Budget,
    /// The observer asked for it.
    Cancelled,
}

impl<'a> Pace<'a> {
    pub(super) fn new(
        (budget, rate): (Budget, Option<RateLimit>),
        clock: Arc<dyn Clock>,
        observer: &'a dyn Observer,
    ) -> Self {
        Self {
            begun: clock.elapsed(),
            clock,
            time: budget.time,
            left: budget.left(),
            rate,
            bytes: 0,
            observer,
            end: None,
        }
    }

    /// Says whether so many bytes may be read next; waits where that would be too fast. Once it says no it always does.
    pub(super) fn allows(&mut self, bytes: u64) -> bool {
        if self.end.is_none() {
            self.end = self.look(bytes);
        }
        self.end.is_none()
    }

    /// Says why it ends before its end, when it does.
    pub(super) const fn end(&self) -> Option<End> {
        self.end
    }

    fn look(&mut self, bytes: u64) -> Option<End> {
        if self.observer.is_cancelled() {
            return Some(End::Cancelled);
        }
        let is_late = self.time.is_some_and(|time| self.elapsed() >= time);
        if is_late || !self.left.take(bytes) {
            return Some(End::Budget);
        }
        self.bytes += bytes;
        let mut pause = self.rate.map_or(Duration::ZERO, |rate| {
            rate.pause_after(self.elapsed(), self.bytes)
        });
        while !pause.is_zero() {
            if self.observer.is_cancelled() {
                return Some(End::Cancelled);
            }
            let part = pause.min(LONGEST_PAUSE);
            self.clock.pause(part);
            pause -= part;
        }
        None
    }

    fn elapsed(&self) -> Duration {
        self.clock.elapsed().saturating_sub(self.begun)
    }
}
