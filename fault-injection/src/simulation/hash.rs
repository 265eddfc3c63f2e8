//! A hash of 128 bits that tells images apart.
//!
//! Good enough that two different images of a campaign are not taken for one (2^32 images: once in 2^65); of no use
//! against anyone who looks for collisions. Its values are not kept anywhere.

const MASK: u128 = 0xFFFF_FFFF_FFFF_FFFF;

/// Odd numbers without a pattern: digits of pi, as in Blowfish.
const KEYS: [u64; 4] = [
    0x243F_6A88_85A3_08D3,
    0x1319_8A2E_0370_7345,
    0xA409_3822_299F_31D1,
    0x082E_FA98_EC4E_6C89,
];

/// Takes words and bytes in order and mixes them: two chains of folded multiplications.
#[derive(Debug, Clone)]
pub(super) struct Mixer {
    first: u64,
    second: u64,
}

impl Mixer {
    pub(super) const fn new() -> Self {
        Self {
            first: KEYS[0],
            second: KEYS[1],
        }
    }

    /// Takes two words.
    pub(super) fn words(&mut self, a: u64, b: u64) {
        self.first = fold(self.first ^ a, KEYS[2] ^ b);
        self.second = fold(self.second ^ b, KEYS[3] ^ a);
    }

    /// Takes bytes and how many they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let mut pairs = bytes.chunks_exact(16);
        for pair in &mut pairs {
            let (a, b) = words_of(pair);
            self.words(a, b);
        }
        let rest = pairs.remainder();
        if !rest.is_empty() {
            let mut padded = [0; 16];
            padded[..rest.len()].copy_from_slice(rest);
            let (a, b) = words_of(&padded);
            self.words(a, b);
        }
        self.words(
            u64::try_from(bytes.len()).expect("a length fits 64 bits"),
            KEYS[1],
        );
    }

    /// Takes another hash.
    pub(super) fn hash(&mut self, hash: u128) {
        let (high, low) = halves(hash);
        self.words(high, low);
    }

    pub(super) fn finish(mut self) -> u128 {
        self.words(KEYS[2], KEYS[3]);
        u128::from(self.first) << 64 | u128::from(self.second)
    }
}

/// Returns the hash of a page. Its quarters are mixed side by side, which keeps the multiplier busy.
pub(super) fn page_hash(page: &[u8; 4096]) -> u128 {
    let mut mixers = [const { Mixer::new() }; 4];
    let (halves, _) = page.as_chunks::<2048>();
    let [first, second] = [&halves[0], &halves[1]].map(|half| half.split_at(1024));
    let quarters = [first.0, first.1, second.0, second.1];
    for at in (0..1024).step_by(16) {
        for (mixer, quarter) in mixers.iter_mut().zip(quarters) {
            let (a, b) = words_of(&quarter[at..at + 16]);
            mixer.words(a, b);
        }
    }
    let mut whole = Mixer::new();
    mixers.into_iter().for_each(|mixer| whole.hash(mixer.finish()));
    whole.finish()
}

/// Mixes a hash with the place that it is at, so that hashes of many places can be added up in any order.
pub(super) fn at_place(hash: u128, place: u64) -> u128 {
    let mut mixer = Mixer::new();
    mixer.words(place, KEYS[0]);
    mixer.hash(hash);
    mixer.finish()
}

fn fold(a: u64, b: u64) -> u64 {
    let (high, low) = halves(u128::from(a) * u128::from(b));
    high ^ low
}

fn halves(both: u128) -> (u64, u64) {
    let half = |half| u64::try_from(half).expect("half of 128 bits fits 64");
    (half(both >> 64), half(both & MASK))
}

fn words_of(pair: &[u8]) -> (u64, u64) {
    let word = |at: usize| {
        let bytes: [u8; 8] = pair[at..at + 8].try_into().expect("eight bytes are eight bytes");
        u64::from_le_bytes(bytes)
    };
    (word(0), word(8))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn hash_of(bytes: &[u8]) -> u128 {
        let mut mixer = Mixer::new();
        mixer.bytes(bytes);
        mixer.finish()
    }

    #[test]
    fn every_flipped_bit_of_a_page_changes_about_half_of_the_bits() {
        let mut page = [0; 4096];
        page.iter_mut()
            .zip((0..251).cycle())
            .for_each(|(byte, value)| *byte = value);
        let clean = page_hash(&page);
        let mut seen = BTreeSet::from([clean]);
        for bit in 0..4096 * 8 {
            let mut flipped = page;
            flipped[bit / 8] ^= 1 << (bit % 8);
            let hash = page_hash(&flipped);
            let changed = (hash ^ clean).count_ones();
            assert!((24..=104).contains(&changed), "bit {bit} changed {changed} bits");
            assert!(seen.insert(hash), "bit {bit} collides");
        }
    }

    #[test]
    fn zeros_of_every_length_differ() {
        let hashes: BTreeSet<u128> = (0..200).map(|len| hash_of(&vec![0; len])).collect();
        assert_eq!(hashes.len(), 200);
    }

    #[test]
    fn the_place_of_a_hash_counts() {
        assert_ne!(at_place(7, 0), at_place(7, 1));
        assert_ne!(
            at_place(7, 0).wrapping_add(at_place(8, 1)),
            at_place(8, 0).wrapping_add(at_place(7, 1))
        );
    }
}
