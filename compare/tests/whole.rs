//! The whole program, small: with `cp` alone, which every machine has, and with a `cp` that does what it should not.

use std::{
    env, fs,
    path::Path,
    process::{Command, Output},
};

/// A short comparison of `cp` with a file of tier 1, one of tier 2 and a tree, in `dir`/work.
fn compare(dir: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bfdb-compare"));
    command
        .args(["--only", "cp", "--runs", "1", "--size-tier1", "100KB"])
        .args([
            "--size-tier2",
            "1MB",
            "--size-tier3",
            "none",
            "--small-files",
            "30",
            "--dir",
        ])
        .arg(dir.join("work"));
    command
}

/// The same with one of the copiers beside this file in the place of `cp`.
fn compare_with(copier: &str) -> Output {
    let dir = tempfile::tempdir().expect("a directory");
    let copier = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/copiers")
        .join(copier);
    let path = env::var_os("PATH").unwrap_or_default();
    let dirs = [copier].into_iter().chain(env::split_paths(&path));
    let json = dir.path().join("result.json");
    let output = compare(dir.path())
        .env("PATH", env::join_paths(dirs).expect("a path"))
        .arg("--json")
        .arg(&json)
        .output()
        .expect("it starts");
    assert_nothing_is_left(dir.path());
    assert!(json.is_file(), "what was measured is gone");
    output
}

fn assert_nothing_is_left(dir: &Path) {
    let left = fs::read_dir(dir.join("work")).expect("it is there").count();
    assert_eq!(left, 0, "something was left in --dir");
}

#[test]
fn a_run_reports_what_it_measured_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().expect("a directory");
    let result = |name: &str| dir.path().join(name);
    let output = compare(dir.path())
        .arg("--json")
        .arg(result("result.json"))
        .arg("--markdown")
        .arg(result("result.md"))
        .arg("--svg")
        .arg(result("result.svg"))
        .output()
        .expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("tier 1, round 3 of 3: cp + fsync"), "{said}");

    let text = String::from_utf8(output.stdout).expect("it is text");
    for line in [
        "## tier 1: a file of 100000 bytes, 3 rounds\n",
        "## small files: 30 files of 1024 bytes, 1 round\n",
        "| four copies | four times cp + fsync |",
    ] {
        assert!(text.contains(line), "no {line} in\n{text}");
    }
    assert!(!text.contains("WRONG BYTES"), "{text}");
    let markdown = fs::read_to_string(result("result.md")).expect("it was written");
    assert_eq!(text.trim_end(), markdown.trim_end());

    let json = fs::read_to_string(result("result.json")).expect("it was written");
    let json: serde_json::Value = serde_json::from_str(&json).expect("it is JSON");
    let samples = json["samples"].as_array().expect("a list");
    // Three rounds of each file, twice for tier 2, and one of the tree; four copies are not compared.
    assert_eq!(samples.len(), 3 + 6 + 1, "{samples:?}");
    let right = samples.iter().filter(|sample| sample["is_right"] == true).count();
    assert_eq!(right, 3 + 3 + 1, "{samples:?}");
    let svg = fs::read_to_string(result("result.svg")).expect("it was written");
    assert!(
        svg.contains("cp + fsync") && svg.trim_end().ends_with("</svg>"),
        "{svg}"
    );
    assert_nothing_is_left(dir.path());
}

#[test]
fn a_tool_that_gives_back_wrong_bytes_is_shown_and_fails_the_run() {
    let output = compare_with("wrong");
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("| 1.00 x | WRONG BYTES |"), "{text}");
    let tree = text.split("## small files").nth(1).expect("a table of the tree");
    assert!(!tree.contains("WRONG"), "the tree was copied right:\n{text}");
}

#[test]
fn a_tool_that_fails_ends_the_run_with_what_it_said() {
    let output = compare_with("failing");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    for part in [
        "cp, tier 1, round 1",
        "ended with 3, expected was 0",
        "the disk is made of cheese",
    ] {
        assert!(said.contains(part), "no {part} in {said}");
    }
    assert!(output.stdout.is_empty(), "a table of half a run");
}

#[test]
fn a_signal_ends_the_run_and_takes_its_files_along() {
    let output = compare_with("interrupting");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("interrupted"), "{said}");
}

#[test]
fn a_tool_that_was_asked_for_and_is_not_there_is_an_error() {
    let dir = tempfile::tempdir().expect("a directory");
    let output = compare(dir.path())
        .args(["--only", "bfdb", "--bfdb", "no/such/program"])
        .output()
        .expect("it starts");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no/such/program"));
    assert_nothing_is_left(dir.path());
}
