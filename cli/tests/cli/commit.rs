//! Storing files: names, results, refusals.

use std::{
    ffi::OsStr,
    fs::{self, Permissions},
    os::unix::{ffi::OsStrExt as _, fs::PermissionsExt as _},
    process::Command,
};

use serde_json::json;

use crate::harness::{Place, content, root_of};

#[test]
fn the_first_commit_makes_the_archive_and_says_so() {
    let place = Place::new();
    place.write("a.txt", b"hello");
    let answer = place.run(["commit", "a.txt"]).expect_code(0);
    assert_eq!(answer.stderr, "note: made a new archive at ./archive.bfdb\n");
    let lines: Vec<&str> = answer.text().lines().collect();
    assert_eq!(lines[0], "committed  tier 1         5 B  a.txt");
    assert!(lines[1].starts_with("1 file, 5 B stored as "), "{}", lines[1]);
    assert_eq!(lines.len(), 2, "{lines:?}");

    let place = Place::new();
    place.write("a.txt", b"hello");
    let answer = place.run(["-q", "commit", "a.txt"]).expect_code(0);
    answer.expect_text("").expect_stderr("");
    place.run(["ls"]).expect_text("a.txt\n");
}

#[test]
fn every_file_has_a_json_line_with_the_root_that_b3sum_prints() {
    let place = Place::new();
    let (small, large) = (content(3000, 1), content(12_000_000, 2));
    place.write("small", &small);
    place.write("large", &large);
    place.write("empty", b"");
    let answer = place
        .run(["commit", "--json", "small", "large", "empty"])
        .expect_code(0);
    let lines = answer.json();
    let expected = [
        ("small", 3000, 1, &small),
        ("large", 12_000_000, 2, &large),
        ("empty", 0, 1, &Vec::new()),
    ];
    let mut stored_bytes = 0;
    // They come in the order in which they are done.
    for (name, length, tier, bytes) in expected {
        let line = lines.iter().find(|line| line["name"] == name).expect("a line");
        let stored = line["stored_bytes"].as_u64().expect("a number");
        stored_bytes += stored;
        let mut expected = json!({
            "type": "file", "name": name, "source": name, "kind": "file", "length": length, "tier": tier, "root": root_of(bytes),
            "stored_bytes": stored, "tolerance": {"segments": 3, "extents": 3, "volumes": 0}, "result": "committed",
        });
        if length == 0 {
            let fields = expected.as_object_mut().expect("an object");
            fields.remove("tolerance");
        }
        assert_eq!(*line, expected);
        assert!(stored >= 4 * length, "{name} takes {stored} bytes for 4 copies");
    }
    let summary = lines.last().expect("a summary");
    assert_eq!(summary["type"], "summary");
    assert_eq!(summary["files"], 3);
    assert_eq!(summary["bytes"], 12_003_000);
    assert_eq!(summary["stored_bytes"], stored_bytes);
    assert_eq!(summary["failed"], 0);
    assert_eq!(summary["unchanged"], 0);
    assert!(summary["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
    assert_eq!(lines.len(), 4, "{lines:?}");
}

#[test]
fn the_same_content_again_is_nothing_to_do() {
    let place = Place::with(&[("a", b"hello"), ("b", b"")]);
    let before = place.run(["ls", "--json"]).stdout;
    let answer = place.run(["commit", "--json", "a", "b"]).expect_code(0);
    let lines = answer.json();
    assert_eq!(lines[0]["result"], "unchanged");
    assert_eq!(lines[0]["root"], root_of(b"hello"));
    assert_eq!(lines[1]["result"], "unchanged");
    assert_eq!(lines[2]["unchanged"], 2);
    assert_eq!(lines[2]["files"], 2);
    assert_eq!(place.run(["ls", "--json"]).stdout, before, "something was stored");
    let answer = place.run(["commit", "a"]).expect_code(0);
    assert!(
        answer.text().starts_with("unchanged  tier 1         5 B  a\n"),
        "{}",
        answer.text()
    );
}

#[test]
fn a_taken_name_with_other_content_is_refused_with_both_ways_out() {
    let place = Place::with(&[("a b", b"hello")]);
    for other in [&b"HELLO"[..], b"longer than before"] {
        place.write("a b", other);
        let answer = place.run(["commit", "a b"]).expect_code(1);
        let len = other.len();
        assert_eq!(
            answer.stderr,
            format!(
                "error: a b is stored already with other content: 5 bytes, the source has {len}\n  \
                 try: bfdb commit --replace -- 'a b'\n  try: bfdb commit --name OTHER-NAME -- 'a b'\n"
            )
        );
        place.run(["cat", "a b"]).expect_text("hello");
    }
    let answer = place.run(["commit", "--json", "a b"]).expect_code(1);
    let line = &answer.json()[0];
    assert_eq!(
        (&line["result"], &line["name"]),
        (&json!("failed"), &json!("a b"))
    );
    assert!(
        line["error"]
            .as_str()
            .is_some_and(|error| error.contains("stored already")),
        "{line}"
    );
    let error = &answer.json_errors()[0];
    assert_eq!(error["type"], "error");
    assert_eq!(error["code"], 1);
    assert_eq!(
        error["suggest"],
        json!([
            "bfdb commit --replace -- 'a b'",
            "bfdb commit --name OTHER-NAME -- 'a b'"
        ])
    );
    place
        .run(["commit", "--name", "OTHER-NAME", "--", "a b"])
        .expect_code(0);
    let line = &place
        .run(["commit", "-n", "--json", "--replace", "--", "a b"])
        .json()[0];
    assert_eq!(
        (&line["result"], &line["replaced"]),
        (&json!("committed"), &json!(true))
    );
    // Where the path does not give the name, what is suggested does.
    let answer = place
        .run(["commit", "a b", "--name", "OTHER", "--prefix", "p"])
        .expect_code(0);
    answer.expect_stderr("");
    place.write("a b", b"again other");
    let answer = place
        .run(["commit", "a b", "--name", "OTHER", "--prefix", "p"])
        .expect_code(1);
    assert!(
        answer
            .stderr
            .contains("  try: bfdb commit --replace --name p/OTHER -- 'a b'\n"),
        "{}",
        answer.stderr
    );
}

#[test]
fn what_is_no_readable_file_fails_by_name_and_the_rest_is_stored() {
    let place = Place::new();
    place.write("good", b"1");
    place.write("last", b"2");
    place.write("secret", b"3");
    let made = Command::new("mkfifo").arg(place.path("fifo")).status();
    assert!(made.is_ok_and(|status| status.success()), "no fifo");
    fs::set_permissions(place.path("secret"), Permissions::from_mode(0o000)).expect("its owner may");
    // Root reads everything.
    let is_root = fs::read(place.path("secret")).is_ok();

    let mut arguments = vec!["commit", "good", "fifo", "missing"];
    if !is_root {
        arguments.push("secret");
    }
    arguments.push("last");
    let answer = place.run(&arguments).expect_code(3);
    let errors: Vec<&str> = answer
        .stderr
        .lines()
        .filter(|line| line.starts_with("error: "))
        .collect();
    assert_eq!(errors.len(), arguments.len() - 3, "{}", answer.stderr);
    let of = |name: &str| errors.iter().find(|error| error.contains(name));
    assert_eq!(of("fifo"), Some(&"error: fifo is a fifo, not a regular file"));
    assert_eq!(of("missing"), Some(&"error: missing does not exist"));
    assert!(
        is_root || of("secret").is_some(),
        "an unreadable file: {}",
        answer.stderr
    );
    place.run(["ls"]).expect_text("good\nlast\n");

    let answer = place
        .run(["commit", "--json", "good", "missing", "last"])
        .expect_code(3);
    let lines = answer.json();
    let failed = lines.iter().find(|line| line["result"] == "failed");
    assert_eq!(
        failed.map(|line| (&line["name"], &line["length"])),
        Some((&json!("missing"), &json!(null)))
    );
    assert_eq!(lines[3]["failed"], 1);
    assert_eq!(lines[3]["files"], 2);
    assert_eq!(answer.json_errors().len(), 1);
}

#[test]
fn when_nothing_can_be_stored_the_exit_code_is_1_and_no_archive_is_left_behind() {
    let place = Place::new();
    let answer = place.run(["commit", "-q", "typing-error"]).expect_code(1);
    answer.expect_stderr("error: typing-error does not exist\n");
    let answer = place.run(["commit", "typing-error", "/"]).expect_code(1);
    assert!(answer.stderr.contains("typing-error"), "{}", answer.stderr);
    assert!(answer.stderr.contains("/ ends in no name"), "{}", answer.stderr);
    assert!(!place.path("archive.bfdb").exists(), "an archive for nothing");
}

#[test]
fn names_are_the_last_component_below_the_prefix_or_what_is_asked_for() {
    let place = Place::new();
    fs::create_dir_all(place.path("x/y")).expect("a directory");
    place.write("x/y/a", b"1");
    place.write("b", b"2");
    place
        .run(["commit", "-q", "x/y/a", "--prefix", "p/q"])
        .expect_code(0);
    place.run(["commit", "-q", "b", "--name", "m/n"]).expect_code(0);
    place
        .run(["commit", "-q", "b", "--name", "n", "--prefix", "p"])
        .expect_code(0);
    let absolute = place.path("b");
    place
        .run([OsStr::new("commit"), OsStr::new("-q"), absolute.as_os_str()])
        .expect_code(0);
    place.run(["ls"]).expect_text("b\nm/n\np/n\np/q/a\n");
}

#[test]
fn names_that_could_lead_out_or_are_none_are_a_usage_error() {
    let place = Place::new();
    place.write("a", b"1");
    place.write("b", b"2");
    for option in ["--name", "--prefix"] {
        for name in ["../x", "a/../x", "/x", "a//b", "/", ".", "", "\\q"] {
            let answer = place.run(["commit", "a", option, name]).expect_code(2);
            assert!(answer.stderr.starts_with("error: "), "{}", answer.stderr);
        }
    }
    for line in [
        &["commit", "a", "b", "--name", "x"][..],
        &["commit", "a", "--files-from", "b", "--name", "x"],
        &["commit", "-"],
        &["commit", "a", "-"],
        &["commit", "a", "--null"],
    ] {
        place.run(line).expect_code(2);
    }
    place.run(["commit"]).expect_code(2);
    for command in ["cat", "ls", "stat", "rm", "verify"] {
        place.run([command, "../x"]).expect_code(2);
    }
    assert!(
        !place.path("archive.bfdb").exists(),
        "a usage error touches nothing"
    );
}

#[test]
fn odd_names_print_escaped_and_are_found_as_printed_and_as_they_are() {
    let place = Place::new();
    let raw: &[&[u8]] = &[
        b"two words",
        b"caf\xc3\xa9",
        b"latin\xff1",
        b"a\x1b[2J\nb",
        b"back\\slash",
        b"-dash",
    ];
    for name in raw {
        place.write(OsStr::from_bytes(name), name);
        let arguments = [OsStr::new("commit"), OsStr::new("--"), OsStr::from_bytes(name)];
        let answer = place.run(arguments).expect_code(0);
        assert!(
            !answer.text().trim_end().contains('\x1b') && !answer.stderr.contains('\x1b'),
            "{answer:?}"
        );
    }
    let listed = "-dash\na\\x1b[2J\\x0ab\nback\\\\slash\ncaf\u{e9}\nlatin\\xff1\ntwo words\n";
    let answer = place.run(["ls"]).expect_text(listed);
    for printed in answer.text().lines() {
        let found = place.run(["cat", "--", printed]).expect_code(0);
        assert!(raw.contains(&found.stdout.as_slice()), "{printed}");
    }
    let typed = [OsStr::new("cat"), OsStr::from_bytes(b"latin\xff1")];
    assert_eq!(place.run(typed).expect_code(0).stdout, b"latin\xff1");
    let lines = place.run(["ls", "--json"]).json();
    assert_eq!(lines[4]["name"], "latin\\xff1");
    // What is suggested can be pasted into a shell.
    place.write("-dash", b"other");
    let answer = place.run(["commit", "--", "-dash"]).expect_code(1);
    assert!(
        answer.stderr.contains("  try: bfdb commit --replace -- -dash\n"),
        "{}",
        answer.stderr
    );
}

#[test]
fn the_archive_does_not_store_itself() {
    let place = Place::with(&[("a", b"1")]);
    for arguments in [
        &["commit", "archive.bfdb/catalog.redb"][..],
        &["commit", "-n", "archive.bfdb/catalog.redb"],
    ] {
        let answer = place.run(arguments).expect_code(1);
        assert!(
            answer.stderr.contains("lies inside the archive itself"),
            "{}",
            answer.stderr
        );
    }
}

#[test]
fn a_dry_run_says_what_would_happen_and_changes_nothing() {
    let place = Place::new();
    place.write("a", b"hello");
    place.write("large", &content(12_000_000, 3));
    let before = place.tree();
    let answer = place
        .run(["commit", "-n", "a", "large", "nothing"])
        .expect_code(3);
    assert!(
        answer
            .stderr
            .starts_with("note: would make a new archive at ./archive.bfdb\n"),
        "{}",
        answer.stderr
    );
    assert!(
        answer
            .text()
            .starts_with("would commit  tier 1         5 B  a\nwould commit  tier 2    11.4 MiB  large\n"),
        "{}",
        answer.text()
    );
    assert_eq!(place.tree(), before, "a dry run changed something");

    place.run(["commit", "-q", "a"]).expect_code(0);
    place.write("b", b"HELLO");
    let before = place.tree();
    let answer = place
        .run(["commit", "--dry-run", "--json", "a", "b", "large", "large"])
        .expect_code(0);
    let lines = answer.json();
    let results: Vec<_> = lines.iter().map(|line| line["result"].as_str()).collect();
    assert_eq!(
        results,
        [
            Some("unchanged"),
            Some("committed"),
            Some("committed"),
            Some("unchanged"),
            None
        ]
    );
    assert!(lines.iter().all(|line| line["dry_run"] == true), "{lines:?}");
    assert_eq!(lines[0]["root"], root_of(b"hello"));
    place.run(["commit", "-n", "b", "--name", "a"]).expect_code(1);
    assert_eq!(place.tree(), before, "a dry run changed something");

    // What was foretold is what happens, but for what begins an extent.
    let foretold = lines[2]["stored_bytes"].as_u64().expect("a number");
    let done = place.run(["commit", "--json", "large"]).expect_code(0);
    let stored = done.json()[0]["stored_bytes"].as_u64().expect("a number");
    assert!(
        (foretold..foretold + 64 * 1024).contains(&stored),
        "{foretold} foretold, {stored} stored"
    );
}
