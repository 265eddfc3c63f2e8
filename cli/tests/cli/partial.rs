//! What is left of files that have lost bytes.

use std::fs;

use bfdb_fault_injection::damage;
use serde_json::json;

use crate::harness::{LEAF, Place, content, root_of};

/// Flips a byte of a leaf in every copy of a stored file, another one in each, so that no two copies look alike.
fn lose_leaf(place: &Place, bytes: &[u8], leaf: usize) {
    let start = leaf * LEAF;
    let end = bytes.len().min(start + LEAF);
    // The end of the leaf finds its copies, also where the beginning of another one is damaged.
    let copies = place.find_in_extents(&bytes[end - 64..end]);
    assert_eq!(copies.len(), 4, "four copies of leaf {leaf}");
    for ((path, found), byte) in copies.iter().zip(0..) {
        let leaf_start = found + 64 - u64::try_from(end - start).expect("a leaf is small");
        damage::flip_byte(path, leaf_start + byte).expect("it is there");
    }
}

/// What is left: zeros where bytes are lost.
fn without(bytes: &[u8], leaves: &[usize]) -> Vec<u8> {
    let mut left = bytes.to_vec();
    for leaf in leaves {
        let end = bytes.len().min((leaf + 1) * LEAF);
        left[leaf * LEAF..end].fill(0);
    }
    left
}

#[test]
fn what_is_left_of_a_file_is_restored_beside_whole_ones_only_when_asked_for() {
    let bytes = content(400_000, 1);
    let place = Place::with(&[("a", &bytes), ("whole", b"beside it")]);
    lose_leaf(&place, &bytes, 1);
    lose_leaf(&place, &bytes, 6);

    let answer = place.run(["restore", "-o", "refused"]).expect_code(5);
    assert!(
        answer
            .stderr
            .starts_with("error: a: 72320 bytes are lost in 2 ranges\n"),
        "{}",
        answer.stderr
    );
    assert!(
        answer
            .stderr
            .ends_with("  try: bfdb verify a\n  try: bfdb restore --partial -o refused a\n"),
        "{}",
        answer.stderr
    );
    assert!(!place.path("refused/a").exists() && !place.path("refused/a.partial").exists());

    let answer = place.run(["restore", "--partial", "-o", "out"]).expect_code(5);
    assert!(
        answer.text().starts_with("1 file, 9 B restored in "),
        "{}",
        answer.text()
    );
    assert!(answer.text().ends_with(" s, 1 in part\n"), "{}", answer.text());
    answer.expect_stderr(
        "error: a: 72320 of 400000 bytes are lost: 65536..131072, 393216..400000; \
         the rest is in out/a.partial\n",
    );
    assert!(place.read("out/a.partial") == without(&bytes, &[1, 6]));
    assert_eq!(place.read("out/whole"), b"beside it");
    assert_eq!(fs::read_dir(place.path("out")).expect("a directory").count(), 2);

    // A file that is whole needs no other name, whatever was asked for.
    place
        .run(["restore", "--partial", "whole", "-o", "again"])
        .expect_code(0)
        .expect_stderr("");
    assert_eq!(place.read("again/whole"), b"beside it");
}

#[test]
fn json_lines_have_every_lost_range_and_people_see_the_first_ones() {
    let bytes = content(40 * LEAF, 1);
    let place = Place::with(&[("d", &bytes)]);
    let leaves: Vec<usize> = (0..20).map(|index| 2 * index).collect();
    leaves.iter().for_each(|leaf| lose_leaf(&place, &bytes, *leaf));
    let lost: Vec<_> = leaves
        .iter()
        .map(|leaf| (leaf * LEAF, (leaf + 1) * LEAF))
        .collect();

    let answer = place
        .run(["restore", "--json", "--partial", "-o", "out"])
        .expect_code(5);
    let lines = answer.json();
    assert_eq!(
        lines[0],
        json!({
            "type": "file", "name": "d", "kind": "file", "length": bytes.len(), "root": root_of(&bytes),
            "path": "out/d.partial", "result": "partial", "lost": lost,
        })
    );
    let summary = &lines[1];
    assert_eq!(
        (
            &summary["files"],
            &summary["bytes"],
            &summary["partial"],
            &summary["failed"]
        ),
        (&json!(0), &json!(0), &json!(1), &json!(0))
    );
    let errors = answer.json_errors();
    assert_eq!(errors.len(), 1);
    assert_eq!(
        (&errors[0]["code"], &errors[0]["ranges"]),
        (&json!(5), &json!(lost))
    );
    assert!(place.read("out/d.partial") == without(&bytes, &leaves));

    let answer = place.run(["restore", "--partial", "-o", "again"]).expect_code(5);
    assert!(
        answer
            .stderr
            .ends_with(", 917504..983040 and 12 more; the rest is in again/d.partial\n"),
        "{}",
        answer.stderr
    );
    assert_eq!(answer.stderr.lines().count(), 1, "{}", answer.stderr);
}

#[test]
fn a_long_file_in_a_tree_keeps_its_length_its_mode_and_its_time() {
    let bytes = content(12_000_000, 1);
    let place = Place::new();
    fs::create_dir(place.path("t")).expect("a directory");
    place.write("t/large", &bytes);
    place.run(["commit", "-q", "t"]).expect_code(0);
    // In the second block, and the end of the last.
    let leaves = [70, bytes.len() / LEAF];
    leaves.iter().for_each(|leaf| lose_leaf(&place, &bytes, *leaf));
    let answer = place
        .run(["restore", "--partial", "t", "-o", "out"])
        .expect_code(5);
    let last = bytes.len() / LEAF * LEAF;
    answer.expect_stderr(&format!(
        "error: t/large: {} of 12000000 bytes are lost: 4587520..4653056, {last}..12000000; \
         the rest is in out/t/large.partial\n",
        LEAF + bytes.len() - last
    ));
    assert!(place.read("out/t/large.partial") == without(&bytes, &leaves));
    let metadata = |path: &str| fs::metadata(place.path(path)).expect("it is there");
    let (before, after) = (metadata("t/large"), metadata("out/t/large.partial"));
    assert_eq!(before.permissions(), after.permissions());
    assert_eq!(
        before.modified().expect("a time"),
        after.modified().expect("a time")
    );
    assert!(!place.path("out/t/large").exists());
}

#[test]
fn a_part_is_never_replaced_and_replaces_nothing() {
    let bytes = content(200_000, 1);
    let place = Place::with(&[("a", &bytes), ("b.partial", b"a name of its own")]);
    lose_leaf(&place, &bytes, 0);
    fs::create_dir(place.path("out")).expect("a directory");
    place.write("out/a", b"older, and whole");
    let restore = ["restore", "--partial", "--overwrite", "-o", "out"];
    place.run(restore).expect_code(5);
    assert_eq!(place.read("out/a"), b"older, and whole");
    assert!(place.read("out/a.partial") == without(&bytes, &[0]));
    assert_eq!(place.read("out/b.partial"), b"a name of its own");

    place.write("out/a.partial", b"precious");
    let answer = place.run(restore).expect_code(1);
    answer.expect_stderr(
        "error: a was not restored: what is named .partial is never replaced\n  \
         caused by: out/a.partial exists already\n  \
         try: bfdb restore --partial -o DIR a\n\
         error: b.partial was not restored: what is named .partial is never replaced\n  \
         caused by: out/b.partial exists already\n  \
         try: bfdb restore --partial -o DIR b.partial\n",
    );
    assert_eq!(place.read("out/a.partial"), b"precious");
    let answer = place
        .run(["restore", "-n", "--partial", "--overwrite", "-o", "out"])
        .expect_code(3);
    assert!(
        answer.stderr.starts_with("error: b.partial was not restored: "),
        "{}",
        answer.stderr
    );
    // Without --partial it is a name like any other.
    place
        .run(["restore", "-q", "--overwrite", "b.partial", "-o", "out"])
        .expect_code(0);
}

#[test]
fn a_file_of_which_nothing_is_left_is_told_of_and_not_made() {
    let bytes = content(100_000, 1);
    let place = Place::with(&[("a", &bytes)]);
    lose_leaf(&place, &bytes, 0);
    lose_leaf(&place, &bytes, 1);
    let answer = place
        .run(["restore", "--partial", "a", "-o", "out"])
        .expect_code(5);
    answer.expect_stderr("error: a: 100000 of 100000 bytes are lost: 0..100000; nothing was restored\n");
    assert_eq!(fs::read_dir(place.path("out")).expect("a directory").count(), 0);
    let answer = place
        .run(["restore", "--json", "--partial", "a", "-o", "out"])
        .expect_code(5);
    let line = &answer.json()[0];
    assert_eq!(
        (&line["result"], &line["lost"]),
        (&json!("failed"), &json!([[0, 100_000]]))
    );
}
