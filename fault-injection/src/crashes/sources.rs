//! Files, directories and links of the host for commits that read such: made once, the same in every run.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use super::oracle::{Entry, Kind};

/// A temporary directory with sources in it, each version of a name in a directory of its own. Several runs may share it,
/// at once too.
#[derive(Debug)]
pub struct Sources {
    directory: PathBuf,
    /// Removes the directory in the end, where it was made for this.
    owned: Option<tempfile::TempDir>,
    made: Mutex<BTreeSet<PathBuf>>,
}

impl Sources {
    /// Makes an empty one.
    ///
    /// # Errors
    /// When the host has no room for a directory.
    pub fn new() -> io::Result<Self> {
        let owned = tempfile::tempdir()?;
        Ok(Self {
            directory: owned.path().to_path_buf(),
            owned: Some(owned),
            made: Mutex::default(),
        })
    }

    /// Uses those that another process has made.
    pub fn of_another_process(directory: &Path) -> Self {
        Self {
            directory: directory.to_path_buf(),
            owned: None,
            made: Mutex::default(),
        }
    }

    /// Returns the directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Returns where a source is, and makes it unless that was done before.
    ///
    /// # Panics
    /// When the host fails: no test can go on.
    pub fn path(&self, name: &str, version: u64, entry: &Entry) -> PathBuf {
        let path = self
            .directory
            .join(format!("{version}"))
            .join(name.replace('/', "-"));
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if self.owned.is_some() && made.insert(path.clone()) {
            make(&path, entry).expect("the host takes a small file");
        }
        path
    }
}

#[expect(clippy::disallowed_methods, reason = "the sources of commits lie on the host")]
fn make(path: &Path, entry: &Entry) -> io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    match &entry.kind {
        Kind::File(bytes) => fs::write(path, bytes)?,
        Kind::Directory => fs::create_dir(path)?,
        // Its time is the moment of its making; nothing depends on it but the row in the catalog.
        Kind::Link(target) => return symlink(text(target), path),
    }
    fs::set_permissions(path, fs::Permissions::from_mode(entry.mode))?;
    let seconds = u64::try_from(entry.modified.0).expect("times of tests lie behind 1970");
    let time = UNIX_EPOCH + Duration::new(seconds, entry.modified.1);
    fs::File::open(path)?.set_modified(time)
}

fn text(target: &[u8]) -> &str {
    std::str::from_utf8(target).expect("targets of tests are text")
}
