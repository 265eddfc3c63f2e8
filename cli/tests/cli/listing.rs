//! `ls`, `stat`, `status` and `rm`.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
};

use serde_json::json;

use crate::harness::{Place, content, root_of};

#[test]
fn ls_lists_in_the_order_of_names_and_by_whole_parts_of_a_prefix() {
    let place = Place::new();
    place.write("x", b"1");
    for name in ["b", "a/b", "a/bc", "a/b/c"] {
        place.run(["commit", "-q", "x", "--name", name]).expect_code(0);
    }
    place
        .run(["ls"])
        .expect_code(0)
        .expect_text("a/b\na/b/c\na/bc\nb\n");
    place
        .run(["ls", "a/b"])
        .expect_code(0)
        .expect_text("a/b\na/b/c\n");
    place.run(["ls", "/a"]).expect_code(2).expect_text("");
    let answer = place.run(["ls", "a/x"]).expect_code(15).expect_text("");
    answer.expect_stderr("error: no file named a/x in this archive, nor anything below it\n  try: bfdb ls\n");
}

#[test]
fn ls_long_and_ls_json_show_what_the_contract_names() {
    let place = Place::new();
    place.write("a", b"hello");
    fs::set_permissions(place.path("a"), Permissions::from_mode(0o640)).expect("its owner may");
    place.run(["commit", "-q", "a"]).expect_code(0);
    let lines = place.run(["ls", "--json"]).expect_code(0).json();
    assert_eq!(place.run(["find", "--json", "?"]).expect_code(0).json(), lines);
    let committed_at = lines[0]["committed_at"].as_str().expect("a time");
    assert!(
        committed_at.starts_with("20") && committed_at.ends_with('Z'),
        "{committed_at}"
    );
    let expected = json!({
        "type": "file", "name": "a", "kind": "file", "length": 5, "tier": 1, "root": root_of(b"hello"),
        "version": 1, "committed_at": committed_at, "state": "unverified",
    });
    assert_eq!(
        lines,
        [
            expected,
            json!({"type": "summary", "files": 1, "directories": 0, "symlinks": 0, "bytes": 5})
        ]
    );

    let second = format!("{}Z", &committed_at[..19]);
    let long = format!("-rw-r-----  tier 1         5 B  {second}  unverified  a\n");
    for command in [["ls", "-l"].as_slice(), &["find", "-l", "a"]] {
        place.run(command).expect_code(0).expect_text(&long);
    }
}

#[test]
fn find_lists_what_matches_any_pattern_once_and_nothing_is_exit_code_15() {
    let place = Place::new();
    place.write("x", b"1");
    for name in ["photos/2024/a.jpg", "photos/b.jpg", "photos/b.tmp", "c.jpg"] {
        place.run(["commit", "-q", "x", "--name", name]).expect_code(0);
    }
    for (globs, expected) in [
        (&["*.jpg"][..], "c.jpg\nphotos/2024/a.jpg\nphotos/b.jpg\n"),
        (&["photos/*.jpg"], "photos/b.jpg\n"),
        (&["photos/**/*.jpg"], "photos/2024/a.jpg\nphotos/b.jpg\n"),
        (&["*.tmp", "b.*"], "photos/b.jpg\nphotos/b.tmp\n"),
    ] {
        place
            .run([&["find"], globs].concat())
            .expect_code(0)
            .expect_text(expected);
    }
    let answer = place
        .run(["find", "*.cr3", "x/*"])
        .expect_code(15)
        .expect_text("");
    answer.expect_stderr("error: no name in this archive matches *.cr3 or x/*\n  try: bfdb ls\n");
    let answer = place.run(["find", "[a"]).expect_code(2);
    assert!(
        answer.stderr.starts_with("error: [a is not a pattern: "),
        "{}",
        answer.stderr
    );
}

#[test]
fn an_empty_archive_lists_nothing_and_that_is_fine() {
    let place = Place::new();
    place.run(["init", "-q"]).expect_code(0);
    place.run(["ls"]).expect_code(0).expect_text("");
    let lines = place.run(["ls", "--json"]).expect_code(0).json();
    assert_eq!(
        lines,
        [json!({"type": "summary", "files": 0, "directories": 0, "symlinks": 0, "bytes": 0})]
    );
    place.run(["verify", "-q"]).expect_code(0).expect_text("");
    place.run(["scrub", "-q"]).expect_code(0).expect_text("");
}

#[test]
fn stat_shows_the_file_and_where_its_shards_are() {
    let large = content(12_000_000, 1);
    let place = Place::with(&[("large", &large)]);
    let lines = place.run(["stat", "--json", "large"]).expect_code(0).json();
    let file = &lines[0];
    for (field, expected) in [
        ("type", json!("file")),
        ("name", json!("large")),
        ("length", json!(12_000_000)),
        ("tier", json!(2)),
        ("root", json!(root_of(&large))),
        ("state", json!("unverified")),
        ("blocks", json!(3)),
        ("data_shards", json!(1)),
        ("parity_shards", json!(3)),
        ("groups", json!(null)),
        ("tolerance", json!({"segments": 3, "extents": 3, "volumes": 0})),
    ] {
        assert_eq!(file[field], expected, "{field}");
    }
    assert_eq!(lines.len(), 5, "a file, three blocks and a summary");
    for (block, line) in lines[1..4].iter().enumerate() {
        assert_eq!(line["type"], "block");
        assert_eq!(line["block"], block);
        let shards = line["shards"].as_array().expect("a list");
        let mut extents: Vec<_> = shards.iter().map(|shard| shard["extent"].as_u64()).collect();
        extents.dedup();
        assert_eq!(extents.len(), 4, "four shards in four extents: {line}");
    }
    assert_eq!(lines[4], json!({"type": "summary", "files": 1, "blocks": 3}));

    let text = place.run(["stat", "large"]).expect_code(0);
    for line in [
        "name       large",
        "kind       file",
        "length     11.4 MiB (12000000 bytes)",
        "tier       2, 4 copies",
        "blocks     3",
        "tolerance  any 3 of the 4 shards of a block, any 3 extents may be lost, but no volume",
        "state      unverified: not known to have been read back",
    ] {
        assert!(text.text().lines().any(|found| found == line), "{line}");
    }
    assert!(!text.text().contains(": extent"), "places only with -v");
    let verbose = place.run(["stat", "-v", "large"]).expect_code(0);
    assert_eq!(
        verbose.text().matches("block 2 shard").count(),
        4,
        "{}",
        verbose.text()
    );
}

#[test]
fn status_is_one_object_and_one_screen() {
    let place = Place::new();
    place.run(["init", "-q"]).expect_code(0);
    let empty = place.run(["status", "--json"]).expect_code(0).json();
    assert_eq!(empty[0]["overhead"], json!(null));
    assert_eq!(empty[0]["suggest"], json!(["bfdb commit FILE"]));

    place.write("a", &content(1_000_000, 1));
    place.run(["commit", "-q", "a"]).expect_code(0);
    let lines = place.run(["status", "--json"]).expect_code(0).json();
    assert_eq!(lines.len(), 1, "one object");
    let status = &lines[0];
    let stored = status["stored_bytes"].as_u64().expect("a number");
    for (field, expected) in [
        ("state", json!("healthy")),
        ("files", json!(1)),
        ("bytes", json!(1_000_000)),
        ("pending_commits", json!(0)),
        ("suggest", json!(["bfdb scrub"])),
    ] {
        assert_eq!(status[field], expected, "{field}");
    }
    let overhead = status["overhead"].as_f64().expect("a number");
    let expected = f64::from(u32::try_from(stored).expect("small")) / 1_000_000.0 - 1.0;
    assert!(
        (overhead - expected).abs() < 1e-9 && overhead >= 3.0,
        "{overhead}"
    );
    let volume = &status["volumes"][0];
    assert_eq!(volume["path"], "./archive.bfdb/volumes/v0");
    assert_eq!(volume["id"].as_str().map(str::len), Some(32));
    assert!(volume["free_bytes"].as_u64().is_some_and(|free| free > 0));
    let tiers: Vec<_> = status["tolerance"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|tier| {
            (
                tier["tier"].as_u64(),
                tier["shards"].as_u64(),
                tier["files"].as_u64(),
            )
        })
        .collect();
    assert_eq!(
        tiers,
        [
            (Some(1), Some(3), Some(1)),
            (Some(2), Some(3), Some(0)),
            (Some(3), Some(3), Some(0)),
            (Some(4), Some(3), Some(0))
        ]
    );

    let text = place.run(["status"]).expect_code(0);
    for part in [
        "state     healthy: nothing is known to be damaged\n",
        "files     1, 976.5 KiB stored as ",
        "tier 3    0 files, 0 B; any 3 of the 33 shards of a block, any 3 extents may be lost, but no volume\n",
        "next      bfdb scrub\n",
    ] {
        assert!(text.text().contains(part), "{part} in {}", text.text());
    }
}

#[test]
fn rm_r_removes_what_lies_below_and_without_r_it_says_how_many_there_are() {
    let place = Place::new();
    place.write("x", b"1");
    for name in ["d/a", "d/b/c", "da", "e"] {
        place.run(["commit", "-q", "x", "--name", name]).expect_code(0);
    }
    let answer = place.run(["rm", "d", "e"]).expect_code(15);
    answer.expect_stderr(
        "error: no file named d in this archive, but 2 entries below it\n  try: bfdb rm -r d\n",
    );
    place.run(["ls"]).expect_text("d/a\nd/b/c\nda\n");
    place.run(["rm", "-rn", "d"]).expect_code(0);
    place
        .run(["rm", "-r", "d"])
        .expect_code(0)
        .expect_text("removed         1 B  d/a\nremoved         1 B  d/b/c\n");
    place.run(["ls"]).expect_text("da\n");
    let answer = place.run(["rm", "-r", "d"]).expect_code(15);
    answer.expect_stderr("error: no file named d in this archive, nor anything below it\n  try: bfdb ls\n");
}

#[test]
fn rm_removes_exact_names_and_goes_on_past_one_that_is_not_there() {
    let place = Place::with(&[("a", b"hello"), ("b", b"2"), ("c", b"3")]);
    let before = place.tree();
    place
        .run(["rm", "-n", "a"])
        .expect_code(0)
        .expect_text("would remove         5 B  a\n");
    assert_eq!(place.tree(), before, "a dry run changed something");
    let answer = place.run(["rm", "a", "nothing", "b"]).expect_code(15);
    assert_eq!(answer.text(), "removed         5 B  a\nremoved         1 B  b\n");
    answer.expect_stderr("error: no file named nothing in this archive\n  try: bfdb ls\n");
    place.run(["ls"]).expect_text("c\n");
    place.run(["cat", "a"]).expect_code(15);
    place.run(["rm", "-n", "a"]).expect_code(15);

    let lines = place.run(["rm", "--json", "c"]).expect_code(0).json();
    let freed = lines[0]["freed_bytes"].as_u64().expect("a number");
    let file = json!({"type": "file", "name": "c", "kind": "file", "length": 1, "kept_versions": 0, "freed_bytes": freed, "result": "removed"});
    let summary = json!({
        "type": "summary", "files": 1, "directories": 0, "symlinks": 0, "bytes": 1, "kept_versions": 0, "freed_bytes": freed, "failed": 0,
        "dry_run": false,
    });
    assert_eq!(lines, [file, summary]);
    place.run(["ls"]).expect_text("");
    place.run(["scrub"]).expect_code(0);
}
