#![expect(clippy::disallowed_methods, reason = "tests of the host make their own files")]

use std::fs;

use rustix::fs::CWD;

use super::*;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

#[test]
fn where_renaming_cannot_be_exclusive_a_link_takes_the_name_and_replaces_nothing() {
    let root = scratch();
    let (temporary, name) = (root.path().join("temporary"), root.path().join("name"));
    fs::write(&temporary, b"one").expect("a file");
    link_into_place(CWD, &temporary, &name, &name).expect("a free name");
    assert!(!temporary.exists());
    assert_eq!(fs::read(&name).expect("the file"), b"one");

    fs::write(&temporary, b"two").expect("a file");
    let refused = link_into_place(CWD, &temporary, &name, &name).expect_err("a taken name");
    assert!(matches!(refused, HostError::Exists { .. }), "{refused:?}");
    assert_eq!(fs::read(&name).expect("the old file"), b"one");
    assert_eq!(fs::read(&temporary).expect("the new file keeps its name"), b"two");
    fs::remove_file(&name).expect("a removal");
    fs::create_dir(&name).expect("a directory");
    let refused = link_into_place(CWD, &temporary, &name, &name).expect_err("a directory");
    assert!(
        matches!(refused, HostError::DirectoryInPlace { .. }),
        "{refused:?}"
    );
}
