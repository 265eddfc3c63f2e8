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
}
