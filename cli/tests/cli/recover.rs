//! Commits that were interrupted: listed, resumed, given back.

use std::{
    io::{self, Read},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
};

use bfdb::{
    archive::{Archive, CommitOptions, Event, Observer, OpenOptions, Resources, UnfinishedCommit},
    catalog::Access,
    error::CommitError,
    units::FileName,
};
use serde_json::json;

use crate::harness::{Answer, Place, content, root_of};

const MIB: usize = 1 << 20;

/// Tier 2, in five segments.
const LEN: usize = 20 * MIB;

/// A commit notes how far it has come after each segment.
const OFTEN: &str = "1M";

fn open(place: &Place, access: Access) -> Archive {
    let resources = Resources {
        threads: 1,
        progress_bytes: 1 << 20,
        ..Resources::default()
    };
    let options = OpenOptions {
        access,
        resources,
        volumes: Vec::new(),
    };
    let (archive, _report) = Archive::open(&place.path("archive.bfdb"), &options).expect("a good archive");
    archive
}

fn name(text: &str) -> FileName {
    text.parse().expect("a name")
}

/// Asks for an end once so many bytes are stored.
struct EndAfter {
    limit_bytes: u64,
    seen_bytes: AtomicU64,
}

impl Observer for EndAfter {
    fn event(&self, event: Event<'_>) {
        if let Event::Progress { bytes } = event {
            self.seen_bytes.fetch_add(bytes, Ordering::SeqCst);
        }
    }

    fn is_cancelled(&self) -> bool {
        self.seen_bytes.load(Ordering::SeqCst) >= self.limit_bytes
    }
}

/// Begins to commit a file and ends after two of its segments; returns its number.
fn interrupt(place: &Place, file: &str) -> u64 {
    let archive = open(place, Access::Write);
    let observer = EndAfter {
        limit_bytes: 8 * (1 << 20),
        seen_bytes: AtomicU64::new(0),
    };
    let interrupted = archive.commit_path(&name(file), &place.path(file), &observer);
    let Err(CommitError::Interrupted {
        commit, done_bytes, ..
    }) = interrupted
    else {
        panic!("it should have been interrupted: {interrupted:?}");
    };
    assert_eq!(done_bytes, 8 << 20, "two segments");
    archive.close().expect("nothing is pending");
    commit.get()
}

/// A place with an archive and files whose commits were interrupted.
fn place_with_interrupted(files: &[(&str, &[u8])]) -> (Place, Vec<u64>) {
    let place = Place::with(&[("stored", b"before")]);
    let begin = |(file, bytes): &(&str, &[u8])| {
        place.write(file, bytes);
        interrupt(&place, file)
    };
    let numbers = files.iter().map(begin).collect();
    (place, numbers)
}

fn unfinished(place: &Place) -> Vec<UnfinishedCommit> {
    let archive = open(place, Access::Read);
    let found = archive.unfinished().expect("a good catalog");
    archive.close().expect("nothing is pending");
    found
}

fn send(signal: &str, child: &Child) {
    let sent = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status();
    assert!(sent.is_ok_and(|status| status.success()), "no signal was sent");
}

/// Commits a file in a process of its own and sends it a signal once a part of it is stored for good. A fast disk may be
/// done before the signal comes: then the file is removed and stored anew.
fn interrupt_with(signal: &str, place: &Place, file: &str) -> std::process::Output {
    for _ in 0..20 {
        let mut command = place.command(["commit", "--threads", "1", "--progress-bytes", OFTEN, file]);
        let command = command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the program runs");
        let is_underway = || {
            let is_noted =
                |commit: &UnfinishedCommit| commit.resumable.as_ref().is_some_and(|file| file.done_bytes > 0);
            unfinished(place).iter().any(is_noted)
        };
        while !is_underway() && child.try_wait().expect("it is ours").is_none() {
            std::thread::yield_now();
        }
        send(signal, &child);
        let output = child.wait_with_output().expect("it ends");
        if output.status.success() {
            place.run(["-q", "rm", file]).expect_code(0);
        } else {
            return output;
        }
    }
    panic!("every commit was done before the signal came");
}

fn expect_stored(place: &Place, file: &str, bytes: &[u8]) {
    let listed = place.run(["ls", "--json", file]).expect_code(0).json();
    assert_eq!(listed[0]["root"], root_of(bytes), "what b3sum prints");
    let answer = place.run(["cat", file]).expect_code(0);
    assert!(answer.stdout == bytes, "other bytes came back");
    place.run(["scrub"]).expect_code(0);
    assert_eq!(unfinished(place), [], "nothing waits any more");
}

#[test]
fn without_anything_unfinished_there_is_nothing_to_recover() {
    let place = Place::with(&[("a", b"1")]);
    for arguments in [
        &["recover"][..],
        &["recover", "-n"],
        &["recover", "--resume"],
        &["recover", "--rollback"],
        &["recover", "--rollback", "--all"],
    ] {
        let answer = place.run(arguments).expect_code(0);
        answer.expect_text("nothing to recover\n").expect_stderr("");
    }
    let mut lines = place.run(["recover", "--json"]).expect_code(0).json();
    lines[0]["seconds"] = json!(0);
    let summary = json!({
        "type": "summary", "waiting": 0, "running": 0, "resumed": 0, "rolled_back": 0, "failed": 0, "bytes": 0,
        "seconds": 0, "dry_run": false, "suggest": [],
    });
    assert_eq!(lines, [summary]);
}

#[test]
fn ctrl_c_says_how_much_is_done_and_recover_stores_the_rest() {
    let bytes = content(64 * MIB, 1);
    let place = Place::with(&[("stored", b"before")]);
    place.write("big", &bytes);
    let answer = Answer::of(interrupt_with("-INT", &place, "big")).expect_code(130);
    let waiting = unfinished(&place);
    let done = waiting[0].resumable.as_ref().expect("a long file").done_bytes;
    assert!(done > 0, "some of it was noted");
    let message = format!(
        "error: interrupted: {} MiB of big are stored, and it can go on from there\n  \
         try: bfdb recover --resume big\n  try: bfdb recover --rollback big\n",
        decimal(done)
    );
    answer.expect_text("").expect_stderr(&message);
    place.run(["ls"]).expect_code(0).expect_text("stored\n");

    let answer = place
        .run(["recover", "--resume", "--progress", "json"])
        .expect_code(0);
    assert!(
        answer.text().starts_with("committed  tier 2    64.0 MiB  big\n"),
        "{}",
        answer.text()
    );
    assert!(
        answer.stderr.starts_with(&format!(
            "note: big: going on at {} MiB of 64.0 MiB\n",
            decimal(done)
        )),
        "{}",
        answer.stderr
    );
    let last: serde_json::Value =
        serde_json::from_str(answer.stderr.lines().last().expect("progress")).expect("a JSON line");
    let rest = 64 * (1 << 20) - done;
    assert_eq!(
        (&last["bytes"], &last["total"]),
        (&json!(rest), &json!(rest)),
        "only the rest counts"
    );
    expect_stored(&place, "big", &bytes);
}

fn decimal(bytes: u64) -> String {
    let tenths = bytes * 10 / (1 << 20);
    format!("{}.{}", tenths / 10, tenths % 10)
}

#[test]
fn a_process_that_was_killed_leaves_a_commit_that_the_same_command_goes_on_with() {
    let bytes = content(64 * MIB, 2);
    let place = Place::with(&[("stored", b"before")]);
    place.write("big", &bytes);
    let output = interrupt_with("-KILL", &place, "big");
    assert_eq!(output.status.code(), None, "the signal ended it");
    let done = unfinished(&place)[0]
        .resumable
        .as_ref()
        .expect("a long file")
        .done_bytes;
    let answer = place
        .run(["commit", "--progress-bytes", OFTEN, "big"])
        .expect_code(0);
    let note = format!(
        "note: recovered: 1 interrupted commit can go on; nothing that was committed is lost\n  try: bfdb recover\n\
         note: big: going on at {} MiB of 64.0 MiB\n",
        decimal(done)
    );
    answer.expect_stderr(&note);
    expect_stored(&place, "big", &bytes);
}

#[test]
fn interrupted_commits_are_listed_with_how_far_they_are_and_status_shows_them() {
    let (place, numbers) = place_with_interrupted(&[("big", &content(LEN, 3))]);
    let number = numbers[0];
    let place_of_source = place.path("big").display().to_string();
    for arguments in [&["recover"][..], &["recover", "-n"]] {
        let answer = place.run(arguments).expect_code(0);
        let text = answer.text();
        let begin = format!("commit {number}  waiting  8.0 MiB of 20.0 MiB (40 %)  since 2");
        assert!(text.starts_with(&begin), "{text}");
        let end = format!(
            "Z  big, from {place_of_source}\nnext: bfdb recover --resume\nnext: bfdb recover --rollback big\n"
        );
        assert!(text.ends_with(&end), "{text}");
    }
    let lines = place.run(["--json", "recover"]).expect_code(0).json();
    let begun_at = lines[0]["begun_at"].clone();
    assert!(begun_at.is_string(), "{begun_at}");
    let line = json!({
        "type": "interrupted", "commit_id": number, "name": "big", "others": 0, "source": place_of_source,
        "progress_bytes": 8 << 20, "total_bytes": LEN, "resumable": true, "state": "waiting", "begun_at": begun_at,
    });
    assert_eq!(lines[0], line);
    assert_eq!(lines[1]["waiting"], 1);
    assert_eq!(
        lines[1]["suggest"],
        json!(["bfdb recover --resume", "bfdb recover --rollback big"])
    );

    let answer = place.run(["status"]).expect_code(0);
    assert!(
        answer.text().contains(
            "waiting   1 interrupted commit, 8.0 MiB of 20.0 MiB done\nnext      bfdb recover --resume\nnext      bfdb scrub\n"
        ),
        "{}",
        answer.text()
    );
    let status = &place.run(["--json", "status"]).expect_code(0).json()[0];
    assert_eq!(
        (
            &status["pending_commits"],
            &status["pending_bytes"],
            &status["pending_done_bytes"]
        ),
        (&json!(1), &json!(LEN), &json!(8 << 20))
    );
    assert_eq!(status["suggest"], json!(["bfdb recover --resume", "bfdb scrub"]));
}

#[test]
fn a_resumed_commit_has_the_json_line_of_a_commit() {
    let bytes = content(LEN, 4);
    let (place, numbers) = place_with_interrupted(&[("big", &bytes)]);
    let number = numbers[0].to_string();
    let dry = place
        .run(["--json", "recover", "-n", "--resume", &number])
        .expect_code(0)
        .json();
    assert_eq!(
        (
            &dry[0]["name"],
            &dry[0]["result"],
            &dry[0]["dry_run"],
            &dry[0]["root"]
        ),
        (&json!("big"), &json!("committed"), &json!(true), &json!(null))
    );
    assert_eq!(unfinished(&place).len(), 1, "a dry run changes nothing");
    let answer = place
        .run(["--json", "recover", "--resume", &number])
        .expect_code(0);
    let told = json!({
        "type": "going_on", "name": "big", "progress_bytes": 8 << 20, "total_bytes": LEN,
    });
    assert_eq!(answer.json_errors(), [told]);
    let lines = answer.json();
    let stored = lines[0]["stored_bytes"].clone();
    let line = json!({
        "type": "file", "commit_id": numbers[0], "name": "big", "source": place.path("big").display().to_string(),
        "length": LEN, "tier": 2, "root": root_of(&bytes), "stored_bytes": stored, "result": "committed",
        "tolerance": {"segments": 3, "extents": 3, "volumes": 0},
    });
    assert_eq!(lines[0], line);
    assert_eq!(
        (&lines[1]["resumed"], &lines[1]["bytes"]),
        (&json!(1), &json!(LEN))
    );
    expect_stored(&place, "big", &bytes);
}

#[test]
fn a_rollback_gives_back_what_is_named_and_never_several_unasked() {
    let (one, two) = (content(LEN, 5), content(LEN, 6));
    let (place, numbers) = place_with_interrupted(&[("one", &one), ("two", &two), ("three", &one)]);
    let answer = place.run(["recover", "--rollback"]).expect_code(2);
    answer.expect_text("").expect_stderr(
        "error: 3 interrupted commits wait: name those to give back, or say --all\n  \
         try: bfdb recover\n  try: bfdb recover --rollback --all\n",
    );
    assert_eq!(unfinished(&place).len(), 3);
    let answer = place.run(["recover", "-n", "--rollback", "one"]).expect_code(0);
    answer.expect_text("would roll back  8.0 MiB of 20.0 MiB (40 %)  one\nwould roll back 1 commit\n");
    assert_eq!(unfinished(&place).len(), 3);
    let answer = place.run(["recover", "--rollback", "one"]).expect_code(0);
    answer.expect_text("rolled back  8.0 MiB of 20.0 MiB (40 %)  one\n1 commit rolled back\n");
    let left: Vec<u64> = unfinished(&place)
        .iter()
        .map(|commit| commit.commit.get())
        .collect();
    assert_eq!(left, numbers[1..], "the others wait on");
    place.run(["recover", "--rollback", "--all"]).expect_code(0);
    assert_eq!(unfinished(&place), []);
    place.run(["ls"]).expect_text("stored\n");
    place.run(["scrub"]).expect_code(0);
    // What was given back is stored from its start.
    place.run(["commit", "one"]).expect_code(0).expect_stderr("");
    expect_stored(&place, "one", &one);
}

#[test]
fn a_bare_rollback_gives_back_the_only_one_that_waits() {
    let (place, numbers) = place_with_interrupted(&[("big", &content(LEN, 7))]);
    let answer = place.run(["--json", "recover", "--rollback"]).expect_code(0);
    let lines = answer.json();
    assert_eq!(
        (
            &lines[0]["commit_id"],
            &lines[0]["result"],
            &lines[1]["rolled_back"]
        ),
        (&json!(numbers[0]), &json!("rolled_back"), &json!(1))
    );
    assert_eq!(unfinished(&place), []);
}

#[test]
fn a_source_that_changed_is_refused_and_its_commit_waits_on() {
    let old = content(LEN, 8);
    let (place, numbers) = place_with_interrupted(&[("big", &old), ("fine", &content(LEN, 9))]);
    let new = content(LEN, 10);
    place.write("big", &new);
    let answer = place.run(["recover", "--resume"]).expect_code(3);
    let headline = format!(
        "error: big was not stored; commit {} still waits\n  caused by: ",
        numbers[0]
    );
    assert!(answer.stderr.starts_with(&headline), "{}", answer.stderr);
    assert!(
        answer.stderr.contains(" is not what it was ")
            && answer.stderr.contains("  try: bfdb recover --rollback big\n"),
        "{}",
        answer.stderr
    );
    place.run(["ls"]).expect_text("fine\nstored\n");
    let answer = place.run(["--json", "recover", "--resume", "big"]).expect_code(1);
    assert_eq!(answer.json()[0]["result"], "failed");
    assert_eq!(unfinished(&place).len(), 1);
    std::fs::remove_file(place.path("big")).expect("it is there");
    place.run(["recover", "--resume"]).expect_code(1);
    assert_eq!(unfinished(&place).len(), 1, "it waits for its source");
    // Another source under the name takes its place.
    place.write("big", &new);
    place
        .run(["commit", "--progress-bytes", OFTEN, "big"])
        .expect_code(0)
        .expect_stderr("");
    expect_stored(&place, "big", &new);
}

#[test]
fn a_name_or_number_of_no_commit_is_exit_code_15_and_does_not_stop_the_rest() {
    let bytes = content(LEN, 11);
    let (place, _) = place_with_interrupted(&[("big", &bytes)]);
    for (action, unknown) in [("--resume", "stored"), ("--rollback", "999999999")] {
        let answer = place.run(["recover", action, unknown]).expect_code(15);
        let message =
            format!("error: no unfinished commit has the name or number {unknown}\n  try: bfdb recover\n");
        assert_eq!(answer.stderr, message);
    }
    assert_eq!(unfinished(&place).len(), 1);
    place
        .run(["recover", "--resume", "nothing", "big"])
        .expect_code(15);
    expect_stored(&place, "big", &bytes);
}

/// A stream that tells when it is first read and then waits for permission.
struct Slow {
    begun: Sender<()>,
    go: Receiver<()>,
}

impl Read for Slow {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.begun.send(()).ok();
        self.go.recv().ok();
        into.fill(7);
        Ok(into.len())
    }
}

#[test]
fn a_commit_that_another_process_works_on_is_shown_and_left_alone() {
    let place = Place::with(&[("stored", b"before")]);
    let archive = open(&place, Access::Write);
    let (begun, has_begun) = channel();
    let (allow, go) = channel();
    std::thread::scope(|scope| {
        let archive = &archive;
        let slow = Slow { begun, go };
        let commit = scope.spawn(move || {
            let source = slow.take(1000);
            archive.commit(&name("slow"), source, 1000, &CommitOptions::default())
        });
        has_begun.recv().expect("it reads");
        check_running(&place);
        drop(allow);
        let _receipt = commit.join().expect("no panic").expect("it is stored");
    });
    archive.close().expect("nothing is pending");
    place.run(["ls"]).expect_text("slow\nstored\n");
}

fn check_running(place: &Place) {
    let lines = place.run(["--json", "recover"]).expect_code(0).json();
    assert_eq!(
        (&lines[0]["name"], &lines[0]["state"], &lines[0]["resumable"]),
        (&json!("slow"), &json!("running"), &json!(false)),
        "as it is listed"
    );
    assert_eq!(
        (&lines[1]["running"], &lines[1]["waiting"]),
        (&json!(1), &json!(0)),
        "as it is counted"
    );
    let number = lines[0]["commit_id"].to_string();
    for arguments in [
        ["recover", "--resume", "slow"],
        ["recover", "--rollback", "slow"],
        ["recover", "--rollback", &number],
    ] {
        let answer = place.run(arguments).expect_code(11);
        let message = format!("error: commit {number} of slow is in progress in another process\n");
        answer.expect_stderr(&message);
    }
    let status = &place.run(["--json", "status"]).expect_code(0).json()[0];
    assert_eq!(
        (&status["pending_commits"], &status["running_commits"]),
        (&json!(0), &json!(1)),
        "as status counts it"
    );
    // Those that wait are none.
    place.run(["recover", "--rollback", "--all"]).expect_code(0);
}
