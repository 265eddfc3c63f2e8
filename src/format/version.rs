//! Versions of records and features of archives (docs/format.md, sections 2 and 8).
#![deny(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::expect_used
)]

use crate::error::{FormatError, RecordKind};

/// Version of a record's layout, the same number in all records that one bfdb writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FormatVersion(u16);

impl FormatVersion {
    /// What this bfdb writes, and the latest that it reads.
    pub const CURRENT: Self = Self(1);

    /// Returns the number as it stands on disk.
    pub const fn get(self) -> u16 {
        self.0
    }

    /// Checks the number found in an intact record.
    ///
    /// # Errors
    /// [`FormatError::NewerVersion`] and, for 0, [`FormatError::UnknownVersion`].
    pub const fn from_number(record: RecordKind, found: u16) -> Result<Self, FormatError> {
        match found {
            0 => Err(FormatError::UnknownVersion { record, found }),
            1 => Ok(Self(found)),
            _ => Err(FormatError::NewerVersion {
                record,
                found,
                supported: Self::CURRENT.0,
            }),
        }
    }
}

/// Features that a reader must have to use an archive: a set of bits, none of which is taken yet.
///
/// A feature gets a bit when bytes that it writes would be misread without it; a bit is never given twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Features(u64);

impl Features {
    /// No feature.
    pub const NONE: Self = Self(0);

    /// The features that this bfdb has.
    pub const KNOWN: Self = Self::NONE;

    /// Returns the bits as they stand on disk.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Checks the bits found in an intact record.
    ///
    /// # Errors
    /// [`FormatError::UnsupportedFeature`] names the lowest bit that is not in [`Self::KNOWN`].
    pub const fn from_bits(bits: u64) -> Result<Self, FormatError> {
        match bits & !Self::KNOWN.0 {
            0 => Ok(Self(bits)),
            unknown => Err(FormatError::UnsupportedFeature {
                bit: unknown.trailing_zeros(),
            }),
        }
    }
}
