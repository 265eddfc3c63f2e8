//! Directories that cannot be entered, or change while they are walked.

use super::*;

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
