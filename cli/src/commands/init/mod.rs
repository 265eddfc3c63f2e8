//! `init`: makes an archive.

mod promise;

use std::path::PathBuf;

use bfdb::{
    archive::Archive,
    geometry::{Grouping, Policy, PolicyParts, SurvivalError, Tier},
    units::CodeShape,
};
use serde::Serialize;

use self::promise::TierPromise;
pub(super) use self::promise::{places, survived};
use super::disks::warn_of_disks;
use crate::{
    arguments::volumes::{GroupedCode, grouped_code, shape},
    context::Context,
    exit,
    failure::Failure,
    output::Output,
    text,
    volumes::Volumes,
};

/// Make an archive
///
/// Makes an archive in a directory that is absent or empty. There is no need to: `commit` makes one where none is. With --volume
/// it lies on several volumes, best a disk each, and may lose as many of them as it says; which code each tier has is fixed for good.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb init                         make ./archive.bfdb\n  \
    bfdb init -a /mnt/disk/photos     make /mnt/disk/photos\n  \
    bfdb init --volume /mnt/a/bfdb --volume /mnt/b/bfdb --volume /mnt/c/bfdb --survive-volumes 1\n                                    \
    on three disks, any one of which may die\n  \
    bfdb init -n                      say what would be made")]
pub(crate) struct Arguments {
    /// How many volumes may be lost, whichever they are, without a byte being lost: picks a code for every tier that gives that
    #[arg(long, value_name = "F")]
    survive_volumes: Option<u16>,
    /// Code of files below 10 MB: K shards of data and M of parity, any M of which may be lost
    #[arg(long, value_name = "K+M", value_parser = shape)]
    tier1: Option<CodeShape>,
    /// Code of files of 10 MB and more, below 1 GB
    #[arg(long, value_name = "K+M", value_parser = shape)]
    tier2: Option<CodeShape>,
    /// Code of files of 1 GB and more, below 10 GB
    #[arg(long, value_name = "K+M", value_parser = shape)]
    tier3: Option<CodeShape>,
    /// Code of files of 10 GB and more: of each block, and P parity blocks (1 to 10) for each group of blocks, any P of which may be lost
    #[arg(long, value_name = "K+M/P", value_parser = grouped_code)]
    tier4: Option<GroupedCode>,
    /// Change nothing, say what would be done
    #[arg(short = 'n', long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    path: String,
    archive: Option<String>,
    volumes: Vec<String>,
    survive_volumes: u16,
    tiers: Vec<TierPromise>,
    dry_run: bool,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let policy = arguments.policy(context)?;
    let path = context.archive_text();
    if arguments.dry_run {
        context.check_creation(policy)?;
        context.output.line(&format!("would make an archive at {path}"));
        let volumes = places(context);
        tell(&policy, (None, &volumes), context);
        arguments.note_what_is_not_survived(&policy, volumes.len(), context);
        warn_of_disks(&volumes, policy.survive_volumes(), context);
        return Ok(exit::SUCCESS);
    }
    let archive = context.create(policy)?;
    let id = archive.id().to_string();
    context.finish(archive, |archive: &Archive| {
        let volumes = Volumes::of_archive(archive, context)?;
        let volumes: Vec<_> = volumes.in_use().map(|volume| volumes.path(volume)).collect();
        context.output.summary(&format!("made archive {id} at {path}"));
        tell(&policy, (Some(id), &volumes), context);
        arguments.note_what_is_not_survived(&policy, volumes.len(), context);
        warn_of_disks(&volumes, policy.survive_volumes(), context);
        Ok(exit::SUCCESS)
    })
}

/// Tells what is made: on which volumes, with which codes, and what may be lost of it.
fn tell(policy: &Policy, (id, volumes): (Option<String>, &[PathBuf]), context: &Context) {
    let count = u16::try_from(volumes.len()).unwrap_or(u16::MAX);
    let tiers: Vec<TierPromise> = policy
        .tiers()
        .map(|tier| TierPromise::of(tier, policy, count))
        .collect();
    let output: &Output = context.output;
    for (number, volume) in volumes.iter().enumerate() {
        output.summary(&format!("volume {number}  {}", text::path(volume)));
    }
    for tier in &tiers {
        output.summary(&tier.in_words(count));
    }
    output.json(&Summary {
        path: context.archive_text(),
        dry_run: id.is_none(),
        archive: id,
        volumes: volumes.iter().map(|volume| text::path(volume)).collect(),
        survive_volumes: policy.survive_volumes(),
        tiers,
    });
}

impl Arguments {
    /// Returns the policy that is asked for: codes that are given stay what they are, others are picked.
    fn policy(&self, context: &Context) -> Result<Policy, Failure> {
        let defaults = PolicyParts::default();
        let given = [
            (Tier::Tiny, self.tier1),
            (Tier::Segmented, self.tier2),
            (Tier::Blocked, self.tier3),
            (Tier::Grouped, self.tier4.map(|code| code.shape)),
        ];
        let survive = self.survive_volumes.unwrap_or(0);
        let volumes = u16::try_from(context.volumes().len().max(1)).unwrap_or(u16::MAX);
        let grouped = match self.tier4 {
            Some(code) => Grouping::choose(
                code.shape,
                code.outer_parity,
                (defaults.leaf, defaults.blocked_below_bytes),
            )
            .map_err(|error| {
                let way_out = context.command("init --tier4 30+3/3", &[]);
                Failure::new(exit::FAILED, format!("tier 4: {error}")).suggest(way_out)
            })?,
            None => defaults.grouped,
        };
        let parts = PolicyParts {
            tiny_shape: self.tier1.unwrap_or(defaults.tiny_shape),
            segmented_shape: self.tier2.unwrap_or(defaults.segmented_shape),
            blocked_shape: self.tier3.unwrap_or(defaults.blocked_shape),
            grouped,
            survive_volumes: survive,
            ..defaults
        };
        let refused = |error: SurvivalError| {
            Failure::new(exit::FAILED, error.to_string()).suggest(self.way_out(&error, context))
        };
        let as_given = Policy::new(parts).map_err(|error| refused(error.into()))?;
        for (tier, shape) in given {
            if shape.is_some() {
                as_given.check_survival(tier, volumes).map_err(refused)?;
            }
        }
        Policy::surviving(parts, volumes, survive).map_err(refused)
    }

    /// Says once more what the numbers say, where several volumes may seem to promise more.
    fn note_what_is_not_survived(&self, policy: &Policy, volumes: usize, context: &Context) {
        let count = u16::try_from(volumes).unwrap_or(u16::MAX);
        let fragile = policy.tiers().find(|&tier| survived(tier, policy, count) == 0);
        if let (None, Some(tier)) = (self.survive_volumes, fragile)
            && count > 1
        {
            context.output.note(&format!(
                "files of tier {tier} are lost with the volume that they lie on; with --survive-volumes 1 none is"
            ));
        }
    }

    /// Says what to ask for where what was cannot be had.
    fn way_out(&self, error: &SurvivalError, context: &Context) -> String {
        match error {
            SurvivalError::NoCode { .. } if context.volumes().len() < 2 => {
                context.command("init --volume DIR --volume DIR --survive-volumes 1", &[])
            }
            SurvivalError::NoCode { .. } => {
                let most = context.volumes().len() - 1;
                context.command(&format!("init --survive-volumes {most}"), &[])
            }
            SurvivalError::FallsShort { .. } => {
                let survive = self.survive_volumes.unwrap_or(0);
                context.command(&format!("init --survive-volumes {survive}"), &[])
            }
            SurvivalError::Policy(_) | _ => context.command("init --help", &[]),
        }
    }
}
