//! The leaf hashes of one shard.

use super::{HASH_LEN_BYTES, LeafHash, ShardDigest};
use crate::units::ColumnIndex;

/// What the digest of a table is derived for. Part of the format: it never changes.
const DIGEST_CONTEXT: &str = "bfdb 2026-11 shard leaf table v1";

/// The leaf hashes of one shard, one for each column that the shard has bytes in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeafTable(Vec<LeafHash>);

impl LeafTable {
    /// Makes a table of `hashes` in column order.
    pub const fn new(hashes: Vec<LeafHash>) -> Self {
        Self(hashes)
    }

    /// Makes the table of a shard of one leaf out of its digest: they are the same 32 bytes, so none is stored.
    pub fn from_single(digest: &ShardDigest) -> Self {
        Self(vec![LeafHash::from_bytes(digest.to_bytes())])
    }

    /// Parses and verifies the stored form of a table that has `entries` entries and the digest `digest`.
    ///
    /// Total: any bytes whatever give a table that has this digest, or `None`.
    #[must_use]
    pub fn parse_verified(bytes: &[u8], entries: usize, digest: &ShardDigest) -> Option<Self> {
        let (hashes, []) = bytes.as_chunks::<HASH_LEN_BYTES>() else {
            return None;
        };
        if hashes.len() != entries || digest_of(bytes) != *digest {
            return None;
        }
        Some(Self(hashes.iter().copied().map(LeafHash::from_bytes).collect()))
    }

    /// Returns the number of entries.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Says whether there is no entry.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the hash of the leaf in `column`, or `None` when the shard has no bytes there.
    pub fn get(&self, column: ColumnIndex) -> Option<&LeafHash> {
        self.0.get(column.as_usize())
    }

    /// Goes over the hashes in column order.
    pub fn iter(&self) -> core::slice::Iter<'_, LeafHash> {
        self.0.iter()
    }

    /// Returns the stored form: the 32 bytes of every entry in column order.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(LeafHash::as_bytes).copied().collect()
    }

    /// Returns the digest that stands for the table in the catalog and in descriptors.
    ///
    /// Of one entry it is the leaf hash itself; else BLAKE3 of the stored form, in key derivation mode, so that no file
    /// that a user may store has it for its hash.
    pub fn digest(&self) -> ShardDigest {
        digest_of(&self.to_bytes())
    }
}

impl<'table> IntoIterator for &'table LeafTable {
    type Item = &'table LeafHash;
    type IntoIter = core::slice::Iter<'table, LeafHash>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Returns the digest of a table in its stored form.
fn digest_of(bytes: &[u8]) -> ShardDigest {
    match <[u8; HASH_LEN_BYTES]>::try_from(bytes) {
        Ok(only) => ShardDigest::from_bytes(only),
        Err(_) => ShardDigest::from_bytes(blake3::derive_key(DIGEST_CONTEXT, bytes)),
    }
}
