//! `volume add`: one volume more.

use bfdb::catalog::Access;
use serde::Serialize;

use super::Addition;
use crate::{
    commands::disks::warn_of_disks,
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
        context.output.json(&Summary {
            number: added.map(|volume| volume.number),
            id: Some(id.to_string()),
            path: added.map_or(path, |volume| text::path(&volumes.path(volume))),
            dry_run: false,
        });
        let places: Vec<_> = volumes.for_files().map(|volume| volumes.path(volume)).collect();
        warn_of_disks(&places, archive.policy().survive_volumes(), context);
        Ok(exit::SUCCESS)
    })
}
