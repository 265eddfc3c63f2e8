//! Lengths and ranges of bytes.

use core::fmt;

/// Length of one leaf in bytes: the smallest piece that is verified and repaired.
///
/// A power of two from 1 KiB (one BLAKE3 chunk, so that a leaf is always a whole subtree of the file's hash tree) to
/// 1 MiB. Recorded in the archive; the default is 64 KiB: 32 bytes of hash for 65536 bytes of data, 0.05 %.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeafLen {
    log2: u8,
}

impl LeafLen {
    /// 64 KiB, what an archive gets unless asked otherwise.
    pub const DEFAULT: Self = Self { log2: 16 };

    /// Returns the leaf length of `2^log2` bytes, or `None` outside 1 KiB to 1 MiB.
    pub const fn from_log2(log2: u8) -> Option<Self> {
        if log2 >= 10 && log2 <= 20 {
            Some(Self { log2 })
        } else {
            None
        }
    }

    /// Returns the binary logarithm of the length, as it stands on disk.
    pub const fn log2(self) -> u8 {
        self.log2
    }

    /// Returns the length in bytes.
    pub const fn bytes(self) -> u64 {
        1 << self.log2
    }

    /// Returns how many leaves cover `len_bytes` bytes.
    pub const fn count_for(self, len_bytes: u64) -> u64 {
        len_bytes.div_ceil(self.bytes())
    }
}

// A leaf must be whole 64-byte groups, or Reed-Solomon would lay its tail out differently.
const _: () = assert!(
    LeafLen::DEFAULT.bytes().is_multiple_of(64),
    "leaf is not a multiple of the codec group"
);

/// A half-open range of bytes, `start..end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRange {
    start: u64,
    end: u64,
}

impl ByteRange {
    /// Returns `start..end`, or `None` when `end` lies before `start`.
    pub const fn new(start: u64, end: u64) -> Option<Self> {
        if start <= end {
            Some(Self { start, end })
        } else {
            None
        }
    }

    /// Returns the `len_bytes` bytes from `start`, or `None` when the end does not fit 64 bits.
    pub const fn at(start: u64, len_bytes: u64) -> Option<Self> {
        match start.checked_add(len_bytes) {
            Some(end) => Some(Self { start, end }),
            None => None,
        }
    }

    /// Returns the first byte.
    pub const fn start(self) -> u64 {
        self.start
    }

    /// Returns the byte after the last.
    pub const fn end(self) -> u64 {
        self.end
    }

    /// Returns the length in bytes.
    pub const fn len(self) -> u64 {
        self.end - self.start
    }

    /// Says whether the range holds no byte.
    pub const fn is_empty(self) -> bool {
        self.start == self.end
    }

    /// Returns the bytes that both ranges hold, or `None` when there are none.
    pub fn intersection(self, other: Self) -> Option<Self> {
        let start = self.start.max(other.start);
        let end = self.end.min(other.end);
        (start < end).then_some(Self { start, end })
    }

    /// Sorts `ranges` and joins those that touch or overlap.
    pub fn merge(ranges: &mut Vec<Self>) {
        ranges.sort_unstable();
        ranges.dedup_by(|next, kept| {
            let joins = next.start <= kept.end;
            if joins {
                kept.end = kept.end.max(next.end);
            }
            joins
        });
    }
}

impl fmt::Display for ByteRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaf_lengths_are_powers_of_two_from_one_kib_to_one_mib() {
        assert_eq!(LeafLen::from_log2(9), None, "half a BLAKE3 chunk is no subtree");
        assert_eq!(LeafLen::from_log2(10).map(LeafLen::bytes), Some(1024));
        assert_eq!(LeafLen::from_log2(20).map(LeafLen::bytes), Some(1024 * 1024));
        assert_eq!(LeafLen::from_log2(21), None, "above the bound");
    }

    #[test]
    fn merging_joins_touching_and_overlapping_ranges_and_keeps_gaps() {
        let range = |start, end| ByteRange::new(start, end).expect("start before end");
        let mut ranges = vec![
            range(10, 20),
            range(0, 5),
            range(20, 30),
            range(25, 27),
            range(40, 41),
        ];
        ByteRange::merge(&mut ranges);
        assert_eq!(ranges, [range(0, 5), range(10, 30), range(40, 41)]);
    }

    #[test]
    fn intersection_of_ranges_that_only_touch_is_none() {
        let left = ByteRange::new(0, 5).expect("start before end");
        let right = ByteRange::new(5, 9).expect("start before end");
        assert_eq!(left.intersection(right), None);
    }
}
