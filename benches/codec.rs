//! Bytes per second of the codec, beside a copy of as many bytes and their BLAKE3 in the same run.
//!
//! Rates count data bytes, `k` slices, whatever is made or restored of them.

use bfdb::{
    codec::{ColumnDecoder, ColumnEncoder, OuterDecoder, OuterEncoder, ParityAccumulator},
    units::{CodeShape, ShardIndex},
};
use divan::{Bencher, black_box, counter::BytesCount};

const KIB: usize = 1024;
const SLICE_LENS: [usize; 4] = [4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB];
const LOSSES: [usize; 3] = [1, 2, 3];
const K: usize = 30;

fn main() {
    divan::main();
}

fn shape(data: u16, parity: u16) -> CodeShape {
    CodeShape::new(data, parity).expect("a code shape of at most 1024 shards")
}

fn painted(count: usize, len: usize) -> Vec<Vec<u8>> {
    (0..count)
        .map(|shard| (0..251).cycle().skip(shard).take(len).collect())
        .collect()
}

fn slices(shards: &[Vec<u8>]) -> Vec<&[u8]> {
    shards.iter().map(Vec::as_slice).collect()
}

#[divan::bench(args = SLICE_LENS)]
fn memcpy(bencher: Bencher, slice_len: usize) {
    let (data, mut target) = (painted(K, slice_len), vec![0; slice_len]);
    bencher.counter(BytesCount::new(K * slice_len)).bench_local(|| {
        for shard in &data {
            target.copy_from_slice(black_box(shard));
            black_box(&mut target);
        }
    });
}

#[divan::bench(args = SLICE_LENS)]
fn blake3(bencher: Bencher, slice_len: usize) {
    let data = painted(K, slice_len);
    bencher.counter(BytesCount::new(K * slice_len)).bench_local(|| {
        data.iter().for_each(|shard| {
            black_box(blake3::hash(shard));
        });
    });
}

#[divan::bench(args = SLICE_LENS)]
fn encode_30_3(bencher: Bencher, slice_len: usize) {
    let (data, mut parity) = (painted(K, slice_len), painted(3, slice_len));
    let mut encoder = ColumnEncoder::new(shape(30, 3));
    let data = slices(&data);
    let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    bencher
        .counter(BytesCount::new(K * slice_len))
        .bench_local(|| encoder.encode(slice_len, &data, &mut parity));
}

/// Parity as streams and rotating disks make it: shard after shard is added to sums, here of segments of 8 MiB in slices that follow
/// each other, so that no cache holds them.
#[divan::bench(args = [16 * KIB, 64 * KIB, 256 * KIB])]
fn accumulate_30_3(bencher: Bencher, slice_len: usize) {
    let count = 8 * 1024 * KIB / slice_len;
    let data = painted(K, slice_len);
    let mut sums: Vec<ParityAccumulator> = (0..count)
        .map(|_| ParityAccumulator::new(shape(30, 3), slice_len))
        .collect();
    bencher
        .counter(BytesCount::new(K * slice_len * count))
        .bench_local(|| {
            for (shard, bytes) in (0..).map(ShardIndex::new).zip(&data) {
                sums.iter_mut()
                    .for_each(|sums| sums.add(shard, 0, black_box(bytes)));
            }
        });
}

#[divan::bench(args = SLICE_LENS)]
fn replicate_1_3(bencher: Bencher, slice_len: usize) {
    let (data, mut parity) = (painted(1, slice_len), painted(3, slice_len));
    let mut encoder = ColumnEncoder::new(shape(1, 3));
    let data = slices(&data);
    let mut parity: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    bencher
        .counter(BytesCount::new(slice_len))
        .bench_local(|| encoder.encode(slice_len, &data, &mut parity));
}

fn bench_decode(bencher: Bencher<'_, '_>, shape: CodeShape, slice_len: usize, lost: usize) {
    let k = usize::from(shape.data());
    let (data, mut parity) = (
        painted(k, slice_len),
        painted(usize::from(shape.parity()), slice_len),
    );
    let mut targets: Vec<&mut [u8]> = parity.iter_mut().map(Vec::as_mut_slice).collect();
    ColumnEncoder::new(shape).encode(slice_len, &slices(&data), &mut targets);
    let present: Vec<Option<&[u8]>> = data
        .iter()
        .chain(&parity)
        .enumerate()
        .map(|(shard, bytes)| (shard >= lost).then_some(bytes.as_slice()))
        .collect();
    let mut decoder = ColumnDecoder::new(shape);
    bencher.counter(BytesCount::new(k * slice_len)).bench_local(|| {
        let restore = |_, bytes: &[u8]| {
            black_box(bytes);
        };
        decoder
            .decode(slice_len, &present, restore)
            .expect("at most m shards are lost");
    });
}

#[divan::bench(args = SLICE_LENS, consts = LOSSES)]
fn decode_30_3<const LOST: usize>(bencher: Bencher, slice_len: usize) {
    bench_decode(bencher, shape(30, 3), slice_len, LOST);
}

/// The border between solving and the general decoder lies between 16 and 17 losses.
#[divan::bench(args = [1, 8, 16, 17, 20])]
fn decode_40_20_in_64_kib(bencher: Bencher, lost: usize) {
    bench_decode(bencher, shape(40, 20), 64 * KIB, lost);
}

/// A code across blocks as a commit uses it: a column of 64 KiB of all 30 shards of `blocks` blocks is added to sums that no
/// cache holds, 120 MiB for each parity block, walked from column to column.
fn bench_outer(bencher: Bencher<'_, '_>, parity: u16, blocks: impl Fn(&OuterEncoder) -> u16) {
    const SLICE_LEN: usize = 64 * KIB;
    const COLUMNS: usize = 64;
    let mut encoder = OuterEncoder::new(shape(80, parity));
    let blocks = blocks(&encoder);
    let data = painted(K * usize::from(blocks), SLICE_LEN);
    let mut sums = painted(usize::from(parity), K * COLUMNS * SLICE_LEN);
    let mut column = 0;
    bencher
        .counter(BytesCount::new(data.len() * SLICE_LEN))
        .bench_local(|| {
            for (shard, slices_of_shard) in data.chunks_exact(usize::from(blocks)).enumerate() {
                let start = (shard * COLUMNS + column) * SLICE_LEN;
                let mut sums: Vec<&mut [u8]> = sums
                    .iter_mut()
                    .map(|sum| &mut sum[start..start + SLICE_LEN])
                    .collect();
                // Position 32 begins a batch of any size.
                encoder.add_many(32, black_box(&slices(slices_of_shard)), &mut sums);
            }
            column = (column + 1) % COLUMNS;
        });
}

#[divan::bench(args = [3, 4, 10])]
fn outer_80_m_one_block_at_a_time(bencher: Bencher, parity: u16) {
    bench_outer(bencher, parity, |_| 1);
}

#[divan::bench(args = [3, 4, 10])]
fn outer_80_m_in_batches(bencher: Bencher, parity: u16) {
    bench_outer(bencher, parity, OuterEncoder::batch);
}

/// One slice of a group of 80 blocks of which some data blocks are missing.
#[divan::bench(args = [1, 3])]
fn outer_restore_80_3_in_64_kib(bencher: Bencher, lost: u16) {
    let slice = &painted(1, 64 * KIB)[0];
    let lost: Vec<u16> = (0..lost).collect();
    let mut decoder = OuterDecoder::new(shape(80, 3), &lost).expect("at most three are lost");
    bencher
        .counter(BytesCount::new(80 * slice.len()))
        .bench_local(|| {
            decoder.begin(slice.len());
            for position in 0..83 {
                if decoder.is_needed(position) {
                    decoder.add(position, black_box(slice));
                }
            }
            decoder.finish(|_, bytes| {
                black_box(bytes);
            });
        });
}
