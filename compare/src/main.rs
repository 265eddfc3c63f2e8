//! `bfdb-compare`: what bfdb takes beside other tools that keep files, on the same files in the same run.
//!
//! ```text
//! cargo build --release && cargo run --release -p bfdb-compare -- --runs 3 --markdown result.md --svg result.svg
//! ```
//!
//! Every tool does what people would type, as a process of its own; tools alternate within each round, so that what else the machine
//! does hits all of them. Every exit status is checked, and every restored byte is compared with the source. It knows bfdb as a
//! command line alone, like the others: no line here is linked with the engine.

#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people at a terminal"
)]
#![expect(
    clippy::disallowed_methods,
    clippy::cast_precision_loss,
    reason = "it makes files, measures time, and prints ratios"
)]

mod bench;
mod disk;
mod machine;
mod measure;
mod options;
mod report;
mod source;
mod tools;
mod workload;

use std::{
    fs,
    path::Path,
    process::ExitCode,
    sync::{Arc, atomic::AtomicBool},
};

use anyhow::{Context as _, Result, bail};
use clap::Parser as _;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use crate::{
    bench::{Bench, Place, Sample},
    machine::Machine,
    options::{Hidden, Options},
    report::Report,
    tools::Tool,
    workload::Workload,
};

fn main() -> ExitCode {
    let options = Options::parse();
    exit_code(match &options.hidden {
        Some(Hidden::Hash { files }) => tools::hash_in_process(files),
        Some(Hidden::Read { files }) => files.iter().try_for_each(|path| disk::read_all(path)),
        None => compare(&options),
    })
}

fn exit_code(result: Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bfdb-compare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Result<()> {
    let interrupted = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&interrupted))?;
    }
    fs::create_dir_all(&options.dir).with_context(|| format!("making {}", options.dir.display()))?;
    let dir = fs::canonicalize(&options.dir)?;
    let (tools, missing) = tools::find(options)?;
    let workloads = Workload::chosen(options);
    disk::check_room(&dir, &workloads, &tools)?;

    // Everything lies in here, and goes with it: at the end, after an error, and after a signal.
    let scratch = tempfile::Builder::new()
        .prefix("bfdb-compare-")
        .tempdir_in(&dir)?;
    let versions = tools
        .iter()
        .map(|tool| (tool.name(), tool.version().to_owned()))
        .collect();
    let machine = Machine::look(&dir, versions, missing);
    let place = Place {
        scratch: scratch.path(),
        interrupted: &interrupted,
    };
    let mut samples = Vec::new();
    let outcome = workloads
        .iter()
        .try_for_each(|workload| measure_workload(&place, workload, &tools, &mut samples));
    let report = Report {
        machine,
        workloads,
        samples,
    };
    if outcome.is_err() {
        // What was measured until then may have taken an hour.
        write_json(options, &report)?;
        return outcome;
    }
    deliver(options, &report)?;
    if report.samples.iter().any(|sample| sample.is_right == Some(false)) {
        bail!("a tool gave back wrong bytes, see WRONG BYTES in the table");
    }
    Ok(())
}

/// All rounds of all tools on one workload.
fn measure_workload(
    place: &Place<'_>,
    workload: &Workload,
    tools: &[Box<dyn Tool>],
    samples: &mut Vec<Sample>,
) -> Result<()> {
    let source_dir = place.scratch.join("source");
    eprintln!("{}: making {}", workload.kind, workload.files.describe());
    let source = workload.files.create(&source_dir)?;
    for round in 0..workload.rounds {
        // Every second round goes backwards: a machine that gets slower or faster favours nobody.
        let order: Box<dyn Iterator<Item = &Box<dyn Tool>>> = if round % 2 == 0 {
            Box::new(tools.iter())
        } else {
            Box::new(tools.iter().rev())
        };
        for tool in order.filter(|tool| tool.takes(workload)) {
            let bench = Bench::begin(place, workload, &source, (tool.name(), round))?;
            samples.extend(bench.finish(tool.as_ref())?);
        }
    }
    disk::remove(&source_dir)
}

/// Prints the report and writes the files that were asked for.
fn deliver(options: &Options, report: &Report) -> Result<()> {
    let markdown = report::markdown::render(report);
    println!("{markdown}");
    if let Some(path) = &options.markdown {
        write(path, &markdown)?;
    }
    if let Some(path) = &options.svg {
        write(path, &report::svg::render(report))?;
    }
    write_json(options, report)
}

fn write_json(options: &Options, report: &Report) -> Result<()> {
    match &options.json {
        Some(path) => write(path, &report::json::render(report)?),
        None => Ok(()),
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}
