//! Identities (never reused, allocated once) and indexes (0-based positions).

use core::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($inner);

        impl $name {
            /// Wraps a raw number.
            pub const fn new(value: $inner) -> Self {
                Self(value)
            }

            /// Returns the raw number.
            pub const fn get(self) -> $inner {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 16]);

        impl $name {
            /// Wraps 16 bytes; they come from the randomness that the roof was given.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// Returns the 16 bytes as they stand on disk.
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }
    };
}

identity! {
    /// Identity of an archive: random, made once at creation, written into every frame.
    ArchiveId
}
identity! {
    /// Identity of a volume, the failure domain: random, made once, kept in its slots and frames.
    VolumeId
}

number! {
    /// Identity of a stored file version, unique in an archive for ever.
    FileId(u64)
}
number! {
    /// Identity of a block (one codeword), unique in an archive for ever; frames name the block, not the file.
    BlockId(u64)
}
number! {
    /// Identity of an extent, unique in an archive for ever, whatever its volume.
    ExtentId(u64)
}
number! {
    /// Identity of a commit: names the owner of bytes that are not published yet.
    CommitId(u64)
}
number! {
    /// Identity of a writing process while it lives: names its lock file and the extents it owns.
    SessionId(u64)
}
number! {
    /// Number of transactions that have published something; it grows by one with each.
    Epoch(u64)
}
number! {
    /// Position of a block in its file.
    BlockIndex(u64)
}
number! {
    /// Position of a shard in its block: data shards first, then parity.
    ShardIndex(u16)
}
number! {
    /// Position of a column in its block: the leaves at the same offset in all shards.
    ColumnIndex(u32)
}
number! {
    /// Position of a leaf in its file.
    LeafIndex(u64)
}
number! {
    /// A lane of a volume: the sequence of extents that one stream of shards is appended to.
    LaneIndex(u16)
}

impl Epoch {
    /// The epoch of an archive in which nothing was published yet.
    pub const ZERO: Self = Self::new(0);

    /// Returns the epoch of the next publishing transaction.
    ///
    /// # Panics
    /// After 2^64 transactions.
    #[must_use]
    pub const fn next(self) -> Self {
        Self::new(
            self.get()
                .checked_add(1)
                .expect("an archive sees fewer than 2^64 transactions"),
        )
    }
}

impl ShardIndex {
    /// Returns the position as an index into a slice of shards.
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl ColumnIndex {
    /// Returns the position as an index into a slice of leaves.
    ///
    /// # Panics
    /// Where an index is narrower than 32 bits.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).expect("a column index fits the address space")
    }
}
