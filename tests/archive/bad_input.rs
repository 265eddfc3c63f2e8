//! Sources that lie, directories that are no archive, catalogs that are not what was written: refused by name, and nothing
//! changes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Write as _},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
    time::SystemTime,
};

use bfdb::{
    archive::{Archive, ArchiveOptions, CommitOptions, CommitOutcome, Event, Observer, RestoreOptions},
    catalog::{Access, ArchiveRecord, Catalog, CatalogOptions},
    error::{CatalogError, CommitError, HostError, OpenError, ReadError, RestoreError},
    host::RestoreTarget,
    units::{ArchiveId, FileName, Timestamp},
};
use bfdb_fault_injection::Seeded;

use crate::support::{
    LEAF, SEGMENT, SEGMENTED_BELOW, Store, TINY_BELOW, get, name, open, painted, small_policy, try_open,
};

const LENGTHS: [u64; 4] = [
    0,
    TINY_BELOW - 5,
    3 * SEGMENT + 7,
    SEGMENTED_BELOW + 40 * LEAF + 9,
];

/// Everything in the volumes: path and bytes.
fn extents(store: &Store) -> BTreeMap<PathBuf, Vec<u8>> {
    let read = |path: PathBuf| (path.clone(), fs::read(path).unwrap());
    store.extents().into_iter().map(read).collect()
}

/// Runs a commit that must fail, and checks that nothing of it stays and that its name is free.
fn fails(store: &Store, commit: impl FnOnce(&FileName) -> CommitError) -> CommitError {
    let (names, before) = (store.names(), extents(store));
    let error = commit(&name("refused"));
    assert_eq!(store.names(), names, "{error:?}: nothing is visible");
    assert!(extents(store) == before, "{error:?}: no byte was left or changed");
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

fn store_with_files() -> Store {
    let store = Store::new();
    for (index, len) in LENGTHS.into_iter().enumerate() {
        store.put(&format!("stored/{index}"), &painted(len, index as u64));
    }
    store
}

fn assert_files_are_there(store: &Store) {
    for (index, len) in LENGTHS.into_iter().enumerate() {
        assert!(store.get(&format!("stored/{index}")).unwrap() == painted(len, index as u64));
    }
}

#[test]
fn a_source_that_is_not_a_file_is_refused() {
    let store = store_with_files();
    let dir = store.dir.path();
    let (missing, fifo, link) = (dir.join("missing"), dir.join("fifo"), dir.join("dangling"));
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    symlink(&missing, &link).unwrap();
    for path in [
        &missing,
        &fifo,
        &link,
        dir,
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
    for len in [
        TINY_BELOW - 5,
        3 * SEGMENT + 7,
        SEGMENTED_BELOW + 40 * LEAF + 9,
        4 << 20,
    ] {
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
    let before = extents(&store);
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
    assert!(extents(&store) == before, "not a byte was written");
    assert_files_are_there(&store);
}

#[test]
fn the_archive_itself_is_no_source() {
    let store = store_with_files();
    let dir = store.dir.path();
    symlink(store.root(), dir.join("link")).unwrap();
    symlink(store.root().join("catalog.redb"), dir.join("link-to-catalog")).unwrap();
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
    for path in [store.root(), dir.join("link"), dir.join("link-to-catalog")] {
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
    let before = extents(&store);
    let committed = reader.commit(&name("x"), &b"x"[..], 1, &CommitOptions::default());
    assert!(matches!(committed, Err(CommitError::ReadOnly)), "{committed:?}");
    let removed = reader.remove(&name("stored/1"));
    assert!(matches!(removed, Err(CommitError::ReadOnly)), "{removed:?}");
    assert!(extents(&store) == before);
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

#[test]
fn a_directory_that_is_no_archive_is_named_for_what_it_is_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let at = |text: &str| dir.path().join(text);
    fs::create_dir(at("empty")).unwrap();
    fs::create_dir(at("foreign")).unwrap();
    fs::write(at("foreign/letter.txt"), "dear").unwrap();
    fs::write(at("file"), "a file").unwrap();
    let store = store_with_files();
    copy_dir(&store.root(), &at("remains"));
    fs::remove_file(at("remains/catalog.redb")).unwrap();
    copy_dir(&store.root(), &at("archive"));
    for access in [Access::Read, Access::Write] {
        let opened = |text: &str| try_open(&at(text), access).unwrap_err();
        assert!(matches!(opened("missing"), OpenError::NotFound { .. }));
        assert!(matches!(opened("empty"), OpenError::NotFound { .. }));
        assert!(matches!(opened("foreign"), OpenError::NotAnArchive { .. }));
        assert!(matches!(opened("remains"), OpenError::CatalogMissing { .. }));
        drop(opened("file"));
    }
    let options = ArchiveOptions {
        policy: small_policy(),
        ..ArchiveOptions::default()
    };
    for taken in ["foreign", "remains", "archive"] {
        let before = tree(&at(taken));
        let created = Archive::create(&at(taken), &options);
        assert!(
            matches!(
                created,
                Err(OpenError::Exists { .. } | OpenError::NotEmpty { .. })
            ),
            "{taken}: {created:?}"
        );
        assert!(tree(&at(taken)) == before, "{taken} is as it was");
    }
    assert!(Archive::create(&at("file"), &options).is_err());
    assert_eq!(fs::read(at("file")).unwrap(), b"a file");
    for free in ["missing", "empty"] {
        drop(Archive::create(&at(free), &options).unwrap());
    }
}

fn copy_dir(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Every file below a directory.
fn tree(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(tree(&path));
        } else {
            let bytes = fs::read(&path).unwrap();
            found.insert(path, bytes);
        }
    }
    found
}

/// An archive that nobody has open, and its catalog.
struct Closed {
    _dir: tempfile::TempDir,
    root: PathBuf,
    catalog: Vec<u8>,
}

impl Closed {
    fn new() -> Self {
        let store = store_with_files();
        let root = store.root();
        let Store { dir, archive } = store;
        archive.close().unwrap();
        let catalog = fs::read(root.join("catalog.redb")).unwrap();
        Self {
            _dir: dir,
            root,
            catalog,
        }
    }

    /// Puts `catalog` in the place of the real one, reads everything, and says whether all of it was there.
    fn reads_with(&self, catalog: &[u8], access: Access, story: &str) -> bool {
        fs::write(self.root.join("catalog.redb"), catalog).unwrap();
        let is_damage = |error: &CatalogError| error.is_damaged() || error.is_newer_format();
        let archive = match try_open(&self.root, access) {
            Ok((archive, _)) => archive,
            Err(OpenError::Catalog { source }) => {
                assert!(is_damage(&source), "{story}: {source:?}");
                return false;
            }
            Err(other) => panic!("{story}: {other:?}"),
        };
        let mut all = true;
        for (index, len) in LENGTHS.into_iter().enumerate() {
            match get(&archive, &format!("stored/{index}")) {
                Ok(content) => assert!(content == painted(len, index as u64), "O1: {story}"),
                Err(ReadError::Catalog { source }) if is_damage(&source) => all = false,
                Err(other) => panic!("{story}: a damaged catalog is not {other:?}"),
            }
        }
        let listed: Result<Vec<_>, _> = match archive.snapshot() {
            Ok(snapshot) => snapshot.files(None).collect(),
            Err(source) => Err(source),
        };
        match listed {
            Ok(files) => assert_eq!(
                files.len(),
                LENGTHS.len(),
                "{story}: a file is missing without an error"
            ),
            Err(source) => {
                assert!(is_damage(&source), "{story}: {source:?}");
                all = false;
            }
        }
        all
    }
}

#[test]
fn a_flipped_bit_anywhere_in_the_catalog_is_noticed_or_harmless() {
    let closed = Closed::new();
    let mut seeded = Seeded::new(7);
    // Half of the positions anywhere, half where something is written.
    let written: Vec<usize> = (0..closed.catalog.len())
        .filter(|&at| closed.catalog[at] != 0)
        .collect();
    let mut noticed = 0;
    for round in 0..220 {
        let at = if round % 2 == 0 {
            seeded.index(closed.catalog.len())
        } else {
            written[seeded.index(written.len())]
        };
        let mut catalog = closed.catalog.clone();
        catalog[at] ^= 1 << seeded.below(8);
        let access = if round % 4 < 2 {
            Access::Read
        } else {
            Access::Write
        };
        noticed +=
            usize::from(!closed.reads_with(&catalog, access, &format!("a bit of byte {at}, {access:?}")));
    }
    assert!(
        noticed > 20,
        "only {noticed} flips were noticed: they did not hit anything"
    );
    assert!(closed.reads_with(&closed.catalog, Access::Write, "the right catalog"));
}

#[test]
fn a_catalog_that_is_cut_off_or_garbage_is_called_damaged() {
    let closed = Closed::new();
    let len = closed.catalog.len();
    let mut seeded = Seeded::new(8);
    for kept in [
        0,
        1,
        63,
        64,
        320,
        511,
        4095,
        4096,
        len / 3,
        len / 2,
        len - 4096,
        len - 1,
    ] {
        let story = format!("{kept} of {len} bytes");
        let all = closed.reads_with(&closed.catalog[..kept], Access::Read, &story);
        assert!(!all || kept >= len / 2, "{story}");
        closed.reads_with(&closed.catalog[..kept], Access::Write, &story);
    }
    for len in [1, 4096, len] {
        let garbage: Vec<u8> = (0..len).map(|_| seeded.next_u64() as u8).collect();
        assert!(!closed.reads_with(&garbage, Access::Write, "garbage"));
        assert!(!closed.reads_with(&vec![0; len], Access::Write, "zeros"));
    }
    assert!(closed.reads_with(&closed.catalog, Access::Read, "the right catalog"));
}

#[test]
fn an_archive_of_a_newer_format_is_refused_as_newer() {
    let closed = Closed::new();
    for (format_version, required_features) in [(2, 0), (1, 1 << 40)] {
        let path = closed.root.join("catalog.redb");
        fs::remove_file(&path).unwrap();
        let record = ArchiveRecord {
            id: ArchiveId::from_bytes([1; 16]),
            format_version,
            required_features,
            created_at: Timestamp::EPOCH,
            policy: small_policy(),
        };
        Catalog::create(&path, &record, &[], CatalogOptions { cache_bytes: 1 << 20 }).unwrap();
        for access in [Access::Read, Access::Write] {
            let error = try_open(&closed.root, access).unwrap_err();
            assert!(
                matches!(&error, OpenError::Catalog { source } if source.is_newer_format()),
                "{error:?}"
            );
        }
    }
}

/// A slot with a feature or a version that this program does not know: reading was once allowed, although a feature bit is
/// what says that bytes would be misread.
#[test]
fn a_volume_of_a_newer_format_is_refused_as_newer_and_left_alone() {
    let closed = Closed::new();
    let slots = closed.root.join("volumes/v0/volume.bfv");
    let whole = fs::read(&slots).unwrap();
    for (offset, value) in [(8, 2), (96, 1), (200, 1)] {
        for slot in [0, 4096] {
            let mut newer = whole.clone();
            newer[slot + offset] = value;
            let crc = crc32(&newer[slot..slot + 4092]);
            newer[slot + 4092..slot + 4096].copy_from_slice(&crc.to_le_bytes());
            fs::write(&slots, &newer).unwrap();
            for access in [Access::Read, Access::Write] {
                let error = try_open(&closed.root, access).unwrap_err();
                assert!(
                    matches!(&error, OpenError::VolumeSlots { source, .. } if source.needs_newer_version()),
                    "{error:?}"
                );
            }
            assert!(fs::read(&slots).unwrap() == newer);
        }
    }
    fs::write(&slots, whole).unwrap();
    assert!(closed.reads_with(&closed.catalog, Access::Write, "the right slots"));
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 * (crc & 1))
        })
    })
}

#[test]
fn an_old_catalog_that_was_put_back_is_refused_for_writing_and_no_extent_changes() {
    let store = store_with_files();
    let root = store.root();
    let Store { dir: _dir, archive } = store;
    archive.close().unwrap();
    let old = fs::read(root.join("catalog.redb")).unwrap();
    let archive = open(&root, Access::Write);
    for index in 0..3 {
        let file = name(&format!("newer/{index}"));
        let content = painted(LENGTHS[3], index);
        drop(
            archive
                .commit(&file, &content[..], LENGTHS[3], &CommitOptions::default())
                .unwrap(),
        );
    }
    archive.close().unwrap();
    let new = fs::read(root.join("catalog.redb")).unwrap();
    let volumes = tree(&root.join("volumes"));
    fs::write(root.join("catalog.redb"), old).unwrap();
    let error = try_open(&root, Access::Write).unwrap_err();
    let OpenError::CatalogStale { catalog, seen, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(seen.get(), catalog.get() + 3);
    let reader = open(&root, Access::Read);
    assert!(
        get(&reader, "stored/3").unwrap() == painted(LENGTHS[3], 3),
        "what it knows can be read"
    );
    drop(reader);
    assert!(
        tree(&root.join("volumes")) == volumes,
        "not a byte of the volume has changed"
    );
    fs::write(root.join("catalog.redb"), new).unwrap();
    let archive = open(&root, Access::Write);
    assert!(
        get(&archive, "newer/2").unwrap() == painted(LENGTHS[3], 2),
        "with the right catalog all is well"
    );
}

/// A creation that was killed after its volume had slots and before its catalog had a name left a directory in which no
/// archive could ever be made.
#[test]
fn a_creation_that_was_killed_before_its_catalog_had_a_name_is_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a.bfdb");
    let archive = Archive::create(&root, &ArchiveOptions::default()).unwrap();
    let first = archive.id();
    archive.close().unwrap();
    fs::rename(root.join("catalog.redb"), root.join("catalog.redb.tmp")).unwrap();
    // The mark that a creation writes before anything else.
    let lock = bfdb::host::ArchiveLayout::new(dir.path().join("other"));
    drop(lock.lock_for_building(bfdb::host::Building::Creation).unwrap());
    fs::copy(dir.path().join("other/building.tmp"), root.join("building.tmp")).unwrap();
    let archive = Archive::create(&root, &ArchiveOptions::default()).unwrap();
    assert_eq!(
        archive.id(),
        first,
        "the volume that was made is the one that is used"
    );
    drop(
        archive
            .commit(&name("file"), &b"bytes"[..], 5, &CommitOptions::default())
            .unwrap(),
    );
    archive.close().unwrap();
    assert_eq!(get(&open(&root, Access::Read), "file").unwrap(), b"bytes");
}

/// A target that was a link into the archive let a restore replace the catalog.
#[test]
fn nothing_is_restored_into_the_archive_whatever_leads_there() {
    let store = store_with_files();
    let root = store.root();
    let link = store.dir.path().join("link");
    symlink(&root, &link).unwrap();
    let before = tree(&root.join("volumes"));
    let snapshot = store.archive.snapshot().unwrap();
    for target in [
        root.clone(),
        link.clone(),
        link.join("volumes/deep/er"),
        root.join("sessions/../new"),
    ] {
        let opened = RestoreTarget::open(&target).unwrap();
        let refused = snapshot.restore(&name("stored/3"), &opened, &RestoreOptions::default(), &());
        assert!(
            matches!(refused, Err(RestoreError::TargetInsideArchive { .. })),
            "{refused:?}"
        );
    }
    fs::remove_dir_all(root.join("volumes/deep")).unwrap();
    assert!(tree(&root.join("volumes")) == before, "not a byte was written");
    let beside = RestoreTarget::open(&store.dir.path().join("beside")).unwrap();
    assert!(
        snapshot
            .restore(&name("stored/3"), &beside, &RestoreOptions::default(), &())
            .is_ok()
    );
}

/// A fifo that stood in the place of an extent was waited for.
#[test]
fn a_fifo_in_the_place_of_an_extent_is_damage_and_not_waited_for() {
    let store = store_with_files();
    let extent = store.extents()[0].clone();
    fs::remove_file(&extent).unwrap();
    let made = Command::new("mkfifo").arg(&extent).status().unwrap();
    assert!(made.success());
    let report = store.archive.scrub(&()).unwrap();
    assert!(
        report.damaged_shards > 0 && report.files_lost() == 0,
        "{report:?}"
    );
}

/// Damage of catalog pages that no listing touches went unnoticed by a scrub that had read every shard.
#[test]
fn a_scrub_verifies_the_catalog_as_well() {
    let closed = Closed::new();
    let catalog = closed.root.join("catalog.redb");
    let good = fs::read(&catalog).unwrap();
    let mut noticed = 0;
    for at in (0..good.len()).step_by(good.len() / 150) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        fs::write(&catalog, &bad).unwrap();
        let writes = try_open(&closed.root, Access::Write).map(drop);
        fs::write(&catalog, &bad).unwrap();
        let scrubbed = try_open(&closed.root, Access::Read).map(|opened| opened.0.scrub(&()).map(drop));
        if writes.is_err() {
            noticed += 1;
            assert!(
                !matches!(scrubbed, Ok(Ok(()))),
                "a flipped bit at {at} keeps writers out, and scrub says nothing"
            );
        }
    }
    assert!(noticed > 0, "no flip hit anything");
}

/// A catalog one commit old looked like one whose writer had died between announcing an epoch and publishing it; the next
/// writer would have cut off the newest file. Epochs are settled after publishing since.
#[test]
fn a_catalog_that_is_only_one_commit_old_is_noticed_too() {
    for change in ["commit", "remove"] {
        let store = store_with_files();
        let root = store.root();
        let Store { dir: _dir, archive } = store;
        archive.close().unwrap();
        let old = fs::read(root.join("catalog.redb")).unwrap();
        let archive = open(&root, Access::Write);
        if change == "commit" {
            let options = CommitOptions::default();
            drop(
                archive
                    .commit(&name("newest"), &painted(5000, 1)[..], 5000, &options)
                    .unwrap(),
            );
        } else {
            drop(archive.remove(&name("stored/3")).unwrap());
        }
        archive.close().unwrap();
        let volumes = tree(&root.join("volumes"));
        fs::write(root.join("catalog.redb"), old).unwrap();
        let error = try_open(&root, Access::Write).unwrap_err();
        assert!(
            matches!(error, OpenError::CatalogStale { .. }),
            "{change}: {error:?}"
        );
        assert!(
            tree(&root.join("volumes")) == volumes,
            "{change}: not a byte of the volume has changed"
        );
    }
}

/// An epoch that is announced twice must not look settled: the archive would refuse every writer for ever.
#[test]
fn an_epoch_that_was_announced_and_never_published_keeps_no_writer_out() {
    let store = store_with_files();
    let root = store.root();
    let Store { dir: _dir, archive } = store;
    archive.close().unwrap();
    let before = fs::read(root.join("catalog.redb")).unwrap();
    let slots = root.join("volumes/v0/volume.bfv");
    let settled = fs::read(&slots).unwrap();
    for round in 0..3 {
        let archive = open(&root, Access::Write);
        let options = CommitOptions::default();
        drop(
            archive
                .commit(&name("newest"), &painted(5000, round)[..], 5000, &options)
                .unwrap(),
        );
        archive.close().unwrap();
        // As if the writer had died between the slot that announces and the catalog: one slot is ahead.
        let after = fs::read(&slots).unwrap();
        let announced = if settled[..4096] == after[..4096] {
            4096..8192
        } else {
            0..4096
        };
        let mut ahead = settled.clone();
        ahead[announced.clone()].copy_from_slice(&after[announced]);
        fs::write(&slots, &ahead).unwrap();
        fs::write(root.join("catalog.redb"), &before).unwrap();
        fs::remove_dir_all(root.join("sessions")).unwrap();
        fs::create_dir(root.join("sessions")).unwrap();
    }
    let archive = open(&root, Access::Write);
    assert!(
        get(&archive, "stored/3").unwrap() == painted(LENGTHS[3], 3),
        "all that was published is there"
    );
}

#[test]
fn the_volume_of_another_archive_is_refused() {
    let closed = Closed::new();
    let other = Closed::new();
    fs::rename(closed.root.join("volumes"), closed.root.join("away")).unwrap();
    copy_dir(&other.root.join("volumes"), &closed.root.join("volumes"));
    let error = try_open(&closed.root, Access::Write).unwrap_err();
    assert!(matches!(error, OpenError::VolumeForeign { .. }), "{error:?}");
}

/// A small file system of its own, where this process may make one.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    fn new(bytes: u64) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={bytes}"), "tmpfs"])
            .arg(dir.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(dir))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("-l").arg(self.0.path()).output());
    }
}

#[test]
fn a_full_volume_refuses_a_file_by_name_and_keeps_all_others() {
    let Some(disk) = SmallDisk::new(12 << 20) else {
        return;
    };
    let options = ArchiveOptions {
        policy: small_policy(),
        ..ArchiveOptions::default()
    };
    let archive = Archive::create(&disk.0.path().join("a"), &options).unwrap();
    let put = |file: &str, content: &[u8]| {
        archive.commit(
            &name(file),
            content,
            content.len() as u64,
            &CommitOptions::default(),
        )
    };
    let content = painted(700_000, 1);
    let mut stored = 0;
    let refused = loop {
        match put(&format!("file{stored}"), &content) {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 50, "the disk has no end");
    };
    assert!(
        matches!(
            refused,
            CommitError::Full { .. } | CommitError::Volume { .. } | CommitError::Catalog { .. }
        ),
        "{refused:?}"
    );
    assert!(stored > 2, "{stored} files fit");
    for index in 0..stored {
        assert!(get(&archive, &format!("file{index}")).unwrap() == content);
    }
    assert_eq!(archive.snapshot().unwrap().totals().unwrap().files, stored);
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
}
