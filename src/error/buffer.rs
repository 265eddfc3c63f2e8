//! Why a buffer could not be had.

use std::io;

/// Why [`BufferPool`](crate::buffer::BufferPool) gave no buffer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BufferError {
    /// One request is larger than everything the pool may ever hold: waiting would never end.
    #[error("a buffer of {wanted_bytes} bytes was asked from a budget of {budget_bytes} bytes")]
    OverBudget {
        /// Bytes asked for, rounded up to whole pages.
        wanted_bytes: usize,
        /// What the pool was made with.
        budget_bytes: usize,
    },
    /// The host has no memory for a buffer that the budget allows.
    #[error("mapping {wanted_bytes} bytes of memory failed")]
    Map {
        /// Bytes asked for, rounded up to whole pages.
        wanted_bytes: usize,
        /// What the host said.
        #[source]
        source: io::Error,
    },
}
