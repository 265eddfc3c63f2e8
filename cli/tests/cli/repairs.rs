//! `scrub` and `repair`: what is found is remembered and written anew.

use bfdb_fault_injection::damage;
use serde_json::json;

use crate::harness::{Place, content};

/// An archive with a file of four copies, and where each of them begins.
fn place_with_copies(bytes: &[u8]) -> (Place, Vec<(std::path::PathBuf, u64)>) {
    let place = Place::with(&[("a", bytes), ("b", b"small")]);
    let copies = place.find_in_extents(&bytes[..64]);
    assert_eq!(copies.len(), 4, "four copies of a file of tier 1");
    (place, copies)
}

#[test]
fn what_a_scrub_finds_is_known_to_health_and_repaired_for_good() {
    let bytes = content(200_000, 1);
    let (place, copies) = place_with_copies(&bytes);
    damage::flip_byte(&copies[1].0, copies[1].1 + 70_000).expect("it is there");
    damage::delete(&copies[2].0).expect("it is there");
    place.run(["health"]).expect_code(0);
    place.run(["scrub", "-q"]).expect_code(4);
    let lines = place
        .run(["health", "--state", "degraded", "--json"])
        .expect_code(4)
        .json();
    let a = lines
        .iter()
        .find(|line| line["name"] == "a")
        .expect("it is degraded");
    assert_eq!((&a["damaged_shards"], &a["margin"]), (&json!(2), &json!(1)));
    place.run(["status"]).expect_code(4);
    let dry = place.run(["repair", "-n", "--json"]).expect_code(0).json();
    let dry = dry.last().expect("a summary").clone();
    assert_eq!(dry["dry_run"], true);
    place.run(["status"]).expect_code(4);
    let lines = place.run(["repair", "--json"]).expect_code(0).json();
    let summary = lines.last().expect("a summary");
    assert_eq!(summary["shards_repaired"], dry["shards_repaired"]);
    assert_eq!(summary["lost"], json!([]));
    let repaired = lines.iter().filter(|line| line["type"] == "repaired").count();
    assert_eq!(summary["shards_repaired"], repaired);
    place
        .run(["repair"])
        .expect_code(0)
        .expect_text("nothing is known to be damaged\n");
    place.run(["scrub"]).expect_code(0);
    place.run(["status"]).expect_code(0);
    // Any three of the four may go again.
    for copy in place.find_in_extents(&bytes[..64]).iter().take(3) {
        damage::flip_byte(&copy.0, copy.1).expect("it is there");
    }
    let answer = place.run(["cat", "a"]).expect_code(0);
    assert!(answer.stdout == bytes, "wrong bytes");
}

#[test]
fn what_a_read_meets_is_known_without_a_scrub() {
    let bytes = content(200_000, 1);
    let (place, copies) = place_with_copies(&bytes);
    damage::flip_byte(&copies[0].0, copies[0].1).expect("it is there");
    place.run(["cat", "a"]).expect_code(0);
    place.run(["status"]).expect_code(4);
    place.run(["repair", "a"]).expect_code(0);
    place.run(["scrub"]).expect_code(0);
}

#[test]
fn a_file_that_has_lost_bytes_is_named_and_healed_from_an_original() {
    let bytes = content(200_000, 1);
    let (place, copies) = place_with_copies(&bytes);
    for (path, start) in &copies {
        damage::flip_byte(path, *start + 70_000).expect("it is there");
    }
    let answer = place.run(["scrub", "--json"]).expect_code(5);
    let suggest = answer.json().last().expect("a summary")["suggest"].clone();
    assert_eq!(
        suggest,
        json!(["bfdb repair --import DIR", "bfdb restore --partial -o DIR a"])
    );
    let lines = place.run(["repair", "--json"]).expect_code(5).json();
    let summary = lines.last().expect("a summary");
    assert_eq!(
        summary["lost"],
        json!([{"name": "a", "ranges": [[65_536, 131_072]]}])
    );
    // An original of other content heals nothing.
    for directory in ["wrong", "right"] {
        std::fs::create_dir(place.path(directory)).expect("a directory");
    }
    place.write("wrong/a", &content(200_000, 2));
    place.run(["repair", "--import", "wrong"]).expect_code(5);
    place.write("right/a", &bytes);
    place.run(["repair", "--import", "right"]).expect_code(0);
    place.run(["scrub"]).expect_code(0);
    let answer = place.run(["cat", "a"]).expect_code(0);
    assert!(answer.stdout == bytes, "wrong bytes");
}

#[test]
fn a_scrub_that_repairs_ends_well_and_one_with_a_budget_goes_on() {
    let bytes = content(200_000, 1);
    let (place, copies) = place_with_copies(&bytes);
    damage::flip_byte(&copies[3].0, copies[3].1).expect("it is there");
    let lines = place.run(["scrub", "--repair", "--json"]).expect_code(0).json();
    let summary = lines.last().expect("a summary");
    assert_eq!(
        (&summary["repaired_shards"], &summary["complete"]),
        (&json!(1), &json!(true))
    );
    place.write("d", &content(300_000, 3));
    place.run(["commit", "-q", "d"]).expect_code(0);
    let strict = [
        "scrub",
        "--plan",
        "new",
        "--budget",
        "100K",
        "--strict-budget",
        "--json",
    ];
    let mut rounds = 0;
    loop {
        let answer = place.run(strict);
        let complete = answer.json().last().expect("a summary")["complete"].clone();
        if answer.code == 0 {
            assert_eq!(complete, true);
            break;
        }
        assert_eq!((answer.code, &complete), (7, &json!(false)));
        rounds += 1;
        assert!(rounds < 50, "it comes to an end");
    }
    assert!(rounds > 3, "{rounds} rounds");
    let nothing = place
        .run(["scrub", "--plan", "new", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(nothing.last().expect("a summary")["bytes_read"], 0);
}

#[test]
fn a_name_that_is_not_stored_is_no_name_to_repair() {
    let place = Place::with(&[("a", b"1")]);
    place.run(["repair", "b"]).expect_code(15);
}
