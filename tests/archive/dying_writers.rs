//! Writers that die at every read and every strip of a commit: the directory is copied there and opened.

use std::{
    collections::BTreeMap,
    fs,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Mutex,
};

use bfdb::{
    archive::{Archive, CommitOptions, Event, Observer, RecoveryReport, Resources},
    catalog::Access,
};
use tempfile::TempDir;

use crate::support::{
    LEAF, SEGMENT, SEGMENTED_BELOW, Store, TINY_BELOW, copy_dir, dir_in_memory, get, name, names, open,
    painted, small_policy, try_open,
};

/// Lengths of every tier.
const LENGTHS: [u64; 4] = [
    0,
    TINY_BELOW - 5,
    3 * SEGMENT + 7,
    SEGMENTED_BELOW + 40 * LEAF + 9,
];

use crate::writers::{assert_whole, extent_lens, put};

/// Copies the archive directory again and again: each copy is what a process leaves that dies at that moment.
struct Copies {
    root: PathBuf,
    dir: TempDir,
    count: Mutex<usize>,
}

impl Copies {
    fn of(root: &Path) -> Self {
        Self {
            root: root.to_path_buf(),
            dir: dir_in_memory(),
            count: Mutex::new(0),
        }
    }

    fn take(&self) {
        let mut count = self.count.lock().unwrap();
        copy_dir(&self.root, &self.dir.path().join(count.to_string()));
        *count += 1;
    }

    fn paths(&self) -> Vec<PathBuf> {
        (0..*self.count.lock().unwrap())
            .map(|index| self.dir.path().join(index.to_string()))
            .collect()
    }
}

impl Observer for Copies {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Progress { .. }) {
            self.take();
        }
    }
}

/// A stream that copies the archive at every read, the one that finds its end too.
struct CopyingSource<'a> {
    content: &'a [u8],
    piece: usize,
    copies: &'a Copies,
}

impl Read for CopyingSource<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.copies.take();
        let count = self.piece.min(into.len()).min(self.content.len());
        into[..count].copy_from_slice(&self.content[..count]);
        self.content = &self.content[count..];
        Ok(count)
    }
}

/// Opens what a dead writer left, and checks that everything from before is there and nothing else.
fn check_recovery(
    copy: &Path,
    before: &BTreeMap<String, Vec<u8>>,
    lens: &BTreeMap<PathBuf, u64>,
    story: &str,
) {
    let sessions = fs::read_dir(copy.join("sessions")).unwrap().count() as u64;
    let check_files = |archive: &Archive| {
        assert_eq!(
            names(archive),
            before.keys().cloned().collect::<Vec<_>>(),
            "{story}"
        );
        for (file, content) in before {
            assert!(get(archive, file).unwrap() == *content, "{file}, {story}");
        }
    };
    // A reader settles nothing and needs nothing settled.
    check_files(&open(copy, Access::Read));
    let (archive, report) = try_open(copy, Access::Write).unwrap();
    assert_eq!(report.dead_sessions, sessions, "{story}");
    assert_eq!(
        extent_lens(copy),
        *lens,
        "not a byte of the dead commit stays, {story}"
    );
    assert_eq!(fs::read_dir(copy.join("sessions")).unwrap().count(), 0, "{story}");
    check_files(&archive);
    // What was stored under the name before must not shine through what is stored now.
    for (index, len) in LENGTHS.into_iter().enumerate() {
        put(&archive, &format!("new/{index}"), &painted(len + 1, 77)).unwrap();
    }
    for (index, len) in LENGTHS.into_iter().enumerate() {
        assert!(
            get(&archive, &format!("new/{index}")).unwrap() == painted(len + 1, 77),
            "{story}"
        );
    }
    assert_whole(&archive);
    archive.close().unwrap();
    let (_, again) = try_open(copy, Access::Write).unwrap();
    assert_eq!(again, RecoveryReport::default(), "O7: settled once, {story}");
}

/// BlockFrame's whole archive was unreadable after this.
fn writers_that_die(earlier: &[u64], len: u64) -> usize {
    let store = Store::in_memory(small_policy(), Resources::default());
    let mut before = BTreeMap::new();
    for (index, &len) in earlier.iter().enumerate() {
        let content = painted(len, index as u64 + 5);
        store.put(&format!("earlier/{index}"), &content);
        before.insert(format!("earlier/{index}"), content);
    }
    let lens = extent_lens(&store.root());
    let copies = Copies::of(&store.root());
    let content = painted(len, 3);
    let source = CopyingSource {
        content: &content,
        piece: content.len().div_ceil(4).max(1),
        copies: &copies,
    };
    let receipt = store
        .archive
        .commit(&name("dying"), source, len, &CommitOptions::default());
    drop(receipt.unwrap());
    assert!(
        store.get("dying").unwrap() == content,
        "being copied harms nobody"
    );
    let lens_after = extent_lens(&store.root());
    let source = store.source("file", &content);
    let by_path = Copies::of(&store.root());
    drop(
        store
            .archive
            .commit_path(&name("dying by path"), &source, &by_path)
            .unwrap(),
    );
    let mut checked = 0;
    let mut check = |copies: &Copies, before: &BTreeMap<String, Vec<u8>>, lens: &BTreeMap<PathBuf, u64>| {
        for (index, copy) in copies.paths().iter().enumerate() {
            if index % 3 == 1 {
                // The session file is lost too: its extents still have an owner, who cannot be alive.
                let sessions = fs::read_dir(copy.join("sessions")).unwrap();
                sessions.for_each(|session| fs::remove_file(session.unwrap().path()).unwrap());
            }
            check_recovery(
                copy,
                before,
                lens,
                &format!("{len} bytes after {earlier:?}, copy {index}"),
            );
            checked += 1;
        }
    };
    check(&copies, &before, &lens);
    before.insert("dying".to_owned(), content);
    check(&by_path, &before, &lens_after);
    checked
}

#[test]
fn a_writer_that_dies_in_its_first_commit_leaves_nothing() {
    let checked: usize = LENGTHS.iter().map(|&len| writers_that_die(&[], len)).sum();
    assert!(checked >= 20, "only {checked} crash points");
}

#[test]
fn a_writer_that_dies_after_other_commits_leaves_them_and_nothing_else() {
    let earlier = [100, LENGTHS[3], 2 * SEGMENT + 1, 0];
    let checked: usize = LENGTHS.iter().map(|&len| writers_that_die(&earlier, len)).sum();
    assert!(checked >= 20, "only {checked} crash points");
}

#[test]
fn a_writer_that_opens_beside_a_living_one_takes_nothing_from_it() {
    struct Opens<'a>(&'a Path, &'a [u8]);
    impl Read for Opens<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            let (other, report) = try_open(self.0, Access::Write).unwrap();
            assert_eq!(report, RecoveryReport::default(), "the other writer lives");
            let file = format!("beside/{}", self.1.len());
            put(&other, &file, &painted(LENGTHS[3], self.1.len() as u64)).unwrap();
            let count = 20_000.min(into.len()).min(self.1.len());
            into[..count].copy_from_slice(&self.1[..count]);
            self.1 = &self.1[count..];
            Ok(count)
        }
    }
    let store = Store::in_memory(small_policy(), Resources::default());
    store.put("before", &painted(LENGTHS[3], 1));
    let content = painted(LENGTHS[3], 2);
    let root = store.root();
    let source = Opens(&root, &content);
    let len = content.len() as u64;
    drop(
        store
            .archive
            .commit(&name("file"), source, len, &CommitOptions::default())
            .unwrap(),
    );
    assert!(store.get("file").unwrap() == content);
    assert!(store.names().len() > 5);
    assert_whole(&store.archive);
}
