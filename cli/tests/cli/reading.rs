//! `cat`, and output that nobody takes.

use std::{fs::File, io::Read as _, process::Stdio};

use bfdb_fault_injection::damage;

use crate::harness::{Answer, Place, content};

#[test]
fn cat_writes_the_file_and_nothing_else() {
    let large = content(12_000_000, 1);
    let place = Place::with(&[("small", b"hello\n"), ("large", &large), ("empty", b"")]);
    let answer = place.run(["cat", "small"]).expect_code(0).expect_text("hello\n");
    answer.expect_stderr("");
    let answer = place.run(["cat", "--json", "large"]).expect_code(0);
    assert!(answer.stdout == large, "other bytes came back");
    place.run(["cat", "empty"]).expect_code(0).expect_text("");
}

#[test]
fn ranges_are_half_open_and_may_not_go_beyond_the_end() {
    let large = content(12_000_000, 1);
    let place = Place::with(&[("large", &large)]);
    for (range, expected) in [
        ("0..1", 0..1),
        ("65530..65545", 65_530..65_545),
        ("4194300..4194310", 4_194_300..4_194_310),
        ("11999999..12000000", 11_999_999..12_000_000),
        ("11999990..", 11_999_990..12_000_000),
        ("..3", 0..3),
        ("5..5", 5..5),
        ("12000000..12000000", 12_000_000..12_000_000),
    ] {
        let answer = place.run(["cat", "large", "--range", range]).expect_code(0);
        assert!(answer.stdout == large[expected], "{range}");
    }
    let answer = place
        .run(["cat", "large", "--range", "0..12000001"])
        .expect_code(2);
    answer.expect_stderr("error: large has 12000000 bytes, the range goes beyond its end\n");
    for range in ["5..4", "5", "a..b", "0..-1"] {
        place.run(["cat", "large", "--range", range]).expect_code(2);
    }
}

#[test]
fn a_name_that_is_not_there_is_exit_code_15_with_a_next_step() {
    let place = Place::with(&[("a", b"1")]);
    let commands: [&[&str]; 5] = [
        &["cat", "b"],
        &["stat", "b"],
        &["rm", "b"],
        &["verify", "b"],
        &["restore", "b", "-o", "out"],
    ];
    for command in commands {
        let answer = place.run(command).expect_code(15);
        assert!(
            answer.stderr.starts_with("error: no file named b "),
            "{}",
            answer.stderr
        );
        assert!(answer.stderr.ends_with("\n  try: bfdb ls\n"), "{}", answer.stderr);
        let answer = place.run([&["--json"], command].concat()).expect_code(15);
        let error = &answer.json_errors()[0];
        assert_eq!(error["code"], 15, "{error}");
        assert_eq!(error["suggest"][0], "bfdb ls");
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let large = content(12_000_000, 1);
    let place = Place::with(&[("large", &large)]);
    let mut child = place
        .command(["cat", "large"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut first = [0; 10];
    let mut pipe = child.stdout.take().expect("piped");
    pipe.read_exact(&mut first).expect("ten bytes");
    drop(pipe);
    let answer = Answer::of(child.wait_with_output().expect("it ends"));
    assert_eq!(first, large[..10]);
    answer.expect_code(0).expect_stderr("");

    without_reader(&place, &["ls", "--json"])
        .expect_code(0)
        .expect_stderr("");

    // A scrub that nobody listens to still says with its exit code what it found.
    let copies = place.find_in_extents(&large[..64]);
    damage::flip_byte(&copies[1].0, copies[1].1).expect("it is there");
    without_reader(&place, &["scrub"])
        .expect_code(4)
        .expect_stderr("");
    place.write("new", b"1");
    without_reader(&place, &["commit", "new"]).expect_code(0);
    place.run(["cat", "new"]).expect_text("1");
}

/// Runs a command whose output nobody reads.
fn without_reader(place: &Place, arguments: &[&str]) -> Answer {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let mut command = place.command(arguments);
    let child = command.stdout(writer).stderr(Stdio::piped()).spawn();
    Answer::of(
        child
            .expect("the program runs")
            .wait_with_output()
            .expect("it ends"),
    )
}

#[test]
fn output_that_cannot_be_written_is_a_failure() {
    let place = Place::with(&[("a", &content(1_000_000, 1))]);
    for command in [&["ls"][..], &["cat", "a"], &["status", "--json"], &["verify"]] {
        let full = File::options()
            .write(true)
            .open("/dev/full")
            .expect("a full device");
        let mut command = place.command(command);
        let output = command
            .stdout(full)
            .stderr(Stdio::piped())
            .spawn()
            .and_then(std::process::Child::wait_with_output)
            .expect("the program runs");
        let answer = Answer::of(output).expect_code(1);
        assert!(
            answer.stderr.contains("writing to standard output failed"),
            "{}",
            answer.stderr
        );
    }
}
