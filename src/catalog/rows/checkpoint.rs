//! `meta`, key `checkpoints`, and a checkpoint as it stands in a publication.

use serde::{Deserialize, Serialize};

use super::ImpossibleField;
use super::descriptor::DescriptorBlockRow;
use super::publication::{FoundingRow, NextIdsRow};
use crate::catalog::checkpoint::{Checkpoint, CheckpointStep, Checkpoints, Generation};
use crate::merkle::ChainHash;
use crate::units::{CommitId, Epoch};

#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::catalog) struct CheckpointsRow {
    generations: Vec<GenerationRow>,
    pending: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct GenerationRow {
    epoch: u64,
    journal_bytes: u64,
    len_bytes: u64,
    slices: Vec<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(in crate::catalog) struct CheckpointStepRow {
    given_up: Vec<u64>,
    /// None, and nothing given up: the descriptor is a slice.
    complete: Option<CheckpointRow>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CheckpointRow {
    founding: FoundingRow,
    epoch: u64,
    hash: [u8; 32],
    next_ids: NextIdsRow,
    journal_bytes: u64,
    known: CheckpointsRow,
    slices: Vec<SliceRow>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SliceRow {
    commit: u64,
    block: DescriptorBlockRow,
}

impl CheckpointsRow {
    pub(in crate::catalog) fn new(checkpoints: &Checkpoints) -> Self {
        let generation = |generation: &Generation| GenerationRow {
            epoch: generation.epoch.get(),
            journal_bytes: generation.journal_bytes,
            len_bytes: generation.len_bytes,
            slices: generation.slices.iter().map(|slice| slice.get()).collect(),
        };
        Self {
            generations: checkpoints.generations.iter().map(generation).collect(),
            pending: checkpoints.pending.iter().map(|slice| slice.get()).collect(),
        }
    }

    pub(in crate::catalog) fn parse(self) -> Result<Checkpoints, ImpossibleField> {
        if self.generations.len() > 2 {
            return Err(ImpossibleField("count of checkpoints"));
        }
        if !self
            .generations
            .is_sorted_by(|older, newer| older.epoch <= newer.epoch)
        {
            return Err(ImpossibleField("order of checkpoints"));
        }
        let ids = |slices: Vec<u64>| slices.into_iter().map(CommitId::new).collect();
        let generation = |generation: GenerationRow| Generation {
            epoch: Epoch::new(generation.epoch),
            journal_bytes: generation.journal_bytes,
            len_bytes: generation.len_bytes,
            slices: ids(generation.slices),
        };
        Ok(Checkpoints {
            generations: self.generations.into_iter().map(generation).collect(),
            pending: ids(self.pending),
        })
    }
}

impl CheckpointStepRow {
    pub(in crate::catalog) fn new(step: &CheckpointStep) -> Self {
        let (given_up, complete) = match step {
            CheckpointStep::Slice => (Vec::new(), None),
            CheckpointStep::Complete(checkpoint) => (Vec::new(), Some(CheckpointRow::new(checkpoint))),
            CheckpointStep::GiveUp(slices) => (slices.iter().map(|slice| slice.get()).collect(), None),
        };
        Self { given_up, complete }
    }

    pub(in crate::catalog) fn parse(self) -> Result<CheckpointStep, ImpossibleField> {
        match (self.complete, self.given_up.is_empty()) {
            (None, true) => Ok(CheckpointStep::Slice),
            (None, false) => {
                let slices = self.given_up.into_iter().map(CommitId::new);
                Ok(CheckpointStep::GiveUp(slices.collect()))
            }
            (Some(row), true) => Ok(CheckpointStep::Complete(Box::new(row.parse()?))),
            (Some(_), false) => Err(ImpossibleField("checkpoint that is complete and given up")),
        }
    }
}

impl CheckpointRow {
    fn new(checkpoint: &Checkpoint) -> Self {
        let slice = |(commit, block): &(CommitId, _)| SliceRow {
            commit: commit.get(),
            block: DescriptorBlockRow::new(block),
        };
        Self {
            founding: FoundingRow::new(&checkpoint.founding),
            epoch: checkpoint.epoch.get(),
            hash: checkpoint.hash.to_bytes(),
            next_ids: NextIdsRow::new(&checkpoint.next_ids),
            journal_bytes: checkpoint.journal_bytes,
            known: CheckpointsRow::new(&checkpoint.known),
            slices: checkpoint.slices.iter().map(slice).collect(),
        }
    }

    fn parse(self) -> Result<Checkpoint, ImpossibleField> {
        if self.epoch == 0 {
            return Err(ImpossibleField("epoch of a checkpoint"));
        }
        let slice = |slice: SliceRow| Ok((CommitId::new(slice.commit), slice.block.parse()?));
        Ok(Checkpoint {
            founding: self.founding.parse()?,
            epoch: Epoch::new(self.epoch),
            hash: ChainHash::from_bytes(self.hash),
            next_ids: self.next_ids.parse(),
            journal_bytes: self.journal_bytes,
            known: self.known.parse()?,
            slices: self.slices.into_iter().map(slice).collect::<Result<_, _>>()?,
        })
    }
}
