//! Archives of earlier formats, as they stand in `tests/archive/golden`: whatever comes later, they open, and hold what they held.
//!
//! `cargo test -p bfdb --test archive golden::make -- --ignored` makes the one of this format where there is none. Its bytes do not
//! change any more once they are released; a new format gets a directory of its own.

use std::{
    fs,
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use bfdb::{
    archive::{
        Archive, ArchiveOptions, CommitAllOptions, CommitObserver, CommitOptions, CommitOutcome, Event,
        NameConflict, Observer, RenameConflict, RepairOptions, Source,
    },
    catalog::{Access, EntryKind, FORMAT_VERSION},
    error::CommitError,
    geometry::{Policy, PolicyParts},
};
use tempfile::TempDir;

use crate::{
    rebuilding::rebuild,
    support::{LEAF, SEGMENTED_BELOW, TINY_BELOW, copy_dir, get, grouped_policy, name, names, open, painted},
};

/// Files, their lengths and the seeds of their contents.
const FILES: [(&str, u64, u64); 6] = [
    ("empty", 0, 0),
    ("tree/tiny", TINY_BELOW - 1, 1),
    ("tree/segmented", SEGMENTED_BELOW - 1, 2),
    ("moved/blocked", 3 * SEGMENTED_BELOW, 3),
    ("replaced", 700, 5),
    ("grouped", 3 * SEGMENTED_BELOW + LEAF + 5, 10),
];

/// A file with its kept versions, the last one first; it had another name.
const VERSIONED: &str = "moved/versioned";
const VERSIONS: [(u32, u64, u64); 3] = [(3, 600, 9), (2, SEGMENTED_BELOW - 2, 8), (1, 500, 7)];

/// Takes no refusal.
struct Must;

impl Observer for Must {
    fn event(&self, _: Event<'_>) {}
}

impl CommitObserver for Must {
    fn source_done(&self, source: &Source, result: Result<CommitOutcome, CommitError>) {
        assert!(result.is_ok(), "{}: {result:?}", source.name);
    }
}

/// One with files of every tier.
fn policy() -> Policy {
    let parts = PolicyParts {
        blocked_below_bytes: 3 * SEGMENTED_BELOW + LEAF,
        ..*grouped_policy().parts()
    };
    Policy::new(parts).unwrap()
}

fn golden(version: u16) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/archive/golden/v{version}"))
}

/// A copy that a test may change.
fn copy_of(version: u16) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("a.bfdb");
    copy_dir(&golden(version), &root);
    (dir, root)
}

fn put(archive: &Archive, file: &str, len: u64, seed: u64) {
    put_and_keep(archive, file, len, seed, 0);
}

fn put_and_keep(archive: &Archive, file: &str, len: u64, seed: u64, versions: u32) {
    let options = CommitOptions {
        name_conflict: NameConflict::ReplaceAndKeep { versions },
        ..CommitOptions::default()
    };
    let content = painted(len, seed);
    archive
        .commit(&name(file), content.as_slice(), len, &options)
        .unwrap();
}

#[test]
#[ignore = "makes the archive of a new format"]
fn make() {
    let made = golden(FORMAT_VERSION);
    assert!(!made.exists(), "{} is there", made.display());
    fs::create_dir_all(made.parent().unwrap()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&make_in(dir.path()), &made);
}

/// Makes an archive with everything that the format has; returns where it lies.
fn make_in(dir: &Path) -> PathBuf {
    let root = dir.join("a.bfdb");
    let options = ArchiveOptions {
        policy: policy(),
        ..ArchiveOptions::default()
    };
    let archive = Archive::create(&root, &options).unwrap();
    let source = dir.join("tree");
    fs::create_dir(&source).unwrap();
    std::os::unix::fs::symlink("tiny", source.join("link")).unwrap();
    let sources = [("tree", source.clone()), ("tree/link", source.join("link"))];
    let sources = sources.map(|(text, path)| Source {
        name: name(text),
        place: bfdb::host::Place::of_path(path),
    });
    archive
        .commit_all(&mut sources.into_iter(), &CommitAllOptions::default(), &Must)
        .unwrap();
    put(&archive, "replaced", 900, 4);
    let _taken = archive.checkpoint().unwrap();
    for (file, len, seed) in FILES {
        put(&archive, file.trim_start_matches("moved/"), len, seed);
    }
    put(&archive, "removed", 800, 6);
    let _removed = archive.remove(&name("removed")).unwrap();
    for (_, len, seed) in VERSIONS.into_iter().rev() {
        put_and_keep(&archive, "versioned", len, seed, 2);
    }
    let _renamed = archive
        .rename(&name("versioned"), &name(VERSIONED), RenameConflict::Refuse)
        .unwrap();
    let _taken = archive.checkpoint().unwrap();
    let _renamed = archive
        .rename(&name("blocked"), &name("moved/blocked"), RenameConflict::Refuse)
        .unwrap();
    archive.close().unwrap();
    // It is nothing but room.
    fs::remove_file(root.join("ballast")).unwrap();
    root
}

fn holds_everything(archive: &Archive) {
    assert_eq!(
        names(archive),
        [
            "empty",
            "grouped",
            "moved/blocked",
            VERSIONED,
            "replaced",
            "tree",
            "tree/link",
            "tree/segmented",
            "tree/tiny"
        ]
    );
    for (file, len, seed) in FILES {
        assert!(get(archive, file).unwrap() == painted(len, seed), "{file}");
    }
    let snapshot = archive.snapshot().unwrap();
    for (version, len, seed) in VERSIONS {
        let mut reader = snapshot
            .of_version(version)
            .open_file(&name(VERSIONED), Arc::new(()))
            .unwrap();
        let mut content = Vec::new();
        reader.read_to_end(&mut content).unwrap();
        assert!(content == painted(len, seed), "version {version}");
    }
    let link = snapshot.file(&name("tree/link")).unwrap().unwrap();
    let target = EntryKind::SymbolicLink {
        target: b"tiny".as_slice().into(),
    };
    assert_eq!(link.kind, target);
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
}

#[test]
fn an_archive_that_is_made_now_holds_what_those_of_earlier_formats_hold() {
    let dir = tempfile::tempdir().unwrap();
    let archive = open(&make_in(dir.path()), Access::Write);
    assert_eq!(archive.record().format_version, FORMAT_VERSION);
    holds_everything(&archive);
    archive.close().unwrap();
}

#[test]
fn an_archive_of_the_first_format_is_read_written_checked_and_made_again() {
    let (dir, root) = copy_of(1);
    let archive = open(&root, Access::Read);
    assert_eq!(archive.record().format_version, 1);
    holds_everything(&archive);
    archive.close().unwrap();
    let archive = open(&root, Access::Write);
    put(&archive, "later", SEGMENTED_BELOW - 9, 9);
    assert!(get(&archive, "later").unwrap() == painted(SEGMENTED_BELOW - 9, 9));
    let _removed = archive.remove(&name("later")).unwrap();
    assert!(archive.check_catalog().unwrap().problems.is_empty());
    archive.close().unwrap();
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let (archive, _) = rebuild(&root);
    holds_everything(&archive);
    archive.close().unwrap();
    drop(dir);
}

#[test]
fn damage_to_an_archive_of_the_first_format_is_repaired() {
    let (dir, root) = copy_of(1);
    let extents = fs::read_dir(root.join("volumes/v0/extents")).unwrap();
    let first = extents.map(|entry| entry.unwrap().path()).min().unwrap();
    fs::remove_file(first).unwrap();
    let archive = open(&root, Access::Write);
    assert_ne!(archive.scrub(&()).unwrap().damage, []);
    let repaired = archive.repair(&RepairOptions::default(), &()).unwrap();
    assert_eq!(repaired.damage, []);
    holds_everything(&archive);
    archive.close().unwrap();
    drop(dir);
}
