//! Records per second that are encoded and parsed, and how fast a search for frames goes through bytes of which nothing is known; beside
//! a copy of the same bytes and their BLAKE3 in the same run.
//!
//! Rates count bytes of records, of a thousand frame headers and footers each, as a scan of an extent of small files meets them.

use bfdb::{
    format::{ClaimedFrame, FrameFooter, FrameHeader, FrameIdentity, FrameKind, next_frame_mark},
    geometry::{FileGeometry, Policy},
    merkle::{LeafHash, LeafTable},
    units::{ArchiveId, BlockId, BlockIndex, CommitId, ExtentId, ShardIndex, VolumeId},
};
use divan::{Bencher, black_box, counter::BytesCount};

const RECORDS: u64 = 1000;
const MIB: usize = 1024 * 1024;

fn main() {
    divan::main();
}

/// Headers of frames of 4 KiB that follow each other.
fn headers() -> Vec<FrameHeader> {
    let file = FileGeometry::new(3000, &Policy::default());
    let table = LeafTable::new(vec![LeafHash::from_bytes([7; 32])]);
    let header = |index: u64| {
        let identity = FrameIdentity {
            archive: ArchiveId::from_bytes([1; 16]),
            volume: VolumeId::from_bytes([2; 16]),
            extent: ExtentId::new(3),
            offset: 4096 * (index + 1),
            block: BlockId::new(index),
            shard: ShardIndex::new(0),
        };
        let block = file.block(BlockIndex::new(0));
        FrameHeader::of_shard(FrameKind::File, identity, CommitId::new(9), block, table.digest())
    };
    (0..RECORDS).map(header).collect()
}

fn encoded() -> Vec<u8> {
    headers().iter().flat_map(FrameHeader::encode).collect()
}

fn header_len() -> usize {
    headers()[0].encode().len()
}

#[divan::bench]
fn memcpy(bencher: Bencher) {
    let (source, mut target) = (encoded(), encoded());
    bencher.counter(BytesCount::new(source.len())).bench_local(|| {
        target.copy_from_slice(black_box(&source));
        black_box(&mut target);
    });
}

#[divan::bench]
fn blake3(bencher: Bencher) {
    let bytes = encoded();
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| blake3::hash(black_box(&bytes)));
}

#[divan::bench]
fn encode_headers(bencher: Bencher) {
    let headers = headers();
    bencher
        .counter(BytesCount::new(headers.len() * header_len()))
        .bench_local(|| {
            for header in black_box(&headers) {
                black_box(header.encode());
            }
        });
}

#[divan::bench]
fn parse_headers(bencher: Bencher) {
    let (bytes, len) = (encoded(), header_len());
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        for header in black_box(&bytes).chunks_exact(len) {
            let _claimed = black_box(ClaimedFrame::parse(header)).expect("it was encoded");
        }
    });
}

#[divan::bench]
fn parse_footers(bencher: Bencher) {
    let footers: Vec<_> = headers()
        .iter()
        .map(|header| FrameFooter::of(header).encode())
        .collect();
    let bytes = footers.concat();
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        for footer in black_box(&footers) {
            let _footer = black_box(FrameFooter::parse(footer)).expect("it was encoded");
        }
    });
}

/// The table of a segment of 8 MiB, verified against its digest.
#[divan::bench]
fn parse_leaf_tables(bencher: Bencher) {
    let table = LeafTable::new(vec![LeafHash::from_bytes([7; 32]); 128]);
    let (bytes, digest) = (table.to_bytes(), table.digest());
    bencher
        .counter(BytesCount::new(bytes.len()))
        .bench_local(|| LeafTable::parse_verified(black_box(&bytes), 128, &digest).expect("it is right"));
}

/// Bytes that look like those of a compressed file, with no frame in them.
#[divan::bench]
fn search_4_mib_without_frames(bencher: Bencher) {
    let mut bytes = vec![0; 4 * MIB];
    blake3::Hasher::new()
        .update(b"noise")
        .finalize_xof()
        .fill(&mut bytes);
    bencher.counter(BytesCount::new(bytes.len())).bench_local(|| {
        assert_eq!(next_frame_mark(black_box(&bytes), 0), None, "noise has no marks");
    });
}
