//! What may go wrong with calls, and when.

use std::{
    fmt, io,
    ops::Range,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bfdb::storage::FileAccess;

use crate::Seeded;

/// What a storage or one of its files was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationKind {
    /// `create_new`.
    CreateFile,
    /// `create_directory`.
    CreateDirectory,
    /// `write_at`.
    Write,
    /// `set_len`.
    SetLen,
    /// `allocate`.
    Allocate,
    /// `punch`, in pieces.
    Punch,
    /// `rename`.
    Rename,
    /// `remove_file`.
    Remove,
    /// `sync_data` and `sync_all`, which are the same here.
    SyncFile,
    /// `sync_directory`.
    SyncDirectory,
    /// `open`.
    Open,
    /// `inspect` and `info`.
    Inspect,
    /// `list`.
    List,
    /// `free_bytes`.
    FreeSpace,
    /// `read_at`.
    Read,
    /// Everything about locks.
    Lock,
}

impl OperationKind {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::CreateFile,
        Self::CreateDirectory,
        Self::Write,
        Self::SetLen,
        Self::Allocate,
        Self::Punch,
        Self::Rename,
        Self::Remove,
        Self::SyncFile,
        Self::SyncDirectory,
        Self::Open,
        Self::Inspect,
        Self::List,
        Self::FreeSpace,
        Self::Read,
        Self::Lock,
    ];

    /// Says whether such an operation makes something durable.
    pub(super) const fn is_sync(self) -> bool {
        matches!(self, Self::SyncFile | Self::SyncDirectory)
    }

    /// Says whether such an operation gets a number in the timeline.
    pub const fn is_mutating(self) -> bool {
        !matches!(
            self,
            Self::Open | Self::Inspect | Self::List | Self::FreeSpace | Self::Read | Self::Lock
        )
    }
}

/// What happens to an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It fails with EIO and does nothing. Applies to every kind.
    Io,
    /// There is no room (ENOSPC), and nothing is done. Applies to creating, lengthening, allocating, renaming and writing.
    Full,
    /// A signal came first (EINTR), and nothing is done. Applies to reading and writing: of everything else a storage asks
    /// again by itself. For good, it keeps a caller that asks again busy for ever.
    Interrupted,
    /// Less is read or written than was asked for, which is no error. Applies to reading and writing.
    Short {
        /// How many bytes at most; at least one is.
        len_bytes: u64,
    },
    /// The first bytes are written, then it fails with EIO. Applies to writing.
    Partial {
        /// How many bytes are written.
        len_bytes: u64,
    },
    /// The file system takes no writes (EROFS), and nothing is done. Applies to everything that changes something, and to opening:
    /// a rule looks at [`Asked::access`].
    ReadOnly,
    /// It succeeds with one wrong bit, if the byte is in what was read. Applies to reading.
    FlipBit {
        /// Which byte of the file.
        offset: u64,
        /// Which bit of it, 0 to 7.
        bit: u8,
    },
    /// It fails with EIO, and the bytes written since the last good sync never reach the disk: they are zeros or what was
    /// there before. Lengths and blocks stay as they are and are made durable by the next sync, which succeeds. Applies
    /// to syncing a file.
    SyncDropsBytes {
        /// What readers see from then on.
        view: AfterDrop,
    },
    /// It succeeds, and nothing was synced: as from an engine that has forgotten it, or a disk that lies. Applies to syncing
    /// a file and a directory.
    SyncForgotten,
    /// It succeeds at once, and is done right behind the next sync of anything that is no late one itself: as from an engine
    /// that has swapped the two. Applies to syncing a file and a directory.
    SyncLate,
    /// It fails with EIO, and so does every call from then on ([`Condition::Gone`]). Applies to every kind.
    Vanish,
}

/// What readers see after a failed sync has dropped bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterDrop {
    /// The bytes as written, as Linux shows them, until the file is opened again with no handle left, or `forget_cached` is
    /// called for any part of it.
    UntilForgotten,
    /// What is on disk, at once.
    AtOnce,
}

/// In which state the storage as a whole is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It works.
    Well,
    /// Every mutating operation, and opening for writing, fails with `ReadOnlyFilesystem`.
    ReadOnly,
    /// Every call fails with EIO, as when the disk was pulled out. What is open stays open; what was written and not synced
    /// is still in memory when it comes back.
    Gone,
}

/// What the locks of files are worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockSupport {
    /// They do what they say.
    Full,
    /// Those on whole files do; on parts of files there are none.
    WholeFiles,
    /// There are none.
    None,
    /// There are some, but whoever asks is refused (ENOLCK), as where the table of locks is full.
    Refused,
    /// Each lock is granted to everybody who asks for it, and nobody sees one.
    Pretended,
}

/// Whether a rule fires once or again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasting {
    /// The storage is well again after one failure.
    Once,
    /// Every later operation that the fault applies to and whose path is right fails too.
    ForGood,
}

/// An operation before it is done, as rules see it.
#[derive(Debug, Clone)]
pub struct Asked<'a> {
    /// What is asked.
    pub kind: OperationKind,
    /// Its number in the timeline; for an operation that gets none, that of the last mutating one.
    pub number: u64,
    /// How many of its kind there were before it.
    pub nth_of_kind: u64,
    /// Which path; for a handle the one that it was opened by, for a renaming the old one.
    pub path: &'a Path,
    /// What a file is opened for; `None` for every other operation.
    pub access: Option<FileAccess>,
    /// Which bytes; empty where it is about none. For a length or an allocation from 0 to the end asked for.
    pub range: Range<u64>,
}

type Picks = Box<dyn FnMut(&Asked<'_>) -> Option<Fault> + Send>;
type PathTest = Box<dyn Fn(&Path) -> bool + Send>;

/// Spoils the operations that it picks. A rule passes over operations that its fault does not apply to.
///
/// Rules are asked while the storage is locked: they must not call it.
pub struct FaultRule {
    picks: Picks,
    paths: Option<PathTest>,
    lasting: Lasting,
    fired: Option<Fault>,
}

impl fmt::Debug for FaultRule {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("FaultRule")
            .field("lasting", &self.lasting)
            .field("fired", &self.fired)
            .finish_non_exhaustive()
    }
}

impl FaultRule {
    /// Spoils every operation that the closure returns a fault for; no other condition holds.
    pub fn from_fn(picks: impl FnMut(&Asked<'_>) -> Option<Fault> + Send + 'static) -> Self {
        Self {
            picks: Box::new(picks),
            paths: None,
            lasting: Lasting::Once,
            fired: None,
        }
    }

    /// Spoils the mutating operation of this number, once. The first is 1.
    pub fn nth(number: u64, fault: Fault) -> Self {
        Self::once(move |asked| (asked.kind.is_mutating() && asked.number == number).then_some(fault))
    }

    /// Spoils the operation that has `nth` of its kind before it, once.
    pub fn nth_of(kind: OperationKind, nth: u64, fault: Fault) -> Self {
        Self::once(move |asked| (asked.kind == kind && asked.nth_of_kind == nth).then_some(fault))
    }

    /// Spoils the first operation of a kind, once; with [`Self::on_paths`] the first with such a path.
    pub fn first_of(kind: OperationKind, fault: Fault) -> Self {
        Self::once(move |asked| (asked.kind == kind).then_some(fault))
    }

    /// Spoils each operation that the fault applies to with a chance of so many in a million.
    pub fn random(seed: u64, per_million: u64, fault: Fault) -> Self {
        let mut seeded = Seeded::new(seed);
        Self::from_fn(move |asked| {
            let is_picked = fault.applies_to(asked.kind) && seeded.below(1_000_000) < per_million;
            is_picked.then_some(fault)
        })
    }

    /// Makes every read of a byte of `range` fail: a bad sector. Choose the file with [`Self::on_paths`].
    pub fn bad_range(range: Range<u64>) -> Self {
        Self::from_fn(move |asked| {
            let touches = asked.range.start < range.end && range.start < asked.range.end;
            (asked.kind == OperationKind::Read && touches).then_some(Fault::Io)
        })
    }

    /// Leaves alone what has another path. Numbers count on over all paths.
    #[must_use]
    pub fn on_paths(mut self, is_meant: impl Fn(&Path) -> bool + Send + 'static) -> Self {
        self.paths = Some(Box::new(is_meant));
        self
    }

    /// Spoils nothing while the flag is down. Numbers count on all the same.
    #[must_use]
    pub fn while_true(self, is_up: Arc<AtomicBool>) -> Self {
        let mut inner = self;
        Self::from_fn(move |asked| inner.judge(asked).filter(|_| is_up.load(Ordering::Relaxed)))
    }

    /// Goes on once it has fired: it spoils every later operation that its fault applies to, on the same paths.
    #[must_use]
    pub const fn for_good(mut self) -> Self {
        self.lasting = Lasting::ForGood;
        self
    }

    fn once(mut picks: impl FnMut(&Asked<'_>) -> Option<Fault> + Send + 'static) -> Self {
        let mut is_spent = false;
        Self::from_fn(move |asked| {
            let fault = picks(asked).filter(|fault| !is_spent && fault.applies_to(asked.kind));
            is_spent |= fault.is_some();
            fault
        })
    }

    /// Says what this rule does to an operation.
    pub(super) fn judge(&mut self, asked: &Asked<'_>) -> Option<Fault> {
        if self.paths.as_ref().is_some_and(|is_meant| !is_meant(asked.path)) {
            return None;
        }
        let lasting = self.fired.filter(|_| self.lasting == Lasting::ForGood);
        let fault = lasting
            .or_else(|| (self.picks)(asked))
            .filter(|fault| fault.applies_to(asked.kind))?;
        self.fired = Some(fault);
        Some(fault)
    }
}

impl Fault {
    /// Says whether this can happen to operations of a kind.
    pub const fn applies_to(self, kind: OperationKind) -> bool {
        use OperationKind::{Allocate, CreateDirectory, CreateFile, Read, Rename, SetLen, SyncFile, Write};
        match self {
            Self::Io | Self::Vanish => true,
            Self::ReadOnly => kind.is_mutating() || matches!(kind, OperationKind::Open),
            Self::Full => matches!(
                kind,
                CreateFile | CreateDirectory | Write | SetLen | Allocate | Rename
            ),
            Self::Interrupted => matches!(kind, Read | Write),
            Self::Short { .. } => matches!(kind, Read | Write),
            Self::Partial { .. } => matches!(kind, Write),
            Self::FlipBit { .. } => matches!(kind, Read),
            Self::SyncDropsBytes { .. } => matches!(kind, SyncFile),
            Self::SyncForgotten | Self::SyncLate => kind.is_sync(),
        }
    }

    /// Returns the error that a caller gets.
    pub(super) fn error(self) -> io::Error {
        match self {
            Self::Full => io::Error::from_raw_os_error(ENOSPC),
            Self::ReadOnly => io::ErrorKind::ReadOnlyFilesystem.into(),
            Self::Interrupted => io::Error::from_raw_os_error(EINTR),
            Self::Io
            | Self::Short { .. }
            | Self::Partial { .. }
            | Self::FlipBit { .. }
            | Self::SyncDropsBytes { .. }
            | Self::SyncForgotten
            | Self::SyncLate
            | Self::Vanish => io::Error::from_raw_os_error(EIO),
        }
    }
}

/// The numbers that Linux, the BSDs and macOS share.
const EINTR: i32 = 4;
const EIO: i32 = 5;
pub(super) const EBADF: i32 = 9;
pub(super) const EDEADLK: i32 = 35;
pub(super) const ENOLCK: i32 = 37;
const ENOSPC: i32 = 28;

impl Condition {
    /// Says whether an operation that changes nothing may be tried.
    pub(super) fn admits_reading(self) -> io::Result<()> {
        match self {
            Self::Well | Self::ReadOnly => Ok(()),
            Self::Gone => Err(Fault::Vanish.error()),
        }
    }

    /// Says whether a mutating operation may be tried.
    pub(super) fn admits_changes(self) -> io::Result<()> {
        match self {
            Self::Well => Ok(()),
            Self::ReadOnly => Err(io::ErrorKind::ReadOnlyFilesystem.into()),
            Self::Gone => Err(Fault::Vanish.error()),
        }
    }
}

/// How many operations a storage was asked for, each kind for itself. Those that failed for a reason of their own, without
/// a rule, do not count: they changed nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    of_kind: [u64; OperationKind::ALL.len()],
    pub(super) injected: u64,
}

impl Counts {
    /// Returns how many there were of a kind.
    pub fn of(&self, kind: OperationKind) -> u64 {
        self.of_kind[place(kind)]
    }

    /// Returns how many mutating operations there were: the number of the last one in the timeline.
    pub fn mutating(&self) -> u64 {
        let mutating = OperationKind::ALL.iter().filter(|kind| kind.is_mutating());
        mutating.map(|kind| self.of(*kind)).sum()
    }

    /// Returns how many were spoiled by rules.
    pub const fn injected(&self) -> u64 {
        self.injected
    }

    pub(super) fn count(&mut self, kind: OperationKind) {
        self.of_kind[place(kind)] += 1;
    }
}

fn place(kind: OperationKind) -> usize {
    let same = |other: &OperationKind| *other == kind;
    OperationKind::ALL
        .iter()
        .position(same)
        .expect("ALL has every kind")
}
