//! How a publication is applied: the one transaction that the first publishing and every replay do alike.

use std::collections::{BTreeMap, BTreeSet};

use super::checkpoint::CheckpointStep;
use super::descriptor::Entry;
use super::descriptors::{Described, DescriptorRecord};
use super::publication::{GivenVersion, NextIds, Publication, PublishedExtent, VolumeChange};
use super::reader::CatalogReader;
use super::records::{BlockRecord, FileRecord, VolumeRecord, VolumeState};
use super::rows::{ExtentRow, ImpossibleField};
use super::tables::volume_key;
use super::writer::CatalogWriter;
use crate::error::{CatalogError, CatalogTable};
use crate::units::{BlockId, CommitId, Epoch, ExtentId, FileId, FileName, to_u64};

#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for every query and explained with the type"
)]
impl CatalogReader {
    /// Returns the ids that are given next.
    pub fn next_ids(&self) -> Result<NextIds, CatalogError> {
        let counters = self.counters()?;
        Ok(NextIds {
            file: FileId::new(counters.next_file),
            block: BlockId::new(counters.next_block),
            extent: ExtentId::new(counters.next_extent),
            commit: CommitId::new(counters.next_commit),
        })
    }
}

impl CatalogWriter {
    /// Does what a publication says, with all entries of its descriptor, and returns the epoch of it.
    ///
    /// The same catalog and the same publication give the same rows: an entry gets version 1, or the one behind the last that
    /// was removed or retired of its name, whatever its record says. A descriptor of which no entry is published gets no row.
    ///
    /// # Errors
    /// [`ImpossiblePublication`](CatalogError::ImpossiblePublication) leaves the transaction as it was, but where a directory is
    /// retired, kept versions are left without an entry of their name, or a new name is too long. All others spoil it:
    /// [`UnknownFile`](CatalogError::UnknownFile) for what is removed, retired or touched,
    /// [`UnknownName`](CatalogError::UnknownName) and [`NameTaken`](CatalogError::NameTaken) for what is renamed,
    /// [`UnknownVolumeNumber`](CatalogError::UnknownVolumeNumber), and those of [`Self::put_extent`], [`Self::insert_file`]
    /// and [`Self::put_descriptor`].
    ///
    /// # Panics
    /// When the transaction has published already.
    pub fn apply(&mut self, publication: &Publication, entries: Vec<Entry>) -> Result<Epoch, CatalogError> {
        self.apply_with(publication, entries, Orphans::Impossible)
    }

    /// Does the same where commits were passed over: kept versions whose name they would have now may be left without an entry,
    /// and the newest of them gets the name back, until a later publication gives it to another one or removes it.
    ///
    /// # Errors
    /// Those of [`Self::apply`].
    pub fn apply_behind_passed_over(
        &mut self,
        publication: &Publication,
        entries: Vec<Entry>,
    ) -> Result<Epoch, CatalogError> {
        self.apply_with(publication, entries, Orphans::GetTheirNameBack)
    }

    fn apply_with(
        &mut self,
        publication: &Publication,
        entries: Vec<Entry>,
        orphans: Orphans,
    ) -> Result<Epoch, CatalogError> {
        check(publication, &entries)?;
        let applied = self.apply_all(publication, entries, orphans);
        if applied.is_err() {
            self.spoil();
        }
        applied
    }

    /// Returns what follows from what was applied: the lists [`Publication::forgotten`] and [`Publication::versions`].
    pub fn consequences(&self) -> (Vec<CommitId>, Vec<GivenVersion>) {
        let Some(pending) = &self.view.pending else {
            return (Vec::new(), Vec::new());
        };
        let given = pending.versions.iter();
        let given = given.map(|(&position, &version)| GivenVersion { position, version });
        (pending.forgotten.iter().copied().collect(), given.collect())
    }

    /// Returns the part of a publication that is about entries and blocks which are there; `None` when all are. Others belong to
    /// commits that were passed over, since nothing of them is left at the end of the journal.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] when rows are not what was written.
    pub fn known_part(
        &self,
        publication: &Publication,
        entries: &[Entry],
    ) -> Result<Option<Publication>, CatalogError> {
        let mut part = publication.clone();
        let is_new = |file: FileId| entries.iter().any(|(entry, _)| entry.id == file);
        part.removed.clear();
        for &file in &publication.removed {
            part.removed.extend(self.file(file)?.map(|_| file));
        }
        part.retired.clear();
        for &file in &publication.retired {
            part.retired.extend(self.file(file)?.map(|_| file));
        }
        // What one that was passed over would have taken the name of: nothing is removed without a word, so it is a kept version.
        let is_stored = |position: &u32| publication.skipped.binary_search(position).is_err();
        let stored = (0_u32..).zip(entries).filter(|(position, _)| is_stored(position));
        for (_, (entry, _)) in stored {
            let named = self.file_by_name(&entry.name)?.map(|named| named.id);
            let stays = |file: &FileId| !part.removed.contains(file) && !part.retired.contains(file);
            part.retired.extend(named.filter(stays));
        }
        part.renamed.clear();
        for renaming in &publication.renamed {
            let is_there = !self.files_page(Some(&renaming.from), None, 1)?.is_empty();
            part.renamed.extend(is_there.then(|| renaming.clone()));
        }
        part.touched.clear();
        for touch in &publication.touched {
            let is_known = is_new(touch.file) || self.file(touch.file)?.is_some();
            part.touched.extend(is_known.then_some(*touch));
        }
        part.relocated.clear();
        for moved in &publication.relocated {
            let block = self.block_by_owner(moved.owner)?;
            part.relocated.extend(block.map(|_| *moved));
        }
        Ok((part != *publication).then_some(part))
    }

    /// Raises the ids that are given next to at least these: for a catalog that was brought forward, where others have been
    /// seen in use.
    pub fn raise_next_ids(&mut self, at_least: &NextIds) {
        let counters = &mut self.pending_mut().counters;
        counters.next_file = counters.next_file.max(at_least.file.get());
        counters.next_block = counters.next_block.max(at_least.block.get());
        counters.next_extent = counters.next_extent.max(at_least.extent.get());
        counters.next_commit = counters.next_commit.max(at_least.commit.get());
    }

    /// Raises the epoch to at least this one: for a catalog that was not made by publications, whose archive has come so far.
    pub fn raise_epoch(&mut self, at_least: Epoch) {
        let counters = &mut self.pending_mut().counters;
        counters.epoch = counters.epoch.max(at_least.get());
    }

    fn apply_all(
        &mut self,
        publication: &Publication,
        entries: Vec<Entry>,
        orphans: Orphans,
    ) -> Result<Epoch, CatalogError> {
        for volume in publication
            .volumes
            .iter()
            .filter(|volume| volume.state != VolumeState::Removed)
        {
            self.put_volume_change(volume)?;
        }
        // Ends move before shards are placed behind the old ones.
        for extent in &publication.extents {
            self.put_published_extent(extent)?;
        }
        // Before anything is removed: each is where it is said to be when the transaction begins.
        self.relocate(&publication.relocated)?;
        // Names are free before they are taken.
        let replaced = self.free_names(publication)?;
        let live_entries = self.insert_entries(publication, entries, &replaced)?;
        self.leave_no_orphan(replaced.keys(), orphans)?;
        for touch in &publication.touched {
            self.set_metadata_by_id(touch.file, touch.mode, touch.modified_at)?;
        }
        for renaming in &publication.renamed {
            self.rename(renaming)?;
        }
        let described = match (&publication.checkpoint, live_entries) {
            (Some(CheckpointStep::Slice), _) => Some(Described::Slice),
            (_, 0) => None,
            (_, live) => Some(Described::Entries(live)),
        };
        if let (Some(commit), Some(block)) = (publication.commit, &publication.descriptor)
            && let Some(described) = described
        {
            self.put_descriptor(&DescriptorRecord {
                commit,
                described,
                block: block.clone(),
            })?;
        }
        if let Some(step) = &publication.checkpoint {
            self.apply_checkpoint(step, publication.commit)?;
        }
        if let (Some(commit), Some(_), 0) = (publication.commit, &publication.descriptor, live_entries) {
            self.pending_mut().forgotten.insert(commit);
        }
        if let Some(commit) = publication.commit {
            self.remove_intent(commit)?;
        }
        // Behind everything that moves shards away from them.
        for volume in publication
            .volumes
            .iter()
            .filter(|volume| volume.state == VolumeState::Removed)
        {
            self.forget_extents_of(volume)?;
            self.put_volume_change(volume)?;
        }
        self.raise_next_ids(&publication.next_ids);
        let epoch = self.advance_epoch();
        self.note_announcement(&publication.announced, epoch)?;
        Ok(epoch)
    }

    /// Removes and retires; returns the last version of each name that this was.
    fn free_names(&mut self, publication: &Publication) -> Result<BTreeMap<FileName, u32>, CatalogError> {
        let mut last_versions: BTreeMap<FileName, u32> = BTreeMap::new();
        let mut note = |file: FileRecord| {
            let last = last_versions.entry(file.name).or_default();
            *last = file.version.max(*last);
        };
        for &file in &publication.removed {
            note(self.remove_file_by_id(file)?);
        }
        for &file in &publication.retired {
            note(self.retire(file)?);
        }
        Ok(last_versions)
    }

    /// Adds a volume, or changes what is known of one but for the epoch that it has heard of.
    fn put_volume_change(&mut self, change: &VolumeChange) -> Result<(), CatalogError> {
        let known = self.volumes()?.into_iter().find(|known| known.id == change.id);
        self.put_volume(&VolumeRecord {
            number: change.number,
            id: change.id,
            path: change.path.clone(),
            state: change.state,
            epoch: known.map_or(Epoch::ZERO, |known| known.epoch),
        })
    }

    /// Forgets the extents of a volume, which hold nothing that lives.
    fn forget_extents_of(&mut self, volume: &VolumeChange) -> Result<(), CatalogError> {
        let extents = self.extents()?.into_iter();
        for extent in extents.filter(|extent| extent.volume == volume.id) {
            if extent.live_shards > 0 || extent.owner.is_some() {
                let (volume, extent) = (volume.id, extent.id);
                return Err(CatalogError::VolumeInUse { volume, extent });
            }
            self.remove_extent(extent.id)?;
        }
        Ok(())
    }

    fn note_announcement(&mut self, announced: &[u16], epoch: Epoch) -> Result<(), CatalogError> {
        if announced.is_empty() {
            return Ok(());
        }
        let mut volumes = self.volumes()?;
        for &number in announced {
            let volume = volumes.iter_mut().find(|volume| volume.number == number);
            let volume = volume.ok_or(CatalogError::UnknownVolumeNumber { number })?;
            volume.epoch = epoch;
            self.put_volume(volume)?;
        }
        Ok(())
    }

    /// Inserts what is not skipped; returns how many entries that are.
    fn insert_entries(
        &mut self,
        publication: &Publication,
        entries: Vec<Entry>,
        replaced: &BTreeMap<FileName, u32>,
    ) -> Result<u64, CatalogError> {
        let skipped: BTreeSet<u64> = publication.skipped.iter().copied().map(u64::from).collect();
        let given = publication.versions.iter();
        let given: BTreeMap<u64, u32> = given
            .map(|given| (u64::from(given.position), given.version))
            .collect();
        let mut stored = Vec::new();
        for ((mut file, blocks), position) in entries.into_iter().zip(0..) {
            if skipped.contains(&position) {
                continue;
            }
            let follows = replaced
                .get(&file.name)
                .map_or(1, |version| version.saturating_add(1));
            // Where the one before was passed over only the record knows; but no two versions of a name have the same number.
            file.version = given
                .get(&position)
                .map_or(follows, |&version| version.max(follows));
            if let (true, Ok(position)) = (file.version > 1, u32::try_from(position)) {
                self.pending_mut().versions.insert(position, file.version);
            }
            stored.push((file, blocks));
        }
        let live_entries = to_u64(stored.len());
        self.insert_many(stored)?;
        Ok(live_entries)
    }

    /// Inserts entries, those with at most one block together.
    pub(super) fn insert_many(&mut self, entries: Vec<Entry>) -> Result<(), CatalogError> {
        let mut few_blocks: Vec<(FileRecord, Option<BlockRecord>)> = Vec::new();
        let mut many_blocks: Vec<Entry> = Vec::new();
        for (file, mut blocks) in entries {
            if blocks.len() > 1 {
                many_blocks.push((file, blocks));
            } else {
                few_blocks.push((file, blocks.pop()));
            }
        }
        self.insert_files(&few_blocks)?;
        for (file, blocks) in many_blocks {
            self.insert_file(&file, blocks)?;
        }
        Ok(())
    }

    /// Leaves no kept version of a name that nothing has any more.
    fn leave_no_orphan<'name>(
        &mut self,
        mut names: impl Iterator<Item = &'name FileName>,
        orphans: Orphans,
    ) -> Result<(), CatalogError> {
        names.try_for_each(|name| {
            if !self.is_orphaned(name)? {
                return Ok(());
            }
            match orphans {
                Orphans::Impossible => {
                    let field = "kept version of a name that is free";
                    Err(CatalogError::ImpossiblePublication { field })
                }
                Orphans::GetTheirNameBack => self.give_name_back(name),
            }
        })
    }

    pub(super) fn put_published_extent(&mut self, extent: &PublishedExtent) -> Result<(), CatalogError> {
        let number = extent.volume;
        let table = CatalogTable::Volumes;
        if self
            .source
            .get(&self.guard, table, &volume_key(number))?
            .is_none()
        {
            return Err(CatalogError::UnknownVolumeNumber { number });
        }
        let row = ExtentRow {
            volume: number,
            lane: extent.lane.get(),
            state: extent.state.number(),
            owner: None,
            end_bytes: extent.end_bytes,
            live_bytes: 0,
            live_shards: 0,
            live_files: 0,
        };
        self.put_extent_row(extent.id, row)
    }
}

/// What becomes of kept versions whose name nothing has any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Orphans {
    /// There are none.
    Impossible,
    /// The newest of a name has it again.
    GetTheirNameBack,
}

/// Checks what can be said before anything is changed.
fn check(publication: &Publication, entries: &[Entry]) -> Result<(), CatalogError> {
    let impossible = |ImpossibleField(field)| CatalogError::ImpossiblePublication { field };
    publication.check().map_err(impossible)?;
    let count = to_u64(entries.len());
    if publication
        .skipped
        .last()
        .is_some_and(|&last| u64::from(last) >= count)
    {
        return Err(impossible(ImpossibleField("list of skipped entries")));
    }
    let is_of_commit = |(file, _): &Entry| Some(file.commit) == publication.commit;
    if !entries.iter().all(is_of_commit) {
        return Err(impossible(ImpossibleField("entry of another commit")));
    }
    Ok(())
}
