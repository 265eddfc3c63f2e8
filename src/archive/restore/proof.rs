//! The root of a file, put together while it is copied.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    archive::read::BlockReader,
    catalog::FileRecord,
    merkle::{LeafHash, RootFolder, RootHash},
    units::ShardIndex,
};

/// Folds the leaf tables of blocks, each when it is done, in whatever order that is.
///
/// Every leaf that was copied matched its table; that the tables are those of the file is all that is left to be proven, and they are in
/// memory when their block is done.
pub(super) struct Proof {
    state: Mutex<State>,
}

struct State {
    folder: RootFolder,
    /// Blocks that are folded.
    folded: u64,
    early: BTreeMap<u64, Vec<LeafHash>>,
    /// Tables of a block were not there; nothing follows from the others.
    is_broken: bool,
}

impl Proof {
    pub(super) fn new(file: &FileRecord) -> Self {
        Self {
            state: Mutex::new(State {
                folder: RootFolder::new(file.geometry.leaf()),
                folded: 0,
                early: BTreeMap::new(),
                is_broken: false,
            }),
        }
    }

    /// Takes the tables of a block of which everything was read.
    pub(super) fn add(&self, ordinal: u64, block: &BlockReader) {
        let leaves = leaves_of(block);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(leaves) = leaves else {
            state.is_broken = true;
            state.early.clear();
            return;
        };
        if state.is_broken {
            return;
        }
        state.early.insert(ordinal, leaves);
        while let Some(leaves) = {
            let next = state.folded;
            state.early.remove(&next)
        } {
            leaves.into_iter().for_each(|leaf| state.folder.push(leaf));
            state.folded += 1;
        }
    }

    /// Returns the root of so many blocks, where the tables of all of them were there.
    pub(super) fn root(self, blocks: u64) -> Option<RootHash> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        (!state.is_broken && state.folded == blocks).then(|| state.folder.finish())
    }
}

/// Returns the leaves of a block in file order, where it knows all of its tables already.
fn leaves_of(block: &BlockReader) -> Option<Vec<LeafHash>> {
    let geometry = block.geometry();
    let mut leaves = Vec::new();
    for shard in (0..geometry.shape().data()).map(ShardIndex::new) {
        if geometry.is_present(shard) {
            leaves.extend(block.known_table(shard)?.iter().copied());
        }
    }
    Some(leaves)
}
