#![expect(clippy::disallowed_methods, reason = "tests of the host make their own files")]

mod changing;
mod excluded;

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
