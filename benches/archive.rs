//! Whole operations on real files, beside what a user compares them with: copying and hashing the same bytes.
//!
//! Numbers are bytes of file content per second; read them against the baselines of the same run.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark makes its own files and stops when anything fails"
)]

use std::{fs, io::Read as _, path::PathBuf, sync::Arc};

use bfdb::{
    archive::{Archive, ArchiveOptions, RestoreOptions},
    geometry::{Policy, PolicyParts},
    host::RestoreTarget,
    units::FileName,
};
use divan::{Bencher, counter::BytesCount};
use tempfile::TempDir;

const LEN: usize = 256 << 20;

fn main() {
    divan::main();
}

/// A file of random-looking bytes in a directory of its own, and the policy that puts it into a tier.
struct Bench {
    dir: TempDir,
    source: PathBuf,
    options: ArchiveOptions,
}

impl Bench {
    fn new(tier: u8) -> Self {
        let parts = PolicyParts::default();
        // Tier 3 begins at 1 GB; a lower edge keeps the benchmark short and changes nothing else.
        let blocked = PolicyParts {
            segmented_below_bytes: parts.tiny_below_bytes,
            ..parts
        };
        let parts = if tier == 3 { blocked } else { parts };
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        let mut content = vec![0; LEN];
        blake3::Hasher::new()
            .update(b"bench")
            .finalize_xof()
            .fill(&mut content);
        fs::write(&source, content).unwrap();
        let options = ArchiveOptions {
            policy: Policy::new(parts).unwrap(),
            ..ArchiveOptions::default()
        };
        Self { dir, source, options }
    }

    /// Makes an empty archive where the last one was.
    fn empty(&self) -> Archive {
        let root = self.dir.path().join("a.bfdb");
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        Archive::create(&root, &self.options).unwrap()
    }

    fn committed(&self) -> Archive {
        let archive = self.empty();
        drop(archive.commit_path(&name(), &self.source, &()).unwrap());
        archive
    }
}

fn name() -> FileName {
    "file".parse().unwrap()
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn copy_and_sync(bencher: Bencher<'_, '_>) {
    let bench = Bench::new(3);
    bencher.counter(BytesCount::new(LEN)).bench_local(|| {
        let copy = bench.dir.path().join("copy");
        fs::copy(&bench.source, &copy).unwrap();
        fs::File::open(&copy).unwrap().sync_all().unwrap();
        fs::remove_file(copy).unwrap();
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn blake3_of_the_source(bencher: Bencher<'_, '_>) {
    let bench = Bench::new(3);
    let content = fs::read(&bench.source).unwrap();
    bencher
        .counter(BytesCount::new(LEN))
        .bench_local(|| blake3::hash(&content));
}

#[divan::bench(args = [2, 3], sample_count = 5, sample_size = 1)]
fn commit(bencher: Bencher<'_, '_>, tier: u8) {
    let bench = Bench::new(tier);
    bencher
        .counter(BytesCount::new(LEN))
        .bench_local(|| bench.committed().close().unwrap());
}

#[divan::bench(args = [2, 3], sample_count = 5, sample_size = 1)]
fn restore(bencher: Bencher<'_, '_>, tier: u8) {
    let bench = Bench::new(tier);
    let archive = bench.committed();
    bencher.counter(BytesCount::new(LEN)).bench_local(|| {
        let out = bench.dir.path().join("out");
        let target = RestoreTarget::open(&out).unwrap();
        let snapshot = archive.snapshot().unwrap();
        let receipt = snapshot
            .restore(&name(), &target, &RestoreOptions::default(), &())
            .unwrap();
        drop(receipt);
        fs::remove_dir_all(out).unwrap();
    });
}

#[divan::bench(args = [2, 3], sample_count = 5, sample_size = 1)]
fn read_from_start_to_end(bencher: Bencher<'_, '_>, tier: u8) {
    let bench = Bench::new(tier);
    let archive = bench.committed();
    let mut bytes = vec![0; 1 << 20];
    bencher.counter(BytesCount::new(LEN)).bench_local(|| {
        let mut reader = archive
            .snapshot()
            .unwrap()
            .open_file(&name(), Arc::new(()))
            .unwrap();
        while reader.read(&mut bytes).unwrap() > 0 {}
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn read_with_three_lanes_gone(bencher: Bencher<'_, '_>) {
    let bench = Bench::new(3);
    let archive = bench.committed();
    for extent in 1..=3 {
        let path = format!("a.bfdb/volumes/v0/extents/{extent:08}.bfx");
        fs::remove_file(bench.dir.path().join(path)).unwrap();
    }
    let mut bytes = vec![0; 1 << 20];
    bencher.counter(BytesCount::new(LEN)).bench_local(|| {
        let mut reader = archive
            .snapshot()
            .unwrap()
            .open_file(&name(), Arc::new(()))
            .unwrap();
        while reader.read(&mut bytes).unwrap() > 0 {}
    });
}

#[divan::bench(args = [2, 3], sample_count = 5, sample_size = 1)]
fn scrub_stored_bytes(bencher: Bencher<'_, '_>, tier: u8) {
    let bench = Bench::new(tier);
    let archive = bench.committed();
    let stored = archive.scrub(&()).unwrap().bytes_read;
    bencher
        .counter(BytesCount::new(stored))
        .bench_local(|| archive.scrub(&()).unwrap());
}
