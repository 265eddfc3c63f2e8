//! Copies of the journal that are damaged, torn, gone or not of this archive, and parts of archives that were mixed.

use std::path::PathBuf;

use bfdb::{
    archive::{Archive, RecoveryReport, UnfinishedCommit},
    error::OpenError,
    units::Epoch,
};
use bfdb_fault_injection::damage;

use crate::support::{copy_dir, get, names, try_open};

use super::{archives::tree, *};

/// An archive that nobody has open, with a record for each of its files and one for a removal.
struct Closed {
    dir: tempfile::TempDir,
}

impl Closed {
    fn new() -> Self {
        let store = store_with_files();
        store.put("gone", b"something");
        drop(store.archive.remove(&name("gone")).unwrap());
        let Store { dir, archive } = store;
        archive.close().unwrap();
        Self { dir }
    }

    fn root(&self) -> PathBuf {
        self.dir.path().join("a.bfdb")
    }

    /// A copy of it, at this moment.
    fn copy(&self, as_name: &str) -> PathBuf {
        let to = self.dir.path().join(as_name);
        copy_dir(&self.root(), &to);
        to
    }
}

fn journal(root: &Path) -> PathBuf {
    root.join("volumes/v0/journal")
}

fn segment(root: &Path, copy: u8) -> PathBuf {
    journal(root).join(format!("c{copy}/00000001.bfj"))
}

/// Where the last record of a segment ends: nothing but zeros follows.
fn end_of(path: &Path) -> u64 {
    let bytes = fs::read(path).unwrap();
    let last = bytes.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    (last + 1).next_multiple_of(4096)
}

fn put(archive: &Archive, file: &str, content: &[u8]) {
    let len = content.len() as u64;
    drop(
        archive
            .commit(&name(file), content, len, &CommitOptions::default())
            .unwrap(),
    );
}

fn check_stored(archive: &Archive, story: &str) {
    for (index, len) in LENGTHS.into_iter().enumerate() {
        let content = get(archive, &format!("stored/{index}")).unwrap();
        assert!(content == painted(len, index as u64), "stored/{index}, {story}");
    }
    assert_eq!(
        archive.unfinished().unwrap(),
        Vec::<UnfinishedCommit>::new(),
        "{story}"
    );
    assert_eq!(archive.scrub(&()).unwrap().damage, [], "{story}");
}

/// What somebody did to one copy, or to all.
type Harm<'a> = (&'a str, &'a dyn Fn(&Path, u8));

fn flip_everywhere(root: &Path, copy: u8) {
    let path = segment(root, copy);
    for at in (0..end_of(&path)).step_by(997) {
        damage::flip_byte(&path, at).unwrap();
    }
}

fn tear(root: &Path, copy: u8) {
    let path = segment(root, copy);
    let last = end_of(&path) - 4096;
    let mut bytes = fs::read(&path).unwrap();
    bytes[last as usize + 100..].fill(0);
    fs::write(&path, bytes).unwrap();
}

fn harms() -> Vec<Harm<'static>> {
    vec![
        ("flipped", &flip_everywhere),
        ("header", &|root, copy| {
            damage::flip_byte(&segment(root, copy), 20).unwrap();
        }),
        ("torn", &tear),
        ("cut off", &|root, copy| {
            let path = segment(root, copy);
            damage::truncate(&path, end_of(&path) - 4000).unwrap();
        }),
        ("empty", &|root, copy| {
            fs::write(segment(root, copy), b"").unwrap();
        }),
        ("no file", &|root, copy| {
            fs::remove_file(segment(root, copy)).unwrap();
        }),
        ("no directory", &|root, copy| {
            fs::remove_dir_all(segment(root, copy).parent().unwrap()).unwrap();
        }),
        ("a directory for a file", &|root, copy| {
            fs::remove_file(segment(root, copy)).unwrap();
            fs::create_dir(segment(root, copy)).unwrap();
        }),
        ("of another archive", &|root, copy| {
            let other = Closed::new();
            fs::copy(segment(&other.root(), copy), segment(root, copy)).unwrap();
        }),
        ("another copy", &|root, copy| {
            let bytes = fs::read(segment(root, (copy + 1) % 4)).unwrap();
            fs::write(segment(root, copy), bytes).unwrap();
        }),
    ]
}

/// Opens an archive whose journal was harmed, stores something, and looks that nothing is missing and all is well after.
fn check_goes_on(root: &Path, story: &str) -> RecoveryReport {
    let (reader, _) = try_open(root, Access::Read).unwrap();
    check_stored(&reader, story);
    drop(reader);
    let (archive, report) =
        try_open(root, Access::Write).unwrap_or_else(|error| panic!("{error:?}, {story}"));
    check_stored(&archive, story);
    archive.close().unwrap();
    let (archive, again) = try_open(root, Access::Write).unwrap();
    assert_eq!(
        again,
        RecoveryReport::default(),
        "it was made whole at once, {story}"
    );
    put(&archive, "newer", &painted(50_000, 8));
    archive.close().unwrap();
    let (archive, again) = try_open(root, Access::Write).unwrap();
    assert_eq!(again, RecoveryReport::default(), "it was made whole, {story}");
    assert!(get(&archive, "newer").unwrap() == painted(50_000, 8), "{story}");
    check_stored(&archive, story);
    archive.close().unwrap();
    report
}

#[test]
fn one_copy_of_the_journal_that_is_harmed_costs_nothing_and_is_made_whole() {
    let closed = Closed::new();
    for (harm, hurt) in harms() {
        for copy in [0, 3] {
            let story = format!("{harm}, copy {copy}");
            let root = closed.copy("hurt");
            hurt(&root, copy);
            let report = check_goes_on(&root, &story);
            assert_eq!(report.records_rolled_forward, 0, "{story}");
            // What stands before the end that the catalog knows is not looked at.
            assert!(report.journal_findings > 0, "{story}: {report:?}");
            fs::remove_dir_all(root).unwrap();
        }
    }
}

/// The same, with an old catalog, so that every record behind it is needed: one copy is enough.
#[test]
fn one_copy_of_the_journal_that_is_left_brings_an_old_catalog_forward() {
    let closed = Closed::new();
    let root = closed.root();
    let old = fs::read(root.join("catalog.redb")).unwrap();
    let (archive, _) = try_open(&root, Access::Write).unwrap();
    for index in 0..5 {
        put(&archive, &format!("later/{index}"), &painted(9000 + index, index));
    }
    drop(archive.remove(&name("later/2")).unwrap());
    archive.close().unwrap();
    fs::write(root.join("catalog.redb"), &old).unwrap();
    for (harm, hurt) in harms().into_iter().filter(|harm| harm.0 != "another copy") {
        let story = format!("{harm}, three copies");
        let root = closed.copy("hurt");
        let extents = tree(&root.join("volumes/v0/extents"));
        for copy in [0, 1, 3] {
            hurt(&root, copy);
        }
        let (archive, report) =
            try_open(&root, Access::Write).unwrap_or_else(|error| panic!("{error:?}, {story}"));
        assert_eq!(report.records_rolled_forward, 6, "{story}");
        assert!(tree(&root.join("volumes/v0/extents")) == extents, "{story}");
        for index in [0, 1, 3, 4] {
            let content = get(&archive, &format!("later/{index}")).unwrap();
            assert!(content == painted(9000 + index, index), "later/{index}, {story}");
        }
        assert_eq!(names(&archive).len(), 4 + 4, "{story}");
        archive.close().unwrap();
        drop(check_goes_on(&root, &story));
        // The next old catalog finds whole copies, whichever is read.
        fs::write(root.join("catalog.redb"), &old).unwrap();
        fs::remove_dir_all(journal(&root).join("c2")).unwrap();
        let (archive, report) =
            try_open(&root, Access::Write).unwrap_or_else(|error| panic!("{error:?}, {story}, again"));
        assert_eq!(
            report.records_rolled_forward, 7,
            "{story}: the others were made whole"
        );
        assert!(get(&archive, "newer").unwrap() == painted(50_000, 8), "{story}");
        drop(archive);
        fs::remove_dir_all(root).unwrap();
    }
}

#[test]
fn without_its_catalog_an_archive_is_not_opened_and_not_made_anew() {
    let closed = Closed::new();
    let root = closed.root();
    fs::remove_file(root.join("catalog.redb")).unwrap();
    let before = tree(&root);
    for access in [Access::Read, Access::Write] {
        let refused = try_open(&root, access).map(drop);
        assert!(
            matches!(refused, Err(OpenError::CatalogMissing { .. })),
            "{refused:?}"
        );
    }
    assert!(tree(&root) == before, "nothing was made or changed");
}

#[test]
fn an_archive_goes_on_when_all_copies_of_its_journal_are_lost_and_says_so() {
    let closed = Closed::new();
    for (harm, hurt) in harms() {
        if harm == "another copy" {
            continue;
        }
        let root = closed.copy("hurt");
        (0..4).for_each(|copy| hurt(&root, copy));
        let report = check_goes_on(&root, harm);
        assert!(report.journal_findings > 0, "{harm}: {report:?}");
        fs::remove_dir_all(root).unwrap();
    }
    let root = closed.copy("hurt");
    fs::remove_dir_all(journal(&root)).unwrap();
    let report = check_goes_on(&root, "the whole directory");
    assert!(report.journal_findings > 0, "{report:?}");
}

/// A record that was torn while it was written, on every copy, was never published: the catalog does not have it either.
#[test]
fn a_record_that_is_torn_on_all_copies_was_never_published() {
    let closed = Closed::new();
    let root = closed.root();
    let old = fs::read(root.join("catalog.redb")).unwrap();
    let (archive, _) = try_open(&root, Access::Write).unwrap();
    put(&archive, "torn", &painted(3000, 1));
    archive.close().unwrap();
    (0..4).for_each(|copy| tear(&root, copy));
    fs::write(root.join("catalog.redb"), &old).unwrap();
    let (archive, report) = try_open(&root, Access::Write).unwrap();
    assert_eq!(report.records_rolled_forward, 0);
    assert!(get(&archive, "torn").is_err());
    check_stored(&archive, "torn on all copies");
    archive.close().unwrap();
    drop(check_goes_on(&root, "torn on all copies"));
}

/// Copies an archive and lets both go on by themselves; returns the roots.
fn fork(closed: &Closed, commits: [u64; 2]) -> [PathBuf; 2] {
    let roots = [closed.root(), closed.copy("twin")];
    for ((root, count), seed) in roots.iter().zip(commits).zip([100, 200]) {
        let (archive, _) = try_open(root, Access::Write).unwrap();
        for index in 0..count {
            put(
                &archive,
                &format!("side/{index}"),
                &painted(7000 + index, seed + index),
            );
        }
        archive.close().unwrap();
    }
    roots
}

fn check_forked(root: &Path, story: &str) {
    let before = tree(root);
    let refused = try_open(root, Access::Write).map(|opened| opened.1);
    let Err(OpenError::Forked { first, second }) = refused else {
        panic!("{refused:?}, {story}");
    };
    assert_ne!(first, second, "{story}");
    assert!(first.epoch > Epoch::ZERO && second.epoch > Epoch::ZERO, "{story}");
    let without_catalog = |mut tree: std::collections::BTreeMap<PathBuf, Vec<u8>>| {
        tree.retain(|path, _| !path.ends_with("catalog.redb"));
        tree
    };
    assert!(
        without_catalog(tree(root)) == without_catalog(before),
        "nothing was changed, {story}"
    );
    let (reader, report) = try_open(root, Access::Read).unwrap();
    assert!(report.is_forked, "{report:?}, {story}");
    for (index, len) in LENGTHS.into_iter().enumerate() {
        let content = get(&reader, &format!("stored/{index}")).unwrap();
        assert!(content == painted(len, index as u64), "stored/{index}, {story}");
    }
}

#[test]
fn copies_of_journals_that_went_different_ways_are_refused_for_writing_with_both_heads() {
    for commits in [[1, 1], [2, 2], [1, 3], [3, 1]] {
        for (mixed, copies) in [
            ("one copy", &[1_u8][..]),
            ("half", &[0, 2]),
            ("all but one", &[1, 2, 3]),
        ] {
            for is_catalog_old in [false, true] {
                let closed = Closed::new();
                let old = fs::read(closed.root().join("catalog.redb")).unwrap();
                let [root, twin] = fork(&closed, commits);
                for copy in copies {
                    fs::copy(segment(&twin, *copy), segment(&root, *copy)).unwrap();
                }
                if is_catalog_old {
                    fs::write(root.join("catalog.redb"), &old).unwrap();
                }
                check_forked(
                    &root,
                    &format!("{mixed} of {commits:?}, old catalog: {is_catalog_old}"),
                );
            }
        }
    }
}

/// Where the journal ends before the catalog nobody can tell that it went another way: that is a journal whose end is lost.
#[test]
fn the_catalog_of_one_archive_with_the_journal_of_its_twin_is_refused_for_writing() {
    for commits in [[1, 1], [2, 2], [3, 1]] {
        let closed = Closed::new();
        let [root, twin] = fork(&closed, commits);
        fs::copy(twin.join("catalog.redb"), root.join("catalog.redb")).unwrap();
        check_forked(&root, &format!("{commits:?}"));
    }
    let closed = Closed::new();
    let [root, twin] = fork(&closed, [3, 1]);
    fs::remove_dir_all(journal(&root)).unwrap();
    copy_dir(&journal(&twin), &journal(&root));
    let (_, report) = try_open(&root, Access::Write).unwrap();
    assert!(report.journal_findings > 0, "{report:?}");
}

#[test]
fn an_old_volume_that_was_put_back_is_read_and_not_written() {
    for later in [1, 2, 5] {
        let closed = Closed::new();
        let root = closed.root();
        let old = closed.dir.path().join("old-volume");
        copy_dir(&root.join("volumes/v0"), &old);
        let (archive, _) = try_open(&root, Access::Write).unwrap();
        for index in 0..later {
            put(&archive, &format!("later/{index}"), &painted(40_000, index));
        }
        archive.close().unwrap();
        fs::remove_dir_all(root.join("volumes/v0")).unwrap();
        copy_dir(&old, &root.join("volumes/v0"));
        let refused = try_open(&root, Access::Write).map(|opened| opened.1);
        assert!(
            matches!(refused, Err(OpenError::VolumeStale { catalog, seen, .. }) if seen < catalog),
            "{later} later: {refused:?}"
        );
        let (reader, _) = try_open(&root, Access::Read).unwrap();
        for (index, len) in LENGTHS.into_iter().enumerate() {
            let content = get(&reader, &format!("stored/{index}")).unwrap();
            assert!(content == painted(len, index as u64));
        }
        // What it does not have is lost, and said to be; no other byte is served in its place.
        for index in 0..later {
            let read = get(&reader, &format!("later/{index}"));
            assert!(matches!(read, Err(ReadError::Lost { .. })), "{read:?}");
        }
        let report = reader.scrub(&()).unwrap();
        assert_eq!(
            (report.files_lost() as u64, report.descriptors_lost() as u64),
            (later, later)
        );
    }
}
