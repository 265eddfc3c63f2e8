//! Commits of this process that nobody works on any more and that could not be ended: a rollback that failed, a panic.
//!
//! Their intents name a session that lives, so no other process may touch them. Whoever commits next in this process ends
//! them; where that does not work, the session stays behind and the next writing open does.
//!
//! Invariant: a commit that somebody works on is not here. One is taken out under the write lock of the catalog by whoever ends
//! it or goes on with it, so that only one does.

use std::collections::BTreeSet;

use crate::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    units::CommitId,
};

/// The commits that are left behind.
#[derive(Debug, Default)]
pub(super) struct LeftBehind(Mutex<BTreeSet<CommitId>>);

impl LeftBehind {
    pub(super) fn add(&self, commit: CommitId) {
        self.lock().insert(commit);
    }

    /// Takes a commit out; says whether it was left behind.
    pub(super) fn take(&self, commit: CommitId) -> bool {
        self.lock().remove(&commit)
    }

    /// Returns all of them; they stay until somebody takes them out.
    pub(super) fn all(&self) -> Vec<CommitId> {
        self.lock().iter().copied().collect()
    }

    /// Says whether a commit is left behind.
    pub(super) fn has(&self, commit: CommitId) -> bool {
        self.lock().contains(&commit)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<CommitId>> {
        // A set is whole behind every call.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A commit that somebody works on: dropped before its end, as by a panic, it is left behind.
#[derive(Debug)]
pub(super) struct UnderWay {
    left: Arc<LeftBehind>,
    commit: CommitId,
    has_ended: bool,
}

impl UnderWay {
    pub(super) fn new(left: &Arc<LeftBehind>, commit: CommitId) -> Self {
        Self {
            left: Arc::clone(left),
            commit,
            has_ended: false,
        }
    }

    /// Ends it: it is published, or may be.
    pub(super) fn end(mut self) {
        self.has_ended = true;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if !self.has_ended {
            self.left.add(self.commit);
        }
    }
}
