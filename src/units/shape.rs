//! The shape of a code: how many data and parity shards it has.

use core::fmt;

/// Most shards a code may have: what bounds tables and working space.
pub const MAX_SHARDS: u16 = 1024;

/// Most shards a block may have.
///
/// Every shard of a block wants a lane of its own, and a lane is an open extent file. A code across blocks wants none,
/// so it may be wider.
pub const MAX_BLOCK_SHARDS: u16 = 256;

/// RS(k, m): `data` shards and `parity` shards, any `parity` of which may be lost.
///
/// With one data shard the code is replication: the parity shards are copies of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CodeShape {
    data: u16,
    parity: u16,
}

/// A code shape that cannot be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a code needs 1 or more data and parity shards and at most {MAX_SHARDS} together, not {data} + {parity}"
)]
pub struct CodeShapeError {
    /// Data shards asked for.
    pub data: u16,
    /// Parity shards asked for.
    pub parity: u16,
}

impl CodeShape {
    /// Returns RS(`data`, `parity`).
    ///
    /// # Errors
    /// [`CodeShapeError`] when either count is 0 or the sum exceeds [`MAX_SHARDS`].
    pub const fn new(data: u16, parity: u16) -> Result<Self, CodeShapeError> {
        let total = data as u32 + parity as u32;
        if data == 0 || parity == 0 || total > MAX_SHARDS as u32 {
            return Err(CodeShapeError { data, parity });
        }
        Ok(Self { data, parity })
    }

    /// Returns the count of data shards, `k`.
    pub const fn data(self) -> u16 {
        self.data
    }

    /// Returns the count of parity shards, `m`.
    pub const fn parity(self) -> u16 {
        self.parity
    }

    /// Returns the count of all shards, `k + m`.
    pub const fn total(self) -> u16 {
        self.data + self.parity
    }

    /// Says whether a block may have this code, by [`MAX_BLOCK_SHARDS`].
    pub const fn fits_block(self) -> bool {
        self.total() <= MAX_BLOCK_SHARDS
    }

    /// Says whether the code is replication (`k = 1`).
    pub const fn is_replication(self) -> bool {
        self.data == 1
    }
}

impl fmt::Display for CodeShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RS({},{})", self.data, self.parity)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_without_data_or_parity_or_with_too_many_shards_are_refused() {
        assert!(CodeShape::new(0, 3).is_err(), "no data");
        assert!(CodeShape::new(3, 0).is_err(), "no parity");
        assert!(CodeShape::new(1022, 3).is_err(), "1025 shards");
        assert!(
            CodeShape::new(u16::MAX, u16::MAX).is_err(),
            "the sum must not wrap"
        );
        assert_eq!(CodeShape::new(1021, 3).map(CodeShape::total), Ok(1024));
    }

    #[test]
    fn a_code_may_have_more_shards_than_a_block() {
        let fits = |data, parity| CodeShape::new(data, parity).map(CodeShape::fits_block);
        assert_eq!((fits(253, 3), fits(254, 3)), (Ok(true), Ok(false)));
    }
}
