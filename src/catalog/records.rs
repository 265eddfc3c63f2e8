//! What the catalog knows, as plain values; what stands on disk is another type, in `rows`.

use crate::geometry::{BlockGeometry, FileGeometry, Policy, Tier};
use crate::merkle::{RootHash, ShardDigest};
use crate::units::{
    ArchiveId, BlockId, BlockIndex, CommitId, Epoch, ExtentId, FileId, FileName, LaneIndex, ShardIndex,
    Timestamp, VolumeId, to_u64,
};

/// The archive itself; written once, when it is created.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveRecord {
    /// Identity of the archive.
    pub id: ArchiveId,
    /// Format of everything in the archive, [`FORMAT_VERSION`](super::FORMAT_VERSION) when this version makes it.
    pub format_version: u16,
    /// Features without which nobody may open the archive, one bit each.
    pub required_features: u64,
    /// When the archive was created.
    pub created_at: Timestamp,
    /// How files are protected.
    pub policy: Policy,
}

/// A volume of the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeRecord {
    /// Small number by which rows name the volume; never given to another one.
    pub number: u16,
    /// Identity of the volume.
    pub id: VolumeId,
    /// Where it was seen last: relative to the archive, or absolute; at most 4096 bytes.
    pub path: Vec<u8>,
    /// What it is used for.
    pub state: VolumeState,
    /// The last epoch that was announced in its slots before it was published: a volume that has not heard of it is an old
    /// copy.
    pub epoch: Epoch,
}

/// What a volume is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum VolumeState {
    /// It takes new files.
    Active,
    /// What is on it moves to others; nothing new goes there.
    Draining,
    /// Nothing of the archive is on it any more; a volume of that id is a thing of the past.
    Removed,
}

impl VolumeState {
    /// Returns the number that stands for it on disk.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Active => 1,
            Self::Draining => 2,
            Self::Removed => 3,
        }
    }

    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Active),
            2 => Some(Self::Draining),
            3 => Some(Self::Removed),
            _ => None,
        }
    }
}

/// Whether an extent still takes bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ExtentState {
    /// Its owner may append.
    Open,
    /// Nothing is ever appended again.
    Sealed,
    /// Nothing is ever appended again, and bytes behind the committed end still have to be cut off.
    Abandoned,
    /// It holds nothing and ends at 0: its file may be removed by whoever finds it, and is not missed.
    Dropped,
    /// As sealed, and a deep scan has found it: what nothing names in it may still be somebody's, so nothing of it is known to be
    /// dead.
    Scanned,
}

impl ExtentState {
    /// Returns the number that stands for it on disk.
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Open => 1,
            Self::Sealed => 2,
            Self::Abandoned => 3,
            Self::Dropped => 4,
            Self::Scanned => 5,
        }
    }

    pub(super) const fn from_number(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Open),
            2 => Some(Self::Sealed),
            3 => Some(Self::Abandoned),
            4 => Some(Self::Dropped),
            5 => Some(Self::Scanned),
            _ => None,
        }
    }
}

/// An extent and what it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtentRecord {
    /// Identity of the extent.
    pub id: ExtentId,
    /// The volume that it lies on.
    pub volume: VolumeId,
    /// The lane that it continues.
    pub lane: LaneIndex,
    /// Whether it still takes bytes.
    pub state: ExtentState,
    /// The commit that alone may append, truncate and seal; its intent names the session.
    pub owner: Option<CommitId>,
    /// Committed end in bytes; bytes behind it belong to nobody.
    pub end_bytes: u64,
    /// Bytes of the frames that live shards have here. Kept by the catalog: what a caller puts is not looked at.
    pub live_bytes: u64,
    /// How many live shards have their frame here. Kept by the catalog too.
    pub live_shards: u64,
    /// How many files have shards here. Kept by the catalog too.
    pub live_files: u64,
}

/// Where the frame of a shard begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardAddress {
    /// The extent.
    pub extent: ExtentId,
    /// Offset in the extent, in bytes.
    pub offset: u64,
}

/// A shard whose frame was written anew, and is to be found there from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Relocation {
    /// Whose block it is.
    pub owner: ShardOwner,
    /// The shard.
    pub shard: ShardIndex,
    /// Where it lies.
    pub from: ShardAddress,
    /// Where the new frame is, as long as the old one.
    pub to: ShardAddress,
    /// Its digest, where that is another: of parity that was encoded wrongly, and was encoded again. Otherwise the new frame holds
    /// what the old one held, or should have.
    pub digest: Option<ShardDigest>,
}

/// Where a shard lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardRecord {
    /// The extent.
    pub extent: ExtentId,
    /// Offset of the frame in the extent, in bytes.
    pub offset: u64,
    /// Length of the frame in bytes, header and footer included.
    pub frame_len_bytes: u64,
    /// Digest of the leaf table of the shard.
    pub digest: ShardDigest,
}

impl ShardRecord {
    /// Returns where the frame begins.
    pub const fn address(&self) -> ShardAddress {
        ShardAddress {
            extent: self.extent,
            offset: self.offset,
        }
    }
}

/// A block and its shards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockRecord {
    /// Identity of the block.
    pub id: BlockId,
    /// The file that it was made for.
    pub file: FileId,
    /// Its position in that file.
    pub index: BlockIndex,
    /// How many files list the block; never 0.
    pub reference_count: u32,
    /// Shape, leaf length and place in the file.
    pub geometry: BlockGeometry,
    /// One entry for every shard of the shape, data first; `None` for a data shard behind the end of the file.
    pub shards: Vec<Option<ShardRecord>>,
}

/// What a name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A file and its bytes.
    File,
    /// A directory: permissions and a time. What lies below it has names of its own.
    Directory,
    /// A symbolic link.
    SymbolicLink {
        /// Where it leads, as it was read: 1 to 4095 bytes without NUL.
        target: Box<[u8]>,
    },
}

impl EntryKind {
    /// Returns the length of the target of a link, in bytes; 0 for anything else.
    pub fn target_len_bytes(&self) -> u64 {
        match self {
            Self::SymbolicLink { target } => to_u64(target.len()),
            Self::File | Self::Directory => 0,
        }
    }
}

/// A stored version of a file, or of a directory or symbolic link, which have no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRecord {
    /// Identity of this version of the file.
    pub id: FileId,
    /// Its name.
    pub name: FileName,
    /// What it is; anything but a file has length 0 and the root of no bytes.
    pub kind: EntryKind,
    /// Type and permission bits, as `stat` gives them.
    pub mode: u32,
    /// When the source was last modified.
    pub modified_at: Timestamp,
    /// When it was committed.
    pub committed_at: Timestamp,
    /// Counts the versions stored under the name, from 1.
    pub version: u32,
    /// Whether it is a kept version: another entry has the name by now.
    pub is_kept: bool,
    /// The commit that stored it.
    pub commit: CommitId,
    /// How it is cut into blocks.
    pub geometry: FileGeometry,
    /// The root of its hash tree, what `b3sum` prints.
    pub root: RootHash,
    /// Bytes that it takes on the volumes, frames and parity included.
    pub stored_bytes: u64,
}

impl FileRecord {
    /// Returns the length of its name and target together, in bytes.
    pub fn text_len_bytes(&self) -> u64 {
        to_u64(self.name.as_bytes().len()) + self.kind.target_len_bytes()
    }
}

/// To whom a frame belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ShardOwner {
    /// A block with a row of its own.
    Block(BlockId),
    /// The only block of a file, kept in the row of the file.
    InlineBlockOf(FileId),
    /// The descriptor of a commit.
    Descriptor(CommitId),
}

/// A live frame: where it lies and whose it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShardPlace {
    /// The extent.
    pub extent: ExtentId,
    /// Offset of the frame in the extent, in bytes.
    pub offset: u64,
    /// The block that the shard belongs to.
    pub owner: ShardOwner,
    /// Its position in that block.
    pub shard: ShardIndex,
}

impl ShardPlace {
    /// Returns where the frame begins.
    pub const fn address(&self) -> ShardAddress {
        ShardAddress {
            extent: self.extent,
            offset: self.offset,
        }
    }
}

/// Sums over all entries that have a name, and over kept versions, kept up to date by every transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Stored files.
    pub files: u64,
    /// Their lengths together, in bytes.
    pub bytes: u64,
    /// What they take on the volumes, in bytes.
    pub stored_bytes: u64,
    /// Blocks, each counted once.
    pub blocks: u64,
    /// Stored directories; not among the files.
    pub directories: u64,
    /// Stored symbolic links; not among the files.
    pub symbolic_links: u64,
    /// The files by tier, in the order of the tier numbers.
    pub tiers: [TierTotals; 4],
    /// Kept versions; not among all the others, but that their blocks are.
    pub kept: KeptTotals,
}

/// Sums over kept versions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KeptTotals {
    /// Kept versions of files.
    pub files: u64,
    /// Kept versions of symbolic links.
    pub symbolic_links: u64,
    /// Their lengths together, in bytes.
    pub bytes: u64,
    /// What they take on the volumes, in bytes.
    pub stored_bytes: u64,
}

/// Sums over the files of one tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TierTotals {
    /// Stored files.
    pub files: u64,
    /// Their lengths together, in bytes.
    pub bytes: u64,
}

impl KeptTotals {
    /// Returns how many versions are kept.
    pub const fn versions(&self) -> u64 {
        self.files.saturating_add(self.symbolic_links)
    }
}

impl Totals {
    /// Returns the sums of one tier.
    pub const fn tier(&self, tier: Tier) -> &TierTotals {
        match tier {
            Tier::Tiny => &self.tiers[0],
            Tier::Segmented => &self.tiers[1],
            Tier::Blocked => &self.tiers[2],
            Tier::Grouped => &self.tiers[3],
        }
    }

    /// Returns the sums with one entry more, or `None` when they do not fit 64 bits.
    pub(super) fn with(mut self, entry: &FileRecord) -> Option<Self> {
        if entry.is_kept {
            let count = self.kept_count_mut(&entry.kind)?;
            *count = count.checked_add(1)?;
            let kept = &mut self.kept;
            kept.bytes = kept.bytes.checked_add(entry.geometry.len_bytes())?;
            kept.stored_bytes = kept.stored_bytes.checked_add(entry.stored_bytes)?;
            return Some(self);
        }
        let count = self.count_mut(&entry.kind);
        *count = count.checked_add(1)?;
        if entry.kind == EntryKind::File {
            let tier = self.tier_mut(entry.geometry.tier());
            tier.files = tier.files.checked_add(1)?;
            tier.bytes = tier.bytes.checked_add(entry.geometry.len_bytes())?;
            self.bytes = self.bytes.checked_add(entry.geometry.len_bytes())?;
            self.stored_bytes = self.stored_bytes.checked_add(entry.stored_bytes)?;
        }
        Some(self)
    }

    /// Returns the sums with one entry less, or `None` when they never held it.
    pub(super) fn without(mut self, entry: &FileRecord) -> Option<Self> {
        if entry.is_kept {
            let count = self.kept_count_mut(&entry.kind)?;
            *count = count.checked_sub(1)?;
            let kept = &mut self.kept;
            kept.bytes = kept.bytes.checked_sub(entry.geometry.len_bytes())?;
            kept.stored_bytes = kept.stored_bytes.checked_sub(entry.stored_bytes)?;
            return Some(self);
        }
        let count = self.count_mut(&entry.kind);
        *count = count.checked_sub(1)?;
        if entry.kind == EntryKind::File {
            let tier = self.tier_mut(entry.geometry.tier());
            tier.files = tier.files.checked_sub(1)?;
            tier.bytes = tier.bytes.checked_sub(entry.geometry.len_bytes())?;
            self.bytes = self.bytes.checked_sub(entry.geometry.len_bytes())?;
            self.stored_bytes = self.stored_bytes.checked_sub(entry.stored_bytes)?;
        }
        Some(self)
    }

    const fn count_mut(&mut self, kind: &EntryKind) -> &mut u64 {
        match kind {
            EntryKind::File => &mut self.files,
            EntryKind::Directory => &mut self.directories,
            EntryKind::SymbolicLink { .. } => &mut self.symbolic_links,
        }
    }

    /// No directory is ever kept.
    const fn kept_count_mut(&mut self, kind: &EntryKind) -> Option<&mut u64> {
        match kind {
            EntryKind::File => Some(&mut self.kept.files),
            EntryKind::SymbolicLink { .. } => Some(&mut self.kept.symbolic_links),
            EntryKind::Directory => None,
        }
    }

    const fn tier_mut(&mut self, tier: Tier) -> &mut TierTotals {
        match tier {
            Tier::Tiny => &mut self.tiers[0],
            Tier::Segmented => &mut self.tiers[1],
            Tier::Blocked => &mut self.tiers[2],
            Tier::Grouped => &mut self.tiers[3],
        }
    }
}
