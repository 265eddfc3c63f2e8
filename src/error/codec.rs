//! Errors of [`crate::codec`].

/// Why a column could not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// More shards are missing than the code has parity.
    #[error("{present} shards of the column are left, its code needs {needed}")]
    TooFewShards {
        /// Shards that are present, data and parity together.
        present: u16,
        /// Shards that are needed: the count of data shards.
        needed: u16,
    },
}
