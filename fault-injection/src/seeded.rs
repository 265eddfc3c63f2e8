//! A small random number generator that gives the same numbers for the same seed for ever.

/// Splitmix64 (Steele, Lea, Flood 2014): plenty for choosing where to hurt, of no use for secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeded {
    state: u64,
}

impl Seeded {
    /// Starts the sequence of `seed`.
    pub const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// Returns the next 64 random bits.
    pub const fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        bits ^ (bits >> 31)
    }

    /// Returns a number from 0 to `bound - 1`.
    ///
    /// # Panics
    /// When `bound` is zero.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "no number lies below zero");
        // The high half of the product: the bias is below bound / 2^64.
        let product = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the high half of a product of 64-bit numbers fits 64 bits")
    }

    /// Returns a number from 0 to `bound - 1`, for slices.
    ///
    /// # Panics
    /// When `bound` is zero.
    pub fn index(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).expect("an address fits 64 bits");
        usize::try_from(self.below(bound)).expect("a number below an address fits one")
    }

    /// Returns a byte that is not zero, so that flipping these bits always changes something.
    pub fn flip_mask(&mut self) -> u8 {
        u8::try_from(1 + self.below(255)).expect("1 to 255")
    }

    /// Puts a slice into random order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            items.swap(end, self.index(end + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_published_one() {
        // The reference implementation with seed 1234567.
        let mut seeded = Seeded::new(1_234_567);
        let first: Vec<u64> = (0..3).map(|_| seeded.next_u64()).collect();
        assert_eq!(
            first,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423
            ]
        );
    }

    #[test]
    fn numbers_below_a_bound_reach_all_of_it_and_no_more() {
        let mut seeded = Seeded::new(1);
        let mut seen = [0_u32; 7];
        for _ in 0..700 {
            seen[seeded.index(7)] += 1;
        }
        assert!(seen.iter().all(|&count| count > 50), "{seen:?}");
        assert!(
            (0..10_000).all(|_| seeded.flip_mask() != 0),
            "a flip that changes nothing"
        );
    }

    #[test]
    fn shuffling_keeps_every_item() {
        let mut items: Vec<u32> = (0..100).collect();
        Seeded::new(5).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>(), "nothing moved");
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());
    }
}
