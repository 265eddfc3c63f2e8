//! The hash tree: leaf hashes, their tables, and the root.
//!
//! A file is cut into leaves of a power of two of bytes. The hash of a data leaf is the BLAKE3 chaining value of its
//! subtree at its offset in the file, so that folding all of them ([`RootFolder`]) gives exactly the file's BLAKE3, what
//! `b3sum` prints, and anyone can check a root without bfdb. A file of at most one leaf has the root itself as its leaf
//! hash, for a root cannot be folded from one chaining value ([`DataLeaves`] says which it is). The hash of a parity leaf
//! is the plain BLAKE3 of its bytes.
//!
//! The leaf hashes of a shard stand in its [`LeafTable`], and a [`ShardDigest`] stands for the table. A [`ChainHash`] stands for a journal
//! record and, through its predecessor, for all before it.
//!
//! Only what verifies here may enter a decode or reach a caller. Knows no files, no volumes and no codes.

mod chain;
mod folder;
mod hash;
mod leaf;
mod table;

#[cfg(test)]
mod tests;

pub use chain::ChainHasher;
pub use folder::{FolderState, RootFolder};
pub use hash::{ChainHash, LeafHash, RootHash, ShardDigest};
pub use leaf::{DataLeaves, hash_data_leaf, hash_parity_leaf, verify_data_leaf, verify_parity_leaf};
pub use table::LeafTable;

/// Length of every hash in bytes.
pub const HASH_LEN_BYTES: usize = 32;
