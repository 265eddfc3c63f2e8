//! Where the descriptors of commits lie: the second place that says what the catalog says.
//!
//! A descriptor (`descriptor` has its bytes) is stored as one block of frames beside the data of its commit, and lives as long
//! as an entry of that commit does. Its frames count as any others: scrub reads them, and their extents hold them.

use core::ops::Bound;

use super::guard::damaged;
use super::reader::{CatalogReader, checked};
use super::records::{BlockRecord, ShardOwner};
use super::rows::{DescriptorBlockRow, DescriptorRow};
use super::tables::{commit_key, parse_key, seal, unseal};
use super::writer::{CatalogWriter, raise};
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::units::CommitId;

/// The descriptor of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorRecord {
    /// The commit.
    pub commit: CommitId,
    /// What it says.
    pub described: Described,
    /// Where its bytes lie: all of them in one block, which is no block of a file. Its file is number 0, which none has.
    pub block: BlockRecord,
}

/// What the text that a commit has stored beside its data says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Described {
    /// All entries of the commit, of which so many are still stored; never 0.
    Entries(u64),
    /// A slice of a checkpoint, and the commit has no entries.
    Slice,
}

#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for every query and explained with the type"
)]
impl CatalogReader {
    /// Returns the descriptor of a commit.
    pub fn descriptor(&self, commit: CommitId) -> Result<Option<DescriptorRecord>, CatalogError> {
        match self.stored_descriptor(commit)? {
            Some(descriptor) => Ok(Some(descriptor)),
            None => self.none(CatalogTable::Descriptors),
        }
    }

    /// Returns at most `limit` descriptors of commits behind `after`, in their order; fewer mean that no more follow.
    pub fn descriptors_page(
        &self,
        after: Option<CommitId>,
        limit: usize,
    ) -> Result<Vec<DescriptorRecord>, CatalogError> {
        let table = CatalogTable::Descriptors;
        let after = after.map(commit_key);
        let start = after.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let rows = self.proven_page(table, (start, None), limit)?;
        let descriptors = rows.iter().map(|(key, row)| {
            let [commit] = parse_key(table, key)?;
            let row: DescriptorRow = unseal(table, key, row)?;
            checked(table, row.parse(CommitId::new(commit)))
        });
        descriptors.collect()
    }

    fn stored_descriptor(&self, commit: CommitId) -> Result<Option<DescriptorRecord>, CatalogError> {
        let (table, key) = (CatalogTable::Descriptors, commit_key(commit));
        let Some(row) = self.source.get(&self.guard, table, &key)? else {
            return Ok(None);
        };
        let row: DescriptorRow = unseal(table, &key, &row)?;
        checked(table, row.parse(commit)).map(Some)
    }
}

impl CatalogWriter {
    /// Adds the descriptor of a commit. The extents of its shards are known and end behind them already.
    ///
    /// # Errors
    /// [`ImpossibleDescriptor`](CatalogError::ImpossibleDescriptor) and [`DescriptorTaken`](CatalogError::DescriptorTaken)
    /// leave the transaction as it was. [`AddressTaken`](CatalogError::AddressTaken),
    /// [`UnknownExtent`](CatalogError::UnknownExtent) and [`BehindExtentEnd`](CatalogError::BehindExtentEnd) spoil it.
    pub fn put_descriptor(&mut self, descriptor: &DescriptorRecord) -> Result<(), CatalogError> {
        let DescriptorRecord {
            commit,
            described,
            ref block,
        } = *descriptor;
        let impossible = |field| CatalogError::ImpossibleDescriptor { commit, field };
        if described == Described::Entries(0) {
            return Err(impossible("count of live entries"));
        }
        if DescriptorBlockRow::new(block).parse().as_ref() != Ok(block) {
            return Err(impossible("block"));
        }
        let (table, key) = (CatalogTable::Descriptors, commit_key(commit));
        if self.stored_descriptor(commit)?.is_some() {
            return Err(CatalogError::DescriptorTaken { commit });
        }
        self.change(|writer| {
            let row = seal(table, &key, &DescriptorRow::new(descriptor));
            writer.add_new_rows(table, &[(key, row)])?;
            writer.place_shards([(ShardOwner::Descriptor(commit), block)].into_iter())?;
            let counters = &mut writer.pending_mut().counters;
            raise(&mut counters.next_commit, commit.get());
            raise(&mut counters.next_block, block.id.get());
            Ok(())
        })
    }

    /// Counts one entry of a commit out; the descriptor goes with the last. A commit may have none.
    pub(super) fn count_entry_out(&mut self, commit: CommitId) -> Result<(), CatalogError> {
        let (table, key) = (CatalogTable::Descriptors, commit_key(commit));
        let Some(mut descriptor) = self.stored_descriptor(commit)? else {
            return Ok(());
        };
        let Described::Entries(live) = descriptor.described else {
            let about = "what a commit has stored";
            return Err(damaged(table, CatalogDamage::Contradiction { about }));
        };
        if live > 1 {
            descriptor.described = Described::Entries(live - 1);
            let row = seal(table, &key, &DescriptorRow::new(&descriptor));
            let added = self.put_rows(table, &[(key, row)])?;
            return if added == 0 {
                Ok(())
            } else {
                Err(damaged(table, CatalogDamage::MissingRow))
            };
        }
        self.pending_mut().forgotten.insert(commit);
        self.remove_descriptor(&descriptor)
    }

    /// Makes sure that a commit has stored a slice.
    pub(super) fn expect_slice(&self, commit: CommitId) -> Result<(), CatalogError> {
        match self.stored_descriptor(commit)? {
            Some(found) if found.described == Described::Slice => Ok(()),
            Some(_) | None => Err(CatalogError::UnknownSlice { commit }),
        }
    }

    /// Forgets a slice; its bytes on the volumes are nobody's from the commit on.
    pub(super) fn remove_slice(&mut self, commit: CommitId) -> Result<(), CatalogError> {
        self.expect_slice(commit)?;
        let slice = self.stored_descriptor(commit)?;
        self.remove_descriptor(&slice.expect("it was there just now"))
    }

    fn remove_descriptor(&mut self, descriptor: &DescriptorRecord) -> Result<(), CatalogError> {
        self.release_shards(&[&descriptor.block])?;
        self.forget_damage(&[&descriptor.block])?;
        self.remove_rows(CatalogTable::Descriptors, &[commit_key(descriptor.commit)])
    }
}
