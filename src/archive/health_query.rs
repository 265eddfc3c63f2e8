//! Which files are asked for, and how they are found: through the shortest index that has them all.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    FileHealth, FileInfo, HealthClass, HealthState, Snapshot,
    health::{healths, healths_of_damage, last_verified},
    name_pages::{Entry, NamePages, PAGE_LEN},
    shared::Shared,
};
use crate::{
    catalog::{CatalogReader, DamagedFile, FileState, HealthTotals, Verified},
    error::CatalogError,
    geometry::{Policy, Tier},
    units::{BlockIndex, ExtentId, FileId, FileName, Timestamp, VolumeId},
};

/// How much is sorted by names.
const SORTED: SortedLimits = SortedLimits {
    files: 65_536,
    bytes: 32 << 20,
};

/// Which files are asked for: those that every part lets through. The default asks for all.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HealthQuery {
    /// Files of any of these classes; of all, when it is empty.
    pub classes: BTreeSet<HealthClass>,
    /// Files of any of these tiers; of all, when it is empty.
    pub tiers: BTreeSet<Tier>,
    /// Files whose worst column may lose at most so many more shards.
    pub margin_at_most: Option<u16>,
    /// Files with a byte that was not verified at this time or later.
    pub not_verified_since: Option<Timestamp>,
    /// Files with a frame on this volume.
    pub volume: Option<VolumeId>,
    /// The file of this name, and all below it; whole parts are compared.
    pub prefix: Option<FileName>,
    /// Whether it is to be looked up when each file was verified last, which costs a look at each of its blocks.
    pub looks_up_last_verified: bool,
}

/// Files and how they are, kept versions among them, in the order of their names and versions.
///
/// No transaction is held between pages of some thousand files: one that has gone meanwhile is not listed, and one that has
/// changed is listed as it is when its page is looked up. Memory is bounded whatever the number of files.
#[derive(Debug)]
pub struct HealthListing {
    shared: Arc<Shared>,
    query: HealthQuery,
    limits: SortedLimits,
    walk: Walk,
    page: std::vec::IntoIter<FileHealth>,
}

/// Most that is sorted by names; where an index has more, all names are gone through instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SortedLimits {
    /// Files in the index.
    files: u64,
    /// Memory for those that are asked for.
    bytes: usize,
}

/// How the files are found.
#[derive(Debug)]
enum Walk {
    /// Nobody has looked yet.
    Unplanned,
    /// Name by name.
    Names(NamePages),
    /// The last page is there.
    Done,
}

/// Entries and the one word for how they are, in the order of their names; `None` for directories and links.
#[derive(Debug)]
pub struct ClassListing {
    pages: NamePages,
    page: std::vec::IntoIter<(FileInfo, Option<HealthClass>)>,
}

/// An index that has few of the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Index {
    Damaged(FileState),
    Unverified,
}

impl Snapshot {
    /// Lists files and how they are, kept versions among them, in the order of their names and versions.
    ///
    /// What asks for damaged files only (by class, or by a margin that no healthy file has), or for unverified ones, costs as
    /// much as there are of those, up to some ten thousand; anything else goes through all names below the prefix.
    pub fn health(&self, query: &HealthQuery) -> HealthListing {
        HealthListing {
            shared: Arc::clone(&self.shared),
            query: query.clone(),
            limits: SORTED,
            walk: Walk::Unplanned,
            page: Vec::new().into_iter(),
        }
    }

    /// Lists what `prefix` names and everything below it, as [`Self::files`] does, with the one word for how each is.
    pub fn files_with_class(&self, prefix: Option<&FileName>) -> ClassListing {
        ClassListing {
            pages: NamePages::new(&self.shared, prefix),
            page: Vec::new().into_iter(),
        }
    }

    /// Lists the same and all kept versions, as [`Self::files_and_versions`] does.
    pub fn versions_with_class(&self, prefix: Option<&FileName>) -> ClassListing {
        ClassListing {
            pages: NamePages::with_kept(&self.shared, prefix),
            page: Vec::new().into_iter(),
        }
    }
}

impl Iterator for HealthListing {
    type Item = Result<FileHealth, CatalogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(health) = self.page.next() {
                return Some(Ok(health));
            }
            match self.fetch() {
                Ok(true) => {}
                Ok(false) => return None,
                Err(error) => {
                    self.walk = Walk::Done;
                    return Some(Err(error));
                }
            }
        }
    }
}

impl HealthListing {
    /// Gets the next page; says whether more may follow.
    fn fetch(&mut self) -> Result<bool, CatalogError> {
        match &mut self.walk {
            Walk::Unplanned => {
                let sorted = match self.query.indexes(self.shared.policy()) {
                    Some(indexes) => self.sorted(&indexes)?,
                    None => None,
                };
                self.walk = match sorted {
                    Some(files) => {
                        self.page = files.into_iter();
                        Walk::Done
                    }
                    None => Walk::Names(NamePages::with_kept(&self.shared, self.query.prefix.as_ref())),
                };
                Ok(true)
            }
            Walk::Names(pages) => {
                let Some((reader, entries)) = pages.next()? else {
                    self.walk = Walk::Done;
                    return Ok(false);
                };
                let healths = healths(&reader, &entries)?;
                self.page = self.query.filter(&reader, &entries, healths)?.into_iter();
                Ok(true)
            }
            Walk::Done => Ok(false),
        }
    }

    /// Returns the files of indexes in the order of their names, or `None` when they are too many.
    fn sorted(&self, indexes: &[Index]) -> Result<Option<Vec<FileHealth>>, CatalogError> {
        let totals = self.shared.catalog.read()?.health()?;
        let count: u64 = indexes.iter().map(|index| index.count(&totals)).sum();
        if count > self.limits.files {
            return Ok(None);
        }
        let mut sorted: Vec<FileHealth> = Vec::new();
        let mut room = self.limits.bytes;
        for index in indexes {
            let mut after = None;
            loop {
                let reader = self.shared.catalog.read()?;
                let page = index.page(&reader, after)?;
                for health in self.query.filter(&reader, &page.entries, page.healths)? {
                    let bytes = size_of::<FileHealth>() + health.file.name.as_bytes().len();
                    let Some(left) = room.checked_sub(bytes) else {
                        return Ok(None);
                    };
                    room = left;
                    sorted.push(health);
                }
                let Some(last) = page.last else { break };
                after = Some(last);
            }
        }
        let order = |health: &FileHealth| (health.file.name.clone(), health.file.version);
        sorted.sort_by_cached_key(order);
        // One that is damaged and unverified is in two indexes.
        sorted.dedup_by_key(|health| health.file.file);
        Ok(Some(sorted))
    }
}

/// Files of an index.
struct IndexPage {
    entries: Vec<Entry>,
    healths: Vec<Option<FileHealth>>,
    /// The last file of a page that others may follow.
    last: Option<FileId>,
}

impl Index {
    const fn count(self, totals: &HealthTotals) -> u64 {
        match self {
            Self::Damaged(FileState::Degraded) => totals.degraded_files,
            Self::Damaged(FileState::Lost) => totals.lost_files,
            Self::Unverified => totals.unverified_files,
        }
    }

    fn page(self, reader: &CatalogReader, after: Option<FileId>) -> Result<IndexPage, CatalogError> {
        let (ids, damage): (Vec<FileId>, Vec<Option<DamagedFile>>) = match self {
            Self::Damaged(state) => {
                let page = reader.damaged_files_page(state, after, PAGE_LEN)?;
                page.into_iter()
                    .map(|damaged| (damaged.file, Some(damaged)))
                    .unzip()
            }
            Self::Unverified => {
                let ids = reader.unverified_page(after, PAGE_LEN)?;
                let damage = reader.damaged_files(&ids)?;
                (ids, damage)
            }
        };
        let last = ids.last().filter(|_| ids.len() == PAGE_LEN).copied();
        // A block that others share may outlive the file that it was made for, and so may its damage.
        let there = reader.files_by_ids(&ids)?.into_iter().zip(damage);
        let there = there.filter_map(|(entry, damage)| Some((entry?, damage)));
        let (entries, damage): (Vec<Entry>, Vec<Option<DamagedFile>>) = there.unzip();
        let healths = healths_of_damage(reader, &entries, &damage)?;
        Ok(IndexPage {
            entries,
            healths,
            last,
        })
    }
}

impl HealthQuery {
    /// Returns the indexes that have every file that is asked for, or `None` when only the list of names has.
    fn indexes(&self, policy: &Policy) -> Option<Vec<Index>> {
        let is_asked = |tier: &Tier| self.tiers.is_empty() || self.tiers.contains(tier);
        let parities = policy.tiers().filter(|tier| is_asked(tier));
        let least_parity = parities.map(|tier| policy.shape(tier).parity()).min();
        // A file that has as many parity shards as ever, and may lose fewer, is damaged.
        let is_damaged = self.margin_at_most < least_parity && self.margin_at_most.is_some();
        let damaged = [FileState::Degraded, FileState::Lost];
        if is_damaged {
            let is_asked = |state: &FileState| {
                let unverified = self.classes.contains(&HealthClass::Unverified);
                unverified || self.classes.is_empty() || self.classes.contains(&state_class(*state))
            };
            let states = damaged.into_iter().filter(is_asked);
            return Some(states.map(Index::Damaged).collect());
        }
        if self.classes.is_empty() || self.classes.contains(&HealthClass::State(HealthState::Healthy)) {
            return None;
        }
        let states = damaged
            .into_iter()
            .filter(|state| self.classes.contains(&state_class(*state)));
        let mut indexes: Vec<Index> = states.map(Index::Damaged).collect();
        if self.classes.contains(&HealthClass::Unverified) {
            indexes.push(Index::Unverified);
        }
        Some(indexes)
    }

    /// Returns how those of the entries are that are asked for.
    fn filter(
        &self,
        reader: &CatalogReader,
        entries: &[Entry],
        healths: Vec<Option<FileHealth>>,
    ) -> Result<Vec<FileHealth>, CatalogError> {
        let extents = match self.volume {
            Some(volume) => Some(extents_of_volume(reader, volume)?),
            None => None,
        };
        let mut verified = Verified::default();
        let mut kept = Vec::new();
        for (entry, health) in entries.iter().zip(healths) {
            let Some(mut health) = health.filter(|health| self.lets_through(health)) else {
                continue;
            };
            if let Some(extents) = &extents
                && !has_frame_in(reader, entry, extents)?
            {
                continue;
            }
            if self.looks_up_last_verified || self.not_verified_since.is_some() {
                health.last_verified = last_verified(reader, &mut verified, entry, &health)?;
            }
            // What has no bytes has none that were not verified.
            let is_fresh = |since| health.file.len_bytes == 0 || health.last_verified >= Some(since);
            if !self.not_verified_since.is_some_and(is_fresh) {
                kept.push(health);
            }
        }
        Ok(kept)
    }

    /// Says whether a file is asked for, as far as that takes no further look.
    fn lets_through(&self, health: &FileHealth) -> bool {
        let prefix = self.prefix.as_ref();
        (self.classes.is_empty() || self.classes.iter().any(|&class| health.is_in(class)))
            && (self.tiers.is_empty() || self.tiers.contains(&health.file.tier))
            && self.margin_at_most.is_none_or(|most| health.margin <= most)
            && prefix.is_none_or(|prefix| health.file.name.is_within(prefix))
    }
}

impl Iterator for ClassListing {
    type Item = Result<(FileInfo, Option<HealthClass>), CatalogError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.page.next() {
                return Some(Ok(entry));
            }
            let page = self.pages.next().and_then(|page| {
                let Some((reader, entries)) = page else {
                    return Ok(None);
                };
                let healths = healths(&reader, &entries)?;
                let entries = entries
                    .into_iter()
                    .zip(healths)
                    .map(|((record, _block), health)| {
                        let class = health.as_ref().map(FileHealth::class);
                        (health.map_or_else(|| record.into(), |health| health.file), class)
                    });
                Ok(Some(entries.collect::<Vec<_>>()))
            });
            match page {
                Ok(Some(page)) => self.page = page.into_iter(),
                Ok(None) => return None,
                Err(error) => {
                    self.pages.end();
                    return Some(Err(error));
                }
            }
        }
    }
}

const fn state_class(state: FileState) -> HealthClass {
    HealthClass::State(match state {
        FileState::Degraded => HealthState::Degraded,
        FileState::Lost => HealthState::Lost,
    })
}

fn extents_of_volume(reader: &CatalogReader, volume: VolumeId) -> Result<BTreeSet<ExtentId>, CatalogError> {
    let extents = reader.extents()?.into_iter();
    let there = extents.filter(|extent| extent.volume == volume);
    Ok(there.map(|extent| extent.id).collect())
}

/// Says whether any shard of a file lies in one of these extents.
fn has_frame_in(
    reader: &CatalogReader,
    (file, block): &Entry,
    extents: &BTreeSet<ExtentId>,
) -> Result<bool, CatalogError> {
    let is_there = |block: &crate::catalog::BlockRecord| {
        let mut shards = block.shards.iter().flatten();
        shards.any(|shard| extents.contains(&shard.extent))
    };
    if let Some(block) = block {
        return Ok(is_there(block));
    }
    for index in (0..file.geometry.block_count()).map(BlockIndex::new) {
        if is_there(&reader.block(file, index)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::archive::{Archive, ArchiveOptions, CommitOptions};

    #[test]
    fn what_is_too_much_to_be_sorted_is_found_name_by_name_and_the_same() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let root = directory.path().join("a.bfdb");
        let archive = Archive::create(&root, &ArchiveOptions::default()).expect("created");
        for name in ["c", "a", "b/d", "b/a"] {
            let name = name.parse().expect("a name");
            let receipt = archive.commit(&name, &b"1"[..], 1, &CommitOptions::default());
            drop(receipt.expect("stored"));
        }
        let query = HealthQuery {
            classes: [HealthClass::Unverified].into(),
            ..HealthQuery::default()
        };
        let snapshot = archive.snapshot().expect("sound");
        let limits = [
            (4, 1 << 20),
            (3, 1 << 20),
            (4, 2 * size_of::<FileHealth>() + 4),
            (0, 0),
        ];
        let by_names = limits.map(|(files, bytes)| {
            let mut listing = snapshot.health(&query);
            listing.limits = SortedLimits { files, bytes };
            let first = listing.next().expect("a file").expect("sound");
            let by_names = matches!(listing.walk, Walk::Names(_));
            let rest = listing.map(|health| health.expect("sound"));
            let all = core::iter::once(first).chain(rest);
            let names: Vec<String> = all.map(|health| health.file.name.to_string()).collect();
            assert_eq!(names, ["a", "b/a", "b/d", "c"]);
            by_names
        });
        assert_eq!(by_names, [false, true, true, true]);
    }
}
