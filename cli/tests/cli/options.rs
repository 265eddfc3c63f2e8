//! Options of every command, their variables, help and usage errors.

use bfdb_cli::exit;
use bfdb_fault_injection::damage;
use serde_json::json;

use crate::harness::{Place, content};

const COMMANDS: [&str; 16] = [
    "init", "commit", "plan", "ls", "find", "stat", "cat", "restore", "verify", "scrub", "rm", "status",
    "health", "what-if", "recover", "volume",
];

#[test]
fn the_help_of_every_command_shows_an_example_of_it() {
    let place = Place::new();
    for command in COMMANDS {
        for arguments in [[command, "--help"], ["help", command]] {
            let answer = place.run(arguments).expect_code(0);
            let example = format!("Examples:\n  bfdb {command}");
            assert!(answer.text().contains(&example), "{}", answer.text());
            assert!(answer.stderr.is_empty(), "{}", answer.stderr);
        }
    }
    let answer = place.run(["--help"]).expect_code(0);
    for command in COMMANDS {
        assert!(answer.text().contains(&format!("\n  {command} ")), "{command}");
    }
    assert!(answer.text().contains("Exit codes: 0 fine"), "{}", answer.text());
    let version = place.run(["--version"]).expect_code(0);
    assert!(version.text().starts_with("bfdb 0."), "{}", version.text());
}

#[test]
fn every_kind_of_disk_stores_scrubs_and_restores_the_same_around_damage() {
    // Tier 2, the last of three segments short.
    let bytes = content(11_000_000, 3);
    for (stored_on, read_on) in [("rotating", "solid"), ("solid", "rotating"), ("rotating", "auto")] {
        let place = Place::new();
        place.write("a", &bytes);
        place.run(["--disk", stored_on, "commit", "a"]).expect_code(0);
        place.run(["--disk", read_on, "scrub"]).expect_code(0);
        let (extent, offset) = place.find_in_extents(&bytes[5_000_000..5_000_064]).remove(0);
        damage::flip_byte(&extent, offset).expect("it is there");
        place
            .run(["--disk", read_on, "restore", "a", "-o", "out"])
            .expect_code(0);
        assert!(place.read("out/a") == bytes, "{stored_on}, {read_on}");
        place.run(["--disk", read_on, "scrub"]).expect_code(4);
        place.run(["--disk", read_on, "repair"]).expect_code(0);
        place.run(["--disk", read_on, "scrub"]).expect_code(0);
    }
}

#[test]
fn a_command_line_that_means_nothing_is_exit_code_2_in_text_and_json() {
    let place = Place::new();
    let lines: [&[&str]; 22] = [
        &[],
        &["frobnicate"],
        &["scrub", "--budget", "some"],
        &["ls", "--frobnicate"],
        &["ls", "-l", "--versions"],
        &["mv", "a"],
        &["cat"],
        &["--threads", "many", "ls"],
        &["--memory", "0", "ls"],
        &["--progress", "loud", "ls"],
        &["--disk", "square", "ls"],
        &["recover", "a"],
        &["recover", "--resume", "--rollback"],
        &["recover", "--all"],
        &["recover", "--rollback", "--all", "a"],
        &["commit", "--progress-bytes", "0", "a"],
        &["volume"],
        &["volume", "drain"],
        &["volume", "replace", "1"],
        &["volume", "drain", "1", "--rate", "0"],
        &["init", "--survive-volumes", "-1"],
        &["init", "--tier1", "4"],
    ];
    for line in lines {
        let answer = place.run(line).expect_code(i32::from(exit::USAGE));
        assert!(
            !answer.stderr.is_empty() && answer.stdout.is_empty(),
            "{answer:?}"
        );
        let answer = place.run([&["--json"], line].concat()).expect_code(2);
        let errors = answer.json_errors();
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(
            (&errors[0]["type"], &errors[0]["code"]),
            (&json!("error"), &json!(2))
        );
        assert!(
            errors[0]["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty())
        );
    }
    let answer = place
        .run_with(&[("BFDB_JSON", "1")], ["frobnicate"])
        .expect_code(2);
    assert_eq!(answer.json_errors()[0]["code"], 2);
    let answer = place
        .run_with(&[("BFDB_JSON", "0")], ["frobnicate"])
        .expect_code(2);
    assert!(answer.stderr.starts_with("error: "), "{}", answer.stderr);
}

#[test]
fn variables_set_global_options_and_the_command_line_wins() {
    let place = Place::new();
    place.write("a", b"hello");
    let here = [("BFDB_ARCHIVE", "here")];
    let answer = place.run_with(&here, ["commit", "a"]).expect_code(0);
    answer.expect_stderr("note: made a new archive at here\n");
    assert!(place.path("here/catalog.redb").exists() && !place.path("archive.bfdb").exists());
    place.run_with(&here, ["ls", "-a", "there"]).expect_code(10);
    place
        .run_with(&[("BFDB_ARCHIVE", "there")], ["-a", "here", "ls"])
        .expect_code(0)
        .expect_text("a\n");
    // What is suggested works in the same shell.
    place
        .run_with(&here, ["cat", "b"])
        .expect_code(15)
        .expect_stderr("error: no file named b in this archive\n  try: bfdb ls\n");

    let with = |variable: (&str, &str), arguments: &[&str]| place.run_with(&[here[0], variable], arguments);
    assert_eq!(with(("BFDB_JSON", "1"), &["ls"]).json().len(), 2);
    with(("BFDB_JSON", "false"), &["ls"]).expect_text("a\n");
    with(("BFDB_QUIET", "yes"), &["commit", "a"])
        .expect_code(0)
        .expect_text("");
    let verbose = with(("BFDB_VERBOSE", "1"), &["ls"]).expect_text("a\n");
    assert!(
        verbose.stderr.starts_with("note: opened archive "),
        "{}",
        verbose.stderr
    );
    let colored = with(("BFDB_COLOR", "always"), &["cat", "b"]).expect_code(15);
    assert!(
        colored.stderr.starts_with("\x1b[1;31merror:\x1b[0m "),
        "{}",
        colored.stderr
    );
    for (variable, good, bad) in [
        ("BFDB_THREADS", "2", "two"),
        ("BFDB_MEMORY", "32M", "lots"),
        ("BFDB_IO", "buffered", "fast"),
        ("BFDB_PROGRESS", "never", "loud"),
    ] {
        with((variable, good), &["scrub"])
            .expect_code(0)
            .expect_stderr("");
        with((variable, bad), &["scrub"]).expect_code(2);
    }
}

#[test]
fn a_variable_that_is_empty_counts_as_not_set() {
    let place = Place::with(&[("a", b"hello")]);
    let variables = [
        "ARCHIVE", "VOLUME", "JSON", "QUIET", "VERBOSE", "COLOR", "PROGRESS", "THREADS", "MEMORY", "IO",
    ];
    for variable in variables {
        let variable = format!("BFDB_{variable}");
        let answer = place.run_with(&[(&variable, "")], ["ls"]).expect_code(0);
        answer.expect_text("a\n").expect_stderr("");
    }
}

#[test]
fn global_options_stand_before_or_behind_the_command() {
    let place = Place::with(&[("a", b"hello")]);
    for arguments in [&["--json", "ls"][..], &["ls", "--json"]] {
        assert_eq!(place.run(arguments).expect_code(0).json().len(), 2);
    }
    place.write("big", &content(12_000_000, 1));
    let tight = [
        "commit",
        "big",
        "--threads",
        "1",
        "--memory",
        "1K",
        "--io",
        "buffered",
        "-q",
    ];
    place.run(tight).expect_code(0).expect_text("");
    let answer = place
        .run(["cat", "big", "--memory", "1K", "--threads", "64"])
        .expect_code(0);
    assert!(answer.stdout == content(12_000_000, 1), "other bytes came back");
    place
        .run(["verify", "--memory", "1", "--threads", "1"])
        .expect_code(0);
}

#[test]
fn colors_are_used_only_when_asked_for_or_on_a_terminal() {
    let place = Place::new();
    for arguments in [
        &["ls"][..],
        &["--color", "never", "ls"],
        &["--color", "auto", "ls"],
    ] {
        let answer = place.run(arguments).expect_code(10);
        assert!(!answer.stderr.contains('\x1b'), "{}", answer.stderr);
    }
    let answer = place.run(["--color", "always", "ls"]).expect_code(10);
    assert!(
        answer.stderr.contains("\x1b[1;31merror:\x1b[0m"),
        "{}",
        answer.stderr
    );
    assert!(
        answer.stderr.contains("\x1b[1;32mtry:\x1b[0m bfdb init"),
        "{}",
        answer.stderr
    );
}

#[test]
fn progress_goes_to_standard_error_as_json_lines_or_not_at_all() {
    let bytes = content(12_000_000, 1);
    let place = Place::new();
    place.write("big", &bytes);
    place.write("small", b"");
    place.run(["commit", "-q", "small"]).expect_code(0);
    for (command, total) in [
        (&["commit", "big"][..], Some(12_000_000)),
        (&["cat", "big"], Some(12_000_000)),
        (&["restore", "big", "-o", "out"], Some(12_000_000)),
        (&["scrub"], None),
        (&["verify"], None),
        (&["verify", "small"], Some(0)),
    ] {
        let answer = place
            .run([&["--progress", "json"], command].concat())
            .expect_code(0);
        let lines = answer.json_errors();
        let last = lines.last().expect("a last line");
        assert_eq!(last["type"], "progress", "{command:?}");
        assert_eq!(last["bytes"], last["total"], "{command:?} is complete: {last}");
        assert_eq!(last["eta_seconds"], 0, "{command:?} is complete: {last}");
        assert!(last["bytes_per_second"].is_u64(), "{last}");
        let counts = ["commit", "restore"].contains(&command[0]);
        assert_eq!(last["files"].as_u64(), counts.then_some(1), "{command:?}: {last}");
        if let Some(total) = total {
            assert_eq!(last["total"], total, "{command:?}");
        }
        if command[0] == "cat" {
            assert!(answer.stdout == bytes, "progress is not mixed with the bytes");
        }
    }
    let answer = place.run(["verify"]).expect_code(0);
    answer.expect_stderr("");
}
