//! What operators do with a catalog: check it, store it, show it.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Place, content};

fn lived_in() -> Place {
    let place = Place::with(&[
        ("tiny", &content(300_000, 1)),
        ("segmented", &content(10_100_000, 2)),
        ("removed", &content(300_000, 3)),
    ]);
    place.run(["rm", "-q", "removed"]).expect_code(0);
    place
}

#[test]
fn a_sound_catalog_is_said_to_be_sound() {
    let place = lived_in();
    let checked = place.run(["catalog", "check"]).expect_code(0).stdout;
    let checked = String::from_utf8(checked).expect("text");
    assert!(checked.starts_with("the catalog is sound: "), "{checked}");
    let lines = place.run(["catalog", "check", "--json"]).expect_code(0).json();
    assert_eq!(lines.len(), 1, "{lines:?}");
    let summary = &lines[0];
    for (field, expected) in [
        ("type", json!("summary")),
        ("problems", json!(0)),
        ("suggest", json!([])),
    ] {
        assert_eq!(summary[field], expected, "{field}");
    }
}

#[test]
fn what_is_missing_beside_the_catalog_is_named_with_what_helps() {
    let place = lived_in();
    let extents = fs::read_dir(place.path("archive.bfdb/volumes/v0/extents")).expect("a directory");
    let first = extents
        .map(|entry| entry.expect("an entry").path())
        .min()
        .expect("an extent");
    fs::remove_file(first).expect("it is there");
    let lines = place.run(["catalog", "check", "--json"]).expect_code(4).json();
    assert_eq!(lines[0]["type"], json!("problem"));
    assert_eq!(lines[0]["kind"], json!("extent_missing"));
    assert_eq!(lines[1]["suggest"], json!(["bfdb scrub --repair"]));
    place.run(["scrub", "-q", "--repair"]);
    place.run(["verify", "-q"]).expect_code(0);
}

#[test]
fn a_catalog_whose_pages_were_written_over_is_damaged() {
    let place = lived_in();
    let path = place.path("archive.bfdb/catalog.redb");
    let mut bytes = fs::read(&path).expect("it is there");
    let end = bytes.len();
    bytes[4096..end].fill(0x5A);
    fs::write(&path, bytes).expect("written");
    let checked = place.run(["catalog", "check"]).expect_code(13);
    assert!(
        checked.stderr.contains("\n  try: bfdb catalog rebuild\n"),
        "{}",
        checked.stderr
    );
    place.run(["catalog", "rebuild", "-q"]).expect_code(0);
    place.run(["catalog", "check", "-q"]).expect_code(0);
}

#[test]
fn a_checkpoint_says_what_it_is_and_serves_when_the_catalog_is_lost() {
    let place = lived_in();
    let first = place
        .run(["catalog", "checkpoint", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(first[0]["slices"], json!(1));
    assert_eq!(first[0]["journal_segments_removed"], json!(0));
    let second = place.run(["catalog", "checkpoint"]).expect_code(0).stdout;
    let second = String::from_utf8(second).expect("text");
    assert!(second.contains(", 4 files of the journal removed"), "{second}");
    let before = place.run(["ls", "--json"]).expect_code(0).stdout;
    fs::remove_file(place.path("archive.bfdb/catalog.redb")).expect("it is there");
    place.run(["catalog", "rebuild", "-q"]).expect_code(0);
    assert_eq!(place.run(["ls", "--json"]).expect_code(0).stdout, before);
    let checked = place.run(["catalog", "check", "--json"]).expect_code(0).json();
    assert_eq!(checked[0]["slices"], json!(2));
}

#[test]
fn an_export_has_a_line_for_everything_and_takes_no_file_that_is_there() {
    let place = lived_in();
    place.run(["catalog", "export", "-o", "all.jsonl"]).expect_code(0);
    let lines: Vec<Value> = fs::read_to_string(place.path("all.jsonl"))
        .expect("it was written")
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let of_type = |kind: &str| {
        lines
            .iter()
            .filter(|line| line["type"] == kind)
            .collect::<Vec<_>>()
    };
    assert_eq!(of_type("archive").len(), 1);
    assert_eq!(of_type("volume").len(), 1);
    let extents = fs::read_dir(place.path("archive.bfdb/volumes/v0/extents")).expect("a directory");
    assert_eq!(of_type("extent").len(), extents.count());
    let entries = of_type("entry");
    let names: Vec<&str> = entries.iter().filter_map(|line| line["name"].as_str()).collect();
    assert_eq!(names, ["tiny", "segmented"], "by their ids");
    let root = blake3::hash(&content(300_000, 1)).to_hex().to_string();
    assert_eq!(entries[0]["root"], json!(root));
    assert_eq!(
        entries[0]["blocks"][0]["shards"].as_array().map(Vec::len),
        Some(4)
    );
    let taken = place.run(["catalog", "export", "-o", "all.jsonl"]).expect_code(1);
    assert!(taken.stderr.contains("all.jsonl"), "{}", taken.stderr);
    let shown = place.run(["catalog", "export"]).expect_code(0).stdout;
    assert_eq!(shown, fs::read(place.path("all.jsonl")).expect("it was written"));
}
