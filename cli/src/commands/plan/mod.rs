//! `plan`: what a commit would do, from lengths alone.

mod room;
mod target;
mod tiers;
mod words;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use bfdb::{
    catalog::{Access, EntryKind},
    error::{FileKind, OpenError},
    geometry::{FileGeometry, Policy, Tier},
    host::{Place, TreeEntry, TreeWalk, Walked},
    plan::{FailureRateParts, FailureRates, FailureRatesError},
};
use serde::Serialize;

use self::{
    target::Target,
    tiers::{TierLine, TierSums, overhead},
};
use super::{
    commit::reason::{of_host, of_skipped_root},
    disks::warn_of_sources,
    entry::Counts,
};
use crate::{
    arguments::values::{self, Age},
    context::Context,
    exit,
    failure::Failure,
    text,
};

/// Say what a commit would take, what may be lost of it then, and how likely that is
///
/// Walks every PATH and looks at lengths; no content is read, nothing is made or changed, and names that are taken are not compared. It
/// is planned for the volumes of the archive as they are now; where there is no archive, for a new one on as many as --volume names.
///
/// The odds are those of the longest file of each tier within a year, by a model that leaves out fire, theft, mistakes, and several
/// volumes on one disk. Compare with them, and take them for no promise.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb plan ~/photos                               on the archive as it is\n  \
    bfdb plan ~/photos -a new --volume a --volume b  on a new one with two volumes\n  \
    bfdb plan ~/photos --volume-failures 5 --replacement 30d --leaf-failures 0.01\n\n\
    Exit codes: 0 all was looked at, 3 some was, 1 nothing was.")]
pub(crate) struct Arguments {
    /// What would be stored
    #[arg(value_name = "PATH", required = true)]
    paths: Vec<PathBuf>,
    /// How many percent of volumes fail within a year; unless given, what Backblaze reported of its disks at the end of 2021
    #[arg(long, value_name = "PERCENT", default_value = "1.4", value_parser = values::percent)]
    volume_failures: f64,
    /// How long it takes on average until a lost volume is rebuilt on another one
    #[arg(long, value_name = "AGE", default_value = "7d", value_parser = values::age)]
    replacement: Age,
    /// How many percent of stored leaves (64 KiB) go bad within a year; nobody publishes that, and unless given only volumes are counted
    #[arg(long, value_name = "PERCENT", value_parser = values::percent)]
    leaf_failures: Option<f64>,
    /// How long after a scrub that repairs the next one comes; counts with --leaf-failures
    #[arg(long, value_name = "AGE", default_value = "30d", value_parser = values::age)]
    scrub_every: Age,
}

/// What was found.
struct Found<'a> {
    context: &'a Context<'a>,
    policy: Policy,
    tiers: Vec<TierSums>,
    counts: Counts,
    skipped: u64,
    failed: u64,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    #[serde(flatten)]
    counts: Counts,
    skipped: u64,
    failed: u64,
    bytes: u64,
    stored_bytes: u64,
    overhead: Option<f64>,
    volumes: u16,
    free_bytes: u64,
    fits: bool,
    volume_failures_percent: f64,
    replacement_seconds: u64,
    /// Null where leaves are not counted.
    leaf_failures_percent: Option<f64>,
    scrub_every_seconds: u64,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let rates = arguments.rates()?;
    if arguments.paths.iter().any(|path| path == Path::new("-")) {
        let message = "nothing is read for a plan, so standard input has no length (a file named - is ./-)";
        return Err(Failure::usage(message));
    }
    match context.try_open(Access::Read) {
        Ok(archive) => context.finish(archive, |archive| {
            let target = Target::of_archive(archive, context)?;
            arguments.plan((&target, &rates), context)
        }),
        Err(OpenError::NotFound { .. }) => {
            let target = Target::of_new(context)?;
            arguments.plan((&target, &rates), context)
        }
        Err(error) => Err(context.open_failure(&error)),
    }
}

impl Arguments {
    fn rates(&self) -> Result<FailureRates, Failure> {
        let days = |age: Age| Duration::from_secs(age.seconds()).as_secs_f64() / 86_400.0;
        let parts = FailureRateParts {
            volume_per_year: self.volume_failures / 100.0,
            replacement_days: days(self.replacement),
            leaf_per_year: self.leaf_failures.unwrap_or(0.0) / 100.0,
            scrub_days: days(self.scrub_every),
        };
        FailureRates::new(parts).map_err(|error| {
            Failure::usage(match error {
                FailureRatesError::VolumePerYear { .. } => {
                    "--volume-failures is above 0 and below 100 percent a year".to_owned()
                }
                FailureRatesError::LeafPerYear { .. } => {
                    "--leaf-failures is 0 or more and below 100 percent a year".to_owned()
                }
                FailureRatesError::ReplacementDays { .. } => "--replacement is an hour or more".to_owned(),
                FailureRatesError::ScrubDays { .. } => "--scrub-every is an hour or more".to_owned(),
                error => error.to_string(),
            })
        })
    }

    fn plan(&self, (target, rates): (&Target, &FailureRates), context: &Context) -> Result<u8, Failure> {
        let found = Found::of(&self.paths, target, context)?;
        let with_files: Vec<&TierSums> = found.tiers.iter().filter(|tier| tier.files > 0).collect();
        for sums in with_files {
            let tolerance = target
                .tolerances
                .iter()
                .find(|tolerance| tolerance.tier == sums.tier);
            let tolerance = tolerance.expect("every tier has a tolerance");
            let line = TierLine::of(sums, tolerance, (target.volumes, rates));
            context.output.json(&line);
            for line in line.lines() {
                context.output.line(&line);
            }
        }
        let tiers = (target.tolerances.iter()).filter(|tolerance| found.has_files_of(tolerance.tier));
        if let Some(survived) = tiers.map(|tolerance| tolerance.now.volumes).min() {
            warn_of_sources(&self.paths, (&target.places, survived), context);
        }
        let summary = self.summary(&found, target);
        context.output.json(&summary);
        context.output.line(&words::row("model", &self.model_in_words()));
        context.output.line(&words::row("total", &summary.in_words()));
        Ok(found.code())
    }

    fn summary(&self, found: &Found, target: &Target) -> Summary {
        let sum = |of: fn(&TierSums) -> u64| found.tiers.iter().map(of).fold(0, u64::saturating_add);
        let (bytes, stored_bytes) = (sum(|tier| tier.bytes), sum(|tier| tier.stored_bytes));
        Summary {
            counts: found.counts,
            skipped: found.skipped,
            failed: found.failed,
            bytes,
            stored_bytes,
            overhead: overhead(bytes, stored_bytes),
            volumes: target.volumes,
            free_bytes: target.room.free_bytes(),
            fits: target.room.fits(&found.tiers),
            volume_failures_percent: self.volume_failures,
            replacement_seconds: self.replacement.seconds(),
            leaf_failures_percent: self.leaf_failures,
            scrub_every_seconds: self.scrub_every.seconds(),
        }
    }

    /// Says what the odds are made of.
    fn model_in_words(&self) -> String {
        let volumes = format!(
            "{} % of volumes fail a year, each is replaced within {} on average",
            self.volume_failures,
            words::age(self.replacement)
        );
        let leaves = match self.leaf_failures {
            Some(percent) => {
                let every = words::age(self.scrub_every);
                format!("{percent} % of leaves go bad a year, a scrub repairs them every {every}")
            }
            None => "only volumes are counted: --leaf-failures PERCENT counts bad leaves too".to_owned(),
        };
        format!("{volumes}; {leaves}")
    }
}

impl<'a> Found<'a> {
    /// Walks everything that was asked for.
    fn of(paths: &[PathBuf], target: &Target, context: &'a Context<'a>) -> Result<Self, Failure> {
        let policy = target.policy;
        let mut found = Self {
            context,
            policy,
            tiers: (policy.tiers())
                .map(|tier| TierSums::new(tier, policy.shape(tier)))
                .collect(),
            counts: Counts::default(),
            skipped: 0,
            failed: 0,
        };
        let progress = context.progress("looked at", None);
        for root in paths {
            let walk = TreeWalk::new(Place::of_path(root), target.own.clone(), |_: &TreeEntry| true);
            for walked in walk {
                context.check_interrupt()?;
                found.take(root, walked);
                progress.add_entry();
            }
        }
        Ok(found)
    }

    fn take(&mut self, root: &Path, walked: Walked) {
        match walked {
            Walked::Entry(entry) => self.add(&entry),
            Walked::Skipped { path, why } if path == root => self.fail(&of_skipped_root(&path, why)),
            Walked::Skipped { path, why } => {
                self.skipped += 1;
                self.context.output.skipped(&path, &why.to_string());
            }
            Walked::Failed { error, .. } => self.fail(&of_host(&error)),
        }
    }

    fn add(&mut self, entry: &TreeEntry) {
        // A walk has nothing else to store.
        let kind = if entry.kind == FileKind::Directory {
            EntryKind::Directory
        } else if entry.kind == FileKind::SymbolicLink {
            EntryKind::SymbolicLink {
                target: Box::default(),
            }
        } else {
            EntryKind::File
        };
        if kind == EntryKind::File {
            let len_bytes = match entry.place.inspect() {
                Ok((_, identity)) => identity.len_bytes,
                Err(error) => return self.fail(&of_host(&error)),
            };
            let geometry = FileGeometry::new(len_bytes, &self.policy);
            let of_tier = self.tiers.iter_mut().find(|sums| sums.tier == geometry.tier());
            of_tier.expect("every tier has sums").add(&geometry);
        }
        self.counts.add(&kind);
    }

    fn has_files_of(&self, tier: Tier) -> bool {
        self.tiers.iter().any(|sums| sums.tier == tier && sums.files > 0)
    }

    fn fail(&mut self, failure: &Failure) {
        self.failed += 1;
        self.context.output.failure(failure);
    }

    fn code(&self) -> u8 {
        match (self.failed, self.counts.total()) {
            (0, _) => exit::SUCCESS,
            (_, 0) => exit::FAILED,
            _ => exit::PARTLY_DONE,
        }
    }
}

impl Summary {
    fn in_words(&self) -> String {
        let size = words::sizes(self.bytes, self.stored_bytes, self.overhead);
        let fits = if self.fits { "it fits" } else { "it does not fit" };
        let (free, volumes) = (
            text::size(self.free_bytes),
            text::count(u64::from(self.volumes), "volume"),
        );
        format!(
            "{}, {size}; {fits} on {volumes} with {free} free",
            self.counts.in_words()
        )
    }
}
