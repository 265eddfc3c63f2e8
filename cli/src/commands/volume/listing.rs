//! `volume ls`: how each volume is.

use bfdb::{archive::VolumeInfo, catalog::Access};
use serde::Serialize;

use crate::{
    commands::damage::as_u64,
    context::Context,
    failure::Failure,
    text,
    volumes::{VolumeLine, Volumes, in_words},
};

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "volume")]
struct Row {
    #[serde(flatten)]
    line: VolumeLine,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    /// Those that are a part of the archive.
    volumes: u64,
    active: u64,
    draining: u64,
    removed: u64,
    /// Those that are not there, or not as they were left, and that something needs.
    reduced: u64,
    free_bytes: u64,
    live_bytes: u64,
    suggest: Vec<String>,
}

pub(super) fn run(context: &Context) -> Result<u8, Failure> {
    context.with_archive(Access::Read, |archive| {
        let volumes = Volumes::of_archive(archive, context)?;
        let output = context.output;
        let mut summary = Summary {
            volumes: as_u64(volumes.in_use().count()),
            active: 0,
            draining: 0,
            removed: 0,
            reduced: as_u64(volumes.reduced().count()),
            free_bytes: 0,
            live_bytes: 0,
            suggest: suggestions(&volumes, context),
        };
        for volume in volumes.all() {
            summary.add(volume);
            let line = VolumeLine::of(volume, &volumes);
            output.line(&line_for_people(&line));
            for (label, remark) in line.remarks() {
                output.line(&format!("     {label} {remark}"));
            }
            output.json(&Row { line });
        }
        output.json(&summary);
        for volume in volumes.reduced() {
            output.summary(&format!("{} {}", volumes.label(volume), in_words(volume)));
        }
        for command in &summary.suggest {
            output.summary(&format!("  try: {command}"));
        }
        Ok(volumes.code())
    })
}

impl Summary {
    fn add(&mut self, volume: &VolumeInfo) {
        use bfdb::catalog::VolumeState;
        *match volume.state {
            VolumeState::Active => &mut self.active,
            VolumeState::Draining => &mut self.draining,
            VolumeState::Removed => &mut self.removed,
        } += 1;
        self.free_bytes = self.free_bytes.saturating_add(volume.free_bytes);
        self.live_bytes += volume.live_bytes;
    }
}

/// The commands that lead on, for the volumes that are not as they should be.
pub(in crate::commands) fn suggestions(volumes: &Volumes, context: &Context) -> Vec<String> {
    let mut suggest = Vec::new();
    for volume in volumes.reduced() {
        suggest.push(Volumes::way_back(volume, context));
    }
    if volumes.away().next().is_some() {
        suggest.push(context.command("--volume DIR volume ls", &[]));
    }
    for volume in volumes.in_use() {
        let is_leaving = volume.state == bfdb::catalog::VolumeState::Draining;
        let command = match (is_leaving, volume.live_shards) {
            (false, _) => continue,
            (true, 0) => format!("volume remove {}", volume.number),
            (true, _) => format!("volume drain {}", volume.number),
        };
        suggest.push(context.command(&command, &[]));
    }
    suggest
}

fn line_for_people(line: &VolumeLine) -> String {
    format!(
        "{:>3}  {:<8}  {:<10}  {:>10} stored  {:>10} free  {}  {}",
        line.number,
        line.state,
        line.condition,
        text::size(line.live_bytes),
        text::size(line.free_bytes),
        line.id,
        line.path
    )
}
