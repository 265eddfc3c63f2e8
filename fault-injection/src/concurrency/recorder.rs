//! Telling what is begun and what was told, each with the time of the machine.

use std::{
    fmt,
    io::{self, Write as _},
    sync::atomic::{AtomicU64, Ordering},
};

use rustix::time::{ClockId, clock_gettime};

use super::line::{Asked, Line, Said, Told};

/// Numbers of one process: its own number times this, and up.
const NUMBERS: u64 = 1_000_000;

/// Returns nanoseconds of the clock that all processes of a machine share.
pub(super) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).expect("the clock counts from the start of the machine");
    part(time.tv_sec) * 1_000_000_000 + part(time.tv_nsec)
}

/// Gives numbers to the operations of one process and says its lines.
pub(super) struct Recorder {
    next: AtomicU64,
    say: Box<dyn Fn(&str) + Send + Sync>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Recorder")
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl Recorder {
    pub(super) fn new(process: u64, say: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self {
            next: AtomicU64::new(process * NUMBERS),
            say: Box::new(say),
        }
    }

    /// Says lines on standard output, each with one call, so that whoever dies leaves whole ones.
    pub(super) fn to_standard_output(process: u64) -> Self {
        Self::new(process, |line| {
            let mut out = io::stdout().lock();
            // Whoever listened is gone: then nobody cares.
            match out.write_all(line.as_bytes()).and_then(|()| out.flush()) {
                Ok(()) | Err(_) => {}
            }
        })
    }

    /// Returns a number that nothing else has: of an operation, and of the content that it stores.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Says that something is about to be asked for; `epoch` was looked up before.
    pub(super) fn begin(&self, number: u64, epoch: Option<u64>, asked: Asked) {
        let at = now();
        self.line(number, (at, epoch), Said::Begin(asked));
    }

    /// Says what the answer was, and when it was there.
    pub(super) fn end(&self, number: u64, moment: (u64, Option<u64>), told: Told) {
        self.line(number, moment, Said::End(told));
    }

    fn line(&self, number: u64, (at, epoch): (u64, Option<u64>), said: Said) {
        let line = Line {
            number,
            at,
            epoch,
            said,
        };
        (self.say)(&format!("{line}\n"));
    }
}
