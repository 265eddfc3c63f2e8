//! What came of moving everything off a volume, and what stands in the way of what is left.

use bfdb::{
    archive::{Archive, Event, MoveReport, Observer, VolumeInfo},
    error::CommitError,
};
use serde::Serialize;

use super::super::entry::called;
use crate::{
    context::Context,
    exit,
    failure::{Failure, commit_error},
    output::Loudness,
    progress::{Progress, Stopwatch},
    text,
    volumes::Volumes,
};

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "moved")]
struct MovedLine {
    name: String,
    /// There for a kept version only.
    #[serde(skip_serializing_if = "Option::is_none")]
    kept_version: Option<u32>,
    block: u64,
    shard: u16,
    extent: u64,
}

/// A volume that shards go to.
#[derive(Debug, Serialize)]
pub(super) struct Place {
    /// Null for one that is not made yet, and so is the id.
    number: Option<u16>,
    id: Option<String>,
    path: String,
}

#[derive(Debug, Serialize)]
#[serde(tag = "type", rename = "summary")]
struct Summary {
    number: u16,
    id: String,
    path: String,
    targets: Vec<Place>,
    shards_moved: u64,
    bytes_written: u64,
    shards_left: u64,
    dry_run: bool,
    suggest: Vec<String>,
    seconds: f64,
}

/// Shows progress, and each shard that was moved.
pub(super) struct Watch<'a> {
    context: &'a Context<'a>,
    progress: Progress<'a>,
}

impl<'a> Watch<'a> {
    pub(super) fn new(context: &'a Context<'a>, total_bytes: Option<u64>) -> Self {
        Self {
            context,
            progress: context.progress("moved", total_bytes),
        }
    }
}

impl Observer for Watch<'_> {
    fn event(&self, event: Event<'_>) {
        self.progress.event(event);
        if let Event::Repaired {
            name,
            kept_version,
            block,
            shard,
            extent,
        } = event
        {
            self.context.output.json(&MovedLine {
                name: name.to_string(),
                kept_version,
                block: block.get(),
                shard: shard.get(),
                extent: extent.get(),
            });
            if self.context.output.loudness() == Loudness::Verbose {
                let name = called(name, kept_version);
                let line = format!("{name}: block {block} shard {shard} is in extent {extent} now");
                self.context.output.line(&line);
            }
        }
    }

    fn is_cancelled(&self) -> bool {
        self.progress.is_cancelled()
    }
}

impl Place {
    /// A volume that there is.
    pub(super) fn of(volume: &VolumeInfo, volumes: &Volumes) -> Self {
        Self {
            number: Some(volume.number),
            id: Some(volume.id.to_string()),
            path: text::path(&volumes.path(volume)),
        }
    }

    /// One that is to be made.
    pub(super) fn new(path: &std::path::Path) -> Self {
        Self {
            number: None,
            id: None,
            path: text::path(path),
        }
    }

    fn in_words(&self) -> String {
        let number = self.number.map(|number| format!("volume {number} at "));
        format!("{}{}", number.unwrap_or_default(), self.path)
    }
}

/// What is on a volume while it is moved.
pub(super) struct Moving<'a> {
    archive: &'a Archive,
    volume: &'a VolumeInfo,
    before: &'a Volumes,
    stopwatch: Stopwatch,
    context: &'a Context<'a>,
}

impl<'a> Moving<'a> {
    pub(super) fn begin(
        archive: &'a Archive,
        volume: &'a VolumeInfo,
        before: &'a Volumes,
        context: &'a Context<'a>,
    ) -> Self {
        Self {
            archive,
            volume,
            before,
            stopwatch: Stopwatch::start(),
            context,
        }
    }

    pub(super) fn watch(&self) -> Watch<'a> {
        Watch::new(self.context, Some(self.volume.live_bytes))
    }

    /// Says how much would be moved where.
    pub(super) fn tell_dry_run(self, targets: Vec<Place>) -> u8 {
        let volume = self.volume;
        let places: Vec<String> = targets.iter().map(Place::in_words).collect();
        self.context.output.line(&format!(
            "would move {}, {}, from {} to {}",
            text::count(volume.live_shards, "shard"),
            text::size(volume.live_bytes),
            self.before.label(volume),
            places.join(", ")
        ));
        let summary = Summary {
            shards_moved: volume.live_shards,
            bytes_written: volume.live_bytes,
            dry_run: true,
            ..self.summary(targets)
        };
        self.context.output.json(&summary);
        exit::SUCCESS
    }

    /// Says what was moved and what is left, and returns the exit code. `emptied` says what became of a volume that nothing is on
    /// any more, and what leads on.
    pub(super) fn finish(
        self,
        report: MoveReport,
        targets: Vec<Place>,
        emptied: (&str, Vec<String>),
    ) -> Result<u8, Failure> {
        let Outcome { what, suggest, code } = if report.shards_left == 0 {
            let (what, suggest) = emptied;
            Outcome {
                what: what.to_owned(),
                suggest,
                code: exit::SUCCESS,
            }
        } else {
            self.left(report.shards_left)?
        };
        let places: Vec<String> = targets.iter().map(Place::in_words).collect();
        let output = self.context.output;
        output.summary(&format!(
            "{}, {} moved to {} in {}",
            text::count(report.shards_moved, "shard"),
            text::size(report.bytes_written),
            places.join(", "),
            text::duration(self.stopwatch.elapsed())
        ));
        output.summary(&format!("{} {what}", self.before.label(self.volume)));
        for command in &suggest {
            output.summary(&format!("  try: {command}"));
        }
        output.json(&Summary {
            shards_moved: report.shards_moved,
            bytes_written: report.bytes_written,
            shards_left: report.shards_left,
            suggest,
            ..self.summary(targets)
        });
        Ok(code)
    }

    fn summary(&self, targets: Vec<Place>) -> Summary {
        Summary {
            number: self.volume.number,
            id: self.volume.id.to_string(),
            path: text::path(&self.before.path(self.volume)),
            targets,
            shards_moved: 0,
            bytes_written: 0,
            shards_left: 0,
            dry_run: false,
            suggest: Vec::new(),
            seconds: self.stopwatch.seconds(),
        }
    }

    /// Finds out why shards could not be moved: the worst that stands in the way.
    fn left(&self, shards: u64) -> Result<Outcome, Failure> {
        let unreadable = |error| self.context.catalog_failure(&error);
        let snapshot = self.archive.snapshot().map_err(unreadable)?;
        let known = snapshot.health_totals().map_err(unreadable)?.known;
        let volumes = Volumes::of(&snapshot, self.context).map_err(unreadable)?;
        let unfinished = self.archive.unfinished().map_err(|error: CommitError| {
            let meaning = commit_error(&error);
            self.context.failure(&error, meaning)
        })?;
        let away: Vec<String> = volumes.reduced().map(|volume| volumes.label(volume)).collect();
        let number = self.volume.number;
        let command = |command: &str| self.context.command(command, &[]);
        let (why, suggest, code) = if known.lost_files > 0 {
            let suggest = vec![command("health --state lost"), command("repair --import DIR")];
            ("bytes of files are lost".to_owned(), suggest, exit::LOST)
        } else if known.damaged_shards > 0 {
            let suggest = vec![command("repair")];
            ("damage is in the way".to_owned(), suggest, exit::DAMAGED)
        } else if !away.is_empty() {
            let why = format!(
                "they cannot be made again without what is on {}: plug it in, or say with --volume DIR where it is now",
                away.join(", ")
            );
            let suggest = vec![command(&format!("health --on-volume {number}"))];
            (why, suggest, exit::REDUCED)
        } else if unfinished.is_empty() {
            let why = "they could not be read just now".to_owned();
            (why, vec![command("scrub")], exit::DAMAGED)
        } else {
            let why = "commits that are not done have begun there".to_owned();
            (why, vec![command("recover")], exit::PARTLY_DONE)
        };
        let shards = text::count(shards, "shard");
        Ok(Outcome {
            what: format!("still holds {shards}: {why}; then the same command goes on"),
            suggest,
            code,
        })
    }
}

/// What became of the volume.
struct Outcome {
    what: String,
    suggest: Vec<String>,
    code: u8,
}
