//! Symbolic links: exact, never followed, never in the place of a directory, and no way out for what comes after them.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _};

use super::*;

impl Scratch {
    fn link(&self, name: &str, target: &[u8], existing: Existing) -> Result<Restored, HostError> {
        let name = name.parse().expect("a name");
        self.target
            .create_symbolic_link(&name, target, TIME, (existing, Durability::Buffered))
    }

    fn linked(&self, name: &str, target: &[u8], existing: Existing) {
        let restored = self.link(name, target, existing).expect("a link");
        assert!(restored.not_kept.is_empty(), "{restored:?}");
        self.assert_link(name, target);
    }

    fn assert_link(&self, name: &str, target: &[u8]) {
        let found = fs::read_link(self.at(name)).expect("a link");
        assert_eq!(found.as_os_str().as_bytes(), target);
        let found = fs::symlink_metadata(self.at(name)).expect("the link");
        assert_eq!((found.mtime(), found.mtime_nsec()), (1_234_567_890, 987_654_321));
    }
}

#[test]
fn a_link_has_its_bytes_and_its_own_time_wherever_it_leads() {
    let scratch = Scratch::new();
    let secret = scratch.outside().join("secret");
    fs::write(&secret, b"untouched").expect("a file");
    let before = fs::metadata(&secret).expect("the file");
    let long = vec![b'n'; 4095];
    let targets: [&[u8]; 6] = [
        b"../outside/secret",
        b"/etc/passwd",
        b"nowhere",
        b"\xff\x1b[2J",
        secret.as_os_str().as_bytes(),
        &long,
    ];
    for (index, target) in targets.into_iter().enumerate() {
        for existing in [Existing::Refuse, Existing::Overwrite] {
            scratch.linked(&format!("d/{existing:?}{index}"), target, existing);
        }
    }
    let after = fs::metadata(&secret).expect("the file");
    assert_eq!(
        (before.mtime(), before.mtime_nsec(), before.mode()),
        (after.mtime(), after.mtime_nsec(), after.mode()),
        "a link was followed"
    );
    assert_eq!(names_below(&scratch.at("")).len(), 13, "nothing else is left");
}

#[test]
fn a_link_is_durable_as_the_caller_wants_it() {
    let scratch = Scratch::new();
    for (name, durability) in [
        ("a/batched", Durability::Batched),
        ("b/synced", Durability::Synced),
    ] {
        for existing in [Existing::Refuse, Existing::Overwrite] {
            let restored = scratch
                .target
                .create_symbolic_link(
                    &name.parse().expect("a name"),
                    b"target",
                    TIME,
                    (existing, durability),
                )
                .expect("a link");
            assert!(restored.not_kept.is_empty(), "{restored:?}");
        }
        scratch.assert_link(name, b"target");
    }
    scratch.target.sync_all().expect("a sync");
}

#[test]
fn what_stands_in_the_place_of_a_link_is_refused_or_replaced_but_never_a_directory() {
    let scratch = Scratch::new();
    scratch.restored("file", b"old", Existing::Refuse);
    symlink(scratch.outside(), scratch.at("link")).expect("a link");
    symlink("nowhere", scratch.at("dangling")).expect("a link");
    fs::create_dir(scratch.at("directory")).expect("a directory");
    for name in ["file", "link", "dangling"] {
        match scratch.link(name, b"new", Existing::Refuse) {
            Err(HostError::Exists { path }) => assert_eq!(path, scratch.at(name)),
            other => panic!("{other:?} for {name}"),
        }
    }
    assert_eq!(fs::read(scratch.at("file")).expect("the file"), b"old");
    for existing in [Existing::Refuse, Existing::Overwrite] {
        match scratch.link("directory", b"new", existing) {
            Err(HostError::DirectoryInPlace { path }) => assert_eq!(path, scratch.at("directory")),
            other => panic!("{other:?}"),
        }
    }
    for name in ["file", "link", "dangling"] {
        scratch.linked(name, b"new", Existing::Overwrite);
    }
    assert!(scratch.at("directory").is_dir());
    assert_eq!(names_below(&scratch.at("")).len(), 4, "nothing else is left");
    assert_eq!(names_below(&scratch.outside()), NOTHING);
}

#[test]
fn a_link_that_no_file_system_takes_is_refused_and_leaves_nothing() {
    let scratch = Scratch::new();
    let long = vec![b'n'; 5000];
    let targets: [&[u8]; 3] = [b"", b"a\0b", &long];
    for target in targets {
        for existing in [Existing::Refuse, Existing::Overwrite] {
            let refused = scratch.link("name", target, existing).expect_err("no link");
            assert!(
                matches!(
                    refused,
                    HostError::Io {
                        operation: HostOperation::Create,
                        ..
                    }
                ),
                "{refused:?}"
            );
        }
    }
    assert_eq!(names_below(&scratch.at("")), NOTHING);
}

#[test]
fn a_stored_link_and_a_stored_file_below_it_exclude_each_other_whichever_comes_first() {
    for existing in [Existing::Refuse, Existing::Overwrite] {
        let scratch = Scratch::new();
        let outside = scratch.outside();
        let target = OsStr::as_bytes(outside.as_os_str());
        scratch.linked("l", target, existing);
        for name in ["l/passwd", "l/new/passwd"] {
            let as_file = scratch.restore(name, b"x", existing);
            let as_link = scratch.link(name, b"x", existing);
            let as_directory = scratch
                .target
                .create_directory(&name.parse().expect("a name"), Durability::Buffered);
            let refusals = [as_file.err(), as_link.err(), as_directory.err()];
            for refused in refusals {
                assert!(
                    matches!(
                        refused,
                        Some(HostError::NotDirectory {
                            kind: FileKind::SymbolicLink,
                            ..
                        })
                    ),
                    "{refused:?} for {name}"
                );
            }
        }
        scratch.restored("m/passwd", b"x", existing);
        let refused = scratch.link("m", target, existing).expect_err("a directory");
        assert!(
            matches!(refused, HostError::DirectoryInPlace { .. }),
            "{refused:?}"
        );
        scratch.restored("m/group", b"x", existing);
        assert_eq!(names_below(&outside), NOTHING);
    }
}
