//! Bytes on failure domains: extents, their writers, and the two slots that say who a volume is.
//!
//! A [`Volume`] is the failure domain: one directory, disk or (later) bucket. It keeps *extents*, numbered containers of
//! bytes that are made once, appended to, and then never changed, and two *slots* of 4 KiB that are rewritten in turn.
//! It knows no catalog, no frames and no names of users' files: what the bytes mean is decided above.
//!
//! [`LocalVolume`] keeps them in a directory, [`MemoryVolume`] in memory. One conformance suite
//! (`bfdb_fault_injection::conformance`) checks every numbered rule of the contract below against every implementation.

mod absent;
mod appender;
mod local;
mod memory;

use std::fmt::{self, Debug};
use std::sync::Arc;

pub use absent::AbsentVolume;
pub use appender::ExtentAppender;
pub use local::{IoMode, LocalVolume, LocalVolumeOptions};
pub use memory::MemoryVolume;

use crate::error::VolumeError;
use crate::units::{ByteRange, ExtentId, VolumeId};

/// Length of a slot in bytes: one sector of every disk in use, so that a torn write hurts one slot only.
pub const SLOT_LEN_BYTES: usize = 4096;

/// Contents of a slot.
pub type SlotBytes = [u8; SLOT_LEN_BYTES];

/// Bytes of a sector, the unit that a torn write may spoil and that direct I/O moves.
pub const SECTOR_LEN_BYTES: u64 = 4096;

/// A failure domain that keeps extents and two slots.
///
/// # Contract
/// Offsets are bytes from the start of the extent; its *length* counts preallocated bytes, which read as zeros until
/// they are written. All methods may be called from several threads at once.
///
/// 1. **Create** makes an extent or fails with [`Exists`](VolumeError::Exists), never touching one that is there. Then
///    the header is its first bytes, the length is the larger of header and capacity, the rest reads as zeros.
/// 2. **A create that fails** leaves no extent; [`Full`](VolumeError::Full) carries the numbers.
/// 3. **Resume** cuts the extent to `end_bytes` first, so leftovers of a crash are gone and what is preallocated next
///    reads as zeros. An extent that is shorter is [`Truncated`](VolumeError::Truncated) and left alone.
/// 4. **Read** fills the whole buffer or fails: [`Missing`](VolumeError::Missing) without the extent,
///    [`Truncated`](VolumeError::Truncated) where it ends before the range, anything else
///    [`Read`](VolumeError::Read). No range panics. `read_once` gives the same answers.
/// 5. **Written bytes are readable** through the volume as soon as `write_at` returns, synced or not.
/// 6. **Writes** go to any offset in any order, from several threads at disjoint ranges, and change nothing beside their
///    range; behind the end they lengthen the extent, and a gap reads as zeros. The caller writes **each byte at most
///    once**; after a failed write the range is unknown and is not written again.
/// 7. **Preallocate** lengthens to `end_bytes` with real blocks, so that a full disk shows here and not at a write. It
///    never shortens and changes no byte; when it is [`Full`](VolumeError::Full), the length stays.
/// 8. **Truncate** shortens to `end_bytes`; it never lengthens.
/// 9. **Seal** syncs; after it every further call of that writer fails with [`Sealed`](VolumeError::Sealed), and the
///    bytes stay readable. The volume does not remember seals; the catalog does.
/// 10. **Sync** makes everything durable that was written, preallocated or truncated before it was called, data and
///     length. When it fails, the extent is *poisoned*: every later call that would write or sync, of this writer or of
///     one that is resumed from this volume, fails with [`Poisoned`](VolumeError::Poisoned).
/// 11. **List** gives every extent once, by ascending id, with its length, and nothing else that lies beside them.
/// 12. **Remove** takes the extent away for good: reading it is [`Missing`](VolumeError::Missing) from then on, also
///     where it was read before, and so is removing it again.
/// 13. **Slots** are independent, read as zeros until they are written, and durable when `write_slot` returns.
/// 14. **Dropping a writer** changes nothing: the extent keeps its bytes and its length and can be resumed.
/// 15. **Punch** gives ranges back: their bytes read as zeros, durably, and all others and the length are what they were. Where
///     it is not done, or fails, each byte in the ranges is what it was, or zero.
pub trait Volume: Debug + Send + Sync {
    /// Returns the identity that this volume was made or opened with.
    fn id(&self) -> VolumeId;

    /// Makes a new extent with `header` as its first bytes and `capacity_bytes` preallocated (rules 1, 2).
    ///
    /// When this returns, the extent, its header and its directory entry are durable.
    ///
    /// # Errors
    /// [`VolumeError::Exists`], [`VolumeError::Full`], [`VolumeError::Create`].
    fn create_extent(
        &self,
        extent: ExtentId,
        header: &[u8],
        capacity_bytes: u64,
    ) -> Result<Arc<dyn ExtentWriter>, VolumeError>;

    /// Opens an unsealed extent for appending behind `end_bytes` (rule 3).
    ///
    /// The caller is its only owner, and everything before `end_bytes` was synced: the catalog knows both.
    ///
    /// # Errors
    /// [`VolumeError::Missing`], [`VolumeError::Truncated`], [`VolumeError::Poisoned`], [`VolumeError::Open`],
    /// [`VolumeError::Truncate`], [`VolumeError::Sync`].
    fn resume_extent(&self, extent: ExtentId, end_bytes: u64) -> Result<Arc<dyn ExtentWriter>, VolumeError>;

    /// Fills `into` from `offset`, all or error (rules 4, 5). After an error its contents are unspecified.
    ///
    /// # Errors
    /// [`VolumeError::Missing`], [`VolumeError::Truncated`], [`VolumeError::Open`], [`VolumeError::Read`].
    fn read_at(&self, extent: ExtentId, offset: u64, into: &mut [u8]) -> Result<(), VolumeError>;

    /// Drops what caches hold of a range of an extent, as far as it was *synced*, where the volume can: the next read of it comes from
    /// the medium. This is how a scrub sees the disk and not the memory of the machine, and how a repair convinces itself that its
    /// bytes have arrived.
    fn forget_cached(&self, _extent: ExtentId, _offset: u64, _len_bytes: u64) {}

    /// Reads like [`read_at`](Self::read_at), for whoever does not want the same bytes again soon: past the caches where the volume
    /// can (long reads into aligned memory, as a rule), which spares everybody what they hold and the machine a copy. Whoever must see the medium calls
    /// [`forget_cached`](Self::forget_cached) before.
    ///
    /// # Errors
    /// The same as [`read_at`](Self::read_at).
    fn read_once(&self, extent: ExtentId, offset: u64, into: &mut [u8]) -> Result<(), VolumeError> {
        self.read_at(extent, offset, into)
    }

    /// Lists what is there (rule 11). An extent that comes or goes meanwhile may be in the list or not.
    ///
    /// # Errors
    /// [`VolumeError::List`].
    fn extents(&self) -> Result<Vec<ExtentStat>, VolumeError>;

    /// Removes an extent and makes the removal durable (rule 12). The caller knows that nothing in it is live.
    ///
    /// # Errors
    /// [`VolumeError::Missing`], [`VolumeError::Remove`].
    fn remove_extent(&self, extent: ExtentId) -> Result<(), VolumeError>;

    /// Gives ranges of an extent back to whatever keeps its bytes (rule 15), where that can be done. The caller knows that nothing
    /// in them is live; others may append to the extent meanwhile.
    ///
    /// # Errors
    /// [`VolumeError::Missing`], [`VolumeError::Open`], [`VolumeError::Punch`]; [`VolumeError::Sync`], after which the extent is
    /// poisoned.
    fn punch(&self, _extent: ExtentId, _ranges: &[ByteRange]) -> Result<Punched, VolumeError> {
        Ok(Punched::Unsupported)
    }

    /// Returns how many bytes may still be preallocated: a snapshot that others may use up. `u64::MAX` where the host
    /// does not say.
    ///
    /// # Errors
    /// [`VolumeError::FreeSpace`].
    fn free_bytes(&self) -> Result<u64, VolumeError>;

    /// Reads a slot (rule 13).
    ///
    /// # Errors
    /// [`VolumeError::ReadSlot`].
    fn read_slot(&self, slot: SlotIndex, into: &mut SlotBytes) -> Result<(), VolumeError>;

    /// Writes a slot and makes it durable (rule 13). After an error that slot holds the old bytes, the new ones, or
    /// neither; the other slot is as it was.
    ///
    /// # Errors
    /// [`VolumeError::WriteSlot`].
    fn write_slot(&self, slot: SlotIndex, bytes: &SlotBytes) -> Result<(), VolumeError>;
}

/// The one owner's hand on an unsealed extent; the rules are those of [`Volume`].
pub trait ExtentWriter: Debug + Send + Sync {
    /// Returns the volume that the extent lies on.
    fn volume(&self) -> VolumeId;

    /// Returns the extent that this writes.
    fn extent(&self) -> ExtentId;

    /// Lengthens the extent to `end_bytes` with real blocks (rule 7).
    ///
    /// # Errors
    /// [`VolumeError::Full`] with the numbers, [`VolumeError::Preallocate`], [`VolumeError::Poisoned`],
    /// [`VolumeError::Sealed`].
    fn preallocate(&self, end_bytes: u64) -> Result<(), VolumeError>;

    /// Writes all of `bytes` at `offset` (rules 5, 6). Not durable before the next [`sync`](Self::sync).
    ///
    /// # Errors
    /// [`VolumeError::Full`], [`VolumeError::Write`]: any part of the range may have been written.
    /// [`VolumeError::Poisoned`], [`VolumeError::Sealed`]: nothing was.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), VolumeError>;

    /// Makes everything durable that was written before the call (rule 10). An error is final: abandon the extent and
    /// write its unsynced bytes again elsewhere.
    ///
    /// # Errors
    /// [`VolumeError::Sync`], [`VolumeError::Poisoned`], [`VolumeError::Sealed`].
    fn sync(&self) -> Result<(), VolumeError>;

    /// Shortens the extent to `end_bytes` (rule 8), durable after the next [`sync`](Self::sync) or
    /// [`seal`](Self::seal). Meant for the unused tail of a preallocation.
    ///
    /// # Errors
    /// [`VolumeError::Truncate`], [`VolumeError::Poisoned`], [`VolumeError::Sealed`].
    fn truncate(&self, end_bytes: u64) -> Result<(), VolumeError>;

    /// Syncs, and takes nothing more (rule 9). Waits for writes that other threads have begun.
    ///
    /// # Errors
    /// [`VolumeError::Sync`], after which the extent is poisoned; [`VolumeError::Poisoned`], [`VolumeError::Sealed`].
    fn seal(&self) -> Result<(), VolumeError>;
}

/// What has become of ranges that were to be given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Punched {
    /// They are given back.
    Done,
    /// The volume has no holes: nothing was done.
    Unsupported,
    /// The extent has another name, in a backup made of hard links say, under which its bytes may be needed: nothing was done.
    Shared,
}

/// An extent as a volume lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtentStat {
    /// Its id.
    pub extent: ExtentId,
    /// Its length, preallocated bytes included.
    pub len_bytes: u64,
}

/// One of the two slots of a volume. They are written in turn, so that a torn write leaves the other one whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum SlotIndex {
    /// The slot at byte 0.
    A,
    /// The slot at byte 4096.
    B,
}

impl SlotIndex {
    /// Both slots.
    pub const BOTH: [Self; 2] = [Self::A, Self::B];

    /// Returns the slot to write after this one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    /// Returns the name that errors and screens use.
    pub const fn name(self) -> char {
        match self {
            Self::A => 'A',
            Self::B => 'B',
        }
    }

    const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }

    const fn offset_bytes(self) -> u64 {
        match self {
            Self::A => 0,
            Self::B => SECTOR_LEN_BYTES,
        }
    }
}

impl fmt::Display for SlotIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.name(), f)
    }
}
