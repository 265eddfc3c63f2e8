//! What of a file waits until other pieces of it are done.

use std::collections::BTreeMap;

use super::cursor::Gaps;
use crate::{
    archive::read::LostLeaf,
    plan::ColumnSet,
    units::{BlockIndex, ColumnIndex, ShardIndex},
};

/// A block of which pieces are not done yet.
pub(super) struct OpenBlock {
    /// Its place among the blocks that hold bytes of the file.
    ordinal: u64,
    pieces_left: usize,
    gaps: Gaps,
}

impl OpenBlock {
    pub(super) const fn new(ordinal: u64, pieces: usize) -> Self {
        Self {
            ordinal,
            pieces_left: pieces,
            gaps: BTreeMap::new(),
        }
    }

    pub(super) const fn ordinal(&self) -> u64 {
        self.ordinal
    }

    /// Notes what a run has not found right.
    pub(super) fn leave(&mut self, shard: ShardIndex, bad: &ColumnSet) {
        if !bad.is_empty() {
            self.gaps.entry(shard).or_default().union_with(bad);
        }
    }

    /// Ends a piece; says whether it was the last.
    pub(super) const fn finish_piece(&mut self) -> bool {
        self.pieces_left -= 1;
        self.pieces_left == 0
    }

    /// Returns what was left; from now on nothing is.
    pub(super) fn take_gaps(&mut self) -> Gaps {
        std::mem::take(&mut self.gaps)
    }

    /// Takes in pieces that others have left.
    pub(super) const fn add_pieces(&mut self, pieces: usize) {
        self.pieces_left += pieces;
    }
}

/// A group whose blocks are being restored.
pub(super) struct OpenGroup {
    pieces_left: u64,
    lost: BTreeMap<BlockIndex, Gaps>,
}

impl OpenGroup {
    pub(super) const fn new(pieces: u64) -> Self {
        Self {
            pieces_left: pieces,
            lost: BTreeMap::new(),
        }
    }

    /// Takes in pieces that others have left.
    pub(super) const fn add_pieces(&mut self, pieces: u64) {
        self.pieces_left += pieces;
    }

    /// Ends a piece, with what its block has lost; says whether it was the last.
    pub(super) fn finish_piece(&mut self, block: BlockIndex, lost: &[LostLeaf]) -> bool {
        for lost in lost {
            let of_block = self.lost.entry(block).or_default();
            of_block.entry(lost.shard).or_default().insert(lost.column);
        }
        self.pieces_left -= 1;
        self.pieces_left == 0
    }

    /// Returns what is lost, column by column.
    pub(super) fn into_columns(self) -> BTreeMap<ColumnIndex, Vec<(BlockIndex, ShardIndex)>> {
        let mut columns: BTreeMap<ColumnIndex, Vec<(BlockIndex, ShardIndex)>> = BTreeMap::new();
        for (block, shards) in self.lost {
            for (shard, lost) in shards {
                for column in lost.iter() {
                    columns.entry(column).or_default().push((block, shard));
                }
            }
        }
        columns
    }
}
