//! Hashing and verifying one leaf.

use super::LeafHash;
use crate::units::LeafLen;
use blake3::{Hasher, hazmat::HasherExt as _};

/// How the data leaves of a file are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DataLeaves {
    /// The file has more than one leaf: the hash of a leaf is the chaining value of its subtree.
    Subtree,
    /// The file has at most one leaf: its hash is the root itself.
    Root,
}

impl DataLeaves {
    /// Returns how the leaves of a file of `len_bytes` bytes are hashed.
    pub const fn of_file(len_bytes: u64, leaf: LeafLen) -> Self {
        if len_bytes <= leaf.bytes() {
            Self::Root
        } else {
            Self::Subtree
        }
    }
}

/// Hashes a data leaf: `bytes` are all bytes of the leaf that the file has, one leaf length but at the end of the file.
///
/// `offset_in_file` is in bytes: a multiple of the leaf length, 0 for [`DataLeaves::Root`].
///
/// # Panics
/// When the offset cannot be that of a leaf, when `bytes` reach beyond the subtree that begins there, and when a subtree
/// is empty.
pub fn hash_data_leaf(kind: DataLeaves, offset_in_file: u64, bytes: &[u8]) -> LeafHash {
    match kind {
        DataLeaves::Root => {
            assert_eq!(offset_in_file, 0, "the only leaf of a file begins with it");
            hash_parity_leaf(bytes)
        }
        DataLeaves::Subtree => {
            assert!(!bytes.is_empty(), "a subtree of nothing has no hash");
            // The whole leaf in one call: hashing runs over many chunks side by side, and 1 KiB at a time is ten times
            // as slow. An offset within a chunk and bytes beyond the subtree are caught in there.
            let chaining_value = Hasher::new()
                .set_input_offset(offset_in_file)
                .update(bytes)
                .finalize_non_root();
            LeafHash::from_bytes(chaining_value)
        }
    }
}

/// Hashes a parity leaf: the plain BLAKE3 of its bytes.
pub fn hash_parity_leaf(bytes: &[u8]) -> LeafHash {
    LeafHash::from_bytes(*blake3::hash(bytes).as_bytes())
}

/// Says whether `bytes` are the data leaf that `expected` was made of; otherwise like [`hash_data_leaf`].
///
/// No bytes at all are no leaf of a file of several leaves: false, no panic.
///
/// # Panics
/// When the offset cannot be that of a leaf, and when `bytes` reach beyond the subtree that begins there.
#[must_use]
pub fn verify_data_leaf(kind: DataLeaves, offset_in_file: u64, bytes: &[u8], expected: &LeafHash) -> bool {
    if kind == DataLeaves::Subtree && bytes.is_empty() {
        return false;
    }
    hash_data_leaf(kind, offset_in_file, bytes) == *expected
}

/// Says whether `bytes` are the parity leaf that `expected` was made of.
#[must_use]
pub fn verify_parity_leaf(bytes: &[u8], expected: &LeafHash) -> bool {
    hash_parity_leaf(bytes) == *expected
}
