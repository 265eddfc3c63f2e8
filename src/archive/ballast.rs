//! Room for what has to work on a full disk: removing files, and settling what dead writers have left.
//!
//! The catalog never changes a page in place, so even a removal needs fresh ones before it frees any. The archive keeps a
//! file of some megabytes, made with it, for that moment: it is released before such a transaction when too little is free,
//! and made again when there is plenty, by the next operation that writes. A ballast that is missing or cannot be made fails nothing; then a removal on a full
//! disk fails as it would without one, and leaves everything as it was.

use super::shared::Shared;
use crate::{
    geometry::FileGeometry,
    host::{ArchiveLayout, BALLAST_LEN_BYTES, free_bytes},
    units::to_u64,
};

/// Free bytes, as a multiple of its length, at which a ballast is made: never so that it fills a disk by itself.
const ROOM_TO_MAKE: u64 = 2;

/// What any transaction takes: the pages above the rows that change in every table, the directory of tables, the lists of
/// freed pages and the state of the allocator, each once for every phase.
/// Measured: 64 KiB for a catalog of 100 KiB; the state of the allocator grows with it, by 64 KiB for each gigabyte.
const BASE_BYTES: u64 = 512 << 10;

/// Catalog rows of one shard: its share of the row of the block, and its row in its extent.
const SHARD_ROWS_BYTES: u64 = 136;

/// Catalog rows of one block beside those of its shards.
const BLOCK_ROWS_BYTES: u64 = 256;

/// Catalog rows of one entry beside those of its blocks: its name, twice, and what is known of it.
const ENTRY_ROWS_BYTES: u64 = 256;

/// Catalog row of one extent.
const EXTENT_ROW_BYTES: u64 = 128;

/// Length of a page of the catalog: a single row that changes copies one.
const PAGE_BYTES: u64 = 4096;

/// What a removal of files may need of free space before it frees any, in bytes: every page that holds one of their rows is
/// copied, and pages are half full at worst. Files that are removed together are taken for neighbours, as those of a tree are.
pub(super) fn removal_need_bytes<'a>(files: impl Iterator<Item = &'a FileGeometry>) -> u64 {
    let mut pages = 0;
    let mut rows = 0_u64;
    for geometry in files {
        let shards = u64::from(geometry.shape().total());
        let of_blocks = (shards * SHARD_ROWS_BYTES + BLOCK_ROWS_BYTES).saturating_mul(geometry.block_count());
        rows = rows.saturating_add(of_blocks.saturating_add(ENTRY_ROWS_BYTES));
        // The rows of each lane stand together, so each lane has a first and a last page of its own.
        pages = pages.max(2 * shards * PAGE_BYTES);
    }
    BASE_BYTES
        .saturating_add(rows.saturating_mul(2))
        .saturating_add(pages)
}

/// What giving extents back may need, in bytes.
pub(super) fn release_need_bytes(extents: usize) -> u64 {
    BASE_BYTES + 2 * EXTENT_ROW_BYTES * to_u64(extents)
}

/// Does `work` with the ballast released where fewer than `need_bytes` are free, and makes it again afterwards where there
/// is room.
pub(super) fn with_room<T>(shared: &Shared, need_bytes: u64, work: impl FnOnce() -> T) -> T {
    give_way(&shared.layout, need_bytes);
    let result = work();
    settle(&shared.layout);
    result
}

/// Releases the ballast where fewer than `need_bytes` are free, or fewer than it keeps: so much may be gone the moment after,
/// and a catalog that has met a full disk has to be opened anew, so it is not left to try. Another process may do the same, or make it again, at any
/// time: it is made only where twice as much is free as it takes.
pub(super) fn give_way(layout: &ArchiveLayout, need_bytes: u64) {
    // Where the free space cannot be told, the operation itself shows whether there is any.
    if free_bytes(layout.root()).is_ok_and(|free| free < need_bytes.max(BALLAST_LEN_BYTES)) {
        match layout.ballast().release() {
            Ok(_) | Err(_) => {}
        }
    }
}

/// Returns how many bytes a ballast lacks that was released, or never made.
pub(super) fn missing_bytes(layout: &ArchiveLayout) -> u64 {
    let kept_bytes = layout.ballast().kept_bytes().unwrap_or(BALLAST_LEN_BYTES);
    BALLAST_LEN_BYTES.saturating_sub(kept_bytes)
}

/// Makes the ballast where it is missing and there is plenty of room.
pub(super) fn settle(layout: &ArchiveLayout) {
    let ballast = layout.ballast();
    let is_there = ballast.kept_bytes().is_ok_and(|kept| kept >= BALLAST_LEN_BYTES);
    if is_there || !free_bytes(layout.root()).is_ok_and(|free| free >= ROOM_TO_MAKE * BALLAST_LEN_BYTES) {
        return;
    }
    // It serves bad days only, and this is none: the next operation that writes tries again.
    match ballast.make() {
        Ok(()) | Err(_) => {}
    }
}
