//! How much room on disk a transaction may take before it ends.
//!
//! The database copies every page that it changes and frees the old one only later, and its file grows sparsely where there
//! is little room. So what
//! a transaction takes is pages, not rows, and a full disk shows as a failed write somewhere inside it; who asks first is
//! refused in time. The numbers are above what was measured, see the tests; entries that change together are taken for
//! neighbours, as those of a tree are.

/// What any transaction may take: sums, counters, branch pages, the lists of freed pages and the state of the allocator.
/// Measured: 64 KiB for a catalog of 100 KiB; the state of the allocator grows with it, by 64 KiB for each gigabyte.
const ANY_TRANSACTION_BYTES: u64 = 1024 * 1024;

/// Rows of one entry without its name, in pages that are half full.
const ENTRY_BYTES: u64 = 1024;

/// A name stands in two rows, in pages that are half full.
const COPIES_OF_TEXT: u64 = 4;

const BLOCK_BYTES: u64 = 512;
const SHARD_BYTES: u64 = 256;
const EXTENT_BYTES: u64 = 256;
const DESCRIPTOR_BYTES: u64 = 512;

/// A row for the shard, and at most one for its block and one for its file.
const DAMAGE_BYTES: u64 = 1024;

/// Shards that were damaged are neighbours of nothing: a page with the row of the block or file, one with the place that it
/// leaves, and a share of those with its new place and with the damage that goes.
const RELOCATION_BYTES: u64 = 12 * 1024;

const VERIFIED_BYTES: u64 = 128;

/// The longest row in a page of its own: intents of one file that can be resumed grow with its path and its plan.
const INTENT_BYTES: u64 = 128 * 1024;

/// What a transaction adds, changes or removes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransactionSize {
    /// Files, directories and links.
    pub entries: u64,
    /// Length of their names and targets together, in bytes.
    pub text_len_bytes: u64,
    /// Their blocks; an inline block counts.
    pub blocks: u64,
    /// Stored shards of those.
    pub shards: u64,
    /// Extents.
    pub extents: u64,
    /// Intents.
    pub intents: u64,
    /// Descriptors; their shards count among those above.
    pub descriptors: u64,
    /// Shards of which damage is noted, or forgotten.
    pub damaged_shards: u64,
    /// Shards that come to lie elsewhere, wherever they are in the catalog; their damage does not count above.
    pub relocations: u64,
    /// Ranges of extents that are noted as verified, and files that are read back completely by that.
    pub verified: u64,
}

impl TransactionSize {
    /// Returns the size of one transaction that does both.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            entries: self.entries.saturating_add(other.entries),
            text_len_bytes: self.text_len_bytes.saturating_add(other.text_len_bytes),
            blocks: self.blocks.saturating_add(other.blocks),
            shards: self.shards.saturating_add(other.shards),
            extents: self.extents.saturating_add(other.extents),
            intents: self.intents.saturating_add(other.intents),
            descriptors: self.descriptors.saturating_add(other.descriptors),
            damaged_shards: self.damaged_shards.saturating_add(other.damaged_shards),
            relocations: self.relocations.saturating_add(other.relocations),
            verified: self.verified.saturating_add(other.verified),
        }
    }

    /// Returns how many bytes of the disk that holds the catalog the transaction may take before it ends. The room of what
    /// is removed comes back to the catalog later, never to the disk.
    pub const fn room_bytes(self) -> u64 {
        ANY_TRANSACTION_BYTES
            .saturating_add(self.entries.saturating_mul(ENTRY_BYTES))
            .saturating_add(self.text_len_bytes.saturating_mul(COPIES_OF_TEXT))
            .saturating_add(self.blocks.saturating_mul(BLOCK_BYTES))
            .saturating_add(self.shards.saturating_mul(SHARD_BYTES))
            .saturating_add(self.extents.saturating_mul(EXTENT_BYTES))
            .saturating_add(self.intents.saturating_mul(INTENT_BYTES))
            .saturating_add(self.descriptors.saturating_mul(DESCRIPTOR_BYTES))
            .saturating_add(self.damaged_shards.saturating_mul(DAMAGE_BYTES))
            .saturating_add(self.relocations.saturating_mul(RELOCATION_BYTES))
            .saturating_add(self.verified.saturating_mul(VERIFIED_BYTES))
    }
}
