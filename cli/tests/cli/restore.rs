//! Getting files back onto the host.

use std::{
    fs::{self, File, Permissions},
    os::unix::fs::PermissionsExt as _,
    time::{Duration, SystemTime},
};

use serde_json::json;

use crate::harness::{Place, content, root_of};

#[test]
fn restored_files_have_the_bytes_the_mode_and_the_time_of_their_sources() {
    let place = Place::new();
    let large = content(12_000_000, 1);
    let modified = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    for (name, bytes, mode) in [("script", &b"#!/bin/sh\n"[..], 0o755), ("large", &large, 0o440)] {
        place.write(name, bytes);
        let file = File::options()
            .write(true)
            .open(place.path(name))
            .expect("its owner may");
        file.set_modified(modified).expect("its owner may");
        fs::set_permissions(place.path(name), Permissions::from_mode(mode)).expect("its owner may");
        place.run(["commit", "-q", name, "--prefix", "d"]).expect_code(0);
    }
    let answer = place.run(["restore", "d", "-o", "out/here"]).expect_code(0);
    answer.expect_stderr("");
    for (name, mode) in [("script", 0o755), ("large", 0o440)] {
        let restored = format!("out/here/d/{name}");
        assert!(place.read(&restored) == place.read(name), "{name}");
        let found = fs::metadata(place.path(&restored)).expect("it is there");
        assert_eq!(found.modified().expect("a time"), modified, "{name}");
        assert_eq!(found.permissions().mode() & 0o7777, mode, "{name}");
    }
    let names: Vec<_> = fs::read_dir(place.path("out/here/d"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(names.len(), 2, "something else was left: {names:?}");
}

#[test]
fn what_exists_is_replaced_only_when_asked_for() {
    let place = Place::with(&[("a", b"stored"), ("b", b"2")]);
    fs::create_dir(place.path("out")).expect("a directory");
    place.write("out/a", b"precious");
    let answer = place.run(["restore", "a", "b", "-o", "out"]).expect_code(3);
    assert_eq!(
        answer.stderr,
        "error: out/a exists already\n  try: bfdb restore --overwrite -o out a\n"
    );
    assert_eq!(place.read("out/a"), b"precious");
    assert_eq!(place.read("out/b"), b"2", "the rest goes on");
    place.run(["restore", "a", "-o", "out"]).expect_code(1);
    place.run(["restore", "-n", "a", "-o", "out"]).expect_code(1);
    place
        .run(["restore", "--overwrite", "-o", "out", "a"])
        .expect_code(0);
    assert_eq!(place.read("out/a"), b"stored");
}

#[test]
fn every_file_has_a_json_line_and_overlapping_names_are_restored_once() {
    let place = Place::new();
    place.write("x", b"hello");
    for name in ["d/a", "d/b", "e"] {
        place.run(["commit", "-q", "x", "--name", name]).expect_code(0);
    }
    let answer = place
        .run(["restore", "--json", "d/a", "d", "d/a", "-o", "out"])
        .expect_code(0);
    let lines = answer.json();
    let file = |name: &str| {
        json!({
            "type": "file", "name": name, "kind": "file", "length": 5, "root": root_of(b"hello"),
            "path": format!("out/{name}"), "result": "restored",
        })
    };
    assert_eq!(lines[..2], [file("d/a"), file("d/b")]);
    let summary = &lines[2];
    assert_eq!(
        (
            &summary["type"],
            &summary["files"],
            &summary["bytes"],
            &summary["failed"]
        ),
        (&json!("summary"), &json!(2), &json!(10), &json!(0))
    );
    assert!(!place.path("out/e").exists(), "nobody asked for it");
    // One name that is not there does not keep the others.
    place
        .run(["restore", "e", "nothing", "-o", "out"])
        .expect_code(15);
    assert_eq!(place.read("out/e"), b"hello");
}

#[test]
fn without_a_name_everything_is_restored_and_an_empty_archive_has_nothing() {
    let place = Place::new();
    place.run(["init", "-q"]).expect_code(0);
    let answer = place.run(["restore", "-o", "out"]).expect_code(0);
    assert!(
        answer.text().starts_with("0 files, 0 B restored"),
        "{}",
        answer.text()
    );
    place.write("x", b"hello");
    for name in ["d/a", "e"] {
        place.run(["commit", "-q", "x", "--name", name]).expect_code(0);
    }
    let answer = place.run(["restore", "-o", "out"]).expect_code(0);
    // Lines are for what was named; -v has all of them.
    assert!(
        answer.text().starts_with("2 files, 10 B restored"),
        "{}",
        answer.text()
    );
    assert_eq!([place.read("out/d/a"), place.read("out/e")], [b"hello", b"hello"]);
    let answer = place.run(["restore", "-v", "-o", "again"]).expect_code(0);
    assert!(
        answer
            .text()
            .starts_with("restored         5 B  again/d/a\nrestored         5 B  again/e\n"),
        "{}",
        answer.text()
    );
}

#[test]
fn a_dry_run_of_restore_changes_nothing() {
    let place = Place::with(&[("a", b"1")]);
    let before = place.tree();
    let answer = place.run(["restore", "-n", "a", "-o", "out"]).expect_code(0);
    assert!(
        answer.text().starts_with("would restore         1 B  out/a\n"),
        "{}",
        answer.text()
    );
    assert_eq!(place.tree(), before);
}

#[test]
fn nothing_is_restored_into_the_archive_or_without_a_directory() {
    let place = Place::with(&[("a", b"1")]);
    let before = place.tree();
    for target in [
        "archive.bfdb",
        "archive.bfdb/volumes/new/one",
        "archive.bfdb/../archive.bfdb/x",
    ] {
        let answer = place.run(["restore", "a", "-o", target]).expect_code(1);
        assert!(
            answer.stderr.contains("lies inside the archive"),
            "{}",
            answer.stderr
        );
    }
    assert_eq!(place.tree(), before);
    place
        .run(["restore", "typing-error", "-o", "out"])
        .expect_code(15);
    assert_eq!(place.tree(), before, "a directory was made for nothing");
    place.run(["restore", "a"]).expect_code(2);
    // A directory that is a file.
    let answer = place.run(["restore", "a", "-o", "a"]).expect_code(1);
    assert!(answer.stderr.contains("not a directory"), "{}", answer.stderr);
}
