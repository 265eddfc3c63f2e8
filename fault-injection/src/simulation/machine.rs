//! Time and randomness that are the same in every run.

use std::sync::{Mutex, PoisonError};

use bfdb::{
    error::HostError,
    host::{Clock, Randomness},
    units::Timestamp,
};

use crate::Seeded;

/// A clock that goes on by a fixed step whenever it is asked, and never otherwise.
#[derive(Debug)]
pub struct SimulatedClock {
    next: Mutex<(i64, u32)>,
    step_nanoseconds: u32,
}

const NANOSECONDS: u32 = 1_000_000_000;

impl SimulatedClock {
    /// Starts at `start`; the first answer is that.
    ///
    /// # Panics
    /// When the step is a second or more.
    pub fn new(start: Timestamp, step_nanoseconds: u32) -> Self {
        assert!(step_nanoseconds < NANOSECONDS, "a step is below a second");
        Self {
            next: Mutex::new((start.seconds(), start.nanoseconds())),
            step_nanoseconds,
        }
    }
}

impl Default for SimulatedClock {
    /// Starts 1 000 000 000 seconds after the epoch and takes steps of a millisecond.
    fn default() -> Self {
        let start = Timestamp::new(1_000_000_000, 0).expect("no nanoseconds are below a second");
        Self::new(start, 1_000_000)
    }
}

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let (seconds, nanoseconds) = *next;
        let sum = nanoseconds + self.step_nanoseconds;
        *next = (seconds + i64::from(sum / NANOSECONDS), sum % NANOSECONDS);
        Timestamp::new(seconds, nanoseconds).expect("nanoseconds are kept below a second")
    }
}

/// Random bytes that follow from a seed.
#[derive(Debug)]
pub struct SimulatedRandomness {
    seeded: Mutex<Seeded>,
}

impl SimulatedRandomness {
    /// Starts the sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self {
            seeded: Mutex::new(Seeded::new(seed)),
        }
    }
}

impl Randomness for SimulatedRandomness {
    fn fill(&self, into: &mut [u8]) -> Result<(), HostError> {
        let mut seeded = self.seeded.lock().unwrap_or_else(PoisonError::into_inner);
        for part in into.chunks_mut(8) {
            part.copy_from_slice(&seeded.next_u64().to_le_bytes()[..part.len()]);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_takes_its_step_over_the_border_of_a_second() {
        let start = Timestamp::new(7, 999_999_999).expect("a time");
        let clock = SimulatedClock::new(start, 2);
        let times = [clock.now(), clock.now(), clock.now()].map(|now| (now.seconds(), now.nanoseconds()));
        assert_eq!(times, [(7, 999_999_999), (8, 1), (8, 3)]);
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_one_others() {
        let bytes = |seed| {
            let mut bytes = [0; 13];
            SimulatedRandomness::new(seed).fill(&mut bytes).expect("bytes");
            bytes
        };
        assert_eq!(bytes(1), bytes(1));
        assert_ne!(bytes(1), bytes(2));
        assert_ne!(bytes(1)[8..], [0; 5], "the end was left as it was");
    }
}
