//! What a rotating disk makes of a commit, a scrub and a restore of a file of tier 3, beside a commit in the order of other disks.
//!
//! `cargo bench -p bfdb --bench rotating`, some three minutes. The disk is imitated (`bfdb_fault_injection::rotating`): 8 ms for every access
//! that does not go on where the last one ended, 150 MB/s otherwise. The source and the restored file are on the disk of the machine.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "a benchmark makes its own files, takes its time, prints ratios, and stops when anything fails"
)]

use std::{
    fs,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use bfdb::{
    Archive, ArchiveOptions, Resources, RestoreOptions,
    host::{Machine, RestoreTarget},
    storage::{HostStorage, Medium},
    units::FileName,
};
use bfdb_fault_injection::{
    discarding::GeneratedSource,
    rotating::{DiskSpeed, DiskWork, RotatingStorage},
};
use tempfile::TempDir;

/// A file of tier 3.
const LEN: u64 = 2 << 30;

fn main() {
    // What `cargo test --benches` asks for: that it can be started.
    if std::env::args().any(|argument| argument == "--test") {
        return;
    }
    let dir = TempDir::new().unwrap();
    let source = dir.path().join("source");
    std::io::copy(
        &mut GeneratedSource::new(LEN),
        &mut fs::File::create(&source).unwrap(),
    )
    .unwrap();
    let speed = DiskSpeed::default();
    println!(
        "a file of {LEN} bytes on a disk of {} MB/s and {} ms",
        speed.bytes_per_second / 1_000_000,
        speed.seek.as_millis()
    );
    println!("order    what      seconds   MB of frames   MB/s   of sequential   seeks");
    measure(dir.path(), &source, Medium::Rotating);
    measure(dir.path(), &source, Medium::Solid);
}

fn measure(dir: &Path, source: &Path, medium: Medium) {
    let order = match medium {
        Medium::Rotating => "shards",
        Medium::Solid => "columns",
    };
    let disk = RotatingStorage::new(Arc::new(HostStorage), DiskSpeed::default());
    let machine = Machine {
        storage: Arc::new(disk.clone()),
        ..Machine::default()
    };
    let options = ArchiveOptions {
        resources: Resources {
            medium: Some(medium),
            ..Resources::default()
        },
        ..ArchiveOptions::default()
    };
    let root = dir.join(format!("{order}.bfdb"));
    let archive = Archive::create_on(&machine, &root, &options).unwrap();
    let name: FileName = "file".parse().unwrap();
    let row = |what: &str, work: &mut dyn FnMut() -> u64| {
        let (before, begun) = (disk.work(), Instant::now());
        let bytes = work();
        print_row((order, what), bytes, begun.elapsed(), (before, disk.work()));
    };
    row("commit", &mut || {
        let receipt = archive.commit_path(&name, source, &()).unwrap();
        receipt.receipt().stored_bytes
    });
    // The others go in one order on all disks.
    if medium == Medium::Rotating {
        row("scrub", &mut || archive.scrub(&()).unwrap().bytes_read);
        let out = dir.join("out");
        row("restore", &mut || {
            let target = RestoreTarget::open(&out).unwrap();
            let snapshot = archive.snapshot().unwrap();
            let receipt = snapshot.restore(&name, &target, &RestoreOptions::default(), &());
            receipt.unwrap().len_bytes
        });
        fs::remove_dir_all(out).unwrap();
    }
    drop(archive);
    fs::remove_dir_all(root).unwrap();
}

fn print_row((order, what): (&str, &str), bytes: u64, took: Duration, (before, after): (DiskWork, DiskWork)) {
    let rate = bytes as f64 / took.as_secs_f64();
    let sequential = DiskSpeed::default().bytes_per_second as f64;
    println!(
        "{order:8} {what:8} {:8.1} {:14.0} {:6.1} {:15.2} {:7}",
        took.as_secs_f64(),
        bytes as f64 / 1e6,
        rate / 1e6,
        rate / sequential,
        after.seeks - before.seeks
    );
}
