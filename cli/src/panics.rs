//! Panics: kept off the screen until it is known whether they matter.
//!
//! The catalog catches what its database panics with on damaged bytes and returns it as an error; the hook of the standard
//! library would have printed it by then. A panic that reaches the end of the program is a defect and is shown there.

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    panic,
    sync::{Mutex, PoisonError},
};

/// What the last panic said, line by line.
static LAST: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Makes panics silent; [`take`] tells of the last one.
pub(crate) fn keep_quiet() {
    panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let mut text = panic.to_string();
        if backtrace.status() == BacktraceStatus::Captured {
            text = format!("{text}\n{backtrace}");
        }
        *LAST.lock().unwrap_or_else(PoisonError::into_inner) = text.lines().map(str::to_owned).collect();
    }));
}

/// Returns what the last panic said, once.
pub(crate) fn take() -> Vec<String> {
    std::mem::take(&mut *LAST.lock().unwrap_or_else(PoisonError::into_inner))
}
