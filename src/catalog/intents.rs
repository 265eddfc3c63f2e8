//! Intents: what a commit says before its first byte, so that nothing that it reserves is ever without an owner.
//!
//! An extent that is not sealed is owned by a commit; the intent of the commit says which session works on it, and, for a
//! file that can be read again, how to go on after an interruption. A publication ends the intent in its own transaction.

use super::reader::{CatalogReader, checked};
use super::rows::{ImpossibleField, IntentRow};
use super::tables::{commit_key, parse_key, seal_bounded, unseal};
use super::writer::{CatalogWriter, raise};
use crate::error::{CatalogError, CatalogTable};
use crate::geometry::FileGeometry;
use crate::merkle::FolderState;
use crate::units::{
    BlockId, BlockIndex, CommitId, ExtentId, FileId, FileName, LaneIndex, SessionId, Timestamp,
};

/// What a commit is about to store. The extents that name the commit as their owner belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntentRecord {
    /// The commit.
    pub commit: CommitId,
    /// The session that works on it; `None` when it was interrupted and waits.
    pub session: Option<SessionId>,
    /// When it began.
    pub begun_at: Timestamp,
    /// What it stores, the first name.
    pub name: FileName,
    /// How many names more.
    pub others: u64,
    /// How to go on after an interruption; `None` for what can only be given up.
    pub resumable: Option<ResumableRecord>,
}

/// A commit of one file that can be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResumableRecord {
    /// Where the bytes come from; its length is that of the geometry.
    pub source: SourceRecord,
    /// The id that the file gets.
    pub file: FileId,
    /// The id of its first block; the others follow.
    pub first_block: BlockId,
    /// How it is cut into blocks.
    pub geometry: FileGeometry,
    /// Type and permission bits, as `stat` gave them.
    pub mode: u32,
    /// What happens when something has the name.
    pub replaces: Replaces,
    /// Where frames go: from block 0 on, and from every block where the plan was changed.
    pub legs: Vec<LegRecord>,
    /// What is known to be done: the last two, the older one first.
    pub progress: Vec<ProgressRecord>,
}

/// Whether a commit may take the place of what has its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Replaces {
    /// It is refused when something else has the name.
    Nothing,
    /// It becomes the next version of whatever has the name.
    Existing {
        /// How many versions of the name are kept beside it; with 0 what has the name is removed.
        kept_versions: u32,
    },
}

/// A source, and what tells whether it is still the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRecord {
    /// Its absolute path, without NUL.
    pub path: Vec<u8>,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// When its content changed last.
    pub modified_at: Timestamp,
    /// When anything about it changed last.
    pub changed_at: Timestamp,
    /// The device that it is on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
}

/// How frames are placed from a block on: the layout is walked again from these values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegRecord {
    /// The first block that is placed so.
    pub first_block: BlockIndex,
    /// The lane of every shard, all of them different.
    pub lanes: Vec<LaneIndex>,
    /// Where lanes go on in extents that are there; a lane that is not named begins with a new one.
    pub positions: Vec<LegPosition>,
    /// The extents that are made, in the order in which they are needed.
    pub new_extents: Vec<ExtentId>,
    /// The length at which an extent is left for a new one, in bytes.
    pub extent_limit_bytes: u64,
}

/// Where a lane goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LegPosition {
    /// The lane.
    pub lane: LaneIndex,
    /// The extent.
    pub extent: ExtentId,
    /// Its end before the first frame, in bytes.
    pub end_bytes: u64,
}

/// How far a commit has come, all of it durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgressRecord {
    /// Blocks from the first on whose frames are synced.
    pub blocks: u64,
    /// The fold of the leaves of exactly those blocks.
    pub folder: FolderState,
}

#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for every query and explained with the type"
)]
impl CatalogReader {
    /// Returns all intents by their commits.
    pub fn intents(&self) -> Result<Vec<IntentRecord>, CatalogError> {
        let table = CatalogTable::Intents;
        let mut intents = Vec::new();
        self.for_each_row(table, |key, row| {
            let commit = parse_key(table, key).map(|[commit]| CommitId::new(commit))?;
            let row: IntentRow = unseal(table, key, row)?;
            intents.push(checked(table, row.parse(commit))?);
            Ok(())
        })?;
        Ok(intents)
    }

    /// Returns the intent of a commit.
    pub fn intent(&self, commit: CommitId) -> Result<Option<IntentRecord>, CatalogError> {
        let (table, key) = (CatalogTable::Intents, commit_key(commit));
        let Some(row) = self.source.get(&self.guard, table, &key)? else {
            return self.none(table);
        };
        let row: IntentRow = unseal(table, &key, &row)?;
        checked(table, row.parse(commit)).map(Some)
    }
}

impl CatalogWriter {
    /// Adds the intent of a commit, or changes what it says.
    ///
    /// # Errors
    /// [`ImpossibleIntent`](CatalogError::ImpossibleIntent) and, when it says more than a row holds,
    /// [`RowTooLong`](CatalogError::RowTooLong); both leave the transaction as it was.
    pub fn put_intent(&mut self, intent: &IntentRecord) -> Result<(), CatalogError> {
        let (table, commit) = (CatalogTable::Intents, intent.commit);
        // What could not be read again must not be written.
        IntentRow::new(intent)
            .parse(commit)
            .map_err(|ImpossibleField(field)| CatalogError::ImpossibleIntent { commit, field })?;
        let key = commit_key(commit);
        let row = seal_bounded(table, &key, &IntentRow::new(intent))?;
        self.change(|writer| {
            writer.put_rows(table, &[(key, row)])?;
            let counters = &mut writer.pending_mut().counters;
            raise(&mut counters.next_commit, commit.get());
            if let Some(resumable) = &intent.resumable {
                raise(&mut counters.next_file, resumable.file.get());
                let end = resumable.first_block.get() + resumable.geometry.block_count();
                counters.next_block = counters.next_block.max(end);
            }
            Ok(())
        })
    }

    /// Ends an intent; says whether there was one.
    ///
    /// # Errors
    /// [`CatalogError::Io`] when the file cannot be read or written.
    pub fn remove_intent(&mut self, commit: CommitId) -> Result<bool, CatalogError> {
        let (table, key) = (CatalogTable::Intents, commit_key(commit));
        if self.source.get(&self.guard, table, &key)?.is_none() {
            return Ok(false);
        }
        self.change(|writer| writer.remove_rows(table, &[key]))?;
        Ok(true)
    }
}
