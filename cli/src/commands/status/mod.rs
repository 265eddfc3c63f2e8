//! `status`: one screen about the archive.

mod lines;

use bfdb::{
    archive::{
        Archive, ArchiveHealth, FileHealth, HealthClass, HealthQuery, HealthState, Snapshot, TierTolerance,
        UnfinishedCommit, VerificationAges, VolumeSpace,
    },
    catalog::{Access, Totals},
    error::CatalogError,
    units::FileName,
};
use serde::Serialize;

use super::{
    damage::as_u64,
    entry::{called, kept_version, restore_partly, state_name},
    tolerance::{self, ToleranceFields},
    volume,
};
use crate::{
    context::Context,
    exit,
    failure::{Failure, commit_error, read_error},
    text,
    volumes::{VolumeLine, Volumes, in_words},
};

/// Dead bytes from which on compacting is suggested.
const WORTH_COMPACTING_BYTES: u64 = 64 << 20;

/// Damaged files that are named; `health` names all of them.
const NAMED_FILES: usize = 5;

/// Show the state of the archive
///
/// What is known to be damaged, when bytes were verified, files, volumes, tolerance and the next command to type. The catalog
/// is asked, no file data is read: `healthy` means that nothing is known to be damaged, and `scrub` is how one comes to know.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  \
    bfdb status\n  \
    bfdb status --json               one JSON object\n\n\
    Exit codes: 0 nothing is known to be damaged, 4 every byte can still be read, 5 bytes are lost, 6 a volume is\n\
    not there, and nothing is known to be damaged.")]
pub(crate) struct Arguments {}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Status {
    archive: String,
    path: String,
    state: &'static str,
    healthy: u64,
    degraded: u64,
    lost: u64,
    unverified: u64,
    damaged_shards: u64,
    /// Of what commits have written about their files.
    damaged_descriptors: u64,
    lost_descriptors: u64,
    /// Some of the files that are damaged, those with lost bytes first.
    affected: Vec<Affected>,
    /// Bytes on the volumes, by when they were read back.
    verification: Verification,
    files: u64,
    directories: u64,
    symlinks: u64,
    bytes: u64,
    stored_bytes: u64,
    /// Versions of files and links that were replaced; not among the files and bytes above.
    kept_versions: u64,
    kept_bytes: u64,
    kept_stored_bytes: u64,
    /// What is stored beyond the bytes of the files, as a share of them.
    overhead: Option<f64>,
    tolerance: Vec<Tolerance>,
    volumes: Vec<VolumeLine>,
    /// In which state the bytes of the volumes are.
    space: Space,
    /// How many of them new files go to.
    volumes_for_files: u16,
    /// What is wrong with those that are not as they should be.
    #[serde(skip)]
    reduced: Vec<String>,
    /// Commits that were interrupted and wait.
    pending_commits: u64,
    /// Bytes of their files.
    pending_bytes: u64,
    /// Bytes of these that are stored already.
    pending_done_bytes: u64,
    /// Commits that a process works on.
    running_commits: u64,
    suggest: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Tolerance {
    tier: u8,
    files: u64,
    bytes: u64,
    data_shards: u16,
    parity_shards: u16,
    /// Shards of each block that may be lost; the same number as `segments`.
    shards: u16,
    /// What may be lost of what is stored now; what is stored already may lie on other volumes.
    #[serde(flatten)]
    now: ToleranceFields,
    /// How many volumes may be lost when all of them are there.
    volumes_full: u16,
    #[serde(skip)]
    in_words: String,
}

#[derive(Debug, Default, Serialize)]
#[expect(
    clippy::struct_field_names,
    reason = "they are names of the JSON object, which say their unit"
)]
struct Space {
    live_bytes: u64,
    overhead_bytes: u64,
    /// What nothing lives in and the extents still take.
    dead_bytes: u64,
    /// What nothing lives in and was given back already.
    freed_bytes: u64,
    /// What commits have taken that are not done.
    reserved_bytes: u64,
    /// In extents that nobody knows.
    unknown_bytes: u64,
    free_bytes: u64,
    /// What `compact` gives back at most.
    reclaimable_bytes: u64,
}

#[derive(Debug, Serialize)]
struct Affected {
    name: String,
    /// There for a kept version only.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_version: Option<u32>,
    #[serde(skip)]
    called: String,
    state: &'static str,
    damaged_shards: u64,
    lost_bytes: u64,
    damaged_since: Option<String>,
}

#[derive(Debug, Serialize)]
struct Verification {
    never: u64,
    under_a_day: u64,
    under_a_week: u64,
    under_a_month: u64,
    under_three_months: u64,
    older: u64,
}

pub(crate) fn run(_: &Arguments, context: &Context) -> Result<u8, Failure> {
    context.with_archive(Access::Read, |archive| {
        let unreadable = |error| context.catalog_failure(&error);
        let snapshot = archive.snapshot().map_err(unreadable)?;
        let tolerances = snapshot.tolerances();
        let tolerances = tolerances.map_err(|error| context.failure(&error, read_error(&error)))?;
        let status = Status::of(archive, &snapshot, (&tolerances, context));
        let mut status = status.map_err(unreadable)?;
        let unfinished = archive.unfinished();
        let unfinished = unfinished.map_err(|error| context.failure(&error, commit_error(&error)))?;
        status.add_unfinished(&unfinished, context);
        context.output.json(&status);
        for line in status.lines() {
            context.output.line(&line);
        }
        Ok(status.code())
    })
}

impl Status {
    fn of(
        archive: &Archive,
        snapshot: &Snapshot,
        (tolerances, context): (&[TierTolerance], &Context),
    ) -> Result<Self, CatalogError> {
        let health = snapshot.health_totals()?;
        let (totals, known) = (health.stored, health.known);
        let ages = snapshot.verification_ages(text::now())?;
        let affected = affected(snapshot)?;
        let volumes = Volumes::of(snapshot, context)?;
        let for_files = u16::try_from(volumes.for_files().count()).unwrap_or(u16::MAX);
        let is_reduced = volumes.code() != exit::SUCCESS;
        let space = Space::of(&snapshot.space()?);
        Ok(Self {
            archive: archive.id().to_string(),
            path: context.archive_text(),
            state: match health.state() {
                HealthState::Healthy if is_reduced => "reduced",
                state @ (HealthState::Healthy | HealthState::Degraded | HealthState::Lost) => {
                    state_name(state)
                }
            },
            volumes_for_files: for_files,
            reduced: volumes
                .reduced()
                .map(|volume| format!("{} {}", volumes.label(volume), in_words(volume)))
                .collect(),
            healthy: health.healthy_files(),
            degraded: known.degraded_files,
            lost: known.lost_files,
            unverified: known.unverified_files,
            damaged_shards: known.damaged_shards,
            damaged_descriptors: known.damaged_descriptors,
            lost_descriptors: known.lost_descriptors,
            verification: Verification::of(&ages),
            suggest: volume::suggestions(&volumes, context)
                .into_iter()
                .chain(suggestions(&health, &ages, &affected, context))
                .chain(space.suggestion(context))
                .collect(),
            space,
            affected: affected.iter().map(Affected::of).collect(),
            files: totals.files,
            directories: totals.directories,
            symlinks: totals.symbolic_links,
            bytes: totals.bytes,
            stored_bytes: totals.stored_bytes,
            kept_versions: totals.kept.versions(),
            kept_bytes: totals.kept.bytes,
            kept_stored_bytes: totals.kept.stored_bytes,
            overhead: overhead(&totals),
            tolerance: (tolerances.iter())
                .map(|tier| Tolerance::of(tier, &totals))
                .collect(),
            volumes: (volumes.in_use())
                .map(|volume| VolumeLine::of(volume, &volumes))
                .collect(),
            pending_commits: 0,
            pending_bytes: 0,
            pending_done_bytes: 0,
            running_commits: 0,
        })
    }

    /// Adds the commits that are not done; that some wait comes before everything else.
    fn add_unfinished(&mut self, unfinished: &[UnfinishedCommit], context: &Context) {
        for commit in unfinished {
            if commit.is_running {
                self.running_commits += 1;
                continue;
            }
            self.pending_commits += 1;
            if let Some(file) = &commit.resumable {
                self.pending_bytes += file.len_bytes;
                self.pending_done_bytes += file.done_bytes;
            }
        }
        if self.pending_commits > 0 {
            let command = if self.pending_bytes > 0 {
                "recover --resume"
            } else {
                "recover"
            };
            self.suggest.insert(0, context.command(command, &[]));
        }
    }

    fn code(&self) -> u8 {
        match (self.lost, self.damaged_shards) {
            (0, 0) if self.reduced.is_empty() => exit::SUCCESS,
            (0, 0) => exit::REDUCED,
            (0, _) => exit::DAMAGED,
            _ => exit::LOST,
        }
    }
}

/// Returns some damaged files, those that have lost bytes first.
fn affected(snapshot: &Snapshot) -> Result<Vec<FileHealth>, CatalogError> {
    let mut affected = Vec::new();
    for state in [HealthState::Lost, HealthState::Degraded] {
        let query = HealthQuery {
            classes: [HealthClass::State(state)].into(),
            ..HealthQuery::default()
        };
        let room = NAMED_FILES - affected.len();
        for health in snapshot.health(&query).take(room) {
            affected.push(health?);
        }
    }
    Ok(affected)
}

/// The commands that lead on, the most pressing first.
fn suggestions(
    health: &ArchiveHealth,
    ages: &VerificationAges,
    affected: &[FileHealth],
    context: &Context,
) -> Vec<String> {
    let mut suggest = Vec::new();
    let known = &health.known;
    if known.damaged_shards > 0 {
        suggest.push(context.command("repair", &[]));
    }
    if known.lost_files > 0 {
        suggest.push(context.command("repair --import DIR", &[]));
        let lost = affected.iter().filter(|file| file.state == HealthState::Lost);
        let (kept, named): (Vec<&FileHealth>, Vec<&FileHealth>) = lost.partition(|file| file.file.is_kept);
        let names: Vec<&FileName> = named.iter().map(|file| &file.file.name).collect();
        if !names.is_empty() {
            suggest.push(context.command("restore --partial -o DIR", &names));
        }
        let kept = kept.iter().map(|file| &file.file);
        suggest.extend(kept.map(|file| restore_partly(&file.name, kept_version(file), context)));
    }
    if known.lost_files + known.degraded_files > as_u64(affected.len()) {
        suggest.push(context.command("health --state degraded --state lost", &[]));
    }
    if health.stored.files == 0 {
        suggest.push(context.command("commit FILE", &[]));
    } else if known.unverified_files > 0 || ages.under_three_months + ages.older > 0 {
        suggest.push(context.command("scrub", &[]));
    }
    suggest
}

impl Space {
    fn of(volumes: &[VolumeSpace]) -> Self {
        let mut space = Self::default();
        for volume in volumes {
            space.live_bytes += volume.live_bytes;
            space.overhead_bytes += volume.overhead_bytes;
            space.dead_bytes += volume.dead_bytes;
            space.freed_bytes += volume.freed_bytes;
            space.reserved_bytes += volume.reserved_bytes;
            space.unknown_bytes += volume.unknown_bytes;
            space.free_bytes = space.free_bytes.saturating_add(volume.free_bytes);
            space.reclaimable_bytes += volume.reclaimable_bytes;
        }
        space
    }

    /// Compacting is worth a word where a tenth of what is stored comes back, and not only what lies between frames.
    fn suggestion(&self, context: &Context) -> Option<String> {
        let is_worth_it = self.reclaimable_bytes >= WORTH_COMPACTING_BYTES
            && self.reclaimable_bytes.saturating_mul(10) >= self.live_bytes;
        is_worth_it.then(|| context.command("compact", &[]))
    }
}

impl Affected {
    fn of(health: &FileHealth) -> Self {
        Self {
            name: health.file.name.to_string(),
            kept_version: kept_version(&health.file),
            called: called(&health.file.name, kept_version(&health.file)),
            state: state_name(health.state),
            damaged_shards: health.damaged_shards,
            lost_bytes: health.lost_bytes,
            damaged_since: health.since.and_then(text::rfc3339),
        }
    }
}

impl Verification {
    const fn of(ages: &VerificationAges) -> Self {
        Self {
            never: ages.never,
            under_a_day: ages.under_a_day,
            under_a_week: ages.under_a_week,
            under_a_month: ages.under_a_month,
            under_three_months: ages.under_three_months,
            older: ages.older,
        }
    }
}

impl Tolerance {
    fn of(tier: &TierTolerance, totals: &Totals) -> Self {
        let (shape, sums) = (tier.shape, totals.tier(tier.tier));
        Self {
            tier: tier.tier.number(),
            files: sums.files,
            bytes: sums.bytes,
            data_shards: shape.data(),
            parity_shards: shape.parity(),
            shards: shape.parity(),
            now: tier.now.into(),
            volumes_full: tier.full.volumes,
            in_words: tolerance::of_tier_in_words(tier),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share is shown with a few digits")]
fn overhead(totals: &Totals) -> Option<f64> {
    (totals.bytes > 0).then(|| totals.stored_bytes as f64 / totals.bytes as f64 - 1.0)
}
