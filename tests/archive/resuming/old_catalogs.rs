//! A catalog of another time is put back while a commit waits: what it says of the commit is older than the extents.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bfdb::error::CommitError;

use crate::stop_after::StopAfter;
use crate::support::{get, name, painted};

use super::{Bench, interrupted, open, waiting};

/// Closes an archive, so that its catalog is one file, and goes on with it.
fn catalog_of(bench: Bench) -> (Bench, Vec<u8>) {
    let root = bench.store.root();
    let (bench, _) = bench.reopen();
    let bytes = fs::read(root.join("catalog.redb")).unwrap();
    (bench, bytes)
}

/// Closes the archive and puts a catalog back; returns the directory that keeps it, and where it is.
fn put_back(bench: Bench, catalog: &[u8]) -> (tempfile::TempDir, PathBuf, Vec<u8>) {
    let root = bench.store.root();
    let content = bench.content.clone();
    let crate::support::Store { dir, archive } = bench.store;
    archive.close().unwrap();
    fs::write(root.join("catalog.redb"), catalog).unwrap();
    (dir, root, content)
}

fn check_others(root: &Path, others: u64, story: &str) {
    let (archive, _) = open(root);
    assert!(get(&archive, "before").unwrap() == painted(30_000, 1), "{story}");
    for other in 0..others {
        let content = get(&archive, &format!("other/{other}")).unwrap();
        assert!(
            content == painted(150_000 + other, other),
            "other/{other}, {story}"
        );
    }
    assert_eq!(archive.scrub(&()).unwrap().damage, [], "{story}");
}

/// Stores some files that go on in the extents that are free.
fn put_others(bench: &Bench, others: u64) {
    for other in 0..others {
        bench
            .store
            .put(&format!("other/{other}"), &painted(150_000 + other, other));
    }
}

#[test]
fn a_catalog_from_before_the_commit_knows_nothing_of_it_and_harms_nobody() {
    let (bench, catalog) = catalog_of(Bench::new());
    let (commit, _) = bench.interrupt(30);
    let source = bench.source.clone();
    let (_dir, root, content) = put_back(bench, &catalog);
    let (archive, report) = open(&root);
    assert_eq!(report.commits_waiting, 0);
    assert_eq!(archive.unfinished().unwrap(), []);
    let unknown = archive.resume(commit, &());
    assert!(
        matches!(unknown, Err(CommitError::NoSuchCommit { .. })),
        "{unknown:?}"
    );
    drop(archive.commit_path(&name("file"), &source, &()).unwrap());
    super::check_finished(&archive, &content, "committed again");
}

#[test]
fn a_catalog_from_an_earlier_point_goes_on_from_there() {
    let bench = Bench::new();
    let (commit, first) = bench.interrupt(10);
    let (bench, catalog) = catalog_of(bench);
    for events in [10, 5, 7] {
        let again = interrupted(bench.archive().resume(commit, &StopAfter::new(events)));
        assert_eq!(again.0, commit);
    }
    let (_dir, root, content) = put_back(bench, &catalog);
    let (archive, report) = open(&root);
    assert_eq!(report.commits_waiting, 1);
    assert_eq!(waiting(&archive).resumable.unwrap().done_bytes, first);
    drop(archive.resume(commit, &()).unwrap());
    super::check_finished(&archive, &content, "from an earlier point");
}

#[test]
fn a_catalog_with_an_intent_whose_commit_was_published_is_brought_forward_and_the_intent_ends() {
    for others in [0, 3] {
        let bench = Bench::new();
        let (commit, _) = bench.interrupt(10);
        let (bench, catalog) = catalog_of(bench);
        drop(bench.archive().resume(commit, &()).unwrap());
        put_others(&bench, others);
        let (_dir, root, content) = put_back(bench, &catalog);
        let (archive, report) = open(&root);
        assert_eq!(report.records_rolled_forward, 1 + others);
        assert_eq!(report.commits_waiting, 0);
        super::check_finished(&archive, &content, "published meanwhile");
        let gone = archive.resume(commit, &());
        assert!(matches!(gone, Err(CommitError::NoSuchCommit { .. })), "{gone:?}");
        drop(archive);
        check_others(&root, others, "published meanwhile");
    }
}

/// The intent that comes back owned extents that others have filled since. Neither going on with it nor giving it back may
/// touch a byte of theirs.
#[test]
fn a_catalog_with_an_intent_that_was_rolled_back_harms_nothing_that_was_stored_since() {
    for choice in ["resume", "roll back", "commit again", "only open"] {
        for others in [1, 4] {
            let bench = Bench::new();
            let (commit, _) = bench.interrupt(20);
            let (bench, catalog) = catalog_of(bench);
            bench.archive().roll_back(commit).unwrap();
            put_others(&bench, others);
            let source = bench.source.clone();
            let (_dir, root, content) = put_back(bench, &catalog);
            let story = format!("{choice} beside {others}");
            let (archive, report) = open(&root);
            assert_eq!(report.records_rolled_forward, others, "{story}");
            match choice {
                "resume" if !archive.unfinished().unwrap().is_empty() => {
                    drop(archive.resume(commit, &()).unwrap());
                    super::check_finished(&archive, &content, &story);
                }
                "roll back" if !archive.unfinished().unwrap().is_empty() => {
                    archive.roll_back(commit).unwrap();
                }
                "commit again" => {
                    drop(archive.commit_path(&name("file"), &source, &()).unwrap());
                    super::check_finished(&archive, &content, &story);
                }
                _ => {}
            }
            archive.close().unwrap();
            check_others(&root, others, &story);
        }
    }
}
