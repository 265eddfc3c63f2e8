//! What is to be known about what was stored just now: that fewer volumes may be lost than ought to, and that one disk may take both
//! it and its source.

use std::{collections::BTreeSet, path::PathBuf};

use bfdb::{
    archive::{Archive, TierTolerance},
    geometry::Tier,
};

use crate::{
    commands::{disks::warn_of_sources, volume},
    context::Context,
    exit,
    failure::{Failure, read_error},
    volumes::Volumes,
};

/// Warns of what may happen to files of `tiers` that were stored now, and returns what that adds to the exit code.
///
/// # Errors
/// That the catalog cannot be asked.
pub(in crate::commands) fn warn(
    archive: &Archive,
    (tiers, sources): (&BTreeSet<Tier>, &[PathBuf]),
    context: &Context,
) -> Result<u8, Failure> {
    let snapshot = archive
        .snapshot()
        .map_err(|error| context.catalog_failure(&error))?;
    let of_tiers = snapshot
        .tolerances()
        .map_err(|error| context.failure(&error, read_error(&error)))?;
    let volumes = Volumes::of(&snapshot, context).map_err(|error| context.catalog_failure(&error))?;
    let of_tiers: Vec<TierTolerance> = (of_tiers.into_iter())
        .filter(|tolerance| tiers.contains(&tolerance.tier))
        .collect();
    let survived = of_tiers.iter().map(|tolerance| tolerance.now.volumes).min();
    if let Some(survived) = survived {
        warn_of_shared_disk(sources, survived, &volumes, context);
    }
    let promised = archive.policy().survive_volumes();
    let short: Vec<String> = (of_tiers.iter())
        .filter_map(|tolerance| shortfall(tolerance, promised))
        .collect();
    if short.is_empty() {
        return Ok(exit::SUCCESS);
    }
    let mut next = volume::suggestions(&volumes, context);
    if next.is_empty() {
        next.push(context.command("volume add DIR", &[]));
    }
    let message = format!(
        "fewer volumes than usual may be lost of what was stored: {}",
        short.join("; ")
    );
    context.warn(message, next);
    Ok(exit::REDUCED)
}

/// Says how many volumes may be lost where that is fewer than with all of them, or than was asked for.
fn shortfall(tolerance: &TierTolerance, promised: u16) -> Option<String> {
    let (tier, now, full) = (tolerance.tier, tolerance.now.volumes, tolerance.full.volumes);
    if tolerance.is_reduced() {
        return Some(format!(
            "of tier {tier} {now} instead of the {full} with all volumes"
        ));
    }
    (now < promised)
        .then(|| format!("of tier {tier} {now} instead of the {promised} that the archive was made for"))
}

/// Warns of a source on a disk that takes more volumes with it than may be lost. With a single volume nobody expects more.
fn warn_of_shared_disk(sources: &[PathBuf], survived: u16, volumes: &Volumes, context: &Context) {
    let places: Vec<PathBuf> = (volumes.for_files())
        .map(|volume| volume.found_at.clone().unwrap_or_else(|| volumes.path(volume)))
        .collect();
    if places.len() < 2 {
        return;
    }
    warn_of_sources(sources, (&places, survived), context);
}

#[cfg(test)]
mod tests {
    use bfdb::{geometry::Tolerance, units::CodeShape};

    use super::*;

    #[test]
    fn what_falls_short_of_all_volumes_or_of_what_was_asked_for_is_said_in_numbers() {
        let of = |now, full, promised| {
            let tolerance = |volumes| Tolerance {
                segments: 3,
                extents: 3,
                volumes,
            };
            let tier = TierTolerance {
                tier: Tier::Tiny,
                shape: CodeShape::new(1, 3).expect("a shape"),
                now: tolerance(now),
                full: tolerance(full),
            };
            shortfall(&tier, promised)
        };
        assert_eq!(of(2, 2, 2), None);
        assert_eq!(of(0, 0, 0), None, "nothing was asked for");
        let reduced = of(1, 2, 1).expect("reduced");
        assert_eq!(reduced, "of tier 1 1 instead of the 2 with all volumes");
        let short = of(1, 1, 2).expect("short");
        assert_eq!(
            short,
            "of tier 1 1 instead of the 2 that the archive was made for"
        );
    }
}
