//! Streams of unknown length, kept on disk until their length is known.

use std::{
    fs::File,
    io,
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use rustix::{
    fs::{AtFlags, CWD, Mode, OFlags, openat, unlinkat},
    io::{Errno, retry_on_intr},
};

use super::{
    random::{SystemRandomness, random_bytes},
    source::SourceFile,
    space::free_bytes_of,
};
use crate::{
    error::{HostError, HostOperation},
    units::to_u64,
};

/// How often a name is tried that something else may have.
const MAX_TRIES: u32 = 64;

/// A file without a name that bytes are appended to: its room is given back when it is dropped, also by a crash.
///
/// It is for its owner alone (0600) and made to be read once; nothing of it is ever synced.
#[derive(Debug)]
pub struct Spool {
    file: File,
    directory: PathBuf,
    len_bytes: u64,
}

impl Spool {
    /// Makes an empty one in the file system of a directory.
    ///
    /// Where that file system cannot make a file without a name, the file is named `spool-<16 hex digits>.tmp` until it is
    /// opened: a crash in between leaves an empty one, which
    /// [`ArchiveLayout::remove_stale_temporaries`](super::ArchiveLayout::remove_stale_temporaries) removes from the root of
    /// an archive.
    ///
    /// # Errors
    /// [`HostError::Io`] when there is no such directory or nothing can be made in it.
    pub fn create_in(directory: &Path) -> Result<Self, HostError> {
        // EXCL: nobody can give it a name later.
        let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
        match retry_on_intr(|| openat(CWD, directory, flags, OWNER_ONLY)) {
            Ok(file) => Ok(Self::of(File::from(file), directory)),
            // The last one is what a kernel says that does not know of such files: it takes the flag for a part of
            // DIRECTORY, and a directory cannot be written.
            Err(Errno::NOTSUP | Errno::INVAL | Errno::NOSYS | Errno::ISDIR) => {
                Ok(Self::of(create_and_unlink(directory)?, directory))
            }
            Err(errno) => Err(HostError::io(HostOperation::Create, directory)(errno)),
        }
    }

    /// Appends bytes. They are in the hands of the system when this returns, and gone after a crash.
    ///
    /// # Errors
    /// [`HostError::Full`] says how many bytes the whole needs by now, [`HostError::Io`] what else went wrong. Part of
    /// `bytes` may be written then; the next bytes take their place.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), HostError> {
        let needed = self.len_bytes + to_u64(bytes.len());
        match self.file.write_all_at(bytes, self.len_bytes) {
            Ok(()) => {
                self.len_bytes = needed;
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::StorageFull => Err(HostError::Full {
                path: self.directory.clone(),
                needed,
                free: free_bytes_of(&self.file, &self.directory)?,
            }),
            Err(error) => Err(HostError::io(HostOperation::Write, &self.directory)(error)),
        }
    }

    /// Returns how many bytes were appended.
    pub fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    /// Makes a source of it; `described_as` is what messages call it, it need not be a path that leads anywhere. The check
    /// of such a source compares it with itself: it has no name to lose.
    ///
    /// # Errors
    /// [`HostError::Io`] when the file cannot be inspected, [`HostError::Incomplete`] when it is not as long as what was
    /// appended, as after an append that failed.
    pub fn into_source(self, described_as: impl Into<PathBuf>) -> Result<SourceFile, HostError> {
        let source = SourceFile::of_nameless(self.file, described_as.into())?;
        let found_len = source.identity().len_bytes;
        if found_len != self.len_bytes {
            return Err(HostError::Incomplete {
                path: source.path().to_owned(),
                written: self.len_bytes,
                len_bytes: found_len,
            });
        }
        Ok(source)
    }

    fn of(file: File, directory: &Path) -> Self {
        Self {
            file,
            directory: directory.to_owned(),
            len_bytes: 0,
        }
    }
}

const OWNER_ONLY: Mode = Mode::RUSR.union(Mode::WUSR);

/// Makes a file and takes its name from it at once.
fn create_and_unlink(directory: &Path) -> Result<File, HostError> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    for _ in 0..MAX_TRIES {
        let name = format!(
            "spool-{:016x}.tmp",
            u64::from_le_bytes(random_bytes(&SystemRandomness)?)
        );
        let path = directory.join(name);
        match retry_on_intr(|| openat(CWD, &path, flags, OWNER_ONLY)) {
            Ok(file) => {
                return match unlinkat(CWD, &path, AtFlags::empty()) {
                    // Whoever clears away leftovers was faster.
                    Ok(()) | Err(Errno::NOENT) => Ok(File::from(file)),
                    Err(errno) => Err(HostError::io(HostOperation::Remove, &path)(errno)),
                };
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(HostError::io(HostOperation::Create, &path)(errno)),
        }
    }
    Err(HostError::io(HostOperation::Create, directory)(Errno::EXIST))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests of the host make their own files")]

    use std::{
        fs,
        os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    };

    use rustix::fs::{Timespec, Timestamps, UTIME_OMIT, futimens};

    use super::*;
    use crate::error::SourceChange;

    fn scratch() -> tempfile::TempDir {
        tempfile::tempdir().expect("a temporary directory")
    }

    fn names_in(directory: &Path) -> usize {
        fs::read_dir(directory).expect("a listing").count()
    }

    #[test]
    fn what_was_appended_is_read_back_and_no_name_is_ever_left() {
        let directory = scratch();
        let ways: [fn(&Path) -> Spool; 2] = [
            |directory| Spool::create_in(directory).expect("a spool"),
            |directory| Spool::of(create_and_unlink(directory).expect("a file"), directory),
        ];
        for way in ways {
            let mut spool = way(directory.path());
            assert_eq!(names_in(directory.path()), 0);
            let pieces: Vec<Vec<u8>> = (0..100_u8).map(|piece| vec![piece; 1000]).collect();
            for piece in &pieces {
                spool.write_all(piece).expect("a write");
            }
            spool.write_all(b"").expect("a write of nothing");
            assert_eq!(spool.len_bytes(), 100_000);
            let found = spool.file.metadata().expect("metadata");
            assert_eq!((found.permissions().mode() & 0o7777, found.nlink()), (0o600, 0));

            let source = spool.into_source("standard input").expect("a source");
            assert_eq!(source.identity().len_bytes, 100_000);
            assert_eq!(source.path(), Path::new("standard input"));
            let mut bytes = vec![0; 100_000];
            source.read_at(0, &mut bytes).expect("bytes");
            assert!(bytes == pieces.concat(), "other bytes");
            source.check_unchanged().expect("nothing changed");
            assert_eq!(names_in(directory.path()), 0);
        }
    }

    #[test]
    fn an_empty_stream_is_an_empty_source() {
        let directory = scratch();
        let spool = Spool::create_in(directory.path()).expect("a spool");
        let source = spool.into_source("nothing").expect("a source");
        assert_eq!(source.identity().len_bytes, 0);
        source.check_unchanged().expect("nothing changed");
    }

    #[test]
    fn a_spooled_source_that_changes_says_so_under_its_description() {
        let directory = scratch();
        let mut spool = Spool::create_in(directory.path()).expect("a spool");
        spool.write_all(b"bytes").expect("a write");
        let other = spool.file.try_clone().expect("a second handle");
        let source = spool.into_source("standard input").expect("a source");
        let time = |tv_nsec| Timespec { tv_sec: 1, tv_nsec };
        let times = Timestamps {
            last_access: time(UTIME_OMIT),
            last_modification: time(0),
        };
        futimens(&other, &times).expect("a time");
        match source.check_unchanged() {
            Err(HostError::SourceChanged { path, change }) => {
                assert_eq!(path, Path::new("standard input"));
                assert_eq!(change, SourceChange::ModificationTime);
            }
            found => panic!("{found:?} instead of a change"),
        }
        rustix::fs::ftruncate(&other, 3).expect("a cut");
        match source.read_at(0, &mut [0; 5]) {
            Err(HostError::SourceShrunk {
                path, found_len: 3, ..
            }) => assert_eq!(path, Path::new("standard input")),
            found => panic!("{found:?} instead of a cut"),
        }
    }

    #[test]
    fn a_full_disk_is_told_with_what_was_needed_and_nothing_of_the_append_counts() {
        let full = File::options()
            .read(true)
            .write(true)
            .open("/dev/full")
            .expect("a disk that is full");
        let mut spool = Spool::of(full, Path::new("/spooled/here"));
        spool.len_bytes = 1_000;
        match spool.write_all(&[0; 234]) {
            Err(HostError::Full { path, needed, .. }) => {
                assert_eq!((path.as_path(), needed), (Path::new("/spooled/here"), 1_234));
            }
            found => panic!("{found:?} instead of a full disk"),
        }
        assert_eq!(spool.len_bytes(), 1_000);
    }

    #[test]
    fn what_a_failed_append_has_left_is_no_part_of_a_source() {
        let directory = scratch();
        let mut spool = Spool::create_in(directory.path()).expect("a spool");
        spool.write_all(b"bytes").expect("a write");
        spool.file.write_all_at(b"half of", 5).expect("a write");
        match spool.into_source("standard input") {
            Err(HostError::Incomplete {
                written: 5,
                len_bytes: 12,
                ..
            }) => {}
            found => panic!("{found:?} instead of a refusal"),
        }
    }

    #[test]
    fn a_spool_takes_a_directory_that_is_there() {
        let directory = scratch();
        let missing = directory.path().join("missing");
        assert!(
            Spool::create_in(&missing)
                .expect_err("no such directory")
                .is_not_found()
        );
        let file = directory.path().join("file");
        fs::write(&file, b"").expect("a file");
        let error = Spool::create_in(&file).expect_err("no directory");
        assert!(
            matches!(&error, HostError::Io { operation: HostOperation::Create, source, .. } if source.kind() == io::ErrorKind::NotADirectory),
            "{error:?}"
        );
    }
}
