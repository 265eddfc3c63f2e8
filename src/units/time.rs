//! Points in time.

/// A point in time, counted from the Unix epoch in UTC.
///
/// Points before 1970 have negative seconds; the nanoseconds always count forwards from the second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp {
    seconds: i64,
    nanoseconds: u32,
}

impl Timestamp {
    /// The Unix epoch itself.
    pub const EPOCH: Self = Self {
        seconds: 0,
        nanoseconds: 0,
    };

    /// Returns the point `seconds` and `nanoseconds` after the Unix epoch, or `None` when the nanoseconds make a second.
    pub const fn new(seconds: i64, nanoseconds: u32) -> Option<Self> {
        if nanoseconds < 1_000_000_000 {
            Some(Self { seconds, nanoseconds })
        } else {
            None
        }
    }

    /// Returns the whole seconds since the Unix epoch, rounded down.
    pub const fn seconds(self) -> i64 {
        self.seconds
    }

    /// Returns the nanoseconds since that second, below 1 000 000 000.
    pub const fn nanoseconds(self) -> u32 {
        self.nanoseconds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_second_of_nanoseconds_is_refused_and_times_order_by_both_parts() {
        assert_eq!(Timestamp::new(0, 1_000_000_000), None);
        let before = Timestamp::new(-1, 999_999_999).expect("valid");
        assert!(before < Timestamp::EPOCH, "the last moment of 1969");
        assert!(Timestamp::EPOCH < Timestamp::new(0, 1).expect("valid"));
    }
}
