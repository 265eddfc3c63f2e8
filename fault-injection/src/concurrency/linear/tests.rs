use super::*;

const A: u64 = 11;
const B: u64 = 22;

/// An operation that nobody looked at the publications beside.
fn at(begin: u64, end: u64, step: Step) -> Operation {
    Operation {
        begin,
        end,
        places: (0, NEVER),
        step,
        certainty: Certainty::Certain,
        commit: begin,
    }
}

fn perhaps(begin: u64, deadline: u64, step: Step) -> Operation {
    Operation {
        certainty: Certainty::Perhaps,
        ..at(begin, deadline, step)
    }
}

const fn store(content: u64, over: Over) -> Step {
    Step::Store { content, over }
}

const REMOVE: Step = Step::Remove { len_bytes: None };

fn is_explained(history: &[Operation]) -> bool {
    match explain(history) {
        Ok(_) => true,
        Err(Unexplained::Stuck { .. }) => false,
        Err(Unexplained::TooWide { states }) => panic!("{states} states"),
    }
}

#[test]
fn one_after_another_is_explained_in_that_order_alone() {
    let story = [
        at(1, 2, Step::See(None)),
        at(3, 4, store(A, Over::Nothing)),
        at(5, 6, Step::See(Some(A))),
        at(7, 8, Step::SeeLen(len_bytes(A))),
        at(9, 10, store(B, Over::Something)),
        at(11, 12, Step::See(Some(B))),
        at(13, 14, REMOVE),
        at(15, 16, Step::See(None)),
    ];
    assert!(is_explained(&story), "it is as it was");
    for index in 0..story.len() {
        let mut other = story.to_vec();
        other[index].step = match other[index].step {
            Step::See(None) => Step::See(Some(A)),
            Step::See(Some(_)) => Step::See(None),
            Step::SeeLen(len) => Step::SeeLen(len + 1),
            Step::Store {
                content,
                over: Over::Nothing,
            } => store(content, Over::Something),
            Step::Store { content, .. } => store(content, Over::Nothing),
            Step::Remove { .. } => Step::Remove { len_bytes: Some(0) },
        };
        assert!(!is_explained(&other), "another answer: {:?}", other[index]);
    }
}

#[test]
fn what_overlaps_may_have_either_order_and_no_third() {
    let either = |seen| {
        is_explained(&[
            at(1, 10, store(A, Over::Anything)),
            at(2, 9, store(B, Over::Anything)),
            at(11, 12, Step::See(seen)),
        ])
    };
    assert!(either(Some(A)) && either(Some(B)), "both orders are possible");
    assert!(!either(None), "nobody has removed anything");
    let again = [
        at(1, 2, store(A, Over::Nothing)),
        at(3, 10, store(A, Over::Anything)),
        at(3, 10, store(B, Over::Anything)),
        at(11, 12, Step::See(Some(A))),
    ];
    assert!(is_explained(&again), "the second time came last");
}

#[test]
fn a_read_never_goes_back() {
    let readers = |first: u64, second: u64, second_begins: u64| {
        is_explained(&[
            at(1, 2, store(A, Over::Nothing)),
            at(3, 20, store(B, Over::Something)),
            at(4, 6, Step::See(Some(first))),
            at(second_begins, 8, Step::See(Some(second))),
        ])
    };
    assert!(readers(A, B, 7), "the new one is seen later");
    assert!(readers(B, A, 5), "the two overlap");
    assert!(!readers(B, A, 7), "the new one was seen before");
}

#[test]
fn two_commits_of_a_free_name_are_not_both_the_first() {
    let both = [
        at(1, 10, store(A, Over::Nothing)),
        at(2, 9, store(B, Over::Nothing)),
    ];
    assert!(!is_explained(&both), "one of them found the other");
    let refused = [
        at(1, 10, store(A, Over::Nothing)),
        at(2, 9, Step::SeeLen(len_bytes(A))),
    ];
    assert!(is_explained(&refused), "one was refused for the other");
    let same = [
        at(1, 10, store(A, Over::NothingOrSame)),
        at(2, 9, store(A, Over::NothingOrSame)),
        at(11, 12, Step::SeeLen(len_bytes(A))),
    ];
    assert!(is_explained(&same), "the same content is no other");
}

#[test]
fn what_died_may_have_happened_or_not_but_once_and_not_before() {
    let died = |reads: &[(u64, Option<u64>)]| {
        let mut history = vec![
            at(1, 2, store(A, Over::Nothing)),
            perhaps(5, NEVER, store(B, Over::Anything)),
        ];
        history.extend(reads.iter().map(|&(time, seen)| at(time, time, Step::See(seen))));
        is_explained(&history)
    };
    assert!(died(&[(10, Some(A)), (20, Some(A))]), "it did not");
    assert!(died(&[(10, Some(B)), (20, Some(B))]), "it did");
    assert!(died(&[(10, Some(A)), (20, Some(B))]), "it did late");
    assert!(
        !died(&[(10, Some(B)), (20, Some(A))]),
        "it did and was taken back"
    );
    assert!(!died(&[(4, Some(B))]), "nobody had asked for it yet");
    assert!(!died(&[(10, None)]), "nobody has asked for that");
}

#[test]
fn what_died_does_not_happen_behind_the_moment_that_settles_it() {
    let until = |deadline| {
        is_explained(&[
            at(1, 2, store(A, Over::Nothing)),
            perhaps(3, deadline, store(B, Over::Anything)),
            at(10, 11, Step::See(Some(A))),
            at(20, 21, Step::See(Some(B))),
        ])
    };
    assert!(until(15), "between the reads");
    assert!(!until(9), "the first read came behind");
    // An answer that many values explain does not hide what happened before it.
    let twin = (1..1_000_000).find(|&twin| twin != A && len_bytes(twin) == len_bytes(A));
    let twin = twin.expect("few lengths");
    let hidden = [
        at(1, 2, store(A, Over::Nothing)),
        perhaps(3, 4, store(twin, Over::Anything)),
        at(10, 11, Step::SeeLen(len_bytes(A))),
        at(20, 21, Step::See(Some(twin))),
    ];
    assert!(is_explained(&hidden), "it was there when its length was seen");
}

#[test]
fn a_commit_that_two_have_tried_happens_once() {
    let tried = |second_commit| {
        let mut second = perhaps(6, NEVER, store(A, Over::Nothing));
        second.commit = second_commit;
        is_explained(&[
            perhaps(1, NEVER, store(A, Over::Nothing)),
            second,
            at(10, 11, Step::See(Some(A))),
            at(12, 13, REMOVE),
            at(14, 15, Step::See(Some(A))),
        ])
    };
    assert!(tried(6), "two commits");
    assert!(!tried(1), "one commit");
}

#[test]
fn a_removal_and_a_commit_of_the_dead_may_explain_an_answer_together() {
    let history = [
        at(1, 2, store(A, Over::Nothing)),
        perhaps(3, NEVER, REMOVE),
        perhaps(4, NEVER, store(B, Over::Nothing)),
        at(10, 11, Step::See(Some(B))),
    ];
    assert!(is_explained(&history), "removed, then stored");
    let without = [history[0].clone(), history[2].clone(), history[3].clone()];
    assert!(!is_explained(&without), "the name was not free");
}

#[test]
fn publications_order_what_time_leaves_open() {
    let listings = |places: [(u64, u64); 2]| {
        let [first, second] = places;
        is_explained(&[
            at(1, 30, store(A, Over::Nothing)),
            Operation {
                places: first,
                ..at(2, 20, Step::See(Some(A)))
            },
            Operation {
                places: second,
                ..at(3, 21, Step::See(None))
            },
        ])
    };
    assert!(listings([(11, 13), (11, 11)]), "no order is known");
    assert!(!listings([(11, 11), (13, 13)]), "it was there before it was not");
}

#[test]
fn long_histories_are_quick_whatever_overlaps() {
    // Six at a time, and the dead beside them.
    let mut history = Vec::new();
    for round in 0..400 {
        let start = 100 * round;
        for lane in 0..6 {
            let content = 10 * round + lane + 1;
            history.push(at(start + lane, start + 90, store(content, Over::Anything)));
        }
        let step = Step::See(Some(10 * round + 1 + round % 6));
        history.push(at(start + 95, start + 96, step));
        let lost = store(1_000_000 + round, Over::Anything);
        history.push(perhaps(start + 50, start + 350, lost));
    }
    let states = explain(&history).expect("the last of each round may be any");
    assert!(states < 200_000, "{states} states");
    history.push(at(50_000, 50_001, Step::See(None)));
    assert!(!is_explained(&history), "nobody has removed anything");
}
