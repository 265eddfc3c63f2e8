//! `health`: lists how files are, as far as the catalog knows.

use std::collections::BTreeSet;

use bfdb::{
    archive::{Archive, FileHealth, HealthClass, HealthQuery, HealthState},
    catalog::Access,
    geometry::Tier,
    units::{FileName, VolumeId},
};
use clap::ValueEnum;
use serde::Serialize;

use super::entry::{called, kept_version, state_name};
use crate::{
    arguments::{
        values::{self, Age},
        volumes::{VolumeName, volume_parser},
    },
    context::Context,
    exit,
    failure::{Failure, Meaning},
    text,
    volumes::Volumes,
};

/// List how files are
///
/// State, damaged shards, how many more the worst column may lose, and when all of a file was verified last, of the files that
/// every option lets through. The catalog is asked, no file data is read: what it knows comes from scrubs.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb health --state degraded --state lost\n  \
    bfdb health --margin-at-most 1           files that may lose one more shard, or none\n  \
    bfdb health --not-verified-since 30d photos\n\n\
    Exit codes, about the files that are listed: 0 none is damaged, 4 every byte can still be read, 5 bytes are lost; 6 a volume is\n\
    not there.")]
pub(crate) struct Arguments {
    /// Name of a file, or a directory above files
    #[arg(value_parser = values::name_parser())]
    prefix: Option<FileName>,
    /// Files of this state; several may be given. `unverified` are those with bytes that were not read back since the commit,
    /// whatever their state
    #[arg(long = "state", value_name = "STATE")]
    states: Vec<State>,
    /// Files of this tier: 1, 2 or 3; several may be given
    #[arg(long = "tier", value_name = "TIER", value_parser = values::tier)]
    tiers: Vec<Tier>,
    /// Files whose worst column may lose at most so many more shards
    #[arg(long, value_name = "N")]
    margin_at_most: Option<u16>,
    /// Files with bytes that were not verified for so long, or never: 30d, 12h
    #[arg(long, value_name = "AGE", value_parser = values::age)]
    not_verified_since: Option<Age>,
    /// Files with a frame on this volume: its number, its id or its directory
    #[arg(long, value_name = "VOLUME", value_parser = volume_parser())]
    on_volume: Option<VolumeName>,
    /// Lists no more than so many files
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

/// What may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum State {
    Healthy,
    Degraded,
    Lost,
    Unverified,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "file")]
struct Line {
    name: String,
    /// There for a kept version only.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_version: Option<u32>,
    length: u64,
    tier: u8,
    state: &'static str,
    unverified: bool,
    damaged_shards: u64,
    margin: u16,
    lost_bytes: u64,
    damaged_since: Option<String>,
    last_verified: Option<String>,
}

#[derive(Debug, Default, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    files: u64,
    healthy: u64,
    degraded: u64,
    lost: u64,
    unverified: u64,
    bytes: u64,
    stored_bytes: u64,
    /// Whether all files are listed that were asked for.
    complete: bool,
}

pub(crate) fn run(arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive(Access::Read, |archive| list(archive, arguments, context))
}

fn list(archive: &Archive, arguments: &Arguments, context: &Context) -> Result<u8, Failure> {
    let unreadable = |error| context.catalog_failure(&error);
    let snapshot = archive.snapshot().map_err(unreadable)?;
    let volumes = Volumes::of(&snapshot, context).map_err(unreadable)?;
    let on_volume = match &arguments.on_volume {
        Some(name) => Some(volumes.find(name, context)?.id),
        None => None,
    };
    volumes.warn_of_away("what is on it counts as it was when it was seen last", context);
    let mut summary = Summary {
        complete: true,
        ..Summary::default()
    };
    for health in snapshot.health(&arguments.query(on_volume)) {
        context.check_interrupt()?;
        let health = health.map_err(unreadable)?;
        if arguments.limit.is_some_and(|limit| summary.files >= limit) {
            summary.complete = false;
            break;
        }
        summary.add(&health);
        context.output.json(&Line::of(&health));
        context.output.line(&line_for_people(&health));
        if context.output.is_closed() {
            return Ok(exit::worst(summary.code(), volumes.code()));
        }
    }
    if let Some(prefix) = &arguments.prefix
        && summary.files == 0
        && snapshot.files(Some(prefix)).next().is_none()
    {
        let message = format!("no file named {prefix} in this archive, nor anything below it");
        let failure = Failure::new(exit::NO_SUCH_NAME, message);
        return Err(context.explain(failure, Meaning::NoSuchName));
    }
    context.output.json(&summary);
    context.output.summary(&summary.in_words());
    Ok(exit::worst(summary.code(), volumes.code()))
}

impl Arguments {
    fn query(&self, volume: Option<VolumeId>) -> HealthQuery {
        HealthQuery {
            classes: self.states.iter().map(|state| state.class()).collect(),
            tiers: self.tiers.iter().copied().collect::<BTreeSet<Tier>>(),
            margin_at_most: self.margin_at_most,
            not_verified_since: self.not_verified_since.map(|age| age.before(text::now())),
            volume,
            prefix: self.prefix.clone(),
            looks_up_last_verified: true,
        }
    }
}

impl State {
    const fn class(self) -> HealthClass {
        match self {
            Self::Healthy => HealthClass::State(HealthState::Healthy),
            Self::Degraded => HealthClass::State(HealthState::Degraded),
            Self::Lost => HealthClass::State(HealthState::Lost),
            Self::Unverified => HealthClass::Unverified,
        }
    }
}

impl Line {
    fn of(health: &FileHealth) -> Self {
        Self {
            name: health.file.name.to_string(),
            kept_version: kept_version(&health.file),
            length: health.file.len_bytes,
            tier: health.file.tier.number(),
            state: state_name(health.state),
            unverified: health.is_unverified,
            damaged_shards: health.damaged_shards,
            margin: health.margin,
            lost_bytes: health.lost_bytes,
            damaged_since: health.since.and_then(text::rfc3339),
            last_verified: health.last_verified.and_then(text::rfc3339),
        }
    }
}

impl Summary {
    fn add(&mut self, health: &FileHealth) {
        self.files += 1;
        *match health.state {
            HealthState::Healthy => &mut self.healthy,
            HealthState::Degraded => &mut self.degraded,
            HealthState::Lost => &mut self.lost,
        } += 1;
        self.unverified += u64::from(health.is_unverified);
        self.bytes += health.file.len_bytes;
        self.stored_bytes += health.file.stored_bytes;
    }

    const fn code(&self) -> u8 {
        match (self.lost, self.degraded) {
            (0, 0) => exit::SUCCESS,
            (0, _) => exit::DAMAGED,
            _ => exit::LOST,
        }
    }

    fn in_words(&self) -> String {
        let more = if self.complete {
            ""
        } else {
            "; more than these were asked for"
        };
        format!(
            "{}: {} healthy, {} degraded, {} lost; {} unverified{more}",
            text::count(self.files, "file"),
            self.healthy,
            self.degraded,
            self.lost,
            self.unverified
        )
    }
}

/// Columns of fixed width, so that a listing of any length needs no memory.
fn line_for_people(health: &FileHealth) -> String {
    let verified = match health.last_verified {
        Some(at) => text::time(at),
        None if health.file.len_bytes == 0 => "-".to_owned(),
        None => "never".to_owned(),
    };
    format!(
        "{:<8}  tier {}  {:>6} damaged  margin {:>3}  verified {verified:<20}  {}",
        state_name(health.state),
        health.file.tier,
        health.damaged_shards,
        health.margin,
        called(&health.file.name, kept_version(&health.file))
    )
}
