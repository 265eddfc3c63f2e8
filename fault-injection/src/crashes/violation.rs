//! Which promises an archive makes of every outcome, and that one is broken.

use std::{
    any::Any,
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
};

/// What must not be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which promise is broken.
    pub promise: Promise,
    /// How.
    pub detail: String,
}

/// What an archive promises of every outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Promise {
    /// It opens after every crash.
    Opens,
    /// Opening for reading changes nothing.
    ReadingChangesNothing,
    /// What is seen is allowed: right bytes, acknowledged effects, nothing by halves (O1, O2, O4).
    Content,
    /// Every shard is whole.
    Whole,
    /// Every byte has one owner (O5).
    NoLeak,
    /// No panic (O6).
    NoPanic,
    /// What was recovered needs no recovery (O7).
    RecoversOnce,
    /// Nobody waits for ever (O6).
    NoHang,
    /// Sums equal a recount (O8).
    Totals,
    /// The archive takes new files.
    Writable,
    /// A lost catalog comes out again as it was.
    Rebuilds,
    /// The journal is one chain up to the catalog, whole on every copy.
    Journal,
    /// A commit that waits can be resumed and can be rolled back (O4).
    Ends,
    /// Everything that the users of a name were told has one order that agrees with time.
    Linearizable,
    /// A workload gets the answers that it should where no fault has to be told of.
    Answers,
    /// What an application demands of its own files and of the archive together.
    Application,
}

impl fmt::Display for Violation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:?}: {}", self.promise, self.detail)
    }
}

impl Promise {
    /// Makes the violation of it.
    pub fn broken(self, detail: impl fmt::Display) -> Violation {
        Violation {
            promise: self,
            detail: detail.to_string(),
        }
    }
}

/// Runs something whose panic is a violation.
///
/// # Errors
/// What it returns, or its panic.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, Violation>) -> Result<T, Violation> {
    let message = |panic: Box<dyn Any + Send>| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
            .unwrap_or_else(|| "without words".to_owned())
    };
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Promise::NoPanic.broken(message(panic))))
}
