//! Volumes that are away, moved, doubled or old: what every command says and exits with.

use serde_json::json;

use super::{OnVolumes, copy, text_of};

fn three() -> OnVolumes {
    OnVolumes::with_files(3, &["--survive-volumes", "1"])
}

#[test]
fn any_one_of_three_volumes_may_be_deleted_and_is_replaced() {
    for lost in ["v0", "v1", "v2"] {
        let store = three();
        store.lose(&[lost]);
        store.has_all();
        let number = &lost[1..];
        let dry = store
            .run(&["volume", "replace", number, "new", "-n"])
            .expect_code(0);
        assert!(dry.text().starts_with("would move "), "{}", dry.text());
        assert!(!store.place.path("new").exists(), "a dry run made something");
        let answer = store
            .run(&["volume", "replace", number, "new", "--json"])
            .expect_code(0);
        let lines = answer.json();
        let summary = lines.last().expect("a summary");
        assert_eq!(
            (&summary["shards_left"], &summary["targets"][0]["number"]),
            (&json!(0), &json!(3))
        );
        assert!(summary["shards_moved"].as_u64() > Some(0), "{summary}");
        store.run(&["scrub"]).expect_code(0);
        store.run(&["status"]).expect_code(0);
        // Full tolerance: any other may go now.
        let others: Vec<&str> = ["v0", "v1", "v2"]
            .into_iter()
            .filter(|name| *name != lost)
            .collect();
        store.lose(&others[..1]);
        store.has_all();
        store.lose(&others[1..]);
        let answer = store.run(&["volume", "replace", number, "other"]).expect_code(15);
        assert!(
            answer.stderr.contains("is no part of this archive any more"),
            "{}",
            answer.stderr
        );
    }
}

#[test]
fn a_volume_that_is_away_is_named_by_every_command_that_would_have_looked_at_it() {
    let store = three();
    store.carry("v1", "away/deep/v1");
    let path = store.place.path("v1").canonicalize().unwrap_or_else(|_| {
        let root = store.place.path("").canonicalize().expect("it is there");
        root.join("v1")
    });
    let name = format!("volume 1 at {} is missing", path.display());
    for (arguments, code, warnings, meaning) in [
        (&["scrub"][..], 6, 1, "nothing on it was looked at"),
        (&["verify"], 6, 1, "nothing on it was looked at"),
        (&["scrub", "--repair"], 6, 1, "nothing on it was looked at"),
        (&["health"], 6, 1, "counts as it was when it was seen last"),
        (&["cat", "tiny", "--range", "0..0"], 0, 1, "it is read around"),
        (&["restore", "-o", "out"], 0, 1, "it is read around"),
        (
            &["commit", "tiny", "--name", "again"],
            6,
            3,
            "nothing new is stored there",
        ),
    ] {
        let answer = store.run(arguments).expect_code(code);
        assert_eq!(
            answer.stderr.matches("warning: ").count(),
            warnings,
            "{arguments:?}: {}",
            answer.stderr
        );
        assert!(
            answer.stderr.contains(&name) && answer.stderr.contains(meaning),
            "{arguments:?}: {}",
            answer.stderr
        );
        assert!(
            answer.stderr.contains("  try: bfdb volume replace 1 DIR\n"),
            "{}",
            answer.stderr
        );
    }
    // What was stored meanwhile has nothing there.
    store.run(&["cat", "again"]).expect_code(0).expect_stderr("");
    store.run(&["repair"]).expect_code(0);
    let text = store.run(&["status"]).expect_code(6);
    for part in [
        "state     reduced: nothing is known to be damaged\n",
        &format!("reduced   {name}\n"),
        "next      bfdb volume replace 1 DIR\n",
        "next      bfdb --volume DIR volume ls\n",
    ] {
        assert!(text.text().contains(part), "{part} in {}", text.text());
    }
    let status = &store.run(&["status", "--json"]).expect_code(6).json()[0];
    assert_eq!(status["state"], "reduced");
    assert_eq!(status["volumes"][1]["condition"], "missing");
    for command in [["verify", "--json"], ["scrub", "--json"]] {
        let lines = store.run(&command).expect_code(6).json();
        let summary = lines.last().expect("a summary");
        assert_eq!(summary["volumes_offline"], json!([status["volumes"][1]["id"]]));
        assert_eq!(summary["complete"], false);
    }
}

#[test]
fn a_volume_that_was_moved_is_found_where_the_command_says() {
    let store = three();
    store.carry("v1", "elsewhere/deep/volume");
    store.run(&["volume", "ls"]).expect_code(6);
    for arguments in [
        &["--volume", "elsewhere/deep/volume", "scrub"][..],
        &["status", "--volume", "elsewhere/deep/volume"],
    ] {
        store.run(arguments).expect_code(0).expect_stderr("");
    }
    let variable = [("BFDB_VOLUME", "nowhere:elsewhere/deep/volume")];
    let lines = store
        .place
        .run_with(&variable, ["volume", "ls", "--json"])
        .expect_code(0)
        .json();
    assert_eq!(lines[1]["found_at"], "elsewhere/deep/volume");
    assert_eq!(
        (&lines[0]["found_at"], &lines[1]["condition"]),
        (&json!(null), &json!("present"))
    );
    let text = store.place.run_with(&variable, ["volume", "ls"]).expect_code(0);
    assert!(
        text.text().contains("found at elsewhere/deep/volume\n"),
        "{}",
        text.text()
    );
    // What is suggested finds it too.
    let answer = store
        .run(&["--volume", "elsewhere/deep/volume", "cat", "none"])
        .expect_code(15);
    assert!(
        answer
            .stderr
            .ends_with("  try: bfdb --volume elsewhere/deep/volume ls\n"),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_copy_of_a_volume_is_named_and_left_alone() {
    let store = three();
    copy(&store.place.path("v1"), &store.place.path("copies/deep/v1"));
    let lines = store
        .run(&["volume", "ls", "--json", "--volume", "copies/deep/v1"])
        .expect_code(0)
        .json();
    assert_eq!(lines[1]["doubles"], json!(["copies/deep/v1"]));
    let text = store
        .run(&["status", "--volume", "copies/deep/v1"])
        .expect_code(0);
    assert!(
        text.text()
            .contains("double    a copy of it at copies/deep/v1 is left alone\n"),
        "{}",
        text.text()
    );
}

#[test]
fn an_old_copy_of_a_volume_is_noticed_and_read() {
    let store = three();
    copy(&store.place.path("v1"), &store.place.path("old/deep/v1"));
    store
        .run(&["commit", "-q", "segmented", "--name", "later"])
        .expect_code(0);
    store.lose(&["v1"]);
    store.carry("old/deep/v1", "v1");
    let text = store.run(&["volume", "ls"]).expect_code(6);
    assert!(text.text().contains("is an old copy (epoch "), "{}", text.text());
    assert_eq!(store.condition(1), "stale");
    store.run(&["status"]).expect_code(6);
    store.has_all();
    store.run(&["cat", "later"]).expect_code(0);
    let answer = store
        .run(&["commit", "-q", "tiny", "--name", "more"])
        .expect_code(6);
    assert!(
        answer.stderr.contains("nothing new is stored there"),
        "{}",
        answer.stderr
    );
    store.run(&["volume", "replace", "1", "new"]).expect_code(0);
    store.run(&["status"]).expect_code(0);
    store.run(&["scrub"]).expect_code(0);
}

#[test]
fn an_old_copy_of_a_volume_takes_part_again_when_it_was_mended() {
    let store = three();
    copy(&store.place.path("v1"), &store.place.path("old/deep/v1"));
    store
        .run(&["commit", "-q", "segmented", "--name", "later"])
        .expect_code(0);
    store.lose(&["v1"]);
    store.carry("old/deep/v1", "v1");
    let status = store.run(&["status", "--json"]).expect_code(6).json();
    assert_eq!(status[0]["suggest"][0], json!("bfdb scrub --repair"));
    store.run(&["scrub", "--repair"]).expect_code(0);
    assert_eq!(store.condition(1), "present");
    store.run(&["status"]).expect_code(0);
    store.run(&["commit", "tiny", "--name", "more"]).expect_code(0);
    store.lose(&["v0", "v2"]);
    store.has_all();
    for name in ["later", "more"] {
        store.run(&["cat", name]).expect_code(0);
    }
}

#[test]
fn too_little_is_left_while_volumes_are_away_and_nothing_is_said_to_be_lost() {
    let store = OnVolumes::with_files(2, &["--tier2", "30+3"]);
    let holder = usize::from(store.volume(0)["live_bytes"].as_u64() < store.volume(1)["live_bytes"].as_u64());
    let name = format!("v{holder}");
    store.carry(&name, "away/deep/volume");
    for arguments in [&["cat", "segmented"][..], &["restore", "segmented", "-o", "out"]] {
        let answer = store.run(arguments).expect_code(1);
        let part = format!("segmented cannot be read now: volume {holder} at ");
        assert!(
            answer.stderr.contains(&part) && answer.stderr.contains("nothing is lost by that"),
            "{}",
            answer.stderr
        );
    }
    store.run(&["cat", "tiny"]).expect_code(0);
    let number = holder.to_string();
    let answer = store.run(&["volume", "drain", &number]).expect_code(6);
    assert!(
        answer
            .text()
            .contains("they cannot be made again without what is on volume"),
        "{}",
        answer.text()
    );
    store.run(&["volume", "remove", &number]).expect_code(1);
    store.run(&["scrub"]).expect_code(6);
    store.run(&["health"]).expect_code(6);
    // The same command goes on when it is back.
    let at = ["--volume", "away/deep/volume"];
    store
        .run(&[&at[..], &["volume", "drain", &number]].concat())
        .expect_code(0);
    store.run(&["volume", "remove", &number]).expect_code(0);
    store.run(&["status"]).expect_code(0);
    store.has_all();
}

#[test]
fn an_archive_without_any_volume_says_where_one_was() {
    let store = three();
    for volume in ["v0", "v1", "v2"] {
        store.carry(volume, &format!("away/deep/{volume}"));
    }
    let answer = store.run(&["cat", "tiny"]).expect_code(1);
    assert!(
        answer
            .stderr
            .starts_with("error: no volume of the archive is there, ")
            && answer
                .stderr
                .contains("/v0 for one; plug it in, or say with --volume DIR where it is now\n"),
        "{}",
        answer.stderr
    );
    let id = text_of(
        &store
            .run(&["volume", "ls", "--json", "--volume", "away/deep/v2"])
            .expect_code(6)
            .json()[2]["id"],
    );
    assert_eq!(id.len(), 32);
}

#[test]
fn another_volume_in_the_place_of_one_is_told_and_left_alone() {
    let store = three();
    store.carry("v1", "away/deep/v1");
    store
        .run(&["init", "-q", "-a", "other", "--volume", "v1"])
        .expect_code(0);
    assert_eq!(store.condition(1), "foreign");
    let text = store.run(&["status"]).expect_code(6);
    assert!(text.text().contains("is missing, and volume "), "{}", text.text());
    store
        .run(&["commit", "-q", "tiny", "--name", "again"])
        .expect_code(6);
    store.run(&["scrub"]).expect_code(6);
    store.has_all();
    store.run(&["ls", "-a", "other"]).expect_code(0).expect_text("");
    store.run(&["scrub", "--volume", "away/deep/v1"]).expect_code(0);
}

#[test]
fn nothing_is_stored_from_a_volume_or_restored_into_one() {
    let store = three();
    for target in ["v1", "v1/deep/er"] {
        let answer = store.run(&["restore", "tiny", "-o", target]).expect_code(1);
        assert!(
            answer
                .stderr
                .contains("lies inside the archive ./archive.bfdb: nothing is restored there"),
            "{}",
            answer.stderr
        );
    }
    assert!(!store.place.path("v1/deep").exists(), "a directory was made");
    store.lose(&["v2"]);
    store.run(&["commit", "-q", ".", "--name", "all"]).expect_code(6);
    let listed = store.run(&["ls", "all"]).expect_code(0);
    assert_eq!(listed.text(), "all\nall/segmented\nall/tiny\n");
    store.run(&["commit", "v1"]).expect_code(1);
}

#[test]
fn what_is_stored_while_a_volume_is_away_is_said_to_survive_less_in_all_three_numbers() {
    let store = three();
    let before = store.run(&["commit", "--json", "tiny", "--name", "before"]);
    let line = &before.expect_code(0).json()[0];
    assert_eq!(
        line["tolerance"],
        json!({"segments": 3, "extents": 3, "volumes": 2})
    );
    store.carry("v1", "away/deep/v1");
    let answer = store.run(&["commit", "--json", "tiny", "--name", "again"]);
    let lines = answer.expect_code(6);
    let less = json!({"segments": 3, "extents": 3, "volumes": 1});
    assert_eq!(lines.json()[0]["tolerance"], less);
    let errors = lines.json_errors();
    let last = errors.last().expect("a warning");
    assert_eq!(
        last["message"],
        "fewer volumes than usual may be lost of what was stored: of tier 1 1 instead of the 2 with all volumes"
    );
    assert_eq!(last["suggest"][0], "bfdb volume replace 1 DIR");
    let unchanged = store.run(&["commit", "--json", "tiny", "--name", "again"]);
    let unchanged = unchanged.expect_code(0);
    assert_eq!(
        unchanged.json()[0]["tolerance"],
        json!(null),
        "nothing was stored"
    );

    let status = &store.run(&["status", "--json"]).expect_code(6).json()[0]["tolerance"][0];
    for (field, expected) in [
        ("shards", 3),
        ("segments", 3),
        ("extents", 3),
        ("volumes", 1),
        ("volumes_full", 2),
    ] {
        assert_eq!(status[field], expected, "{field}");
    }
    let text = store.run(&["status"]).expect_code(6);
    let words = "any 3 of the 4 shards of a block, any 3 extents, any volume may be lost (2 when all volumes are there)\n";
    assert!(text.text().contains(words), "{}", text.text());
    // What lies somewhere stays there, and stat speaks of that.
    for (name, volumes) in [("before", 2), ("again", 1)] {
        let lines = store.run(&["stat", "--json", name]).expect_code(0).json();
        assert_eq!(lines[0]["tolerance"]["volumes"], volumes, "{name}");
    }
}

#[test]
fn an_archive_with_fewer_volumes_than_it_was_made_for_says_so_at_each_commit() {
    let store = three();
    for number in ["1", "2"] {
        store.run(&["volume", "drain", number]).expect_code(0);
        store.run(&["volume", "remove", number]).expect_code(0);
    }
    let answer = store
        .run(&["commit", "-q", "tiny", "--name", "again"])
        .expect_code(6);
    assert_eq!(
        answer.stderr,
        "warning: fewer volumes than usual may be lost of what was stored: of tier 1 0 instead of the 1 that the archive was made \
         for\n  try: bfdb volume add DIR\n"
    );
    let piped = store
        .run(&["commit", "-q", "-", "--name", "empty"])
        .expect_code(0);
    assert_eq!(piped.stderr, "", "nothing has bytes there");
}

#[test]
fn a_source_on_one_disk_with_too_many_volumes_gets_a_warning_and_is_stored() {
    let store = three();
    let answer = store
        .run(&["commit", "-q", "tiny", "--name", "again"])
        .expect_code(0);
    assert_eq!(
        answer.stderr,
        "warning: tiny is on one disk with 3 volumes, and 2 may be lost: when that disk dies, it may take the source and what is \
         stored of it\n"
    );
}
