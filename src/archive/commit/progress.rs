//! Tk: noting how far a resumable commit has come, from time to time.
//!
//! A point of progress covers only what is durable: the extents are synced first, and what it counts was written before
//! that sync began. Whoever goes on from it trusts nothing behind it.

use std::sync::{Mutex, PoisonError, TryLockError};

use super::{reservation::Reservation, writing::Completed};
use crate::{
    archive::{order::Order, shared::Shared},
    catalog::ProgressRecord,
    error::CommitError,
    seeded_bugs::{SeededBug, is_on},
    storage::Medium,
    units::BlockIndex,
};

/// Seconds after which a point is noted, however slow the disk is.
const INTERVAL_SECONDS: i64 = 10;

/// How much further points are apart where disks rotate: each syncs as many extents as a block has shards, and the head goes to every one.
const ROTATING_INTERVAL: u64 = 4;

/// Points that are kept: one to go on from, and one to verify from.
pub(super) const POINTS_KEPT: usize = 2;

/// Notes the progress of one commit.
pub(super) struct ProgressLog<'a> {
    shared: &'a Shared,
    reservation: &'a Reservation,
    interval_bytes: u64,
    /// Held while a point is noted; nobody waits for it.
    last: Mutex<Last>,
}

/// The last point.
#[derive(Debug, Clone, Copy)]
struct Last {
    blocks: u64,
    seconds: i64,
}

impl<'a> ProgressLog<'a> {
    /// Begins at the first block of the leg.
    pub(super) fn new(shared: &'a Shared, reservation: &'a Reservation) -> Self {
        Self {
            shared,
            reservation,
            interval_bytes: match shared.order_of_commit(Medium::Solid) {
                Order::Columns => shared.progress_bytes,
                Order::Shards => shared.progress_bytes.saturating_mul(ROTATING_INTERVAL),
            },
            last: Mutex::new(Last {
                blocks: reservation.leg.first_block.get(),
                seconds: shared.now().seconds(),
            }),
        }
    }

    /// Notes a point when enough was completed since the last one, unless somebody else does so just now.
    pub(super) fn note_when_due(&self, completed: &Mutex<Completed>) -> Result<(), CommitError> {
        let mut last = match self.last.try_lock() {
            Ok(last) => last,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        let blocks = lock(completed).count();
        let now = self.shared.now().seconds();
        let elapsed = now.saturating_sub(last.seconds);
        let is_due = self.bytes_between(last.blocks, blocks) >= self.interval_bytes
            || (blocks > last.blocks && !(0..INTERVAL_SECONDS).contains(&elapsed));
        if is_due {
            self.note(&mut last, completed)?;
            last.seconds = now;
        }
        Ok(())
    }

    /// Notes a point now, for a commit that stops and is to go on later.
    pub(super) fn note_now(&self, completed: &Mutex<Completed>) -> Result<(), CommitError> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if lock(completed).count() == last.blocks {
            return Ok(());
        }
        self.note(&mut last, completed)
    }

    fn note(&self, last: &mut Last, completed: &Mutex<Completed>) -> Result<(), CommitError> {
        // Taken before the sync: what is completed during it may not be covered by it.
        let (blocks, folder) = {
            let completed = lock(completed);
            (completed.count(), completed.folder_state())
        };
        if !is_on(SeededBug::ProgressBeforeSync) {
            self.reservation.sync(self.shared)?;
        }
        let mut writer = self.shared.catalog.write()?;
        self.reservation.check_owned(&writer)?;
        let mut intent = writer
            .intent(self.reservation.commit())?
            .expect("an intent that is ours is there");
        let resumable = intent
            .resumable
            .as_mut()
            .expect("only resumable commits note progress");
        resumable.progress.push(ProgressRecord { blocks, folder });
        let surplus = resumable.progress.len().saturating_sub(POINTS_KEPT);
        resumable.progress.drain(..surplus);
        writer.put_intent(&intent)?;
        writer.commit()?;
        last.blocks = blocks;
        Ok(())
    }

    /// Returns how many bytes of the file lie in a run of blocks.
    fn bytes_between(&self, from: u64, until: u64) -> u64 {
        let geometry = &self.reservation.files()[0].record.geometry;
        geometry.bytes_before(BlockIndex::new(until)) - geometry.bytes_before(BlockIndex::new(from))
    }
}

fn lock(completed: &Mutex<Completed>) -> std::sync::MutexGuard<'_, Completed> {
    completed.lock().unwrap_or_else(PoisonError::into_inner)
}
