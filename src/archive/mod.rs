//! The operations on an archive: the roof, the only place that knows every floor.
//!
//! *Durable first, named second* lives here alone: `commit` writes frames through `volume`, syncs them, and only then
//! names them in `catalog` (I1). Reads go the other way: an address from the catalog is a hint, only the hashes decide
//! which bytes reach a caller (I7).
//!
//! Locks, in the order in which they may be taken: the session slot, the pipeline's source, the pipeline's cursor, the
//! completed blocks. None is held across I/O but the source of a pipe, which can only be read in order, and the catalog's
//! write transaction while it publishes.

mod ballast;
mod called;
mod catalog_check;
mod checkpoint;
mod commit;
mod compact;
mod create;
mod deep_scan;
mod describe;
mod encoding;
mod export;
#[cfg(test)]
mod full_disk;
mod health;
mod health_query;
mod inspect;
mod intents;
mod known_damage;
mod later;
mod left_behind;
mod locks;
mod media;
mod met;
mod name_pages;
mod new_volume;
mod observer;
mod old_catalog;
mod options;
mod order;
mod own_session;
mod owned;
mod pace;
mod publication;
mod read;
mod rebuild;
mod recovery;
mod remove;
mod rename;
mod repair;
mod restore;
mod restore_tree;
mod scrub;
mod shared;
mod snapshot;
mod space;
mod team;
mod tolerance;
mod verify;
mod volume_changes;
mod volumes;
mod what_if;

use std::{io::Read, path::Path, sync::Arc};

pub use catalog_check::{CatalogCheck, CatalogProblem};
pub use checkpoint::CheckpointReport;
pub use commit::{CommitAllOptions, CommitOutcome, CommitReceipt, NameConflict, Source};
pub use compact::{CompactOptions, CompactReport, KeptRoom, KeptWhy, ScannedExtents};
pub use deep_scan::DeepScanReport;
pub use health::{ArchiveHealth, FileHealth, HealthClass, HealthState};
pub use health_query::{ClassListing, HealthListing, HealthQuery};
pub use inspect::FileDamage;
pub use intents::{UnfinishedCommit, UnfinishedFile};
pub use known_damage::{KnownDamage, VerificationAges};
pub use met::MetDamage;
pub use observer::{CommitObserver, DamageKind, DamagePart, Event, Finding, Observer, RestoreObserver};
pub use options::{ArchiveOptions, CommitOptions, OpenOptions, Resources};
pub use read::FileReader;
pub use rebuild::{RebuildFrom, RebuildOptions, RebuildReport, UsableNames};
pub use recovery::RecoveryReport;
pub use remove::Removal;
pub use rename::{RenameConflict, RenameReceipt};
pub use repair::{MoveOptions, MoveReport, RepairMode, RepairOptions, RepairReport};
pub use restore::{Losses, RestoreOptions, RestoreReceipt};
pub use scrub::{RefusedExtent, ScrubDepth, ScrubOptions, ScrubReport, ScrubSelection};
pub use snapshot::{BlockPlaces, FileGroups, FileInfo, Files, Snapshot, VolumeInfo};
pub use space::VolumeSpace;
pub use tolerance::TierTolerance;
pub use volumes::VolumeCondition;
pub use what_if::{FileLoss, Loss, LossListing, WhatIfReport};

use crate::{
    error::{CatalogError, CloseError, CommitError, OpenError, RepairError, ScrubError},
    geometry::Policy,
    host::{ExcludedDirectories, Machine},
    units::{ArchiveId, CommitId, FileName, VolumeId},
};
use shared::Shared;

/// An open archive.
///
/// `Send + Sync`: one value serves any number of threads, and any number of processes may have the same archive open.
#[derive(Debug)]
pub struct Archive {
    shared: Arc<Shared>,
}

impl Archive {
    /// Makes an archive in a directory that is absent or empty, and opens it for writing.
    ///
    /// When this returns the archive is on disk; a crash before leaves nothing that counts as one.
    ///
    /// # Errors
    /// [`OpenError::Exists`] when the directory holds anything: an archive is never made over another.
    /// [`OpenError::VolumesNotSurvived`] when the policy promises more than so many volumes give, and others that say what is
    /// wrong with the directory of a volume; nothing was made then.
    pub fn create(root: &Path, options: &ArchiveOptions) -> Result<Self, OpenError> {
        Self::create_on(&Machine::default(), root, options)
    }

    /// Does the same on a machine, which may be a simulated one.
    ///
    /// # Errors
    /// As for [`Self::create`].
    pub fn create_on(machine: &Machine, root: &Path, options: &ArchiveOptions) -> Result<Self, OpenError> {
        create::create(machine, root, options)
    }

    /// Refuses what [`Self::create`] refuses before it makes anything, and makes nothing.
    ///
    /// # Errors
    /// As for [`Self::create`].
    pub fn check_creation(root: &Path, options: &ArchiveOptions) -> Result<(), OpenError> {
        create::check(&Machine::default(), root, options).map(drop)
    }

    /// Opens an archive; opening for writing settles what writers that died have left.
    ///
    /// # Errors
    /// [`OpenError`] says whether there is none, whether it is newer than this program, and what is damaged.
    pub fn open(root: &Path, options: &OpenOptions) -> Result<(Self, RecoveryReport), OpenError> {
        Self::open_on(&Machine::default(), root, options)
    }

    /// Does the same on a machine, which may be a simulated one.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_on(
        machine: &Machine,
        root: &Path,
        options: &OpenOptions,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        create::open(machine, root, options)
    }

    /// Makes the catalog of an archive again, when it is lost, and opens the archive for writing.
    ///
    /// Everything that was published is in the journal, of which one copy at least must be found whole from its beginning: on
    /// the volumes in the directory of the archive, and on those in [`OpenOptions::volumes`]. The new catalog has the files,
    /// names, volumes and places that the lost one had; what scrubs have learnt, and interrupted commits, it does not. One that
    /// is there is kept beside it under a longer name. Until this returns `Ok` the catalog is not complete; interrupted, it
    /// goes on with the same call, or when the archive is opened for writing. Nobody else may have the archive open.
    ///
    /// # Errors
    /// [`OpenError::JournalMissing`], [`OpenError::Forked`], [`OpenError::Journal`] for one that is not whole or whose
    /// descriptors cannot be read, [`OpenError::VolumeTaken`] for volumes of several archives, and those of
    /// [`Self::open_on`].
    pub fn rebuild_catalog(
        machine: &Machine,
        root: &Path,
        options: &OpenOptions,
    ) -> Result<(Self, RebuildReport), OpenError> {
        rebuild::rebuild(machine, root, options)
    }

    /// Does the same from what is asked for. [`RebuildFrom::Frames`] is for an archive that has lost its journal too: it goes through
    /// every extent of every volume that is found as for [`Self::rebuild_catalog`], and makes the catalog from what commits have
    /// written about their files there.
    ///
    /// Which of the files lived is not known then. Each of which a frame is found at least, and each entry without bytes, is offered
    /// under `recovered/` and its old name, or, where a newer one of that name is, under `recovered-older/`, the number of its commit
    /// and its old name; none has its own. What is missing of them the next scrub tells. Nothing on the volumes is removed. The report
    /// says whether anything points to a volume that was not found: with it, the same call finds more.
    ///
    /// `observer` is told how many bytes were gone through, and may end a deep scan before it changes anything.
    ///
    /// # Errors
    /// [`OpenError::NamesKnown`] where catalog or journal can be used, unless they are given up with [`UsableNames::GiveUp`];
    /// [`OpenError::DescriptorsMissing`] without any descriptor; [`OpenError::Cancelled`]; those of [`Self::rebuild_catalog`].
    pub fn rebuild_catalog_with(
        machine: &Machine,
        root: &Path,
        options: &OpenOptions,
        rebuild: RebuildOptions,
        observer: &dyn Observer,
    ) -> Result<(Self, RebuildReport), OpenError> {
        match rebuild.from {
            RebuildFrom::Journal => rebuild::rebuild(machine, root, options),
            RebuildFrom::Frames(names) => deep_scan::rebuild(machine, root, options, names, observer),
        }
    }

    /// Returns the identity of the archive.
    pub fn id(&self) -> ArchiveId {
        self.shared.archive_id()
    }

    /// Returns which lengths get which protection here.
    pub fn policy(&self) -> &Policy {
        self.shared.policy()
    }

    /// Returns the directories of the archive and its volumes, for walks over trees: they are never a source.
    ///
    /// # Errors
    /// [`CommitError`] when the catalog cannot be read or a directory cannot be inspected.
    pub fn own_directories(&self) -> Result<ExcludedDirectories, CommitError> {
        self.shared.own_directories()
    }

    /// Stores what is at a path of the host: a file, a directory (without what is in it) or a symbolic link.
    ///
    /// When this returns the file is durable and visible; on an error, and after a crash at any moment before, nothing of
    /// it is. A name that is taken is compared: the same content is nothing to do, other content is refused.
    ///
    /// # Errors
    /// [`CommitError`]; the archive is as it was.
    pub fn commit_path(
        &self,
        name: &FileName,
        path: &Path,
        observer: &dyn Observer,
    ) -> Result<CommitOutcome, CommitError> {
        self.and_checkpoint(commit::commit_path(&self.shared, name, path, observer))
    }

    /// Stores many sources: files, directories and symbolic links, each as what it is. What lies below a directory is
    /// not looked for: whoever walks a tree gives every entry.
    ///
    /// Each source is stored wholly or not at all, and `observer` is told once it is durable and visible; the call as a
    /// whole is not atomic. Small files share one sync and one transaction, thousands at a time. `sources` is asked on the
    /// caller's thread and never far ahead, so that any number takes bounded memory: two batches of at most 4096 entries
    /// and 4 MiB, some 30 MiB beside the cache of the catalog. One source that fails does not stop the rest. Of sources with
    /// one name the last is compared with those before it, as if they were committed one after another.
    ///
    /// # Errors
    /// [`CommitError`] when it makes no sense to go on (the volume is full, the catalog fails, `observer` cancels): sources
    /// that were not told of are not stored.
    pub fn commit_all(
        &self,
        sources: &mut dyn Iterator<Item = Source>,
        options: &CommitAllOptions,
        observer: &dyn CommitObserver,
    ) -> Result<(), CommitError> {
        self.and_checkpoint(commit::commit_all(&self.shared, sources, *options, observer))
    }

    /// Stores a stream whose length nobody knows; reads it once, to its end.
    ///
    /// It is spooled to a file without a name in the archive first, since the length decides how it is protected.
    ///
    /// # Errors
    /// The same as for [`Self::commit_path`].
    pub fn commit_reader(
        &self,
        name: &FileName,
        source: &mut dyn Read,
        options: &CommitOptions,
        observer: &dyn Observer,
    ) -> Result<CommitOutcome, CommitError> {
        self.and_checkpoint(commit::commit_reader(
            &self.shared,
            (name, source),
            options,
            observer,
        ))
    }

    /// Stores a stream of `len_bytes` bytes; reads it once, from the start to the end.
    ///
    /// Durable and visible when this returns, like [`Self::commit_path`].
    ///
    /// # Errors
    /// [`CommitError::SourceLength`] when the stream is shorter or longer, [`CommitError::NameTaken`] when the name is.
    pub fn commit(
        &self,
        name: &FileName,
        mut source: impl Read + Send,
        len_bytes: u64,
        options: &CommitOptions,
    ) -> Result<CommitReceipt, CommitError> {
        self.and_checkpoint(commit::commit_stream(
            &self.shared,
            name,
            (&mut source, len_bytes),
            options,
            &(),
        ))
    }

    /// Lists the commits that have begun and are not done: those that run just now, and those that were interrupted and can
    /// go on.
    ///
    /// # Errors
    /// [`CommitError`] when the catalog or the sessions cannot be read.
    pub fn unfinished(&self) -> Result<Vec<UnfinishedCommit>, CommitError> {
        intents::list(&self.shared)
    }

    /// Goes on with an interrupted commit from its last point of progress, after verifying what it builds on.
    ///
    /// Durable and visible when this returns, like [`Self::commit_path`].
    ///
    /// # Errors
    /// [`CommitError::NoSuchCommit`], [`CommitError::InProgress`], [`CommitError::NotResumable`]; [`CommitError::Source`]
    /// when the source is not what it was: then the commit waits on, until it is rolled back. Others as for a commit.
    pub fn resume(&self, commit: CommitId, observer: &dyn Observer) -> Result<CommitOutcome, CommitError> {
        let intent = intents::find(&self.shared, commit)?;
        let source = commit::open_source(&intent)?;
        self.and_checkpoint(commit::resume(&self.shared, &intent, &source, observer))
    }

    /// Gives back everything that an interrupted commit has taken.
    ///
    /// # Errors
    /// [`CommitError::NoSuchCommit`], [`CommitError::InProgress`].
    pub fn roll_back(&self, commit: CommitId) -> Result<(), CommitError> {
        intents::give_back(&self.shared, commit)
    }

    /// Reads the whole journal and makes each copy whole from the others, durably; returns how many faults that were.
    ///
    /// Opening for writing does the same for the ends of the copies.
    ///
    /// # Errors
    /// [`CommitError`] when the archive cannot be written, or when the journal went another way than the catalog.
    pub fn mend_journal(&self) -> Result<u64, CommitError> {
        recovery::mend_journal(&self.shared)
    }

    /// Makes a volume in a directory that is absent or empty, best on a disk of its own, and adds it to the archive: durable and
    /// in use when this returns, also by processes that have the archive open. What is stored stays where it is; what comes is
    /// dealt to all volumes.
    ///
    /// # Errors
    /// [`CommitError::Volumes`] says what is wrong with the directory; then nothing was added.
    pub fn add_volume(&self, path: &Path) -> Result<VolumeId, CommitError> {
        volume_changes::add_volume(&self.shared, path)
    }

    /// Refuses what [`Self::add_volume`] refuses before it makes anything, and makes nothing.
    ///
    /// # Errors
    /// As for [`Self::add_volume`].
    pub fn check_new_volume(&self, path: &Path) -> Result<(), CommitError> {
        volume_changes::check_new_volume(&self.shared, path)
    }

    /// Makes a volume in a directory that is absent or empty, and moves everything to it that is on another one, which is then
    /// no part of the archive any more. The old volume need not be there: what cannot be copied is decoded.
    ///
    /// Others may commit and read all the while. Ended early, by the observer, an error or a crash, it goes on with the same call:
    /// what was moved stays moved. With shards left (see [`MoveReport`]) the old volume stays, and takes nothing new.
    ///
    /// # Errors
    /// [`RepairError`]; [`CommitError::Volumes`] in it says what is wrong with the directory.
    pub fn replace_volume(
        &self,
        old: VolumeId,
        path: &Path,
        options: MoveOptions,
        observer: &dyn Observer,
    ) -> Result<(VolumeId, MoveReport), RepairError> {
        volume_changes::replace_volume(&self.shared, (old, path), options, observer)
    }

    /// Moves everything that is on a volume to the others; nothing new goes there from now on. The volume need not be there.
    ///
    /// Others may commit and read all the while, and it goes on where it was, as for [`Self::replace_volume`].
    ///
    /// # Errors
    /// [`RepairError`]; in it [`CommitError::LastVolume`] and [`CommitError::NoRoomToDrain`], and then nothing is changed.
    pub fn drain_volume(
        &self,
        volume: VolumeId,
        options: MoveOptions,
        observer: &dyn Observer,
    ) -> Result<MoveReport, RepairError> {
        volume_changes::drain_volume(&self.shared, volume, options, observer)
    }

    /// Moves shards of files that lie on fewer volumes than they could, and survive the loss of fewer for it: they were stored
    /// when there were fewer volumes, or while some were away. Looks at every block; ended early, it goes on with the same call.
    ///
    /// # Errors
    /// [`RepairError`]; what was moved stays moved.
    pub fn spread(&self, options: MoveOptions, observer: &dyn Observer) -> Result<MoveReport, RepairError> {
        volume_changes::spread_all(&self.shared, options, observer)
    }

    /// Lets a volume that holds nothing any more be a part of the archive no longer; its directory stays as it is.
    ///
    /// # Errors
    /// [`CommitError::VolumeNotDrained`] and [`CommitError::LastVolume`] in a [`RepairError`].
    pub fn remove_volume(&self, volume: VolumeId) -> Result<(), RepairError> {
        volume_changes::remove_volume(&self.shared, volume)
    }

    /// Takes a view of what is stored.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be read.
    pub fn snapshot(&self) -> Result<Snapshot, CatalogError> {
        Snapshot::new(Arc::clone(&self.shared))
    }

    /// Reads and verifies everything that is stored, in disk order.
    ///
    /// # Errors
    /// [`ScrubError`] when the catalog cannot be read. Damage is not an error but in the report.
    pub fn scrub(&self, observer: &dyn Observer) -> Result<ScrubReport, ScrubError> {
        self.scrub_with(&ScrubOptions::default(), observer)
    }

    /// Does the same as far as is asked for. What was never verified comes first, then what was verified longest ago.
    ///
    /// An archive that is open for writing remembers what it has found, and what was verified when: noted every now and then,
    /// so that a scrub that is stopped, or killed, is gone on with by the next one.
    ///
    /// # Errors
    /// [`ScrubError`] when the catalog cannot be read or written, or when the observer asked for an end. Damage is not an error
    /// but in the report; what the observer was told of is noted all the same.
    pub fn scrub_with(
        &self,
        options: &ScrubOptions,
        observer: &dyn Observer,
    ) -> Result<ScrubReport, ScrubError> {
        scrub::scrub(&self.shared, options, observer)
    }

    /// Takes the damage that reads have met while the archive is open for reading, for somebody to note who has it open for
    /// writing; there they note it themselves.
    pub fn take_met_damage(&self) -> MetDamage {
        self.shared.met.take()
    }

    /// Notes damage that reads have met, so that `health` knows of it and a repair finds it; returns how much of it is news.
    /// Damage of what was repaired or removed meanwhile is dropped.
    ///
    /// # Errors
    /// [`CatalogError`] when the catalog cannot be written.
    pub fn note_damage(&self, met: &MetDamage) -> Result<u64, CatalogError> {
        met::record(&self.shared.catalog, met.findings())
    }

    /// Writes damaged shards anew, elsewhere: what reads and scrubs have found and what can be decoded or taken from originals.
    ///
    /// What is reported as repaired is durable, was read back from the medium, and tolerates the full number of losses again.
    /// Nothing to do is no error, so it can be called at any time. Damage that nobody has met is found by [`Self::scrub`].
    ///
    /// # Errors
    /// [`RepairError`]; what the observer was told of is repaired all the same. Damage that stays is in the report.
    pub fn repair(
        &self,
        options: &RepairOptions,
        observer: &dyn Observer,
    ) -> Result<RepairReport, RepairError> {
        repair::repair(&self.shared, options, observer)
    }

    /// Takes a checkpoint where it is due behind what was done.
    fn and_checkpoint<T>(&self, done: T) -> T {
        checkpoint::take_if_due(&self.shared);
        done
    }

    /// Closes the archive; snapshots and readers that are still there keep it open until they are gone.
    ///
    /// # Errors
    /// [`CloseError`]; everything that was acknowledged is stored all the same.
    pub fn close(self) -> Result<(), CloseError> {
        Arc::into_inner(self.shared).map_or(Ok(()), Shared::close)
    }
}
