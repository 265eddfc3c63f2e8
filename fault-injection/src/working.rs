//! `bfdb-fault-injection work`: a process that [`bfdb_fault_injection::concurrency`] starts. For nobody else.

use std::{path::PathBuf, process::ExitCode};

use bfdb_fault_injection::concurrency::{Work, work};

/// Works, if that is what the arguments ask for.
pub(super) fn run(arguments: &[String]) -> Option<ExitCode> {
    let (command, options) = arguments.split_first()?;
    if command != "work" {
        return None;
    }
    let value = |name: &str| {
        let mut pairs = options.chunks_exact(2);
        pairs.find(|pair| pair[0] == name).map(|pair| pair[1].as_str())
    };
    let number = |name: &str| value(name)?.parse().ok();
    let asked = Work {
        root: &PathBuf::from(value("--root")?),
        sources: &PathBuf::from(value("--sources")?),
        seed: number("--seed")?,
        process: number("--process")?,
        slot: number("--slot")?,
        threads: number("--threads")?,
        operations: number("--operations")?,
        death: match value("--at") {
            Some(death) => Some(death.parse().ok()?),
            None => None,
        },
    };
    Some(match work(&asked) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}
