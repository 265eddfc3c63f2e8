//! `health`, `what-if`, and what `status`, `ls` and `stat` say of damage that is known.

use bfdb::{
    catalog::{
        Access, BlockRecord, Catalog, CatalogOptions, CatalogWriter, Check, DamageRecord, Knowledge, Look,
        Scrubbed, ShardOwner,
    },
    host::Machine,
    plan::{ColumnSet, DamageKind, DamagePart},
    units::{BlockIndex, ByteRange, ColumnIndex, FileName, ShardIndex, Timestamp},
};
use serde_json::{Value, json};

use crate::harness::{Place, content};

const SINCE: i64 = 1_700_000_000;

fn with_catalog(place: &Place, change: impl FnOnce(&mut CatalogWriter)) {
    let path = place.path("archive.bfdb/catalog.redb");
    let (storage, options) = (Machine::default().storage, CatalogOptions::default());
    let catalog = Catalog::open(&storage, &path, Access::Write, Check::Always, options).expect("opened");
    let mut writer = catalog.write().expect("a writer");
    change(&mut writer);
    writer.commit().expect("committed");
    catalog.close().expect("closed");
}

fn block_of(writer: &CatalogWriter, name: &str) -> (ShardOwner, BlockRecord) {
    let name: FileName = name.parse().expect("a name");
    let file = writer.file_by_name(&name).expect("sound").expect("stored");
    let block = writer.block(&file, BlockIndex::new(0)).expect("sound");
    match file.geometry.block_count() {
        1 => (ShardOwner::InlineBlockOf(file.id), block),
        _ => (ShardOwner::Block(block.id), block),
    }
}

/// Notes that the first column of some shards of the first block of a file is bad.
fn damage(place: &Place, name: &str, shards: core::ops::Range<u16>) {
    with_catalog(place, |writer| {
        let (owner, block) = block_of(writer, name);
        let mut columns = ColumnSet::default();
        columns.insert(ColumnIndex::new(0));
        let found = shards.map(ShardIndex::new).map(|shard| DamageRecord {
            owner,
            block: block.id,
            shard,
            address: block.shards[shard.as_usize()]
                .as_ref()
                .expect("present")
                .address(),
            columns: columns.clone(),
            part: DamagePart::Payload,
            kind: DamageKind::Checksum,
            since: Timestamp::new(SINCE, 0).expect("a time"),
        });
        let found: Vec<DamageRecord> = found.collect();
        writer.record_damage(&found, Knowledge::Part).expect("recorded");
    });
}

/// Notes that everything was read back at a time, and nothing was found.
fn verify_all(place: &Place, at: i64) {
    with_catalog(place, |writer| {
        for extent in writer.extents().expect("sound") {
            let mut read = writer.shards_of_extent(extent.id, None, 1000).expect("sound");
            read.sort_unstable();
            let scrubbed = Scrubbed {
                extent: extent.id,
                range: ByteRange::new(0, extent.end_bytes).expect("in order"),
                at: Timestamp::new(at, 0).expect("a time"),
                look: Look {
                    read: &read,
                    damage: &[],
                    before: &[],
                },
            };
            writer.record_scrub(&scrubbed).expect("recorded");
        }
    });
}

/// One file that is whole, one that has lost a copy, and one with all copies bad in a column.
fn place() -> Place {
    let place = Place::with(&[
        ("whole", b"1"),
        ("worse", &content(200_000, 1)),
        ("gone", &content(200_000, 2)),
    ]);
    damage(&place, "worse", 1..3);
    damage(&place, "gone", 0..4);
    place
}

fn field<'a>(lines: &'a [Value], field: &str) -> Vec<&'a Value> {
    let files = lines.iter().filter(|line| line["type"] == "file");
    files.map(|line| &line[field]).collect()
}

#[test]
fn health_lists_what_every_option_lets_through_and_speaks_for_what_it_lists() {
    let place = place();
    let run = |arguments: &[&str], code| {
        let answer = place
            .run([&["health", "--json"], arguments].concat())
            .expect_code(code);
        answer.json()
    };
    let all = run(&[], 5);
    assert_eq!(field(&all, "name"), ["gone", "whole", "worse"]);
    assert_eq!(
        all[2],
        json!({
            "type": "file", "name": "worse", "length": 200_000, "tier": 1, "state": "degraded", "unverified": true,
            "damaged_shards": 2, "margin": 1, "lost_bytes": 0, "damaged_since": "2023-11-14T22:13:20Z",
            "last_verified": null,
        })
    );
    assert_eq!(all[0]["lost_bytes"], 65536);
    let stored: u64 = field(&all, "length")
        .iter()
        .filter_map(|length| length.as_u64())
        .sum();
    let mut summary = all[3].clone();
    assert!(
        summary["stored_bytes"]
            .as_u64()
            .is_some_and(|bytes| bytes > 4 * stored),
        "{summary}"
    );
    summary["stored_bytes"] = json!(0);
    assert_eq!(
        summary,
        json!({
            "type": "summary", "files": 3, "healthy": 1, "degraded": 1, "lost": 1, "unverified": 3, "bytes": stored,
            "stored_bytes": 0, "complete": true,
        })
    );
    for (arguments, names, code) in [
        (&["--state", "degraded"][..], &["worse"][..], 4),
        (&["--state", "lost"], &["gone"], 5),
        (&["--state", "healthy"], &["whole"], 0),
        (&["--state", "degraded", "--state", "lost"], &["gone", "worse"], 5),
        (&["--state", "unverified"], &["gone", "whole", "worse"], 5),
        (&["--margin-at-most", "1"], &["gone", "worse"], 5),
        (&["--margin-at-most", "0"], &["gone"], 5),
        (&["--tier", "2"], &[], 0),
        (
            &["--not-verified-since", "1d", "--tier", "1"],
            &["gone", "whole", "worse"],
            5,
        ),
        (&["worse"], &["worse"], 4),
    ] {
        assert_eq!(field(&run(arguments, code), "name"), names, "{arguments:?}");
    }
}

#[test]
fn health_lists_no_more_than_asked_for_and_refuses_what_is_not_there() {
    let place = place();
    let limited = [
        "health", "--json", "--limit", "1", "--state", "degraded", "--state", "lost",
    ];
    let limited = place.run(limited).expect_code(5).json();
    assert_eq!(
        (&limited[1]["files"], &limited[1]["complete"]),
        (&json!(1), &json!(false))
    );
    let text = place.run(["health", "--state", "degraded"]).expect_code(4);
    text.expect_text(
        "degraded  tier 1       2 damaged  margin   1  verified never                 worse\n\
         1 file: 0 healthy, 1 degraded, 0 lost; 1 unverified\n",
    );
    place.run(["health", "nothing"]).expect_code(15);
    let answer = place.run(["health", "--on-volume", "nowhere"]).expect_code(15);
    answer.expect_stderr("error: no volume nowhere in this archive\n  try: bfdb volume ls\n");
}

#[test]
fn health_knows_when_files_were_verified() {
    let place = Place::with(&[("a", b"1"), ("b", b"2")]);
    verify_all(&place, SINCE);
    let lines = place.run(["health", "--json"]).expect_code(0).json();
    let at = json!("2023-11-14T22:13:20Z");
    assert_eq!(field(&lines, "last_verified"), [&at, &at]);
    assert_eq!(field(&lines, "unverified"), [&json!(false), &json!(false)]);
    for (age, count) in [("1d", 2), ("9999w", 0)] {
        let lines = place
            .run(["health", "--json", "--not-verified-since", age])
            .json();
        assert_eq!(field(&lines, "name").len(), count, "{age}");
    }
    let listed = place.run(["ls", "--json"]).expect_code(0).json();
    assert_eq!(field(&listed, "state"), ["healthy", "healthy"]);
    let stat = place.run(["stat", "a"]).expect_code(0);
    let line = "state      healthy: all of it was verified at 2023-11-14T22:13:20Z or later";
    assert!(stat.text().lines().any(|found| found == line), "{}", stat.text());
    let status = &place.run(["status", "--json"]).expect_code(0).json()[0];
    assert_eq!(
        (&status["unverified"], &status["verification"]["never"]),
        (&json!(0), &json!(0))
    );
    assert!(
        status["verification"]["older"]
            .as_u64()
            .is_some_and(|bytes| bytes > 0),
        "{status}"
    );
    assert_eq!(status["suggest"], json!(["bfdb scrub"]), "that was long ago");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("after 1970").as_secs();
    verify_all(&place, i64::try_from(now).expect("a time") - 5 * 86_400);
    let status = &place.run(["status", "--json"]).expect_code(0).json()[0];
    assert!(
        status["verification"]["under_a_week"]
            .as_u64()
            .is_some_and(|bytes| bytes > 0),
        "{status}"
    );
    assert_eq!(status["suggest"], json!([]), "there is nothing to do");
}

#[test]
fn ls_and_stat_tell_the_state_of_each_entry() {
    let place = place();
    std::fs::create_dir(place.path("d")).expect("a directory");
    place.run(["commit", "-q", "d"]).expect_code(0);
    let lines = place.run(["ls", "--json"]).expect_code(0).json();
    assert_eq!(
        field(&lines, "state"),
        [
            &json!(null),
            &json!("lost"),
            &json!("unverified"),
            &json!("degraded")
        ]
    );
    let long = place.run(["ls", "-l", "worse"]).expect_code(0);
    assert!(long.text().ends_with("  degraded    worse\n"), "{}", long.text());
    let lines = place.run(["stat", "--json", "worse"]).expect_code(0).json();
    for (field, expected) in [
        ("state", json!("degraded")),
        ("unverified", json!(true)),
        ("damaged_shards", json!(2)),
        ("margin", json!(1)),
        ("lost_bytes", json!(0)),
        ("damaged_since", json!("2023-11-14T22:13:20Z")),
        ("last_verified", json!(null)),
    ] {
        assert_eq!(lines[0][field], expected, "{field}");
    }
    let findings: Vec<&Value> = lines.iter().filter(|line| line["type"] == "finding").collect();
    assert_eq!(findings.len(), 2);
    for (finding, shard) in findings.iter().zip([1, 2]) {
        assert_eq!(
            (&finding["shard"], &finding["columns"]),
            (&json!(shard), &json!([[0, 1]]))
        );
        assert_eq!(
            (&finding["kind"], &finding["recoverable"]),
            (&json!("checksum"), &json!(true))
        );
    }
    let extent = &findings[0]["extent"];
    let text = place.run(["stat", "worse"]).expect_code(0);
    for line in [
        "state      degraded: 2 damaged shards since 2023-11-14T22:13:20Z, every byte can be read, 1 more may be lost in the \
         worst column; not known to have been read back",
        &format!(
            "damaged    block 0 shard 1 (extent {extent}): the payload does not match its hash in columns 0..1"
        ),
    ] {
        assert!(
            text.text().lines().any(|found| found == line),
            "{line}\n{}",
            text.text()
        );
    }
    let lines = place.run(["stat", "--json", "d"]).expect_code(0).json();
    assert_eq!((&lines[0]["state"], lines[0].get("margin")), (&json!(null), None));
}

#[test]
fn status_tells_what_happened_what_is_affected_and_what_to_type() {
    let place = place();
    let status = &place.run(["status", "--json"]).expect_code(5).json()[0];
    for (field, expected) in [
        ("state", json!("lost")),
        ("healthy", json!(1)),
        ("degraded", json!(1)),
        ("lost", json!(1)),
        ("unverified", json!(3)),
        ("damaged_shards", json!(6)),
        ("damaged_descriptors", json!(0)),
        (
            "suggest",
            json!([
                "bfdb repair",
                "bfdb repair --import DIR",
                "bfdb restore --partial -o DIR gone",
                "bfdb scrub"
            ]),
        ),
    ] {
        assert_eq!(status[field], expected, "{field}");
    }
    let names: Vec<&Value> = status["affected"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|file| &file["name"])
        .collect();
    assert_eq!(names, ["gone", "worse"], "lost ones first");
    let volume = &status["volumes"][0];
    assert_eq!(
        volume["found"],
        json!({"checksum": 6, "misplaced": 0, "io_error": 0, "missing": 0, "encoding": 0})
    );
    assert_eq!(volume["repaired_shards"], 0);
    let text = place.run(["status"]).expect_code(5);
    for line in [
        "state     lost: 6 damaged shards; 1 file with lost bytes; 1 file degraded, all bytes of which can be read",
        "affected  gone: lost, 4 damaged shards, 65536 bytes lost, since 2023-11-14T22:13:20Z",
        "affected  worse: degraded, 2 damaged shards, since 2023-11-14T22:13:20Z",
        "so far    6 shards with a wrong hash",
        "next      bfdb repair",
    ] {
        assert!(
            text.text().lines().any(|found| found == line),
            "{line}\n{}",
            text.text()
        );
    }
    place.run(["rm", "-q", "gone"]).expect_code(0);
    let status = &place.run(["status", "--json"]).expect_code(4).json()[0];
    assert_eq!(
        (&status["state"], &status["suggest"][0]),
        (&json!("degraded"), &json!("bfdb repair"))
    );
    place.run(["rm", "-q", "worse"]).expect_code(0);
    let status = &place.run(["status", "--json"]).expect_code(0).json()[0];
    assert_eq!(
        (&status["state"], &status["damaged_shards"]),
        (&json!("healthy"), &json!(0))
    );
}

#[test]
fn what_if_counts_and_lists_what_a_loss_would_mean() {
    // One command, so that both lie in the same extents.
    let place = Place::new();
    place.write("whole", b"1");
    place.write("worse", &content(200_000, 1));
    place.run(["commit", "-q", "whole", "worse"]).expect_code(0);
    damage(&place, "worse", 0..3);
    let places = place.run(["stat", "--json", "worse"]).json();
    let shards = places
        .iter()
        .find(|line| line["type"] == "block")
        .expect("a block")["shards"]
        .clone();
    let (extent, volume) = (&shards[3]["extent"], shards[3]["volume"].as_str().expect("an id"));
    let loss = format!("extent:{extent}");
    let lines = place
        .run(["what-if", "--json", "-l", "--lose", &loss])
        .expect_code(0)
        .json();
    let mut files: Vec<Value> = lines[..2].to_vec();
    files.sort_by_key(|line| line["name"].to_string());
    assert_eq!(
        files,
        [
            json!({"type": "file", "name": "whole", "state": "healthy", "becomes": "degraded", "shards": 1, "lost_bytes": 0}),
            json!({"type": "file", "name": "worse", "state": "degraded", "becomes": "lost", "shards": 1, "lost_bytes": 65536}),
        ]
    );
    let summary = &lines[2];
    for (field, expected) in [
        ("extents", 1),
        ("files", 2),
        ("newly_degraded", 1),
        ("newly_lost", 1),
        ("lost_bytes", 65536),
    ] {
        assert_eq!(summary[field], expected, "{field}");
    }
    let answer = place
        .run(["what-if", "--json", "--lose", &format!("volume:{volume}")])
        .expect_code(0);
    let whole = &answer.json()[0];
    assert_eq!(
        (&whole["newly_lost"], &whole["lost_bytes"]),
        (&json!(2), &json!(200_001))
    );
    let text = place.run(["what-if", "--lose", &loss]).expect_code(0);
    assert!(
        text.text()
            .contains("lost      1 file that can be read now, 64.0 KiB\n"),
        "{}",
        text.text()
    );
    let answer = place.run(["what-if", "--lose", "extent:9999"]).expect_code(1);
    answer.expect_stderr("error: extent 9999 is unknown\n");
    place.run(["what-if"]).expect_code(2);
    place.run(["what-if", "--lose", "9999"]).expect_code(2);
}
