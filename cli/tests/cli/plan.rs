//! What a commit would take, what may be lost of it then, and how likely that is.

use std::{
    fs::{self, File},
    path::PathBuf,
};

use bfdb::{
    geometry::spread_counts,
    plan::{FailureRateParts, FailureRates, LossOdds, loss_together},
    units::CodeShape,
};
use serde_json::{Value, json};

use crate::harness::{Place, content};

/// Length of a file of tier 3 without any content, in bytes.
const BLOCKED: u64 = 9_999_999_999;

/// Columns that [`BLOCKED`] has with RS(6,3): leaves of 64 KiB, six a column.
const COLUMNS_OF_SIX: u64 = 25_432;

/// A tree of two files of tier 1 and one of tier 3, which is a hole: whoever read it would be slow.
fn tree() -> Place {
    let place = Place::new();
    fs::create_dir_all(place.path("tree/below")).expect("a writable directory");
    place.write("tree/one", &content(100_000, 1));
    place.write("tree/below/two", &content(300_000, 2));
    let large = File::create(place.path("tree/large")).expect("a writable directory");
    large.set_len(BLOCKED).expect("a file may have holes");
    place
}

/// Paths and lengths of everything that is there; holes are not read.
fn listing(place: &Place) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    let mut todo = vec![place.path("")];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(directory).expect("a readable directory") {
            let path = entry.expect("an entry").path();
            let known = fs::symlink_metadata(&path).expect("it is there");
            if known.is_dir() {
                todo.push(path.clone());
            }
            found.push((path, known.len()));
        }
    }
    found.sort();
    found
}

fn rates(leaf_per_year: f64) -> FailureRates {
    FailureRates::new(FailureRateParts {
        volume_per_year: 0.014,
        replacement_days: 7.0,
        leaf_per_year,
        scrub_days: 30.0,
    })
    .expect("rates")
}

/// JSON and the percentages lose a last digit at most.
#[track_caller]
fn assert_near(found: &Value, expected: f64) {
    let found = found.as_f64().expect("a number");
    assert!((found / expected - 1.0).abs() < 1e-9, "{found} is not {expected}");
}

const ON_THREE: [&str; 9] = [
    "init",
    "-q",
    "--volume",
    "a",
    "--volume",
    "b",
    "--volume",
    "c",
    "--survive-volumes=1",
];

#[test]
fn the_tiers_of_a_tree_have_the_tolerance_of_the_archive_and_the_odds_of_the_library() {
    let place = tree();
    place.run(ON_THREE).expect_code(0);
    let before = listing(&place);
    let answer = place.run(["plan", "--json", "tree"]).expect_code(0);
    let lines = answer.json();
    assert_eq!(lines.len(), 3, "two tiers and a summary: {lines:?}");
    let (small, large, summary) = (&lines[0], &lines[1], &lines[2]);
    for (line, field, expected) in [
        (small, "tier", json!(1)),
        (small, "files", json!(2)),
        (small, "bytes", json!(400_000)),
        (small, "longest_bytes", json!(300_000)),
        (small, "columns", json!(5)),
        (small, "spread", json!([2, 1, 1])),
        (
            small,
            "tolerance",
            json!({"segments": 3, "extents": 3, "volumes": 2}),
        ),
        (small, "volumes_full", json!(2)),
        (large, "tier", json!(3)),
        (large, "files", json!(1)),
        (large, "columns", json!(COLUMNS_OF_SIX)),
        (large, "data_shards", json!(6)),
        (large, "parity_shards", json!(3)),
        (
            large,
            "tolerance",
            json!({"segments": 3, "extents": 3, "volumes": 1}),
        ),
        (large, "loss_by_leaves", json!(null)),
        (summary, "files", json!(3)),
        (summary, "directories", json!(2)),
        (summary, "volumes", json!(3)),
        (summary, "bytes", json!(BLOCKED + 400_000)),
        (summary, "leaf_failures_percent", json!(null)),
    ] {
        assert_eq!(line[field], expected, "{field}");
    }
    let stored: u64 = [small, large]
        .iter()
        .filter_map(|line| line["stored_bytes"].as_u64())
        .sum();
    assert_eq!(summary["stored_bytes"], stored);
    let overhead = large["overhead"].as_f64().expect("a number");
    assert!((0.5..0.51).contains(&overhead), "{overhead}");
    for (line, shape, columns) in [(small, (1, 3), 5), (large, (6, 3), COLUMNS_OF_SIX)] {
        let shape = CodeShape::new(shape.0, shape.1).expect("a shape");
        let spread = spread_counts(shape, 3);
        let expected = loss_together(&spread, shape, columns, &rates(0.0));
        assert_near(&line["loss_per_year"], expected);
        assert_near(&line["loss_by_volumes"], expected);
    }
    assert!(listing(&place) == before, "a plan changed something");
}

#[test]
fn leaves_count_when_their_rate_is_given_and_text_says_what_is_counted() {
    let place = tree();
    place.run(ON_THREE).expect_code(0);
    let answer = place.run(["plan", "--json", "tree/large", "--leaf-failures", "0.01"]);
    let line = &answer.expect_code(0).json()[0];
    let shape = CodeShape::new(6, 3).expect("a shape");
    let (spread, rates) = (spread_counts(shape, 3), rates(1e-4));
    let odds = LossOdds::new(&spread, shape, COLUMNS_OF_SIX, &rates);
    assert_near(&line["loss_by_volumes"], odds.by_volumes);
    assert_near(&line["loss_by_leaves"], odds.by_leaves);
    assert_near(
        &line["loss_per_year"],
        loss_together(&spread, shape, COLUMNS_OF_SIX, &rates),
    );

    let text = place.run(["plan", "tree/large"]).expect_code(0);
    for part in [
        "tier 3    1 file, 9.3 GiB as 13.9 GiB, 50 % overhead, RS(6,3)\n",
        "          any 3 of the 9 shards of a block, any 3 extents, any volume may be lost\n",
        "          the file is lost with odds of 1 in 45 000 a year (2.2e-5)\n",
        "model     1.4 % of volumes fail a year, each is replaced within 7 days on average; only volumes are counted: \
         --leaf-failures PERCENT counts bad leaves too\n",
        "total     1 file, 9.3 GiB as 13.9 GiB, 50 % overhead; it ",
    ] {
        assert!(text.text().contains(part), "{part} in {}", text.text());
    }
    let text = place.run(["plan", "tree", "--leaf-failures", "0.01", "--replacement", "36h"]);
    let text = text.expect_code(0);
    for part in [
        "          the longest file, 292.9 KiB, is lost with odds of 1 in ",
        "; by volumes alone 1 in ",
        "replaced within 1 d 12 h on average; 0.01 % of leaves go bad a year, a scrub repairs them every 30 days\n",
    ] {
        assert!(text.text().contains(part), "{part} in {}", text.text());
    }
}

#[test]
fn without_an_archive_it_is_about_a_new_one_and_nothing_is_made() {
    let place = tree();
    let before = listing(&place);
    let answer = place.run(["plan", "--json", "tree"]).expect_code(0);
    let lines = answer.json();
    assert_eq!(lines[1]["spread"], json!([33]), "RS(30,3) on one volume");
    assert_eq!(
        lines[1]["tolerance"],
        json!({"segments": 3, "extents": 3, "volumes": 0})
    );
    assert_near(&lines[1]["loss_per_year"], 0.014);
    assert_eq!(
        answer.json_errors()[0]["message"],
        "there is no archive at ./archive.bfdb: this is about a new one on 1 volume"
    );
    let on_four = ["a", "b", "c", "d"].map(|volume| ["--volume", volume]).concat();
    let lines = place
        .run([&["plan", "--json", "tree"][..], &on_four].concat())
        .expect_code(0)
        .json();
    assert_eq!(lines[0]["spread"], json!([1, 1, 1, 1]));
    assert_eq!(lines[0]["tolerance"]["volumes"], 3);
    assert_eq!(lines[2]["volumes"], 4);
    assert!(listing(&place) == before, "something was made");
    let twice = ["plan", "tree", "--volume", "a", "--volume", "a"];
    place.run(twice).expect_code(1);
}

#[test]
fn what_does_not_fit_is_said_and_what_is_stored_is_what_a_dry_run_says() {
    let place = tree();
    let huge = File::create(place.path("huge")).expect("a writable directory");
    huge.set_len(1 << 42).expect("a file may have holes");
    let lines = place.run(["plan", "--json", "huge", "huge", "huge", "huge"]);
    let lines = lines.expect_code(0).json();
    let free = lines[1]["free_bytes"].as_u64().expect("a number");
    assert_eq!(
        lines[1]["fits"],
        lines[1]["stored_bytes"].as_u64().expect("a number") <= free
    );
    let planned = place.run(["plan", "--json", "tree"]).expect_code(0).json();
    let dry = place
        .run(["commit", "-n", "--json", "tree"])
        .expect_code(0)
        .json();
    let dry = dry.last().expect("a summary");
    assert_eq!(planned[2]["stored_bytes"], dry["stored_bytes"]);
    let small = place.run(["plan", "--json", "tree/one"]).expect_code(0).json();
    assert_eq!(small[1]["fits"], true);
}

#[test]
fn the_archive_in_a_tree_is_left_out_and_what_is_missing_fails_alone() {
    let place = Place::with(&[("a", &content(1000, 1))]);
    let answer = place.run(["plan", "--json", ".", "missing"]).expect_code(3);
    let lines = answer.json();
    let summary = lines.last().expect("a summary");
    assert_eq!(
        (&summary["files"], &summary["skipped"], &summary["failed"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert!(
        answer.stderr.contains("missing does not exist"),
        "{}",
        answer.stderr
    );
    place.run(["plan", "missing"]).expect_code(1);
    place.run(["plan", "archive.bfdb"]).expect_code(1);
}

#[test]
fn numbers_that_no_model_has_are_usage_errors() {
    let place = tree();
    for arguments in [
        &[][..],
        &["-"],
        &["tree", "--volume-failures", "0"],
        &["tree", "--volume-failures", "100"],
        &["tree", "--volume-failures", "many"],
        &["tree", "--replacement", "59m"],
        &["tree", "--replacement", "7"],
        &["tree", "--leaf-failures", "100"],
        &["tree", "--leaf-failures=-1"],
        &["tree", "--scrub-every", "0d"],
    ] {
        let answer = place.run([&["plan"][..], arguments].concat()).expect_code(2);
        assert!(answer.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_source_on_one_disk_with_all_volumes_is_told_before_it_is_stored() {
    let place = Place::new();
    place.write("film", &content(300_000, 1));
    for (volumes, count, survived) in [
        (&[][..], "1 volume", "none"),
        (&["--volume", "a", "--volume", "b"], "2 volumes", "1"),
    ] {
        let answer = place
            .run([&["plan", "film"][..], volumes].concat())
            .expect_code(0);
        let expected = format!("warning: film is on one disk with {count}, and {survived} may be lost");
        assert!(answer.stderr.contains(&expected), "{}", answer.stderr);
    }
}
