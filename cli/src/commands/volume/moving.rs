//! `volume drain` and `volume replace`: what is on one volume moves to others.

use std::num::NonZeroU64;

use bfdb::{
    archive::{Archive, MoveOptions, VolumeInfo},
    catalog::Access,
    error::CommitError,
    plan::RateLimit,
};

use super::{
    Drain, Replacement,
    outcome::{Moving, Place},
};
use crate::{
    commands::init::survived,
    context::Context,
    failure::{Failure, of_moving, of_volumes},
    volumes::Volumes,
};

pub(super) fn drain(drain: &Drain, context: &Context) -> Result<u8, Failure> {
    context.with_archive(access(drain), |archive| {
        let before = Volumes::of_archive(archive, context)?;
        let volume = before.find_in_use(&drain.which, context)?;
        let checked = check_drain(volume, &before);
        checked.map_err(|error| of_volumes(&error, &before, context))?;
        warn_of_less(archive, volume, &before, context);
        let targets = others(volume, &before).map(|other| Place::of(other, &before));
        let targets: Vec<Place> = targets.collect();
        let moving = Moving::begin(archive, volume, &before, context);
        if drain.dry_run {
            return Ok(moving.tell_dry_run(targets));
        }
        let watch = moving.watch();
        let report = archive.drain_volume(volume.id, options(drain.rate), &watch);
        drop(watch);
        let report = report.map_err(|error| of_moving(&error, &before, context))?;
        let remove = context.command(&format!("volume remove {}", volume.number), &[]);
        moving.finish(report, targets, ("holds nothing any more", vec![remove]))
    })
}

pub(super) fn replace(replacement: &Replacement, context: &Context) -> Result<u8, Failure> {
    let (old, directory) = (&replacement.old, replacement.directory.as_path());
    context.with_archive(access(old), |archive| {
        let before = Volumes::of_archive(archive, context)?;
        let volume = before.find_in_use(&old.which, context)?;
        let moving = Moving::begin(archive, volume, &before, context);
        if old.dry_run {
            // One that an attempt before has made is gone on with.
            if !others(volume, &before).any(|other| before.is_at(other, directory)) {
                let checked = archive.check_new_volume(directory);
                checked.map_err(|error| of_volumes(&error, &before, context))?;
            }
            return Ok(moving.tell_dry_run(vec![Place::new(directory)]));
        }
        let watch = moving.watch();
        let replaced = archive.replace_volume(volume.id, directory, options(old.rate), &watch);
        drop(watch);
        let (new, report) = replaced.map_err(|error| of_moving(&error, &before, context))?;
        let after = Volumes::of_archive(archive, context)?;
        let made = after.all().iter().find(|volume| volume.id == new);
        let targets = made.into_iter().map(|made| Place::of(made, &after));
        let emptied = "is no part of the archive any more, and its directory may be wiped";
        moving.finish(report, targets.collect(), (emptied, Vec::new()))
    })
}

const fn access(drain: &Drain) -> Access {
    if drain.dry_run {
        Access::Read
    } else {
        Access::Write
    }
}

pub(super) fn options(rate: Option<NonZeroU64>) -> MoveOptions {
    MoveOptions {
        rate: rate.map(RateLimit::new),
    }
}

/// Returns the volumes that something can be moved to.
fn others<'v>(volume: &VolumeInfo, volumes: &'v Volumes) -> impl Iterator<Item = &'v VolumeInfo> {
    let id = volume.id;
    volumes.for_files().filter(move |other| other.id != id)
}

/// Refuses what draining would refuse.
fn check_drain(volume: &VolumeInfo, volumes: &Volumes) -> Result<(), CommitError> {
    let (id, needed_bytes) = (volume.id, volume.live_bytes);
    let mut free_bytes = None;
    for other in others(volume, volumes) {
        free_bytes = Some(other.free_bytes.saturating_add(free_bytes.unwrap_or(0)));
    }
    match free_bytes {
        None => Err(CommitError::LastVolume { volume: id }),
        Some(free_bytes) if free_bytes < needed_bytes => Err(CommitError::NoRoomToDrain {
            volume: id,
            needed_bytes,
            free_bytes,
        }),
        Some(_) => Ok(()),
    }
}

/// Warns where the volumes that stay cannot give what was asked for when the archive was made.
fn warn_of_less(archive: &Archive, volume: &VolumeInfo, volumes: &Volumes, context: &Context) {
    let policy = archive.policy();
    let left = u16::try_from(others(volume, volumes).count()).unwrap_or(u16::MAX);
    let promised = policy.survive_volumes();
    for tier in policy.tiers() {
        let survived = survived(tier, policy, left);
        if survived < promised {
            let message = format!(
                "files of tier {tier} survive the loss of {survived} of the {left} volumes that stay, not of {promised}, as was \
                 asked for when the archive was made"
            );
            context.warn(message, vec![Volumes::replacement(volume, context)]);
        }
    }
}
