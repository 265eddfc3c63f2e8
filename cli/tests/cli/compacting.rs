//! `compact`, and what `status` says of the room.

use std::{fs, os::unix::fs::MetadataExt as _};

use bfdb_fault_injection::damage;
use serde_json::{Value, json};

use crate::harness::{Place, content};

fn number(object: &Value, field: &str) -> u64 {
    let number = object[field].as_u64();
    number.unwrap_or_else(|| panic!("{field} of {object} is a number"))
}

/// The summary of a command.
fn summary(place: &Place, arguments: &[&str]) -> Value {
    let mut lines = place.run(arguments).expect_code(0).json();
    lines.pop().expect("a summary")
}

fn space(place: &Place) -> Value {
    summary(place, &["status", "--json"])["space"].clone()
}

/// Bytes for which extents have blocks.
fn allocated(place: &Place) -> u64 {
    let extents = damage::extent_files(&place.path("archive.bfdb")).expect("a readable archive");
    let blocks = extents
        .iter()
        .map(|path| fs::metadata(path).expect("it is there").blocks() * 512);
    blocks.sum()
}

/// Some files, of which one was removed and one replaced.
fn lived_in() -> Place {
    let place = Place::with(&[
        ("kept", &content(300_000, 1)),
        ("removed", &content(700_000, 2)),
        ("replaced", &content(300_000, 3)),
    ]);
    // Small files that come together share extents: of these only the one in the middle goes.
    for (name, seed) in [("a", 5), ("b", 6), ("c", 7)] {
        place.write(name, &content(250_000, seed));
    }
    place.run(["commit", "-q", "a", "b", "c"]).expect_code(0);
    place.run(["rm", "-q", "removed", "b"]).expect_code(0);
    place.write("replaced", &content(400_000, 4));
    place
        .run(["commit", "-q", "--replace", "replaced"])
        .expect_code(0);
    place
}

#[test]
fn what_was_removed_and_replaced_comes_back_and_status_says_where_every_byte_is() {
    let place = lived_in();
    let (before, blocks) = (space(&place), allocated(&place));
    assert!(number(&before, "dead_bytes") > 4 * 900_000, "{before}");
    assert_eq!(before["reclaimable_bytes"], before["dead_bytes"]);
    assert_eq!(
        (
            &before["freed_bytes"],
            &before["reserved_bytes"],
            &before["unknown_bytes"]
        ),
        (&json!(0), &json!(0), &json!(0))
    );
    let untouched = place.tree();
    let planned = summary(&place, &["compact", "-n", "--json"]);
    assert!(place.tree() == untouched, "a dry run changes nothing");
    assert_eq!(planned["dry_run"], json!(true));
    let done = summary(&place, &["compact", "--json"]);
    for field in [
        "hole_bytes",
        "dropped_bytes",
        "given_back_bytes",
        "rewritten_bytes",
        "kept",
    ] {
        assert_eq!(planned[field], done[field], "{field}");
    }
    assert_eq!(
        (&done["type"], &done["dry_run"]),
        (&json!("summary"), &json!(false))
    );
    let given_back = number(&done, "given_back_bytes");
    assert!(given_back > 4 * 900_000, "{done}");
    // It counts whole blocks, and one for the list of the pieces of a file.
    let gone = blocks - allocated(&place);
    assert!(
        gone.abs_diff(given_back) < 100_000,
        "the file system counts {gone} bytes less: {done}"
    );
    let after = space(&place);
    assert_eq!(after["live_bytes"], before["live_bytes"]);
    assert_eq!(number(&after, "freed_bytes"), number(&done, "hole_bytes"));
    let idle = |space: &Value| number(space, "dead_bytes") + number(space, "overhead_bytes");
    let gone = number(&done, "hole_bytes") + number(&done, "dropped_bytes");
    assert_eq!(idle(&after) + gone, idle(&before), "{after}");
    assert!(number(&done, "hole_bytes") > 4 * 200_000, "{done}");
    place.run(["scrub", "-q"]).expect_code(0);
    place.run(["restore", "-q", "-o", "out"]).expect_code(0);
    assert!(place.read("out/kept") == content(300_000, 1));
    assert!(place.read("out/a") == content(250_000, 5));
    assert!(place.read("out/c") == content(250_000, 7));
    assert!(place.read("out/replaced") == content(400_000, 4));
    // Another time there is nothing to do.
    let again = summary(&place, &["compact", "--json"]);
    assert_eq!(again["given_back_bytes"], json!(0));
}

#[test]
fn what_was_given_back_is_said_in_words() {
    let place = lived_in();
    let status = place.run(["status"]).expect_code(0);
    let line = status.text().lines().find(|line| line.starts_with("space"));
    let line = line.expect("a line about the room");
    for word in [
        " live, ",
        " dead, ",
        " reserved, ",
        " free; compact gives back up to ",
    ] {
        assert!(line.contains(word), "{line}");
    }
    let planned = place.run(["compact", "--dry-run"]).expect_code(0);
    assert!(planned.text().starts_with("would give back "), "{planned:?}");
    let done = place.run(["compact"]).expect_code(0);
    assert!(done.text().starts_with("gave back "), "{done:?}");
    let done = place.run(["compact", "-q"]).expect_code(0);
    assert_eq!(done.text(), "");
}

#[test]
fn an_archive_of_nothing_takes_no_room_in_extents() {
    let place = Place::with(&[("only", &content(300_000, 1))]);
    place.run(["rm", "-q", "only"]).expect_code(0);
    let done = summary(&place, &["compact", "--json", "--min-dead", "101"]);
    assert_eq!(done["dropped_extents"], json!(4));
    assert_eq!(allocated(&place), 0);
    place.run(["commit", "-q", "only"]).expect_code(0);
    place.run(["verify", "-q"]).expect_code(0);
}

#[test]
fn shares_and_sizes_that_make_no_sense_are_refused() {
    let place = Place::with(&[("file", b"1")]);
    for arguments in [
        ["compact", "--min-dead", "102"],
        ["compact", "--budget", "much"],
        ["compact", "--rate", "0"],
    ] {
        place.run(arguments).expect_code(2);
    }
}
