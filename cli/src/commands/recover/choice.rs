//! Which commits are meant: by names, by numbers, or those that wait.

use std::collections::BTreeSet;

use bfdb::{archive::UnfinishedCommit, units::FileName};

use super::Arguments;
use crate::{failure::Failure, text};

/// A commit that is meant, or a name or number of none.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Chosen<'u> {
    Commit(&'u UnfinishedCommit),
    Unknown(FileName),
}

/// Returns those that are named, or all that wait and can go on.
pub(super) fn to_resume<'u>(names: &[FileName], unfinished: &'u [UnfinishedCommit]) -> Vec<Chosen<'u>> {
    if names.is_empty() {
        let waiting = waiting(unfinished).filter(|commit| commit.resumable.is_some());
        return waiting.map(Chosen::Commit).collect();
    }
    named(names, unfinished)
}

/// Returns those that are named, all that wait where that was said, or the only one.
///
/// # Errors
/// That several wait: what was done is not thrown away because a name was forgotten.
pub(super) fn to_roll_back<'u>(
    arguments: &Arguments,
    unfinished: &'u [UnfinishedCommit],
) -> Result<Vec<Chosen<'u>>, Failure> {
    if !arguments.names.is_empty() {
        return Ok(named(&arguments.names, unfinished));
    }
    let waiting: Vec<_> = waiting(unfinished).map(Chosen::Commit).collect();
    match u64::try_from(waiting.len()) {
        Ok(count) if count > 1 && !arguments.all => Err(Failure::usage(format!(
            "{} wait: name those to give back, or say --all",
            text::count(count, "interrupted commit")
        ))),
        _ => Ok(waiting),
    }
}

fn waiting(unfinished: &[UnfinishedCommit]) -> impl Iterator<Item = &UnfinishedCommit> {
    unfinished.iter().filter(|commit| !commit.is_running)
}

fn named<'u>(names: &[FileName], unfinished: &'u [UnfinishedCommit]) -> Vec<Chosen<'u>> {
    let mut seen = BTreeSet::new();
    let mut chosen = Vec::new();
    for name in names {
        let found = find(name, unfinished);
        if found.is_empty() {
            chosen.push(Chosen::Unknown(name.clone()));
        }
        let new = found.into_iter().filter(|commit| seen.insert(commit.commit));
        chosen.extend(new.map(Chosen::Commit));
    }
    chosen
}

/// Finds the commits of a name: those that wait, or else those that run; where there is none, that of the number.
fn find<'u>(name: &FileName, unfinished: &'u [UnfinishedCommit]) -> Vec<&'u UnfinishedCommit> {
    let of_name = |is_running: bool| -> Vec<_> {
        let is_meant = |commit: &&UnfinishedCommit| commit.name == *name && commit.is_running == is_running;
        unfinished.iter().filter(is_meant).collect()
    };
    let waiting = of_name(false);
    if !waiting.is_empty() {
        return waiting;
    }
    let running = of_name(true);
    if !running.is_empty() {
        return running;
    }
    let number: Option<u64> = str::from_utf8(name.as_bytes()).ok().and_then(|text| {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse().ok().filter(|_| is_plain)
    });
    let is_meant = |commit: &&UnfinishedCommit| Some(commit.commit.get()) == number;
    unfinished.iter().filter(is_meant).collect()
}

#[cfg(test)]
mod tests {
    use bfdb::units::{CommitId, Timestamp};

    use super::*;

    fn waiting_commit(number: u64, name: &str) -> UnfinishedCommit {
        UnfinishedCommit {
            commit: CommitId::new(number),
            name: name.parse().expect("a name"),
            others: 0,
            begun_at: Timestamp::EPOCH,
            is_running: false,
            resumable: None,
        }
    }

    fn running_commit(number: u64, name: &str) -> UnfinishedCommit {
        UnfinishedCommit {
            is_running: true,
            ..waiting_commit(number, name)
        }
    }

    #[test]
    fn a_name_wins_over_a_number_and_what_waits_over_what_runs() {
        let unfinished = [
            running_commit(1, "a"),
            waiting_commit(2, "a"),
            waiting_commit(3, "2"),
            running_commit(4, "b"),
        ];
        let numbers = |names: &[&str]| -> Vec<Option<u64>> {
            let names: Vec<FileName> = names.iter().map(|name| name.parse().expect("a name")).collect();
            let chosen = named(&names, &unfinished);
            let number = |chosen: &Chosen| match chosen {
                Chosen::Commit(commit) => Some(commit.commit.get()),
                Chosen::Unknown(_) => None,
            };
            chosen.iter().map(number).collect()
        };
        assert_eq!(numbers(&["a"]), [Some(2)]);
        assert_eq!(numbers(&["2"]), [Some(3)], "it is a name");
        assert_eq!(numbers(&["1", "b", "4"]), [Some(1), Some(4)], "each once");
        assert_eq!(numbers(&["c", "9", "+1"]), [None; 3]);
    }
}
