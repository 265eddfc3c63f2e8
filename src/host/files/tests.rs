#![expect(clippy::disallowed_methods, reason = "tests of the host make their own files")]

use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
};

use super::*;
use crate::storage::HostStorage;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn mode_of(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("something there").mode() & 0o7777
}

#[test]
fn directories_are_made_for_their_owner_alone_and_those_there_stay_as_they_are() {
    let root = scratch();
    let (open, deep) = (root.path().join("open"), root.path().join("open/a/b/c"));
    fs::create_dir(&open).expect("a directory");
    fs::set_permissions(&open, Permissions::from_mode(0o755)).expect("a mode");
    create_directory(&HostStorage, &deep).expect("directories");
    create_directory(&HostStorage, &deep).expect("once more is nothing to do");
    assert_eq!(mode_of(&open), 0o755);
    for path in ["open/a", "open/a/b", "open/a/b/c"] {
        assert_eq!(mode_of(&root.path().join(path)), 0o700, "{path}");
    }
    create_directory(&HostStorage, &root.path().join("new/../other")).expect("a path that goes back");
    assert!(root.path().join("new").is_dir() && root.path().join("other").is_dir());
}

#[test]
fn a_file_or_a_link_that_leads_nowhere_is_no_directory() {
    let root = scratch();
    let (file, dangling) = (root.path().join("file"), root.path().join("dangling"));
    fs::write(&file, b"").expect("a file");
    symlink("nowhere", &dangling).expect("a link");
    match create_directory(&HostStorage, &file) {
        Err(HostError::NotDirectory {
            path,
            kind: FileKind::Regular,
        }) => assert_eq!(path, file),
        other => panic!("{other:?}"),
    }
    match create_directory(&HostStorage, &dangling.join("below")) {
        Err(HostError::NotDirectory {
            path,
            kind: FileKind::SymbolicLink,
        }) => assert_eq!(path, dangling),
        other => panic!("{other:?}"),
    }
}

#[test]
fn publishing_replaces_a_file_only_when_told_to_and_a_directory_never() {
    let root = scratch();
    let (temporary, name) = (root.path().join("catalog.tmp"), root.path().join("catalog"));
    fs::write(&temporary, b"one").expect("a file");
    publish(&HostStorage, &temporary, &name, Existing::Refuse).expect("a free name");
    assert!(!temporary.exists());

    fs::write(&temporary, b"two").expect("a file");
    let refused = publish(&HostStorage, &temporary, &name, Existing::Refuse).expect_err("a taken name");
    assert!(
        matches!(&refused, HostError::Exists { path } if *path == name),
        "{refused:?}"
    );
    assert_eq!(fs::read(&name).expect("the old file"), b"one");
    publish(&HostStorage, &temporary, &name, Existing::Overwrite).expect("a replacement");
    assert_eq!(fs::read(&name).expect("the new file"), b"two");

    let directory = root.path().join("directory");
    fs::create_dir(&directory).expect("a directory");
    for existing in [Existing::Refuse, Existing::Overwrite] {
        let refused = publish(&HostStorage, &name, &directory, existing).expect_err("a directory");
        assert!(
            matches!(refused, HostError::DirectoryInPlace { .. }),
            "{existing:?}: {refused:?}"
        );
    }
    assert_eq!(fs::read(&name).expect("the file is still there"), b"two");
}

#[test]
fn a_directory_that_is_not_there_cannot_be_synced() {
    let root = scratch();
    sync_directory(&HostStorage, root.path()).expect("a directory");
    assert!(
        sync_directory(&HostStorage, &root.path().join("missing"))
            .expect_err("nothing there")
            .is_not_found()
    );
}
