//! Damage on the volumes: decoded around and told where it can be, exact where it cannot.

use std::path::PathBuf;

use bfdb::units::ByteRange;
use bfdb_fault_injection::damage;
use serde_json::json;

use crate::harness::{LEAF, Place, content};

/// A place with one damaged file of four leaves, and where in the extents its copies begin.
fn place_with_copies(bytes: &[u8]) -> (Place, Vec<(PathBuf, u64)>) {
    let place = Place::with(&[("a", bytes), ("whole", b"beside it")]);
    let copies = place.find_in_extents(&bytes[..64]);
    assert_eq!(copies.len(), 4, "four copies of a file of tier 1");
    (place, copies)
}

#[test]
fn a_flipped_byte_in_any_extent_is_decoded_around_with_a_warning_and_found_by_scrub() {
    let bytes = content(200_000, 1);
    for copy in 0..4 {
        let (place, copies) = place_with_copies(&bytes);
        damage::flip_byte(&copies[copy].0, copies[copy].1 + 70_000).expect("it is there");
        let answer = place.run(["cat", "a"]).expect_code(0);
        assert!(answer.stdout == bytes, "wrong bytes with copy {copy} damaged");
        // The other copies are not read where the first is good.
        let warning = "warning: a: 1 damaged shard in 1 block decoded around, every byte delivered is right\n  \
                       try: bfdb verify a\n";
        assert_eq!(answer.stderr, if copy == 0 { warning } else { "" });
        if copy == 0 {
            let quiet = place.run(["-q", "cat", "a"]).expect_code(0);
            assert_eq!(quiet.stderr, warning, "-q does not hide damage");
            let restored = place.run(["restore", "a", "-o", "out"]).expect_code(0);
            assert_eq!(restored.stderr, warning);
            assert!(place.read("out/a") == bytes, "wrong bytes were restored");
        }

        let answer = place.run(["scrub"]).expect_code(4);
        let text = answer.text();
        assert!(
            text.starts_with(&format!("a: block 0 shard {copy} (extent ")),
            "{text}"
        );
        assert!(
            text.contains(
                "the payload does not match its hash in columns 1..2; every byte can still be read\n"
            ),
            "{text}"
        );
        assert!(
            text.contains(": 1 damaged shard; 1 file degraded, all bytes of which can be read\n"),
            "{text}"
        );
        assert!(text.ends_with("  try: bfdb repair\n"), "{text}");
    }
}

#[test]
fn findings_have_the_fields_that_scripts_rely_on() {
    let (place, copies) = place_with_copies(&content(200_000, 1));
    damage::flip_byte(&copies[2].0, copies[2].1 + 199_999).expect("it is there");
    damage::delete(&copies[3].0).expect("it is there");
    for command in [
        &["scrub", "--json"][..],
        &["verify", "--json", "a"],
        &["verify", "--json"],
    ] {
        let answer = place.run(command).expect_code(4);
        let lines = answer.json();
        let of_a: Vec<_> = lines
            .iter()
            .filter(|line| line["type"] == "finding" && line["name"] == "a")
            .collect();
        assert_eq!(of_a.len(), 2, "{lines:?}");
        let (flipped, missing) = (of_a[0], of_a[1]);
        for (field, expected) in [
            ("block", json!(0)),
            ("shard", json!(2)),
            ("columns", json!([[3, 4]])),
            ("kind", json!("checksum")),
            ("part", json!("payload")),
            ("recoverable", json!(true)),
        ] {
            assert_eq!(flipped[field], expected, "{field}");
        }
        assert_eq!(missing["kind"], "missing");
        assert_eq!(missing["shard"], 3);
        assert_eq!(missing["columns"], json!([[0, 4]]));
        let summary = lines.last().expect("a summary");
        assert_eq!(summary["type"], "summary");
        assert_eq!(summary["files_lost"], 0);
        assert_eq!(summary["repaired_shards"], 0);
        assert_eq!(summary["complete"], true);
        assert!(
            summary["bytes_read"]
                .as_u64()
                .is_some_and(|bytes| bytes > 600_000)
        );
        assert!(summary["blocks"].as_u64().is_some_and(|blocks| blocks >= 1));
        assert_eq!(summary["suggest"], json!(["bfdb repair"]));
        // What lies in the deleted extent beside the file is damaged with it.
        let all = lines.iter().filter(|line| line["type"] == "finding").count();
        assert_eq!(summary["damaged_shards"], all);
    }
    let lines = place.run(["verify", "--json", "a"]).json();
    assert_eq!(lines[2]["files"], 1);
    assert_eq!(lines[2]["files_degraded"], 1);
    assert_eq!(lines[2]["damaged_shards"], 2);
}

#[test]
fn bytes_that_are_lost_in_all_copies_are_named_exactly_and_the_rest_is_delivered() {
    let bytes = content(400_000, 1);
    let (place, copies) = place_with_copies(&bytes);
    // Different bytes of the same leaf, so that no two copies look alike; and another leaf further on.
    for ((path, start), byte) in copies.iter().zip(70_000..) {
        damage::flip_byte(path, start + byte).expect("it is there");
        damage::flip_byte(path, start + 350_000).expect("it is there");
    }
    let lost = [(LEAF, 2 * LEAF), (5 * LEAF, 6 * LEAF)];

    let answer = place.run(["cat", "a"]).expect_code(5);
    assert!(
        answer.stdout == bytes[..LEAF],
        "everything before the loss, and no byte of it"
    );
    assert!(
        answer.stderr.starts_with(
            "error: a: 131072 bytes are lost in 2 ranges\n  lost: bytes 65536..131072\n  lost: bytes 327680..393216\n"
        ),
        "{}",
        answer.stderr
    );
    assert!(
        answer.stderr.ends_with("  try: bfdb verify a\n"),
        "{}",
        answer.stderr
    );
    let answer = place.run(["--json", "cat", "a"]).expect_code(5);
    let error = &answer.json_errors()[0];
    assert_eq!((&error["code"], &error["ranges"]), (&json!(5), &json!(lost)));

    for (start, end) in [(0, LEAF), (2 * LEAF, 5 * LEAF), (6 * LEAF, 400_000)] {
        let range = format!("{start}..{end}");
        let answer = place.run(["cat", "a", "--range", &range]).expect_code(0);
        assert!(answer.stdout == bytes[start..end], "{range} is not lost");
    }
    let answer = place.run(["cat", "a", "--range", "70000..70001"]).expect_code(5);
    assert_eq!(answer.stdout, b"");

    let answer = place.run(["restore", "a", "whole", "-o", "out"]).expect_code(5);
    assert!(
        answer.stderr.contains("lost: bytes 65536..131072\n"),
        "{}",
        answer.stderr
    );
    assert!(!place.path("out/a").exists(), "half a file was left");
    assert_eq!(place.read("out/whole"), b"beside it", "the rest goes on");

    for command in [&["scrub"][..], &["verify"], &["verify", "a"]] {
        let answer = place.run(command).expect_code(5);
        let text = answer.text();
        assert!(
            text.contains("a: bytes 65536..131072 are lost\na: bytes 327680..393216 are lost\n"),
            "{text}"
        );
        assert!(text.contains("; 1 file with lost bytes\n"), "{text}");
        let led_on = "  try: bfdb repair --import DIR\n  try: bfdb restore --partial -o DIR a\n";
        assert!(text.ends_with(led_on), "{text}");
        let lines = place.run([&["--json"], command].concat()).expect_code(5).json();
        let line = lines.iter().find(|line| line["type"] == "lost").expect("a line");
        assert_eq!(*line, json!({"type": "lost", "name": "a", "ranges": lost}));
        assert_eq!(lines.last().expect("a summary")["files_lost"], 1);
        let unrecoverable = lines.iter().filter(|line| line["recoverable"] == false).count();
        assert_eq!(unrecoverable, 4, "{lines:?}");
    }
    place.run(["verify", "whole"]).expect_code(0);
}

#[test]
fn what_is_left_of_a_file_whose_first_bytes_are_lost_is_suggested() {
    let bytes = content(100_000, 1);
    let (place, copies) = place_with_copies(&bytes);
    for (path, start) in &copies {
        damage::flip_byte(path, *start).expect("it is there");
    }
    let answer = place.run(["verify", "a"]).expect_code(5);
    assert!(
        answer
            .text()
            .ends_with("  try: bfdb restore --partial -o DIR a\n"),
        "{}",
        answer.text()
    );
    let rest = place.run(["cat", "--range", "65536..", "a"]).expect_code(0);
    assert!(rest.stdout == bytes[LEAF..], "what is not lost");
    place.run(["cat", "a"]).expect_code(5).expect_text("");
}

#[test]
fn damage_in_a_file_of_tier_2_is_told_block_by_block() {
    let bytes = content(12_000_000, 1);
    let place = Place::with(&[("large", &bytes)]);
    let copies = place.find_in_extents(&bytes[4_194_304..4_194_368]);
    assert_eq!(copies.len(), 4, "the second block has four copies");
    let (path, start) = &copies[0];
    damage::zero_range(path, ByteRange::at(*start, 100_000).expect("small")).expect("it is there");
    let answer = place.run(["cat", "large"]).expect_code(0);
    assert!(answer.stdout == bytes, "wrong bytes");
    assert!(
        answer.stderr.contains("large: 1 damaged shard in 1 block "),
        "{}",
        answer.stderr
    );
    let verbose = place.run(["-v", "cat", "large"]).expect_code(0);
    assert!(
        verbose.stderr.contains("note: large: block 1 shard 0 (extent "),
        "{}",
        verbose.stderr
    );
    let lines = place.run(["verify", "--json", "large"]).expect_code(4).json();
    assert_eq!(lines[0]["block"], 1);
    assert_eq!(lines[0]["columns"], json!([[0, 2]]));
    // `status` reads no data, but it knows what `cat` has met.
    place.run(["status"]).expect_code(4);
    place.run(["repair"]).expect_code(0);
    place.run(["status"]).expect_code(0);
}

#[test]
fn damage_beside_the_payload_is_repairable_damage_too() {
    let bytes = content(200_000, 1);
    let (place, copies) = place_with_copies(&bytes);
    // The header of the frame, and nothing of the file.
    let frame_start = copies[1].1 / 4096 * 4096;
    let header = if frame_start == copies[1].1 {
        copies[1].1 - 4096
    } else {
        frame_start
    };
    damage::flip_byte(&copies[1].0, header + 20).expect("it is there");
    let answer = place.run(["cat", "a"]).expect_code(0);
    assert!(answer.stdout == bytes, "wrong bytes");
    let lines = place.run(["scrub", "--json"]).expect_code(4).json();
    assert_eq!(lines[0]["type"], "finding");
    assert_eq!(lines[0]["part"], "header");
    assert_eq!(lines[0]["columns"], json!([]));
    assert_eq!(lines[0]["recoverable"], true);
}

#[test]
fn a_descriptor_is_told_of_as_what_it_is_and_nobody_is_sent_to_restore_it() {
    let place = Place::with(&[("a-name-that-stands-nowhere-else", b"some bytes")]);
    let copies = place.find_in_extents(b"a-name-that-stands-nowhere-else");
    assert_eq!(
        copies.len(),
        4,
        "four copies of what the commit wrote about its file"
    );
    for (damaged, expected) in [
        (
            1,
            "; 1 descriptor damaged, all of it can be read\n  try: bfdb repair\n",
        ),
        (
            4,
            "; 1 descriptor damaged, 1 of them lost: keep a copy of the catalog\n",
        ),
    ] {
        for (path, offset) in &copies[damaged / 4..damaged] {
            damage::flip_byte(path, *offset).expect("it is there");
        }
        let answer = place.run(["scrub"]).expect_code(4);
        let text = answer.text();
        assert!(
            text.starts_with("descriptor of commit 1: block 0 shard 0 (extent "),
            "{text}"
        );
        assert!(text.ends_with(expected), "{text}");
        let json = place.run(["scrub", "--json"]).expect_code(4).json();
        let summary = json.last().expect("a summary");
        assert_eq!(
            (
                &summary["files_lost"],
                &summary["files_degraded"],
                &summary["suggest"]
            ),
            (
                &json!(0),
                &json!(0),
                &json!(["bfdb repair"][..usize::from(damaged == 1)])
            )
        );
    }
    place
        .run(["cat", "a-name-that-stands-nowhere-else"])
        .expect_code(0);
}
