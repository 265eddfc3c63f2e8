//! Errors of [`crate::merkle`].

/// Why text is not a root hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RootHashError {
    /// Not 64 characters.
    #[error("a root hash has 64 hexadecimal digits, not {found}")]
    Length {
        /// Length found, in bytes.
        found: usize,
    },
    /// A character that is no hexadecimal digit.
    #[error("byte {index} of a root hash is not a hexadecimal digit")]
    Digit {
        /// Position of the first such byte.
        index: usize,
    },
}
