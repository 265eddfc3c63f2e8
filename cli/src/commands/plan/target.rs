//! Where what is planned would be stored: in the archive as it is, or in the one that a commit would make.

use std::path::PathBuf;

use bfdb::{
    archive::{Archive, TierTolerance},
    geometry::{Policy, Tolerance, spread_counts},
    host::ExcludedDirectories,
};

use super::room::Room;
use crate::{
    commands::{disks::warn_of_disks, init::places},
    context::Context,
    failure::{Failure, commit_error, read_error},
    text,
    volumes::Volumes,
};

/// Where it would be stored.
pub(super) struct Target {
    pub(super) policy: Policy,
    /// Directories of the archive, which are not stored.
    pub(super) own: ExcludedDirectories,
    /// How many volumes it would go to.
    pub(super) volumes: u16,
    /// Where these are.
    pub(super) places: Vec<PathBuf>,
    pub(super) tolerances: Vec<TierTolerance>,
    pub(super) room: Room,
}

impl Target {
    pub(super) fn of_archive(archive: &Archive, context: &Context) -> Result<Self, Failure> {
        let unreadable = |error| context.catalog_failure(&error);
        let snapshot = archive.snapshot().map_err(unreadable)?;
        let tolerances = snapshot.tolerances();
        let tolerances = tolerances.map_err(|error| context.failure(&error, read_error(&error)))?;
        let volumes = Volumes::of(&snapshot, context).map_err(unreadable)?;
        volumes.warn_of_unwritable(context);
        let own = archive.own_directories();
        let own = own.map_err(|error| context.failure(&error, commit_error(&error)))?;
        let rooms: Vec<(PathBuf, u64)> = (volumes.for_files())
            .map(|volume| {
                let place = volume.found_at.clone();
                (place.unwrap_or_else(|| volumes.path(volume)), volume.free_bytes)
            })
            .collect();
        let policy = *archive.policy();
        let places: Vec<PathBuf> = rooms.iter().map(|(place, _)| place.clone()).collect();
        warn_of_disks(&places, policy.survive_volumes(), context);
        Ok(Self {
            policy,
            own,
            volumes: count(&places),
            places,
            tolerances,
            room: Room::of_volumes(&rooms),
        })
    }

    /// Returns the archive that a commit would make.
    pub(super) fn of_new(context: &Context) -> Result<Self, Failure> {
        let policy = Policy::default();
        context.check_creation(policy)?;
        let places = places(context);
        let volumes = count(&places);
        let on = text::count(u64::from(volumes), "volume");
        let place = context.archive_text();
        let note = format!("there is no archive at {place}: this is about a new one on {on}");
        context.output.note(&note);
        warn_of_disks(&places, policy.survive_volumes(), context);
        let of_tier = |tier| {
            let shape = policy.shape(tier);
            let tolerance = Tolerance::of_counts(&spread_counts(shape, volumes), shape.parity());
            TierTolerance {
                tier,
                shape,
                now: tolerance,
                full: tolerance,
            }
        };
        Ok(Self {
            policy,
            own: ExcludedDirectories::default(),
            volumes,
            tolerances: policy.tiers().map(of_tier).collect(),
            room: Room::of_places(&places),
            places,
        })
    }
}

/// Without any volume a file would lie on one if it could be stored.
fn count(places: &[PathBuf]) -> u16 {
    u16::try_from(places.len()).unwrap_or(u16::MAX).max(1)
}
