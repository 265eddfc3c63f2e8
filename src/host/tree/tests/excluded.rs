//! What a walk leaves out: what a filter refuses, and the archive itself.

use super::*;

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
