//! Kept versions of names: what stays of what is replaced, and what can be done with it.

use std::sync::Arc;

use bfdb::{
    archive::{
        Archive, CommitAllOptions, CommitObserver, CommitOptions, CommitOutcome, HealthQuery, NameConflict,
        Removal, RepairOptions, RestoreOptions, Source,
    },
    error::CommitError,
    host::{Place, RestoreTarget},
};
use bfdb_fault_injection::damage;

use crate::{
    rebuilding::rebuild,
    support::{SEGMENTED_BELOW, Store, TINY_BELOW, name, painted},
};

/// Tiny, segmented and blocked.
const LENGTHS: [u64; 3] = [TINY_BELOW - 1, SEGMENTED_BELOW - 1, SEGMENTED_BELOW * 2];

/// Stores a content in the place of what has the name.
fn replace(archive: &Archive, file: &str, content: &[u8], versions: u32) {
    let options = CommitOptions {
        name_conflict: NameConflict::ReplaceAndKeep { versions },
        ..CommitOptions::default()
    };
    let len = content.len() as u64;
    archive.commit(&name(file), content, len, &options).unwrap();
}

/// Names, versions and whether they are kept.
fn listed(archive: &Archive) -> Vec<String> {
    let files = archive.snapshot().unwrap().files_and_versions(None);
    let line = |file: bfdb::archive::FileInfo| {
        let mark = if file.is_kept { " kept" } else { "" };
        format!("{} {}{mark}", file.name, file.version)
    };
    files.map(|file| line(file.unwrap())).collect()
}

fn get(archive: &Archive, file: &str, version: u32) -> Vec<u8> {
    let snapshot = archive.snapshot().unwrap().of_version(version);
    let mut reader = snapshot.open_file(&name(file), Arc::new(())).unwrap();
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut content).unwrap();
    content
}

fn rebuilt(store: Store) -> Store {
    let root = store.root();
    store.archive.close().unwrap();
    std::fs::remove_file(root.join("catalog.redb")).unwrap();
    let (archive, _) = rebuild(&root);
    Store {
        dir: store.dir,
        archive,
    }
}

#[test]
fn the_newest_versions_stay_and_every_one_comes_back_whole() {
    for len in LENGTHS {
        let store = Store::new();
        store.put("f", &painted(len, 1));
        for seed in 2..=5 {
            replace(&store.archive, "f", &painted(len + seed, seed), 3);
        }
        let expected = ["f 2 kept", "f 3 kept", "f 4 kept", "f 5"];
        let check = |store: &Store| {
            assert_eq!(listed(&store.archive), expected, "{len}");
            assert_eq!(store.names(), ["f"]);
            for seed in 2..=5_u32 {
                let content = get(&store.archive, "f", seed);
                assert!(
                    content == painted(len + u64::from(seed), seed.into()),
                    "version {seed}"
                );
            }
            let totals = store.archive.snapshot().unwrap().totals().unwrap();
            assert_eq!((totals.files, totals.bytes), (1, len + 5));
            assert_eq!((totals.kept.versions(), totals.kept.bytes), (3, 3 * len + 9));
            assert_eq!(store.archive.scrub(&()).unwrap().damage, []);
            let verified = store.archive.snapshot().unwrap().verify(None, &()).unwrap();
            assert_eq!(verified.files, 4, "kept versions are verified, too");
        };
        check(&store);
        let before = store.archive.snapshot().unwrap().totals().unwrap();
        let store = store.reopen();
        check(&store);
        let store = rebuilt(store);
        check(&store);
        assert_eq!(store.archive.snapshot().unwrap().totals().unwrap(), before);
    }
}

#[test]
fn fewer_versions_let_the_oldest_go_and_none_all_of_them() {
    let store = Store::new();
    store.put("f", b"1");
    for (content, versions, expected) in [
        (&b"22"[..], 9, &["f 1 kept", "f 2"][..]),
        (b"333", 9, &["f 1 kept", "f 2 kept", "f 3"]),
        (b"4444", 1, &["f 3 kept", "f 4"]),
        (b"55555", 0, &["f 5"]),
        (b"1", 2, &["f 5 kept", "f 6"]),
    ] {
        replace(&store.archive, "f", content, versions);
        assert_eq!(listed(&store.archive), expected, "{versions}");
    }
    // The same content replaces nothing, so nothing goes either.
    replace(&store.archive, "f", b"1", 0);
    assert_eq!(listed(&store.archive), ["f 5 kept", "f 6"]);
}

#[test]
fn a_name_goes_with_all_its_versions_and_begins_with_the_first_again() {
    let store = Store::new();
    store.put("f", &painted(100, 1));
    for seed in 2..=4 {
        replace(&store.archive, "f", &painted(100 + seed, seed), 5);
    }
    let removal: Removal = store.archive.remove_version(&name("f"), 2).unwrap();
    assert_eq!((removal.len_bytes, removal.kept_versions), (102, 0));
    assert_eq!(listed(&store.archive), ["f 1 kept", "f 3 kept", "f 4"]);
    let error = store.archive.remove_version(&name("f"), 4).unwrap_err();
    assert!(
        matches!(error, CommitError::VersionInUse { version: 4, .. }),
        "{error:?}"
    );
    let error = store.archive.remove_version(&name("f"), 2).unwrap_err();
    assert!(
        matches!(error, CommitError::NoSuchVersion { version: 2, .. }),
        "{error:?}"
    );
    let removal = store.archive.remove(&name("f")).unwrap();
    assert_eq!((removal.len_bytes, removal.kept_versions), (104, 2));
    assert_eq!(listed(&store.archive), [""; 0]);
    let totals = store.archive.snapshot().unwrap().totals().unwrap();
    assert_eq!(totals, bfdb::catalog::Totals::default());
    store.put("f", b"again");
    assert_eq!(listed(&store.archive), ["f 1"]);
    assert_eq!(listed(&rebuilt(store).archive), ["f 1"]);
}

/// Panics about what does not replace or begin anything.
struct Expect;

impl CommitObserver for Expect {
    fn source_done(&self, source: &Source, result: Result<CommitOutcome, CommitError>) {
        match result {
            Ok(CommitOutcome::Committed(_) | CommitOutcome::Replaced(_)) => {}
            other => panic!("{}: {other:?}", source.name),
        }
    }
}

impl bfdb::archive::Observer for Expect {
    fn event(&self, _: bfdb::archive::Event<'_>) {}
}

#[test]
fn many_small_files_and_links_keep_versions_and_directories_do_not() {
    let store = Store::new();
    let (dir, path) = (store.dir.path().join("s"), |text: &str| {
        store.dir.path().join("s").join(text)
    });
    let commit = |versions: u32| {
        let mut sources = ["a", "b", "link", "x"].into_iter().map(|text| Source {
            name: name(text),
            place: Place::of_path(path(text)),
        });
        let options = CommitAllOptions {
            name_conflict: NameConflict::ReplaceAndKeep { versions },
        };
        store.archive.commit_all(&mut sources, &options, &Expect).unwrap();
    };
    std::fs::create_dir(&dir).unwrap();
    for round in 1..=3 {
        for text in ["a", "b"] {
            std::fs::write(path(text), painted(100 * round, round)).unwrap();
        }
        std::os::unix::fs::symlink(format!("to/{round}"), path("new")).unwrap();
        std::fs::rename(path("new"), path("link")).unwrap();
        // A directory, then a file, then a directory.
        if round == 2 {
            std::fs::remove_dir(path("x")).unwrap();
            std::fs::write(path("x"), b"x").unwrap();
        } else {
            if round == 3 {
                std::fs::remove_file(path("x")).unwrap();
            }
            std::fs::create_dir(path("x")).unwrap();
        }
        commit(2);
    }
    let of = |text: &str| {
        [
            format!("{text} 1 kept"),
            format!("{text} 2 kept"),
            format!("{text} 3"),
        ]
    };
    let mut expected = [of("a"), of("b"), of("link")].concat();
    expected.extend(["x 2 kept".to_owned(), "x 3".to_owned()]);
    assert_eq!(listed(&store.archive), expected);
    assert_eq!(get(&store.archive, "b", 2), painted(200, 2));
    assert_eq!(get(&store.archive, "x", 2), b"x");
    let link = store
        .archive
        .snapshot()
        .unwrap()
        .of_version(1)
        .file(&name("link"))
        .unwrap()
        .unwrap();
    let bfdb::catalog::EntryKind::SymbolicLink { target } = link.kind else {
        panic!("{link:?}");
    };
    assert_eq!(&*target, b"to/1");
    assert_eq!(listed(&rebuilt(store).archive), expected);
}

#[test]
fn a_version_is_restored_and_described_as_itself() {
    let store = Store::new();
    store.put("d/f", &painted(5000, 1));
    replace(&store.archive, "d/f", &painted(6000, 2), 1);
    let snapshot = store.archive.snapshot().unwrap();
    let (old, new) = (snapshot.of_version(1), snapshot.of_version(2));
    let file = name("d/f");
    let info = old.file(&file).unwrap().unwrap();
    assert_eq!((info.len_bytes, info.version, info.is_kept), (5000, 1, true));
    assert_eq!(new.file(&file).unwrap(), snapshot.file(&file).unwrap());
    assert_eq!(snapshot.of_version(3).file(&file).unwrap(), None);
    assert_ne!(old.places(&file).unwrap(), new.places(&file).unwrap());
    assert_eq!(old.file_health(&file).unwrap().unwrap().file, info);
    assert!(old.tolerance_of(&file).unwrap().is_some());
    let into = store.dir.path().join("back");
    let target = RestoreTarget::open(&into).unwrap();
    let receipt = old.restore(&file, &target, &RestoreOptions::default(), &());
    drop(receipt.unwrap());
    assert!(std::fs::read(into.join("d/f")).unwrap() == painted(5000, 1));
}

#[test]
fn damage_of_a_kept_version_is_told_as_such_and_repaired() {
    let store = Store::new();
    store.put("f", &painted(SEGMENTED_BELOW - 1, 1));
    replace(&store.archive, "f", &painted(SEGMENTED_BELOW - 2, 2), 1);
    let snapshot = store.archive.snapshot().unwrap();
    let old = snapshot.of_version(1);
    let places = old.places(&name("f")).unwrap();
    let (_, extent, offset) = places[0].shards[1].unwrap();
    let path = damage::extent_files(&store.root())
        .unwrap()
        .into_iter()
        .find(|path| {
            path.to_string_lossy().contains(&format!("{:016x}", extent.get()))
                || path.to_string_lossy().contains(&extent.to_string())
        })
        .unwrap();
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[usize::try_from(offset).unwrap() + 5000] ^= 1;
    std::fs::write(&path, bytes).unwrap();

    let report = snapshot.verify(None, &()).unwrap();
    let told: Vec<(String, Option<u32>)> = (report.damage.iter())
        .map(|damage| (damage.name.to_string(), damage.kept_version))
        .collect();
    assert_eq!(told, [("f".to_owned(), Some(1))]);
    let known: Vec<Option<u32>> = (old.known_damage(&name("f")).unwrap())
        .map(|finding| finding.unwrap().kept_version)
        .collect();
    assert_eq!(known, [Some(1)]);
    assert_eq!(snapshot.known_damage(&name("f")).unwrap().count(), 0);
    let damaged = |query: &HealthQuery| -> Vec<(u32, u64)> {
        let healths = snapshot.health(query).map(Result::unwrap);
        healths
            .map(|health| (health.file.version, health.damaged_shards))
            .collect()
    };
    assert_eq!(damaged(&HealthQuery::default()), [(1, 1), (2, 0)]);
    let degraded = HealthQuery {
        classes: [bfdb::archive::HealthClass::State(
            bfdb::archive::HealthState::Degraded,
        )]
        .into(),
        ..HealthQuery::default()
    };
    assert_eq!(damaged(&degraded), [(1, 1)]);

    let repaired = store.archive.repair(&RepairOptions::default(), &()).unwrap();
    assert_eq!((repaired.files_repaired, repaired.shards_repaired), (1, 1));
    assert_eq!(store.archive.scrub(&()).unwrap().damage, []);
    assert!(get(&store.archive, "f", 1) == painted(SEGMENTED_BELOW - 1, 1));
}

#[test]
fn a_reader_that_was_opened_before_goes_on_and_calls_the_file_by_its_name() {
    let store = Store::new();
    store.put("f", &painted(SEGMENTED_BELOW * 2, 1));
    let snapshot = store.archive.snapshot().unwrap();
    let mut reader = snapshot.open_file(&name("f"), Arc::new(())).unwrap();
    replace(&store.archive, "f", b"new", 1);
    let mut content = Vec::new();
    std::io::Read::read_to_end(&mut reader, &mut content).unwrap();
    assert!(content == painted(SEGMENTED_BELOW * 2, 1));
}
