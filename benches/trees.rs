//! Trees of small files, beside copying the same files: entries per second.
//!
//! Read the numbers against the baselines of the same run.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a benchmark makes its own files and stops when anything fails"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use bfdb::{
    archive::{
        Archive, ArchiveOptions, CommitAllOptions, CommitObserver, CommitOutcome, Event, FileInfo, Observer,
        RestoreObserver, RestoreOptions, RestoreReceipt, Source,
    },
    error::{CommitError, RestoreError},
    host::{ExcludedDirectories, Place, RestoreTarget, TreeWalk, Walked},
    units::FileName,
};
use divan::{Bencher, counter::ItemsCount};
use tempfile::TempDir;

const DIRECTORIES: usize = 50;
const FILES_EACH: usize = 1000;
const FILES: usize = DIRECTORIES * FILES_EACH;
const LEN: usize = 1024;
/// Files that are stored or copied one by one: enough, since each waits for the disk.
const FEW: usize = 100;

fn main() {
    divan::main();
}

struct Bench {
    dir: TempDir,
    tree: PathBuf,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        let mut content = vec![0; LEN];
        for directory in 0..DIRECTORIES {
            let path = tree.join(directory.to_string());
            fs::create_dir_all(&path).unwrap();
            for file in 0..FILES_EACH {
                content[..8].copy_from_slice(&(directory * FILES_EACH + file).to_le_bytes());
                fs::write(path.join(file.to_string()), &content).unwrap();
            }
        }
        Self { dir, tree }
    }

    fn empty(&self) -> Archive {
        let root = self.dir.path().join("a.bfdb");
        if root.exists() {
            fs::remove_dir_all(&root).unwrap();
        }
        Archive::create(&root, &ArchiveOptions::default()).unwrap()
    }

    fn commit(&self, archive: &Archive) {
        let walk = TreeWalk::new(Place::of_path(&self.tree), ExcludedDirectories::default(), |_| {
            true
        });
        let mut sources = walk.map(|walked| {
            let Walked::Entry(entry) = walked else {
                panic!("{walked:?}")
            };
            let name = [b"tree/".as_slice(), &entry.below].concat();
            let name = name.strip_suffix(b"/").unwrap_or(&name);
            Source {
                name: FileName::from_bytes(name).unwrap(),
                place: entry.place,
            }
        });
        archive
            .commit_all(&mut sources, &CommitAllOptions::default(), &Must)
            .unwrap();
    }
}

struct Must;

impl Observer for Must {
    fn event(&self, _: Event<'_>) {}
}

impl CommitObserver for Must {
    fn source_done(&self, _: &Source, result: Result<CommitOutcome, CommitError>) {
        drop(result.unwrap());
    }
}

impl RestoreObserver for Must {
    fn entry_done(&self, _: &FileInfo, result: Result<RestoreReceipt, RestoreError>) {
        drop(result.unwrap());
    }
}

fn copy_tree(from: &Path, to: &Path) {
    for directory in fs::read_dir(from).unwrap() {
        let directory = directory.unwrap();
        let target = to.join(directory.file_name());
        fs::create_dir_all(&target).unwrap();
        for file in fs::read_dir(directory.path()).unwrap() {
            let file = file.unwrap();
            let content = fs::read(file.path()).unwrap();
            fs::write(target.join(file.file_name()), content).unwrap();
        }
    }
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn copy_without_sync(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    bencher.counter(ItemsCount::new(FILES)).bench_local(|| {
        let copy = bench.dir.path().join("copy");
        copy_tree(&bench.tree, &copy);
        fs::remove_dir_all(copy).unwrap();
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn commit(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    bencher.counter(ItemsCount::new(FILES)).bench_local(|| {
        let archive = bench.empty();
        bench.commit(&archive);
        archive.close().unwrap();
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn commit_one_by_one(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    bencher.counter(ItemsCount::new(FEW)).bench_local(|| {
        let archive = bench.empty();
        for file in 0..FEW {
            let path = bench.tree.join("0").join(file.to_string());
            let name = FileName::from_bytes(file.to_string().as_bytes()).unwrap();
            drop(archive.commit_path(&name, &path, &()).unwrap());
        }
        archive.close().unwrap();
    });
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn commit_again(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let archive = bench.empty();
    bench.commit(&archive);
    bencher
        .counter(ItemsCount::new(FILES))
        .bench_local(|| bench.commit(&archive));
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn list(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let archive = bench.empty();
    bench.commit(&archive);
    bencher
        .counter(ItemsCount::new(FILES))
        .bench_local(|| archive.snapshot().unwrap().files(None).count());
}

#[divan::bench(sample_count = 5, sample_size = 1)]
fn restore(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let archive = bench.empty();
    bench.commit(&archive);
    bencher.counter(ItemsCount::new(FILES)).bench_local(|| {
        let out = bench.dir.path().join("out");
        let target = RestoreTarget::open(&out).unwrap();
        let snapshot = archive.snapshot().unwrap();
        snapshot
            .restore_all(None, &target, &RestoreOptions::default(), &Must)
            .unwrap();
        fs::remove_dir_all(out).unwrap();
    });
}
