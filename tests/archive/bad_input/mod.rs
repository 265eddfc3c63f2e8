//! Sources that lie, directories that are no archive, catalogs that are not what was written: refused by name, and nothing
//! changes.

mod archives;
mod full_disk;
mod journal;
mod journal_truth;
mod old_copies;

use std::{
    fs::{self, File},
    io::{self, Read, Write as _},
    os::unix::fs::symlink,
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::SystemTime,
};

use bfdb::{
    archive::{CommitOptions, CommitOutcome, Event, Observer},
    catalog::Access,
    error::{CommitError, HostError, ReadError},
    units::FileName,
};

use crate::support::{LEAF, SEGMENT, SEGMENTED_BELOW, Store, TINY_BELOW, name, open, painted};

pub const LENGTHS: [u64; 4] = [
    0,
    TINY_BELOW - 5,
    3 * SEGMENT + 7,
    SEGMENTED_BELOW + 40 * LEAF + 9,
];

/// Runs a commit that must fail, and checks that nothing of it stays and that its name is free.
pub fn fails(store: &Store, commit: impl FnOnce(&FileName) -> CommitError) -> CommitError {
    let (names, before) = (store.names(), store.extent_bytes());
    let error = commit(&name("refused"));
    assert_eq!(store.names(), names, "{error:?}: nothing is visible");
    assert!(
        store.extent_bytes() == before,
        "{error:?}: no byte was left or changed"
    );
    let content = painted(LENGTHS[3], 99);
    store.put("refused", &content);
    assert!(store.get("refused").unwrap() == content);
    drop(store.archive.remove(&name("refused")).unwrap());
    error
}

fn commit_path(store: &Store, file: &FileName, path: &Path, observer: &dyn Observer) -> CommitError {
    store.archive.commit_path(file, path, observer).unwrap_err()
}

fn commit_stream(store: &Store, file: &FileName, source: impl Read + Send, len: u64) -> CommitError {
    store
        .archive
        .commit(file, source, len, &CommitOptions::default())
        .unwrap_err()
}

pub fn store_with_files() -> Store {
    let store = Store::new();
    for (index, len) in LENGTHS.into_iter().enumerate() {
        store.put(&format!("stored/{index}"), &painted(len, index as u64));
    }
    store
}

pub fn assert_files_are_there(store: &Store) {
    for (index, len) in LENGTHS.into_iter().enumerate() {
        assert!(store.get(&format!("stored/{index}")).unwrap() == painted(len, index as u64));
    }
}

#[test]
fn a_source_that_is_no_file_directory_or_link_is_refused() {
    let store = store_with_files();
    let dir = store.dir.path();
    let (missing, fifo) = (dir.join("missing"), dir.join("fifo"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for path in [
        &missing,
        &fifo,
        Path::new("/dev/null"),
        Path::new("/dev/zero"),
        Path::new(""),
    ] {
        let error = fails(&store, |file| commit_path(&store, file, path, &()));
        assert!(
            matches!(error, CommitError::Source { .. }),
            "{}: {error:?}",
            path.display()
        );
    }
    assert_files_are_there(&store);
}

#[test]
fn a_source_without_permission_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let store = store_with_files();
    let path = store.source("secret", b"secret");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    if File::open(&path).is_ok() {
        // The superuser reads everything.
        return;
    }
    let error = fails(&store, |file| commit_path(&store, file, &path, &()));
    assert!(matches!(error, CommitError::Source { .. }), "{error:?}");
}

/// Changes the source at the first progress.
struct Once<F>(AtomicBool, F);

impl<F: Fn() + Send + Sync> Observer for Once<F> {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Progress { .. }) && !self.0.swap(true, Ordering::SeqCst) {
            (self.1)();
        }
    }
}

/// BlockFrame mapped its sources: one that shrank killed the process.
#[test]
fn a_source_that_changes_while_it_is_read_is_refused() {
    let store = store_with_files();
    let path = store.dir.path().join("source");
    let writable = || File::options().write(true).open(&path).unwrap();
    let changes: [(&str, &(dyn Fn() + Send + Sync)); 6] = [
        ("shrunk", &|| writable().set_len(10).unwrap()),
        ("emptied", &|| writable().set_len(0).unwrap()),
        ("grown", &|| {
            File::options()
                .append(true)
                .open(&path)
                .unwrap()
                .write_all(b"more")
                .unwrap();
        }),
        ("overwritten", &|| writable().write_all(b"other").unwrap()),
        ("removed", &|| fs::remove_file(&path).unwrap()),
        ("replaced", &|| {
            let other = path.with_extension("other");
            fs::write(&other, painted(LENGTHS[3], 50)).unwrap();
            fs::rename(other, &path).unwrap();
        }),
    ];
    // Small ones are read at once, before there is any progress to tell of.
    for len in [3 * SEGMENT + 7, SEGMENTED_BELOW + 40 * LEAF + 9, 4 << 20] {
        for (story, change) in changes {
            fs::write(&path, painted(len, 50)).unwrap();
            // Clocks of file systems tick slowly: a change is seen against an old time.
            File::open(&path)
                .unwrap()
                .set_modified(SystemTime::UNIX_EPOCH)
                .unwrap();
            let observer = Once(AtomicBool::new(false), change);
            let error = fails(&store, |file| commit_path(&store, file, &path, &observer));
            assert!(
                matches!(error, CommitError::Source { .. }),
                "{story}, {len}: {error:?}"
            );
            assert!(
                observer.0.load(Ordering::SeqCst),
                "{story}, {len}: it was changed"
            );
        }
    }
    assert_files_are_there(&store);
}

#[test]
fn a_source_that_changes_while_it_is_compared_is_not_called_unchanged() {
    let store = store_with_files();
    let content = painted(6 << 20, 51);
    let path = store.source("source", &content);
    File::open(&path)
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH)
        .unwrap();
    drop(store.archive.commit_path(&name("file"), &path, &()).unwrap());
    let overwrite = || {
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .write_all(b"other")
            .unwrap();
    };
    let observer = Once(AtomicBool::new(false), overwrite);
    let error = store
        .archive
        .commit_path(&name("file"), &path, &observer)
        .unwrap_err();
    let CommitError::Source {
        source: HostError::SourceChanged { .. },
    } = error
    else {
        panic!("{error:?}");
    };
}

/// Gives `good` bytes, then fails.
struct Failing(u64);

impl Read for Failing {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0 == 0 {
            return Err(io::Error::other("the cable was pulled"));
        }
        let count = into.len().min(self.0 as usize).min(777);
        into[..count].fill(7);
        self.0 -= count as u64;
        Ok(count)
    }
}

#[test]
fn a_stream_that_is_shorter_or_longer_than_announced_or_fails_leaves_nothing() {
    let store = store_with_files();
    for len in LENGTHS {
        let content = painted(len, 52);
        for found in [0, len / 2, len.saturating_sub(1)] {
            if found < len {
                let short = &content[..found as usize];
                let error = fails(&store, |file| commit_stream(&store, file, short, len));
                let CommitError::SourceLength {
                    promised,
                    found: told,
                    ..
                } = error
                else {
                    panic!("{error:?}");
                };
                assert_eq!((promised, told), (len, found));
            }
            let error = fails(&store, |file| commit_stream(&store, file, Failing(found), len));
            assert!(matches!(error, CommitError::SourceRead { .. }), "{error:?}");
        }
        let endless = content.chain(io::repeat(1));
        let error = fails(&store, |file| commit_stream(&store, file, endless, len));
        assert!(
            matches!(error, CommitError::SourceLength { promised, found, .. } if promised == len && found == len + 1),
            "{error:?}"
        );
    }
    assert_files_are_there(&store);
    assert_eq!(store.archive.scrub(&()).unwrap().damage, []);
}

trait Chain {
    fn chain(&self, then: io::Repeat) -> io::Chain<&[u8], io::Repeat>;
}

impl Chain for Vec<u8> {
    fn chain(&self, then: io::Repeat) -> io::Chain<&[u8], io::Repeat> {
        Read::chain(self.as_slice(), then)
    }
}

#[test]
fn a_stream_that_is_interrupted_goes_on() {
    struct Interrupted<'a>(&'a [u8], bool);
    impl Read for Interrupted<'_> {
        fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
            self.1 = !self.1;
            if self.1 {
                return Err(io::ErrorKind::Interrupted.into());
            }
            self.0.read(into)
        }
    }
    let store = Store::new();
    for (index, len) in LENGTHS.into_iter().enumerate() {
        let content = painted(len, 53);
        let source = Interrupted(&content, false);
        let file = name(&index.to_string());
        drop(
            store
                .archive
                .commit(&file, source, len, &CommitOptions::default())
                .unwrap(),
        );
        assert!(store.get(&index.to_string()).unwrap() == content);
    }
}

/// The plan of such a file once took all memory, and the process with it, before anybody asked for room.
#[test]
fn a_stream_of_impossible_length_is_refused() {
    let store = store_with_files();
    for len in [1 << 45, 1 << 50, 1 << 56, u64::MAX / 2, u64::MAX] {
        let error = fails(&store, |file| commit_stream(&store, file, io::repeat(1), len));
        assert!(matches!(error, CommitError::Full { .. }), "{len}: {error:?}");
    }
}

#[test]
fn names_are_bytes_and_come_back_as_they_are() {
    let store = Store::new();
    let long_part = vec![b'x'; 255];
    let long = vec![b'y'; 4096];
    let accepted: [&[u8]; 9] = [
        b"a b\tc\nd",
        b"...",
        b"..a/.b",
        b"\xFF\xFE\x80",
        "\u{e4}\u{1f600}".as_bytes(),
        b"back\\slash",
        b"-rf",
        &long_part,
        &long,
    ];
    for bytes in accepted {
        let file = FileName::from_bytes(bytes).unwrap();
        drop(
            store
                .archive
                .commit(&file, bytes, bytes.len() as u64, &CommitOptions::default())
                .unwrap(),
        );
    }
    let mut listed: Vec<Vec<u8>> = store
        .archive
        .snapshot()
        .unwrap()
        .files(None)
        .map(|file| file.unwrap().name.as_bytes().to_vec())
        .collect();
    let mut expected = accepted.map(<[u8]>::to_vec).to_vec();
    expected.sort();
    assert_eq!(listed.len(), expected.len());
    listed.sort();
    assert_eq!(listed, expected);
    for text in [
        "",
        "/",
        "/etc/passwd",
        "..",
        "a/../b",
        "./a",
        "a//b",
        "a/",
        "nul\0",
    ] {
        assert!(FileName::from_bytes(text.as_bytes()).is_err(), "{text:?}");
    }
    assert!(FileName::from_bytes(&[b'z'; 4097]).is_err());
}

#[test]
fn a_name_that_is_taken_keeps_its_content() {
    let store = store_with_files();
    let before = store.extent_bytes();
    for (index, len) in LENGTHS.into_iter().enumerate() {
        let file = name(&format!("stored/{index}"));
        let same = store.source("same", &painted(len, index as u64));
        let outcome = store.archive.commit_path(&file, &same, &()).unwrap();
        assert!(matches!(outcome, CommitOutcome::Unchanged(_)), "{len}");
        let mut others = vec![painted(len + 1, index as u64), painted(len / 2 + 1, 1)];
        if len > 0 {
            let mut flipped = painted(len, index as u64);
            *flipped.last_mut().unwrap() ^= 1;
            others.push(flipped);
        }
        for other in others {
            let path = store.source("other", &other);
            let by_path = store.archive.commit_path(&file, &path, &()).unwrap_err();
            let by_stream = commit_stream(&store, &file, &other[..], other.len() as u64);
            for error in [by_path, by_stream] {
                let CommitError::NameTaken {
                    stored_len_bytes,
                    source_len_bytes,
                    ..
                } = error
                else {
                    panic!("{error:?}");
                };
                assert_eq!((stored_len_bytes, source_len_bytes), (len, other.len() as u64));
            }
        }
    }
    assert!(store.extent_bytes() == before, "not a byte was written");
    assert_files_are_there(&store);
}

#[test]
fn the_archive_itself_is_no_source() {
    let store = store_with_files();
    let dir = store.dir.path();
    symlink(store.root(), dir.join("link")).unwrap();
    fs::create_dir(dir.join("d")).unwrap();
    let extent = store.extents()[0].clone();
    let through_link = dir.join("link").join(extent.strip_prefix(store.root()).unwrap());
    let paths = [
        store.root().join("catalog.redb"),
        extent,
        through_link,
        dir.join("d/../a.bfdb/volumes/v0/volume.bfv"),
    ];
    for path in paths {
        let error = fails(&store, |file| commit_path(&store, file, &path, &()));
        assert!(
            matches!(error, CommitError::SourceInsideArchive { .. }),
            "{}: {error:?}",
            path.display()
        );
    }
    for path in [store.root(), store.root().join("volumes")] {
        let error = fails(&store, |file| commit_path(&store, file, &path, &()));
        assert!(
            matches!(
                error,
                CommitError::SourceInsideArchive { .. } | CommitError::Source { .. }
            ),
            "{}: {error:?}",
            path.display()
        );
    }
}

#[test]
fn an_archive_that_is_open_for_reading_is_not_changed() {
    let store = store_with_files();
    let reader = open(&store.root(), Access::Read);
    let before = store.extent_bytes();
    let committed = reader.commit(&name("x"), &b"x"[..], 1, &CommitOptions::default());
    assert!(matches!(committed, Err(CommitError::ReadOnly)), "{committed:?}");
    let removed = reader.remove(&name("stored/1"));
    assert!(matches!(removed, Err(CommitError::ReadOnly)), "{removed:?}");
    assert!(store.extent_bytes() == before);
    assert_files_are_there(&store);
}

#[test]
fn what_is_not_there_is_not_found() {
    let store = store_with_files();
    for missing in ["x", "stored", "stored/1/x", "stored/"]
        .iter()
        .filter_map(|text| text.parse().ok())
    {
        let snapshot = store.archive.snapshot().unwrap();
        let read = snapshot.open_file(&missing, std::sync::Arc::new(()));
        assert!(matches!(read, Err(ReadError::NotFound { .. })), "{missing}");
        assert!(
            matches!(store.archive.remove(&missing), Err(CommitError::NotFound { .. })),
            "{missing}"
        );
    }
    let verified = store
        .archive
        .snapshot()
        .unwrap()
        .verify(Some(&name("nothing")), &());
    assert!(
        matches!(verified, Err(bfdb::error::ScrubError::NotFound { .. })),
        "{verified:?}"
    );
}
