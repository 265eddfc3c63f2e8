//! Volumes that are added, drained, removed and named.

use std::{
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use serde_json::json;

use super::{OnVolumes, text_of};

#[test]
fn a_volume_is_added_drained_and_removed() {
    let store = OnVolumes::with_files(2, &[]);
    let dry = store.run(&["volume", "add", "-n", "v2"]).expect_code(0);
    dry.expect_text("would add a volume at v2\n");
    assert!(!store.place.path("v2").exists(), "a dry run made something");
    let answer = store.run(&["volume", "add", "v2", "--json"]).expect_code(0);
    assert_eq!(
        (&answer.json()[0]["number"], &answer.json()[0]["dry_run"]),
        (&json!(2), &json!(false))
    );
    let dry = store
        .run(&["volume", "drain", "0", "-n", "--json"])
        .expect_code(0);
    let planned = dry.json()[0].clone();
    assert_eq!(
        (&planned["dry_run"], &planned["targets"][1]["number"]),
        (&json!(true), &json!(2))
    );
    assert_eq!(store.volume(0)["state"], "active");
    let answer = store.run(&["volume", "remove", "0"]).expect_code(1);
    assert!(
        answer.stderr.contains("are still stored on volume 0 at ")
            && answer.stderr.ends_with("  try: bfdb volume drain 0\n"),
        "{}",
        answer.stderr
    );
    let answer = store
        .run(&["volume", "drain", "0", "--rate", "1G"])
        .expect_code(0);
    assert!(
        answer
            .text()
            .contains(" holds nothing any more\n  try: bfdb volume remove 0\n"),
        "{}",
        answer.text()
    );
    let drained = store.volume(0);
    assert_eq!(
        (&drained["state"], &drained["live_shards"]),
        (&json!("draining"), &json!(0))
    );
    let status = store.run(&["status"]).expect_code(0);
    assert!(
        status.text().contains("next      bfdb volume remove 0\n"),
        "{}",
        status.text()
    );
    store.run(&["volume", "remove", "0", "-n"]).expect_code(0);
    assert_eq!(store.volume(0)["state"], "draining");
    let answer = store.run(&["volume", "remove", "0"]).expect_code(0);
    assert!(answer.text().contains("which may be wiped"), "{}", answer.text());
    store.lose(&["v0"]);
    store.run(&["scrub"]).expect_code(0);
    store.has_all();
    let lines = store.run(&["volume", "ls", "--json"]).expect_code(0).json();
    assert_eq!(lines[0]["state"], "removed");
    assert_eq!(
        (&lines[3]["volumes"], &lines[3]["removed"]),
        (&json!(2), &json!(1))
    );
}

#[test]
fn the_last_volume_is_neither_drained_nor_removed() {
    let store = OnVolumes::with_files(1, &[]);
    for arguments in [
        &["volume", "drain", "0"][..],
        &["volume", "drain", "0", "-n"],
        &["volume", "remove", "0"],
        &["volume", "remove", "0", "-n"],
    ] {
        let answer = store.run(arguments).expect_code(1);
        assert!(
            answer.stderr.contains(
                "is the last volume that takes files: add another one first\n  try: bfdb volume add DIR\n"
            ),
            "{}",
            answer.stderr
        );
    }
    assert_eq!(store.volume(0)["state"], "active");
}

#[test]
fn directories_that_cannot_be_volumes_are_refused_when_one_is_added_or_replaced() {
    let store = OnVolumes::with_files(2, &[]);
    fs::create_dir(store.place.path("full")).expect("a directory");
    store.place.write("full/photo", b"1");
    store
        .run(&["init", "-q", "-a", "other", "--volume", "theirs"])
        .expect_code(0);
    for (directory, part) in [
        ("full", "is not empty"),
        ("v1", "each volume takes a directory of its own"),
        ("v1/below", "would lie in each other"),
        ("archive.bfdb/volumes/new", "would lie in each other"),
        ("theirs", "holds volume "),
        ("missing/below", "the directory above it is missing"),
    ] {
        for arguments in [
            &["volume", "add", directory][..],
            &["volume", "add", directory, "-n"],
            &["volume", "replace", "0", directory],
        ] {
            let answer = store.run(arguments).expect_code(1);
            assert!(answer.stderr.contains(part), "{arguments:?}: {}", answer.stderr);
        }
    }
    let lines = store.run(&["volume", "ls", "--json"]).expect_code(0).json();
    let summary = &lines[2];
    assert_eq!(
        (&summary["active"], &summary["draining"]),
        (&json!(2), &json!(0)),
        "something was changed"
    );
}

#[test]
fn a_volume_is_named_by_its_number_its_id_or_its_directory() {
    let store = OnVolumes::with_files(2, &[]);
    let id = text_of(&store.volume(1)["id"]);
    let whole = store.place.path("v1").canonicalize().expect("it is there");
    let whole = whole.to_str().expect("plain").to_owned();
    for name in ["1", &id, &id[..8], &id.to_uppercase(), "v1", "./v1/", &whole] {
        let answer = store
            .run(&["volume", "drain", name, "-n", "--json"])
            .expect_code(0);
        assert_eq!(answer.json()[0]["number"], 1, "{name}");
        let loss = format!("volume:{name}");
        store.run(&["what-if", "--lose", &loss]).expect_code(0);
        store.run(&["health", "--on-volume", name]).expect_code(0);
    }
    let loss = |name: &str| format!("volume:{name}");
    for name in ["2", "01", "v2", &id[..3], &format!("{id}0"), "zzzz"] {
        for arguments in [
            &["volume", "drain", name][..],
            &["volume", "remove", name],
            &["volume", "replace", name, "new"],
            &["health", "--on-volume", name],
            &["what-if", "--lose", &loss(name)],
        ] {
            let answer = store.run(arguments).expect_code(15);
            assert_eq!(
                answer.stderr,
                format!("error: no volume {name} in this archive\n  try: bfdb volume ls\n")
            );
        }
    }
    // A directory with the name of another volume's number is not told apart by guessing.
    fs::rename(store.place.path("v1"), store.place.path("0")).expect("on one disk");
    let answer = store
        .run(&["volume", "drain", "0", "--volume", "0"])
        .expect_code(2);
    assert!(
        answer.stderr.starts_with("error: 0 may be volume 0 and 1: "),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_promise_that_the_volumes_that_stay_cannot_keep_is_told_before_one_is_drained() {
    let store = OnVolumes::with_files(3, &["--survive-volumes", "2"]);
    let answer = store.run(&["volume", "drain", "2", "-n"]).expect_code(0);
    assert!(
        answer.stderr.contains(
            "warning: files of tier 1 survive the loss of 1 of the 2 volumes that stay, not of 2, as was asked for when the \
             archive was made\n  try: bfdb volume replace 2 DIR\n"
        ),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_volume_whose_move_is_interrupted_is_moved_by_the_same_command() {
    for command in [&["volume", "drain", "1"][..], &["volume", "replace", "1", "new"]] {
        let store = OnVolumes::with_files(3, &[]);
        let slowly = [command, &["--rate", "1", "-v"]].concat();
        let mut program = store.place.command(slowly);
        let mut child = program
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program runs");
        let mut lines = BufReader::new(child.stderr.take().expect("piped")).lines();
        let first = lines.next().expect("a line").expect("it is UTF-8");
        assert!(first.starts_with("note: opened archive "), "{first}");
        let sent = Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "no signal was sent");
        let last = lines.last().expect("a line").expect("it is UTF-8");
        assert_eq!(
            last,
            "error: interrupted: what was moved stays moved, and the same command goes on from there"
        );
        assert_eq!(child.wait().expect("it ends").code(), Some(130));
        assert_eq!(store.volume(1)["state"], "draining");
        store.has_all();
        store.run(command).expect_code(0);
        assert_eq!(store.volume(1)["live_shards"], 0);
        store.lose(&["v1"]);
        store.has_all();
        store.run(&["scrub"]).expect_code(0);
    }
}

#[test]
fn what_is_stored_is_spread_over_a_volume_that_was_added() {
    let store = OnVolumes::with_files(2, &[]);
    let tolerance = |name| store.run(&["stat", "--json", name]).json()[0]["tolerance"]["volumes"].clone();
    assert_eq!(tolerance("segmented"), json!(1));
    let added = store
        .run(&["volume", "add", "v2", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(added[0]["suggest"], json!(["bfdb volume spread"]));
    assert_eq!(tolerance("segmented"), json!(1), "it stays where it is");
    let spread = store.run(&["volume", "spread", "--json"]).expect_code(0).json();
    let summary = spread.last().expect("a summary");
    // A shard of each block, one of tier 1 and three of tier 2, and of what two commits have written about their files.
    assert_eq!(
        (&summary["volumes"], &summary["shards_moved"]),
        (&json!(3), &json!(6))
    );
    assert_eq!(spread.iter().filter(|line| line["type"] == "moved").count(), 6);
    assert_eq!((tolerance("tiny"), tolerance("segmented")), (json!(2), json!(2)));
    let again = store.run(&["volume", "spread"]).expect_code(0);
    assert!(again.text().starts_with("0 shards, "), "{}", again.text());
    store.lose(&["v0", "v1"]);
    store.has_all();
}
