//! A system that refuses what the program asks for: that says nothing of what is stored.

use std::process::{Command, Stdio};

use bfdb_fault_injection::damage;
use serde_json::json;

use crate::harness::{Answer, LEAF, Place, content};

/// Runs the program with so few files that it may have open at once.
fn run_with_few_files(place: &Place, files: u32, arguments: &str) -> Answer {
    let mut command = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_bfdb");
    command
        .args(["-c", &format!("ulimit -n {files} && exec {program} {arguments}")])
        .current_dir(place.path(""))
        .env_remove("BFDB_ARCHIVE")
        .stdin(Stdio::null());
    Answer::of(command.output().expect("a shell"))
}

/// Files that could not be opened were noted as lost bytes.
#[test]
fn a_process_that_may_open_few_files_takes_nothing_for_damage() {
    let place = Place::with(&[
        ("one", &content(3 * LEAF, 1)),
        ("two", &content(11_000_000, 2)),
        ("three", b"3"),
    ]);
    let mut worked = 0;
    for files in 8..32 {
        for arguments in ["scrub", "verify", "scrub --deep --threads 2", "cat two"] {
            let answer = run_with_few_files(&place, files, arguments);
            let is_told_as_damage = [4, 5].contains(&answer.code);
            assert!(!is_told_as_damage, "{arguments} with {files} files: {answer:?}");
            worked += u32::from(answer.code == 0);
        }
    }
    assert!((4..90).contains(&worked), "{worked} of 96 had enough");
    place.run(["health"]).expect_code(0);
    place.run(["scrub"]).expect_code(0);
}

#[test]
fn budgets_are_refused_where_no_scrub_could_go_on_from_another() {
    let place = Place::with(&[("one", b"1")]);
    for arguments in [
        ["scrub", "--quick", "--budget", "1M"].as_slice(),
        &["scrub", "--plan", "bad", "--budget", "1M"],
        &["scrub", "--quick", "--deep"],
    ] {
        place.run(arguments).expect_code(2);
    }
    place
        .run(["scrub", "--plan", "new", "--budget", "1M"])
        .expect_code(0);
}

/// What could not be opened was noted as bytes that do not match their hash, and hid damage in other shards.
#[test]
fn a_repair_that_may_not_read_all_notes_nothing_but_the_damage_that_there_is() {
    let bytes = content(9_000_000, 1);
    let place = Place::with(&[("one", &bytes)]);
    let copies = place.find_in_extents(&bytes[..64]);
    damage::flip_byte(&copies[1].0, copies[1].1 + 70_000).expect("it is there");
    place.run(["scrub", "-q"]).expect_code(4);
    for files in 8..32 {
        for arguments in ["repair", "cat one", "scrub --repair"] {
            let answer = run_with_few_files(&place, files, arguments);
            assert_ne!(answer.code, 5, "{arguments} with {files} files: {answer:?}");
        }
        let answer = place.run(["status", "--json"]);
        let found = answer.json()[0]["volumes"][0]["found"].clone();
        let expected = json!({"checksum": 1, "misplaced": 0, "io_error": 0, "missing": 0, "encoding": 0});
        assert_eq!(found, expected, "with {files} files: {answer:?}");
    }
    place.run(["repair"]).expect_code(0);
    place.run(["scrub"]).expect_code(0);
}

/// An old catalog knows of frames where repairs have left them, damaged.
#[test]
fn an_old_catalog_is_brought_forward_before_bytes_are_read_and_nothing_is_taken_for_lost() {
    let bytes = content(300_000, 1);
    for arguments in [
        ["cat", "one"].as_slice(),
        &["verify", "one"],
        &["restore", "one", "-o", "out"],
    ] {
        let place = Place::with(&[("one", &bytes)]);
        let old = place.read("archive.bfdb/catalog.redb");
        for _ in 0..4 {
            let copies = place.find_in_extents(&bytes[200_000..200_064]);
            damage::flip_byte(&copies[0].0, copies[0].1).expect("it is there");
            place.run(["scrub", "-q", "--repair"]).expect_code(0);
        }
        place.run(["scrub"]).expect_code(0);
        place.write("archive.bfdb/catalog.redb", &old);
        place.run(arguments).expect_code(0);
        place.run(["scrub"]).expect_code(0);
    }
}

/// `unchanged` was said of a file that nobody could read any more, right before its source would be deleted.
#[test]
fn a_commit_of_a_file_that_is_stored_and_lost_says_so() {
    let bytes = content(200_000, 1);
    let place = Place::with(&[("one", &bytes), ("two", b"2")]);
    for (path, start) in place.find_in_extents(&bytes[..64]) {
        damage::flip_byte(&path, start + 70_000).expect("it is there");
    }
    place.run(["scrub", "-q"]).expect_code(5);
    for arguments in [
        ["commit", "one"].as_slice(),
        &["commit", "--replace", "one", "two"],
    ] {
        let answer = place.run(arguments).expect_code(5);
        assert!(
            answer
                .stderr
                .contains("one is stored and unchanged, and has lost bytes"),
            "{answer:?}"
        );
    }
    place.run(["commit", "two"]).expect_code(0);
    place.run(["repair", "--import", "nowhere"]).expect_code(2);
    place.run(["repair", "--import", "."]).expect_code(0);
    place.run(["commit", "one"]).expect_code(0);
    place.run(["cat", "one"]).expect_code(0);
}
