use super::*;
use crate::codec::tests::{encode, painted_data, shape, slices};
use proptest::prelude::*;

fn accumulated(accumulator: &ParityAccumulator) -> Vec<Vec<u8>> {
    let shape = accumulator.shape();
    assert!(
        accumulator
            .parity()
            .map(|(shard, _)| shard.get())
            .eq(shape.data()..shape.total()),
        "in shard order"
    );
    accumulator.parity().map(|(_, bytes)| bytes.to_vec()).collect()
}

#[test]
fn shards_that_pass_one_after_another_give_the_same_parity() {
    for (k, m) in [
        (1, 3),
        (2, 1),
        (2, 3),
        (4, 2),
        (5, 3),
        (30, 3),
        (67, 3),
        (70, 10),
        (33, 32),
    ] {
        let shape = shape(k, m);
        // Longer than a piece, and not a multiple of one.
        let slice_len = 2 * PIECE_LEN_BYTES + 192;
        let mut data = painted_data(shape, slice_len);
        let last = data.len() - 1;
        data[last].truncate(PIECE_LEN_BYTES + 77);
        let mut accumulator = ParityAccumulator::new(shape, slice_len);
        for (shard, bytes) in (0..k).zip(&data).rev() {
            accumulator.add(ShardIndex::new(shard), 0, bytes);
        }
        assert!(
            accumulated(&accumulator) == encode(shape, slice_len, &slices(&data)),
            "{shape}"
        );
    }
}

#[test]
fn an_accumulator_is_clean_for_the_next_block_of_another_length() {
    for (k, m) in [(1, 2), (3, 2)] {
        let shape = shape(k, m);
        let mut accumulator = ParityAccumulator::new(shape, 0);
        assert!(
            accumulated(&accumulator).iter().all(Vec::is_empty),
            "no bytes, no parity"
        );
        for len_bytes in [640, 128, 1024, 0, 64] {
            accumulator.clear(len_bytes);
            assert_eq!(accumulator.len_bytes(), len_bytes);
            assert_eq!(
                accumulated(&accumulator),
                vec![vec![0; len_bytes]; usize::from(m)],
                "{shape} begins with zeros"
            );
            let data = painted_data(shape, len_bytes);
            (0..k)
                .zip(&data)
                .for_each(|(shard, bytes)| accumulator.add(ShardIndex::new(shard), 0, bytes));
            if len_bytes > 0 {
                assert_eq!(
                    accumulated(&accumulator),
                    encode(shape, len_bytes, &slices(&data)),
                    "{shape}"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn any_order_and_any_slicing_of_adding_gives_the_parity_of_the_encoder(
        (k, m) in prop::sample::select(vec![(1_u16, 3_u16), (2, 1), (3, 2), (6, 5), (30, 3)]),
        groups in 1_usize..40,
        cuts in prop::collection::vec(0.0_f64..1.0, 0..6),
        short in 0_usize..64,
        order in prop::collection::vec(any::<u32>(), 30 * 7),
    ) {
        let shape = shape(k, m);
        let len_bytes = groups * GROUP_LEN_BYTES;
        let mut data = painted_data(shape, len_bytes);
        data[0].truncate(len_bytes - short);

        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a share of few groups")]
        let mut ends: Vec<usize> = cuts.iter().map(|cut| (cut * groups as f64) as usize * GROUP_LEN_BYTES).collect();
        ends.extend([0, len_bytes]);
        ends.sort_unstable();
        let mut parts: Vec<(u16, usize, usize)> =
            (0..k).flat_map(|shard| ends.windows(2).map(move |part| (shard, part[0], part[1]))).collect();
        let mut keys = order.into_iter();
        parts.sort_by_cached_key(|_| keys.next());

        let mut accumulator = ParityAccumulator::new(shape, len_bytes);
        for (shard, start, end) in parts {
            let bytes = &data[usize::from(shard)];
            accumulator.add(ShardIndex::new(shard), start, &bytes[start.min(bytes.len())..end.min(bytes.len())]);
        }
        prop_assert_eq!(accumulated(&accumulator), encode(shape, len_bytes, &slices(&data)));
    }
}

#[test]
#[should_panic(expected = "is no data shard")]
fn accumulating_a_parity_shard_is_a_bug() {
    ParityAccumulator::new(shape(2, 1), 64).add(ShardIndex::new(2), 0, &[1]);
}

#[test]
#[should_panic(expected = "reach beyond")]
fn accumulating_beyond_the_shard_is_a_bug() {
    ParityAccumulator::new(shape(2, 1), 128).add(ShardIndex::new(0), 64, &[1; 65]);
}

#[test]
#[should_panic(expected = "is not at a group")]
fn accumulating_within_a_group_is_a_bug() {
    ParityAccumulator::new(shape(2, 1), 128).add(ShardIndex::new(0), 32, &[1]);
}
