use super::*;
use crate::{error::DecodeError, units::CodeShape};
use reed_solomon_simd::{
    engine::Naive,
    rate::{HighRateDecoder, HighRateEncoder, RateDecoder as _, RateEncoder as _},
};

pub(super) fn shape(data: u16, parity: u16) -> CodeShape {
    CodeShape::new(data, parity).expect("a code shape of at most 1024 shards")
}

/// A 251-byte pattern keyed by shard and position: shifted slices and swapped shards differ.
pub(super) fn painted(shard: usize, len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| u8::try_from((at * 7 + at / 251 + shard * 31 + 1) % 251).expect("a remainder below 251"))
        .collect()
}

pub(super) fn painted_data(shape: CodeShape, slice_len: usize) -> Vec<Vec<u8>> {
    (0..usize::from(shape.data()))
        .map(|shard| painted(shard, slice_len))
        .collect()
}

pub(super) fn slices(shards: &[Vec<u8>]) -> Vec<&[u8]> {
    shards.iter().map(Vec::as_slice).collect()
}

fn encode_with(encoder: &mut ColumnEncoder, slice_len: usize, data: &[&[u8]]) -> Vec<Vec<u8>> {
    // Not zeros: what is not overwritten shows.
    let mut parity = vec![vec![0xEE; slice_len]; usize::from(encoder.shape().parity())];
    encoder.encode(
        slice_len,
        data,
        &mut parity.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>(),
    );
    parity
}

pub(super) fn encode(shape: CodeShape, slice_len: usize, data: &[&[u8]]) -> Vec<Vec<u8>> {
    encode_with(&mut ColumnEncoder::new(shape), slice_len, data)
}

/// Data and parity of one column slice, all as long as the slice.
pub(super) fn codeword(shape: CodeShape, slice_len: usize) -> Vec<Vec<u8>> {
    let mut shards = painted_data(shape, slice_len);
    let parity = encode(shape, slice_len, &slices(&shards));
    shards.extend(parity);
    shards
}

pub(super) fn without<'shards>(shards: &'shards [Vec<u8>], lost: &[usize]) -> Vec<Option<&'shards [u8]>> {
    (0..shards.len())
        .map(|shard| (!lost.contains(&shard)).then(|| shards[shard].as_slice()))
        .collect()
}

/// Loses `lost` and asserts that both ways of decoding give exactly that back, in shard order.
fn assert_restored(decoder: &mut ColumnDecoder, slice_len: usize, shards: &[Vec<u8>], lost: &[usize]) {
    let shape = decoder.shape();
    let present = without(shards, lost);
    let mut restored = Vec::new();
    decoder
        .decode(slice_len, &present, |shard, bytes| {
            restored.push((shard.as_usize(), bytes.to_vec()));
        })
        .expect("decodes");
    let is_data = |shard: &&usize| **shard < usize::from(shape.data());
    let expected: Vec<_> = lost
        .iter()
        .filter(is_data)
        .map(|&shard| (shard, shards[shard].clone()))
        .collect();
    assert!(restored == expected, "{shape} without {lost:?}: data");

    restored.clear();
    decoder
        .reconstruct(slice_len, &present, |shard, bytes| {
            restored.push((shard.as_usize(), bytes.to_vec()));
        })
        .expect("reconstructs");
    let expected: Vec<_> = lost.iter().map(|&shard| (shard, shards[shard].clone())).collect();
    assert!(restored == expected, "{shape} without {lost:?}: data and parity");
}

/// All sets of at most `most` of `total` shards, each in ascending order.
pub(super) fn loss_sets(total: usize, most: usize) -> Vec<Vec<usize>> {
    let mut sets = vec![vec![]];
    let mut begin = 0;
    for _ in 0..most {
        let end = sets.len();
        for set in begin..end {
            let next = sets[set].last().map_or(0, |last| last + 1);
            for shard in next..total {
                sets.push([&sets[set][..], &[shard]].concat());
            }
        }
        begin = end;
    }
    sets
}

#[test]
fn parity_of_a_fixed_pattern_is_golden() {
    // These are bytes on disk: a change here means that no old archive can be repaired.
    let golden = [
        (
            30,
            3,
            "2ab6744364bac1e6a29142260c0cd6373ad8e4d72434c40d95d56a8dcf321552",
        ),
        (
            4,
            2,
            "bc94a5950cb24db60225054a04f69cb44841f5160753bfd73fb2876f7896a93f",
        ),
        (
            1,
            3,
            "449cae72dcd392de6fa51a6f4b1c21a55247b59d38f4a3696217d74f0941770f",
        ),
        (
            2,
            1,
            "6c694ff7dfeae8142ecc616b22e176e479c83d61a456e70d6c5c33a3022c473c",
        ),
        (
            5,
            1,
            "56ef358165587889ad9d03293c1f4b81d33e236b1d2ee129af5e3116b77c1c66",
        ),
        (
            2,
            3,
            "f8409b187c84a7bdf99537a1e2382aa71cd2b8870c280d20f175be077f73fe36",
        ),
        (
            70,
            10,
            "8a99a577429149766d0670adbf842fa6d919ba971491dd2013ca34803429f517",
        ),
    ];
    for (k, m, expected) in golden {
        let shape = shape(k, m);
        let parity = encode(shape, 4096, &slices(&painted_data(shape, 4096)));
        assert_eq!(blake3::hash(&parity.concat()).to_string(), expected, "{shape}");
    }
}

#[test]
fn one_parity_shard_is_the_sum_of_the_data() {
    for k in [2, 3, 5, 30, 255] {
        let data = painted_data(shape(k, 1), 192);
        let mut sum = vec![0; 192];
        data.iter().for_each(|shard| add(&mut sum, shard));
        assert_eq!(encode(shape(k, 1), 192, &slices(&data)), [sum], "RS({k},1)");
    }
}

#[test]
fn parity_is_that_of_the_naive_engine_and_decodes_with_the_plain_high_rate_decoder() {
    let shapes = [(2, 1), (2, 3), (4, 2), (5, 4), (30, 3), (31, 5), (70, 10)];
    // A group or two, and more than a piece of what is worked on at a time.
    let lengths = [128, 2 * matrix::PIECE_LEN_BYTES + 192];
    for ((k, m), slice_len) in shapes
        .into_iter()
        .flat_map(|shape| lengths.map(|len| (shape, len)))
    {
        let shape = shape(k, m);
        let (k, m) = (usize::from(k), usize::from(m));
        let shards = codeword(shape, slice_len);
        let mut encoder =
            HighRateEncoder::new(k, m, slice_len, Naive::new(), None).expect("a supported shape");
        shards[..k]
            .iter()
            .for_each(|shard| encoder.add_original_shard(shard).expect("k shards"));
        assert!(
            encoder
                .encode()
                .expect("complete")
                .recovery_iter()
                .eq(shards[k..].iter()),
            "{shape}"
        );

        let lost_count = k.min(m);
        let mut decoder =
            HighRateDecoder::new(k, m, slice_len, Naive::new(), None).expect("a supported shape");
        (lost_count..k).for_each(|i| decoder.add_original_shard(i, &shards[i]).expect("once"));
        (0..m).for_each(|i| decoder.add_recovery_shard(i, &shards[k + i]).expect("once"));
        let decoded = decoder.decode().expect("enough shards");
        assert!(
            (0..lost_count).all(|i| decoded.restored_original(i) == Some(&shards[i])),
            "{shape}"
        );

        // Bytes of a shard that end anywhere in a piece.
        let lost: Vec<usize> = (0..lost_count).collect();
        assert_restored(&mut ColumnDecoder::new(shape), slice_len, &shards, &lost);
        let mut ragged = shards[..k].to_vec();
        ragged[k - 1].truncate(slice_len / 2 + 13);
        let mut whole = ragged.clone();
        whole[k - 1].resize(slice_len, 0);
        assert_eq!(
            encode(shape, slice_len, &slices(&ragged)),
            encode(shape, slice_len, &slices(&whole)),
            "{shape}"
        );
    }
}

#[test]
fn replication_copies_and_fills_up_with_zeros() {
    let data = painted(0, 100);
    for copy in encode(shape(1, 3), 128, &[&data]) {
        assert_eq!((&copy[..100], &copy[100..]), (&data[..], &[0; 28][..]));
    }
    let mut restored = Vec::new();
    ColumnDecoder::new(shape(1, 3))
        .reconstruct(128, &[None, None, Some(&data), None], |shard, bytes| {
            restored.push((shard.get(), bytes.to_vec()));
        })
        .expect("one copy is enough");
    let whole = [&data[..], &[0; 28]].concat();
    assert_eq!(restored, [(0, whole.clone()), (1, whole.clone()), (3, whole)]);
}

#[test]
fn every_loss_of_at_most_m_shards_of_a_small_shape_is_restored_exactly() {
    for (k, m) in [
        (1, 1),
        (1, 3),
        (2, 1),
        (2, 2),
        (2, 5),
        (3, 2),
        (4, 2),
        (5, 3),
        (3, 7),
    ] {
        let shape = shape(k, m);
        let shards = codeword(shape, 192);
        let mut decoder = ColumnDecoder::new(shape);
        for lost in loss_sets(shards.len(), usize::from(m)) {
            assert_restored(&mut decoder, 192, &shards, &lost);
        }
    }
}

#[test]
fn every_loss_of_at_most_three_shards_of_thirty_and_three_is_restored_exactly() {
    let shards = codeword(shape(30, 3), 64);
    let mut decoder = ColumnDecoder::new(shape(30, 3));
    let sets = loss_sets(33, 3);
    assert_eq!(sets.len(), 1 + 33 + 528 + 5456);
    for lost in sets {
        assert_restored(&mut decoder, 64, &shards, &lost);
    }
}

#[test]
fn many_losses_are_restored_on_both_sides_of_the_border_between_the_methods() {
    for (k, m) in [(20, 20), (40, 18), (17, 100), (128, 128)] {
        let shape = shape(k, m);
        let (k, m) = (usize::from(k), usize::from(m));
        let shards = codeword(shape, 128);
        let mut decoder = ColumnDecoder::new(shape);
        for lost_data in [1, 15, 16, 17, k.min(m), 16, 2] {
            // Data shards spread over all, the rest of m from the beginning of the parity.
            let mut lost: Vec<usize> = (0..lost_data).map(|i| i * k / lost_data).collect();
            assert_restored(&mut decoder, 128, &shards, &lost);
            lost.extend(k..k + m - lost_data);
            assert_restored(&mut decoder, 128, &shards, &lost);
        }
    }
}

#[test]
fn losing_more_than_m_shards_is_an_error_and_hands_out_nothing() {
    for (k, m) in [(1, 3), (2, 1), (4, 2), (30, 3), (20, 20)] {
        let shape = shape(k, m);
        let shards = codeword(shape, 64);
        let mut decoder = ColumnDecoder::new(shape);
        let total = usize::from(shape.total());
        for first in 0..total {
            let lost: Vec<usize> = (0..=usize::from(m)).map(|i| (first + i) % total).collect();
            let present = without(&shards, &lost);
            let expected = Err(DecodeError::TooFewShards {
                present: k - 1,
                needed: k,
            });
            assert_eq!(
                decoder.decode(64, &present, |_, _| panic!("handed out")),
                expected,
                "{shape}"
            );
            assert_eq!(
                decoder.reconstruct(64, &present, |_, _| panic!("handed out")),
                expected,
                "{shape}"
            );
        }
        let nothing = vec![None; total];
        let expected = Err(DecodeError::TooFewShards {
            present: 0,
            needed: k,
        });
        assert_eq!(
            decoder.decode(64, &nothing, |_, _| panic!("handed out")),
            expected,
            "{shape}"
        );
        // A refusal leaves nothing behind.
        assert_restored(&mut decoder, 64, &shards, &[0]);
    }
}

#[test]
fn nothing_is_handed_out_when_nothing_wanted_is_missing() {
    let shards = codeword(shape(4, 2), 64);
    let mut decoder = ColumnDecoder::new(shape(4, 2));
    assert_eq!(
        decoder.reconstruct(64, &without(&shards, &[]), |_, _| panic!("handed out")),
        Ok(())
    );
    assert_eq!(
        decoder.decode(64, &without(&shards, &[4, 5]), |_, _| panic!("handed out")),
        Ok(())
    );
}

#[test]
fn slices_of_a_column_encode_and_decode_apart() {
    for (k, m) in [(1, 3), (4, 2), (30, 3)] {
        let shape = shape(k, m);
        let whole = codeword(shape, 1024);
        let (mut encoder, mut decoder) = (ColumnEncoder::new(shape), ColumnDecoder::new(shape));
        // One encoder and one decoder: their working space grows and shrinks on the way.
        for (start, end) in [(0, 64), (64, 640), (640, 704), (704, 1024)] {
            let part: Vec<Vec<u8>> = whole.iter().map(|shard| shard[start..end].to_vec()).collect();
            let data = slices(&part[..usize::from(k)]);
            assert_eq!(
                encode_with(&mut encoder, end - start, &data),
                part[usize::from(k)..],
                "{shape} {start}..{end}"
            );
            assert_restored(&mut decoder, end - start, &part, &[0, usize::from(k) + 1]);
        }
    }
}

#[test]
fn short_and_absent_shards_are_the_same_as_zeros() {
    for (k, m) in [(1, 2), (3, 2), (30, 3), (20, 20)] {
        let shape = shape(k, m);
        let lens = [256, 255, 193, 64, 1, 0];
        let len_of = |shard: usize| lens[(shard + 2) % lens.len()];
        let short: Vec<Vec<u8>> = (0..usize::from(k))
            .map(|shard| painted(shard, len_of(shard)))
            .collect();
        let mut zeroed: Vec<Vec<u8>> = short.clone();
        zeroed.iter_mut().for_each(|shard| shard.resize(256, 0));
        let parity = encode(shape, 256, &slices(&zeroed));
        assert_eq!(encode(shape, 256, &slices(&short)), parity, "{shape}");

        let shorts = [short, parity.clone()].concat();
        zeroed.extend(parity);
        let mut decoder = ColumnDecoder::new(shape);
        for first in 0..zeroed.len() {
            let lost: Vec<usize> = (first..zeroed.len()).take(usize::from(m)).collect();
            let mut restored = Vec::new();
            decoder
                .reconstruct(256, &without(&shorts, &lost), |shard, bytes| {
                    restored.push((shard.as_usize(), bytes.to_vec()));
                })
                .expect("at most m are lost");
            let expected: Vec<_> = lost.iter().map(|&shard| (shard, zeroed[shard].clone())).collect();
            assert!(restored == expected, "{shape} without {lost:?}");
        }
    }
}

#[test]
#[should_panic(expected = "is not whole groups")]
fn encoding_a_slice_of_broken_groups_is_a_bug() {
    encode(shape(2, 1), 100, &[&[], &[]]);
}

#[test]
#[should_panic(expected = "a data shard is longer than the column slice")]
fn encoding_a_shard_longer_than_the_slice_is_a_bug() {
    encode(shape(2, 1), 64, &[&[0; 65], &[]]);
}

#[test]
fn everything_public_can_be_sent_and_printed_for_debugging() {
    fn check<T: Send + core::fmt::Debug>() {}
    check::<(ColumnEncoder, ColumnDecoder, ParityAccumulator)>();
    assert_eq!(
        format!("{:?}", ColumnEncoder::new(shape(4, 2))),
        "ColumnEncoder { shape: CodeShape { data: 4, parity: 2 }, .. }"
    );
}
