//! `repair`: writes damaged shards anew, elsewhere.

use std::path::{Path, PathBuf};

use bfdb::{
    archive::{Archive, Event, FileDamage, Observer, RepairMode, RepairOptions, RepairReport},
    catalog::Access,
    error::RepairError,
    units::{ByteRange, FileName},
};
use serde::Serialize;

use super::{
    damage::as_u64,
    entry::{called, restore_partly},
    without_covered,
};
use crate::{
    arguments::values::name_parser,
    context::Context,
    exit,
    failure::{Failure, repair_error},
    output::Loudness,
    progress::{Progress, Stopwatch},
    text,
    volumes::Volumes,
};

/// Write damaged shards anew, from what is left of them
///
/// Repairs what scrubs, verifications and reads have found: good leaves are copied, bad ones decoded, and the new frames are
/// read back from the disk before they count. Nothing is changed in place. What cannot be decoded stays as it is, is named
/// to the byte, and can be healed from an undamaged original.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb scrub; bfdb repair              find damage, and repair it\n  \
    bfdb repair photos                   only what has that name or lies below it\n  \
    bfdb repair --import /mnt/backup     also from originals: photos/a.jpg from /mnt/backup/photos/a.jpg\n\n\
    Exit codes: 0 nothing that is known to be damaged is left, 5 bytes are lost, 4 damage is left and every byte can be\n\
    read, 6 a volume is not there, 15 no such name.")]
pub(crate) struct Arguments {
    /// Names, and what lies below them; everything when none is given
    #[arg(value_name = "PREFIX", value_parser = name_parser())]
    names: Vec<FileName>,
    /// Heal also from undamaged originals, which lie in DIR under the names that they have in the archive
    #[arg(long, value_name = "DIR")]
    import: Option<PathBuf>,
    /// Change nothing; say what is known to be damaged
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "repaired")]
struct RepairedLine {
    name: String,
    /// There for a kept version only.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_version: Option<u32>,
    block: u64,
    shard: u16,
    extent: u64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    files_repaired: u64,
    shards_repaired: u64,
    shards_found_whole: u64,
    bytes_written: u64,
    /// Damaged shards that are left.
    damaged_shards: u64,
    files_lost: u64,
    lost: Vec<Lost>,
    /// Volumes that are not there: nothing on them was read or repaired.
    volumes_offline: Vec<String>,
    dry_run: bool,
    suggest: Vec<String>,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct Lost {
    name: String,
    /// There for a kept version only.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_version: Option<u32>,
    ranges: Vec<(u64, u64)>,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let access = if arguments.dry_run {
        Access::Read
    } else {
        Access::Write
    };
    if let Some(directory) = &arguments.import {
        check_originals(directory)?;
    }
    context.with_archive(access, |archive| {
        let mut repair = Repair::begin(context);
        if arguments.names.is_empty() {
            repair.go_on(archive, arguments, None)?;
        }
        for prefix in without_covered(&arguments.names) {
            repair.go_on(archive, arguments, Some(prefix))?;
        }
        let volumes = Volumes::of_archive(archive, context)?;
        Ok(repair.finish(arguments, &volumes))
    })
}

/// Originals that are not there help nothing, which is no damage.
fn check_originals(directory: &Path) -> Result<(), Failure> {
    let place = text::path(directory);
    match std::fs::metadata(directory) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(Failure::usage(format!("--import {place}: it is no directory"))),
        Err(error) => Err(Failure::usage(format!("--import {place}: {error}"))),
    }
}

/// A repair while it runs.
struct Repair<'a> {
    watch: Watch<'a>,
    stopwatch: Stopwatch,
    report: RepairReport,
    /// The worst that a part failed with.
    code: u8,
}

/// Shows progress, and each shard that was repaired.
pub(super) struct Watch<'a> {
    context: &'a Context<'a>,
    progress: Progress<'a>,
}

impl Observer for Watch<'_> {
    fn event(&self, event: Event<'_>) {
        self.progress.event(event);
        if let Event::Repaired {
            name,
            kept_version,
            block,
            shard,
            extent,
        } = event
        {
            self.context.output.json(&RepairedLine {
                name: name.to_string(),
                kept_version,
                block: block.get(),
                shard: shard.get(),
                extent: extent.get(),
            });
            if self.context.output.loudness() == Loudness::Verbose {
                let name = called(name, kept_version);
                let line = format!("{name}: block {block} shard {shard} is in extent {extent} now");
                self.context.output.line(&line);
            }
        }
    }

    fn is_cancelled(&self) -> bool {
        self.progress.is_cancelled()
    }
}

impl<'a> Watch<'a> {
    pub(super) fn begin(context: &'a Context<'a>) -> Self {
        Self {
            context,
            progress: context.progress("repaired", None),
        }
    }

    pub(super) fn failure(&self, error: &RepairError) -> Failure {
        if matches!(error, RepairError::Cancelled) {
            return self
                .context
                .interrupted("what was repaired until now stays repaired");
        }
        self.context.failure(error, repair_error(error))
    }
}

impl<'a> Repair<'a> {
    fn begin(context: &'a Context<'a>) -> Self {
        Self {
            watch: Watch::begin(context),
            stopwatch: Stopwatch::start(),
            report: RepairReport::default(),
            code: exit::SUCCESS,
        }
    }

    /// Repairs what one prefix names. That there is nothing of that name does not stop the rest.
    fn go_on(
        &mut self,
        archive: &Archive,
        arguments: &Arguments,
        prefix: Option<&FileName>,
    ) -> Result<(), Failure> {
        let options = RepairOptions {
            prefix: prefix.cloned(),
            donor: arguments.import.clone(),
            mode: if arguments.dry_run {
                RepairMode::Look
            } else {
                RepairMode::Repair
            },
        };
        match archive.repair(&options, &self.watch) {
            Ok(report) => self.report.add(report),
            Err(error) => {
                let failure = self.watch.failure(&error);
                if !matches!(error, RepairError::NotFound { .. }) {
                    return Err(failure);
                }
                self.code = exit::worst(self.code, failure.code);
                self.watch.context.output.failure(&failure);
            }
        }
        Ok(())
    }

    /// Shows what is left and the sums, and returns the exit code.
    fn finish(self, arguments: &Arguments, volumes: &Volumes) -> u8 {
        let Self {
            watch,
            stopwatch,
            report,
            code,
        } = self;
        let (context, output) = (watch.context, watch.context.output);
        drop(watch);
        let lost: Vec<&FileDamage> = report
            .damage
            .iter()
            .filter(|file| file.descriptor.is_none() && !file.lost.is_empty())
            .collect();
        for file in &lost {
            for range in &file.lost {
                let name = called(&file.name, file.kept_version);
                output.line(&format!("{name}: bytes {range} are lost"));
            }
        }
        let left: u64 = report.damage.iter().map(|file| file.damaged_shards).sum();
        let suggest = match (lost.first(), &arguments.import) {
            (Some(file), None) => vec![
                context.command("repair --import DIR", &[]),
                restore_partly(&file.name, file.kept_version, context),
            ],
            (Some(file), Some(_)) => vec![restore_partly(&file.name, file.kept_version, context)],
            (None, _) => Vec::new(),
        };
        output.json(&Summary {
            files_repaired: report.files_repaired,
            shards_repaired: report.shards_repaired,
            shards_found_whole: report.shards_found_whole,
            bytes_written: report.bytes_written,
            damaged_shards: left,
            files_lost: as_u64(lost.len()),
            lost: lost.iter().map(|file| Lost::of(file)).collect(),
            volumes_offline: report.offline.iter().map(ToString::to_string).collect(),
            dry_run: arguments.dry_run,
            suggest: suggest.clone(),
            seconds: stopwatch.seconds(),
        });
        let text = if arguments.dry_run {
            dry_text(&report, left)
        } else {
            summary_text(&report, left, stopwatch)
        };
        output.summary(&text);
        for command in &suggest {
            output.summary(&format!("  try: {command}"));
        }
        let code = exit::worst(code, volumes.warn_of_unread(&report.offline, context));
        exit::worst(code, code_of(&report))
    }
}

/// Returns the exit code for what a repair has left.
pub(super) fn code_of(report: &RepairReport) -> u8 {
    match (report.damage.is_empty(), report.files_lost()) {
        (true, _) => exit::SUCCESS,
        (false, 0) => exit::DAMAGED,
        (false, _) => exit::LOST,
    }
}

fn dry_text(report: &RepairReport, left: u64) -> String {
    let shards = text::count(report.shards_repaired, "damaged shard");
    let written = text::size(report.bytes_written);
    format!(
        "would repair {shards}, {written} to write; {} cannot be repaired from what is left",
        text::count(left, "damaged shard")
    )
}

fn summary_text(report: &RepairReport, left: u64, stopwatch: Stopwatch) -> String {
    if report.shards_repaired == 0 && left == 0 {
        return match report.shards_found_whole {
            0 => "nothing is known to be damaged".to_owned(),
            whole => format!(
                "{} found whole again, nothing else is known to be damaged",
                text::count(whole, "damaged shard")
            ),
        };
    }
    let found_whole = match report.shards_found_whole {
        0 => String::new(),
        whole => format!("; {} found whole again", text::count(whole, "shard")),
    };
    let repaired = format!(
        "{} of {} repaired, {} written in {}{found_whole}",
        text::count(report.shards_repaired, "shard"),
        text::count(report.files_repaired, "file"),
        text::size(report.bytes_written),
        text::duration(stopwatch.elapsed())
    );
    match (left, report.files_lost()) {
        (0, _) => repaired,
        (_, 0) => format!("{repaired}; {} left", text::count(left, "damaged shard")),
        (_, lost) => format!(
            "{repaired}; {} left; {} lost bytes",
            text::count(left, "damaged shard"),
            text::count(as_u64(lost), "file")
        ),
    }
}

impl Lost {
    fn of(file: &FileDamage) -> Self {
        let pair = |range: &ByteRange| (range.start(), range.end());
        Self {
            name: file.name.to_string(),
            kept_version: file.kept_version,
            ranges: file.lost.iter().map(pair).collect(),
        }
    }
}
