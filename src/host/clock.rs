//! The time of day, and the only place that asks the system for it.

use core::time::Duration;
use std::{
    fmt::Debug,
    sync::OnceLock,
    thread,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::units::Timestamp;

/// Tells the time; the operations of an archive get one, so that tests choose what time it is.
pub trait Clock: Debug + Send + Sync {
    /// Returns the time of day. It may go backwards, when someone sets the clock.
    fn now(&self) -> Timestamp;

    /// Returns how much time has passed since some moment; it never goes backwards. Without an answer of its own a clock is
    /// taken to be one that nobody sets.
    fn elapsed(&self) -> Duration {
        let now = self.now();
        let seconds = u64::try_from(now.seconds()).unwrap_or(0);
        Duration::new(seconds, now.nanoseconds())
    }

    /// Lets time pass; one that is not real has nothing to wait for.
    fn pause(&self, _time: Duration) {}
}

/// The clock of the system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everything else gets"
    )]
    fn now(&self) -> Timestamp {
        time_of(SystemTime::now())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the clock that everything else gets"
    )]
    fn elapsed(&self) -> Duration {
        static FIRST: OnceLock<Instant> = OnceLock::new();
        FIRST.get_or_init(Instant::now).elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "whoever keeps to a rate has to wait")]
    fn pause(&self, time: Duration) {
        thread::sleep(time);
    }
}

/// Converts a time of the system.
///
/// # Panics
/// Beyond 292 thousand million years from 1970, where no clock of a system counts.
fn time_of(time: SystemTime) -> Timestamp {
    let seconds = |duration: Duration| {
        i64::try_from(duration.as_secs()).expect("a system clock counts seconds in 63 bits")
    };
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => {
            Timestamp::new(seconds(since), since.subsec_nanos()).expect("nanoseconds are below a second")
        }
        Err(before) => {
            let until = before.duration();
            match until.subsec_nanos() {
                0 => Timestamp::new(-seconds(until), 0).expect("nanoseconds are below a second"),
                part => Timestamp::new(-seconds(until) - 1, 1_000_000_000 - part)
                    .expect("nanoseconds are below a second"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn times_before_1970_are_rounded_down_so_that_nanoseconds_count_forward() {
        let cases = [
            (UNIX_EPOCH + Duration::new(5, 7), 5, 7),
            (UNIX_EPOCH, 0, 0),
            (UNIX_EPOCH - Duration::new(5, 0), -5, 0),
            (UNIX_EPOCH - Duration::new(5, 1), -6, 999_999_999),
        ];
        for (time, seconds, nanoseconds) in cases {
            assert_eq!(
                time_of(time),
                Timestamp::new(seconds, nanoseconds).expect("nanoseconds are below a second"),
                "{time:?}"
            );
        }
    }

    #[test]
    fn the_system_clock_agrees_with_the_time_that_a_file_gets() {
        let before = SystemClock.now();
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let modified = file
            .as_file()
            .metadata()
            .and_then(|found| found.modified())
            .expect("a time");
        let distance = time_of(modified).seconds() - before.seconds();
        assert!(
            (-2..=600).contains(&distance),
            "the clocks are {distance} s apart"
        );
    }
}
