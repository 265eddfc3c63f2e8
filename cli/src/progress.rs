//! Progress: how far the work is, from the library's events to a line or JSON lines on standard error.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bfdb::archive::{Event, Observer};
use serde::Serialize;

use crate::{
    output::{Output, ProgressForm},
    text,
};

/// How often progress is shown at most.
const INTERVAL: Duration = Duration::from_millis(200);

/// How far one command is. Dropped, it takes its line away.
pub(crate) struct Progress<'a> {
    output: &'a Output,
    verb: &'static str,
    total_bytes: Option<u64>,
    done_bytes: AtomicU64,
    stopwatch: Stopwatch,
    shown_at: Mutex<Duration>,
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    started: Instant,
}

#[derive(Serialize)]
#[serde(tag = "type", rename = "progress")]
struct ProgressLine {
    bytes: u64,
    total: Option<u64>,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        #[expect(clippy::disallowed_methods, reason = "only shown to people, decides nothing")]
        let started = Instant::now();
        Self { started }
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.started.elapsed()
    }

    /// Returns the seconds since the start, as JSON lines have them.
    pub(crate) fn seconds(self) -> f64 {
        self.elapsed().as_secs_f64()
    }
}

impl<'a> Progress<'a> {
    /// Begins; `verb` says what is done to the bytes, `total_bytes` how many there are where that is known.
    pub(crate) fn new(output: &'a Output, verb: &'static str, total_bytes: Option<u64>) -> Self {
        Self {
            output,
            verb,
            total_bytes,
            done_bytes: AtomicU64::new(0),
            stopwatch: Stopwatch::start(),
            shown_at: Mutex::new(Duration::ZERO),
        }
    }

    /// Counts bytes that are done.
    pub(crate) fn add(&self, bytes: u64) {
        let done = self.done_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        // Somebody else shows it this moment where the lock is taken.
        let Ok(mut shown_at) = self.shown_at.try_lock() else {
            return;
        };
        let now = self.stopwatch.elapsed();
        if self.output.progress() != ProgressForm::Nothing && now >= *shown_at + INTERVAL {
            *shown_at = now;
            self.show(done, now);
        }
    }

    fn show(&self, done: u64, elapsed: Duration) {
        match self.output.progress() {
            ProgressForm::Nothing => {}
            ProgressForm::Line => self.output.bar(&self.line(done, elapsed)),
            ProgressForm::Json => self.output.progress_line(&ProgressLine {
                bytes: done,
                total: self.total_bytes,
            }),
        }
    }

    fn line(&self, done: u64, elapsed: Duration) -> String {
        let rate = u128::from(done) * 1000 / elapsed.as_millis().max(1);
        let rate = text::size(u64::try_from(rate).unwrap_or(u64::MAX));
        let (verb, shown) = (self.verb, text::size(done));
        match self.total_bytes {
            Some(total) if total > 0 => {
                let percent = u128::from(done.min(total)) * 100 / u128::from(total);
                format!("{verb} {shown} of {} ({percent} %), {rate}/s", text::size(total))
            }
            _ => format!("{verb} {shown}, {rate}/s"),
        }
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        // The last JSON line has the final count; a line for people is taken away.
        if self.output.progress() == ProgressForm::Json {
            let done = self.done_bytes.load(Ordering::Relaxed);
            self.show(done, self.stopwatch.elapsed());
        }
        self.output.clear_bar();
    }
}

impl Observer for Progress<'_> {
    fn event(&self, event: Event<'_>) {
        if let Event::Progress { bytes } = event {
            self.add(bytes);
        }
    }
}
