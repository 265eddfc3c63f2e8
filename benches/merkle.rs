//! Bytes per second of leaf hashing and folding, beside a copy and plain BLAKE3 of the same bytes in the same run.

use bfdb::{
    merkle::{DataLeaves, LeafHash, LeafTable, RootFolder, hash_data_leaf, verify_data_leaf},
    units::LeafLen,
};
use divan::{Bencher, black_box, counter::BytesCount};

const MIB: usize = 1024 * 1024;
const LEAF_LOG2: [u8; 4] = [10, 14, 16, 20];

fn main() {
    divan::main();
}

fn painted(len: usize) -> Vec<u8> {
    (0..251).cycle().take(len).collect()
}

fn leaf_hashes(bytes: &[u8], log2: u8) -> impl Iterator<Item = (u64, &[u8], LeafHash)> {
    let offsets = (0_u64..).map(move |index| index << log2);
    offsets
        .zip(bytes.chunks(1 << log2))
        .map(|(offset, bytes)| (offset, bytes, hash_data_leaf(DataLeaves::Subtree, offset, bytes)))
}

#[divan::bench]
fn memcpy_4_mib(bencher: Bencher) {
    let (source, mut target) = (painted(4 * MIB), vec![0; 4 * MIB]);
    bencher.counter(BytesCount::new(4 * MIB)).bench_local(|| {
        target.copy_from_slice(black_box(&source));
        black_box(&mut target);
    });
}

#[divan::bench]
fn blake3_4_mib(bencher: Bencher) {
    let bytes = painted(4 * MIB);
    bencher
        .counter(BytesCount::new(4 * MIB))
        .bench_local(|| blake3::hash(black_box(&bytes)));
}

/// Leaves of 2^10 to 2^20 bytes, folded to the root.
#[divan::bench(args = LEAF_LOG2)]
fn hash_and_fold_4_mib(bencher: Bencher, log2: u8) {
    let bytes = painted(4 * MIB);
    let leaf = LeafLen::from_log2(log2).expect("a leaf length between 1 KiB and 1 MiB");
    bencher.counter(BytesCount::new(4 * MIB)).bench_local(|| {
        let mut folder = RootFolder::new(leaf);
        leaf_hashes(black_box(&bytes), log2).for_each(|(_, _, hash)| folder.push(hash));
        folder.finish()
    });
}

#[divan::bench]
fn verify_leaves_of_64_kib(bencher: Bencher) {
    let bytes = painted(4 * MIB);
    let leaves: Vec<_> = leaf_hashes(&bytes, 16).collect();
    bencher.counter(BytesCount::new(4 * MIB)).bench_local(|| {
        leaves.iter().all(|(offset, bytes, hash)| {
            verify_data_leaf(DataLeaves::Subtree, *offset, black_box(bytes), hash)
        })
    });
}

/// The table of an 8 MiB segment: 128 entries, 4 KiB.
#[divan::bench]
fn parse_a_table_of_128_leaves(bencher: Bencher) {
    let table = LeafTable::new(
        leaf_hashes(&painted(8 * MIB), 16)
            .map(|(_, _, hash)| hash)
            .collect(),
    );
    let (stored, digest) = (table.to_bytes(), table.digest());
    bencher
        .counter(BytesCount::new(stored.len()))
        .bench_local(|| LeafTable::parse_verified(black_box(&stored), 128, &digest));
}
