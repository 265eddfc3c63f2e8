//! Volumes that come and go beside the archive.

use std::path::{Path, PathBuf};

use bfdb::{
    Archive,
    archive::{MoveOptions, MoveReport},
    catalog::VolumeState,
    units::VolumeId,
};

use super::{Stage, explained};

impl Stage<'_> {
    /// Adds the volume of a number, in a directory beside the archive.
    pub fn add_volume(&mut self, number: u16) {
        self.change("add a volume", |archive| {
            if state_of(archive, number)?.is_none() {
                archive
                    .add_volume(&directory_of(number))
                    .map_err(|error| explained(&error))?;
            }
            Ok(())
        });
    }

    /// Moves everything off a volume, and removes it.
    pub fn drain_and_remove(&mut self, number: u16) {
        self.change("drain a volume", |archive| {
            let Some((id, VolumeState::Active | VolumeState::Draining)) = state_of(archive, number)? else {
                return Ok(());
            };
            let drained = archive.drain_volume(id, MoveOptions::default(), &());
            all_moved(drained.map_err(|error| explained(&error))?)?;
            archive.remove_volume(id).map_err(|error| explained(&error))
        });
    }

    /// Puts a new volume in the place of another one.
    pub fn replace_volume(&mut self, old: u16, new: u16) {
        self.change("replace a volume", |archive| {
            let Some((id, VolumeState::Active | VolumeState::Draining)) = state_of(archive, old)? else {
                return Ok(());
            };
            let replaced = archive.replace_volume(id, &directory_of(new), MoveOptions::default(), &());
            let (_, report) = replaced.map_err(|error| explained(&error))?;
            all_moved(report)
        });
    }

    fn change(&mut self, what: &str, work: impl FnOnce(&Archive) -> Result<(), String>) {
        let Some(archive) = self.archive.take() else {
            return;
        };
        let done = work(&archive);
        self.archive = Some(archive);
        self.expect(what, done);
    }
}

/// Where the volume of a number lies that is not the archive's own.
fn directory_of(number: u16) -> PathBuf {
    Path::new("/").join(format!("volume-{number}"))
}

fn state_of(archive: &Archive, number: u16) -> Result<Option<(VolumeId, VolumeState)>, String> {
    let snapshot = archive.snapshot().map_err(|error| explained(&error))?;
    let volumes = snapshot.volumes().map_err(|error| explained(&error))?;
    let found = volumes.iter().find(|volume| volume.number == number);
    Ok(found.map(|volume| (volume.id, volume.state)))
}

fn all_moved(report: MoveReport) -> Result<(), String> {
    match report.shards_left {
        0 => Ok(()),
        _ => Err(format!("{report:?}")),
    }
}
