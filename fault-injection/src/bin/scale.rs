//! `bfdb-scale`: commits files that are larger than any disk at hand, and says what that takes.
//!
//! ```text
//! cargo run --release -p bfdb-fault-injection --bin bfdb-scale -- 10GB 100GB 1TB
//! ```
//!
//! Extents lie on storage that discards them, all but their beginnings; the source is generated. So what is measured is the engine
//! without a disk: reading a stream, hashing, inner and outer code, the calls that write. What is kept is compared in the end.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]
#![expect(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "it measures time, and prints ratios"
)]

use std::{error::Error, fs, process::ExitCode, sync::Arc, time::Instant};

use bfdb::{
    archive::{Archive, ArchiveOptions, CommitOptions},
    geometry::FileGeometry,
    host::Machine,
    storage::Storage,
    units::{FileName, LeafLen, ShardIndex},
};
use bfdb_fault_injection::discarding::{DiscardingStorage, GeneratedSource, KEPT_LEN_BYTES};

const USAGE: &str =
    "usage: bfdb-scale LENGTH...     such as 10GB 100GB 1TB; each is committed to an archive of its own";

fn main() -> ExitCode {
    let lengths: Option<Vec<u64>> = std::env::args().skip(1).map(|text| parse(&text)).collect();
    let Some(lengths) = lengths.filter(|lengths| !lengths.is_empty()) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("| length | groups | blocks | stored | seconds | GB/s | CPU seconds per GB | memory |");
    println!("|---|---|---|---|---|---|---|---|");
    for len_bytes in lengths {
        if let Err(error) = commit(len_bytes) {
            eprintln!("bfdb-scale: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

/// Parses a length: a number and GB or TB.
fn parse(text: &str) -> Option<u64> {
    let (digits, unit) = match text.strip_suffix("TB") {
        Some(digits) => (digits, 1_000_000_000_000),
        None => (text.strip_suffix("GB")?, 1_000_000_000),
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// Commits one file and prints what it took.
fn commit(len_bytes: u64) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let storage = DiscardingStorage::default();
    let machine = Machine {
        storage: Arc::new(storage.clone()) as Arc<dyn Storage>,
        ..Machine::default()
    };
    let archive = Archive::create_on(&machine, &dir.path().join("a.bfdb"), &ArchiveOptions::default())?;
    let name: FileName = "file".parse()?;
    let geometry = FileGeometry::new(len_bytes, archive.policy());
    let (began, cpu) = (Instant::now(), cpu_seconds()?);
    let source = GeneratedSource::new(len_bytes);
    let receipt = archive.commit(&name, source, len_bytes, &CommitOptions::default())?;
    let (seconds, cpu) = (began.elapsed().as_secs_f64(), cpu_seconds()? - cpu);
    let gigabytes = len_bytes as f64 / 1e9;
    println!(
        "| {gigabytes:.0} GB | {} | {} | {:.4} | {seconds:.1} | {:.2} | {:.3} | {} MiB |",
        geometry.group_count(),
        geometry.data_block_count(),
        receipt.stored_bytes as f64 / len_bytes as f64,
        gigabytes / seconds,
        cpu / gigabytes,
        peak_memory_bytes()? >> 20,
    );
    compare_what_is_kept(&archive, &name, &geometry)?;
    archive.close()?;
    Ok(())
}

/// Reads the beginnings of the first segments back, which are what the extents have kept.
fn compare_what_is_kept(
    archive: &Archive,
    name: &FileName,
    geometry: &FileGeometry,
) -> Result<(), Box<dyn Error>> {
    let source = GeneratedSource::new(geometry.len_bytes());
    let reader = archive.snapshot()?.open_file(name, Arc::new(()))?;
    let block = geometry.block(geometry.data_block(0));
    // Two leaves and what stands before them are kept for certain.
    let len = usize::try_from(2 * LeafLen::DEFAULT.bytes().min(KEPT_LEN_BYTES / 3))?;
    for shard in (0..geometry.shape().data()).map(ShardIndex::new) {
        let Some(range) = block.leaf_range_in_file(shard, bfdb::units::ColumnIndex::new(0)) else {
            continue;
        };
        let (mut stored, mut generated) = (vec![0; len], vec![0; len]);
        reader.read_at(range.start(), &mut stored)?;
        source.read_at(range.start(), &mut generated);
        if stored != generated {
            return Err(format!("shard {shard} holds something else").into());
        }
    }
    Ok(())
}

/// User and system time of this process so far.
fn cpu_seconds() -> Result<f64, Box<dyn Error>> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // Behind the name of the program, which may hold anything.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |index: usize| -> Result<f64, Box<dyn Error>> {
        Ok(fields.get(index).ok_or("no such field")?.parse::<f64>()?)
    };
    // Linux counts these in hundredths of a second for programs, whatever its clock does.
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

/// The most memory that this process ever had.
fn peak_memory_bytes() -> Result<u64, Box<dyn Error>> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1));
    Ok(kib.ok_or("no VmHWM")?.parse::<u64>()? * 1024)
}
