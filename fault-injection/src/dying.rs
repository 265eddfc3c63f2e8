//! `bfdb-fault-injection die`: the process that [`bfdb_fault_injection::killing`] starts and kills. For nobody else.

use std::{path::PathBuf, process::ExitCode};

use bfdb_fault_injection::{
    crashes::sources::Sources,
    killing::{Part, play},
};

/// Dies, if that is what the arguments ask for.
pub(super) fn run(arguments: &[String]) -> Option<ExitCode> {
    let (command, options) = arguments.split_first()?;
    if command != "die" {
        return None;
    }
    let value = |name: &str| {
        let mut pairs = options.chunks_exact(2);
        pairs.find(|pair| pair[0] == name).map(|pair| pair[1].as_str())
    };
    let sources = Sources::of_another_process(value("--sources")?.as_ref());
    let part = Part {
        root: &PathBuf::from(value("--root")?),
        sources: &sources,
        seed: value("--seed")?.parse().ok()?,
        acts: value("--acts")?.parse().ok()?,
        from: value("--from")?.parse().ok()?,
        death: match value("--at") {
            Some(death) => Some(death.parse().ok()?),
            None => None,
        },
    };
    Some(match play(&part) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}
