//! How much room on disk a transaction may take before it ends.
//!
//! The database copies every page that it changes and frees the old one only later, and its file grows sparsely. So what
//! a transaction takes is pages, not rows, and a full disk shows as a failed write somewhere inside it; who asks first is
//! refused in time. The numbers are upper bounds of what was measured, see the tests: they hold for names of usual length.

const PAGE_LEN_BYTES: u64 = 4096;

/// What any transaction may take: sums, counters, extents, branch pages and the state of the allocator.
const ANY_TRANSACTION_BYTES: u64 = 2 * 1024 * 1024;

/// Returns how many bytes of the disk that holds the catalog a transaction may take that adds so many entries with so many
/// blocks and stored shards together. An inline block counts as a block.
///
/// An entry may change a page of names that nothing else changes; the rest is appended.
pub const fn room_for_insertion(entries: u64, blocks: u64, shards: u64) -> u64 {
    let rows = entries
        .saturating_mul(2 * PAGE_LEN_BYTES)
        .saturating_add(blocks.saturating_mul(512))
        .saturating_add(shards.saturating_mul(256));
    rows.saturating_add(ANY_TRANSACTION_BYTES)
}

/// Returns how many bytes of the disk that holds the catalog a transaction may take that removes a file of so many blocks
/// and stored shards. The room of what is removed comes back to the catalog later, never to the disk.
///
/// Shards of neighbouring blocks are neighbours in their extents, so a run of blocks changes the same pages.
pub const fn room_for_removal(blocks: u64, shards: u64) -> u64 {
    room_for_insertion(2, blocks, shards)
}
