//! Ways past the page cache: volumes without one, and what is read that way.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    fs::{self, File},
    path::Path,
    sync::Mutex,
};

use bfdb::{
    archive::{
        Archive, ArchiveOptions, CommitOptions, Event, Observer, OpenOptions, RebuildFrom, RebuildOptions,
        Resources, ScrubReport, UsableNames,
    },
    catalog::Access,
    error::{CommitError, OpenError, ScrubError},
    geometry::Policy,
    plan::{DamageKind, DamagePart},
    storage::{FileAccess, HostStorage, Storage as _},
    units::ColumnIndex,
    volume::IoMode,
};

use crate::{
    damage::chart::{Frame, frames_of},
    machine::{NOWHERE, caching_machine, counting_machine},
    support::{Store, get, name, painted, small_policy},
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

/// What was found of each shard: the part, what is wrong with it, and the leaves.
type Found = BTreeMap<u16, (DamagePart, DamageKind, Vec<u32>)>;

#[derive(Default)]
struct Findings(Mutex<Found>);

impl Observer for Findings {
    fn event(&self, event: Event<'_>) {
        // What a commit has written about its files lies behind them, and goes with their padding.
        if let Event::Damage(finding) = event
            && finding.name.to_string() == "a"
        {
            let columns = finding.columns.iter().map(ColumnIndex::get).collect();
            let mut found = self.0.lock().unwrap();
            found.insert(finding.shard.get(), (finding.part, finding.kind, columns));
        }
    }
}

/// Scrubs and verifies in every mode; all of them find the same.
fn found_in_every_mode(store: &Store) -> Found {
    type Operation = fn(&Archive, &Findings) -> Result<ScrubReport, ScrubError>;
    let operations: [Operation; 2] = [
        |archive, findings| archive.scrub(findings),
        |archive, findings| archive.snapshot().unwrap().verify(None, findings),
    ];
    let mut first: Option<Found> = None;
    // As far as the file system of the test has such a way.
    let slots = store.root().join("volumes/v0/volume.bfv");
    let has_way = HostStorage
        .open_direct(&slots, FileAccess::Read)
        .unwrap()
        .is_some();
    for io in [IoMode::Auto, IoMode::Buffered] {
        let (machine, direct_reads) = counting_machine(store.dir.path(), None);
        let root = Path::new(NOWHERE).join("a.bfdb");
        let (archive, _) = Archive::open_on(&machine, &root, &opening(io, Access::Read)).unwrap();
        for operation in operations {
            let findings = Findings::default();
            let before = direct_reads();
            drop(operation(&archive, &findings).unwrap());
            let is_direct = direct_reads() > before;
            assert_eq!(is_direct, has_way && io == IoMode::Auto, "{io:?}");
            let found = findings.0.into_inner().unwrap();
            assert_eq!(*first.get_or_insert_with(|| found.clone()), found, "{io:?}");
        }
    }
    first.expect("there are modes")
}

#[test]
fn what_is_read_past_the_page_cache_is_what_is_on_the_disk_to_the_last_byte_of_a_frame() {
    const LEN: u64 = 5_000_123;
    let store = Store::with_policy(Policy::default());
    let content = painted(LEN, 1);
    store.put("a", &content);
    assert_eq!(found_in_every_mode(&store), Found::new());
    let mut frames = frames_of(&store, &BTreeMap::from([("a".to_owned(), content)]));
    frames.sort_by_key(|frame| (frame.extent.clone(), frame.offset));
    let [middle, last_leaf, footer, cut] = &frames[..] else {
        panic!("four copies");
    };
    let last = cut.leaf_count() - 1;
    middle.flip(middle.leaf(20).start + 5..middle.leaf(20).start + 6);
    last_leaf.flip(last_leaf.leaf(last).end - 1..last_leaf.leaf(last).end);
    footer.flip(footer.footer().end - 1..footer.footer().end);
    let checksum = |part, columns| (part, DamageKind::Checksum, columns);
    let mut expected = Found::from([
        (middle.shard, checksum(DamagePart::Payload, vec![20])),
        (last_leaf.shard, checksum(DamagePart::Payload, vec![last])),
        (footer.shard, checksum(DamagePart::Footer, vec![])),
    ]);
    assert_eq!(found_in_every_mode(&store), expected);

    // Padding says nothing, so it is no damage where it is gone; the byte before it is.
    let cut_to = |end: u64| {
        let extent = File::options().write(true).open(&cut.extent).unwrap();
        extent.set_len(cut.offset + end).unwrap();
    };
    let end_of = |frame: &Frame| frame.footer().end;
    assert!(end_of(cut) < cut.layout.total_len_bytes(), "there is padding");
    cut_to(end_of(cut));
    assert_eq!(found_in_every_mode(&store), expected);
    cut_to(end_of(cut) - 1);
    let of_cut = (DamagePart::Footer, DamageKind::Missing, vec![]);
    drop(expected.insert(cut.shard, of_cut));
    assert_eq!(found_in_every_mode(&store), expected);
}
