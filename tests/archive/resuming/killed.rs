//! Processes that are killed in the middle of a long commit, for real: the next one recovers and goes on.

use std::{
    collections::BTreeMap,
    env, fs,
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Mutex,
};

use bfdb::archive::{Event, Observer};

use crate::stop_after::StopAfter;
use crate::support::{copy_dir, dir_in_memory, get, name, painted};

use super::{BLOCK, Bench, INTERVAL, LEN, check_finished, extent_bytes, open, waiting};

/// Where the process that is to be killed finds the archive; beside it lies the source.
const ROOT: &str = "BFDB_TEST_ARCHIVE_TO_DIE_IN";
/// How many blocks it writes before it waits for its end.
const BLOCKS: &str = "BFDB_TEST_BLOCKS_BEFORE_DEATH";

/// Waits for ever after so many events.
struct DiesAfter(Mutex<u64>);

impl Observer for DiesAfter {
    fn event(&self, _: Event<'_>) {
        let mut left = self.0.lock().unwrap();
        *left -= 1;
        if *left == 0 {
            let mut out = io::stdout();
            out.write_all(b"\nready to die\n").unwrap();
            out.flush().unwrap();
            // Until the pipe is closed, which it is not before the kill.
            io::stdin().read_to_end(&mut Vec::new()).unwrap();
        }
    }
}

/// Not a test by itself: the process that [`kill_after`] starts, and kills.
#[test]
fn a_process_that_dies() {
    let (Some(root), Ok(blocks)) = (env::var_os(ROOT).map(PathBuf::from), env::var(BLOCKS)) else {
        return;
    };
    let (archive, _) = open(&root);
    let observer = DiesAfter(Mutex::new(blocks.parse().unwrap()));
    let source = root.parent().unwrap().join("source");
    drop(archive.commit_path(&name("file"), &source, &observer));
}

/// Runs a commit in another process and kills it after so many blocks.
fn kill_after(root: &Path, blocks: u64) {
    let mut child = Command::new(env::current_exe().unwrap())
        .args([
            "resuming::killed::a_process_that_dies",
            "--exact",
            "--nocapture",
            "--test-threads=1",
        ])
        .env(ROOT, root)
        .env(BLOCKS, blocks.to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let told = BufReader::new(child.stdout.take().unwrap()).lines();
    let is_ready = told.map(Result::unwrap).any(|line| line == "ready to die");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(is_ready, "it came to its {blocks} blocks");
}

#[test]
fn a_commit_whose_process_was_killed_waits_and_is_finished_by_the_next() {
    for blocks in [1, 2, 3, 4, 17, 33, 49, 50] {
        let story = format!("killed after {blocks} blocks");
        let bench = Bench::new();
        let (root, content) = (bench.store.root(), bench.content.clone());
        let source = bench.source.clone();
        let crate::support::Store { dir: _dir, archive } = bench.store;
        archive.close().unwrap();
        kill_after(&root, blocks);
        let (archive, report) = open(&root);
        assert_eq!((report.dead_sessions, report.commits_waiting), (1, 1), "{story}");
        assert_eq!(
            (report.extents_released, report.commits_rolled_back),
            (0, 0),
            "{story}"
        );
        let unfinished = waiting(&archive);
        assert!(!unfinished.is_running, "{story}");
        let done = unfinished.resumable.unwrap().done_bytes;
        let whole = (blocks * BLOCK).min(LEN);
        assert!(
            done <= whole && whole - done <= 2 * INTERVAL,
            "{done} bytes are done, {story}"
        );
        let observer = StopAfter::never();
        drop(archive.resume(unfinished.commit, &observer).unwrap());
        assert!(observer.bytes() <= LEN - done + 2 * INTERVAL, "{story}");
        check_finished(&archive, &content, &story);
        let alone = Bench::new();
        fs::write(&alone.source, fs::read(source).unwrap()).unwrap();
        drop(
            alone
                .archive()
                .commit_path(&name("file"), &alone.source, &())
                .unwrap(),
        );
        let expected = extent_bytes(&alone.store.root());
        assert!(
            extent_bytes(&root) <= expected + 9 * 4096,
            "{} instead of {expected}, {story}",
            extent_bytes(&root)
        );
    }
}

#[test]
fn a_commit_whose_processes_are_killed_one_after_the_other_comes_to_its_end() {
    let bench = Bench::new();
    let (root, content) = (bench.store.root(), bench.content.clone());
    let crate::support::Store { dir: _dir, archive } = bench.store;
    archive.close().unwrap();
    // Each goes on by committing the same source again.
    for round in 0..8 {
        kill_after(&root, 6);
        let (archive, report) = open(&root);
        assert_eq!(
            (report.dead_sessions, report.commits_waiting),
            (1, 1),
            "round {round}"
        );
        assert_eq!(archive.scrub(&()).unwrap().damage, []);
        archive
            .commit(
                &name(&format!("beside/{round}")),
                &painted(9000, round)[..],
                9000,
                &bfdb::archive::CommitOptions::default(),
            )
            .unwrap();
        archive.close().unwrap();
    }
    let (archive, _) = open(&root);
    drop(archive.resume(waiting(&archive).commit, &()).unwrap());
    check_finished(&archive, &content, "eight deaths");
    for round in 0..8 {
        assert!(get(&archive, &format!("beside/{round}")).unwrap() == painted(9000, round));
    }
}

#[test]
fn a_commit_whose_process_was_killed_is_rolled_back_without_a_trace() {
    let bench = Bench::new();
    let (root, before) = (bench.store.root(), bench.store.extent_bytes());
    let crate::support::Store { dir: _dir, archive } = bench.store;
    archive.close().unwrap();
    kill_after(&root, 20);
    let (archive, _) = open(&root);
    archive.roll_back(waiting(&archive).commit).unwrap();
    let files = bfdb_fault_injection::damage::extent_files(&root).unwrap();
    let after: BTreeMap<PathBuf, Vec<u8>> = files
        .into_iter()
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    assert!(after == before, "no extent and no byte of one is left");
}

/// Copies the archive at every event: each copy is what a process leaves that dies there.
struct Copies<'a> {
    root: &'a Path,
    into: &'a Path,
    count: Mutex<u64>,
}

impl Observer for Copies<'_> {
    fn event(&self, _: Event<'_>) {
        let mut count = self.count.lock().unwrap();
        copy_dir(self.root, &self.into.join(count.to_string()));
        *count += 1;
    }
}

#[test]
fn a_commit_that_dies_at_any_block_of_any_leg_is_finished() {
    let bench = Bench::with_len(12 * BLOCK + 5);
    let (commit, _) = bench.interrupt(4);
    let dir = dir_in_memory();
    let copies = Copies {
        root: &bench.store.root(),
        into: dir.path(),
        count: Mutex::new(0),
    };
    drop(bench.archive().resume(commit, &copies).unwrap());
    let count = *copies.count.lock().unwrap();
    assert_eq!(count, 10, "one says that it goes on, and each of nine blocks one");
    for copy in 0..count {
        let (archive, report) = open(&dir.path().join(copy.to_string()));
        assert_eq!(
            (report.dead_sessions, report.commits_waiting),
            (1, 1),
            "copy {copy}"
        );
        drop(archive.resume(commit, &()).unwrap());
        check_finished(&archive, &bench.content, &format!("copy {copy}"));
    }
}
