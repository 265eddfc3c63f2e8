//! Archives that are made on several volumes, and those that are not.

use std::fs;

use serde_json::json;

use super::OnVolumes;
use crate::harness::{Place, content};

#[test]
fn what_is_made_is_said_before_and_after_with_codes_and_what_may_be_lost() {
    let place = Place::new();
    let volumes = [
        "init",
        "--volume",
        "a",
        "--volume",
        "b",
        "--volume",
        "c",
        "--survive-volumes",
        "1",
    ];
    let dry = place.run([&volumes[..], &["-n"]].concat()).expect_code(0);
    for part in [
        "would make an archive at ./archive.bfdb\n",
        "volume 2  c\n",
        "tier 1    RS(1,3), 300 % overhead; any 3 of the 4 shards of a block may be lost, and any 2 of the 3 volumes\n",
        "tier 3    RS(6,3), 50 % overhead; any 3 of the 9 shards of a block may be lost, and any 1 of the 3 volumes\n",
    ] {
        assert!(dry.text().contains(part), "{part} in {}", dry.text());
    }
    assert!(
        dry.stderr.contains("3 volumes are on one disk") && dry.stderr.contains("but not any disk"),
        "{}",
        dry.stderr
    );
    assert!(place.tree().is_empty(), "a dry run made something");
    let made = place.run([&volumes[..], &["--json"]].concat()).expect_code(0);
    let summary = &made.json()[0];
    assert_eq!(summary["survive_volumes"], 1);
    assert_eq!(summary["volumes"].as_array().map(Vec::len), Some(3));
    assert_eq!(
        summary["tiers"][2],
        json!({"tier": 3, "data_shards": 6, "parity_shards": 3, "overhead": 0.5, "shards": 3, "volumes": 1})
    );
    let status = place.run(["status", "--json"]).expect_code(0).json();
    assert_eq!(status[0]["tolerance"][2]["volumes"], 1);
    assert!(
        !place.path("archive.bfdb/volumes/v0").exists(),
        "one volume too many"
    );
}

#[test]
fn several_volumes_without_a_promise_are_told_apart_from_one_with() {
    let place = Place::new();
    let answer = place
        .run(["init", "--volume", "a", "--volume", "b", "--volume", "c"])
        .expect_code(0);
    assert!(
        answer
            .text()
            .contains("but none of the 3 volumes: each file lies whole on one\n"),
        "{}",
        answer.text()
    );
    assert!(
        answer.stderr.contains(
            "note: files of tier 3 are lost with the volume that they lie on; with --survive-volumes 1 none is\n"
        ),
        "{}",
        answer.stderr
    );
}

#[test]
fn a_promise_that_cannot_be_kept_is_refused_with_numbers_and_a_way_out_and_nothing_is_made() {
    let place = Place::new();
    let three = ["--volume", "a", "--volume", "b", "--volume", "c"];
    for (arguments, message) in [
        (
            &["--survive-volumes", "3"][..],
            "error: tier 1: no code in place of RS(1,3) survives the loss of 3 of 3 volumes: that takes 4 or more\n  \
             try: bfdb --volume a --volume b --volume c init --survive-volumes 2\n",
        ),
        (
            &["--survive-volumes", "1", "--tier3", "30+3"],
            "error: tier 3: RS(30,3) spread over 3 volumes survives the loss of 0 of them, not of 1\n  \
             try: bfdb --volume a --volume b --volume c init --survive-volumes 1\n",
        ),
    ] {
        for dry in [&[][..], &["-n"]] {
            let answer = place.run([&["init"], &three[..], arguments, dry].concat());
            answer.expect_code(1).expect_stderr(message);
        }
    }
    let answer = place.run(["init", "--survive-volumes", "1"]).expect_code(1);
    assert!(
        answer.stderr.contains("the loss of 1 of 1 volumes") && answer.stderr.contains("--volume DIR"),
        "{}",
        answer.stderr
    );
    assert!(place.tree().is_empty(), "something was made");
    let given = [
        "--tier1",
        "1+1",
        "--tier2",
        "2+2",
        "--tier3",
        "4+2",
        "--survive-volumes",
        "1",
        "--json",
    ];
    let made = place.run([&["init"], &three[..], &given].concat()).expect_code(0);
    let codes: Vec<_> = (0..3)
        .map(|tier| {
            let tier = &made.json()[0]["tiers"][tier];
            (tier["data_shards"].as_u64(), tier["parity_shards"].as_u64())
        })
        .collect();
    assert_eq!(
        codes,
        [(1, 1), (2, 2), (4, 2)].map(|(data, parity)| (Some(data), Some(parity)))
    );
}

#[test]
fn directories_that_cannot_be_volumes_are_refused_and_nothing_is_made() {
    let place = Place::new();
    fs::create_dir(place.path("full")).expect("a directory");
    place.write("full/photo", b"1");
    place
        .run(["init", "-q", "-a", "other", "--volume", "theirs"])
        .expect_code(0);
    let before = place.tree();
    for (directories, part) in [
        (
            ["a", "full"],
            "is not empty: a volume is made in a directory of its own, such as",
        ),
        (["a", "a"], "each volume takes a directory of its own"),
        (["full", "full/below"], "would lie in each other"),
        (["archive.bfdb/inside", "a"], "cannot be made"),
        (
            ["a", "b/below"],
            "b/below cannot be made: the directory above it is missing",
        ),
        (["a", "theirs"], "holds volume "),
    ] {
        for dry in [&[][..], &["-n"]] {
            let [one, other] = directories;
            let answer = place.run([&["init", "--volume", one, "--volume", other], dry].concat());
            let answer = answer.expect_code(1);
            assert!(answer.stderr.contains(part), "{part} in {}", answer.stderr);
            assert_eq!(
                answer.stderr.lines().count(),
                1 + usize::from(answer.stderr.contains("caused by"))
            );
        }
    }
    assert!(place.tree() == before, "something was made");
}

#[test]
fn a_commit_makes_the_volumes_that_the_variable_names() {
    let place = Place::new();
    place.write("tiny", &content(1000, 1));
    let volumes = [("BFDB_VOLUME", "a:b")];
    let answer = place.run_with(&volumes, ["commit", "tiny"]).expect_code(0);
    assert!(
        answer.stderr.starts_with(
            "note: made a new archive at ./archive.bfdb, on 2 volumes\nwarning: 2 volumes are on one disk"
        ),
        "{}",
        answer.stderr
    );
    assert!(place.path("a/volume.bfv").exists() && place.path("b/volume.bfv").exists());
    let lines = place.run(["volume", "ls", "--json"]).expect_code(0).json();
    assert_eq!(lines.len(), 3);
    assert_eq!(
        (&lines[2]["volumes"], &lines[2]["active"]),
        (&json!(2), &json!(2))
    );
}

#[test]
fn of_four_volumes_any_three_may_be_deleted() {
    for left in 0..4 {
        let store = OnVolumes::with_files(4, &[]);
        let names = ["v0", "v1", "v2", "v3"];
        let lost: Vec<&str> = names
            .iter()
            .enumerate()
            .filter(|(volume, _)| *volume != left)
            .map(|(_, name)| *name)
            .collect();
        store.lose(&lost);
        store.has_all();
        let summary = store.run(&["volume", "ls", "--json"]).expect_code(6).json();
        assert_eq!(summary[4]["reduced"], 3);
    }
}

#[test]
fn a_tier_4_that_cannot_be_had_is_refused_with_the_numbers() {
    let place = Place::new();
    for (code, problem) in [
        (
            "30+3/11",
            "error: tier 4: a group has 1 to 10 outer parity blocks, not 11\n",
        ),
        (
            "200+8/10",
            "error: tier 4: 10 outer parity blocks over RS(200,8) in segments of 1048576 bytes take 2097152000 bytes of memory while a \
             file is stored; at most 503316480 are allowed\n",
        ),
        (
            "1+3/3",
            "error: tier 4: the blocks of tier 4 are coded, not copied: RS(1,3) has one data shard\n",
        ),
    ] {
        let answer = place.run(["init", "--tier4", code]).expect_code(1);
        assert!(answer.stderr.starts_with(problem), "{code}: {}", answer.stderr);
        assert!(!place.path("archive.bfdb").exists(), "{code}");
    }
    let answer = place.run(["init", "--json", "--tier4", "30+3/10"]).expect_code(0);
    let tier = &answer.json()[0]["tiers"][3];
    assert_eq!(
        (&tier["outer_parity"], &tier["group_blocks"]),
        (&10.into(), &289.into())
    );
}
