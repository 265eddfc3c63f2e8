//! How fast bytes reach an extent, beside a plain copy of the same bytes in memory.
//!
//! `cargo bench --bench volume`; every round writes 32 MiB into a preallocated extent and syncs it. Where the temporary
//! directory has no direct I/O, `direct` equals `buffered`.

use bfdb::buffer::{AlignedBuffer, BufferPool};
use bfdb::units::{ExtentId, VolumeId};
use bfdb::volume::{ExtentAppender, IoMode, LocalVolume, LocalVolumeOptions, Volume as _};
use divan::Bencher;
use divan::counter::BytesCount;

const TOTAL_BYTES: usize = 32 << 20;
const PIECE_BYTES: usize = 1 << 20;
const EXTENT: ExtentId = ExtentId::new(1);

fn main() {
    divan::main();
}

fn piece() -> AlignedBuffer {
    let mut piece = BufferPool::new(PIECE_BYTES)
        .take(PIECE_BYTES)
        .expect("the pool is as large as the piece");
    for (index, byte) in piece.iter_mut().enumerate() {
        *byte = u8::try_from(index % 251).expect("below 251");
    }
    piece
}

fn new_volume(io_mode: IoMode) -> (tempfile::TempDir, LocalVolume) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let volume =
        LocalVolume::create(&dir.path().join("v"), VolumeId::from_bytes([1; 16])).expect("a new volume");
    (
        dir,
        volume.with_options(&LocalVolumeOptions {
            io_mode,
            ..LocalVolumeOptions::default()
        }),
    )
}

fn bytes_of(len: usize) -> BytesCount {
    BytesCount::new(len)
}

#[divan::bench]
fn memcpy(bencher: Bencher) {
    let piece = piece();
    let mut target = vec![0; TOTAL_BYTES];
    bencher.counter(bytes_of(TOTAL_BYTES)).bench_local(|| {
        target
            .chunks_exact_mut(PIECE_BYTES)
            .for_each(|chunk| chunk.copy_from_slice(&piece));
        divan::black_box(&mut target);
    });
}

fn write_pieces(bencher: Bencher, io_mode: IoMode) {
    let piece = piece();
    bencher
        .counter(bytes_of(TOTAL_BYTES))
        .with_inputs(|| new_volume(io_mode))
        .bench_local_values(|input| {
            let writer = input
                .1
                .create_extent(EXTENT, &[], TOTAL_BYTES as u64)
                .expect("there is room");
            for start in (0..TOTAL_BYTES).step_by(PIECE_BYTES) {
                writer.write_at(start as u64, &piece).expect("there is room");
            }
            writer.seal().expect("a sync");
            input // Removed outside the measurement.
        });
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn direct(bencher: Bencher) {
    write_pieces(bencher, IoMode::Auto);
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn buffered(bencher: Bencher) {
    write_pieces(bencher, IoMode::Buffered);
}

/// Pieces of an odd length through the appender: what a lane of small frames looks like.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn appender(bencher: Bencher) {
    const ODD_BYTES: usize = 5003;
    let piece = piece();
    bencher
        .counter(bytes_of(TOTAL_BYTES))
        .with_inputs(|| new_volume(IoMode::Auto))
        .bench_local_values(|input| {
            let writer = input
                .1
                .create_extent(EXTENT, &[], TOTAL_BYTES as u64)
                .expect("there is room");
            let buffer = BufferPool::new(PIECE_BYTES)
                .take(PIECE_BYTES)
                .expect("the pool is as large as the buffer");
            let mut appender = ExtentAppender::new(std::sync::Arc::clone(&writer), 0, buffer);
            for _ in 0..TOTAL_BYTES / ODD_BYTES {
                appender.append(&piece[..ODD_BYTES]).expect("there is room");
            }
            appender.finish().expect("there is room");
            writer.seal().expect("a sync");
            input
        });
}

#[divan::bench(sample_count = 20)]
fn read_cached(bencher: Bencher) {
    let (_dir, volume) = new_volume(IoMode::Buffered);
    let piece = piece();
    let writer = volume.create_extent(EXTENT, &piece, 0).expect("there is room");
    writer.seal().expect("a sync");
    let mut into = vec![0; 64 * 1024];
    bencher.counter(bytes_of(PIECE_BYTES)).bench_local(|| {
        for start in (0..PIECE_BYTES).step_by(into.len()) {
            volume
                .read_at(EXTENT, start as u64, &mut into)
                .expect("all there");
        }
    });
}
