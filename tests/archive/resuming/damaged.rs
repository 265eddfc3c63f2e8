//! What was stored before an interruption is damaged or gone: nothing is built on it, and what comes out is right.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use bfdb_fault_injection::damage;

use crate::stop_after::StopAfter;
use crate::{
    damage::chart::frames_in,
    support::{copy_dir, dir_in_memory, get},
};

use super::{BLOCK, Bench, INTERVAL, LEN, check_finished, open, waiting};

const DONE: u64 = 30;

/// An archive with a commit that waits, and what to copy it to.
struct Ground {
    bench: Bench,
    before: BTreeMap<PathBuf, Vec<u8>>,
}

impl Ground {
    fn new() -> Self {
        let bench = Bench::new();
        let before = bench.store.extent_bytes();
        let (_, done) = bench.interrupt(DONE);
        assert_eq!(done, DONE * BLOCK);
        Self { bench, before }
    }

    fn copy(&self) -> (tempfile::TempDir, PathBuf) {
        let dir = dir_in_memory();
        let root = dir.path().join("a.bfdb");
        copy_dir(&self.bench.store.root(), &root);
        (dir, root)
    }
}

/// Resumes the commit of a copy; returns how many bytes were written.
fn resume(root: &Path, content: &[u8], story: &str) -> u64 {
    let (archive, report) = open(root);
    assert_eq!(report.commits_waiting, 1, "{story}");
    let commit = waiting(&archive).commit;
    let observer = StopAfter::never();
    drop(archive.resume(commit, &observer).unwrap());
    assert!(get(&archive, "file").unwrap() == content, "O1: {story}");
    assert_eq!(archive.unfinished().unwrap(), [], "{story}");
    let report = archive.scrub(&()).unwrap();
    assert!(
        report.damage.iter().all(|file| file.lost.is_empty()),
        "{report:?}, {story}"
    );
    observer.bytes()
}

/// What lies behind the last point but one is read before anything is built on it; of what lies before, the header, which
/// says what was written. So a byte that rots there later is damage as any other, within what the code survives.
#[test]
fn a_frame_that_was_damaged_is_not_built_on() {
    let ground = Ground::new();
    let content = &ground.bench.content;
    let frames = frames_in(&ground.bench.store.extent_bytes());
    let ours: Vec<_> = frames
        .iter()
        .filter(|frame| {
            ground
                .before
                .get(&frame.extent)
                .is_none_or(|before| frame.offset >= before.len() as u64)
        })
        .collect();
    let blocks = ours
        .iter()
        .map(|frame| frame.geometry.range().start())
        .max()
        .unwrap()
        / BLOCK
        + 1;
    assert_eq!(blocks, DONE, "every block that is done has frames");
    let mut fell_back = 0;
    for frame in ours.iter().step_by(11).chain(ours.last()) {
        let block = frame.geometry.range().start() / BLOCK;
        let payload = frame.layout.payload().start();
        for (part, at) in [("header", 20), ("payload", payload + 77)] {
            let story = format!("{part} of shard {} of block {block}", frame.shard);
            let (_dir, root) = ground.copy();
            let extent = root.join(frame.extent.strip_prefix(ground.bench.store.root()).unwrap());
            damage::flip_byte(&extent, frame.offset + at).unwrap();
            let written = resume(&root, content, &story);
            let is_near = block >= DONE - INTERVAL.div_ceil(BLOCK);
            if part == "header" || is_near {
                assert!(written > LEN - DONE * BLOCK, "{written} bytes, {story}");
                check_finished(&open(&root).0, content, &story);
                fell_back += 1;
            }
        }
    }
    assert!(fell_back > 20);
}

#[test]
fn extents_that_are_gone_or_cut_off_are_not_built_on() {
    let ground = Ground::new();
    let content = &ground.bench.content;
    let after = ground.bench.store.extent_bytes();
    let touched: Vec<&PathBuf> = after
        .iter()
        .filter(|(path, bytes)| ground.before.get(*path) != Some(bytes))
        .map(|(path, _)| path)
        .collect();
    assert!(touched.len() >= 9, "nine lanes");
    let root_of = |path: &Path, root: &Path| root.join(path.strip_prefix(ground.bench.store.root()).unwrap());
    for path in &touched {
        let committed = ground.before.get(*path).map_or(0, |before| before.len() as u64);
        for cut in [
            None,
            Some(0),
            Some(committed),
            Some(u64::midpoint(committed, after[*path].len() as u64)),
        ] {
            let story = format!("{} cut to {cut:?} of {committed}", path.display());
            let (_dir, root) = ground.copy();
            let extent = root_of(path, &root);
            match cut {
                None => fs::remove_file(&extent).unwrap(),
                Some(len) => damage::truncate(&extent, len).unwrap(),
            }
            let written = resume(&root, content, &story);
            assert!(written > LEN - DONE * BLOCK, "{written} bytes, {story}");
        }
    }
    // All of them.
    let (_dir, root) = ground.copy();
    for path in &touched {
        match ground.before.get(*path) {
            Some(before) => damage::truncate(&root_of(path, &root), before.len() as u64).unwrap(),
            None => fs::remove_file(root_of(path, &root)).unwrap(),
        }
    }
    assert_eq!(resume(&root, content, "all are gone"), LEN);
    check_finished(&open(&root).0, content, "all are gone");
}

/// A commit whose frames are damaged is rolled back as any other.
#[test]
fn what_is_damaged_is_rolled_back_too() {
    let ground = Ground::new();
    let (_dir, root) = ground.copy();
    let files = damage::extent_files(&root).unwrap();
    for path in files.iter().filter(|path| {
        let ours = ground.bench.store.root().join(path.strip_prefix(&root).unwrap());
        !ground.before.contains_key(&ours)
    }) {
        fs::remove_file(path).unwrap();
    }
    let (archive, _) = open(&root);
    archive.roll_back(waiting(&archive).commit).unwrap();
    assert_eq!(archive.unfinished().unwrap(), []);
    let after: BTreeMap<PathBuf, Vec<u8>> = damage::extent_files(&root)
        .unwrap()
        .into_iter()
        .map(|path| {
            (
                path.strip_prefix(&root).unwrap().to_path_buf(),
                fs::read(path).unwrap(),
            )
        })
        .collect();
    let before: BTreeMap<PathBuf, Vec<u8>> = ground
        .before
        .iter()
        .map(|(path, bytes)| {
            let path = path.strip_prefix(ground.bench.store.root()).unwrap();
            (path.to_path_buf(), bytes.clone())
        })
        .collect();
    assert!(after == before);
}
