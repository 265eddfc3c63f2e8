//! From leaf hashes to the root of a file.

use super::{HASH_LEN_BYTES, LeafHash, RootHash};
use crate::units::LeafLen;
use blake3::hazmat::{Mode, merge_subtrees_non_root, merge_subtrees_root};

/// Chaining value of a subtree of one or more leaves. Never shown.
type SubtreeHash = [u8; HASH_LEN_BYTES];

/// Folds the data leaf hashes of a file, in file order, into its root.
///
/// Leaves of equal length that is a power of two are subtrees of the BLAKE3 tree, so the tree above them has the shape
/// that BLAKE3 gives it over chunks: every left part is the largest complete tree that leaves something for the right.
/// Memory is one hash for each bit of the leaf count.
#[derive(Debug, Clone)]
pub struct RootFolder {
    leaf: LeafLen,
    state: FolderState,
}

/// Where a [`RootFolder`] stands, as plain data: what a resumed pass over a file has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FolderState {
    leaf_count: u64,
    /// Roots of complete subtrees from left to right, each at least as tall as the next; the last push stands alone.
    stack: Vec<SubtreeHash>,
}

impl RootFolder {
    /// Returns a folder that has seen nothing of a file with leaves of `leaf` bytes.
    pub const fn new(leaf: LeafLen) -> Self {
        Self {
            leaf,
            state: FolderState {
                leaf_count: 0,
                stack: Vec::new(),
            },
        }
    }

    /// Goes on from `state`, which a folder with the same leaf length was in.
    ///
    /// # Panics
    /// When `state` counts more leaves than 2^64 bytes have: it was in a folder with shorter leaves.
    pub fn from_state(leaf: LeafLen, state: FolderState) -> Self {
        assert!(
            state.leaf_count <= max_leaf_count(leaf),
            "the state belongs to shorter leaves"
        );
        Self { leaf, state }
    }

    /// Returns where the folder stands.
    pub fn state(&self) -> FolderState {
        self.state.clone()
    }

    /// Returns the offset in the file, in bytes, of the leaf that comes next.
    pub const fn next_offset(&self) -> u64 {
        self.state.leaf_count << self.leaf.log2()
    }

    /// Takes the hash of the next data leaf.
    ///
    /// # Panics
    /// When the next leaf would begin beyond 2^64 bytes.
    pub fn push(&mut self, hash: LeafHash) {
        let FolderState { leaf_count, stack } = &mut self.state;
        assert!(
            *leaf_count < max_leaf_count(self.leaf),
            "a file has fewer than 2^64 bytes"
        );
        // Merged only now that a leaf follows: the last merge of all is that of the root and hashes differently.
        while stack.len() > stack_len(*leaf_count) {
            merge_last(stack);
        }
        stack.push(hash.to_bytes());
        *leaf_count += 1;
    }

    /// Returns the root of the file whose leaves were pushed, all of them.
    ///
    /// Nothing pushed is the empty file. One leaf pushed is a file of one leaf, whose hash is the root already; so a
    /// single leaf must have been hashed as [`super::DataLeaves::Root`], more as [`super::DataLeaves::Subtree`].
    pub fn finish(self) -> RootHash {
        let mut stack = self.state.stack;
        while stack.len() > 2 {
            merge_last(&mut stack);
        }
        RootHash::from_bytes(match stack[..] {
            [] => *blake3::hash(b"").as_bytes(),
            [only] => only,
            [left, right, ..] => *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes(),
        })
    }
}

impl FolderState {
    /// Puts a state together from what [`Self::leaf_count`] and [`Self::hashes`] gave, or returns `None` when so many leaves
    /// of `leaf` bytes are more than a file can have, or stand in another number of hashes.
    pub fn from_parts(leaf: LeafLen, leaf_count: u64, hashes: Vec<[u8; HASH_LEN_BYTES]>) -> Option<Self> {
        // After a push the last leaf stands alone beside what the leaves before it fold to.
        let expected = leaf_count
            .checked_sub(1)
            .map_or(0, |before| stack_len(before) + 1);
        (leaf_count <= max_leaf_count(leaf) && hashes.len() == expected).then_some(Self {
            leaf_count,
            stack: hashes,
        })
    }

    /// Returns how many leaves were pushed.
    pub const fn leaf_count(&self) -> u64 {
        self.leaf_count
    }

    /// Returns the hashes that stand for them, at most one for each bit of the count and one more.
    pub fn hashes(&self) -> &[[u8; HASH_LEN_BYTES]] {
        &self.stack
    }
}

/// Returns how many whole leaves can begin and end within 2^64 bytes.
const fn max_leaf_count(leaf: LeafLen) -> u64 {
    u64::MAX >> leaf.log2()
}

/// Returns how many complete subtrees `leaf_count` leaves fold to: one for each bit that is set.
fn stack_len(leaf_count: u64) -> usize {
    usize::try_from(leaf_count.count_ones()).expect("64 bits have at most 64 ones")
}

/// Merges the two rightmost subtrees, which are not all of the tree.
fn merge_last(stack: &mut Vec<SubtreeHash>) {
    let right = stack.pop().expect("a stack that is too long has a last entry");
    let left = stack
        .last_mut()
        .expect("a stack that is too long has an entry before the last");
    *left = merge_subtrees_non_root(left, &right, Mode::Hash);
}
