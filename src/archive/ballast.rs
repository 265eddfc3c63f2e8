//! Room for what has to work on a full disk: removing files, and settling what dead writers have left.
//!
//! The catalog never changes a page in place, so even a removal needs fresh ones before it frees any. The archive keeps a
//! file of some megabytes, made with it, for that moment: it is released before such a transaction when too little is free,
//! and made again when there is plenty, by the next operation that writes. A ballast that is missing or cannot be made fails
//! nothing; then a removal on a full disk fails as it would without one, and leaves everything as it was.

use super::shared::Shared;
use crate::host::{ArchiveLayout, BALLAST_LEN_BYTES};

/// Free bytes, as a multiple of its length, at which a ballast is made: never so that it fills a disk by itself.
const ROOM_TO_MAKE: u64 = 2;

/// Does `work` with the ballast released where fewer than `need_bytes` are free, and makes it again afterwards where there
/// is room.
pub(super) fn with_room<T>(shared: &Shared, need_bytes: u64, work: impl FnOnce() -> T) -> T {
    give_way(&shared.layout, need_bytes);
    let result = work();
    settle(&shared.layout);
    result
}

/// Does `work`; where that fails while less is free than the ballast keeps, does it once more without the ballast.
pub(super) fn again_with_room<T, E>(layout: &ArchiveLayout, work: impl Fn() -> Result<T, E>) -> Result<T, E> {
    let result = work();
    let is_tight = || layout.free_bytes().is_ok_and(|free| free < BALLAST_LEN_BYTES);
    let has_ballast = || layout.ballast().kept_bytes().is_ok_and(|kept| kept > 0);
    if result.is_ok() || !is_tight() || !has_ballast() {
        return result;
    }
    give_way(layout, 0);
    work()
}

/// Releases the ballast where fewer than `need_bytes` are free, or fewer than it keeps: so much may be gone the moment after,
/// and a catalog that has met a full disk has to be opened anew, so it is not left to try. Another process may do the same, or make it again, at any
/// time: it is made only where twice as much is free as it takes.
pub(super) fn give_way(layout: &ArchiveLayout, need_bytes: u64) {
    // Where the free space cannot be told, the operation itself shows whether there is any.
    if layout
        .free_bytes()
        .is_ok_and(|free| free < need_bytes.max(BALLAST_LEN_BYTES))
    {
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
    if is_there
        || !layout
            .free_bytes()
            .is_ok_and(|free| free >= ROOM_TO_MAKE * BALLAST_LEN_BYTES)
    {
        return;
    }
    // It serves bad days only, and this is none: the next operation that writes tries again.
    match ballast.make() {
        Ok(()) | Err(_) => {}
    }
}
