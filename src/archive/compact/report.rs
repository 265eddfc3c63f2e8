//! What compacting has come to.

/// What was given back, what that took, and what stays.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[must_use]
pub struct CompactReport {
    /// Bytes of holes that were made in extents.
    pub hole_bytes: u64,
    /// Extents in which nothing lived any more, and which were removed.
    pub dropped_extents: u64,
    /// Bytes of these that were not given back before.
    pub dropped_bytes: u64,
    /// Shards that were written anew elsewhere, so that what they lay in could be dropped.
    pub rewritten_shards: u64,
    /// Bytes of their frames.
    pub rewritten_bytes: u64,
    /// Dead bytes that stay for now, a sum for each reason.
    pub kept: Vec<KeptRoom>,
}

impl CompactReport {
    /// Returns how many bytes more are free by it.
    pub const fn given_back_bytes(&self) -> u64 {
        let given_back = self.hole_bytes.saturating_add(self.dropped_bytes);
        given_back.saturating_sub(self.rewritten_bytes)
    }
}

/// Dead bytes that stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeptRoom {
    /// Why.
    pub why: KeptWhy,
    /// In how many extents they lie.
    pub extents: u64,
    /// How many they are.
    pub bytes: u64,
}

/// Why dead bytes stay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeptWhy {
    /// They are less than a page each, or less than is worth writing what lives beside them anew.
    Scattered,
    /// A commit that runs or waits has the extent.
    InUse,
    /// Writing anew what lives beside them would have cost more than was allowed.
    OverBudget,
    /// There is no room to write anew what lives beside them.
    NoRoom,
    /// The extent has another name, in a backup made of hard links say.
    SharedFile,
    /// What lives beside them cannot be read, nor made again.
    Damaged,
    /// The system refused to give them back; the next attempt tries again.
    Failed,
    /// A deep scan has found the extent, and nobody knows that what no entry has there is dead.
    Scanned,
    /// The volume is not there.
    VolumeMissing,
    /// The volume takes no writes.
    VolumeReadOnly,
    /// The volume is an old copy that a scrub has not looked at.
    VolumeStale,
}
