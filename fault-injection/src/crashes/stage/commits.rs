//! What is asked of an archive that is open.

use std::sync::{Mutex, PoisonError, atomic::AtomicU64};

use bfdb::{CommitAllOptions, FileName, NameConflict, Place, Source, error::CommitError, units::CommitId};

use super::{
    Stage,
    answer::Answer,
    observers::{Around, Cancels, Told},
};
use crate::crashes::{
    oracle::Moment,
    what::{What, bytes_of, options_of, parsed},
};

impl Stage<'_> {
    /// Commits a stream of known length; refuses a taken name.
    pub fn commit(&mut self, what: What) {
        self.commit_as(what, NameConflict::Refuse);
    }

    /// Commits a stream over what has the name.
    pub fn replace(&mut self, what: What) {
        self.commit_as(what, NameConflict::Replace);
    }

    fn commit_as(&mut self, what: What, name_conflict: NameConflict) {
        let entry = what.entry(self.seed);
        self.step(&[(what.name, Some(entry.clone()))], |archive| {
            let len = u64::try_from(bytes_of(&entry).len()).expect("a short file");
            archive
                .commit(
                    &what.file_name(),
                    bytes_of(&entry),
                    len,
                    &options_of(&entry, name_conflict),
                )
                .map(drop)
        });
    }

    /// Commits a stream that another process reads from as well: it commits `inner` on the other handle meanwhile.
    pub fn commit_around(&mut self, what: What, inner: What) {
        let Some(other) = self.other.take() else { return };
        let entries = [what.entry(self.seed), inner.entry(self.seed)];
        let effects = [(&what, &entries[0]), (&inner, &entries[1])]
            .map(|(what, entry)| self.ask(Some(what.name), Some(entry.clone())));
        let told = Mutex::new(Answer::failed("was never asked for".to_owned()));
        let commit_inner = || {
            let bytes = bytes_of(&entries[1]);
            let len = u64::try_from(bytes.len()).expect("a short file");
            let options = options_of(&entries[1], NameConflict::Refuse);
            let done = other.commit(&inner.file_name(), bytes, len, &options);
            if done.is_ok() {
                self.disk.marker(Moment::Done.tag(effects[1]));
            }
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Answer::of(&done);
        };
        let reader = Around {
            before: Some(commit_inner),
            rest: bytes_of(&entries[0]),
        };
        let len = u64::try_from(bytes_of(&entries[0]).len()).expect("a short file");
        let options = options_of(&entries[0], NameConflict::Refuse);
        let done = match &self.archive {
            Some(archive) => Answer::of(&archive.commit(&what.file_name(), reader, len, &options)),
            None => Answer::failed("no archive is open".to_owned()),
        };
        self.answer(effects[0], done);
        let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
        if told.moment != Moment::Done {
            self.answer(effects[1], told);
        }
        self.other = Some(other);
    }

    /// Commits a stream that ends before it should: nothing of it may ever be there.
    pub fn commit_too_short(&mut self, what: What) {
        let entry = what.entry(self.seed);
        let Some(archive) = &self.archive else { return };
        let announced = u64::try_from(what.len).expect("a short file") + 3000;
        let options = options_of(&entry, NameConflict::Refuse);
        let done = archive.commit(&what.file_name(), bytes_of(&entry), announced, &options);
        if done.is_ok() {
            self.is_surprised(format!(
                "{} was stored although its source was too short",
                what.name
            ));
        }
    }

    /// Commits a stream whose length nobody knows.
    pub fn commit_reader(&mut self, what: What) {
        let entry = what.entry(self.seed);
        self.step(&[(what.name, Some(entry.clone()))], |archive| {
            let options = options_of(&entry, NameConflict::Replace);
            let mut bytes = bytes_of(&entry);
            archive
                .commit_reader(&what.file_name(), &mut bytes, &options, &())
                .map(drop)
        });
    }

    /// Commits what is at a path of the host.
    pub fn commit_path(&mut self, what: What) {
        let entry = what.entry(self.seed);
        let path = self
            .sources
            .path(what.name, what.version * 8 + u64::from(what.mode % 8), &entry);
        self.step(&[(what.name, Some(entry))], |archive| {
            archive.commit_path(&what.file_name(), &path, &()).map(drop)
        });
    }

    /// Commits what is at a path of the host, and cancels it after the archive has asked so often whether to go on.
    pub fn commit_path_cancelled(&mut self, what: What, asked: u64) {
        let entry = what.entry(self.seed);
        let path = self
            .sources
            .path(what.name, what.version * 8 + u64::from(what.mode % 8), &entry);
        let Some(archive) = self.archive.take() else {
            return;
        };
        let effect = self.ask(Some(what.name), Some(entry));
        let done = archive.commit_path(
            &what.file_name(),
            &path,
            &Cancels {
                after: AtomicU64::new(asked),
            },
        );
        self.archive = Some(archive);
        match done {
            Ok(_) => self.note(effect, Moment::Done),
            Err(CommitError::Cancelled | CommitError::Interrupted { .. }) => {
                self.note(effect, Moment::Undone);
            }
            Err(error) => self.answer(effect, Answer::of_error(&error)),
        }
    }

    /// Commits many sources of the host.
    pub fn commit_all(&mut self, all: &[What], name_conflict: NameConflict) {
        let Some(archive) = self.archive.take() else {
            return;
        };
        let mut waiting = Vec::new();
        let mut sources = Vec::new();
        for what in all {
            let entry = what.entry(self.seed);
            let path = self
                .sources
                .path(what.name, what.version * 8 + u64::from(what.mode % 8), &entry);
            sources.push(Source {
                name: what.file_name(),
                place: Place::of_path(path),
            });
            waiting.push((what.file_name(), self.ask(Some(what.name), Some(entry))));
        }
        let told = Told {
            disk: self.disk.clone(),
            waiting: Mutex::new(waiting),
            failed: Mutex::default(),
        };
        let options = CommitAllOptions { name_conflict };
        let ended = archive.commit_all(&mut sources.into_iter(), &options, &told);
        self.archive = Some(archive);
        for (effect, error) in told.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.answer(effect, error);
        }
        // Sources that were not told of are not stored, unless the error is about one of them that may be: it names none.
        let error = match &ended {
            Ok(()) => Answer::failed("was not told of".to_owned()),
            Err(error) => match Answer::of_error(error) {
                undone if undone.moment == Moment::Undone => undone,
                _ => Answer::failed(super::explained(error)),
            },
        };
        for (_, effect) in told.waiting.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.answer(effect, error.clone());
        }
    }

    /// Removes a name.
    pub fn remove(&mut self, name: &'static str) {
        self.step(&[(name, None)], |archive| archive.remove(&parsed(name)).map(drop));
    }

    /// Removes names in one transaction.
    pub fn remove_many(&mut self, names: &[&'static str]) {
        let effects: Vec<_> = names.iter().map(|name| (*name, None)).collect();
        let names: Vec<FileName> = names.iter().map(|name| parsed(name)).collect();
        self.step(&effects, |archive| archive.remove_many(&names).map(drop));
    }

    /// Goes on with the commit of a name that another process has left, if there is one.
    pub fn resume(&mut self, what: What) {
        let Some(commit) = self.waiting_for(what.name) else {
            return;
        };
        let effect = self.ask(Some(what.name), Some(what.entry(self.seed)));
        let Some(archive) = &self.archive else { return };
        match archive.resume(commit, &()) {
            // It was published, and the catalog had not heard of it.
            Err(CommitError::NoSuchCommit { .. }) => self.note(effect, Moment::Undone),
            done => self.answer(effect, Answer::of(&done)),
        }
    }

    /// Gives back what a commit of a name has taken that another process has left, if there is one.
    pub fn roll_back(&mut self, name: &'static str) {
        let Some(commit) = self.waiting_for(name) else {
            return;
        };
        let Some(archive) = &self.archive else { return };
        match archive.roll_back(commit) {
            Ok(()) | Err(CommitError::NoSuchCommit { .. }) => {}
            Err(error) => {
                let error = super::explained(&error);
                self.is_surprised(format!("{name} rolled back: {error}"));
            }
        }
    }

    /// Returns the commit of a name that is not done and can go on.
    fn waiting_for(&mut self, name: &str) -> Option<CommitId> {
        let listed = self.archive.as_ref()?.unfinished();
        let listed = self.expect("unfinished", listed.map_err(|error| super::explained(&error)))?;
        let mut meant = listed.into_iter();
        let found = meant.find(|commit| commit.name.to_string() == name && commit.resumable.is_some());
        found.map(|commit| commit.commit)
    }
}
