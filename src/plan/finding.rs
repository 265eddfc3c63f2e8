//! What can be wrong with the frame of a shard.

/// The part of a frame that damage was found in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DamagePart {
    /// The header.
    Header,
    /// A copy of the leaf table.
    Table,
    /// The footer.
    Footer,
    /// The payload.
    Payload,
}

/// How stored bytes are wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DamageKind {
    /// The bytes do not match their hash.
    Checksum,
    /// A frame that belongs elsewhere.
    Misplaced,
    /// The storage refuses to read them.
    IoError,
    /// The extent is gone, or ends before them.
    Missing,
    /// Parity that matches its hash, and is not what its data encode to: it was wrong when it was hashed.
    Encoding,
}

impl DamageKind {
    /// Says whether reading a frame, and comparing it with its hashes, shows such damage.
    pub const fn is_told_by_hashes(self) -> bool {
        !matches!(self, Self::Encoding)
    }
}
