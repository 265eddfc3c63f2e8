//! File systems that are synced as a whole, so that a thousand small files share one wait for the disk.
//!
//! What the kernel tells (`syncfs`): it writes back everything that is dirty on the file system, and reports whether a
//! write of *any* file there has failed since the descriptor it is asked with was opened or last told. So the descriptor
//! is opened before the first write, kept, and asked by one thread at a time; and an error, which is told once, is kept
//! here for ever. A write of somebody else that fails makes this restore fail too: better than the other way round.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use rustix::{
    fs::{Mode, OFlags, fstatfs, openat, syncfs},
    io::{Errno, retry_on_intr},
    system::uname,
};

/// File systems that write everything when they are told to, and report what failed, by the numbers that `statfs` gives:
/// ext2 to ext4, XFS, Btrfs, F2FS, and memory (tmpfs), where there is nothing to do. Others are not known to: FUSE does not
/// pass the call on, and overlayfs does not pass on what the system below it could not write.
const TRUSTED: [u64; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0xf2f5_2010, 0x0102_1994];
/// Before this version the kernel dropped what a file system itself said about its sync; before 5.8, all errors.
const REPORTING_KERNEL: (u32, u32) = (5, 17);

/// A file system that something is restored to.
#[derive(Debug)]
pub(super) struct FileSystem {
    /// The number of its device.
    device: u64,
    /// Asks for a sync of the whole; none where that cannot be relied on.
    whole: Option<OwnedFd>,
    /// How many syncs of the whole have begun.
    begun: AtomicU64,
    outcome: Mutex<Outcome>,
}

/// What came of the syncs so far.
#[derive(Debug, Default)]
struct Outcome {
    /// Everything that was marked with less than this is durable.
    durable_below: u64,
    /// The first sync that failed: what it lost is not known, so none after it counts.
    failure: Option<Errno>,
}

/// A moment, as far as syncs go: what was written before it is durable when a sync that began after it has succeeded.
#[derive(Debug, Clone, Copy)]
pub(super) struct Mark(u64);

impl FileSystem {
    /// Looks at the file system of a directory, before anything is written there.
    pub(super) fn of_directory(directory: impl AsFd, device: u64) -> Self {
        let whole = if kernel_reports() {
            open_trusted(directory)
        } else {
            None
        };
        Self {
            device,
            whole,
            begun: AtomicU64::new(0),
            outcome: Mutex::default(),
        }
    }

    /// Makes one that every file on it has to be synced for by itself.
    pub(super) fn one_by_one(device: u64) -> Self {
        Self {
            device,
            whole: None,
            begun: AtomicU64::new(0),
            outcome: Mutex::default(),
        }
    }

    /// Returns the number of its device.
    pub(super) fn device(&self) -> u64 {
        self.device
    }

    /// Marks what is written by now; none when [`FileSystem::sync`] does nothing here.
    pub(super) fn mark(&self) -> Option<Mark> {
        self.whole.as_ref()?;
        Some(Mark(self.begun.load(Ordering::SeqCst)))
    }

    /// Makes everything that is written by now durable, if that can be done at once.
    pub(super) fn sync(&self) -> Result<(), Errno> {
        self.sync_unless(|_| false)
    }

    /// Makes everything that was written before the mark durable, unless it is.
    pub(super) fn sync_since(&self, mark: Mark) -> Result<(), Errno> {
        self.sync_unless(|outcome| mark.0 < outcome.durable_below)
    }

    fn sync_unless(&self, is_done: impl FnOnce(&Outcome) -> bool) -> Result<(), Errno> {
        let Some(whole) = &self.whole else {
            return Ok(());
        };
        // Held during the sync: an error is told to one asker, and the others must hear of it.
        let mut outcome = self.outcome.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(failure) = outcome.failure {
            return Err(failure);
        }
        if is_done(&outcome) {
            return Ok(());
        }
        let begun_before = self.begun.fetch_add(1, Ordering::SeqCst);
        match retry_on_intr(|| syncfs(whole)) {
            Ok(()) => {
                outcome.durable_below = begun_before + 1;
                Ok(())
            }
            Err(errno) => {
                outcome.failure = Some(errno);
                Err(errno)
            }
        }
    }
}

/// Opens a directory to sync its file system by; an opened path alone cannot do that.
fn open_trusted(directory: impl AsFd) -> Option<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = openat(directory, ".", flags, Mode::empty()).ok()?;
    let kind = fstatfs(&opened).ok()?.f_type;
    is_trusted(kind).then_some(opened)
}

/// The number is a word of the machine, and its sign means nothing.
fn is_trusted(kind: impl Into<i64>) -> bool {
    let kind = kind.into() & 0xffff_ffff;
    u64::try_from(kind).is_ok_and(|kind| TRUSTED.contains(&kind))
}

fn kernel_reports() -> bool {
    uname().release().to_str().is_ok_and(reports_errors)
}

/// Reads `6.1.0-13-amd64` as 6.1.
fn reports_errors(release: &str) -> bool {
    let mut numbers = release
        .split(|character: char| !character.is_ascii_digit())
        .map_while(|number| number.parse::<u32>().ok());
    numbers
        .next()
        .zip(numbers.next())
        .is_some_and(|version| version >= REPORTING_KERNEL)
}

#[cfg(test)]
impl FileSystem {
    /// Makes every sync from now on fail, as a disk would.
    pub(super) fn break_down(&self) {
        self.outcome.lock().expect("no test died with it").failure = Some(Errno::IO);
    }

    /// Returns how many syncs of the whole were begun.
    pub(super) fn sync_count(&self) -> u64 {
        self.begun.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_whole() -> FileSystem {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        FileSystem {
            whole: Some(rustix::fs::open(directory.path(), flags, Mode::empty()).expect("a directory")),
            ..FileSystem::one_by_one(0)
        }
    }

    #[test]
    fn a_sync_covers_what_was_marked_before_it_and_nothing_after() {
        let file_system = with_whole();
        let before = file_system.mark().expect("a mark");
        file_system.sync().expect("a sync");
        let after = file_system.mark().expect("a mark");
        file_system.sync_since(before).expect("nothing to do");
        assert_eq!(file_system.sync_count(), 1, "what was synced is not synced again");
        file_system.sync_since(after).expect("a sync");
        assert_eq!(file_system.sync_count(), 2, "what came after the sync is synced");
    }

    #[test]
    fn a_sync_that_failed_is_never_made_good_by_a_later_one() {
        let file_system = with_whole();
        let mark = file_system.mark().expect("a mark");
        file_system.break_down();
        for _ in 0..2 {
            assert_eq!(file_system.sync(), Err(Errno::IO));
            assert_eq!(file_system.sync_since(mark), Err(Errno::IO));
        }
    }

    #[test]
    fn a_kernel_that_keeps_errors_to_itself_is_not_relied_on() {
        for release in ["5.17.0", "6.1.0-13-amd64", "10.0"] {
            assert!(reports_errors(release), "{release}");
        }
        for release in ["5.16.20", "4.18.0-553.el8", "2.6.39", "", "x.y", "6"] {
            assert!(!reports_errors(release), "{release}");
        }
    }

    #[test]
    fn a_file_system_is_trusted_by_its_number_whatever_the_sign_of_the_word() {
        assert!(is_trusted(0xef53_i64), "ext4");
        assert!(is_trusted(0x9123_683e_i64), "Btrfs");
        assert!(
            is_trusted(i32::from_le_bytes(0x9123_683e_u32.to_le_bytes())),
            "Btrfs in 32 bits"
        );
        assert!(!is_trusted(0x6573_5546_i64), "FUSE");
        assert!(!is_trusted(0x794c_7630_i64), "overlayfs");
    }
}
