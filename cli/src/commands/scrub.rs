//! `scrub`: reads and verifies what is stored, in disk order.

use std::num::NonZeroU64;

use bfdb::{
    archive::{Archive, RepairOptions, RepairReport, ScrubDepth, ScrubOptions, ScrubSelection, Snapshot},
    error::CatalogError,
    host::{Clock as _, SystemClock},
    plan::{Budget, RateLimit},
};
use clap::ValueEnum;

use super::{
    repair::Watch,
    verify::{Inspection, Outcome},
};
use crate::{
    arguments::{
        pace::{ScrubBudget, budget, rate},
        values::{Age, age},
    },
    context::Context,
    exit,
    failure::Failure,
};

/// Read and verify everything that is stored
///
/// Reads every shard of every file once, parity included: what was never verified first, then what was verified longest ago,
/// in the order in which it lies on disk. What is found is remembered, and what was verified when: a scrub that ends early goes on
/// with the next one. Damage is listed shard by shard; where bytes are lost, exactly which.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb scrub\n  \
    bfdb scrub --repair                               and repair what is found\n  \
    bfdb scrub --deep                                 and trust no parity that it has not encoded itself\n  \
    bfdb scrub --budget 8%                            each night a part; all of it in two weeks\n  \
    bfdb scrub --older-than 30d --rate 100MiB/s       what was not read for a month, slowly\n  \
    bfdb scrub -q || mail -s 'archive damaged' me     speaks only of damage\n\n\
    Exit codes: 0 no damage, or all of it repaired, 4 every byte can still be read, 5 bytes are lost, 6 a volume is not\n\
    there, 7 the budget was used up (with --strict-budget).")]
pub(crate) struct Arguments {
    #[command(flatten)]
    depth: Depth,
    /// Repair what is found
    #[arg(long)]
    repair: bool,
    /// What to read: what was never verified, what is known to be damaged, or all
    #[arg(long, value_enum, default_value_t = Plan::All, conflicts_with = "older_than")]
    plan: Plan,
    /// Read only what was never verified, or last longer ago than AGE, such as 30d
    #[arg(long, value_name = "AGE", value_parser = age)]
    older_than: Option<Age>,
    /// End after so much: 5h, 2T (bytes with a suffix K, M, G or T) or 8% of what is stored
    #[arg(long, value_name = "MUCH", value_parser = budget, conflicts_with = "quick")]
    budget: Option<ScrubBudget>,
    /// Exit with 7 when the budget was used up before everything was read that was asked for
    #[arg(long, requires = "budget")]
    strict_budget: bool,
    /// Read at most so many bytes a second, such as 100M
    #[arg(long, value_name = "BYTES", value_parser = rate)]
    rate: Option<NonZeroU64>,
}

#[derive(Debug, clap::Args)]
#[group(multiple = false)]
struct Depth {
    /// Look only whether everything is there, and at headers; it does not count as verified
    #[arg(long)]
    quick: bool,
    /// Encode the parity of every block again and compare; without it of one block in 64, others each time
    ///
    /// Hashes bless what was encoded wrongly, by a core or a bit of memory that failed. Reads about twice as much.
    #[arg(long)]
    deep: bool,
}

/// What is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Plan {
    All,
    New,
    Bad,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    if arguments.plan == Plan::Bad && arguments.budget.is_some() {
        // What is known to be damaged has no order in which another scrub could go on.
        return Err(Failure::usage(
            "--plan bad reads what is known to be damaged, and takes no --budget",
        ));
    }
    context.with_archive_to_note(|archive| {
        let options = arguments.options(archive);
        let options = options.map_err(|error| context.catalog_failure(&error))?;
        let inspection = Inspection::begin(archive, Snapshot::frame_bytes, context)?;
        let mut outcome = Outcome::default();
        let report = archive.scrub_with(&options, &inspection);
        outcome.add(report.map_err(|error| inspection.failure(&error))?);
        if arguments.repair {
            outcome.repaired = Some(repair(archive, context)?);
        }
        let is_cut_short = outcome.report.is_cut_short;
        let code = inspection.finish(outcome);
        let is_strict = arguments.strict_budget && is_cut_short;
        Ok(if is_strict {
            exit::worst(code, exit::BUDGET_USED_UP)
        } else {
            code
        })
    })
}

fn repair(archive: &Archive, context: &Context) -> Result<RepairReport, Failure> {
    let watch = Watch::begin(context);
    let report = archive.repair(&RepairOptions::default(), &watch);
    report.map_err(|error| watch.failure(&error))
}

impl Arguments {
    fn options(&self, archive: &Archive) -> Result<ScrubOptions, CatalogError> {
        let selection = match (self.older_than, self.plan) {
            (Some(age), _) => ScrubSelection::OlderThan(age.before(SystemClock.now())),
            (None, Plan::All) => ScrubSelection::All,
            (None, Plan::New) => ScrubSelection::New,
            (None, Plan::Bad) => ScrubSelection::Damaged,
        };
        let budget = match self.budget {
            None => Budget::UNLIMITED,
            Some(ScrubBudget::Bytes(bytes)) => Budget {
                bytes: Some(bytes),
                ..Budget::UNLIMITED
            },
            Some(ScrubBudget::Time(time)) => Budget {
                time: Some(time),
                ..Budget::UNLIMITED
            },
            Some(ScrubBudget::Percent(percent)) => {
                Budget::of_percent(percent, archive.snapshot()?.frame_bytes()?)
            }
        };
        Ok(ScrubOptions {
            depth: match (self.depth.quick, self.depth.deep) {
                (true, _) => ScrubDepth::Quick,
                (false, true) => ScrubDepth::Deep,
                (false, false) => ScrubDepth::Full,
            },
            selection,
            budget,
            rate: self.rate.map(RateLimit::new),
        })
    }
}
