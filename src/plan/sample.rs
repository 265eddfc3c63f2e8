//! Which blocks are looked at more closely.

use crate::units::{BlockId, ShardIndex, Timestamp};

/// One block in so many.
const ONE_IN: u64 = 64;

/// Says whether a block is in the sample of a scrub that began at that moment: one in 64, other ones each time.
pub fn is_in_sample(block: BlockId, begun: Timestamp) -> bool {
    let moment = begun.seconds().unsigned_abs().wrapping_mul(1_000_000_007) ^ u64::from(begun.nanoseconds());
    mixed(block.get() ^ mixed(moment)).is_multiple_of(ONE_IN)
}

/// Says the same of one shard of a block alone, where each is more than a block.
pub fn is_shard_in_sample(block: BlockId, shard: ShardIndex, begun: Timestamp) -> bool {
    is_in_sample(BlockId::new(mixed(block.get()) ^ u64::from(shard.get())), begun)
}

/// Spreads numbers that are alike: the last step of splitmix64 (Steele, Lea and Flood, 2014).
const fn mixed(number: u64) -> u64 {
    let number = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_scrub_takes_about_one_block_in_64_and_many_scrubs_take_each_block() {
        assert_takes_one_in_64(|nth, begun| is_in_sample(BlockId::new(nth), begun));
    }

    #[test]
    fn each_scrub_takes_about_one_shard_in_64_and_many_scrubs_take_each_shard() {
        assert_takes_one_in_64(|nth, begun| {
            let shard = ShardIndex::new(u16::try_from(nth % 25).expect("small"));
            is_shard_in_sample(BlockId::new(nth / 25), shard, begun)
        });
    }

    fn assert_takes_one_in_64(is_taken: impl Fn(u64, Timestamp) -> bool) {
        let mut seen = vec![0_u32; 1000];
        for scrub in 0..1000 {
            let begun = Timestamp::new(1_790_000_000 + scrub * 86_400, 0).expect("valid");
            let sample = (0..1000_u64).filter(|nth| is_taken(*nth, begun));
            let mut count = 0;
            for nth in sample {
                seen[usize::try_from(nth).expect("small")] += 1;
                count += 1;
            }
            assert!((2..40).contains(&count), "{count} of 1000 in scrub {scrub}");
        }
        assert!(seen.iter().all(|times| (2..40).contains(times)), "{seen:?}");
    }
}
