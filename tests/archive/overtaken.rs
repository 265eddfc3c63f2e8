//! A source whose content is stored already, and whose permissions and time are to be brought up to date: somebody else
//! replaces or removes that version before this is published. It was there, so the commit has nothing to complain of.
//!
//! The campaign of concurrent processes found that a commit which was asked to replace was told that the name is taken, or
//! that there is no such file.

use std::{
    fs, iter,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use bfdb::{
    archive::{
        Archive, CommitAllOptions, CommitObserver, CommitOptions, CommitOutcome, Event, NameConflict,
        Observer, Source,
    },
    catalog::Access,
    error::CommitError,
    host::Place,
};

use crate::support::{Store, TINY_BELOW, name, open, painted, small_policy};

/// What somebody else does in between, once.
type Overtaking = Mutex<Option<Box<dyn FnOnce() + Send>>>;

fn overtake(overtaking: &Overtaking) {
    let first = overtaking.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(overtake) = first {
        overtake();
    }
}

/// Lets somebody else come first when the content of a long source is compared.
struct Overtaken<'a> {
    overtaking: &'a Overtaking,
    outcome: Mutex<Option<Result<CommitOutcome, CommitError>>>,
}

impl Observer for Overtaken<'_> {
    fn event(&self, event: Event<'_>) {
        if matches!(event, Event::Progress { .. }) {
            overtake(self.overtaking);
        }
    }
}

impl CommitObserver for Overtaken<'_> {
    fn source_done(&self, source: &Source, result: Result<CommitOutcome, CommitError>) {
        if source.name == name("n") {
            *self.outcome.lock().unwrap() = Some(result);
        }
    }
}

/// Commits `n` with the content that it has and another time, while somebody else uses a handle of its own; returns what the
/// commit was told.
fn commit_overtaken(len: u64, by: fn(&Archive)) -> Result<CommitOutcome, CommitError> {
    let store = Store::with_policy(small_policy());
    let content = painted(len, 1);
    store.put("n", &content);
    let path = store.source("n", &content);
    touch_source(&path);
    let filler = store.source("filler", b"");
    let other = open(&store.root(), Access::Write);
    let overtaking: Overtaking = Mutex::new(Some(Box::new(move || by(&other))));
    let source = |text: String, path: &Path| Source {
        name: text.parse().unwrap(),
        place: Place::of_path(path),
    };
    // As many as are looked at together; whoever asks for more has decided about these, and not published.
    let fillers = (0..255).map(|index| source(format!("filler-{index}"), &filler));
    let and_more = iter::from_fn(|| {
        overtake(&overtaking);
        None
    });
    let mut sources = iter::once(source("n".to_owned(), &path))
        .chain(fillers)
        .chain(and_more);
    let observer = Overtaken {
        overtaking: &overtaking,
        outcome: Mutex::default(),
    };
    let options = CommitAllOptions {
        name_conflict: NameConflict::Replace,
    };
    store
        .archive
        .commit_all(&mut sources, &options, &observer)
        .unwrap();
    observer.outcome.into_inner().unwrap().unwrap()
}

fn touch_source(path: &Path) {
    let file = fs::File::options().write(true).open(path).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1_000))
        .unwrap();
}

fn replace(archive: &Archive) {
    let options = CommitOptions {
        name_conflict: NameConflict::Replace,
        ..CommitOptions::default()
    };
    archive.commit(&name("n"), &b"newer"[..], 5, &options).unwrap();
}

fn remove(archive: &Archive) {
    let removal = archive.remove(&name("n")).unwrap();
    assert!(removal.len_bytes > 0);
}

#[test]
fn a_source_whose_version_is_replaced_meanwhile_is_not_refused_where_it_was_to_replace() {
    for len in [100, 2 * TINY_BELOW] {
        let outcome = commit_overtaken(len, replace);
        assert!(
            matches!(outcome, Ok(CommitOutcome::Unchanged(_))),
            "{len}: {outcome:?}"
        );
    }
}

#[test]
fn a_source_whose_version_is_removed_meanwhile_is_no_error() {
    for len in [100, 2 * TINY_BELOW] {
        let outcome = commit_overtaken(len, remove);
        assert!(
            matches!(outcome, Ok(CommitOutcome::Unchanged(_))),
            "{len}: {outcome:?}"
        );
    }
}
