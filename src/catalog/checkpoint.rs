//! Checkpoints: all that the catalog says of what is stored, outside of it, so that the records before are needed no more.
//!
//! A checkpoint is made of slices, which lie on the volumes as descriptors do: each is the text of a commit of its own, so
//! that scrub, repair and moves know it. A slice that is published belongs to nothing yet; the publication that completes the
//! checkpoint names all of them, and counts from then on. Two are kept, and the slices of older ones go.
//!
//! Invariant: what a checkpoint says is one state of the catalog, that of its epoch, whatever is published meanwhile.

use super::publication::{Founding, NextIds};
use super::reader::CatalogReader;
use super::records::BlockRecord;
use super::rows::CheckpointsRow;
use super::tables::{META_CHECKPOINTS, seal};
use super::writer::CatalogWriter;
use crate::error::{CatalogDamage, CatalogError, CatalogTable};
use crate::merkle::ChainHash;
use crate::units::{CommitId, Epoch};

/// How many checkpoints are kept.
const GENERATIONS: usize = 2;

/// What a publication does for a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CheckpointStep {
    /// The descriptor of the publication is a slice; it has no entries to publish.
    Slice,
    /// A checkpoint is complete.
    Complete(Box<Checkpoint>),
    /// One will never be: the slices that these commits have stored go, at least one.
    GiveUp(Vec<CommitId>),
}

/// A checkpoint: what cannot be said in slices, and where those are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The archive, and its volumes at that moment.
    pub founding: Founding,
    /// The last publication that it has. Never 0.
    pub epoch: Epoch,
    /// Its hash in the journal.
    pub hash: ChainHash,
    /// The ids that came next.
    pub next_ids: NextIds,
    /// Bytes of all records of the journal up to there.
    pub journal_bytes: u64,
    /// The checkpoints that there were.
    pub known: Checkpoints,
    /// Its slices in their order, each with the commit that has stored it and where it lies.
    pub slices: Vec<(CommitId, BlockRecord)>,
}

/// The checkpoints of an archive.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Checkpoints {
    /// At most two, the older one first.
    pub generations: Vec<Generation>,
    /// Slices that belong to none: of one that is being taken, or that nobody came to complete.
    pub pending: Vec<CommitId>,
}

/// What the catalog keeps of a checkpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// The last publication that it has.
    pub epoch: Epoch,
    /// Bytes of all records of the journal up to there.
    pub journal_bytes: u64,
    /// Bytes of all its slices, without parity.
    pub len_bytes: u64,
    /// Its slices.
    pub slices: Vec<CommitId>,
}

impl Checkpoint {
    fn generation(&self) -> Generation {
        let lengths = self
            .slices
            .iter()
            .map(|(_, block)| block.geometry.data_len_bytes());
        Generation {
            epoch: self.epoch,
            journal_bytes: self.journal_bytes,
            len_bytes: lengths.sum(),
            slices: self.slices.iter().map(|(commit, _)| *commit).collect(),
        }
    }
}

impl Checkpoints {
    /// Returns the newest one.
    pub fn newest(&self) -> Option<&Generation> {
        self.generations.last()
    }

    /// Takes up a checkpoint; returns the slices that nothing needs any more.
    fn complete(&mut self, checkpoint: &Checkpoint) -> Vec<CommitId> {
        self.generations.push(checkpoint.generation());
        let surplus = self.generations.len().saturating_sub(GENERATIONS);
        let dropped = self.generations.drain(..surplus);
        let mut unneeded: Vec<CommitId> = dropped.flat_map(|generation| generation.slices).collect();
        unneeded.append(&mut self.pending);
        let is_needed = |slice: &CommitId| {
            let mut generations = self.generations.iter();
            generations.any(|generation| generation.slices.contains(slice))
        };
        unneeded.retain(|slice| !is_needed(slice));
        unneeded
    }
}

#[expect(
    clippy::missing_errors_doc,
    reason = "the errors are the same for every query and explained with the type"
)]
impl CatalogReader {
    /// Returns the checkpoints that there are.
    pub fn checkpoints(&self) -> Result<Checkpoints, CatalogError> {
        let row: CheckpointsRow = self.required(CatalogTable::Meta, META_CHECKPOINTS)?;
        super::reader::checked(CatalogTable::Meta, row.parse())
    }
}

impl CatalogWriter {
    /// Sets which checkpoints there are: for a catalog that is made from one.
    ///
    /// # Errors
    /// [`CatalogError::Damaged`] when the row is not there.
    pub fn set_checkpoints(&mut self, checkpoints: &Checkpoints) -> Result<(), CatalogError> {
        let table = CatalogTable::Meta;
        let row = seal(table, META_CHECKPOINTS, &CheckpointsRow::new(checkpoints));
        self.change(|writer| {
            // The rows of this table are not counted.
            let rows = [(META_CHECKPOINTS.to_vec(), row)];
            match writer.view.source.put_all(&writer.view.guard, table, &rows)? {
                0 => Ok(()),
                _ => Err(super::guard::damaged(table, CatalogDamage::MissingRow)),
            }
        })
    }

    /// Does what a publication does for a checkpoint; `commit` has stored the slice, if it is one.
    pub(super) fn apply_checkpoint(
        &mut self,
        step: &CheckpointStep,
        commit: Option<CommitId>,
    ) -> Result<(), CatalogError> {
        let mut checkpoints = self.checkpoints()?;
        match step {
            CheckpointStep::Slice => checkpoints.pending.extend(commit),
            CheckpointStep::Complete(checkpoint) => {
                for (slice, _) in &checkpoint.slices {
                    self.expect_slice(*slice)?;
                }
                for slice in checkpoints.complete(checkpoint) {
                    self.remove_slice(slice)?;
                }
            }
            CheckpointStep::GiveUp(slices) => {
                for slice in slices {
                    if !checkpoints.pending.contains(slice) {
                        return Err(CatalogError::UnknownSlice { commit: *slice });
                    }
                    self.remove_slice(*slice)?;
                }
                checkpoints.pending.retain(|slice| !slices.contains(slice));
            }
        }
        self.set_checkpoints(&checkpoints)
    }
}
