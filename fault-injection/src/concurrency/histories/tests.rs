use super::*;
use crate::concurrency::linear::explain;

/// A content of a file that is long enough to wait behind the death of its process, and one that is not.
fn contents() -> (u64, u64) {
    let find = |is_long: bool| {
        let fits = |number: &u64| (len_bytes(*number) >= resources().progress_bytes) == is_long;
        (50..1000).find(fits).expect("every eighth is of each length")
    };
    (find(true), find(false))
}

fn log(died_at: Option<u64>, lines: &[String]) -> Log {
    let parsed: Vec<Line> = lines.iter().map(|line| Line::parse(line).expect(line)).collect();
    let said: Vec<String> = parsed.iter().map(ToString::to_string).collect();
    assert_eq!(said, lines, "a line says what was meant");
    Log {
        lines: parsed,
        died_at,
    }
}

fn text(lines: &[&str]) -> Vec<String> {
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// What is wrong with what processes said, in words; nothing where it has an order.
fn judge(logs: &[Log]) -> Vec<String> {
    let found = Histories::new(logs);
    let mut wrong: Vec<String> = found.violations.iter().map(ToString::to_string).collect();
    for (name, history) in &found.names {
        wrong.extend(explain(history).err().map(|error| format!("{name}: {error}")));
    }
    wrong
}

#[test]
fn a_line_that_a_process_died_in_says_nothing() {
    for line in [
        "",
        "begin",
        "begin 1 2 -",
        "begin 1 2 - store a",
        "end 1 2 3 listed a=1",
        "end 1 2 x done",
    ] {
        assert_eq!(Line::parse(line), None, "{line}");
    }
}

#[test]
fn what_was_told_is_judged_by_name() {
    let lines = |last: &str| {
        text(&[
            "begin 1 10 0 store a 1 replace stream",
            "end 1 20 1 stored",
            "begin 2 30 1 store b 2 refuse path",
            "end 2 40 2 committed",
            "begin 3 50 2 remove a",
            &format!("end 3 60 3 removed {}", len_bytes(1)),
            "begin 4 70 3 list",
            last,
        ])
    };
    assert_eq!(judge(&[log(None, &lines("end 4 80 3 listed b=2 ."))]), [""; 0]);
    for wrong in [
        "end 4 80 3 listed .",
        "end 4 80 3 listed a=1 b=2 .",
        "end 4 80 3 listed b=1 .",
        "end 4 80 3 listed b=2 c=7 .",
        "end 4 80 3 listed b=2 b=2 .",
        "end 4 80 3 wrong Totals 5 files, counted 4",
    ] {
        assert_eq!(judge(&[log(None, &lines(wrong))]).len(), 1, "{wrong}");
    }
}

#[test]
fn answers_that_nobody_may_get_are_told_of() {
    for (asked, told) in [
        ("store a 1 replace stream", "taken 700"),
        ("store a 1 refuse path", "replaced"),
        ("store a 1 refuse path", "missing"),
        // Acknowledged, and nothing was published.
        ("store a 1 refuse path", "committed"),
    ] {
        let lines = [format!("begin 1 10 4 {asked}"), format!("end 1 20 4 {told}")];
        assert!(!judge(&[log(None, &lines)]).is_empty(), "{asked}: {told}");
    }
}

#[test]
fn an_opening_for_writing_settles_what_the_dead_have_begun_but_for_long_files_of_the_host() {
    let (long, short) = contents();
    let seen_late = |content: u64, source: &str| {
        let dead = [format!("begin 1 10 0 store a {content} replace {source}")];
        let others = [
            "begin 2 40 - open".to_owned(),
            "end 2 50 - done".to_owned(),
            "begin 3 60 0 see a".to_owned(),
            "end 3 70 0 missing".to_owned(),
            "begin 4 80 1 see a".to_owned(),
            format!("end 4 90 1 saw {content}"),
        ];
        judge(&[log(Some(30), &dead), log(None, &others)]).is_empty()
    };
    assert!(seen_late(long, "path"), "somebody may have gone on with it");
    assert!(!seen_late(short, "path"), "a short file was undone");
    assert!(!seen_late(long, "stream"), "a stream was undone");
}

#[test]
fn a_commit_of_the_dead_is_the_one_of_whoever_goes_on_with_it() {
    let (long, _) = contents();
    let story = |told: &str, seen: &str| {
        let dead = [format!("begin 1 10 0 store a {long} replace path")];
        let others = [
            format!("begin 2 40 0 resume a {long} 1"),
            format!("end 2 50 1 {told}"),
            "begin 3 60 1 see a".to_owned(),
            format!("end 3 70 1 {seen}"),
        ];
        judge(&[log(Some(30), &dead), log(None, &others)]).is_empty()
    };
    let saw = format!("saw {long}");
    assert!(story("committed", &saw), "it is there");
    assert!(!story("committed", "missing"), "it is there from then on");
    assert!(story("gone", &saw), "it was there before");
    assert!(story("gone", "missing"), "it was given back before");
    assert!(!story("replaced", &saw), "nothing was there");
}

#[test]
fn what_was_given_back_does_not_happen() {
    let (long, _) = contents();
    let story = |told: &str| {
        let dead = [format!("begin 1 10 0 store a {long} replace path")];
        let others = [
            "begin 2 40 0 roll-back 1".to_owned(),
            format!("end 2 50 0 {told}"),
            "begin 3 60 1 see a".to_owned(),
            format!("end 3 70 1 saw {long}"),
        ];
        judge(&[log(Some(30), &dead), log(None, &others)]).is_empty()
    };
    assert!(!story("done"), "it was given back");
    assert!(story("gone"), "it was published before");
    assert!(story("nothing"), "somebody was at it");
}

#[test]
fn a_listing_is_one_moment_for_all_names() {
    // Whoever listed between the two commits has seen the first alone.
    let listings = |first: &str, second: &str| {
        let writer = text(&[
            "begin 1 10 0 store a 1 replace stream",
            "end 1 100 1 stored",
            "begin 2 110 1 store b 2 replace stream",
            "end 2 200 2 stored",
        ]);
        let readers = [
            "begin 3 20 1 list".to_owned(),
            format!("end 3 190 1 listed {first}"),
            "begin 4 30 2 list".to_owned(),
            format!("end 4 195 2 listed {second}"),
        ];
        judge(&[log(None, &writer), log(None, &readers)]).is_empty()
    };
    assert!(listings("a=1 .", "a=1 b=2 ."), "one publication after the other");
    assert!(!listings("b=2 .", "a=1 b=2 ."), "of the second alone");
    assert!(!listings("a=1 b=2 .", "a=1 ."), "the other way round");
}
