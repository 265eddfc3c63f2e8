//! A catalog that is lost, and what is typed then.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Place, content};

/// Lines of `ls --json` without what scrubs have found out.
fn listing(place: &Place) -> Vec<Value> {
    let mut lines = place.run(["ls", "--json"]).expect_code(0).json();
    for line in &mut lines {
        line.as_object_mut().expect("an object").remove("state");
    }
    lines
}

/// An archive in which files were stored, verified, replaced and removed.
fn lived_in() -> Place {
    let place = Place::with(&[
        ("tiny", &content(300_000, 1)),
        ("segmented", &content(10_100_000, 2)),
        ("removed", &content(300_000, 3)),
        ("replaced", &content(300_000, 4)),
    ]);
    place.run(["scrub", "-q"]).expect_code(0);
    place.run(["rm", "-q", "removed"]).expect_code(0);
    place.write("replaced", &content(400_000, 5));
    place
        .run(["commit", "-q", "--replace", "replaced"])
        .expect_code(0);
    place
}

#[test]
fn a_lost_catalog_is_made_again_with_what_the_error_says() {
    let place = lived_in();
    let before = listing(&place);
    fs::remove_file(place.path("archive.bfdb/catalog.redb")).expect("it is there");
    let lost = place.run(["ls"]).expect_code(13);
    assert!(
        lost.stderr.contains("\n  try: bfdb catalog rebuild\n"),
        "{}",
        lost.stderr
    );
    let rebuilt = place.run(["catalog", "rebuild", "--json"]).expect_code(0).json();
    let summary = &rebuilt[0];
    for (field, expected) in [
        ("type", json!("summary")),
        ("records", json!(6)),
        ("files", json!(3)),
        ("kept", json!(null)),
        ("suggest", json!(["bfdb scrub"])),
    ] {
        assert_eq!(summary[field], expected, "{field}");
    }
    assert_eq!(listing(&place), before);
    for (name, bytes) in [
        ("tiny", content(300_000, 1)),
        ("segmented", content(10_100_000, 2)),
        ("replaced", content(400_000, 5)),
    ] {
        let answer = place.run(["cat", name]).expect_code(0);
        assert!(answer.stdout == bytes, "other bytes of {name} came back");
    }
    place.run(["cat", "removed"]).expect_code(15);
    place.run(["scrub"]).expect_code(0);
}

#[test]
fn a_damaged_catalog_is_kept_beside_the_new_one() {
    let place = lived_in();
    let before = listing(&place);
    place.write("archive.bfdb/catalog.redb", &[0x5A; 8192]);
    let damaged = place.run(["ls"]).expect_code(13);
    assert!(
        damaged.stderr.contains("bfdb catalog rebuild"),
        "{}",
        damaged.stderr
    );
    let rebuilt = place.run(["catalog", "rebuild"]).expect_code(0);
    let kept = "the catalog that was there is ./archive.bfdb/catalog.redb.old-1 now\n";
    assert!(rebuilt.text().contains(kept), "{}", rebuilt.text());
    assert_eq!(place.read("archive.bfdb/catalog.redb.old-1"), [0x5A; 8192]);
    assert_eq!(listing(&place), before);
}

#[test]
fn without_a_journal_no_catalog_is_made() {
    let place = lived_in();
    fs::remove_file(place.path("archive.bfdb/catalog.redb")).expect("it is there");
    fs::remove_dir_all(place.path("archive.bfdb/volumes/v0/journal")).expect("it is there");
    let answer = place.run(["catalog", "rebuild"]).expect_code(13);
    assert!(answer.stderr.contains("name with --volume"), "{}", answer.stderr);
    let next = "\n  try: bfdb catalog rebuild --deep-scan\n";
    assert!(answer.stderr.contains(next), "{}", answer.stderr);
    assert!(!place.path("archive.bfdb/catalog.redb").exists());
    let nothing = Place::new();
    nothing.run(["catalog", "rebuild"]).expect_code(10);
    nothing.run(["catalog"]).expect_code(2);
}

/// Takes the catalog and the journal away.
fn lose_names(place: &Place) {
    fs::remove_file(place.path("archive.bfdb/catalog.redb")).expect("it is there");
    fs::remove_dir_all(place.path("archive.bfdb/volumes/v0/journal")).expect("it is there");
}

#[test]
fn without_catalog_and_journal_a_deep_scan_offers_what_is_on_the_volumes() {
    let place = lived_in();
    lose_names(&place);
    let scanned = place
        .run(["catalog", "rebuild", "--deep-scan", "--json"])
        .expect_code(0)
        .json();
    let summary = &scanned[0];
    assert_eq!(summary["files"], json!(5));
    assert_eq!(summary["suggest"], json!(["bfdb ls -l recovered", "bfdb scrub"]));
    for (field, expected) in [
        ("complete", json!(true)),
        ("descriptors", json!(5)),
        ("offered", json!(4)),
        ("older", json!(1)),
        ("incomplete", json!(0)),
        ("left_out", json!(0)),
        ("frames_unnamed", json!(0)),
        ("missing_volumes", json!([])),
    ] {
        assert_eq!(summary["deep_scan"][field], expected, "{field}");
    }
    for (name, bytes) in [
        ("recovered/tiny", content(300_000, 1)),
        ("recovered/segmented", content(10_100_000, 2)),
        ("recovered/removed", content(300_000, 3)),
        ("recovered/replaced", content(400_000, 5)),
    ] {
        let answer = place.run(["cat", name]).expect_code(0);
        assert!(answer.stdout == bytes, "other bytes of {name} came back");
    }
    place.run(["cat", "tiny"]).expect_code(15);
    place.run(["scrub"]).expect_code(0);
    place.run(["commit", "-q", "tiny"]).expect_code(0);
    place.run(["rm", "-q", "-r", "recovered-older"]).expect_code(0);
    place.run(["status", "-q"]).expect_code(0);
    // What can be used is not given up unasked.
    let refused = place.run(["catalog", "rebuild", "--deep-scan"]).expect_code(1);
    let next = "\n  try: bfdb catalog rebuild\n  try: bfdb catalog rebuild --deep-scan --regardless\n";
    assert!(refused.stderr.contains(next), "{}", refused.stderr);
    // The journal begins behind the scan, with a checkpoint of what that has found.
    let before = listing(&place);
    fs::remove_file(place.path("archive.bfdb/catalog.redb")).expect("it is there");
    place.run(["catalog", "rebuild"]).expect_code(0);
    assert_eq!(listing(&place), before);
}

#[test]
fn a_journal_without_its_beginning_says_that_a_deep_scan_helps() {
    let place = lived_in();
    fs::remove_file(place.path("archive.bfdb/catalog.redb")).expect("it is there");
    for copy in 0..4 {
        let segment = place.path(format!("archive.bfdb/volumes/v0/journal/c{copy}/00000001.bfj"));
        let mut bytes = fs::read(&segment).expect("it is there");
        bytes[4096..8192].fill(0xEE);
        fs::write(&segment, bytes).expect("written");
    }
    let answer = place.run(["catalog", "rebuild"]).expect_code(13);
    let next = "\n  try: bfdb catalog rebuild --deep-scan\n";
    assert!(answer.stderr.contains(next), "{}", answer.stderr);
    place.run(["catalog", "rebuild", "--deep-scan"]).expect_code(0);
    place.run(["cat", "recovered/tiny"]).expect_code(0);
}

#[test]
fn a_deep_scan_is_refused_where_the_journal_has_every_name() {
    let place = lived_in();
    fs::remove_file(place.path("archive.bfdb/catalog.redb")).expect("it is there");
    let refused = place.run(["catalog", "rebuild", "--deep-scan"]).expect_code(1);
    let next = "\n  try: bfdb catalog rebuild\n  try: bfdb catalog rebuild --deep-scan --regardless\n";
    assert!(refused.stderr.contains(next), "{}", refused.stderr);
    place.run(["catalog", "rebuild", "--regardless"]).expect_code(2);
    let scanned = place
        .run(["catalog", "rebuild", "--deep-scan", "--regardless"])
        .expect_code(0);
    let text = scanned.text();
    for line in [
        "recovered/: 4 names\n",
        "recovered-older/COMMIT/: 1 entry with names that newer ones have\n",
        "  try: bfdb ls -l recovered\n",
    ] {
        assert!(text.contains(line), "{text}");
    }
}

#[test]
fn a_deep_scan_that_lacks_something_says_so_and_how_it_is_mended() {
    let place = lived_in();
    lose_names(&place);
    let extents = place.path("archive.bfdb/volumes/v0/extents");
    let extent = fs::read_dir(&extents).expect("it is there").next().expect("one");
    fs::remove_file(extent.expect("readable").path()).expect("it is there");
    let scanned = place.run(["catalog", "rebuild", "--deep-scan"]).expect_code(4);
    assert!(
        scanned.stderr.contains("every byte can be had all the same"),
        "{}",
        scanned.stderr
    );
    assert!(
        scanned.stderr.contains("not everything was found"),
        "{}",
        scanned.stderr
    );
    place.run(["scrub", "--repair", "-q"]).expect_code(0);
    place.run(["scrub", "-q"]).expect_code(0);
    for extent in fs::read_dir(&extents).expect("it is there") {
        fs::remove_file(extent.expect("readable").path()).expect("it is there");
    }
    lose_names(&place);
    let nothing = place.run(["catalog", "rebuild", "--deep-scan"]).expect_code(13);
    assert!(
        nothing.stderr.contains("says which files there were"),
        "{}",
        nothing.stderr
    );
    assert!(!place.path("archive.bfdb/catalog.redb").exists());
}
