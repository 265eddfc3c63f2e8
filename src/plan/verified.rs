//! What was verified when: the memory of scrubs, one set of intervals for each extent.
//!
//! Intervals and not a place up to which everything was read: bytes that are appended later lie in none of them, so that
//! the next scrub finds them, and so do bytes that were skipped because somebody ran out of time.

use crate::units::{ByteRange, Timestamp};

/// Which bytes of one extent were found right, and when.
///
/// Whoever has read everything that lives in a range marks the whole range, what lies between frames too, and gives all
/// that it reads in one go the same time: so the set stays small, and a later scrub reads in long runs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct VerifiedSet {
    /// In order, disjoint, none empty; where two touch, their times differ.
    intervals: Vec<VerifiedInterval>,
}

/// Bytes of an extent that were verified at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VerifiedInterval {
    /// Bytes from the start of the extent.
    pub range: ByteRange,
    /// When they were verified.
    pub when: Timestamp,
}

impl VerifiedSet {
    /// Makes a set of intervals as they were stored: in any order, empty, or over each other, where the newer time wins.
    ///
    /// Nothing keeps them from naming bytes that do not exist: see [`forget_impossible`](Self::forget_impossible). Takes
    /// linear time where they come in order and disjoint.
    pub fn from_intervals(intervals: impl IntoIterator<Item = VerifiedInterval>) -> Self {
        let mut set = Self::default();
        intervals
            .into_iter()
            .for_each(|interval| set.insert(interval.range, interval.when));
        set
    }

    /// Forgets what cannot be true: that bytes behind `end_bytes`, the committed end of the extent, were verified, or any
    /// bytes after `now`.
    ///
    /// Believed, the one would skip bytes that are appended later, the other would keep bytes from being read until a
    /// clock that was wrong is right.
    pub fn forget_impossible(&mut self, end_bytes: u64, now: Timestamp) {
        if let Some(behind) = ByteRange::new(end_bytes, u64::MAX) {
            self.remove(behind);
        }
        self.intervals.retain(|interval| interval.when <= now);
    }

    /// Notes that a range was verified; bytes of it that were verified later than `when` keep their time.
    pub fn insert(&mut self, range: ByteRange, when: Timestamp) {
        self.rewrite(range, |before| {
            Some(before.map_or(when, |before| before.max(when)))
        });
    }

    /// Forgets a range: damage was found there, or other bytes will stand there.
    pub fn remove(&mut self, range: ByteRange) {
        self.rewrite(range, |_| None);
    }

    /// Returns the time since when every byte of a range is known to be right: the oldest time in it. `None` when a byte
    /// of it was never verified, and for an empty range.
    pub fn when(&self, range: ByteRange) -> Option<Timestamp> {
        // `None` is less than any time.
        self.pieces(range).map(|(_, when)| when).min().flatten()
    }

    /// Cuts a range where its time changes, in order; `None` stands for bytes that were never verified.
    ///
    /// The pieces are not empty and make up the range; two that touch differ.
    pub fn pieces(&self, range: ByteRange) -> impl Iterator<Item = (ByteRange, Option<Timestamp>)> {
        let first = self
            .intervals
            .partition_point(|interval| interval.range.end() <= range.start());
        let mut known = self.intervals[first..]
            .iter()
            .map_while(move |interval| Some((interval.range.intersection(range)?, interval.when)))
            .peekable();
        let mut at = range.start();
        core::iter::from_fn(move || {
            let (end, when) = match known.next_if(|(next, _)| next.start() == at) {
                Some((next, when)) => (next.end(), Some(when)),
                None => (known.peek().map_or(range.end(), |(next, _)| next.start()), None),
            };
            let piece = ByteRange::new(at, end).filter(|piece| !piece.is_empty())?;
            at = end;
            Some((piece, when))
        })
    }

    /// Returns the intervals in order.
    pub fn iter(&self) -> impl Iterator<Item = VerifiedInterval> {
        self.intervals.iter().copied()
    }

    /// Says whether nothing was ever verified.
    pub const fn is_empty(&self) -> bool {
        self.intervals.is_empty()
    }

    /// Returns how many bytes were verified at all.
    pub fn verified_bytes(&self) -> u64 {
        self.iter().map(|interval| interval.range.len()).sum()
    }

    /// Returns how many bytes were verified at `moment` or later.
    pub fn verified_bytes_since(&self, moment: Timestamp) -> u64 {
        let since = self.iter().filter(|interval| interval.when >= moment);
        since.map(|interval| interval.range.len()).sum()
    }

    /// Returns how many bytes of a range were verified at all.
    pub fn verified_bytes_in(&self, range: ByteRange) -> u64 {
        let known = self.pieces(range).filter(|(_, when)| when.is_some());
        known.map(|(piece, _)| piece.len()).sum()
    }

    /// Gives every byte of a range another time, or none, and joins what is alike then.
    fn rewrite(&mut self, range: ByteRange, change: impl Fn(Option<Timestamp>) -> Option<Timestamp>) {
        // Neighbours that only touch take part: they may have the new time.
        let first = self
            .intervals
            .partition_point(|interval| interval.range.end() < range.start());
        let last = self
            .intervals
            .partition_point(|interval| interval.range.start() <= range.end());
        let touched = &self.intervals[first..last];
        let outer_start = touched
            .first()
            .map_or(range.start(), |interval| interval.range.start());
        let outer_end = touched
            .last()
            .map_or(range.end(), |interval| interval.range.end());
        let before = ByteRange::new(outer_start, range.start());
        let after = ByteRange::new(range.end(), outer_end);
        let sticks_out = |side: Option<ByteRange>| side.into_iter().flat_map(|side| self.pieces(side));
        let changed = self.pieces(range).map(|(piece, when)| (piece, change(when)));
        let mut renewed: Vec<VerifiedInterval> = Vec::with_capacity(touched.len() + 2);
        for (piece, when) in sticks_out(before).chain(changed).chain(sticks_out(after)) {
            let Some(when) = when else { continue };
            match renewed.last_mut() {
                Some(kept) if kept.when == when && kept.range.end() == piece.start() => {
                    kept.range =
                        ByteRange::new(kept.range.start(), piece.end()).expect("pieces are in order");
                }
                _ => renewed.push(VerifiedInterval { range: piece, when }),
            }
        }
        self.intervals.splice(first..last, renewed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{Strategy, prop_assert_eq, proptest};

    fn range(start: u64, end: u64) -> ByteRange {
        ByteRange::new(start, end).expect("start before end")
    }

    fn time(seconds: i64) -> Timestamp {
        Timestamp::new(seconds, 0).expect("no nanoseconds")
    }

    fn interval(start: u64, end: u64, seconds: i64) -> VerifiedInterval {
        VerifiedInterval {
            range: range(start, end),
            when: time(seconds),
        }
    }

    /// The slow, obvious set: a time for every byte.
    #[derive(Clone)]
    struct Model(Vec<Option<Timestamp>>);

    #[derive(Debug, Clone, Copy)]
    enum Change {
        Insert(VerifiedInterval),
        Remove(ByteRange),
    }

    impl Model {
        fn change(&mut self, change: Change) {
            let (at, when) = match change {
                Change::Insert(interval) => (interval.range, Some(interval.when)),
                Change::Remove(range) => (range, None),
            };
            for byte in at.start()..at.end() {
                let byte = &mut self.0[usize::try_from(byte).expect("small")];
                *byte = if when.is_some() { when.max(*byte) } else { None };
            }
        }

        fn at(&self, range: ByteRange) -> impl Iterator<Item = Option<Timestamp>> {
            (range.start()..range.end()).map(|byte| self.0[usize::try_from(byte).expect("small")])
        }

        /// The only set without empty intervals or neighbours that could be one.
        fn intervals(&self) -> Vec<VerifiedInterval> {
            let mut intervals: Vec<VerifiedInterval> = Vec::new();
            for (byte, when) in (0..).zip(&self.0) {
                let Some(when) = *when else { continue };
                match intervals.last_mut() {
                    Some(last) if last.when == when && last.range.end() == byte => {
                        last.range = range(last.range.start(), byte + 1);
                    }
                    _ => intervals.push(VerifiedInterval {
                        range: range(byte, byte + 1),
                        when,
                    }),
                }
            }
            intervals
        }

        fn check(&self, set: &VerifiedSet) {
            let intervals = self.intervals();
            assert_eq!(set.iter().collect::<Vec<_>>(), intervals);
            assert_eq!(set.is_empty(), intervals.is_empty());
            let end = u64::try_from(self.0.len()).expect("small");
            let count =
                |times: &mut dyn Iterator<Item = Timestamp>| u64::try_from(times.count()).expect("small");
            let mut known = self.0.iter().copied().flatten();
            assert_eq!(set.verified_bytes(), count(&mut known));
            let mut recent = self.0.iter().copied().flatten().filter(|when| *when >= time(2));
            assert_eq!(set.verified_bytes_since(time(2)), count(&mut recent));
            for start in 0..=end {
                for end in start..=end {
                    let asked = range(start, end);
                    let oldest = self.at(asked).min().flatten();
                    assert_eq!(set.when(asked), oldest, "{asked} of {set:?}");
                    let mut known = self.at(asked).flatten();
                    assert_eq!(
                        set.verified_bytes_in(asked),
                        count(&mut known),
                        "{asked} of {set:?}"
                    );
                    self.check_pieces(set, asked);
                }
            }
        }

        fn check_pieces(&self, set: &VerifiedSet, asked: ByteRange) {
            let pieces: Vec<_> = set.pieces(asked).collect();
            let bytes = |(piece, when): &(ByteRange, Option<Timestamp>)| {
                core::iter::repeat_n(*when, usize::try_from(piece.len()).expect("small"))
            };
            assert!(
                pieces.iter().flat_map(bytes).eq(self.at(asked)),
                "{asked} of {set:?}: {pieces:?}"
            );
            assert!(pieces.iter().all(|(piece, _)| !piece.is_empty()), "{pieces:?}");
            assert!(
                pieces
                    .windows(2)
                    .all(|two| two[0].0.end() == two[1].0.start() && two[0].1 != two[1].1),
                "{asked} of {set:?}: {pieces:?}"
            );
        }
    }

    fn apply(set: &mut VerifiedSet, change: Change) {
        match change {
            Change::Insert(interval) => set.insert(interval.range, interval.when),
            Change::Remove(range) => set.remove(range),
        }
    }

    /// Every set of a tiny extent, changed in every way.
    #[test]
    fn every_change_of_every_small_set_is_what_it_is_byte_by_byte() {
        const BYTES: u64 = 5;
        let ranges: Vec<_> = (0..=BYTES)
            .flat_map(|start| (start..=BYTES).map(move |end| range(start, end)))
            .collect();
        let changes = ranges.iter().flat_map(|&range| {
            let inserts = (1..=3).map(move |seconds| VerifiedInterval {
                range,
                when: time(seconds),
            });
            inserts.map(Change::Insert).chain([Change::Remove(range)])
        });
        let changes: Vec<_> = changes.collect();
        for code in 0..4_u32.pow(5) {
            // Each byte never, or at second 1, 2 or 3.
            let bytes = (0..5).map(|byte| i64::from(code / 4_u32.pow(byte) % 4));
            let model = Model(
                bytes
                    .map(|seconds| (seconds > 0).then(|| time(seconds)))
                    .collect(),
            );
            let set = VerifiedSet::from_intervals(model.intervals());
            model.check(&set);
            for &change in &changes {
                let (mut model, mut set) = (model.clone(), set.clone());
                model.change(change);
                apply(&mut set, change);
                assert_eq!(
                    set.iter().collect::<Vec<_>>(),
                    model.intervals(),
                    "{code} {change:?}"
                );
            }
        }
    }

    #[test]
    fn bytes_appended_after_a_scrub_were_never_verified() {
        let mut set = VerifiedSet::default();
        set.insert(range(0, 100), time(1));
        assert_eq!(set.when(range(0, 100)), Some(time(1)));
        assert_eq!(set.when(range(0, 101)), None);
        assert_eq!(set.when(range(100, 200)), None);
    }

    #[test]
    fn stored_intervals_behind_the_committed_end_or_of_the_future_are_forgotten() {
        let mut set = VerifiedSet::from_intervals([
            interval(50, u64::MAX, 5),
            interval(0, 10, 7),
            interval(10, 20, 8),
            interval(3, 3, 9),
        ]);
        set.forget_impossible(60, time(7));
        assert_eq!(
            set.iter().collect::<Vec<_>>(),
            [interval(0, 10, 7), interval(50, 60, 5)]
        );
        set.forget_impossible(u64::MAX, time(7));
        set.forget_impossible(0, time(7));
        assert!(set.is_empty(), "{set:?}");
    }

    fn intervals() -> impl Strategy<Value = VerifiedInterval> {
        (0_u64..40, 0_u64..12, 0_i64..4)
            .prop_map(|(start, len, seconds)| interval(start, start + len, seconds))
    }

    proptest! {
        #[test]
        fn any_history_of_changes_is_what_it_is_byte_by_byte(
            history in proptest::collection::vec((intervals(), proptest::bool::weighted(0.3)), 0..40)
        ) {
            let (mut set, mut model) = (VerifiedSet::default(), Model(vec![None; 56]));
            for (interval, is_removal) in history {
                let change = if is_removal { Change::Remove(interval.range) } else { Change::Insert(interval) };
                apply(&mut set, change);
                model.change(change);
            }
            model.check(&set);
        }

        #[test]
        fn stored_intervals_in_any_order_and_over_each_other_give_the_newest_time_of_each_byte(
            stored in proptest::collection::vec(intervals(), 0..40)
        ) {
            let mut model = Model(vec![None; 56]);
            stored.iter().for_each(|interval| model.change(Change::Insert(*interval)));
            let set = VerifiedSet::from_intervals(stored.clone());
            model.check(&set);
            let backwards = VerifiedSet::from_intervals(stored.into_iter().rev());
            prop_assert_eq!(&set, &backwards);
            let again = VerifiedSet::from_intervals(set.iter());
            prop_assert_eq!(set, again);
        }
    }
}
