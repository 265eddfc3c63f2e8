//! The hashes that mean something outside, each a type of its own.

use super::HASH_LEN_BYTES;
use crate::error::RootHashError;
use core::{fmt, str::FromStr};

macro_rules! hash {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; HASH_LEN_BYTES]);

        impl $name {
            /// Wraps the 32 bytes as they stand on disk.
            pub const fn from_bytes(bytes: [u8; HASH_LEN_BYTES]) -> Self {
                Self(bytes)
            }

            /// Returns the 32 bytes as they stand on disk.
            pub const fn to_bytes(self) -> [u8; HASH_LEN_BYTES] {
                self.0
            }

            /// Borrows the 32 bytes as they stand on disk.
            pub const fn as_bytes(&self) -> &[u8; HASH_LEN_BYTES] {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}(", stringify!($name))?;
                write_hex(f, &self.0)?;
                write!(f, ")")
            }
        }
    };
}

hash! {
    /// Hash of one leaf, an entry of a leaf table.
    ///
    /// Of a data leaf it is a chaining value of the file's tree, or the root of a file of one leaf; of a parity leaf it is
    /// a plain BLAKE3. Which of them it is must be known from elsewhere, so it is not displayed.
    LeafHash
}
hash! {
    /// BLAKE3 of a whole file.
    ///
    /// Displays as 64 lower-case hexadecimal digits, the text that `b3sum` prints; parses either case.
    RootHash
}
hash! {
    /// What stands for the leaf table of a shard: see [`super::LeafTable::digest`].
    ///
    /// Displays as 64 lower-case hexadecimal digits.
    ShardDigest
}

hash! {
    /// Hash of a journal record, and through the one before it of the whole past of an archive: see
    /// [`super::ChainHasher`].
    ///
    /// Displays as 64 lower-case hexadecimal digits.
    ChainHash
}

impl ChainHash {
    /// What stands for the record before the first.
    pub const NONE: Self = Self([0; HASH_LEN_BYTES]);
}

impl fmt::Display for ChainHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Display for ShardDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl FromStr for RootHash {
    type Err = RootHashError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 2 * HASH_LEN_BYTES {
            return Err(RootHashError::Length { found: text.len() });
        }
        let mut bytes = [0; HASH_LEN_BYTES];
        for (index, &character) in text.as_bytes().iter().enumerate() {
            let digit = match character {
                b'0'..=b'9' => character - b'0',
                b'a'..=b'f' => character - b'a' + 10,
                b'A'..=b'F' => character - b'A' + 10,
                _ => return Err(RootHashError::Digit { index }),
            };
            bytes[index / 2] = bytes[index / 2] << 4 | digit;
        }
        Ok(Self(bytes))
    }
}

fn write_hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}
