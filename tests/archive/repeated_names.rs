//! One name given several times in one call: the sources take their turns, however they are stored.

use std::{fs, sync::Mutex};

use bfdb::{
    archive::{CommitAllOptions, CommitObserver, CommitOutcome, Event, NameConflict, Observer, Source},
    error::CommitError,
    geometry::Policy,
    host::Place,
};

use crate::support::{Store, TINY_BELOW, name, painted};

/// What became of the sources of one name, in the order in which they were told of.
struct Turns {
    name: &'static str,
    outcomes: Mutex<Vec<&'static str>>,
}

impl Observer for Turns {
    fn event(&self, _: Event<'_>) {}
}

impl CommitObserver for Turns {
    fn source_done(&self, source: &Source, result: Result<CommitOutcome, CommitError>) {
        if source.name != name(self.name) {
            return;
        }
        self.outcomes.lock().unwrap().push(match result {
            Ok(CommitOutcome::Committed(_)) => "committed",
            Ok(CommitOutcome::Replaced(_)) => "replaced",
            Ok(CommitOutcome::Unchanged(_)) => "unchanged",
            Err(CommitError::NameTaken { .. }) => "taken",
            Err(error) => panic!("{error}"),
        });
    }
}

/// Commits the file at each path under each name.
fn commit(store: &Store, sources: &[(&str, &str)], name_conflict: NameConflict) -> Vec<&'static str> {
    let turns = Turns {
        name: "n",
        outcomes: Mutex::default(),
    };
    let mut sources = sources.iter().map(|(text, path)| Source {
        name: name(text),
        place: Place::of_path(store.dir.path().join(path)),
    });
    store
        .archive
        .commit_all(&mut sources, &CommitAllOptions { name_conflict }, &turns)
        .unwrap();
    turns.outcomes.into_inner().unwrap()
}

#[test]
fn a_small_source_of_a_name_takes_its_turn_behind_a_large_one() {
    let store = Store::new();
    store.put("n", b"first");
    fs::write(store.dir.path().join("small"), b"first").unwrap();
    fs::write(store.dir.path().join("large"), painted(TINY_BELOW + 1, 0)).unwrap();
    let outcomes = commit(&store, &[("n", "large"), ("n", "small")], NameConflict::Replace);
    assert_eq!(outcomes, ["replaced", "replaced"]);
    assert_eq!(store.get("n").unwrap(), b"first");
}

#[test]
fn a_source_that_fits_into_memory_does_not_overtake_one_of_its_name_that_waits() {
    for conflict in [NameConflict::Refuse, NameConflict::Replace] {
        let store = Store::with_policy(Policy::default());
        let big = painted(1 << 20, 1);
        for path in ["a", "b", "c", "d"] {
            fs::write(store.dir.path().join(path), &big).unwrap();
        }
        fs::write(store.dir.path().join("empty"), b"").unwrap();
        let sources = [("a", "a"), ("b", "b"), ("c", "c"), ("n", "d"), ("n", "empty")];
        let outcomes = commit(&store, &sources, conflict);
        let (expected, content) = match conflict {
            NameConflict::Refuse => (["committed", "taken"], big),
            NameConflict::Replace | NameConflict::ReplaceAndKeep { .. } => {
                (["committed", "replaced"], Vec::new())
            }
        };
        assert_eq!(outcomes, expected, "{conflict:?}");
        assert!(store.get("n").unwrap() == content, "{conflict:?}");
    }
}

#[test]
fn a_source_is_compared_with_one_of_its_name_whose_batch_is_on_its_way() {
    let store = Store::with_policy(Policy::default());
    fs::write(store.dir.path().join("other"), b"other").unwrap();
    fs::write(store.dir.path().join("empty"), b"").unwrap();
    assert_eq!(
        commit(&store, &[("n", "empty")], NameConflict::Replace),
        ["committed"]
    );
    let fillers: Vec<String> = (0..4095).map(|index| format!("f/{index}")).collect();
    let mut sources: Vec<(&str, &str)> = fillers.iter().map(|filler| (filler.as_str(), "empty")).collect();
    // Nothing is to be done about this one, so that the batch is full with the next of its name, and on its way when the
    // last is looked at.
    sources.insert(0, ("n", "empty"));
    sources.extend([("n", "other"), ("n", "empty")]);
    let outcomes = commit(&store, &sources, NameConflict::Replace);
    assert_eq!(outcomes, ["unchanged", "replaced", "replaced"]);
    assert_eq!(store.get("n").unwrap(), b"");
}
