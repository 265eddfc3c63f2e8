use super::*;
use crate::codec::{
    ColumnDecoder,
    matrix::PIECE_LEN_BYTES,
    tests::{codeword, encode, loss_sets, painted, painted_data, shape, slices, without},
};
use proptest::prelude::*;
use reed_solomon_simd::{
    engine::Naive,
    rate::{HighRateDecoder, HighRateEncoder, RateDecoder as _, RateEncoder as _},
};

/// Longer than a piece, and not a multiple of one.
const SLICE_LEN: usize = 2 * PIECE_LEN_BYTES + 192;

fn small_shapes() -> impl Iterator<Item = CodeShape> {
    (1..=5).flat_map(|data| (1..=3).map(move |parity| shape(data, parity)))
}

/// Adds `data`, in batches of `batch` blocks or one by one, and returns the sums.
fn sums_of(shape: CodeShape, slice_len: usize, data: &[&[u8]], batch: Option<usize>) -> Vec<Vec<u8>> {
    let mut encoder = OuterEncoder::new(shape);
    let mut sums = vec![vec![0; slice_len]; usize::from(shape.parity())];
    let mut sum_slices: Vec<&mut [u8]> = sums.iter_mut().map(Vec::as_mut_slice).collect();
    let mut first = 0;
    for blocks in data.chunks(batch.unwrap_or(1)) {
        match batch {
            Some(_) => encoder.add_many(first, blocks, &mut sum_slices),
            None => encoder.add(first, blocks[0], &mut sum_slices),
        }
        first += u16::try_from(blocks.len()).expect("few");
    }
    sums
}

fn restored_by(decoder: &mut OuterDecoder, slice_len: usize, shards: &[Vec<u8>]) -> Vec<(usize, Vec<u8>)> {
    decoder.begin(slice_len);
    // In any order: here backwards.
    for position in (0..decoder.shape().total()).rev() {
        if decoder.is_needed(position) {
            decoder.add(position, &shards[usize::from(position)]);
        }
    }
    let mut restored = Vec::new();
    decoder.finish(|position, bytes| restored.push((usize::from(position), bytes.to_vec())));
    restored
}

fn narrow(lost: &[usize]) -> Vec<u16> {
    lost.iter()
        .map(|&position| u16::try_from(position).expect("few"))
        .collect()
}

fn assert_restored(shape: CodeShape, slice_len: usize, shards: &[Vec<u8>], lost: &[usize]) {
    let mut decoder = OuterDecoder::new(shape, &narrow(lost)).expect("at most m are lost");
    let expected: Vec<_> = lost.iter().map(|&shard| (shard, shards[shard].clone())).collect();
    let restored = restored_by(&mut decoder, slice_len, shards);
    assert!(restored == expected, "{shape} without {lost:?}");
}

#[test]
fn outer_parity_of_a_fixed_pattern_is_golden() {
    // These are bytes on disk: a change here means that no old group can be repaired.
    let golden = [
        (
            80,
            3,
            "b04d36845a5a945c0a34bc2cb95752db8d00ac508999d3099762578cb2ae74ce",
        ),
        (
            310,
            10,
            "5f1d07da3832bc2717a90d14331f66d87f692cd75113985aada148da2e72209f",
        ),
    ];
    for (k, m, expected) in golden {
        let shape = shape(k, m);
        let parity = sums_of(shape, 4096, &slices(&painted_data(shape, 4096)), None);
        assert_eq!(blake3::hash(&parity.concat()).to_string(), expected, "{shape}");
    }
}

#[test]
fn blocks_that_pass_one_by_one_or_in_batches_give_the_parity_of_the_encoder() {
    let wide = [(70, 3), (300, 10), (500, 4), (67, 16), (40, 17)].map(|(k, m)| shape(k, m));
    for shape in small_shapes().chain(wide) {
        let mut data = painted_data(shape, SLICE_LEN);
        let last = data.len() - 1;
        data[last].truncate(PIECE_LEN_BYTES + 77);
        data[last / 2].truncate(1);
        data[last / 3].truncate(PIECE_LEN_BYTES);
        let data = slices(&data);
        let parity = encode(shape, SLICE_LEN, &data);
        assert!(
            sums_of(shape, SLICE_LEN, &data, None) == parity,
            "{shape} one by one"
        );
        for batch in [1, 2, 3, 4, 5, 16, 33] {
            assert!(
                sums_of(shape, SLICE_LEN, &data, Some(batch)) == parity,
                "{shape} in batches of {batch}"
            );
        }
    }
}

#[test]
fn outer_parity_is_that_of_the_plain_high_rate_encoder_and_decodes_with_its_decoder() {
    for (k, m) in [(2, 1), (2, 3), (5, 3), (70, 3), (300, 10), (500, 4)] {
        let shape = shape(k, m);
        let (k, m) = (usize::from(k), usize::from(m));
        let data = painted_data(shape, 128);
        let parity = sums_of(shape, 128, &slices(&data), Some(7));
        let mut encoder = HighRateEncoder::new(k, m, 128, Naive::new(), None).expect("a supported shape");
        data.iter()
            .for_each(|shard| encoder.add_original_shard(shard).expect("k shards"));
        let encoded = encoder.encode().expect("complete");
        assert!(encoded.recovery_iter().eq(parity.iter()), "{shape}");

        let lost_count = k.min(m);
        let mut decoder = HighRateDecoder::new(k, m, 128, Naive::new(), None).expect("a supported shape");
        (lost_count..k).for_each(|i| decoder.add_original_shard(i, &data[i]).expect("once"));
        (0..m).for_each(|i| decoder.add_recovery_shard(i, &parity[i]).expect("once"));
        let decoded = decoder.decode().expect("enough shards");
        assert!(
            (0..lost_count).all(|i| decoded.restored_original(i) == Some(&data[i])),
            "{shape}"
        );
    }
}

#[test]
fn a_group_of_one_block_has_copies_for_parity() {
    let data = painted(0, 100);
    let whole = [&data[..], &[0; 28]].concat();
    for batch in [None, Some(1)] {
        assert_eq!(sums_of(shape(1, 3), 128, &[&data], batch), vec![whole.clone(); 3]);
    }
    let mut decoder = OuterDecoder::new(shape(1, 3), &[0, 1, 3]).expect("one copy is enough");
    assert!((0..4).all(|position| decoder.is_needed(position) == (position == 2)));
    decoder.begin(128);
    decoder.add(2, &data);
    let mut restored = Vec::new();
    decoder.finish(|position, bytes| restored.push((position, bytes.to_vec())));
    assert_eq!(restored, [(0, whole.clone()), (1, whole.clone()), (3, whole)]);
}

#[test]
fn sums_longer_than_the_bytes_keep_what_lies_behind() {
    for (blocks, m) in [(1_u16, 3), (4, 3), (4, 1)] {
        let shape = shape(9, m);
        let mut encoder = OuterEncoder::new(shape);
        let data = painted(3, 65);
        let mut sums = vec![vec![0xEE; 256]; usize::from(m)];
        let mut sums: Vec<&mut [u8]> = sums.iter_mut().map(Vec::as_mut_slice).collect();
        encoder.add_many(4, &vec![&data[..]; usize::from(blocks)], &mut sums);
        assert!(sums.iter().all(|sum| sum[128..] == [0xEE; 128]), "{shape}");
        encoder.add_many(0, &[], &mut sums);
        encoder.add(8, &[], &mut sums);
    }
}

#[test]
fn every_loss_of_at_most_m_blocks_of_a_small_group_is_restored_exactly() {
    for shape in small_shapes() {
        let shards = codeword(shape, 192);
        let mut column = ColumnDecoder::new(shape);
        for lost in loss_sets(shards.len(), usize::from(shape.parity())) {
            assert_restored(shape, 192, &shards, &lost);
            column
                .reconstruct(192, &without(&shards, &lost), |shard, bytes| {
                    assert!(
                        bytes == shards[shard.as_usize()],
                        "{shape}: the other decoder agrees"
                    );
                })
                .expect("at most m are lost");
        }
    }
}

#[test]
fn only_what_solving_takes_is_needed() {
    let needed = |lost: &[u16]| {
        let decoder = OuterDecoder::new(shape(4, 3), lost).expect("at most three");
        (0..7)
            .filter(|&position| decoder.is_needed(position))
            .collect::<Vec<_>>()
    };
    assert_eq!(needed(&[]), []);
    assert_eq!(needed(&[1]), [0, 2, 3, 4]);
    assert_eq!(needed(&[1, 4]), [0, 2, 3, 5]);
    assert_eq!(needed(&[0, 3, 5]), [1, 2, 4, 6]);
    assert_eq!(needed(&[5]), [0, 1, 2, 3]);
    assert_eq!(needed(&[4, 5, 6]), [0, 1, 2, 3]);
}

#[test]
fn a_decoder_goes_on_with_slices_of_other_lengths_and_drops_what_was_left_unfinished() {
    let lost = [3_usize, 70, 81];
    let mut decoder = OuterDecoder::new(shape(80, 3), &narrow(&lost)).expect("three");
    for slice_len in [SLICE_LEN, 64, 64, 4096] {
        let shards = codeword(shape(80, 3), slice_len);
        decoder.begin(slice_len);
        decoder.add(0, &shards[1]);
        let expected: Vec<_> = lost.iter().map(|&shard| (shard, shards[shard].clone())).collect();
        assert!(
            restored_by(&mut decoder, slice_len, &shards) == expected,
            "{slice_len}"
        );
    }
}

#[test]
fn slices_that_end_early_are_the_same_as_zeros() {
    let shape = shape(12, 3);
    let short: Vec<Vec<u8>> = (0..12)
        .map(|shard| painted(shard, [256, 255, 193, 64, 1, 0][shard % 6]))
        .collect();
    let mut shards = short.clone();
    shards.iter_mut().for_each(|shard| shard.resize(256, 0));
    let parity = encode(shape, 256, &slices(&short));
    shards.extend(parity.iter().cloned());
    let shorts = [short, parity].concat();
    for lost in [vec![0, 1, 2], vec![2, 5, 13], vec![5, 6], vec![12, 14]] {
        let mut decoder = OuterDecoder::new(shape, &narrow(&lost)).expect("at most three");
        let expected: Vec<_> = lost.iter().map(|&shard| (shard, shards[shard].clone())).collect();
        assert!(
            restored_by(&mut decoder, 256, &shorts) == expected,
            "without {lost:?}"
        );
    }
}

#[test]
fn losing_more_blocks_than_there_is_parity_is_refused() {
    for (k, m, lost) in [
        (1, 1, vec![0, 1]),
        (4, 2, vec![0, 3, 5]),
        (80, 3, vec![80, 81, 82, 0]),
    ] {
        let mut lost: Vec<u16> = lost;
        lost.sort_unstable();
        let error = OuterDecoder::new(shape(k, m), &lost).expect_err("too many");
        assert_eq!(
            error,
            DecodeError::TooFewShards {
                present: k - 1,
                needed: k
            }
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn any_loss_of_at_most_m_blocks_of_a_wide_group_is_restored_exactly(
        (k, m) in prop::sample::select(vec![(80_u16, 3_u16), (310, 10)]),
        picked in prop::collection::vec(any::<prop::sample::Index>(), 0..=10),
        parity_first in any::<bool>(),
    ) {
        let shape = shape(k, m);
        let total = usize::from(shape.total());
        let mut lost: Vec<usize> = picked.iter().take(usize::from(m)).map(|index| index.index(total)).collect();
        if parity_first && let Some(one) = lost.first_mut() {
            *one = usize::from(k);
        }
        lost.sort_unstable();
        lost.dedup();
        let shards = codeword(shape, 128);
        assert_restored(shape, 128, &shards, &lost);
        let mut restored = Vec::new();
        ColumnDecoder::new(shape)
            .reconstruct(128, &without(&shards, &lost), |shard, bytes| restored.push((shard.as_usize(), bytes.to_vec())))
            .expect("at most m are lost");
        let mut outer = OuterDecoder::new(shape, &narrow(&lost)).expect("at most m are lost");
        prop_assert!(restored_by(&mut outer, 128, &shards) == restored);
    }

    #[test]
    fn any_batches_in_any_order_give_the_parity_of_the_encoder(
        (k, m) in prop::sample::select(vec![(5_u16, 2_u16), (40, 3), (80, 3), (53, 10)]),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
        order in prop::collection::vec(any::<u32>(), 16),
    ) {
        let shape = shape(k, m);
        let data = painted_data(shape, 192);
        let data = slices(&data);
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(data.len())).collect();
        ends.extend([0, data.len()]);
        ends.sort_unstable();
        let mut parts: Vec<(usize, usize)> = ends.windows(2).map(|part| (part[0], part[1])).collect();
        let mut keys = order.into_iter();
        parts.sort_by_cached_key(|_| keys.next());
        let mut sums = vec![vec![0; 192]; usize::from(m)];
        let mut encoder = OuterEncoder::new(shape);
        for (start, end) in parts {
            let mut sums: Vec<&mut [u8]> = sums.iter_mut().map(Vec::as_mut_slice).collect();
            encoder.add_many(u16::try_from(start).expect("few"), &data[start..end], &mut sums);
        }
        prop_assert!(sums == encode(shape, 192, &data));
    }
}

#[test]
#[should_panic(expected = "are not all data blocks")]
fn adding_a_parity_block_is_a_bug() {
    OuterEncoder::new(shape(2, 1)).add(2, &[1], &mut [&mut [0; 64]]);
}

#[test]
#[should_panic(expected = "a sum is shorter")]
fn adding_beyond_a_sum_is_a_bug() {
    OuterEncoder::new(shape(2, 1)).add(0, &[1; 65], &mut [&mut [0; 65]]);
}

#[test]
#[should_panic(expected = "was added before")]
fn adding_a_position_twice_is_a_bug() {
    let mut decoder = OuterDecoder::new(shape(2, 1), &[0]).expect("one");
    decoder.begin(64);
    decoder.add(1, &[]);
    decoder.add(1, &[]);
}

#[test]
#[should_panic(expected = "is missing or not needed")]
fn adding_what_is_not_needed_is_a_bug() {
    let mut decoder = OuterDecoder::new(shape(2, 2), &[0]).expect("one");
    decoder.begin(64);
    decoder.add(3, &[]);
}

#[test]
#[should_panic(expected = "position Some(2) was not added")]
fn finishing_early_is_a_bug() {
    let mut decoder = OuterDecoder::new(shape(2, 2), &[0]).expect("one");
    decoder.begin(64);
    decoder.add(1, &[]);
    decoder.finish(|_, _| {});
}

#[test]
#[should_panic(expected = "lost positions rise")]
fn losing_a_position_twice_is_a_bug() {
    drop(OuterDecoder::new(shape(2, 2), &[1, 1]));
}

#[test]
fn both_types_can_be_sent_and_printed_for_debugging() {
    fn check<T: Send + fmt::Debug>() {}
    check::<(OuterEncoder, OuterDecoder)>();
    assert_eq!(
        format!("{:?}", OuterDecoder::new(shape(4, 2), &[1]).expect("one")),
        "OuterDecoder { shape: CodeShape { data: 4, parity: 2 }, lost: [1], slice_len: 0, .. }"
    );
}
