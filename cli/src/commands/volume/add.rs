//! `volume add`: one volume more.

use bfdb::{archive::Archive, catalog::Access, geometry::Tier};
use serde::Serialize;

use super::Addition;
use crate::{
    commands::{disks::warn_of_disks, init::survived},
    context::Context,
    exit,
    failure::{Failure, of_volumes},
    text,
    volumes::Volumes,
};

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    /// Null in a dry run, and so is the id.
    number: Option<u16>,
    id: Option<String>,
    path: String,
    suggest: Vec<String>,
    dry_run: bool,
}

pub(super) fn run(addition: &Addition, context: &Context) -> Result<u8, Failure> {
    let path = text::path(&addition.directory);
    if addition.dry_run {
        return context.with_archive(Access::Read, |archive| {
            let volumes = Volumes::of_archive(archive, context)?;
            let checked = archive.check_new_volume(&addition.directory);
            checked.map_err(|error| of_volumes(&error, &volumes, context))?;
            context.output.line(&format!("would add a volume at {path}"));
            context.output.json(&Summary {
                number: None,
                id: None,
                path,
                suggest: Vec::new(),
                dry_run: true,
            });
            Ok(exit::SUCCESS)
        });
    }
    context.with_archive(Access::Write, |archive| {
        let before = Volumes::of_archive(archive, context)?;
        let added = archive.add_volume(&addition.directory);
        let id = added.map_err(|error| of_volumes(&error, &before, context))?;
        let volumes = Volumes::of_archive(archive, context)?;
        let added = volumes.all().iter().find(|volume| volume.id == id);
        context.output.summary(&format!(
            "added {} ({id}): new files are spread over {}",
            volumes.label_of(id),
            text::count(
                crate::commands::damage::as_u64(volumes.for_files().count()),
                "volume"
            )
        ));
        let suggest = gain(archive, (&before, &volumes), context)?;
        for command in &suggest {
            context.output.summary(&format!("  try: {command}"));
        }
        context.output.json(&Summary {
            number: added.map(|volume| volume.number),
            id: Some(id.to_string()),
            path: added.map_or(path, |volume| text::path(&volumes.path(volume))),
            suggest,
            dry_run: false,
        });
        let places: Vec<_> = volumes.for_files().map(|volume| volumes.path(volume)).collect();
        warn_of_disks(&places, archive.policy().survive_volumes(), context);
        Ok(exit::SUCCESS)
    })
}

/// Returns the command that lets more volumes be lost of what is stored already, if any does.
fn gain(
    archive: &Archive,
    (before, after): (&Volumes, &Volumes),
    context: &Context,
) -> Result<Vec<String>, Failure> {
    let unreadable = |error| context.catalog_failure(&error);
    let snapshot = archive.snapshot().map_err(unreadable)?;
    let totals = snapshot.totals().map_err(unreadable)?;
    let survived = |tier: Tier, volumes: &Volumes| {
        let count = u16::try_from(volumes.for_files().count()).unwrap_or(u16::MAX);
        survived(tier, archive.policy(), count)
    };
    let gains = |tier: Tier| totals.tier(tier).bytes > 0 && survived(tier, after) > survived(tier, before);
    let spread = archive.policy().tiers().any(gains);
    Ok(spread
        .then(|| context.command("volume spread", &[]))
        .into_iter()
        .collect())
}
