//! Sources and observers of workloads: they do something in the middle of a commit.

use std::{
    io::{self, Read},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bfdb::{CommitObserver, CommitOutcome, Event, FileName, Observer, Source, error::CommitError};

use super::answer::Answer;
use crate::{SimulatedStorage, crashes::oracle::Moment};

/// A source that does something else before its first byte.
pub(super) struct Around<'a, F> {
    pub(super) before: Option<F>,
    pub(super) rest: &'a [u8],
}

impl<F: FnOnce()> Read for Around<'_, F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Some(before) = self.before.take() {
            before();
        }
        self.rest.read(into)
    }
}

/// Lets an operation go on for so many times that it asks.
#[derive(Debug)]
pub(super) struct Cancels {
    pub(super) after: AtomicU64,
}

impl Observer for Cancels {
    fn event(&self, _: Event<'_>) {}

    fn is_cancelled(&self) -> bool {
        let goes_on = |left: u64| left.checked_sub(1);
        self.after
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, goes_on)
            .is_err()
    }
}

/// Sets a marker the moment that a source is told of.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) disk: SimulatedStorage,
    /// Sources that nobody was told of yet, and their effects.
    pub(super) waiting: Mutex<Vec<(FileName, usize)>>,
    pub(super) failed: Mutex<Vec<(usize, Answer)>>,
}

impl Observer for Told {
    fn event(&self, _: Event<'_>) {}
}

impl CommitObserver for Told {
    fn source_done(&self, source: &Source, result: Result<CommitOutcome, CommitError>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = waiting.iter().position(|(name, _)| *name == source.name) else {
            return;
        };
        let (_, effect) = waiting.remove(place);
        match result {
            Ok(_) => self.disk.marker(Moment::Done.tag(effect)),
            Err(error) => {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push((effect, Answer::of_error(&error)));
            }
        }
    }
}
