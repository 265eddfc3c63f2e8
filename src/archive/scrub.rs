//! Reading and verifying everything that is stored, in disk order.

use std::{collections::VecDeque, sync::Arc};

use super::{
    describe::name_of,
    inspect::{Feed, FileDamage, Inspection, Task, inspect},
    observer::Observer,
    read::BlockReader,
    shared::Shared,
};
use crate::{
    catalog::{Catalog, CatalogOptions, ShardOwner},
    error::{CatalogDamage, CatalogError, CatalogTable, ScrubError},
    journal::{JournalFault, JournalFinding},
    units::{ExtentId, FileName},
};

/// Shards that are looked up at a time; between two lookups no transaction is held.
const PAGE_LEN: usize = 256;

/// What a scrub or a verification has read and found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct ScrubReport {
    /// Files that were looked at.
    pub files: u64,
    /// Blocks that were read.
    pub blocks: u64,
    /// Bytes that were read from the volumes.
    pub bytes_read: u64,
    /// Shards that are damaged.
    pub damaged_shards: u64,
    /// Files with damage, in the order of names; those that have lost bytes say which. What a commit has written about its
    /// files stands here as `descriptor of commit <id>`.
    pub damage: Vec<FileDamage>,
    /// Copies of the journal that are gone, and records that copies lack and others have; what a scrub finds, [`Archive::mend_journal`] mends.
    ///
    /// [`Archive::mend_journal`]: super::Archive::mend_journal
    pub journal: Vec<JournalFinding>,
}

impl ScrubReport {
    pub(super) fn new(files: u64, inspection: Inspection, observer: &dyn Observer) -> Self {
        let damage = inspection.damage.report(observer);
        Self {
            files,
            blocks: inspection.blocks,
            bytes_read: inspection.bytes_read,
            damaged_shards: damage.iter().map(|file| file.damaged_shards).sum(),
            damage,
            journal: Vec::new(),
        }
    }

    /// Adds what was found elsewhere, in files that are named later.
    pub(super) fn add(&mut self, other: Self) {
        self.files += other.files;
        self.blocks += other.blocks;
        self.bytes_read += other.bytes_read;
        self.damaged_shards += other.damaged_shards;
        self.damage.extend(other.damage);
        self.journal.extend(other.journal);
    }

    /// Returns the number of files that are damaged and can be decoded completely.
    pub fn files_degraded(&self) -> usize {
        let files = self.damage.iter().filter(|file| file.descriptor.is_none());
        files.filter(|file| file.lost.is_empty()).count()
    }

    /// Returns the number of files that have lost bytes.
    pub fn files_lost(&self) -> usize {
        let files = self.damage.iter().filter(|file| file.descriptor.is_none());
        files.filter(|file| !file.lost.is_empty()).count()
    }

    /// Returns the number of descriptors that have lost bytes: no file is worse for that, until the catalog is lost.
    pub fn descriptors_lost(&self) -> usize {
        let descriptors = self.damage.iter().filter(|file| file.descriptor.is_some());
        descriptors.filter(|file| !file.lost.is_empty()).count()
    }
}

/// Reads and verifies every stored shard.
pub(super) fn scrub(shared: &Arc<Shared>, observer: &dyn Observer) -> Result<ScrubReport, ScrubError> {
    check_catalog(shared)?;
    if observer.is_cancelled() {
        return Err(ScrubError::Cancelled);
    }
    let files = shared.catalog.read()?.totals()?.files;
    let feed = DiskOrder {
        shared: Arc::clone(shared),
        page: VecDeque::new(),
        after: None,
        is_done: false,
    };
    let inspection = inspect(shared, feed, observer)?;
    let report = ScrubReport::new(files, inspection, observer);
    // Read before the journal: what is published meanwhile may stand on some copies only when they are read.
    let epoch = shared.catalog.read()?.epoch()?;
    let is_fault = |finding: &JournalFinding| {
        let is_lack = matches!(finding.fault, JournalFault::Lacks { first, .. } if first <= epoch);
        let is_gone = matches!(
            finding.fault,
            JournalFault::NoDirectory | JournalFault::Unlistable { .. }
        );
        is_lack || is_gone
    };
    // What cannot be read at all is no reason to keep the rest back.
    let mut journal = (shared.journal.scan().map(|scan| scan.findings)).unwrap_or_default();
    journal.retain(is_fault);
    Ok(ScrubReport { journal, ..report })
}

/// Verifies the catalog itself: a row that nobody asks for would hide its damage until somebody does.
fn check_catalog(shared: &Shared) -> Result<(), ScrubError> {
    let storage = &shared.machine().storage;
    match Catalog::check(storage, &shared.layout.catalog(), CatalogOptions::default()) {
        Err(error) if error.is_damaged() => Err(error.into()),
        // What cannot be written cannot be checked this way; every row that is read is verified all the same.
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Every shard of the archive, extent by extent, from the start of each to its end.
struct DiskOrder {
    shared: Arc<Shared>,
    page: VecDeque<Task>,
    after: Option<(ExtentId, u64)>,
    is_done: bool,
}

impl Feed for DiskOrder {
    fn next(&mut self) -> Result<Option<Task>, ScrubError> {
        if self.page.is_empty() && !self.is_done {
            self.fetch()?;
        }
        Ok(self.page.pop_front())
    }
}

impl DiskOrder {
    /// Looks up the next shards and their blocks in one short transaction.
    fn fetch(&mut self) -> Result<(), ScrubError> {
        let reader = self.shared.catalog.read()?;
        let places = reader.shards_page(self.after, PAGE_LEN)?;
        self.is_done = places.len() < PAGE_LEN;
        let mut last_file = None;
        for place in places {
            self.after = Some((place.extent, place.offset));
            // One transaction sees the shard and its block, so neither can have been removed in between.
            let missing = || CatalogError::Damaged {
                table: CatalogTable::ExtentShards,
                detail: CatalogDamage::MissingRow,
            };
            let record = reader.block_by_owner(place.owner)?.ok_or_else(missing)?;
            let descriptor = match place.owner {
                ShardOwner::Descriptor(commit) => Some(commit),
                ShardOwner::Block(_) | ShardOwner::InlineBlockOf(_) => None,
            };
            let name: FileName = match (descriptor, &last_file) {
                (Some(commit), _) => name_of(commit),
                (_, Some((file, name))) if *file == record.file => FileName::clone(name),
                _ => reader.file(record.file)?.ok_or_else(missing)?.name,
            };
            last_file = Some((record.file, name.clone()));
            let block = Arc::new(BlockReader::new(
                Arc::clone(&self.shared.volumes),
                name.clone(),
                record,
            ));
            self.page.push_back(Task {
                block,
                name,
                descriptor,
                shard: place.shard,
            });
        }
        Ok(())
    }
}
