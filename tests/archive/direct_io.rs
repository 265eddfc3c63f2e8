//! Volumes that whoever asks for writes past the page cache does not want.

use std::{collections::BTreeSet, ffi::OsString, fs, path::Path};

use bfdb::{
    archive::{
        Archive, ArchiveOptions, CommitOptions, OpenOptions, RebuildFrom, RebuildOptions, Resources,
        UsableNames,
    },
    catalog::Access,
    error::{CommitError, OpenError},
    volume::IoMode,
};

use crate::{
    machine::{NOWHERE, caching_machine},
    support::{get, name, painted, small_policy},
};

fn making(io: IoMode) -> ArchiveOptions {
    ArchiveOptions {
        policy: small_policy(),
        resources: Resources {
            // What the storage is asked to do it is asked one by one.
            threads: 1,
            io,
            ..Resources::default()
        },
        volumes: Vec::new(),
    }
}

fn opening(io: IoMode, access: Access) -> OpenOptions {
    OpenOptions {
        access,
        resources: making(io).resources,
        volumes: Vec::new(),
    }
}

#[test]
fn volumes_without_a_way_past_the_page_cache_are_refused_where_one_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(NOWHERE).join("a.bfdb");
    let (caching, direct) = (
        caching_machine(dir.path(), Some("v0")),
        caching_machine(dir.path(), None),
    );
    let is_refused = |error: OpenError| {
        let OpenError::NoDirectIo { path } = error else {
            panic!("{error:?}");
        };
        path == root.join("volumes/v0")
    };
    assert!(is_refused(
        Archive::create_on(&caching, &root, &making(IoMode::Direct)).unwrap_err()
    ));
    let none = Archive::open_on(&caching, &root, &opening(IoMode::Auto, Access::Read));
    assert!(none.is_err(), "none was made");

    let content = painted(300_000, 1);
    let put = |archive: &Archive, file: &str| {
        let options = CommitOptions::default();
        drop(
            archive
                .commit(&name(file), &content[..], 300_000, &options)
                .unwrap(),
        );
    };
    let archive = Archive::create_on(&direct, &root, &making(IoMode::Direct)).unwrap();
    put(&archive, "direct");
    archive.close().unwrap();
    let to_write = Archive::open_on(&caching, &root, &opening(IoMode::Direct, Access::Write));
    assert!(is_refused(to_write.unwrap_err()));
    // Whoever reads asks for nothing of the kind, and all other modes have a way.
    for (io, access) in [
        (IoMode::Direct, Access::Read),
        (IoMode::Auto, Access::Write),
        (IoMode::Buffered, Access::Write),
    ] {
        let (archive, _) = Archive::open_on(&caching, &root, &opening(io, access)).unwrap();
        if access == Access::Write {
            put(&archive, &format!("{io:?}"));
        }
        assert!(get(&archive, "direct").unwrap() == content);
        assert_eq!(archive.scrub(&()).unwrap().damage, []);
        archive.close().unwrap();
    }
}

#[test]
fn a_refused_creation_leaves_directories_that_any_archive_can_have() {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(NOWHERE).join("a.bfdb");
    let machine = caching_machine(dir.path(), Some("other"));
    let options = |io| ArchiveOptions {
        volumes: vec![Path::new(NOWHERE).join("one"), Path::new(NOWHERE).join("other")],
        ..making(io)
    };
    for _ in 0..2 {
        match Archive::create_on(&machine, &root, &options(IoMode::Direct)) {
            Err(OpenError::NoDirectIo { path }) => assert!(path.ends_with("other"), "{path:?}"),
            other => panic!("{other:?}"),
        }
    }
    let elsewhere = Path::new(NOWHERE).join("b.bfdb");
    let archive = Archive::create_on(&machine, &elsewhere, &options(IoMode::Auto)).unwrap();
    assert_eq!(archive.snapshot().unwrap().volumes().unwrap().len(), 2);
    archive.close().unwrap();
}

#[test]
fn a_catalog_is_not_made_again_for_volumes_that_cannot_be_written_as_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(NOWHERE).join("a.bfdb");
    let machine = caching_machine(dir.path(), Some("v0"));
    let archive = Archive::create_on(&machine, &root, &making(IoMode::Auto)).unwrap();
    drop(
        archive
            .commit(&name("a"), &b"1"[..], 1, &CommitOptions::default())
            .unwrap(),
    );
    archive.close().unwrap();
    let names_in_root = || {
        let entries = fs::read_dir(dir.path().join("a.bfdb")).unwrap();
        entries
            .map(|entry| entry.unwrap().file_name())
            .collect::<BTreeSet<OsString>>()
    };
    let before = names_in_root();
    let scan = RebuildOptions {
        from: RebuildFrom::Frames(UsableNames::GiveUp),
    };
    for how in [RebuildOptions::default(), scan] {
        let direct = opening(IoMode::Direct, Access::Write);
        let refused = Archive::rebuild_catalog_with(&machine, &root, &direct, how, &());
        assert!(
            matches!(refused, Err(OpenError::NoDirectIo { .. })),
            "{how:?}: {refused:?}"
        );
        assert_eq!(names_in_root(), before, "nothing was made");
    }
    let auto = opening(IoMode::Auto, Access::Write);
    let (archive, _) = Archive::rebuild_catalog(&machine, &root, &auto).unwrap();
    assert!(get(&archive, "a").unwrap() == b"1");
    archive.close().unwrap();
}

#[test]
fn a_volume_without_a_way_past_the_page_cache_is_not_added_where_one_was_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let root = Path::new(NOWHERE).join("a.bfdb");
    let added = Path::new(NOWHERE).join("other");
    let machine = caching_machine(dir.path(), Some("other"));
    let archive = Archive::create_on(&machine, &root, &making(IoMode::Direct)).unwrap();
    for _ in 0..2 {
        match archive.add_volume(&added) {
            Err(CommitError::Volumes { source }) => {
                assert!(
                    matches!(&*source, OpenError::NoDirectIo { path } if *path == added),
                    "{source:?}"
                );
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(archive.snapshot().unwrap().volumes().unwrap().len(), 1);
    }
    archive.close().unwrap();
    // What the attempts have made is taken up.
    let (archive, _) = Archive::open_on(&machine, &root, &opening(IoMode::Auto, Access::Write)).unwrap();
    archive.add_volume(&added).unwrap();
    assert_eq!(archive.snapshot().unwrap().volumes().unwrap().len(), 2);
    archive.close().unwrap();
}
