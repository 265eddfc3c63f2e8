//! Room in which nothing lives comes back, and nothing else does.

mod accounting;
mod beside;
mod readers;
mod rewriting;

use std::{fs, os::unix::fs::MetadataExt as _};

use bfdb::{
    archive::{Archive, CommitOptions, CompactOptions, CompactReport, KeptWhy, NameConflict, VolumeSpace},
    catalog::Access,
    error::RepairError,
    host::Machine,
    plan::Budget,
};

use self::accounting::recounted;
use crate::support::{SEGMENTED_BELOW, Store, TINY_BELOW, copy_dir, get, name, names, open, painted};

/// Rewrites whatever has a dead byte.
fn eager() -> CompactOptions {
    CompactOptions {
        min_dead_percent: 0,
        min_dead_bytes: 1,
        ..CompactOptions::default()
    }
}

/// Gives back what takes no writing alone.
fn gentle() -> CompactOptions {
    CompactOptions {
        min_dead_percent: 101,
        ..CompactOptions::default()
    }
}

fn remove(archive: &Archive, file: &str) {
    drop(archive.remove(&name(file)).unwrap());
}

fn replace(archive: &Archive, file: &str, content: &[u8]) {
    let options = CommitOptions {
        name_conflict: NameConflict::Replace,
        ..CommitOptions::default()
    };
    let receipt = archive.commit(&name(file), content, content.len() as u64, &options);
    drop(receipt.unwrap());
}

fn space(archive: &Archive) -> VolumeSpace {
    archive.snapshot().unwrap().space().unwrap()[0]
}

fn compact(archive: &Archive, options: &CompactOptions) -> CompactReport {
    archive.compact(options, &()).unwrap()
}

/// Bytes for which the extent files have blocks.
fn allocated(store: &Store) -> u64 {
    let blocks = store.extents().into_iter();
    blocks
        .map(|path| fs::metadata(path).unwrap().blocks() * 512)
        .sum()
}

fn assert_whole(archive: &Archive) {
    assert_eq!(archive.scrub(&()).unwrap().damage, []);
    assert_eq!(archive.snapshot().unwrap().verify(None, &()).unwrap().damage, []);
}

#[test]
fn an_archive_in_which_nothing_lives_any_more_has_no_extents_and_takes_new_files() {
    let store = Store::new();
    for (seed, len) in [TINY_BELOW - 1, SEGMENTED_BELOW - 1, SEGMENTED_BELOW * 3]
        .into_iter()
        .enumerate()
    {
        store.put(&len.to_string(), &painted(len, seed as u64));
    }
    for file in store.names() {
        remove(&store.archive, &file);
    }
    let before = space(&store.archive);
    assert_eq!(before.live_bytes, 0, "descriptors go with their last entries");
    assert!(before.dead_bytes > SEGMENTED_BELOW);
    let extents = store.extents().len() as u64;
    let report = compact(&store.archive, &CompactOptions::default());
    assert_eq!(report.dropped_extents, extents);
    assert_eq!(report.dropped_bytes, before.dead_bytes + before.overhead_bytes);
    assert_eq!((report.hole_bytes, report.rewritten_bytes), (0, 0));
    assert_eq!((store.extents(), report.kept), (Vec::new(), Vec::new()));
    let after = space(&store.archive);
    assert_eq!(
        (after.dead_bytes, after.overhead_bytes, after.freed_bytes),
        (0, 0, 0)
    );
    let again = compact(&store.archive, &eager());
    assert_eq!(again, CompactReport::default(), "there is nothing left to do");
    store.put("new", &painted(50_000, 9));
    assert_whole(&store.archive);
    let store = store.reopen();
    assert!(store.get("new").unwrap() == painted(50_000, 9));
    recounted(&store);
}

#[test]
fn holes_take_blocks_from_the_file_and_nothing_from_the_files_beside() {
    let store = Store::new();
    for index in 0..12 {
        store.put(&format!("file/{index}"), &painted(SEGMENTED_BELOW - 1, index));
    }
    for index in (0..12).filter(|index| index % 3 != 0) {
        remove(&store.archive, &format!("file/{index}"));
    }
    let (before, blocks) = (space(&store.archive), allocated(&store));
    let report = compact(&store.archive, &gentle());
    assert!(
        report.hole_bytes > before.dead_bytes / 2,
        "{report:?} of {before:?}"
    );
    assert_eq!((report.dropped_extents, report.rewritten_bytes), (0, 0));
    let after = space(&store.archive);
    assert_eq!(after.freed_bytes, report.hole_bytes);
    assert_eq!(after.dead_bytes, before.dead_bytes - report.hole_bytes);
    // A file of many pieces may need a block for the list of them.
    let lists = store.extents().len() as u64 * 4096;
    let gone = blocks - allocated(&store);
    assert!(
        gone <= report.hole_bytes && gone + lists >= report.hole_bytes,
        "the file system counts {gone} bytes less: {report:?}"
    );
    assert_whole(&store.archive);
    let again = compact(&store.archive, &gentle());
    assert_eq!(again.hole_bytes, 0, "what was given back is not given back again");
    // A commit that goes on in the same extents fills no hole.
    store.put("later", &painted(30_000, 99));
    assert_eq!(space(&store.archive).freed_bytes, report.hole_bytes);
    let live = space(&store.archive).live_bytes;
    assert!(
        allocated(&store) < live + after.dead_bytes + after.overhead_bytes + (1 << 20),
        "{} blocks",
        allocated(&store)
    );
    for index in (0..12).step_by(3) {
        assert!(store.get(&format!("file/{index}")).unwrap() == painted(SEGMENTED_BELOW - 1, index));
    }
    recounted(&store);
}

#[test]
fn a_dry_run_says_what_is_done_then_and_changes_nothing() {
    let store = Store::new();
    for index in 0..6 {
        store.put(&format!("file/{index}"), &painted(SEGMENTED_BELOW - 1, index));
    }
    remove(&store.archive, "file/2");
    let catalog = fs::read(store.root().join("catalog.redb")).unwrap();
    let extents = store.extent_bytes();
    let planned = CompactOptions {
        is_dry_run: true,
        ..gentle()
    };
    let planned = compact(&store.archive, &planned);
    assert!(fs::read(store.root().join("catalog.redb")).unwrap() == catalog);
    assert!(store.extent_bytes() == extents);
    assert_eq!(planned, compact(&store.archive, &gentle()));
}

#[test]
fn an_archive_that_is_open_for_reading_is_planned_and_not_compacted() {
    let store = Store::new();
    store.put("file", &painted(SEGMENTED_BELOW, 1));
    remove(&store.archive, "file");
    let reader = open(&store.root(), Access::Read);
    let error = reader.compact(&CompactOptions::default(), &()).unwrap_err();
    assert!(matches!(error, RepairError::Store { .. }), "{error:?}");
    let options = CompactOptions {
        is_dry_run: true,
        ..CompactOptions::default()
    };
    let planned = reader.compact(&options, &()).unwrap();
    assert_eq!(planned.dropped_extents, store.extents().len() as u64);
}

#[test]
fn a_file_with_another_name_is_not_punched() {
    let store = Store::new();
    for index in 0..4 {
        store.put(&format!("file/{index}"), &painted(SEGMENTED_BELOW - 1, index));
    }
    let links: Vec<_> = (store.extents().iter().enumerate())
        .map(|(index, path)| {
            let link = store.dir.path().join(format!("backup-{index}"));
            fs::hard_link(path, &link).unwrap();
            (link, fs::read(path).unwrap())
        })
        .collect();
    remove(&store.archive, "file/1");
    let report = compact(&store.archive, &gentle());
    assert_eq!((report.hole_bytes, report.rewritten_bytes), (0, 0), "{report:?}");
    let why: Vec<KeptWhy> = report.kept.iter().map(|kept| kept.why).collect();
    assert!(why.contains(&KeptWhy::SharedFile), "{why:?}");
    for (link, bytes) in links {
        assert!(fs::read(link).unwrap() == bytes, "a backup has its bytes");
    }
    assert_whole(&store.archive);
}

#[test]
fn old_catalogs_are_brought_forward_over_what_was_given_back() {
    let store = Store::new();
    store.put("before", &painted(SEGMENTED_BELOW * 2, 1));
    let store = store.reopen();
    let (root, dir) = (store.root(), store.dir);
    store.archive.close().unwrap();
    let catalog = root.join("catalog.redb");
    let old = fs::read(&catalog).unwrap();
    let archive = open(&root, Access::Write);
    let store = Store { dir, archive };
    // Commits of which nothing is left, some of them replaced three times.
    for round in 0..3 {
        replace(
            &store.archive,
            "replaced",
            &painted(SEGMENTED_BELOW - 1, 10 + round),
        );
        replace(&store.archive, "tiny", &painted(700, 20 + round));
        store.put(
            &format!("gone/{round}"),
            &painted(SEGMENTED_BELOW - 1, 30 + round),
        );
        remove(&store.archive, &format!("gone/{round}"));
        let _report = compact(&store.archive, &eager());
    }
    remove(&store.archive, "before");
    let _report = compact(&store.archive, &eager());
    recounted(&store);
    let expected = recounted_files(&store.archive);
    let kept = store.dir.path().join("kept");
    let Store { dir, archive } = store;
    archive.close().unwrap();
    copy_dir(&root, &kept);
    fs::write(&catalog, old).unwrap();
    let archive = open(&root, Access::Write);
    assert_eq!(recounted_files(&archive), expected, "versions are the same, too");
    assert_whole(&archive);
    assert_eq!(names(&archive), ["replaced", "tiny"]);
    archive.close().unwrap();
    // And a catalog that is made again from the beginning.
    fs::remove_file(kept.join("catalog.redb")).unwrap();
    let options = bfdb::archive::OpenOptions {
        access: Access::Write,
        ..bfdb::archive::OpenOptions::default()
    };
    let (archive, _) = Archive::rebuild_catalog(&Machine::default(), &kept, &options).unwrap();
    assert_eq!(recounted_files(&archive), expected);
    assert!(get(&archive, "replaced").unwrap() == painted(SEGMENTED_BELOW - 1, 12));
    assert!(get(&archive, "tiny").unwrap() == painted(700, 22));
    assert_whole(&archive);
    // Dead ranges are given back once more: this catalog does not know.
    let report = compact(&archive, &gentle());
    assert_eq!(report.rewritten_bytes, 0);
    assert_whole(&archive);
    drop(dir);
}

/// Name, root and version of every file.
fn recounted_files(archive: &Archive) -> Vec<String> {
    let snapshot = archive.snapshot().unwrap();
    let files = snapshot.files(None).map(|file| {
        let file = file.unwrap();
        format!(
            "{} {} {:?} {:?}",
            file.name,
            file.file,
            file.root,
            snapshot.places(&file.name).unwrap()
        )
    });
    files.collect()
}

#[test]
fn what_a_budget_does_not_allow_is_left_for_the_next_time() {
    let store = rewriting::scattered();
    let mut sums = Vec::new();
    let options = CompactOptions {
        budget: Budget {
            bytes: Some(1),
            time: None,
        },
        ..eager()
    };
    for _ in 0..40 {
        let report = compact(&store.archive, &options);
        sums.push(report.rewritten_bytes);
        rewriting::has_all(&store);
        if !report.kept.iter().any(|kept| kept.why == KeptWhy::OverBudget) {
            break;
        }
    }
    assert!(sums.len() > 2 && sums.len() < 40, "{sums:?}");
    recounted(&store);
}
