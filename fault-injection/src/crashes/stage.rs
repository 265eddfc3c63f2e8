//! Where a workload plays: a simulated disk, an archive on it, and the notes of what was asked and answered.
//!
//! Every step announces its effects, asks the archive, and notes the answer. It never fails: an error is an answer, and the
//! workload goes on as a program would. Invariant: what is noted as done was answered with success.

use std::{
    io::{self, Read},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bfdb::{
    Access, Archive, ArchiveOptions, CommitAllOptions, CommitObserver, CommitOutcome, Event, FileName,
    NameConflict, Observer, Place, Source, error::CommitError, host::Machine,
};

use super::{
    oracle::{Effect, Entry, Moment},
    setting::{ROOT, open_on, resources, small_policy},
    sources::Sources,
    what::{What, bytes_of, options_of, parsed},
};
use crate::{
    Seeded, SimulatedStorage,
    simulation::{Condition, Fault, FaultRule},
};

/// What a workload left when it was over.
#[derive(Debug)]
pub struct Played {
    /// The disk, without anybody who uses it.
    pub disk: SimulatedStorage,
    /// What was asked, by the numbers in the markers.
    pub effects: Vec<Effect>,
    /// Answers that nobody expects of a disk that works.
    pub surprises: Vec<String>,
}

/// Where a workload plays.
#[derive(Debug)]
pub struct Stage<'a> {
    disk: SimulatedStorage,
    machine: Machine,
    sources: &'a Sources,
    seed: u64,
    seeded: Seeded,
    effects: Vec<Effect>,
    surprises: Vec<String>,
    archive: Option<Archive>,
    /// A second process with the same archive open.
    other: Option<Archive>,
    /// Whether the process is still to be killed.
    is_doomed: Arc<AtomicBool>,
}

impl<'a> Stage<'a> {
    /// Builds a stage on a disk.
    pub fn new(disk: &SimulatedStorage, sources: &'a Sources, seed: u64) -> Self {
        Self {
            disk: disk.clone(),
            machine: disk.machine(seed),
            sources,
            seed,
            seeded: Seeded::new(seed),
            effects: Vec::new(),
            surprises: Vec::new(),
            archive: None,
            other: None,
            is_doomed: Arc::default(),
        }
    }

    /// Ends the play: whoever has the archive open still goes without closing it.
    pub fn end(mut self) -> Played {
        self.archive = None;
        self.other = None;
        Played {
            disk: self.disk,
            effects: self.effects,
            surprises: self.surprises,
        }
    }

    /// Returns a number below a bound that follows from the seed.
    pub fn choose(&mut self, bound: u64) -> u64 {
        self.seeded.below(bound)
    }

    /// Makes the archive; tries once more when that fails.
    pub fn create(&mut self) {
        let options = ArchiveOptions {
            policy: small_policy(),
            resources: resources(),
        };
        for _ in 0..2 {
            let effect = self.ask(None, None);
            let made = Archive::create_on(&self.machine, Path::new(ROOT), &options);
            self.answer(effect, made.as_ref().map(drop).map_err(ToString::to_string));
            match made {
                Ok(archive) => {
                    self.archive = Some(archive);
                    return;
                }
                // The creation may have come to its end all the same.
                Err(_) => self.open(),
            }
            if self.archive.is_some() {
                self.note(effect, Moment::Done);
                return;
            }
        }
    }

    /// Opens the archive for writing.
    pub fn open(&mut self) {
        let opened = open_on(&self.machine, Access::Write).map(|(archive, _)| archive);
        self.archive = self.expect("open", opened);
    }

    /// Opens it once more, as another process does.
    pub fn open_other(&mut self) {
        let opened = open_on(&self.machine, Access::Write).map(|(archive, _)| archive);
        self.other = self.expect("open again", opened);
    }

    /// Changes places with the other process.
    pub const fn take_turns(&mut self) {
        std::mem::swap(&mut self.archive, &mut self.other);
    }

    /// Closes the archive.
    pub fn close(&mut self) {
        if let Some(archive) = self.archive.take() {
            let closed = archive.close().map_err(|error| error.to_string());
            self.expect("close", closed);
        }
    }

    /// Kills the process of the archive after so many more operations of the disk.
    pub fn kill_within(&mut self, operations: u64) {
        let number = self.disk.counts().mutating() + 1 + operations;
        self.is_doomed.store(true, Ordering::Relaxed);
        let is_doomed = Arc::clone(&self.is_doomed);
        self.disk.add_rule(FaultRule::from_fn(move |asked| {
            let is_due = asked.kind.is_mutating() && asked.number >= number;
            (is_due && is_doomed.swap(false, Ordering::Relaxed)).then_some(Fault::Vanish)
        }));
    }

    /// Lets another process come after one that was killed: what it wrote is there, its locks are not. When it was not
    /// killed yet, it is now.
    pub fn come_after_the_killed(&mut self) {
        self.is_doomed.store(false, Ordering::Relaxed);
        self.disk.set_condition(Condition::Gone);
        self.archive = None;
        self.disk.set_condition(Condition::Well);
        self.surprises.clear();
    }

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
        let told = Mutex::new(Err("was never asked for".to_owned()));
        let commit_inner = || {
            let bytes = bytes_of(&entries[1]);
            let len = u64::try_from(bytes.len()).expect("a short file");
            let options = options_of(&entries[1], NameConflict::Refuse);
            let done = other.commit(&inner.file_name(), bytes, len, &options);
            if done.is_ok() {
                self.disk.marker(Moment::Done.tag(effects[1]));
            }
            let done = done.map(drop).map_err(|error| error.to_string());
            *told.lock().unwrap_or_else(PoisonError::into_inner) = done;
        };
        let reader = Around {
            before: Some(commit_inner),
            rest: bytes_of(&entries[0]),
        };
        let len = u64::try_from(bytes_of(&entries[0]).len()).expect("a short file");
        let options = options_of(&entries[0], NameConflict::Refuse);
        let done = match &self.archive {
            Some(archive) => archive
                .commit(&what.file_name(), reader, len, &options)
                .map(drop)
                .map_err(|error| error.to_string()),
            None => Err("no archive is open".to_owned()),
        };
        self.answer(effects[0], done);
        let told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
        if told.is_err() {
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
        if archive
            .commit(&what.file_name(), bytes_of(&entry), announced, &options)
            .is_ok()
        {
            self.surprises.push(format!(
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
            Err(error) => self.answer(effect, Err(error.to_string())),
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
            self.answer(effect, Err(error));
        }
        let error = ended.map_or_else(|error| error.to_string(), |()| "was not told of".to_owned());
        for (_, effect) in told.waiting.into_inner().unwrap_or_else(PoisonError::into_inner) {
            self.answer(effect, Err(error.clone()));
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

    /// Adds a rule to the disk.
    pub fn spoil(&self, rule: FaultRule) {
        self.disk.add_rule(rule);
    }

    /// Expects that the last steps failed, as they should have.
    pub fn forgive(&mut self) {
        self.surprises.clear();
    }

    fn step(
        &mut self,
        changes: &[(&str, Option<Entry>)],
        work: impl FnOnce(&Archive) -> Result<(), CommitError>,
    ) {
        let Some(archive) = self.archive.take() else {
            return;
        };
        let ask = |(name, becomes): &(&str, Option<Entry>)| self.ask(Some(name), becomes.clone());
        let effects: Vec<usize> = changes.iter().map(ask).collect();
        let done = work(&archive).map_err(|error| error.to_string());
        self.archive = Some(archive);
        effects
            .into_iter()
            .for_each(|effect| self.answer(effect, done.clone()));
    }

    fn ask(&mut self, name: Option<&str>, becomes: Option<Entry>) -> usize {
        let effect = self.effects.len();
        self.effects.push(Effect {
            name: name.map(str::to_owned),
            becomes,
        });
        self.note(effect, Moment::Begun);
        effect
    }

    fn answer(&mut self, effect: usize, answer: Result<(), String>) {
        match answer {
            Ok(()) => self.note(effect, Moment::Done),
            Err(error) => {
                self.note(effect, Moment::Failed);
                let name = self.effects[effect].name.as_deref().unwrap_or(ROOT);
                self.surprises.push(format!("{name}: {error}"));
            }
        }
    }

    fn note(&self, effect: usize, moment: Moment) {
        self.disk.marker(moment.tag(effect));
    }

    fn expect<T>(&mut self, what: &str, result: Result<T, String>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                self.surprises.push(format!("{what}: {error}"));
                None
            }
        }
    }
}

/// A source that does something else before its first byte.
struct Around<'a, F> {
    before: Option<F>,
    rest: &'a [u8],
}

impl<F: FnOnce()> Read for Around<'_, F> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if let Some(before) = self.before.take() {
            before();
        }
        self.rest.read(into)
    }
}

/// Lets an operation go on for so many times that it asks.
#[derive(Debug)]
struct Cancels {
    after: AtomicU64,
}

impl Observer for Cancels {
    fn event(&self, _: Event<'_>) {}

    fn is_cancelled(&self) -> bool {
        let goes_on = |left: u64| left.checked_sub(1);
        self.after
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, goes_on)
            .is_err()
    }
}

/// Sets a marker the moment that a source is told of.
#[derive(Debug)]
struct Told {
    disk: SimulatedStorage,
    waiting: Mutex<Vec<(FileName, usize)>>,
    failed: Mutex<Vec<(usize, String)>>,
}

impl Observer for Told {
    fn event(&self, _: Event<'_>) {}
}

impl CommitObserver for Told {
    fn source_done(&self, source: &Source, result: Result<CommitOutcome, CommitError>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(place) = waiting.iter().position(|(name, _)| *name == source.name) else {
            return;
        };
        let (_, effect) = waiting.remove(place);
        match result {
            Ok(_) => self.disk.marker(Moment::Done.tag(effect)),
            Err(error) => {
                let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push((effect, error.to_string()));
            }
        }
    }
}
