//! `compact`: gives room back that nobody needs.

use core::num::NonZeroU64;

use bfdb::{
    archive::{CompactOptions, CompactReport, Event, KeptRoom, KeptWhy, Observer, ScannedExtents},
    catalog::Access,
    plan::{Budget, RateLimit},
};
use serde::Serialize;

use crate::{
    arguments::{pace, values},
    context::Context,
    exit,
    failure::{Failure, of_moving},
    progress::{Progress, Stopwatch},
    text,
    volumes::Volumes,
};

/// Give room back that nobody needs any more
///
/// What was removed or replaced keeps its bytes until then. Extents in which nothing lives are removed, whole pages in which
/// nothing lives are given back where the file system can, and what lives in extents that are dead for the most part is written
/// anew, so that they can be removed too. Others may commit and read meanwhile. Interrupted, the same command goes on.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb compact\n  \
    bfdb compact -n                  say what would be given back\n  \
    bfdb compact --min-dead 101      write nothing anew, give back what costs nothing\n  \
    bfdb compact --budget 10G --rate 50M\n\n\
    Exit codes: 0 done, 3 the system refused to give something back, 5 or 4 damage stands in the way, 6 a volume is not there\n\
    or takes no writes, 130 interrupted.")]
pub(crate) struct Arguments {
    /// Bytes that may be written anew: with an optional suffix K, M, G or T (powers of 1024); any number unless given
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    budget: Option<u64>,
    /// From which share on of dead bytes what lives in an extent is written anew elsewhere; 101 for never
    #[arg(long, value_name = "PERCENT", default_value_t = 50, value_parser = clap::value_parser!(u32).range(0..=101))]
    min_dead: u32,
    /// Bytes a second that are written at most
    #[arg(long, value_name = "SIZE", value_parser = pace::rate)]
    rate: Option<NonZeroU64>,
    /// Give up what no file has in extents that a deep scan has found: bytes of files whose names are lost may be among it
    #[arg(long)]
    scanned: bool,
    /// Change nothing, say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    /// Holes and removed extents, without what was written anew.
    given_back_bytes: u64,
    hole_bytes: u64,
    dropped_extents: u64,
    dropped_bytes: u64,
    rewritten_shards: u64,
    rewritten_bytes: u64,
    /// Dead bytes that stay.
    kept_bytes: u64,
    kept: Vec<KeptLine>,
    dry_run: bool,
    suggest: Vec<String>,
    seconds: f64,
}

#[derive(Debug, Serialize)]
struct KeptLine {
    why: &'static str,
    extents: u64,
    bytes: u64,
}

struct Watch<'a>(Progress<'a>);

impl Observer for Watch<'_> {
    fn event(&self, event: Event<'_>) {
        self.0.event(event);
    }

    fn is_cancelled(&self) -> bool {
        self.0.is_cancelled()
    }
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let access = if arguments.dry_run {
        Access::Read
    } else {
        Access::Write
    };
    context.with_archive(access, |archive| {
        let volumes = Volumes::of_archive(archive, context)?;
        let options = CompactOptions {
            budget: Budget {
                bytes: arguments.budget,
                time: None,
            },
            min_dead_percent: arguments.min_dead,
            rate: arguments.rate.map(RateLimit::new),
            scanned: if arguments.scanned {
                ScannedExtents::GiveUp
            } else {
                ScannedExtents::Keep
            },
            is_dry_run: arguments.dry_run,
            ..CompactOptions::default()
        };
        let stopwatch = Stopwatch::start();
        let watch = Watch(context.progress("written", None));
        let report = archive.compact(&options, &watch);
        drop(watch);
        let report = report.map_err(|error| of_moving(&error, &volumes, context))?;
        let suggest = suggestions(&report, context);
        tell(&report, (arguments, &stopwatch), context);
        for command in &suggest {
            context.output.summary(&format!("  try: {command}"));
        }
        let code = code(&report);
        context.output.json(&Summary {
            given_back_bytes: report.given_back_bytes(),
            hole_bytes: report.hole_bytes,
            dropped_extents: report.dropped_extents,
            dropped_bytes: report.dropped_bytes,
            rewritten_shards: report.rewritten_shards,
            rewritten_bytes: report.rewritten_bytes,
            kept_bytes: report.kept.iter().map(|kept| kept.bytes).sum(),
            kept: report.kept.iter().map(KeptLine::of).collect(),
            dry_run: arguments.dry_run,
            suggest,
            seconds: stopwatch.seconds(),
        });
        Ok(code)
    })
}

fn tell(report: &CompactReport, (arguments, stopwatch): (&Arguments, &Stopwatch), context: &Context) {
    let (would, when) = if arguments.dry_run {
        ("would give back", String::new())
    } else {
        (
            "gave back",
            format!(" in {}", text::duration(stopwatch.elapsed())),
        )
    };
    context.output.summary(&format!(
        "{would} {}{when}: {} of holes, {} in {}, less {} written anew",
        text::size(report.given_back_bytes()),
        text::size(report.hole_bytes),
        text::size(report.dropped_bytes),
        text::count(report.dropped_extents, "extent"),
        text::size(report.rewritten_bytes)
    ));
    for kept in &report.kept {
        context.output.summary(&format!(
            "{} in {} stay: {}",
            text::size(kept.bytes),
            text::count(kept.extents, "extent"),
            in_words(kept.why)
        ));
    }
}

fn suggestions(report: &CompactReport, context: &Context) -> Vec<String> {
    let command = |kept: &KeptRoom| match kept.why {
        KeptWhy::InUse => Some("recover"),
        KeptWhy::OverBudget | KeptWhy::NoRoom | KeptWhy::Failed => Some("compact"),
        KeptWhy::Damaged => Some("repair"),
        KeptWhy::VolumeStale => Some("scrub --quick"),
        KeptWhy::VolumeMissing => Some("volume ls"),
        // What --scanned gives up nothing brings back: that is not for a hint to say.
        KeptWhy::Scanned | KeptWhy::Scattered | KeptWhy::SharedFile | KeptWhy::VolumeReadOnly | _ => None,
    };
    let mut commands: Vec<&str> = report.kept.iter().filter_map(command).collect();
    commands.dedup();
    commands
        .into_iter()
        .map(|command| context.command(command, &[]))
        .collect()
}

fn code(report: &CompactReport) -> u8 {
    let codes = report.kept.iter().map(|kept| match kept.why {
        KeptWhy::Failed => exit::PARTLY_DONE,
        KeptWhy::Damaged => exit::DAMAGED,
        KeptWhy::VolumeMissing | KeptWhy::VolumeReadOnly | KeptWhy::VolumeStale => exit::REDUCED,
        KeptWhy::Scattered
        | KeptWhy::InUse
        | KeptWhy::OverBudget
        | KeptWhy::NoRoom
        | KeptWhy::SharedFile
        | KeptWhy::Scanned
        | _ => exit::SUCCESS,
    });
    codes.fold(exit::SUCCESS, exit::worst)
}

impl KeptLine {
    fn of(kept: &KeptRoom) -> Self {
        Self {
            why: match kept.why {
                KeptWhy::Scattered => "scattered",
                KeptWhy::InUse => "in_use",
                KeptWhy::OverBudget => "over_budget",
                KeptWhy::NoRoom => "no_room",
                KeptWhy::SharedFile => "shared_file",
                KeptWhy::Damaged => "damaged",
                KeptWhy::Failed => "failed",
                KeptWhy::Scanned => "scanned",
                KeptWhy::VolumeMissing => "volume_missing",
                KeptWhy::VolumeReadOnly => "volume_read_only",
                KeptWhy::VolumeStale => "volume_stale",
                _ => "other",
            },
            extents: kept.extents,
            bytes: kept.bytes,
        }
    }
}

fn in_words(why: KeptWhy) -> &'static str {
    match why {
        KeptWhy::Scattered => "they lie between what is stored, and too few to write that anew (--min-dead)",
        KeptWhy::InUse => "a commit that is not done has these extents",
        KeptWhy::OverBudget => "the budget is used up",
        KeptWhy::NoRoom => "there is no room to write anew what lies beside them",
        KeptWhy::SharedFile => "these files have another name, in a backup made of hard links say",
        KeptWhy::Damaged => "what lies beside them cannot be read, nor made again",
        KeptWhy::Failed => "the system refused to give them back",
        KeptWhy::Scanned => {
            "a deep scan has found these extents, and bytes of files whose names are lost may be among them (--scanned)"
        }
        KeptWhy::VolumeMissing => "the volume is not there",
        KeptWhy::VolumeReadOnly => "the volume takes no writes",
        KeptWhy::VolumeStale => "the volume is an old copy",
        _ => "for another reason",
    }
}
