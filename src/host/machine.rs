//! What the engine asks the machine for: files, time and randomness, together so that all three can be chosen.

use std::sync::Arc;

use super::{
    clock::{Clock, SystemClock},
    random::{Randomness, SystemRandomness, random_bytes},
};
use crate::{
    error::HostError,
    storage::{HostStorage, Storage},
    units::Timestamp,
};

/// Where an archive keeps its files, what time it is, and where identities come from.
#[derive(Debug, Clone)]
pub struct Machine {
    /// The files of the archive. Sources and restored files are read and written on the host, whatever this is.
    pub storage: Arc<dyn Storage>,
    /// The time of day.
    pub clock: Arc<dyn Clock>,
    /// Random bytes.
    pub randomness: Arc<dyn Randomness>,
}

impl Machine {
    /// Returns the time of day.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Returns `N` random bytes, for identities and for names that must not collide.
    ///
    /// # Errors
    /// [`HostError::Randomness`] when there are none.
    pub fn random_bytes<const N: usize>(&self) -> Result<[u8; N], HostError> {
        random_bytes(self.randomness.as_ref())
    }
}

impl Default for Machine {
    /// The machine that the process runs on.
    fn default() -> Self {
        Self {
            storage: Arc::new(HostStorage),
            clock: Arc::new(SystemClock),
            randomness: Arc::new(SystemRandomness),
        }
    }
}
