//! Why something that the host was asked to do failed.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// Why a source could not be read, a file not be restored, or a session, lock or directory not be made.
///
/// A source that shrinks, changes or is not a file has its own variant, because it fails that one file and not the rest
/// of a commit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// An operation that the system refused.
    #[error("{operation} {} failed", Shown(.path))]
    Io {
        /// What was tried.
        operation: HostOperation,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Bytes of a source cannot be read.
    #[error("reading {len} bytes at {offset} of {} failed", Shown(.path))]
    Read {
        /// The source.
        path: PathBuf,
        /// Where the read that failed began, in bytes from the start of the file.
        offset: u64,
        /// How many bytes were still wanted.
        len: u64,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Only regular files are read and locked.
    #[error("{} is {kind}, not a regular file", Shown(.path))]
    NotRegular {
        /// What was to be opened.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// A part of a path is not a directory. Symbolic links are not followed below a restore target.
    #[error("{} is {kind}, not a directory", Shown(.path))]
    NotDirectory {
        /// What was to be entered.
        path: PathBuf,
        /// What it is.
        kind: FileKind,
    },
    /// A directory is also one of those above it, as no sound file system has it: what is below has no end.
    #[error("{} is a directory that lies in itself", Shown(.path))]
    DirectoryLoop {
        /// The directory, as it was found below.
        path: PathBuf,
    },
    /// A source ends before the length that it had when it was opened.
    #[error("{} had {expected_len} bytes when it was opened and ends at {found_len} now", Shown(.path))]
    SourceShrunk {
        /// The source.
        path: PathBuf,
        /// Its length when it was opened, in bytes.
        expected_len: u64,
        /// Where it ends now, in bytes.
        found_len: u64,
    },
    /// A source is not what it was when it was opened: what was read of it may be a mix of two contents.
    #[error("{} is not what it was when it was opened for this commit: {change}", Shown(.path))]
    SourceChanged {
        /// The source.
        path: PathBuf,
        /// What is different.
        change: SourceChange,
    },
    /// Something has the name already, and it is not to be replaced.
    #[error("{} exists already", Shown(.path))]
    Exists {
        /// The name that is taken.
        path: PathBuf,
    },
    /// A directory has the name that a file is to get; it is never replaced.
    #[error("{} is a directory, a file cannot replace it", Shown(.path))]
    DirectoryInPlace {
        /// The name that is taken.
        path: PathBuf,
    },
    /// There is no room for a file.
    #[error("{} needs {needed} bytes, its file system has {free} free", Shown(.path))]
    Full {
        /// The file.
        path: PathBuf,
        /// Its length in bytes.
        needed: u64,
        /// What its file system offered when it was asked, in bytes.
        free: u64,
    },
    /// A file was to get its final name before all of its bytes were written.
    #[error("{} has {written} of {len_bytes} bytes", Shown(.path))]
    Incomplete {
        /// The file.
        path: PathBuf,
        /// How many bytes there are.
        written: u64,
        /// How many it was to have.
        len_bytes: u64,
    },
    /// The file system can neither rename without replacing nor make a second link to a file.
    #[error("{} cannot get its name without the risk of replacing another file of that name", Shown(.path))]
    NoExclusiveRename {
        /// The final name.
        path: PathBuf,
    },
    /// Another process holds the lock.
    #[error("{} is locked by another process", Shown(.path))]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// One process at a time uses the archive, since files have no locks there that processes could share it by; this is
    /// another one.
    #[error("one process at a time: files have no locks here that several could share the archive by, and {}", in_use(.path, .holder.as_ref(), *.evidence))]
    InUse {
        /// The file that names the process.
        path: PathBuf,
        /// Who it is, where the file says it.
        holder: Option<LockHolder>,
        /// How that is known.
        evidence: LockEvidence,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Randomness {
        /// What the system said.
        #[source]
        source: io::Error,
    },
}

/// A process that holds a lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockHolder {
    /// Its number.
    pub pid: u32,
    /// The machine it runs on.
    pub host_name: String,
}

/// How it is known that somebody uses an archive alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockEvidence {
    /// By a lock: the process lives.
    Lock,
    /// By a file that is there: whether its process lives cannot be told.
    Existence,
}

fn in_use(path: &Path, holder: Option<&LockHolder>, evidence: LockEvidence) -> String {
    let who = holder.map_or_else(
        || "another process".to_owned(),
        |holder| format!("process {} on {}", holder.pid, holder.host_name),
    );
    match evidence {
        LockEvidence::Lock => format!("{who} is using it"),
        LockEvidence::Existence => {
            format!(
                "{} says that {who} is using it; remove the file if that process is dead",
                Shown(path)
            )
        }
    }
}

impl HostError {
    /// Makes a closure for `map_err` that says what was tried and on what.
    pub(crate) fn io<E: Into<io::Error>>(operation: HostOperation, path: &Path) -> impl FnOnce(E) -> Self {
        move |source| Self::Io {
            operation,
            path: path.to_owned(),
            source: source.into(),
        }
    }

    /// Says whether a source is not what it was when it was opened, or is gone.
    pub(crate) fn is_about_change(&self) -> bool {
        matches!(self, Self::SourceChanged { .. } | Self::SourceShrunk { .. })
    }

    /// Says whether the system's answer was that there is no such file.
    pub(crate) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }
}

/// What was tried on a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum HostOperation {
    /// Opening a file or a directory.
    Open,
    /// Asking what a path is.
    Inspect,
    /// Following a path to its end.
    Resolve,
    /// Listing a directory.
    List,
    /// Reading a small file.
    Read,
    /// Making a file.
    Create,
    /// Making a directory.
    CreateDirectory,
    /// Allocating the blocks of a file.
    Reserve,
    /// Writing bytes.
    Write,
    /// Setting permission bits.
    SetMode,
    /// Setting the time of the last modification.
    SetTime,
    /// Making a file or the names in a directory durable.
    Sync,
    /// Giving a file its final name.
    Rename,
    /// Removing a name.
    Remove,
    /// Taking or leaving a lock.
    Lock,
    /// Asking for the free space of a file system.
    MeasureSpace,
}

impl fmt::Display for HostOperation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "opening",
            Self::Inspect => "inspecting",
            Self::Resolve => "resolving",
            Self::List => "listing",
            Self::Read => "reading",
            Self::Create => "creating",
            Self::CreateDirectory => "creating the directory",
            Self::Reserve => "reserving space for",
            Self::Write => "writing",
            Self::SetMode => "setting the permissions of",
            Self::SetTime => "setting the time of",
            Self::Sync => "syncing",
            Self::Rename => "naming",
            Self::Remove => "removing",
            Self::Lock => "locking",
            Self::MeasureSpace => "measuring the free space at",
        })
    }
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FileKind {
    /// A file of bytes.
    Regular,
    /// A directory.
    Directory,
    /// A symbolic link, whatever it points to.
    SymbolicLink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharacterDevice,
    /// A block device.
    BlockDevice,
    /// Something that this program has no word for.
    Unknown,
}

impl fmt::Display for FileKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Regular => "a regular file",
            Self::Directory => "a directory",
            Self::SymbolicLink => "a symbolic link",
            Self::Fifo => "a fifo",
            Self::Socket => "a socket",
            Self::CharacterDevice => "a character device",
            Self::BlockDevice => "a block device",
            Self::Unknown => "of an unknown kind",
        })
    }
}

/// How a source differs from what it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum SourceChange {
    /// Its length.
    Length {
        /// What it was, in bytes.
        before: u64,
        /// What it is, in bytes.
        after: u64,
    },
    /// The time of its last modification.
    ModificationTime,
    /// The time of its last change of status (written, renamed, linked, or given other permissions).
    StatusTime,
    /// Another file has its name now.
    Replaced,
    /// Nothing has its name now.
    Removed,
}

impl fmt::Display for SourceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { before, after } => write!(f, "it had {before} bytes and has {after}"),
            Self::ModificationTime => f.write_str("it was written"),
            Self::StatusTime => f.write_str("it was renamed, linked, or given other permissions"),
            Self::Replaced => f.write_str("another file has its name"),
            Self::Removed => f.write_str("its name is gone"),
        }
    }
}

/// A path as it is printed: like [`FileName`](crate::units::FileName), control characters and bytes that are not UTF-8
/// as `\xNN`, so that a hostile path cannot move the cursor of a terminal.
struct Shown<'a>(&'a Path);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_os_str().as_encoded_bytes().utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    let mut buffer = [0; 4];
                    let bytes = character.encode_utf8(&mut buffer).as_bytes();
                    bytes.iter().try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
                } else {
                    write!(f, "{character}")?;
                }
            }
            chunk
                .invalid()
                .iter()
                .try_for_each(|byte| write!(f, "\\x{byte:02x}"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

    #[test]
    fn a_hostile_path_cannot_move_the_cursor_through_a_message() {
        let path = PathBuf::from(OsStr::from_bytes(b"/a\x1b[2J/\xff\xc3\xa9"));
        let error = HostError::NotRegular {
            path,
            kind: FileKind::Fifo,
        };
        assert_eq!(
            error.to_string(),
            "/a\\x1b[2J/\\xff\u{e9} is a fifo, not a regular file"
        );
    }

    #[test]
    fn the_message_names_what_was_tried_and_leaves_the_cause_to_the_source() {
        let error = HostError::io(HostOperation::Sync, Path::new("/a"))(io::Error::other("the cause"));
        assert_eq!(error.to_string(), "syncing /a failed");
        let cause = std::error::Error::source(&error).expect("an I/O error has a source");
        assert_eq!(cause.to_string(), "the cause");
    }
}
