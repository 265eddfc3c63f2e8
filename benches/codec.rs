//! Bytes per second of the codec, beside a copy of as many bytes and their BLAKE3 in the same run.
//!
//! Rates count data bytes, `k` slices, whatever is made or restored of them.

use bfdb::{
    codec::{ColumnDecoder, ColumnEncoder, ParityAccumulator},
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
    CodeShape::new(data, parity).expect("a code shape of at most 256 shards")
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

/// Outer parity as it is made: more sums than the caches hold, each touched once per block.
#[divan::bench(args = [3, 4, 10])]
fn accumulate_70_m_in_segments_of_4_mib(bencher: Bencher, parity: u16) {
    let len_bytes = 4 * KIB * KIB;
    let data = painted(1, len_bytes);
    let mut positions: Vec<ParityAccumulator> = (0..8)
        .map(|_| ParityAccumulator::new(shape(70, parity), len_bytes))
        .collect();
    let mut position = 0;
    bencher.counter(BytesCount::new(len_bytes)).bench_local(|| {
        positions[position].add(ShardIndex::new(41), 0, black_box(&data[0]));
        position = (position + 1) % positions.len();
    });
}
