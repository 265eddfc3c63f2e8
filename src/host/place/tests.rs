#![expect(clippy::disallowed_methods, reason = "tests of the host make their own files")]

use std::{fs, os::unix::fs::symlink};

use rustix::fs::{mkdirat, mkfifoat, open, symlinkat};

use super::*;
use crate::{error::SourceChange, host::SourceFile};

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn opened(path: &Path) -> Arc<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Arc::new(open(path, flags, Mode::empty()).expect("a directory"))
}

fn prefix_of(path: &Path) -> Vec<u8> {
    let mut prefix = path.as_os_str().as_bytes().to_vec();
    prefix.push(b'/');
    prefix
}

fn content_of(source: &SourceFile) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(source.identity().len_bytes).expect("small")];
    source.read_at(0, &mut bytes).expect("bytes");
    bytes
}

#[test]
fn a_place_works_where_its_path_is_longer_than_the_system_takes() {
    let root = scratch();
    let (mut directory, mut prefix) = (opened(root.path()), prefix_of(root.path()));
    let name = "n".repeat(255);
    for _ in 0..20 {
        mkdirat(&*directory, name.as_str(), Mode::RWXU).expect("a directory");
        let next = Place::in_directory(&directory, &prefix, name.as_bytes(), FileKind::Directory);
        directory = Arc::new(next.open_with(OFlags::DIRECTORY).expect("a directory"));
        prefix = prefix_of(next.path());
    }
    assert!(prefix.len() > 4096, "{} bytes are short", prefix.len());
    let flags = OFlags::WRONLY | OFlags::CREATE;
    let file = openat(&*directory, "file", flags, Mode::RUSR | Mode::WUSR).expect("a file");
    rustix::io::write(&file, b"bytes").expect("a write");
    symlinkat("to/where", &*directory, "link").expect("a link");

    let file = Place::in_directory(&directory, &prefix, b"file", FileKind::Regular);
    let (kind, identity) = file.inspect().expect("a file");
    assert_eq!((kind, identity.len_bytes), (FileKind::Regular, 5));
    let source = SourceFile::open_at(&file).expect("a source");
    assert_eq!(content_of(&source), b"bytes");
    assert_eq!(source.path(), file.path());
    assert_eq!(source.identity(), identity);
    source.check_unchanged().expect("nothing changed");

    let link = Place::in_directory(&directory, &prefix, b"link", FileKind::SymbolicLink);
    assert_eq!(link.inspect().expect("a link").0, FileKind::SymbolicLink);
    assert_eq!(&*link.read_link().expect("a link"), b"to/where");
}

#[test]
fn a_place_stays_in_its_directory_when_a_link_takes_the_directorys_name() {
    let root = scratch();
    let at = |name: &str| root.path().join(name);
    for (directory, content) in [("ours", b"ours"), ("secret", b"hide")] {
        fs::create_dir(at(directory)).expect("a directory");
        fs::write(at(directory).join("file"), content).expect("a file");
    }
    let place = Place::in_directory(
        &opened(&at("ours")),
        &prefix_of(&at("ours")),
        b"file",
        FileKind::Regular,
    );
    let before = SourceFile::open_at(&place).expect("a source");
    fs::rename(at("ours"), at("moved")).expect("a move");
    symlink(at("secret"), at("ours")).expect("a link");

    assert_eq!(
        fs::read(place.path()).expect("the path leads elsewhere now"),
        b"hide"
    );
    let after = SourceFile::open_at(&place).expect("a source");
    assert_eq!(content_of(&after), b"ours");
    before.check_unchanged().expect("the file is where it was");
}

#[test]
fn the_check_asks_the_directory_whether_the_file_has_its_name_still() {
    let root = scratch();
    fs::create_dir(root.path().join("d")).expect("a directory");
    let directory = opened(&root.path().join("d"));
    let prefix = prefix_of(&root.path().join("d"));
    fs::write(root.path().join("d/file"), b"bytes").expect("a file");
    let place = Place::in_directory(&directory, &prefix, b"file", FileKind::Regular);
    let source = SourceFile::open_at(&place).expect("a source");
    fs::remove_file(place.path()).expect("a removal");
    match source.check_unchanged() {
        Err(HostError::SourceChanged { path, change }) => {
            assert_eq!(path, place.path());
            // Losing its name changed its status too, which may come first.
            assert!(
                matches!(change, SourceChange::StatusTime | SourceChange::Removed),
                "{change}"
            );
        }
        other => panic!("{other:?} instead of a change"),
    }
}

#[test]
fn what_was_listed_as_a_file_and_is_none_any_more_is_refused_without_waiting() {
    let root = scratch();
    let at = |name: &str| root.path().join(name);
    mkfifoat(CWD, at("fifo"), Mode::RUSR | Mode::WUSR).expect("a fifo");
    symlink("nowhere", at("link")).expect("a link");
    fs::create_dir(at("directory")).expect("a directory");
    let directory = opened(root.path());
    for (name, expected) in [
        ("fifo", FileKind::Fifo),
        ("link", FileKind::SymbolicLink),
        ("directory", FileKind::Directory),
    ] {
        let place = Place::in_directory(
            &directory,
            &prefix_of(root.path()),
            name.as_bytes(),
            FileKind::Regular,
        );
        match SourceFile::open_at(&place) {
            Err(HostError::NotRegular { path, kind }) if path == place.path() => {
                assert_eq!(kind, expected);
            }
            other => panic!("{other:?} instead of {expected}"),
        }
    }
    let gone = Place::in_directory(&directory, &prefix_of(root.path()), b"gone", FileKind::Regular);
    assert!(
        SourceFile::open_at(&gone)
            .expect_err("nothing there")
            .is_not_found()
    );
}

#[test]
fn a_path_is_taken_as_the_system_takes_it() {
    let root = scratch();
    let at = |name: &str| root.path().join(name);
    fs::create_dir(at("directory")).expect("a directory");
    fs::write(at("file"), b"bytes").expect("a file");
    symlink("directory", at("link")).expect("a link");
    for (name, expected) in [
        ("file", FileKind::Regular),
        ("directory/../file", FileKind::Regular),
        ("link/../file", FileKind::Regular),
        ("link", FileKind::SymbolicLink),
        ("link/", FileKind::Directory),
        ("link/.", FileKind::Directory),
        ("directory/..", FileKind::Directory),
    ] {
        let (kind, _) = Place::of_path(at(name)).inspect().expect("something");
        assert_eq!(kind, expected, "{name}");
    }
    for nothing in ["file/", "file/.", "nowhere", ""] {
        let path = if nothing.is_empty() {
            PathBuf::new()
        } else {
            at(nothing)
        };
        let inspected = Place::of_path(&path).inspect().expect_err("nothing there");
        let opened = SourceFile::open(&path).expect_err("nothing there");
        for error in [inspected, opened] {
            assert!(
                matches!(
                    error,
                    HostError::Io {
                        operation: HostOperation::Inspect,
                        ..
                    }
                ),
                "{error:?} for {nothing}"
            );
        }
    }
    // Relative to the working directory, whatever it is.
    let here = Place::of_path(".").inspect().expect("a working directory").1;
    let there = fs::canonicalize(".").expect("a working directory");
    let there = Place::of_path(there).inspect().expect("a directory").1;
    assert_eq!((here.device, here.inode), (there.device, there.inode));
}
