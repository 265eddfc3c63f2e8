//! `verify`: reads and verifies named files, and what `scrub` shares with it: findings, lost ranges, sums.

use bfdb::{
    archive::{Archive, Event, FileDamage, Observer, RepairReport, ScrubReport, Snapshot},
    error::{CatalogError, ScrubError},
    units::{ByteRange, FileName},
};
use serde::Serialize;

use super::{
    damage::{FindingLine, as_u64, finding_text},
    entry::{called, restore_partly},
    repair::code_of,
    without_covered,
};
use crate::{
    arguments::values,
    context::Context,
    exit,
    failure::{Failure, as_pairs, scrub_error},
    progress::{Progress, Stopwatch},
    text,
    volumes::Volumes,
};

/// Files that commands are suggested for; the findings name all of them.
const SUGGESTED_FILES: usize = 5;

/// Read and verify files
///
/// Reads every shard, parity included, of the files that NAME names or that lie below it; all files when none is given.
/// Nothing is changed. Damage is listed shard by shard; where bytes are lost, exactly which.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb verify photo.cr3\n  \
    bfdb verify 2024 --json          findings as JSON lines\n\n\
    Exit codes: 0 no damage, 4 every byte can still be read, 5 bytes are lost, 6 a volume is not there.")]
pub(crate) struct Arguments {
    /// Names of files, or of directories above them
    #[arg(value_name = "NAME|PREFIX", value_parser = values::name_parser())]
    names: Vec<FileName>,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive_to_read(|archive| {
        let names = without_covered(&arguments.names);
        let inspection = Inspection::begin(archive, |snapshot| stored_bytes(snapshot, &names), context)?;
        let mut outcome = Outcome::default();
        if arguments.names.is_empty() {
            inspection.verify(archive, None, &mut outcome)?;
        }
        for prefix in names {
            inspection.verify(archive, Some(prefix), &mut outcome)?;
        }
        Ok(inspection.finish(outcome))
    })
}

/// A scrub or a verification while it runs: shows findings as they come.
pub(super) struct Inspection<'a> {
    volumes: Volumes,
    context: &'a Context<'a>,
    progress: Progress<'a>,
    stopwatch: Stopwatch,
}

/// What came of it.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) report: ScrubReport,
    /// What a repair has come to that followed.
    pub(super) repaired: Option<RepairReport>,
    /// The worst that a part failed with.
    code: u8,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "lost")]
struct LostLine {
    name: String,
    /// There for a kept version only.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_version: Option<u32>,
    #[serde(serialize_with = "as_pairs")]
    ranges: Vec<ByteRange>,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    files: u64,
    blocks: u64,
    bytes_read: u64,
    blocks_encoded: u64,
    damaged_shards: u64,
    files_degraded: u64,
    files_lost: u64,
    /// Runs of records that a copy of the journal lacks and others have.
    journal_faults: u64,
    /// Volumes that are not there: nothing on them was read.
    volumes_offline: Vec<String>,
    repaired_shards: u64,
    complete: bool,
    suggest: Vec<String>,
    seconds: f64,
}

impl Observer for Inspection<'_> {
    fn event(&self, event: Event<'_>) {
        self.progress.event(event);
        if let Event::Damage(finding) = event {
            self.context.output.json(&FindingLine::of(finding));
            self.context.output.line(&finding_text(finding));
        }
    }

    fn is_cancelled(&self) -> bool {
        self.progress.is_cancelled()
    }
}

impl<'a> Inspection<'a> {
    /// Begins; `total` says how many bytes will be read.
    pub(super) fn begin(
        archive: &Archive,
        total: impl FnOnce(&Snapshot) -> Result<u64, CatalogError>,
        context: &'a Context<'a>,
    ) -> Result<Self, Failure> {
        let snapshot = archive
            .snapshot()
            .map_err(|error| context.catalog_failure(&error))?;
        let volumes = Volumes::of(&snapshot, context).map_err(|error| context.catalog_failure(&error))?;
        let total = context.total_for_progress(|| total(&snapshot).ok());
        Ok(Self {
            volumes,
            context,
            progress: context.progress("verified", total),
            stopwatch: Stopwatch::start(),
        })
    }

    /// Verifies what one prefix names. That there is nothing, or that one record is wrong, does not stop the rest.
    fn verify(
        &self,
        archive: &Archive,
        prefix: Option<&FileName>,
        outcome: &mut Outcome,
    ) -> Result<(), Failure> {
        let snapshot = archive.snapshot().map_err(ScrubError::from);
        match snapshot.and_then(|snapshot| snapshot.verify(prefix, self)) {
            Ok(report) => outcome.add(report),
            Err(error) => {
                let failure = self.failure(&error);
                if !matches!(
                    error,
                    ScrubError::NotFound { .. } | ScrubError::RootMismatch { .. }
                ) {
                    return Err(failure);
                }
                outcome.code = exit::worst(outcome.code, failure.code);
                self.context.output.failure(&failure);
            }
        }
        Ok(())
    }

    pub(super) fn failure(&self, error: &ScrubError) -> Failure {
        if matches!(error, ScrubError::Cancelled) {
            let read = text::size(self.progress.done_bytes());
            let done = format!("{read} were read, nothing is known of the rest");
            return self.context.interrupted(&done);
        }
        self.context.failure(error, scrub_error(error))
    }

    /// Shows what is lost and the sums, and returns the exit code.
    pub(super) fn finish(self, outcome: Outcome) -> u8 {
        let Outcome {
            report,
            repaired,
            code,
        } = outcome;
        let (context, output) = (self.context, self.context.output);
        drop(self.progress);
        let lost_files = report.damage.iter().filter(|file| !file.lost.is_empty());
        // The catalog knows what a descriptor says; no file has lost a byte with it.
        for file in lost_files.filter(|file| file.descriptor.is_none()) {
            output.json(&LostLine {
                name: file.name.to_string(),
                kept_version: file.kept_version,
                ranges: file.lost.clone(),
            });
            for range in &file.lost {
                let name = called(&file.name, file.kept_version);
                output.line(&format!("{name}: bytes {range} are lost"));
            }
        }
        let suggest = match &repaired {
            // What is left behind a repair nothing but originals helps.
            Some(repaired) => suggestions_for(&repaired.damage, &report, context),
            None => suggestions(&report, context),
        };
        let (degraded, lost) = (report.files_degraded(), report.files_lost());
        output.json(&Summary {
            files: report.files,
            blocks: report.blocks,
            bytes_read: report.bytes_read,
            blocks_encoded: report.blocks_encoded,
            damaged_shards: report.damaged_shards,
            files_degraded: as_u64(degraded),
            files_lost: as_u64(lost),
            journal_faults: as_u64(report.journal.len()),
            volumes_offline: report.offline.iter().map(ToString::to_string).collect(),
            repaired_shards: repaired.as_ref().map_or(0, |repaired| repaired.shards_repaired),
            complete: code == exit::SUCCESS && !report.is_cut_short && report.offline.is_empty(),
            suggest: suggest.clone(),
            seconds: self.stopwatch.seconds(),
        });
        let read = format!(
            "{}, {}, {} read in {}",
            text::count(report.files, "file"),
            text::count(report.blocks, "block"),
            text::size(report.bytes_read),
            text::duration(self.stopwatch.elapsed())
        );
        let found = found_text(&report);
        output.summary(&format!("{read}: {found}"));
        tell_what_is_forgotten(&report, context);
        let mut offline = report.offline.clone();
        offline.extend(repaired.iter().flat_map(|repaired| &repaired.offline));
        let code = exit::worst(code, self.volumes.warn_of_unread(&offline, context));
        if let Some(repaired) = &repaired {
            output.summary(&repaired_text(repaired));
        }
        for command in &suggest {
            output.summary(&format!("  try: {command}"));
        }
        exit::worst(code, found_code(&report, repaired.as_ref()))
    }
}

/// Says where the next scrub goes on, and what nobody will know of.
fn tell_what_is_forgotten(report: &ScrubReport, context: &Context) {
    match (report.is_cut_short, report.is_forgetful) {
        (true, false) => context
            .output
            .summary("the budget is used up; the next scrub goes on from here"),
        (true, true) => {
            context
                .output
                .summary("the budget is used up, and not all could be noted: the next scrub reads it again");
        }
        (false, _) => {}
    }
    for refused in &report.refused {
        let (extent, reason) = (refused.extent, &refused.reason);
        let message = format!(
            "extent {extent} cannot be read by this process, and nothing is known of what it holds: {reason}"
        );
        context.warn(message, Vec::new());
    }
    if report.unnoted > 0 {
        let shards = text::count(report.unnoted, "damaged shard");
        let message = format!(
            "{shards} could not be noted, since the disk of the archive is too full: `status` and `repair` do not know of them"
        );
        context.warn(message, vec![context.command("scrub --repair", &[])]);
    }
}

/// Returns the exit code for what was found, or for what a repair has left of it.
fn found_code(report: &ScrubReport, repaired: Option<&RepairReport>) -> u8 {
    let journal = if report.journal.is_empty() {
        exit::SUCCESS
    } else {
        exit::DAMAGED
    };
    // A repair does not know of what could not be noted.
    let repaired = repaired.filter(|_| report.unnoted == 0);
    let shards = match (repaired, report.damaged_shards, report.files_lost()) {
        (Some(repaired), ..) => code_of(repaired),
        (None, 0, _) => exit::SUCCESS,
        (None, _, 0) => exit::DAMAGED,
        (None, ..) => exit::LOST,
    };
    let refused = if report.refused.is_empty() {
        exit::SUCCESS
    } else {
        exit::FAILED
    };
    exit::worst(exit::worst(journal, refused), shards)
}

impl Outcome {
    /// Adds the report of another part.
    pub(super) fn add(&mut self, other: ScrubReport) {
        self.report.add(other);
    }
}

/// Returns the bytes of the frames of what `names` name or what lies below them; none is every file.
fn stored_bytes(snapshot: &Snapshot, names: &[&FileName]) -> Result<u64, CatalogError> {
    if names.is_empty() {
        let totals = snapshot.totals()?;
        return Ok(totals.stored_bytes + totals.kept.stored_bytes);
    }
    let files = names
        .iter()
        .flat_map(|name| snapshot.files_and_versions(Some(name)));
    files.map(|file| Ok(file?.stored_bytes)).sum()
}

fn found_text(report: &ScrubReport) -> String {
    if report.damaged_shards == 0 && report.journal.is_empty() {
        return "no damage".to_owned();
    }
    let mut found = Vec::new();
    if report.damaged_shards > 0 {
        found.push(text::count(report.damaged_shards, "damaged shard"));
    }
    if !report.journal.is_empty() {
        let faults = text::count(as_u64(report.journal.len()), "fault");
        found.push(format!("{faults} in copies of the journal, whole in others"));
    }
    let (degraded, lost) = (as_u64(report.files_degraded()), as_u64(report.files_lost()));
    if degraded > 0 {
        let files = text::count(degraded, "file");
        found.push(format!("{files} degraded, all bytes of which can be read"));
    }
    if lost > 0 {
        found.push(format!("{} with lost bytes", text::count(lost, "file")));
    }
    let damaged = report.damage.iter().filter(|file| file.descriptor.is_some());
    let descriptors = as_u64(damaged.count());
    if descriptors > 0 {
        let count = text::count(descriptors, "descriptor");
        found.push(match as_u64(report.descriptors_lost()) {
            0 => format!("{count} damaged, all of it can be read"),
            lost => format!("{count} damaged, {lost} of them lost: keep a copy of the catalog"),
        });
    }
    found.join("; ")
}

fn repaired_text(report: &RepairReport) -> String {
    let repaired = format!(
        "{} of {} repaired",
        text::count(report.shards_repaired, "shard"),
        text::count(report.files_repaired, "file")
    );
    match as_u64(report.files_lost()) {
        0 => repaired,
        lost => format!("{repaired}; {} with lost bytes", text::count(lost, "file")),
    }
}

/// Says what leads on: a repair of what can be repaired, and what is left of the rest.
fn suggestions(report: &ScrubReport, context: &Context) -> Vec<String> {
    let has_repairable = report.damage.iter().any(|damage| damage.lost.is_empty());
    // What was found is known now, and a repair needs nothing more.
    let repair = has_repairable.then(|| context.command("repair", &[]));
    let others = suggestions_for(&report.damage, report, context);
    repair.into_iter().chain(others).collect()
}

/// Says what leads on where a repair does not.
fn suggestions_for(damage: &[FileDamage], report: &ScrubReport, context: &Context) -> Vec<String> {
    let lost: Vec<_> = (damage.iter())
        .filter(|file| file.descriptor.is_none() && !file.lost.is_empty())
        .collect();
    let import = (!lost.is_empty()).then(|| context.command("repair --import DIR", &[]));
    let partial = (lost.iter().take(SUGGESTED_FILES))
        .map(|file| restore_partly(&file.name, file.kept_version, context));
    let mend = (!report.journal.is_empty()).then(|| context.command("recover", &[]));
    import.into_iter().chain(partial).chain(mend).collect()
}
