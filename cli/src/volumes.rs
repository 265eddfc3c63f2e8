//! The volumes of an archive: which one is meant, how each is, and what to do about one that is not as it should be.

use std::{
    collections::BTreeSet,
    ffi::OsStr,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use bfdb::{
    archive::{Archive, Snapshot, VolumeCondition, VolumeInfo},
    catalog::{VolumeCounters, VolumeState},
    error::CatalogError,
    units::VolumeId,
};
use serde::Serialize;

use crate::{arguments::volumes::VolumeName, context::Context, exit, failure::Failure, text};

/// The volumes of an archive, also those that were removed.
pub(crate) struct Volumes {
    infos: Vec<VolumeInfo>,
    root: PathBuf,
}

impl Volumes {
    pub(crate) fn of(snapshot: &Snapshot, context: &Context) -> Result<Self, CatalogError> {
        Ok(Self {
            infos: snapshot.volumes()?,
            root: context.archive().to_path_buf(),
        })
    }

    /// Does the same, with what went wrong in words.
    pub(crate) fn of_archive(archive: &Archive, context: &Context) -> Result<Self, Failure> {
        let volumes = archive
            .snapshot()
            .and_then(|snapshot| Self::of(&snapshot, context));
        volumes.map_err(|error| context.catalog_failure(&error))
    }

    /// Returns all, by their numbers.
    pub(crate) fn all(&self) -> &[VolumeInfo] {
        &self.infos
    }

    /// Returns those that are a part of the archive.
    pub(crate) fn in_use(&self) -> impl Iterator<Item = &VolumeInfo> {
        let infos = self.infos.iter();
        infos.filter(|volume| volume.state != VolumeState::Removed)
    }

    /// Returns those that new files go to.
    pub(crate) fn for_files(&self) -> impl Iterator<Item = &VolumeInfo> {
        self.in_use().filter(|volume| {
            volume.state == VolumeState::Active && volume.condition == VolumeCondition::Present
        })
    }

    /// Returns those that something needs and that are not there, or not as they were left.
    pub(crate) fn reduced(&self) -> impl Iterator<Item = &VolumeInfo> {
        self.in_use().filter(|volume| {
            let is_needed = volume.state == VolumeState::Active || volume.live_shards > 0;
            is_needed && is_reduced(volume.condition)
        })
    }

    /// Returns those that something needs and that are not there at all.
    pub(crate) fn away(&self) -> impl Iterator<Item = &VolumeInfo> {
        self.reduced().filter(|volume| is_away(volume.condition))
    }

    /// Forgets all but some.
    pub(crate) fn keep_only(&mut self, ids: &BTreeSet<VolumeId>) {
        self.infos.retain(|volume| ids.contains(&volume.id));
    }

    /// Returns what they add to the exit code of a command that speaks of the archive as a whole.
    pub(crate) fn code(&self) -> u8 {
        match self.reduced().next() {
            Some(_) => exit::REDUCED,
            None => exit::SUCCESS,
        }
    }

    /// Finds the volume that is meant.
    ///
    /// # Errors
    /// That there is none, or more than one.
    pub(crate) fn find(&self, name: &VolumeName, context: &Context) -> Result<&VolumeInfo, Failure> {
        let meant: Vec<&VolumeInfo> = (self.infos.iter())
            .filter(|volume| {
                name.is_number(volume.number) || name.is_id(volume.id) || self.is_at(volume, name.as_path())
            })
            .collect();
        let list = || context.command("volume ls", &[]);
        match meant.as_slice() {
            [only] => Ok(only),
            [] => {
                let message = format!("no volume {name} in this archive");
                Err(Failure::new(exit::NO_SUCH_NAME, message).suggest(list()))
            }
            several => {
                let numbers: Vec<String> = (several.iter()).map(|volume| volume.number.to_string()).collect();
                let numbers = numbers.join(" and ");
                let message =
                    format!("{name} may be volume {numbers}: give more digits of the id, or the path");
                Err(Failure::usage(message).suggest(list()))
            }
        }
    }

    /// Finds the volume that is meant, which is to be a part of the archive.
    ///
    /// # Errors
    /// As for [`Self::find`], and that it was removed.
    pub(crate) fn find_in_use(&self, name: &VolumeName, context: &Context) -> Result<&VolumeInfo, Failure> {
        let found = self.find(name, context)?;
        if found.state == VolumeState::Removed {
            let label = self.label(found);
            let message = format!("{label} is no part of this archive any more");
            let failure = Failure::new(exit::NO_SUCH_NAME, message);
            return Err(failure.suggest(context.command("volume ls", &[])));
        }
        Ok(found)
    }

    /// Returns where a volume lies, or should.
    pub(crate) fn path(&self, volume: &VolumeInfo) -> PathBuf {
        self.root.join(OsStr::from_bytes(&volume.path))
    }

    /// Returns the directories of those that are a part of the archive, where they are now.
    pub(crate) fn directories(&self) -> impl Iterator<Item = PathBuf> {
        self.in_use()
            .map(|volume| volume.found_at.clone().unwrap_or_else(|| self.path(volume)))
    }

    /// Names a volume: `volume 2 at /mnt/b`.
    pub(crate) fn label(&self, volume: &VolumeInfo) -> String {
        format!("volume {} at {}", volume.number, text::path(&self.path(volume)))
    }

    /// Names a volume of that id.
    pub(crate) fn label_of(&self, id: VolumeId) -> String {
        let found = self.infos.iter().find(|volume| volume.id == id);
        found.map_or_else(|| format!("volume {id}"), |volume| self.label(volume))
    }

    /// Returns the command that puts a new volume in the place of one.
    pub(crate) fn replacement(volume: &VolumeInfo, context: &Context) -> String {
        context.command(&format!("volume replace {} DIR", volume.number), &[])
    }

    /// Returns the command that makes one whole again: an old copy is read and mended, what is not there is replaced.
    pub(crate) fn way_back(volume: &VolumeInfo, context: &Context) -> String {
        match volume.condition {
            VolumeCondition::Stale { .. } => context.command("scrub --repair", &[]),
            VolumeCondition::Present | VolumeCondition::ReadOnly => context.command("volume ls", &[]),
            VolumeCondition::Missing | VolumeCondition::Foreign { .. } | VolumeCondition::Unreadable => {
                Self::replacement(volume, context)
            }
        }
    }

    /// Warns of volumes that a command would have read and that are not there, and returns what they add to its exit code.
    pub(crate) fn warn_of_unread<'i>(
        &self,
        ids: impl IntoIterator<Item = &'i VolumeId>,
        context: &Context,
    ) -> u8 {
        let mut code = exit::SUCCESS;
        for id in ids {
            code = exit::REDUCED;
            let known = self.infos.iter().find(|volume| volume.id == *id);
            let label = known.map_or_else(|| format!("volume {id}"), |volume| self.label(volume));
            let condition = known.map_or_else(|| "is missing".to_owned(), in_words);
            let message = format!("{label} {condition}: nothing on it was looked at; {WHERE_IT_MAY_BE}");
            let next = known.map(|volume| Self::replacement(volume, context));
            context.warn(message, next.into_iter().collect());
        }
        code
    }

    /// Warns of each volume that is not there, with what that means for the command.
    pub(crate) fn warn_of_away(&self, meaning: &str, context: &Context) {
        for volume in self.away() {
            let (label, condition) = (self.label(volume), in_words(volume));
            let message = format!("{label} {condition}: {meaning}; {WHERE_IT_MAY_BE}");
            context.warn(message, vec![Self::replacement(volume, context)]);
        }
    }

    /// Warns of each volume that a commit stores nothing on though it should.
    pub(crate) fn warn_of_unwritable(&self, context: &Context) {
        let active = self.in_use().filter(|volume| volume.state == VolumeState::Active);
        for volume in active.filter(|volume| volume.condition != VolumeCondition::Present) {
            let (label, condition) = (self.label(volume), in_words(volume));
            let message = format!(
                "{label} {condition}: nothing new is stored there, and fewer volumes may be lost than with it"
            );
            context.warn(message, vec![Self::way_back(volume, context)]);
        }
    }

    /// Says whether a volume lies in a directory.
    pub(crate) fn is_at(&self, volume: &VolumeInfo, typed: &Path) -> bool {
        let recorded = self.path(volume);
        let places = std::iter::once(&recorded).chain(&volume.found_at);
        let real = |path: &Path| path.canonicalize().ok();
        places
            .into_iter()
            .any(|place| place == typed || real(place).is_some_and(|place| real(typed) == Some(place)))
    }
}

/// What a volume that is away means to a reader.
pub(crate) const AROUND: &str = "it is read around, and every byte that is delivered is right";

/// What leads on where a volume is not where it was.
const WHERE_IT_MAY_BE: &str = "plug it in, or say with --volume DIR where it is now, or replace it";

/// Says how a volume is, behind its name: `is missing`.
pub(crate) fn in_words(volume: &VolumeInfo) -> String {
    match volume.condition {
        VolumeCondition::Present => "is there".to_owned(),
        VolumeCondition::ReadOnly => "takes no writes".to_owned(),
        VolumeCondition::Stale { seen, catalog } => {
            format!("is an old copy (epoch {seen}, the archive was there at {catalog})")
        }
        VolumeCondition::Unreadable => {
            "does not say which volume it is, both of its slots are damaged".to_owned()
        }
        VolumeCondition::Missing => "is missing".to_owned(),
        VolumeCondition::Foreign { found } => format!("is missing, and volume {found} is in its place"),
    }
}

/// Returns how a condition is called in JSON and lists.
const fn condition_name(condition: VolumeCondition) -> &'static str {
    match condition {
        VolumeCondition::Present => "present",
        VolumeCondition::ReadOnly => "read_only",
        VolumeCondition::Stale { .. } => "stale",
        VolumeCondition::Unreadable => "unreadable",
        VolumeCondition::Missing => "missing",
        VolumeCondition::Foreign { .. } => "foreign",
    }
}

/// Returns how a state is called in JSON and lists.
pub(crate) const fn state_name(state: VolumeState) -> &'static str {
    match state {
        VolumeState::Active => "active",
        VolumeState::Draining => "draining",
        VolumeState::Removed => "removed",
    }
}

/// Says whether some of what was stored there is not there, or may not be.
const fn is_reduced(condition: VolumeCondition) -> bool {
    match condition {
        VolumeCondition::Present | VolumeCondition::ReadOnly => false,
        VolumeCondition::Stale { .. }
        | VolumeCondition::Unreadable
        | VolumeCondition::Missing
        | VolumeCondition::Foreign { .. } => true,
    }
}

const fn is_away(condition: VolumeCondition) -> bool {
    match condition {
        VolumeCondition::Missing | VolumeCondition::Foreign { .. } => true,
        VolumeCondition::Present
        | VolumeCondition::ReadOnly
        | VolumeCondition::Stale { .. }
        | VolumeCondition::Unreadable => false,
    }
}

/// A volume in JSON.
#[derive(Debug, Serialize)]
pub(crate) struct VolumeLine {
    pub(crate) number: u16,
    pub(crate) id: String,
    pub(crate) path: String,
    pub(crate) state: &'static str,
    pub(crate) condition: &'static str,
    /// Where it was found, when that is elsewhere.
    pub(crate) found_at: Option<String>,
    /// Where copies of it are that are left alone.
    pub(crate) doubles: Vec<String>,
    pub(crate) free_bytes: u64,
    pub(crate) live_bytes: u64,
    pub(crate) live_shards: u64,
    /// Damaged shards that were ever found there.
    pub(crate) found: Found,
    pub(crate) repaired_shards: u64,
    pub(crate) repaired_bytes: u64,
}

#[derive(Debug, Serialize)]
pub(crate) struct Found {
    pub(crate) checksum: u64,
    pub(crate) misplaced: u64,
    pub(crate) io_error: u64,
    pub(crate) missing: u64,
    pub(crate) encoding: u64,
}

impl VolumeLine {
    pub(crate) fn of(volume: &VolumeInfo, volumes: &Volumes) -> Self {
        let VolumeCounters {
            checksum,
            misplaced,
            io_error,
            missing,
            encoding,
            repaired_shards,
            repaired_bytes,
        } = volume.counters;
        Self {
            number: volume.number,
            id: volume.id.to_string(),
            path: text::path(&volumes.path(volume)),
            state: state_name(volume.state),
            condition: condition_name(volume.condition),
            found_at: volume.found_at.as_deref().map(text::path),
            doubles: volume.doubles.iter().map(|path| text::path(path)).collect(),
            free_bytes: volume.free_bytes,
            live_bytes: volume.live_bytes,
            live_shards: volume.live_shards,
            found: Found {
                checksum,
                misplaced,
                io_error,
                missing,
                encoding,
            },
            repaired_shards,
            repaired_bytes,
        }
    }

    /// What a list has below the line of the volume, for people: a label and what it says.
    pub(crate) fn remarks(&self) -> Vec<(&'static str, String)> {
        let found_at = self.found_at.iter();
        let mut remarks: Vec<(&str, String)> = found_at.map(|place| ("found at", place.clone())).collect();
        let doubles = self.doubles.iter();
        remarks.extend(doubles.map(|place| ("double", format!("a copy of it at {place} is left alone"))));
        let found = [
            ("with a wrong hash", self.found.checksum),
            ("misplaced", self.found.misplaced),
            ("that could not be read", self.found.io_error),
            ("that were encoded wrongly", self.found.encoding),
            ("missing", self.found.missing),
        ];
        let found = found.iter().filter(|(_, shards)| *shards > 0);
        let mut words: Vec<String> = found
            .map(|(what, shards)| format!("{} {what}", text::count(*shards, "shard")))
            .collect();
        if self.repaired_shards > 0 {
            let (shards, bytes) = (self.repaired_shards, text::size(self.repaired_bytes));
            words.push(format!("{}, {bytes} repaired", text::count(shards, "shard")));
        }
        if !words.is_empty() {
            remarks.push(("so far", words.join("; ")));
        }
        remarks
    }
}
