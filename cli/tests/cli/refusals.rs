//! A system that refuses what the program asks for: that says nothing of what is stored.

use std::process::{Command, Stdio};

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
