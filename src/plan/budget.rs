//! How much a scrub may read, and how fast; the clock is the caller's.

use core::{num::NonZeroU64, time::Duration};

/// When a scrub is to stop before it is done: at whichever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Budget {
    /// Bytes that may be read; `None` for any number.
    pub bytes: Option<u64>,
    /// Time that may pass; `None` for any time. Whoever has a clock looks at it.
    pub time: Option<Duration>,
}

/// What is left of the bytes of a [`Budget`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BudgetLeft {
    bytes: Option<u64>,
}

/// How many bytes may be read in a second, on average since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    bytes_per_second: NonZeroU64,
}

impl Budget {
    /// Everything may be read, however long it takes.
    pub const UNLIMITED: Self = Self {
        bytes: None,
        time: None,
    };

    /// Returns the budget of a part of what lives in an archive: `percent` of `live_bytes`, rounded up, and at least one
    /// byte unless `percent` is 0.
    pub fn of_percent(percent: u32, live_bytes: u64) -> Self {
        let bytes = (u128::from(live_bytes) * u128::from(percent)).div_ceil(100);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        Self {
            bytes: Some(bytes.max(u64::from(percent > 0))),
            time: None,
        }
    }

    /// Returns the bytes before anything was read.
    pub const fn left(&self) -> BudgetLeft {
        BudgetLeft { bytes: self.bytes }
    }
}

impl BudgetLeft {
    /// Takes the bytes of what is to be read next, and says whether it may be read.
    ///
    /// While anything is left it may, even where it is longer than what is left: so any budget but 0 makes progress, and
    /// none is overdrawn by more than what is read in one go.
    #[must_use]
    pub const fn take(&mut self, bytes: u64) -> bool {
        match &mut self.bytes {
            None => true,
            Some(0) => false,
            Some(left) => {
                *left = left.saturating_sub(bytes);
                true
            }
        }
    }

    /// Says whether nothing more may be read.
    pub const fn is_spent(&self) -> bool {
        matches!(self.bytes, Some(0))
    }
}

impl RateLimit {
    /// Returns the limit of this many bytes in a second.
    pub const fn new(bytes_per_second: NonZeroU64) -> Self {
        Self { bytes_per_second }
    }

    /// Returns how long to wait after `bytes_total` bytes were read in `elapsed`, both since the beginning: as long as it
    /// takes until they are not more than the limit, to the nanosecond, rounded up.
    pub fn pause_after(self, elapsed: Duration, bytes_total: u64) -> Duration {
        const NANOSECONDS: u128 = 1_000_000_000;
        let rate = self.bytes_per_second.get();
        let rest = u128::from(bytes_total % rate) * NANOSECONDS;
        let rest = u64::try_from(rest.div_ceil(u128::from(rate))).expect("at most a second of nanoseconds");
        let due = Duration::from_secs(bytes_total / rate) + Duration::from_nanos(rest);
        due.saturating_sub(elapsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    #[test]
    fn percents_round_up_and_any_but_0_is_at_least_a_byte() {
        let bytes = |percent, live| Budget::of_percent(percent, live).bytes;
        assert_eq!(bytes(0, 1000), Some(0));
        assert_eq!(bytes(8, 1000), Some(80));
        assert_eq!(bytes(8, 1001), Some(81));
        assert_eq!(bytes(1, 0), Some(1), "an empty archive");
        assert_eq!(bytes(100, u64::MAX), Some(u64::MAX));
        assert_eq!(bytes(u32::MAX, u64::MAX), Some(u64::MAX));
    }

    #[test]
    fn a_budget_ends_with_the_read_that_uses_it_up() {
        let mut left = Budget {
            bytes: Some(10),
            ..Budget::UNLIMITED
        }
        .left();
        assert!(left.take(4) && left.take(5), "1 is left");
        assert!(!left.is_spent() && left.take(100), "and suffices to begin");
        assert!(left.is_spent() && !left.take(1), "now nothing is left");
        assert!(!left.take(0), "not even for nothing");
    }

    #[test]
    fn a_budget_of_nothing_reads_nothing_and_one_without_bytes_everything() {
        let mut nothing = Budget::of_percent(0, 1000).left();
        assert!(nothing.is_spent() && !nothing.take(1));
        let mut everything = Budget::UNLIMITED.left();
        assert!(everything.take(u64::MAX) && everything.take(u64::MAX) && !everything.is_spent());
    }

    #[test]
    fn a_rate_is_kept_by_waiting_for_the_rest_of_the_time() {
        let limit = RateLimit::new(NonZeroU64::new(1000).expect("not 0"));
        let pause = |elapsed_ms, bytes| limit.pause_after(Duration::from_millis(elapsed_ms), bytes);
        assert_eq!(pause(0, 0), Duration::ZERO);
        assert_eq!(pause(400, 1500), Duration::from_millis(1100));
        assert_eq!(pause(1500, 1500), Duration::ZERO);
        assert_eq!(pause(60_000, 1500), Duration::ZERO, "slow already");
        let three = RateLimit::new(NonZeroU64::new(3).expect("not 0"));
        assert_eq!(
            three.pause_after(Duration::ZERO, 1),
            Duration::from_nanos(333_333_334)
        );
    }

    proptest! {
        #[test]
        fn the_pause_is_the_shortest_that_keeps_the_rate(
            // Of every order of magnitude, so that a limit is slow as often as fast.
            (rate, rate_bits) in (any::<u64>(), 0_u32..64),
            (bytes, bytes_bits) in (any::<u64>(), 0_u32..64),
            (seconds, nanos) in (0_u64..3, 0_u32..1_000_000_000),
        ) {
            let rate = (rate >> rate_bits).max(1);
            let limit = RateLimit::new(NonZeroU64::new(rate).expect("not 0"));
            for bytes in [bytes >> bytes_bits, rate / 2, rate, u64::MAX] {
                let elapsed = Duration::new(seconds, nanos);
                let pause = limit.pause_after(elapsed, bytes);
                // bytes / time <= rate, without dividing.
                let keeps = |time: Duration| {
                    let time = time.as_nanos();
                    u128::from(bytes) * 1_000_000_000 <= time.saturating_mul(u128::from(rate))
                };
                prop_assert!(keeps(elapsed + pause));
                if let Some(shorter) = pause.checked_sub(Duration::from_nanos(1)) {
                    prop_assert!(!keeps(elapsed + shorter));
                }
                prop_assert_eq!(limit.pause_after(elapsed + pause, bytes), Duration::ZERO);
            }
        }
    }
}
