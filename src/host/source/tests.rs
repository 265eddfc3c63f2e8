#![expect(clippy::disallowed_methods, reason = "tests of the host make their own files")]

use std::os::unix::{fs::symlink, net::UnixListener};

use rustix::fs::{CWD, Mode, RenameFlags, Timespec, Timestamps, futimens, mkfifoat, renameat_with};

use super::*;
use crate::error::FileKind;

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

/// Bytes that repeat at no power of two, so that a swap is seen.
fn pattern(len: usize) -> Vec<u8> {
    (0..251).cycle().take(len).collect()
}

fn kind_refused(path: &Path) -> FileKind {
    match SourceFile::open(path) {
        Err(HostError::NotRegular { path: named, kind }) if named == path => kind,
        other => panic!("{other:?} instead of a refusal of {}", path.display()),
    }
}

fn change_seen(source: &SourceFile) -> SourceChange {
    match source.check_unchanged() {
        Err(HostError::SourceChanged { change, .. }) => change,
        other => panic!("{other:?} instead of a change"),
    }
}

#[test]
fn everything_that_is_no_file_is_refused_by_its_name_and_a_fifo_without_waiting() {
    let directory = scratch();
    let at = |name: &str| directory.path().join(name);
    mkfifoat(CWD, at("fifo"), Mode::RUSR | Mode::WUSR).expect("a fifo");
    let _listener = UnixListener::bind(at("socket")).expect("a socket");
    fs::write(at("file"), b"bytes").expect("a file");
    symlink(at("file"), at("link")).expect("a link");
    symlink(at("nowhere"), at("dangling")).expect("a link");

    assert_eq!(kind_refused(&at("fifo")), FileKind::Fifo);
    assert_eq!(kind_refused(&at("socket")), FileKind::Socket);
    assert_eq!(kind_refused(&at("link")), FileKind::SymbolicLink);
    assert_eq!(kind_refused(&at("dangling")), FileKind::SymbolicLink);
    assert_eq!(kind_refused(directory.path()), FileKind::Directory);
    assert_eq!(kind_refused(Path::new("/dev/null")), FileKind::CharacterDevice);
    assert!(
        SourceFile::open(&at("nowhere"))
            .expect_err("nothing there")
            .is_not_found()
    );
}

#[test]
fn a_fifo_that_takes_the_place_of_a_file_is_refused_or_missed_but_never_waited_for() {
    let directory = scratch();
    let (file, fifo) = (directory.path().join("file"), directory.path().join("fifo"));
    fs::write(&file, b"bytes").expect("a file");
    mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).expect("a fifo");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..4000 {
                renameat_with(CWD, &file, CWD, &fifo, RenameFlags::EXCHANGE).expect("a swap");
            }
        });
        for _ in 0..2000 {
            match SourceFile::open(&file) {
                Ok(source) => assert_eq!(source.identity().len_bytes, 5),
                Err(HostError::NotRegular {
                    kind: FileKind::Fifo, ..
                }) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
    });
}

#[test]
fn any_range_of_a_source_is_read_and_an_unchanged_one_says_so() {
    let directory = scratch();
    let (path, bytes) = (directory.path().join("file"), pattern(100_000));
    fs::write(&path, &bytes).expect("a file");
    let source = SourceFile::open(&path).expect("a source");
    assert_eq!(source.identity().len_bytes, 100_000);
    assert_eq!(source.path(), path);
    for (offset, len) in [
        (0, 0),
        (0, 1),
        (0, 100_000),
        (99_999, 1),
        (100_000, 0),
        (4_095, 70_001),
    ] {
        let mut into = vec![0; len];
        source.read_at(to_u64(offset), &mut into).expect("bytes");
        assert!(into == bytes[offset..offset + len], "{len} bytes at {offset}");
    }
    source.check_unchanged().expect("nothing changed");
}

#[test]
#[should_panic(expected = "a read beyond the length of a source")]
fn a_read_beyond_the_length_is_a_bug_of_the_caller() {
    let directory = scratch();
    let path = directory.path().join("file");
    fs::write(&path, b"bytes").expect("a file");
    let source = SourceFile::open(&path).expect("a source");
    drop(source.read_at(3, &mut [0; 3]));
}

#[test]
fn a_source_that_shrinks_is_an_error_with_both_lengths() {
    let directory = scratch();
    let path = directory.path().join("file");
    fs::write(&path, pattern(10_000)).expect("a file");
    let source = SourceFile::open(&path).expect("a source");
    let cut = File::options().write(true).open(&path).expect("the file");
    rustix::fs::ftruncate(&cut, 6_000).expect("a cut");
    let mut into = [0; 5_000];
    source
        .read_at(1_000, &mut into)
        .expect("what is left can be read");
    for offset in [5_000, 4_999, 1_001] {
        match source.read_at(offset, &mut into) {
            Err(HostError::SourceShrunk {
                expected_len: 10_000,
                found_len: 6_000,
                ..
            }) => {}
            other => panic!("{other:?} at {offset}"),
        }
    }
    assert_eq!(
        change_seen(&source),
        SourceChange::Length {
            before: 10_000,
            after: 6_000
        }
    );
}

#[test]
fn every_way_a_source_can_change_is_named() {
    let directory = scratch();
    let (path, other) = (directory.path().join("file"), directory.path().join("other"));
    let opened = || {
        fs::write(&path, b"bytes").expect("a file");
        // A time far from now, so that a change shows whatever the tick of the file system's clock.
        let writer = File::options().append(true).open(&path).expect("the file");
        let old = Timespec {
            tv_sec: 1_000_000_000,
            tv_nsec: 123_456_789,
        };
        futimens(
            &writer,
            &Timestamps {
                last_access: old,
                last_modification: old,
            },
        )
        .expect("a time");
        (SourceFile::open(&path).expect("a source"), writer)
    };

    let (source, writer) = opened();
    assert_eq!(
        source.identity().mtime,
        Timestamp::new(1_000_000_000, 123_456_789).expect("nanoseconds are below a second")
    );
    writer
        .write_all_at(b"BYTES", 0)
        .expect("a write through an append handle");
    assert!(matches!(
        change_seen(&source),
        SourceChange::Length { before: 5, after: 10 }
    ));

    let (source, _writer) = opened();
    let writer = File::options().write(true).open(&path).expect("the file");
    writer.write_all_at(b"BYTES", 0).expect("a write");
    assert_eq!(change_seen(&source), SourceChange::ModificationTime);

    let (source, _writer) = opened();
    fs::write(&other, b"bytes").expect("another file");
    fs::rename(&other, &path).expect("a replacement");
    // Losing its name changed its status too, which may come first.
    assert!(matches!(
        change_seen(&source),
        SourceChange::StatusTime | SourceChange::Replaced
    ));

    let (source, _writer) = opened();
    fs::remove_file(&path).expect("a removal");
    assert!(matches!(
        change_seen(&source),
        SourceChange::StatusTime | SourceChange::Removed
    ));
}

#[test]
fn a_file_that_was_moved_from_another_name_over_a_source_is_a_replacement() {
    let directory = scratch();
    let (path, aside) = (directory.path().join("file"), directory.path().join("aside"));
    fs::write(&path, b"bytes").expect("a file");
    fs::create_dir(&aside).expect("a directory");
    // The name leads elsewhere, the file itself is untouched: only the name can tell.
    let through = aside.join("..").join("file");
    let source = SourceFile::open(&through).expect("a source");
    source.check_unchanged().expect("nothing changed");
    fs::remove_dir(&aside).expect("a removal");
    assert_eq!(change_seen(&source), SourceChange::Removed);
    let elsewhere = directory.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("below")).expect("a directory");
    fs::write(elsewhere.join("file"), b"bytes").expect("another file");
    symlink(elsewhere.join("below"), &aside).expect("a link");
    assert_eq!(change_seen(&source), SourceChange::Replaced);
}

#[test]
fn an_identity_names_the_first_difference() {
    let time = |seconds| Timestamp::new(seconds, 0).expect("below a second");
    let before = SourceIdentity {
        len_bytes: 5,
        mtime: time(1),
        ctime: time(2),
        device: 3,
        inode: 4,
        mode: 0o100_644,
    };
    let cases = [
        (
            SourceIdentity {
                mode: 0o100_600,
                ..before
            },
            None,
        ),
        (
            SourceIdentity {
                ctime: time(9),
                ..before
            },
            Some(SourceChange::StatusTime),
        ),
        (
            SourceIdentity {
                mtime: time(9),
                ctime: time(9),
                ..before
            },
            Some(SourceChange::ModificationTime),
        ),
        (
            SourceIdentity {
                len_bytes: 6,
                ..before
            },
            Some(SourceChange::Length { before: 5, after: 6 }),
        ),
        (
            SourceIdentity { device: 9, ..before },
            Some(SourceChange::Replaced),
        ),
        (
            SourceIdentity {
                inode: 9,
                len_bytes: 6,
                ..before
            },
            Some(SourceChange::Replaced),
        ),
    ];
    for (now, expected) in cases {
        assert_eq!(before.change_to(&now), expected, "{now:?}");
    }
}

#[test]
fn a_path_inside_a_directory_is_seen_through_links_and_dots() {
    let root = scratch();
    let at = |name: &str| root.path().join(name);
    for directory in ["archive/volumes/v0", "archive2", "other"] {
        fs::create_dir_all(at(directory)).expect("directories");
    }
    fs::write(at("archive/catalog"), b"").expect("a file");
    symlink(at("archive/volumes"), at("other/link")).expect("a link");
    symlink(at("other/link"), at("other/twice")).expect("a link");
    symlink(at("archive"), at("door")).expect("a link");

    let inside = [
        "archive",
        "archive/",
        "archive/catalog",
        "archive/volumes/v0",
        "archive/not-there-yet",
        "other/link/v0",
        "other/twice/v0",
        "door/catalog",
        "archive2/../archive/catalog",
        "archive/volumes/..",
    ];
    // A link into the archive is not inside of it: it is not followed.
    let outside = [
        "other",
        "other/link",
        "archive2",
        "archive2/x",
        "door",
        "archive/..",
        ".",
    ];
    for (names, expected) in [(&inside[..], true), (&outside[..], false)] {
        for name in names {
            for directory in [at("archive"), at("door"), at("archive/volumes/..")] {
                assert_eq!(
                    path_is_inside(&at(name), &directory).expect("an answer"),
                    expected,
                    "{name}"
                );
            }
        }
    }
    assert!(path_is_inside(Path::new("relative"), Path::new(".")).expect("an answer"));
    assert!(!path_is_inside(Path::new("/"), &at("archive")).expect("an answer"));
    assert!(
        path_is_inside(&at("missing/file"), &at("archive"))
            .expect_err("no such directory")
            .is_not_found()
    );
    assert!(
        path_is_inside(&at("other"), &at("missing"))
            .expect_err("no such directory")
            .is_not_found()
    );
}
