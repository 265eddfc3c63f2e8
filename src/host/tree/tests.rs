#![expect(clippy::disallowed_methods, reason = "tests of the host make their own files")]

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    os::unix::{
        ffi::OsStringExt as _,
        fs::{PermissionsExt as _, symlink},
        net::UnixListener,
    },
    path::Path,
};

use proptest::prelude::*;
use rustix::fs::{CWD, Mode, mkdirat, mkfifoat, mknodat, open, openat, unlinkat};

use super::*;

type Filter = fn(&TreeEntry) -> bool;

const ALL: Filter = |_| true;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn walk(root: impl Into<PathBuf>) -> TreeWalk<Filter> {
    TreeWalk::new(Place::of_path(root), ExcludedDirectories::default(), ALL)
}

fn walk_without(root: impl Into<PathBuf>, excluded: &[&Path]) -> TreeWalk<Filter> {
    let excluded = ExcludedDirectories::of_paths(excluded).expect("directories");
    TreeWalk::new(Place::of_path(root), excluded, ALL)
}

/// What a walk says, in short: `"path kind"`, sorted.
fn said(walk: impl Iterator<Item = Walked>) -> Vec<String> {
    let mut said: Vec<_> = walk.map(|walked| in_short(&walked)).collect();
    said.sort_unstable();
    said
}

fn in_short(walked: &Walked) -> String {
    let name = |path: &Path| {
        let name = path.file_name().unwrap_or(path.as_os_str());
        name.to_string_lossy().into_owned()
    };
    match walked {
        Walked::Entry(entry) => format!("{:?} {}", String::from_utf8_lossy(&entry.below), entry.kind),
        Walked::Skipped { path, why } => format!("skipped {}: {why}", name(path)),
        Walked::Failed { path, error } => format!("failed {}: {error:?}", name(path)),
    }
}

fn entries(walk: impl Iterator<Item = Walked>) -> BTreeMap<Vec<u8>, FileKind> {
    let mut found = BTreeMap::new();
    for walked in walk {
        match walked {
            Walked::Entry(entry) => assert_eq!(found.insert(entry.below, entry.kind), None, "found twice"),
            other @ (Walked::Skipped { .. } | Walked::Failed { .. }) => {
                panic!("{other:?} instead of an entry")
            }
        }
    }
    found
}

fn failure(walked: Option<Walked>) -> (PathBuf, HostError) {
    match walked {
        Some(Walked::Failed { path, error }) => (path, error),
        other => panic!("{other:?} instead of a failure"),
    }
}

/// Goes on until an entry with this path below the root has been yielded.
fn go_to<F: FnMut(&TreeEntry) -> bool>(walk: &mut TreeWalk<F>, below: &str) -> TreeEntry {
    walk.find_map(|walked| match walked {
        Walked::Entry(entry) if entry.below == below.as_bytes() => Some(entry),
        Walked::Entry(_) | Walked::Skipped { .. } | Walked::Failed { .. } => None,
    })
    .expect("an entry of that name")
}

#[test]
fn what_can_be_stored_is_yielded_and_what_cannot_is_named_by_its_kind() {
    let root = scratch();
    let at = |name: &str| root.path().join(name);
    fs::write(at("file"), b"bytes").expect("a file");
    fs::create_dir(at("directory")).expect("a directory");
    fs::write(at("directory/below"), b"").expect("a file");
    symlink("directory", at("link")).expect("a link");
    symlink("nowhere", at("dangling")).expect("a link");
    mkfifoat(CWD, at("fifo"), Mode::RUSR | Mode::WUSR).expect("a fifo");
    let _listener = UnixListener::bind(at("socket")).expect("a socket");
    let device = mknodat(
        CWD,
        at("null"),
        rustix::fs::FileType::CharacterDevice,
        Mode::RUSR,
        rustix::fs::makedev(1, 3),
    );
    let mut expected = vec![
        "\"\" a directory",
        "\"dangling\" a symbolic link",
        "\"directory\" a directory",
        "\"directory/below\" a regular file",
        "\"file\" a regular file",
        "\"link\" a symbolic link",
        "skipped fifo: a fifo",
        "skipped socket: a socket",
    ];
    // Making a device takes privileges.
    if device.is_ok() {
        expected.insert(7, "skipped null: a character device");
    }
    assert_eq!(said(walk(root.path())), expected);
}

#[test]
fn the_kinds_are_asked_for_where_the_file_system_lists_names_only() {
    let root = scratch();
    let at = |name: &str| root.path().join(name);
    fs::write(at("file"), b"bytes").expect("a file");
    fs::create_dir(at("directory")).expect("a directory");
    fs::write(at("directory/below"), b"").expect("a file");
    symlink("directory", at("link")).expect("a link");
    mkfifoat(CWD, at("fifo"), Mode::RUSR | Mode::WUSR).expect("a fifo");
    fs::write(at("gone"), b"").expect("a file");

    let mut walk = walk(root.path());
    let first = in_short(&walk.next().expect("the root"));
    assert_eq!(first, "\"\" a directory");
    assert!(walk.listing.fill(&walk.levels[0].directory).expect("a listing"));
    walk.listing.forget_kinds();
    fs::remove_file(at("gone")).expect("a removal");
    let rest: Vec<_> = walk.collect();
    let (failures, rest): (Vec<_>, Vec<_>) = rest
        .into_iter()
        .partition(|walked| matches!(walked, Walked::Failed { .. }));
    assert_eq!(
        said(rest.into_iter()),
        [
            "\"directory\" a directory",
            "\"directory/below\" a regular file",
            "\"file\" a regular file",
            "\"link\" a symbolic link",
            "skipped fifo: a fifo",
        ]
    );
    let (path, error) = failure(failures.into_iter().next());
    assert_eq!(path, at("gone"));
    assert!(error.is_not_found(), "{error:?}");
}

#[test]
fn a_root_of_any_kind_is_walked_as_what_it_is() {
    let root = scratch();
    let at = |name: &str| root.path().join(name);
    fs::create_dir(at("directory")).expect("a directory");
    fs::write(at("directory/file"), b"bytes").expect("a file");
    symlink("directory", at("link")).expect("a link");

    let whole = ["\"\" a directory", "\"file\" a regular file"];
    for directory in ["directory", "directory/", "directory/.", "link/", "link//"] {
        assert_eq!(said(walk(at(directory))), whole, "{directory}");
    }
    assert_eq!(said(walk(at("link"))), ["\"\" a symbolic link"]);
    assert_eq!(said(walk(at("directory/file"))), ["\"\" a regular file"]);
    assert_eq!(said(walk("/dev/null")), ["skipped null: a character device"]);
    for nothing in [at("nowhere"), PathBuf::new()] {
        let mut walk = walk(&nothing);
        let (path, error) = failure(walk.next());
        assert_eq!(path, nothing);
        assert!(error.is_not_found(), "{error:?}");
        assert!(walk.next().is_none(), "more than nothing");
    }
}

#[test]
fn the_paths_in_messages_are_what_a_user_would_type() {
    let root = scratch();
    fs::create_dir(root.path().join("d")).expect("a directory");
    fs::write(root.path().join("d/file"), b"").expect("a file");
    for (given, expected) in [
        (root.path().to_owned(), root.path().join("d/file")),
        (root.path().join(""), root.path().join("d/file")),
        (root.path().join("d/.."), root.path().join("d/../d/file")),
    ] {
        let entry = go_to(&mut walk(given), "d/file");
        assert_eq!(entry.place.path().as_os_str(), expected.as_os_str());
    }
    let filter: Filter = |entry| entry.below.is_empty() || entry.below == b"proc";
    let mut walk_of_all = TreeWalk::new(Place::of_path("/"), ExcludedDirectories::default(), filter);
    let entry = go_to(&mut walk_of_all, "proc");
    assert_eq!(entry.place.path().as_os_str(), "/proc");
    let entry = go_to(&mut walk("."), "Cargo.toml");
    assert_eq!(entry.place.path().as_os_str(), "./Cargo.toml");
    entry.place.inspect().expect("it is there");
}

#[test]
fn links_that_lead_in_circles_are_yielded_and_never_followed() {
    const LINKS: usize = 10_000;
    let root = scratch();
    for index in 0..LINKS {
        let to = format!("{}", (index + 1) % LINKS);
        symlink(to, root.path().join(index.to_string())).expect("a link");
    }
    symlink(".", root.path().join("here")).expect("a link");
    symlink("..", root.path().join("above")).expect("a link");
    let found = entries(walk(root.path()));
    assert_eq!(found.len(), LINKS + 3);
    let links = found.values().filter(|kind| **kind == FileKind::SymbolicLink);
    assert_eq!(links.count(), LINKS + 2);
}

#[test]
fn names_are_bytes_of_any_kind_and_length() {
    let root = scratch();
    let long = vec![b'x'; 255];
    let names: [&[u8]; 9] = [
        b"\xff\xfe",
        b"\n",
        b"a b",
        b"Name",
        b"name",
        b"NAME",
        b"...",
        b"\\",
        &long,
    ];
    for name in names {
        let name = OsStr::from_bytes(name);
        fs::write(root.path().join(name), b"").expect("a file");
        let directory = root.path().join("d").join(name);
        fs::create_dir_all(&directory).expect("directories");
        fs::write(directory.join(name), b"").expect("a file");
    }
    assert_eq!(entries(walk(root.path())), by_recursion(root.path()));
    assert!(
        entries(walk(root.path())).contains_key(&long),
        "the longest name is missing"
    );
}

/// What the standard library finds, the plain way.
fn by_recursion(root: &Path) -> BTreeMap<Vec<u8>, FileKind> {
    fn add(directory: &Path, root: &Path, found: &mut BTreeMap<Vec<u8>, FileKind>) {
        for entry in fs::read_dir(directory).expect("a listing") {
            let path = entry.expect("an entry").path();
            let kind = fs::symlink_metadata(&path).expect("metadata").file_type();
            let below = path.strip_prefix(root).expect("below the root").as_os_str();
            let kind = if kind.is_symlink() {
                FileKind::SymbolicLink
            } else if kind.is_dir() {
                add(&path, root, found);
                FileKind::Directory
            } else {
                FileKind::Regular
            };
            found.insert(below.as_bytes().to_vec(), kind);
        }
    }
    let mut found = BTreeMap::from([(Vec::new(), FileKind::Directory)]);
    add(root, root, &mut found);
    found
}

/// A tree to be made: names may collide, the first one stays.
#[derive(Debug, Clone)]
enum Node {
    File,
    Link,
    Directory(Vec<(Vec<u8>, Node)>),
}

fn node() -> impl Strategy<Value = Node> {
    let name = prop_oneof![
        prop::collection::vec(
            prop_oneof![Just(b'a'), Just(b'.'), Just(0xff), Just(b'Z'), Just(b'-')],
            1..4
        ),
        prop::collection::vec(
            (1..=255_u8).prop_filter("a separator", |byte| *byte != b'/'),
            1..40
        ),
    ];
    let leaf = prop_oneof![4 => Just(Node::File), 1 => Just(Node::Link)];
    leaf.prop_recursive(6, 120, 10, move |inner| {
        prop::collection::vec((name.clone(), inner), 0..10).prop_map(Node::Directory)
    })
}

fn make(node: &Node, path: &Path) {
    match node {
        Node::File => drop(fs::write(path, b"")),
        Node::Link => drop(symlink("..", path)),
        Node::Directory(children) => {
            if fs::create_dir(path).is_ok() {
                for (name, child) in children {
                    if name != b"." && name != b".." {
                        make(child, &path.join(OsString::from_vec(name.clone())));
                    }
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn a_walk_finds_what_a_plain_recursion_finds_holders_first(tree in node()) {
        let root = scratch();
        let top = root.path().join("top");
        fs::create_dir(&top).expect("a directory");
        make(&tree, &top.join("tree"));
        let expected = by_recursion(&top);
        prop_assert_eq!(&entries(walk(&top)), &expected);

        let mut seen = Vec::new();
        for walked in walk(&top) {
            let Walked::Entry(entry) = walked else { panic!("{walked:?}") };
            if let Some(slash) = entry.below.iter().rposition(|byte| *byte == b'/') {
                prop_assert!(seen.contains(&entry.below[..slash].to_vec()), "before its directory");
            }
            let (kind, _) = entry.place.inspect().expect("it is there");
            prop_assert_eq!(kind, entry.kind);
            seen.push(entry.below);
        }
        prop_assert_eq!(seen.len(), expected.len());
    }
}

#[test]
fn a_chain_of_directories_deeper_than_a_path_can_be_holds_one_of_them_open() {
    const DEPTH: usize = 2_500;
    let root = scratch();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut line = vec![open(root.path(), flags, Mode::empty()).expect("a directory")];
    for _ in 0..DEPTH {
        let holder = line.pop().expect("a directory");
        mkdirat(&holder, "d", Mode::RWXU).expect("a directory");
        line.push(openat(&holder, "d", flags, Mode::empty()).expect("a directory"));
    }
    let deepest = line.pop().expect("a directory");
    let file = openat(&deepest, "file", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).expect("a file");
    rustix::io::write(&file, b"bytes").expect("a write");

    let mut walk = walk(root.path());
    let mut last = None;
    let mut count = 0;
    while let Some(walked) = walk.next() {
        assert!(walk.levels.len() <= 1, "{} are open", walk.levels.len());
        match walked {
            Walked::Entry(entry) => last = Some(entry),
            other @ (Walked::Skipped { .. } | Walked::Failed { .. }) => {
                panic!("{other:?} instead of an entry")
            }
        }
        count += 1;
    }
    assert_eq!(count, DEPTH + 2);
    let last = last.expect("the file");
    assert_eq!(last.below, [&b"d/".repeat(DEPTH)[..], b"file"].concat());
    let source = crate::host::SourceFile::open_at(&last.place).expect("a source");
    assert_eq!(source.identity().len_bytes, 5);
    source.check_unchanged().expect("nothing changed");
    remove_chain(root.path(), DEPTH);
}

/// Removes what the removal of a temporary directory may find too deep.
fn remove_chain(root: &Path, depth: usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut at = open(root, flags, Mode::empty()).expect("a directory");
    for _ in 0..depth {
        at = openat(&at, "d", flags, Mode::empty()).expect("a directory");
    }
    unlinkat(&at, "file", AtFlags::empty()).expect("a removal");
    for _ in 0..depth {
        at = openat(&at, "..", flags, Mode::empty()).expect("a directory");
        unlinkat(&at, "d", AtFlags::REMOVEDIR).expect("a removal");
    }
}

#[test]
fn a_large_directory_is_streamed_and_closed_when_nothing_waits_in_it() {
    let root = scratch();
    for index in 0..20_000 {
        fs::write(root.path().join(format!("file-{index}")), b"").expect("a file");
    }
    for name in ["a", "b"] {
        fs::create_dir(root.path().join(name)).expect("a directory");
        fs::write(root.path().join(name).join("file"), b"").expect("a file");
    }
    let mut walk = walk(root.path());
    let mut count = 0;
    let mut directories = Vec::new();
    while let Some(walked) = walk.next() {
        let Walked::Entry(entry) = walked else {
            panic!("{walked:?}")
        };
        count += 1;
        assert!(
            walk.listing.names.len() <= 32 * 1024,
            "more than a buffer is held"
        );
        if entry.kind == FileKind::Directory {
            directories.push((entry.below, walk.levels.len(), walk.line.len()));
        }
    }
    assert_eq!(count, 20_005);
    // The root is open while "b" waits, and not when it was the last. Both are one below it.
    let expected = [(vec![], 1, 1), (b"a".to_vec(), 2, 2), (b"b".to_vec(), 1, 2)];
    assert_eq!(directories, expected);
}

#[test]
fn a_filter_keeps_out_what_it_refuses_with_all_below_and_is_asked_once() {
    let root = scratch();
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at("keep/cache")).expect("directories");
    for file in ["keep/file", "keep/cache/file", "keep/file.o"] {
        fs::write(at(file), b"").expect("a file");
    }
    mkfifoat(CWD, at("keep/pipe.o"), Mode::RUSR).expect("a fifo");
    let mut asked = Vec::new();
    let filter = |entry: &TreeEntry| {
        asked.push(String::from_utf8(entry.below.clone()).expect("ASCII"));
        !entry.below.ends_with(b".o") && !entry.below.ends_with(b"cache")
    };
    let walk = TreeWalk::new(
        Place::of_path(root.path()),
        ExcludedDirectories::default(),
        filter,
    );
    let expected = [
        "\"\" a directory",
        "\"keep\" a directory",
        "\"keep/file\" a regular file",
    ];
    assert_eq!(said(walk), expected);
    asked.sort_unstable();
    let expected = [
        "",
        "keep",
        "keep/cache",
        "keep/file",
        "keep/file.o",
        "keep/pipe.o",
    ];
    assert_eq!(asked, expected);

    let nothing: Filter = |_| false;
    let mut walk = TreeWalk::new(
        Place::of_path(root.path()),
        ExcludedDirectories::default(),
        nothing,
    );
    assert!(
        walk.next().is_none() && walk.next().is_none(),
        "the root was refused"
    );
}

#[test]
fn a_directory_that_may_not_be_listed_fails_and_the_walk_goes_on() {
    let root = scratch();
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at("closed/below")).expect("directories");
    fs::create_dir(at("open")).expect("a directory");
    fs::write(at("open/file"), b"").expect("a file");
    fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o000)).expect("a mode");
    let found: Vec<_> = walk(root.path()).collect();
    fs::set_permissions(at("closed"), fs::Permissions::from_mode(0o700)).expect("a mode");
    let mut failures = found.iter().filter_map(|walked| match walked {
        Walked::Failed { path, error } => Some((path.clone(), error)),
        Walked::Entry(_) | Walked::Skipped { .. } => None,
    });
    // The superuser may list everything.
    if rustix::process::geteuid().is_root() {
        assert!(failures.next().is_none(), "{found:?}");
    } else {
        let (path, error) = failures.next().expect("a failure");
        assert_eq!(path, at("closed"));
        let is_denied = |error: &HostError| matches!(error, HostError::Io { operation: HostOperation::Open, source, .. } if source.kind() == std::io::ErrorKind::PermissionDenied);
        assert!(is_denied(error), "{error:?}");
    }
    let last = in_short(found.last().expect("entries"));
    assert_eq!(last, "\"open/file\" a regular file");
}

#[test]
fn a_directory_that_vanishes_during_the_walk_fails_as_not_found_and_the_walk_goes_on() {
    let root = scratch();
    for name in ["a", "b", "c"] {
        fs::create_dir(root.path().join(name)).expect("a directory");
        fs::write(root.path().join(name).join("file"), b"").expect("a file");
    }
    let mut walk = walk(root.path());
    go_to(&mut walk, "a");
    // One that was entered and not yet listed, and one that waits.
    fs::remove_dir_all(root.path().join("a")).expect("a removal");
    fs::remove_dir_all(root.path().join("b")).expect("a removal");
    for (name, expected) in [("a", HostOperation::List), ("b", HostOperation::Open)] {
        let (path, error) = failure(walk.next());
        assert_eq!(path, root.path().join(name));
        assert!(error.is_not_found(), "{error:?}");
        assert!(
            matches!(error, HostError::Io { operation, .. } if operation == expected),
            "{error:?}"
        );
    }
    let rest = ["\"c\" a directory", "\"c/file\" a regular file"];
    assert_eq!(said(walk), rest);
}

#[test]
fn a_directory_that_a_link_or_a_file_has_replaced_is_not_followed() {
    let root = scratch();
    let at = |name: &str| root.path().join(name);
    for name in ["tree/a", "tree/b", "tree/c", "secret"] {
        fs::create_dir_all(at(name)).expect("directories");
        fs::write(at(name).join("file"), b"").expect("a file");
    }
    let mut walk = walk(at("tree"));
    go_to(&mut walk, "a/file");
    fs::rename(at("tree/b"), at("moved-b")).expect("a move");
    symlink(at("secret"), at("tree/b")).expect("a link");
    fs::rename(at("tree/c"), at("moved-c")).expect("a move");
    fs::write(at("tree/c"), b"").expect("a file");
    for (name, expected) in [("tree/b", FileKind::SymbolicLink), ("tree/c", FileKind::Regular)] {
        match failure(walk.next()) {
            (path, HostError::NotDirectory { kind, .. }) if path == at(name) => assert_eq!(kind, expected),
            other => panic!("{other:?} for {name}"),
        }
    }
    assert!(walk.next().is_none(), "something was followed");
}

#[test]
fn a_directory_that_is_moved_and_replaced_while_it_is_walked_is_walked_to_its_end() {
    let root = scratch();
    let at = |name: &str| root.path().join(name);
    for name in ["tree/a/one", "tree/a/two", "secret/one", "secret/two"] {
        fs::create_dir_all(at(name)).expect("directories");
    }
    fs::write(at("tree/a/two/ours"), b"ours").expect("a file");
    fs::write(at("secret/two/theirs"), b"hide").expect("a file");
    let mut walk = walk(at("tree"));
    go_to(&mut walk, "a/one");
    fs::rename(at("tree/a"), at("moved")).expect("a move");
    symlink(at("secret"), at("tree/a")).expect("a link");
    let entry = go_to(&mut walk, "a/two/ours");
    let source = crate::host::SourceFile::open_at(&entry.place).expect("a source");
    let mut bytes = [0; 4];
    source.read_at(0, &mut bytes).expect("bytes");
    assert_eq!(&bytes, b"ours");
    source.check_unchanged().expect("nothing changed");
    assert!(walk.next().is_none(), "something was followed");
}

#[test]
fn the_archive_is_skipped_by_whatever_name_it_is_reached() {
    let root = scratch();
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at("tree/archive/volumes/v0")).expect("directories");
    fs::create_dir_all(at("tree/disk/volume")).expect("directories");
    fs::write(at("tree/archive/volumes/v0/extent"), b"").expect("a file");
    fs::write(at("tree/disk/kept"), b"").expect("a file");
    fs::write(at("tree/disk/volume/extent"), b"").expect("a file");
    symlink(at("tree"), at("door")).expect("a link");
    symlink(at("tree/archive"), at("tree/link")).expect("a link");

    let expected = [
        "\"\" a directory",
        "\"disk\" a directory",
        "\"disk/kept\" a regular file",
        "\"link\" a symbolic link",
        "skipped archive: part of the archive itself",
        "skipped volume: part of the archive itself",
    ];
    let elsewhere = at("door/link");
    let volume = at("tree/disk/volume");
    let gone = at("gone");
    // The same directories through the root of this process: another mount could not be told from it.
    let second = Path::new("/proc/self/root").join(at("tree").strip_prefix("/").expect("an absolute path"));
    for tree in [at("tree"), at("door/"), second] {
        for archive in [&at("tree/archive"), &elsewhere] {
            let walk = walk_without(&tree, &[archive, &volume, &gone]);
            assert_eq!(
                said(walk),
                expected,
                "{} without {}",
                tree.display(),
                archive.display()
            );
        }
    }
}

#[test]
fn a_root_inside_the_archive_is_skipped_and_a_link_to_the_archive_is_a_link() {
    let root = scratch();
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at("archive/volumes/v0")).expect("directories");
    fs::write(at("archive/volumes/v0/extent"), b"").expect("a file");
    symlink("v0", at("archive/volumes/link")).expect("a link");
    symlink("archive", at("door")).expect("a link");
    fs::create_dir(at("archive2")).expect("a directory");
    let archive = at("archive");
    for inside in [
        "archive",
        "archive/",
        "archive/volumes",
        "archive/volumes/v0/extent",
        "archive/volumes/link",
        "door/",
        "door/volumes/v0",
        "archive2/../archive/volumes",
    ] {
        let mut walk = walk_without(at(inside), &[&archive]);
        match walk.next() {
            Some(Walked::Skipped {
                path,
                why: SkipReason::ArchiveItself,
            }) => assert_eq!(path, at(inside)),
            other => panic!("{other:?} for {inside}"),
        }
        assert!(walk.next().is_none(), "{inside} was entered");
    }
    for outside in ["door", "archive2", "archive/../archive2"] {
        let found = entries(walk_without(at(outside), &[&archive]));
        assert_eq!(found.len(), 1, "{outside}");
    }
    // A place that another walk has found.
    let place = go_to(&mut walk(root.path()), "archive/volumes/link").place;
    let excluded = ExcludedDirectories::of_paths([&archive]).expect("a directory");
    let mut walk = TreeWalk::new(place, excluded, ALL);
    assert_eq!(
        walk.next().map(|walked| in_short(&walked)).as_deref(),
        Some("skipped link: part of the archive itself")
    );
}

#[test]
fn any_place_is_known_to_lie_in_the_archive_or_not() {
    let root = scratch();
    let at = |name: &str| root.path().join(name);
    fs::create_dir_all(at("archive/volumes/v0")).expect("directories");
    fs::create_dir(at("other")).expect("a directory");
    for file in [
        "archive/catalog",
        "archive/volumes/v0/extent",
        "other/a",
        "other/b",
    ] {
        fs::write(at(file), b"").expect("a file");
    }
    symlink("../archive", at("other/link")).expect("a link");
    let excluded = ExcludedDirectories::of_paths([at("other/link")]).expect("a directory");
    let inside = |place: &Place| excluded.contain_place(place).expect("an answer");
    for walked in walk(root.path()) {
        let Walked::Entry(entry) = walked else {
            panic!("{walked:?}")
        };
        assert_eq!(
            inside(&entry.place),
            entry.below.starts_with(b"archive"),
            "{entry:?}"
        );
        let named = Place::of_path(entry.place.path());
        assert_eq!(inside(&named), entry.below.starts_with(b"archive"), "{entry:?}");
    }
    for (path, expected) in [
        ("other/link/", true),
        ("other/link/catalog", true),
        ("archive/..", false),
        ("archive/volumes/..", true),
        (".", false),
    ] {
        assert_eq!(inside(&Place::of_path(at(path))), expected, "{path}");
    }
    let missing = excluded.contain_place(&Place::of_path(at("missing")));
    assert!(missing.expect_err("nothing there").is_not_found());

    let (mut one, mut two) = (walk(root.path()), walk(root.path()));
    let a = go_to(&mut one, "archive/catalog").place;
    let [b, c] = [
        go_to(&mut one, "archive/volumes").place,
        go_to(&mut one, "archive/volumes/v0").place,
    ];
    assert!(a.shares_directory_with(&b) && !b.shares_directory_with(&c));
    assert!(!a.shares_directory_with(&go_to(&mut two, "archive/catalog").place));
    let named = Place::of_path("a");
    assert!(!named.shares_directory_with(&named));
}

#[test]
fn a_directory_that_lies_in_itself_is_not_entered_twice() {
    let root = scratch();
    fs::create_dir_all(root.path().join("a/b")).expect("directories");
    fs::create_dir(root.path().join("c")).expect("a directory");
    let mut walk = walk(root.path());
    go_to(&mut walk, "a");
    // No sound file system can be brought to it, so the walk is made to believe that it came from there.
    let found = rustix::fs::stat(root.path().join("a/b")).expect("metadata");
    walk.line[0] = Identity::of(&found);
    match failure(walk.next()) {
        (path, HostError::DirectoryLoop { .. }) => assert_eq!(path, root.path().join("a/b")),
        other => panic!("{other:?}"),
    }
    assert_eq!(said(walk), ["\"c\" a directory"]);
}
