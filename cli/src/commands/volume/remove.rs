//! `volume remove`: one volume less.

use bfdb::{archive::VolumeInfo, catalog::Access, error::CommitError};
use serde::Serialize;

use super::Removal;
use crate::{
    context::Context,
    exit,
    failure::{Failure, of_moving, of_volumes},
    text,
    volumes::Volumes,
};

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    number: u16,
    id: String,
    path: String,
    dry_run: bool,
}

pub(super) fn run(removal: &Removal, context: &Context) -> Result<u8, Failure> {
    let access = if removal.dry_run {
        Access::Read
    } else {
        Access::Write
    };
    context.with_archive(access, |archive| {
        let volumes = Volumes::of_archive(archive, context)?;
        let volume = volumes.find_in_use(&removal.which, context)?;
        let label = volumes.label(volume);
        if removal.dry_run {
            check(volume, &volumes).map_err(|error| of_volumes(&error, &volumes, context))?;
            context.output.line(&format!("would remove {label}"));
        } else {
            let removed = archive.remove_volume(volume.id);
            removed.map_err(|error| of_moving(&error, &volumes, context))?;
            let path = text::path(&volumes.path(volume));
            context.output.summary(&format!(
                "removed {label}; nothing of the archive is in {path}, which may be wiped"
            ));
        }
        context.output.json(&Summary {
            number: volume.number,
            id: volume.id.to_string(),
            path: text::path(&volumes.path(volume)),
            dry_run: removal.dry_run,
        });
        Ok(exit::SUCCESS)
    })
}

/// Refuses what removing would refuse.
fn check(volume: &VolumeInfo, volumes: &Volumes) -> Result<(), CommitError> {
    let (id, shards) = (volume.id, volume.live_shards);
    if !volumes.for_files().any(|other| other.id != id) {
        return Err(CommitError::LastVolume { volume: id });
    }
    if shards > 0 {
        return Err(CommitError::VolumeNotDrained { volume: id, shards });
    }
    Ok(())
}
