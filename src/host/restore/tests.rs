#![expect(clippy::disallowed_methods, reason = "tests of the host make their own files")]

mod batch;
mod directories;
mod link;
mod partial;
mod races;

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::PathBuf,
};

use super::*;
use crate::{error::FileKind, units::to_u64};

const TIME: Timestamp = Timestamp::new(1_234_567_890, 987_654_321).expect("below a second");

const NOTHING: [&Path; 0] = [];

/// A target directory and, beside it, one that nothing may reach.
struct Scratch {
    root: tempfile::TempDir,
    target: RestoreTarget,
}

impl Scratch {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(root.path().join("outside")).expect("a directory");
        let target = RestoreTarget::open(&root.path().join("target")).expect("a target");
        Self { root, target }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join("target").join(name)
    }

    fn outside(&self) -> PathBuf {
        self.root.path().join("outside")
    }

    fn create(&self, name: &str, len_bytes: u64, existing: Existing) -> Result<RestoreFile, HostError> {
        self.target
            .create(&name.parse().expect("a name"), len_bytes, existing)
    }

    fn restore(&self, name: &str, bytes: &[u8], existing: Existing) -> Result<Restored, HostError> {
        let file = self.create(name, to_u64(bytes.len()), existing)?;
        file.write_at(0, bytes)?;
        file.finish(TIME, 0o640, Durability::Buffered)
    }

    fn restored(&self, name: &str, bytes: &[u8], existing: Existing) {
        let restored = self.restore(name, bytes, existing).expect("a restored file");
        assert!(restored.not_kept.is_empty(), "{restored:?}");
    }
}

/// Every name below a directory, without following links.
fn names_below(directory: &Path) -> Vec<PathBuf> {
    let mut names = Vec::new();
    let mut directories = vec![directory.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(&directory).expect("a directory") {
            let entry = entry.expect("an entry");
            if entry.file_type().expect("a type").is_dir() {
                directories.push(entry.path());
            }
            names.push(entry.path());
        }
    }
    names.sort();
    names
}

#[test]
fn a_restored_file_has_its_bytes_its_time_to_the_nanosecond_and_its_mode() {
    let scratch = Scratch::new();
    for (name, durability) in [("a/b/c", Durability::Synced), ("top", Durability::Buffered)] {
        let file = scratch.create(name, 10, Existing::Refuse).expect("a file");
        std::thread::scope(|scope| {
            scope.spawn(|| file.write_at(5, b"56789").expect("the second half"));
            scope.spawn(|| file.write_at(0, b"01234").expect("the first half"));
        });
        assert!(!scratch.at(name).exists(), "{name} stands before it is finished");
        let restored = file.finish(TIME, 0o4751, durability).expect("finished");
        assert!(restored.not_kept.is_empty(), "{restored:?}");
        assert_eq!(fs::read(scratch.at(name)).expect("the file"), b"0123456789");
        let found = fs::metadata(scratch.at(name)).expect("the file");
        assert_eq!((found.mtime(), found.mtime_nsec()), (1_234_567_890, 987_654_321));
        assert_eq!(found.mode() & 0o7777, 0o751, "set-user-id is dropped");
    }
    assert_eq!(names_below(&scratch.at("")).len(), 4, "nothing else is left");
}

#[test]
fn a_file_being_restored_is_its_owners_alone_and_its_blocks_are_there() {
    let scratch = Scratch::new();
    let file = scratch.create("big", 1 << 20, Existing::Refuse).expect("a file");
    let [temporary] = &names_below(&scratch.at(""))[..] else {
        panic!("one name is expected")
    };
    let found = fs::metadata(temporary).expect("the temporary file");
    assert_eq!(found.mode() & 0o7777, 0o600);
    assert_eq!(found.len(), 1 << 20);
    assert!(
        found.blocks() * 512 >= 1 << 20,
        "{} blocks are reserved",
        found.blocks()
    );
    drop(file);
}

#[test]
fn an_empty_file_and_times_before_and_after_1970_are_restored() {
    let scratch = Scratch::new();
    let cases = [
        ("old", -5, 999_999_999, 999_999_999),
        ("last nanosecond of a second", 5, 999_999_999, 999_999_999),
    ];
    for (name, seconds, nanoseconds, kept) in cases {
        let file = scratch.create(name, 0, Existing::Refuse).expect("a file");
        file.write_at(0, b"").expect("nothing to write");
        let time = Timestamp::new(seconds, nanoseconds).expect("below a second");
        assert!(
            file.finish(time, 0o100_600, Durability::Synced)
                .expect("finished")
                .not_kept
                .is_empty()
        );
        let found = fs::metadata(scratch.at(name)).expect("the file");
        assert_eq!(
            (found.len(), found.mtime(), found.mtime_nsec()),
            (0, seconds, kept),
            "{name}"
        );
    }
}

#[test]
fn a_dropped_file_leaves_nothing() {
    let scratch = Scratch::new();
    let file = scratch.create("name", 4, Existing::Refuse).expect("a file");
    file.write_at(0, b"half").expect("bytes");
    assert_eq!(names_below(&scratch.at("")).len(), 1);
    drop(file);
    assert_eq!(names_below(&scratch.at("")), NOTHING);
}

#[test]
fn a_file_with_a_gap_never_gets_its_name() {
    let scratch = Scratch::new();
    let file = scratch.create("name", 10, Existing::Refuse).expect("a file");
    file.write_at(5, b"56789").expect("the second half");
    match file.finish(TIME, 0o600, Durability::Buffered) {
        Err(HostError::Incomplete {
            written: 5,
            len_bytes: 10,
            ..
        }) => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(names_below(&scratch.at("")), NOTHING);
}

#[test]
#[should_panic(expected = "a write beyond the length of a restored file")]
fn a_write_beyond_the_length_is_a_bug_of_the_caller() {
    let scratch = Scratch::new();
    let file = scratch.create("name", 4, Existing::Refuse).expect("a file");
    drop(file.write_at(1, b"four"));
}

#[test]
fn what_stands_is_refused_or_replaced_as_the_caller_says() {
    let scratch = Scratch::new();
    scratch.restored("name", b"old", Existing::Refuse);
    match scratch.create("name", 3, Existing::Refuse) {
        Err(HostError::Exists { path }) => assert_eq!(path, scratch.at("name")),
        other => panic!("{other:?}"),
    }
    assert_eq!(fs::read(scratch.at("name")).expect("the old file"), b"old");
    let file = scratch.create("name", 3, Existing::Overwrite).expect("a file");
    file.write_at(0, b"new").expect("bytes");
    assert_eq!(
        fs::read(scratch.at("name")).expect("the old file until the end"),
        b"old"
    );
    assert!(
        file.finish(TIME, 0o600, Durability::Buffered)
            .expect("finished")
            .not_kept
            .is_empty()
    );
    assert_eq!(fs::read(scratch.at("name")).expect("the new file"), b"new");
    assert_eq!(names_below(&scratch.at("")).len(), 1, "nothing else is left");
}

#[test]
fn what_takes_the_name_while_a_file_is_written_is_not_replaced() {
    let scratch = Scratch::new();
    let file = scratch.create("name", 3, Existing::Refuse).expect("a file");
    file.write_at(0, b"new").expect("bytes");
    fs::write(scratch.at("name"), b"rival").expect("a rival");
    let refused = file
        .finish(TIME, 0o600, Durability::Buffered)
        .expect_err("a taken name");
    assert!(matches!(refused, HostError::Exists { .. }), "{refused:?}");
    assert_eq!(fs::read(scratch.at("name")).expect("the rival"), b"rival");

    let file = scratch
        .create("directory", 0, Existing::Overwrite)
        .expect("a file");
    fs::create_dir(scratch.at("directory")).expect("a directory");
    let refused = file
        .finish(TIME, 0o600, Durability::Buffered)
        .expect_err("a directory");
    assert!(
        matches!(refused, HostError::DirectoryInPlace { .. }),
        "{refused:?}"
    );
    assert_eq!(
        names_below(&scratch.at("")).len(),
        2,
        "the temporary files are gone"
    );
}

#[test]
fn a_directory_is_never_replaced() {
    let scratch = Scratch::new();
    scratch.restored("directory/file", b"x", Existing::Refuse);
    for existing in [Existing::Refuse, Existing::Overwrite] {
        match scratch.create("directory", 1, existing) {
            Err(HostError::DirectoryInPlace { path }) => assert_eq!(path, scratch.at("directory")),
            other => panic!("{other:?}"),
        }
    }
    match scratch.create("directory/file/below", 1, Existing::Overwrite) {
        Err(HostError::NotDirectory {
            path,
            kind: FileKind::Regular,
        }) => {
            assert_eq!(path, scratch.at("directory/file"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_planted_link_is_no_way_out_neither_as_a_directory_nor_as_the_file() {
    let scratch = Scratch::new();
    let secret = scratch.outside().join("secret");
    fs::write(&secret, b"untouched").expect("a file");
    symlink("../outside", scratch.at("way")).expect("a link");
    symlink("/proc/self/cwd", scratch.at("magic")).expect("a link");
    symlink(&secret, scratch.at("name")).expect("a link");
    symlink(scratch.outside().join("unborn"), scratch.at("dangling")).expect("a link");

    for (name, part) in [
        ("way/file", "way"),
        ("way/new/file", "way"),
        ("magic/file", "magic"),
    ] {
        for existing in [Existing::Refuse, Existing::Overwrite] {
            match scratch.create(name, 1, existing) {
                Err(HostError::NotDirectory {
                    path,
                    kind: FileKind::SymbolicLink,
                }) => {
                    assert_eq!(path, scratch.at(part));
                }
                other => panic!("{other:?} for {name}"),
            }
        }
    }
    for name in ["name", "dangling"] {
        let refused = scratch
            .create(name, 1, Existing::Refuse)
            .expect_err("a taken name");
        assert!(matches!(refused, HostError::Exists { .. }), "{refused:?}");
        scratch.restored(name, b"new", Existing::Overwrite);
        assert!(
            fs::symlink_metadata(scratch.at(name))
                .expect("the file")
                .is_file(),
            "the link was followed"
        );
    }
    assert_eq!(names_below(&scratch.outside()), [secret.as_path()]);
    assert_eq!(fs::read(&secret).expect("the file"), b"untouched");
}

#[test]
fn a_file_that_does_not_fit_is_refused_with_both_numbers_before_the_first_byte() {
    let scratch = Scratch::new();
    for len_bytes in [1 << 60, u64::MAX] {
        match scratch.create("name", len_bytes, Existing::Refuse) {
            Err(HostError::Full { needed, free, .. }) => {
                assert_eq!(needed, len_bytes);
                assert!(free > 0 && free < len_bytes, "{free} bytes are not believable");
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(names_below(&scratch.at("")), NOTHING);
}

#[test]
fn a_part_that_is_too_long_for_the_file_system_is_refused_at_once() {
    let scratch = Scratch::new();
    let long = "n".repeat(256);
    for name in [long.clone(), format!("{long}/file")] {
        let refused = scratch
            .create(&name, 1, Existing::Overwrite)
            .expect_err("a long name");
        assert!(
            matches!(&refused, HostError::Io { source, .. } if source.kind() == io::ErrorKind::InvalidFilename),
            "{refused:?}"
        );
    }
    assert_eq!(names_below(&scratch.at("")), NOTHING);
}

#[test]
fn the_longest_names_are_restored_with_many_short_parts_and_with_the_longest_ones() {
    for part_len in [1, 255] {
        let scratch = Scratch::new();
        let part = "n".repeat(part_len);
        let parts = vec![part.as_str(); 4096 / (part_len + 1)];
        let name = parts.join("/");
        assert_eq!(name.len(), 4095);
        scratch.restored(&name, b"x", Existing::Refuse);
        let last = name.len() - part_len;
        let beside = format!("{}{}", &name[..last], "m".repeat(part_len));
        let file = scratch.create(&beside, 1, Existing::Refuse).expect("a file");
        file.write_at(0, b"y").expect("bytes");
        let complete = file.complete(TIME, 0o600, Durability::Batched).expect("complete");
        assert!(complete.publish().expect("published").not_kept.is_empty());
        let below = format!("{}{}", &name[..last], "d".repeat(part_len));
        let below: FileName = below.parse().expect("a name");
        let options = (Existing::Overwrite, Durability::Synced);
        let link = scratch.target.create_symbolic_link(&below, b"x", TIME, options);
        assert!(link.expect("a link").not_kept.is_empty());
        // Their paths are too long for anybody who does not go step by step.
        for name in [&name, &beside, &below.to_string()] {
            let refused = scratch.create(name, 1, Existing::Refuse).expect_err("taken");
            assert!(matches!(refused, HostError::Exists { .. }), "{refused:?}");
        }
    }
}

#[test]
fn a_directory_that_may_not_be_written_gives_a_clear_error() {
    let scratch = Scratch::new();
    let closed = scratch.at("closed");
    fs::create_dir(&closed).expect("a directory");
    fs::set_permissions(&closed, Permissions::from_mode(0o500)).expect("a mode");
    let may_write_anyway = fs::write(closed.join("probe"), b"").is_ok();
    if may_write_anyway {
        // The superuser: /proc lets nobody make files.
        let target = RestoreTarget::open(Path::new("/proc/self")).expect("a target");
        let refused = target
            .create(&"file".parse().expect("a name"), 1, Existing::Refuse)
            .expect_err("/proc");
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
        return;
    }
    for (name, tried) in [
        ("closed/file", HostOperation::Create),
        ("closed/d/file", HostOperation::CreateDirectory),
    ] {
        match scratch.create(name, 1, Existing::Refuse) {
            Err(HostError::Io {
                operation, source, ..
            }) => {
                assert_eq!(operation, tried);
                assert_eq!(source.kind(), io::ErrorKind::PermissionDenied);
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_directory_that_may_be_entered_but_not_listed_takes_files() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.at("dropbox")).expect("a directory");
    fs::set_permissions(scratch.at("dropbox"), Permissions::from_mode(0o300)).expect("a mode");
    scratch.restored("dropbox/file", b"x", Existing::Refuse);
    fs::set_permissions(scratch.at("dropbox"), Permissions::from_mode(0o700)).expect("a mode");
    assert_eq!(fs::read(scratch.at("dropbox/file")).expect("the file"), b"x");
}

#[test]
fn a_target_may_be_a_link_or_new_but_not_a_file() {
    let scratch = Scratch::new();
    symlink(scratch.outside(), scratch.at("chosen")).expect("a link");
    let name: FileName = "a/file".parse().expect("a name");
    for path in ["chosen", "new/deep"] {
        let target = RestoreTarget::open(&scratch.at(path)).expect("a target");
        let file = target.create(&name, 0, Existing::Refuse).expect("a file");
        assert!(
            file.finish(TIME, 0o600, Durability::Synced)
                .expect("finished")
                .not_kept
                .is_empty()
        );
        assert!(scratch.at(path).join("a/file").is_file(), "{path}");
    }
    scratch.restored("file", b"x", Existing::Refuse);
    let refused = RestoreTarget::open(&scratch.at("file")).expect_err("a file");
    assert!(
        matches!(
            refused,
            HostError::NotDirectory {
                kind: FileKind::Regular,
                ..
            }
        ),
        "{refused:?}"
    );
}
