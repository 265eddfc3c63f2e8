//! `--keep-versions`, `--versions`, `--version` and `mv`.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Place, content};

/// A place with three versions of `a`, two of them kept, and a directory with a file of two versions.
fn kept() -> Place {
    let place = Place::new();
    for bytes in [&b"one"[..], b"three", b"fifteen"] {
        place.write("a", bytes);
        let answer = place.run(["commit", "-q", "a", "--replace", "--keep-versions", "2"]);
        answer.expect_code(0);
    }
    fs::create_dir(place.path("d")).expect("made");
    place.write("d/f", b"old");
    place.run(["commit", "-q", "d"]).expect_code(0);
    place.write("d/f", b"newer");
    place
        .run(["commit", "-q", "d", "--replace", "--keep-versions", "9"])
        .expect_code(0);
    place
}

/// Names and versions, as `ls --versions` lists them.
fn listed(place: &Place) -> Vec<String> {
    let lines = place.run(["ls", "--versions", "--json"]).expect_code(0).json();
    let files = lines.iter().filter(|line| line["type"] == "file");
    let line = |line: &Value| {
        let kept = if line["kept"] == true { " kept" } else { "" };
        format!(
            "{} {}{kept}",
            line["name"].as_str().expect("a name"),
            line["version"]
        )
    };
    files.map(line).collect()
}

#[test]
fn what_is_replaced_is_kept_listed_and_comes_back() {
    let place = kept();
    assert_eq!(
        listed(&place),
        ["a 1 kept", "a 2 kept", "a 3", "d 1", "d/f 1 kept", "d/f 2"]
    );
    place.run(["ls"]).expect_code(0).expect_text("a\nd\nd/f\n");
    let text = place.run(["ls", "--versions", "a", "d/f"]).expect_code(0);
    let columns: Vec<Vec<&str>> = (text.text().lines())
        .map(|line| line.split_whitespace().collect())
        .collect();
    let short: Vec<(&str, &str, &str)> = (columns.iter())
        .map(|words| (words[0], words[1], *words.last().expect("a name")))
        .collect();
    let expected = [
        ("1", "kept", "a"),
        ("2", "kept", "a"),
        ("3", "current", "a"),
        ("1", "kept", "d/f"),
        ("2", "current", "d/f"),
    ];
    assert_eq!(short, expected);
    let lines = place
        .run(["ls", "--versions", "--json", "a"])
        .expect_code(0)
        .json();
    let summary = json!({"type": "summary", "files": 3, "directories": 0, "symlinks": 0, "bytes": 15, "kept_versions": 2});
    assert_eq!(lines[3], summary);

    for (version, bytes) in [("1", "one"), ("2", "three"), ("3", "fifteen")] {
        let answer = place.run(["cat", "a", "--version", version]);
        answer.expect_code(0).expect_text(bytes);
        let out = format!("out{version}");
        place
            .run(["restore", "a", "--version", version, "-o", &out])
            .expect_code(0);
        assert_eq!(place.read(format!("{out}/a")), bytes.as_bytes());
        let lines = place
            .run(["stat", "--json", "a", "--version", version])
            .expect_code(0)
            .json();
        assert_eq!(
            (&lines[0]["version"], &lines[0]["length"]),
            (
                &json!(version.parse::<u32>().expect("a number")),
                &json!(bytes.len())
            )
        );
        assert_eq!(lines[0]["kept"] == true, version != "3");
    }
    let dry = place.run(["restore", "-n", "a", "--version", "1", "-o", "none", "--json"]);
    let dry = dry.expect_code(0).json();
    assert_eq!((&dry[0]["length"], dry.len()), (&json!(3), 2));

    let status = place.run(["status", "--json"]).expect_code(0).json();
    assert_eq!(status[0]["kept_versions"], 3);
    assert_eq!(
        (&status[0]["files"], &status[0]["bytes"], &status[0]["kept_bytes"]),
        (&json!(2), &json!(12), &json!(11))
    );
    assert_eq!(status[0]["healthy"], 5);
    let text = place.run(["status"]).expect_code(0);
    assert!(
        text.text()
            .contains("\nversions  3 kept versions, 11 B stored as"),
        "{}",
        text.text()
    );
    let verified = place.run(["verify", "--json"]).expect_code(0).json();
    assert_eq!(verified.last().expect("a summary")["files"], 5);
}

#[test]
fn versions_that_are_not_there_are_said_so() {
    let place = kept();
    for command in [
        &["cat", "a", "--version", "4"][..],
        &["stat", "a", "--version", "4"],
        &["restore", "a", "--version", "4", "-o", "x"],
        &["rm", "a", "--version", "4"],
    ] {
        let answer = place.run(command).expect_code(15).expect_text("");
        answer.expect_stderr("error: no version 4 of a in this archive\n  try: bfdb ls --versions a\n");
    }
    for command in [
        &["cat", "b", "--version", "1"][..],
        &["stat", "b", "--version", "1"],
        &["restore", "b", "--version", "1", "-o", "x"],
        &["rm", "b", "--version", "1"],
    ] {
        let answer = place.run(command).expect_code(15);
        assert!(
            answer
                .stderr
                .starts_with("error: no file named b in this archive"),
            "{}",
            answer.stderr
        );
    }
    for command in [
        &["commit", "a", "--keep-versions", "2"][..],
        &["cat", "a", "--version", "0"],
        &["rm", "a", "d", "--version", "1"],
        &["restore", "a", "d", "--version", "1", "-o", "x"],
        &["restore", "--version", "1", "-o", "x"],
        &["rm", "-r", "a", "--version", "1"],
    ] {
        place.run(command).expect_code(2);
    }
}

#[test]
fn rm_takes_one_version_or_the_name_with_all_of_them() {
    let place = kept();
    let answer = place.run(["rm", "a", "--version", "3"]).expect_code(1);
    answer.expect_stderr(
        "error: version 3 of a is the current one, which goes with the name\n  try: bfdb rm a\n",
    );
    let before = listed(&place);
    place.run(["rm", "-n", "a", "--version", "1"]).expect_code(0);
    let dry = place.run(["rm", "-n", "--json", "a"]).expect_code(0).json();
    assert_eq!(
        (&dry[0]["kept_versions"], &dry[1]["kept_versions"]),
        (&json!(2), &json!(2))
    );
    assert_eq!(listed(&place), before);
    let lines = place
        .run(["rm", "--json", "a", "--version", "1"])
        .expect_code(0)
        .json();
    assert_eq!(
        (&lines[0]["kept_version"], &lines[0]["length"]),
        (&json!(1), &json!(3))
    );
    assert_eq!(
        (&lines[1]["files"], &lines[1]["kept_versions"]),
        (&json!(0), &json!(1))
    );
    assert_eq!(listed(&place)[..2], ["a 2 kept", "a 3"]);
    let answer = place.run(["rm", "a"]).expect_code(0);
    assert_eq!(answer.text(), "removed         7 B  a, and 1 kept version\n");
    place.run(["rm", "-r", "d"]).expect_code(0);
    assert_eq!(listed(&place), [""; 0]);
    place.run(["commit", "-q", "a"]).expect_code(0);
    assert_eq!(listed(&place), ["a 1"]);
}

#[test]
fn damage_of_a_kept_version_is_called_by_its_number() {
    let place = Place::new();
    let (old, new) = (content(3000, 1), content(3000, 2));
    for bytes in [&old, &new] {
        place.write("a", bytes);
        place
            .run(["commit", "-q", "a", "--replace", "--keep-versions", "1"])
            .expect_code(0);
    }
    // All four copies.
    for (path, offset) in place.find_in_extents(&old) {
        let mut bytes = fs::read(&path).expect("readable");
        bytes[usize::try_from(offset).expect("short")] ^= 1;
        fs::write(&path, bytes).expect("writable");
    }
    let answer = place.run(["verify"]).expect_code(5);
    assert!(
        answer.text().contains("a (version 1): bytes 0..3000 are lost"),
        "{}",
        answer.text()
    );
    let all = format!("{}{}", answer.text(), answer.stderr);
    assert!(
        all.contains("bfdb restore --partial --version 1 -o DIR a"),
        "{all}"
    );
    let lines = place
        .run(["health", "--json", "--state", "lost"])
        .expect_code(5)
        .json();
    assert_eq!(
        (&lines[0]["name"], &lines[0]["kept_version"]),
        (&json!("a"), &json!(1))
    );
    let status = place.run(["status"]).expect_code(5);
    assert!(
        status.text().contains("affected  a (version 1): lost"),
        "{}",
        status.text()
    );
    assert!(
        status
            .text()
            .contains("bfdb restore --partial --version 1 -o DIR a"),
        "{}",
        status.text()
    );
    let answer = place.run(["cat", "a"]).expect_code(0);
    assert!(answer.stdout == new);
    let answer = place.run(["cat", "a", "--version", "1"]).expect_code(5);
    assert!(
        answer.stderr.contains("a: 3000 bytes are lost in 1 range"),
        "{}",
        answer.stderr
    );
}

#[test]
fn mv_gives_other_names_to_files_and_to_all_below_a_directory() {
    let place = kept();
    let answer = place.run(["mv", "a", "b"]).expect_code(0);
    answer.expect_text("renamed  a -> b  (2 kept versions)\n");
    place
        .run(["mv", "b", "d"])
        .expect_code(0)
        .expect_text("renamed  b -> d/b  (2 kept versions)\n");
    let lines = place.run(["mv", "--json", "d", "new/"]).expect_code(0).json();
    let summary = json!({"type": "summary", "from": "d", "to": "new/d", "entries": 3, "kept_versions": 3, "replaced": null});
    assert_eq!(lines, [summary]);
    assert_eq!(
        listed(&place),
        [
            "new/d 1",
            "new/d/b 1 kept",
            "new/d/b 2 kept",
            "new/d/b 3",
            "new/d/f 1 kept",
            "new/d/f 2"
        ]
    );
    // `new` was never stored itself, and is a directory all the same.
    place
        .run(["mv", "new/d/f", "new"])
        .expect_code(0)
        .expect_text("renamed  new/d/f -> new/f  (1 kept version)\n");
    place
        .run(["cat", "new/d/b", "--version", "2"])
        .expect_code(0)
        .expect_text("three");
    place.run(["scrub"]).expect_code(0);
    let lines = place
        .run(["mv", "--json", "--replace", "new/f", "new/d/b"])
        .expect_code(0)
        .json();
    assert_eq!(
        (
            &lines[0]["replaced"]["length"],
            &lines[0]["replaced"]["kept_versions"]
        ),
        (&json!(7), &json!(2))
    );
    assert_eq!(listed(&place), ["new/d 1", "new/d/b 1 kept", "new/d/b 2"]);
}

#[test]
fn mv_refuses_what_is_taken_missing_below_itself_or_no_name() {
    let place = kept();
    let before = listed(&place);
    let cases: [(&[&str], i32, &str); 9] = [
        (
            &["mv", "a", "d/f"],
            1,
            "error: d/f is taken: it is stored as a regular file\n  try: bfdb mv --replace a d/f\n",
        ),
        (
            &["mv", "x", "y"],
            15,
            "error: no file named x in this archive\n  try: bfdb ls\n",
        ),
        (
            &["mv", "d", "d"],
            1,
            "error: d cannot be moved to d/d: that is the same, or below it\n",
        ),
        (
            &["mv", "a", "a"],
            1,
            "error: a cannot be moved to a: that is the same, or below it\n",
        ),
        (
            &["mv", "d", "d/x/y"],
            1,
            "error: d cannot be moved to d/x/y: that is the same, or below it\n",
        ),
        (
            &["mv", "d/f", "a/"],
            1,
            "error: a is no directory, so nothing can lie in it\n",
        ),
        (
            &["mv", "--replace", "d", "a"],
            1,
            "error: a is taken: it is stored as a regular file\n",
        ),
        (&["mv", "a", "../b"], 2, ""),
        (&["mv", "a", "/b"], 2, ""),
    ];
    for (command, code, stderr) in cases {
        let answer = place.run(command).expect_code(code).expect_text("");
        assert!(
            stderr.is_empty() || answer.stderr.starts_with(stderr),
            "{command:?}: {}",
            answer.stderr
        );
    }
    place.run(["mv", "a", ""]).expect_code(2);
    assert_eq!(listed(&place), before);
}
