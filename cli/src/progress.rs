//! Progress: how far the work is, from the library's events to a line or JSON lines on standard error.

use std::{
    collections::VecDeque,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bfdb::archive::{Event, Observer};
use serde::Serialize;

use crate::{
    interrupt::Interrupt,
    output::{Output, ProgressForm},
    text,
};

/// How often progress is shown at most.
const INTERVAL: Duration = Duration::from_millis(200);

/// The rate is that of so much time, so that it follows when the work gets faster or slower.
const WINDOW: Duration = Duration::from_secs(5);

/// How far one command is. Dropped, it takes its line away.
pub(crate) struct Progress<'a> {
    output: &'a Output,
    interrupt: &'a Interrupt,
    verb: &'static str,
    total_bytes: Option<u64>,
    /// Bytes of the total that were done before.
    skipped_bytes: AtomicU64,
    done_bytes: AtomicU64,
    /// Files, directories and links; 0 where a command does not count them.
    done_entries: AtomicU64,
    stopwatch: Stopwatch,
    pace: Mutex<Pace>,
}

/// How many bytes were done when, over the last seconds.
#[derive(Debug)]
struct Pace {
    /// Oldest first; the last is when progress was shown last.
    samples: VecDeque<(Duration, u64)>,
}

/// Measures how long something takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch {
    started: Instant,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename = "progress")]
struct ProgressLine {
    files: Option<u64>,
    bytes: u64,
    total: Option<u64>,
    bytes_per_second: u64,
    eta_seconds: Option<u64>,
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

impl Pace {
    fn new() -> Self {
        Self {
            samples: VecDeque::from([(Duration::ZERO, 0)]),
        }
    }

    fn shown_at(&self) -> Duration {
        self.samples.back().map_or(Duration::ZERO, |(at, _)| *at)
    }

    /// Takes a sample and returns the bytes per second over the window.
    fn rate(&mut self, now: Duration, done: u64) -> u64 {
        self.samples.push_back((now, done));
        // What is just outside stays as the start of the window.
        while self.samples.get(1).is_some_and(|(at, _)| *at + WINDOW <= now) {
            self.samples.pop_front();
        }
        let (since, before) = self.samples.front().copied().unwrap_or_default();
        let milliseconds = now.saturating_sub(since).as_millis().max(1);
        let rate = u128::from(done.saturating_sub(before)) * 1000 / milliseconds;
        u64::try_from(rate).unwrap_or(u64::MAX)
    }
}

impl<'a> Progress<'a> {
    /// Begins; `verb` says what is done to the bytes, `total_bytes` how many there are where that is known.
    pub(crate) fn new(
        output: &'a Output,
        interrupt: &'a Interrupt,
        verb: &'static str,
        total_bytes: Option<u64>,
    ) -> Self {
        Self {
            output,
            interrupt,
            verb,
            total_bytes,
            skipped_bytes: AtomicU64::new(0),
            done_bytes: AtomicU64::new(0),
            done_entries: AtomicU64::new(0),
            stopwatch: Stopwatch::start(),
            pace: Mutex::new(Pace::new()),
        }
    }

    /// Counts bytes that are done.
    pub(crate) fn add(&self, bytes: u64) {
        self.done_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.show_when_due();
    }

    /// Takes bytes that were done before out of the total: only the rest counts.
    pub(crate) fn skip(&self, bytes: u64) {
        self.skipped_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Puts bytes back that were skipped.
    pub(crate) fn unskip(&self, bytes: u64) {
        self.skipped_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Counts a file, directory or link that is done.
    pub(crate) fn add_entry(&self) {
        self.done_entries.fetch_add(1, Ordering::Relaxed);
        self.show_when_due();
    }

    /// Returns how many bytes are done.
    pub(crate) fn done_bytes(&self) -> u64 {
        self.done_bytes.load(Ordering::Relaxed)
    }

    fn show_when_due(&self) {
        if self.output.progress() == ProgressForm::Nothing {
            return;
        }
        // Somebody else shows it this moment where the lock is taken.
        let Ok(mut pace) = self.pace.try_lock() else {
            return;
        };
        let now = self.stopwatch.elapsed();
        if now >= pace.shown_at() + INTERVAL {
            let line = self.measure(&mut pace, now);
            self.show(&line);
        }
    }

    fn measure(&self, pace: &mut Pace, now: Duration) -> ProgressLine {
        let bytes = self.done_bytes();
        let entries = self.done_entries.load(Ordering::Relaxed);
        let bytes_per_second = pace.rate(now, bytes);
        let skipped = self.skipped_bytes.load(Ordering::Relaxed);
        let total = self.total_bytes.map(|total| total.saturating_sub(skipped));
        let left = total.map(|total| total.saturating_sub(bytes));
        ProgressLine {
            files: (entries > 0).then_some(entries),
            bytes,
            total,
            bytes_per_second,
            eta_seconds: left.and_then(|left| match left {
                0 => Some(0),
                left => left.checked_div(bytes_per_second),
            }),
        }
    }

    fn show(&self, line: &ProgressLine) {
        match self.output.progress() {
            ProgressForm::Nothing => {}
            ProgressForm::Line => self.output.bar(&line.for_people(self.verb)),
            ProgressForm::Json => self.output.progress_line(line),
        }
    }
}

impl ProgressLine {
    fn for_people(&self, verb: &str) -> String {
        let mut parts = Vec::new();
        if let Some(entries) = self.files {
            parts.push(text::count(entries, "entry"));
        }
        let shown = text::size(self.bytes);
        match self.total {
            Some(total) if total > 0 => {
                let percent = u128::from(self.bytes.min(total)) * 100 / u128::from(total);
                parts.push(format!("{shown} of {} ({percent} %)", text::size(total)));
            }
            _ => parts.push(shown),
        }
        parts.push(format!("{}/s", text::size(self.bytes_per_second)));
        if let Some(seconds) = self.eta_seconds {
            parts.push(format!("{} left", text::about(seconds)));
        }
        format!("{verb} {}", parts.join(", "))
    }
}

impl Drop for Progress<'_> {
    fn drop(&mut self) {
        // The last JSON line has the final count; a line for people is taken away.
        if self.output.progress() == ProgressForm::Json {
            let mut pace = std::mem::replace(&mut self.pace, Mutex::new(Pace::new()))
                .into_inner()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            let line = self.measure(&mut pace, self.stopwatch.elapsed());
            self.show(&line);
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

    fn is_cancelled(&self) -> bool {
        self.interrupt.is_set()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds_and_not_the_average_since_the_start() {
        let mut pace = Pace::new();
        let second = Duration::from_secs;
        assert_eq!(pace.rate(second(5), 5000), 1000);
        // Ten times as fast from here on; after a window nothing is left of what was before.
        assert_eq!(pace.rate(second(8), 35_000), 35_000 / 8);
        assert_eq!(pace.rate(second(10), 55_000), 10_000);
        assert_eq!(
            pace.rate(second(100), 55_000),
            0,
            "nothing was done for 90 seconds"
        );
    }

    #[test]
    fn a_line_for_people_names_entries_bytes_rate_and_what_is_left() {
        let line = ProgressLine {
            files: Some(3),
            bytes: 512,
            total: Some(1024),
            bytes_per_second: 64,
            eta_seconds: Some(8),
        };
        assert_eq!(
            line.for_people("stored"),
            "stored 3 entries, 512 B of 1.0 KiB (50 %), 64 B/s, 8 s left"
        );
        let unknown = ProgressLine {
            files: None,
            total: None,
            eta_seconds: None,
            ..line
        };
        assert_eq!(unknown.for_people("read"), "read 512 B, 64 B/s");
    }
}
