//! What may go wrong, and when.

use bfdb::units::{ByteRange, ExtentId};

/// Spoils the operations that it picks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultRule {
    /// Which operations.
    pub when: When,
    /// What happens to them.
    pub fault: Fault,
    /// Whether it happens again.
    pub lasting: Lasting,
}

/// Which operations a rule picks. A rule passes over operations that its fault does not apply to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum When {
    /// The operation of this 0-based index, counted over all kinds; with [`Lasting::ForGood`] all later ones too.
    Nth(u64),
    /// The same, counted within one kind.
    NthOf(OperationKind, u64),
    /// Operations of one kind that touch a byte of a range of an extent.
    Touching {
        /// The kind.
        kind: OperationKind,
        /// The extent.
        extent: ExtentId,
        /// Where it hurts.
        range: ByteRange,
    },
}

/// Whether a rule fires once or again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lasting {
    /// The storage is well again after one failure.
    Once,
    /// Every later operation that the rule picks fails too.
    ForGood,
}

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with EIO and does nothing. Applies to every kind.
    Io,
    /// There is no room. Applies to creating, preallocating and writing.
    Full,
    /// The first bytes are moved, then it fails with EIO. Applies to reading, writing and writing a slot.
    Partial {
        /// How many bytes are moved.
        len_bytes: u64,
    },
    /// It fails with EIO and everything written since the last good sync is dropped: a second sync would succeed, and
    /// the bytes read as zeros. Applies to syncing and sealing.
    SyncDropsData,
    /// It succeeds, and nothing was written. Applies to writing and writing a slot.
    LoseWrite,
    /// It succeeds with one wrong bit, if the byte is in what was read. Applies to reading and reading a slot.
    FlipBit {
        /// Which byte of the extent or slot.
        offset: u64,
        /// Which bit of it, 0 to 7.
        bit: u8,
    },
}

/// What a volume or a writer was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationKind {
    /// `create_extent`.
    Create,
    /// `resume_extent`.
    Resume,
    /// `preallocate`.
    Preallocate,
    /// `write_at`.
    Write,
    /// `sync`.
    Sync,
    /// `truncate`.
    Truncate,
    /// `seal`.
    Seal,
    /// `read_at` and `read_once`.
    Read,
    /// `extents`.
    List,
    /// `remove_extent`.
    Remove,
    /// `free_bytes`.
    FreeSpace,
    /// `read_slot`.
    ReadSlot,
    /// `write_slot`.
    WriteSlot,
}

/// One operation as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    /// Its 0-based number over all kinds.
    pub index: u64,
    /// What was asked.
    pub kind: OperationKind,
    /// Of which extent, where it is about one.
    pub extent: Option<ExtentId>,
    /// Which bytes of it; for creating, resuming, preallocating and truncating from 0 to the end that was asked for.
    pub range: ByteRange,
    /// What was done to it.
    pub injected: Option<Fault>,
}

impl FaultRule {
    /// Fails the operation of this index, counted over all kinds, with EIO, once.
    pub const fn nth(index: u64) -> Self {
        Self {
            when: When::Nth(index),
            fault: Fault::Io,
            lasting: Lasting::Once,
        }
    }

    /// Fails the `index`-th operation of a kind with EIO, once.
    pub const fn nth_of(kind: OperationKind, index: u64) -> Self {
        Self {
            when: When::NthOf(kind, index),
            fault: Fault::Io,
            lasting: Lasting::Once,
        }
    }

    /// Makes every read of a byte of `range` fail for good: a bad sector.
    pub const fn bad_range(extent: ExtentId, range: ByteRange) -> Self {
        let when = When::Touching {
            kind: OperationKind::Read,
            extent,
            range,
        };
        Self {
            when,
            fault: Fault::Io,
            lasting: Lasting::ForGood,
        }
    }

    /// Flips one bit of an extent in every read of it, without an error.
    ///
    /// # Panics
    /// When the offset is the last that 64 bits can count.
    pub const fn flipped_bit(extent: ExtentId, offset: u64, bit: u8) -> Self {
        let range = ByteRange::at(offset, 1).expect("an extent ends before 2^64");
        let when = When::Touching {
            kind: OperationKind::Read,
            extent,
            range,
        };
        Self {
            when,
            fault: Fault::FlipBit { offset, bit },
            lasting: Lasting::ForGood,
        }
    }

    /// Does this in place of EIO.
    #[must_use]
    pub const fn with(mut self, fault: Fault) -> Self {
        self.fault = fault;
        self
    }

    /// Does it for good.
    #[must_use]
    pub const fn for_good(mut self) -> Self {
        self.lasting = Lasting::ForGood;
        self
    }

    /// Says whether this rule picks an operation that is the `nth` of its kind.
    pub(super) fn picks(&self, operation: &Operation, nth: u64) -> bool {
        let at = |index: u64, wanted: u64| match self.lasting {
            Lasting::Once => index == wanted,
            Lasting::ForGood => index >= wanted,
        };
        let picked = match self.when {
            When::Nth(wanted) => at(operation.index, wanted),
            When::NthOf(kind, wanted) => operation.kind == kind && at(nth, wanted),
            When::Touching { kind, extent, range } => {
                let touched = operation.range.intersection(range).is_some();
                operation.kind == kind && operation.extent == Some(extent) && touched
            }
        };
        picked && self.fault.applies_to(operation.kind)
    }
}

impl Fault {
    /// Says whether this can happen to operations of a kind.
    pub const fn applies_to(self, kind: OperationKind) -> bool {
        use OperationKind::{Create, Preallocate, Read, ReadSlot, Seal, Sync, Write, WriteSlot};
        match self {
            Self::Io => true,
            Self::Full => matches!(kind, Create | Preallocate | Write),
            Self::Partial { .. } => matches!(kind, Read | Write | WriteSlot),
            Self::SyncDropsData => matches!(kind, Sync | Seal),
            Self::LoseWrite => matches!(kind, Write | WriteSlot),
            Self::FlipBit { .. } => matches!(kind, Read | ReadSlot),
        }
    }
}
