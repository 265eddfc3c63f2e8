//! `catalog check`: the catalog against itself, the journal, the checkpoints and the extents.

use bfdb::{
    archive::{CatalogCheck, CatalogProblem},
    catalog::Access,
};
use serde::Serialize;

use crate::{
    context::Context,
    exit,
    failure::{Failure, commit_error},
    progress::Stopwatch,
    text,
    volumes::Volumes,
};

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "problem")]
struct ProblemLine {
    kind: &'static str,
    message: String,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    epoch: Option<u64>,
    records: u64,
    slices: u64,
    extents: u64,
    problems: usize,
    /// On the volumes, and not in the catalog: reserved and never published.
    unknown_extents: usize,
    volumes_offline: Vec<String>,
    suggest: Vec<String>,
    seconds: f64,
}

pub(super) fn run(context: &Context) -> Result<u8, Failure> {
    let stopwatch = Stopwatch::start();
    context.with_archive(Access::Read, |archive| {
        let check = archive
            .check_catalog()
            .map_err(|error| context.failure(&error, commit_error(&error)))?;
        let volumes = Volumes::of_archive(archive, context)?;
        let mut code = if check.away.is_empty() {
            exit::SUCCESS
        } else {
            exit::REDUCED
        };
        let mut suggest: Vec<String> = Vec::new();
        for problem in &check.problems {
            let told = Told::of(problem, &volumes);
            context.output.json(&ProblemLine {
                kind: told.kind,
                message: told.message.clone(),
            });
            context.output.line(&told.message);
            code = exit::worst(code, told.code);
            let command = context.command(told.command, &[]);
            if !suggest.contains(&command) {
                suggest.push(command);
            }
        }
        show(&check, &volumes, context);
        for command in &suggest {
            context.output.summary(&format!("  try: {command}"));
        }
        context.output.json(&Summary {
            epoch: check.epoch.map(bfdb::units::Epoch::get),
            records: check.records,
            slices: check.slices,
            extents: check.extents,
            problems: check.problems.len(),
            unknown_extents: check.unknown_extents.len(),
            volumes_offline: check.away.iter().map(ToString::to_string).collect(),
            suggest,
            seconds: stopwatch.seconds(),
        });
        Ok(code)
    })
}

fn show(check: &CatalogCheck, volumes: &Volumes, context: &Context) {
    for away in &check.away {
        context.warn(
            format!(
                "{} is away: nothing is known of its extents",
                volumes.label_of(*away)
            ),
            Vec::new(),
        );
    }
    let found = if check.problems.is_empty() {
        "the catalog is sound".to_owned()
    } else {
        text::count(len_of(&check.problems), "problem")
    };
    let unknown = match len_of(&check.unknown_extents) {
        0 => String::new(),
        some => format!(", {} that it does not know", text::count(some, "extent")),
    };
    context.output.summary(&format!(
        "{found}: {}, {}{unknown}",
        text::count(check.records, "record"),
        text::count(check.extents, "extent"),
    ));
}

fn len_of<T>(list: &[T]) -> u64 {
    u64::try_from(list.len()).expect("an address fits 64 bits")
}

/// A problem for people: what it is called, what it means for the exit code, and what helps.
struct Told {
    kind: &'static str,
    message: String,
    code: u8,
    command: &'static str,
}

impl Told {
    fn of(problem: &CatalogProblem, volumes: &Volumes) -> Self {
        let (kind, message, code, command) = match problem {
            CatalogProblem::Damaged { source } => {
                let message = source.to_string();
                ("damaged", message, exit::CATALOG_DAMAGED, "catalog rebuild")
            }
            CatalogProblem::OtherJournal { catalog, journal } => {
                let journal = journal.map_or_else(|| "nothing".to_owned(), |head| head.to_string());
                let message = format!("the catalog is at {catalog}, the journal has {journal}");
                ("other_journal", message, exit::CATALOG_DAMAGED, "catalog rebuild")
            }
            CatalogProblem::RecordsLost { first, count } => {
                let lost = text::count(*count, "record");
                let message = format!("the journal has lost {lost} from epoch {first} on");
                ("records_lost", message, exit::DAMAGED, "catalog checkpoint")
            }
            CatalogProblem::JournalFault(finding) => {
                let (volume, copy) = (finding.volume, finding.copy);
                let message = format!("copy {copy} of the journal on volume {volume} lacks records");
                ("journal_fault", message, exit::DAMAGED, "recover")
            }
            CatalogProblem::SliceLost { commit } => {
                let message = format!("a slice of a checkpoint, stored by commit {commit}, cannot be read");
                ("slice_lost", message, exit::DAMAGED, "catalog checkpoint")
            }
            CatalogProblem::ExtentMissing { volume, extent } => {
                let message = format!("extent {extent} is missing on {}", volumes.label_of(*volume));
                ("extent_missing", message, exit::DAMAGED, "scrub --repair")
            }
            CatalogProblem::ExtentShort {
                volume,
                extent,
                len_bytes,
                end_bytes,
            } => {
                let label = volumes.label_of(*volume);
                let message = format!("extent {extent} on {label} has {len_bytes} bytes of {end_bytes}");
                ("extent_short", message, exit::DAMAGED, "scrub --repair")
            }
            // Of a newer library.
            other => ("other", format!("{other:?}"), exit::DAMAGED, "status"),
        };
        Self {
            kind,
            message,
            code,
            command,
        }
    }
}
