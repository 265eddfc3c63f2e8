//! Space that a file keeps, to be given away when nothing else is left.
//!
//! The file says in words what it is, so that whoever finds it on a full disk may remove it. By the same words bfdb tells
//! its own from somebody else's file of that name, which it leaves alone.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::files::open_file;
use crate::{
    error::{HostError, HostOperation},
    storage::{FileAccess, Storage, StorageFile},
};

/// Bytes that a ballast keeps.
pub const BALLAST_LEN_BYTES: u64 = 8 << 20;

/// What a ballast begins with; the rest of it is zeros.
const WORDS: &[u8] = b"ballast of bfdb: space for removing files from an archive whose disk is full\n";

/// A file that keeps [`BALLAST_LEN_BYTES`] of a file system's space.
///
/// Any number of processes may make it and release it at the same time: each call leaves it as it says, and the last one
/// wins. Nothing depends on it but room.
#[derive(Debug, Clone)]
pub struct Ballast {
    storage: Arc<dyn Storage>,
    path: PathBuf,
}

impl Ballast {
    /// Names the ballast at `path` of a storage; touches nothing.
    pub fn new(storage: Arc<dyn Storage>, path: impl Into<PathBuf>) -> Self {
        Self {
            storage,
            path: path.into(),
        }
    }

    /// Returns where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns how many bytes of space it keeps, 0 when there is none or somebody else's file has its name.
    ///
    /// # Errors
    /// [`HostError::NotRegular`] when something else than a file has its name, [`HostError::Io`] when it cannot be read.
    pub fn kept_bytes(&self) -> Result<u64, HostError> {
        let file = match self.open(FileAccess::Read) {
            Ok(file) => file,
            Err(error) if error.is_not_found() => return Ok(0),
            Err(error) => return Err(error),
        };
        if self.contents(file.as_ref())? == Contents::Foreign {
            return Ok(0);
        }
        let found = file
            .info()
            .map_err(HostError::io(HostOperation::Inspect, &self.path))?;
        Ok(found.allocated_bytes)
    }

    /// Makes it, for its owner alone (0600), with real blocks; one that is there gets the blocks that it lacks.
    ///
    /// When there is no room, nothing is kept, so that a failure takes no space from anybody. Whether it survives a crash
    /// is not promised.
    ///
    /// # Errors
    /// [`HostError::Exists`] when somebody else's file has its name, [`HostError::NotRegular`] when something else has,
    /// [`HostError::Io`] otherwise.
    pub fn make(&self) -> Result<(), HostError> {
        let file = match self.storage.create_new(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => self.open(FileAccess::ReadWrite)?,
            Err(error) => return Err(HostError::io(HostOperation::Create, &self.path)(error)),
        };
        if self.contents(file.as_ref())? == Contents::Foreign {
            return Err(HostError::Exists {
                path: self.path.clone(),
            });
        }
        self.fill(file.as_ref()).inspect_err(|_| {
            // What was allocated before the failure goes back; where even that fails, it is still ours to release.
            match file.set_len(0) {
                Ok(()) | Err(_) => {}
            }
        })
    }

    /// Gives its space back to the file system; returns how much that was in bytes, 0 when there was nothing to give.
    ///
    /// When this returns the space is free for whoever asks next. The name stays: to remove it may itself take room.
    ///
    /// # Errors
    /// The same as for [`Self::kept_bytes`].
    pub fn release(&self) -> Result<u64, HostError> {
        let kept = self.kept_bytes()?;
        if kept == 0 {
            return Ok(0);
        }
        let file = self.open(FileAccess::ReadWrite)?;
        if self.contents(file.as_ref())? == Contents::Foreign {
            return Ok(0);
        }
        file.set_len(0)
            .map_err(HostError::io(HostOperation::Reserve, &self.path))?;
        // A journal lends freed blocks again only when it has been told that they are free for good.
        file.sync_all()
            .map_err(HostError::io(HostOperation::Sync, &self.path))?;
        Ok(kept)
    }

    fn open(&self, access: FileAccess) -> Result<Arc<dyn StorageFile>, HostError> {
        open_file(self.storage.as_ref(), &self.path, access)
    }

    fn fill(&self, file: &dyn StorageFile) -> Result<(), HostError> {
        file.write_all_at(0, WORDS)
            .map_err(HostError::io(HostOperation::Write, &self.path))?;
        // A crash may keep the length and lose the words, and zeros would be taken for somebody else's.
        file.sync_all()
            .map_err(HostError::io(HostOperation::Sync, &self.path))?;
        file.allocate(BALLAST_LEN_BYTES)
            .map_err(HostError::io(HostOperation::Reserve, &self.path))
    }

    fn contents(&self, file: &dyn StorageFile) -> Result<Contents, HostError> {
        let mut found = [0; WORDS.len()];
        match file.read_exact_at(0, &mut found) {
            Ok(()) if found == *WORDS => Ok(Contents::Ours),
            Ok(()) => Ok(Contents::Foreign),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                let found = file
                    .info()
                    .map_err(HostError::io(HostOperation::Inspect, &self.path))?;
                Ok(if found.len_bytes == 0 {
                    Contents::Ours
                } else {
                    Contents::Foreign
                })
            }
            Err(error) => Err(HostError::io(HostOperation::Read, &self.path)(error)),
        }
    }
}

/// Whose a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contents {
    /// A ballast, or an empty file, which has nothing to lose.
    Ours,
    Foreign,
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests of the host make their own files")]

    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;
    use crate::storage::HostStorage;

    fn ballast_in(directory: &tempfile::TempDir) -> Ballast {
        Ballast::new(Arc::new(HostStorage), directory.path().join("ballast"))
    }

    #[test]
    fn a_ballast_keeps_real_blocks_until_it_is_released_and_may_be_made_again() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ballast = ballast_in(&directory);
        assert_eq!(ballast.kept_bytes().expect("a look"), 0);
        assert_eq!(ballast.release().expect("nothing to release"), 0);
        assert!(!ballast.path().exists(), "releasing makes nothing");
        for _ in 0..2 {
            ballast.make().expect("room");
            ballast.make().expect("one that is there stays");
            assert!(ballast.kept_bytes().expect("a look") >= BALLAST_LEN_BYTES);
            let found = fs::metadata(ballast.path()).expect("a file");
            assert_eq!(found.len(), BALLAST_LEN_BYTES);
            assert_eq!(found.permissions().mode() & 0o777, 0o600);
            assert!(ballast.release().expect("a release") >= BALLAST_LEN_BYTES);
            assert_eq!(ballast.kept_bytes().expect("a look"), 0);
            assert_eq!(ballast.release().expect("again"), 0);
        }
    }

    #[test]
    fn a_file_of_somebody_else_is_neither_filled_nor_emptied() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ballast = ballast_in(&directory);
        for theirs in [&b"a"[..], &[b'a'; 1000], &[0; 1000]] {
            fs::write(ballast.path(), theirs).expect("a file");
            assert!(matches!(ballast.make(), Err(HostError::Exists { .. })));
            assert_eq!(ballast.release().expect("left alone"), 0);
            assert_eq!(ballast.kept_bytes().expect("a look"), 0);
            assert_eq!(fs::read(ballast.path()).expect("the file"), theirs);
        }
        fs::remove_file(ballast.path()).expect("a removal");
        let target = directory.path().join("target");
        fs::write(&target, b"").expect("a file");
        std::os::unix::fs::symlink(&target, ballast.path()).expect("a link");
        assert!(matches!(ballast.make(), Err(HostError::NotRegular { .. })));
        assert_eq!(
            fs::metadata(&target).expect("a file").len(),
            0,
            "links are not followed"
        );
    }

    #[test]
    fn a_ballast_that_cannot_be_filled_keeps_nothing() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let ballast = ballast_in(&directory);
        ballast.make().expect("room");
        let file = ballast.open(FileAccess::Read).expect("a file");
        // A file that is open for reading cannot be written: a failure at the first step.
        assert!(ballast.fill(file.as_ref()).is_err());
        fs::write(ballast.path(), WORDS).expect("a ballast that was cut short");
        assert!(ballast.kept_bytes().expect("a look") < BALLAST_LEN_BYTES);
        ballast.make().expect("the rest");
        assert!(ballast.kept_bytes().expect("a look") >= BALLAST_LEN_BYTES);
    }
}
