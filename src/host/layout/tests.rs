#![expect(clippy::disallowed_methods, reason = "tests of the host make their own files")]

use std::{
    fs::{self, File},
    os::unix::fs::{MetadataExt as _, symlink},
};

use super::*;
use crate::{
    host::{Existing, publish},
    storage::HostStorage,
};

struct Scratch {
    _root: tempfile::TempDir,
    layout: ArchiveLayout,
}

impl Scratch {
    fn new() -> Self {
        let root = tempfile::tempdir().expect("a temporary directory");
        let layout = ArchiveLayout::new(root.path().join("above/archive.bfdb"));
        Self { _root: root, layout }
    }

    fn state(&self) -> ArchiveState {
        self.layout.state().expect("a state")
    }

    fn write(&self, name: &str) {
        fs::write(self.layout.root().join(name), b"x").expect("a file");
    }

    fn remove(&self, name: &str) {
        fs::remove_file(self.layout.root().join(name)).expect("a removal");
    }
}

#[test]
fn the_parts_of_an_archive_are_where_the_format_says() {
    let layout = ArchiveLayout::new("/a");
    assert_eq!(layout.root(), Path::new("/a"));
    assert_eq!(layout.catalog(), Path::new("/a/catalog.redb"));
    assert_eq!(layout.sessions(), Path::new("/a/sessions"));
    assert_eq!(layout.volumes(), Path::new("/a/volumes"));
    assert_eq!(layout.embedded_volume(), Path::new("/a/volumes/v0"));
}

#[test]
fn the_state_tells_what_may_be_made_where() {
    let scratch = Scratch::new();
    assert_eq!(scratch.state(), ArchiveState::Absent);
    create_directory(&HostStorage, scratch.layout.root()).expect("a directory");
    assert_eq!(scratch.state(), ArchiveState::Empty);
    fs::create_dir(scratch.layout.root().join("lost+found")).expect("a directory");
    scratch.write("catalog.redb.tmp");
    scratch.write("ballast");
    assert_eq!(
        scratch.state(),
        ArchiveState::Empty,
        "a ballast says nothing about what is there"
    );
    scratch.write("letter.txt");
    assert_eq!(scratch.state(), ArchiveState::Foreign);
    for part in ["sessions", "volumes"] {
        fs::create_dir(scratch.layout.root().join(part)).expect("a directory");
        assert_eq!(scratch.state(), ArchiveState::Remains, "{part}");
        fs::remove_dir(scratch.layout.root().join(part)).expect("a removal");
    }
    scratch.write("catalog.redb.old");
    assert_eq!(
        scratch.state(),
        ArchiveState::Remains,
        "an old catalog was put aside"
    );
    scratch.write("catalog.redb");
    assert_eq!(scratch.state(), ArchiveState::Archive);
}

#[test]
fn a_file_or_a_link_that_leads_nowhere_is_no_place_for_an_archive() {
    let scratch = Scratch::new();
    let above = scratch.layout.root().parent().expect("a parent");
    create_directory(&HostStorage, above).expect("a directory");
    fs::write(scratch.layout.root(), b"").expect("a file");
    assert!(matches!(
        scratch.layout.state(),
        Err(HostError::Io {
            operation: HostOperation::List,
            ..
        })
    ));
    fs::remove_file(scratch.layout.root()).expect("a removal");
    symlink("nowhere", scratch.layout.root()).expect("a link");
    assert_eq!(scratch.state(), ArchiveState::Absent);
    assert!(matches!(
        scratch.layout.create_directories(),
        Err(HostError::NotDirectory { .. })
    ));
}

#[test]
fn all_directories_are_the_owners_alone() {
    let scratch = Scratch::new();
    scratch.layout.create_directories().expect("directories");
    for path in [
        scratch.layout.root().to_owned(),
        scratch.layout.sessions(),
        scratch.layout.volumes(),
    ] {
        assert_eq!(
            fs::metadata(&path).expect("a directory").mode() & 0o7777,
            0o700,
            "{}",
            path.display()
        );
    }
}

#[test]
fn an_interrupted_creation_is_told_from_an_archive_that_lost_its_catalog() {
    let scratch = Scratch::new();
    let lock = scratch
        .layout
        .lock_for_building(Building::Creation)
        .expect("a lock");
    scratch.layout.create_directories().expect("directories");
    assert_eq!(scratch.state(), ArchiveState::Interrupted, "also while it runs");
    drop(lock);
    assert_eq!(scratch.state(), ArchiveState::Interrupted);

    // The second attempt finds the mark and ends it.
    let lock = scratch
        .layout
        .lock_for_building(Building::Creation)
        .expect("a lock");
    scratch.write("catalog.redb.tmp");
    let temporary = scratch.layout.root().join("catalog.redb.tmp");
    publish(
        &HostStorage,
        &temporary,
        &scratch.layout.catalog(),
        Existing::Refuse,
    )
    .expect("a catalog");
    assert_eq!(scratch.state(), ArchiveState::Archive);
    lock.end().expect("an end");

    scratch.remove("catalog.redb");
    assert_eq!(scratch.state(), ArchiveState::Remains);
    let lock = scratch
        .layout
        .lock_for_building(Building::Rebuild)
        .expect("a lock");
    drop(lock);
    assert_eq!(
        scratch.state(),
        ArchiveState::Remains,
        "an interrupted rebuild is no interrupted creation"
    );
}

#[test]
fn an_archive_is_never_created_over_another_or_over_its_remains() {
    let scratch = Scratch::new();
    scratch.layout.create_directories().expect("directories");
    for state in [ArchiveState::Remains, ArchiveState::Archive] {
        assert_eq!(scratch.state(), state);
        let refused = scratch
            .layout
            .lock_for_building(Building::Creation)
            .expect_err("something there");
        assert!(
            matches!(&refused, HostError::Exists { path } if path == scratch.layout.root()),
            "{refused:?}"
        );
        assert!(
            !scratch.layout.root().join(BUILDING).exists(),
            "the refusal left a mark"
        );
        scratch.write("catalog.redb");
    }
}

#[test]
fn a_crash_before_the_mark_is_written_does_not_make_remains_look_like_a_creation() {
    let scratch = Scratch::new();
    scratch.layout.create_directories().expect("directories");
    fs::write(scratch.layout.root().join(BUILDING), b"").expect("an empty mark");
    assert_eq!(scratch.state(), ArchiveState::Remains);
    let refused = scratch
        .layout
        .lock_for_building(Building::Creation)
        .expect_err("remains");
    assert!(matches!(refused, HostError::Exists { .. }), "{refused:?}");
}

#[test]
fn of_two_who_build_one_is_refused() {
    let scratch = Scratch::new();
    let lock = scratch
        .layout
        .lock_for_building(Building::Creation)
        .expect("a lock");
    for building in [Building::Creation, Building::Rebuild] {
        let refused = scratch
            .layout
            .lock_for_building(building)
            .expect_err("another builds");
        assert!(matches!(refused, HostError::Locked { .. }), "{refused:?}");
    }
    lock.end().expect("an end");
    assert_eq!(scratch.state(), ArchiveState::Empty);
}

#[test]
fn many_who_find_no_archive_make_exactly_one() {
    let scratch = Scratch::new();
    let made: usize = std::thread::scope(|scope| {
        let create = || match scratch.layout.lock_for_building(Building::Creation) {
            Ok(lock) => {
                File::create_new(scratch.layout.catalog()).expect("the one catalog");
                lock.end().expect("an end");
                1
            }
            Err(HostError::Locked { .. } | HostError::Exists { .. }) => 0,
            Err(error) => panic!("{error:?}"),
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(create)).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("a thread"))
            .sum()
    });
    assert_eq!((made, scratch.state()), (1, ArchiveState::Archive));
}

#[test]
fn stale_temporary_names_go_and_those_in_use_stay() {
    let scratch = Scratch::new();
    let lock = scratch
        .layout
        .lock_for_building(Building::Creation)
        .expect("a lock");
    scratch.layout.create_directories().expect("directories");
    for name in [
        "catalog.redb.tmp",
        "sessions/0000000000000001-00.tmp",
        "sessions/0000000000000002",
        "volumes/x.tmp",
    ] {
        scratch.write(name);
    }
    let live = scratch.layout.sessions().join("0000000000000003-00.tmp");
    let held = File::create_new(&live).expect("a session being made");
    held.try_lock().expect("a lock");

    let removed = scratch.layout.remove_stale_temporaries(&lock).expect("cleared");
    let root = scratch.layout.root();
    assert_eq!(
        removed,
        [
            root.join("catalog.redb.tmp"),
            root.join("sessions/0000000000000001-00.tmp")
        ]
    );
    assert!(live.exists() && root.join("sessions/0000000000000002").exists() && root.join(BUILDING).exists());
    assert!(
        root.join("volumes/x.tmp").exists(),
        "what is in a volume is the volume's"
    );
    assert!(
        scratch
            .layout
            .remove_stale_temporaries(&lock)
            .expect("cleared")
            .is_empty()
    );
}

#[test]
fn a_session_is_made_while_somebody_clears_up() {
    let scratch = Scratch::new();
    let lock = scratch
        .layout
        .lock_for_building(Building::Creation)
        .expect("a lock");
    scratch.layout.create_directories().expect("directories");
    std::thread::scope(|scope| {
        let maker = scope.spawn(|| {
            for id in 0..50 {
                let path = scratch.layout.sessions().join(format!("{id:016x}"));
                match LockedFile::create(scratch.layout.machine(), &path, b"contents") {
                    Ok(made) => made.remove().expect("a removal"),
                    // So many in a row is possible, and said.
                    Err(HostError::Locked { .. }) => {}
                    Err(error) => panic!("{error:?}"),
                }
            }
        });
        while !maker.is_finished() {
            scratch.layout.remove_stale_temporaries(&lock).expect("cleared");
        }
    });
    let left = temporaries_in(&HostStorage, &scratch.layout.sessions()).expect("a list");
    assert!(left.is_empty(), "{left:?}");
}
