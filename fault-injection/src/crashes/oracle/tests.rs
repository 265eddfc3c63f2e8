use super::*;

fn file(version: u64) -> Entry {
    Entry {
        kind: Kind::File(content(1, "a", version, 10)),
        mode: 0o644,
        modified: (5, 0),
    }
}

fn effects() -> Vec<Effect> {
    let becomes = [Some(file(1)), Some(file(2)), None];
    let of_name = |becomes| Effect {
        name: Some("a".to_owned()),
        becomes,
    };
    becomes.into_iter().map(of_name).collect()
}

fn allowed(tags: &[&str]) -> Allowed {
    let markers: Vec<Marker> = tags
        .iter()
        .map(|tag| Marker {
            after_operation: 0,
            tag: (*tag).to_owned(),
        })
        .collect();
    Allowed::after(&effects(), &markers)
}

fn seen(version: Option<u64>) -> Seen {
    version
        .map(|version| ("a".to_owned(), file(version)))
        .into_iter()
        .collect()
}

#[test]
fn what_is_in_flight_is_there_or_not_and_what_is_acknowledged_is_there() {
    let cases: [(&[&str], [bool; 3]); 9] = [
        (&["begin 0", "undone 0"], [true, false, false]),
        (&[], [true, false, false]),
        (&["begin 0"], [true, true, false]),
        (&["begin 0", "done 0"], [false, true, false]),
        (&["begin 0", "failed 0", "begin 1"], [true, true, true]),
        (&["begin 0", "done 0", "begin 1", "done 1"], [false, false, true]),
        (&["begin 0", "done 0", "begin 2"], [true, true, false]),
        (&["begin 0", "promised 0"], [true, true, false]),
        (&["begin 0", "begin 1", "undone 0"], [true, false, true]),
    ];
    for (tags, verdicts) in cases {
        for (version, is_allowed) in [None, Some(1), Some(2)].into_iter().zip(verdicts) {
            let judged = allowed(tags).judge(&seen(version), Viewer::Reader);
            assert_eq!(judged.is_ok(), is_allowed, "{tags:?} {version:?}: {judged:?}");
        }
    }
}

#[test]
fn what_was_promised_is_there_once_a_writer_has_come() {
    let promised = allowed(&["begin 0", "promised 0"]);
    assert!(promised.judge(&seen(None), Viewer::Writer).is_err(), "it is lost");
    assert!(promised.judge(&seen(Some(1)), Viewer::Writer).is_ok());
    let after = promised
        .judge(&seen(None), Viewer::Reader)
        .expect("not there yet");
    assert!(after.judge(&seen(None), Viewer::Writer).is_err(), "it is lost");
    let and_more = allowed(&["begin 0", "promised 0", "begin 2"]);
    assert!(
        and_more.judge(&seen(None), Viewer::Writer).is_ok(),
        "removed since"
    );
}

#[test]
fn of_an_old_catalog_readers_see_what_once_was_and_writers_what_is() {
    let old = allowed(&["begin 0", "done 0", "begin 1", "done 1", OLD_CATALOG]);
    for version in [None, Some(1), Some(2)] {
        assert!(old.judge(&seen(version), Viewer::Reader).is_ok(), "{version:?}");
        let is_newest = version == Some(2);
        assert_eq!(
            old.judge(&seen(version), Viewer::Writer).is_ok(),
            is_newest,
            "{version:?}"
        );
    }
    assert!(
        old.judge(&seen(Some(3)), Viewer::Reader).is_err(),
        "never asked for"
    );
}

#[test]
fn what_waited_becomes_what_it_was_asked_to_be_and_changes_nothing_else() {
    let undone = allowed(&["begin 0", "undone 0", "begin 2", "done 2"]);
    let (nothing, names) = (Seen::new(), ["a".to_owned()]);
    assert!(undone.judge_resumed(&nothing, &seen(Some(1)), &names).is_ok());
    assert!(
        undone.judge_resumed(&nothing, &seen(Some(2)), &names).is_err(),
        "another"
    );
    assert!(
        undone.judge_resumed(&nothing, &nothing, &names).is_err(),
        "not there"
    );
    assert!(
        undone.judge_resumed(&nothing, &seen(Some(1)), &[]).is_err(),
        "not resumed"
    );
    let outdated = allowed(&["begin 0", "undone 0", "begin 1"]);
    let later = outdated.judge_resumed(&seen(Some(1)), &seen(Some(2)), &names);
    assert!(later.is_ok(), "{later:?}");
    assert!(
        outdated
            .judge_resumed(&seen(Some(2)), &seen(Some(1)), &names)
            .is_err(),
        "an older one"
    );
    assert!(!outdated.is_settled("a"));
    assert!(allowed(&["begin 0", "undone 0", "begin 1", "done 1"]).is_settled("a"));
}

#[test]
fn what_was_seen_is_never_taken_back() {
    let after = allowed(&["begin 0"])
        .judge(&seen(Some(1)), Viewer::Reader)
        .expect("the new one");
    assert!(
        after.judge(&seen(None), Viewer::Reader).is_err(),
        "it is gone again"
    );
    let before = allowed(&["begin 0"])
        .judge(&seen(None), Viewer::Reader)
        .expect("the old one");
    assert!(
        before.judge(&seen(Some(1)), Viewer::Reader).is_ok(),
        "it may still come"
    );
}

#[test]
fn a_name_that_nobody_stored_a_bit_a_mode_and_a_time_are_noticed() {
    let settled = allowed(&["begin 0", "done 0"]);
    let mut other = seen(Some(1));
    other.insert("b".to_owned(), file(1));
    assert!(settled.judge(&other, Viewer::Writer).is_err(), "another name");
    let mode = Entry {
        mode: 0o600,
        ..file(1)
    };
    let time = Entry {
        modified: (5, 1),
        ..file(1)
    };
    let mut bytes = content(1, "a", 1, 10).to_vec();
    bytes[9] ^= 1;
    let bit = Entry {
        kind: Kind::File(bytes.into()),
        ..file(1)
    };
    for wrong in [mode, time, bit] {
        let seen = Seen::from([("a".to_owned(), wrong)]);
        assert!(settled.judge(&seen, Viewer::Writer).is_err(), "{seen:?}");
    }
}
