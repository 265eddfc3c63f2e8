//! The hash that chains the records of the journal.

use super::ChainHash;

/// What the hash of a record is derived for. Part of the format: it never changes.
const CHAIN_CONTEXT: &str = "bfdb 2026-11 journal record v1";

/// Hashes one journal record as its bytes pass: first what its header says, the hash of the record before among it, then
/// its body.
///
/// BLAKE3 in key derivation mode, so that no file that a user may store has the hash of a record.
#[derive(Debug)]
pub struct ChainHasher(blake3::Hasher);

impl Default for ChainHasher {
    fn default() -> Self {
        Self(blake3::Hasher::new_derive_key(CHAIN_CONTEXT))
    }
}

impl ChainHasher {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// Returns the hash of all bytes.
    pub fn finish(self) -> ChainHash {
        ChainHash::from_bytes(*self.0.finalize().as_bytes())
    }
}
