//! What is stored: trees, lists, pipes, and what is left out. Dry runs show the names that a commit gives.

use std::{
    fs,
    io::Write as _,
    os::unix::fs::symlink,
    process::{Command, Stdio},
};

use serde_json::{Value, json};

use crate::harness::{Answer, Place, content, root_of};

/// A place with `photos`: two pictures, one of them raw, a temporary file and a link.
fn place_with_tree() -> Place {
    let place = Place::new();
    fs::create_dir_all(place.path("photos/raw")).expect("directories");
    for (name, bytes) in [("a.jpg", &b"a"[..]), ("b.tmp", b"bb"), ("raw/c.cr3", b"ccc")] {
        place.write(format!("photos/{name}"), bytes);
    }
    symlink("a.jpg", place.path("photos/link")).expect("a link");
    place
}

/// The names that a commit would store, sorted.
fn names(answer: &Answer) -> Vec<String> {
    let lines = answer.json();
    let lines = lines
        .iter()
        .filter(|line| line["type"] == "file" && line["result"] != "failed");
    let mut names: Vec<String> = lines
        .map(|line| line["name"].as_str().expect("a name").to_owned())
        .collect();
    names.sort();
    names
}

fn planned(place: &Place, arguments: &[&str]) -> Vec<String> {
    let answer = place.run([&["commit", "-n", "--json"], arguments].concat());
    names(&answer.expect_code(0))
}

/// Runs a command that reads `input`.
fn run_with_input(place: &Place, arguments: &[&str], input: &[u8]) -> Answer {
    let mut command = place.command(arguments);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.stderr(Stdio::piped()).spawn().expect("the program runs");
    let mut pipe = child.stdin.take().expect("piped");
    // It may end before it has read everything.
    pipe.write_all(input).ok();
    drop(pipe);
    Answer::of(child.wait_with_output().expect("it ends"))
}

#[test]
fn a_directory_is_everything_below_it_under_its_own_name() {
    let place = place_with_tree();
    let tree = ["", "/a.jpg", "/b.tmp", "/link", "/raw", "/raw/c.cr3"];
    let below = |name: &str| tree.map(|rest| format!("{name}{rest}")).to_vec();
    assert_eq!(planned(&place, &["photos"]), below("photos"));
    assert_eq!(planned(&place, &["./photos/"]), below("photos"));
    assert_eq!(
        planned(&place, &["photos", "--prefix", "p/q"]),
        below("p/q/photos")
    );
    assert_eq!(planned(&place, &["photos", "--name", "x"]), below("x"));
    assert_eq!(planned(&place, &["photos/raw"]), ["raw", "raw/c.cr3"]);
    assert_eq!(planned(&place, &["photos/raw/.."]), below("photos"));

    let answer = place.run(["commit", "-n", "--json", "photos"]).expect_code(0);
    let lines = answer.json();
    let line = |name: &str| -> Value {
        let found = lines.iter().find(|line| line["name"] == name);
        found.cloned().expect("a line")
    };
    assert_eq!(line("photos")["kind"], "directory");
    assert_eq!(
        line("photos/link"),
        json!({
            "type": "file", "name": "photos/link", "source": "photos/link", "kind": "symlink", "target": "a.jpg",
            "length": 0, "tier": null, "root": null, "stored_bytes": 0, "result": "committed", "dry_run": true,
        })
    );
    let summary = lines.last().expect("a summary");
    for (field, expected) in [
        ("files", 3),
        ("directories", 2),
        ("symlinks", 1),
        ("bytes", 6),
        ("failed", 0),
    ] {
        assert_eq!(summary[field], expected, "{field}");
    }
    // People get a line for what they named, and the sums.
    let answer = place
        .run(["commit", "-n", "photos", "photos/a.jpg"])
        .expect_code(0);
    assert!(
        answer.text().starts_with("would commit  tier 1         1 B  a.jpg\nwould store 4 files, 2 directories, 1 symbolic link, 7 B as "),
        "{}",
        answer.text()
    );
}

#[test]
fn what_is_excluded_is_left_out_and_counted() {
    let place = place_with_tree();
    let all_but = |left_out: &[&str]| -> Vec<String> {
        let tree = [
            "photos",
            "photos/a.jpg",
            "photos/b.tmp",
            "photos/link",
            "photos/raw",
            "photos/raw/c.cr3",
        ];
        let kept = tree.iter().filter(|name| !left_out.contains(name));
        kept.map(ToString::to_string).collect()
    };
    let raw = ["photos/raw", "photos/raw/c.cr3"];
    for (patterns, left_out) in [
        (&["--exclude", "*.tmp"][..], &["photos/b.tmp"][..]),
        (&["--exclude", "raw/"], &raw),
        (&["--exclude", "/photos/raw"], &raw),
        (&["--exclude", "/raw"], &[]),
        (&["--exclude", "*.tmp", "--exclude", "!b.tmp"], &[]),
        (&["--exclude-from", "patterns"], &["photos/b.tmp", "photos/link"]),
        // The command line comes behind the files.
        (
            &["--exclude", "!link", "--exclude-from", "patterns"],
            &["photos/b.tmp"],
        ),
    ] {
        place.write(
            "patterns",
            b"\xef\xbb\xbf# comments are none\r\n\n*.tmp\r\nlink\n",
        );
        assert_eq!(
            planned(&place, &[&["photos"], patterns].concat()),
            all_but(left_out),
            "{patterns:?}"
        );
    }
    let answer = place
        .run(["commit", "-n", "--json", "photos", "--exclude", "raw"])
        .expect_code(0);
    assert_eq!(answer.json().last().expect("a summary")["excluded"], 1);
    // Also what is given itself, as the shell may have expanded it; that is said.
    let answer = place
        .run(["commit", "photos/b.tmp", "--exclude", "*.tmp"])
        .expect_code(0);
    answer.expect_stderr("note: photos/b.tmp is left out by a pattern\n");
    assert!(!place.path("archive.bfdb").exists(), "an archive for nothing");

    let answer = place.run(["commit", "photos", "--exclude", "[a"]).expect_code(2);
    assert!(answer.stderr.contains("[a is not a pattern"), "{}", answer.stderr);
    place.write("patterns", b"*.tmp\n[z-\n");
    let answer = place
        .run(["commit", "photos", "--exclude-from", "patterns"])
        .expect_code(2);
    assert!(
        answer.stderr.contains("[z- in patterns is not a pattern"),
        "{}",
        answer.stderr
    );
    place
        .run(["commit", "photos", "--exclude-from", "missing"])
        .expect_code(1);
    assert!(!place.path("archive.bfdb").exists(), "an archive for nothing");
}

#[test]
fn a_list_of_paths_gives_names_that_are_those_paths() {
    let place = place_with_tree();
    let listed = |arguments: &[&str], input: &[u8]| {
        let line = [&["commit", "-n", "--json", "--files-from", "-"], arguments].concat();
        run_with_input(&place, &line, input)
    };
    let answer = listed(&[], b"./photos/a.jpg\n\nphotos//raw/c.cr3").expect_code(0);
    assert_eq!(names(&answer), ["photos/a.jpg", "photos/raw/c.cr3"]);
    let answer = listed(&["-0", "--prefix", "p/"], b"photos/raw\0photos/b.tmp\0").expect_code(0);
    assert_eq!(
        names(&answer),
        ["p/photos/b.tmp", "p/photos/raw", "p/photos/raw/c.cr3"]
    );
    let answer = listed(&["--exclude", "raw/"], b"photos/raw/c.cr3\nphotos/a.jpg\n").expect_code(0);
    assert_eq!(
        names(&answer),
        ["photos/a.jpg"],
        "what lies below what is left out is left out"
    );
    let absolute = place.path("photos/a.jpg");
    let absolute = absolute.to_str().expect("UTF-8");
    let answer = listed(&[], absolute.as_bytes()).expect_code(0);
    assert_eq!(names(&answer), [absolute.trim_start_matches('/')]);

    let answer = listed(&[], b"photos/../photos/a.jpg\nmissing\nphotos/a.jpg\n").expect_code(3);
    assert_eq!(names(&answer), ["photos/a.jpg"]);
    assert_eq!(
        answer
            .json_errors()
            .iter()
            .filter(|line| line["type"] == "error")
            .count(),
        2
    );

    // A dot stands for what is in the directory, and not for the directory.
    fs::create_dir(place.path("empty")).expect("a directory");
    place.write("empty/list", b".\n");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bfdb"));
    let command = command.args(["commit", "-n", "--json", "--files-from", "../empty/list"]);
    let output = command
        .current_dir(place.path("photos"))
        .output()
        .expect("the program runs");
    let found = names(&Answer::of(output).expect_code(0));
    assert_eq!(found, ["a.jpg", "b.tmp", "link", "raw", "raw/c.cr3"]);
    place.run(["commit", "--files-from", "missing"]).expect_code(1);
}

#[test]
fn a_pipe_is_stored_under_its_name() {
    let place = Place::new();
    let bytes = content(3_000_000, 1);
    let answer =
        run_with_input(&place, &["commit", "-n", "--json", "-", "--name", "p"], &bytes).expect_code(0);
    let plan = answer.json()[0].clone();
    assert_eq!(
        (&plan["length"], &plan["root"]),
        (&json!(3_000_000), &json!(root_of(&bytes)))
    );
    assert!(!place.path("archive.bfdb").exists(), "a dry run made something");
    let line = ["commit", "-", "--name", "monday.sql", "--prefix", "db"];
    let answer = run_with_input(&place, &line, &bytes).expect_code(0);
    assert!(
        answer
            .text()
            .starts_with("committed  tier 1     2.8 MiB  db/monday.sql\n"),
        "{}",
        answer.text()
    );
    assert!(
        place.run(["cat", "db/monday.sql"]).stdout == bytes,
        "other bytes came back"
    );
    run_with_input(
        &place,
        &["commit", "-n", "-", "--name", "db/monday.sql"],
        b"other",
    )
    .expect_code(1);
    // A file of that name is no pipe.
    place.write("-", b"a file");
    place.run(["commit", "./-"]).expect_code(0);
    place.run(["cat", "--", "-"]).expect_text("a file");
}

#[test]
fn what_cannot_be_stored_in_a_tree_is_skipped_and_told() {
    let place = place_with_tree();
    place.run(["init", "-q", "-a", "photos/archive"]).expect_code(0);
    let made = Command::new("mkfifo").arg(place.path("photos/fifo")).status();
    assert!(made.is_ok_and(|status| status.success()), "no fifo");
    let line = ["commit", "-n", "--json", "-a", "photos/archive", "photos"];
    let answer = place.run(line).expect_code(0);
    let mut skipped = answer.json_errors();
    skipped.sort_by_key(|line| line["path"].to_string());
    assert_eq!(
        skipped,
        [
            json!({"type": "skipped", "path": "photos/archive", "reason": "part of the archive itself"}),
            json!({"type": "skipped", "path": "photos/fifo", "reason": "a fifo"}),
        ]
    );
    assert!(
        !names(&answer).iter().any(|name| name.contains("archive")),
        "it would store itself"
    );
    assert_eq!(answer.json().last().expect("a summary")["skipped"], 2);
    let answer = place
        .run(["-q", "commit", "-n", "-a", "photos/archive", "photos"])
        .expect_code(0);
    answer.expect_stderr("");
    // What was asked for by name is missed.
    for path in ["photos/archive", "photos/fifo"] {
        place
            .run(["commit", "-n", "-a", "photos/archive", path])
            .expect_code(1);
    }
}

#[test]
fn a_name_that_gets_too_long_fails_and_the_rest_goes_on() {
    let place = place_with_tree();
    let prefix = format!("{}/x", "p".repeat(4096 - "/x/photos/a.jpg".len()));
    let answer = place
        .run(["commit", "-n", "--json", "photos", "--prefix", &prefix])
        .expect_code(3);
    let errors = answer.json_errors();
    let failed: Vec<&Value> = errors.iter().filter(|line| line["type"] == "error").collect();
    assert_eq!(failed.len(), 1, "only photos/raw/c.cr3 gets longer: {failed:?}");
    let text = failed[0]["message"].as_str().expect("a message");
    assert!(text.ends_with("/c.cr3 cannot be a name"), "{text}");
    let cause = failed[0]["causes"][0].as_str().expect("a cause");
    assert!(cause.contains("longer than 4096"), "{cause}");
}
