//! Whole trees back on the host: what was stored is what stands there, and nothing else.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::{
        ffi::OsStringExt as _,
        fs::{MetadataExt as _, PermissionsExt as _, symlink},
    },
    path::{Path, PathBuf},
    sync::Mutex,
    time::{Duration, SystemTime},
};

use bfdb::{
    archive::{
        CommitAllOptions, CommitObserver, CommitOutcome, Event, FileInfo, Observer, RestoreObserver,
        RestoreOptions, RestoreReceipt, Source,
    },
    error::{CommitError, HostError, RestoreError},
    host::{ExcludedDirectories, Existing, Place, RestoreTarget, TreeWalk, Walked},
    units::FileName,
};

use crate::support::{SEGMENT, SEGMENTED_BELOW, Store, TINY_BELOW, name, painted};

struct Must;

impl Observer for Must {
    fn event(&self, _: Event<'_>) {}
}

impl CommitObserver for Must {
    fn source_done(&self, source: &Source, result: Result<CommitOutcome, CommitError>) {
        assert!(result.is_ok(), "{}: {result:?}", source.name);
    }
}

#[derive(Default)]
struct Restored(Mutex<BTreeMap<String, Result<RestoreReceipt, RestoreError>>>);

impl Observer for Restored {
    fn event(&self, _: Event<'_>) {}
}

impl RestoreObserver for Restored {
    fn entry_done(&self, entry: &FileInfo, result: Result<RestoreReceipt, RestoreError>) {
        let before = self.0.lock().unwrap().insert(entry.name.to_string(), result);
        assert!(before.is_none(), "{} was told of twice", entry.name);
    }
}

impl Restored {
    fn failed(&self) -> Vec<String> {
        let outcomes = self.0.lock().unwrap();
        let failed = outcomes.iter().filter(|(_, outcome)| outcome.is_err());
        failed.map(|(name, _)| name.clone()).collect()
    }
}

/// Commits everything below `root` under `t`.
fn commit_tree(store: &Store, root: &Path) {
    let walk = TreeWalk::new(Place::of_path(root), ExcludedDirectories::default(), |_| true);
    let mut sources = walk.map(|walked| {
        let Walked::Entry(entry) = walked else {
            panic!("{walked:?}")
        };
        let mut bytes = b"t".to_vec();
        if !entry.below.is_empty() {
            bytes.push(b'/');
            bytes.extend_from_slice(&entry.below);
        }
        Source {
            name: FileName::from_bytes(&bytes).unwrap(),
            place: entry.place,
        }
    });
    store
        .archive
        .commit_all(&mut sources, &CommitAllOptions::default(), &Must)
        .unwrap();
}

fn restore(store: &Store, prefix: &str, target: &Path, existing: Existing) -> Restored {
    let target = RestoreTarget::open(target).unwrap();
    let options = RestoreOptions {
        existing,
        ..RestoreOptions::default()
    };
    let restored = Restored::default();
    store
        .archive
        .snapshot()
        .unwrap()
        .restore_all(Some(&name(prefix)), &target, &options, &restored)
        .unwrap();
    restored
}

/// Everything below a directory: content or target, permissions and time to the nanosecond.
fn portrait(root: &Path) -> BTreeMap<PathBuf, (Vec<u8>, u32, i64, i64)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_path_buf()];
    while let Some(path) = waiting.pop() {
        let stat = fs::symlink_metadata(&path).unwrap();
        let content = if stat.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
            b"directory".to_vec()
        } else if stat.is_symlink() {
            fs::read_link(&path).unwrap().into_os_string().into_vec()
        } else {
            fs::read(&path).unwrap()
        };
        let below = path.strip_prefix(root).unwrap().to_path_buf();
        found.insert(
            below,
            (content, stat.mode() & 0o7777, stat.mtime(), stat.mtime_nsec()),
        );
    }
    found
}

fn set_time(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, 123_456_789);
    fs::File::open(path).unwrap().set_modified(time).unwrap();
}

/// A tree with everything that a tree can have, in a directory of its own.
fn build(root: &Path) {
    for directory in ["a", "a/b", "a-b", "a/empty", "strict", "strict/inner", "many"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for (index, len) in [
        0,
        1,
        TINY_BELOW,
        3 * SEGMENT,
        SEGMENTED_BELOW + 1,
        1 << 20,
        (1 << 20) + 1,
    ]
    .into_iter()
    .enumerate()
    {
        let path = root.join(format!("a/b/file {index}"));
        fs::write(&path, painted(len, index as u64)).unwrap();
        fs::set_permissions(
            &path,
            fs::Permissions::from_mode([0o400, 0o644, 0o755][index % 3]),
        )
        .unwrap();
        set_time(&path, 1_000_000_000 + index as u64);
    }
    for index in 0..1500 {
        fs::write(root.join(format!("many/{index}")), painted(index % 40, index)).unwrap();
    }
    fs::write(root.join("strict/inner/x"), b"x").unwrap();
    for odd in [
        &b"\xff\xfe"[..],
        b"back\\slash",
        b"new\nline",
        b"-rf",
        b"Case",
        b"case",
        "\u{e9}".as_bytes(),
        "e\u{301}".as_bytes(),
    ] {
        let odd = std::ffi::OsString::from_vec(odd.to_vec());
        fs::write(root.join("a").join(odd), b"odd").unwrap();
    }
    symlink("../outside", root.join("a/link")).unwrap();
    symlink("loop", root.join("a/loop")).unwrap();
    fs::set_permissions(root.join("strict/inner"), fs::Permissions::from_mode(0o500)).unwrap();
    fs::set_permissions(root.join("strict"), fs::Permissions::from_mode(0o511)).unwrap();
    fs::set_permissions(root.join("a/empty"), fs::Permissions::from_mode(0o777)).unwrap();
    for (index, directory) in ["a/b", "a-b", "a/empty", "a", "many", ""].into_iter().enumerate() {
        set_time(&root.join(directory), 1_200_000_000 + index as u64);
    }
}

#[test]
fn a_restored_tree_is_the_committed_one_to_the_nanosecond() {
    let store = Store::new();
    let source = store.dir.path().join("source");
    fs::create_dir(&source).unwrap();
    build(&source);
    commit_tree(&store, &source);
    let out = store.dir.path().join("out");
    let restored = restore(&store, "t", &out, Existing::Refuse);
    assert_eq!(restored.failed(), Vec::<String>::new());
    let (committed, back) = (portrait(&source), portrait(&out.join("t")));
    assert_eq!(committed.len(), restored.0.lock().unwrap().len());
    for (path, expected) in &committed {
        let found = back.get(path);
        assert!(found == Some(expected), "{}: {found:?}", path.display());
    }
    assert_eq!(committed.len(), back.len());
}

#[test]
fn a_restore_over_what_is_there_refuses_or_replaces_as_asked() {
    let store = Store::new();
    let source = store.dir.path().join("source");
    fs::create_dir(&source).unwrap();
    build(&source);
    commit_tree(&store, &source);
    let out = store.dir.path().join("out");
    fs::create_dir_all(out.join("t/many/7")).unwrap();
    fs::create_dir_all(out.join("t/a")).unwrap();
    fs::write(out.join("t/many/8"), b"mine").unwrap();
    fs::write(out.join("t/a-b"), b"a file where a directory belongs").unwrap();
    symlink("/etc", out.join("t/a/link")).unwrap();
    symlink(store.dir.path(), out.join("t/strict")).unwrap();
    let refused = restore(&store, "t", &out, Existing::Refuse).failed();
    let expected = [
        "t/a-b",
        "t/a/link",
        "t/many/7",
        "t/many/8",
        "t/strict",
        "t/strict/inner",
        "t/strict/inner/x",
    ];
    assert_eq!(refused, expected);
    assert_eq!(fs::read(out.join("t/many/8")).unwrap(), b"mine");
    assert!(
        !store.dir.path().join("inner").exists(),
        "nothing went through the link"
    );

    let again = restore(&store, "t", &out, Existing::Overwrite).failed();
    // A directory is never replaced, nor a file by a directory, and no link is followed.
    assert_eq!(
        again,
        [
            "t/a-b",
            "t/many/7",
            "t/strict",
            "t/strict/inner",
            "t/strict/inner/x"
        ]
    );
    assert_eq!(
        fs::read_link(out.join("t/a/link")).unwrap(),
        Path::new("../outside")
    );
    assert_eq!(fs::read(out.join("t/many/8")).unwrap(), painted(8, 8));
}

#[test]
fn a_stored_link_never_leads_a_restore_outside() {
    let store = Store::new();
    let dir = store.dir.path();
    fs::create_dir(dir.join("outside")).unwrap();
    symlink(dir.join("outside"), dir.join("link")).unwrap();
    let outcome = store
        .archive
        .commit_path(&name("t/l"), &dir.join("link"), &())
        .unwrap();
    assert!(matches!(outcome, CommitOutcome::Committed(_)));
    store.put("t/l/passwd", b"planted");
    let out = dir.join("out");
    for existing in [Existing::Refuse, Existing::Overwrite] {
        let restored = restore(&store, "t", &out, existing);
        let failed = restored.failed();
        assert!(
            failed.contains(&"t/l/passwd".to_owned()) || failed.contains(&"t/l".to_owned()),
            "{failed:?}"
        );
        assert_eq!(fs::read_dir(dir.join("outside")).unwrap().count(), 0);
    }
}

#[test]
fn one_lost_file_stops_no_other() {
    let store = Store::new();
    for index in 0..300 {
        store.put(&format!("t/{index:03}"), &painted(500, index));
    }
    // All copies of one file.
    let places = store.archive.snapshot().unwrap().places(&name("t/150")).unwrap();
    for (_, extent, offset) in places[0].shards.iter().flatten() {
        let file = format!("{:08}.bfx", extent.get());
        let paths = store.extents();
        let path = paths.iter().find(|path| path.ends_with(&file)).unwrap();
        bfdb_fault_injection::damage::flip_byte(path, offset + 400).unwrap();
    }
    let out = store.dir.path().join("out");
    let restored = restore(&store, "t", &out, Existing::Refuse);
    assert_eq!(restored.failed(), ["t/150"]);
    assert_eq!(
        fs::read_dir(out.join("t")).unwrap().count(),
        299,
        "and no temporary name stays"
    );
}

#[test]
fn a_target_inside_the_archive_is_refused() {
    let store = Store::new();
    store.put("t", b"t");
    let target = RestoreTarget::open(&store.root().join("volumes")).unwrap();
    let snapshot = store.archive.snapshot().unwrap();
    let error = snapshot
        .restore_all(None, &target, &RestoreOptions::default(), &Restored::default())
        .unwrap_err();
    assert!(
        matches!(error, RestoreError::TargetInsideArchive { .. }),
        "{error:?}"
    );
}

#[test]
fn a_file_that_cannot_be_made_is_told_of_with_its_reason() {
    let store = Store::new();
    store.put("t/x", b"x");
    let out = store.dir.path().join("out");
    fs::create_dir_all(out.join("t/x")).unwrap();
    let restored = restore(&store, "t", &out, Existing::Overwrite);
    let outcomes = restored.0.lock().unwrap();
    let Err(RestoreError::Host { source }) = &outcomes["t/x"] else {
        panic!("{outcomes:?}")
    };
    assert!(matches!(source, HostError::DirectoryInPlace { .. }), "{source:?}");
}
