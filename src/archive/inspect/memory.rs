//! Memory that outlives the workers: a scrub calls for new ones some times for each gigabyte.

use std::sync::{Mutex, PoisonError};

use crate::buffer::Scratch;

/// Memory of one worker.
#[derive(Debug, Default)]
pub(super) struct WorkMemory {
    /// Of frames that are read in one go.
    pub(super) frames: Scratch,
    /// Of parts of longer ones.
    pub(super) parts: Scratch,
}

/// What workers have grown and do not use now, as much as there were workers at once; memory that comes from the system is cleared
/// first, which takes as long as half of the reading.
#[derive(Debug, Default)]
pub(in crate::archive) struct IdleMemory {
    idle: Mutex<Vec<WorkMemory>>,
}

impl IdleMemory {
    pub(super) fn take(&self) -> WorkMemory {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.pop().unwrap_or_default()
    }

    pub(super) fn put(&self, memory: WorkMemory) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.push(memory);
    }
}
