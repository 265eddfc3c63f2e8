//! The files of an archive, as its engine asks for them: one trait between the engine and the system.
//!
//! Catalog, extents, slots, journal, sessions and ballast are reached through [`Storage`] and nothing else, so that all of
//! them can lie on one simulated disk whose crashes are enumerated (`bfdb-fault-injection`). [`HostStorage`] is the file
//! system of the machine. Sources and restored files are not the archive's: they stay with `host`.
//!
//! The contract is that of a POSIX file system, no more: what was written is readable at once and durable after a sync of
//! the file; a name is durable after a sync of its directory; nothing says in which order the rest arrives. Calls fail with
//! the errors of the system, untranslated; the callers know what they mean.

mod alone;
mod lock_table;
#[expect(
    clippy::disallowed_methods,
    reason = "storage is one of the places that touch the file system"
)]
mod machine;
mod medium;

use std::{ffi::OsString, fmt::Debug, fs::File, io, ops::Bound, path::Path, sync::Arc};

use rustix::io::Errno;

pub use alone::AloneStorage;
pub use lock_table::{LockHandle, LockRange, LockTable};
pub use machine::HostStorage;
pub use medium::Medium;

use crate::error::FileKind;

/// Directories and names.
///
/// All methods may be called from several threads at once. Paths are taken as they are; nothing is resolved beforehand.
pub trait Storage: Debug + Send + Sync {
    /// Opens a regular file; a symbolic link as the last part of the path is refused, and nothing is waited for.
    ///
    /// # Errors
    /// `NotFound` without a file; `InvalidInput` when it is no regular file.
    fn open(&self, path: &Path, access: FileAccess) -> io::Result<Arc<dyn StorageFile>>;

    /// Makes an empty regular file for its owner alone (0600), for reading and writing.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken by anything.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn StorageFile>>;

    /// Opens a second handle of a file for aligned reads and writes past the page cache; `None` where there is no such way.
    ///
    /// # Errors
    /// Those of the system.
    fn open_direct(&self, path: &Path, access: FileAccess) -> io::Result<Option<Arc<dyn StorageFile>>> {
        let _ = (path, access);
        Ok(None)
    }

    /// Returns what stands at a path; a symbolic link is not followed.
    ///
    /// # Errors
    /// `NotFound` when nothing does.
    fn inspect(&self, path: &Path) -> io::Result<EntryInfo>;

    /// Lists the names in a directory, sorted, without `.` and `..`.
    ///
    /// # Errors
    /// `NotFound`, `NotADirectory`.
    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>>;

    /// Makes one directory for its owner alone (0700).
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken by anything, `NotFound` without the one above.
    fn create_directory(&self, path: &Path) -> io::Result<()>;

    /// Makes durable which names a directory holds. Where a file system cannot sync a directory, it is taken at its word
    /// that there is nothing to do.
    ///
    /// # Errors
    /// After one it is not known what the directory will hold after a crash.
    fn sync_directory(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name in the same file system, in one step.
    ///
    /// # Errors
    /// `AlreadyExists` when the new name is taken and must not be replaced, `Unsupported` where that cannot be promised.
    fn rename(&self, from: &Path, to: &Path, replace: Replace) -> io::Result<()>;

    /// Takes a name away; the file goes with its last name and its last handle.
    ///
    /// # Errors
    /// `NotFound` when nothing has it.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Returns how many bytes an ordinary user may still write to the file system that a path is on; `u64::MAX` where it
    /// does not count.
    ///
    /// # Errors
    /// `NotFound` when nothing stands there.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// Returns how many bytes more this process may write there, because it is the superuser and the file system keeps some for
    /// such: they count as free for nobody.
    ///
    /// # Errors
    /// `NotFound` when nothing stands there.
    fn reserved_bytes(&self, path: &Path) -> io::Result<u64> {
        let _ = path;
        Ok(0)
    }

    /// Returns what kind of disk a path is on, as far as that is known: large files are written and read in another order where a
    /// disk rotates.
    fn medium(&self, path: &Path) -> Medium {
        let _ = path;
        Medium::Solid
    }

    /// Returns the path without links and dots, where the storage knows such; the path itself otherwise.
    ///
    /// # Errors
    /// `NotFound` when nothing stands there.
    fn canonical(&self, path: &Path) -> io::Result<std::path::PathBuf> {
        Ok(path.to_path_buf())
    }
}

/// An open file. Dropping it closes it and gives back its locks.
///
/// All methods may be called from several threads at once.
pub trait StorageFile: Debug + Send + Sync {
    /// Returns what is known of the file itself, whatever its name is by now.
    ///
    /// # Errors
    /// Those of the system.
    fn info(&self) -> io::Result<EntryInfo>;

    /// Reads at most `into.len()` bytes; 0 at the end of the file and behind it.
    ///
    /// # Errors
    /// Those of the system, `Interrupted` among them.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize>;

    /// Writes at most all of `bytes` and returns how many that were, at least one unless there are none. Behind the end it
    /// lengthens the file, and a gap reads as zeros.
    ///
    /// # Errors
    /// Those of the system, `Interrupted` among them. How much was written is unknown then.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;

    /// Shortens the file, or lengthens it with zeros that need have no blocks.
    ///
    /// # Errors
    /// Those of the system.
    fn set_len(&self, len_bytes: u64) -> io::Result<()>;

    /// Lengthens the file to `end_bytes`, unless it is longer, with zeros that have real blocks; holes in it get theirs. It
    /// changes no byte.
    ///
    /// # Errors
    /// `StorageFull` or `QuotaExceeded` when there is no room; part of it may be allocated then, and the length may have
    /// grown.
    fn allocate(&self, end_bytes: u64) -> io::Result<()>;

    /// Does the same for the bytes from `start_bytes` on alone: holes before it stay.
    ///
    /// # Errors
    /// As for [`Self::allocate`].
    fn allocate_from(&self, start_bytes: u64, end_bytes: u64) -> io::Result<()> {
        let _ = start_bytes;
        self.allocate(end_bytes)
    }

    /// Gives the blocks of a range back to the file system: its bytes read as zeros from then on, all others and the length stay.
    /// What a crash before the next sync leaves of each page is the old bytes or zeros.
    ///
    /// # Errors
    /// `Unsupported` where the file system has no holes; nothing was changed then.
    fn punch(&self, offset: u64, len_bytes: u64) -> io::Result<()> {
        let _ = (offset, len_bytes);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Makes the bytes and the length durable that were written before the call.
    ///
    /// # Errors
    /// After one it is not known which arrived, and a later sync that succeeds proves nothing about them.
    fn sync_data(&self) -> io::Result<()>;

    /// Does the same, and for everything else that is known of the file too.
    ///
    /// # Errors
    /// The same.
    fn sync_all(&self) -> io::Result<()>;

    /// Takes a lock on the file as a whole, which belongs to this handle and ends with it; says whether it was free. A
    /// handle that holds one exchanges it.
    ///
    /// # Errors
    /// Those of the system, `Unsupported` among them.
    fn try_lock(&self, lock: Lock) -> io::Result<bool>;

    /// Gives back the lock on the file as a whole.
    ///
    /// # Errors
    /// Those of the system.
    fn unlock(&self) -> io::Result<()>;

    /// Takes a lock on a range, which belongs to this handle and ends with it; says whether it was free.
    ///
    /// # Errors
    /// `Unsupported` where there are no such locks.
    fn try_lock_range(&self, range: (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<bool> {
        let _ = (range, lock);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Waits for a lock on a range.
    ///
    /// # Errors
    /// `Unsupported` where there are no such locks.
    fn lock_range(&self, range: (Bound<u64>, Bound<u64>), lock: Lock) -> io::Result<()> {
        let _ = (range, lock);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Gives back a lock on exactly this range.
    ///
    /// # Errors
    /// `Unsupported` where there are no such locks.
    fn unlock_range(&self, range: (Bound<u64>, Bound<u64>)) -> io::Result<()> {
        let _ = range;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Says whether another handle holds a lock on any part of a range.
    ///
    /// # Errors
    /// `Unsupported` where there are no such locks.
    fn is_range_locked(&self, range: (Bound<u64>, Bound<u64>)) -> io::Result<bool> {
        let _ = range;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Lets the system forget what it keeps in memory of a range and is on disk already, and begin to write what is not.
    /// Advice: whether it is taken changes no byte.
    fn forget_cached(&self, offset: u64, len_bytes: u64) {
        let _ = (offset, len_bytes);
    }

    /// Returns the file of the machine that this is, if it is one: its range locks are those of the database then.
    fn host_file(&self) -> Option<&File> {
        None
    }

    /// Fills `into` from `offset`.
    ///
    /// # Errors
    /// `UnexpectedEof` when the file ends before; others as for [`Self::read_at`], but for `Interrupted`.
    fn read_exact_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < into.len() {
            match self.read_at(offset + filled as u64, &mut into[filled..]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// As for [`Self::write_at`], but for `Interrupted`.
    fn write_all_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < bytes.len() {
            match self.write_at(offset + written as u64, &bytes[written..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => written += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileAccess {
    /// Reading.
    Read,
    /// Reading and writing.
    ReadWrite,
}

/// A lock on a file or a part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Held by any number at once.
    Shared,
    /// Held by one alone.
    Exclusive,
}

/// What happens to a file that has the new name already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// It stays, and the renaming fails.
    Never,
    /// It loses its name.
    File,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryInfo {
    /// What it is.
    pub kind: FileKind,
    /// Its length in bytes.
    pub len_bytes: u64,
    /// Bytes that it has blocks for.
    pub allocated_bytes: u64,
    /// How many names it has.
    pub links: u64,
    /// Which it is: no two files have the same at the same time.
    pub id: FileIdentity,
}

/// Which file something is, whatever its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileIdentity {
    /// The device or file system.
    pub device: u64,
    /// Its number there.
    pub file: u64,
}

/// Says whether an error of a lock means that the file system has no such locks.
pub(crate) fn means_no_locks(error: &io::Error) -> bool {
    // What sandboxes and file systems in user space say. Never ENOLCK: that is a lock refused, for a while and for one process,
    // where those of others work.
    let codes = [Errno::OPNOTSUPP, Errno::NOSYS, Errno::INVAL];
    error.kind() == io::ErrorKind::Unsupported
        || codes
            .iter()
            .any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}
