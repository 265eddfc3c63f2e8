//! Trees: stored, listed, replaced, restored and removed.

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
};

use serde_json::json;

use crate::harness::Place;

/// A place with a tree that is stored: a directory, a file in it, a link to that, and an empty directory.
fn place_with_stored_tree() -> Place {
    let place = Place::new();
    fs::create_dir_all(place.path("t/empty")).expect("directories");
    place.write("t/a", b"hello");
    symlink("a", place.path("t/link")).expect("a link");
    fs::set_permissions(place.path("t/empty"), Permissions::from_mode(0o750)).expect("its owner may");
    place.run(["commit", "-q", "t"]).expect_code(0);
    place
}

#[test]
fn a_tree_comes_back_as_it_was() {
    let place = place_with_stored_tree();
    place.run(["ls"]).expect_text("t\nt/a\nt/empty\nt/link\n");
    let answer = place.run(["restore", "--json", "-o", "out"]).expect_code(0);
    let lines = answer.json();
    let summary = lines.last().expect("a summary");
    assert_eq!(
        (&summary["files"], &summary["directories"], &summary["symlinks"]),
        (&json!(1), &json!(2), &json!(1))
    );
    assert_eq!(place.read("out/t/a"), b"hello");
    let target = fs::read_link(place.path("out/t/link")).expect("a link");
    assert_eq!(target, PathBuf::from("a"));
    for name in ["t", "t/empty"] {
        let metadata = |path: PathBuf| fs::symlink_metadata(path).expect("it is there");
        let (before, after) = (
            metadata(place.path(name)),
            metadata(place.path(format!("out/{name}"))),
        );
        assert_eq!(before.permissions(), after.permissions(), "{name}");
        assert_eq!(
            before.modified().expect("a time"),
            after.modified().expect("a time"),
            "{name}"
        );
    }
    // Directories that are there are no obstacle, files are.
    let answer = place.run(["restore", "t", "-o", "out"]).expect_code(3);
    assert_eq!(
        answer.stderr.matches("exists already").count(),
        2,
        "{}",
        answer.stderr
    );
    place
        .run(["restore", "t", "-o", "out", "--overwrite"])
        .expect_code(0);
    place.run(["scrub"]).expect_code(0);
}

#[test]
fn the_same_tree_again_stores_what_is_new_and_replaces_when_asked_to() {
    let place = place_with_stored_tree();
    place.write("t/a", b"other");
    place.write("t/new", b"new");
    let answer = place.run(["commit", "--json", "t"]).expect_code(3);
    let lines = answer.json();
    let result = |name: &str| {
        let line = lines.iter().find(|line| line["name"] == name).expect("a line");
        line["result"].as_str().map(str::to_owned)
    };
    assert_eq!(result("t/a").as_deref(), Some("failed"));
    assert_eq!(result("t/new").as_deref(), Some("committed"));
    assert_eq!(result("t/link").as_deref(), Some("unchanged"));
    place.run(["cat", "t/a"]).expect_text("hello");
    let answer = place.run(["commit", "--json", "--replace", "t"]).expect_code(0);
    let lines = answer.json();
    let line = lines.iter().find(|line| line["name"] == "t/a").expect("a line");
    assert_eq!(
        (&line["result"], &line["replaced"]),
        (&json!("committed"), &json!(true))
    );
    assert_eq!(lines.last().expect("a summary")["replaced"], 1);
    place.run(["cat", "t/a"]).expect_text("other");
}

#[test]
fn directories_and_links_are_shown_as_what_they_are() {
    let place = place_with_stored_tree();
    let answer = place.run(["ls", "-l"]).expect_code(0);
    let lines: Vec<&str> = answer.text().lines().collect();
    assert!(
        lines[2].starts_with("drwxr-x---  dir              -  20"),
        "{}",
        lines[2]
    );
    assert!(lines[2].ends_with("  -           t/empty"), "{}", lines[2]);
    assert!(
        lines[3].starts_with("lrwxrwxrwx  link             -  20"),
        "{}",
        lines[3]
    );
    assert!(lines[3].ends_with("  t/link -> a"), "{}", lines[3]);
    let lines = place.run(["ls", "--json", "t/link"]).json();
    let line = &lines[0];
    assert_eq!((&line["kind"], &line["target"]), (&json!("symlink"), &json!("a")));
    assert_eq!((&line["tier"], &line["root"]), (&json!(null), &json!(null)));
    let answer = place.run(["cat", "t"]).expect_code(1);
    answer.expect_stderr("error: t is a directory, not a file\n  try: bfdb ls t\n");
    let answer = place.run(["cat", "t/link"]).expect_code(1);
    answer.expect_stderr("error: t/link is a symbolic link to a\n  try: bfdb cat t/a\n");
    let answer = place.run(["stat", "t/link"]).expect_code(0);
    assert!(
        answer.text().contains("\nkind       symbolic link to a\n"),
        "{}",
        answer.text()
    );
    let status = &place.run(["status", "--json"]).json()[0];
    assert_eq!(
        (&status["directories"], &status["symlinks"]),
        (&json!(2), &json!(1))
    );
}

#[test]
fn a_directory_is_removed_with_what_is_below_it_only_when_asked_to() {
    let place = place_with_stored_tree();
    let answer = place.run(["rm", "t"]).expect_code(1);
    answer.expect_stderr("error: t is a directory with 3 entries below it\n  try: bfdb rm -r t\n");
    place.run(["rm", "-q", "t/empty"]).expect_code(0);
    let answer = place.run(["rm", "-rn", "t/", "--json"]).expect_code(0);
    let lines = answer.json();
    let kinds: Vec<_> = lines.iter().filter_map(|line| line["kind"].as_str()).collect();
    assert_eq!(kinds, ["file", "symlink", "directory"], "a directory goes last");
    place.run(["rm", "-qr", "t"]).expect_code(0);
    place.run(["ls"]).expect_text("");
}

#[test]
fn the_archive_in_a_tree_is_not_stored_with_it() {
    let place = Place::new();
    place.write("a", b"1");
    let answer = place.run(["commit", "--name", "all", "."]).expect_code(0);
    assert!(
        answer
            .stderr
            .contains("note: ./archive.bfdb is skipped: it is part of the archive itself\n"),
        "{}",
        answer.stderr
    );
    place.run(["ls"]).expect_text("all\nall/a\n");
}

#[test]
fn a_pipe_takes_the_place_of_what_is_stored_when_asked_to() {
    let place = Place::with(&[("a", b"hello")]);
    // Standard input is empty.
    place.run(["commit", "-", "--name", "a"]).expect_code(1);
    let answer = place
        .run(["commit", "-", "--name", "a", "--replace"])
        .expect_code(0);
    assert!(
        answer.text().starts_with("replaced  tier 1         0 B  a\n"),
        "{}",
        answer.text()
    );
    place.run(["cat", "a"]).expect_text("");
}

#[test]
fn what_is_in_the_way_of_a_tree_is_named_with_a_step_that_leads_on() {
    let place = place_with_stored_tree();
    fs::create_dir(place.path("elsewhere")).expect("a directory");
    fs::create_dir(place.path("out")).expect("a directory");
    symlink("../elsewhere", place.path("out/t")).expect("a link");
    for arguments in [
        &["restore", "t/a", "-o", "out"][..],
        &["restore", "-n", "t/a", "-o", "out"],
    ] {
        let answer = place.run(arguments).expect_code(1);
        let (first, _) = answer
            .stderr
            .split_once("\n0 files")
            .unwrap_or((&answer.stderr, ""));
        let expected = "error: t/a was not restored\n  caused by: out/t is a symbolic link, not a directory";
        assert_eq!(first.trim_end(), expected, "{arguments:?}");
    }
    let left = fs::read_dir(place.path("elsewhere"))
        .expect("a directory")
        .count();
    assert_eq!(left, 0, "the link was followed");

    // Of a tree it is said once how to replace everything.
    place.run(["restore", "-q", "-o", "again"]).expect_code(0);
    let answer = place.run(["restore", "t", "-o", "again"]).expect_code(3);
    answer.expect_stderr(
        "error: again/t/a exists already\n  try: bfdb restore --overwrite -o again t\n\
         error: again/t/link exists already\n",
    );
    place
        .run(["restore", "--overwrite", "-o", "again", "t"])
        .expect_code(0);

    // A file and what is stored below its name cannot stand in one directory.
    place.write("x", b"1");
    place.run(["commit", "-q", "x", "--name", "t/a/b"]).expect_code(0);
    let answer = place.run(["restore", "t/a", "-o", "both"]).expect_code(3);
    answer.expect_stderr(
        "error: both/t/a is a directory, a file cannot replace it\n  try: bfdb cat t/a > FILE\n",
    );
}
