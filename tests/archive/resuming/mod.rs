//! Commits of long files that are interrupted, and go on.
//!
//! Everything is small: blocks of 24 KiB, a point of progress every 64 KiB, one worker, so that an event is a block and the
//! same call does the same each time.

mod choices;
mod damaged;
mod grouped;
mod interrupted;
mod killed;
mod old_catalogs;

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use bfdb::{
    archive::{Archive, CommitOutcome, OpenOptions, RecoveryReport, Resources, UnfinishedCommit},
    catalog::Access,
    error::CommitError,
    units::CommitId,
};

use crate::{
    stop_after::StopAfter,
    support::{Store, get, name, painted, small_policy},
};

/// Bytes between two points of progress.
pub const INTERVAL: u64 = 64 << 10;

/// Bytes of the file in a block.
pub const BLOCK: u64 = 24 << 10;

/// Some fifty blocks, the last of them short.
pub const LEN: u64 = 49 * BLOCK + 777;

pub fn resources() -> Resources {
    Resources {
        threads: 1,
        progress_bytes: INTERVAL,
        ..Resources::default()
    }
}

/// An archive with something in it, and a source that is longer than an interval.
pub struct Bench {
    pub store: Store,
    pub content: Vec<u8>,
    pub source: PathBuf,
}

impl Bench {
    pub fn new() -> Self {
        Self::with_len(LEN)
    }

    pub fn with_len(len: u64) -> Self {
        Self::of(Store::in_memory(small_policy(), resources()), len)
    }

    pub fn of(store: Store, len: u64) -> Self {
        store.put("before", &painted(30_000, 1));
        let content = painted(len, 2);
        let source = store.source("source", &content);
        Self {
            store,
            content,
            source,
        }
    }

    pub fn archive(&self) -> &Archive {
        &self.store.archive
    }

    /// Commits until so many blocks are written, and returns the commit that waits.
    pub fn interrupt(&self, blocks: u64) -> (CommitId, u64) {
        let stopped = self
            .archive()
            .commit_path(&name("file"), &self.source, &StopAfter::new(blocks));
        interrupted(stopped)
    }

    /// Closes the archive and opens it again, for writing.
    pub fn reopen(self) -> (Self, RecoveryReport) {
        let root = self.store.root();
        let Store { dir, archive } = self.store;
        archive.close().unwrap();
        let (archive, report) = open(&root);
        let store = Store { dir, archive };
        (Self { store, ..self }, report)
    }

    /// Everything that was stored is there, and nothing else is wrong or left.
    pub fn check_finished(&self, story: &str) {
        check_finished(self.archive(), &self.content, story);
    }
}

/// Opens an archive for writing, with these resources.
pub fn open(root: &Path) -> (Archive, RecoveryReport) {
    let options = OpenOptions {
        access: Access::Write,
        resources: resources(),
        volumes: Vec::new(),
    };
    Archive::open(root, &options).unwrap()
}

pub fn check_finished(archive: &Archive, content: &[u8], story: &str) {
    let info = archive.snapshot().unwrap().file(&name("file")).unwrap();
    let info = info.unwrap_or_else(|| panic!("it is stored, {story}"));
    assert_eq!(
        info.root.to_bytes(),
        *blake3::hash(content).as_bytes(),
        "I5: the root is what b3sum prints, {story}"
    );
    assert!(get(archive, "file").unwrap() == content, "O1: {story}");
    assert!(get(archive, "before").unwrap() == painted(30_000, 1), "{story}");
    assert_eq!(archive.unfinished().unwrap(), [], "{story}");
    assert_eq!(archive.scrub(&()).unwrap().damage, [], "{story}");
}

/// Returns the commit that an interrupted call has left, and how many bytes of it are done.
pub fn interrupted(result: Result<CommitOutcome, CommitError>) -> (CommitId, u64) {
    match result {
        Err(CommitError::Interrupted {
            commit, done_bytes, ..
        }) => (commit, done_bytes),
        other => panic!("{other:?}"),
    }
}

/// The only commit that is not done.
pub fn waiting(archive: &Archive) -> UnfinishedCommit {
    let mut unfinished = archive.unfinished().unwrap();
    assert_eq!(unfinished.len(), 1, "{unfinished:?}");
    unfinished.pop().unwrap()
}

/// Bytes that the extents take, as their files are long.
pub fn extent_bytes(root: &Path) -> u64 {
    let lens = bfdb_fault_injection::damage::extent_files(root).unwrap();
    lens.iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

/// What the extents take on the disk, a block for each of them aside, which a file system may need for itself.
pub fn taken_bytes(root: &Path) -> u64 {
    let files = bfdb_fault_injection::damage::extent_files(root).unwrap();
    files
        .iter()
        .map(|path| (fs::metadata(path).unwrap().blocks() * 512).saturating_sub(4096))
        .sum()
}
